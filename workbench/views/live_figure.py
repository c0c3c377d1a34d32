"""A figure that HoloViews draws once, and whose parts show other numbers from then on."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Sequence
from typing import Any

import holoviews as hv
import panel as pn

from workbench.views import layout
from workbench.views.pool_plots import Columns


class LiveFigure:
    """A figure and its pane. What it shows is exchanged in Bokeh's own tables, wherever the pane is on a page.

    A stream of HoloViews would look over styles, ranges and all models of the page again at each move of a slider, which
    took most of a second for the figures of a page.

    Parameters
    ----------
    drawn : the parts, one over another; height : of the pane, px
    """

    def __init__(self, drawn: hv.Overlay, height: int) -> None:
        self._columns: list[Columns] = [{} for _ in drawn]
        self._tables: list[weakref.WeakSet[Any]] = [weakref.WeakSet() for _ in drawn]
        for k, part in enumerate(drawn):
            part.opts(hooks=[functools.partial(self._rendered, k)])
        self.pane = layout.figure(drawn, height)

    def show(self, columns: Sequence[Columns]) -> None:
        """Show other numbers; {} leaves a part as it is."""
        for k, new in enumerate(columns):
            self._columns[k] = new
            for table in self._tables[k]:
                table.data.update(new)  # sends these columns alone
        pn.io.push_notebook(self.pane)  # to a notebook's cells; a server's pages are told already

    def _rendered(self, k: int, plot: Any, _element: Any) -> None:
        """Remember where a part is shown, now that it is; what came since it was drawn is shown there too."""
        table = plot.handles["source"]
        table.data.update(self._columns[k])
        self._tables[k].add(table)
