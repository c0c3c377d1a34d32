"""Greedy non-maximum suppression by descending score, on boxes (exactly as torchvision's) and on masks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.masks import boxes as box
from workbench.masks import rle
from workbench.masks.compiled import compiled


def nms_boxes(
    boxes_xyxy: ArrayLike, scores: ArrayLike, iou_threshold: float, inclusive: bool = True
) -> NDArray[np.int64]:
    """Return the rows that survive greedy NMS on boxes, as torchvision's CPU kernel keeps them.

    Going down the scores, a row is dropped when its IoU with a row kept before is greater than the threshold. IoU is
    computed in float32 and compared with the threshold in float64, without epsilon.

    Parameters
    ----------
    boxes_xyxy : (N, 4) half-open boxes in pixels
    scores : (N,); rows whose score is NaN are never kept and drop no other row
    iou_threshold : in [0, 1]
    inclusive : True compares the boxes as segment_anything does, by the coordinates of their last pixels (a box of one
        pixel has no area and drops nothing); False takes them as they are

    Returns
    -------
    (K,) int64, in descending order of score, equal scores in order of row

    Raises
    ------
    ValueError : if shapes do not fit, a box is not finite, or the threshold is outside [0, 1]

    Source: torchvision, ops/cpu/nms_kernel.cpp. A grid over the boxes spares the comparisons that cannot overlap.

    >>> nms_boxes([[0, 0, 9, 9], [0, 0, 9, 8], [20, 0, 29, 9]], [0.8, 0.9, 0.7], iou_threshold=0.7).tolist()
    [1, 2]
    """
    boxes = box.as_boxes(boxes_xyxy)
    order = _order(boxes, scores, iou_threshold)
    if not np.isfinite(boxes).all():
        row = int(np.flatnonzero(~np.isfinite(boxes).all(axis=1))[0])
        raise ValueError(f"boxes: expected finite coordinates, got {boxes[row].tolist()} in row {row}")
    if len(order) == 0:
        return order
    compared = (box.to_inclusive(boxes) if inclusive else boxes)[order].astype(np.float32)
    return order[_greedy_boxes(compared, float(iou_threshold), *_grid(compared))]


def nms_masks(
    rles: Sequence[bytes],
    size_hw: tuple[int, int],
    scores: ArrayLike,
    iou_threshold: float,
    kind: Literal["iou", "smaller"] = "iou",
) -> NDArray[np.int64]:
    """Return the rows that survive greedy NMS on masks: the same rule as `nms_boxes`, with the IoU of the pixels.

    Parameters
    ----------
    rles, size_hw : compressed COCO strings of the masks, and the size (h, w) of the image
    scores, iou_threshold : as for `nms_boxes`
    kind : "iou", or "smaller" for intersection over the smaller mask, which also drops masks nested in others

    Returns
    -------
    (K,) int64, in descending order of score, equal scores in order of row

    >>> nms_masks([b"04", b"22", b"022"], (2, 2), [0.7, 0.9, 0.8], iou_threshold=0.4).tolist()
    [1, 2]
    """
    if kind not in ("iou", "smaller"):
        raise ValueError(f"kind: expected 'iou' or 'smaller', got {kind!r}")
    boxes = rle.to_boxes(rles, size_hw)
    order = _order(boxes, scores, iou_threshold)
    runs, offsets = rle.unpack_runs(rles)
    if len(order) == 0:
        return order
    areas = rle.area(rles, size_hw)
    kept = _greedy_masks(
        order, boxes.astype(np.int64), areas, np.cumsum(runs), offsets, float(iou_threshold), kind == "smaller"
    )
    return order[kept]


def _order(boxes: NDArray[Any], scores: ArrayLike, iou_threshold: float) -> NDArray[np.int64]:
    """Rows with a score, best first, equal ones by row."""
    values = np.asarray(scores, dtype=None if np.size(scores) else np.float64)
    if values.shape != (len(boxes),):
        raise ValueError(f"scores: expected ({len(boxes)},) for as many masks or boxes, got shape {values.shape}")
    if not 0 <= iou_threshold <= 1:
        raise ValueError(f"iou_threshold: expected a value in [0, 1], got {iou_threshold}")
    rows = np.flatnonzero(values == values)  # NaN is not equal to itself
    return rows[np.argsort(-values[rows].astype(np.float64), kind="stable")].astype(np.int64)


def _grid(boxes: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the first and last grid cell (column, row) of each box, (N, 4) int64, and the grid's (columns, rows).

    Cells are about as large as the mean box. Boxes that overlap share a cell, since the cell of a coordinate grows with
    it.
    """
    low = boxes[:, :2].min(axis=0).astype(np.float64)
    high = boxes[:, 2:].max(axis=0).astype(np.float64)
    cell = np.maximum(np.maximum(boxes[:, 2:] - boxes[:, :2], 0).mean(axis=0, dtype=np.float64), 1e-6)
    cell = np.maximum(cell, np.maximum(high - low, 0) / 256)
    while True:
        cells = np.floor((boxes.astype(np.float64) - np.tile(low, 2)) / np.tile(cell, 2)).astype(np.int64)
        spans = np.maximum(cells[:, 2:] - cells[:, :2] + 1, 0)
        # a few boxes much larger than the rest would fill the lists: coarser cells then
        if (spans[:, 0] * spans[:, 1]).sum() <= 16 * len(boxes) + 1024:
            return cells, np.maximum(cells.max(axis=0).reshape(2, 2).max(axis=0) + 1, 1)
        cell *= 2


