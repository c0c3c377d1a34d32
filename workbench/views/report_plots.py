"""Figures of counts as HoloViews: reasons of a triage, time by phase, sizes of masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import holoviews as hv

from workbench.tables.outcomes import FAILURES, Reason
from workbench.views import pool_plots

if TYPE_CHECKING:
    import pandas as pd

    from workbench.loop.diversity import Diversity
    from workbench.overview import QualityReport
    from workbench.tables.cycles import CycleRow

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


TRENDS = {
    "auto_accept_rate": "Auto-acceptance rate",
    "fp_rate": "False-positive rate",
    "recall_auto": "Recall of accepted masks",
    "hypothesis_spread": "Spread of the three hypotheses",
    "rejection_rate": "Rejection rate of automatic masks",
    "auto_to_manual": "Automatic masks for each manual one",
    "masks_per_hour": "Masks an hour",
}


def trend(frame: pd.DataFrame, name: str) -> hv.Overlay:
    """Return a figure by cycle with its interval, where there is one."""
    rows = frame[["cycle", name]].dropna().to_numpy()
    label = TRENDS[name]
    parts: list[Any] = [hv.Curve(rows, "cycle", hv.Dimension("value", label=label)).opts(color=MEASURED, line_width=2)]
    parts.append(hv.Scatter(rows, "cycle", "value").opts(color=MEASURED, size=8, tools=["hover"]))
    if f"{name}_low" in frame:
        ends = frame[["cycle", name, f"{name}_low", f"{name}_high"]].dropna().to_numpy()
        bars = [(c, v, max(0.0, v - low), max(0.0, high - v)) for c, v, low, high in ends]
        parts.append(hv.ErrorBars(bars, "cycle", ["value", "below", "above"]).opts(line_color=MEASURED))
    ticks = sorted({int(c) for c in frame["cycle"]})
    ends_x = (min(ticks, default=1) - 0.4, max(ticks, default=1) + 0.4)  # else the last point is cut in half
    frame_of = pool_plots.frame(label, 260)
    return hv.Overlay(parts).opts(xlabel="cycle", ylabel=label, xticks=ticks, xlim=ends_x, padding=0.12, **frame_of)


def confidence(rows: Sequence[CycleRow]) -> hv.Overlay:
    """Return the share of proposals by predicted IoU, a line for each cycle: told apart by colour and dash."""
    lines = []
    for k, row in enumerate(rows):
        counts, total = list(row.confidence), max(1, sum(row.confidence))
        points = [((i + 0.5) / len(counts), n / total) for i, n in enumerate(counts)]
        shade = _SHADES[round(k * (len(_SHADES) - 1) / max(1, len(rows) - 1))]
        line = hv.Curve(points, "predicted IoU", "share of proposals", label=f"cycle {row.cycle}{'+' * row.closing}")
        lines.append(line.opts(color=shade, line_width=2, line_dash=_DASHES[k % len(_DASHES)]))
    return hv.Overlay(lines).opts(legend_position="right", **pool_plots.frame("predicted IoU by cycle", 260))


_SHADES = ("#56B4E9", "#0072B2", "#009E73", "#E69F00", "#D55E00", "#CC79A7")
_DASHES = ("solid", "dashed", "dotted", "dotdash")
