"""Odd sequences of gestures: undo of undo, late ones, masks that are gone, ids used twice, claims given back."""

from __future__ import annotations

import time

import desk
import numpy as np
import pytest
import stub_sam
from desk import event
from PIL import Image

import workbench as wb
from workbench.review import state
from workbench.store.errors import StoreError
from workbench.tables.events import EventError
from workbench.tables.outcomes import Outcome, Triage
from workbench.tables.proposals import Proposals


@pytest.fixture
def project(tmp_path, monkeypatch):
    desk.install(monkeypatch)
    with desk.make(tmp_path) as made:
        yield made


@pytest.fixture
def image(project):
    return project.images()["image_id"][0]


def masks(project, image):
    return project.image_review(image).masks.mask_id.tolist()


def test_undo__chain_of_undos_counts_by_its_last(project, image):
    first = masks(project, image)[0]
    project.record(event("verdict", image, first, verdict="reject", gesture="v0"))
    for k in range(1, 6):
        project.record(desk.undo(image, f"v{k - 1}", gesture=f"v{k}"))
        assert project.image_review(image).final[0] == (k % 2 == 1)


def test_undo__of_the_undo_of_another_person_is_refused(project, image):
    project.record(event("verdict", image, masks(project, image)[0], verdict="reject", gesture="v"))
    project.record(desk.undo(image, "v", gesture="u"))
    with pytest.raises(EventError, match="is by 'a'; undo your own"):
        project.record(desk.undo(image, "u", by="b"))


def test_mask_gone__events_on_an_undone_drawing_are_refused_until_it_is_redone(project, image):
    (drawn,) = project.record(desk.draw(image, (18, 18, 23, 23), gesture="d"))
    project.record(desk.undo(image, "d", gesture="u"))
    for refused in (
        event("label", image, drawn.mask_id, label="cell"),
        event("verdict", image, "g:d", verdict="reject"),
        event("verdict", image, verdict="accept", masks=[masks(project, image)[0], drawn.mask_id]),
        desk.draw(image, (18, 18, 22, 22), kind="edit", mask_id=drawn.mask_id),
    ):
        with pytest.raises(EventError, match="is gone: its drawing was undone"):
            project.record(refused)
    project.record(desk.undo(image, "u"))
    project.record(event("label", image, "g:d", label="cell"))
    assert project.image_review(image).label[4] == "cell"


def test_mask_gone__late_events_on_it_are_kept_as_late(project):
    quick = project.queue(claim_s=0.01)
    lost = quick.claim("a")
    image = lost.image_id
    time.sleep(0.05)
    assert quick.claim("b", image) is not None
    late = [desk.draw(image, (18, 18, 23, 23), gesture="d"), event("label", image, "g:d", label="cell")]
    assert [told.stale for told in project.record(late, lost)] == [True, True]
    with pytest.raises(EventError, match="is gone"):
        project.record(event("label", image, "g:d", label="cell", by="b"))


def test_gesture_id__of_another_gesture_is_refused_and_not_taken_for_it(project, image):
    ids, other = masks(project, image), project.images()["image_id"][1]
    project.record(event("verdict", image, ids[0], verdict="reject", gesture="same"))
    for refused in (
        event("verdict", image, ids[0], verdict="accept", by="b", gesture="same"),
        event("complete", image, gesture="same"),
        event("verdict", other, masks(project, other)[0], verdict="reject", gesture="same"),
    ):
        with pytest.raises(EventError, match="gesture_id: 'same' is another gesture already"):
            project.record(refused)
    with pytest.raises(EventError, match="another gesture"):
        project.record(
            [event("answer", image, dialog="overlap", choice="keep", gesture="x"), desk.undo(image, "x", gesture="x2")]
            + [event("complete", image, gesture="x")]
        )
    assert len(project.journal()) == 1


