"""What people left and how far it can be trusted: `panel serve dashboards/*.py --index cycles --args PROJECT`."""

from workbench.views.apps import app

app("quality").servable()
