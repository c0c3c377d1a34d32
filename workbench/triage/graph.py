"""The suppression graph of boxes: which rows of a crop NMS would compare and drop, and greedy NMS along its edges.

Rows are sorted by image, crop, score (best first) and row. An edge leads from a row to a worse one of the same crop
whose IoU with it is above the smallest NMS threshold offered. Greedy NMS is then one pass: a row that passes its
thresholds and was not suppressed is kept and suppresses the ends of its edges above the threshold. Only the edges of
kept rows are read, which are few, and they are ordered by IoU, so that a higher threshold reads a prefix.

Edges are bounded: a block of rows stores at most `edges_per_row` for each of its rows. A crop with more than what is
left (many equal boxes), or with 65,536 rows or more, gets none: its rows are compared afresh by `greedy_boxes`, so
memory grows with the rows and not with their square.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from workbench.masks import boxes as box
from workbench.masks.compiled import compiled
from workbench.masks.nms import greedy_boxes
from workbench.masks.prefetch import prefetch
from workbench.triage.blocks import Images, number_crops
from workbench.triage.limits import Limits, passes_but_for_iou

_MOST_ROWS = 2**16  # ends of edges are stored as uint16
_AHEAD = 16  # rows between asking for edges and reading them
_STEP = 1 / 256  # edges of a row are in descending order of IoU but for less than this


class Block(NamedTuple):
    """Rows of some images, n in all, sorted by image, crop, score and row, with their edges.

    A crop is rows crop_starts[c] to crop_starts[c + 1], an image crops image_crops[m] to image_crops[m + 1]. The edges
    of row k are edge_starts[k] to edge_starts[k + 1], their ends counted from the start of the crop.
    """

    crop_starts: NDArray[np.int64]  # (C + 1,)
    image_crops: NDArray[np.int64]  # (M + 1,)
    smallness: NDArray[np.float32]  # (C,) 1 / area of the crop: the score of NMS between crops
    pixels: NDArray[np.float64]  # (M,) height times width
    predicted_iou: NDArray[np.float32]
    stability_score: NDArray[np.float32]
    jitter_stability: NDArray[np.float32]
    area_px: NDArray[np.int64]
    place: NDArray[np.int32]  # number of the row in its image, in order of `row`
    position: NDArray[np.int64]  # among the rows given
    boxes: NDArray[np.float32]  # (n, 4) inclusive
    direct: NDArray[np.bool_]  # (C,) crops without edges
    edge_starts: NDArray[np.int64]  # (n + 1,)
    edge_end: NDArray[np.uint16]
    edge_iou: NDArray[np.float32]


def build(images: Images, smallest_iou: float, edges_per_row: int) -> Block:
    """Sort the rows of some images and find their edges.

    Parameters
    ----------
    smallest_iou : the smallest NMS threshold that the graph answers for
    edges_per_row : most edges stored for each row, on average
    """
    p, starts = images.proposals, images.starts
    image_of = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
    crop_of, crop_areas = number_crops(p.crop_boxes_xyxy[images.rows], p.sizes_hw[images.rows], starts)
    scores = p.predicted_iou[images.rows]
    # a missing score loses against any other, and ties with -inf
    order = np.lexsort((-np.where(np.isnan(scores), np.float32(-np.inf), scores), crop_of))
    rows = images.rows[order]
    crop_starts = np.searchsorted(crop_of[order], np.arange(len(crop_areas) + 1))
    boxes = box.to_inclusive(p.boxes_xyxy[rows]).astype(np.float32)
    direct, edge_starts, edge_end, edge_iou = _edges(boxes, crop_starts, float(smallest_iou), edges_per_row)
    return Block(
        crop_starts=crop_starts,
        image_crops=np.searchsorted(crop_starts, starts),
        smallness=np.float32(1) / crop_areas.astype(np.float32),
        pixels=p.sizes_hw[images.rows[starts[:-1]]].astype(np.float64).prod(axis=1),
        predicted_iou=p.predicted_iou[rows],
        stability_score=p.stability_score[rows],
        jitter_stability=p.jitter_stability[rows],
        area_px=p.area_px[rows],
        place=(order - starts[image_of[order]]).astype(np.int32),
        position=images.before + rows,
        boxes=boxes,
        direct=direct,
        edge_starts=edge_starts,
        edge_end=edge_end,
        edge_iou=edge_iou,
    )


@compiled
def _edges(
    boxes: NDArray[np.float32], crop_starts: NDArray[np.int64], smallest_iou: float, edges_per_row: int
) -> tuple[NDArray[np.bool_], NDArray[np.int64], NDArray[np.uint16], NDArray[np.float32]]:
    """For each crop whether it has no edges; for each row where its edges start; ends and IoU of all edges."""
    crops = len(crop_starts) - 1
    direct = np.zeros(crops, dtype=np.bool_)
    edge_starts = np.zeros(len(boxes) + 1, dtype=np.int64)
    ends, ious = np.empty(4 * len(boxes), dtype=np.uint16), np.empty(4 * len(boxes), dtype=np.float32)
    total = 0
    for c in range(crops):
        a, b = crop_starts[c], crop_starts[c + 1]
        better, worse, iou, found = _pairs(boxes[a:b], smallest_iou, len(boxes) * edges_per_row - total)
        direct[c] = found < 0
        found = max(found, 0)
        if total + found > len(ends):
            size = max(2 * len(ends), total + found)
            ends, ious = _grown(ends, total, size), _grown(ious, total, size)
        _by_row(better[:found], worse[:found], iou[:found], edge_starts[a : b + 1], ends[total:], ious[total:])
        edge_starts[a : b + 1] += total
        total += found
    return direct, edge_starts, ends[:total].copy(), ious[:total].copy()


@compiled
def _grown(values: NDArray[Any], used: int, size: int) -> NDArray[Any]:
    more = np.empty(size, dtype=values.dtype)
    more[:used] = values[:used]
    return more


@compiled
def _pairs(
    boxes: NDArray[np.float32], smallest_iou: float, most: int
) -> tuple[NDArray[np.uint16], NDArray[np.uint16], NDArray[np.float32], int]:
    """All pairs of boxes above an IoU, by a sweep over their left sides; -1 pairs where they are too many.

    IoU > t needs an overlap of more than t of the width of either box, so the sweep looks no further than (1 - t) of
    the width of the left one.
    """
    n = len(boxes)
    if n >= _MOST_ROWS:
        most = 0
    size = min(most, n * (n - 1) // 2)
    better, worse = np.empty(size, dtype=np.uint16), np.empty(size, dtype=np.uint16)
    iou = np.empty(size, dtype=np.float32)
    order = np.argsort(boxes[:, 0])
    x0, y0, x1, y1 = boxes[order, 0], boxes[order, 1], boxes[order, 2], boxes[order, 3]
    area = (x1 - x0) * (y1 - y0)
    zero, found = np.float32(0), 0
    share = np.float32(smallest_iou * 0.999)  # less, by more than rounding can move a product
    for p in range(n):
        if not area[p] > 0:
            continue
        reach = x0[p] + (1 - np.float64(share)) * (np.float64(x1[p]) - x0[p])
        for q in range(p + 1, n):
            if x0[q] > reach:
                break
            side_x = max(zero, min(x1[p], x1[q]) - max(x0[p], x0[q]))
            side_y = max(zero, min(y1[p], y1[q]) - max(y0[p], y0[q]))
            inter = side_x * side_y
            if not inter > share * max(area[p], area[q]):
                continue
            overlap = inter / (area[p] + area[q] - inter)  # float32, compared in float64, as nms_boxes
            if np.float64(overlap) > smallest_iou:
                if found == size:
                    return better, worse, iou, -1
                better[found], worse[found] = min(order[p], order[q]), max(order[p], order[q])
                iou[found] = overlap
                found += 1
    return better, worse, iou, found


@compiled
def _by_row(
    better: NDArray[np.uint16],
    worse: NDArray[np.uint16],
    iou: NDArray[np.float32],
    starts: NDArray[np.int64],
    ends_out: NDArray[np.uint16],
    iou_out: NDArray[np.float32],
) -> None:
    """Write pairs of a crop as edges of their better row, ordered by IoU to less than _STEP; `starts` begin at 0."""
    starts[:] = 0
    for e in range(len(better)):
        starts[better[e] + 1] += 1
    for k in range(1, len(starts)):
        starts[k] += starts[k - 1]
    steps = np.zeros(int(1 / _STEP) + 2, dtype=np.int64)
    for e in range(len(iou)):
        steps[int((1 - iou[e]) / _STEP) + 1] += 1
    steps = np.cumsum(steps)
    order = np.empty(len(iou), dtype=np.int64)
    for e in range(len(iou)):
        step = int((1 - iou[e]) / _STEP)
        order[steps[step]] = e
        steps[step] += 1
    free = starts[:-1].copy()
    for edge in order:
        at = free[better[edge]]
        ends_out[at], iou_out[at] = worse[edge], iou[edge]
        free[better[edge]] += 1


@compiled
def greedy(
    block: Block, least: Limits, above: np.float32, most_area_px: NDArray[np.int64], nms_iou: float
) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """Return the rows that fail no threshold, in order, and which of them NMS keeps.

    Parameters
    ----------
    above : rows take part whose predicted IoU is greater
    most_area_px : (images,) for each image the largest area that does not fail
    """
    # few pass as a rule: what follows goes over them alone, and no page is touched for the others
    passed, kept = np.empty(len(block.position), dtype=np.int32), np.empty(len(block.position), dtype=np.bool_)
    left = np.empty(np.diff(block.crop_starts).max() if len(block.crop_starts) > 1 else 0, dtype=np.bool_)
    n = 0
    for m in range(len(block.pixels)):
        first, last = block.image_crops[m], block.image_crops[m + 1]
        starts = np.empty(last - first + 1, dtype=np.int64)
        for c in range(first, last):
            starts[c - first] = n
            a, b = block.crop_starts[c], block.crop_starts[c + 1]
            found = _candidates(block, a, b, least, above, most_area_px[m], left, passed[n:])
            rows, stays = passed[n : n + found], kept[n : n + found]
            if block.direct[c]:
                _compare_afresh(block, rows, nms_iou, stays)
            else:
                _follow_edges(block, a, rows, nms_iou, left, stays)
            n += found
        starts[-1] = n
        if last - first > 1:
            _between_crops(block, first, passed, starts, nms_iou, kept)
    return passed[:n].copy(), kept[:n].copy()  # without the room for all


@compiled
def _candidates(
    block: Block,
    a: int,
    b: int,
    least: Limits,
    above: np.float32,
    most_area_px: int,
    passes: NDArray[np.bool_],
    rows_out: NDArray[np.int32],
) -> int:
    """List the rows of a crop that pass the thresholds, and count them; `passes` is room for as many as the crop has."""
    end = _prefix(block.predicted_iou, a, b, above)
    # slices, since an index from outside is checked for being negative at every row
    stability, jitter, area_px = block.stability_score[a:end], block.jitter_stability[a:end], block.area_px[a:end]
    for k in range(len(area_px)):
        passes[k] = passes_but_for_iou(stability[k], jitter[k], area_px[k], most_area_px, least)
    n = 0
    for k in range(len(area_px)):
        rows_out[n] = a + k  # written over by the next one where it failed: no branch
        n += passes[k]
    return n


@compiled
def _follow_edges(
    block: Block,
    a: int,
    rows: NDArray[np.int32],
    nms_iou: float,
    left: NDArray[np.bool_],
    kept_out: NDArray[np.bool_],
) -> None:
    """Greedy NMS among rows of the crop that starts at row a: what is not suppressed at its turn suppresses others.

    Kept rows lie far apart in the edges, which are too many for a cache: those of rows to come are asked for ahead.

    Parameters
    ----------
    left : room for as many as the crop has: what is not suppressed, of `rows`; of other rows it says nothing
    """
    starts = block.edge_starts
    for row in rows:
        left[row - a] = True
    for row in rows[:_AHEAD]:
        _ask_for(block, starts[row])
    asked = starts[rows[0]] if len(rows) else 0
    for k in range(len(rows)):
        ahead = rows[min(k + _AHEAD, len(rows) - 1)]
        asked = starts[ahead] if left[ahead - a] else asked  # again the same rather than a branch
        _ask_for(block, asked)
        kept_out[k] = left[rows[k] - a]
        if not kept_out[k]:
            continue
        start, stop = starts[rows[k]], starts[rows[k] + 1]
        ends, ious = block.edge_end[start:stop], block.edge_iou[start:stop]
        for e in range(len(ends)):
            iou = np.float64(ious[e])
            if iou > nms_iou:
                left[ends[e]] = False
            elif iou < nms_iou - _STEP:
                break


@compiled
def _ask_for(block: Block, edge: int) -> None:
    """Have the edges from this one on fetched."""
    prefetch(block.edge_iou, edge)
    prefetch(block.edge_end, edge)


@compiled
def _compare_afresh(block: Block, rows: NDArray[Any], nms_iou: float, kept_out: NDArray[np.bool_]) -> None:
    """Greedy NMS among rows in order of score, without edges."""
    kept_out[:] = False
    if len(rows):
        kept_out[greedy_boxes(block.boxes[rows], nms_iou)] = True


@compiled
def _between_crops(
    block: Block,
    first: int,
    passed: NDArray[np.int32],
    starts: NDArray[np.int64],
    nms_iou: float,
    kept: NDArray[np.bool_],
) -> None:
    """Greedy NMS between what the crops of an image kept: smaller crops first, of equal ones the crop seen first.

    Crop first + c has passed[starts[c] : starts[c + 1]], and is seen with the first of them in order of `row`.
    """
    crops = len(starts) - 1
    seen = np.full(crops, 2**62, dtype=np.int64)
    for c in range(crops):
        for row in passed[starts[c] : starts[c + 1]]:
            seen[c] = min(seen[c], np.int64(block.place[row]))
    by_seen = np.argsort(seen)  # places differ, and crops without a row have nothing to order
    by_size = by_seen[np.argsort(-block.smallness[first : first + crops][by_seen], kind="mergesort")]
    among, n = np.empty(starts[-1] - starts[0], dtype=np.int64), 0
    for c in by_size:
        for k in range(starts[c], starts[c + 1]):
            among[n] = k
            n += kept[k]
    among = among[:n]
    stays = np.empty(n, dtype=np.bool_)
    _compare_afresh(block, passed[among], nms_iou, stays)
    kept[among] = stays


@compiled
def tally(block: Block, above: np.float32, passed: NDArray[np.int32], kept: NDArray[np.bool_]) -> tuple[int, int]:
    """Return how many rows with a greater predicted IoU are kept, and how many are kept or suppressed."""
    stay, compared = 0, 0
    for k in range(len(passed)):
        taken = block.predicted_iou[passed[k]] > above
        stay += taken & kept[k]
        compared += taken
    return stay, compared


@compiled
def mark(
    block: Block,
    above: np.float32,
    passed: NDArray[np.int32],
    kept: NDArray[np.bool_],
    keep: NDArray[np.bool_],
) -> None:
    """Set `keep` at the positions of the kept rows whose predicted IoU is greater."""
    for k in range(len(passed)):
        if kept[k] and block.predicted_iou[passed[k]] > above:
            keep[block.position[passed[k]]] = True


@compiled
def _prefix(scores: NDArray[np.float32], a: int, b: int, above: np.float32) -> int:
    """Where the descending scores of rows a to b stop to be greater."""
    while a < b:
        middle = (a + b) // 2
        if scores[middle] > above:
            a = middle + 1
        else:
            b = middle
    return a
