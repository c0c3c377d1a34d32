"""Pairs of masks that overlap by more than a threshold, found without comparing every mask with every other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from workbench.masks import rle

Pairs = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]

_BLOCK = 2**20  # pairs of boxes compared at once; bounds the memory of a step to some 10 MB


def overlapping(
    a: Sequence[bytes],
    b: Sequence[bytes],
    size_hw: tuple[int, int],
    threshold: float,
    kind: Literal["iou", "smaller"] = "iou",
) -> Pairs:
    """Return the pairs (i of `a`, j of `b`) whose overlap is strictly above `threshold`, and that overlap.

    Parameters
    ----------
    a, b : compressed COCO strings of masks of one size (h, w)
    threshold : in [0, 1]
    kind : as for `rle.iou_matrix`: "iou", or "smaller" for intersection over the smaller mask

    Returns
    -------
    i, j : (K,) int64, ordered by i, then j; overlap : (K,) float64

    >>> overlapping([b"22", b"04"], [b"04"], (2, 2), threshold=0.5)
    (array([1]), array([0]), array([1.]))
    """
    candidates = _candidates(_extents(a, size_hw), _extents(b, size_hw), threshold, kind)
    return _measured(a, b, size_hw, threshold, kind, candidates)


def overlapping_within(
    rles: Sequence[bytes], size_hw: tuple[int, int], threshold: float, kind: Literal["iou", "smaller"] = "iou"
) -> Pairs:
    """Return the pairs i < j among `rles` whose overlap is strictly above `threshold`, as `overlapping` does.

    >>> overlapping_within([b"22", b"04", b"04"], (2, 2), threshold=0.5)
    (array([1]), array([2]), array([1.]))
    """
    extents = _extents(rles, size_hw)
    i, j = _candidates(extents, extents, threshold, kind)
    once = i < j
    return _measured(rles, rles, size_hw, threshold, kind, (i[once], j[once]))


def overlapping_by_image(
    rles: Sequence[bytes],
    starts: NDArray[np.int64],
    sizes_hw: NDArray[np.integer],
    threshold: float,
    kind: Literal["iou", "smaller"] = "iou",
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the pairs of masks of one image that `overlapping_within` finds, for many images in one compiled sweep.

    Parameters
    ----------
    rles : compressed COCO strings of N masks, image after image
    starts : (M + 1,) where the masks of each of M images begin; sizes_hw : (M, 2) of the images

    Returns
    -------
    i, j : (K,) int64, rows of `rles`, ordered by i, then j

    Raises
    ------
    ValueError : for a string that is none

    >>> overlapping_by_image([b"04", b"22", b"04", b"04"], np.array([0, 1, 4]), np.array([[2, 2], [2, 2]]), 0.5)
    (array([2]), array([3]))
    """
    from workbench.masks import runs  # compiled: loaded where it is needed

    if kind not in ("iou", "smaller"):
        raise ValueError(f"kind: expected 'iou' or 'smaller', got {kind!r}")
    chars = np.frombuffer(b"".join(rles), dtype=np.uint8)
    stops = np.cumsum(np.fromiter(map(len, rles), np.int64, len(rles)))
    heights = np.ascontiguousarray(sizes_hw[:, 0], dtype=np.int64)
    i, j, damaged = runs.overlaps_by_image(chars, stops, starts, heights, float(threshold), kind == "smaller")
    if damaged >= 0:
        rle.unpack_runs([rles[damaged]])  # says what is wrong
        raise ValueError(f"mask {damaged}: expected a compressed COCO string, got {rles[damaged][:40]!r}")
    return i, j


def _extents(rles: Sequence[bytes], size_hw: tuple[int, int]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return boxes (N, 4) and areas (N,) of masks."""
    return rle.to_boxes(rles, size_hw).astype(np.int64), rle.area(rles, size_hw)


def _candidates(
    a: tuple[NDArray[np.int64], NDArray[np.int64]],
    b: tuple[NDArray[np.int64], NDArray[np.int64]],
    threshold: float,
    kind: str,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs whose boxes and areas, as `_extents` returns them, allow an overlap above the threshold: no other can have one."""
    (boxes_a, areas_a), (boxes_b, areas_b) = a, b
    if not len(areas_a) or not len(areas_b):
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    found = []
    step = max(1, _BLOCK // len(areas_b))
    for start in range(0, len(areas_a), step):
        boxes, areas = boxes_a[start : start + step, None], areas_a[start : start + step, None]
        sides = np.minimum(boxes[..., 2:], boxes_b[:, 2:]) - np.maximum(boxes[..., :2], boxes_b[:, :2])
        shared = np.maximum(sides, 0).prod(axis=-1)
        smaller = np.minimum(areas, areas_b)
        most = np.minimum(shared, smaller)  # the intersection cannot be larger
        whole = smaller if kind == "smaller" else areas + areas_b - most
        i, j = np.nonzero((most > 0) & (most > threshold * whole * (1 - 1e-12)))
        found.append((i + start, j))
    return np.concatenate([i for i, _ in found]), np.concatenate([j for _, j in found])


def _measured(
    a: Sequence[bytes],
    b: Sequence[bytes],
    size_hw: tuple[int, int],
    threshold: float,
    kind: Literal["iou", "smaller"],
    candidates: tuple[NDArray[np.int64], NDArray[np.int64]],
) -> Pairs:
    i, j = candidates
    overlap = np.zeros(len(i), dtype=np.float64)
    rows, counts = np.unique(i, return_counts=True)
    stops = np.cumsum(counts)
    for row, start, stop in zip(rows, stops - counts, stops, strict=True):
        others = [b[k] for k in j[start:stop]]
        overlap[start:stop] = rle.iou_matrix([a[row]], others, size_hw, kind)[0]
    above = overlap > threshold
    return i[above], j[above], overlap[above]
