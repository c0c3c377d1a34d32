"""What the bundled SAM's training asks in one step: scenes with their prompts as tensors, drawn ahead by worker processes.

Each worker keeps some of its scenes and uses them again, turned and in other light, with other prompts.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from workbench.sam.bundled import GRID, STRIDE_PX
from workbench.sam.questions import Questions, draw_questions
from workbench.sam.scenes import Scene, draw_scene, family_table

SEVERAL_SHARE = 0.2
"""Share of steps that ask with two to four points instead of one point or a box."""


class Batch(NamedTuple):
    """B scenes of one size and P + Q prompts of each.

    images : (B, H, W, 3) uint8
    owners : (B, H, W) int16, the innermost object of each pixel; 0 is background
    family : (B, N + 1, N + 1) bool, row k is True at k and its parts; N is the most objects of a scene
    points_xy, labels : (B, P, K, 2), (B, P, K) float32, pixels of the scene; 1 inside, 0 outside
    boxes_xyxy : (B, Q, 4) float32
    targets : (B, P + Q, 2) int64, object asked for and a second that the point may mean; 0 for none
    pointed : (B, P + Q) bool, one single point: ambiguous
    windows : (B, 2) int64, column and row of the model's input frame, in embedding cells, where the scene stands
    """

    images: Tensor
    owners: Tensor
    family: Tensor
    points_xy: Tensor
    labels: Tensor
    boxes_xyxy: Tensor
    targets: Tensor
    pointed: Tensor
    windows: Tensor

    def to(self, device: torch.device) -> Batch:
        """Return the batch on a device."""
        return Batch(*(tensor.to(device, non_blocking=True) for tensor in self))


def collate(scenes: list[Scene], questions: list[Questions], windows: np.ndarray) -> Batch:
    """Return scenes of one size and what each is asked as a batch; the questions are of one shape. What corrects them is left out."""
    most = max(len(scene.parents) for scene in scenes)
    family = np.zeros((len(scenes), most, most), bool)
    for table, scene in zip(family, scenes, strict=True):
        table[: len(scene.parents), : len(scene.parents)] = family_table(scene.parents)
    none = np.zeros((0, 4), np.float32)
    arrays: list[Sequence[np.ndarray] | np.ndarray] = [
        [scene.image for scene in scenes],
        [scene.owner for scene in scenes],
        family,
        [q.points_xy for q in questions],
        [q.labels for q in questions],
        [none if q.boxes_xyxy is None else q.boxes_xyxy for q in questions],
        [q.targets for q in questions],
        [q.pointed for q in questions],
        windows,
    ]
    return Batch(*(torch.from_numpy(np.stack(list(rows))) for rows in arrays))


def augmented(scene: Scene, rng: np.random.Generator) -> Scene:
    """Return the scene turned, mirrored, its contrast and colours changed; truth follows."""
    image, owner = scene.image, scene.owner
    turns = int(rng.integers(4)) if scene.kind != "facade" else 0
    image, owner = np.rot90(image, turns), np.rot90(owner, turns)
    if rng.random() < 0.5:
        image, owner = image[:, ::-1], owner[:, ::-1]
    if rng.random() < 0.5:
        curve = np.linspace(0, 1, 256) ** float(np.exp(rng.normal(0, 0.25))) * 255
        curve = curve * float(np.exp(rng.normal(0, 0.2))) + rng.normal(0, 6)
        image = np.clip(curve, 0, 255).astype(np.uint8)[image]
    if rng.random() < 0.3:
        image = image[..., rng.permutation(3)]
    return Scene(np.ascontiguousarray(image), np.ascontiguousarray(owner), scene.parents, scene.kind)


def make_batch(scenes: list[Scene], prompts: int, rng: np.random.Generator) -> Batch:
    """Return augmented scenes, each asked `prompts` questions and put somewhere in the input frame."""
    points = int(rng.integers(2, 5)) if rng.random() < SEVERAL_SHARE else 1
    turned = [augmented(scene, rng) for scene in scenes]
    room = GRID - scenes[0].owner.shape[0] // STRIDE_PX
    windows = rng.integers(0, room + 1, (len(scenes), 2))
    return collate(turned, [draw_questions(scene, prompts, rng, points) for scene in turned], windows)


@dataclass(frozen=True)
class Lessons(IterableDataset[Batch]):
    """Batches without end; worker w of W draws the scenes first_seed + w, + W, + 2 W, ... and no other does.

    size_px : side of the scenes; scenes : of a batch, `new` of them never used before; prompts : of each scene
    kept : scenes that a worker keeps to be used again; seed : of what is asked, and of how scenes are turned and lit
    """

    size_px: int
    scenes: int
    new: int
    prompts: int
    kept: int
    first_seed: int
    seed: int = 0

    def __iter__(self) -> Iterator[Batch]:
        worker = get_worker_info()
        share, of = (worker.id, worker.num_workers) if worker is not None else (0, 1)
        rng = np.random.default_rng([self.seed, self.first_seed, share])
        seed = self.first_seed + share
        kept: list[Scene] = []
        while True:
            fresh = []
            for _ in range(self.scenes if len(kept) < self.scenes else self.new):
                fresh.append(draw_scene(seed, self.size_px))
                seed += of
            again = rng.permutation(len(kept))[: self.scenes - len(fresh)]
            yield make_batch([*fresh, *(kept[i] for i in again)], self.prompts, rng)
            for scene in fresh:
                if len(kept) < self.kept:
                    kept.append(scene)
                else:
                    kept[int(rng.integers(self.kept))] = scene


def drawn_ahead(lessons: Lessons, workers: int) -> Iterator[Batch]:
    """Return an iterator over the batches of so many worker processes, in turn; 0 draws them in this process.

    The workers end when the iterator is let go, or this process ends.
    """
    loader = DataLoader(
        lessons,
        batch_size=None,
        num_workers=workers,
        prefetch_factor=2 if workers else None,
        multiprocessing_context="spawn" if workers else None,
        worker_init_fn=_step_back,
        pin_memory=torch.cuda.is_available(),
    )
    return iter(loader)


def _step_back(_: int) -> None:
    """Workers give way to the process that trains."""
    os.nice(5)
