"""Form of a mask and its contrast with what surrounds it, measured inside the mask's box.

Triage reads these as reasons: an unusual shape (solidity), a ragged boundary (roughness), a low contrast.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from workbench.masks import rle
from workbench.masks.compiled import compiled

_CONTRAST_FLOOR = 1.0  # grey levels; keeps the contrast of flat drawings finite
_NO_IMAGE = np.zeros((0, 0), dtype=np.float32)


def describe(
    rles: Sequence[bytes], size_hw: tuple[int, int], image: NDArray[np.uint8] | None = None, band_px: int = 3
) -> dict[str, NDArray[np.float32]]:
    """Return solidity, roughness and contrast of each mask; the cost grows with the area of the boxes.

    solidity : area over the area of the convex hull, in (0, 1]; see `_solidity`
    roughness : how often the outline turns back on itself, per pixel of its length, in [0, 1]; see `_roughness`
    contrast : difference of brightness across the outline, in standard deviations, >= 0; see `_contrast`

    Parameters
    ----------
    rles, size_hw : compressed COCO strings of the masks, and the size (h, w) of the image
    image : (H, W, 3) uint8 RGB; without it contrast is NaN
    band_px : width of the bands along the outline that contrast compares

    Returns
    -------
    {"solidity", "roughness", "contrast"}, each (N,) float32; NaN for an empty mask, contrast also where there is no outside

    Raises
    ------
    ValueError : if the image has another size, or band_px < 1

    >>> {name: values.tolist() for name, values in describe([b"04"], (2, 2)).items()}
    {'solidity': [1.0], 'roughness': [0.0], 'contrast': [nan]}
    """
    if band_px < 1:
        raise ValueError(f"band_px: expected at least 1, got {band_px}")
    if image is not None and image.shape != (*size_hw, 3):
        raise ValueError(f"image: expected (H, W, 3) of size {tuple(size_hw)}, got shape {image.shape}")
    boxes = rle.to_boxes(rles, size_hw).astype(np.int64)
    runs, offsets = rle.unpack_runs(rles)
    gray = _NO_IMAGE if image is None or len(rles) == 0 else _gray(np.ascontiguousarray(image, dtype=np.uint8))
    columns = _describe(runs, offsets, boxes, int(size_hw[0]), int(size_hw[1]), gray, int(band_px))
    return {name: columns[i].astype(np.float32) for i, name in enumerate(("solidity", "roughness", "contrast"))}


@compiled
def _gray(rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the brightness of an image, (H, W), by the weights of ITU-R BT.601."""
    height, width, _ = rgb.shape
    out = np.empty((height, width), dtype=np.float32)
    for y in range(height):
        for x in range(width):
            out[y, x] = 0.299 * rgb[y, x, 0] + 0.587 * rgb[y, x, 1] + 0.114 * rgb[y, x, 2]
    return out


@compiled
def _describe(
    runs: NDArray[np.int64],
    offsets: NDArray[np.int64],
    boxes: NDArray[np.int64],
    height: int,
    width: int,
    gray: NDArray[np.float32],
    band_px: int,
) -> NDArray[np.float64]:
    """Return solidity, roughness and contrast, (3, N); a mask is drawn into its box, columns first, for the others' use.

    Only contrast looks at every pixel of the box; the others follow the ends of the runs.
    """
    out = np.full((3, boxes.shape[0]), np.nan)
    for i in range(boxes.shape[0]):
        x0, y0, x1, y1 = boxes[i]
        if x0 == x1:
            continue
        crop = np.zeros((x1 - x0 + 2 * band_px, y1 - y0 + 2 * band_px), dtype=np.uint8)
        left, top = x0 - band_px, y0 - band_px
        pieces, starts = _pieces(crop, runs[offsets[i] : offsets[i + 1]], height, left, top)
        out[0, i] = _solidity(pieces, starts)
        out[1, i] = _roughness(crop, pieces, starts)
        if gray.shape[0] > 0:
            out[2, i] = _contrast(gray, crop, left, top, band_px)
    return out


