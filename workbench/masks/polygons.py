"""Polygons: exact outlines of a mask, their simplification, and masks filled from polygons as COCO fills them.

Coordinates are (x, y) px; the pixel in column x and row y covers x..x+1 and y..y+1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import rlemasklib
from numpy.typing import ArrayLike, NDArray

from workbench.masks import rle
from workbench.masks.compiled import compiled

_MAX_LENGTH_PX = 2_000_000  # rasterising takes memory in proportion to the length of the outline


def outlines(mask: NDArray[np.bool_]) -> list[NDArray[np.float64]]:
    """Return the outlines of a mask along the edges of its pixels, so that filling them gives the mask back.

    Outer rings run clockwise as seen on the screen, holes the other way round. No ring crosses itself: parts that touch
    at a corner only have a ring each. Only corners are listed, the first is not repeated.

    Parameters
    ----------
    mask : (H, W) bool

    Returns
    -------
    Rings of (K, 2) float64, x and y of K >= 4 corners, ordered by their topmost, then leftmost edge

    >>> [ring.tolist() for ring in outlines(np.array([[0, 1, 1]], dtype=bool))]
    [[[1.0, 0.0], [3.0, 0.0], [3.0, 1.0], [1.0, 1.0]]]
    """
    if mask.ndim != 2:
        raise ValueError(f"mask: expected (H, W), got shape {mask.shape}")
    corners, ends = _trace(np.pad(np.ascontiguousarray(mask, dtype=bool).view(np.uint8), 1))
    return np.split(corners.astype(np.float64), ends[:-1]) if len(ends) else []


def simplify(polygon: ArrayLike, tolerance_px: float) -> NDArray[np.float64]:
    """Return the ring with fewer points: none of those left out is farther than the tolerance from the new outline.

    Parameters
    ----------
    polygon : (K, 2) xy, K >= 3, closed by its last point

    Returns
    -------
    (M, 2) float64, 3 <= M <= K, points of the given ring in order; a ring smaller than the tolerance is returned as it is

    Source: Douglas and Peucker 1973, on the two halves between the first point and the one farthest from it.

    >>> simplify([[0, 0], [4, 0.1], [8, 0], [8, 8], [0, 8]], tolerance_px=0.5).tolist()
    [[0.0, 0.0], [8.0, 0.0], [8.0, 8.0], [0.0, 8.0]]
    """
    ring = _as_polygon(polygon, 0)
    if not tolerance_px >= 0:
        raise ValueError(f"tolerance_px: expected 0 or more, got {tolerance_px}")
    far = int(np.hypot(*(ring - ring[0]).T).argmax())
    closed = np.concatenate([ring, ring[:1]])
    keep = np.zeros(len(closed), dtype=bool)
    keep[[0, far]] = True
    spans = [(0, far), (far, len(ring))]
    while spans:
        start, stop = spans.pop()
        if stop - start < 2:
            continue
        distance = _distance_to_segment(closed[start + 1 : stop], closed[start], closed[stop])
        worst = int(distance.argmax())
        if distance[worst] > tolerance_px:
            middle = start + 1 + worst
            keep[middle] = True
            spans += [(start, middle), (middle, stop)]
    chosen = keep[:-1]
    return ring[chosen] if chosen.sum() >= 3 else ring


def fill(
    polygons: Sequence[ArrayLike], size_hw: tuple[int, int], rule: Literal["even-odd", "union"] = "even-odd"
) -> NDArray[np.bool_]:
    """Return the mask of the pixels whose centres lie inside the polygons, (H, W) bool.

    Parameters
    ----------
    polygons : rings of (K, 2) xy, K >= 3; they may leave the image
    rule : "even-odd", a ring inside another is a hole, as `outlines` gives them; "union", every ring is filled

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


def _distance_to_segment(points: NDArray[Any], a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.float64]:
    """Distance of each point to the segment from a to b, (N,) px."""
    along = b - a
    squared = float(along @ along)
    share = np.clip((points - a) @ along / squared, 0, 1) if squared else np.zeros(len(points))
    distance: NDArray[np.float64] = np.hypot(*(points - a - share[:, None] * along).T)
    return distance


@compiled
def _trace(mask: NDArray[np.uint8]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Corners of all rings one after the other, and where each ring ends; the mask has a border of background.

    Walks with the mask on the right hand. At every corner the right turn comes first, which keeps parts apart that touch
    at a corner only. Every ring runs along the top edge of some pixel, which is where it is found.
    """
    h, w = mask.shape
    seen = np.zeros((h, w), dtype=np.uint8)  # top edges of pixels that a ring has passed
    corners = np.empty((16, 2), dtype=np.int32)
    ends = np.empty(4, dtype=np.int64)
    n, rings = 0, 0
    step_x, step_y = np.array([1, 0, -1, 0]), np.array([0, 1, 0, -1])
    # pixel to the right hand and to the left hand ahead of a corner, by direction
    right_x, right_y = np.array([0, -1, -1, 0]), np.array([0, 0, -1, -1])
    left_x, left_y = np.array([0, 0, -1, -1]), np.array([-1, 0, 0, -1])
    for y0 in range(1, h - 1):
        for x0 in range(1, w - 1):
            if not mask[y0, x0] or mask[y0 - 1, x0] or seen[y0, x0]:
                continue
            x, y, turn, direction = x0, y0, 1, 0
            while True:
                if turn:
                    if n == len(corners):
                        corners = np.concatenate((corners, np.empty_like(corners)))
                    corners[n, 0], corners[n, 1] = x - 1, y - 1
                    n += 1
                if direction == 0:
                    if seen[y, x]:
                        n -= 1  # back at the first corner
                        break
                    seen[y, x] = 1
                x, y = x + step_x[direction], y + step_y[direction]
                turn = 0
                if not mask[y + right_y[direction], x + right_x[direction]]:
                    turn = 1
                elif mask[y + left_y[direction], x + left_x[direction]]:
                    turn = 3
                direction = (direction + turn) % 4
            if rings == len(ends):
                ends = np.concatenate((ends, np.empty_like(ends)))
            ends[rings] = n
            rings += 1
    return corners[:n], ends[:rings]


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
