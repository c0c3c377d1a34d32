"""Project: the handle people hold. It puts store and stages together and has no logic of its own."""

from __future__ import annotations

from workbench.looping import Looping
from workbench.sweeping import Sweeping


class Project(Sweeping, Looping):
    """Images, proposals and decisions in one folder. `create` makes one, `open` opens one; `with` closes it."""
