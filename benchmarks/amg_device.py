"""Tier C of the benchmark `amg`: images a second of a project run on a GPU, the official generator beside it.

A ViT of random weights whose score head is shifted until about 60 masks survive; photographs of scikit-image, cropped so
that no two are alike, as files on disk. Ours is `project.propose` with all that a run does (reading, bfloat16 encoder in
batches and bfloat16 decoder, floors, one shard an image, the catalogue), without jitter and shape features, which the official generator does
not have; that one runs in float32 as it is, on the same images held in memory. Both sides have run once before. Ours takes the
batches below, the official generator the 64 prompts that it decodes at once by default.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import skimage.data
import torch
from PIL import Image

import workbench as wb
from benchmarks.amg_end_to_end import VIT_FLOOR, Case, alike, official, random_vit
from benchmarks.figures import Row
from benchmarks.measuring import median

SIDE_PX = 1024
AT_ONCE, PROMPTS_AT_ONCE = 8, 256  # images in a batch of the encoder, prompts in one of the decoder
BESIDE = 4  # images that the official generator is timed on
AIMS = {"vit_h": 20.0}  # images a second on an H100, in bfloat16, with 1,024 prompts


def photographs(n: int) -> list[np.ndarray]:
    """Return crops of photographs, (1024, 1024, 3) uint8, no two alike."""
    rng = np.random.default_rng(0)
    whole = [np.asarray(getattr(skimage.data, name)()) for name in ("astronaut", "coffee", "chelsea", "rocket")]
    found = []
    for k in range(n):
        picture = Image.fromarray(whole[k % len(whole)])
        w, h = picture.size
        side = rng.uniform(0.6, 1.0) * min(w, h)
        x, y = rng.uniform(0, w - side), rng.uniform(0, h - side)
        found.append(np.asarray(picture.resize((SIDE_PX, SIDE_PX), box=(x, y, x + side, y + side))))
    return found


def tier_c(device: str, vit: str, images: int, points: int, rounds: int) -> Iterator[Row]:
    """Yield images a second of both sides, ours over all images and the official generator over four of them, the ratio, what memory
    ours needed, and how alike both answers to the first image are.

    Parameters
    ----------
    device : of torch; points : side of the point grid; rounds : of ours over all images, then of the official generator
    """
    pictures = photographs(images)
    print(f"{vit}: shifting the score head of random weights", flush=True)
    model = random_vit(pictures[0], points, vit, device)
    dtype = "bfloat16" if device.startswith("cuda") else "float32"
    name = f"C {vit} {SIDE_PX}×{SIDE_PX}, {points}² points, {dtype}"
    case = Case(name, model, pictures[0], VIT_FLOOR, points, None, nms_iou=1.0)
    ours_s, theirs_s, stored, held = np.zeros(rounds), np.zeros(rounds), 0, 0
    since = time.perf_counter()
    official(case)
    _wait(device)
    print(f"an image by the official generator, not counted: {time.perf_counter() - since:.1f} s", flush=True)
    took, *_ = _run(model, pictures[:AT_ONCE], case, device, dtype)
    print(f"{AT_ONCE} images by ours, not counted, with all that is compiled: {took:.1f} s", flush=True)
    some = pictures[: min(BESIDE, images)]
    for k in range(rounds):
        took, stored, held = _run(model, pictures, case, device, dtype)
        ours_s[k] = took / images
        since = time.perf_counter()
        for picture in some:
            official(Case(name, model, picture, VIT_FLOOR, points, None, nms_iou=1.0))
        _wait(device)
        theirs_s[k] = (time.perf_counter() - since) / len(some)
        print(f"round {k + 1} of {rounds}: {1 / ours_s[k]:.2f} and {1 / theirs_s[k]:.2f} images/s", flush=True)
    for whose, seconds, aim in (("ours", ours_s, AIMS.get(vit)), ("official generator, float32", theirs_s, None)):
        value, _, interval = median(1 / seconds)
        yield Row(f"{name}: images a second, {whose}", value, "1/s", interval, rounds * images, aim, ">=")
    value, unit, interval = median(theirs_s / ours_s)
    yield Row(f"{name}: ratio", value, unit, interval, rounds, None, ">=")
    yield Row(f"{name}: masks stored an image", stored / images, "masks", None, images, None, ">=")
    if device.startswith("cuda"):
        yield Row(f"{name}: most memory on the device, ours", held / 1e9, "GB", None, 1, None, "<=")
    yield from alike(case, torch.bfloat16 if dtype == "bfloat16" else torch.float32)


def _run(
    model: torch.nn.Module, pictures: list[np.ndarray], case: Case, device: str, dtype: str
) -> tuple[float, int, int]:
    """Propose on a project of the pictures; return seconds, masks stored, and the most memory held on a GPU, bytes."""
    sam = wb.load_sam(model, device=device, dtype=dtype)
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        (folder / "images").mkdir()
        for k, picture in enumerate(pictures):
            Image.fromarray(picture).save(folder / "images" / f"{k:04d}.bmp")
        with wb.Project.create(folder / "bench.wb", images=str(folder / "images")) as project:
            if device.startswith("cuda"):
                torch.cuda.reset_peak_memory_stats(device)
            since = time.perf_counter()
            batches = case.config.replace(images_per_batch=AT_ONCE, points_per_batch=PROMPTS_AT_ONCE)
            report = project.propose(sam, batches, progress=False)
            _wait(device)
            took = time.perf_counter() - since
            held = torch.cuda.max_memory_allocated(device) if device.startswith("cuda") else 0
            return took, report.proposals, held


def _wait(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
