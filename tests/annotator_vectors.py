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
from workbench.review import state
from workbench.tables.events import ReviewEvent

PLACE = Path(__file__).parents[1] / "js/test/vectors.json"
SIZES_HW = [(1, 1), (1, 9), (9, 1), (7, 5), (24, 31), (40, 17)]


def made() -> dict[str, Any]:
    """Return all vectors, as JSON holds them."""
    rng = np.random.default_rng(5)
    return {"masks": _masks(rng), "polygons": _polygons(rng), "under": _under(rng), "turns": _turns(rng)}


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


def _under(rng: np.random.Generator) -> dict[str, Any]:
    """Masks of an image, and which of them lie under points, smallest first."""
    h, w = 90, 130
    y, x = np.mgrid[:h, :w]
    radii = np.linspace(4, 40, 25)
    centres = rng.uniform((0, 0), (w, h), (len(radii), 2))
    drawn = [((x - cx) ** 2 + (y - cy) ** 2 < r**2) for (cx, cy), r in zip(centres, radii, strict=True)]
    order = rng.permutation(len(drawn))
    drawn = [drawn[k] for k in order]
    area = [int(mask.sum()) for mask in drawn]
    points = rng.uniform((0, 0), (w, h), (60, 2)).round(2)
    found = [
        sorted((k for k, mask in enumerate(drawn) if mask[int(py), int(px)]), key=lambda k: area[k])
        for px, py in points
    ]
    runs = [rle.counts_to_runs(rle.encode(mask[None])[0]).tolist() for mask in drawn]
    return {"size_hw": [h, w], "runs": runs, "points": points.tolist(), "found": found}


def _turns(rng: np.random.Generator) -> list[dict[str, Any]]:
    """Gestures, undos and redos as a page makes them, and what `state.undone` says of them after each step."""
    cases = []
    for _ in range(20):
        events: list[ReviewEvent] = []
        steps, shown = [], []
        for k in range(14):
            gone = state.undone(events)
            own = [e.gesture_id for e in events if e.kind == "verdict"]
            last = next((name for name in reversed(own) if name not in gone), None)
            ahead = own[own.index(last) + 1 :] if last else own
            choices = ["do", "do", *(["undo"] * 3 if last else []), *(["redo"] * 2 if ahead else [])]
            step = str(rng.choice(choices))
            if step == "do":
                target, event = f"g{k}", ReviewEvent(f"g{k}", "i", "verdict", "m", {"verdict": "accept"}, "a")
            else:
                target = str(last) if step == "undo" else ahead[0]
                undos = [
                    e
                    for e in events
                    if e.kind == "undo" and e.payload["gesture"] == target and e.gesture_id not in gone
                ]
                named = target if step == "undo" else undos[-1].gesture_id
                event = ReviewEvent(f"g{k}", "i", "undo", "", {"gesture": named}, "a")
            events.append(event)
            gone = state.undone(events)
            steps.append([step, target])
            shown.append([[e.gesture_id, e.gesture_id in gone] for e in events if e.kind == "verdict"])
        cases.append({"steps": steps, "shown": shown})
    return cases


def written() -> str:
    """Return the text of the file."""
    return json.dumps(made(), separators=(",", ":")) + "\n"


if __name__ == "__main__":
    PLACE.write_text(written(), "utf-8")
