"""Runs of masks in compiled loops: read from COCO strings, their boxes, areas, what two have in common, pairs that overlap."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from workbench.masks.compiled import compiled

_MOST_DIGITS = 7  # of a run in a COCO string: more than any image has pixels


@compiled
def common_px(run_ends: NDArray[np.int64], a: int, a_stop: int, b: int, b_stop: int) -> int:
    """Pixels common to two masks whose runs end at run_ends[a:a_stop] and run_ends[b:b_stop]."""
    # ends are summed over all masks: subtract what lies before each mask
    a_base = run_ends[a - 1] if a > 0 else 0
    b_base = run_ends[b - 1] if b > 0 else 0
    common = 0
    a += 1
    b += 1
    while a < a_stop and b < b_stop:
        a_end, b_end = run_ends[a] - a_base, run_ends[b] - b_base
        start = max(run_ends[a - 1] - a_base, run_ends[b - 1] - b_base)
        common += max(min(a_end, b_end) - start, 0)
        if a_end <= b_end:
            a += 2
        if b_end <= a_end:
            b += 2
    return common


@compiled
def _read_runs(chars: NDArray[np.uint8], first: int, stop: int, run_ends: NDArray[np.int64], at: int) -> int:
    """Write where the runs of one string end, summed on from run_ends[at - 1]; return where they stop, -1 if damaged.

    Source: the string format of cocoapi, common/maskApi.c, rleFrString.
    """
    end = run_ends[at - 1] if at > 0 else np.int64(0)
    begin, last, last_but_one = at, np.int64(0), np.int64(0)
    place = first
    while place < stop:
        value, digits, more = np.int64(0), 0, True
        while more:
            if place >= stop or digits >= _MOST_DIGITS:
                return -1
            char = np.int64(chars[place]) - 48
            if char < 0 or char > 63:
                return -1
            value |= (char & 0x1F) << (5 * digits)
            more = bool((char & 0x20) != 0)
            place += 1
            digits += 1
            if not more and (char & 0x10) != 0:
                value -= np.int64(1) << (5 * digits)
        if at - begin > 2:
            value += last_but_one
        if value < 0:
            return -1
        last_but_one, last = last, value
        end += value
        run_ends[at] = end
        at += 1
    return at


@compiled
def _extent(run_ends: NDArray[np.int64], first: int, stop: int, height: int, box: NDArray[np.int64]) -> int:
    """Write the half-open xyxy box around a mask, and return its area; all zeros for an empty one."""
    base = run_ends[first - 1] if first > 0 else 0
    area = 0
    x0, y0, x1, y1 = np.int64(2**62), np.int64(2**62), np.int64(0), np.int64(0)
    for k in range(first + 1, stop, 2):
        a, b = run_ends[k - 1] - base, run_ends[k] - base
        if b <= a:
            continue
        area += b - a
        column, last_column = a // height, (b - 1) // height
        x0, x1 = min(x0, column), max(x1, last_column + 1)
        if column != last_column:  # it goes on at the top of the next column
            y0, y1 = np.int64(0), np.int64(height)
        else:
            y0, y1 = min(y0, a - column * height), max(y1, b - last_column * height)
    if area > 0:
        box[0], box[1], box[2], box[3] = x0, y0, x1, y1
    else:
        box[:] = 0
    return area


@compiled
def overlaps_by_image(
    chars: NDArray[np.uint8],
    char_stops: NDArray[np.int64],
    starts: NDArray[np.int64],
    heights: NDArray[np.int64],
    threshold: float,
    smaller: bool,
) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
    """Pairs i < j of masks of one image that overlap by more than the threshold, by i, then j; and a damaged mask or -1.

    Parameters
    ----------
    chars, char_stops : the strings of N masks, one after the other, and where each stops
    starts : (images + 1,) where the masks of each image begin; heights : of the images, px
    smaller : intersection over the smaller mask instead of over the union
    """
    found_i, found_j, n = np.empty(1024, np.int64), np.empty(1024, np.int64), 0
    for m in range(len(starts) - 1):
        first, stop = starts[m], starts[m + 1]
        if stop - first < 2:
            continue
        begin = char_stops[first - 1] if first > 0 else 0
        run_ends = np.empty(char_stops[stop - 1] - begin, np.int64)
        offsets = np.zeros(stop - first + 1, np.int64)
        boxes, areas = np.zeros((stop - first, 4), np.int64), np.zeros(stop - first, np.int64)
        for k in range(stop - first):
            till = char_stops[first + k]
            offsets[k + 1] = _read_runs(chars, begin, till, run_ends, offsets[k])
            if offsets[k + 1] < 0:
                return found_i[:0], found_j[:0], first + k
            areas[k] = _extent(run_ends, offsets[k], offsets[k + 1], heights[m], boxes[k])
            begin = till
        for i in range(stop - first):
            for j in range(i + 1, stop - first):
                w = min(boxes[i, 2], boxes[j, 2]) - max(boxes[i, 0], boxes[j, 0])
                h = min(boxes[i, 3], boxes[j, 3]) - max(boxes[i, 1], boxes[j, 1])
                if w <= 0 or h <= 0:
                    continue
                least, both = min(areas[i], areas[j]), areas[i] + areas[j]
                most = min(least, w * h)  # the intersection cannot be larger
                if most <= threshold * (least if smaller else both - most) * (1 - 1e-12):
                    continue
                common = common_px(run_ends, offsets[i], offsets[i + 1], offsets[j], offsets[j + 1])
                if common > 0 and common / (least if smaller else both - common) > threshold:
                    if n == len(found_i):
                        found_i, found_j = _longer(found_i), _longer(found_j)
                    found_i[n], found_j[n] = first + i, first + j
                    n += 1
    return found_i[:n], found_j[:n], -1


@compiled
def _longer(values: NDArray[np.int64]) -> NDArray[np.int64]:
    longer = np.empty(2 * len(values), np.int64)
    longer[: len(values)] = values
    return longer
