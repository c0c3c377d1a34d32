"""The command line as a user takes it: what it prints, what it leaves, how it exits."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
from flat_segmenter import squares
from PIL import Image
from typer.testing import CliRunner

import workbench as wb
from workbench import cli
from workbench.cli import app
from workbench.cli.answering import PANELS
from workbench.loop.plan import first_triage

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
    for wrong in ("half", "0.5,0.5", "0.5,0.5,0.5"):
        said = run("init", tmp_path / "q.wb", "--images", cells / "*.png", "--roles", wrong, status=2).stderr
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


def truth_file(path, *names, segmentation=((10, 10, 40, 10, 40, 40),), size=(64, 96), masks=1):
    """Write a COCO file of images with so many masks each; return its path."""
    images = [{"id": k, "file_name": name, "height": size[0], "width": size[1]} for k, name in enumerate(names)]
    one = {"category_id": 1, "segmentation": [list(ring) for ring in segmentation]}
    annotations = [{"id": n * len(names) + k, "image_id": k, **one} for n in range(masks) for k in range(len(names))]
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "c"}]}))
    return path


def test_import__names_that_lead_to_no_image_fail_and_the_project_s_are_told(tmp_path, project):
    found = answer("import", project, truth_file(tmp_path / "t.json", "x.png", "y.png"), status=1)
    assert (found["images"], found["unmatched"]) == (0, ["x.png", "y.png"])
    assert "2 names lead to no image, the first 'x.png'" in found["error"]
    assert "the project has a.png, b.png" in found["error"]
    assert "nothing was imported" in run("import", project, tmp_path / "t.json", status=1).stderr


def test_import__names_that_several_images_share_are_told(tmp_path):
    for part in ("left", "right"):
        (tmp_path / "cells" / part).mkdir(parents=True)
        Image.fromarray(np.full((64, 96, 3), len(part), np.uint8)).save(tmp_path / "cells" / part / "a.png")
    run("init", tmp_path / "p.wb", "--images", tmp_path / "cells" / "**" / "*.png")
    found = answer("import", tmp_path / "p.wb", truth_file(tmp_path / "t.json", "a.png"), status=1)
    assert "2 images end in 'a.png' (left/a.png, right/a.png)" in found["error"]
    assert "write the folders that tell them apart into file_name" in found["error"]


@pytest.mark.parametrize("how", [{"segmentation": [[900, 900, 990, 900, 990, 990]]}, {"size": (64, 95)}])
def test_import__masks_that_are_all_refused_fail_with_the_first_reason(tmp_path, project, how):
    found = answer("import", project, truth_file(tmp_path / "t.json", "a.png", "b.png", **how), status=1)
    assert (found["images"], found["masks"]) == (0, 0)
    assert found["error"].startswith(
        "import: expected masks or images that can be used, nothing was imported; all were"
    )
    assert "px (h×w)" in found["error"]


def test_import__of_masks_for_other_ids_leaves_the_truth_that_is_there(tmp_path, project):
    answer("import", project, truth_file(tmp_path / "t.json", "a.png", "b.png"))
    document = json.loads((tmp_path / "t.json").read_text())
    for annotation in document["annotations"]:
        annotation["image_id"] = f"{annotation['image_id']}"  # text, where the images have numbers
    (tmp_path / "u.json").write_text(json.dumps(document))
    found = answer("import", project, tmp_path / "u.json", status=1)
    assert (found["images"], found["replaced"]) == (0, 0)
    assert any("all 2 masks of the file were refused" in line for line in found["problems"])
    with wb.Project.open(project) as opened:
        assert len(opened.truth()) == 2


def test_import__of_no_images_fails(tmp_path, project):
    (tmp_path / "t.json").write_text('{"images": [], "annotations": []}')
    assert "the file has no images" in answer("import", project, tmp_path / "t.json", status=1)["error"]
    found = answer("import", project, truth_file(tmp_path / "t.json", "a.png", masks=0))
    assert (found["images"], found["masks"], "error" in found) == (1, 0, False)  # an image without objects is truth


def test_export__of_a_run_that_has_fewer_images_than_one_before_says_so(tmp_path, project):
    run("propose", project, *FEW)
    assert "note" not in answer("export", project, "-o", tmp_path / "a.json")
    run("propose", project, "--set", "points_per_side=3", "--limit", "1")
    for command in (("export", project, "-o", tmp_path / "b.json"), ("report", project)):
        assert "run 2's masks, which has 1 images; run 1 has" in answer(*command)["note"]


def test_import__again_says_that_it_replaces(tmp_path, project):
    file = truth_file(tmp_path / "t.json", "a.png", "b.png", masks=2)
    assert "note" not in answer("import", project, file)
    again = answer("import", project, truth_file(tmp_path / "u.json", "a.png"))
    assert again["note"] == "an import replaces the truth of its images: 2 masks that they had are gone"
    assert "replaces the truth" in run("import", project, file).stdout
    assert "replaces the truth" in " ".join(run("import", "--help").output.replace("│", "").split())


def test_import__truth_with_gaps_is_told_first(tmp_path, project):
    file = truth_file(tmp_path / "t.json", "a.png", "b.png", "gone.png")
    document = json.loads(file.read_text())
    document["annotations"] += [{"id": 100 + k, "image_id": k, "category_id": 1, "segmentation": []} for k in range(3)]
    file.write_text(json.dumps(document))
    found = answer("import", project, file)
    assert (found["images"], found["masks"], len(found["problems"])) == (2, 2, 4)
    assert found["problems"][0].startswith("2 images (first a.png) have truth with gaps")
    assert "count what is missing there as wrong; mend the file" in found["problems"][0]
    assert "truth with gaps" not in run("import", project, truth_file(tmp_path / "u.json", "a.png")).stdout


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


def test_triage__of_masks_asked_twice_by_the_thresholds_that_were_read_off_such(project):
    run(
        "propose", project, *FEW, "--set", "pool='distinct'", "--set", "refine=true", "--set", "predicted_iou_floor=0.5"
    )
    run("triage", project)
    with wb.Project.open(project) as opened:
        floors, refined = wb.ProposeConfig.from_dict(opened.runs().settings.iloc[-1]), wb.preset("bundled").refined
        assert floors.refine
        assert opened.triage_config() == refined.replace(nms_iou=floors.nms_iou, pool="distinct")
        assert first_triage(None, floors, opened.runs().model_id.iloc[-1]) == opened.triage_config()


def test_triage__goes_on_from_the_thresholds_in_force(project):
    def force():
        with wb.Project.open(project) as opened:
            return opened.triage_config()

    run("propose", project, *FEW)
    run("triage", project, "--set", "predicted_iou=0.9")
    run("triage", project, "--set", "min_area_px=5")
    config = force()
    assert (config.predicted_iou, config.min_area_px) == (0.9, 5)
    run("triage", project, "--note", "again")
    assert force() == config
    with wb.Project.open(project) as opened:
        opened.triage()
    assert force() == config
    run("triage", project, "--preset", "bundled", "--set", "min_area_px=5")
    assert force() == wb.preset("bundled").triage.replace(min_area_px=5)


def test_triage__thresholds_fit_the_floors_of_the_run(project):
    """Floors above the margin of the preset: what Python moves there by itself, the command line moves too."""
    run("propose", project, *FEW, "--set", "predicted_iou_floor=0.85")
    run("triage", project, "--set", "border_px=1")
    with wb.Project.open(project) as opened:
        told = opened.triage_config()
    assert told.predicted_iou - told.predicted_iou_margin >= 0.85 - 1e-9
    assert told.border_px == 1


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
    text = "".join(run("import", project, tmp_path / "t.json", status=1).stdout.split())
    assert names[0] in text
    assert names[19] in text
    assert names[20] not in text
    assert "and10more" in text
    assert answer("import", project, tmp_path / "t.json", status=1)["unmatched"] == names


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


def test_wrong_use__of_options_is_told_by_their_names(project, tmp_path, cells):
    assert "--model: load_sam: expected one of" in run("propose", project, "--model", "bundeld", status=2).output
    assert "--model latest: expected a run before" in run("propose", project, "--model", "latest", status=2).output
    assert "--dtype: expected" in run("propose", project, "--dtype", "int8", status=2).output
    assert "--device: expected" in run("propose", project, "--device", "nonsense", status=2).output
    roles = run("init", tmp_path / "q.wb", "--images", cells / "*.png", "--roles", "0.5,0.5", status=2)
    assert "--roles: shares: expected three" in roles.output
    assert "--declare: gate: expected checks" in run("gate", project, "--declare", "foo=bar", status=2).output
    run("efficiency", project, "--manual-s", "-3", status=2)
    for option in ("--basic-auth", "--oauth-provider"):  # a variable that is not set must not open the door
        assert f"{option}: expected a text" in run("dashboard", project, option, "", status=2).output
    run("init", f"{project}2", "--images", "*.png", "--seed", "1" * 23, status=2)
    run("sweep", project, "--grid", "min_area_px=1,2", "--name", " ", status=2)


@pytest.mark.parametrize(
    "args", [("triage",), ("export", "DIR", "--format", "yolo9", "-o", "x"), ("init", "z.wb"), ("--bogus",)]
)
def test_wrong_use__is_one_json_object_too(args):
    result = CliRunner().invoke(app, [*args, "--json"])
    assert result.exit_code == 2
    assert set(json.loads(result.stdout)) == {"error"}
    assert "Error" in result.stderr


def test_init__says_which_roles_no_image_has(tmp_path, cells):
    found = answer("init", tmp_path / "q.wb", "--images", cells / "*.png", "--roles", "0,0,1")
    assert "no image of role train or calibration" in found["note"]


@pytest.mark.parametrize(
    "command", [["propose"], ["triage"], ["report"], ["export", "-o", "x.json"], ["doctor"]], ids=lambda c: c[0]
)
def test_no_project__exits_1_with_words(tmp_path, command):
    result = run(command[0], tmp_path / "none.wb", *command[1:], status=1)
    assert "no such folder" in result.output
    assert "Traceback" not in result.output


def test_work_that_fails__exits_1_with_words(tmp_path, project, cells):
    assert "checkpoint" in run("propose", project, "--model", "vit_h", status=1).output
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


def test_doctor__counts_image_files_that_are_gone_or_of_another_size(project, cells):
    (cells / "a.png").unlink()
    found = answer("doctor", project, status=1)
    assert len(found["problems"]) == 1
    assert found["problems"][0].startswith(f"1 image file is missing: {cells / 'a.png'}; put them back")
    (cells / "b.png").write_bytes((cells / "b.png").read_bytes() + b"more")
    (cells / "c.png").unlink()  # no whole picture, and yet recorded
    gone, changed = answer("doctor", project, status=1)["problems"]
    assert gone.startswith("2 image files are missing: ")
    assert changed.startswith(f"1 image file is of another size than when recorded: {cells / 'b.png'}; restore")
    cells.rename(cells.with_name("moved"))  # one line for all of them
    (problem,) = answer("doctor", project, status=1)["problems"]
    assert problem == f"{cells}: the folder of images is missing; put it back"


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


def test_add__images_of_another_folder_join_a_project(tmp_path, project, cells):
    more = tmp_path / "more"
    more.mkdir()
    Image.fromarray(np.roll(squares((64, 96))[0], 16, axis=1)).save(more / "d.png")
    added = answer("add", project, "--images", more)
    assert (added["new"], added["duplicates"], added["known"]) == (1, 0, 0)
    assert added["images"] == sum(added["roles"].values()) == 4
    again = answer("add", project, "--images", more)
    assert (again["new"], again["known"]) == (0, 1)
    assert "expected" in run("add", project, "--images", tmp_path / "none" / "*.png", status=1).stderr


def test_export__final_masks_of_images_nobody_left_are_named(tmp_path, project):
    run("propose", project, *FEW)
    said = answer("export", project, "-o", tmp_path / "m.json", "--outcome", "final")
    assert (said["complete"], said["not_left"]) == (0, 2)
    assert said["note"] == "of the 2 images that nobody has left, what is auto-accepted was written"


def test_sweep__without_an_experiment_says_how_to_make_one(project):
    assert "--grid NAME=VALUES" in run("sweep", project).stdout
    assert answer("sweep", project)["experiments"] == []


def test_gate__without_a_test_image_says_so(tmp_path, cells):
    run("init", tmp_path / "q.wb", "--images", cells / "*.png", "--roles", "0.5,0.5,0")
    run("propose", tmp_path / "q.wb", *FEW)
    assert "no image has the role test" in " ".join(run("gate", tmp_path / "q.wb").stdout.split())


def test_propose__a_device_that_is_not_there_is_named_once(project):
    said = run("propose", project, "--device", "cuda:7", status=2).stderr
    assert "--device: 'cuda:7' is not there" in said
    assert "take one of these, or auto" in said


def test_main__asked_to_end_it_ends_as_by_ctrl_c(monkeypatch):
    before, seen = signal.getsignal(signal.SIGTERM), []
    monkeypatch.setattr(cli, "app", lambda: seen.append(signal.getsignal(signal.SIGTERM)))
    try:
        cli.main()
    finally:
        signal.signal(signal.SIGTERM, before)
    assert seen == [signal.default_int_handler]
