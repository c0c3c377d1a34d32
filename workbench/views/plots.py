"""Figures of results as HoloViews, the same in notebooks and dashboards: `figure(result)`, or `result.plot()`.

Colours are told apart by people with any colour blindness; every figure has a title and units; an empty result gives a
figure that says what to do. Nothing is fetched from another host: the drawing library is put into the page.
"""

from __future__ import annotations

import functools
import textwrap
from collections.abc import Sequence
from typing import Any

import holoviews as hv
import numpy as np

from workbench import colours
from workbench.calibrate.certify import Certificate
from workbench.calibrate.reliability import ReliabilityTable
from workbench.loop.calibration import Calibration
from workbench.loop.certification import Certificates
from workbench.loop.curriculum import Curriculum
from workbench.loop.diversity import Diversity
from workbench.loop.efficiency import Efficiency
from workbench.loop.gate import Check, GateReport
from workbench.loop.orders import Orders
from workbench.loop.varied import DiversityTable
from workbench.tables.cycles import CycleTable
from workbench.views import cycle_plots, offline

hv.extension("bokeh", inline=True, logo=False)
offline.send_styles()

_SIZE = {"width": 520, "height": 360}


@functools.singledispatch
def figure(result: Any, **_: Any) -> Any:
    """Return the figure of a result.

    Raises
    ------
    TypeError : for something that has none
    """
    raise TypeError(f"plot: expected a result of the workbench, got {type(result).__name__}")


def empty(title: str, what_to_do: str) -> Any:
    """Return a figure that has nothing to show and says what to do."""
    text = hv.Text(0.5, 0.5, what_to_do).opts(text_font_size="11pt", text_color="#444444")
    return text.opts(title=title, xaxis=None, yaxis=None, xlim=(0, 1), ylim=(0, 1), toolbar=None, **_SIZE)


# ---- reliability --------------------------------------------------------------------------------------------------


@figure.register
def _(table: ReliabilityTable, *, before: ReliabilityTable | None = None, title: str = "Reliability", **_: Any) -> Any:
    """Return share right against confidence with 95 % intervals, and counts below; `before` in orange beside it."""
    shown = [(before, colours.BESIDE, "before"), (table, colours.MAIN, "after" if before is not None else "measured")]
    if not any(t is not None and len(t.counts) for t, *_ in shown):
        return empty(title, table.note or "No labelled masks: project.calibrate() after review, or with imported truth")
    ideal = hv.Curve([(0, 0), (1, 1)], label="perfect").opts(color=colours.REFERENCE, line_dash="dashed", line_width=1)
    curve = ideal
    for some, colour, name in shown:
        if some is not None and len(some.counts):
            curve = curve * _reliability_curve(some, colour, name)
    words = _figures_in_words(table)
    curve = curve.opts(
        title=f"{title} of {table.what}\n{words}", xlabel="confidence p(right)", ylabel="share right",
        xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), legend_position="bottom", fontsize={"title": 10}, **_SIZE,
    )  # fmt: skip
    return hv.Layout([curve, _counts(table)]).cols(1)


def _reliability_curve(table: ReliabilityTable, colour: str, name: str) -> Any:
    rows = [
        (p, y, y - low, high - y)
        for p, y, low, high in zip(table.confidence, table.share_right, table.low, table.high, strict=True)
    ]
    bars = hv.ErrorBars([(p, y, max(below, 0), max(above, 0)) for p, y, below, above in rows], vdims=["y", "a", "b"])
    points = hv.Scatter([(p, y) for p, y, *_ in rows], "confidence", "share right", label=name)
    line = hv.Curve([(p, y) for p, y, *_ in rows], "confidence", "share right")
    return (
        line.opts(color=colour, line_width=1.5)
        * bars.opts(line_color=colour, lower_head=None, upper_head=None)
        * points.opts(color=colour, size=7, tools=["hover"])
    )


