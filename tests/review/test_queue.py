from __future__ import annotations

import time

import desk
import numpy as np
import pytest
import stub_sam
from desk import event

import workbench as wb
from workbench.review import queue as queueing
from workbench.store.errors import StoreError
from workbench.tables.events import Left
from workbench.tables.outcomes import Triage
from workbench.tables.proposals import Proposals

# an image each: no flagged mask; one that is nearly sure; two; one at a coin flip
SCORES = ((0.95, 0.93), (0.87, 0.2), (0.86, 0.85), (0.81, 0.95))


@pytest.fixture
def project(tmp_path, monkeypatch):
    seen = []

    def propose(image, segmenter, config=None, *, image_id=None):
        seen.append(image_id)
        return desk.table(image_id, "m", SCORES[len(seen) - 1], desk.BLOCKS[:2])

    desk.install(monkeypatch, propose)
    with desk.make(tmp_path, n=4) as made:
        yield made


def order(project, strategy, **more):
    """The places of the images in the order in which they are handed out, and what for."""
    ids, queue, found = project.images()["image_id"].tolist(), project.queue(strategy, **more), []
    while (claim := queue.claim("a")) is not None:
        found.append((ids.index(claim.image_id), claim.kind))
        project.record(event("complete", claim.image_id), claim)
    return found


def test_queue__flagged_first_then_images_to_complete(project):
    assert order(project, "flagged_first") == [(1, "flagged"), (2, "flagged"), (3, "flagged"), (0, "complete")]


def test_queue__order_of_images(project):
    assert [k for k, _ in order(project, "order")] == [0, 1, 2, 3]


def test_queue__most_flagged_first(project):
    assert [k for k, _ in order(project, "most_flagged")] == [2, 1, 3, 0]


def test_queue__most_uncertain_first(project):
    assert [k for k, _ in order(project, "uncertain")] == [2, 3, 1, 0]


def test_queue__unknown_words_are_refused_with_the_nearest(project):
    with pytest.raises(ValueError, match="did you mean 'uncertain'"):
        project.queue("uncertian")
    with pytest.raises(ValueError, match="role: expected"):
        project.queue(role="judge")
    with pytest.raises(ValueError, match="claim_s"):
        project.queue(claim_s=float("nan"))
    with pytest.raises(StoreError, match="none is called"):
        project.queue(images=["nothing.png"])
    with pytest.raises(StoreError, match=r"expected one of a, b, s, got 'x'"):
        project.queue().claim("x")
    with pytest.raises(StoreError, match="none is called"):
        project.queue().claim("a", image="nothing.png")


def test_queue__of_some_images(project):
    assert [k for k, _ in order(project, "order", images=["image2.png", "image0.png"])] == [0, 2]
    assert order(project, "order", images=[]) == []
    assert str(project.queue(images=["image2.png"]).progress()) == "1/1 images, 2/2 masks"


def test_queue__of_a_role(project):
    for role in ("train", "calibration", "test"):
        wanted = project.images().query("role == @role")
        assert project.queue(role=role).progress().images == len(wanted)


def test_claim__own_image_first_with_its_token_whoever_asks_again(project):
    first = project.queue().claim("a")
    again = project.queue("order").claim("a")
    assert (again.image_id, again.token) == (first.image_id, first.token)
    assert again.expires_at >= first.expires_at


def test_claim__goes_back_when_released_and_is_resumed_first(project):
    queue = project.queue()
    held = queue.claim("a", image="image3.png")
    assert queue.release(held)
    assert queue.claim("a").image_id == held.image_id  # goes on where one left off


def test_claim__of_another_window_is_passed_over_taken_over_or_told(project):
    queue = project.queue()
    one = queue.claim("a", window="one")
    assert (queue.whereabouts(one), one.window) == ("here", "one")
    two = queue.claim("a", window="two", resume=False)
    assert two.image_id != one.image_id
    assert queue.claim("a", window="one", resume=False).image_id == one.image_id, "its own comes first"
    assert queue.claim("a", image=one.image_id, window="two", resume=False).token == one.token
    assert (queue.whereabouts(one), queue.whereabouts(two)) == ("window", "here")
    assert not queue.release(one), "the other window has it"
    assert queue.claim("b").image_id not in (one.image_id, two.image_id)
    assert queue.release(queue.claim("a", image=one.image_id, window="two"))
    assert queue.whereabouts(one) == "back"
    queue.claim("b", image=one.image_id)
    assert queue.whereabouts(one) == "gone"


