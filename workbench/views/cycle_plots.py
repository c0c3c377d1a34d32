"""Figures of a campaign by cycle: the trends of `CycleTable.plot()`, the very same that the page of cycles shows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import holoviews as hv
import numpy as np

from workbench import colours
from workbench.tables.cycles import CycleRow, CycleTable
from workbench.tables.seed_table import SEED_CYCLES, SOURCE

if TYPE_CHECKING:
    from workbench.loop.orders import Orders

_SHARE, _COUNT, _FREE = (-0.03, 1.03), (0, None), (None, None)
_DASHES = ("solid", "dashed", "dotted", "dotdash")


class Trend(NamedTuple):
    """A figure by cycle.

    columns : what is drawn, and what it is called in the legend; "seed_" leads what the seed's thresholds give on the same
        masks, and nothing is drawn of what no cycle has
    axis : name of the vertical axis; limits : of it
    """

    title: str
    columns: dict[str, str]
    axis: str = "share"
    limits: tuple[float | None, float | None] = _SHARE


TRENDS = {
    "acceptance": Trend(
        "Auto-acceptance rate", {"auto_accept_rate": "here", "seed_auto_accept_rate": "here, seed's thresholds"}
    ),
    "recall": Trend(
        "Recall at IoU 0.5", {"recall_proposals": "of all distinct masks", "recall_auto": "of the auto-accepted"}
    ),
    "wrong": Trend(
        "Wrong among the auto-accepted", {"fp_rate": "at IoU 0.75", "fp_rate_50": "at IoU 0.5"}, limits=_COUNT
    ),
    "masks": Trend(
        "Masks an image", {"total_per_image": "all", "manual_per_image": "by hand"}, "masks an image", _COUNT
    ),
    "rejection": Trend("Rejection rate of automatic masks", {"rejection_rate": "here"}, limits=_COUNT),
    "spread": Trend("Spread of the three hypotheses", {"hypothesis_spread": "here"}, "1 − mean IoU", _FREE),
    "automatic": Trend("Automatic masks for each manual one", {"auto_to_manual": "here"}, "automatic ÷ manual", _COUNT),
    "pace": Trend("Masks an hour", {"masks_per_hour": "here"}, "masks an hour", _COUNT),
}
SHOWN = ("acceptance", "recall", "wrong", "masks")
UNKNOWN = {
    "recall": "Not known: no test image has ground truth.",
    "wrong": "Not known: nothing was auto-accepted, or no test\nimage has ground truth that leaves nothing out",
    "pace": "Not known: no active time was written down.",
}
Empty = Callable[[str, str], Any]


def trends(table: CycleTable, names: Sequence[str], empty: Empty, seed: bool) -> hv.Layout:
    """Return trends side by side; `empty` makes the figure that says why there is nothing to show."""
    unknown = [name for name in names if name not in TRENDS]
    if unknown:
        raise ValueError(f"plot: expected trends among {', '.join(TRENDS)}, got {unknown[0]!r}")
    parts = [
        trend(table, name, seed=seed) if known(table, name) else empty(TRENDS[name].title, why_unknown(name))
        for name in names
    ]
    return hv.Layout(parts).cols(2).opts(shared_axes=False)


def known(table: CycleTable, name: str) -> bool:
    """Whether any cycle has something of a trend."""
    return any(np.isfinite(_ends(row, column)[0]) for row in table.rows for column in TRENDS[name].columns)


def why_unknown(name: str) -> str:
    """Return why nothing of a trend is known."""
    return UNKNOWN.get(name, "Not known of any cycle yet.")


def trend(table: CycleTable, name: str, *, seed: bool = True, title: bool = True) -> hv.Overlay:
    """Return one of `TRENDS` by cycle, with 95 % intervals where they are known.

    Parameters
    ----------
    table : with a row at least; seed : whether what the seed states is drawn beside, in dashed grey, where it states it
    title : whether the figure has its title; a card has it already
    """
    found = TRENDS[name]
    last = max(len(SEED_CYCLES) if seed else 1, *(row.cycle for row in table.rows))
    parts: list[Any] = []
    for colour, (column, label) in zip(
        (colours.MAIN, colours.BESIDE if name == "acceptance" else colours.SECOND), found.columns.items(), strict=False
    ):
        points = [(row.cycle, *_ends(row, column)) for row in table.rows]
        parts += _measured([point for point in points if np.isfinite(point[1])], colour, label)
    if seed:
        parts += _stated(found)
    after = {row.cycle: f"after {row.cycle - 1}" for row in table.rows if row.closing}
    return hv.Overlay(parts).opts(
        title=found.title if title else "", xlabel="cycle", ylabel=found.axis, ylim=found.limits, padding=0.12,
        xticks=[(k, after.get(k, str(k))) for k in range(1, last + 1)], xlim=(0.6, last + 0.4), show_grid=True,
        show_legend=len({part.label for part in parts} - {""}) > 1, legend_position="bottom", legend_cols=2, width=520, height=380,
    )  # fmt: skip


def states(name: str) -> bool:
    """Whether the seed states something of a trend."""
    return bool(_stated(TRENDS[name]))


def _stated(found: Trend) -> list[Any]:
    """The seed's own figures of a trend, dashed."""
    shown = [name for name in found.columns if hasattr(SEED_CYCLES[0], name)]
    parts = []
    for name, dash in zip(shown, ("dashed", "dotted"), strict=False):
        label = f"the seed: {found.columns[name]}" if len(shown) > 1 else SOURCE
        rows = [(row.cycle, getattr(row, name)) for row in SEED_CYCLES]
        parts.append(
            hv.Curve(rows, "cycle", "value", label=label).opts(color=colours.REFERENCE, line_dash=dash, line_width=2)
        )
    return parts


