"""What a second look gives: `python -m benchmarks.refine --data ../shared/data --json F [--limit 20] [--sets nuclei facades]`.

The floors that cycles use, with and without `refine`, the two in turn on each image, jitter left out. Distinct proposals are those after
NMS at these floors; right is matched one to one at IoU 0.75. What thresholds could accept is told by the loosest one of
predicted IoU above which at most 5 % are wrong on these very images, and by the threshold of the preset for each way. Sets as in `benchmarks.bundled_sam`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks.bundled_sam import FIRST_SCENE, SETS, WRONG_IOU, Sample, covered, folder, scenes
from benchmarks.figures import Row, row, write_rows
from benchmarks.measuring import commit, processor
from workbench.calibrate.reliability import auroc
from workbench.config import preset
from workbench.loop.plan import fitting_floors
from workbench.propose.run import propose
from workbench.sam.load import load_sam
from workbench.sam.scenes import draw_scene

WAYS = {"one look": False, "refined": True}
MOST_WRONG = 0.05


@dataclass
class Seen:
    """What one way showed, an array an image: true masks found at 0.5 and 0.75, scores, which are right, seconds."""

    found_50: list[np.ndarray] = field(default_factory=list)
    found_75: list[np.ndarray] = field(default_factory=list)
    score: list[np.ndarray] = field(default_factory=list)
    right: list[np.ndarray] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)


def compare(samples: Iterator[Sample], checkpoint: Path | None) -> dict[str, Seen]:
    """Propose on each image in both ways, and match with its truth."""
    # a model each: one would find the embeddings of the other ready
    sams = {name: load_sam("bundled", checkpoint=checkpoint, device="cpu") for name in WAYS}
    floors = fitting_floors(sams["refined"].model_id).replace(jitter_prompts=0, features=False)
    seen = {name: Seen() for name in WAYS}
    propose(draw_scene(FIRST_SCENE, 256).image, load_sam("bundled"), floors)  # compiles what there is to compile
    for number, sample in enumerate(samples):
        for name in sorted(WAYS, reverse=number % 2 == 1):
            since = time.process_time()
            rows = propose(sample.image, sams[name], floors.replace(refine=WAYS[name]))
            seen[name].seconds.append(time.process_time() - since)
            masks = rows.rles.tolist()
            seen[name].found_50.append(covered(sample.truth, masks, sample.size_hw, 0.5))
            seen[name].found_75.append(covered(sample.truth, masks, sample.size_hw, WRONG_IOU))
            seen[name].right.append(covered(masks, sample.truth, sample.size_hw, WRONG_IOU))
            seen[name].score.append(rows.predicted_iou)
    return seen


def set_rows(name: str, seen: dict[str, Seen]) -> Iterator[Row]:
    """Yield the figures of one set, way by way, and the processor time of both as a ratio."""
    exhaustive, _ = SETS[name]
    for way, found in seen.items():
        lead = f"{name}.{way}"
        yield row(f"{lead}.recall_50", found.found_50)
        yield row(f"{lead}.recall_75", found.found_75)
        counts = [np.array([len(r)]) for r in found.right]
        yield row(f"{lead}.distinct_proposals", counts, None, "<=", "masks/image")
        if exhaustive:
            yield row(f"{lead}.right", found.right)
            score, right = np.concatenate(found.score), np.concatenate(found.right)
            yield Row(f"{lead}.auroc", auroc(score, right), "1", None, len(score), None, ">=")
            kept = accepted(score, right)
            truth = sum(len(f) for f in found.found_75)
            yield Row(f"{lead}.accepted at 5 % wrong", kept.mean(), "1", None, len(score), None, ">=")
            yield Row(f"{lead}.recall_75 at 5 % wrong", right[kept].sum() / max(truth, 1), "1", None, truth, None, ">=")
            threshold = preset("bundled").thresholds(fitting_floors("bundled-").replace(refine=WAYS[way])).predicted_iou
            high = [r[s > np.float32(threshold)] for s, r in zip(found.score, found.right, strict=True)]
            yield row(f"{lead}.wrong above {threshold:g}", [~h for h in high], None, "<=")
            yield Row(
                f"{lead}.recall_75 above {threshold:g}",
                sum(map(np.sum, high)) / max(truth, 1),
                "1",
                None,
                truth,
                None,
                ">=",
            )
    took = [float(np.sum(found.seconds)) for found in seen.values()]
    yield Row(
        f"{name}.processor time, refined over one look",
        took[1] / took[0],
        "1",
        None,
        len(seen["refined"].seconds),
        None,
        "<=",
    )


def accepted(score: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return which masks lie above the loosest threshold that leaves at most 5 % wrong."""
    order = np.argsort(-score, kind="stable")
    wrong = np.cumsum(~right[order]) / np.arange(1, len(order) + 1)
    safe = np.flatnonzero(wrong <= MOST_WRONG)
    kept = np.zeros(len(score), bool)
    kept[order[: safe[-1] + 1 if len(safe) else 0]] = True
    return kept


def main() -> None:
    """Read the command line, measure, print and write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.refine", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with nuclei/ and facades/")
    parser.add_argument("--json", type=Path, help="file to write")
    parser.add_argument("--limit", type=int, default=20, help="images a set, drawn by a seed")
    parser.add_argument("--sets", nargs="+", choices=list(SETS), default=list(SETS))
    parser.add_argument(
        "--checkpoint", type=Path, help="weights of the bundled SAM; those of the package when not given"
    )
    a = parser.parse_args()
    rows: list[Row] = []
    for name in a.sets:
        samples = scenes(a.limit) if name == "scenes" else folder(a.data / name, a.limit)
        rows += set_rows(name, compare(samples, a.checkpoint))
    write_rows("refine", commit(), processor(), rows, a.json)


if __name__ == "__main__":
    main()
