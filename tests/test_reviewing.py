"""Review of a project from events to final masks."""

from __future__ import annotations

import desk
import numpy as np
import pytest
import stub_sam
from desk import event

import workbench as wb
from workbench.store.errors import StoreError
from workbench.tables.events import EventError
from workbench.tables.outcomes import Outcome


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


def test_image_review__untouched_image_is_open_with_what_was_accepted(project, image):
    review = project.image_review(image)
    assert (review.status, review.size_hw, len(review)) == ("open", desk.SIZE, 4)
    assert [Outcome(o).name for o in review.outcome] == ["auto_accepted", "auto_accepted", "flagged", "discarded"]
    assert review.final.tolist() == [True, True, False, False]
    assert review.pending.tolist() == [False, False, True, False]
    assert review.history == ()


def test_record__verdicts_change_what_is_final(project, image):
    ids = masks(project, image)
    project.record(
        [event("verdict", image, ids[0], verdict="reject"), event("verdict", image, ids[2], verdict="accept")]
    )
    review = project.image_review(image)
    assert review.final.tolist() == [False, True, True, False]
    assert review.by.tolist() == ["a", "", "a", ""]


def test_record__a_gesture_again_is_acknowledged_without_a_second_row(project, image):
    ids = masks(project, image)
    first = event("verdict", image, ids[0], verdict="reject")
    (told,) = project.record(first)
    again, twice, new = project.record([first, first, event("complete", image)])
    assert (told.duplicate, again.duplicate, twice.duplicate, new.duplicate) == (False, True, True, False)
    assert told.sequence == again.sequence == twice.sequence
    assert project.journal()["kind"].tolist() == ["verdict", "complete"]


def test_record__undo_and_redo_are_events(project, image):
    ids = masks(project, image)
    project.record(event("verdict", image, ids[0], verdict="reject", gesture="v"))
    project.record(desk.undo(image, "v", gesture="u"))
    assert project.image_review(image).final[0]
    project.record(desk.undo(image, "u", gesture="r"))
    review = project.image_review(image)
    assert not review.final[0]
    assert [(g.gesture_id, g.undone) for g in review.history] == [("v", False), ("u", True), ("r", False)]


def test_record__draw_edit_label(project, image):
    ids = masks(project, image)
    drawn, edited = project.record(
        [
            desk.draw(
                image, (18, 18, 23, 23), tool="click", prompts={"points": [[20, 20, 1]]}, label="cell", gesture="d"
            ),
            desk.draw(image, (0, 0, 7, 7), kind="edit", mask_id=ids[0], tool="brush"),
        ]
    )
    project.record(event("label", image, "g:d", label="nucleus"))
    review = project.image_review(image)
    assert review.masks.source.tolist() == ["automatic"] * 4 + ["manual", "edited"]
    assert review.masks.mask_id[4:].tolist() == [drawn.mask_id, edited.mask_id]
    assert review.masks.parent_id[5] == ids[0]
    assert review.masks.prompt[4:].tolist() == ["click", "brush"]
    assert review.prompts[4] == {"points": [[20, 20, 1]]}
    assert review.label.tolist() == ["", "", "", "", "nucleus", ""]
    assert review.superseded.tolist() == [True, False, False, False, False, False]
    assert review.final.tolist() == [False, True, False, False, True, True]


def test_final_masks__only_of_complete_images(project, image):
    assert len(project.final_masks()) == 0
    project.record(event("complete", image))
    final = project.final_masks()
    assert final.image_id.tolist() == [image] * 2
    assert project.final_labels()["mask_id"].tolist() == final.mask_id.tolist()
    assert project.reviewed()[["status", "annotator"]].to_numpy().tolist() == [["complete", "a"]]


def test_final_masks__of_a_complete_image_stay_when_thresholds_and_models_move(project, image, monkeypatch):
    ids = masks(project, image)
    project.record([event("verdict", image, ids[2], verdict="accept"), event("complete", image)])
    before = project.final_masks().mask_id.tolist()
    project.triage(desk.OPEN.replace(predicted_iou=0.99))
    assert project.final_masks().mask_id.tolist() == before
    shifted = [(y0, x0, y1 + 8, x1) for y0, x0, y1, x1 in desk.BLOCKS]
    desk.install(
        monkeypatch, lambda image, sam, config=None, *, image_id: desk.table(image_id, "other-1", blocks=shifted)
    )
    project.propose(stub_sam.StubSam("other-1"), stub_sam.PLAIN, progress=False)
    assert project.final_masks().mask_id.tolist() == before
    assert project.image_review(image, latest=True).run_id == 2


