"""Vectors for the JavaScript tests of the annotator, made by pycocotools and workbench.masks.

Written to js/test/vectors.json by `python tests/annotator_vectors.py`; a test compares what is written with what is made.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco

from workbench.masks import polygons, rle

PLACE = Path(__file__).parents[1] / "js/test/vectors.json"
SIZES_HW = [(1, 1), (1, 9), (9, 1), (7, 5), (24, 31), (40, 17)]


def made() -> dict[str, Any]:
    """Return all vectors, as JSON holds them."""
    rng = np.random.default_rng(5)
    return {"masks": _masks(rng), "polygons": _polygons(rng)}


def _masks(rng: np.random.Generator) -> list[dict[str, Any]]:
    rows = []
    for h, w in SIZES_HW:
        y, x = np.mgrid[:h, :w]
        disc = (x - w / 2) ** 2 + (y - h / 2) ** 2 < (min(h, w) / 2.5) ** 2
        hole = disc & ~((x - w / 2) ** 2 + (y - h / 2) ** 2 < (min(h, w) / 6) ** 2)
        drawn = [np.zeros((h, w), bool), np.ones((h, w), bool), disc, hole, rng.random((h, w)) < 0.4, y > h // 2]
        for mask in drawn:
            counts = coco.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"]
            runs = rle.counts_to_runs(counts)
            rows.append(
                {
                    "size_hw": [h, w],
                    "rows": ["".join("#" if v else "." for v in line) for line in mask],
                    "string": counts.decode("ascii"),
                    "runs": runs.tolist(),
                    "area": int(rle.area([counts], (h, w))[0]),
                    "box": rle.to_boxes([counts], (h, w))[0].tolist(),
                }
            )
    return rows


def _polygons(rng: np.random.Generator) -> list[dict[str, Any]]:
    size = (30, 40)
    rings = [
        [[2, 3], [20, 3], [20, 17], [2, 17]],
        [[0.5, 0.5], [10.5, 0.5], [10.5, 10.5]],
        [[5, 5], [30, 25], [30, 5], [5, 25]],  # crosses itself
        [[-10, -10], [60, -5], [55, 50], [-8, 44]],  # leaves the image
        [[3, 3], [9, 9], [15, 15]],  # no area
        [[100, 100], [120, 100], [110, 130]],  # outside
        *[(rng.random((n, 2)) * [44, 34] - 2).round(2).tolist() for n in (3, 4, 5, 8, 13, 40)],
    ]
    filled = [rle.encode(polygons.fill([ring], size)[None])[0].decode("ascii") for ring in rings]
    return [{"size_hw": list(size), "ring": ring, "string": text} for ring, text in zip(rings, filled, strict=True)]


def written() -> str:
    """Return the text of the file."""
    return json.dumps(made(), separators=(",", ":")) + "\n"


if __name__ == "__main__":
    PLACE.write_text(written(), "utf-8")
