"""The card of the heat map: what it shows, and how a click, a box or a lasso on it becomes thresholds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import panel as pn
import panel_material_ui as pmui

from workbench.views import layout, pool_plots
from workbench.views.thresholds import inside

if TYPE_CHECKING:
    from workbench.views.page_thresholds import ThresholdsView

_MOVED_BY = {"jitter_stability": "by_jitter", "stability_score": "by_stability"}  # switches of the axes upwards


class HeatMap:
    """What the heat map shows and what was chosen on it; the figure itself is one of `LiveFigures`."""

    def __init__(self, view: ThresholdsView) -> None:
        self._view = view
        self._corner: tuple[float, float] | None = None  # of the region chosen last
        self.shown = pmui.RadioButtonGroup(
            label="heat map shows", options={"accepted": "accepted", "number": "number"}, value="accepted", size="small"
        )
        self.chosen, self.left_out = layout.words(""), layout.words("")
        self.use_region = pmui.Button(
            label="Accept from its lower left corner", size="small", variant="outlined", visible=False
        )
        self.use_region.on_click(view.guarded(lambda _: self._take_region()))

    def offer(self, error: bool) -> None:
        """Offer the map of errors where it is known."""
        options = ["accepted", "number", *(["error"] if error else [])]
        if list(self.shown.options) != options:
            shown = self.shown.value if self.shown.value in options else options[0]
            self.shown.param.update(options=dict(zip(options, options, strict=True)), value=shown)

    def say_left_out(self, rows: int) -> None:
        """Say how many rows are not in the map, since they have no value upwards."""
        name = pool_plots.NAMES[self._view.state.axis]
        self.left_out.object = (
            layout.small(f"{rows:,} have no {name}, or one far off, and are not in the map.") if rows else ""
        )

    def tapped(self, x: float | None, y: float | None) -> None:
        """Put the thresholds where the heat map was clicked."""
        view = self._view
        if x is None or y is None or view.answer is None:
            return
        axis = view.state.axis
        view.state.param.update(
            **{"predicted_iou": round(float(x), 3), axis: round(min(1.0, float(y)), 3), _MOVED_BY[axis]: True}
        )

    def select(self, xs: np.ndarray, ys: np.ndarray) -> None:
        """Say what lies in a region of the heat map, a box or a lasso."""
        view = self._view
        found = inside(view.answer.heat, xs, ys) if view.answer is not None else None
        self.use_region.visible = found is not None
        if found is None:
            self.chosen.object = ""
            return
        self._corner = (found.x_low, found.y_low)
        parts = ", ".join(f"{n:,} {name.replace('_', ' ')}" for name, n in found.counts.items() if n) or "none"
        self.chosen.object = (
            f'<p role="status">In the region: {layout.escape(parts)}. Its lower left corner: predicted IoU '
            f"{found.x_low:.3f}, {layout.escape(pool_plots.NAMES[view.state.axis])} {found.y_low:.3f}.</p>"
        )

    def _take_region(self) -> None:
        if self._corner is not None:
            self.tapped(*self._corner)

    def card(self, figure: pn.Column) -> pn.Column:
        """Return the card around the figure."""
        return layout.card(
            "Where proposals lie",
            pn.Row(self.shown, self._axis_choice(), sizing_mode="stretch_width", height=72),
            figure,
            self.left_out,
            self.chosen,
            self.use_region,
            hint="A click puts both thresholds there. A box or a lasso says what lies within.",
        )

    def _axis_choice(self) -> Any:
        """Return the choice of what the heat map has upwards."""
        axis = self._view.state.param.axis
        return pmui.Select.from_param(
            axis, label="upwards", options={pool_plots.NAMES[a]: a for a in axis.objects}, size="small", width=190
        )
