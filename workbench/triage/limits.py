"""Thresholds as the pools compare them, and the refusal of settings that a pool cannot answer for."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from workbench.config import ProposeConfig, TriageConfig
from workbench.masks.compiled import compiled

THRESHOLDS = (
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


def refuse(
    base: TriageConfig, asked: TriageConfig, floors: ProposeConfig | None, movable: tuple[str, ...] = THRESHOLDS
) -> None:
    """Raise PoolError where `asked` differs from `base` in more than `movable`, or reaches below `floors`."""
    stored, wanted = base.to_dict(), asked.to_dict()
    other = [name for name in stored if name not in movable and stored[name] != wanted[name]]
    if other:
        name = other[0]
        raise PoolError(
            f"the pool was built for {name}={stored[name]!r}, asked for {wanted[name]!r};"
            f" only {', '.join(movable)} move over it: build another with base=config"
        )
    if floors is None:
        return
    lowest = asked.predicted_iou - asked.predicted_iou_margin
    if np.float32(lowest) < np.float32(floors.predicted_iou_floor):
        raise PoolError(
            f"rows are stored above a predicted IoU of {floors.predicted_iou_floor:g}, asked for those above {lowest:g}"
            " (threshold minus margin): raise predicted_iou, lower its margin, or propose again with"
            f" predicted_iou_floor={lowest:g}"
        )
    if floors.stability_floor is not None:
        _refuse_stability(asked, floors.stability_floor)


def _refuse_stability(asked: TriageConfig, floor: float) -> None:
    lowest = None if asked.stability_score is None else asked.stability_score - asked.stability_score_margin
    if lowest is None or np.float32(lowest) < np.float32(floor):
        got = "all, its threshold being off" if lowest is None else f"those from {lowest:g} (threshold minus margin)"
        raise PoolError(
            f"rows are stored from a stability score of {floor:g}, asked for {got}:"
            " raise stability_score, lower its margin, or propose again with a lower stability_floor"
        )
