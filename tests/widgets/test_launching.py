"""`workbench review`: the notebook it writes, and the command it runs."""

from __future__ import annotations

import json

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


def test_lab_command__stays_on_this_machine(tmp_path):
    command = lab_command(tmp_path / "a.ipynb", 8899, browser=False)
    assert "--ServerApp.ip=127.0.0.1" in command
    assert "--ServerApp.port=8899" in command
    assert command[-1] == "--no-browser"


def test_review__writes_the_notebook_and_names_it(project):
    done = CliRunner().invoke(app, ["review", str(project.path), "--annotator", "ann", "--no-start", "--json"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["notebook"].endswith("review-ann.ipynb")
    assert told["progress"] == "0/3 images, 0/11 masks"
    assert "ann" in project.annotators()["name"].tolist()


def test_review__bad_name_is_told(project):
    done = CliRunner().invoke(app, ["review", str(project.path), "--annotator", " ", "--no-start"])
    assert done.exit_code == 1
    assert "annotator" in done.output
