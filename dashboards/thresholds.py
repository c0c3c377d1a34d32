"""Thresholds moved over the whole pool: `panel serve dashboards/*.py --index cycles --args PROJECT`."""

from workbench.views.apps import app

app("thresholds").servable()
