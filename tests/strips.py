"""Masks of an image of one row, told by where they begin and end: areas and IoUs can be read off."""

from __future__ import annotations

import numpy as np

from workbench.masks import rle
from workbench.tables.proposals import Proposals

WIDTH = 100


def strips(*ends, image_id="a", **columns):
    """Return a table of the masks [x0, x1) of a 1 × 100 image."""
    masks = np.zeros((len(ends), 1, WIDTH), bool)
    for mask, (x0, x1) in zip(masks, ends, strict=True):
        mask[0, x0:x1] = True
    rles = rle.encode(masks) if ends else []
    areas = rle.area(rles, (1, WIDTH))
    boxes = rle.to_boxes(rles, (1, WIDTH))
    return Proposals.make(rles=rles, image_id=image_id, sizes_hw=(1, WIDTH), area_px=areas, boxes_xyxy=boxes, **columns)
