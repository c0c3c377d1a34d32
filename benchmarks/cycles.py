"""Whether cycles make a model better: `python -m benchmarks.cycles --data ../shared/data/nuclei --json F [--seeds 3]`.

Five cycles of 24 train and 16 calibration images with an oracle, from the bundled SAM, measured on the same 60 test
images by each cycle's model, paired; a smaller set gives a third to the test and the rest in equal batches, two fifths
of each for calibration. The row "first" is the model before any training, "last" the one after the fifth cycle. The seed's fixed
thresholds are applied to the same masks of the same models. Truth that is not exhaustive (facades) gives recall only.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.figures import Row, row, write_rows
from benchmarks.measuring import commit, one_set, processor
from benchmarks.watershed import otsu_watershed
from workbench import images
from workbench.config import ProposeConfig
from workbench.formats import coco
from workbench.loop.measuring import counts_of
from workbench.loop.plan import CycleConfig, first_triage, fitting_floors
from workbench.masks import matching, rle
from workbench.project import Project
from workbench.sam.load import load_sam
from workbench.store import campaigns
from workbench.tables.cycles import CycleTable
from workbench.tables.figures import Interval
from workbench.tables.intervals import difference
from workbench.train.settings import TrainConfig

Found = dict[str, tuple[float, float]]  # true masks that were found, and how many there are, by name of image
CYCLES, TRAIN, CALIBRATION, TEST = 5, 24, 16, 60
NOT_EXHAUSTIVE = ("facades",)
WATERSHED_RECALL = 0.82  # of the whole set, from benchmarks.bundled_sam; measured on the test images too


@dataclass(frozen=True)
class Split:
    """Names of the images by role, and the sizes of a cycle's batches."""

    train: tuple[str, ...]
    calibration: tuple[str, ...]
    test: tuple[str, ...]

    @property
    def batch(self) -> tuple[int, int]:
        """Train and calibration images a cycle."""
        return len(self.train) // CYCLES, len(self.calibration) // CYCLES


def split(names: Sequence[str], seed: int) -> Split:
    """Draw the split of a seed; a set of fewer than 260 images gives a third to the test."""
    order = [names[int(i)] for i in np.random.default_rng(seed).permutation(len(names))]
    train, calibration, test = TRAIN, CALIBRATION, TEST
    if len(order) < CYCLES * (TRAIN + CALIBRATION) + TEST:
        test = len(order) // 3
        batch = (len(order) - test) // CYCLES
        calibration = 2 * batch // 5
        train = batch - calibration
    ends = np.cumsum([test, CYCLES * train, CYCLES * calibration])
    parts = [tuple(order[a:b]) for a, b in zip((0, *ends[:-1]), ends, strict=True)]
    return Split(parts[1], parts[2], parts[0])


def campaign(
    data: Path, names: Split, seed: int, folder: Path, floors: ProposeConfig, train: TrainConfig, device: str
) -> tuple[CycleTable, Found, dict[int, float]]:
    """Run the cycles of a seed in a project of its own; return them, and what `found_last` and `true_masks` say."""
    sam = load_sam("bundled", device=device)
    thresholds = first_triage(None, floors, sam.model_id)
    if not floors.jitter_prompts:  # else nothing would be accepted
        thresholds = thresholds.replace(jitter_stability=None)
    chosen = [data / "images" / name for name in (*names.train, *names.calibration, *names.test)]
    project = (
        Project.open(folder / "p.wb")
        if (folder / "p.wb").exists()
        else Project.create(folder / "p.wb", images=[str(p) for p in chosen], seed=seed)
    )
    with project:
        project.import_coco(data / "instances.json")
        batch, calibration = names.batch
        table = project.run_cycles(
            CYCLES,
            annotator="oracle",
            model=sam,
            held_out=names.test,
            roles={"train": names.train, "calibration": names.calibration},
            config=CycleConfig(
                train=batch, calibration=calibration, seed=seed, exhaustive=data.name not in NOT_EXHAUSTIVE
            ),
            floors=floors,
            triage=thresholds,
            train=train.replace(seed=seed),
        )
        return table, found_last(project), true_masks(project, data)


def found_last(project: Project) -> Found:
    """Return what the distinct proposals of the last model find at IoU 0.5, by name of test image."""
    last = campaigns.find(project.catalog)
    assert last is not None  # its cycles were just run
    counts = counts_of(campaigns.of_campaign(project.catalog, last.id)[-1].state, last.held_out)
    frame = project.images()
    names = {image: Path(path).name for image, path in zip(frame["image_id"], frame["path"], strict=True)}
    rows = zip(counts.images, *counts.figures["recall_proposals"], strict=True)
    return {names[image]: (float(hit or 0), float(per or 0)) for image, hit, per in rows}


