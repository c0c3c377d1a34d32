"""Review of a project from events to final masks."""

from __future__ import annotations

import json
import time

import desk
import numpy as np
import pytest
import stub_sam
from desk import event

import workbench as wb
from workbench.review.config import ReviewConfig
from workbench.store import review_settings
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


def test_final_masks__of_a_complete_image_stay_when_thresholds_and_models_move(project, image, monkeypatch, tmp_path):
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
    project.export_coco(tmp_path / "final.json", outcome="final")
    written = json.loads((tmp_path / "final.json").read_text())
    told = written["info"]["workbench"]["runs"]
    assert [run["run_id"] for run in told] == [1, 2]  # of the image reviewed before, and of the others
    assert [run["model_id"] for run in told][1] == "other-1"
    assert {annotation["workbench"].get("by") for annotation in written["annotations"]} == {"a", None}


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
    time.sleep(0.02)
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


# ---- what is handed on ------------------------------------------------------------------------------------------------


def test_final_outcome__what_people_left_of_reviewed_images_and_what_was_accepted_of_others(project, image):
    ids = masks(project, image)
    assert len(project.proposals(outcome="final")) == 6
    (drawn,) = project.record(desk.draw(image, (18, 20, 23, 25), label="cell"))
    project.record([event("verdict", image, ids[0], verdict="reject"), event("complete", image)])
    assert project.proposals(image, outcome="final").mask_id.tolist() == [ids[1], drawn.mask_id]
    assert len(project.proposals(outcome="final")) == 6
    skipped = project.images()["image_id"][1]
    project.record(event("skip", skipped, reason="out of focus"))
    assert len(project.proposals(outcome="final")) == 4


def test_export__final_masks_of_images_that_are_all_skipped_are_none(project, tmp_path):
    project.record([event("skip", name, reason="blurred") for name in project.images()["image_id"]])
    assert project.export_coco(tmp_path / "f.json", outcome="final") == 0
    assert json.loads((tmp_path / "f.json").read_text())["annotations"] == []


def test_export__final_masks_with_their_labels(project, image, tmp_path):
    ids = masks(project, image)
    project.record([event("label", image, ids[1], label="nucleus"), desk.draw(image, (18, 20, 23, 25), label="cell")])
    project.record([event("verdict", image, ids[0], verdict="reject"), event("complete", image)])
    assert project.export_coco(tmp_path / "f.json", outcome="final") == 6
    written = json.loads((tmp_path / "f.json").read_text())
    names = {c["id"]: c["name"] for c in written["categories"]}
    first = [a for a in written["annotations"] if a["image_id"] == 1]
    assert [names[a["category_id"]] for a in first] == ["nucleus", "cell"]
    assert [a["workbench"]["source"] for a in first] == ["automatic", "manual"]
    assert ["outcome" in a["workbench"] for a in first] == [True, False]


# ---- audits, agreement, quality ---------------------------------------------------------------------------------------


@pytest.fixture
def reviewed(project):
    """Three complete images by a: the first mask rejected, the flagged one accepted, one drawn."""
    for image in project.images()["image_id"]:
        ids = masks(project, image)
        claim = project.queue().claim("a", image)
        project.record(
            [
                event("verdict", image, ids[0], verdict="reject", elapsed_ms=2000),
                event("verdict", image, ids[2], verdict="accept", elapsed_ms=70_000),
                desk.draw(image, (18, 20, 23, 25), elapsed_ms=90_000),
                event("answer", image, dialog="coverage", choice="asked"),
                event("answer", image, dialog="coverage", choice="complete", elapsed_ms=8000),
                event("complete", image),
            ],
            claim,
        )
    return project


def test_draw_audit__stores_masks_with_their_probability(reviewed):
    drawn = reviewed.draw_audit(seed=5, share=0.5)
    assert drawn.strata["automatic by stub-0123"] == {"masks": 6, "drawn": 6, "probability": 1.0}
    assert drawn.strata["manual"] == {"masks": 3, "drawn": 2, "probability": 2 / 3}
    results = reviewed.audit_results()
    assert sorted(results["probability"].unique()) == [2 / 3, 1.0]
    assert set(results["decided_by"]) == {"a"}, "whoever completed an image decided what they left as it was"
    again = reviewed.draw_audit(seed=5, share=0.5)
    assert reviewed.audit_results(again.audit_id)["mask_id"].tolist() == reviewed.audit_results(1)["mask_id"].tolist()


