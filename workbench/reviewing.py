"""Review of a project: its journal, queue and final masks, audits and agreement, and the quality report."""

from __future__ import annotations

from workbench.folder import ProjectFolder


class Reviewing(ProjectFolder):
    """The part of `Project` that people's work goes through."""
