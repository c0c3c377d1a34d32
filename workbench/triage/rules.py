"""The rules of triage: thresholds and reasons that sort proposals into auto-accepted, flagged and discarded (T1, T2).

A threshold is cast to float32 once before it is compared with a float32 column, so that a score that was stored as
0.92 is not "below 0.92". The predicted IoU has to be greater than its threshold, stabilities at least theirs.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from workbench.config import Preset, ProposeConfig, TriageConfig, triage_config
from workbench.masks import pairs
from workbench.masks.boxes import box_area
from workbench.masks.nms import nms_boxes, nms_masks
from workbench.tables.outcomes import DOUBTS, FAILURES, Outcome, Reason, Triage
from workbench.tables.proposals import ASKED_AGAIN, Proposals

Flags = NDArray[np.uint32]  # unions of Reason
Rows = NDArray[np.int64]  # positions in the table

LEAST_FOR_SIZE = 10  # a median and its spread say little of fewer masks
MAD_TO_SIGMA = 1.4826  # of a normal distribution


def triage(
    proposals: Proposals, config: TriageConfig | Preset | str | None = None, *, existing: Proposals | None = None
) -> Triage:
    """Sort proposals into auto-accepted, flagged and discarded, each with all its reasons; no model is run.

    A distinct proposal (not suppressed by NMS) is *discarded* when it fails a threshold by more than its margin or an
    area limit, *flagged* when a score lies within the margin below its threshold or any other doubt exists, and
    *auto-accepted* otherwise. Doubts are kept for discarded proposals too.

    pool="distinct": NMS runs over all rows given, then thresholds sort what survived. Moving a threshold never changes
    which proposals are distinct, so rates can be compared.
    pool="exact": rows that fail outright take no part, and NMS runs among the others. With the margins at 0 and the
    jitter threshold off, what is neither discarded nor a duplicate is what a fresh run keeps whose floors are these
    thresholds; with margins, whose floors are the thresholds minus their margins. Rows that fail were not compared with
    others: they are discarded, so counts of discarded and distinct rows include their duplicates.

    Where a confidence is asked for, rows that are not above it have the reason low_confidence (or confidence_missing).
    By confidence_rule="decides" the rows above it are accepted whatever other scores and doubts say, if they are distinct
    and within the area limits, and no others are; the reasons stay, for people to read.

    Where the rows of an image come from several crops, NMS is the official generator's: within each crop by predicted
    IoU, then between crops, smaller crops first, at the same threshold.

    Parameters
    ----------
    proposals : rows of any number of images; each image is sorted by itself, its rows taken in order of `row`
    config : settings, a preset or its name, whose thresholds are those for how the rows were proposed; None for the default
    existing : masks that are there already; a proposal that overlaps one of the same image gets the reason overlaps

    Returns
    -------
    Triage, row by row beside `proposals`; a duplicate has the reason duplicate and no other

    Raises
    ------
    SettingError : if config is neither settings nor a preset nor the name of one
    ValueError : if the rows of an image have several sizes, or one without pixels, or `existing` has another size

    Source: seed, section 2; Kirillov et al. 2023, Segment Anything, section 4; SamAutomaticMaskGenerator for NMS.
    """
    # a preset may have other thresholds for masks that were asked for again
    again = not isinstance(config, TriageConfig) and bool((proposals.prompt == ASKED_AGAIN).any())
    settings = triage_config(config, ProposeConfig(refine=True, pool="distinct") if again else None)
    reasons = reasons_of_rows(proposals, settings)
    failed = _any(reasons, FAILURES)
    there = dict(existing.by_image()) if existing is not None else {}
    for image_id, positions in proposals.by_image():
        rows = positions[np.argsort(proposals.row[positions], kind="stable")]
        size_hw = size_of_image(proposals, rows, image_id)
        compared = rows[~failed[rows]] if settings.pool == "exact" else rows
        kept = without_duplicates(proposals, compared, size_hw, settings)
        duplicates = np.setdiff1d(compared, kept)
        distinct = rows[~np.isin(rows, duplicates)]
        sized = _unusual_size(proposals.area_px[distinct], proposals.area_px[kept], settings)
        rivals = distinct[np.isin(distinct, kept) & ~failed[distinct]]
        crowded = _overlapping(proposals, distinct, rivals, size_hw, settings)
        if existing is not None and image_id in there:
            crowded |= _overlapping_existing(proposals, distinct, existing, there[image_id], size_hw, settings)
        reasons[distinct] |= _flags((Reason.unusual_size, sized), (Reason.overlaps, crowded))
        reasons[duplicates] = np.uint32(Reason.duplicate)
    return sorted_by(reasons, proposals, settings)


def sorted_by(reasons: Flags, proposals: Proposals, config: TriageConfig) -> Triage:
    """Return the outcomes that follow from all reasons of the rows, (N,), and from the confidence where it decides."""
    outcome = _outcomes(reasons)
    if decides(config):
        outcome[acceptable(reasons) & sure(proposals, config)] = Outcome.auto_accepted
    return Triage(outcome, reasons, config)


def decides(config: TriageConfig) -> bool:
    """Whether the confidence alone says what is accepted."""
    return config.confidence_rule == "decides"


def acceptable(reasons: Flags) -> NDArray[np.bool_]:
    """Which rows a confidence that decides may accept, (N,): distinct ones within the area limits."""
    return ~_any(reasons, Reason.duplicate | Reason.too_small | Reason.too_large)


def sure(proposals: Proposals, config: TriageConfig) -> NDArray[np.bool_]:
    """Return which rows have a confidence above the one that is asked for, (N,); compared in float64, as certificates do."""
    return np.asarray(proposals.confidence > (np.inf if config.confidence is None else config.confidence))


def _outcomes(reasons: Flags) -> NDArray[np.uint8]:
    outcome = np.full(len(reasons), Outcome.auto_accepted, dtype=np.uint8)
    for kind, found in (
        (DOUBTS, Outcome.flagged),
        (FAILURES, Outcome.discarded),
        (Reason.duplicate, Outcome.duplicate),
    ):
        outcome[_any(reasons, kind)] = found
    return outcome


def _any(reasons: Flags, kind: Reason) -> NDArray[np.bool_]:
    return np.asarray((reasons & np.uint32(kind)) != 0)


def _flags(*given: tuple[Reason, NDArray[np.bool_]]) -> Flags:
    """Put reasons and the rows that have them into one column."""
    column = np.zeros(len(given[0][1]), dtype=np.uint32)
    for reason, has in given:
        column[has] |= np.uint32(reason)
    return column


def _below(scores: NDArray[np.float32], threshold: float, strict: bool) -> NDArray[np.bool_]:
    """Rows that do not pass a threshold; NaN passes none."""
    limit = np.float32(threshold)
    return ~(scores > limit) if strict else ~(scores >= limit)


def reasons_of_rows(proposals: Proposals, config: TriageConfig) -> Flags:
    """Return the reasons that need no other row of the image, (N,)."""
    return _failures(proposals, config) | _doubts_of_rows(proposals, config)


def failures(proposals: Proposals, config: TriageConfig) -> NDArray[np.bool_]:
    """Return which rows fail a threshold by more than its margin or an area limit, (N,)."""
    return _any(_failures(proposals, config), FAILURES)


def _failures(p: Proposals, s: TriageConfig) -> Flags:
    """Reasons to discard: scores below threshold and margin, and area limits."""
    found = [
        (Reason.low_predicted_iou, _below(p.predicted_iou, s.predicted_iou - s.predicted_iou_margin, strict=True)),
        (Reason.too_small, p.area_px < s.min_area_px),
        (Reason.too_large, p.area_px > s.max_area_share * p.sizes_hw.astype(np.float64).prod(axis=1)),
    ]
    if s.stability_score is not None:
        low = _below(p.stability_score, s.stability_score - s.stability_score_margin, strict=False)
        found.append((Reason.low_stability_score, low))
    if s.jitter_stability is not None:
        low = _below(p.jitter_stability, s.jitter_stability - s.jitter_stability_margin, strict=False)
        found.append((Reason.low_jitter_stability, low & ~np.isnan(p.jitter_stability)))
    return _flags(*found)


def _doubts_of_rows(p: Proposals, s: TriageConfig) -> Flags:
    """Reasons to flag that need no other row. A feature that was not measured (NaN) raises no doubt but jitter's."""
    found = [(Reason.borderline_score, _borderline(p, s))]
    if s.jitter_stability is not None:
        found.append((Reason.jitter_missing, np.isnan(p.jitter_stability)))
    if s.unusual_solidity is not None:
        found.append((Reason.unusual_shape, p.solidity < np.float32(s.unusual_solidity)))
    if s.ambiguous_spread is not None:
        found.append((Reason.ambiguous, p.hypothesis_spread > np.float32(s.ambiguous_spread)))
    if s.low_contrast is not None:
        found.append((Reason.low_contrast, p.contrast < np.float32(s.low_contrast)))
    if s.ragged_roughness is not None:
        found.append((Reason.ragged, p.roughness > np.float32(s.ragged_roughness)))
    if s.border_px is not None:
        found.append((Reason.touches_border, _at_border(p, s.border_px)))
    if s.confidence is not None:
        missing = np.isnan(p.confidence)
        found += [(Reason.confidence_missing, missing), (Reason.low_confidence, ~missing & ~sure(p, s))]
    return _flags(*found)


