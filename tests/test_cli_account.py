"""The commands efficiency, diversity and curriculum, as a user runs them."""

from __future__ import annotations

import json

import pytest
from disc_project import disc_project, draw_all
from typer.testing import CliRunner

from workbench.cli import app


def run(*words):
    return CliRunner().invoke(app, list(map(str, words)))


@pytest.fixture
def folder(tmp_path):
    with disc_project(tmp_path, images=2) as project:
        with project.catalog.write() as connection:  # nothing was proposed, so sizes are not known
            connection.exec_driver_sql("UPDATE images SET height = 64, width = 80")
        return project.path


@pytest.mark.parametrize(
    ("command", "word"),
    [("efficiency", "review some first"), ("diversity", "complete the review"), ("curriculum", "No cycles were run")],
)
def test_account__an_empty_project_says_what_to_do(folder, command, word):
    answer = run(command, folder)
    assert answer.exit_code == 0, answer.output
    assert word in " ".join(answer.output.split())
    values = json.loads(run(command, folder, "--json").output)
    assert word in " ".join(values["notes"])


def test_account__figures_of_reviewed_images(folder):
    from workbench.project import Project

    with Project.open(folder) as project:
        draw_all(project, 2)
    values = json.loads(run("diversity", folder, "--json").output)
    assert [row["n"] for row in values["rows"]] == [6, 0, 6]
    assert "small ones found 1" in " ".join(run("diversity", folder).output.split())
    values = json.loads(run("diversity", folder, "--by", "cycle", "--json").output)
    assert len(values["rows"]) == 1
    assert any("No cycles were run" in note for note in values["notes"])
    assert "without seconds" in " ".join(run("efficiency", folder).output.split())


def test_efficiency__preset_seed_reproduces_its_arithmetic(folder):
    values = json.loads(run("efficiency", folder, "--preset", "seed", "--json").output)
    assert [round(row["masks_per_image"], 1) for row in values["rows"][:2]] == [35.8, 32.8]
    assert (round(values["saving"], 2), round(values["gain"], 1)) == (0.22, 2.3)
    assert "16,700 h need 14 s" in " ".join(run("efficiency", folder, "--preset", "seed").output.split())


@pytest.mark.parametrize(
    "words",
    [("diversity", "--by", "day"), ("diversity", "--clusters", "1"), ("efficiency", "--preset", "mine")],
    ids=" ".join,
)
def test_account__wrong_use(folder, words):
    assert run(words[0], folder, *words[1:]).exit_code == 2


def test_account__wrong_seconds_and_no_project(folder, tmp_path):
    for option, value in (("--manual-s", "0"), ("--manual-s", "-3"), ("--stage1-s", "nan")):
        refused = run("efficiency", folder, option, value)
        assert refused.exit_code == 2
        assert f"{option}: expected seconds above 0, got {value}" in refused.stderr
    assert run("curriculum", tmp_path, "--json").exit_code == 1
