"""Files that people name: what is never written over, what is written into, what stays when writing fails."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from flat_segmenter import FlatSegmenter, squares
from PIL import Image
from typer.testing import CliRunner

import workbench as wb
from workbench import demo, exchange, outputs
from workbench.cli import app
from workbench.outputs import OutputError
from workbench.store import catalog, places, pooled, shards, versions


@pytest.fixture
def project(tmp_path):
    (tmp_path / "images").mkdir()
    Image.fromarray(squares((64, 96))[0]).save(tmp_path / "images" / "a.png")
    with wb.Project.create(tmp_path / "p.wb", images=str(tmp_path / "images")) as project:
        project.propose(FlatSegmenter(), wb.ProposeConfig(points_per_side=4, jitter_prompts=0), progress=False)
        yield project


def held(folder):
    """Return the bytes of each file below a folder, but for the database's log, which reading writes too."""
    found = [file for file in sorted(folder.rglob("*")) if file.is_file()]
    return {file: file.read_bytes() for file in found if not file.name.endswith(("-wal", "-shm"))}


def test_project__is_known_by_the_names_that_it_is_made_with():
    assert (places.MARK, catalog.FILE) == (outputs.MARK, outputs.CATALOGUE)
    assert {shards.FOLDER, versions.FOLDER, pooled.FOLDER} == set(outputs.OWN_FOLDERS)


@pytest.mark.parametrize(
    "name", ["project.sqlite", "project.sqlite-wal", "project.toml", "cycles.lock", "shards/new.json"]
)
def test_export__over_what_is_a_projects_own_is_refused_before_anything_is_written(project, tmp_path, name):
    before = held(project.path)
    with pytest.raises(OutputError, match=r"expected a name that no project has for its own.*p\.wb"):
        project.export_coco(project.path / name)
    assert held(project.path) == before
    said = CliRunner().invoke(app, ["export", str(project.path), "-o", str(project.path / name)])
    assert said.exit_code == 1
    assert said.stderr.startswith(f"workbench: {project.path / name}: expected a name that no project has")
    assert held(project.path).keys() == before.keys()


def test_export__into_another_project_or_through_a_link_is_refused(project, tmp_path):
    with wb.Project.create(tmp_path / "other.wb", images=str(tmp_path / "images")) as other:
        inside = other.path / "project.sqlite"
        (tmp_path / "masks.json").symlink_to(inside)
        (tmp_path / "folder").symlink_to(other.path)
        for name in (inside, tmp_path / "masks.json", tmp_path / "folder" / "project.toml"):
            with pytest.raises(OutputError, match="no project has for its own"):
                project.export_coco(name)
        moved = tmp_path / "elsewhere"  # shards on another disk belong to the project still
        moved.mkdir()
        (other.path / "models").symlink_to(moved)
        with pytest.raises(OutputError, match="no project has for its own"):
            project.export_coco(other.path / "models" / "x.json")
        assert other.check() == []


def test_export__over_an_image_of_the_project_is_refused(project, tmp_path):
    image = tmp_path / "images" / "a.png"
    before = image.read_bytes()
    (tmp_path / "link.json").symlink_to(image)
    for name in (image, tmp_path / "link.json", tmp_path / "images" / ".." / "images" / "a.png"):
        for outcome in ("all", "final"):
            with pytest.raises(OutputError, match="an image of the project"):
                project.export_coco(name, outcome)
    assert image.read_bytes() == before
    assert project.export_coco(tmp_path / "images" / "masks.json", "all") > 0  # beside them is their owner's choice


def test_export__over_an_image_that_is_a_link_is_refused(tmp_path):
    (tmp_path / "images").mkdir()
    real = tmp_path / "real.png"
    Image.fromarray(squares((64, 96))[0]).save(real)
    (tmp_path / "images" / "a.png").symlink_to(real)
    made = wb.Project.create(tmp_path / "p.wb", images=[tmp_path / "images" / "a.png"])
    with made as project, pytest.raises(OutputError, match="an image of the project"):
        project.export_coco(real)


def test_export__over_a_catalogue_elsewhere_is_refused(tmp_path, project):
    file = tmp_path / "elsewhere.sqlite"
    with wb.Project.create(tmp_path / "q.wb", str(tmp_path / "images"), database=f"sqlite:///{file}") as other:
        with pytest.raises(OutputError, match="its catalogue"):
            other.export_coco(file)
        assert str(file.resolve()) in exchange.originals(other)


def test_export__follows_a_link_and_keeps_it(project, tmp_path):
    (tmp_path / "out").mkdir()
    link = tmp_path / "latest.json"
    link.symlink_to(tmp_path / "out" / "masks.json")
    for _ in range(2):
        project.export_coco(link, "all")
        assert link.is_symlink()
        assert (tmp_path / "out" / "masks.json").read_bytes().startswith(b'{"info"')
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ["masks.json"]