def _counts(table: ReliabilityTable) -> Any:
    rows = [(f"{p:.2f}", int(n)) for p, n in zip(table.confidence, table.counts, strict=True)]
    bars = hv.Bars(
        rows, hv.Dimension("confidence", label="mean confidence of the bin"), hv.Dimension("n", label="masks")
    )
    return bars.opts(
        color=colours.REFERENCE, line_width=0, width=520, height=150, title="Masks in each bin", xrotation=60, yticks=3
    )


def _figures_in_words(table: ReliabilityTable) -> str:
    smooth = table.figures.get("smooth_ece")
    if smooth is None or not np.isfinite(smooth.value):
        return textwrap.fill(
            "undefined" + (f": {table.note}" if table.note else ""), 60
        )  # a title is not broken by itself
    ends = f" [{smooth.low:.3f}, {smooth.high:.3f}]" if np.isfinite(smooth.low) else ""
    return f"smooth ECE {smooth.value:.3f}{ends}, perfect model {smooth.perfect:.3f}"


@figure.register
def _(calibration: Calibration, *, auto: bool = False, **_: Any) -> Any:
    """Return reliability before and after recalibration; `auto`: of the auto-accepted masks only."""
    before, after = (
        (calibration.before_auto, calibration.after_auto) if auto else (calibration.before, calibration.after)
    )
    if calibration.recalibration is None:
        return empty("Reliability", calibration.note or "Undefined: review calibration images, or import truth")
    return figure(after, before=before, title=f"Reliability, recalibrated by {calibration.recalibration.method}")


# ---- certificates -------------------------------------------------------------------------------------------------


@figure.register
def _(certificate: Certificate, **_: Any) -> Any:
    """Return the upper bound on the share wrong against the threshold, and where the sequence stopped."""
    whose = "this pool" if certificate.kind == "pool" else "images to come"
    title = f"Certificate for {whose}"
    tested = [step for step in certificate.steps if np.isfinite(step.bound)]
    if not tested:
        return empty(title, certificate.sentence.replace(": ", ":\n").replace(". ", ".\n"))
    passed = [(s.threshold, s.bound) for s in tested if s.passed]
    failed = [(s.threshold, s.bound) for s in tested if not s.passed]
    seen = [(s.threshold, s.wrong / s.labels) for s in tested if s.labels]
    names: Any = ("threshold", "share")
    parts: list[Any] = [
        hv.Curve(seen, *names, label="wrong among the labels").opts(color=colours.REFERENCE, line_width=1.5),
        hv.Scatter(seen, *names).opts(color=colours.REFERENCE, size=4),  # one threshold alone makes no line
        hv.HLine(certificate.alpha).opts(color=colours.LIMIT, line_dash="dashed", line_width=1),
    ]
    if passed:
        parts.append(hv.Scatter(passed, *names, label="bound, passed").opts(color=colours.MAIN, size=6))
    if failed:
        parts.append(hv.Scatter(failed, *names, label="bound, failed").opts(color=colours.LIMIT, size=8, marker="x"))
    chart = hv.Overlay(parts)
    granted = f"granted above {certificate.threshold:g}" if certificate.granted else "not granted"
    return chart.opts(
        title=f"{title}: {granted} (α {certificate.alpha:g}, confidence {certificate.confidence:.3g})",
        xlabel="threshold on confidence; tested from the right", ylabel="share wrong", legend_position="bottom",
        xlim=(0.48, 1.02), ylim=(0, 1.2 * max(certificate.alpha, *(s.bound for s in tested))), **_SIZE,
    )  # fmt: skip


@figure.register
def _(certificates: Certificates, **_: Any) -> Any:
    """Return both certificates side by side."""
    return hv.Layout([figure(certificates.pool), figure(certificates.images)]).cols(2)


# ---- gate ---------------------------------------------------------------------------------------------------------