def test_claim__of_another_window_that_expired_is_handed_out(project):
    quick = project.queue(claim_s=0.01)
    one = quick.claim("a", window="one")
    time.sleep(0.05)
    assert quick.claim("a", window="two", resume=False).image_id == one.image_id


def test_claim__expired_goes_to_another_and_renewed_does_not(project):
    quick = project.queue(claim_s=0.05)
    claim = quick.claim("a")
    claim = project.queue(claim_s=60).renew(claim)
    time.sleep(0.1)
    assert quick.claim("b").image_id != claim.image_id
    other = project.queue(claim_s=0.05)
    lost = other.claim("s")
    time.sleep(0.1)
    assert other.claim("b", image=lost.image_id) is not None
    with pytest.raises(StoreError, match="gone to another"):
        other.renew(lost)
    assert not other.release(lost)


def test_claim__expired_while_nobody_took_it_still_holds(project):
    quick = project.queue(claim_s=0.01)
    claim = quick.claim("a")
    time.sleep(0.05)
    (told,) = project.record(event("answer", claim.image_id, dialog="overlap", choice="keep"), claim)
    assert not told.stale
    assert quick.claim("b").image_id != claim.image_id  # the gesture has renewed it


def test_record__under_a_claim_of_another_person_or_image_is_refused(project):
    claim = project.queue().claim("a")
    with pytest.raises(ValueError, match="the claim belongs to 'a'"):
        project.record(event("complete", claim.image_id, by="b"), claim)
    other = next(i for i in project.images()["image_id"] if i != claim.image_id)
    with pytest.raises(ValueError, match="the claim is on image"):
        project.record(event("complete", other), claim)


def test_queue__skipped_images_come_again_on_request(project):
    queue = project.queue("order")
    claim = queue.claim("a")
    project.record(event("skip", claim.image_id, reason="blurred"), claim)
    assert queue.claim("a").image_id != claim.image_id
    assert queue.progress().skipped == 1
    assert claim.image_id in [project.images()["image_id"][k] for k, _ in order(project, "order", skipped=True)]


def test_queue__an_undone_complete_is_open_again(project):
    queue = project.queue("order")
    claim = queue.claim("a")
    project.record(event("complete", claim.image_id, gesture="done"), claim)
    project.record(desk.undo(claim.image_id, "done", gesture="back"), claim)
    assert queue.progress().images_done == 0
    assert queue.claim("a").image_id == claim.image_id
    project.record(desk.undo(claim.image_id, "back"), claim)
    assert queue.progress().images_done == 1


def test_queue__takes_in_new_images_when_refreshed(project, tmp_path):
    queue = project.queue("order")
    stub_sam.write_images(tmp_path / "more", 1, desk.SIZE, seed=9)
    project.add_images(tmp_path / "more")
    assert queue.progress().images == 4
    queue.refresh()
    assert queue.progress().images == 5


def test_queue__of_a_project_without_images_to_do(project):
    order(project, "order")
    assert project.queue().claim("a") is None
    assert repr(project.queue()) == "<Queue flagged_first: 4/4 images, 7/7 masks>"


def test_priorities__of_nothing():
    none = queueing.priorities(Proposals.empty(), Triage(np.zeros(0), np.zeros(0)))
    assert none == {"auto_accepted": 0, "flagged": 0, "discarded": 0, "doubt": 0.0}


def test_names__are_public():
    assert wb.ReviewEvent.__name__ == "ReviewEvent"
    assert wb.ReviewConfig().claim_s == 900


def test_left__by_where_the_images_are(project):
    queue = project.queue()
    assert (queue.left("a"), bool(queue.left("a"))) == (Left(free=4, others=0, elsewhere=0), True)
    queue.claim("b")
    queue.claim("a", window="one")
    assert queue.left("a", window="one") == Left(free=3, others=1, elsewhere=0)
    assert queue.left("a", window="two") == Left(free=2, others=1, elsewhere=1)
    assert project.queue(images=[]).left("a") == Left(0, 0, 0)
    assert not project.queue(images=[]).left("a")


def test_left__what_expired_or_is_left_is_not_held(project):
    queue = project.queue(claim_s=0.05)
    queue.claim("b")
    held = project.queue().claim("b", "image0.png")
    project.record(event("complete", held.image_id, by="b"), held)
    time.sleep(0.2)
    assert queue.left("a") == Left(free=3, others=0, elsewhere=0)
    with pytest.raises(StoreError, match=r"expected one of a, b, s, got 'x'"):
        queue.left("x")