def true_masks(project: Project, data: Path) -> dict[int, float]:
    """Return how many true masks a complete image of each cycle's batch has: batches differ, totals alone tell no trend."""
    last = campaigns.find(project.catalog)
    assert last is not None  # its cycles were just run
    read, reviewed = coco.read(data / "instances.json"), project.reviewed()
    true = {entry.file_name: len(read.rows_of(entry)) for entry in read.images}
    complete = reviewed[reviewed["status"] == "complete"]
    paths = zip(complete["image_id"], complete["path"], strict=True)
    counts = {image: true[Path(path).name] for image, path in paths}
    batches = {c.number: (*c.train, *c.calibration) for c in campaigns.of_campaign(project.catalog, last.id)}
    done = {number: [counts[image] for image in batch if image in counts] for number, batch in batches.items()}
    return {number: float(np.mean(some)) for number, some in done.items() if some}


def above(found: Found, other: Found) -> Interval:
    """Return the recall of one method minus that of another, paired over the images of both."""
    both = [name for name in found if name in other]
    sides = [np.array([side[name] for name in both], float).reshape(-1, 2).T for side in (found, other)]
    return difference((sides[0][0], sides[0][1]), (sides[1][0], sides[1][1]), np.random.default_rng(0))


def cycle_rows(lead: str, table: CycleTable, true: dict[int, float]) -> Iterator[Row]:
    """Yield the figures of each cycle, the seed's thresholds beside, the work, and true masks an image of its batch."""
    for found in table.rows:
        name = f"{lead}.cycle{found.cycle}" if not found.closing else f"{lead}.after{found.cycle - 1}"
        for metric, figure in found.figures.items():
            yield of(f"{name}.{metric}", figure)
        for metric, figure in found.seed_figures.items():
            yield of(f"{name}.seed_thresholds.{metric}", figure)
        for metric in ("manual_per_image", "total_per_image", "rejection_rate", "auto_to_manual", "masks_per_hour"):
            if metric in found.work:
                yield Row(
                    f"{name}.work.{metric}", float(found.work[metric]), "1", None, found.work["images"], None, ">="
                )
        if found.cycle in true:
            yield Row(f"{name}.work.true_per_image", true[found.cycle], "masks", None, found.work["images"], None, ">=")
        if (confidence := found.thresholds["confidence"]) is not None:
            yield Row(f"{name}.threshold of confidence", confidence, "1", None, found.thresholds["labels"], None, ">=")
        threshold = found.thresholds["predicted_iou"]
        yield Row(
            f"{name}.threshold ({found.thresholds['kind']})",
            threshold,
            "1",
            None,
            found.thresholds["labels"],
            None,
            ">=",
        )


def of(name: str, figure: Interval, aim: float | None = None, direction: str = ">=") -> Row:
    """Return a figure as a row."""
    known = not np.isnan(figure.low)
    return Row(name, figure.value, "1", (figure.low, figure.high) if known else None, figure.n, aim, direction)


