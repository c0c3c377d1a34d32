"""The loop of a project: training on what people decided, and cycles."""

from __future__ import annotations

from workbench.calibrating import Calibrating


class Looping(Calibrating):
    """The part of `Project` that closes the loop."""
