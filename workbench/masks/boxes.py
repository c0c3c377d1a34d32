"""Half-open xyxy boxes in pixels: area, COCO's boxes, and the inclusive ones of segment_anything.

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

    Boxes without pixels become (0, 0, 0, 0), as `batched_mask_to_box` has them for empty masks; a mask of one pixel at
    the origin has the same inclusive box.

    >>> to_inclusive([[1, 2, 4, 6], [0, 0, 0, 0]]).tolist()
    [[1, 2, 3, 5], [0, 0, 0, 0]]
    """
    boxes = as_boxes(boxes_xyxy).copy()
    filled = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    boxes[:, 2:] -= 1
    boxes[~filled] = 0
    return boxes


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
