"""Rows for the benchmarks of pools and NMS: proposals on real images, repeated with noise, and a trace of moves."""

from __future__ import annotations

import csv
import functools
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from workbench.config import TriageConfig, preset
from workbench.tables.proposals import Proposals

SETS = ("nuclei", "facades")
PART_ROWS = 2**17
MOVES = Path(__file__).parent / "moves.csv"
_NO_MASK = b"0"  # no pool reads masks here: triage is asked without the reason overlaps


def of_sam(data: Path, images_a_set: int) -> list[Proposals]:
    """Return what the bundled SAM proposes before NMS, an image each, without jitter and features."""
    from workbench.images import read_image
    from workbench.propose.run import propose
    from workbench.sam.load import load_sam

    sam = load_sam("bundled", device="cpu")
    chosen = preset("bundled").propose.replace(pool="exact", jitter_prompts=0, features=False)
    config = chosen.replace(points_per_side=32, crop_n_layers=0)  # the grid of the peers
    found = []
    for name in SETS:
        for file in sorted((data / name / "images").iterdir())[:images_a_set]:
            image, image_id = read_image(file)
            proposals = propose(image, sam, config, image_id=image_id)
            if len(proposals):
                found.append(proposals)
    return found


def of_truth(data: Path, images_a_set: int, seed: int = 0) -> list[Proposals]:
    """Return rows drawn around true boxes where there is no model: as many as points of a 32 × 32 grid would hit.

    Three in five are the true box moved by 4 % of its sides, one in four a part, the others a whole with surroundings.
    """
    rng = np.random.default_rng(seed)
    found = []
    for name in SETS:
        document = json.loads((data / name / "instances.json").read_text(encoding="utf-8"))
        boxes: dict[int, list[Any]] = {}
        for annotation in document["annotations"]:
            boxes.setdefault(annotation["image_id"], []).append(annotation["bbox"])
        listed = [image for image in document["images"] if image["id"] in boxes]
        for image in listed[:images_a_set]:
            size_hw = image["height"], image["width"]
            found.append(_around(np.array(boxes[image["id"]], float), size_hw, f"{name} {image['id']}", rng))
    return found


def _around(xywh: np.ndarray, size_hw: tuple[int, int], image_id: str, rng: np.random.Generator) -> Proposals:
    h, w = size_hw
    hits = np.clip(xywh[:, 2:].prod(axis=1) / (h * w) * 3072 * 0.8, 2, 300)
    xywh = np.repeat(xywh, 1 + rng.poisson(hits), axis=0)
    n = len(xywh)
    kind = rng.choice(3, n, p=[0.6, 0.25, 0.15])
    sides = xywh[:, 2:] * np.array([1, 0.5, 1.6])[kind, None] * np.exp(rng.normal(0, 0.05, (n, 2)))
    centres = xywh[:, :2] + xywh[:, 2:] * (0.5 + rng.normal(0, 0.04, (n, 2)))
    low = np.clip(centres - sides / 2, 0, [w - 1, h - 1]).astype(np.int32)
    high = np.clip(centres + sides / 2, low + 1, [w, h]).astype(np.int32)
    rows = Proposals.make(
        rles=[_NO_MASK] * n,
        mask_id="",
        image_id=image_id,
        boxes_xyxy=np.hstack([low, high]),
        predicted_iou=(1 - np.abs(rng.normal(0, 0.15, n)) - 0.1 * (kind > 0)).astype(np.float32),
        stability_score=(1 - np.abs(rng.normal(0, 0.05, n))).astype(np.float32),
        area_px=(0.8 * (high - low).prod(axis=1)).astype(np.int64),
        sizes_hw=size_hw,
    )
    return rows.select(rows.predicted_iou > 0.5)


def campaign(images: list[Proposals], rows: int, seed: int = 1) -> Iterator[Proposals]:
    """Yield `rows` rows in parts of whole images: the images over and over, each time with other noise.

    Corners move by a pixel, scores by 0.005, areas by 1 %; scores stay above the floor of 0.5.
    """
    rng = np.random.default_rng(seed)
    left, waiting, number = rows, list[tuple[int, Proposals]](), 0
    for image in itertools.cycle(images):
        taken = image if len(image) <= left else image.select(slice(0, left))
        waiting.append((number, taken))
        left, number = left - len(taken), number + 1
        if left == 0 or sum(len(p) for _, p in waiting) >= PART_ROWS:
            yield _with_noise(waiting, rng)
            waiting = []
        if left == 0:
            return


def _with_noise(parts: list[tuple[int, Proposals]], rng: np.random.Generator) -> Proposals:
    def joined(name: str) -> np.ndarray:
        return np.concatenate([getattr(p, name) for _, p in parts])

    counts = [len(p) for _, p in parts]
    n = sum(counts)
    boxes, sizes = joined("boxes_xyxy"), joined("sizes_hw")
    low = np.clip(boxes[:, :2] + rng.integers(-1, 2, (n, 2)), 0, sizes[:, ::-1] - 1)
    high = np.clip(boxes[:, 2:] + rng.integers(-1, 2, (n, 2)), low + 1, sizes[:, ::-1])

    def moved(name: str, least: float) -> np.ndarray:
        values: np.ndarray = joined(name) + rng.normal(0, 0.005, n).astype(np.float32)
        return np.asarray(np.maximum(values, np.float32(least)))

    ids = np.array([f"image {k}" for k, _ in parts], dtype=object)
    return Proposals.make(
        rles=[_NO_MASK] * n,
        mask_id="",
        row=np.concatenate([np.arange(count) for count in counts]),
        image_id=np.repeat(ids, counts),
        boxes_xyxy=np.hstack([low, high]),
        predicted_iou=moved("predicted_iou", 0.5001),
        stability_score=moved("stability_score", 0),
        area_px=(joined("area_px") * rng.normal(1, 0.01, n)).astype(np.int64),
        sizes_hw=sizes,
    )


def trace(base: TriageConfig, moves: int, exact: bool = True) -> list[tuple[str, TriageConfig]]:
    """Return the settings after each of the recorded moves of a slider, with its name; from the start again at the end.

    A slider is dragged ten moves long, then the next one, so that each has an equal part; NMS stays on a distinct pool.
    """
    config, found = base.replace(stability_score=0.9), list[tuple[str, TriageConfig]]()
    for slider, value in itertools.cycle(recorded()):
        if len(found) == moves:
            return found
        if exact or slider != "nms_iou":
            config = config.replace(**{slider: value})
            found.append((slider, config))
    raise AssertionError("a cycle does not end")


@functools.cache
def recorded() -> list[tuple[str, float]]:
    """Return the 2,000 recorded moves: sliders and where they were moved to."""
    with MOVES.open(encoding="ascii", newline="") as file:
        return [(row["slider"], float(row["value"])) for row in csv.DictReader(file)]
