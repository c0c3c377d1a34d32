"""The controls of the thresholds page: sliders, switches and the choice of pool, bound to the state."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import panel_material_ui as pmui
import param

from workbench.views import layout
from workbench.views.threshold_state import Thresholds

_POOLS = {"Distinct: after NMS": "distinct", "Exact: NMS moves too": "exact"}

_RULES = {
    "": "",
    "doubts": "A mask that is not above it is flagged, whatever its scores are.",
    "decides": "It decides: what is above it is accepted and nothing else. The thresholds below sort the rest.",
}
_AT_ONCE = {"& .MuiSlider-thumb, & .MuiSlider-track": {"transition": "none"}}  # a glide is drawn over and over
_WIDE: dict[str, Any] = {"sizing_mode": "stretch_width", "margin": (4, 14), "sx": _AT_ONCE}
_DECIMALS: dict[str, Any] = {"format": "0.[000]"}
_DRIFT = 1e-9  # browsers add step to step: 0.88 less twenty times 0.005 is 0.7799999999999999


def controls(state: Thresholds) -> list[Any]:
    """Return the controls; each follows the state and moves it, at every step of a drag.

    The ends of a slider are what is usual; it widens to wherever settings, experiments or an address put it.
    """
    slider = functools.partial(_slider, state)
    pool = pmui.RadioBoxGroup.from_param(state.param.pool, label="pool", options=_POOLS, margin=(4, 14))
    jitters = (
        slider("jitter_stability", "jitter stability, accepted from", 0, 1, 0.005),
        slider("jitter_stability_margin", "flagged within, below it", 0, 1, 0.005),
    )
    stabilities = (
        slider("stability_score", "stability score, accepted from", 0.5, 1, 0.005),
        slider("stability_score_margin", "flagged within, below it", 0, 0.5, 0.005),
    )
    nms = slider("nms_iou", "NMS: overlap of boxes that makes a duplicate", 0.4, 1, 0.01)
    nms_note = layout.note("")
    settled, choose = "Duplicates are settled in the distinct pool", "; choose the exact pool to move NMS"
    _follow(
        state, "rule", nms_note, "object", lambda rule: layout.small(f"{settled}{'' if rule == 'decides' else choose}.")
    )
    _follow(state, "pool", nms, "disabled", lambda pool: pool != "exact")
    _follow(state, "pool", nms_note, "visible", lambda pool: pool != "exact")
    confidence = slider("confidence", "confidence, accepted above", 0, 1, 0.005)
    confidence_note = layout.note("")
    _follow(state, "rule", confidence, "visible", bool)
    # the exact pool compares no rows that fail, so that no confidence decides there
    _follow(state, "rule", pool, "disabled", lambda rule: rule == "decides")
    _follow(state, "rule", confidence_note, "visible", bool)
    _follow(state, "rule", confidence_note, "object", lambda rule: layout.small(_RULES[rule]))
    back = pmui.Button(label="Back to the project's triage", variant="text", size="small", margin=(8, 10))
    back.on_click(lambda _: state.take(state.base))
    return [
        _head("Thresholds"),
        confidence,
        confidence_note,
        slider("predicted_iou", "predicted IoU, accepted above", 0.3, 1.1, 0.005),
        slider("predicted_iou_margin", "flagged within, below it", 0, 0.6, 0.005),
        *_switched(state, "by_jitter", "jitter stability counts", jitters),
        *_switched(state, "by_stability", "stability score counts", stabilities),
        slider("min_area_px", "smallest area, px", 0, 2000, 5),
        slider("max_area_share", "largest share of the image", 0, 1, 0.01),
        _head("Pool"),
        pool,
        nms,
        nms_note,
        back,
    ]


def _slider(state: Thresholds, name: str, label: str, low: float, high: float, step: float) -> Any:
    """Return a slider of a parameter. Its ends move out to where the parameter is put; the state stays exactly there."""
    kind, more = (pmui.IntSlider, {}) if isinstance(state.param[name], param.Integer) else (pmui.FloatSlider, _DECIMALS)
    made: Any = kind(value=getattr(state, name), label=label, start=low, end=high, step=step, **_WIDE, **more)
    made._debounce = 0  # Panel waits for further positions; here each is answered, and dropped when it is overtaken

    def follow(value: float) -> None:
        made.param.update(start=min(made.start, value), end=max(made.end, value))
        if abs(made.value - value) > _DRIFT:
            made.value = value

    def move(value: float) -> None:
        if abs(getattr(state, name) - value) > _DRIFT:
            setattr(state, name, round(value, 9))

    follow(getattr(state, name))
    state.param.watch(lambda event: follow(event.new), name)
    made.param.watch(lambda event: move(event.new), "value")
    return made


def _switched(state: Thresholds, name: str, label: str, sliders: Sequence[Any]) -> list[Any]:
    """Return a switch, and after it the sliders that count only when it is on."""
    for widget in sliders:
        _follow(state, name, widget, "disabled", lambda on: not on)
    return [pmui.Switch.from_param(state.param[name], label=label, margin=(8, 14)), *sliders]


def _follow(state: Thresholds, name: str, widget: Any, what: str, meaning: Callable[[Any], Any]) -> None:
    """Keep a property of a widget in step with a parameter."""
    setattr(widget, what, meaning(getattr(state, name)))
    state.param.watch(lambda event: setattr(widget, what, meaning(event.new)), name)


def _head(text: str) -> Any:
    return pmui.Typography(text, variant="subtitle1", margin=(12, 14, 0, 14))