def aim_rows(lead: str, table: CycleTable, found: Found, watershed: dict[str, np.ndarray]) -> Iterator[Row]:
    """Yield the figures that the issue sets aims for."""
    first, last = table.rows[0], table.rows[-1]
    change = last.changes["first"]
    rates = [r.figures["auto_accept_rate"].value for r in table.rows]
    n = last.test
    gain = change["auto_accept_rate"]
    for metric, difference_of in change.items():  # paired over the test images
        yield of(f"{lead}.{metric} last - first", difference_of)
    yield Row(f"{lead}.auto_accept_rate last - first, lower bound", gain.low, "1", None, n, 0.0, ">=")
    steps = np.nan_to_num(np.diff(rates), nan=-1.0)
    yield Row(f"{lead}.auto_accept_rate largest step down", float(max(0.0, -steps.min())), "1", None, n, 0.02, "<=")
    yield of(f"{lead}.auto_accept_rate last", last.figures["auto_accept_rate"], 0.67)
    if "fp_rate" in last.figures:
        yield of(f"{lead}.fp_rate last", last.figures["fp_rate"], 0.05, "<=")
        yield of(f"{lead}.fp_rate_50 last", last.figures["fp_rate_50"], None, "<=")
    if "smooth_ece" in last.figures:
        yield of(f"{lead}.smooth_ece last, after calibration", last.figures["smooth_ece"], 0.05, "<=")
    yield of(f"{lead}.recall_proposals last", last.figures["recall_proposals"], 0.90)
    yield of(f"{lead}.recall_auto last", last.figures["recall_auto"])
    yield row(f"{lead}.otsu_watershed.recall_50", list(watershed.values()))
    plain = {name: (float(hit.sum()), float(len(hit))) for name, hit in watershed.items()}
    gain = above(found, plain)
    yield of(f"{lead}.recall_proposals last - otsu_watershed", gain)
    yield Row(f"{lead}.recall_proposals last - otsu_watershed, lower bound", gain.low, "1", None, gain.n, 0.0, ">=")
    yield Row(f"{lead}.otsu_watershed.recall_50 of the whole set", WATERSHED_RECALL, "1", None, 360, None, ">=")
    by_hand = [r.figures["share_by_hand"].value for r in (first, last)]
    yield Row(f"{lead}.share_by_hand falls by", 1 - by_hand[1] / max(by_hand[0], 1e-9), "1", None, n, 0.45, ">=")
    totals = [r.work["total_per_image"] for r in table.rows if not r.closing]
    yield Row(f"{lead}.total_per_image last - first", totals[-1] - totals[0], "masks", None, n, 0.0, ">=")


def plain_recall(data: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Return which true masks Otsu + watershed finds at IoU 0.5, by image."""
    read, found = coco.read(data / "instances.json"), {}
    for entry in read.images:
        if entry.file_name not in names:
            continue
        pixels, _ = images.read_image(data / "images" / entry.file_name)
        truth = read.masks.rles[read.rows_of(entry)].tolist()
        hit = np.zeros(len(truth), bool)
        hit[matching.match(truth, rle.encode(otsu_watershed(pixels)), entry.size_hw, 0.5)[0]] = True
        found[entry.file_name] = hit
    return found


def main() -> None:
    """Read the command line, run, print and write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cycles", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="a folder with images/ and instances.json")
    parser.add_argument("--json", type=Path, help="file to write")
    parser.add_argument("--seeds", type=int, default=1, help="splits to run")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--limit", type=int, help="images to take of the set; all when not given")
    parser.add_argument("--points", type=int, help="points a side, without crops; the preset's grid when not given")
    parser.add_argument("--jitter", type=int, default=10, help="moved prompts a distinct mask")
    parser.add_argument("--steps", type=int, default=TrainConfig().steps, help="training steps a cycle")
    parser.add_argument("--least-proposed", default=TrainConfig().least_proposed, help="what a new model must propose")
    parser.add_argument("--device", default="cpu", help="of proposing and training: cpu, cuda, cuda:1")
    parser.add_argument("--keep", type=Path, help="folder for the projects; the same command goes on with them")
    a = parser.parse_args()
    a.data = one_set(a.data)
    read = coco.read(a.data / "instances.json")
    names = [entry.file_name for entry in read.images]
    if a.limit is not None and a.limit < len(names):
        names = [names[int(i)] for i in np.sort(np.random.default_rng(0).choice(len(names), a.limit, replace=False))]
    sam_id = load_sam("bundled", device="cpu").model_id
    floors = fitting_floors(sam_id).replace(jitter_prompts=a.jitter)
    if a.points is not None:
        floors = floors.replace(points_per_side=a.points, crop_n_layers=0)
    rows: list[Row] = []
    for seed in range(a.first_seed, a.first_seed + a.seeds):
        lead, parts, since = f"{a.data.name}.seed{seed}", split(names, seed), time.perf_counter()
        print(
            f"{lead}: train {' '.join(parts.train)}\ncalibration {' '.join(parts.calibration)}\ntest {' '.join(parts.test)}"
        )
        with tempfile.TemporaryDirectory() as folder:
            home = (a.keep or Path(folder)) / lead
            home.mkdir(parents=True, exist_ok=True)
            train = TrainConfig(steps=a.steps, least_proposed=a.least_proposed)
            table, found, true = campaign(a.data, parts, seed, home, floors, train, a.device)
        print(*table.lines(), sep="\n")
        rows += [*cycle_rows(lead, table, true), *aim_rows(lead, table, found, plain_recall(a.data, parts.test))]
        rows.append(Row(f"{lead}.minutes", (time.perf_counter() - since) / 60, "min", None, 1, 30.0, "<="))
    write_rows("cycles", commit(), processor(a.device), rows, a.json)


if __name__ == "__main__":
    main()
