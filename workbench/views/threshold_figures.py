"""The figures of the thresholds page: they follow the sliders, with clicks, boxes and lassos going back."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import holoviews as hv
import numpy as np
import panel as pn

from workbench.views import layout, pool_plots
from workbench.views.live_figure import LiveFigure
from workbench.views.thresholds import Answer, Curves, error_map

if TYPE_CHECKING:
    from workbench.views.page_thresholds import ThresholdsView

_NO_TRUTH = (
    "Known only on images with truth that did not train this model: import true masks (workbench import PROJECT FILE) to see "
    "how many accepted masks are wrong."
)
_EXACT = "Truth is compared with the distinct pool; choose it to see how many accepted masks are wrong."
_NOT_WHOLE = "Wrong masks are known only where truth holds every object; nothing says here that it does."
_SWITCH = "The switch below the counts does."

_HEAT_PX, _CURVES_PX = 400, 340
_HISTOGRAM_PX = 470  # as tall as the heat map beside it with its controls
_WAITS = "Drawn as soon as the pool has been read."


class LiveFigures:
    """The figures that follow the sliders; each is drawn when there is an answer to show, and anew for another pool."""

    def __init__(self, view: ThresholdsView) -> None:
        self._view = view
        self._made: dict[str, LiveFigure] = {}
        self._made_for: tuple[object, ...] = ()
        self._curves_of: list[Curves] | None = None
        self._streams: list[Any] = []
        wide: dict[str, Any] = {"sizing_mode": "stretch_width"}
        self.heat, self.histogram = pn.Column(layout.note(_WAITS), **wide), pn.Column(layout.note(_WAITS), **wide)
        self.precision_recall = pn.Column(layout.note(_WAITS), **wide)
        self.risk_coverage = pn.Column(layout.note(_WAITS), **wide)

    def send(self, found: Answer) -> None:
        """Show what follows every move."""
        view = self._view
        key = (view.pooled, view.state.axis, view.heat_map.shown.value)
        if key != self._made_for:
            self._made_for = key
            # what is on the page stays until the new figures are, but follows no more
            for name in ("heat", "histogram"):
                self._made.pop(name, None)
            view.soon(self._make)
        elif "heat" in self._made:
            self._made["heat"].show(pool_plots.heat_map_columns(*self._heat(found)))
            self._made["histogram"].show(pool_plots.histogram_columns(*_histogram(found)))
        if not view.live:
            self.send_slow()

    def send_slow(self) -> None:
        """Show what follows when the sliders rest."""
        found, known = self._view.answer, self._view.known_curves
        if found is None:
            return
        if not known or "fp_rate" not in found.rates:
            self._curves_of = None
            for place in (self.precision_recall, self.risk_coverage):
                place.objects = [layout.words(self._why_unknown(found))]
            return
        share = self._coverage(found)
        if self._curves_of is not known:
            self._curves_of = known
            drawn = pool_plots.precision_recall(known, found), pool_plots.risk_coverage(known, found, share)
            self._put("pr", self.precision_recall, drawn[0], _CURVES_PX)
            self._put("rc", self.risk_coverage, drawn[1], _CURVES_PX)
            return
        lines: list[pool_plots.Columns] = [{} for _ in known]
        self._made["pr"].show([*lines, pool_plots.precision_recall_columns(found)])
        self._made["rc"].show([*lines, pool_plots.risk_coverage_columns(found, share)])

    def _make(self) -> None:
        """Draw the figures anew: another pool, axis or content has other ranges and colours."""
        view, found = self._view, self._view.answer
        if found is None:
            return
        heat = pool_plots.heat_map(*self._heat(found))
        image = heat.get(0)
        tap, bounds = hv.streams.Tap(source=image), hv.streams.BoundsXY(source=image, bounds=None)
        lasso = hv.streams.Lasso(source=image)
        tap.add_subscriber(view.guarded(lambda x, y, **_: view.heat_map.tapped(x, y)))
        bounds.add_subscriber(view.guarded(lambda bounds, **_: self._bounds(bounds)))
        lasso.add_subscriber(view.guarded(lambda geometry, **_: self._lasso(geometry)))
        self._streams = [tap, bounds, lasso]
        self._put("heat", self.heat, heat, _HEAT_PX)
        self._put("histogram", self.histogram, pool_plots.histogram(*_histogram(found)), _HISTOGRAM_PX)

    def _put(self, name: str, place: pn.Column, drawn: hv.Overlay, height: int) -> None:
        self._made[name] = LiveFigure(drawn, height)
        place.objects = [self._made[name].pane]

    def _why_unknown(self, found: Answer) -> str:
        """Say why nothing is known of wrong masks, and what would tell, as markup."""
        if found.rates and "fp_rate" not in found.rates:
            return layout.hinted(_NOT_WHOLE, _SWITCH)
        return layout.small(_EXACT if found.kind == "exact" else _NO_TRUTH)

    def _coverage(self, found: Answer) -> float:
        """Share of the distinct proposals on images with truth that is accepted."""
        pooled = self._view.pooled
        return found.rates["fp_rate"].n / len(pooled.compared) if pooled and len(pooled.compared) else math.nan

    def _heat(self, found: Answer) -> tuple[Any, ...]:
        """Return what the heat map is drawn from."""
        view, error = self._view, None
        shown = view.heat_map.shown.value
        if shown == "error" and view.pooled is not None:
            by_truth = "fp_rate" in found.rates
            error = error_map(view.pooled, found.heat, view.state.axis, view.audits, by_truth)[0]
        return found.heat, shown, found.config, view.state.axis, error

    def _bounds(self, bounds: tuple[float, float, float, float] | None) -> None:
        if bounds is not None:
            x0, y0, x1, y1 = bounds
            self._view.heat_map.select(np.array([x0, x1]), np.array([y0, y1]))

    def _lasso(self, geometry: np.ndarray | None) -> None:
        if geometry is not None and len(geometry) > 2:
            self._view.heat_map.select(np.asarray(geometry)[:, 0], np.asarray(geometry)[:, 1])


def _histogram(found: Answer) -> tuple[Any, ...]:
    """Return what the histogram is drawn from."""
    return found.histogram, found.config.predicted_iou, found.kind
