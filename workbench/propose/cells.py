"""Masks at the size of the image measured and encoded from low-resolution logits, without their pixels.

Bilinear interpolation is convex: where all low-resolution logits that a pixel depends on lie on one side of a cut, so
does the pixel. The image is walked in cells of pixels that start at the same low-resolution logit; only cells that are
not decided so are interpolated, with torch's arithmetic, and the run lengths are written down column by column.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np

from workbench.masks.compiled import compiled
from workbench.propose.interpolate import F32, Axis, Enlargement, blend_image, blend_input

if TYPE_CHECKING:
    from numpy.typing import NDArray

T = TypeVar("T", bound=np.generic)

MIXED = 255  # the code of a cell that has to be interpolated; others say how many of the cuts its pixels exceed
CUTS = 3
# four roundings in float32, each wrong by less than 2**-23 of the largest logit; what is nearer to a cut counts as mixed
MARGIN = 2.0**-18
TINY = 1e-30  # products below it could round to nothing
LARGEST = np.finfo(np.float32).max
PLACES = 21  # bits for a count of the pixels of one column
CHARS_A_RUN = 7  # of 5 bits each, for 32 bits and a sign


class Measured(NamedTuple):
    """What is known of K masks at the size of the image.

    counts : (K, 3) int64, px above each of the cuts; boxes_xyxy : (K, 4) int32 half-open, zeros for an empty mask;
    rles : K compressed COCO strings of what exceeds the middle cut
    """

    counts: NDArray[np.int64]
    boxes_xyxy: NDArray[np.int32]
    rles: list[bytes]


class Scratch(NamedTuple):
    """Room for one mask and one band of columns; a segment is a stretch of rows of one code."""

    low: NDArray[np.float32]
    lowest: NDArray[np.float32]
    highest: NDArray[np.float32]
    low_row: NDArray[np.float32]
    columns: NDArray[np.float32]
    input_row: NDArray[np.float32]
    pixels: NDArray[np.float32]
    segments: NDArray[np.int64]
    codes: NDArray[np.uint8]


def measure_cells(
    logits: NDArray[np.float32], sizes: Enlargement, cuts: NDArray[np.float32], threads: int = 1
) -> Measured | None:
    """Measure and encode masks whose pixels are above the middle one of three cuts; None where it cannot be told.

    That is where a logit is infinite or NaN, or a column has 2**21 px and more.

    Parameters
    ----------
    logits : (K, h, w) float32 low-resolution logits
    sizes : how they are enlarged
    cuts : (3,) float32, descending
    threads : how many masks are worked on at a time
    """
    if len(sizes.down.second) >> PLACES:
        return None
    n = len(logits)
    counts, boxes = np.zeros((n, CUTS), np.int64), np.zeros((n, 4), np.int32)
    finite, rles = np.zeros(n, np.bool_), [b""] * n

    def measure(part: slice) -> None:
        text, ends = _measure(logits[part], *sizes, cuts, counts[part], boxes[part], finite[part])
        letters, start = text.tobytes(), 0
        for i, end in zip(range(part.start, part.stop), ends.tolist(), strict=True):
            rles[i], start = letters[start:end], end

    # masks differ in how long they take: several parts a thread
    size = max(1, -(-n // (4 * threads))) if threads > 1 else max(1, n)
    parts = [slice(start, min(start + size, n)) for start in range(0, n, size)]
    if threads > 1 and len(parts) > 1:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(measure, parts))
    else:
        for part in parts:
            measure(part)
    return Measured(counts, boxes, rles) if finite.all() else None


@compiled
def _measure(
    logits: NDArray[np.float32],
    across: Axis,
    down: Axis,
    cuts: NDArray[np.float32],
    counts: NDArray[np.int64],
    boxes: NDArray[np.int32],
    finite: NDArray[np.bool_],
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Fill the rows of counts, boxes and finite; return all strings in one and where each ends."""
    n, low_height, low_width = logits.shape
    width, height, cut = len(across.second), len(down.second), len(down.first)
    scratch = Scratch(
        np.empty((low_width, low_height), F32),
        np.empty(low_height, F32),
        np.empty(low_height, F32),
        np.empty(low_height, F32),
        np.empty((_widest(across), cut), F32),
        np.empty(cut, F32),
        np.empty(height, F32),
        np.empty((low_height, 3), np.int64),
        np.empty(low_height, np.uint8),
    )
    changes = np.empty(8 * height + 1, np.uint32)
    text, end, ends = np.empty(4096, np.uint8), 0, np.zeros(n, np.int64)
    for k in range(n):
        margin = _load(logits[k], scratch.low)
        finite[k] = margin >= 0
        if finite[k]:
            changes, found = _mask(scratch, across, down, cuts, F32(margin), counts[k], changes)
            _box(changes[:found], height, width * height, boxes[k])
            text = _grown(text, end, CHARS_A_RUN * (found + 1))
            end = encode(changes[:found], width * height, text, end)
        ends[k] = end
    return text[:end], ends


