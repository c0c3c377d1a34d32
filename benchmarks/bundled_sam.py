"""How good the bundled SAM is: `python -m benchmarks.bundled_sam --data ../shared/data --json F [--limit N]`.

The whole takes hours on two cores: with `--keep DIR` what each image showed is kept there, and the same command goes on.

Preset `bundled`; distinct proposals are those after NMS at the floors, at most 300 an image. Truth is never left out of
a denominator. Sets: scenes (unseen seeds), nuclei, facades (recall only: their truth is not exhaustive).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.figures import Row, row, write_rows
from benchmarks.measuring import commit, processor
from benchmarks.watershed import otsu_watershed
from workbench import images
from workbench.calibrate.reliability import auroc
from workbench.config import ProposeConfig, TriageConfig, preset
from workbench.formats import coco
from workbench.masks import matching, rle
from workbench.propose.grid import crops, points
from workbench.propose.run import propose
from workbench.sam.bundled import WEIGHTS, load_bundled
from workbench.sam.load import load_sam
from workbench.sam.scenes import draw_scene
from workbench.tables.proposals import Proposals
from workbench.triage.rules import triage

MOST_PROPOSALS = 300
WRONG_IOU = 0.75
FIRST_SCENE = 1_500_000_000
SCENES = 200
CENTRES = 24


@dataclass(frozen=True)
class Sample:
    """One image, (H, W, 3) uint8, and the run lengths of its truth."""

    name: str
    image: np.ndarray
    truth: list[bytes]

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width of the image."""
        return int(self.image.shape[0]), int(self.image.shape[1])


@dataclass
class Found:
    """What one image showed; arrays are over its truth, its hypotheses or its distinct proposals.

    matched_50, matched_75 : (T,) bool, true masks that a distinct proposal meets, one to one
    average_recall : mean share matched over IoU 0.5, 0.55 ... 0.95
    possible : (T,) bool, what grid and area limits allow
    hypothesis_right : best IoU with any true mask at least 0.75; distinct_right : matched one to one at 0.75
    """

    truth_area: np.ndarray
    matched_50: np.ndarray
    matched_75: np.ndarray
    average_recall: float
    possible: np.ndarray
    centre_iou: np.ndarray
    hypothesis_score: np.ndarray
    hypothesis_right: np.ndarray
    distinct_score: np.ndarray
    distinct_right: np.ndarray
    distinct_right_50: np.ndarray
    seconds: float
    plain_50: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))
    plain_75: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))
    plain_wrong: tuple[int, int] = (0, 0)


def kept(path: Path | None, made: Callable[[], Found]) -> Found:
    """Return what an image showed from a file, or measure it and keep that there."""
    if path is not None and path.is_file():
        with np.load(path, allow_pickle=False) as file:
            values = {name: file[name] for name in file.files}
        plain = {name: value.item() if value.ndim == 0 else value for name, value in values.items()}
        return Found(**{**plain, "plain_wrong": tuple(values["plain_wrong"].tolist())})
    found = made()
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(".part")
        with draft.open("wb") as file:
            np.savez(file, **{part.name: np.asarray(getattr(found, part.name)) for part in fields(found)})
        draft.replace(path)
    return found


def scenes(count: int) -> Iterator[Sample]:
    """Draw scenes that were neither trained nor chosen on."""
    for i in range(count):
        scene = draw_scene(FIRST_SCENE + i)
        yield Sample(f"{scene.kind}-{i}", scene.image, rle.encode(scene.masks))


def folder(path: Path, count: int | None, seed: int = 0) -> Iterator[Sample]:
    """Read images and truth of a COCO folder; with `count`, that many drawn by a seed."""
    read = coco.read(path / "instances.json")
    chosen = np.arange(len(read.images))
    if count is not None and count < len(chosen):
        chosen = np.sort(np.random.default_rng(seed).choice(chosen, count, replace=False))
    for i in chosen:
        entry = read.images[int(i)]
        pixels, _ = images.read_image(path / "images" / entry.file_name)
        yield Sample(entry.file_name, pixels, read.masks.rles[read.rows_of(entry)].tolist())


