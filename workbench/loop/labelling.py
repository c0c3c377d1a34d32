"""Proposals with labels: which are right, by matching with the true or the final masks of their images.

Never by bulk verdicts, and never against itself: a final mask that nobody looked at, or that was accepted in bulk, is no
label; what matches it is neither right nor wrong.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

import workbench
from workbench.calibrate.recalibrate import Features
from workbench.config import ProposeConfig, TriageConfig
from workbench.loop.comparison import WRONG_IOU, ComparedImage, Comparison, TrueImage, compare_image
from workbench.loop.context import NAMES, context
from workbench.masks import rle
from workbench.review.state import NONE, ImageReview
from workbench.store import journal, runs
from workbench.tables.outcomes import CONFIDENCE, DOUBTS, Outcome, Reason, Triage
from workbench.tables.proposals import SCORES, Proposals

if TYPE_CHECKING:
    from workbench.reviewing import Reviewing

_TOO = Reason.too_small | Reason.too_large
Source = Literal["truth", "final", "final only", "people"]


class Truths(dict[str, TrueImage]):
    """What is known of images: their imported truth, or their final masks where they are complete.

    labels : (T,) categories of each image's true masks; unseen : masks that are no labels, final ones that nobody looked at
    and those decided in bulk
    """

    def __init__(self) -> None:
        super().__init__()
        self.labels: dict[str, NDArray[np.object_]] = {}
        self.unseen = 0


def truths(project: Reviewing, images: Sequence[str], source: Source = "truth") -> Truths:
    """Return what is known of the given images; those of which nothing is known are missing.

    Parameters
    ----------
    source : "truth" prefers imported truth, as for test images; "final" the final masks of complete images, as for
        calibration images; "final only" takes nothing else; "people" takes those that people reviewed, as where imported truth
        leaves things out: an oracle that answered from it knows no more
    """
    found, frame = Truths(), project.images().set_index("image_id")
    known = frame["truth"].notna()
    imported = [name for name in images if known[name]]
    complete = set(project.reviewed_images("complete"))
    if source == "people":
        complete -= set(journal.simulated_images(project.catalog))
    if source == "truth":
        complete -= set(imported)
    else:
        imported = [name for name in imported if source == "final" and name not in complete]
    if imported:
        _add_truth(project, found, imported)
    if left := [name for name in images if name in complete]:
        _add_final(project, found, left, crowds(project, set(frame.index[known]) & set(left)))
    return found


def _add_truth(project: Reviewing, found: Truths, images: Sequence[str]) -> None:
    masks, words = project.truth(images), project.truth_labels(images)
    crowd, labels = words["crowd"].to_numpy(bool), words["label"].to_numpy(object)
    rows, nothing = dict(masks.by_image()), np.zeros(0, np.int64)
    for name in images:
        own = rows.get(name, nothing)
        found[name] = TrueImage.of(masks.select(own), crowd[own])
        found.labels[name] = labels[own][~crowd[own]]


def crowds(project: Reviewing, images: Collection[str]) -> dict[str, Proposals]:
    """Return the regions of many things by image, of those whose imported truth has any."""
    if not images:
        return {}
    names = sorted(images)
    crowd = project.truth_labels(names)["crowd"].to_numpy(bool)
    regions = project.truth(names).select(crowd)
    return {name: regions.select(rows) for name, rows in regions.by_image()}


def _add_final(project: Reviewing, found: Truths, images: Sequence[str], of_many: Mapping[str, Proposals]) -> None:
    for name in images:
        review = project.image_review(name)
        found[name] = true = final_truth(review, of_many.get(name))
        found.labels[name] = review.label[_decided(review)]
        found.unseen += int((true.ignore | true.unseen).sum())


def final_truth(review: ImageReview, crowd: Proposals | None = None) -> TrueImage:
    """Return the final masks of an image, those that nobody looked at one by one as unseen; what was rejected in bulk is ignored.

    Parameters
    ----------
    crowd : regions of many things by its imported truth: what lies in one is neither right nor wrong here either, for
        nobody is asked about it
    """
    decided, crowd = _decided(review), Proposals.empty() if crowd is None else crowd
    final = review.final[decided]
    unseen = final & ((review.by[decided].astype(str) == "") | review.bulk[decided])
    masks, none = Proposals.concat([review.masks.select(decided), crowd]), np.zeros(len(crowd), bool)
    in_crowd = np.arange(len(masks)) >= len(decided)
    return TrueImage.of(masks, in_crowd, *(np.concatenate([some, none]) for some in (~final, unseen)))


def _decided(review: ImageReview) -> NDArray[np.int64]:
    """Return which masks are final or were decided in bulk."""
    return np.flatnonzero(review.final | (review.bulk & (review.verdict != NONE) & ~review.superseded))


@dataclasses.dataclass(frozen=True, eq=False)
class Labelled:
    """Distinct proposals of images whose truth is known, and what triage makes of them.

    image, mask_id : (n,); features : (n, F); outcome : (n,) of `Outcome`; within : (n,) within the area limits
    known, right : (n,) which have a label, and which are right; true_iou : (n,) best IoU with a mask of the truth
    comparison : the rows beside the truth; images : ids; truth_labels : (T,) categories of the true masks
    unseen : final masks that are no labels
    """

    image: NDArray[np.object_]
    mask_id: NDArray[np.object_]
    features: Features
    outcome: NDArray[np.uint8]
    within: NDArray[np.bool_]
    known: NDArray[np.bool_]
    right: NDArray[np.bool_]
    true_iou: NDArray[np.float64]
    comparison: Comparison
    images: tuple[str, ...]
    truth_labels: NDArray[np.object_]
    unseen: int

    @property
    def auto(self) -> NDArray[np.bool_]:
        """(n,) auto-accepted."""
        return np.asarray(self.outcome == Outcome.auto_accepted)

    @property
    def unlabelled(self) -> NDArray[np.bool_]:
        """(n,) without a label, since nobody looked one by one at what they overlap; what lies in a crowd is not among them."""
        return unlabelled(self.comparison, self.known)

    @property
    def whole(self) -> NDArray[np.bool_]:
        """(images,) without an unlabelled proposal: the labels of the others are of the masks that were doubted."""
        return self.comparison.whole(np.ones(len(self.known), bool))

    @property
    def usable(self) -> NDArray[np.bool_]:
        """(n,) with a label, of images that are whole."""
        return self.known & self.whole[self.comparison.image_of_row]


def unlabelled(comparison: Comparison, known: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return (n,) which rows are neither right nor wrong, and in no crowd: nobody vouched for the mask they overlap."""
    return np.asarray(~known & (comparison.crowd_share < WRONG_IOU))


