"""What a cycle comes to: its model on the test images, calibration before and after, and the work people did."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from workbench.calibrate.recalibrate import Choice, Features, choose
from workbench.calibrate.reliability import Measured as Reliable
from workbench.calibrate.reliability import reliability
from workbench.config import ProposeConfig, TriageConfig, preset
from workbench.loop.comparison import Comparison, compare_image
from workbench.loop.labelling import Truths, candidates
from workbench.loop.metrics import METRICS, Point, measure
from workbench.plain import nan_for_none, plain
from workbench.review.state import ImageReview
from workbench.tables.figures import Interval
from workbench.tables.intervals import bootstrap, bootstrap_many, difference_many
from workbench.tables.proposals import Proposals
from workbench.triage.rules import triage

RECALL = ("auto_accept_rate", "recall_proposals", "recall_proposals_75", "recall_proposals_small",
          "recall_proposals_small_coco", "recall_auto", "recall_auto_75", "recall_auto_small",
          "recall_auto_small_coco", "automatic_share", "ceiling")  # fmt: skip
WRONG = ("fp_rate", "fp_rate_50", "duplicate_rate")  # need truth that leaves nothing out
SEED = ("auto_accept_rate", "recall_auto", "ceiling", "fp_rate", "fp_rate_50")
COMPARED = ("auto_accept_rate", "recall_auto", "recall_proposals", "fp_rate", "automatic_share")
CALIBRATION = ("ece", "smooth_ece", "brier_skill", "auroc")
PERFECT = ("ece", "smooth_ece")  # are above 0 of a perfect model too
DRAWS = 300  # of the bootstrap of reliability, which also simulates a perfect model


class Judged(NamedTuple):
    """Distinct proposals of images beside what is known of these, N rows.

    rows, features : N; comparison : over the images that have proposals and are known
    right, wrong : (N,) matched one to one at IoU 0.75, or not; neither where unknown
    unseen : masks that are no labels, since nobody looked at them, or only in bulk
    """

    rows: Proposals
    features: Features
    comparison: Comparison
    right: NDArray[np.bool_]
    wrong: NDArray[np.bool_]
    unseen: int

    @property
    def whole(self) -> NDArray[np.bool_]:
        """(images,) which have a label for every row: of the others only what triage doubted was looked at."""
        return self.comparison.whole(np.ones(len(self.rows), bool))

    @property
    def left_out(self) -> str:
        """How many images are not whole, in words; "" for none."""
        some = int((~self.whole).sum())
        if not some:
            return ""
        return (
            f"{some:,} of {len(self.whole):,} calibration images left out: {self.unseen:,} of their masks were not looked at one "
            "by one, so their labels are of the masks that were doubted"
        )

    def verdicts(self, taking_part: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Return which of chosen rows are right and which wrong, matched alone, of the images that are whole; (N,) each."""
        use = self.whole[self.comparison.image_of_row]
        right, wrong = self.comparison.verdicts(taking_part & use)
        return right & use, wrong & use


def judge(
    proposals: Iterable[tuple[str, Proposals]], known: Truths, config: TriageConfig, floors: ProposeConfig
) -> Judged:
    """Compare the distinct proposals of images with what is known of them.

    Parameters
    ----------
    proposals : id and rows of each image, all of them known
    config : thresholds whose reasons are features, with the NMS that says what is distinct
    floors : how the proposals were made, for the grid that the ceiling asks for
    """
    parts = [candidates(image, rows, config) for image, rows in proposals]
    comparison = Comparison.of(compare_image(part.image_id, part.rows, known[part.image_id], floors) for part in parts)
    nothing = candidates("", Proposals.empty(), config).features
    values = np.concatenate([nothing.values, *(part.features.values for part in parts)])
    return Judged(
        Proposals.concat([part.rows for part in parts]),
        Features(nothing.names, values),
        comparison,
        *comparison.verdicts(np.ones(len(comparison), bool)),
        known.unseen,
    )


