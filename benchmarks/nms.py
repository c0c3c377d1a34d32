"""Greedy NMS on boxes beside torchvision's: `python -m benchmarks.nms --data ../shared/data --json F`.

The same rows in the same order are asked of both in the same run, or it ends. Boxes of real images (proposals of the
bundled SAM, or true boxes moved), as one image each, and many images' boxes thrown on one image of 4,096 px.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torchvision.ops import nms

from benchmarks import pool_rows
from benchmarks.figures import Row, write_rows
from benchmarks.measuring import commit, paired, processor
from workbench.masks.boxes import to_inclusive
from workbench.masks.nms import nms_boxes

THRESHOLD = 0.7
CROWDS = (1_000, 10_000, 100_000)  # boxes on one image
CROWD_PX = 4096
SLOW_ABOVE = 20_000  # torchvision compares all pairs: fewer rounds


def main(given: Sequence[str] | None = None) -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with nuclei/ and facades/")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    parser.add_argument(
        "--source", choices=("sam", "truth"), default="sam", help="the bundled SAM, or true boxes moved"
    )
    parser.add_argument("--images", type=int, default=20, help="images of each set")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--most", type=int, default=max(CROWDS), help="largest crowd, for small runs")
    a = parser.parse_args(given)
    images = (pool_rows.of_sam if a.source == "sam" else pool_rows.of_truth)(a.data, a.images)
    if not images:
        raise SystemExit(f"no proposals from source {a.source!r}: nothing above the floor; try --source truth")
    rows = beside(f"{len(images)} images", [(p.boxes_xyxy, p.predicted_iou) for p in images], a.rounds)
    for n in CROWDS:
        if n <= a.most:
            rounds = a.rounds if n <= SLOW_ABOVE else 2
            rows += beside(f"{n:,} boxes of one image", [crowd([p.boxes_xyxy for p in images], n)], rounds)
    write_rows("nms", commit(), f"{processor()}; boxes from {a.source}", rows, a.json)


def crowd(boxes: list[np.ndarray], n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return n boxes with the sides of `boxes` around centres that ten share, and scores; (n, 4) int32, (n,) float32."""
    rng = np.random.default_rng(seed)
    given = np.concatenate(boxes)
    sides = (given[:, 2:] - given[:, :2])[rng.integers(0, len(given), -(-n // 10))]
    sides = np.repeat(sides, 10, axis=0)[:n] * np.exp(rng.normal(0, 0.1, (n, 2)))
    centres = np.repeat(rng.uniform(0, CROWD_PX, (-(-n // 10), 2)), 10, axis=0)[:n] + sides * rng.normal(
        0, 0.05, (n, 2)
    )
    low = np.clip(centres - sides / 2, 0, CROWD_PX - 1).astype(np.int32)
    high = np.clip(centres + sides / 2, low + 1, CROWD_PX).astype(np.int32)
    return np.hstack([low, high]), rng.random(n).astype(np.float32)


def beside(name: str, crowds: list[tuple[np.ndarray, np.ndarray]], rounds: int) -> list[Row]:
    """Time both on the same boxes and scores, once their answers were found equal."""
    tensors = [(torch.from_numpy(to_inclusive(b).astype(np.float32)), torch.from_numpy(s)) for b, s in crowds]

    def peer() -> list[np.ndarray]:
        return [nms(boxes, scores, THRESHOLD).numpy() for boxes, scores in tensors]

    def ours() -> list[np.ndarray]:
        return [nms_boxes(boxes, scores, THRESHOLD) for boxes, scores in crowds]

    for expected, found in zip(peer(), ours(), strict=True):
        if not np.array_equal(expected, found):
            raise AssertionError(f"{name}: other rows than torchvision's, {len(found)} against {len(expected)}")
    return paired(peer, ours, rounds).rows(f"{name}: torchvision")


if __name__ == "__main__":
    main()
