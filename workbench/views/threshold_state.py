"""The state of the thresholds page: where its sliders and switches stand, there and back from an address. It knows no Panel."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import param

from workbench.config import TriageConfig
from workbench.triage.limits import THRESHOLDS

SLIDERS = (*THRESHOLDS, "nms_iou")
AXES = ("jitter_stability", "stability_score")


class Thresholds(param.Parameterized):
    """Positions of the sliders; what is off has a switch of its own."""

    pool: Any = param.Selector(default="distinct", objects=["distinct", "exact"], doc="which pool answers")
    predicted_iou = param.Number(default=0.88, bounds=(-10, 10))
    predicted_iou_margin = param.Number(default=0.08, bounds=(0, 10))
    by_jitter = param.Boolean(default=True, doc="whether jitter stability, that under moved prompts, counts")
    jitter_stability = param.Number(default=0.92, bounds=(-100, 1))
    jitter_stability_margin = param.Number(default=0.07, bounds=(0, 10))
    by_stability = param.Boolean(default=False, doc="whether SAM's stability score counts")
    stability_score = param.Number(default=0.95, bounds=(0, 1))
    stability_score_margin = param.Number(default=0.0, bounds=(0, 1))
    min_area_px = param.Integer(default=100, bounds=(0, None))
    max_area_share = param.Number(default=0.9, bounds=(0, 1))
    nms_iou = param.Number(default=0.7, bounds=(0, 1))
    confidence = param.Number(default=0.5, bounds=(0, 1))
    rule: Any = param.Selector(
        default="", objects=["", "doubts", "decides"], doc="of the base; empty where it asks for none"
    )
    exhaustive = param.Boolean(default=False, doc="whether truth is taken to hold every object of its images")
    axis: Any = param.Selector(default="jitter_stability", objects=list(AXES), doc="what the heat map has upwards")

    def __init__(self, base: TriageConfig | None = None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.base = base if base is not None else TriageConfig()
        self._on_record = False
        self.take(self.base)

    def take(self, config: TriageConfig) -> None:
        """Move all sliders to where settings have them; what else the settings say is the base from now on."""
        self.base = config
        self.param.update(pool=config.pool, rule=_rule(config), **_positions(config))

    def start_from(self, config: TriageConfig) -> None:
        """Take other settings as the base; the sliders stay, but for the confidence of a model that the base did not ask."""
        before, self.base = self.base, config
        asked = [(some.confidence_model, some.confidence is None) for some in (before, config)]
        moved = {"confidence": _positions(config)["confidence"]} if asked[0] != asked[1] else {}
        pool = "distinct" if _rule(config) == "decides" else self.pool
        self.param.update(rule=_rule(config), pool=pool, **moved)

    def move(self, config: TriageConfig) -> None:
        """Move the sliders and the pool to where settings have them; what the sliders start from stays."""
        self.param.update(pool=config.pool, **_positions(config))

    def follow_record(self, exhaustive: bool) -> None:
        """Take what is on record of the truth, unless the switch was moved away from it."""
        before, self._on_record = self._on_record, exhaustive
        if self.exhaustive == before:
            self.exhaustive = exhaustive

    @property
    def config(self) -> TriageConfig:
        """Settings with the sliders as they stand. Raises SettingError."""
        values: dict[str, Any] = {name: getattr(self, name) for name in SLIDERS}
        values["jitter_stability"] = self.jitter_stability if self.by_jitter else None
        values["stability_score"] = self.stability_score if self.by_stability else None
        values["confidence"] = self.confidence if self.rule else None
        if self.pool == "distinct":
            values["nms_iou"] = self.base.nms_iou  # duplicates are settled when the pool is built
        return self.base.replace(**values, pool=self.pool)

    def to_query(self) -> dict[str, str]:
        """Return all positions for the address of the page, when any differs from the base: the base may change later."""
        now = _state(self)
        default = {name: self.param[name].default for name in now}
        was = {**default, **_positions(self.base), "pool": self.base.pool, "exhaustive": self._on_record}
        return {} if now == {name: was[name] for name in now} else {name: _text(value) for name, value in now.items()}

    def from_query(self, query: Mapping[str, str]) -> list[str]:
        """Move sliders to where an address has them; return a line for each part of it that makes no sense."""
        problems = []
        for name, text in query.items():
            if name not in _state(self):
                continue
            before = getattr(self, name)
            try:
                value = _parsed(self, name, text)
                # tried in silence first: two values that fit alone may not fit together
                with param.discard_events(self):
                    setattr(self, name, value)
                    self.config  # noqa: B018 - refuses what no settings may have
                    setattr(self, name, before)
                setattr(self, name, value)
            except (ValueError, TypeError, OverflowError):  # SettingError is a ValueError
                with param.discard_events(self):
                    setattr(self, name, before)
                problems.append(
                    f"{name}: the address has {text[:40]!r}, which is no value for it here; it was left as it is"
                )
        return problems


def _positions(config: TriageConfig) -> dict[str, Any]:
    values = {name: getattr(config, name) for name in SLIDERS}
    switches = {"by_jitter": config.jitter_stability is not None, "by_stability": config.stability_score is not None}
    if config.confidence is None:
        values["confidence"] = Thresholds.param.confidence.default
    return {**{name: value for name, value in values.items() if value is not None}, **switches}


def _rule(config: TriageConfig) -> str:
    return config.confidence_rule if config.confidence is not None else ""


def _state(state: Thresholds) -> dict[str, Any]:
    names = (*SLIDERS, "by_jitter", "by_stability", "pool", "axis", "exhaustive")
    return {name: getattr(state, name) for name in names if name != "confidence" or state.rule}


def _text(value: object) -> str:
    """Return a value so that `_parsed` gives exactly it: a threshold one ulp off is another one."""
    return (
        str(value).lower()
        if isinstance(value, bool)
        else repr(float(value))
        if isinstance(value, float)
        else str(value)
    )


def _parsed(state: Thresholds, name: str, text: str) -> Any:
    kind = state.param[name]
    if isinstance(kind, param.Boolean):
        return {"true": True, "false": False}[text.lower()] if text.lower() in ("true", "false") else text
    if isinstance(kind, param.Integer):
        return int(text)
    if isinstance(kind, param.Number):
        value = float(text)
        if not math.isfinite(value):
            raise ValueError(text)
        return value
    return text
