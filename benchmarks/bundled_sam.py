"""How good the bundled SAM is: `python -m benchmarks.bundled_sam --data ../shared/data --json F [--limit N]`.

The whole takes hours on two cores: with `--keep DIR` what each image showed is kept there, and the same command goes on.

Preset `bundled`; distinct proposals are those after NMS at the floors, at most 300 an image; what is accepted is what its
triage accepts, on a quarter of the images, which are proposed on once more as a user does: with moved prompts. Truth is never left out of a denominator. Sets: scenes (unseen seeds), nuclei, facades (recall only: their
truth is not exhaustive); and the official generator on one scene.
"""

from __future__ import annotations

import argparse
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.bundled_rows import Found, recall_rows, score_rows
from benchmarks.figures import Row, row, write_rows
from benchmarks.measuring import commit, processor
from benchmarks.watershed import otsu_watershed
from workbench import images
from workbench.config import ProposeConfig, TriageConfig, preset
from workbench.formats import coco
from workbench.masks import matching, rle
from workbench.propose.grid import crops, points
from workbench.propose.run import propose
from workbench.sam.bundled import IMG_SIZE_PX, WEIGHTS, load_bundled
from workbench.sam.load import load_sam
from workbench.sam.questions import REACH_PX
from workbench.sam.scenes import draw_scene
from workbench.tables.proposals import Proposals
from workbench.triage.rules import triage

MOST_PROPOSALS = 300
WRONG_IOU = 0.75
FIRST_SCENE = 1_500_000_000
SCENES = 200
CENTRES = 24
TRIAGED_ONE_IN = 4
NONE = np.zeros(0, bool)
GENERATOR = "generator"  # the official one, on the bundled SAM


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


def kept(path: Path | None, made: Callable[[], Found]) -> Found:
    """Return what an image showed from a file, or measure it and keep that there."""
    if path is not None and path.is_file():
        with np.load(path, allow_pickle=False) as file:
            values = {name: file[name] for name in file.files}
        return Found(**{name: value.item() if value.ndim == 0 else value for name, value in values.items()})
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


def measure(sample: Sample, segmenter: Any, name: str) -> Found:
    """Propose on one image of a set, by the preset and with all hypotheses, and compare with its truth."""
    exhaustive, _ = SETS[name]
    chosen = preset("bundled")
    size, truth = sample.size_hw, sample.truth
    accepted, right_among, right_among_50, seconds = NONE, NONE, NONE, float("nan")
    if _code(sample) % TRIAGED_ONE_IN == 0:
        began = time.perf_counter()
        by_preset = propose(sample.image, segmenter, chosen.propose)
        seconds = time.perf_counter() - began
        triaged = triage(by_preset, chosen.triage)
        accepted = triaged.auto_accepted[triaged.distinct]
        masks = by_preset.select(triaged.auto_accepted).rles.tolist()
        right_among, right_among_50 = (covered(masks, truth, size, iou) for iou in (WRONG_IOU, 0.5))
    everything = chosen.propose.replace(
        # figures of hypotheses are of all that are no crop's edge; recall is of what lies above the floor
        predicted_iou_floor=-10.0 if exhaustive else chosen.propose.predicted_iou_floor,
        stability_floor=None,
        pool="exact",
        jitter_prompts=0,
        features=False,
    )
    rows = propose(sample.image, segmenter, everything)
    best = distinct(rows, chosen.propose, chosen.triage)
    found = best.rles.tolist()
    hits = {t: covered(truth, found, size, t) for t in np.round(np.arange(0.5, 1.0, 0.05), 2)}
    right = {t: covered(found, truth, size, t) for t in (0.5, WRONG_IOU)}
    overlap = np.zeros((len(rows), 0))
    if truth and exhaustive:
        overlap = rle.iou_matrix(rows.rles.tolist(), truth, size)
    made = Found(
        truth_area=rle.area(truth, size), matched_50=hits[0.5], matched_75=hits[0.75],
        matched_share=np.mean(list(hits.values()), axis=0),
        reachable=within_reach(sample, everything, chosen.triage, REACH_PX),
        pointed_at=within_reach(sample, everything, chosen.triage, 0),
        centre_iou=centre_iou(sample, segmenter),
        hypothesis_score=rows.predicted_iou, hypothesis_right=overlap.max(axis=1, initial=0) >= WRONG_IOU,
        distinct_score=best.predicted_iou, distinct_right=right[WRONG_IOU], distinct_right_50=right[0.5],
        accepted=accepted, accepted_right=right_among, accepted_right_50=right_among_50, seconds=seconds,
    )  # fmt: skip
    if name == "nuclei":
        plain = rle.encode(otsu_watershed(sample.image))
        made.plain_50, made.plain_75 = covered(truth, plain, size, 0.5), covered(truth, plain, size, 0.75)
        made.plain_right_50 = covered(plain, truth, size, 0.5)
    return made


