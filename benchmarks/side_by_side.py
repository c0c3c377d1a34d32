"""What working on several images at a time gives: `python -m benchmarks.side_by_side --data ../shared/data/nuclei --json F [--limit 12]`.

`Project.propose` with the bundled SAM and its preset over the same images, with all of torch's threads for one image after
another and with an image a thread; both in turn, in one process, each in a project of its own, after one of each to compile loops.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from benchmarks.figures import Row, write_rows
from benchmarks.measuring import commit, one_set, processor
from workbench.config import ProposeConfig, preset
from workbench.formats import coco
from workbench.project import Project
from workbench.sam.load import load_sam
from workbench.sam.predict import Predictor


def seconds(paths: list[str], at_once: int | None, config: ProposeConfig) -> tuple[float, int]:
    """Return how long proposing took, and how many proposals there are."""
    sam = load_sam("bundled", device="cpu")  # anew: another one's embeddings would be ready
    assert isinstance(sam, Predictor)
    sam.images_at_once = at_once or sam.images_at_once
    with tempfile.TemporaryDirectory() as folder, Project.create(Path(folder) / "p.wb", images=paths) as project:
        since = time.perf_counter()
        summary = project.propose(sam, config, progress=False)
        return time.perf_counter() - since, summary.proposals


def main() -> None:
    """Read the command line, measure, print and write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.side_by_side", description=__doc__)
    parser.add_argument(
        "--data", type=Path, required=True, help="a folder with images/ and instances.json, or one with nuclei/"
    )
    parser.add_argument("--json", type=Path, help="file to write")
    parser.add_argument("--limit", type=int, default=12, help="images, drawn by a seed")
    parser.add_argument("--rounds", type=int, default=3)
    a = parser.parse_args()
    a.data = one_set(a.data)
    names = [entry.file_name for entry in coco.read(a.data / "instances.json").images]
    drawn = np.sort(np.random.default_rng(0).choice(len(names), min(a.limit, len(names)), replace=False))
    paths, config = [str(a.data / "images" / names[int(i)]) for i in drawn], preset("bundled").propose
    ways = {"one by one": 1, "side by side": None}
    for at_once in ways.values():
        seconds(paths[:2], at_once, config)
    took: dict[str, list[float]] = {way: [] for way in ways}
    found = set()
    for i in range(a.rounds):
        for way in sorted(ways, reverse=i % 2 == 1):
            s, proposals = seconds(paths, ways[way], config)
            took[way].append(s)
            found.add((way, proposals))
    print(f"{torch.get_num_threads()} threads, {sorted(found)} proposals")
    ratios = np.array(took["side by side"]) / np.array(took["one by one"])
    ends = (float(ratios.min()), float(ratios.max()))
    rows = [
        Row("images a minute, side by side", 60 * len(paths) / float(np.median(took["side by side"])), "images", None, a.rounds, None, ">="),
        Row("images a minute, one by one", 60 * len(paths) / float(np.median(took["one by one"])), "images", None, a.rounds, None, ">="),
        Row("time, side by side over one by one", float(np.median(ratios)), "1", ends, a.rounds, None, "<="),
    ]  # fmt: skip
    write_rows("side_by_side", commit(), processor(), rows, a.json)


if __name__ == "__main__":
    main()