def test_image_review__old_verdicts_are_suggestions_on_a_newer_run(project, image, monkeypatch):
    ids = masks(project, image)
    said = [event("verdict", image, ids[k], verdict=v) for k, v in ((0, "reject"), (2, "accept"), (3, "accept"))]
    project.record(said)
    # IoU 36/42 with the rejected mask, the very pixels of the first accepted one, 100/110 with the second
    near = [(0, 0, 6, 7), (0, 10, 6, 16), (0, 20, 6, 26), (10, 0, 21, 10)]
    desk.install(monkeypatch, lambda image, sam, config=None, *, image_id: desk.table(image_id, "other-1", blocks=near))
    project.propose(stub_sam.StubSam("other-1"), stub_sam.PLAIN, progress=False)
    review = project.image_review(image)
    assert review.suggested.tolist() == [0, 0, 0, 1]
    assert review.verdict.tolist() == [0, 0, 1, 0]  # the same pixels are the same mask


def test_queue__hands_out_each_image_once(project):
    queue = project.queue()
    one, two, three = queue.claim("a"), queue.claim("b"), queue.claim("s")
    assert len({one.image_id, two.image_id, three.image_id}) == 3
    assert queue.claim("a").image_id == one.image_id
    assert queue.claim("a", image=two.image_id) is None


def test_queue__complete_images_are_not_handed_out(project):
    queue, seen = project.queue(), []
    while (claim := queue.claim("a")) is not None:
        seen.append(claim.image_id)
        assert claim.kind == "flagged"
        project.record(event("complete", claim.image_id), claim)
    assert seen == project.images()["image_id"].tolist()
    assert str(queue.progress()) == "3/3 images, 9/9 masks"


def test_record__under_a_lost_claim_is_stale(project):
    quick = project.queue(claim_s=0.001)
    lost = quick.claim("a")
    taken = quick.claim("b")
    assert taken.image_id == lost.image_id
    assert taken.token > lost.token
    ids = masks(project, lost.image_id)
    (told,) = project.record(event("verdict", lost.image_id, ids[0], verdict="reject"), lost)
    assert told.stale
    assert project.image_review(lost.image_id).final[0]
    assert project.journal()["stale"].tolist() == [True]
    with pytest.raises(StoreError, match="has gone to another"):
        quick.renew(lost)


def test_record__what_does_not_fit_is_refused_in_words(project, image):
    other = project.images()["image_id"][1]
    with pytest.raises(EventError, match="no mask"):
        project.record(event("verdict", image, masks(project, other)[0], verdict="accept"))
    with pytest.raises(EventError, match="not known here"):
        project.record(event("complete", image, by="x"))
    with pytest.raises(EventError, match="image of the project"):
        project.record(event("complete", "0" * 32))
    small = desk.block(0, 0, 2, 2, (4, 4)).decode()
    with pytest.raises(EventError, match="the image has 24×32 px"):
        project.record(event("draw", image, rle=small, size_hw=[4, 4]))
    assert len(project.journal()) == 0


def test_append_only__rows_cannot_be_changed(project, image):
    import sqlalchemy as sa

    from workbench.store.schema.review import review_events

    project.record(event("complete", image))
    for statement in (
        sa.delete(review_events),
        sa.update(review_events).values(kind="skip"),
        sa.text("INSERT OR REPLACE INTO review_events SELECT * FROM review_events"),
    ):
        with pytest.raises(sa.exc.IntegrityError, match="append-only"), project.catalog.write() as connection:
            connection.execute(statement)
    assert project.journal()["kind"].tolist() == ["complete"]


def test_review__project_without_proposals(tmp_path):
    images = stub_sam.write_images(tmp_path / "images", 1, desk.SIZE)
    with wb.Project.create(tmp_path / "p.wb", images=str(images / "*.png")) as project:
        project.add_annotator("a")
        image = project.images()["image_id"][0]
        assert project.queue().claim("a").kind == "complete"
        project.record([desk.draw(image, (0, 0, 3, 3)), event("complete", image)])
        assert project.final_masks().area_px.tolist() == [9]
        assert np.all(project.image_review(image).drawn)