def distinct(rows: Proposals, config: ProposeConfig, limits: TriageConfig) -> Proposals:
    """Return the proposals above the floor and within the area limits that survive NMS, best first, at most 300."""
    plain = TriageConfig(
        pool="exact", predicted_iou=config.predicted_iou_floor, predicted_iou_margin=0, jitter_stability=None, nms_iou=config.nms_iou,
        min_area_px=limits.min_area_px, max_area_share=limits.max_area_share, overlap=None, unusual_size_z=None,
    )  # fmt: skip
    found = triage(rows, plain)
    rows = rows.select(found.auto_accepted | found.flagged)
    return rows.select(np.argsort(-rows.predicted_iou, kind="stable")[:MOST_PROPOSALS])


def covered(truth: list[bytes], found: list[bytes], size: tuple[int, int], iou: float) -> np.ndarray:
    """Return (T,) bool: which true masks are matched one to one at an IoU."""
    hit = np.zeros(len(truth), bool)
    hit[matching.match(truth, found, size, iou)[0]] = True
    return hit


def measure(sample: Sample, segmenter: Any, name: str, rng: np.random.Generator) -> Found:
    """Propose on one image of a set and compare with its truth."""
    exhaustive, _ = SETS[name]
    chosen = preset("bundled")
    everything = chosen.propose.replace(
        # figures of hypotheses are of all; recall is of what lies above the floor
        predicted_iou_floor=-10.0 if exhaustive else chosen.propose.predicted_iou_floor,
        stability_floor=None,
        pool="exact",
        jitter_prompts=0,
        features=False,
    )
    size, truth = sample.size_hw, sample.truth
    began = time.perf_counter()
    rows = propose(sample.image, segmenter, everything)
    seconds = time.perf_counter() - began
    best = distinct(rows, chosen.propose, chosen.triage)
    found = best.rles.tolist()
    hits = {t: covered(truth, found, size, t) for t in np.round(np.arange(0.5, 1.0, 0.05), 2)}
    right = {t: covered(found, truth, size, t) for t in (0.5, WRONG_IOU)}
    overlap = np.zeros((len(rows), 0))
    if truth and exhaustive:
        overlap = rle.iou_matrix(rows.rles.tolist(), truth, size)
    made = Found(
        truth_area=rle.area(truth, size), matched_50=hits[0.5], matched_75=hits[0.75],
        average_recall=float(np.mean([h.mean() for h in hits.values()])) if truth else float("nan"),
        possible=within_reach(sample, everything, chosen.triage),
        centre_iou=centre_iou(sample, segmenter, rng),
        hypothesis_score=rows.predicted_iou, hypothesis_right=overlap.max(axis=1, initial=0) >= WRONG_IOU,
        distinct_score=best.predicted_iou, distinct_right=right[WRONG_IOU], distinct_right_50=right[0.5], seconds=seconds,
    )  # fmt: skip
    if name == "nuclei":
        plain = rle.encode(otsu_watershed(sample.image))
        made.plain_50, made.plain_75 = covered(truth, plain, size, 0.5), covered(truth, plain, size, 0.75)
        made.plain_wrong = int((~covered(plain, truth, size, 0.5)).sum()), len(plain)
    return made


def within_reach(sample: Sample, config: ProposeConfig, limits: TriageConfig) -> np.ndarray:
    """Return (T,) bool: true masks within the area limits that at least one point of the grid falls on."""
    h, w = sample.size_hw
    grid = np.concatenate([points(crop, config) + np.array(crop.box_xyxy[:2]) for crop in crops((h, w), config)])
    x = np.clip(grid[:, 0].astype(int), 0, w - 1)
    y = np.clip(grid[:, 1].astype(int), 0, h - 1)
    area = rle.area(sample.truth, (h, w))
    hit = np.array([rle.decode([m], (h, w))[0][y, x].any() for m in sample.truth], bool)
    return hit & (area >= limits.min_area_px) & (area <= limits.max_area_share * h * w)


def centre_iou(sample: Sample, segmenter: Any, rng: np.random.Generator) -> np.ndarray:
    """Return the best IoU of three of a point at the innermost pixel of up to 24 true masks."""
    from scipy.ndimage import distance_transform_edt

    n = len(sample.truth)
    if n == 0:
        return np.zeros(0)
    chosen = rng.choice(n, min(n, CENTRES), replace=False)
    masks = rle.decode([sample.truth[i] for i in chosen], sample.size_hw)
    at = [np.unravel_index(int(np.argmax(distance_transform_edt(np.pad(m, 1))[1:-1, 1:-1])), m.shape) for m in masks]
    xy = np.array([[[x + 0.5, y + 0.5]] for y, x in at])
    with torch.inference_mode():
        embedding = segmenter.embed(sample.image)
        logits, _ = segmenter.decode(embedding, xy, np.ones(xy.shape[:2]), multimask=True)
        answers = (segmenter.upscale(logits, embedding) > segmenter.mask_threshold).numpy()
    inter = (answers & masks[:, None]).sum(axis=(2, 3))
    union = (answers | masks[:, None]).sum(axis=(2, 3))
    return np.asarray((inter / np.maximum(union, 1)).max(axis=1))


