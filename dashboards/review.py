"""Review in the browser, without Jupyter: `panel serve dashboards/*.py --index cycles --args PROJECT`."""

from workbench.views.apps import app

app("review").servable()