@compiled
def _widest(across: Axis) -> int:
    """Return the number of input columns that the widest band of image columns depends on."""
    widest = 1
    for k in range(len(across.starts) - 1):
        start, stop = across.starts[k], across.starts[k + 1]
        if start < stop:
            widest = max(widest, int(across.second_next[stop - 1]) - int(across.second[start]) + 1)
    return widest


@compiled
def _grown(array: NDArray[T], used: int, more: int) -> NDArray[T]:
    """Return the array, or a larger copy when `more` do not fit behind what is used."""
    if used + more <= len(array):
        return array
    larger = np.empty(2 * (used + more), array.dtype)
    larger[:used] = array[:used]
    return larger


@compiled
def _load(logits: NDArray[np.float32], low: NDArray[np.float32]) -> float:
    """Copy (h, w) logits to columns first; return how near to a cut is undecided, or −1 if one is not finite."""
    height, width = logits.shape
    largest, strange = F32(0), 0
    for y0 in range(0, height, 16):
        for x in range(width):
            for y in range(y0, min(y0 + 16, height)):
                low[x, y] = logits[y, x]
    for x in range(width):
        column = low[x]
        for y in range(height):
            size = abs(column[y])
            strange += not size <= LARGEST
            largest = size if size > largest else largest
    return -1.0 if strange else float(largest) * MARGIN + TINY


@compiled
def _mask(
    scratch: Scratch,
    across: Axis,
    down: Axis,
    cuts: NDArray[np.float32],
    margin: np.float32,
    counts: NDArray[np.int64],
    changes: NDArray[np.uint32],
) -> tuple[NDArray[np.uint32], int]:
    """Add to the counts of one mask, and list the pixels (column by column) at which it begins or ends."""
    height, found = len(down.second), 0
    for k in range(len(across.starts) - 1):
        start, stop = across.starts[k], across.starts[k + 1]
        if start == stop:
            continue
        changes = _grown(changes, found, (stop - start) * height + 1)
        _classify(scratch, k, across.reach, down.reach, cuts, margin)
        segments = _segments(scratch, down)
        for s in range(segments):
            for c in range(CUTS):
                if CUTS - c <= scratch.segments[s, 2] < MIXED:
                    counts[c] += (scratch.segments[s, 1] - scratch.segments[s, 0]) * (stop - start)
        if segments == 1 and scratch.segments[0, 2] != MIXED:
            found = _change(changes, found, start * height, scratch.segments[0, 2] >= 2)
            continue
        first = int(across.second[start])
        for j in range(first, int(across.second_next[stop - 1]) + 1):
            _fill_input(scratch, segments, j, j - first, across, down)
        for x in range(start, stop):
            found = _walk(scratch, segments, x, first, across, down, cuts, counts, changes, found)
    return changes, found


@compiled
def _change(changes: NDArray[np.uint32], found: int, at: int, inside: bool) -> int:
    """Note a change at pixel `at` unless the mask is there what it was before; an odd number of changes is inside."""
    if inside == found % 2:
        return found
    changes[found] = at
    return found + 1


@compiled
def _classify(
    scratch: Scratch, k: int, reach: int, reach_down: int, cuts: NDArray[np.float32], margin: np.float32
) -> None:
    """Fill the codes of the cells of band `k`, from the least and largest logit that each depends on."""
    low, lowest, highest, codes = scratch.low, scratch.lowest, scratch.highest, scratch.codes
    width, height = low.shape
    lowest[:] = low[k]
    highest[:] = low[k]
    for c in range(k + 1, min(k + reach, width - 1) + 1):
        column = low[c]
        for r in range(height):
            value = column[r]
            lowest[r] = value if value < lowest[r] else lowest[r]
            highest[r] = value if value > highest[r] else highest[r]
    for _ in range(reach_down):  # rows are passed on upwards one at a time; the last row has none below
        for r in range(height - 1):
            lowest[r] = lowest[r + 1] if lowest[r + 1] < lowest[r] else lowest[r]
            highest[r] = highest[r + 1] if highest[r + 1] > highest[r] else highest[r]
    high, middle, least = cuts[0], cuts[1], cuts[2]
    for r in range(height):
        above, below = lowest[r] - margin, highest[r] + margin
        exceeded = (above > high) + (above > middle) + (above > least)
        missed = (below < high) + (below < middle) + (below < least)
        codes[r] = exceeded if exceeded + missed == CUTS else MIXED