def recalibration(labelled: Judged | None) -> Choice | None:
    """Return the recalibration that calibration images give, or None before there are any."""
    if labelled is None:
        return None
    known = (labelled.right | labelled.wrong) & labelled.whole[labelled.comparison.image_of_row]
    return choose(labelled.features.select(known), labelled.right[known], labelled.rows.image_id[known])


def figures(
    test: Judged, config: TriageConfig, exhaustive: bool, rng: np.random.Generator
) -> tuple[dict[str, Interval], dict[str, Interval], dict[str, list[list[float | None]]]]:
    """Return the figures of a model at the cycle's thresholds, by the seed's, and the counts an image to pair cycles by."""
    names = [*RECALL, *(WRONG if exhaustive else ())]
    outcome = triage(test.rows, config).outcome
    found = measure(test.comparison, outcome, names, rng, config=config)
    rows_of = np.bincount(test.comparison.image_of_row, minlength=len(test.comparison.image_ids)).astype(np.float64)
    found["distinct_per_image"] = bootstrap(rows_of, rng)
    found["confidence"] = _mean(test, test.rows.predicted_iou, rng)
    found["hypothesis_spread"] = _mean(test, test.rows.hypothesis_spread, rng)
    share = found["automatic_share"]
    found["share_by_hand"] = Interval(1 - share.value, 1 - share.high, 1 - share.low, share.n, share.how)
    seed = preset("stage2").triage
    fixed = [name for name in SEED if exhaustive or name not in WRONG]
    seeds = measure(test.comparison, triage(test.rows, seed).outcome, fixed, rng, config=seed)
    point = Point(test.comparison, outcome, config)
    pairs = {name: METRICS[name].counts(point) for name in COMPARED if name in found}
    return found, seeds, {name: [plain(c.values), plain(c.per)] for name, c in pairs.items()}


def _mean(test: Judged, column: NDArray[np.float32], rng: np.random.Generator) -> Interval:
    """Return the mean of a column over the rows that have it, the images drawn anew."""
    there, images = np.isfinite(column), len(test.comparison.image_ids)
    of, values = test.comparison.image_of_row[there], column[there].astype(np.float64)
    sums, counts = (np.bincount(of, weights, images).astype(np.float64) for weights in (values, np.ones(len(of))))
    return bootstrap_many(sums[None], counts[None], rng, of_events=False).interval(0)


def calibration_figures(
    test: Judged, auto: NDArray[np.bool_], choice: Choice | None, rng: np.random.Generator
) -> dict[str, Interval]:
    """Return how far confidence is from what is right: predicted IoU read as a probability, and after recalibration.

    Parameters
    ----------
    auto : (N,) which rows are auto-accepted at the cycle's thresholds; figures of these end in "_auto"
    choice : the recalibration, made from other images

    Returns
    -------
    `CALIBRATION` by name, before recalibration with "_before"; "_perfect" is what a perfect model would show
    """
    confidence = {"_before": test.rows.predicted_iou.astype(np.float64)}
    if choice is not None and choice.chosen is not None:
        confidence[""] = choice.chosen.predict(test.features)
    found = {}
    use = test.whole[test.comparison.image_of_row]
    accepted = test.verdicts(auto)  # matched alone, as `fp_rate` counts them
    for which, (right, wrong) in (("", (test.right, test.wrong)), ("_auto", accepted)):
        some = (right | wrong) & use
        for when, p in confidence.items():
            made = reliability(p[some], right[some], test.rows.image_id[some], rng, draws=DRAWS)
            for name in CALIBRATION:
                found[f"{name}{which}{when}"] = _interval(made[name])
                if name in PERFECT:
                    perfect = made[name].perfect
                    found[f"{name}{which}{when}_perfect"] = Interval(perfect, np.nan, np.nan, made[name].n)
    return found


def _interval(figure: Reliable) -> Interval:
    return Interval(figure.value, figure.low, figure.high, figure.n, "none" if np.isnan(figure.low) else "bootstrap")


