"""The figures of the thresholds page: fed through pipes as the sliders move, with clicks, boxes and lassos going back."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import holoviews as hv
import numpy as np
import panel as pn

from workbench.views import layout, pool_plots
from workbench.views.thresholds import Answer, error_map

if TYPE_CHECKING:
    from workbench.views.page_thresholds import ThresholdsView

_NO_TRUTH = "Known only where the truth is: import true masks (workbench import PROJECT FILE) to see how many accepted masks are wrong."


_HISTOGRAM_PX = 470  # as tall as the heat map beside it with its controls
_WAITS = "Drawn as soon as the pool has been read."


class LiveFigures:
    """The figures that follow the sliders, each fed through a pipe; they are made when there is an answer to show."""

    def __init__(self, view: ThresholdsView) -> None:
        self._view = view
        self._pipes: dict[str, Any] = {}
        self._made_for: tuple[object, ...] = ()
        self._streams: list[Any] = []
        wide: dict[str, Any] = {"sizing_mode": "stretch_width"}
        self.heat, self.histogram = pn.Column(layout.note(_WAITS), **wide), pn.Column(layout.note(_WAITS), **wide)
        self.precision_recall = pn.Column(layout.note(_WAITS), **wide)
        self.risk_coverage = pn.Column(layout.note(_WAITS), **wide)

    def send(self, found: Answer) -> None:
        """Draw what follows every move."""
        key = (id(self._view.pooled), self._view.state.axis)
        if key != self._made_for:
            self._made_for = key
            self._view.soon(self._make)
        else:
            for name in ("heat", "lines", "bars"):
                if name in self._pipes:
                    self._pipes[name].send(found)
        if not self._view.live:
            self.send_slow()

    def send_slow(self) -> None:
        """Draw what follows when the sliders rest."""
        found, judged = self._view.answer, bool(self._view.known_curves)
        if found is None:
            return
        for name, place in (("pr", self.precision_recall), ("rc", self.risk_coverage)):
            if not judged or not found.rates:
                self._pipes.pop(name, None)
                place.objects = [layout.note(_NO_TRUTH)]
            elif name in self._pipes:
                self._pipes[name].send(found)
            else:
                self._pipes[name] = hv.streams.Pipe(data=found)
                place.objects = [layout.figure(self.curve(name), 300)]

    def _make(self) -> None:
        """Make the figures anew: another pool or axis has other ranges."""
        view = self._view
        found = view.answer
        self._pipes.update({name: hv.streams.Pipe(data=found) for name in ("heat", "lines", "bars")})
        heat = hv.DynamicMap(self._heat, streams=[self._pipes["heat"]])
        lines = hv.DynamicMap(self._lines, streams=[self._pipes["lines"]])
        tap, bounds = hv.streams.Tap(source=heat), hv.streams.BoundsXY(source=heat, bounds=None)
        lasso = hv.streams.Lasso(source=heat)
        tap.add_subscriber(view.guarded(lambda x, y, **_: view.heat_map.tapped(x, y)))
        bounds.add_subscriber(view.guarded(lambda bounds, **_: self._bounds(bounds)))
        lasso.add_subscriber(view.guarded(lambda geometry, **_: self._lasso(geometry)))
        self._streams = [tap, bounds, lasso]
        both = pool_plots.with_lines(heat, lines)
        self.heat.objects = [layout.figure(both, 400)]
        bars = hv.DynamicMap(self._bars, streams=[self._pipes["bars"]])
        self.histogram.objects = [layout.figure(bars, _HISTOGRAM_PX)]

    def curve(self, name: str) -> Any:
        """Return the figure of precision and recall, or of risk and coverage."""
        make: dict[str, Callable[[Answer], Any]] = {
            "pr": lambda found: pool_plots.precision_recall(self._view.known_curves, found),
            "rc": lambda found: pool_plots.risk_coverage(self._view.known_curves, found, self._coverage(found)),
        }
        return hv.DynamicMap(lambda data: make[name](data), streams=[self._pipes[name]])

    def _coverage(self, found: Answer) -> float:
        """Share of the distinct proposals on images with truth that is accepted."""
        pooled = self._view.pooled
        return found.rates["fp_rate"].n / len(pooled.compared) if pooled and len(pooled.compared) else math.nan

    def _heat(self, data: Answer) -> hv.Image:
        view = self._view
        error = None
        if view.heat_map.shown.value == "error" and view.pooled is not None:
            error = error_map(view.pooled, data.heat, view.state.axis, view.audits)[0]
        return pool_plots.heat_map(data.heat, view.heat_map.shown.value, view.state.axis, error)

    def _lines(self, data: Answer) -> hv.Overlay:
        return pool_plots.cross(data.config.predicted_iou, getattr(data.config, self._view.state.axis))

    def _bars(self, data: Answer) -> hv.Overlay:
        return pool_plots.histogram(data.histogram, data.config.predicted_iou, data.kind)

    def _bounds(self, bounds: tuple[float, float, float, float] | None) -> None:
        if bounds is not None:
            x0, y0, x1, y1 = bounds
            self._view.heat_map.select(np.array([x0, x1]), np.array([y0, y1]))

    def _lasso(self, geometry: np.ndarray | None) -> None:
        if geometry is not None and len(geometry) > 2:
            self._view.heat_map.select(np.asarray(geometry)[:, 0], np.asarray(geometry)[:, 1])