def recall_rows(name: str, found: list[Found], aims: dict[str, float]) -> list[Row]:
    """Return rows of recall, by size too, of what is possible at most, and of the point at the centre."""
    rows = [
        row(f"{name}.recall_50", [f.matched_50 for f in found], aims.get("recall_50")),
        row(f"{name}.recall_75", [f.matched_75 for f in found], aims.get("recall_75")),
        row(f"{name}.ar_300", [np.array([f.average_recall]) for f in found if len(f.truth_area)]),
        row(f"{name}.ceiling", [f.possible for f in found]),
        row(f"{name}.centre_point_best_iou", [f.centre_iou for f in found]),
    ]
    areas = np.concatenate([f.truth_area for f in found])
    edges = np.quantile(areas, [0, 0.25, 0.5, 0.75, 1]) if len(areas) else np.zeros(5)
    for q in range(4):
        last = q == 3
        parts = [
            f.matched_50[
                (f.truth_area >= edges[q]) & ((f.truth_area <= edges[4]) if last else (f.truth_area < edges[q + 1]))
            ]
            for f in found
        ]
        rows.append(row(f"{name}.recall_50.size_{q + 1}_of_4_from_{int(edges[q])}_px", parts))
    return rows


def score_rows(name: str, found: list[Found], aims: dict[str, float]) -> list[Row]:
    """Return rows of predicted IoU: how it ranks, how far from the truth it is, how many it lifts over 0.88."""
    rows = []
    for kind in ("hypothesis", "distinct"):
        score = np.concatenate([getattr(f, f"{kind}_score") for f in found])
        right = np.concatenate([getattr(f, f"{kind}_right") for f in found])
        rows.append(
            Row(f"{name}.auroc.{kind}", auroc(score, right), "1", None, len(score), aims.get(f"auroc_{kind}"), ">=")
        )
        rows.append(Row(f"{name}.ece.{kind}", ece(score, right), "1", None, len(score), None, "<="))
    high = [f.distinct_right[f.distinct_score > 0.88] for f in found]
    rows.append(
        row(f"{name}.right_above_0.88", [f.distinct_score[f.distinct_right] > 0.88 for f in found], aims.get("high"))
    )
    rows.append(row(f"{name}.wrong_among_above_0.88", [~h for h in high], aims.get("high_wrong"), "<="))
    rows.append(row(f"{name}.fp_rate", [~f.distinct_right for f in found], None, "<="))
    rows.append(row(f"{name}.fp_rate_50", [~f.distinct_right_50 for f in found], None, "<="))
    return rows


def ece(score: np.ndarray, right: np.ndarray, bins: int = 15) -> float:
    """Return the expected calibration error over equal-mass bins, the score clipped to [0, 1] as a probability."""
    if len(score) == 0:
        return float("nan")
    order = np.argsort(score, kind="stable")
    parts = np.array_split(order, min(bins, len(order)))
    return float(sum(len(p) * abs(np.clip(score[p], 0, 1).mean() - right[p].mean()) for p in parts) / len(score))


def official_seconds(repeats: int = 2) -> float:
    """Return the least time of the official generator on a 512×512 scene with 1,024 prompts."""
    from segment_anything import SamAutomaticMaskGenerator

    image = draw_scene(FIRST_SCENE + SCENES, kind="cluttered").image
    generator = SamAutomaticMaskGenerator(load_bundled(), points_per_side=32)
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        generator.generate(image)
        times.append(time.perf_counter() - began)
    return min(times)


