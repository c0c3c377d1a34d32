"""Figures of counts as HoloViews: reasons of a triage, time by phase, sizes of masks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import holoviews as hv

from workbench.tables.outcomes import FAILURES, Reason
from workbench.views import pool_plots

if TYPE_CHECKING:
    from workbench.loop.diversity import Diversity
    from workbench.overview import QualityReport

PLAN, MEASURED = "#B0B0B0", "#0072B2"


def reasons(counts: Mapping[str, int], what: str = "distinct proposals") -> hv.Bars:
    """Return how many masks have each reason: doubts orange, failures grey; the most frequent on top."""
    rows = sorted(((n, name) for name, n in counts.items() if n), reverse=False) or [(0, "none")]
    failures = {str(reason.name) for reason in Reason if reason & FAILURES}
    colours = [pool_plots.OUTCOMES["discarded" if name in failures else "flagged"] for _, name in rows]
    bars = hv.Bars(
        [(name.replace("_", " "), n, colour) for (n, name), colour in zip(rows, colours, strict=True)],
        kdims="reason",
        vdims=[hv.Dimension("n", label=what), "colour"],
    )
    return bars.opts(
        invert_axes=True, color="colour", line_width=0, tools=["hover"], xlabel="", **pool_plots.frame("reasons", 320)
    )


def phases(report: QualityReport) -> hv.Bars:
    """Return the share of active time by phase beside the plan."""
    rows = [
        (phase, kind, 100 * share)
        for kind, shares in (("plan", report.planned_share), ("measured", report.active_share))
        for phase, share in shares.items()
    ]
    colours, shared = {"plan": PLAN, "measured": MEASURED}, pool_plots.frame("time by phase", 280)
    bars = hv.Bars(
        rows or [("verdict", "plan", 0.0)], kdims=["phase", "of"], vdims=hv.Dimension("share", label="% of time")
    )
    return bars.opts(
        color=hv.dim("of").categorize(colours),
        line_width=0,
        tools=["hover"],
        xlabel="",
        ylim=(0, 100),
        multi_level=False,
        show_legend=True,
        **{**shared, "hooks": [*shared["hooks"], _readable_groups]},
    )


def _readable_groups(plot: Any, _element: Any) -> None:
    """Give the names of groups a grey that is read on light and dark: the page's theme does not reach them."""
    plot.handles["xaxis"].group_text_color = "#808080"


def sizes(found: Diversity) -> hv.Overlay:
    """Return the share of masks in each quarter of sizes; a quarter each where they are as the reference."""
    labels = ["smallest quarter", "second", "third", "largest quarter"]
    values = [0.0 if share != share else 100 * float(share) for share in found.size_shares]
    bars = hv.Bars(list(zip(labels, values, strict=True)), "size", hv.Dimension("share", label="% of masks"))
    return (
        bars.opts(color=MEASURED, line_width=0, tools=["hover"], xlabel="", ylim=(0, 100))
        * hv.HLine(25).opts(color=pool_plots.MARK, line_dash="dashed", line_width=2)
    ).opts(**pool_plots.frame("diversity of sizes", 280))
