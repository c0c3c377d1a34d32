"""A small project to review: blocks as automatic masks, their outcomes known, and short ways to make gestures."""

from __future__ import annotations

import itertools
import sys

import numpy as np
import stub_sam
from made_once import made_once

import workbench as wb
from workbench.config import TriageConfig
from workbench.masks import rle
from workbench.tables.events import ReviewEvent
from workbench.tables.proposals import Proposals

SIZE = (24, 32)
OPEN = TriageConfig(**dict.fromkeys(("unusual_solidity", "unusual_size_z", "overlap", "ambiguous_spread"))).replace(
    min_area_px=1, border_px=None, low_contrast=None, ragged_roughness=None, jitter_stability=None
)
BLOCKS = ((0, 0, 6, 6), (0, 10, 6, 16), (0, 20, 6, 26), (10, 0, 20, 10))  # y0, x0, y1, x1
SCORES = (0.95, 0.93, 0.85, 0.6)  # two auto-accepted, one flagged, one discarded
_numbers = itertools.count()


def block(y0, x0, y1, x1, size=SIZE):
    mask = np.zeros(size, bool)
    mask[y0:y1, x0:x1] = True
    return rle.encode(mask[None])[0]


def table(image_id, model_id, scores=SCORES, blocks=BLOCKS):
    rles = [block(*b) for b in blocks]
    return Proposals.make(
        rles=rles,
        image_id=image_id,
        boxes_xyxy=rle.to_boxes(rles, SIZE),
        area_px=rle.area(rles, SIZE),
        sizes_hw=SIZE,
        predicted_iou=np.array(scores),
        jitter_stability=1.0,
        model_id=model_id,
        prompt="point",
    )


def propose(image, segmenter, config=None, *, image_id=None):
    return table(image_id, segmenter.model_id)


def install(monkeypatch, function=propose):
    monkeypatch.setitem(sys.modules, "workbench.propose.run", stub_sam.stage(function))


def make(folder, n=3, **settings):
    """Return a project of n images, proposed and triaged, with annotators a, b and the senior s."""
    if settings:  # a database that is not in the folder cannot be copied with it
        return _make(folder, n, None, **settings)
    return made_once(folder, "p.wb", _make, n, sys.modules["workbench.propose.run"].function)


def _make(folder, n, _function, **settings):
    images = stub_sam.write_images(folder / "images", n, SIZE)
    project = wb.Project.create(folder / "p.wb", images=str(images / "*.png"), **settings)
    project.propose(stub_sam.StubSam(), stub_sam.PLAIN, progress=False)
    project.triage(OPEN)
    for name, role in (("a", "annotator"), ("b", "annotator"), ("s", "senior")):
        project.add_annotator(name, role)
    return project


def event(kind, image_id, mask_id="", *, by="a", gesture=None, **more):
    fields = {f: more.pop(f) for f in list(more) if f in ReviewEvent.__dataclass_fields__}
    name = gesture or f"g{next(_numbers)}"
    return ReviewEvent(name, image_id, kind, mask_id, payload=more, annotator=by, **fields)


def undo(image_id, undone, *, by="a", gesture=None, **more):
    name = gesture or f"g{next(_numbers)}"
    return ReviewEvent(name, image_id, "undo", payload={"gesture": undone}, annotator=by, **more)


def draw(image_id, box, **more):
    return event(more.pop("kind", "draw"), image_id, rle=block(*box).decode(), size_hw=list(SIZE), **more)