def test_complete__later_events_change_what_is_final_and_the_image_stays_complete(project, image):
    ids = masks(project, image)
    project.record(event("complete", image))
    project.record(event("verdict", image, ids[0], verdict="reject", by="b"))
    review = project.image_review(image)
    assert (review.status, review.by_status) == ("complete", "a")
    assert project.final_masks().mask_id.tolist() == [ids[1]]


def test_complete__and_second_annotation_in_one_call_both_count(project, image):
    project.record([event("complete", image), event("complete", image, by="b", purpose="second")])
    assert project.queue().progress().images_done == 1
    assert project.check() == []


def test_complete__late_gestures_and_renewals_do_not_take_the_image_from_others(project):
    queue = project.queue()
    claim = queue.claim("a")
    project.record(event("complete", claim.image_id, gesture="done"), claim)
    project.record(event("answer", claim.image_id, dialog="coverage", choice="complete"), claim)
    with pytest.raises(StoreError, match="was given back"):
        queue.renew(claim)
    assert queue.claim("b", claim.image_id) is not None


def test_complete__undone_takes_the_image_again(project):
    queue = project.queue()
    claim = queue.claim("a")
    project.record(event("complete", claim.image_id, gesture="done"), claim)
    project.record(desk.undo(claim.image_id, "done"), claim)
    assert queue.claim("b", claim.image_id) is None
    assert queue.renew(claim).token == claim.token


def test_release__late_gestures_count_and_take_nothing(project):
    queue = project.queue()
    claim = queue.claim("a")
    queue.release(claim)
    (told,) = project.record(event("verdict", claim.image_id, verdict="accept", masks=[]), claim)
    assert not told.stale
    assert queue.claim("b", claim.image_id) is not None


def test_second__by_whoever_reviewed_is_refused(project, image):
    project.record(event("complete", image))
    assert project.queue(second=True).claim("a", image) is None
    with pytest.raises(EventError, match="a second annotation needs somebody else"):
        project.record(event("complete", image, purpose="second"))
    assert project.queue(second=True).claim("b", image).kind == "second"


def test_second__skipped_image_goes_to_somebody_else(project):
    for image in project.images()["image_id"]:
        project.record(event("complete", image))
    queue = project.queue(second=True)
    claim = queue.claim("b")
    project.record(event("skip", claim.image_id, by="b", reason="blurred"), claim)
    assert queue.claim("b").image_id != claim.image_id
    assert queue.claim("s", claim.image_id) is not None
    assert project.image_review(claim.image_id).status == "complete"


def test_second__masks_of_the_review_are_not_there(project, image):
    (drawn,) = project.record(desk.draw(image, (18, 18, 23, 23)))
    with pytest.raises(EventError, match="is gone"):
        project.record(event("label", image, drawn.mask_id, label="x", by="b", purpose="second"))


def test_versions__that_do_not_belong_together_are_refused(project, image):
    with pytest.raises(StoreError, match="run: expected one of"):
        project.record(event("complete", image, run_id=7))
    project.propose(stub_sam.StubSam("other-1"), stub_sam.PLAIN, progress=False)
    project.triage(desk.OPEN)
    first, second = project.triages()["id"].tolist()[:2]
    with pytest.raises(EventError, match="is of run 2"):
        project.record(event("complete", image, run_id=1, triage_id=second))
    project.record(event("complete", image, triage_id=first))
    review = project.image_review(image)
    assert (review.run_id, review.triage_id) == (1, first)


def test_bulk__does_not_take_away_a_verdict_that_was_given_alone(project, image):
    ids = masks(project, image)
    project.record(
        [
            event("verdict", image, ids[0], verdict="accept"),
            event("verdict", image, ids[2], verdict="reject"),
            event("verdict", image, verdict="accept", masks=ids[:3], by="b"),
        ]
    )
    review = project.image_review(image)
    assert review.bulk.tolist() == [False, True, True, False]
    assert review.by.tolist() == ["a", "b", "b", ""]
    assert review.verdict.tolist() == [1, 1, 1, 0]


