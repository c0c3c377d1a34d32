"""The command `cycle`, as a user runs it, and how it says what is wrong."""

from __future__ import annotations

import json

import pytest
import torch
from disc_project import SIZE_HW, disc_project
from typer.testing import CliRunner

from workbench.cli import app
from workbench.cli.loop import Strategy
from workbench.loop.batches import STRATEGIES
from workbench.project import Project
from workbench.sam import load

SMALL = [
    "--batch", "1", "--calibration", "0", "--set", "train.steps=1", "--set", "train.views=1", "--set", "train.prompts=4",
    "--set", "floors.points_per_side=3", "--set", "floors.jitter_prompts=0",
]  # fmt: skip


def run(*arguments):
    return CliRunner().invoke(app, ["cycle", *map(str, arguments)])


@pytest.mark.slow
def test_cycle__runs_with_an_oracle_and_report_shows_it(tmp_path):
    with disc_project(tmp_path, images=6, roles=(1.0, 0.0, 0.0)) as project:
        folder = project.path
    result = run(folder, "--cycles", 1, "--annotator", "oracle", *SMALL, "--json")
    assert result.exit_code == 0, result.output
    values = json.loads(result.stdout.splitlines()[-1])
    assert [row["cycle"] for row in values["rows"]] == [1, 2]
    assert values["awaited"] == []
    with Project.open(folder) as project:
        latest, now, (trained,) = project.report().run_id, project.model_id, project.models()["model_id"]
    for model, model_id in (("latest", now), (trained, trained)):  # what was trained here proposes on further images
        again = CliRunner().invoke(app, ["propose", str(folder), "--model", model, "--limit", "1"])
        assert again.exit_code == 0, again.output
        with Project.open(folder) as project:
            assert project.model_id == model_id
            assert (project.report().run_id == latest) == (model == "latest")
    with Project.open(folder) as project:  # all else goes by the run of the campaign again
        project.propose(load.load_sam("bundled"), project.propose_config(latest), limit=1, progress=False)
    shown = CliRunner().invoke(app, ["report", str(folder), "--json"])
    told = json.loads(shown.stdout)
    assert len(told["cycles"]) == 2
    sources = [row["source"] for row in told["beside_the_seed"]["rows"]]
    assert sources[:5] == ["the seed, as stated"] * 5
    assert "measured here, an oracle reviewed" in sources
    words = " ".join(CliRunner().invoke(app, ["report", str(folder)]).output.split())
    assert "auto-accepted 45, 52, 58, 63, 67 %" in words
    assert "runs from 36 to 71 %" in words


@pytest.mark.slow
def test_cycle__what_cannot_be_meant_begins_no_campaign(tmp_path, monkeypatch):
    with disc_project(tmp_path, images=6, roles=(1.0, 0.0, 0.0)) as project:
        folder = project.path
        for given, words in ((2.5, "whole number of 1 or more, got 2.5"), (0, "got 0")):
            with pytest.raises(ValueError, match=words):
                project.run_cycles(given, model=None)
        with pytest.raises(ValueError, match="an object with a method annotate"):
            project.run_cycles(1, annotator=object(), model=None)
    result = run(folder, "--cycles", 1, *SMALL, "--set", "oracle.error_rate=0.5")
    assert result.exit_code == 2
    assert "--set oracle.error_rate=0.5: expected --annotator oracle with it" in result.output
    monkeypatch.setattr(load, "load_sam", out_of_memory)
    result = run(folder, "--cycles", 1, *SMALL)
    assert (result.exit_code, "the memory of the device ran out" in result.output) == (1, True)
    with Project.open(folder) as project:
        assert len(project.cycles()) == 0
        assert project.model_id is None
    for words in (["annotate", "--propose", "--override", "x"], ["calibrate", "--embedding"]):
        told = CliRunner().invoke(app, [words[0], str(folder), *words[1:]])
        assert (told.exit_code, "expected proposals, there are none yet" in told.output) == (1, True)


def out_of_memory(*_, **__):
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


