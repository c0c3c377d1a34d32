"""A project whose masks are right with a known probability: blocks as proposals, and truth made to go with them."""

from __future__ import annotations

import sys

import numpy as np
import stub_sam
from made_once import made_once
from PIL import Image

import workbench as wb
from workbench.config import TriageConfig
from workbench.masks import rle
from workbench.tables.proposals import Proposals

SIZE = (32, 40)
CELLS = [(y, x) for y in range(0, 32, 8) for x in range(0, 40, 8)]
PLAIN = TriageConfig(predicted_iou=0.8, jitter_stability=None, min_area_px=4, border_px=None).replace(
    **dict.fromkeys(("unusual_solidity", "unusual_size_z", "overlap", "ambiguous_spread", "low_contrast"))
)


def drawn(image, always=None):
    """Return for an image: cells, scores, and which blocks are right; overbold below 0.7, timid above."""
    rng = np.random.default_rng(int(image.astype(np.int64).sum()))
    n = int(rng.integers(6, 12))
    cells = rng.permutation(len(CELLS))[:n]
    scores = rng.uniform(0.5, 1, n)
    right = rng.random(n) < np.where(scores < 0.7, 0.4, 0.97)
    return cells, scores, right if always is None else np.full(n, always)


def blocks(cells, wide):
    masks = np.zeros((len(cells), *SIZE), bool)
    for mask, cell, w in zip(masks, cells, wide, strict=True):
        y, x = CELLS[cell]
        mask[y : y + 6, x : x + w] = True
    return rle.encode(masks)


def table(rles, image_id, **columns):
    return Proposals.make(
        rles=rles,
        image_id=image_id,
        boxes_xyxy=rle.to_boxes(rles, SIZE),
        area_px=rle.area(rles, SIZE),
        sizes_hw=SIZE,
        **columns,
    )


def propose(image, segmenter, config=None, *, image_id=None):
    cells, scores, _ = drawn(image)
    scores = scores + (0.05 if segmenter.model_id.endswith("2") else 0)
    return table(blocks(cells, [6] * len(cells)), image_id, predicted_iou=scores, model_id=segmenter.model_id)


def truth_of(image, image_id, always=None):
    """Wrong proposals have a true mask of a third of their width."""
    cells, _, right = drawn(image, always)
    return table(blocks(cells, np.where(right, 6, 2)), image_id)


def make(folder, monkeypatch, n=60, roles=(0.0, 0.6, 0.4), always=None, truth=True, calibrated=False):
    """Return a project of n images in two domains, proposed and triaged, with truth."""
    monkeypatch.setitem(sys.modules, "workbench.propose.run", stub_sam.stage(propose))
    drawing = drawn, propose, truth_of  # tests put others in their place
    return made_once(folder, "p.wb", _make, drawing, n, roles, always, truth, calibrated)


def _make(folder, _drawing, n, roles, always, truth, calibrated):
    rng = np.random.default_rng(0)
    for k in range(n):
        path = folder / "images" / ("red" if k % 2 else "blue") / f"{k:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8)).save(path)
    project = wb.Project.create(folder / "p.wb", images=str(folder / "images"), roles=roles)
    project.propose(stub_sam.StubSam("stub-1"), stub_sam.PLAIN, progress=False)
    project.triage(PLAIN)
    if truth:
        add_truth(project, always)
    if calibrated:
        project.calibrate(draws=20)
    return project


def add_truth(project, always=None):
    ids = project.images()["image_id"].tolist()
    masks = Proposals.concat([truth_of(project.image(i), i, always) for i in ids])
    labels = [("a", "b")[k % 2] for k in range(len(masks))]
    project.import_truth(masks, labels, images=ids)
