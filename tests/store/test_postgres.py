"""The same review on PostgreSQL: journal, claims, audits by the same code."""

from __future__ import annotations

import time

import desk
import postgres
import pytest
import sqlalchemy as sa
from desk import event

from workbench.store.schema.review import review_events

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def url():
    with postgres.server() as found:
        yield found


@pytest.fixture(scope="module")
def project(url, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        desk.install(patch)
        with desk.make(tmp_path_factory.mktemp("pg"), n=4, database=url) as made:
            yield made


def test_postgres__review_from_queue_to_audit(project):
    queue = project.queue()
    claims = [queue.claim(name) for name in ("a", "b")]
    assert claims[0].image_id != claims[1].image_id
    assert queue.claim("a").token == claims[0].token
    for claim in claims:
        ids = project.image_review(claim.image_id).masks.mask_id.tolist()
        told = project.record(
            [
                event("verdict", claim.image_id, ids[0], by=claim.annotator, verdict="reject"),
                desk.draw(claim.image_id, (18, 20, 23, 25), by=claim.annotator, elapsed_ms=3000),
                event("complete", claim.image_id, by=claim.annotator),
            ],
            claim,
        )
        assert not any(t.stale or t.duplicate for t in told)
    assert len(project.final_masks()) == 4
    project.draw_audit()
    seen = queue.claim("s")
    assert seen.kind == "flagged"
    project.record(event("skip", seen.image_id, by="s", reason="blurred"), seen)
    project.record(event("complete", queue.claim("s").image_id, by="s"))
    audited = queue.claim("s")
    assert audited.kind == "audit"
    mask = project.audit_review(audited.image_id, "s").masks.mask_id[0]
    project.record(event("verdict", audited.image_id, mask, by="s", verdict="reject"), audited)
    assert project.disagreements()["mask_id"].tolist() == [mask]
    assert queue.release(audited)
    assert len(project.audits()) == 1
    assert project.quality_report().images_done == 4
    assert project.agreement().images_twice == 0
    assert str(queue.progress()).startswith("4/4 images")


def test_postgres__lost_claims_are_stale(project):
    image = project.images()["image_id"][0]
    quick = project.queue(claim_s=0.001)
    lost = quick.claim("a", image)
    time.sleep(0.05)
    taken = quick.claim("b", image)
    assert taken.token == lost.token + 1
    assert project.record(event("answer", image, dialog="overlap", choice="keep"), lost)[0].stale
    assert quick.release(taken)
    assert not quick.release(lost)


def test_postgres__journal_is_append_only(project):
    project.record(event("answer", project.images()["image_id"][0], dialog="overlap", choice="keep"))
    for statement in (
        sa.delete(review_events),
        sa.update(review_events).values(kind="skip"),
        sa.text("TRUNCATE review_events CASCADE"),
    ):
        with pytest.raises(sa.exc.IntegrityError, match="append-only"), project.catalog.write() as connection:
            connection.execute(statement)
    assert len(project.journal()) > 0