@pytest.mark.slow
def test_cycle__people_are_told_what_waits(tmp_path):
    with disc_project(tmp_path, images=6, roles=(1.0, 0.0, 0.0)) as project:
        folder = project.path
    result = run(folder, "--cycles", 1, *SMALL)
    assert result.exit_code == 0, result.output
    assert "waits for 1 image " in result.output
    assert "workbench review DIR --annotator NAME" in " ".join(result.output.split())
    told = CliRunner().invoke(app, ["report", str(folder)])  # another day
    assert "waits for 1 image " in told.output
    assert len(json.loads(CliRunner().invoke(app, ["report", str(folder), "--json"]).stdout)["awaited"]) == 1


@pytest.mark.slow
def test_cycle__what_an_import_leaves_out_is_told(tmp_path):
    with disc_project(tmp_path, images=4, roles=(1.0, 0.0, 0.0)) as project:
        folder = project.path
    h, w = SIZE_HW
    entries = [
        {"id": k, "file_name": name, "height": h, "width": w} for k, name in enumerate(("0.png", "elsewhere.png"))
    ]
    square = {"segmentation": [[5, 5, 20, 5, 20, 20, 5, 20]], "bbox": [5, 5, 15, 15], "category_id": 1, "iscrowd": 0}
    wrong = {**square, "segmentation": {"size": [3, 3], "counts": [0, 9]}}
    truth = {
        "images": entries,
        "annotations": [{**mask, "id": k, "image_id": 0} for k, mask in enumerate((square, wrong))],
        "categories": [{"id": 1, "name": "a"}],
    }
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    result = run(folder, "--cycles", 1, *SMALL, "--ground-truth", tmp_path / "truth.json", "--json")
    assert result.exit_code == 0, result.output
    for words in ("elsewhere.png: no image of the project", "truth with gaps", "3 masks that they had are gone"):
        assert words in result.stderr
    told = json.loads(result.stdout.splitlines()[-1])
    assert told["awaited"]
    assert told["imported"]["masks"] == 1
    assert told["imported"]["unmatched"] == ["elsewhere.png"]


def test_cycle__an_oracle_without_truth_is_refused_before_anything_is_proposed(tmp_path):
    with disc_project(tmp_path, images=6, roles=(1.0, 0.0, 0.0)) as project:
        folder = project.path
        with project.catalog.write() as connection:
            connection.exec_driver_sql("DELETE FROM truth_images")
    result = run(folder, "--cycles", 1, "--annotator", "oracle", *SMALL)
    assert result.exit_code == 1
    assert "no ground truth to answer from" in result.output
    assert json.loads(CliRunner().invoke(app, ["report", str(folder), "--json"]).stdout)["done"] == 0


@pytest.mark.parametrize("change", ["steps=1", "learning.steps=1", "train"])
def test_cycle__settings_name_their_part(tmp_path, change):
    result = run(tmp_path, "--set", change)
    assert result.exit_code == 2
    assert "PART.NAME=VALUE" in result.output
    assert "PART.NAME=VALUE" in json.loads(run(tmp_path, "--set", change, "--json").stdout)["error"]


@pytest.mark.parametrize(
    ("change", "option"), [("cycle.train=3", "--batch"), ("cycle.exhaustive = false", "--only-recall")]
)
def test_cycle__what_has_an_option_is_not_set_in_another_way(tmp_path, change, option):
    result = run(tmp_path, "--set", change, "--json")
    assert result.exit_code == 2
    assert json.loads(result.stdout)["error"].endswith(f"is given by {option}")


@pytest.mark.slow
@pytest.mark.parametrize(
    "change", ["cycle.reserv=0", "cycle.most_wrong=2", "floors.points_per_sid=4", "triage.predicted_iou=much"]
)
def test_cycle__a_slip_in_settings_is_told_before_a_model_is_loaded(tmp_path, change, monkeypatch):
    from workbench.sam import load

    monkeypatch.setattr(load, "load_sam", None)
    with disc_project(tmp_path, images=2) as project:
        folder = project.path
    result = run(folder, "--set", change)
    assert result.exit_code == 2, result.output
    assert change.partition(".")[2].partition("=")[0] in result.output


def test_cycle__no_project(tmp_path):
    result = run(tmp_path, "--json")
    assert result.exit_code == 1
    assert "not a project" in json.loads(result.stdout)["error"]


def test_cycle__offers_every_strategy():
    assert tuple(Strategy) == STRATEGIES