def test_write_whole__keeps_the_mode_of_what_was_there_and_takes_long_names(tmp_path):
    file = tmp_path / ("x" * 250 + ".json")
    outputs.write_whole(file, [b"a"])
    file.chmod(0o640)
    outputs.write_whole(file, [b"b"])
    assert (file.read_bytes(), file.stat().st_mode & 0o777) == (b"b", 0o640)
    assert len(list(tmp_path.glob(".*"))) == 0


def test_export__into_a_pipe_writes_and_leaves_it(project, tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()), daemon=True)
    reader.start()
    project.export_coco(pipe, "all")
    reader.join(20)
    project.export_coco(tmp_path / "masks.json", "all")
    assert read == [(tmp_path / "masks.json").read_bytes()]
    assert pipe.is_fifo()


def test_write_whole__into_a_device_leaves_it(tmp_path):
    before = Path("/dev/null").stat().st_rdev
    made = tmp_path / "null"
    made.symlink_to("/dev/null")
    outputs.write_whole(made, [b"gone"])
    assert made.is_symlink()
    assert Path("/dev/null").stat().st_rdev == before


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
def test_write_whole__standard_output_into_a_file_goes_on_at_its_end(tmp_path, name):
    code = (
        "import sys; from pathlib import Path; from workbench import outputs;"
        f"print('before', flush=True); outputs.write_whole(Path({name!r}), [b'masks\\n']); print('after')"
    )
    with (tmp_path / "out").open("wb") as file:
        subprocess.run([sys.executable, "-c", code], stdout=file, check=True, timeout=60)
    assert (tmp_path / "out").read_text() == "before\nmasks\nafter\n"
    assert Path("/dev/stdout").is_symlink()
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]


def test_write_whole__a_descriptor_that_is_not_open():
    with pytest.raises(OutputError, match="/dev/fd/987: expected a file that is open"):
        outputs.write_whole(Path("/dev/fd/987"), [b""])


def test_project_of__other_tools_have_files_of_that_name(tmp_path):
    (tmp_path / "project.toml").write_text('[build]\nbuilder = "x"\n')
    assert outputs.project_of(tmp_path / "models" / "masks.json") is None
    (tmp_path / "project.toml").write_text("format = 1\n")
    assert outputs.project_of(tmp_path / "models" / "a" / "masks.json") == tmp_path
    assert outputs.project_of(tmp_path / "masks.json") is None
    (tmp_path / "project.toml").write_text("format = [")  # damaged: rather too careful
    assert outputs.project_of(tmp_path / "project.toml") == tmp_path


def test_export__beside_a_projects_own_files_is_its_owners_choice(project):
    for _ in range(2):
        assert project.export_coco(project.path / "masks.json", "all") > 0
    assert project.check() == []


def test_gallery_and_demo__into_a_project_are_refused(project, tmp_path):
    before = held(project.path)
    for folder in (project.path, project.path / "shards" / "gallery"):
        with pytest.raises(OutputError, match="no project has for its own"):
            demo.write_project_gallery(project, folder)
        with pytest.raises(OutputError, match="no project has for its own"):
            demo.run_demo(folder)
    assert held(project.path) == before


@pytest.mark.parametrize("words", [["annotate", "-o"], ["dashboard", "--save"], ["report", "--gallery"]])
def test_commands__with_outputs_refuse_a_project_s_folder_before_the_work(project, words, monkeypatch):
    monkeypatch.setattr(wb.Project, "annotate_automatically", lambda *_, **__: pytest.fail("it has begun"))
    command, option = words
    said = CliRunner().invoke(app, [command, str(project.path), option, str(project.path / "project.sqlite")])
    assert said.exit_code == 1, said.output
    assert "expected a name that no project has for its own" in said.stderr
    assert project.check() == []


@pytest.mark.parametrize("words", [["annotate", "-o"], ["dashboard", "--save"]])
def test_commands__with_outputs_refuse_an_image_of_the_project(project, words, tmp_path):
    image = tmp_path / "images" / "a.png"
    before, (command, option) = image.read_bytes(), words
    said = CliRunner().invoke(app, [command, str(project.path), option, str(image)])
    assert (said.exit_code, image.read_bytes()) == (1, before)
    assert "an image of the project" in said.stderr


def test_gallery__over_an_image_of_the_project_is_refused(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    image = folder / "001-001-a.png"
    Image.fromarray(squares((64, 96))[0]).save(image)
    Image.fromarray(squares((64, 96))[0] // 2).save(folder / "001-a.png")
    before = held(folder)
    with wb.Project.create(tmp_path / "p.wb", images=str(folder)) as project:
        # the second image's picture would have the name of the first
        paths = project.images()["path"].tolist()
        assert paths == ["001-001-a.png", "001-a.png"]
        project.propose(
            FlatSegmenter(), wb.ProposeConfig(points_per_side=4, jitter_prompts=0), images=["001-a.png"], progress=False
        )
        with pytest.raises(OutputError, match="an image of the project"):
            demo.write_project_gallery(project, folder)
    assert held(folder) == before