def features_of(proposals: Proposals, triage: Triage) -> Features:
    """Return what recalibration looks at.

    Scores, log share of the image's area, each reason to doubt (0 or 1), and what the other masks of its image say of one,
    among the distinct ones that are not discarded.
    """
    columns = {name: getattr(proposals, name).astype(np.float64) for name in SCORES}
    image_px = np.maximum(proposals.sizes_hw.astype(np.float64).prod(axis=1), 1)
    columns["log_area_share"] = np.log(np.maximum(proposals.area_px, 1) / image_px)
    for reason in Reason:
        if reason & DOUBTS & ~CONFIDENCE:
            columns[str(reason.name)] = (triage.reasons & np.uint32(reason) != 0).astype(np.float64)
    columns |= {name: np.full(len(proposals), np.nan) for name in NAMES}
    kept = triage.auto_accepted | triage.flagged  # with pool="exact" what fails a threshold was never compared
    for _, of_image in proposals.by_image():
        own = of_image[kept[of_image]]
        size_hw = (int(proposals.sizes_hw[of_image[0], 0]), int(proposals.sizes_hw[of_image[0], 1]))
        said = context(proposals.rles[own].tolist(), proposals.predicted_iou[own], size_hw)
        for name, values in said.items():
            columns[name][own] = values
    return Features.of(**columns)


@dataclasses.dataclass(frozen=True, eq=False)
class Candidates:
    """Distinct proposals of one image, with what recalibration looks at; `within`: inside the area limits."""

    image_id: str
    rows: Proposals
    features: Features
    outcome: NDArray[np.uint8]
    within: NDArray[np.bool_]