def test_draw__on_an_image_that_cannot_be_read_any_more_is_refused_in_words(tmp_path):
    images = stub_sam.write_images(tmp_path / "images", 1, desk.SIZE)
    (file,) = images.glob("*.png")
    with wb.Project.create(tmp_path / "p.wb", images=str(images / "*.png")) as project:
        project.add_annotator("a")
        image = project.images()["image_id"][0]
        file.write_bytes(file.read_bytes()[:60])
        with pytest.raises(EventError, match="the size of the image is not known, and it cannot be read"):
            project.record(desk.draw(image, (0, 0, 3, 3)))
        Image.fromarray(np.zeros((5, 5, 3), np.uint8)).save(file)
        with pytest.raises(EventError, match="was changed after it was recorded"):
            project.record(desk.draw(image, (0, 0, 3, 3)))
        project.record(event("skip", image, reason="<b>unreadable</b>"))
        assert project.reviewed()["reason"].tolist() == ["<b>unreadable</b>"]


def test_complete__image_without_masks(tmp_path):
    images = stub_sam.write_images(tmp_path / "images", 1, desk.SIZE)
    with wb.Project.create(tmp_path / "p.wb", images=str(images / "*.png")) as project:
        project.add_annotator("s", "senior")
        project.record(event("complete", project.images()["image_id"][0], by="s"))
        assert len(project.final_masks()) == 0
        with pytest.raises(StoreError, match="there are none"):
            project.draw_audit()
        report = project.quality_report()
        assert (report.images_done, report.masks, report.num_masks) == (1, 0, 0.0)
        assert project.agreement().images_twice == 0


def test_label__with_markup_is_text_everywhere(project, image):
    text = "<script>alert('x')</script>"
    project.record([event("label", image, masks(project, image)[0], label=text), event("complete", image)])
    assert project.final_labels()["label"].tolist() == [text, ""]
    assert "<script>" not in project.quality_report()._repr_html_()
    for bad in ("a\nb", "x" * 201, "\ud800", "a\u2028b"):
        with pytest.raises(EventError, match="label: expected"):
            event("label", image, "m", label=bad)


def test_write__two_writers_in_turn(project, image):
    ids = masks(project, image)
    with wb.Project.open(project.path) as other:
        for k in range(6):
            writer, by = ((project, "a"), (other, "b"))[k % 2]
            writer.record(event("verdict", image, ids[k % 3], verdict=("accept", "reject")[k % 2], by=by))
        assert other.image_review(image).by.tolist() == project.image_review(image).by.tolist()
    assert project.journal()["sequence"].is_monotonic_increasing
    assert project.check() == []


def test_review__another_run_on_some_images_takes_nothing_from_the_others(project):
    ids = project.images()["image_id"].tolist()
    flagged = {image: masks(project, image)[2] for image in ids}
    for image in ids:
        project.record(event("verdict", image, flagged[image], verdict="accept"))
    before = {image: len(project.final_masks(image)) for image in ids}
    exported = len(project.proposals(outcome="final"))
    project.propose(stub_sam.StubSam("trial-2"), stub_sam.PLAIN, limit=1, progress=False)
    project.triage(desk.OPEN)
    assert project.images()["status"].tolist().count("done") == 1
    for image in ids[1:]:
        review = project.image_review(image)
        assert (review.run_id, int(review.final.sum())) == (1, 3)
        assert flagged[image] in review.masks.mask_id[review.final]
    assert len(project.proposals(outcome="final")) == exported == 9
    project.record(event("complete", ids[1]))
    assert len(project.final_masks(ids[1])) == 3
    assert before == dict.fromkeys(ids, 0)  # none was complete


