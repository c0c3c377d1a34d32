"""Figures of the thresholds page as HoloViews: heat maps, histogram by outcome, precision and recall, risk and coverage.

A figure that follows the sliders has a function beside it, `…_columns`, that gives what each of its parts shows for
another answer, by the names that HoloViews has for it in Bokeh: `LiveFigure` exchanges these and draws nothing anew.
"""

from __future__ import annotations

from typing import Any

import holoviews as hv
import numpy as np
from numpy.typing import NDArray

from workbench import colours
from workbench.config import TriageConfig
from workbench.triage.histogram import HeatMap, Histogram
from workbench.views import offline
from workbench.views.downloads import PLAIN, with_downloads
from workbench.views.thresholds import Answer, Curves

Columns = dict[str, Any]  # of a part of a figure, by Bokeh's names

hv.extension("bokeh", inline=True, logo=False)
offline.send_styles()

EXACT = {"auto_accepted": "kept", "discarded": "discarded or duplicate"}
NAMES = {
    "predicted_iou": "predicted IoU",
    "jitter_stability": "jitter stability",
    "stability_score": "stability score",
}
_LINE: dict[str, Any] = {"color": colours.LIMIT, "line_width": 2}
_MAPS = {"accepted": "cividis", "error": "inferno", "number": "viridis"}
_DARKEST = 56  # of 256: below it a colour cannot be told from a dark page
BEHIND = "#8888882a"  # so that pale and dark colours can be told from the page in light and dark