@compiled
def _greedy_boxes(
    boxes: NDArray[np.float32], threshold: float, cells: NDArray[np.int64], shape: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Rows kept of boxes sorted by score; each kept box is listed in every grid cell that it covers."""
    n = boxes.shape[0]
    zero = np.float32(0)
    entries = 0
    for i in range(n):
        entries += max(cells[i, 2] - cells[i, 0] + 1, 0) * max(cells[i, 3] - cells[i, 1] + 1, 0)
    head = np.full(shape[0] * shape[1], -1, dtype=np.int64)
    follow = np.empty(entries, dtype=np.int64)
    entry_box = np.empty(entries, dtype=np.int64)
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    kept = np.empty(n, dtype=np.int64)
    n_kept = 0
    n_entries = 0
    for j in range(n):
        dropped = False
        for cy in range(cells[j, 1], cells[j, 3] + 1):
            for cx in range(cells[j, 0], cells[j, 2] + 1):
                entry = head[cy * shape[0] + cx]
                while entry >= 0 and not dropped:
                    i = entry_box[entry]
                    w = max(zero, min(boxes[i, 2], boxes[j, 2]) - max(boxes[i, 0], boxes[j, 0]))
                    h = max(zero, min(boxes[i, 3], boxes[j, 3]) - max(boxes[i, 1], boxes[j, 1]))
                    inter = w * h
                    # in float32, then compared in float64: 0/0 is NaN and drops nothing
                    dropped = np.float64(inter / (area[i] + area[j] - inter)) > threshold
                    entry = follow[entry]
        if dropped:
            continue
        kept[n_kept] = j
        n_kept += 1
        for cy in range(cells[j, 1], cells[j, 3] + 1):
            for cx in range(cells[j, 0], cells[j, 2] + 1):
                follow[n_entries] = head[cy * shape[0] + cx]
                entry_box[n_entries] = j
                head[cy * shape[0] + cx] = n_entries
                n_entries += 1
    return kept[:n_kept]


@compiled
def _greedy_masks(
    order: NDArray[np.int64],
    boxes: NDArray[np.int64],
    areas: NDArray[np.int64],
    run_ends: NDArray[np.int64],
    offsets: NDArray[np.int64],
    threshold: float,
    smaller: bool,
) -> NDArray[np.int64]:
    """Places in `order` that are kept; pixels are compared only where boxes overlap and areas allow the threshold."""
    kept = np.empty(len(order), dtype=np.int64)
    n_kept = 0
    for place in range(len(order)):
        j = order[place]
        dropped = False
        for k in range(n_kept):
            i = order[kept[k]]
            w = min(boxes[i, 2], boxes[j, 2]) - max(boxes[i, 0], boxes[j, 0])
            h = min(boxes[i, 3], boxes[j, 3]) - max(boxes[i, 1], boxes[j, 1])
            if w <= 0 or h <= 0:
                continue
            most = min(areas[i], areas[j], w * h)
            whole = min(areas[i], areas[j]) if smaller else areas[i] + areas[j] - most
            if most / whole <= threshold:
                continue
            inter = _intersection(run_ends, offsets[i], offsets[i + 1], offsets[j], offsets[j + 1])
            whole = min(areas[i], areas[j]) if smaller else areas[i] + areas[j] - inter
            if inter / whole > threshold:
                dropped = True
                break
        if not dropped:
            kept[n_kept] = place
            n_kept += 1
    return kept[:n_kept]


@compiled
def _intersection(run_ends: NDArray[np.int64], a: int, a_stop: int, b: int, b_stop: int) -> int:
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