def _ends(row: CycleRow, name: str) -> tuple[float, float, float]:
    """A figure of a cycle and its interval; NaN where there is none."""
    figure = row.seed_figures.get(name[5:]) if name.startswith("seed_") else row.figures.get(name)
    if figure is not None:
        return figure.value, figure.low, figure.high
    value, low, high = (float(row.work.get(key, np.nan)) for key in (name, f"{name}_low", f"{name}_high"))
    return value, low, high


def _measured(points: Sequence[tuple[float, ...]], colour: str, label: str) -> list[Any]:
    """A line with points and intervals; nothing where nothing is known."""
    if not points:
        return []
    values = [(x, y) for x, y, *_ in points]
    bars = [(x, y, max(y - low, 0.0), max(high - y, 0.0)) for x, y, low, high in points if np.isfinite(low)]
    return [
        hv.Curve(values, "cycle", "value", label=label).opts(color=colour, line_width=2),
        hv.Scatter(values, "cycle", "value").opts(color=colour, size=7, tools=["hover"]),
        hv.ErrorBars(bars, "cycle", ["value", "below", "above"]).opts(
            line_color=colour,
            lower_head=None,
            upper_head=None,  # theirs are black, in the dark too
        ),
    ]


def confidence(table: CycleTable, *, title: bool = True) -> hv.Overlay:
    """Return the share of proposals by predicted IoU, a line for each cycle: told apart by colour and dash."""
    lines = []
    for k, row in enumerate(table.rows):
        counts, total = list(row.confidence), max(1, sum(row.confidence))
        points = [((i + 0.5) / len(counts), n / total) for i, n in enumerate(counts)]
        shade = colours.CYCLES[round(k * (len(colours.CYCLES) - 1) / max(1, len(table.rows) - 1))]
        line = hv.Curve(points, "predicted IoU", "share of proposals", label=f"cycle {row.cycle}{'+' * row.closing}")
        lines.append(line.opts(color=shade, line_width=2, line_dash=_DASHES[k % len(_DASHES)]))
    named = "Predicted IoU by cycle" if title else ""
    return hv.Overlay(lines).opts(title=named, legend_position="right", show_grid=True, width=520, height=380)


def orders(found: Orders) -> hv.Overlay:
    """Return the differences of two campaigns by cycle, a line for each figure, with 95 % intervals.

    Parameters
    ----------
    found : with a row at least; the lines lie a little beside each other, so that their intervals can be told apart
    """
    names = list(dict.fromkeys(name for *_, figures in found.rows for name in figures))
    parts: list[Any] = [hv.HLine(0).opts(color=colours.REFERENCE, line_dash="dashed", line_width=1)]
    for k, name in enumerate(names):
        beside = 0.06 * (k - (len(names) - 1) / 2)
        some = [(cycle + beside, figures[name]) for cycle, _, figures in found.rows if name in figures]
        points = [(x, figure.value, figure.low, figure.high) for x, figure in some if figure.known]
        parts += _measured(points, colours.CYCLES[k % len(colours.CYCLES)], name.replace("_", " "))
    cycles = [cycle for cycle, *_ in found.rows]
    return hv.Overlay(parts).opts(
        title=" − ".join(found.strategies), xlabel="cycle (reviewed images before it)", ylabel="difference",
        xticks=[(cycle, f"{cycle} ({images:,})") for cycle, images, _ in found.rows], padding=0.12, show_grid=True,
        xlim=(min(cycles) - 0.4, max(cycles) + 0.4), show_legend=True, legend_position="right", width=620, height=380,
    )  # fmt: skip
