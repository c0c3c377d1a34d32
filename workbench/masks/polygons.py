"""Masks filled from polygons: by the centres of pixels, as the annotator fills them, and as COCO fills them.

Coordinates are (x, y) px; the pixel in column x and row y covers x..x+1 and y..y+1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import rlemasklib
from numpy.typing import ArrayLike, NDArray

from workbench.masks import rle
from workbench.masks.compiled import compiled

_MAX_LENGTH_PX = 2_000_000  # rasterising takes memory in proportion to the length of the outline


def fill(
    polygons: Sequence[ArrayLike], size_hw: tuple[int, int], rule: Literal["even-odd", "union"] = "even-odd"
) -> NDArray[np.bool_]:
    """Return the mask of the pixels whose centres lie inside the polygons, (H, W) bool.

    Parameters
    ----------
    polygons : rings of (K, 2) xy, K >= 3; they may leave the image
    rule : "even-odd", a ring inside another is a hole; "union", every ring is filled

    Raises
    ------
    ValueError : if a polygon has fewer than 3 points, or coordinates that are not finite

    >>> fill([[[1, 0], [3, 0], [3, 1], [1, 1]]], (1, 4)).astype(int).tolist()
    [[0, 1, 1, 0]]
    """
    if rule not in ("even-odd", "union"):
        raise ValueError(f"rule: expected 'even-odd' or 'union', got {rule!r}")
    h, w = size_hw
    filled = np.zeros((h, w), dtype=np.uint8)
    for i, polygon in enumerate(polygons):
        ring = np.zeros_like(filled) if rule == "union" else filled
        _fill_ring(ring, _as_polygon(polygon, i))
        if rule == "union":
            filled |= ring
    return filled.view(np.bool_)


def from_coco_polygons(polygons: Sequence[Sequence[float]], size_hw: tuple[int, int]) -> bytes:
    """Return the union of COCO polygons as run lengths, pixel for pixel as pycocotools rasterises them.

    Parameters
    ----------
    polygons : each a flat list x0, y0, x1, y1, ... of at least 3 points; they may leave the image

    Raises
    ------
    ValueError : if there is no polygon, or one has fewer than 3 points, an odd number of coordinates, one that is not
        finite, or an outline longer than 2 million px; its index is named

    Source: cocoapi, common/maskApi.c, rleFrPoly and rleMerge.

    >>> from_coco_polygons([[1, 0, 3, 0, 3, 2, 1, 2]], (2, 4))
    b'242'
    """
    if len(polygons) == 0:
        raise ValueError("polygons: expected at least one, got none; an empty mask is written as run lengths")
    parts = []
    for i, flat in enumerate(polygons):
        values = np.asarray(flat, dtype=np.float64)
        if values.ndim != 1 or len(values) % 2:
            raise ValueError(
                f"polygon {i}: expected a flat list x0, y0, x1, y1, ..., got {np.shape(flat)};"
                " an odd number of coordinates lacks a y"
            )
        ring = _as_polygon(values.reshape(-1, 2), i)
        parts.append(rlemasklib.from_polygon(ring.reshape(-1), imshape=list(size_hw))["counts"])
    return parts[0] if len(parts) == 1 else rle.union(parts, size_hw)


def _as_polygon(points: ArrayLike, index: int) -> NDArray[np.float64]:
    ring: NDArray[np.float64] = np.ascontiguousarray(points, dtype=np.float64)
    if ring.ndim != 2 or ring.shape[1] != 2 or len(ring) < 3:
        raise ValueError(f"polygon {index}: expected at least 3 points (x, y), got shape {ring.shape}")
    if not np.isfinite(ring).all():
        raise ValueError(f"polygon {index}: expected finite coordinates, got NaN or infinity")
    length = np.abs(ring - np.roll(ring, 1, axis=0)).sum() + np.abs(ring).max()
    if length > _MAX_LENGTH_PX:
        raise ValueError(
            f"polygon {index}: expected an outline of at most {_MAX_LENGTH_PX} px, got {length:.0f} px;"
            " are the coordinates pixels?"
        )
    return ring


@compiled
def _fill_ring(filled: NDArray[np.uint8], ring: NDArray[np.float64]) -> None:
    """Turn over every pixel whose centre lies inside the ring (even-odd)."""
    h, w = filled.shape
    flips = np.zeros((h, w + 1), dtype=np.uint8)
    for k in range(len(ring)):
        xa, ya = ring[k - 1]
        xb, yb = ring[k]
        if ya > yb:
            xa, ya, xb, yb = xb, yb, xa, ya
        # rows whose centre y + 0.5 lies in [ya, yb)
        for y in range(max(math.ceil(ya - 0.5), 0), min(math.ceil(yb - 0.5), h)):
            x = xa + (y + 0.5 - ya) * (xb - xa) / (yb - ya)
            flips[y, min(max(math.ceil(x - 0.5), 0), w)] ^= 1
    for y in range(h):
        inside = 0
        for x in range(w):
            inside ^= flips[y, x]
            filled[y, x] ^= inside
