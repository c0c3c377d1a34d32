"""A made project of any size for the dashboards: images that are not there, masks that repeat, cycles and a journal.

Everything is written as the package writes it: shards and catalogue by `runs.writing`, truth by `import_truth`, cycles by
`campaigns`; only images and events go into their tables in bulk. No picture lies on the disk, no model is run.
"""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa
from PIL import Image

import workbench as wb
from workbench.masks import rle
from workbench.store import campaigns, journal, records, runs
from workbench.store.catalog import now
from workbench.store.schema import images as image_table
from workbench.store.schema.core import image_roots
from workbench.store.schema.review import review_events, review_images
from workbench.tables.outcomes import Triage
from workbench.tables.proposals import Proposals

SIZE = (384, 512)  # h, w
MODEL = "made-000000000000"
MASKS_AN_IMAGE = 5_900_000 / 180_000
EVENTS_AN_IMAGE = 1_000_000 / 180_000
CYCLES = 5
TEST_IMAGES = 2_000
TRUTH_SHARE = 0.01
_TEMPLATES = 64
_AT_ONCE = 20_000
_GRID = (6, 8)  # places of masks, so that few overlap


def make(folder: Path, images: int, seed: int = 0) -> Path:
    """Write the project into `folder`, or find it there as it was made before; return its path."""
    home, note = folder / "project", folder / "made.json"
    if note.exists() and json.loads(note.read_text("utf-8")) == {"images": images, "seed": seed}:
        return home
    if home.exists():
        raise SystemExit(f"{folder}: another project lies there; name another folder with --keep")
    since, rng = time.monotonic(), np.random.default_rng(seed)
    (folder / "pictures").mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (64, 48)).save(folder / "pictures" / "first.png")
    with wb.Project.create(home, images=str(folder / "pictures"), name="made campaign") as project:
        ids = _images(project, images, rng)
        masks = _proposals(project, rng)
        print(f"proposals after {time.monotonic() - since:.0f} s", flush=True)
        _truth(project, ids[: max(2, round(images * TRUTH_SHARE))])
        _events(project, masks, round(images * EVENTS_AN_IMAGE))
        _cycles(project, ids, rng)
    note.write_text(json.dumps({"images": images, "seed": seed}), "utf-8")
    print(f"made {images:,} images in {time.monotonic() - since:.0f} s", flush=True)
    return home


def _images(project: wb.Project, n: int, rng: np.random.Generator) -> list[str]:
    """Record images by their names alone."""
    roles = rng.choice(["train", "calibration", "test"], n, p=[0.8, 0.1, 0.1]).tolist()
    ids = [hashlib.sha256(f"made {k}".encode()).hexdigest()[:32] for k in range(n)]
    with project.catalog.write() as connection:
        root = connection.execute(sa.select(image_roots.c.id)).scalars().first()
        for start in range(0, n, _AT_ONCE):
            rows = [
                {
                    "image_id": ids[k],
                    "root_id": root,
                    "path": f"site{k % 3}/{k:06d}.png",
                    "domain": f"site{k % 3}",
                    "role": roles[k],
                    "size_bytes": 100_000,
                    "height": SIZE[0],
                    "width": SIZE[1],
                    "reason": "",
                    "message": "",
                }
                for k in range(start, min(n, start + _AT_ONCE))
            ]
            connection.execute(sa.insert(image_table), rows)
    return ids


def _templates(rng: np.random.Generator) -> list[Proposals]:
    """Return the masks that images repeat: ellipses on a grid, so many as an image has on average."""
    found = []
    rows, columns = np.divmod(np.arange(_GRID[0] * _GRID[1]), _GRID[1])
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    for _ in range(_TEMPLATES):
        n = int(np.clip(rng.poisson(MASKS_AN_IMAGE), 4, len(rows)))
        places = rng.permutation(len(rows))[:n]
        masks = np.zeros((n, *SIZE), bool)
        for mask, place in zip(masks, places, strict=True):
            middle = (rows[place] + 0.5) * 64, (columns[place] + 0.5) * 64
            radii = rng.uniform(6, 36, 2)
            mask[:] = ((y - middle[0]) / radii[0]) ** 2 + ((x - middle[1]) / radii[1]) ** 2 <= 1
        rles = rle.encode(masks)
        found.append(
            Proposals.make(
                image_id="template",
                rles=rles,
                boxes_xyxy=rle.to_boxes(rles, SIZE),
                area_px=rle.area(rles, SIZE),
                sizes_hw=SIZE,
                model_id=MODEL,
                predicted_iou=np.float32(0.9),
                solidity=np.float32(0.95),
                contrast=np.float32(2.0),
                roughness=np.float32(0.0),
                hypothesis_spread=np.float32(0.1),
            )
        )
    return found


def _of_image(template: Proposals, image_id: str, rng: np.random.Generator) -> Proposals:
    """Return the masks of a template under other scores."""
    n, quality = len(template), rng.beta(6, 1.5, len(template))
    columns = {name: getattr(template, name) for name in ("rles", "boxes_xyxy", "area_px", "sizes_hw", "model_id")}
    columns |= {name: getattr(template, name) for name in ("solidity", "contrast", "roughness", "hypothesis_spread")}
    return Proposals.make(
        **columns,
        image_id=image_id,
        predicted_iou=np.clip(quality * 0.5 + 0.5, 0.501, 1.02).astype(np.float32),
        stability_score=np.clip(quality * 0.3 + 0.7 + rng.normal(0, 0.02, n), 0, 1).astype(np.float32),
        jitter_stability=np.clip(quality * 0.3 + 0.7 + rng.normal(0, 0.03, n), -1, 1).astype(np.float32),
        jitter_iou=quality.astype(np.float32),
    )


