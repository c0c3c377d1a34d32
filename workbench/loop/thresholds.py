"""Thresholds read off calibration images: calibrated, not certified, which takes more labels than early cycles have."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from workbench.config import ProposeConfig, TriageConfig
from workbench.tables.outcomes import Outcome, Reason
from workbench.tables.proposals import Proposals
from workbench.triage.limits import fitted
from workbench.triage.rules import triage

LEAST_OF_A_REASON = 10  # labelled masks, before a reason can be found to mean nothing
# how each reason is switched off
_SETTING: dict[Reason, str] = {
    Reason.unusual_shape: "unusual_solidity",
    Reason.unusual_size: "unusual_size_z",
    Reason.overlaps: "overlap",
    Reason.ambiguous: "ambiguous_spread",
    Reason.touches_border: "border_px",
    Reason.low_contrast: "low_contrast",
    Reason.ragged: "ragged_roughness",
    Reason.low_jitter_stability: "jitter_stability",
}


class Calibrated(NamedTuple):
    """Thresholds, and how they came about.

    kind : "calibrated", or "preset" where the labels allow none and the given thresholds stay; note : why
    switched_off : settings whose reason did not tell wrong masks from right ones; labels : masks looked at
    """

    config: TriageConfig
    kind: str
    note: str
    switched_off: tuple[str, ...] = ()
    labels: int = 0


def calibrated(
    base: TriageConfig,
    rows: Proposals,
    right: NDArray[np.bool_],
    wrong: NDArray[np.bool_],
    most_wrong: float,
    floors: ProposeConfig | None = None,
) -> Calibrated:
    """Return the lowest threshold of predicted IoU whose auto-accepted masks are as right as asked.

    First, reasons for doubt are put to the test: one whose masks are as right as asked is switched off. Then the
    threshold is lowered as long as (wrong + 1) ÷ (accepted + 1) stays at most `most_wrong`.

    Parameters
    ----------
    base : thresholds to start from; its area limits and margins stay
    rows : proposals of calibration images; right, wrong : (N,) bool, neither for those that do not count
    most_wrong : share of auto-accepted masks that may be wrong
    floors : of the run, below which no threshold may lie; None for none
    """
    labelled = (right | wrong) & np.isfinite(rows.predicted_iou)
    labels = int(labelled.sum())
    if not labels:
        return Calibrated(base, "preset", "no labelled calibration images yet")
    floor = float(np.min(rows.predicted_iou[labelled])) - 1e-3
    lowest = base.replace(predicted_iou=max(floor, -10.0), predicted_iou_margin=0.0)
    start = _lowest(rows, labelled & _passes(rows, lowest, doubts=False), wrong, most_wrong)
    if start is None:
        return Calibrated(base, "preset", f"no threshold gives {most_wrong:.0%} wrong or fewer", labels=labels)
    off: dict[str, Any] = {}
    sorted_out = triage(rows, lowest).reasons
    above = labelled & (rows.predicted_iou > np.float32(start)) & _passes(rows, lowest, doubts=False)
    for reason, name in _SETTING.items():
        some = above & (sorted_out & int(reason) != 0)
        if some.sum() >= LEAST_OF_A_REASON and wrong[some].mean() <= most_wrong:
            off[name] = None
    config = lowest.replace(**off)
    threshold = _lowest(rows, labelled & _passes(rows, config), wrong, most_wrong)
    if threshold is None:
        return Calibrated(base, "preset", f"no threshold gives {most_wrong:.0%} wrong or fewer", labels=labels)
    margin = min(max(threshold - floor, 0.0), 10.0)
    config = config.replace(predicted_iou=threshold, predicted_iou_margin=margin)
    return Calibrated(config if floors is None else fitted(config, floors), "calibrated", "", tuple(off), labels)


def _passes(rows: Proposals, config: TriageConfig, doubts: bool = True) -> NDArray[np.bool_]:
    """Return which rows would be auto-accepted but for their predicted IoU; without `doubts`, whatever reasons they have."""
    sorted_out = triage(rows, config)
    if doubts:
        return np.asarray(sorted_out.outcome == Outcome.auto_accepted)
    small = sorted_out.reasons & int(Reason.too_small | Reason.too_large) != 0
    return np.asarray(sorted_out.distinct & ~small)


def _lowest(
    rows: Proposals, taking_part: NDArray[np.bool_], wrong: NDArray[np.bool_], most_wrong: float
) -> float | None:
    """Return the lowest threshold at which at most this share is wrong, halfway to the next lower score; None for none."""
    chosen = np.flatnonzero(taking_part)
    if not len(chosen):
        return None
    score = rows.predicted_iou[chosen].astype(np.float64)
    order = np.argsort(-score, kind="stable")
    score, errors = score[order], np.cumsum(wrong[chosen][order])
    counts = np.arange(1, len(score) + 1)
    last_of_equals = np.append(score[:-1] > score[1:], True)
    fits = np.flatnonzero(((errors + 1) / (counts + 1) <= most_wrong) & last_of_equals)
    if not len(fits):
        return None
    k = int(fits[-1])
    return float((score[k] + score[k + 1]) / 2 if k + 1 < len(score) else score[k] - 1e-3)
