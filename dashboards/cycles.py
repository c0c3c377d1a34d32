"""Where the campaign stands: `panel serve dashboards/*.py --index cycles --args PROJECT`."""

from workbench.views.apps import app

app("cycles").servable()