def within_reach(sample: Sample, config: ProposeConfig, limits: TriageConfig, reach_px: float) -> np.ndarray:
    """Return (T,) bool: true masks within the area limits that a point of the grid lies on or within reach of.

    Of an image with more than `MOST_PROPOSALS` of them as many, the largest: no more could be found.

    Parameters
    ----------
    reach_px : how far beside, px of the model's frame, into which each crop is scaled; 0: a point falls on the mask
    """
    from scipy.ndimage import distance_transform_edt

    h, w = sample.size_hw
    near = np.zeros((h, w), bool)
    for crop in crops((h, w), config):
        (x0, y0, x1, y1), own = crop.box_xyxy, np.ones(crop.size_hw, bool)
        x, y = points(crop, config).astype(int).T
        own[np.clip(y, 0, y1 - y0 - 1), np.clip(x, 0, x1 - x0 - 1)] = False
        near[y0:y1, x0:x1] |= distance_transform_edt(own) <= reach_px * max(crop.size_hw) / IMG_SIZE_PX
    area = rle.area(sample.truth, (h, w))
    hit = np.array([rle.decode([m], (h, w))[0][near].any() for m in sample.truth], bool)
    hit &= (area >= limits.min_area_px) & (area <= limits.max_area_share * h * w)
    hit[np.argsort(-np.where(hit, area, -1), kind="stable")[MOST_PROPOSALS:]] = False
    return hit


def _code(sample: Sample) -> int:
    """Return a number of the image's name, by which it is chosen and drawn from in whatever choice of images."""
    return zlib.crc32(sample.name.encode())


def centre_iou(sample: Sample, segmenter: Any) -> np.ndarray:
    """Return the best IoU of three of a point at the innermost pixel of up to 24 true masks."""
    from scipy.ndimage import distance_transform_edt

    n = len(sample.truth)
    if n == 0:
        return np.zeros(0)
    rng = np.random.default_rng(_code(sample))
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
    for sample in samples:
        work = partial(measure, sample, segmenter, name)
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
    rows.append(
        row(f"{name}.seconds", [np.array([f.seconds]) for f in found if np.isfinite(f.seconds)], None, "<=", "s/image")
    )
    if name == "nuclei":
        rows.append(row("nuclei.otsu_watershed.recall_50", [f.plain_50 for f in found]))
        rows.append(row("nuclei.otsu_watershed.recall_75", [f.plain_75 for f in found]))
        plain = [~f.plain_right_50 for f in found]
        rows.append(row("nuclei.otsu_watershed.wrong_among_all_50", plain, None, "<="))
    return rows


def main() -> None:
    """Read the command line, measure, print and write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bundled_sam", description=__doc__)
    parser.add_argument(
        "--data", type=Path, help="folder with nuclei/ and facades/; without it only scenes are measured"
    )
    parser.add_argument("--json", type=Path, help="file to write")
    parser.add_argument("--limit", type=int, help="images a set, drawn by a seed; all when not given")
    parser.add_argument("--sets", nargs="+", choices=[*SETS, GENERATOR], default=[*SETS, GENERATOR])
    parser.add_argument("--keep", type=Path, help="folder for what each image showed; the same command goes on with it")
    parser.add_argument("--look", type=Path, help="folder for scikit-image's photographs with proposals drawn on them")
    a = parser.parse_args()
    if a.limit is not None and a.limit < 1:
        parser.error(f"--limit: expected at least 1 image, got {a.limit}")
    if a.keep is not None and commit().endswith("-dirty"):
        parser.error(
            "--keep: expected code as it was committed: what is kept is found again by the commit; commit first"
        )
    segmenter = load_sam("bundled", device="cpu")
    rows: list[Row] = []
    for name in a.sets:
        if name == GENERATOR:
            seconds = official_seconds()
            rows.append(Row("official_generator.seconds_512px_1024_prompts", seconds, "s", None, 1, 4.0, "<="))
            rows.append(Row("weights.megabytes", WEIGHTS.stat().st_size / 1e6, "MB", None, 1, 16.0, "<="))
        elif name == "scenes":
            rows += set_rows(name, scenes(min(SCENES, a.limit or SCENES)), segmenter, a.keep)
        elif a.data is None or not (a.data / name).is_dir():
            print(f"{name}: left out, --data has no folder of that name")
        else:
            rows += set_rows(name, folder(a.data / name, a.limit), segmenter, a.keep)
    if a.look is not None:
        look(a.look, segmenter)
    write_rows("bundled_sam", commit(), f"{processor()}; {told(segmenter.model_id)}", rows, a.json)


def told(model_id: str) -> str:
    """Return which weights, floors, grid and thresholds the figures are of."""
    p, t = preset("bundled").propose, preset("bundled").triage
    grid = f"{p.points_per_side}² points on the image and on each crop of {p.crop_n_layers} layer"
    floors = f"predicted IoU from {p.predicted_iou_floor:g}, NMS {p.nms_iou:g}, {t.min_area_px} px"
    return (
        f"{model_id}; {grid}, {floors}; accepted above {t.predicted_iou:g} with jitter stability {t.jitter_stability:g}"
    )


if __name__ == "__main__":
    main()
