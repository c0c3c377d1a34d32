"""Figures of counts as HoloViews: reasons of a triage."""

from __future__ import annotations

from collections.abc import Mapping

import holoviews as hv

from workbench.tables.outcomes import FAILURES, Reason
from workbench.views import pool_plots


def reasons(counts: Mapping[str, int]) -> hv.Bars:
    """Return how many distinct proposals have each reason: doubts orange, failures grey; the most frequent on top."""
    rows = sorted(((n, name) for name, n in counts.items() if n), reverse=False) or [(0, "none")]
    failures = {str(reason.name) for reason in Reason if reason & FAILURES}
    colours = [pool_plots.OUTCOMES["discarded" if name in failures else "flagged"] for _, name in rows]
    bars = hv.Bars(
        [(name.replace("_", " "), n, colour) for (n, name), colour in zip(rows, colours, strict=True)],
        kdims="reason",
        vdims=[hv.Dimension("n", label="distinct proposals"), "colour"],
    )
    return bars.opts(
        invert_axes=True, color="colour", line_width=0, tools=["hover"], xlabel="", **pool_plots.frame("reasons", 320)
    )
