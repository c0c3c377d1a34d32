"""What a cycle comes to: its model on the test images, calibration before and after, and the work people did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from workbench.calibrate.recalibrate import Choice, Features, choose
from workbench.calibrate.reliability import Measured as Reliable
from workbench.calibrate.reliability import reliability
from workbench.config import ProposeConfig, TriageConfig, preset
from workbench.loop.metrics import METRICS, Comparison, Point, measure
from workbench.review.state import ImageReview
from workbench.tables.figures import Interval
from workbench.tables.intervals import bootstrap, difference
from workbench.tables.outcomes import Outcome
from workbench.tables.proposals import Proposals
from workbench.triage.rules import triage

RECALL = ("auto_accept_rate", "recall_proposals", "recall_proposals_75", "recall_proposals_small", "recall_auto",
          "recall_auto_75", "recall_auto_small", "automatic_share", "ceiling")  # fmt: skip
WRONG = ("fp_rate", "fp_rate_50", "duplicate_rate")  # need truth that leaves nothing out
SEED = ("auto_accept_rate", "recall_auto", "ceiling", "fp_rate", "fp_rate_50")
COMPARED = ("auto_accept_rate", "recall_auto", "recall_proposals", "fp_rate", "automatic_share")
DRAWS = 300  # of the bootstrap of reliability, which also simulates a perfect model


class Judged(NamedTuple):
    """Proposals of images beside their truth, N rows.

    rows : N; right, wrong : (N,) matched one to one at IoU 0.75 among the distinct ones, or not; neither where unknown
    """

    rows: Proposals
    comparison: Comparison
    right: NDArray[np.bool_]
    wrong: NDArray[np.bool_]


def judge(
    rows: Proposals, truth: Proposals, images: Sequence[str], crowd: NDArray[np.bool_], floors: ProposeConfig
) -> Judged:
    """Compare proposals with truth, over images that all have it."""
    comparison, positions = Comparison.of_tables(rows, truth, images, crowd, floors)
    chosen = rows.select(positions)
    return Judged(chosen, comparison, *comparison.verdicts(np.ones(len(chosen), bool)))


def features_of(rows: Proposals) -> Features:
    """Return what a recalibration looks at."""
    share = rows.area_px / np.maximum(rows.sizes_hw.astype(np.float64).prod(axis=1), 1)
    return Features.of(
        predicted_iou=rows.predicted_iou,
        stability_score=rows.stability_score,
        jitter_stability=rows.jitter_stability,
        area_share=share,
        solidity=rows.solidity,
        contrast=rows.contrast,
    )


def recalibration(labelled: Judged | None) -> Choice | None:
    """Return the recalibration that calibration images give, or None before there are any."""
    if labelled is None:
        return None
    known = labelled.right | labelled.wrong
    rows = labelled.rows.select(known)
    return choose(features_of(rows), labelled.right[known], rows.image_id)


def figures(
    test: Judged, config: TriageConfig, exhaustive: bool, rng: np.random.Generator
) -> tuple[dict[str, Interval], dict[str, Interval], dict[str, list[list[float | None]]]]:
    """Return the figures of a model at the cycle's thresholds, by the seed's, and the counts an image to pair cycles by."""
    names = [*RECALL, *(WRONG if exhaustive else ())]
    outcome = triage(test.rows, config).outcome
    found = measure(test.comparison, outcome, names, rng, config=config)
    rows_of = np.bincount(test.comparison.image_of_row, minlength=len(test.comparison.image_ids)).astype(np.float64)
    found["distinct_per_image"] = bootstrap(rows_of, rng)
    by_image = [
        test.rows.predicted_iou[test.comparison.image_of_row == i] for i in range(len(test.comparison.image_ids))
    ]
    sums, counts = (np.array([f(some) for some in by_image], float) for f in (np.nansum, len))
    found["confidence"] = _mean(sums, counts, rng)
    share = found["automatic_share"]
    found["share_by_hand"] = Interval(1 - share.value, 1 - share.high, 1 - share.low, share.n, share.how)
    seed = preset("stage2").triage
    fixed = [name for name in SEED if exhaustive or name not in WRONG]
    seeds = measure(test.comparison, triage(test.rows, seed).outcome, fixed, rng, config=seed)
    point = Point(test.comparison, outcome, config)
    pairs = {name: METRICS[name].counts(point) for name in COMPARED if name in found}
    return found, seeds, {name: [_plain(c.values), _plain(c.per)] for name, c in pairs.items()}


def _mean(sums: NDArray[np.float64], counts: NDArray[np.float64], rng: np.random.Generator) -> Interval:
    from workbench.tables.intervals import bootstrap_many

    return bootstrap_many(sums[None], counts[None], rng, of_events=False).interval(0)


def _plain(values: NDArray[np.float64]) -> list[float | None]:
    return [None if np.isnan(v) else float(v) for v in values]


def calibration_figures(test: Judged, choice: Choice | None, rng: np.random.Generator) -> dict[str, Interval]:
    """Return calibration errors of predicted IoU read as a probability, and after recalibration, over distinct masks."""
    known = test.right | test.wrong
    rows, right = test.rows.select(known), test.right[known]
    before = reliability(rows.predicted_iou, right, rows.image_id, rng, draws=DRAWS)
    names = ("ece", "smooth_ece", "auroc")
    found = {f"{name}_before": _interval(before[name]) for name in names}
    if choice is not None and choice.chosen is not None:
        after = reliability(choice.chosen.predict(features_of(rows)), right, rows.image_id, rng, draws=DRAWS)
        found |= {name: _interval(after[name]) for name in names}
    return found


def _interval(figure: Reliable) -> Interval:
    return Interval(figure.value, figure.low, figure.high, figure.n, "none" if np.isnan(figure.low) else "bootstrap")


def change(now: Sequence[Sequence[float | None]], before: Sequence[Sequence[float | None]], seed: int) -> Interval:
    """Return the paired difference of a figure between two cycles; counts by image, of the same test images."""
    a, b = ([np.array([np.nan if v is None else v for v in some], float) for some in side] for side in (now, before))
    return difference((a[0], a[1]), (b[0], b[1]), np.random.default_rng(seed))


def histogram(rows: Proposals) -> list[int]:
    """Return counts of predicted IoU in 20 bins over [0, 1]; those outside in the first and the last."""
    score = rows.predicted_iou[np.isfinite(rows.predicted_iou)]
    return [int(v) for v in np.histogram(np.clip(score, 0, 1), 20, (0, 1))[0]]


def work(reviews: Sequence[ImageReview], seconds: Mapping[str, float], source: str) -> dict[str, Any]:
    """Return what people did on the images of a batch.

    Masks an hour = manual and edited masks ÷ active hours; rejection_rate = rejected ÷ automatic masks looked at (those
    auto-accepted or flagged); auto_to_manual = automatic ÷ manual and edited among the final masks.
    """
    done = [review for review in reviews if review.status == "complete"]
    looked = np.concatenate(
        [r.verdict[~r.drawn & np.isin(r.outcome, (Outcome.auto_accepted, Outcome.flagged))] for r in done]
        or [np.zeros(0, np.uint8)]
    )
    manual = sum(int((r.final & r.drawn).sum()) for r in done)
    total = sum(int(r.final.sum()) for r in done)
    hours = sum(seconds.get(r.image_id, 0.0) for r in done) / 3600

    def ratio(a: float, b: float) -> float:
        return a / b if b else float("nan")

    return {
        "images": len(done),
        "manual_per_image": ratio(manual, len(done)),
        "total_per_image": ratio(total, len(done)),
        "automatic_share": ratio(total - manual, total),
        "auto_to_manual": ratio(total - manual, manual),
        "rejection_rate": ratio(int((looked == 2).sum()), len(looked)),
        "masks_per_hour": ratio(manual, hours),
        "active_hours": hours,
        "seconds_source": source,
    }
