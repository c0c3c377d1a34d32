"""Whether confidence can be believed: `panel serve dashboards/*.py --index cycles --args PROJECT`."""

from workbench.views.apps import app

app("calibration").servable()
