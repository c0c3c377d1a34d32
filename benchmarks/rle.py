"""Run lengths beside pycocotools: `python -m benchmarks.rle [--json F] [--rounds N]`.

Encoding, decoding, areas, boxes and the IoU of all pairs, of drawn masks (outlines that waver, with noise) and of noise,
whose runs are short. `workbench.masks.rle` does these with rlemasklib. Encoding from low-resolution logits, as `propose`
does it, stands beside torch's upsampling followed by pycocotools. Answers are compared before anything is timed.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from pycocotools import mask as coco

from benchmarks.amg import SAM_LOW_PX, drawn_logits
from benchmarks.amg import drawn as replay_of
from benchmarks.figures import Row, write_rows
from benchmarks.measuring import commit, paired, processor
from workbench.masks import rle
from workbench.propose.score import measure_low

SIDE_PX = 1024


def drawn_masks(n: int) -> np.ndarray:
    """Return (n, 1024, 1024) bool masks of wavering outlines."""
    low = drawn_logits(n, SAM_LOW_PX, np.random.default_rng(0))
    fine = torch.nn.functional.interpolate(torch.as_tensor(low)[:, None], (SIDE_PX, SIDE_PX), mode="bilinear")
    masks: np.ndarray = fine[:, 0].numpy() > 0
    return masks


def noise_masks(n: int) -> np.ndarray:
    """Return (n, 256, 256) bool masks of which every pixel is drawn by itself."""
    return np.random.default_rng(0).random((n, 256, 256)) < 0.5


def compared(name: str, masks: np.ndarray, rounds: int) -> Iterator[Row]:
    """Yield the figures of one stack of (N, H, W) masks."""
    size_hw = (int(masks.shape[1]), int(masks.shape[2]))
    runs = rle.encode(masks)
    theirs = [{"size": list(size_hw), "counts": run} for run in runs]

    def encode() -> list[bytes]:
        # pycocotools wants (H, W, N) with the columns of each mask together
        return [one["counts"] for one in coco.encode(np.asfortranarray(masks.transpose(1, 2, 0).view(np.uint8)))]

    def boxes() -> np.ndarray:
        xywh = coco.toBbox(theirs)
        return np.hstack([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]])

    ways: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
        "encode": (encode, lambda: rle.encode(masks)),
        "decode": (lambda: coco.decode(theirs).transpose(2, 0, 1), lambda: rle.decode(runs, size_hw)),
        "area": (lambda: coco.area(theirs), lambda: rle.area(runs, size_hw)),
        "box": (boxes, lambda: rle.to_boxes(runs, size_hw)),
        "IoU of all pairs": (
            lambda: coco.iou(theirs, theirs, [0] * len(theirs)),
            lambda: rle.iou_matrix(runs, runs, size_hw),
        ),
    }
    for what, (peer, ours) in ways.items():
        expected, found = peer(), ours()
        same = (
            expected == found if what == "encode" else np.allclose(np.asarray(expected), np.asarray(found), rtol=1e-12)
        )
        if not same:
            raise AssertionError(f"{name}, {what}: another answer than pycocotools'")
        yield from paired(peer, ours, rounds).rows(f"{what}, {len(masks)} masks of {name}: pycocotools")


def from_logits(rounds: int) -> Iterator[Row]:
    """Yield the figures of encoding masks at the size of the image from low-resolution logits."""
    replay = replay_of((SIDE_PX, SIDE_PX))
    logits = replay.logits.flatten(0, 1)[:64]

    def peer() -> list[bytes]:
        fine = replay.predictor.upscale(logits[:, None], replay.embedding)[:, 0] > 0
        masks = np.asfortranarray(fine.numpy().transpose(1, 2, 0).view(np.uint8))
        return [one["counts"] for one in coco.encode(masks)]

    def ours() -> list[bytes]:
        measured = measure_low(replay.predictor, replay.embedding, logits)
        if measured is None:
            raise RuntimeError("masks are enlarged by torch here, so that there is nothing to compare: see the log")
        return measured.rles

    if peer() != ours():
        raise AssertionError("logits: other run lengths than pycocotools'")
    yield from paired(peer, ours, rounds).rows("encode from logits, 64 masks: torch and pycocotools")


def main() -> None:
    """Measure, print, and write the rows where `--json` says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="where to write the rows")
    parser.add_argument("--rounds", type=int, default=10, help="rounds of A B B A for each row")
    parser.add_argument("--masks", type=int, default=64)
    options = parser.parse_args()
    rows = [
        *compared("1024×1024 px, drawn", drawn_masks(options.masks), options.rounds),
        *compared("256×256 px, noise", noise_masks(options.masks), options.rounds),
        *from_logits(options.rounds),
    ]
    write_rows("rle", commit(), processor(), rows, options.json)


if __name__ == "__main__":
    main()