def _borderline(p: Proposals, s: TriageConfig) -> NDArray[np.bool_]:
    """Rows with a score that does not pass its threshold but lies within the margin below it."""
    near = _below(p.predicted_iou, s.predicted_iou, strict=True) & ~_below(
        p.predicted_iou, s.predicted_iou - s.predicted_iou_margin, strict=True
    )
    for scores, threshold, margin in (
        (p.stability_score, s.stability_score, s.stability_score_margin),
        (p.jitter_stability, s.jitter_stability, s.jitter_stability_margin),
    ):
        if threshold is not None:
            near |= _below(scores, threshold, strict=False) & ~_below(scores, threshold - margin, strict=False)
    return near


def _at_border(p: Proposals, margin_px: int) -> NDArray[np.bool_]:
    """Rows whose box comes within `margin_px` of the border of their image; empty masks have no box."""
    far_xy = p.sizes_hw[:, ::-1] - margin_px
    near = (p.boxes_xyxy[:, :2] <= margin_px).any(axis=1) | (p.boxes_xyxy[:, 2:] >= far_xy).any(axis=1)
    return np.asarray(near & (p.boxes_xyxy[:, 2:] > p.boxes_xyxy[:, :2]).all(axis=1))


def size_of_image(p: Proposals, rows: Rows, image_id: str) -> tuple[int, int]:
    """Return height and width of an image, px, as its rows have it. Raises ValueError for several sizes, or no pixels."""
    sizes = np.unique(p.sizes_hw[rows], axis=0)
    if len(sizes) != 1 or sizes.min() < 1:
        raise ValueError(
            f"Proposals.sizes_hw: expected one height and width for image {image_id!r}, got {sizes.tolist()};"
            " give the image's own size to every row"
        )
    return int(sizes[0, 0]), int(sizes[0, 1])


