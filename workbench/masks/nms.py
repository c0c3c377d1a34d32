"""Greedy non-maximum suppression by descending score, on boxes (exactly as torchvision's) and on masks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.masks import boxes as box
from workbench.masks import rle
from workbench.masks.compiled import compiled
from workbench.masks.runs import common_px


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
    return order[greedy_boxes(compared, float(iou_threshold))]


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


@compiled
def greedy_boxes(boxes: NDArray[np.float32], threshold: float) -> NDArray[np.int64]:
    """Rows kept of boxes sorted by score. Kept boxes are listed in a grid by their upper left corner.

    IoU > t in the plane needs it on each axis, and there the starts differ by at most (1 - t) / t of the shorter side:
    only cells that near are looked at. The comparison itself is torchvision's.
    """
    n = boxes.shape[0]
    zero = np.float32(0)
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    low_x, low_y, cell_x, cell_y, columns, rows, most_w, most_h = _grid(boxes)
    head = np.full((rows, columns), -1, dtype=np.int64)  # the last box kept in each cell
    before = np.empty(n, dtype=np.int64)  # the box kept before it in the same cell
    kept = np.empty(n, dtype=np.int64)
    n_kept = 0
    reach = (1 - threshold) / threshold * 1.001 + 0.001 if threshold > 0.001 else 1e9  # more than rounding can move
    for j in range(n):
        x, y = np.float64(boxes[j, 0]), np.float64(boxes[j, 1])
        w, h = boxes[j, 2] - x, boxes[j, 3] - y
        dropped = False
        if w > 0 and h > 0:  # a box without area overlaps nothing
            first_x = max(int((x - low_x - min(w * reach, most_w)) // cell_x), 0)
            last_x = min(int((x - low_x + min(reach, 1.0) * w) // cell_x), columns - 1)
            first_y = max(int((y - low_y - min(h * reach, most_h)) // cell_y), 0)
            last_y = min(int((y - low_y + min(reach, 1.0) * h) // cell_y), rows - 1)
            for cy in range(first_y, last_y + 1):
                for cx in range(first_x, last_x + 1):
                    i = head[cy, cx]
                    while i >= 0 and not dropped:
                        side_x = max(zero, min(boxes[i, 2], boxes[j, 2]) - max(boxes[i, 0], boxes[j, 0]))
                        side_y = max(zero, min(boxes[i, 3], boxes[j, 3]) - max(boxes[i, 1], boxes[j, 1]))
                        inter = side_x * side_y
                        # divided in float32, compared in float64
                        dropped = bool(np.float64(inter / (area[i] + area[j] - inter)) > threshold)
                        i = before[i]
        if not dropped:
            kept[n_kept] = j
            n_kept += 1
            cx, cy = int((x - low_x) // cell_x), int((y - low_y) // cell_y)
            before[j] = head[cy, cx]
            head[cy, cx] = j
    return kept[:n_kept]


@compiled
def _grid(boxes: NDArray[np.float32]) -> tuple[float, float, float, float, int, int, float, float]:
    """Origin, cell, columns and rows of a grid over the upper left corners, and the largest width and height."""
    low_x, low_y = np.float64(boxes[:, 0].min()), np.float64(boxes[:, 1].min())
    extent_x, extent_y = boxes[:, 0].max() - low_x, boxes[:, 1].max() - low_y
    sum_w, sum_h, most_w, most_h = 0.0, 0.0, 0.0, 0.0
    for i in range(boxes.shape[0]):
        w, h = max(np.float64(boxes[i, 2] - boxes[i, 0]), 0.0), max(np.float64(boxes[i, 3] - boxes[i, 1]), 0.0)
        sum_w, sum_h, most_w, most_h = sum_w + w, sum_h + h, max(most_w, w), max(most_h, h)
    # half a mean box a cell, and at most 512 cells a side
    cell_x = max(sum_w / boxes.shape[0] / 2, extent_x / 511, 1e-6)
    cell_y = max(sum_h / boxes.shape[0] / 2, extent_y / 511, 1e-6)
    columns, rows = int(extent_x // cell_x) + 1, int(extent_y // cell_y) + 1
    return low_x, low_y, cell_x, cell_y, columns, rows, most_w * 1.001, most_h * 1.001


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
            inter = common_px(run_ends, offsets[i], offsets[i + 1], offsets[j], offsets[j + 1])
            whole = min(areas[i], areas[j]) if smaller else areas[i] + areas[j] - inter
            if inter / whole > threshold:
                dropped = True
                break
        if not dropped:
            kept[n_kept] = place
            n_kept += 1
    return kept[:n_kept]
