"""Pages of projects that are locked, read-only, too new or gone: words, never an error, and what is shown stays."""

from __future__ import annotations

import contextlib
import os
import sqlite3

import pytest
from made_projects import made_project
from typer.testing import CliRunner

import workbench as wb
from workbench.cli import app
from workbench.store import catalog
from workbench.views import apps
from workbench.views.campaign import Campaign

PAGES = list(apps._VIEWS)
BUSY = "another process has been writing"


@pytest.fixture
def made(tmp_path):
    made_project(tmp_path, images=2, rows=20).close()
    return tmp_path / "project"


@contextlib.contextmanager
def a_writer(folder):
    """Another process in the middle of a long write."""
    other = sqlite3.connect(folder / catalog.FILE, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.execute("ROLLBACK")
        other.close()


@contextlib.contextmanager
def as_plain_user(folder):
    """Be a user whom permissions stop, which they do not do to root."""
    me = os.geteuid()
    if me == 0:
        for parent in folder.parents[:4]:
            if len(parent.parts) > 2:  # not /tmp itself
                parent.chmod(0o755)
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(me)


def shown(view) -> str:
    return " ".join(str(pane.object) for pane in view.__panel__().select(lambda o: hasattr(o, "object")))


@pytest.mark.parametrize("name", PAGES)
def test_page__of_a_newer_project_says_so(made, name):
    with contextlib.closing(sqlite3.connect(made / catalog.FILE)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    view = apps.view(name, Campaign(made))
    assert "made by a newer workbench" in view.banner.object
    assert "Reading the project" not in shown(view)


@pytest.mark.parametrize("name", PAGES)
def test_page__of_a_read_only_project_says_what_to_do(made, name):
    made.chmod(0o555)
    with as_plain_user(made):
        view = apps.view(name, Campaign(made))
    assert "give write permission" in view.banner.object


def test_command__of_a_read_only_project_says_what_to_do(made):
    made.chmod(0o555)
    with as_plain_user(made):
        result = CliRunner().invoke(app, ["dashboard", str(made)])
    assert result.exit_code == 1
    assert "write permission" in " ".join(result.output.split())


@pytest.mark.parametrize("name", PAGES)
def test_page__is_shown_while_another_process_writes(made, name):
    with wb.Project.open(made) as project:
        project.queue()  # enters the images, once
    with a_writer(made):
        view = apps.view(name, Campaign(made))
        assert view.banner.object == ""
        assert shown(view)


@pytest.mark.parametrize("name", PAGES)
def test_page__of_a_locked_project_says_so_and_recovers(made, name, monkeypatch):
    monkeypatch.setattr(catalog, "BUSY_TIMEOUT_MS", 20)
    other = sqlite3.connect(made / catalog.FILE, isolation_level=None)
    other.execute("PRAGMA locking_mode = EXCLUSIVE")
    other.execute("BEGIN EXCLUSIVE")
    view = apps.view(name, Campaign(made))
    assert BUSY in view.banner.object
    other.execute("ROLLBACK")
    other.close()
    assert view.campaign.poll()
    assert view.banner.object == ""


def test_thresholds__a_version_that_cannot_be_written_is_words_and_nothing_is_lost(made, monkeypatch):
    monkeypatch.setattr(catalog, "BUSY_TIMEOUT_MS", 20)
    view = apps.view("thresholds", Campaign(made))
    view.state.predicted_iou = 0.93
    view.saving.author.value = "ann"
    with a_writer(made):
        view.saving.save()
        assert BUSY in view.saving.told.object
    assert view.state.predicted_iou == 0.93
    view.saving.save()
    assert "Kept." in view.saving.told.object
    assert view.campaign.project.triages().iloc[-1]["settings"]["predicted_iou"] == 0.93


@pytest.mark.parametrize("name", PAGES)
def test_page__keeps_what_it_shows_when_the_project_is_deleted(made, tmp_path, name):
    view = apps.view(name, Campaign(made))
    before = len(view.body)
    made.rename(tmp_path / "elsewhere")
    assert view.campaign.poll()
    assert "is not there any more" in view.banner.object
    assert len(view.body) == before
    assert "Traceback" not in shown(view)


def test_thresholds__saving_into_a_deleted_project_is_words(made, tmp_path):
    view = apps.view("thresholds", Campaign(made))
    view.saving.author.value = "ann"
    made.rename(tmp_path / "elsewhere")
    view.campaign.poll()
    view.saving.save()
    assert "no such folder" in view.saving.told.object
