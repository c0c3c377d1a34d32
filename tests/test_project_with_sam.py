"""A project with a real SAM, small and random: what is stored is what `wb.propose` gives."""

from __future__ import annotations

import pandas as pd
import stub_sam
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


def test_reached__does_nothing_outside_tests():
    assert files.reached("shard_opened") is None
