"""Figures of the thresholds page as HoloViews: heat maps, histogram by outcome, precision and recall, risk and coverage."""

from __future__ import annotations

from typing import Any

import holoviews as hv
import numpy as np
from numpy.typing import NDArray

from workbench.triage.histogram import HeatMap, Histogram
from workbench.views import offline
from workbench.views.downloads import with_downloads
from workbench.views.thresholds import Answer, Curves

hv.extension("bokeh", inline=True, logo=False)
offline.send_styles()

# Okabe and Ito's colours, which people with any colour blindness tell apart (jfly.uni-koeln.de/color, 2008)
OUTCOMES = {"auto_accepted": "#0072B2", "flagged": "#E69F00", "discarded": "#8A8A8A"}
EXACT = {"auto_accepted": "kept", "discarded": "discarded or duplicate"}
MARK = "#D55E00"
NAMES = {
    "predicted_iou": "predicted IoU",
    "jitter_stability": "jitter stability",
    "stability_score": "stability score",
}
_MAPS = {"accepted": "cividis", "error": "inferno", "number": "viridis"}
_DARKEST = 56  # of 256: below it a colour cannot be told from a dark page
BEHIND = "#8888882a"  # so that pale and dark colours can be told from the page in light and dark


def with_lines(heat: hv.DynamicMap, lines: hv.DynamicMap) -> hv.DynamicMap:
    """Return the heat map under the lines of the thresholds, as one figure."""
    return (heat * lines).opts(hv.opts.Overlay(**frame("heat map", 400)))


def heat_map(heat: HeatMap, shown: str, axis: str, error: NDArray[np.float64] | None = None) -> hv.Image:
    """Return proposals by predicted IoU and a stability: the share accepted, the share wrong, or how many.

    Parameters
    ----------
    shown : accepted, error or number
    error : (Y, X) share of wrong ones, for "error"
    """
    n = heat.counts.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        accepted = np.where(n, heat.counts[2] / n, np.nan)
        values = {
            "accepted": accepted,
            "error": error if error is not None else np.full(n.shape, np.nan),
            "number": np.where(n, np.log10(np.maximum(n, 1)), np.nan),
        }[shown]
    bounds = (heat.x_edges[0], heat.y_edges[0], heat.x_edges[-1], heat.y_edges[-1])
    label = {"accepted": "share accepted", "error": "share wrong", "number": "log₁₀ of number"}[shown]
    image = hv.Image(
        np.dstack([values[::-1], n[::-1].astype(float)]),
        kdims=[hv.Dimension("x", label=NAMES["predicted_iou"]), hv.Dimension("y", label=NAMES[axis])],
        vdims=[hv.Dimension("value", label=label), hv.Dimension("n", label="proposals")],
        bounds=bounds,
    )
    limits = (0, 1) if shown != "number" else (0, max(1.0, float(np.log10(max(1, n.max())))))
    return image.opts(
        cmap=hv.plotting.util.process_cmap(_MAPS[shown], 256)[_DARKEST:],
        bgcolor=BEHIND,
        clim=limits,
        colorbar=True,
        clabel="",
        xlim=(heat.x_edges[0], heat.x_edges[-1]),
        ylim=(heat.y_edges[0], heat.y_edges[-1]),
        clipping_colors={"NaN": "transparent"},
        tools=["hover", "tap", "box_select", "lasso_select"],
        **frame("heat map", 380),
    )


def cross(x: float, y: float | None) -> hv.Overlay:
    """Return the lines of the thresholds over the heat map; a threshold that is off has none."""
    line: dict[str, Any] = {"color": MARK, "line_width": 2}
    upright = hv.VLines([x]).opts(**line)
    level = hv.HLines([] if y is None else [y]).opts(**line)
    return upright * level


def histogram(found: Histogram, threshold: float, kind: str) -> hv.Overlay:
    """Return proposals by predicted IoU, stacked by outcome, with the threshold as a line."""
    low = np.zeros(found.counts.shape[1])
    layers = []
    for name, row in (("discarded", 0), ("flagged", 1), ("auto_accepted", 2)):
        if kind == "exact" and name == "flagged":
            continue
        high = low + found.counts[row]
        boxes = hv.Rectangles(
            (found.edges[:-1], low, found.edges[1:], high, found.counts[row]),
            vdims=[hv.Dimension("n", label=(EXACT if kind == "exact" else {}).get(name, name.replace("_", " ")))],
        )
        layers.append(boxes.opts(color=OUTCOMES[name], line_width=0, tools=["hover"]))
        low = high
    layers.append(hv.VLines([threshold]).opts(color=MARK, line_width=2))
    return hv.Overlay(layers).opts(
        xlabel=NAMES["predicted_iou"],
        ylabel="proposals",
        xlim=(found.edges[0], found.edges[-1]),
        framewise=True,
        **frame("predicted IoU by outcome", 470),
    )


def precision_recall(found: list[Curves], answer: Answer) -> hv.Overlay:
    """Return precision against recall as the threshold of each score falls, with the accepted masks as a point."""
    lines = [
        hv.Curve((c.recall, c.precision), "recall", "precision", label=NAMES[c.name]).opts(
            color=colour, line_dash=dash, line_width=2, tools=["hover"]
        )
        for c, (colour, dash) in zip(found, _STYLES, strict=False)
    ]
    here = hv.Scatter(
        [(answer.share("recall_auto_75"), 1 - answer.share("fp_rate"))], "recall", "precision", label="accepted now"
    )
    return hv.Overlay([*lines, here.opts(color=MARK, size=12, marker="diamond", tools=["hover"])]).opts(
        xlim=(0, 1), ylim=(0, 1.02), legend_position="bottom_left", **frame("precision and recall", 300)
    )


def risk_coverage(found: list[Curves], answer: Answer, share: float) -> hv.Overlay:
    """Return the share of wrong masks against the share of proposals taken, best first, and the accepted as a point."""
    lines = [
        hv.Curve((c.coverage, c.risk), "coverage", "risk", label=NAMES[c.name]).opts(
            color=colour, line_dash=dash, line_width=2, tools=["hover"]
        )
        for c, (colour, dash) in zip(found, _STYLES, strict=False)
    ]
    here = hv.Scatter([(share, answer.share("fp_rate"))], "coverage", "risk", label="accepted now")
    return hv.Overlay([*lines, here.opts(color=MARK, size=12, marker="diamond", tools=["hover"])]).opts(
        xlabel="share of proposals accepted",
        ylabel="share wrong of them",
        xlim=(0, 1),
        ylim=(0, 1.02),
        legend_position="top_left",
        **frame("risk and coverage", 300),
    )


_STYLES = (("#0072B2", "solid"), ("#009E73", "dashed"), ("#CC79A7", "dotdash"))


def frame(title: str, height: int) -> dict[str, Any]:
    """What all figures share: they fill their card, and can be saved."""
    return {
        "responsive": True,
        "height": height,
        "toolbar": "above",
        "default_tools": ["reset"],
        "title": "",
        "hooks": [with_downloads(title)],
        "backend_opts": {"plot.output_backend": "svg", "plot.toolbar.logo": None},
        "fontscale": 1.0,
    }
