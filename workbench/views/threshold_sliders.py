"""The controls of the thresholds page: sliders, switches and the choice of pool, bound to the state."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import panel_material_ui as pmui

from workbench.views import layout
from workbench.views.threshold_state import Thresholds

_POOLS = {"Distinct: after NMS": "distinct", "Exact: NMS moves too": "exact"}

_AT_ONCE = {"& .MuiSlider-thumb, & .MuiSlider-track": {"transition": "none"}}  # a glide is drawn over and over


def controls(state: Thresholds) -> list[Any]:
    """Return the controls; each follows the state and moves it, at every step of a drag.

    The ends of a slider are what is usual; it widens to wherever settings, experiments or an address put it.
    """
    wide: dict[str, Any] = {"sizing_mode": "stretch_width", "margin": (4, 14), "sx": _AT_ONCE}

    def slider(name: str, label: str, low: float, high: float, step: float) -> Any:
        made: Any = pmui.FloatSlider.from_param(
            state.param[name], label=label, start=low, end=high, step=step, format="0.[000]", **wide
        )
        made._debounce = 0  # Panel waits for further positions; here each is answered, and dropped when it is overtaken
        return _widening(state, name, made)

    pool = pmui.RadioBoxGroup.from_param(state.param.pool, label="pool", options=_POOLS, margin=(4, 14))
    jitter = pmui.Switch.from_param(state.param.by_jitter, label="jitter stability counts", margin=(8, 14))
    stability = pmui.Switch.from_param(state.param.by_stability, label="stability score counts", margin=(8, 14))
    jitters = [
        slider("jitter_stability", "jitter stability, accepted from", 0, 1, 0.005),
        slider("jitter_stability_margin", "flagged within, below it", 0, 1, 0.005),
    ]
    stabilities = [
        slider("stability_score", "stability score, accepted from", 0.5, 1, 0.005),
        slider("stability_score_margin", "flagged within, below it", 0, 0.5, 0.005),
    ]
    nms = slider("nms_iou", "NMS: overlap of boxes that makes a duplicate", 0.4, 1, 0.01)
    nms_note = layout.note("Duplicates are settled in the distinct pool; choose the exact pool to move NMS.")
    for switch, widgets in (("by_jitter", jitters), ("by_stability", stabilities)):
        for widget in widgets:
            _follow(state, switch, widget, "disabled", lambda on: not on)
    _follow(state, "pool", nms, "disabled", lambda pool: pool != "exact")
    _follow(state, "pool", nms_note, "visible", lambda pool: pool != "exact")
    back = pmui.Button(label="Back to the project's triage", variant="text", size="small", margin=(8, 10))
    back.on_click(lambda _: state.take(state.base))
    area = state.param.min_area_px
    least = pmui.IntSlider.from_param(area, label="smallest area, px", start=0, end=2000, step=5, **wide)
    return [
        _head("Thresholds"),
        slider("predicted_iou", "predicted IoU, accepted above", 0.3, 1.1, 0.005),
        slider("predicted_iou_margin", "flagged within, below it", 0, 0.6, 0.005),
        jitter,
        *jitters,
        stability,
        *stabilities,
        _widening(state, "min_area_px", least),
        slider("max_area_share", "largest share of the image", 0, 1, 0.01),
        _head("Pool"),
        pool,
        nms,
        nms_note,
        back,
    ]


def _widening(state: Thresholds, name: str, slider: Any) -> Any:
    """Return a slider whose ends move out to its parameter: settings may lie beyond what is usual."""

    def widen(value: float) -> None:
        slider.param.update(start=min(slider.start, value), end=max(slider.end, value))

    widen(getattr(state, name))
    state.param.watch(lambda event: widen(event.new), name)
    return slider


def _follow(state: Thresholds, name: str, widget: Any, what: str, meaning: Callable[[Any], bool]) -> None:
    """Keep a property of a widget in step with a parameter."""
    setattr(widget, what, meaning(getattr(state, name)))
    state.param.watch(lambda event: setattr(widget, what, meaning(event.new)), name)


def _head(text: str) -> Any:
    return pmui.Typography(text, variant="subtitle1", margin=(12, 14, 0, 14))
