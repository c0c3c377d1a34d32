"""A stand-in for model and proposing stage: masks that follow from the bytes of the image, without torch."""

from __future__ import annotations

import sys
import time
import types
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from workbench.config import ProposeConfig
from workbench.masks import rle
from workbench.tables.proposals import Proposals

PLAIN = ProposeConfig(pool="distinct", jitter_prompts=0, features=False)


@dataclass(frozen=True)
class StubSam:
    """What a project asks of a model: its id."""

    model_id: str = "stub-0123"


def propose(image, segmenter, config=None, *, image_id=None, embedding=None):
    """Return 0 to 6 rectangles, drawn by a generator that the pixels seed."""
    rng = np.random.default_rng(int(image.astype(np.int64).sum()))
    h, w = image.shape[:2]
    masks = np.zeros((int(rng.integers(0, 7)), h, w), bool)
    for mask in masks:
        y, x = rng.integers(0, h), rng.integers(0, w)
        mask[y : y + 1 + rng.integers(h), x : x + 1 + rng.integers(w)] = True
    return _table(masks, segmenter, image_id, rng)


def propose_noise(image, segmenter, config=None, *, image_id=None):
    """Return 20 masks of noise, some 100 kB that do not compress."""
    rng = np.random.default_rng(int(image.astype(np.int64).sum()))
    return _table(rng.random((20, 128, 128)) < 0.5, segmenter, image_id, rng)


def _table(masks, segmenter, image_id, rng):
    n, h, w = masks.shape
    rles = rle.encode(masks)
    return Proposals.make(
        rles=rles,
        image_id=image_id,
        boxes_xyxy=rle.to_boxes(rles, (h, w)),
        area_px=rle.area(rles, (h, w)),
        sizes_hw=(h, w),
        predicted_iou=rng.uniform(0.7, 1.0, n),
        jitter_stability=rng.uniform(0.8, 1.0, n),
        model_id=segmenter.model_id,
        prompt="point",
    )


def stage(function=propose, seconds: float = 0.0) -> types.ModuleType:
    """Return a module to put in place of `workbench.propose.run` in `sys.modules`; no embedding reaches the function."""

    def slow(*args, embedding=None, **settings):
        time.sleep(seconds)
        return function(*args, **settings)

    module = types.ModuleType("workbench.propose.run")
    module.propose, module.function = slow, function
    return module


def install(function=propose, seconds: float = 0.0) -> None:
    """Put a stage in the place where a project looks the proposing function up, for the rest of this process."""
    sys.modules["workbench.propose.run"] = stage(function, seconds)


def write_images(folder: Path, n: int, size_hw: tuple[int, int] = (24, 32), seed: int = 0) -> Path:
    """Write n pictures of random blocks and return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    for i in range(n):
        pixels = rng.integers(0, 256, (*size_hw, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"image{i}.png")
    return folder
