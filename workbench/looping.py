"""The loop of a project: training, cycles, calibration, the gate, and fully automatic annotation."""

from __future__ import annotations

from workbench.reviewing import Reviewing


class Looping(Reviewing):
    """The part of `Project` that closes the loop."""
