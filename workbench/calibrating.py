"""Calibration of a project: recalibration, certificates, the gate, and fully automatic annotation behind it."""

from __future__ import annotations

from workbench.reviewing import Reviewing


class Calibrating(Reviewing):
    """The part of `Project` that checks confidence and decides what may go on without people."""
