"""Random proposals for the tests of the pools: several images and crops, ties, missing and infinite scores."""

from __future__ import annotations

from typing import Any

import numpy as np

from workbench.masks import rle
from workbench.tables.proposals import Proposals

SIZE = (40, 60)  # h, w
LEVELS = np.array([0.5, 0.6, 0.7, 0.8, 0.88, 0.92, 1.02], np.float32)  # few, so that scores tie
ODD = np.array([np.nan, np.inf, -np.inf], np.float32)


def random_proposals(rng: np.random.Generator, n: int, images: int = 3, crops: int = 1, **columns: Any) -> Proposals:
    """Boxes near a few centres, drawn as filled masks; some are empty, some equal."""
    h, w = SIZE
    centre = rng.integers(5, [w - 5, h - 5], (4, 2))[rng.integers(0, 4, n)]
    half = rng.integers(0, 12, (n, 2))
    low = np.clip(centre + rng.integers(-3, 4, (n, 2)) - half, 0, [w, h])
    high = np.clip(centre + rng.integers(-3, 4, (n, 2)) + half, low, [w, h])
    boxes = np.hstack([low, high]).astype(np.int32)
    boxes[(boxes[:, 2:] <= boxes[:, :2]).any(axis=1)] = 0
    masks = np.zeros((n, h, w), dtype=bool)
    for mask, (x0, y0, x1, y1) in zip(masks, boxes, strict=True):
        mask[y0:y1, x0:x1] = True
    given: dict[str, Any] = {
        "image_id": [f"image {k}" for k in rng.integers(0, images, n)],
        "row": rng.permutation(n) // 2,  # not in order, some equal
        "boxes_xyxy": boxes,
        "area_px": masks.sum(axis=(1, 2)),
        "sizes_hw": SIZE,
        "crop_boxes_xyxy": _crops(rng, n, crops),
        **{name: scores(rng, n) for name in ("predicted_iou", "stability_score", "jitter_stability")},
        **{name: scores(rng, n) for name in ("hypothesis_spread", "solidity", "roughness", "contrast")},
        **columns,
    }
    return Proposals.make(rles=rle.encode(masks) if n else [], **given)


def _crops(rng: np.random.Generator, n: int, crops: int) -> np.ndarray:
    """The first is not said and means the second, the whole image; the next two are of one size."""
    h, w = SIZE
    boxes = np.array([[0, 0, 0, 0], [0, 0, w, h], [0, 0, w // 2, h], [w // 2, 0, w, h], [0, 0, 20, 20]])
    return boxes[rng.integers(0, crops, n)]


def scores(rng: np.random.Generator, n: int) -> np.ndarray:
    """Scores of few levels; one in ten is missing or infinite."""
    values = LEVELS[rng.integers(0, len(LEVELS), n)]
    odd = rng.random(n) < 0.1
    values[odd] = ODD[rng.integers(0, len(ODD), odd.sum())]
    return values
