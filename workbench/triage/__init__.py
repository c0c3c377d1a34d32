"""From proposals to outcomes and their reasons; no model is run. Calling the room is `triage.rules.triage`."""

from workbench._rooms import make_callable

make_callable(__name__, entry="workbench.triage.rules")
