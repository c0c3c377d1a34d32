"""Triage of many images at once by compiled sweeps, equal to `triage`, which takes them one by one in Python (T1).

Here are the parts that look at other rows of an image: which rows are duplicates, whose size is unusual, which masks
overlap. NMS on masks goes through the functions of `rules`.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from workbench.config import TriageConfig
from workbench.masks import boxes as box
from workbench.masks import pairs
from workbench.masks.compiled import compiled
from workbench.masks.nms import greedy_boxes
from workbench.tables.outcomes import FAILURES, Reason, Triage
from workbench.tables.proposals import Proposals
from workbench.triage import rules
from workbench.triage.blocks import Images, in_threads, number_crops, whole_images

Places = NDArray[np.int64]
_LOOKED_AT = (
    "row", "boxes_xyxy", "crop_boxes_xyxy", "sizes_hw", "area_px", "predicted_iou", "stability_score", "jitter_stability",
    "hypothesis_spread", "solidity", "roughness", "contrast",
)  # fmt: skip


def columns_for(config: TriageConfig) -> list[str]:
    """Return the columns of `Proposals` that triage looks at: text and masks take the most time to read."""
    masks = config.overlap is not None or config.nms == "mask"
    return [*_LOOKED_AT, *(["rles"] if masks else [])]


class Sorted(NamedTuple):
    """The distinct rows of some images, D of them, and what speaks against each but for overlaps.

    rows : (D,) positions in the table, image by image; starts : (images + 1,) where among them each image begins
    reasons : (D,) without overlaps
    worse, better : pairs of masks that overlap, as places in `rows`; the worse one ascending
    """

    rows: Places
    starts: Places
    reasons: NDArray[np.uint32]
    worse: Places
    better: Places


def sort_distinct(p: Proposals, starts: Places, config: TriageConfig) -> Sorted:
    """Return the distinct rows with what `triage` says of each.

    Parameters
    ----------
    p : rows of whole images, ordered by image, then by `row`; starts : (images + 1,) where each image begins
    config : with pool="distinct"
    """
    rows = np.flatnonzero(_survive(p, starts, config))
    of_image = np.searchsorted(rows, starts)
    reasons = rules.reasons_of_rows(p, config)[rows]
    if config.unusual_size_z is not None:
        logs = np.log(np.maximum(p.area_px[rows], 1))
        reasons[_unusual(logs, of_image, config.unusual_size_z)] |= np.uint32(Reason.unusual_size)
    return Sorted(rows, of_image, reasons, *_overlaps(p, starts, rows, of_image, config))


def triage_together(proposals: Proposals, config: TriageConfig) -> Triage:
    """Return what `triage(proposals, config)` returns, for many images in less time.

    Raises
    ------
    SettingError, ValueError : as `triage`
    """
    if config.pool == "exact":  # NMS runs among the rows that pass: one image after the other
        return rules.triage(proposals, config)
    reasons = np.zeros(len(proposals), np.uint32)

    def part(images: Images) -> None:
        own = images.proposals.select(images.rows)
        found = sort_distinct(own, images.starts, config)
        of_own = np.full(len(own), np.uint32(Reason.duplicate))
        failed = (found.reasons & np.uint32(FAILURES)) != 0
        crowded = found.worse[~failed[found.better]]
        found.reasons[crowded] |= np.uint32(Reason.overlaps)
        of_own[found.rows] = found.reasons
        reasons[images.before + images.rows] = of_own

    in_threads(part, list(whole_images([proposals])))
    return rules.sorted_by(reasons, proposals, config)


def _survive(p: Proposals, starts: Places, config: TriageConfig) -> NDArray[np.bool_]:
    """Which rows survive NMS, (N,)."""
    kept = np.zeros(len(p), bool)
    if config.nms == "mask":
        for a, b in itertools.pairwise(starts):
            if b > a:
                height, width = p.sizes_hw[a]
                kept[rules.without_duplicates(p, np.arange(a, b), (int(height), int(width)), config)] = True
        return kept
    crop_of, crop_areas = number_crops(p.crop_boxes_xyxy, p.sizes_hw, starts)
    scores = np.where(np.isnan(p.predicted_iou), -np.inf, p.predicted_iou).astype(np.float64)
    order = np.lexsort((-scores, crop_of))  # stable: among equals the earlier row
    crop_starts = np.searchsorted(crop_of[order], np.arange(len(crop_areas) + 1))
    compared = box.to_inclusive(p.boxes_xyxy)[order].astype(np.float32)
    smallness = np.float32(1) / crop_areas.astype(np.float32)
    _greedy(compared, order, crop_starts, np.searchsorted(crop_starts, starts), smallness, config.nms_iou, kept)
    return kept


@compiled
def _greedy(
    boxes: NDArray[np.float32],
    order: Places,
    crop_starts: Places,
    image_crops: Places,
    smallness: NDArray[np.float32],
    threshold: float,
    kept: NDArray[np.bool_],
) -> None:
    """Mark the rows of each image that survive NMS within their crop and then between crops, smaller ones first.

    Parameters
    ----------
    boxes : sorted by crop and score; order : where they come from
    crop_starts : (crops + 1,) among them; image_crops : (images + 1,) among the crops, which are as first seen
    """
    for m in range(len(image_crops) - 1):
        first, last = image_crops[m], image_crops[m + 1]
        left, n = np.empty(crop_starts[last] - crop_starts[first], np.int64), 0
        for c in first + np.argsort(-smallness[first:last], kind="mergesort"):
            a, b = crop_starts[c], crop_starts[c + 1]
            for k in greedy_boxes(boxes[a:b], threshold):
                left[n] = a + k
                n += 1
        if last - first > 1:
            left = left[:n][greedy_boxes(boxes[left[:n]], threshold)]
            n = len(left)
        for k in left[:n]:
            kept[order[k]] = True


@compiled
def _unusual(logs: NDArray[np.float64], starts: Places, most: float) -> NDArray[np.bool_]:
    """Which log areas lie beyond a robust z of `most` from the median of their image, as `rules` has it."""
    found = np.zeros(len(logs), np.bool_)
    for m in range(len(starts) - 1):
        own = logs[starts[m] : starts[m + 1]]
        if len(own) < rules.LEAST_FOR_SIZE:
            continue
        middle = _median(own)
        off = np.abs(own - middle)
        mad = _median(off)
        if mad != 0:
            for k in range(len(own)):
                found[starts[m] + k] = off[k] / (rules.MAD_TO_SIGMA * mad) > most
    return found


@compiled
def _median(values: NDArray[np.float64]) -> float:
    """The median as numpy's: of an even number of values the mean of the two in the middle."""
    values, half = np.sort(values), len(values) // 2
    return float(values[half] if len(values) % 2 else (values[half - 1] + values[half]) / 2)


def _overlaps(
    p: Proposals, starts: Places, rows: Places, of_image: Places, config: TriageConfig
) -> tuple[Places, Places]:
    """Pairs of distinct masks of an image that overlap, as places in `rows`: the worse one (ascending), the better."""
    if config.overlap is None:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    sizes = p.sizes_hw[starts[:-1]]
    i, j = pairs.overlapping_by_image(p.rles[rows].tolist(), of_image, sizes, config.overlap, config.overlap_measure)
    # as triage ranks them; among equals the earlier is better
    scores = np.nan_to_num(p.predicted_iou[rows], nan=-np.inf)
    later_wins = scores[j] > scores[i]
    lost, won = np.where(later_wins, i, j), np.where(later_wins, j, i)
    order = np.argsort(lost, kind="stable")
    return lost[order], won[order]
