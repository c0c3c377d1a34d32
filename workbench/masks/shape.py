"""Form of a mask and its contrast with what surrounds it, measured inside the mask's box.

Triage reads these as reasons: an unusual shape (solidity), a ragged boundary (roughness), a low contrast.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.masks import rle
from workbench.masks.compiled import compiled

_CONTRAST_FLOOR = 1.0  # grey levels; keeps the contrast of flat drawings finite


def describe(
    rles: Sequence[bytes], size_hw: tuple[int, int], image: NDArray[np.uint8] | None = None, band_px: int = 3
) -> dict[str, NDArray[np.float32]]:
    """Return solidity, roughness and contrast of each mask; the cost grows with the area of the boxes.

    Parameters
    ----------
    rles, size_hw : compressed COCO strings of the masks, and the size (h, w) of the image
    image : (H, W, 3) uint8 RGB; without it contrast is NaN
    band_px : width of the bands along the outline that contrast compares

    Returns
    -------
    {"solidity", "roughness", "contrast"}, each (N,) float32; NaN for an empty mask

    Raises
    ------
    ValueError : if the image has another size, or band_px < 1

    >>> {name: values.tolist() for name, values in describe([b"04"], (2, 2)).items()}
    {'solidity': [1.0], 'roughness': [0.0], 'contrast': [nan]}
    """
    _check_band(band_px)
    if image is not None and image.shape != (*size_hw, 3):
        raise ValueError(f"image: expected (H, W, 3) of size {tuple(size_hw)}, got shape {image.shape}")
    boxes = rle.to_boxes(rles, size_hw).astype(np.int64)
    runs, offsets = rle.unpack_runs(rles)
    pixels = np.zeros((0, 0, 3), dtype=np.uint8) if image is None else np.ascontiguousarray(image, dtype=np.uint8)
    columns = _describe(runs, offsets, boxes, int(size_hw[0]), int(size_hw[1]), pixels, int(band_px))
    return {name: columns[i] for i, name in enumerate(("solidity", "roughness", "contrast"))}


def solidity(mask: NDArray[np.bool_]) -> float:
    """Return area over the area of the convex hull of the pixels' corners, in (0, 1]; NaN for an empty mask.

    Rectangles have 1; a disc comes close to it from below, since its hull cuts the corners between steps.

    Parameters
    ----------
    mask : (H, W) bool, the mask or a crop around it

    >>> solidity(np.array([[1, 0], [1, 1]], dtype=bool))
    0.8571428571428571
    """
    return float(_solidity(_as_bytes(mask)))


def roughness(mask: NDArray[np.bool_]) -> float:
    """Return how often the outline turns back on itself, per pixel of its length, in [0, 1]; NaN for an empty mask.

    The outline runs along the edges of pixels. It turns back where a straight piece is entered and left by turns to the
    same side: at every tip and every notch. An outline without notches does so four times, whatever its size: each
    convex form, in any position, drawn by the pixels whose centres it holds, is exactly 0. With R turns back on all
    outlines (holes and islands too) of total length P in pixels, roughness = max(R - 4, 0) / P.

    A comb with teeth and gaps of one pixel is at 0.5, a cloud of single pixels near 1, waves of 10 px near 0.15.

    Parameters
    ----------
    mask : (H, W) bool, the mask or a crop around it

    >>> roughness(np.array([[1, 0, 1, 0, 1], [1, 1, 1, 1, 1]], dtype=bool))
    0.2222222222222222
    """
    return float(_roughness(np.pad(_as_bytes(mask), 1)))


def contrast(image_gray: NDArray[Any], mask: NDArray[np.bool_], band_px: int = 3) -> float:
    """Return the difference of brightness across the outline, in standard deviations.

    |mean inside - mean outside| / (s + 1 grey level), where inside are the pixels of the mask and outside those that are
    none, both at most `band_px` from the other along the larger axis (Chebyshev), and s is the pooled standard
    deviation of the two bands.

    Parameters
    ----------
    image_gray, mask : (H, W), the same crop of both, with at least `band_px` around the mask where the image has it

    Returns
    -------
    >= 0; NaN when the mask is empty or there is no outside

    >>> contrast(np.array([[10, 10, 90, 90]]), np.array([[0, 0, 1, 1]], dtype=bool))
    80.0
    """
    _check_band(band_px)
    if image_gray.shape != mask.shape:
        raise ValueError(f"image_gray: expected the mask's shape {mask.shape}, got {image_gray.shape}")
    gray = np.ascontiguousarray(image_gray, dtype=np.float32)
    return float(_contrast(gray, _as_bytes(mask), int(band_px)))


def _check_band(band_px: int) -> None:
    if band_px < 1:
        raise ValueError(f"band_px: expected at least 1, got {band_px}")


def _as_bytes(mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    if mask.ndim != 2:
        raise ValueError(f"mask: expected (H, W), got shape {mask.shape}")
    return np.ascontiguousarray(mask, dtype=bool).view(np.uint8)


@compiled
def _describe(
    runs: NDArray[np.int64],
    offsets: NDArray[np.int64],
    boxes: NDArray[np.int64],
    height: int,
    width: int,
    image: NDArray[np.uint8],
    band_px: int,
) -> NDArray[np.float32]:
    out = np.full((3, boxes.shape[0]), np.nan, dtype=np.float32)
    for i in range(boxes.shape[0]):
        x0, y0, x1, y1 = boxes[i]
        if x0 == x1:
            continue
        # one array type throughout, with a border of background: numba compiles each function once
        crop = np.zeros((y1 - y0 + 2, x1 - x0 + 2), dtype=np.uint8)
        _fill_crop(crop, runs, offsets[i], offsets[i + 1], height, x0 - 1, y0 - 1)
        out[0, i] = _solidity(crop)
        out[1, i] = _roughness(crop)
        if image.shape[0] > 0:
            left, top = max(x0 - band_px, 0), max(y0 - band_px, 0)
            right, bottom = min(x1 + band_px, width), min(y1 + band_px, height)
            around = np.zeros((bottom - top, right - left), dtype=np.uint8)
            _fill_crop(around, runs, offsets[i], offsets[i + 1], height, left, top)
            gray = np.empty(around.shape, dtype=np.float32)
            _to_gray(image, left, top, gray)
            out[2, i] = _contrast(gray, around, band_px)
    return out


@compiled
def _fill_crop(
    crop: NDArray[np.uint8], runs: NDArray[np.int64], first: int, stop: int, height: int, x0: int, y0: int
) -> None:
    """Write the runs of a mask (down the columns of an image of that height) into a crop that begins at (x0, y0)."""
    at = 0
    for k in range(first, stop):
        if (k - first) % 2 == 1:
            x, y = at // height - x0, at % height
            for _ in range(runs[k]):
                crop[y - y0, x] = 1
                y += 1
                if y == height:
                    x, y = x + 1, 0
        at += runs[k]


@compiled
def _to_gray(rgb: NDArray[np.uint8], x0: int, y0: int, out: NDArray[np.float32]) -> None:
    """Write the brightness of a crop of the image that begins at (x0, y0), by the weights of ITU-R BT.601."""
    for y in range(out.shape[0]):
        for x in range(out.shape[1]):
            out[y, x] = 0.299 * rgb[y0 + y, x0 + x, 0] + 0.587 * rgb[y0 + y, x0 + x, 1] + 0.114 * rgb[y0 + y, x0 + x, 2]


@compiled
def _solidity(mask: NDArray[np.uint8]) -> float:
    """Area over hull area. On each line between rows only the outermost corners can lie on the hull."""
    h, w = mask.shape
    left = np.full(h + 1, w + 1, dtype=np.int64)
    right = np.full(h + 1, -1, dtype=np.int64)
    area = 0
    for y in range(h):
        for x in range(w):
            if mask[y, x]:
                area += 1
                left[y], left[y + 1] = min(left[y], x), min(left[y + 1], x)
                right[y], right[y + 1] = max(right[y], x + 1), max(right[y + 1], x + 1)
    if area == 0:
        return np.nan
    return area / (_hull_side(right, right, 1) - _hull_side(left, right, -1))


@compiled
def _hull_side(edge: NDArray[np.int64], right: NDArray[np.int64], side: int) -> float:
    """Area between the y axis and the right (side 1) or left (-1) side of the hull of the points (edge[y], y).

    Lines where right[y] < 0 hold no mask. The monotone chain of Andrew 1979, on lines that are sorted already.
    """
    ys = np.empty(len(edge), dtype=np.int64)
    n = 0
    for y in range(len(edge)):
        if right[y] < 0:
            continue
        while n >= 2:
            ax, ay, bx, by = edge[ys[n - 2]], ys[n - 2], edge[ys[n - 1]], ys[n - 1]
            if side * ((bx - ax) * (y - ay) - (edge[y] - ax) * (by - ay)) > 0:
                break
            n -= 1
        ys[n] = y
        n += 1
    total = 0.0
    for k in range(1, n):
        total += (edge[ys[k]] + edge[ys[k - 1]]) * (ys[k] - ys[k - 1]) / 2
    return total


@compiled
def _roughness(mask: NDArray[np.uint8]) -> float:
    """See `roughness`; the mask has a border of background."""
    turns_x, length_x = _turns_back(mask)
    turns_y, length_y = _turns_back(np.ascontiguousarray(mask.T))
    length = length_x + length_y
    return max(turns_x + turns_y - 4, 0) / length if length else np.nan


@compiled
def _turns_back(mask: NDArray[np.uint8]) -> tuple[int, int]:
    """Count the straight pieces along rows that are entered and left by turns to the same side, and all their length."""
    turns, length = 0, 0
    for y in range(1, mask.shape[0] - 1):
        for outer in (y - 1, y + 1):
            start = -1
            for x in range(1, mask.shape[1]):
                edge = mask[y, x] == 1 and mask[outer, x] == 0
                if edge and start < 0:
                    start = x
                elif start >= 0 and not edge:
                    # at either end the outline turns outward if the pixel diagonally beyond is mask, else inward
                    length += x - start
                    if mask[outer, start - 1] == mask[outer, x]:
                        turns += 1
                    start = -1
    return turns, length


@compiled
def _contrast(gray: NDArray[np.float32], mask: NDArray[np.uint8], band_px: int) -> float:
    """See `contrast`."""
    to_mask, to_rest = _distance(mask, 1, band_px), _distance(mask, 0, band_px)
    n, total, square = 0, 0.0, 0.0
    n_in, total_in, square_in = 0, 0.0, 0.0
    for y in range(mask.shape[0]):
        for x in range(mask.shape[1]):
            value = np.float64(gray[y, x])
            if mask[y, x] and to_rest[y, x] <= band_px:
                n_in, total_in, square_in = n_in + 1, total_in + value, square_in + value * value
            elif not mask[y, x] and to_mask[y, x] <= band_px:
                n, total, square = n + 1, total + value, square + value * value
    if n == 0 or n_in == 0:
        return np.nan
    within = square + square_in - total * total / n - total_in * total_in / n_in
    deviation = math.sqrt(max(within, 0.0) / (n + n_in))
    return abs(total_in / n_in - total / n) / (deviation + _CONTRAST_FLOOR)


@compiled
def _distance(mask: NDArray[np.uint8], value: int, most: int) -> NDArray[np.int32]:
    """Chebyshev distance of each pixel to the nearest one of that value, `most` + 1 where it is farther.

    Two passes, after Rosenfeld and Pfaltz 1966.
    """
    h, w = mask.shape
    out = np.empty((h, w), dtype=np.int32)
    for y in range(h):
        for x in range(w):
            best = 0 if mask[y, x] == value else most + 1
            if best and x > 0:
                best = min(best, out[y, x - 1] + 1)
            if best and y > 0:
                for near in range(max(x - 1, 0), min(x + 2, w)):
                    best = min(best, out[y - 1, near] + 1)
            out[y, x] = best
    for y in range(h - 1, -1, -1):
        for x in range(w - 1, -1, -1):
            best = out[y, x]
            if best and x < w - 1:
                best = min(best, out[y, x + 1] + 1)
            if best and y < h - 1:
                for near in range(max(x - 1, 0), min(x + 2, w)):
                    best = min(best, out[y + 1, near] + 1)
            out[y, x] = best
    return out
