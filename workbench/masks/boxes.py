"""Half-open xyxy boxes in pixels: area, IoU, conversions, and the inclusive boxes of segment_anything.

A box (x0, y0, x1, y1) holds the pixels x0 <= x < x1 and y0 <= y < y1; an empty mask has the box (0, 0, 0, 0).
Conversions keep the dtype that they are given.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


def box_area(boxes_xyxy: ArrayLike) -> NDArray[np.float64]:
    """Return the area of each box in px², (N,) float64; 0 for a box whose end lies before its start.

    >>> box_area([[0, 0, 2, 3], [5, 5, 5, 9]]).tolist()
    [6.0, 0.0]
    """
    boxes = as_boxes(boxes_xyxy).astype(np.float64)
    sides = np.maximum(boxes[:, 2:] - boxes[:, :2], 0)
    areas: NDArray[np.float64] = sides[:, 0] * sides[:, 1]
    return areas


def box_iou_matrix(a_xyxy: ArrayLike, b_xyxy: ArrayLike) -> NDArray[np.float64]:
    """Return the IoU of each box of `a` with each of `b`, (A, B) float64; 0 where both boxes are empty.

    >>> box_iou_matrix([[0, 0, 2, 2]], [[0, 0, 2, 2], [1, 0, 3, 2], [9, 9, 9, 9]]).round(3).tolist()
    [[1.0, 0.333, 0.0]]
    """
    a, b = as_boxes(a_xyxy).astype(np.float64), as_boxes(b_xyxy).astype(np.float64)
    start = np.maximum(a[:, None, :2], b[None, :, :2])
    sides = np.maximum(np.minimum(a[:, None, 2:], b[None, :, 2:]) - start, 0)
    intersection: NDArray[np.float64] = sides[..., 0] * sides[..., 1]
    together: NDArray[np.float64] = box_area(a)[:, None] + box_area(b)[None, :] - intersection
    iou: NDArray[np.float64] = np.divide(intersection, together, out=np.zeros_like(intersection), where=together > 0)
    return iou


def clip(boxes_xyxy: ArrayLike, size_hw: tuple[int, int]) -> NDArray[Any]:
    """Return the boxes cut at the borders of an image of size (h, w); a box outside becomes an empty one.

    >>> clip([[-3, 1, 9, 2]], (4, 5)).tolist()
    [[0, 1, 5, 2]]
    """
    boxes = as_boxes(boxes_xyxy)
    h, w = size_hw
    clipped: NDArray[Any] = np.clip(boxes, 0, np.array([w, h, w, h], dtype=boxes.dtype))
    return clipped


def from_xywh(boxes_xywh: ArrayLike) -> NDArray[Any]:
    """Return half-open xyxy boxes from COCO's (x, y, width, height).

    >>> from_xywh([[1, 2, 3, 4]]).tolist()
    [[1, 2, 4, 6]]
    """
    boxes = as_boxes(boxes_xywh).copy()
    boxes[:, 2:] += boxes[:, :2]
    return boxes


def to_xywh(boxes_xyxy: ArrayLike) -> NDArray[Any]:
    """Return COCO's (x, y, width, height) from half-open xyxy boxes.

    >>> to_xywh([[1, 2, 4, 6]]).tolist()
    [[1, 2, 3, 4]]
    """
    boxes = as_boxes(boxes_xyxy).copy()
    boxes[:, 2:] -= boxes[:, :2]
    return boxes


def to_inclusive(boxes_xyxy: ArrayLike) -> NDArray[Any]:
    """Return the boxes as segment_anything writes them: the last pixel belongs to the box.

    Boxes without pixels become (0, 0, 0, 0), as `batched_mask_to_box` has them for empty masks. A mask of one pixel at
    the origin has the same inclusive box; the way back reads it as empty.

    >>> to_inclusive([[1, 2, 4, 6], [0, 0, 0, 0]]).tolist()
    [[1, 2, 3, 5], [0, 0, 0, 0]]
    """
    boxes = as_boxes(boxes_xyxy).copy()
    filled = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    boxes[:, 2:] -= 1
    boxes[~filled] = 0
    return boxes


def from_inclusive(boxes_xyxy: ArrayLike, areas_px: ArrayLike | None = None) -> NDArray[Any]:
    """Return half-open boxes from segment_anything's, whose last pixel belongs to the box.

    Parameters
    ----------
    areas_px : (N,) areas of the masks; they tell an empty mask from one pixel at the origin. Without them
        (0, 0, 0, 0) is read as empty.

    >>> from_inclusive([[1, 2, 3, 5], [0, 0, 0, 0]]).tolist()
    [[1, 2, 4, 6], [0, 0, 0, 0]]
    >>> from_inclusive([[0, 0, 0, 0]], areas_px=[1]).tolist()
    [[0, 0, 1, 1]]
    """
    boxes = as_boxes(boxes_xyxy).copy()
    empty = ~boxes.any(axis=1) if areas_px is None else np.asarray(areas_px) == 0
    boxes[:, 2:] += 1
    boxes[empty] = 0
    return boxes


def of_masks(masks: NDArray[Any]) -> NDArray[np.int32]:
    """Return the box around each mask, (N, 4) int32; zeros for an empty mask.

    Parameters
    ----------
    masks : (N, H, W) bool or uint8, non-zero is mask

    >>> of_masks(np.array([[[0, 1], [0, 1]]], dtype=bool)).tolist()
    [[1, 0, 2, 2]]
    """
    if masks.ndim != 3:
        raise ValueError(f"masks: expected (N, H, W), got shape {masks.shape}; give one mask as mask[None]")
    boxes = np.zeros((len(masks), 4), dtype=np.int32)
    if masks.size == 0:
        return boxes
    for axis, first in ((1, 0), (2, 1)):  # columns that hold mask give x, rows give y
        held: NDArray[np.bool_] = np.any(masks, axis=axis)
        boxes[:, first] = held.argmax(axis=1)
        boxes[:, first + 2] = held.shape[1] - held[:, ::-1].argmax(axis=1)
        boxes[~np.any(held, axis=1)] = 0
    return boxes


def touches_border(boxes_xyxy: ArrayLike, size_hw: tuple[int, int], margin_px: float = 0) -> NDArray[np.bool_]:
    """Return whether each box comes within `margin_px` of a border of the image, (N,) bool; empty boxes do not.

    With margin 0 a box touches when one of its pixels is the first or last of a row or column of the image.

    >>> touches_border([[0, 3, 4, 5], [1, 1, 4, 5], [0, 0, 0, 0]], (9, 9)).tolist()
    [True, False, False]
    """
    boxes = as_boxes(boxes_xyxy)
    h, w = size_hw
    near = (boxes[:, :2] <= margin_px).any(axis=1) | (boxes[:, 2:] >= np.array([w, h]) - margin_px).any(axis=1)
    return np.asarray(near & (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1]))


def as_boxes(boxes: ArrayLike) -> NDArray[Any]:
    """Return the boxes as an (N, 4) array; an empty list is no boxes.

    Raises
    ------
    ValueError : if the shape is another

    >>> as_boxes([]).shape
    (0, 4)
    """
    array = np.asarray(boxes)
    if array.size == 0 and array.ndim <= 2:
        return array.reshape(0, 4)
    if array.ndim != 2 or array.shape[1] != 4:
        raise ValueError(f"boxes: expected (N, 4), got shape {array.shape}; give one box as [box]")
    return array