@compiled
def _segments(scratch: Scratch, down: Axis) -> int:
    """Join the cells of a band into segments (first row, row after the last, code) of the image; return how many."""
    segments, codes, starts = scratch.segments, scratch.codes, down.starts
    n, before = 0, -1
    for r in range(len(codes)):
        code = int(codes[r])
        if code == before or starts[r] == starts[r + 1]:
            continue
        segments[n, 0], segments[n, 2] = starts[r], code
        if n:
            segments[n - 1, 1] = starts[r]
        n, before = n + 1, code
    segments[n - 1, 1] = starts[-1]
    return n


@compiled
def _fill_input(scratch: Scratch, segments: int, column: int, slot: int, across: Axis, down: Axis) -> None:
    """Compute what the mixed segments need of one column of the model's input."""
    for s in range(segments):
        if scratch.segments[s, 2] == MIXED:
            start = int(down.second[scratch.segments[s, 0]])
            stop = int(down.second_next[scratch.segments[s, 1] - 1]) + 1
            blend_input(scratch.low, column, start, stop, across, down, scratch.low_row, scratch.columns[slot])


@compiled
def _walk(
    scratch: Scratch,
    segments: int,
    x: int,
    first: int,
    across: Axis,
    down: Axis,
    cuts: NDArray[np.float32],
    counts: NDArray[np.int64],
    changes: NDArray[np.uint32],
    found: int,
) -> int:
    """Go down one column of the image: count pixels of mixed segments, and note changes; return their number."""
    here, after = scratch.columns[across.second[x] - first], scratch.columns[across.second_next[x] - first]
    weight, after_weight = across.second_weight[x], across.second_next_weight[x]
    base, pixels = x * len(down.second), scratch.pixels
    for s in range(segments):
        start, stop, code = scratch.segments[s]
        if code != MIXED:
            found = _change(changes, found, base + start, code >= 2)
            continue
        blend_image(here, after, weight, after_weight, start, stop, down, scratch.input_row, pixels)
        high, middle, least = _count(pixels[start:stop], cuts)
        counts[0] += high
        counts[1] += middle
        counts[2] += least
        if middle == 0 or middle == stop - start:
            found = _change(changes, found, base + start, middle > 0)
        else:
            found = _changes(pixels[start:stop], cuts[1], base + start, changes, found)
    return found


@compiled
def _count(pixels: NDArray[np.float32], cuts: NDArray[np.float32]) -> tuple[int, int, int]:
    """Return how many pixels of part of a column are above each cut; three counts in one number are quicker."""
    high, middle, least, packed = cuts[0], cuts[1], cuts[2], 0
    for i in range(len(pixels)):
        pixel = pixels[i]
        packed += (int(pixel > high) << 2 * PLACES) + (int(pixel > middle) << PLACES) + int(pixel > least)
    lowest = (1 << PLACES) - 1
    return packed >> 2 * PLACES, packed >> PLACES & lowest, packed & lowest


@compiled
def _changes(pixels: NDArray[np.float32], cut: np.float32, start: int, changes: NDArray[np.uint32], found: int) -> int:
    """Note the changes in part of a column that starts at pixel `start`; return the number of all changes."""
    before = found % 2
    for i in range(len(pixels)):  # without a branch: a place where nothing changes is written over
        inside = int(pixels[i] > cut)
        changes[found] = start + i
        found += inside ^ before
        before = inside
    return found


@compiled
def _box(changes: NDArray[np.uint32], height: int, total: int, box: NDArray[np.int32]) -> None:
    """Fill the half-open xyxy box of a mask that begins and ends at these pixels; leave it for an empty mask."""
    if len(changes) == 0:
        return
    top, bottom, right = height, 0, 0
    for i in range(0, len(changes), 2):
        start, stop = int(changes[i]), int(changes[i + 1]) if i + 1 < len(changes) else total
        right = (stop - 1) // height
        if start // height == right:
            top, bottom = min(top, start % height), max(bottom, (stop - 1) % height + 1)
        else:  # goes on into the next column
            top, bottom = 0, height
    box[0], box[1], box[2], box[3] = int(changes[0]) // height, top, right + 1, bottom


@compiled
def encode(changes: NDArray[np.uint32], total: int, text: NDArray[np.uint8], end: int) -> int:
    """Write the compressed COCO string behind `end`; return where it ends.

    Source: cocodataset/cocoapi, common/maskApi.c, rleToString.
    """
    at, run, last = 0, 0, 0
    for i in range(len(changes) + 1):
        stop = int(changes[i]) if i < len(changes) else total
        before_last, last, run = last, run, stop - at
        at = stop
        value = run - before_last if i > 2 else run
        more = True
        while more:
            bits = value & 0x1F
            value >>= 5
            more = value != (-1 if bits & 0x10 else 0)
            text[end] = bits + (0x20 if more else 0) + 48
            end += 1
    return end