def test_draw_audit__without_final_masks_is_refused(project):
    with pytest.raises(StoreError, match="complete images first"):
        project.draw_audit()
    assert project.draw_audit(reviewed_only=False).masks == 6


def test_audit__is_blind_goes_to_a_senior_and_changes_no_mask(reviewed):
    before = reviewed.final_masks().mask_id.tolist()
    reviewed.draw_audit(share=1.0)
    queue = reviewed.queue()
    assert queue.claim("b") is None
    claim = queue.claim("s")
    assert claim.kind == "audit"
    seen = reviewed.audit_review(claim.image_id, "s")
    assert len(seen) == 3
    assert set(seen.by) == {""}
    assert np.isnan(seen.masks.predicted_iou).all()
    assert set(seen.masks.model_id) == {""}
    assert not seen.verdict.any()
    assert seen.history == ()
    wrong = seen.masks.mask_id[0]
    events = [event("verdict", claim.image_id, m, by="s", verdict="accept") for m in seen.masks.mask_id[1:]]
    told = reviewed.record([event("verdict", claim.image_id, wrong, by="s", verdict="reject"), *events], claim)
    assert not any(t.stale for t in told)
    assert reviewed.audit_review(claim.image_id, "s").verdict.tolist() == [2, 1, 1]
    reviewed.record(event("complete", claim.image_id, by="s"), claim)
    assert reviewed.final_masks().mask_id.tolist() == before
    assert reviewed.disagreements()["mask_id"].tolist() == [wrong]
    assert queue.claim("s").image_id != claim.image_id
    found = reviewed.quality_report().audits["1"]
    assert (found["masks"], found["answered"], found["wrong"]) == (9, 3, 1)


def test_audit__undone_verdict_is_open_again(reviewed):
    reviewed.draw_audit()
    claim = reviewed.queue().claim("s")
    mask = reviewed.audit_review(claim.image_id, "s").masks.mask_id[0]
    reviewed.record(event("verdict", claim.image_id, mask, by="s", verdict="reject", gesture="no"), claim)
    assert len(reviewed.disagreements()) == 1
    reviewed.record(desk.undo(claim.image_id, "no", by="s"), claim)
    assert len(reviewed.disagreements()) == 0
    assert reviewed.image_review(claim.image_id).status == "complete"


def test_audit__edit_counts_by_its_iou(reviewed):
    reviewed.draw_audit()
    image = reviewed.images()["image_id"][0]
    ids = reviewed.image_review(image).masks.mask_id.tolist()
    near, far = (0, 10, 6, 17), (0, 20, 6, 30)
    reviewed.record(
        [
            desk.draw(image, near, kind="edit", mask_id=ids[1], by="s", purpose="audit"),
            desk.draw(image, far, kind="edit", mask_id=ids[2], by="s", purpose="audit"),
        ]
    )
    results = reviewed.audit_results().set_index("mask_id")
    assert results.loc[ids[1], ["result", "iou"]].tolist() == ["right", pytest.approx(36 / 42)]
    assert results.loc[ids[2], ["result", "iou"]].tolist() == ["wrong", pytest.approx(36 / 60)]
    assert reviewed.disagreements("a")["mask_id"].tolist() == [ids[2]]
    with pytest.raises(StoreError, match=r"annotator: expected one of .*'nobody'"):
        reviewed.disagreements("nobody")


def test_audit__whoever_decided_or_is_no_senior_is_refused(reviewed):
    reviewed.add_annotator("a", "senior")
    reviewed.draw_audit()
    image = reviewed.images()["image_id"][0]
    ids = reviewed.image_review(image).masks.mask_id.tolist()
    with pytest.raises(EventError, match="needs somebody else"):
        reviewed.record(event("verdict", image, ids[2], verdict="accept", purpose="audit"))
    with pytest.raises(EventError, match="go to a senior"):
        reviewed.record(event("verdict", image, ids[1], verdict="accept", purpose="audit", by="b"))
    with pytest.raises(EventError, match="in no audit"):
        reviewed.record(event("verdict", image, ids[0], verdict="accept", purpose="audit", by="s"))
    with pytest.raises(StoreError, match="expected a senior"):
        reviewed.audit_review(image, "b")
    assert reviewed.audit_review(image, "a").masks.mask_id.tolist() == []
    assert ids[1] in reviewed.audit_review(image, "s").masks.mask_id