class Counts(NamedTuple):
    """Numerators and denominators of figures by test image: `figures` in the order of `images`, None where not known."""

    images: Sequence[str]
    figures: Mapping[str, Sequence[Sequence[float | None]]]


def counts_of(state: Mapping[str, Any], held_out: Sequence[str]) -> Counts:
    """Return the counts that a cycle has stored.

    Cycles of before the images were stored beside them have counted all held-out ones, or it is not known which.
    """
    counts = state["counts"]
    images = state.get("test_images", held_out)
    whole = all(len(column) == len(images) for pair in counts.values() for column in pair)
    return Counts(images, counts) if whole else Counts((), {})


def changes(now: Counts, before: Counts) -> dict[str, Interval]:
    """Return the paired differences of the figures that two cycles have, over the test images that both measured."""
    place = {image: k for k, image in enumerate(before.images)}
    both = [(k, place[image]) for k, image in enumerate(now.images) if image in place]
    if not both:
        return {}
    here, there = (np.array(rows) for rows in zip(*both, strict=True))
    alike: dict[bytes, list[tuple[str, list[NDArray[np.float64]]]]] = {}
    for name in now.figures:
        if name in before.figures:
            parts = (now.figures[name], here), (before.figures[name], there)
            sides = [np.array(nan_for_none(c), np.float64)[rows] for columns, rows in parts for c in columns]
            known = ~np.isnan(sides).any(axis=0)
            alike.setdefault(known.tobytes(), []).append((name, sides))
    found = {}
    for figures in alike.values():  # of the same images: drawn anew once for all
        a, per_a, b, per_b = (np.stack(column) for column in zip(*(sides for _, sides in figures), strict=True))
        intervals = difference_many((a, per_a), (b, per_b), np.random.default_rng(0))
        found.update({name: intervals.interval(k) for k, (name, _) in enumerate(figures)})
    return {name: found[name] for name in now.figures if name in found}


def histogram(rows: Proposals) -> list[int]:
    """Return counts of predicted IoU in 20 bins over [0, 1]; those outside in the first and the last."""
    score = rows.predicted_iou[np.isfinite(rows.predicted_iou)]
    return [int(v) for v in np.histogram(np.clip(score, 0, 1), 20, (0, 1))[0]]


def work(
    reviews: Sequence[ImageReview],
    seconds: Mapping[str, float],
    source: str,
    rng: np.random.Generator,
    exhaustive: bool = True,
) -> dict[str, Any]:
    """Return what people did on the images of a batch; without `exhaustive` truth no rejection_rate.

    Masks an hour = manual and edited masks ÷ active hours; rejection_rate (`_low`, `_high`) = rejected ÷ automatic masks
    that a person looked at, not in bulk; auto_to_manual = automatic ÷ manual and edited among the final masks.
    """
    done = [review for review in reviews if review.status == "complete"]
    looked, rejected = [int(r.looked_at.sum()) for r in done], [int(r.rejected.sum()) for r in done]
    manual = sum(int((r.final & r.drawn).sum()) for r in done)
    total = sum(int(r.final.sum()) for r in done)
    hours = sum(seconds.get(r.image_id, 0.0) for r in done) / 3600

    def ratio(a: float, b: float) -> float:
        return a / b if b else float("nan")

    found = {
        "images": len(done),
        "manual_per_image": ratio(manual, len(done)),
        "total_per_image": ratio(total, len(done)),
        "automatic_share": ratio(total - manual, total),
        "auto_to_manual": ratio(total - manual, manual),
        "masks_per_hour": ratio(manual, hours),
        "active_hours": hours,
        "seconds_source": source,
    }
    if not exhaustive:
        return found
    rate = bootstrap(rejected, rng, looked)
    return found | {"rejection_rate": rate.value, "rejection_rate_low": rate.low, "rejection_rate_high": rate.high}