def without_confidence(config: TriageConfig) -> TriageConfig:
    """Return thresholds that ask for no confidence."""
    return config.replace(confidence=None, confidence_rule="doubts", confidence_model=None)


def _distinct(rows: Proposals, triage: Triage) -> NDArray[np.bool_]:
    """Return which rows survive NMS whatever their scores are, and with pool="exact" what is accepted or flagged beside them.

    There what fails a threshold is not compared, so that the outcomes do not tell its duplicates.
    """
    if triage.config.pool == "distinct":
        return triage.distinct
    whole = workbench.triage(rows, triage.config.replace(pool="distinct", overlap=None))
    return np.asarray(whole.distinct | triage.auto_accepted | triage.flagged)


def candidates(image_id: str, rows: Proposals, config: TriageConfig, base: TriageConfig | None = None) -> Candidates:
    """Return the distinct proposals of an image.

    Parameters
    ----------
    config : decides their outcome and their area limits
    base : whose reasons recalibration looks at; None for those of `config`, never its confidence, which would look at itself
    """
    base = base or without_confidence(config)
    triage = workbench.triage(rows, config)
    distinct = _distinct(rows, triage)
    within = (triage.reasons & np.uint32(_TOO)) == 0
    features = features_of(rows, triage if base == config else workbench.triage(rows, base)).select(distinct)
    return Candidates(image_id, rows.select(distinct), features, triage.outcome[distinct], within[distinct])


def label(
    project: Reviewing,
    images: Sequence[str],
    run: int | None = None,
    source: Source = "truth",
    config: TriageConfig | None = None,
    base: TriageConfig | None = None,
) -> Labelled:
    """Return the distinct proposals of images whose truth is known, with their labels.

    Parameters
    ----------
    images : ids; those without proposals or truth are left out. run : its number; None for the one worked on last
    source : of the labels, as for `truths`
    config, base : as for `candidates`; None for the triage used last
    """
    known, config = truths(project, images, source), config or project.triage_config(run)
    found_run = runs.find(project.catalog, run)
    floors = ProposeConfig.from_dict(found_run.settings) if found_run else None
    parts: list[Candidates] = []
    compared: list[ComparedImage] = []
    best = [np.zeros(0)]
    chosen = [name for name in images if name in known]
    for image_id, rows in project.each(chosen, run, config=config) if known else []:
        own = candidates(image_id, rows, config, base)
        parts.append(own)
        compared.append(compare_image(image_id, own.rows, known[image_id], floors))
        best.append(_best_iou(own.rows, known[image_id]))
    return _joined(parts, Comparison.of(compared), np.concatenate(best), known)


def _best_iou(rows: Proposals, true: TrueImage) -> NDArray[np.float64]:
    masks = list(true.masks.rles[~true.crowd])
    if not len(rows) or not masks:
        return np.zeros(len(rows))
    size = (int(rows.sizes_hw[0, 0]), int(rows.sizes_hw[0, 1]))
    return np.asarray(rle.iou_matrix(list(rows.rles), masks, size).max(axis=1))


def _joined(parts: Sequence[Candidates], comparison: Comparison, best: NDArray[np.float64], known: Truths) -> Labelled:
    verdicts = comparison.verdicts(np.ones(len(comparison), bool))
    none = features_of(Proposals.empty(), Triage(np.zeros(0), np.zeros(0)))
    values = np.concatenate([none.values, *(part.features.values for part in parts)])
    rows = Proposals.concat([part.rows for part in parts])
    labels: Mapping[str, NDArray[np.object_]] = known.labels
    names = [labels[image] for image in comparison.image_ids]
    return Labelled(
        rows.image_id,
        rows.mask_id,
        Features(none.names, values),
        np.concatenate([np.zeros(0, np.uint8), *(part.outcome for part in parts)]),
        np.concatenate([np.zeros(0, bool), *(part.within for part in parts)]),
        verdicts.right | verdicts.wrong,
        verdicts.right,
        best,
        comparison,
        comparison.image_ids,
        np.concatenate([np.zeros(0, object), *names]),
        known.unseen,
    )