@compiled
def _pieces(
    crop: NDArray[np.uint8], runs: NDArray[np.int64], height: int, left: int, top: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Draw a mask into a crop (columns first) that begins at (left, top), and list its pieces of columns.

    Returns
    -------
    pieces : (P, 2) first row and row after the last, in the crop; starts : (columns + 1,) where those of a column begin
    """
    n, at = 0, 0
    for k in range(len(runs)):
        if k % 2 == 1 and runs[k] > 0:
            n += (at + runs[k] - 1) // height - at // height + 1
        at += runs[k]
    pieces, starts = np.empty((n, 2), dtype=np.int64), np.zeros(crop.shape[0] + 1, dtype=np.int64)
    n, at = 0, 0
    for k in range(len(runs)):
        stop = at + runs[k]
        while k % 2 == 1 and at < stop:
            x, y = at // height, at % height
            end = min(y + stop - at, height)
            pieces[n, 0], pieces[n, 1] = y - top, end - top
            crop[x - left, y - top : end - top] = 1
            starts[x - left + 1] += 1
            n += 1
            at += end - y
        at = stop
    return pieces, np.cumsum(starts)


@compiled
def _solidity(pieces: NDArray[np.int64], starts: NDArray[np.int64]) -> float:
    """Area over the area of the convex hull of the pixels' corners, in (0, 1].

    Rectangles have 1; a disc comes close to it from below, since its hull cuts the corners between steps. On each line
    between columns only the outermost corners can lie on the hull.
    """
    lines = len(starts)
    low, high = np.full(lines, 2**62, dtype=np.int64), np.full(lines, -1, dtype=np.int64)
    area = 0
    for x in range(lines - 1):
        first, stop = starts[x], starts[x + 1]
        for k in range(first, stop):
            area += pieces[k, 1] - pieces[k, 0]
        if first < stop:
            y0, y1 = pieces[first, 0], pieces[stop - 1, 1]
            low[x], low[x + 1] = min(low[x], y0), min(low[x + 1], y0)
            high[x], high[x + 1] = max(high[x], y1), max(high[x + 1], y1)
    return area / (_hull_side(high, high, 1) - _hull_side(low, high, -1))


@compiled
def _hull_side(edge: NDArray[np.int64], right: NDArray[np.int64], side: int) -> float:
    """Area between an axis and the far (side 1) or near (-1) side of the hull of the points (edge[y], y).

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
def _roughness(crop: NDArray[np.uint8], pieces: NDArray[np.int64], starts: NDArray[np.int64]) -> float:
    """How often the outline turns back on itself, per pixel of its length, in [0, 1].

    The outline runs along the edges of pixels. It turns back where a straight piece is entered and left by turns to the
    same side: at every tip and every notch. An outline without notches does so four times, whatever its size: each
    convex form, in any position, drawn by the pixels whose centres it holds, is exactly 0 if these are in one piece. With
    R turns back on all outlines (holes and islands too) of total length P in pixels, roughness = max(R - 4, 0) / P.
    A comb with teeth and gaps of one pixel is at 0.5, a cloud of single pixels near 1, waves of 10 px near 0.15.

    A straight piece is entered and left by turns to the same side where the pixels diagonally beyond its two ends are
    alike: mask (the outline turns outward) or background. The crop has a border of background.
    """
    turns, length = 0, 0
    for x in range(1, len(starts) - 2):
        for k in range(starts[x], starts[x + 1]):
            for outer in (x - 1, x + 1):  # along the column, beside the one before and the one after
                more_turns, more = _along(crop[outer], pieces, k, starts[outer], starts[outer + 1])
                turns, length = turns + more_turns, length + more
            for inner, outer in ((pieces[k, 0], pieces[k, 0] - 1), (pieces[k, 1] - 1, pieces[k, 1])):
                if crop[x - 1, inner] == 1 and crop[x - 1, outer] == 0:
                    continue  # across the columns: seen from the one where it begins
                end = x + 1
                while crop[end, inner] == 1 and crop[end, outer] == 0:
                    end += 1
                length += end - x
                turns += crop[x - 1, outer] == crop[end, outer]
    return max(turns - 4, 0) / length


@compiled
def _along(outer: NDArray[np.uint8], pieces: NDArray[np.int64], k: int, first: int, stop: int) -> tuple[int, int]:
    """Follow what piece k shares with the background of a neighbouring column, whose pieces are first to stop."""
    turns, length = 0, 0
    start, last = pieces[k, 0], pieces[k, 1]
    for j in range(first, stop):
        if pieces[j, 1] <= start:
            continue
        end = min(pieces[j, 0], last)
        if end > start:
            length += end - start
            turns += outer[start - 1] == outer[end]
        start = pieces[j, 1]
        if start >= last:
            return turns, length
    length += last - start
    turns += outer[start - 1] == outer[last]
    return turns, length


@compiled
def _contrast(gray: NDArray[np.float32], crop: NDArray[np.uint8], left: int, top: int, band_px: int) -> float:
    """Difference of brightness across the outline, in standard deviations, >= 0; NaN when there is no outside.

    |mean inside - mean outside| / (s + 1 grey level), where inside are the pixels of the mask and outside those that are
    none, both at most `band_px` from the other along the larger axis (Chebyshev), and s is the pooled standard
    deviation of the two bands. `gray` is the brightness of the whole image, `crop` a crop of the mask that begins at
    (left, top).

    How much of the mask lies in the window around a pixel, (2 · band + 1)² but for what is outside the image, says on
    which side of the outline the pixel lies and whether it is near it. The sums slide along the columns.
    """
    height, width = gray.shape
    side, rows = 2 * band_px + 1, crop.shape[1]
    ring, window = np.zeros((side, rows), dtype=np.int32), np.zeros(rows, dtype=np.int32)
    first, stop = max(-top, 0), min(height - top, rows)
    n = np.zeros(2, dtype=np.int64)
    total, square = np.zeros(2), np.zeros(2)
    for ahead in range(crop.shape[0] + band_px):
        _slide(crop, ahead, ring[ahead % side], window, band_px)
        c = ahead - band_px
        x = left + c
        if c < 0 or x < 0 or x >= width:
            continue
        across = min(x + band_px, width - 1) - max(x - band_px, 0) + 1
        for r in range(first, stop):
            if window[r] == 0 or window[r] == side * side:
                continue
            inside, y = crop[c, r], top + r
            if inside and window[r] == across * (min(y + band_px, height - 1) - max(y - band_px, 0) + 1):
                continue
            value = np.float64(gray[y, x])
            n[inside] += 1
            total[inside] += value
            square[inside] += value * value
    if n[0] == 0 or n[1] == 0:
        return np.nan
    within = square[0] + square[1] - total[0] * total[0] / n[0] - total[1] * total[1] / n[1]
    deviation = math.sqrt(max(within, 0.0) / (n[0] + n[1]))
    return float(abs(total[1] / n[1] - total[0] / n[0]) / (deviation + _CONTRAST_FLOOR))


@compiled
def _slide(
    crop: NDArray[np.uint8], column: int, sums: NDArray[np.int32], window: NDArray[np.int32], band_px: int
) -> None:
    """Let a column enter the window and the one in whose place it is kept leave it; sums are of 2 · band + 1 rows."""
    rows = len(sums)
    for r in range(rows):
        window[r] -= sums[r]
    sums[:] = 0
    if column >= crop.shape[0]:
        return
    pixels = crop[column]
    for off in range(-band_px, band_px + 1):
        low, high = max(-off, 0), min(rows - off, rows)
        some, moved = sums[low:high], pixels[low + off : high + off]
        for r in range(len(some)):
            some[r] += moved[r]
    for r in range(rows):
        window[r] += sums[r]
