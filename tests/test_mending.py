"""What is kept beside the journal, against the journal."""

from __future__ import annotations

import json

import desk
import pytest
import sqlalchemy as sa
from desk import event
from typer.testing import CliRunner

from workbench.cli import app
from workbench.store.schema.review import audit_masks, review_images


@pytest.fixture
def project(tmp_path, monkeypatch):
    desk.install(monkeypatch)
    with desk.make(tmp_path) as made:
        yield made


def damage(project, statement):
    with project.catalog.write() as connection:
        connection.execute(statement)


def test_check__finds_nothing_after_all_ways_to_leave_an_image(project):
    one, two, three = project.images()["image_id"]
    project.queue()
    project.record([event("complete", one), event("skip", two, reason="x"), event("complete", three, gesture="c")])
    project.record(desk.undo(three, "c"))
    assert project.check() == []
    assert project.mend() == []


def test_check__status_that_the_journal_does_not_say_is_told_and_mended(project):
    one, two, _ = project.images()["image_id"]
    project.queue()
    project.record([event("complete", one), event("skip", two, reason="x")])
    damage(project, sa.update(review_images).values(status="open", status_sequence=None))
    found = project.check()
    assert len(found) == 2
    assert "image0.png: noted as open, the journal says complete by event 1; run `workbench doctor --mend" in found[0]
    assert len(project.mend()) == 2
    assert project.check() == []
    assert project.queue().progress().images_done == 2


def test_check__images_noted_as_done_that_are_not_and_rows_that_are_gone(project):
    one, two, _ = project.images()["image_id"]
    project.record([event("complete", one), event("complete", two)])
    damage(project, sa.delete(review_images).where(review_images.c.status_sequence == 1))
    damage(project, sa.update(review_images).values(status_sequence=1))
    assert len(project.check()) == 2
    project.mend()
    assert project.check() == []


def test_check__answers_of_audits(project):
    project.record(event("complete", project.images()["image_id"][0]))
    project.draw_audit()
    claim = project.queue("order", images=["image0.png"]).claim("s")
    mask = project.audit_review(claim.image_id, "s").masks.mask_id[0]
    project.record(event("verdict", claim.image_id, mask, by="s", verdict="reject"), claim)
    damage(project, sa.update(audit_masks).values(sequence=None))
    assert "1 audited masks are noted with other answers" in project.check()[0]
    project.mend()
    assert project.check() == []
    assert project.disagreements()["mask_id"].tolist() == [mask]


@pytest.mark.slow
def test_doctor__mends_when_asked(project):
    project.record(event("complete", project.images()["image_id"][0]))
    damage(project, sa.update(review_images).values(status="skipped"))
    told = CliRunner().invoke(app, ["doctor", str(project.path), "--json"])
    assert told.exit_code == 1
    assert "--mend" in json.loads(told.stdout)["problems"][-1]
    mended = CliRunner().invoke(app, ["doctor", str(project.path), "--mend", "--json"])
    assert "noted as skipped" in json.loads(mended.stdout)["mended"]
    assert project.check() == []
