"""Projects made in a moment: noise for pictures, rectangles for masks, scores from a generator; no model is run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from made_once import made_once
from PIL import Image

import workbench as wb
from workbench.masks import rle
from workbench.store import runs
from workbench.tables.events import ReviewEvent
from workbench.tables.proposals import Proposals

SIZE = (48, 64)  # h, w
MODEL = "made-000000000000"


def write_pictures(folder: Path, n: int, seed: int = 0) -> Path:
    """Write n pictures of noise."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    for k in range(n):
        pixels = rng.integers(0, 255, (SIZE[0] // 8, SIZE[1] // 8, 3), dtype=np.uint8)
        Image.fromarray(np.kron(pixels, np.ones((8, 8, 1), np.uint8))).save(folder / f"picture-{k:04d}.png")
    return folder


def made_rows(rng: np.random.Generator, image_id: str, n: int) -> Proposals:
    """Rows of one image: rectangles, the better scored half right on a grid of true ones."""
    h, w = SIZE
    x0, y0 = rng.integers(0, w - 12, n), rng.integers(0, h - 12, n)
    boxes = np.stack([x0, y0, x0 + rng.integers(6, 13, n), y0 + rng.integers(6, 13, n)], axis=1).astype(np.int32)
    masks = np.zeros((n, h, w), dtype=bool)
    for mask, (a, b, c, d) in zip(masks, boxes, strict=True):
        mask[b:d, a:c] = True
    quality = rng.beta(6, 1.5, n)
    return Proposals.make(
        image_id=image_id,
        rles=rle.encode(masks) if n else [],
        boxes_xyxy=boxes,
        area_px=masks.sum(axis=(1, 2)),
        sizes_hw=SIZE,
        predicted_iou=np.clip(quality * 0.5 + 0.5, 0.501, 1.02).astype(np.float32),
        stability_score=np.clip(quality * 0.3 + 0.7 + rng.normal(0, 0.02, n), 0, 1).astype(np.float32),
        jitter_stability=np.clip(quality * 0.3 + 0.7 + rng.normal(0, 0.03, n), -1, 1).astype(np.float32),
        jitter_iou=quality.astype(np.float32),
        solidity=np.float32(1.0),
        contrast=np.float32(2.0),
        roughness=np.float32(0.0),
        hypothesis_spread=np.float32(0.1),
        model_id=MODEL,
    )


def made_project(
    folder: Path,
    images: int = 4,
    rows: int = 40,
    seed: int = 0,
    truth: bool = True,
    triaged: bool = True,
    name: str = "",
) -> wb.Project:
    """Return a project with proposals and, where asked, true masks on every second image."""
    return made_once(folder, "project", _made_project, images, rows, seed, truth, triaged, name)


def _made_project(folder: Path, images: int, rows: int, seed: int, truth: bool, triaged: bool, name: str) -> wb.Project:
    pictures = write_pictures(folder / "pictures", images, seed)
    project = wb.Project.create(folder / "project", images=str(pictures), name=name or None)
    fill(project, rows, seed, truth)
    if triaged:
        project.triage(wb.TriageConfig(min_area_px=30), note="first", author="tests")
    return project


def fill(project: wb.Project, rows: int, seed: int = 0, truth: bool = True, model: str = MODEL) -> None:
    """Write the proposals of a run, and true masks on every second image where asked for and where there are none."""
    rng = np.random.default_rng(seed + 1)
    config = wb.ProposeConfig()
    run = runs.begin(project.catalog, model, config.digest, config.to_dict(), wb.__version__)
    files = runs.image_files(project.catalog, run.id)
    with runs.writing(project.catalog, project.path, run) as writer:
        for file in files:
            found = made_rows(rng, str(file.image_id), rows)
            writer.done(file.key, SIZE, found, len(found), 0.25)
    if truth and project.images()["truth"].isna().all():
        ids = [str(file.image_id) for file in files[::2]]
        true = [_true(project.proposals(image_id)) for image_id in ids]
        project.import_truth(Proposals.concat(true), images=ids)


def _true(rows: Proposals) -> Proposals:
    """Every second row that scores well is a thing that is there."""
    return rows.select(np.flatnonzero(rows.predicted_iou > 0.85)[::2])


def review(project: wb.Project, images: int, annotator: str = "ann", auditor: str = "sue") -> None:
    """Review the first images: flagged masks by turns accepted and rejected, one drawn; then a blind audit of some."""
    for name, role in ((annotator, "annotator"), (auditor, "senior")):
        project.add_annotator(name, role=role)
    for number, image_id in enumerate(project.images()["image_id"].tolist()[:images]):
        seen = project.image_review(image_id)
        flagged = seen.masks.mask_id[seen.outcome == 1].tolist()
        answers = [(m, "accept" if k % 2 else "reject") for k, m in enumerate(flagged)]
        own = {"image_id": image_id, "annotator": annotator, "elapsed_ms": 1500.0}
        events = [
            ReviewEvent(f"{number}-{k}", kind="verdict", mask_id=m, payload={"verdict": v}, **own)
            for k, (m, v) in enumerate(answers)
        ]
        mask = np.zeros((1, *SIZE), bool)
        mask[0, :9, :9] = True
        drawn = {"rle": rle.encode(mask)[0].decode("ascii"), "size_hw": list(SIZE), "tool": "polygon", "prompts": {}}
        events += [ReviewEvent(f"{number}-draw", kind="draw", payload=drawn, **own)]
        project.record([*events, ReviewEvent(f"{number}-end", kind="complete", **own)])
    project.draw_audit(seed=0)
    queue = project.queue()
    for turn, image_id in enumerate(project.images()["image_id"].tolist()[: min(2, images)]):
        claim = queue.claim(auditor, image=image_id)
        for k, mask_id in enumerate(project.audit_review(image_id, auditor).masks.mask_id.tolist()):
            answer = {"verdict": "reject" if k % 4 == 0 else "accept"}
            name = f"audit-{turn}-{k}"
            event = ReviewEvent(name, image_id, "verdict", mask_id, answer, auditor, elapsed_ms=900.0, purpose="audit")
            project.record([event], claim)
        queue.release(claim)


def two_domains(folder: Path, images: int = 120) -> wb.Project:
    """A project whose calibration images lie in two folders."""
    return made_once(folder, "project", _two_domains, images)


def _two_domains(folder: Path, images: int) -> wb.Project:
    pictures = write_pictures(folder / "pictures", images, 3)
    for number, file in enumerate(sorted(pictures.iterdir())):
        place = pictures / ("left" if number % 2 else "right")
        place.mkdir(exist_ok=True)
        file.rename(place / file.name)
    project = wb.Project.create(folder / "project", images=str(pictures))
    fill(project, rows=20)
    return project
