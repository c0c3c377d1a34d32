"""The command sweep as a user takes it: grids read from text, experiments kept, shown, compared and adopted."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
import stub_sam
from typer.testing import CliRunner

import workbench as wb
from workbench.cli import app

GRID = ("--grid", "predicted_iou=0.75:0.95:0.1", "--grid", "jitter_stability=off,0.9")


def run(*args, status=0):
    result = CliRunner().invoke(app, ["sweep", *(str(a) for a in args)])
    assert result.exit_code == status, result.output
    return result


def answer(*args, status=0):
    """Return the JSON object that the command prints, alone and strict, on standard output."""

    def refuse(word):
        raise AssertionError(f"{word} is no JSON")

    return json.loads(run(*args, "--json", status=status).stdout, parse_constant=refuse)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Six images, half of their proposals true on all but one."""
    monkeypatch.setitem(sys.modules, "workbench.propose.run", stub_sam.stage())
    images = stub_sam.write_images(tmp_path / "images", 6)
    with wb.Project.create(tmp_path / "p.wb", images=str(images / "*.png")) as project:
        project.propose(stub_sam.StubSam(), progress=False)
        project.triage(wb.TriageConfig(min_area_px=1, predicted_iou_margin=0.1))
        ids = project.images()["image_id"].tolist()[:-1]
        found = project.proposals(ids)
        project.import_truth(found.select(np.arange(len(found)) % 2 == 0), images=ids)
    return tmp_path / "p.wb"


def test_sweep__one_object_of_all_points(folder):
    found = answer(folder, *GRID, "--metrics", "recall_auto, fp_rate", "--exhaustive", "--name", "first")
    points = found["points"]
    assert found["name"] == "first"
    assert [(p["row"], p["predicted_iou"], p["jitter_stability"]) for p in points] == [
        (k, iou, jitter) for k, (iou, jitter) in enumerate((i, j) for i in (0.75, 0.85, 0.95) for j in (None, 0.9))
    ]
    assert {"auto_accepted", "recall_auto", "recall_auto_low", "fp_rate_n"} <= set(points[0])
    assert answer(folder, "--show", "first")["points"] == points


def test_sweep__values_for_people(folder):
    text = run(folder, *GRID, "--name", "first").output
    assert "predicted iou" in text
    assert "[" in text  # an interval beside each figure
    listed = run(folder).output
    assert "first" in listed
    assert "predicted_iou, jitter_stability" in listed


def test_sweep__lists_compares_and_adopts(folder):
    assert answer(folder) == {"experiments": []}
    run(folder, *GRID, "--name", "first", "--note", "why", "--author", "me")
    (listed,) = answer(folder)["experiments"]
    assert (listed["name"], listed["note"], listed["points"]) == ("first", "why", 6)
    rows = answer(folder, "--compare", "first:0", "--compare", "first", "--metrics", "recall_auto")["differences"]
    assert [(row["row_a"], row["row_b"]) for row in rows] == [(0, k) for k in range(6)]
    assert "minus" in run(folder, "--compare", "first:0", "--compare", "first:3").output
    adopted = answer(folder, "--adopt", "first:3", "--author", "me", "--note", "best")
    assert (adopted["predicted_iou"], adopted["jitter_stability"]) == (0.85, 0.9)
    with wb.Project.open(folder) as project:
        assert project.triages().iloc[-1][["note", "author"]].tolist() == ["best", "me"]
        assert project.triage_config() == project.experiment("first").config(3)


def test_sweep__of_some_images_and_other_settings(folder):
    found = answer(folder, "--grid", "min_area_px=1,50", "--role", "train", "--set", "predicted_iou=0.9")
    assert [p["min_area_px"] for p in found["points"]] == [1, 50]
    one = answer(folder, *GRID, "--image", "image0.png")
    assert one["points"][0]["masks_per_image_n"] == 1
    assert one["points"][0]["masks_per_image_low"] is None


@pytest.mark.parametrize(
    ("args", "status", "words"),
    [
        (["--grid", "predicted_iou"], 2, "expected NAME=first:last:step"),
        (["--grid", "predicted_iou="], 2, "expected NAME=first:last:step"),
        (["--grid", "predicted_iou=0.5:0.9"], 2, "expected NAME=first:last:step"),
        (["--grid", "predicted_iou=0.9:0.5:0.1"], 2, "expected NAME=first:last:step"),
        (["--grid", "predicted_iou=0.5:0.9:0"], 2, "expected NAME=first:last:step"),
        (["--grid", "nms=boxes"], 2, "nms: expected"),
        (["--grid", "predicted_iou=a,b"], 2, "predicted_iou: expected a finite number"),
        (["--grid", "predicted_iou=0:1:1e-9"], 2, "at most 10,000 values, got 1,000,000,001"),
        (["--grid", "predicted_io=0.5"], 2, "did you mean 'predicted_iou'"),
        (["--grid", "predicted_iou=0.2"], 1, "predicted_iou_floor=0.1"),
        ([*GRID, "--metrics", "recal_auto"], 2, "did you mean 'recall_auto'"),
        ([*GRID, "--metrics", "fp_rate"], 1, "exhaustive"),
        ([*GRID, "--labels", "review", "--metrics", "recall_auto"], 1, "needs truth, and none"),
        ([*GRID, "--show", "first"], 2, "got --grid and --show"),
        (["--name", "lost", "--exhaustive"], 2, "--name, --exhaustive goes with --grid"),
        (["--note", "why"], 2, "--note and --author go with"),
        (["--metrics", "recall_auto"], 2, "--metrics goes with --grid or --compare"),
        (["--show", "first"], 1, "none is called 'first'"),
        (["--compare", "first"], 2, "given twice"),
        (["--adopt", "first"], 2, "expected NAME:ROW"),
        (["--adopt", "first:2"], 1, "none is called 'first'"),
    ],
)
def test_sweep__wrong_use_is_told_in_words(folder, args, status, words):
    assert words in answer(folder, *args, status=status)["error"]


def test_sweep__row_that_is_not_there(folder):
    run(folder, *GRID, "--name", "first")
    assert "from 0 to 5" in answer(folder, "--adopt", "first:6", status=1)["error"]


def test_sweep__a_setting_given_twice_is_wrong_use(folder):
    found = answer(folder, "--grid", "predicted_iou=0.8", "--grid", "predicted_iou=0.9", status=2)
    assert "predicted_iou is given twice" in found["error"]


def test_sweep__says_what_figures_were_counted_against(folder):
    answer(folder, *GRID, "--exhaustive", "--name", "first")
    found = answer(folder, "--show", "first")
    assert found["labels"] == "labels=truth that holds every object of 5 images, right from IoU 0.75"
    assert (found["settings"]["wrong_iou"], found["base"]["min_area_px"]) == (0.75, 1)
    assert "labels=truth that holds every object" in run(folder, "--show", "first").output


def test_sweep__a_name_that_ends_as_a_row_does(folder):
    answer(folder, *GRID, "--name", "tuned:1")
    assert len(answer(folder, "--compare", "tuned:1", "--compare", "tuned:1")["differences"]) >= 6
    whole = answer(folder, "--compare", "tuned:1:2", "--compare", "tuned:1:0")["differences"]
    assert {(one["row_a"], one["row_b"]) for one in whole} == {(2, 0)}
