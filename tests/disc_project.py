"""A project of small images with discs and their truth, for the tests of the loop."""

from __future__ import annotations

import numpy as np
from made_once import made_once
from PIL import Image

from workbench.masks import rle
from workbench.project import Project
from workbench.tables.events import ReviewEvent
from workbench.tables.proposals import Proposals

SIZE_HW = (64, 80)


def disc_masks(seed: int, count: int = 3) -> np.ndarray:
    """Return (count, 64, 80) bool discs that do not touch."""
    rng = np.random.default_rng(seed)
    yy, xx = np.mgrid[: SIZE_HW[0], : SIZE_HW[1]]
    masks = np.zeros((count, *SIZE_HW), bool)
    for k, mask in enumerate(masks):
        y, x, r = rng.integers(16, 48), 14 + 26 * k, rng.integers(7, 11)
        mask |= (yy - y) ** 2 + (xx - x) ** 2 < r**2
    return masks


def truth_of(name: str, seed: int, count: int = 3) -> Proposals:
    """Return the true masks of an image."""
    rles = rle.encode(disc_masks(seed, count))
    columns = {"boxes_xyxy": rle.to_boxes(rles, SIZE_HW), "area_px": rle.area(rles, SIZE_HW)}
    return Proposals.make(image_id=name, rles=rles, sizes_hw=SIZE_HW, source="manual", **columns)


def disc_project(folder, images: int = 6, roles=(1.0, 0.0, 0.0), empty: int = 0) -> Project:
    """Make a project of images of three discs with truth, the first `empty` of them without any."""
    return made_once(folder, "p.wb", _make, images, tuple(roles), empty)


def _make(folder, images: int, roles: tuple[float, float, float], empty: int) -> Project:
    (folder / "images").mkdir(parents=True)
    truth = []
    for i in range(images):
        pixels = np.random.default_rng(i).integers(20, 40, (*SIZE_HW, 3), dtype=np.uint8)
        masks = disc_masks(i, 0 if i < empty else 3)
        pixels[masks.any(axis=0)] = 200
        Image.fromarray(pixels).save(folder / "images" / f"{i}.png")
        truth.append(truth_of(f"{i}.png", i, len(masks)))
    project = Project.create(folder / "p.wb", images=str(folder / "images"), roles=roles)
    project.import_truth(Proposals.concat(truth), images=[f"{i}.png" for i in range(images)])
    return project


def draw_all(project: Project, images: int) -> None:
    """Have a person draw the truth of the first images, and complete them."""
    project.add_annotator("a")
    frame = project.images().head(images)
    for image_id, path in zip(frame["image_id"], frame["path"], strict=True):
        truth = project.truth(path)
        events = [
            ReviewEvent(
                gesture_id=f"{image_id}-{k}",
                image_id=image_id,
                kind="draw",
                annotator="a",
                payload={"rle": counts.decode(), "size_hw": list(SIZE_HW)},
            )
            for k, counts in enumerate(truth.rles)
        ]
        done = ReviewEvent(gesture_id=f"{image_id}-done", image_id=image_id, kind="complete", annotator="a")
        project.record([*events, done])
