"""What the other distinct masks of an image say about one: rivals for the same thing, wholes, parts, the usual size (G1).

A mask whose bounds are drawn otherwise by another that is nearly as sure is wrong more often than its own scores tell.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.masks import pairs, rle

NAMES = ("rival", "lead", "rival_iou", "whole", "part", "relative_size", "size_deviation")
RIVAL_IOU = 0.3  # two masks above it are taken for two answers to one question
TOUCHING = 0.3  # share of the smaller of two masks that is common to both, above which they are compared at all
WITHIN = 0.8  # share of a mask's area that lies in another
SURE = 0.7  # predicted IoU of the masks whose median area is the usual one


def context(rles: Sequence[bytes], scores: ArrayLike, size_hw: tuple[int, int]) -> dict[str, NDArray[np.float64]]:
    """Describe each of the N distinct masks of an image by the others.

    Parameters
    ----------
    rles : compressed COCO strings; scores : (N,) predicted IoU, NaN counts as 0; size_hw : of the image, px

    Returns
    -------
    of each of `NAMES` (N,) float64:
    rival : highest score of another mask whose IoU with it is above 0.3, lead : its own score less that, rival_iou : the
        highest IoU with a mask that shares more than 30 % of the smaller of the two; 0 where there is none
    whole, part : highest score of a mask in which 80 % of it lie, and of one of which 80 % lie in it; 0 where none
    relative_size : log of its area by the median of the masks above a score of 0.7 (of all where none is), and
        size_deviation : how far that is from 0
    """
    score = np.nan_to_num(np.asarray(scores, np.float64), nan=0.0, posinf=1.0, neginf=0.0)
    n = len(score)
    found = {name: np.zeros(n) for name in NAMES}
    if n == 0:
        return found
    area = np.maximum(rle.area(list(rles), size_hw), 1).astype(np.float64)
    i, j, smaller = pairs.overlapping_within(list(rles), size_hw, TOUCHING, "smaller")
    common = smaller * np.minimum(area[i], area[j])
    iou = common / (area[i] + area[j] - common)
    for a, b in ((i, j), (j, i)):
        rivals = iou > RIVAL_IOU
        inside, around = common / area[a] > WITHIN, common / area[b] > WITHIN
        np.maximum.at(found["rival"], a[rivals], score[b[rivals]])
        np.maximum.at(found["rival_iou"], a, iou)
        np.maximum.at(found["whole"], a[inside], score[b[inside]])
        np.maximum.at(found["part"], a[around], score[b[around]])
    found["lead"] = score - found["rival"]
    sure = score > SURE
    found["relative_size"] = np.log(area) - np.median(np.log(area[sure] if sure.any() else area))
    found["size_deviation"] = np.abs(found["relative_size"])
    return found