def test_agreement__of_two_annotators_on_their_own(reviewed):
    assert reviewed.agreement().images_twice == 0
    queue = reviewed.queue(second=True)
    assert queue.claim("a") is None
    claim = queue.claim("b")
    assert claim.kind == "second"
    image, ids = claim.image_id, masks(reviewed, claim.image_id)
    reviewed.record(
        [
            event("verdict", image, ids[0], by="b", verdict="accept"),
            event("verdict", image, ids[2], by="b", verdict="accept"),
            desk.draw(image, (18, 20, 23, 26), by="b"),
            event("complete", image, by="b"),
        ],
        claim,
    )
    assert not reviewed.image_review(image).final[0]
    assert reviewed.image_review(image, annotator="b").final.tolist() == [True, True, True, False, True]
    found = reviewed.agreement()
    assert (found.images_twice, found.masks_judged_twice) == (1, 2)
    assert found.by_annotator["a"].value == 0.5
    assert list(found.cohens_kappa) == ["a – b"]
    assert found.drawn_iou.value == pytest.approx(25 / 30)
    assert found.matched_share.value == pytest.approx(2 * 3 / 7)
    assert queue.claim("b").image_id != image
    json.dumps(found.to_dict(), allow_nan=False)


def test_quality_report__counts_what_people_left(reviewed):
    report = reviewed.quality_report()
    assert (report.images_done, report.images, report.masks) == (3, 3, 9)
    assert (report.automatic, report.manual, report.edited) == (6, 3, 0)
    assert report.coverage_ratio == pytest.approx((36 + 36 + 25) / (24 * 32))
    assert report.avg_mask_size == pytest.approx(97 / 3)
    assert (report.rejected, report.rejection_rate.value, report.overlapping) == (3, 0.5, 0)
    assert report.active_s == {"verdict": 6.0, "draw": 270.0, "check": 24.0}  # the pause of 70 s is none
    assert report.active_share["draw"] == pytest.approx(0.9)
    assert report.masks_per_hour == pytest.approx(3 / (300 / 3600))
    assert report.dialogs["coverage"] == {"asked": 3, "complete": 3}
    assert "masks per hour" in str(report)
    assert "<table>" in report._repr_html_()
    json.dumps(report.to_dict(), allow_nan=False)


def test_quality_report__of_nothing(project):
    report = project.quality_report()
    assert (report.masks, report.overlaps, report.gestures) == (0, (), 0)
    assert "not known" in str(report)
    json.dumps(report.to_dict(), allow_nan=False)


def test_review_config__is_kept_in_the_project_and_in_force_at_once(project):
    other = wb.Project.open(project.path)
    assert project.review_config == ReviewConfig()
    project.review_config = ReviewConfig(overlap_warning=0.3, coverage_rule="share")
    with other:
        assert other.review_config == project.review_config
    with wb.Project.open(project.path) as later:
        assert later.review_config.overlap_warning == 0.3
    with pytest.raises(TypeError, match="expected a ReviewConfig, got dict"):
        project.review_config = {"overlap_warning": 0.2}
    with project.catalog.read() as connection:
        assert len(review_settings.history(connection)) == 1
    project.review_config = project.review_config.replace()
    with project.catalog.read() as connection:
        assert len(review_settings.history(connection)) == 1, "nothing has changed"


def test_quality_report__tells_answers_of_dialogs_by_the_settings_they_were_given_under(project, image):
    def answer(choice):
        project.record(event("answer", image, dialog="overlap", choice=choice))

    assert project.quality_report().dialogs_under == {}
    answer("asked")
    answer("undo")
    project.review_config = project.review_config.replace(overlap_warning=0.3)
    project.review_config = project.review_config.replace(overlap_warning=0.2)
    answer("asked")
    project.review_config = project.review_config.replace(claim_s=60)  # no setting of a dialog
    answer("keep")
    report = project.quality_report()
    assert report.dialogs["overlap"] == {"asked": 2, "keep": 1, "undo": 1}
    found = [(when, told["overlap_warning"], told["overlap"]) for when, told in report.dialogs_under.items()]
    assert found == [
        ("from event 1 on", 0.5, {"asked": 1, "undo": 1}),
        ("from event 3 on", 0.2, {"asked": 1, "keep": 1}),
    ]
    assert report.settings == project.review_config.to_dict()
    assert "overlap_warning: 0.2" in str(report)