def without_duplicates(p: Proposals, rows: Rows, size_hw: tuple[int, int], s: TriageConfig) -> Rows:
    """Return the rows of one image that survive NMS, within each crop and then between crops."""
    # a missing score loses against any other
    scores = np.where(np.isnan(p.predicted_iou[rows]), -np.inf, p.predicted_iou[rows])
    crop_boxes = p.crop_boxes_xyxy[rows].copy()
    crop_boxes[box_area(crop_boxes) == 0] = 0, 0, size_hw[1], size_hw[0]  # no crop is said: the whole image
    crops, first, crop_of = np.unique(crop_boxes, axis=0, return_index=True, return_inverse=True)
    if len(crops) < 2:
        return rows[_nms(p, rows, scores, size_hw, s)]
    crop_of = crop_of.reshape(-1)  # numpy 2.0 gives it a second axis
    left = []
    for crop in np.argsort(first):
        members = np.flatnonzero(crop_of == crop)
        left.append(members[_nms(p, rows[members], scores[members], size_hw, s)])
    among = np.concatenate(left)
    smallness = (np.float32(1) / box_area(crops).astype(np.float32))[crop_of[among]]
    return rows[among[_nms(p, rows[among], smallness, size_hw, s)]]


def _nms(
    p: Proposals, rows: Rows, scores: NDArray[np.floating], size_hw: tuple[int, int], s: TriageConfig
) -> NDArray[np.int64]:
    if s.nms == "mask":
        return nms_masks(list(p.rles[rows]), size_hw, scores, s.nms_iou)
    return nms_boxes(p.boxes_xyxy[rows], scores, s.nms_iou)


