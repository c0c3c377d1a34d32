"""Figures of counts as HoloViews: reasons of a triage, time by phase, sizes of masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import holoviews as hv

from workbench import colours
from workbench.tables.outcomes import FAILURES, Reason
from workbench.views import pool_plots

if TYPE_CHECKING:
    from workbench.loop.diversity import Diversity
    from workbench.overview import QualityReport

_PLAN = "#B0B0B0"


def reasons(counts: Mapping[str, int], what: str = "distinct proposals") -> hv.Bars:
    """Return how many masks have each reason: doubts orange, failures grey; the most frequent on top."""
    rows = sorted(((n, name) for name, n in counts.items() if n), reverse=False) or [(0, "none")]
    failures = {str(reason.name) for reason in Reason if reason & FAILURES}
    shades = [colours.OUTCOMES["discarded" if name in failures else "flagged"] for _, name in rows]
    bars = hv.Bars(
        [(name.replace("_", " "), n, colour) for (n, name), colour in zip(rows, shades, strict=True)],
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
    bars = hv.Bars(
        rows or [("verdict", "plan", 0.0)], kdims=["phase", "of"], vdims=hv.Dimension("share", label="% of time")
    )
    return _grouped(bars, {"plan": _PLAN, "measured": colours.MAIN}, "time by phase")


def _grouped(bars: hv.Bars, shades: Mapping[str, str], title: str) -> hv.Bars:
    """Return bars of shares in %, side by side by `of`, each in its colour."""
    shared = pool_plots.frame(title, 280)
    return bars.opts(
        color=hv.dim("of").categorize(dict(shades), default=_PLAN),
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


def sizes(found: Sequence[Diversity]) -> hv.Bars:
    """Return the share of sets of masks in each quarter of their reference's sizes, a quarter each where they are as that."""
    names = ("smallest", "second", "third", "largest")
    rows = [
        (name, part.what, 100 * float(share))
        for part in found
        for name, share in zip(names, part.size_shares, strict=True)
        if share == share
    ]
    shades = dict(zip((part.what for part in found), (colours.MAIN, colours.BESIDE), strict=False))
    bars = hv.Bars(rows or [(names[0], "", 0.0)], ["quarter", "of"], hv.Dimension("share", label="% of these masks"))
    return _grouped(bars, shades, "sizes")
