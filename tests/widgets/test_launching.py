"""`workbench review`: the notebook it writes, and the command it runs."""

from __future__ import annotations

import ast
import json
import shutil

import nbformat
from typer.testing import CliRunner

from workbench.cli import app
from workbench.widgets.launching import lab_command, write_notebook


def test_write_notebook__is_valid_and_kept(tmp_path):
    path = write_notebook(tmp_path, "Ann'; import os #")
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert path.parent == tmp_path / "notebooks"
    code = notebook.cells[1].source
    assert compile(code, "cell", "exec")
    assert 'annotator="Ann\'; import os #"' in code, "a name is a text in the code, whatever it holds"
    path.write_text("mine")
    assert write_notebook(tmp_path, "Ann'; import os #").read_text() == "mine"


def code_of(path):
    return nbformat.read(path, as_version=4).cells[1].source


def test_write_notebook__of_a_copied_project_opens_the_copy_and_keeps_what_the_person_wrote(tmp_path):
    path = write_notebook(tmp_path / "one", "ann")
    path.write_text(path.read_text().replace("annotator='ann')", "annotator='ann', queue='order')  # mine"))
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    copied = write_notebook(tmp_path / "two", "ann")
    assert f"wb.Project.open({str(tmp_path / 'two')!r})" in code_of(copied)
    assert "annotator='ann', queue='order')  # mine" in code_of(copied)
    assert str(tmp_path / "one") in code_of(path), "the first is as it was"


def test_write_notebook__names_that_look_alike_have_a_notebook_each(tmp_path):
    paths = [write_notebook(tmp_path, name) for name in ("Ann/1", "Ann:1")]
    assert paths[0] != paths[1]
    assert ["Ann/1" in code_of(paths[0]), "Ann:1" in code_of(paths[1])] == [True, True]


def test_write_notebook__labels_are_put_into_a_notebook_that_is_there(tmp_path):
    write_notebook(tmp_path, "ann")
    path = write_notebook(tmp_path, "ann", ["cell", "it's"])
    assert ast.literal_eval(code_of(path).split("labels=")[1].rstrip(")")) == ["cell", "it's"]
    before = path.read_bytes()
    assert write_notebook(tmp_path, "ann").read_bytes() == before


def test_lab_command__stays_on_this_machine(tmp_path):
    command = lab_command(tmp_path / "a.ipynb", 8899, browser=False)
    assert "--ServerApp.ip=127.0.0.1" in command
    assert "--ServerApp.port=8899" in command
    assert command[-1] == "--no-browser"


def test_review__writes_the_notebook_and_names_it(project):
    done = CliRunner().invoke(
        app, ["review", str(project.path), "--annotator", "ann", "--label", "cell", "--no-start", "--json"]
    )
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["notebook"].endswith("review-ann.ipynb")
    assert "labels=['cell']" in code_of(told["notebook"])
    assert told["progress"] == "0/3 images, 0/11 masks"
    assert "ann" in project.annotators()["name"].tolist()


def test_review__bad_name_is_told(project):
    done = CliRunner().invoke(app, ["review", str(project.path), "--annotator", " ", "--no-start"])
    assert done.exit_code == 2
    assert "annotator" in done.output