def _unusual_size(areas_px: NDArray[np.int64], population_px: NDArray[np.int64], s: TriageConfig) -> NDArray[np.bool_]:
    """Rows whose log area lies beyond a robust z from the median of the image's distinct proposals."""
    none = np.zeros(len(areas_px), dtype=bool)
    if s.unusual_size_z is None or len(population_px) < LEAST_FOR_SIZE:
        return none
    logs = np.log(np.maximum(population_px, 1))
    middle = np.median(logs)
    mad = np.median(np.abs(logs - middle))
    if mad == 0:
        return none
    z = np.abs(np.log(np.maximum(areas_px, 1)) - middle) / (MAD_TO_SIGMA * mad)
    return np.asarray(z > s.unusual_size_z)


def _overlapping(
    p: Proposals, rows: Rows, rivals: Rows, size_hw: tuple[int, int], s: TriageConfig
) -> NDArray[np.bool_]:
    """Which of `rows` overlap one of `rivals` with a higher predicted IoU; among equals the earlier row is the better."""
    found = np.zeros(len(rows), dtype=bool)
    if s.overlap is None:
        return found
    i, j, _ = pairs.overlapping(list(p.rles[rows]), list(p.rles[rivals]), size_hw, s.overlap, s.overlap_measure)
    a, b = rows[i], rivals[j]
    score_a, score_b = (np.nan_to_num(p.predicted_iou[k], nan=-np.inf) for k in (a, b))
    better = (score_b > score_a) | ((score_b == score_a) & _before(rows, b, a))
    found[i[better]] = True
    return found


def _before(rows: Rows, a: Rows, b: Rows) -> NDArray[np.bool_]:
    """Whether a comes before b in the order of `rows`."""
    place = np.zeros(int(rows.max(initial=-1)) + 1, dtype=np.int64)
    place[rows] = np.arange(len(rows))
    return np.asarray(place[a] < place[b])


def _overlapping_existing(
    p: Proposals, rows: Rows, existing: Proposals, there: Rows, size_hw: tuple[int, int], s: TriageConfig
) -> NDArray[np.bool_]:
    """Which of `rows` overlap a mask of `existing` of the same image."""
    found = np.zeros(len(rows), dtype=bool)
    if s.overlap is None:
        return found
    image_id = str(p.image_id[rows[0]]) if len(rows) else ""
    other = size_of_image(existing, there, image_id)
    if other != size_hw:
        raise ValueError(f"existing masks of image {image_id!r}: expected size {size_hw} (h, w), got {other}")
    i, _, _ = pairs.overlapping(list(p.rles[rows]), list(existing.rles[there]), size_hw, s.overlap, s.overlap_measure)
    found[i] = True
    return found
