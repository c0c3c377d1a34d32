"""Threshold experiments of a project: sweeps over grids of thresholds, saved, reopened and compared."""

from __future__ import annotations

from workbench.folder import ProjectFolder


class Sweeping(ProjectFolder):
    """The part of `Project` that runs threshold experiments."""
