"""Connected regions of a mask, removal of small holes and islands as the official generator does it, and erosion."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

_EIGHT = np.ones((3, 3), dtype=bool)
_FOUR = ndimage.generate_binary_structure(2, 1)


def connected_components(
    mask: NDArray[np.bool_], connectivity: Literal[4, 8] = 8
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Return which region each pixel belongs to, and how large the regions are.

    Parameters
    ----------
    mask : (H, W) bool
    connectivity : 8 joins pixels that touch at a corner, 4 does not

    Returns
    -------
    labels : (H, W) int32, 0 is background, regions count from 1
    areas : (R,) int64 in pixels; areas[0] belongs to label 1

    >>> labels, areas = connected_components(np.array([[1, 0, 1], [0, 0, 1]], dtype=bool))
    >>> labels.tolist(), areas.tolist()
    ([[1, 0, 2], [0, 0, 2]], [1, 2])
    """
    if mask.ndim != 2:
        raise ValueError(f"mask: expected (H, W), got shape {mask.shape}")
    if connectivity not in (4, 8):
        raise ValueError(f"connectivity: expected 4 or 8, got {connectivity}")
    labels = np.zeros(mask.shape, dtype=np.int32)
    ndimage.label(mask, structure=_EIGHT if connectivity == 8 else _FOUR, output=labels)
    return labels, np.bincount(labels.reshape(-1))[1:].astype(np.int64)


def remove_small_regions(
    mask: NDArray[np.bool_], area_px: float, mode: Literal["holes", "islands"]
) -> tuple[NDArray[np.bool_], bool]:
    """Fill holes or drop islands of fewer than `area_px` pixels; pixels that touch at a corner belong together.

    Parameters
    ----------
    mask : (H, W) bool
    mode : "holes" fills every small region of background, also at the border of the image; "islands" drops small
        regions of the mask, but of a mask that has only such it keeps the largest (of equal ones the first, counting
        2×2 blocks of pixels row by row, as OpenCV does)

    Returns
    -------
    The mask, which is the one given when nothing changed, and whether it changed

    Source: facebookresearch/segment-anything, utils/amg.py, remove_small_regions.

    >>> remove_small_regions(np.array([[1, 0, 1, 1]], dtype=bool), area_px=2, mode="islands")
    (array([[False, False,  True,  True]]), True)
    """
    if mode not in ("holes", "islands"):
        raise ValueError(f"mode: expected 'holes' or 'islands', got {mode!r}")
    pixels = np.asarray(mask, dtype=bool)
    labels, areas = connected_components(~pixels if mode == "holes" else pixels)
    small = areas < area_px
    if not small.any():
        return mask, False
    if mode == "holes":
        return pixels | np.concatenate(([False], small))[labels], True
    keep = ~small
    if not keep.any():
        keep[_first_largest(labels, areas)] = True
    kept: NDArray[np.bool_] = np.concatenate(([False], keep))[labels]
    return kept, True


def largest_region(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the largest region of a mask, (H, W) bool; of equal ones the first; all background for an empty mask.

    >>> largest_region(np.array([[1, 0, 1, 1]], dtype=bool)).astype(int).tolist()
    [[0, 0, 1, 1]]
    """
    labels, areas = connected_components(np.asarray(mask, dtype=bool))
    if len(areas) == 0:
        return np.zeros(mask.shape, dtype=bool)
    return np.asarray(labels == _first_largest(labels, areas) + 1)


def eroded(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the pixels of a mask whose four neighbours belong to it too, (H, W) bool; beyond the border is background.

    >>> eroded(np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], dtype=bool)).astype(int).tolist()
    [[0, 0, 0], [0, 1, 0], [0, 0, 0]]
    """
    framed = np.pad(mask, 1)
    inner: NDArray[np.bool_] = framed[:-2, 1:-1] & framed[2:, 1:-1] & framed[1:-1, :-2] & framed[1:-1, 2:] & mask
    return inner


def _first_largest(labels: NDArray[np.int32], areas: NDArray[np.int64]) -> int:
    """Place in `areas` of the largest region, ties in OpenCV's order: by the first 2×2 block that holds a pixel of it."""
    largest = np.flatnonzero(areas == areas.max())
    if len(largest) == 1:
        return int(largest[0])
    ys, xs = np.nonzero(labels)
    block = (ys // 2) * ((labels.shape[1] + 1) // 2) + xs // 2
    first = np.full(len(areas) + 1, np.iinfo(np.int64).max)
    np.minimum.at(first, labels[ys, xs], block)
    return int(largest[first[largest + 1].argmin()])
