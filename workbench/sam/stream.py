"""An endless supply of drawn scenes for training: worker processes draw ahead, a buffer lets each scene be used a few times."""

from __future__ import annotations

import multiprocessing as mp
import os
import threading
from multiprocessing.queues import Queue
from types import TracebackType

import numpy as np

from workbench.sam.scenes import Scene, draw_scene

VALIDATION_SEEDS = 1_000_000_000
"""Seeds from here on are never trained on."""


def end_with_parent() -> None:
    """Let this process end when the one that started it is gone, however that ended."""
    parent = mp.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def keep_drawing(queue: Queue[Scene], first_seed: int, stride: int, size_px: int) -> None:
    """Draw scenes `first_seed`, `first_seed + stride`, ... into a bounded queue, for ever, at low priority."""
    os.nice(5)
    end_with_parent()
    seed = first_seed
    while True:
        queue.put(draw_scene(seed, size_px))
        seed += stride


class SceneStream:
    """Scenes of one size from consecutive seeds, some used again; the same order on every run.

    Parameters
    ----------
    size_px : side of the scenes
    first_seed : the first seed that is drawn
    workers : processes that draw ahead; 0 draws in this one
    kept : scenes that are kept to be used again
    """

    def __init__(self, size_px: int, first_seed: int, workers: int, kept: int) -> None:
        self.size_px, self.next_seed, self.kept = size_px, first_seed, kept
        self.buffer: list[Scene] = []
        self.drawn = 0
        context = mp.get_context("spawn")
        self.queues: list[Queue[Scene]] = [context.Queue(maxsize=24) for _ in range(workers)]
        self.workers = [
            context.Process(target=keep_drawing, args=(queue, first_seed + i, workers, size_px), daemon=True)
            for i, queue in enumerate(self.queues)
        ]
        for worker in self.workers:
            worker.start()

    def __enter__(self) -> SceneStream:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for worker in self.workers:
            worker.terminate()
            worker.join()

    def fresh(self) -> Scene:
        """Return the next scene, waiting for it when the workers are behind."""
        if self.queues:
            scene = self.queues[self.drawn % len(self.queues)].get(timeout=300)
        else:
            scene = draw_scene(self.next_seed, self.size_px)
            self.next_seed += 1
        self.drawn += 1
        return scene

    def batch(self, rng: np.random.Generator, count: int, new: int) -> list[Scene]:
        """Return `count` scenes, `new` of them never seen before, the others from the buffer."""
        arrived = [self.fresh() for _ in range(count if len(self.buffer) < count else new)]
        again = (
            [self.buffer[i] for i in rng.choice(len(self.buffer), count - len(arrived), replace=False)]
            if self.buffer
            else []
        )
        for scene in arrived:
            if len(self.buffer) < self.kept:
                self.buffer.append(scene)
            else:
                self.buffer[int(rng.integers(self.kept))] = scene
        return (arrived + again)[:count]