@figure.register
def _(report: GateReport, **_: Any) -> Any:
    """Return each check's value and interval beside its bound, coloured by verdict."""
    title = f"Gate to Stage 3: {'open' if report.open else 'shut'}, read at the {report.config.reading}"
    measured = [check for check in report.checks if np.isfinite(check.value)]
    if not measured:
        return empty(title, "Nothing measured yet: review test images, or import truth;\nthen project.calibrate()")
    order = [_named(check) for check in report.checks][::-1]
    parts: list[Any] = []
    for verdict, colour in colours.VERDICTS.items():
        rows = [(check.value, _named(check)) for check in measured if check.verdict == verdict]
        points = hv.Scatter([(name, value) for value, name in rows], "check", "value", label=verdict)
        parts.append(points.opts(color=colour, size=10, tools=["hover"]))
    spans = [(_named(c), c.interval[0], _named(c), c.interval[1]) for c in measured if np.isfinite(c.interval[0])]
    parts.append(hv.Segments(spans, ["check", "low", "check2", "high"]).opts(color="#444444", line_width=2))
    bounds = [(_named(check), check.bound) for check in report.checks]
    marks = hv.Scatter(bounds, "check", "value", label="bound").opts(color="black", marker="dash", size=16, angle=90)
    unknown = [_named(check) for check in report.checks if not np.isfinite(check.value)]
    note = f"; not measured: {', '.join(name.split(' ')[0] for name in unknown)}" if unknown else ""
    overlay = hv.Overlay([*parts, marks])
    return overlay.redim.values(check=order).opts(
        hv.opts.Overlay(
            title=title + note, invert_axes=True, xlabel="", ylabel="value, 95 % interval and bound", width=680,
            height=380, legend_position="right", show_grid=True, fontsize={"title": 9},
        )
    )  # fmt: skip


def _named(check: Check) -> str:
    side = "within ±" if check.side == "within" else check.side
    return f"{check.name.replace('_', ' ')} {side} {check.bound:g}"


# ---- efficiency, diversity, curriculum, cycles --------------------------------------------------------------------


@figure.register
def _(efficiency: Efficiency, **_: Any) -> Any:
    """Return hours of each work; what is assumed or simulated is lighter than what was measured."""
    rows = [row for row in efficiency.rows() if row["hours"] > 0]
    if not rows:
        return empty("Hours of annotation", "No time was written down yet: review some images first")
    data = [
        (f"{r['work']} ({r['basis']})", r["hours"], colours.MAIN if r["basis"] == "measured" else colours.FAINT)
        for r in rows
    ]
    bars = hv.Bars(data, "work", [hv.Dimension("hours", unit="h"), "colour"])
    title = f"Hours of annotation, {efficiency.of}"
    if np.isfinite(efficiency.gain):
        title += f"\n{efficiency.gain:.1f} times the masks an hour of manual work"
    return bars.opts(
        color="colour",
        line_width=0,
        title=title,
        xlabel="",
        tools=["hover"],
        ylim=(0, 1.05 * max(r["hours"] for r in rows)),
        **_SIZE,
    )


@figure.register
def _(diversity: Diversity, **_: Any) -> Any:
    """Return the share of masks in each quarter of the reference's sizes."""
    if not diversity.n:
        return empty("Masks by size", "No masks yet: complete the review of some images first")
    if np.isnan(diversity.size_shares).any():
        return empty("Masks by size", "Not known: what they are beside has no masks")
    first, second, third = (f"{edge:,.0f} px" for edge in diversity.size_edges_px)  # areas that equal one are split
    names = [f"smallest, to {first}", f"second, to {second}", f"third, to {third}", f"largest, from {third}"]
    bars = hv.Bars(list(zip(names, diversity.size_shares.tolist(), strict=True)), "area", "share of masks")
    title = f"{diversity.n:,} {diversity.what} by size\n{diversity.occluded:.0%} touched on a tenth of their outline"
    even = hv.HLine(0.25).opts(color=colours.REFERENCE, line_dash="dashed", line_width=1)
    bars = bars.opts(
        color=colours.MAIN, line_width=0, xlabel="area, by quarters of the reference", ylim=(0, 1), tools=["hover"]
    )
    return (bars * even).opts(title=title, fontsize={"title": 10}, **_SIZE)


