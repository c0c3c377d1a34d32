"""Plotted: results that can be drawn; the drawing library is loaded at the first `.plot()` only."""

from __future__ import annotations

import importlib
from typing import Any


class Plotted:
    """A result with a figure in `workbench.views.plots`, the same in notebooks and dashboards."""

    def plot(self, **options: Any) -> Any:
        """Return the HoloViews figure of this result; an empty result gives a figure that says what to do."""
        return importlib.import_module("workbench.views.plots").figure(self, **options)
