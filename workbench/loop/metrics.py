"""Every figure of matching and of rates, one definition each: numerator and denominator of each image (METRICS).

comparison, rows = Comparison.of_tables(proposals, truth, images=test_images)
measure(comparison, triage.outcome[rows], ["recall_auto", "fp_rate"], rng)   # name -> Interval
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.config import TriageConfig
from workbench.loop.comparison import (
    LEAST_IOU,
    NONE,
    REJECT,
    SMALL_COCO_PX,
    WRONG_IOU,
    Comparison,
    Flags,
    Verdicts,
)
from workbench.settings import did_you_mean
from workbench.tables.figures import Interval
from workbench.tables.intervals import bootstrap_many
from workbench.tables.outcomes import Outcome

__all__ = ["METRICS", "Curve", "Measured", "Point", "known_metrics", "measure", "precision_recall"]

Needs = Literal["proposals", "verdicts", "truth", "exhaustive truth"]
Counts = NDArray[np.float64]


class Measured(NamedTuple):
    """Numerator and denominator of each image, (M,); NaN where the image lacks what the figure needs."""

    values: Counts
    per: Counts


class Point:
    """The outcomes of one setting over a comparison, whose matchings are found when they are first asked for.

    comparison : N rows of M images; outcome : (N,) of `Outcome`; config : for the area limits of the ceiling
    distinct : (N,) rows that survive NMS; None for all but the duplicates of the outcome, which are more with
        pool="exact": what fails a threshold is not compared there
    """

    def __init__(
        self,
        comparison: Comparison,
        outcome: NDArray[np.uint8],
        config: TriageConfig | None = None,
        wrong_iou: float = WRONG_IOU,
        distinct: Flags | None = None,
    ) -> None:
        if outcome.shape != (len(comparison),):
            raise ValueError(f"outcome: expected one for each of {len(comparison)} proposals, got {outcome.shape}")
        if not LEAST_IOU <= wrong_iou <= 1:
            raise ValueError(f"wrong_iou: expected a value in [{LEAST_IOU}, 1], got {wrong_iou}")
        self.comparison, self.config, self.wrong_iou = comparison, config, wrong_iou
        self.auto: Flags = np.asarray(outcome == Outcome.auto_accepted)
        self.flagged: Flags = np.asarray(outcome == Outcome.flagged)
        self.distinct: Flags = np.asarray(outcome != Outcome.duplicate) if distinct is None else distinct

    @functools.cached_property
    def verdicts(self) -> Verdicts:
        """Which auto-accepted rows are right, and which are wrong."""
        return self.comparison.verdicts(self.auto, self.wrong_iou)

    def of_rows(self, rows: Flags, per: Flags, known: Flags | None = None) -> Measured:
        """Count rows of each image among others, of the images that are known, (M,); those with truth for None."""
        c = self.comparison
        counts = [np.bincount(c.image_of_row[some], minlength=len(c.image_ids)) for some in (rows, per)]
        return self._known(counts, self.comparison.labelled if known is None else known)

    def of_truth(self, found: Flags, among: Flags | None = None) -> Measured:
        """Count true masks that are found, among those to be found, of each image."""
        c = self.comparison
        wanted = ~c.ignore if among is None else ~c.ignore & among
        counts = [np.bincount(c.image_of_truth[some], minlength=len(c.image_ids)) for some in (found & wanted, wanted)]
        return self._known(counts, self.comparison.labelled)

    @property
    def vouched(self) -> Flags:
        """(M,) images whose truth decides whether accepted masks are wrong; none at all if any mask is unseen.

        People reject what is wrong and leave what is right: images without an unseen mask are those where more is wrong.
        """
        c = self.comparison
        return c.labelled & (not c.unseen.any())

    @property
    def every(self) -> Flags:
        """All images, (M,)."""
        return np.ones(len(self.comparison.image_ids), bool)

    def _known(self, counts: list[NDArray[np.intp]], known: Flags) -> Measured:
        return Measured(*(np.where(known, some, np.nan) for some in counts))


class Metric(NamedTuple):
    """A figure: its meaning as numerator ÷ denominator, what it needs, and how it is counted.

    of_events : the numerator counts events among the denominator, so that it is a share
    """

    doc: str
    needs: Needs
    counts: Callable[[Point], Measured]
    of_events: bool = True


def _small(p: Point) -> Flags:
    return np.asarray(p.comparison.area_px <= p.comparison.small_px)


def _small_coco(p: Point) -> Flags:
    return np.asarray(p.comparison.area_px < SMALL_COCO_PX)


def _recall(
    rows: Literal["distinct", "auto"], iou: float, size: Callable[[Point], Flags] | None = None
) -> Callable[[Point], Measured]:
    def count(p: Point) -> Measured:
        return p.of_truth(p.comparison.found(getattr(p, rows), iou), size(p) if size else None)

    return count


def _wrong(iou: float | None = None) -> Callable[[Point], Measured]:
    def count(p: Point) -> Measured:
        at = p.wrong_iou if iou is None else iou
        right, wrong = p.comparison.verdicts(p.auto, at)
        return p.of_rows(wrong, right | wrong, p.vouched)

    return count


def _duplicates(p: Point) -> Measured:
    """A wrong mask reaches the IoU of a right one with a true mask only where another was matched with it."""
    overlaps = p.comparison.overlaps
    again = np.zeros(len(p.comparison), bool)
    again[overlaps.a[(overlaps.iou >= p.wrong_iou) & ~p.comparison.ignore[overlaps.b]]] = True
    right, wrong = p.verdicts
    return p.of_rows(wrong & again, right | wrong, p.vouched)


def _automatic_share(p: Point) -> Measured:
    return p.of_truth(p.comparison.found(p.auto | p.flagged, p.wrong_iou))


def _rejection_rate(p: Point) -> Measured:
    c = p.comparison
    return p.of_rows(p.auto & (c.verdict == REJECT), p.auto & (c.verdict != NONE), c.reviewed)


def _ceiling(p: Point) -> Measured:
    c = p.comparison
    allowed = c.on_grid.copy()
    if p.config is not None:
        image_px = c.image_px[c.image_of_truth].astype(np.float64)
        allowed &= (c.area_px >= p.config.min_area_px) & (c.area_px <= p.config.max_area_share * image_px)
    return p.of_truth(allowed)


def _an_image(rows: str) -> Callable[[Point], Measured]:
    def count(p: Point) -> Measured:
        values = p.of_rows(getattr(p, rows), p.distinct, p.every).values
        return Measured(values, np.ones(len(values)))

    return count


METRICS: Mapping[str, Metric] = {
    "auto_accept_rate": Metric(
        "auto-accepted ÷ distinct proposals", "proposals", lambda p: p.of_rows(p.auto, p.distinct, p.every)
    ),
    "masks_per_image": Metric("auto-accepted ÷ images", "proposals", _an_image("auto"), of_events=False),
    "flagged_per_image": Metric("flagged ÷ images", "proposals", _an_image("flagged"), of_events=False),
    "rejection_rate_auto": Metric(
        "rejected ÷ auto-accepted masks that a person looked at one by one; verdicts given in bulk do not count",
        "verdicts",
        _rejection_rate,
    ),
    "recall_proposals": Metric(
        "true masks matched at IoU >= 0.5 by a distinct proposal ÷ true masks", "truth", _recall("distinct", 0.5)
    ),
    "recall_proposals_75": Metric("the same at IoU >= 0.75", "truth", _recall("distinct", 0.75)),
    "recall_proposals_small": Metric(
        "the same at IoU >= 0.5, of the lowest quartile of true areas", "truth", _recall("distinct", 0.5, _small)
    ),
    "recall_proposals_small_coco": Metric(
        "the same at IoU >= 0.5, of true areas below 32² px", "truth", _recall("distinct", 0.5, _small_coco)
    ),
    "recall_auto": Metric(
        "true masks matched at IoU >= 0.5 by an auto-accepted mask ÷ true masks", "truth", _recall("auto", 0.5)
    ),
    "recall_auto_75": Metric("the same at IoU >= 0.75", "truth", _recall("auto", 0.75)),
    "recall_auto_small": Metric(
        "the same at IoU >= 0.5, of the lowest quartile of true areas", "truth", _recall("auto", 0.5, _small)
    ),
    "recall_auto_small_coco": Metric(
        "the same at IoU >= 0.5, of true areas below 32² px", "truth", _recall("auto", 0.5, _small_coco)
    ),
    "automatic_share": Metric(
        "true masks matched at IoU >= 0.75 by an auto-accepted or flagged mask ÷ true masks: the automatic among the"
        " final masks when people keep what is right and draw the rest",
        "truth",
        _automatic_share,
    ),
    "ceiling": Metric(
        "true masks within the area limits that hold a point of the grid ÷ true masks: the recall of a model without"
        " fault, which answers each point with the true masks that hold it; one that answers a point beside an object, as the"
        " bundled SAM is trained to, can find more",
        "truth",
        _ceiling,
    ),
    "fp_rate": Metric(
        "wrong (not matched one to one at IoU >= 0.75) ÷ auto-accepted; what is ignored or lies in a crowd counts in neither."
        " Not known where some true masks are final ones that nobody looked at one by one. A sweep can estimate it from audits instead, see `workbench.loop.audited.fp_rate`",
        "exhaustive truth",
        _wrong(),
    ),
    "fp_rate_50": Metric("the same with wrong below IoU 0.5", "exhaustive truth", _wrong(0.5)),
    "duplicate_rate": Metric(
        "wrong masks at IoU >= 0.75 with a true mask that another is matched with ÷ auto-accepted",
        "exhaustive truth",
        _duplicates,
    ),
}


def known_metrics(names: Sequence[str] | None) -> list[str]:
    """Return the names as they are, each once; None for all. Raises ValueError for an unknown one, with the nearest."""
    chosen = list(dict.fromkeys(METRICS if names is None else [names] if isinstance(names, str) else names))
    for name in chosen:
        if name not in METRICS:
            hint = did_you_mean(name, METRICS)
            raise ValueError(f"metrics: expected some of {', '.join(METRICS)}, got {name!r}{hint}")
    return chosen


def measure(
    comparison: Comparison,
    outcome: NDArray[np.uint8],
    names: Sequence[str] | None,
    rng: np.random.Generator,
    *,
    config: TriageConfig | None = None,
    wrong_iou: float = WRONG_IOU,
    distinct: Flags | None = None,
) -> dict[str, Interval]:
    """Return figures of one setting, with intervals from drawing the images anew.

    Parameters
    ----------
    outcome : (N,) of `Outcome`, beside the rows of the comparison
    names : some of `METRICS`; None for all, which takes the truth as exhaustive
    config : the thresholds, for the area limits of the ceiling
    distinct : (N,) as for `Point`

    Raises
    ------
    ValueError : for an unknown name, or an outcome of another length
    """
    point = Point(comparison, np.asarray(outcome), config, wrong_iou, distinct)
    found = {}
    for name in known_metrics(names):
        values, per = METRICS[name].counts(point)
        of_events = METRICS[name].of_events
        found[name] = bootstrap_many(values[None], per[None], rng, of_events=of_events).interval(0)
    return found


class Curve(NamedTuple):
    """Precision and recall of the rows at or above each threshold, (K,) each; precision is NaN where there is none."""

    thresholds: NDArray[np.float64]
    precision: NDArray[np.float64]
    recall: NDArray[np.float64]


def precision_recall(
    comparison: Comparison,
    scores: ArrayLike,
    rows: Flags | None = None,
    *,
    iou: float = WRONG_IOU,
    thresholds: ArrayLike | None = None,
) -> Curve:
    """Return precision and recall as a threshold on a score moves; needs exhaustive truth.

    Parameters
    ----------
    scores : (N,) one for each row of the comparison; NaN is below every threshold
    rows : (N,) the rows that take part, as the distinct ones; None for all
    thresholds : (K,); None for 101 quantiles of the scores

    Returns
    -------
    Curve: right ÷ right or wrong, and true masks found ÷ true masks, matched one to one at `iou` at every threshold
    """
    values = np.asarray(scores, dtype=np.float64)
    taking_part = np.ones(len(comparison), bool) if rows is None else rows
    finite = values[taking_part & np.isfinite(values)]
    if thresholds is None:
        thresholds = np.unique(np.quantile(finite, np.linspace(0, 1, 101))) if len(finite) else np.zeros(0)
    cuts = np.asarray(thresholds, dtype=np.float64)
    wanted = int((~comparison.ignore).sum())
    precision, recall = np.full(len(cuts), np.nan), np.full(len(cuts), np.nan)
    for k, cut in enumerate(cuts):
        above = taking_part & (values >= cut)
        right, wrong = (int(some.sum()) for some in comparison.verdicts(above, iou))
        precision[k] = right / (right + wrong) if right + wrong else np.nan
        recall[k] = int(comparison.found(above, iou).sum()) / wanted if wanted else np.nan
    return Curve(cuts, precision, recall)