# ---- bad input --------------------------------------------------------------------------------------------------------


def test_undo__of_anothers_gesture_or_image_or_twice_is_refused(project, image):
    other = project.images()["image_id"][1]
    project.record(event("complete", image, gesture="done"))
    for refused, says in (
        (desk.undo(image, "done", by="b"), "is by 'a'"),
        (desk.undo(other, "done"), "no gesture"),
        (desk.undo(image, "nothing"), "no gesture"),
        (desk.undo(image, "done", purpose="second"), "was for review"),
    ):
        with pytest.raises(EventError, match=says):
            project.record(refused)
    project.record(desk.undo(image, "done"))
    with pytest.raises(EventError, match="undone already"):
        project.record(desk.undo(image, "done"))
    assert len(project.journal()) == 2


def test_record__a_batch_with_one_bad_event_leaves_nothing(project, image):
    ids = masks(project, image)
    with pytest.raises(EventError):
        project.record([event("verdict", image, ids[0], verdict="reject"), event("label", image, "nothing", label="x")])
    assert len(project.journal()) == 0


def test_record__unknown_run_or_triage_is_refused(project, image):
    with pytest.raises(StoreError, match="run: expected one of"):
        project.record(event("verdict", image, masks(project, image)[0], verdict="accept", run_id=7, triage_id=1))
    with pytest.raises(EventError, match="triage_id: expected"):
        project.record(event("complete", image, run_id=1, triage_id=99))


def test_record__order_is_the_sequence_whatever_the_clock_says(project, image, monkeypatch):
    from workbench.store import journal

    ids = masks(project, image)
    project.record(event("verdict", image, ids[0], verdict="accept"))
    monkeypatch.setattr(journal, "_now_ms", lambda: "1999-01-01T00:00:00.000Z")
    project.record(event("verdict", image, ids[0], verdict="reject"))
    assert project.image_review(image).verdict[0] == 2
    assert project.journal()["recorded_at"].iloc[1] < project.journal()["recorded_at"].iloc[0]


def test_reviewed_images__are_those_that_people_left(project):
    frame = project.images()
    one, other, third = frame["image_id"][:3]
    assert project.reviewed_images() == []
    project.record([event("skip", other, reason="blurred"), event("complete", one)])
    project.record(event("complete", third, gesture="c"))
    project.record(desk.undo(third, "c"))
    assert project.reviewed_images() == [one, other]
    assert (project.reviewed_images("complete"), project.reviewed_images("skipped")) == ([one], [other])
    standing = project.reviewed().set_index("image_id")["status"]
    assert standing.to_dict() == {one: "complete", other: "skipped", third: "open"}


def test_add_annotator__names_are_text_and_roles_are_known(project):
    project.add_annotator("<b>x</b>")
    assert "<b>x</b>" in project.annotators()["name"].tolist()
    for name in ("", "x" * 10_000, "a\nb"):
        with pytest.raises(ValueError, match="annotator: expected a name"):
            project.add_annotator(name)
    with pytest.raises(ValueError, match="role: expected one of annotator, senior, owner"):
        project.add_annotator("c", "king")
    assert project.add_annotator("a", "senior").role == "senior"
    assert project.add_annotator("a").role == "senior"  # whoever opens the annotator again stays what they are
    assert project.add_annotator("new").role == "annotator"


def test_draw__the_pixels_of_a_mask_that_is_there_accept_it(project, image):
    ids = masks(project, image)
    (told,) = project.record(desk.draw(image, desk.BLOCKS[3]))
    assert told.mask_id == ids[3]
    review = project.image_review(image)
    assert len(review) == 4
    assert review.final[3]


def test_draw__in_place_of_a_rejected_mask(project, image):
    ids = masks(project, image)
    (told,) = project.record(desk.draw(image, (0, 0, 5, 5), replaces=ids[0]))
    review = project.image_review(image)
    assert review.verdict[0] == 2
    assert review.masks.parent_id[review.at(told.mask_id)] == ids[0]


def test_verdict__in_bulk_is_marked(project, image):
    ids = masks(project, image)
    project.record(
        [event("verdict", image, verdict="accept", masks=ids[:3]), event("verdict", image, ids[1], verdict="accept")]
    )
    assert project.image_review(image).bulk.tolist() == [True, False, True, False]
    assert project.final_labels().empty