def _proposals(project: wb.Project, rng: np.random.Generator) -> list[tuple[int, list[str]]]:
    """Write a run and a version of its triage; return the keys of images with the ids of their masks, those that are reviewed."""
    config = wb.ProposeConfig()
    run = runs.begin(project.catalog, MODEL, config.digest, config.to_dict(), wb.__version__)
    templates, triage = _templates(rng), project.triage_config()
    outcomes: list[Triage] = []
    masks: list[tuple[int, list[str]]] = []
    files = [file for file in runs.image_files(project.catalog, run.id) if "/" in file.path]
    with runs.writing(project.catalog, project.path, run, runs.Limits(images=512)) as writer:
        for number, file in enumerate(files):
            rows = _of_image(templates[number % len(templates)], str(file.image_id), rng)
            writer.done(file.key, SIZE, rows, len(rows), 0.4)
            outcomes.append(wb.triage(rows, triage))
            if number % 5 < 2:
                masks.append((file.key, rows.mask_id.tolist()))
    whole = Triage(np.concatenate([t.outcome for t in outcomes]), np.concatenate([t.reasons for t in outcomes]), triage)
    counts = whole.counts(), whole.reason_counts()
    version = records.Version(0, run.id, triage.digest, triage.to_dict(), len(files), *counts)
    records.keep_triage(project.catalog, version, "made", "benchmark")
    return masks


def _truth(project: wb.Project, ids: list[str]) -> None:
    """Every second mask of some images is a thing that is there."""
    true = [rows.select(np.flatnonzero(rows.predicted_iou > 0.85)[::2]) for _, rows in project.each(ids)]
    project.import_truth(Proposals.concat(true), images=ids)


def _events(project: wb.Project, masks: list[tuple[int, list[str]]], events: int) -> None:
    """Fill the journal: verdicts on the masks of two images in five, one after the other, and their end."""
    person = journal.add_person(project.catalog, "ann", "annotator")
    rows: list[dict[str, Any]] = []
    complete: list[dict[str, Any]] = []
    blank = {
        "made_mask_id": "", "annotator_id": person.id, "phase": "verdict", "seconds_source": "measured", "bulk": False,
        "cycle": None, "run_id": 1, "triage_id": 1, "purpose": "review", "token": None, "stale": False, "recorded_at": now(),
    }  # fmt: skip
    an_image = events // max(1, len(masks))
    for key, names in masks:
        for k in range(an_image):
            last = k == an_image - 1
            kind, payload = ("complete", {}) if last else ("verdict", {"verdict": "accept" if k % 4 else "reject"})
            own = {"gesture_id": f"{key}-{k}", "image_key": key, "kind": kind, "payload": payload, "elapsed_ms": 900.0}
            rows.append({**blank, **own, "mask_id": "" if last else names[k % len(names)]})
        complete.append(
            {"image_key": key, "status": "complete", "status_sequence": len(rows), "token": 1, "expires_at": 0.0, "kind": ""}
        )  # fmt: skip
    for table, some in ((review_events, rows), (review_images, complete)):
        for start in range(0, len(some), _AT_ONCE):
            with project.catalog.write() as connection:
                connection.execute(sa.insert(table), some[start : start + _AT_ONCE])


def _cycles(project: wb.Project, ids: list[str], rng: np.random.Generator) -> None:
    """Write cycles that are done, each better than the one before."""
    test = min(TEST_IMAGES, len(ids) // 10)
    found = campaigns.begin(project.catalog, "made", {"made": True}, MODEL, ids[:test])
    settings = project.triage_config().to_dict()
    work = {
        "images": 100,
        "manual_per_image": 4.0,
        "total_per_image": 33.0,
        "rejection_rate": 0.1,
        "masks_per_hour": 90.0,
    }
    for number in range(1, CYCLES + 1):
        per = rng.poisson(MASKS_AN_IMAGE, test).astype(float) + 1
        names = ("auto_accept_rate", "recall_auto", "recall_proposals", "fp_rate", "automatic_share")
        counts = {name: [np.floor(per * (0.3 + 0.08 * number)).tolist(), per.tolist()] for name in names}
        value = 0.3 + 0.08 * number
        figure = {"value": value, "low": value - 0.01, "high": value + 0.01, "n": int(per.sum()), "how": "bootstrap"}
        state = {
            "run_id": 1,
            "thresholds": {"settings": settings, "kind": "preset", "labels": 0, "off": []},
            "figures": dict.fromkeys(names, figure),
            "seed_figures": {"auto_accept_rate": figure},
            "counts": counts,
            "confidence": rng.integers(0, 5000, 20).tolist(),
            "test": test,
            "work": work,
        }
        campaigns.add(project.catalog, found.id, number, MODEL, ids[:1], ids[1:2], {})
        cycle = campaigns.of_campaign(project.catalog, found.id)[number - 1]
        campaigns.advance(project.catalog, cycle, "done", MODEL, **state)
