"""What a page notices of its project: changes, and what keeps it from working, in words."""

from __future__ import annotations

import shutil
import sqlite3

from made_projects import made_project

import workbench as wb
from workbench.views.campaign import Campaign, words


def test_poll__notices_what_another_session_wrote(tmp_path):
    made_project(tmp_path, images=2, rows=10).close()
    campaign, seen = Campaign(tmp_path / "project"), []
    campaign.param.watch(lambda event: seen.append(event.new), "changed")
    assert campaign.problem == ""
    assert not campaign.poll()
    with wb.Project.open(tmp_path / "project") as other:
        other.triage(wb.TriageConfig(predicted_iou=0.9), note="another", author="b")
        assert campaign.poll()
    assert seen
    assert list(campaign.project.triages()["author"]) == ["tests", "b"]


def test_campaign__missing_project_is_words(tmp_path):
    campaign = Campaign(tmp_path / "nowhere")
    assert "there is no such folder" in campaign.problem


def test_campaign__newer_schema_is_words(tmp_path):
    made_project(tmp_path, images=1, rows=3).close()
    connection = sqlite3.connect(tmp_path / "project" / "project.sqlite")
    with connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    assert "made by a newer workbench" in Campaign(tmp_path / "project").problem


def test_campaign__deleted_while_open_and_put_back(tmp_path):
    made_project(tmp_path, images=1, rows=3).close()
    campaign = Campaign(tmp_path / "project")
    (tmp_path / "project").rename(tmp_path / "elsewhere")
    assert campaign.poll()
    assert campaign.problem
    assert not campaign.poll()
    shutil.move(tmp_path / "elsewhere", tmp_path / "project")
    assert campaign.poll()
    assert campaign.problem == ""
    assert len(campaign.project.images()) == 1


def test_words__of_an_unexpected_error_hide_its_details():
    assert "secret" not in words(KeyError("secret"))
    assert words(ValueError("expected 1, got 2")) == "expected 1, got 2"
