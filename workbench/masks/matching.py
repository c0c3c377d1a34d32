"""Which mask is which: one-to-one matching of two sets of masks by IoU."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from workbench.masks import rle


def match(
    a: Sequence[bytes], b: Sequence[bytes], size_hw: tuple[int, int], iou: float
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Match masks one to one so that as many pairs as possible reach the IoU, and among these the sum of IoU is largest.

    Parameters
    ----------
    a, b : run lengths of masks of one image
    iou : least IoU of a pair, in (0, 1]

    Returns
    -------
    rows of a (K,), rows of b (K,), IoU (K,) of the pairs, in order of a

    Raises
    ------
    ValueError : if the IoU is not in (0, 1]

    Source: Kuhn 1955, The Hungarian method for the assignment problem; scipy.optimize.linear_sum_assignment.
    """
    if not 0 < iou <= 1:
        raise ValueError(f"iou: expected a value in (0, 1], got {iou}")
    overlap = rle.iou_matrix(a, b, size_hw)
    # one whole point a pair makes their number count before their IoU
    worth = np.where(overlap >= iou, len(a) + len(b) + overlap, 0.0)
    rows, columns = linear_sum_assignment(worth, maximize=True)
    matched = overlap[rows, columns] >= iou
    rows, columns = rows[matched], columns[matched]
    return rows, columns, overlap[rows, columns]
