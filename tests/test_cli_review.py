from __future__ import annotations

import json
from pathlib import Path

import desk
import pytest
from typer.testing import CliRunner

from workbench.cli import app
from workbench.project import Project

run = CliRunner().invoke


@pytest.fixture
def folder(tmp_path, monkeypatch):
    desk.install(monkeypatch)
    with desk.make(tmp_path) as project:
        for image in project.images()["image_id"][:2]:
            project.record(desk.event("complete", image))
    return str(project.path)


def test_audit__draws_and_shows(folder):
    drawn = json.loads(run(app, ["audit", folder, "--draw", "--seed", "3", "--share", "0.5", "--json"]).stdout)
    assert (drawn["seed"], drawn["masks"], drawn["images"]) == (3, 4, 2)
    shown = json.loads(run(app, ["audit", folder, "--senior", "new", "--json"]).stdout)
    assert shown["audits"]["1"] == {
        "masks": 4,
        "answered": 0,
        "wrong": 0,
        "stands_for": 0,
        "wrong_share": {"value": None, "low": None, "high": None, "n": 0, "how": "none"},
    }
    assert shown["disagreements"] == []
    assert run(app, ["audit", folder]).exit_code == 0


def test_audit__options_of_drawing_say_nothing_without_it(folder):
    for words in (["--share", "0.5"], ["--again"], ["--seed", "3"], ["--unreviewed"]):
        told = run(app, ["audit", folder, *words])
        assert (told.exit_code, f"{words[0]}: expected --draw with it" in told.output) == (2, True)
    told = run(app, ["doctor", "--mend"])
    assert (told.exit_code, "--mend: expected a project (DIR) with it" in told.output) == (2, True)
    told = run(app, ["cycle", folder, "--model", "nope"])
    assert (told.exit_code, "--model: load_sam: expected one of" in told.output) == (2, True)


def test_audit__drawn_again_counts_what_was_answered_unless_asked(folder):
    run(app, ["audit", folder, "--draw", "--json"])
    with Project.open(folder) as project:
        image = project.audit_results()["image_id"][0]
        masks = project.audit_review(image, "s").masks.mask_id.tolist()
        said = [desk.event("verdict", image, mask, by="s", purpose="audit", verdict="accept") for mask in masks]
        project.record(said)
    second = json.loads(run(app, ["audit", folder, "--draw", "--seed", "1", "--json"]).stdout)
    third = json.loads(run(app, ["audit", folder, "--draw", "--seed", "1", "--again", "--json"]).stdout)
    assert (second["answered"], third["answered"]) == (len(masks), 0)


def test_quality__as_one_object_and_as_a_table(folder):
    found = json.loads(run(app, ["quality", folder, "--json"]).stdout)
    assert (found["images_done"], found["images"], found["automatic"]) == (2, 3, 4)
    shown = run(app, ["quality", folder])
    assert (shown.exit_code, "masks per hour" in shown.stdout) == (0, True)


def test_audit__bad_share_fails_in_words(folder):
    done = run(app, ["audit", folder, "--draw", "--share", "7", "--json"])
    assert done.exit_code == 2
    assert "--share" in json.loads(done.stdout)["error"]


def test_agreement__as_one_object(folder):
    found = json.loads(run(app, ["agreement", folder, "--json"]).stdout)
    assert (found["images_twice"], found["masks_judged_twice"], found["cohens_kappa"]) == (0, 0, {})
    assert run(app, ["agreement", folder]).exit_code == 0


def test_review__of_complete_images_once_more(folder):
    done = run(app, ["review", folder, "--annotator", "bo", "--second", "--no-start", "--json"])
    found = json.loads(done.stdout)
    assert found["notebook"].endswith("review-bo-second.ipynb")
    cells = json.loads(Path(found["notebook"]).read_text())["cells"]
    code = "".join(line for cell in cells for line in cell["source"])
    assert "wb.Annotator(project, annotator='bo', queue=project.queue(second=True))" in code
    with Project.open(folder) as project:
        assert project.queue(second=True).claim("bo").image_id in project.reviewed_images("complete")


def test_review__nobody_is_wrong_use(folder):
    done = run(app, ["review", folder, "--annotator", "", "--no-start", "--json"])
    assert done.exit_code == 2
    assert "--annotator: " in json.loads(done.stdout)["error"]


def test_export__final(folder, tmp_path):
    done = run(app, ["export", folder, "-o", str(tmp_path / "f.json"), "--outcome", "final", "--json"])
    assert json.loads(done.stdout)["masks"] == 6
