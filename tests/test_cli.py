"""The command line as a user takes it: what it prints, what it leaves, how it exits."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from flat_segmenter import squares
from PIL import Image
from typer.testing import CliRunner

import workbench as wb
from workbench.cli import app
from workbench.cli.answering import PANELS

FEW = ("--set", "points_per_side=4", "--set", "jitter_prompts=2")


def run(*args, status=0):
    result = CliRunner().invoke(app, [str(a) for a in args])
    assert result.exit_code == status, result.output
    return result


def answer(*args, status=0):
    """Return the JSON object that a command prints, alone, on standard output."""
    return json.loads(run(*args, "--json", status=status).stdout)


@pytest.fixture
def cells(tmp_path):
    """Three images, one of them broken."""
    folder = tmp_path / "cells"
    folder.mkdir()
    image, _ = squares((64, 96))
    Image.fromarray(image).save(folder / "a.png")
    Image.fromarray(np.roll(image, 8, axis=0)).save(folder / "b.png")
    (folder / "c.png").write_bytes((folder / "a.png").read_bytes()[:200])
    return folder


@pytest.fixture
def project(tmp_path, cells):
    run("init", tmp_path / "p.wb", "--images", cells / "*.png")
    return tmp_path / "p.wb"


def test_help__lists_every_command_once_from_the_beginning_of_a_project_on():
    names = [name for panel in PANELS.values() for name in panel]
    assert len(set(names)) == len(names)
    words = run("--help").output
    places = [words.index(f"│ {name} ") for name in names]
    assert places == sorted(places)
    assert {command.name or command.callback.__name__.rstrip("_") for command in app.registered_commands} == set(names)
    assert all(panel in words for panel in PANELS)
    assert "--install-completion" in words


def test_init_propose_triage_report_export_import(tmp_path, project):
    proposed = answer("propose", project, *FEW)
    assert proposed["done"] == 2
    assert proposed["failed"] == 1
    lower = ("--set", "predicted_iou=0.6")
    assert "rows are stored above" in run("triage", project, *lower, status=1).stderr
    triaged = answer(
        "triage", project, *lower, "--set", "predicted_iou_margin=0.2", "--note", "a note", "--author", "a1"
    )
    assert triaged["distinct"] == triaged["auto_accepted"] + triaged["flagged"] + triaged["discarded"]

    report = answer("report", project)
    for name in ("images", "proposals", "distinct", "auto_accepted", "flagged", "discarded", "reasons", "failures"):
        assert name in report
    assert report["images"] == 3
    assert report["proposals"] >= report["distinct"] == triaged["distinct"]
    assert sum(report["failures"].values()) == 1
    assert report["seconds_per_image"] > 0
    assert report["peak_memory_mb"] > 50
    assert report["settings"]["propose"]["points_per_side"] == 4
    assert report["settings"]["triage"]["predicted_iou"] == 0.6

    out = tmp_path / "masks.json"
    written = answer("export", project, "--format", "coco", "-o", out, "--outcome", "all")
    assert written["masks"] == report["proposals"] == len(json.loads(out.read_text())["annotations"])
    imported = answer("import", project, "--format", "coco", out)
    assert imported["masks"] == written["masks"]


def test_init__roles_are_told_and_can_be_chosen(tmp_path, cells):
    shares = ("--roles", "0,0.5,0.5")
    made = answer("init", tmp_path / "p.wb", "--images", cells / "*.png", *shares)
    assert made["roles"]["train"] == 0
    assert sum(made["roles"].values()) == made["images"] - sum(made["failures"].values())
    for wrong, status in (("half", 2), ("0.5,0.5", 1), ("0.5,0.5,0.5", 1)):
        said = run("init", tmp_path / "q.wb", "--images", cells / "*.png", "--roles", wrong, status=status).stderr
        assert "shares" in said
    assert not (tmp_path / "q.wb").exists()


def test_init__a_catalogue_elsewhere_is_found_by_the_environment(tmp_path, cells, monkeypatch):
    url = f"sqlite:///{tmp_path / 'elsewhere.sqlite'}"
    run("init", tmp_path / "p.wb", "--images", cells / "*.png", "--database", url)
    assert "WORKBENCH_DATABASE" in run("report", tmp_path / "p.wb", status=1).stderr
    monkeypatch.setenv("WORKBENCH_DATABASE", url)
    assert answer("report", tmp_path / "p.wb")["images"] == 3
    run("init", tmp_path / "own.wb", "--images", cells / "a.png")  # one with a catalogue of its own does not look there
    assert answer("report", tmp_path / "own.wb")["images"] == 1


def test_import__a_file_that_is_not_there(tmp_path, project):
    said = answer("import", project, tmp_path / "none.json", status=1)["error"]
    assert said == f"{tmp_path / 'none.json'}: no such file or directory"


def test_propose__again_goes_on(project):
    assert answer("propose", project, "--limit", "1", *FEW)["done"] == 1
    again = answer("propose", project, *FEW)
    assert (again["done"], again["skipped"]) == (1, 1)
    assert answer("propose", project, *FEW)["done"] == 0


def test_propose__keeps_embeddings_on_request(tmp_path, project):
    run("propose", project, "--embedding-cache", tmp_path / "kept", *FEW)
    assert len([p for p in (tmp_path / "kept").rglob("*") if p.is_file()]) == 2 * (1 + 4)  # the image and its crops


def test_report__gallery(tmp_path, project):
    run("propose", project, *FEW)
    shown = answer("report", project, "--gallery", tmp_path / "g")
    assert shown["gallery"].endswith("gallery.html")
    assert len(list((tmp_path / "g").glob("*.png"))) == 2


def test_report__lists_what_failed_on_request(project):
    run("propose", project, *FEW)
    (failed,) = answer("report", project, "--failed")["failed"]
    assert (failed["path"], failed["reason"]) == ("c.png", "truncated")
    assert "c.png" in run("report", project, "--failed").stdout
    assert "failed" not in answer("report", project)


def test_report__gallery_before_any_proposal(tmp_path, project):
    shown = answer("report", project, "--gallery", tmp_path / "g")
    assert "<figure>" not in (tmp_path / "g" / "gallery.html").read_text("utf-8")
    assert shown["done"] == 0


def test_report__gallery_passes_over_images_that_are_gone(tmp_path, project, cells):
    run("propose", project, *FEW)
    (cells / "a.png").unlink()
    answer("report", project, "--gallery", tmp_path / "g")
    text = (tmp_path / "g" / "gallery.html").read_text("utf-8")
    assert text.count("<figure>") == 1
    assert "1, whose files are gone or were changed" in text


def test_triage__keeps_one_version_by_the_preset_that_fits_the_model(project):
    run("propose", project, *FEW)
    answer("doctor", project)  # only looks
    run("triage", project, "--set", "overlap=0.4", "--note", "mine")
    with wb.Project.open(project) as opened:
        assert opened.triages()["note"].tolist() == ["mine"]
        assert opened.triage_config() == wb.preset("bundled").triage.replace(overlap=0.4)


def test_report__before_any_triage_goes_by_the_preset_that_fits_the_model(project):
    run("propose", project, *FEW)
    settings = answer("report", project)["settings"]["triage"]
    assert wb.TriageConfig.from_dict(settings) == wb.preset("bundled").triage


def test_tables__are_for_people(project):
    text = run("report", project).stdout
    assert "images" in text
    assert "{" not in text.splitlines()[0]


def test_tables__cut_long_lists_and_no_name(tmp_path, project):
    names = [f"{'long-' * 30}{i}.png" for i in range(30)]
    images = [{"id": i, "file_name": name, "height": 4, "width": 4} for i, name in enumerate(names)]
    (tmp_path / "t.json").write_text(json.dumps({"images": images, "annotations": []}))
    text = "".join(run("import", project, tmp_path / "t.json").stdout.split())
    assert names[0] in text
    assert names[19] in text
    assert names[20] not in text
    assert "and10more" in text
    assert answer("import", project, tmp_path / "t.json")["unmatched"] == names


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--set", "points_per_sid=4"], "did you mean 'points_per_side'"),
        (["--set", "points_per_side=0"], "expected [1 to 512], got 0"),
        (["--set", "points_per_side"], "NAME=VALUE"),
        (["--preset", "stage3"], "did you mean 'stage2'"),
    ],
)
def test_wrong_use__exits_2_with_words(project, args, words):
    result = run("propose", project, *args, status=2)
    assert words in result.output
    assert "Traceback" not in result.output
    assert words in answer("propose", project, *args, status=2)["error"]


def test_unknown_command_and_format__exit_2(project, tmp_path):
    run("propos", project, status=2)
    run("export", project, "--format", "yolo9", "-o", tmp_path / "x", status=2)
    run("export", project, "--outcome", "accepted", "-o", tmp_path / "x", status=2)


@pytest.mark.parametrize(
    "command", [["propose"], ["triage"], ["report"], ["export", "-o", "x.json"], ["doctor"]], ids=lambda c: c[0]
)
def test_no_project__exits_1_with_words(tmp_path, command):
    result = run(command[0], tmp_path / "none.wb", *command[1:], status=1)
    assert "no such folder" in result.output
    assert "Traceback" not in result.output


def test_work_that_fails__exits_1_with_words(tmp_path, project, cells):
    assert "checkpoint" in run("propose", project, "--model", "vit_h", status=1).output
    assert "did you mean" in run("propose", project, "--model", "bundeld", status=1).output
    assert "triage" in run("triage", project, status=1).output
    assert run("init", project, "--images", cells / "*.png", status=1).output
    assert run("init", tmp_path / "q.wb", "--images", cells / "*.tif", status=1).output
    assert not (tmp_path / "q.wb").exists()
    assert run("import", project, tmp_path / "missing.json", status=1).output


def test_export__where_no_file_can_be_is_said_in_words(tmp_path, project):
    run("propose", project, *FEW)
    result = run("export", project, "-o", tmp_path / "none" / "m.json", status=1)
    assert f"there is no folder {tmp_path / 'none'}" in result.output
    assert "that is a folder" in run("export", project, "-o", tmp_path, status=1).output


def test_doctor(project):
    found = answer("doctor", project)
    assert found["problems"] == []
    assert found["bundled_sam"].startswith("bundled-")
    assert found["images"] == "3"


def test_doctor__finds_a_lost_shard(project):
    run("propose", project, *FEW)
    shutil.rmtree(project / "shards")
    found = answer("doctor", project, status=1)
    assert found["problems"]


def test_notebooks__are_copied_once(tmp_path):
    first = answer("notebooks", tmp_path / "n")
    assert "01-propose-and-look.ipynb" in first["copied"]
    again = answer("notebooks", tmp_path / "n")
    assert again["copied"] == []
    assert again["kept"] == first["copied"]


def test_version_and_help():
    assert run("--version").stdout.strip() == wb.__version__
    text = run("--help").stdout
    for command in ("init", "propose", "triage", "report", "export", "import", "doctor", "demo", "notebooks"):
        assert command in text


def test_as_a_process(tmp_path, cells):
    """The installed command: JSON alone on standard output, progress on the other."""
    command = [sys.executable, "-m", "workbench.cli"]
    subprocess.run([*command, "init", str(tmp_path / "p"), "--images", str(cells)], check=True, capture_output=True)
    done = subprocess.run([*command, "propose", str(tmp_path / "p"), *FEW, "--json"], check=True, capture_output=True)
    assert json.loads(done.stdout)["done"] == 2
    assert b"Traceback" not in done.stderr


def test_module__is_the_command():
    done = subprocess.run([sys.executable, "-m", "workbench", "--version"], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == wb.__version__