def heat_map(
    heat: HeatMap, shown: str, config: TriageConfig, axis: str, error: NDArray[np.float64] | None = None
) -> hv.Overlay:
    """Return proposals by predicted IoU and a stability, under the lines of the thresholds.

    Parameters
    ----------
    shown : accepted, the share that is; error, the share that is wrong; number, how many
    axis : the stability upwards
    error : (Y, X) share of wrong ones, for "error"
    """
    values, n = _cells(heat, shown, error)
    bounds = (heat.x_edges[0], heat.y_edges[0], heat.x_edges[-1], heat.y_edges[-1])
    label = {"accepted": "share accepted", "error": "share wrong", "number": "log₁₀ of number"}[shown]
    image = hv.Image(
        np.dstack([values[::-1], n[::-1]]),
        kdims=[hv.Dimension("x", label=NAMES["predicted_iou"]), hv.Dimension("y", label=NAMES[axis])],
        vdims=[hv.Dimension("value", label=label), hv.Dimension("n", label="proposals")],
        bounds=bounds,
    )
    limits = (0, 1) if shown != "number" else (0, max(1.0, float(np.log10(max(1, n.max())))))
    image = image.opts(
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
    x, y = _thresholds(config, axis)
    return (image * hv.VLines(x).opts(**_LINE) * hv.HLines(y).opts(**_LINE)).opts(**frame("heat map", 400))


def heat_map_columns(
    heat: HeatMap, shown: str, config: TriageConfig, axis: str, error: NDArray[np.float64] | None = None
) -> list[Columns]:
    """Return what the image and the two lines of `heat_map` show; its axes and colours stay for one pool."""
    values, n = _cells(heat, shown, error)
    x, y = _thresholds(config, axis)
    return [{"image": [values], "n": [n]}, {"x": x}, {"y": y}]


def _cells(heat: HeatMap, shown: str, error: NDArray[np.float64] | None) -> tuple[NDArray[Any], NDArray[Any]]:
    """Values of cells and rows in them, (Y, X) float64 each; a cell without rows is NaN."""
    n = heat.counts.sum(axis=0)
    if shown == "error":
        values = error if error is not None else np.full(n.shape, np.nan)
    elif shown == "number":
        values = np.where(n, np.log10(np.maximum(n, 1)), np.nan)
    else:
        values = np.where(n, heat.counts[2] / np.maximum(n, 1), np.nan)
    return values, n.astype(np.float64)


def _thresholds(config: TriageConfig, axis: str) -> tuple[NDArray[Any], NDArray[Any]]:
    """Where the lines of the thresholds stand, from left and from below; one that is off has none."""
    given = (config.predicted_iou, getattr(config, axis))
    x, y = (np.array([] if value is None else [value], dtype=np.float64) for value in given)
    return x, y


def histogram(found: Histogram, threshold: float, kind: str) -> hv.Overlay:
    """Return proposals by predicted IoU, stacked by outcome, with the threshold as a line."""
    layers = []
    for name, low, high, n in _stacked(found, kind):
        label = (EXACT if kind == "exact" else {}).get(name, name.replace("_", " "))
        boxes = hv.Rectangles((found.edges[:-1], low, found.edges[1:], high, n), vdims=[hv.Dimension("n", label=label)])
        layers.append(boxes.opts(color=colours.OUTCOMES[name], line_width=0, tools=["hover"]))
    layers.append(hv.VLines([threshold]).opts(**_LINE))
    return hv.Overlay(layers).opts(
        xlabel=NAMES["predicted_iou"],
        ylabel="proposals",
        xlim=(found.edges[0], found.edges[-1]),
        **frame("predicted IoU by outcome", 470),
    )


def histogram_columns(found: Histogram, threshold: float, kind: str) -> list[Columns]:
    """Return what the layers and the line of `histogram` show; how high they reach together stays for one pool."""
    layers: list[Columns] = [
        {"bottom": low, "top": high, "y0": low, "y1": high, "n": n} for _, low, high, n in _stacked(found, kind)
    ]
    return [*layers, {"x": np.array([threshold])}]


def _stacked(found: Histogram, kind: str) -> list[tuple[str, NDArray[Any], NDArray[Any], NDArray[Any]]]:
    """Name, lower and upper ends, and rows of each layer, from below."""
    names = [(0, "discarded"), (1, "flagged"), (2, "auto_accepted")]
    kept = [(row, name) for row, name in names if kind != "exact" or name != "flagged"]
    counts = [found.counts[row] for row, _ in kept]
    ends = np.cumsum([np.zeros(found.counts.shape[1]), *counts], axis=0)
    return [(name, *part) for (_, name), *part in zip(kept, ends[:-1], ends[1:], counts, strict=True)]


def precision_recall(found: list[Curves], answer: Answer) -> hv.Overlay:
    """Return precision against recall as the threshold of each score falls, with the accepted masks as a point."""
    shape: dict[str, Any] = {"xlim": (0, 1), "ylim": (0, 1.02), "legend_position": "bottom"}
    lines = [hv.Curve((c.recall, c.precision), "recall", "precision", label=NAMES[c.name]) for c in found]
    return _with_point(lines, _precision_recall(answer)).opts(**shape, **frame("precision and recall", 340))


def precision_recall_columns(answer: Answer) -> Columns:
    """Return where the point of `precision_recall` stands."""
    x, y = _precision_recall(answer)
    return {"recall": np.array([x]), "precision": np.array([y])}


def _precision_recall(answer: Answer) -> tuple[float, float]:
    return answer.share("recall_auto_75"), 1 - answer.share("fp_rate")


def risk_coverage(found: list[Curves], answer: Answer, share: float) -> hv.Overlay:
    """Return the share of wrong masks against the share of proposals taken, best first, and the accepted as a point."""
    lines = [hv.Curve((c.coverage, c.risk), "coverage", "risk", label=NAMES[c.name]) for c in found]
    return _with_point(lines, (share, answer.share("fp_rate"))).opts(
        xlabel="share of proposals accepted",
        ylabel="share wrong of them",
        xlim=(0, 1),
        ylim=(0, 1.02),
        legend_position="bottom",
        **frame("risk and coverage", 340),
    )


def risk_coverage_columns(answer: Answer, share: float) -> Columns:
    """Return where the point of `risk_coverage` stands."""
    return {"coverage": np.array([share]), "risk": np.array([answer.share("fp_rate")])}


def _with_point(lines: list[hv.Curve], here: tuple[float, float]) -> hv.Overlay:
    """Return curves of scores, and over them, the last part, what is accepted now."""
    for line, (colour, dash) in zip(lines, _STYLES, strict=False):
        line.opts(color=colour, line_dash=dash, line_width=2, tools=["hover"])
    names = [dimension.name for dimension in lines[0].dimensions()]
    point = hv.Scatter([here], *names, label="accepted now")
    return hv.Overlay([*lines, point.opts(color=colours.LIMIT, size=12, marker="diamond", tools=["hover"])])


_STYLES = ((colours.MAIN, "solid"), (colours.SECOND, "dashed"), (colours.THIRD, "dotdash"))


def frame(title: str, height: int) -> dict[str, Any]:
    """What all figures share: they fill their card, and can be saved."""
    return {
        "responsive": True,
        "height": height,
        "toolbar": "above",
        "default_tools": ["reset"],
        "title": "",
        "hooks": [with_downloads(title)],
        "backend_opts": PLAIN,
        "fontscale": 1.0,
    }
