"""A project from making to report, with a stub in the place of the model."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import stub_sam
from PIL import Image

import workbench as wb
from workbench.store import runs
from workbench.store.errors import StoreError
from workbench.tables.outcomes import Outcome

SAM = stub_sam.StubSam()
N = 8


@pytest.fixture
def stage(monkeypatch):
    module = stub_sam.stage()
    monkeypatch.setitem(sys.modules, "workbench.propose.run", module)
    return module


@pytest.fixture
def images(tmp_path):
    return stub_sam.write_images(tmp_path / "images", N)


@pytest.fixture
def project(tmp_path, images, stage):
    with wb.Project.create(tmp_path / "cells.wb", images=str(images / "*.png"), name="cells") as made:
        yield made


@pytest.fixture
def proposed(project):
    project.propose(SAM, progress=False)
    return project


# ---- making and opening -----------------------------------------------------------------------------------------------


def test_create__records_images_in_natural_order_with_roles(project):
    frame = project.images()
    assert frame["path"].tolist() == [f"image{i}.png" for i in range(N)]
    assert frame["status"].eq("new").all()
    assert set(frame["role"]) <= {"train", "calibration", "test"}
    assert frame["image_id"].is_unique
    assert frame["image_id"].str.fullmatch(r"[0-9a-f]{32}").all()


def test_create__roles_are_drawn_by_the_seed(tmp_path, images, stage):
    for name, shares in (("a", (1, 0, 0)), ("b", (0, 1, 0)), ("c", (0, 0, 1))):
        with wb.Project.create(tmp_path / name, images, roles=shares) as made:
            assert made.images()["role"].nunique() == 1
    with pytest.raises(ValueError, match="shares"):
        wb.Project.create(tmp_path / "d", images, roles=(0.5, 0.2, 0.2))
    assert not (tmp_path / "d").exists()


def test_create__seed_that_no_database_holds_is_refused(tmp_path, images):
    with pytest.raises(ValueError, match="seed: expected a whole number of at most 64 bits"):
        wb.Project.create(tmp_path / "p.wb", images, seed=2**63)
    assert not (tmp_path / "p.wb").exists()


def test_create__a_list_of_files(tmp_path, images, stage):
    paths = [images / "image3.png", str(images / "image1.png"), images / "image3.png"]
    with wb.Project.create(tmp_path / "few.wb", paths) as made:
        assert made.images()["path"].tolist() == ["image3.png", "image1.png"]


def test_create__a_list_of_globs(tmp_path, images, stage):
    (images / "odd[1].png").write_bytes((images / "image0.png").read_bytes())
    given = [images / "image[12].png", images / "odd[1].png", images / "gone.png"]
    with wb.Project.create(tmp_path / "few.wb", given) as made:
        assert made.images()["path"].tolist() == ["image1.png", "image2.png", "odd[1].png", "gone.png"]
    with pytest.raises(StoreError, match="nothing matches"):
        wb.Project.create(tmp_path / "none.wb", [images / "*.jpg"])


def test_create__folders_are_domains(tmp_path, stage):
    stub_sam.write_images(tmp_path / "all" / "liver", 2)
    stub_sam.write_images(tmp_path / "all" / "lung", 1, seed=1)
    with wb.Project.create(tmp_path / "p.wb", tmp_path / "all") as made:
        assert made.images()["domain"].tolist() == ["liver", "liver", "lung"]
        assert made.images()["path"].tolist() == ["liver/image0.png", "liver/image1.png", "lung/image0.png"]


def test_create__over_a_project_is_refused(project, images):
    with pytest.raises(StoreError, match=r"project already.*Project\.open"):
        wb.Project.create(project.path, images)


def test_create__over_other_files_is_refused(tmp_path, images):
    with pytest.raises(StoreError, match="something else"):
        wb.Project.create(images, images)
    (tmp_path / "empty").mkdir()
    wb.Project.create(tmp_path / "empty", images).close()


@pytest.mark.parametrize("pattern", ["none/*.png", "none", []])
def test_create__without_an_image_is_refused_and_leaves_nothing(tmp_path, monkeypatch, pattern):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StoreError, match="expected a glob, a folder or a"):
        wb.Project.create("p.wb", pattern)
    assert list(tmp_path.iterdir()) == []


def test_create__that_fails_leaves_nothing(tmp_path, images, monkeypatch):
    monkeypatch.setattr("workbench.store.intake.record", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        wb.Project.create(tmp_path / "p.wb", images)
    assert [f.name for f in tmp_path.iterdir()] == ["images"]


def test_open__gives_back_what_was_made(project):
    project.close()
    with wb.Project.open(project.path) as again:
        assert (again.name, again.seed, again.roles) == ("cells", 0, (0.6, 0.2, 0.2))
        assert len(again.images()) == N


def test_open__project_and_images_moved_together(proposed, tmp_path):
    proposed.close()
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    (tmp_path / "images").rename(moved / "images")
    (tmp_path / "cells.wb").rename(moved / "cells.wb")
    with wb.Project.open(moved / "cells.wb") as again:
        assert again.image("image0.png").shape == (24, 32, 3)
        assert again.check() == []


def test_open__what_is_no_project_is_said_in_words(tmp_path, images):
    with pytest.raises(StoreError, match="no such folder"):
        wb.Project.open(tmp_path / "none.wb")
    with pytest.raises(StoreError, match="not a project"):
        wb.Project.open(images)
    with pytest.raises(StoreError, match="not a project"):
        wb.Project.open(images / "image0.png")


def test_open__of_a_newer_workbench_is_refused(project):
    mark = project.path / "project.toml"
    mark.write_text(mark.read_text().replace("format = 1", "format = 2"))
    with pytest.raises(StoreError, match="made by a newer workbench"):
        wb.Project.open(project.path)


def test_open__damaged_or_missing_parts_are_named(project):
    project.close()
    mark = project.path / "project.toml"
    text = mark.read_text()
    mark.write_text("format = ")
    with pytest.raises(StoreError, match=r"project\.toml: expected TOML"):
        wb.Project.open(project.path)
    mark.write_text(text)
    (project.path / "project.sqlite").unlink()
    with pytest.raises(StoreError, match=r"project\.sqlite is missing"):
        wb.Project.open(project.path)


def test_create__catalogue_elsewhere(tmp_path, images, stage):
    url = f"sqlite:///{tmp_path}/catalogue.db"
    with wb.Project.create(tmp_path / "p.wb", images, database=url) as made:
        made.propose(SAM, progress=False)
        n = len(made.proposals())
    assert not (tmp_path / "p.wb" / "project.sqlite").exists()
    with pytest.raises(StoreError, match="kept elsewhere"):
        wb.Project.open(tmp_path / "p.wb")
    with wb.Project.open(tmp_path / "p.wb", database=url) as again:
        assert len(again.proposals()) == n > 0
    with pytest.raises(StoreError, match="holds a project already"):
        wb.Project.create(tmp_path / "q.wb", images, database=url)


# ---- proposals --------------------------------------------------------------------------------------------------------


def test_propose__summary_counts_what_was_done(project):
    summary = project.propose(SAM, progress=False)
    assert (summary.images, summary.done, summary.failed, summary.skipped, summary.left) == (N, N, 0, 0, 0)
    assert summary.proposals == len(project.proposals()) > N
    assert 0 < summary.distinct <= summary.proposals
    assert summary.seconds_per_image == pytest.approx(summary.seconds / N)
    assert summary.peak_memory_mb > 10
    assert "proposals" in repr(summary)
    assert "<table>" in summary._repr_html_()


def test_propose__again_does_only_what_is_left(project, stage, monkeypatch):
    seen = []
    monkeypatch.setattr(stage, "propose", lambda *a, **k: seen.append(k["image_id"]) or stub_sam.propose(*a, **k))
    first = project.propose(SAM, limit=3, progress=False)
    assert (first.done, first.left) == (3, N - 3)
    second = project.propose(SAM, progress=False)
    assert (second.done, second.skipped, second.run_id) == (N - 3, 3, first.run_id)
    third = project.propose(SAM, progress=False)
    assert (third.done, third.skipped) == (0, N)
    assert np.isnan(third.seconds_per_image)
    assert third.to_dict()["seconds_per_image"] is None
    assert seen == project.images()["image_id"].tolist()


def test_propose__other_settings_or_model_are_another_run(proposed):
    coarse = wb.ProposeConfig(points_per_side=16)
    proposed.propose(SAM, coarse, limit=2, progress=False)
    proposed.propose(stub_sam.StubSam("other-99"), progress=False)
    frame = proposed.runs()
    assert frame["id"].tolist() == [1, 2, 3]
    assert frame["model_id"].tolist() == ["stub-0123", "stub-0123", "other-99"]
    assert [s["points_per_side"] for s in frame["settings"]] == [32, 16, 32]
    assert frame["done"].tolist() == [N, 2, N]
    assert frame["made_by"].eq(wb.__version__).all()
    assert set(proposed.proposals().model_id) == {"other-99"}
    assert set(proposed.proposals(run=2).image_id) < set(proposed.proposals(run=1).image_id)
    with pytest.raises(StoreError, match=r"expected one of \[1, 2, 3\], got 9"):
        proposed.proposals(run=9)


def test_propose__latest_run_is_the_one_worked_on_last(proposed):
    proposed.propose(stub_sam.StubSam("other-99"), progress=False)
    proposed.propose(SAM, progress=False)
    assert set(proposed.proposals().model_id) == {"stub-0123"}


def test_propose__chosen_images(project):
    summary = project.propose(SAM, images=["image5.png", project.images()["image_id"][2]], progress=False)
    assert (summary.images, summary.done) == (2, 2)
    assert project.images().query("status == 'done'")["path"].tolist() == ["image2.png", "image5.png"]
    with pytest.raises(StoreError, match=r"none is called 'image55\.png'; did you mean 'image5\.png'"):
        project.propose(SAM, images=["image55.png"], progress=False)
    with pytest.raises(TypeError, match="put it in a list"):
        project.propose(SAM, images="image5.png", progress=False)


def test_propose__what_is_no_model_is_said(project):
    with pytest.raises(TypeError, match=r"expected a model as load_sam\(\) returns it, got str"):
        project.propose("vit_b")
    with pytest.raises(ValueError, match="limit"):
        project.propose(SAM, limit=-1)


def test_propose__ctrl_c_keeps_what_was_done(project, stage, monkeypatch):
    calls = []

    def interrupted(*args, **settings):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return stub_sam.propose(*args, **settings)

    monkeypatch.setattr(stage, "propose", interrupted)
    with pytest.raises(KeyboardInterrupt):
        project.propose(SAM, progress=False)
    assert project.images()["status"].tolist() == ["done"] * 3 + ["new"] * (N - 3)
    assert project.propose(SAM, progress=False).skipped == 3


def test_propose__two_at_once_into_one_run_is_refused(project, stage, monkeypatch):
    refusals = []

    def second(*args, **settings):
        with wb.Project.open(project.path) as other:
            with pytest.raises(StoreError) as refusal:
                other.propose(SAM, progress=False)
            refusals.append(str(refusal.value))
        return stub_sam.propose(*args, **settings)

    monkeypatch.setattr(stage, "propose", second)
    assert project.propose(SAM, limit=1, progress=False).done == 1
    assert "run 1 is being written by another process" in refusals[0]


def test_propose__progress_bar_shows_counts(project, capsys):
    project.propose(SAM, limit=2)
    shown = capsys.readouterr().err
    assert "proposing" in shown
    assert "failures=0" in shown


def test_proposals__in_order_of_images_and_rows(proposed):
    rows = proposed.proposals()
    ids = proposed.images()["image_id"].tolist()
    order = [ids.index(i) for i in rows.image_id]
    assert order == sorted(order)
    again = wb.Proposals.concat([proposed.proposals(i) for i in ids])
    assert again.to_frame().equals(rows.to_frame())
    assert proposed.proposals(["image1.png", "image0.png"]).image_id.tolist() == [
        i for i in rows.image_id if i in ids[:2]
    ]
    assert proposed.images()["proposals"].tolist() == [order.count(k) for k in range(N)]


def test_proposals__are_what_the_stage_gave(proposed):
    image = proposed.image("image3.png")
    expected = stub_sam.propose(image, SAM, image_id=proposed.images()["image_id"][3])
    assert proposed.proposals("image3.png").to_frame().equals(expected.to_frame())


def test_proposals__before_any_run(project):
    assert len(project.proposals()) == 0
    with pytest.raises(StoreError, match="none is called"):
        project.proposals("other.png")


@pytest.mark.parametrize("outcome", ["auto_accepted", "flagged", "discarded", "distinct", "final", "all"])
def test_proposals__by_outcome(proposed, outcome):
    config = wb.TriageConfig(min_area_px=0, predicted_iou=0.8, border_px=None)
    triaged = proposed.triage(config)
    rows = proposed.proposals()
    wanted = {
        "all": np.ones(len(rows), bool),
        "distinct": triaged.distinct,
        "final": triaged.auto_accepted,
    }.get(outcome, triaged.outcome == Outcome.__members__.get(outcome, -1))
    assert wanted.any()
    assert proposed.proposals(outcome=outcome).to_frame().equals(rows.select(wanted).to_frame())


def test_proposals__unknown_outcome(proposed):
    with pytest.raises(ValueError, match=r"expected one of all, distinct.*'accepted'"):
        proposed.proposals(outcome="accepted")


def test_image__is_the_picture(project, images):
    assert (project.image("image2.png") == np.array(Image.open(images / "image2.png"))).all()


# ---- triage and report ------------------------------------------------------------------------------------------------


def test_image__whose_path_several_folders_have_is_asked_for_by_id(project, tmp_path):
    other = stub_sam.write_images(tmp_path / "other", 1, seed=7)
    project.add_images(other)
    with pytest.raises(StoreError, match=r"'image0\.png' is the path of 2 images in several folders; give an id"):
        project.image("image0.png")
    with Image.open(other / "image0.png") as picture:
        assert (project.image(project.images()["image_id"].iloc[-1]) == np.asarray(picture)).all()


def test_triage__is_that_of_each_image(proposed):
    config = wb.TriageConfig(predicted_iou=0.8)
    whole, rows = proposed.triage(config), proposed.proposals()
    parts = [wb.triage(rows.select(places), config) for _, places in rows.by_image()]
    assert (whole.outcome == np.concatenate([p.outcome for p in parts])).all()
    assert (whole.reasons == np.concatenate([p.reasons for p in parts])).all()
    assert whole.config == config


def test_triage__is_kept_as_a_version(proposed):
    proposed.triage()
    proposed.triage("official", note="as published", author="a1")
    proposed.triage()
    proposed.triage("official", note="again", author="a2")
    frame = proposed.triages()
    assert frame["author"].tolist() == ["", "a1", "a2"]
    assert frame["settings"][1] == wb.preset("official").triage.to_dict()
    assert frame["counts"][1] == frame["counts"][2]


def test_triage__before_any_proposal(project):
    with pytest.raises(StoreError, match="run `workbench propose`"):
        project.triage()


def test_report__counts_the_latest_triage(proposed):
    config = wb.TriageConfig(min_area_px=0, predicted_iou=0.8, border_px=None)
    triaged = proposed.triage(config)
    report = proposed.report()
    values = report.to_dict()
    assert json.loads(json.dumps(values)) == values
    assert {name: values[name] for name in triaged.counts()} == triaged.counts()
    assert values["auto_accept_rate"] == pytest.approx(triaged.auto_accept_rate)
    assert values["reasons"] == triaged.reason_counts()
    assert (values["images"], values["done"], values["proposals"]) == (N, N, len(triaged))
    assert values["failures"] == {}
    assert values["seconds_per_image"] > 0
    assert values["peak_memory_mb"] > 10
    assert values["model_id"] == "stub-0123"
    assert values["settings"] == {"propose": wb.ProposeConfig().to_dict(), "triage": config.to_dict()}
    for shown in (str(report), report._repr_html_()):
        assert "auto accept rate" in shown
        assert "points_per_side" not in shown  # settings are a wall of text; to_dict has them
        assert all((f"{reason}: " in shown) == (n > 0) for reason, n in report.reasons.items())


def test_report__triages_what_has_grown_by_the_settings_used_last(project):
    project.propose(SAM, limit=3, progress=False)
    project.triage("official")
    project.propose(SAM, progress=False)
    report = project.report()
    assert report.distinct == project.triage("official").counts()["distinct"]
    assert report.settings["triage"] == wb.preset("official").triage.to_dict()
    assert len(project.triages()) == 1


def test_report__before_any_proposal(project):
    values = project.report().to_dict()
    assert (values["images"], values["proposals"], values["model_id"]) == (N, 0, None)
    assert values["auto_accept_rate"] is None


def test_repr__says_what_it_is(proposed):
    assert repr(proposed).startswith(f"<Project 'cells': {N} images, {N} done")
    assert "<table>" in proposed._repr_html_()


def test_import__of_project_needs_no_torch_pandas_or_numba():
    code = (
        "import sys, workbench.project; print([m for m in ('torch', 'pandas', 'numba', 'alembic') if m in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"


def test_propose__says_when_the_folder_of_images_is_gone(project, images):
    away = images.rename(images.with_name("unmounted"))
    with pytest.raises(StoreError, match=r"folder of images is not there; mount it"):
        project.propose(SAM, progress=False)
    away.rename(images)
    summary = project.propose(SAM, progress=False)
    assert summary.failed == 0
    assert summary.done == summary.images


def test_settings__are_those_that_fit_the_model_when_none_are_named(project):
    bundled = stub_sam.StubSam("bundled-0123")
    project.propose(bundled, progress=False)
    assert project.runs().iloc[-1]["settings"] == wb.preset("bundled").propose.to_dict()
    assert project.triage().config == wb.preset("bundled").triage
    assert project.triage(wb.preset("stage2")).config == wb.preset("stage2").triage


def test_open__the_catalogue_of_another_project_is_refused_and_takes_no_shard(project, tmp_path):
    """Shards that a catalogue does not name are leftovers to its project: those of another must not come into its hands."""
    first, second = (f"sqlite:///{tmp_path}/{name}.sqlite" for name in "ab")
    images = tmp_path / "both"
    stub_sam.write_images(images, 2)
    for name, url in (("a.wb", first), ("b.wb", second)):
        wb.Project.create(tmp_path / name, images, database=url).close()
    with wb.Project.open(tmp_path / "a.wb", first) as own:
        own.propose(SAM, stub_sam.PLAIN, progress=False)
        rows = len(own.proposals())
    with pytest.raises(
        StoreError, match="expected the catalogue that the project was made with, got another project's"
    ):
        wb.Project.open(tmp_path / "a.wb", second)
    with wb.Project.open(tmp_path / "a.wb", first) as own:
        assert len(own.proposals()) == rows > 0
    mark = tmp_path / "b.wb" / "project.toml"  # as an earlier version made it
    mark.write_text("".join(line for line in mark.read_text().splitlines(True) if not line.startswith("key")))
    wb.Project.open(tmp_path / "b.wb", second).close()


def test_propose__of_two_runs_written_side_by_side_the_one_that_began_later_is_the_latest(project):
    first, second = (
        runs.begin(project.catalog, "stub-0123", name, stub_sam.PLAIN.to_dict(), "") for name in ("first", "second")
    )
    keys = [file.key for file in runs.image_files(project.catalog, None)]
    with runs.writing(project.catalog, project.path, first) as one:
        one.failed(keys[0], "r", "m", 0.1)
        one.flush()
        with runs.writing(project.catalog, project.path, second) as other:
            other.failed(keys[0], "r", "m", 0.1)
            other.flush()
            one.failed(keys[1], "r", "m", 0.1)
            one.flush()
            assert runs.find(project.catalog).id == second.id
    assert runs.find(project.catalog).id == second.id


def test_propose__what_is_refused_or_works_on_nothing_takes_nobodys_masks_away(project, tmp_path):
    project.propose(SAM, stub_sam.PLAIN, progress=False)
    other, before = stub_sam.PLAIN.replace(points_per_side=3), project.model_id
    rows = len(project.proposals())
    with pytest.raises(StoreError):
        project.propose(SAM, other, images=["nobody's"], progress=False)
    project.propose(SAM, other, limit=0, progress=False)
    assert (project.model_id, len(project.proposals())) == (before, rows)
    assert project.report().to_dict()["run_id"] == 1
    project.propose(SAM, other, limit=1, progress=False)
    assert project.report().to_dict()["run_id"] != 1  # from its first image on
    project.propose(SAM, stub_sam.PLAIN, progress=False)  # all is done: it is the latest again
    assert (project.report().to_dict()["run_id"], len(project.proposals())) == (1, rows)