def test_review__what_somebody_accepted_stays_when_nms_would_drop_it(tmp_path, monkeypatch):
    twins = (*desk.BLOCKS[:3], (2, 0, 8, 6))  # the last overlaps the first by half

    def propose(image, segmenter, config=None, *, image_id=None):
        return desk.table(image_id, segmenter.model_id, (0.95, 0.93, 0.85, 0.84), twins)

    desk.install(monkeypatch, propose)
    with desk.make(tmp_path) as project:
        project.propose(stub_sam.StubSam(), stub_sam.PLAIN.replace(pool="exact"), progress=False)
        project.triage(desk.OPEN.replace(pool="exact"))
        image = project.images()["image_id"][0]
        review = project.image_review(image)
        flagged = str(review.masks.mask_id[3])
        project.record(event("verdict", image, flagged, verdict="accept"))
        project.triage(desk.OPEN.replace(pool="exact", nms_iou=0.3))
        now = project.image_review(image)
        assert flagged in now.masks.mask_id[now.final]
        assert len(now) == 4
        untouched = project.image_review(project.images()["image_id"][1])
        assert len(untouched) == 3


def test_review__what_is_recorded_without_a_run_is_of_the_one_shown(project):
    ids = project.images()["image_id"].tolist()
    flagged = masks(project, ids[1])[2]
    project.record(event("label", ids[1], flagged, label="cell"))  # a label is work as well
    project.propose(stub_sam.StubSam("trial-2"), stub_sam.PLAIN, limit=1, progress=False)
    project.triage(desk.OPEN)
    review = project.image_review(ids[1])
    assert (review.run_id, review.label[2]) == (1, "cell")
    project.record(event("verdict", ids[1], flagged, verdict="accept"))
    project.record(event("complete", ids[1]))
    project.propose(stub_sam.StubSam("trial-2"), stub_sam.PLAIN, progress=False)  # goes on to that image
    now = project.image_review(ids[1])
    assert (now.status, now.run_id, int(now.final.sum())) == ("complete", 1, 3)


def nothing_by_the_second(image, segmenter, config=None, *, image_id=None):
    few = {} if segmenter.model_id.endswith("2") else {"scores": desk.SCORES, "blocks": desk.BLOCKS}
    return desk.table(image_id, segmenter.model_id, **few) if few else Proposals.empty()


def test_review__a_run_that_found_nothing_has_got_to_the_image(tmp_path, monkeypatch):
    desk.install(monkeypatch, nothing_by_the_second)
    with desk.make(tmp_path) as project:
        ids = project.images()["image_id"].tolist()
        project.record(event("verdict", ids[0], masks(project, ids[0])[2], verdict="accept"))
        project.propose(stub_sam.StubSam("trial-2"), stub_sam.PLAIN, progress=False)
        project.triage(desk.OPEN)
        assert len(project.image_review(ids[0])) == 0
        assert len(project.proposals(ids[0], run=2, outcome="final")) == 0
        project.record([desk.draw(ids[0], (18, 18, 23, 23)), event("complete", ids[0])])
        assert len(project.final_masks(ids[0])) == 1
        project.triage(desk.OPEN.replace(predicted_iou=0.9))
        now = project.image_review(ids[0])
        assert (now.run_id, int(now.final.sum())) == (2, 1)


def test_review__a_run_asked_for_by_name_is_what_is_given(project):
    ids = project.images()["image_id"].tolist()
    project.record(event("verdict", ids[1], masks(project, ids[1])[2], verdict="accept"))
    project.propose(stub_sam.StubSam("trial-2"), stub_sam.PLAIN, limit=1, progress=False)
    project.triage(desk.OPEN)
    assert len(project.proposals(ids[1], outcome="final")) == 3
    assert len(project.proposals(ids[1], run=2, outcome="final")) == 0


def test_fold__a_verdict_does_not_swap_a_mask_for_its_suppressed_twin():
    rows = desk.table("i", "m", (0.95, 0.94), (desk.BLOCKS[0],) * 2)
    triaged = Triage(np.array([Outcome.duplicate, Outcome.auto_accepted]), np.zeros(2, int))
    name = str(rows.mask_id[0])
    for words in ([], ["accept"], ["reject", "none"]):
        told = [event("verdict", "i", name, verdict=word, gesture=word) for word in words]
        review = state.fold("i", desk.SIZE, rows, triaged, told)
        assert (len(review), review.outcome[0], review.final[0]) == (1, Outcome.auto_accepted, True)