@figure.register
def _(table: DiversityTable, **_: Any) -> Any:
    """Return the shares of each set of masks by quarter of sizes, and of small masks found, with 95 % intervals."""
    rows = [row for row in table.rows if row.n and np.isfinite(row.size_shares).all()]
    if not rows:
        said = "\n".join(textwrap.fill(note, 60) for note in table.notes)
        return empty("Masks by size", said or "No masks yet: complete the review of some images first")
    quarters = ("smallest", "second", "third", "largest")
    data = [
        (row.what, quarter, share) for row in rows for quarter, share in zip(quarters, row.size_shares, strict=True)
    ]
    bars = hv.Bars(data, ["masks", "quarter"], hv.Dimension("share", label="share of masks"))
    bars = bars.opts(
        stacked=True, cmap=list(colours.QUARTERS), line_width=0, tools=["hover"], xlabel="", xrotation=30,
        legend_position="right", title=f"Quarters of sizes, beside {table.reference}", ylim=(0, 1), **_SIZE,
    )  # fmt: skip
    found = [(row.what, row.small_found) for row in rows if row.small_found.known]
    if not found:
        return bars
    points = hv.Scatter([(what, f.value) for what, f in found], "masks", "share found")
    ends = [(what, f.value, f.value - f.low, f.high - f.value) for what, f in found if np.isfinite(f.low)]
    spans = hv.ErrorBars(ends, "masks", ["share found", "below", "above"]).opts(line_color=colours.MAIN)
    right = (
        points.opts(color=colours.MAIN, size=8, tools=["hover"], xrotation=30, xlabel="", ylim=(-0.03, 1.03), **_SIZE)
        * spans
    )
    return hv.Layout([bars, right.opts(title="Small masks that are found, at IoU 0.5")]).cols(2)


@figure.register
def _(found: Curriculum, **_: Any) -> Any:
    """Return the mean difficulty of what each cycle added, with its 95 % interval."""
    title = f"Difficulty of the {found.what} that each cycle added"
    if not len(found.cycles):
        return empty(title, "\n".join(found.notes) or "No cycles yet: project.run_cycles(5, ...)")
    known = np.isfinite(found.low)
    curve = hv.Curve(list(zip(found.cycles, found.difficulty, strict=True)), "cycle", "difficulty")
    rows = [
        (c, d, d - low, high - d)
        for c, d, low, high in zip(
            found.cycles[known], found.difficulty[known], found.low[known], found.high[known], strict=True
        )
    ]
    bars = hv.ErrorBars(rows, vdims=["difficulty", "a", "b"])
    chart = (
        curve.opts(color=colours.MAIN, line_width=2)
        * bars.opts(line_color=colours.MAIN)
        * curve.to(hv.Scatter).opts(size=8)
    )
    return chart.opts(
        title=title, xlabel="cycle", ylabel="mean rank of difficulty, 0 to 1",
        ylim=(0, 1), xlim=(found.cycles.min() - 0.4, found.cycles.max() + 0.4), xticks=found.cycles.tolist(), **_SIZE,
    )  # fmt: skip


@figure.register
def _(found: Orders, **_: Any) -> Any:
    """Return the paired differences by cycle, with 95 % intervals, after as many reviewed images in both."""
    if not any(figure.known for *_, figures in found.rows for figure in figures.values()):
        return empty(
            "What the order of images was worth", "Not known: no test image has ground truth in both campaigns"
        )
    return cycle_plots.orders(found)


@figure.register
def _(table: CycleTable, *, show: Sequence[str] = cycle_plots.SHOWN, seed: bool = True, **_: Any) -> Any:
    """Return acceptance, recall, wrong masks and masks an image by cycle, with 95 % intervals and the seed's beside.

    Parameters
    ----------
    show : names of `cycle_plots.TRENDS`: also rejection, spread, automatic and pace; or "confidence" alone
    seed : whether what the seed states is drawn beside
    """
    if not len(table):
        return empty("Cycles", "\n".join(table.lines()) or "No cycles yet: project.run_cycles(5, ...)")
    if show == "confidence":
        return cycle_plots.confidence(table)
    return cycle_plots.trends(table, [show] if isinstance(show, str) else show, empty, seed)