def look(folder: Path, segmenter: Any) -> None:
    """Write scikit-image's photographs with the outlines of the distinct proposals on them, to look at."""
    from PIL import Image
    from skimage import data
    from skimage.segmentation import mark_boundaries

    folder.mkdir(parents=True, exist_ok=True)
    chosen = preset("bundled")
    for name in ("coins", "camera", "astronaut", "coffee", "chelsea", "rocket", "cell", "immunohistochemistry"):
        photo = np.asarray(getattr(data, name)())
        photo = np.stack([photo] * 3, axis=-1) if photo.ndim == 2 else photo[..., :3]
        rows = propose(
            np.ascontiguousarray(photo),
            segmenter,
            chosen.propose.replace(jitter_prompts=0, features=False, pool="exact"),
        )
        best = distinct(rows, chosen.propose, chosen.triage)
        shown = photo / 255.0
        for mask in rle.decode(best.rles.tolist(), photo.shape[:2]):
            shown = mark_boundaries(shown, mask.astype(int), color=(1, 0.2, 0), mode="inner")
        Image.fromarray((shown * 255).astype(np.uint8)).save(folder / f"{name}.png")


# whether truth leaves nothing out, and aims
SETS: dict[str, tuple[bool, dict[str, float]]] = {
    "scenes": (True, {"recall_50": 0.80}),
    "nuclei": (
        True,
        {
            "recall_50": 0.90,
            "recall_75": 0.70,
            "auroc_hypothesis": 0.90,
            "auroc_distinct": 0.80,
            "high": 0.5,
            "high_wrong": 0.05,
        },
    ),
    "facades": (False, {"recall_50": 0.30}),
}


def set_rows(name: str, samples: Iterator[Sample], segmenter: Any, keep: Path | None = None) -> list[Row]:
    """Return all rows of one set; what each image showed is kept in a folder by weights and settings, or read there."""
    exhaustive, aims = SETS[name]
    fits = preset("bundled")
    home = keep and keep / f"{segmenter.model_id}-{fits.propose.digest}-{fits.triage.digest}-{commit()[:12]}" / name
    found = []
    for i, sample in enumerate(samples):
        work = partial(measure, sample, segmenter, name, np.random.default_rng([0, i]))
        found.append(kept(home and home / f"{sample.name}.npz", work))
    rows = recall_rows(name, found, aims)
    if exhaustive:
        rows += score_rows(name, found, aims)
    rows.append(
        row(f"{name}.images_without_proposal", [np.array([len(f.distinct_score) == 0]) for f in found], None, "<=")
    )
    rows.append(
        row(f"{name}.distinct_proposals", [np.array([len(f.distinct_score)]) for f in found], None, "<=", "masks/image")
    )
    rows.append(row(f"{name}.seconds", [np.array([f.seconds]) for f in found], None, "<=", "s/image"))
    if name == "nuclei":
        rows.append(row("nuclei.otsu_watershed.recall_50", [f.plain_50 for f in found]))
        rows.append(row("nuclei.otsu_watershed.recall_75", [f.plain_75 for f in found]))
        wrong, made = np.sum([f.plain_wrong for f in found], axis=0)
        rows.append(
            Row("nuclei.otsu_watershed.fp_rate_50", float(wrong / max(made, 1)), "1", None, int(made), None, "<=")
        )
    return rows


def main() -> None:
    """Read the command line, measure, print and write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bundled_sam", description=__doc__)
    parser.add_argument(
        "--data", type=Path, help="folder with nuclei/ and facades/; without it only scenes are measured"
    )
    parser.add_argument("--json", type=Path, help="file to write")
    parser.add_argument("--limit", type=int, help="images a set, drawn by a seed; all when not given")
    parser.add_argument("--sets", nargs="+", choices=list(SETS), default=list(SETS))
    parser.add_argument("--keep", type=Path, help="folder for what each image showed; the same command goes on with it")
    parser.add_argument("--look", type=Path, help="folder for scikit-image's photographs with proposals drawn on them")
    a = parser.parse_args()
    segmenter = load_sam("bundled", device="cpu")
    rows: list[Row] = []
    for name in a.sets:
        if name == "scenes":
            rows += set_rows(name, scenes(min(SCENES, a.limit or SCENES)), segmenter, a.keep)
        elif a.data is None or not (a.data / name).is_dir():
            print(f"{name}: left out, --data has no folder of that name")
        else:
            rows += set_rows(name, folder(a.data / name, a.limit), segmenter, a.keep)
    rows.append(Row("official_generator.seconds_512px_1024_prompts", official_seconds(), "s", None, 1, 4.0, "<="))
    rows.append(Row("weights.megabytes", WEIGHTS.stat().st_size / 1e6, "MB", None, 1, 16.0, "<="))
    if a.look is not None:
        look(a.look, segmenter)
    write_rows("bundled_sam", commit(), processor(), rows, a.json)


if __name__ == "__main__":
    main()
