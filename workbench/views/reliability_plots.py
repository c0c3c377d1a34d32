"""Reliability curves of several groups in one figure, told apart by colour, dash and marker."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import holoviews as hv

from workbench import colours
from workbench.calibrate.reliability import ReliabilityTable
from workbench.views import pool_plots

_DASHES = ("solid", "dashed", "dotted", "dotdash", "dashdot", "solid")
_MARKERS = ("circle", "square", "triangle", "diamond", "inverted_triangle", "cross")
_STYLES = tuple(zip(colours.GROUPS, _DASHES, _MARKERS, strict=True))
MOST = len(_STYLES)  # more curves cannot be told apart


def groups(tables: Mapping[str, ReliabilityTable], name: str) -> hv.Overlay:
    """Return share right against confidence with 95 % intervals, a curve for each group; the last `MOST` of them."""
    perfect = hv.Curve([(0, 0), (1, 1)], "confidence", "share right", label="perfect")
    parts: list[Any] = [perfect.opts(color=colours.REFERENCE, line_dash="dashed", line_width=1)]
    for (label, table), (colour, dash, marker) in zip(list(tables.items())[-MOST:], _STYLES, strict=False):
        points = list(zip(table.confidence, table.share_right, table.counts, strict=True))
        ends = [
            (p, y, max(0.0, y - low), max(0.0, high - y))
            for p, y, low, high in zip(table.confidence, table.share_right, table.low, table.high, strict=True)
        ]
        line = hv.Curve([point[:2] for point in points], "confidence", "share right", label=label)
        parts.append(line.opts(color=colour, line_dash=dash, line_width=2))
        bars = hv.ErrorBars(ends, "confidence", ["share right", "below", "above"])
        parts.append(bars.opts(line_color=colour, lower_head=None, upper_head=None))
        dots = hv.Scatter(points, "confidence", ["share right", "masks"])
        parts.append(dots.opts(color=colour, marker=marker, size=7, tools=["hover"]))
    return hv.Overlay(parts).opts(
        xlabel="confidence p(right)",
        xlim=(-0.02, 1.02),
        ylim=(-0.02, 1.02),
        legend_position="right",
        **pool_plots.frame(name, 340),
    )
