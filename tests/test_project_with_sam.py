"""A project with a real SAM, small and random: what is stored is what `wb.propose` gives."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import stub_sam
import torch
from PIL import Image
from random_sams import random_sam

import workbench as wb
from workbench.store import files

CONFIG = wb.ProposeConfig(points_per_side=4, predicted_iou_floor=-10, jitter_prompts=2)


def test_propose__stores_what_the_stage_gives(tmp_path):
    images = stub_sam.write_images(tmp_path / "images", 3, size_hw=(48, 64))
    (images / "zero.png").write_bytes(b"")
    sam = wb.load_sam(random_sam(1))
    with wb.Project.create(tmp_path / "p.wb", images) as project:
        project.propose(sam, CONFIG, limit=1, progress=False)
        summary = project.propose(sam, CONFIG, progress=False)
        assert (summary.done, summary.skipped, summary.failures) == (2, 1, {"empty_file": 1})
        ids = project.images()["image_id"][:3]
        expected = wb.Proposals.concat([wb.propose(project.image(i), sam, CONFIG, image_id=i) for i in ids])
        pd.testing.assert_frame_equal(project.proposals().to_frame(), expected.to_frame())
        report = project.report()
        assert report.proposals == len(expected) > 0
        assert report.distinct == int(wb.triage(expected).distinct.sum())
        assert report.model_id == sam.model_id
        assert report.distinct == project.images()["distinct"].sum()


@pytest.mark.parametrize("at_once", [2, 3, 8])
def test_propose__images_embedded_at_once_give_the_same_but_for_rounding(tmp_path, at_once):
    images = stub_sam.write_images(tmp_path / "images", 5, size_hw=(48, 64))
    Image.fromarray(np.random.default_rng(5).integers(0, 256, (30, 90, 3), dtype=np.uint8)).save(images / "other.png")
    (images / "image1.png").write_bytes(b"no picture")
    sam = wb.load_sam(random_sam(1))
    with wb.Project.create(tmp_path / "p.wb", images) as project:
        project.propose(sam, CONFIG, progress=False)
        expected = project.proposals()
        fresh = wb.load_sam(random_sam(1))
        summary = project.propose(fresh, CONFIG.replace(images_per_batch=at_once), progress=False)
        assert (summary.done, summary.failures) == (5, {"not_an_image": 1})
        found = project.proposals()
    assert len(found) == len(expected) > 0
    assert (found.image_id == expected.image_id).all()
    assert np.abs(found.predicted_iou - expected.predicted_iou).max() < 1e-5
    assert np.abs(found.area_px - expected.area_px).max() <= 3


def test_propose__a_batch_that_fails_is_done_one_by_one(tmp_path, monkeypatch):
    images = stub_sam.write_images(tmp_path / "images", 3, size_hw=(48, 64))
    sam = wb.load_sam(random_sam(1))
    encode = sam._encode

    def tight(batch):
        if len(batch) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return encode(batch)

    monkeypatch.setattr(sam, "_encode", tight)
    with wb.Project.create(tmp_path / "p.wb", images) as project:
        assert project.propose(sam, CONFIG.replace(images_per_batch=3), progress=False).done == 3


def test_reached__does_nothing_outside_tests():
    assert files.reached("shard_opened") is None
