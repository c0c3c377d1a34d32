"""A small project for tests in the browser: drawn scenes, their true masks as proposals with scores that are chosen."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import stub_sam
from PIL import Image

import workbench as wb
from workbench.masks import rle
from workbench.sam.scenes import Scene, draw_scene
from workbench.tables.proposals import Proposals

SIDE_PX = 256
SCENES = (("cells", 2_000_000_311), ("plain", 2_000_000_312), ("fluorescence", 2_000_000_313))
MOST_MASKS = 12
SCORES = (0.84, 0.95, 0.50)  # flagged, auto-accepted, discarded, in turn
PLAIN = wb.TriageConfig(
    jitter_stability=None,
    min_area_px=1,
    **dict.fromkeys(("unusual_solidity", "unusual_size_z", "overlap", "ambiguous_spread", "border_px"), None),
    **dict.fromkeys(("low_contrast", "ragged_roughness"), None),
)


def draw(number: int) -> Scene:
    """Return the scene of an image of the project."""
    kind, seed = SCENES[number]
    return draw_scene(seed, SIDE_PX, kind)


def proposals(scene: Scene, image_id: str, model_id: str) -> Proposals:
    """Return the largest true masks, some flagged, some auto-accepted, some discarded."""
    masks = scene.masks
    largest = np.argsort(-masks.sum((1, 2)), kind="stable")[:MOST_MASKS]
    rles = rle.encode(masks[np.sort(largest)])
    size = (SIDE_PX, SIDE_PX)
    scores = np.resize(np.array(SCORES, np.float32), len(rles))
    return Proposals.make(
        rles=rles,
        image_id=image_id,
        boxes_xyxy=rle.to_boxes(rles, size),
        area_px=rle.area(rles, size),
        sizes_hw=size,
        predicted_iou=scores,
        stability_score=scores,
        model_id=model_id,
        prompt="point",
    )


def make(folder: Path, model_id: str = "stub-0123") -> Path:
    """Make the project `folder`/scenes.wb beside its images, with proposals and triage; return its path.

    model_id : the model that the proposals are said to come from
    """
    (folder / "images").mkdir(parents=True)
    drawn = {}
    for number, (kind, _) in enumerate(SCENES):
        scene = draw(number)
        Image.fromarray(scene.image).save(folder / "images" / f"{number + 1}-{kind}.png")
        drawn[scene.image.tobytes()] = scene

    def propose(image, segmenter, config=None, *, image_id=None):
        return proposals(drawn[image.tobytes()], image_id, model_id)

    stage = sys.modules.get("workbench.propose.run")
    stub_sam.install(propose)
    try:
        with wb.Project.create(folder / "scenes.wb", folder / "images") as project:
            project.propose(stub_sam.StubSam(model_id), stub_sam.PLAIN, progress=False)
            project.triage(PLAIN)
    finally:
        del sys.modules["workbench.propose.run"]
        if stage is not None:
            sys.modules["workbench.propose.run"] = stage
    return folder / "scenes.wb"


def copy(made: Path, folder: Path) -> Path:
    """Copy a made project with its images; the images lie beside it, so that the copy finds its own."""
    shutil.copytree(made.parent, folder)
    return folder / made.name


def inside(counts: bytes) -> tuple[float, float]:
    """Return the middle of a pixel deep inside a mask."""
    from scipy import ndimage

    mask = rle.decode([counts], (SIDE_PX, SIDE_PX))[0]
    depth = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    y, x = np.unravel_index(int(depth.argmax()), depth.shape)
    return float(x) + 0.5, float(y) + 0.5
