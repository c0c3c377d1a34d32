"""Thresholds read off calibration images: calibrated, not certified, which takes more labels than early cycles have."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from workbench.calibrate.recalibrate import Features, Recalibration, choose
from workbench.config import ProposeConfig, TriageConfig
from workbench.tables.outcomes import Outcome, Reason
from workbench.tables.proposals import Proposals
from workbench.triage.limits import fitted
from workbench.triage.rules import acceptable, triage

Flags = NDArray[np.bool_]

LEAST_FOR_CONFIDENCE = 100  # labelled masks, before a recalibration is asked
ROUNDING = 1e-12  # of shares that are compared
LEAST_FOR_TREES = 24  # images with labels, before trees are tried: from fewer they learn those images
# how each reason is switched off
SETTING: dict[Reason, str] = {
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
    accepted : labelled masks that these thresholds accept
    recalibration : whose p(right) the settings' `confidence` is a threshold of; None where predicted IoU does as well
    """

    config: TriageConfig
    kind: str
    note: str
    switched_off: tuple[str, ...] = ()
    labels: int = 0
    accepted: int = 0
    recalibration: Recalibration | None = None


class Allowed(NamedTuple):
    """How much of what thresholds accept may be wrong.

    share : of auto-accepted masks
    reserve : wrong share of one image more, with as many accepted masks as the others on average, that room is left for

    After Angelopoulos et al. 2022, Conformal risk control: (n R + B) ÷ (n + 1) over n images, B the worst one may do. Here n
    counts the labelled images that have accepted masks. No guarantee as theirs is, since R is pooled over masks.
    """

    share: float
    reserve: float = 0.0

    def with_room(
        self, wrong: NDArray[np.int64], accepted: NDArray[np.int64], images: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Return the share wrong with room for one mask and one image more, of counts of masks on so many images, (N,) each."""
        one_more_mask = (wrong + 1) / (accepted + 1)
        one_more_image = (wrong / accepted * images + self.reserve) / (images + 1)
        return np.asarray(np.maximum(one_more_mask, one_more_image))

    def fits(self, wrong: NDArray[np.int64], accepted: NDArray[np.int64], images: NDArray[np.int64]) -> Flags:
        """Return where counts of wrong and of accepted masks on so many images are allowed, (N,) each."""
        return self.with_room(wrong, accepted, images) <= self.share + ROUNDING

    @property
    def least_images(self) -> int:
        """The fewest images with accepted masks from which a threshold can be read off."""
        return max(1, math.ceil(min(self.reserve / max(self.share, ROUNDING), 1e9) - 1e-9) - 1)


Judge = Callable[[Flags], tuple[Flags, Flags]]
"""Which of chosen rows are right and which are wrong when these alone are matched with the truth, (N,) bool each.

A mask that stays out of what is accepted takes no true mask from one that goes in: `fp_rate` is counted in this way. Of
what a confidence may accept, a mask that fits better takes the true one although its confidence is lower: more counts as wrong.
"""


def calibrated(
    base: TriageConfig,
    rows: Proposals,
    judge: Judge,
    allowed: Allowed,
    floors: ProposeConfig | None = None,
    features: Features | None = None,
) -> Calibrated:
    """Return the thresholds that accept most of calibration images' masks, and these as right as asked.

    First, reasons for doubt are put to the test: one whose masks are as right as asked is switched off. Then a threshold
    is lowered as long as the share wrong is `allowed`: of predicted IoU, or, where features are given and it accepts more,
    of the confidence of a recalibration, which knows the doubts and decides alone. If no threshold is allowed although there
    are enough images, the closest one is taken whose share wrong would be allowed without `reserve`: thresholds read off
    other models are no better than that.

    Parameters
    ----------
    base : thresholds to start from; its area limits and margins stay
    rows : proposals of calibration images; judge : of them, as `Comparison.verdicts`
    allowed : how much of what is accepted may be wrong
    floors : of the run, below which no threshold may lie; None for none
    features : of the rows, that the recalibration looks at; None asks none
    """
    labelled, lowest, floor = _lowest_settings(base, rows, judge)
    labels, images = int(labelled.sum()), len(set(rows.image_id[labelled]))
    if not labels:
        return Calibrated(base, "preset", "no labelled calibration images yet")
    off = _meaningless(lowest, rows, judge, allowed)
    config = lowest.replace(**dict.fromkeys(off))
    passing = _passes(rows, config)
    by_score = _lowest(rows.predicted_iou, rows, passing, judge, allowed)
    rule = "doubts" if config.pool == "exact" else "decides"  # of rows that fail nobody knows there which are distinct
    among = passing if rule == "doubts" else acceptable(triage(rows, config).reasons)
    sure, model = (None, None) if features is None else _by_confidence(rows, features, among, judge, allowed)
    best = max((found for found in (by_score, sure) if found is not None), key=_Found.rank, default=None)
    if best is None:
        return Calibrated(base, "preset", _none_because(allowed, images), labels=labels)
    if best is by_score:
        margin, model = min(max(best.threshold - floor, 0.0), 10.0), None
        config = config.replace(predicted_iou=best.threshold, predicted_iou_margin=margin)
    config = config if floors is None else fitted(config, floors)
    if model is not None:
        config = config.replace(confidence=float(np.clip(best.threshold, 0, 1)), confidence_rule=rule)
    return Calibrated(config, "calibrated", best.note(allowed), off, labels, best.accepted, model)


def _none_because(allowed: Allowed, images: int) -> str:
    """Return why no threshold could be read off."""
    words = f"no threshold gives {100 * allowed.share:.3g} % wrong or fewer"
    if not allowed.reserve:
        return words
    words += f" with room for one image more that has {100 * allowed.reserve:.3g} % (`reserve`): that takes accepted masks on "
    return f"{words}{allowed.least_images} images at least, and {images} are labelled"


def _by_confidence(
    rows: Proposals, features: Features, among: Flags, judge: Judge, allowed: Allowed
) -> tuple[_Found | None, Recalibration | None]:
    """Return a threshold of p(right) on the masks that it may accept, and the recalibration that says p.

    The logistic one, or, where there are images enough, trees if these accept more. The threshold is read off p(right)
    by fits that have not seen the image.
    """
    right, wrong = judge(among)
    known = np.flatnonzero(among & (right | wrong) & features.scored)
    if len(known) < LEAST_FOR_CONFIDENCE:
        return None, None
    images = rows.image_id[known]
    best: tuple[_Found | None, Recalibration | None] = (None, None)
    for method in ("logistic", "trees") if len(set(images)) >= LEAST_FOR_TREES else ("logistic",):
        choice = choose(features.select(known), right[known], images, methods=(method,))
        if choice.chosen is None or choice.chosen.method != method:
            continue  # predicted IoU as it is says as much
        p = np.full(len(rows), np.nan)
        p[known] = choice.held_out
        found = _lowest(p, rows, among, judge, allowed)
        if found is not None and (best[0] is None or found.rank() > best[0].rank()):
            best = found, choice.chosen
    return best


def _lowest_settings(base: TriageConfig, rows: Proposals, judge: Judge) -> tuple[Flags, TriageConfig, float]:
    """Return which masks are labelled, the settings that let predicted IoU decide nothing, and the lowest score."""
    right, wrong = judge(np.ones(len(rows), bool))
    labelled = (right | wrong) & np.isfinite(rows.predicted_iou)
    floor = float(np.min(rows.predicted_iou[labelled], initial=np.inf)) - 1e-3
    if not labelled.any():
        return labelled, base, floor
    return labelled, base.replace(predicted_iou=max(floor, -10.0), predicted_iou_margin=0.0), floor


def _meaningless(lowest: TriageConfig, rows: Proposals, judge: Judge, allowed: Allowed) -> tuple[str, ...]:
    """Return the settings whose reason does not tell wrong masks from right ones, above the first threshold that would do.

    The masks that give a reason must be as right as what thresholds may accept, with the same room. They are tested where
    they overlap no better one, since of two masks of one object only one can be right.
    """
    alone = lowest.replace(**{name: None for name in SETTING.values() if name != "overlap"})
    apart, whole = _passes(rows, alone), _passes(rows, alone.replace(overlap=None))
    starts = [_lowest(rows.predicted_iou, rows, some, judge, allowed) for some in (apart, _passes(rows, lowest))]
    thresholds = [start.threshold for start in starts if start is not None]
    if not thresholds:
        return ()
    above = rows.predicted_iou > np.float32(min(thresholds))
    reasons, off = triage(rows, lowest).reasons, []
    for reason, name in SETTING.items():
        tested = above & (whole if reason is Reason.overlaps else apart)
        right, wrong = judge(tested)
        some = tested & (right | wrong) & (reasons & int(reason) != 0)
        counts = np.array([wrong[some].sum()]), np.array([some.sum()]), np.array([len(set(rows.image_id[some]))])
        if some.any() and allowed.fits(*counts).all():
            off.append(name)
    return tuple(off)


def _passes(rows: Proposals, config: TriageConfig) -> Flags:
    """Return which rows would be auto-accepted but for their predicted IoU."""
    return np.asarray(triage(rows, config).outcome == Outcome.auto_accepted)


class _Found(NamedTuple):
    """A threshold, how many labelled masks lie above it, the share wrong among these, and that with room."""

    threshold: float
    accepted: int
    wrong: float
    with_room: float
    fits: bool

    def rank(self) -> tuple[bool, float]:
        """Return what puts the better one last: the most accepted of those that are allowed, else the nearest."""
        return self.fits, self.accepted if self.fits else -self.with_room

    def note(self, allowed: Allowed) -> str:
        """Return how far it is from what was asked for, in words."""
        if self.fits:
            return ""
        return (
            f"no threshold gives {100 * allowed.share:.3g} % wrong or fewer with room for one image more that has "
            f"{100 * allowed.reserve:.3g} % (`reserve`): the nearest, with {100 * self.wrong:.2g} % wrong and "
            f"{100 * self.with_room:.3g} % with that room, was taken"
        )


def _lowest(
    score: NDArray[np.floating[Any]], rows: Proposals, taking_part: Flags, judge: Judge, allowed: Allowed
) -> _Found | None:
    """Return the lowest threshold at which what is wrong is allowed, else the nearest, halfway to the next lower score.

    None where the labels are too few for the room asked for, or the share wrong is not allowed even without `reserve`.
    """
    right, wrong = judge(taking_part)
    chosen = np.flatnonzero(taking_part & (right | wrong) & np.isfinite(score))
    if not len(chosen):
        return None
    values = score[chosen].astype(np.float64)
    order = np.argsort(-values, kind="stable")
    values, errors = values[order], np.cumsum(wrong[chosen][order], dtype=np.int64)
    counts = np.arange(1, len(values) + 1)
    first_of_image = np.zeros(len(values), np.int64)
    first_of_image[np.unique(rows.image_id[chosen][order].astype(str), return_index=True)[1]] = 1
    last_of_equals = np.append(values[:-1] > values[1:], True)
    images = np.cumsum(first_of_image)
    with_room = allowed.with_room(errors, counts, images)
    will_do = np.flatnonzero(allowed.fits(errors, counts, images) & last_of_equals)
    near = (
        last_of_equals & (images >= allowed.least_images) & allowed._replace(reserve=0.0).fits(errors, counts, images)
    )
    if len(will_do):
        k = int(will_do[-1])
    elif near.any():
        k = int(np.argmin(np.where(near, with_room, np.inf)))
    else:
        return None
    threshold = float((values[k] + values[k + 1]) / 2 if k + 1 < len(values) else values[k] - 1e-3)
    return _Found(threshold, k + 1, float(errors[k] / counts[k]), float(with_room[k]), bool(len(will_do)))
