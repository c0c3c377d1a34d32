"""Thresholds as the pools compare them, and the refusal of settings that a pool cannot answer for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from workbench.config import ProposeConfig, TriageConfig, preset_for
from workbench.masks.compiled import compiled

_AFTER_NMS = {"min_region_area_px": "cleaned of regions below {} px", "refine": "asked a second time"}
HOW = ("points_per_batch", "images_per_batch", "decoder")  # of a run: how masks are computed, not which there are
_OF_TRIAGE = ("nms", "nms_iou", "pool")
_BESIDE = ("crop_nms_iou", "jitter_prompts", "jitter_sigma_px", "features", "seed")  # say nothing of which are distinct
_DECIDE = ("confidence", "confidence_rule", "confidence_model", "min_area_px", "max_area_share", *_OF_TRIAGE)
THRESHOLDS = (
    "confidence",
    "predicted_iou",
    "predicted_iou_margin",
    "jitter_stability",
    "jitter_stability_margin",
    "stability_score",
    "stability_score_margin",
    "min_area_px",
    "max_area_share",
)  # what may move over a pool that is built


class PoolError(ValueError):
    """Settings that the pool cannot answer for as triage would; the message says what was stored, asked, and to do."""


class Limits(NamedTuple):
    """Thresholds cast to float32 once, as in `workbench.triage.rules`: below `fail_` discarded, from `pass_` accepted.

    The predicted IoU has to be greater than its limit, the stabilities at least theirs.
    """

    fail_iou: np.float32
    pass_iou: np.float32
    by_stability: bool
    fail_stability: np.float32
    pass_stability: np.float32
    by_jitter: bool
    fail_jitter: np.float32
    pass_jitter: np.float32
    least_area_px: int


def limits(config: TriageConfig) -> Limits:
    """Return the thresholds of `config` as numbers to compare columns with."""
    stability = config.stability_score if config.stability_score is not None else 0.0
    jitter = config.jitter_stability if config.jitter_stability is not None else 0.0
    return Limits(
        np.float32(config.predicted_iou - config.predicted_iou_margin),
        np.float32(config.predicted_iou),
        config.stability_score is not None,
        np.float32(stability - config.stability_score_margin),
        np.float32(stability),
        config.jitter_stability is not None,
        np.float32(jitter - config.jitter_stability_margin),
        np.float32(jitter),
        min(config.min_area_px, 2**62),
    )


@compiled
def passes_but_for_iou(
    stability: np.float32, jitter: np.float32, area_px: int, most_area_px: int, least: Limits
) -> bool:
    """Whether a row is not discarded, whatever its predicted IoU. A jitter that is missing discards nothing."""
    # without branches: which rows pass cannot be predicted
    return bool(
        (area_px >= least.least_area_px)
        & (area_px <= most_area_px)
        & ((not least.by_stability) | (stability >= least.fail_stability))
        & ((not least.by_jitter) | (not jitter < least.fail_jitter))
    )


@compiled
def doubtful(iou: np.float32, stability: np.float32, jitter: np.float32, least: Limits) -> bool:
    """Whether a row that is not discarded has the reason borderline_score or jitter_missing."""
    return bool(
        (not iou > least.pass_iou)
        | (least.by_stability & (not stability >= least.pass_stability))
        | (least.by_jitter & (not jitter >= least.pass_jitter))  # true of NaN: jitter_missing
    )


def settled(config: TriageConfig, movable: tuple[str, ...] = THRESHOLDS) -> dict[str, object]:
    """Return what does not move over a pool that is built, by name: also that no confidence is asked for."""
    values = {name: value for name, value in config.to_dict().items() if name not in movable}
    return values if config.confidence is not None else {**values, "confidence": None}


def refuse(
    base: TriageConfig, asked: TriageConfig, floors: ProposeConfig | None, movable: tuple[str, ...] = THRESHOLDS
) -> None:
    """Raise PoolError where `asked` differs from `base` in more than `movable`, or reaches below `floors`."""
    stored, wanted = settled(base, movable), settled(asked, movable)
    other = [name for name in base.to_dict() if stored.get(name, ...) != wanted.get(name, ...)]
    if other:
        name = other[0]
        raise PoolError(
            f"the pool was built for {name}={getattr(base, name)!r}, asked for {getattr(asked, name)!r};"
            f" only {', '.join(movable)} move over it: build another with base=config"
        )
    if floors is not None:
        refuse_below(asked, floors)


def refuse_below(asked: TriageConfig, floors: ProposeConfig) -> None:
    """Raise PoolError where `asked` would keep rows that a run with the settings `floors` did not store."""
    refuse_duplicates(asked, floors)
    lowest = asked.predicted_iou - asked.predicted_iou_margin
    if np.float32(lowest) < np.float32(floors.predicted_iou_floor):
        raise PoolError(
            f"rows are stored above a predicted IoU of {floors.predicted_iou_floor:g}, asked for those above {lowest:g}"
            " (threshold minus margin): raise predicted_iou, lower predicted_iou_margin, or propose again with"
            f" predicted_iou_floor={lowest:g}"
        )
    if floors.stability_floor is not None:
        _refuse_stability(asked, floors.stability_floor)


def refuse_no_replay(floors: ProposeConfig) -> None:
    """Raise PoolError where a run stored too little to replay NMS after other thresholds, as pool="exact" asks for."""
    refuse_unanswerable(floors)
    if changed := [words.format(value) for name, words in _AFTER_NMS.items() if (value := getattr(floors, name))]:
        raise PoolError(
            f"masks were {' and '.join(changed)}, which cannot be replayed from before NMS: take pool='distinct'"
            f" (DistinctPool), or propose again with {_replayed(floors)}"
        )
    if floors.pool != "exact":
        raise PoolError(
            f"rows were stored with pool={floors.pool!r}, after NMS at {floors.nms_iou:g}: what it suppressed cannot"
            " come back; take pool='distinct' (DistinctPool), or propose again with pool='exact'"
        )


def _replayed(floors: ProposeConfig) -> str:
    """Return the settings, in words, with which a run like this one would store rows before NMS."""
    plain = [f"{name}={type(value)()!r}" for name in _AFTER_NMS if (value := getattr(floors, name))]
    return " and ".join([*plain, "pool='exact'"])


def refuse_duplicates(asked: TriageConfig, floors: ProposeConfig) -> None:
    """Raise PoolError where rows were stored after NMS, and `asked` has another: which rows it drops is not known."""
    if asked.pool == "exact":
        refuse_no_replay(floors)
    if floors.pool != "distinct":
        return
    stored = {"nms": floors.nms, "nms_iou": floors.nms_iou}
    wanted = {"nms": asked.nms, "nms_iou": asked.nms_iou}
    if stored == wanted and (not floors.crop_n_layers or floors.crop_nms_iou == asked.nms_iou):
        return
    crops = again = ""
    if floors.crop_n_layers:
        crops = f", between crops at {floors.crop_nms_iou:g}"
        again = f"nms={asked.nms!r}, nms_iou={asked.nms_iou:g} and crop_nms_iou={asked.nms_iou:g}, or "
    raise PoolError(
        f"rows are stored after NMS ({floors.nms}) at {floors.nms_iou:g}{crops}, asked for NMS ({asked.nms}) at"
        f" {asked.nms_iou:g}: take the same nms and nms_iou, or propose again with {again}{_replayed(floors)}"
    )


def population(floors: ProposeConfig, config: TriageConfig) -> dict[str, object]:
    """Return the settings that say which masks the distinct proposals are, by name: the grid, the floors, and the NMS.

    They are the same wherever rates among distinct proposals are compared.
    """
    of_run = {n: v for n, v in floors.to_dict().items() if n not in (*HOW, *_BESIDE, *_OF_TRIAGE)}
    return of_run | {name: getattr(config, name) for name in _OF_TRIAGE}


def unmeasured(asked: TriageConfig, floors: ProposeConfig) -> str:
    """Return which masks that `asked` keeps a run did not measure with moved prompts, in words; "" for none."""
    if asked.jitter_stability is None:
        return ""
    if not floors.jitter_prompts:
        return (
            "the run measured no jitter, so that no mask is accepted by its thresholds (jitter_missing): take"
            " jitter_stability=None, or propose again with jitter_prompts=10"
        )
    if (asked.nms, asked.nms_iou, asked.pool) == (floors.nms, floors.nms_iou, "distinct"):
        return ""
    return (
        f"jitter was measured of what survives NMS ({floors.nms}) at {floors.nms_iou:g} of all stored masks; what stays only by"
        f" NMS ({asked.nms}) at {asked.nms_iou:g} with pool={asked.pool!r} is flagged (jitter_missing), where a fresh run would"
        " measure it: propose again with these settings as floors to know"
    )


def idle(config: TriageConfig, names: Iterable[str]) -> str:
    """Return, in words, which of some thresholds accept neither more nor less since a confidence decides; "" for none."""
    still = [name for name in names if name not in _DECIDE]
    if config.confidence_rule != "decides" or not still:
        return ""
    return (
        f"a confidence decides what is accepted (confidence_rule), so that {' and '.join(still)} only sorts the rest: move confidence,"
        " or go by scores, with confidence_rule='doubts' (--set confidence_rule=doubts)"
    )


def refuse_unanswerable(floors: ProposeConfig) -> None:
    """Raise PoolError where no triage could replay the NMS of a run: before it takes hours."""
    if floors.crop_n_layers and floors.crop_nms_iou != floors.nms_iou:
        raise PoolError(
            f"NMS runs at {floors.nms_iou:g} within crops and at {floors.crop_nms_iou:g} between them, and triage has one NMS,"
            f" which cannot replay it: propose with crop_nms_iou={floors.nms_iou:g}"
        )


def fitting(model_id: str, floors: ProposeConfig) -> TriageConfig:
    """Return the thresholds of the preset that fits a model, moved to where the floors of a run allow them."""
    return fitted(preset_for(model_id).thresholds(floors), floors)


def fitted(config: TriageConfig, floors: ProposeConfig) -> TriageConfig:
    """Return settings that keep nothing below the floors of a run, and have its NMS where its rows are stored after one."""
    values: dict[str, object] = {}
    if floors.pool == "distinct":
        values |= {"nms": floors.nms, "nms_iou": floors.nms_iou, "pool": "distinct"}
    floor = floors.predicted_iou_floor
    if np.float32(config.predicted_iou - config.predicted_iou_margin) < np.float32(floor):
        accepted = max(config.predicted_iou, floor)
        values |= {"predicted_iou": accepted, "predicted_iou_margin": _margin(accepted, floor)}
    floor_s = floors.stability_floor
    if floor_s is not None:
        accepted = max(config.stability_score or 0.0, floor_s)
        margin = min(config.stability_score_margin, _margin(accepted, floor_s))
        values |= {"stability_score": accepted, "stability_score_margin": margin}
    return config.replace(**values) if values else config


def _margin(accepted: float, floor: float) -> float:
    """Return the largest margin below a threshold that does not reach below the floor in single precision."""
    margin = round(accepted - floor, 6)
    while margin > 0 and np.float32(accepted - margin) < np.float32(floor):
        margin = max(0.0, margin - 1e-6)
    return margin


def _refuse_stability(asked: TriageConfig, floor: float) -> None:
    lowest = None if asked.stability_score is None else asked.stability_score - asked.stability_score_margin
    if lowest is None or np.float32(lowest) < np.float32(floor):
        got = "all, its threshold being off" if lowest is None else f"those from {lowest:g} (threshold minus margin)"
        raise PoolError(
            f"rows are stored from a stability score of {floor:g}, asked for {got}:"
            " raise stability_score, lower stability_score_margin, or propose again with a lower stability_floor"
        )
