"""The benchmark of cycles: its split, as the issue states it, and all its rows from cycles at toy size."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
from disc_project import SIZE_HW, disc_masks, disc_project, truth_of
from PIL import Image
from random_sams import random_sam

from benchmarks import cycles, rules
from benchmarks.cycles import above, split
from workbench.calibrate.recalibrate import Recalibration
from workbench.config import ProposeConfig
from workbench.formats import coco
from workbench.loop import thresholds
from workbench.loop.plan import CycleConfig
from workbench.tables.proposals import Proposals
from workbench.train.settings import TrainConfig


@pytest.mark.parametrize(
    ("images", "test", "batch"), [(360, 60, (24, 16)), (260, 60, (24, 16)), (160, 53, (13, 8)), (12, 4, (1, 0))]
)
def test_split__sizes(images, test, batch):
    names = [f"{i}.png" for i in range(images)]
    parts = split(names, 0)
    assert (len(parts.test), parts.batch) == (test, batch)
    everything = [*parts.train, *parts.calibration, *parts.test]
    assert len(everything) == len(set(everything)) <= images
    assert split(names, 0) == parts
    assert split(names, 1) != parts


def test_above__recall_paired_over_the_images_of_both():
    found = above({"a": (3.0, 4.0), "b": (1.0, 4.0), "x": (0.0, 9.0)}, {"b": (1.0, 4.0), "a": (2.0, 4.0)})
    assert (found.value, found.n) == (0.125, 2)
    assert found.low <= 0.125 <= found.high
    assert not above({}, {}).known


def test_main__all_rows_of_a_folder_of_images(tmp_path, monkeypatch, capsys):
    """Twelve images of three discs: four for the test, one to train in each cycle, none to calibrate."""
    (tmp_path / "images").mkdir()
    for i in range(12):
        pixels = np.full((*SIZE_HW, 3), 30, np.uint8)
        pixels[disc_masks(i).any(axis=0)] = 200
        Image.fromarray(pixels).save(tmp_path / "images" / f"{i}.png")
    truth = Proposals.concat([truth_of(f"{i}.png", i) for i in range(12)])
    entries = [coco.ImageEntry(f"{i}.png", SIZE_HW) for i in range(12)]
    coco.write(tmp_path / "instances.json", truth, entries)
    given = ["--points", "3", "--jitter", "0", "--steps", "1", "--json", str(tmp_path / "rows.json")]
    monkeypatch.setattr(sys, "argv", ["cycles", "--data", str(tmp_path), *given])
    cycles.main()
    rows = {row["name"]: row["value"] for row in json.loads((tmp_path / "rows.json").read_text())["rows"]}
    lead = f"{tmp_path.name}.seed0"
    assert rows[f"{lead}.cycle5.work.true_per_image"] == 3
    assert f"{lead}.after5.work.true_per_image" not in rows
    assert 0 <= rows[f"{lead}.recall_proposals last"] <= 1
    assert rows[f"{lead}.minutes"] > 0


def test_rules__the_one_that_cycles_go_by_gives_the_figures_of_the_campaign(tmp_path, monkeypatch):
    def by_what_it_is_given(base, rows, judge, allowed, floors, features):
        """Accept half by predicted IoU, all by a confidence beside doubts, nothing by one that decides."""
        config = base.replace(predicted_iou_margin=0.0, **dict.fromkeys(thresholds.SETTING.values()))
        if features is None:
            config = config.replace(predicted_iou=float(np.median(rows.predicted_iou)))
            return thresholds.Calibrated(config, "calibrated", "", (), 9, 9)
        config = config.replace(predicted_iou=-5.0)
        model = Recalibration("platt", features.names, {"slope": np.array([0.0]), "offset": np.array([0.0])})
        rule = {"exact": {"confidence": 0.4}, "distinct": {"confidence": 0.9, "confidence_rule": "decides"}}[base.pool]
        return thresholds.Calibrated(config.replace(**rule), "calibrated", "", (), 9, 9, model)

    monkeypatch.setattr(thresholds, "calibrated", by_what_it_is_given)
    config, roles = CycleConfig(train=2, calibration=1, reserve=0), {"train": [f"{i}.png" for i in range(5)]}
    with disc_project(tmp_path, images=9) as project:
        with pytest.raises(ValueError, match="a project with cycles"):
            list(rules.of_project(project, "x"))
        table = project.run_cycles(
            2, annotator="oracle", model=random_sam(input_px=64, score_shift=0.9), config=config,
            roles={**roles, "calibration": ["5.png", "6.png"]}, held_out=["7.png", "8.png"],
            floors=ProposeConfig(points_per_side=4, crop_n_layers=0, jitter_prompts=0, predicted_iou_floor=-5.0, pool="distinct"),
            train=TrainConfig(steps=1, views=1, prompts=4, check_every=1, learning_rate=1e-4), progress=False,
        )  # fmt: skip
        rows = {row.name: row.value for row in rules.of_project(project, "x")}
    assert {name.rsplit(".", 1)[0] for name in rows} == {f"x.cycle{k}.{rule}" for k in (2, 3) for rule in rules.RULES}
    accepted = {rule: rows[f"x.cycle3.{rule}.auto_accept_rate"] for rule in rules.RULES}
    assert (accepted["doubts"], accepted["decides"]) == (1, 0)
    assert 0 < accepted["predicted_iou"] < 1
    for row in table.rows[1:]:
        assert {name: rows[f"x.cycle{row.cycle}.decides.{name}"] for name in rules.SHOWN} == pytest.approx(
            {name: row.figures[name].value for name in rules.SHOWN}, nan_ok=True
        )
