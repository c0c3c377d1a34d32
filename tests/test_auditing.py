"""Audits drawn more than once, and what they have found."""

from __future__ import annotations

import desk
import pytest
from desk import event

from workbench.tables.events import EventError


@pytest.fixture
def reviewed(tmp_path, monkeypatch):
    """Four complete images of two automatic masks each."""
    desk.install(monkeypatch)
    with desk.make(tmp_path, n=4) as project:
        project.add_annotator("t", "senior")
        for image in project.images()["image_id"]:
            project.record(event("complete", image))
        yield project


def answer(project, senior="s", verdict="accept", images=None):
    """Judge what the queue hands out; return how many masks that were."""
    queue, n = project.queue(), 0
    while (images is None or images > 0) and (claim := queue.claim(senior)) is not None:
        assert claim.kind == "audit"
        review = project.audit_review(claim.image_id, senior)
        todo = review.masks.mask_id[review.verdict == 0].tolist()
        project.record([event("verdict", claim.image_id, m, by=senior, verdict=verdict) for m in todo], claim)
        project.record(event("complete", claim.image_id, by=senior), claim)
        n += len(todo)
        images = None if images is None else images - 1
    return n


def test_draw_audit__again_hands_out_only_what_nobody_audited_and_keeps_the_probability(reviewed):
    reviewed.review_config = reviewed.review_config.replace(audit_least=0)
    first = reviewed.draw_audit(seed=1, share=0.5)
    assert (first.masks, first.answered) == (4, 0)
    assert answer(reviewed) == 4
    second = reviewed.draw_audit(seed=2, share=0.75)
    both = set(zip(*reviewed.audit_results(1)[["image_id", "mask_id"]].to_numpy().T, strict=True))
    again = set(zip(*reviewed.audit_results(2)[["image_id", "mask_id"]].to_numpy().T, strict=True))
    assert second.answered == len(both & again) >= 2
    assert set(reviewed.audit_results(2)["probability"]) == {0.75}  # of all final masks, audited before or not
    assert answer(reviewed) == len(again - both)
    assert reviewed.audits()["answered"].tolist() == [4, 6]


def test_draw_audit__of_other_masks_draws_another_sample(tmp_path, monkeypatch):
    """By the seed alone it would be the last one but for what was corrected, and speak of the rest as if drawn afresh."""
    desk.install(monkeypatch)
    with desk.make(tmp_path, n=60) as project:
        project.review_config = project.review_config.replace(audit_least=0)
        project.add_annotator("t", "senior")
        for image in project.images()["image_id"]:
            project.record(event("complete", image))
        pairs = [set(zip(*drawn(project)[["image_id", "mask_id"]].to_numpy().T, strict=True)) for _ in range(2)]
        assert pairs[0] == pairs[1]
        image, mask = sorted(pairs[0])[0]
        project.record(event("verdict", image, mask, verdict="reject"))
        after = set(zip(*drawn(project)[["image_id", "mask_id"]].to_numpy().T, strict=True))
        assert len(after & pairs[0]) == pytest.approx(0.25 * len(after), abs=0.25 * len(after))


def drawn(project):
    return project.audit_results(project.draw_audit(seed=1, share=0.25).audit_id)


def test_draw_audit__of_what_is_all_audited_is_answered_at_once(reviewed):
    reviewed.draw_audit()
    assert answer(reviewed, verdict="reject") == 8
    again = reviewed.draw_audit(seed=3)
    assert (again.masks, again.answered) == (8, 8)
    assert reviewed.queue().claim("s") is None
    assert reviewed.quality_report().audits["2"]["wrong"] == 8


def test_disagreements__a_mask_of_two_audits_is_listed_once(reviewed):
    reviewed.draw_audit()
    assert answer(reviewed, verdict="reject") == 8
    for seed, again in ((3, False), (4, True)):
        reviewed.draw_audit(seed=seed, again=again)
        answer(reviewed, verdict="reject")
        assert len(reviewed.audit_results()) == 8 * reviewed.audits()["audit_id"].max()  # a row for each audit
        found = reviewed.disagreements()
        assert len(found) == found["mask_id"].nunique() == 8
        assert set(found["audit_id"]) == {reviewed.audits()["audit_id"].max()}
        decided = found["decided_by"].iloc[0]
        assert decided
        assert reviewed.disagreements(decided)["mask_id"].is_unique


def test_draw_audit__one_answer_counts_for_two_open_audits(reviewed):
    reviewed.draw_audit()
    reviewed.draw_audit(seed=1)
    assert answer(reviewed) == 8
    assert reviewed.audits()["answered"].tolist() == [8, 8]


def test_draw_audit__asked_again_is_blind_to_the_first_answer_and_does_not_change_it(reviewed):
    reviewed.draw_audit()
    assert answer(reviewed, verdict="reject") == 8
    again = reviewed.draw_audit(seed=1, again=True)
    assert again.answered == 0
    image = reviewed.images()["image_id"][0]
    assert reviewed.audit_review(image, "s").verdict.tolist() == [0, 0]
    assert answer(reviewed, "t") == 8
    assert set(reviewed.audit_results(1)["result"]) == {"wrong"}
    assert set(reviewed.audit_results(1)["auditor"]) == {"s"}
    assert set(reviewed.audit_results(2)["result"]) == {"right"}
    third = reviewed.draw_audit(seed=2)  # takes the last answers
    assert third.answered == 8
    assert set(reviewed.audit_results(3)["result"]) == {"right"}
    assert reviewed.check() == []


def test_audit_review__shows_only_answers_on_masks_not_asked_about_again(reviewed):
    reviewed.draw_audit()
    image = reviewed.images()["image_id"][0]
    ids = reviewed.audit_review(image, "s").masks.mask_id.tolist()
    reviewed.record([event("verdict", image, m, by="s", purpose="audit", verdict="accept") for m in ids])
    reviewed.review_config = reviewed.review_config.replace(audit_least=0)
    seed = next(k for k in range(99) if len(audited(reviewed, k) & set(ids)) == 1)
    reviewed.draw_audit(seed=seed, share=0.5, again=True)
    assert sorted(reviewed.audit_review(image, "s").verdict.tolist()) == [0, 1]


def test_record__an_audit_takes_no_verdict_in_bulk(reviewed):
    reviewed.draw_audit()
    image = reviewed.images()["image_id"][0]
    ids = reviewed.audit_review(image, "s").masks.mask_id.tolist()
    with pytest.raises(EventError, match="on its own"):
        reviewed.record(event("verdict", image, by="s", purpose="audit", verdict="accept", masks=ids))
    assert reviewed.audits()["answered"].tolist() == [0]


def test_draw_audit__who_completed_an_image_decided_its_automatic_masks(tmp_path, monkeypatch):
    desk.install(monkeypatch)
    with desk.make(tmp_path, n=2) as project:
        project.add_annotator("t", "senior")
        for image in project.images()["image_id"]:
            project.record(event("complete", image, by="s"))
        project.draw_audit()
        assert set(project.audit_results()["decided_by"]) == {"s"}
        assert project.queue().claim("s") is None
        assert answer(project, "t") == 4


def test_draw_audit__who_drew_a_mask_does_not_judge_it_though_another_accepted_it(tmp_path, monkeypatch):
    desk.install(monkeypatch)
    with desk.make(tmp_path, n=1) as project:
        project.add_annotator("t", "senior")
        image = project.images()["image_id"][0]
        mask = project.record(desk.draw(image, (18, 20, 23, 25), by="s"))[0].mask_id
        project.record([event("verdict", image, mask, by="a", verdict="accept"), event("complete", image)])
        project.draw_audit()
        assert mask not in project.audit_review(image, "s").masks.mask_id
        with pytest.raises(EventError, match="needs somebody else"):
            project.record(event("verdict", image, mask, by="s", purpose="audit", verdict="accept"))
        assert mask in project.audit_review(image, "t").masks.mask_id
        assert answer(project, "s") == 2  # the automatic ones, which a left as they were
        assert project.queue().claim("s") is None
        assert answer(project, "t") == 1


def test_queue__an_audit_of_images_nobody_reviewed_is_handed_out_as_one(tmp_path, monkeypatch):
    desk.install(monkeypatch)
    with desk.make(tmp_path, n=2) as project:
        project.triage(desk.OPEN.replace(predicted_iou=0.5, predicted_iou_margin=0.0))  # nothing is flagged
        project.draw_audit(reviewed_only=False)
        queue = project.queue()
        first = queue.claim("s")
        assert first.kind == "audit"
        project.record(event("complete", first.image_id, by="s"), first)
        assert queue.claim("s", other_than=[first.image_id]).kind == "audit"
        assert queue.claim("s", first.image_id).kind == "complete", "what they left open there is for others"


def audited(project, seed):
    """Masks that an audit with this seed asks about."""
    number = project.draw_audit(seed=seed, share=0.5).audit_id
    return set(project.audit_results(number)["mask_id"])


def test_quality_report__audits_have_an_interval_at_zero_and_at_one(reviewed):
    reviewed.draw_audit()
    answer(reviewed, images=2)
    found = reviewed.quality_report().audits["1"]
    assert (found["masks"], found["answered"], found["wrong"], found["stands_for"]) == (8, 4, 0, 8)
    share = found["wrong_share"]
    assert (share.value, share.low, share.how) == (0.0, 0.0, "binomial")
    assert share.high == pytest.approx(1 - 0.025 ** (1 / 4))
    answer(reviewed, verdict="reject")
    assert reviewed.quality_report().audits["1"]["wrong_share"].value == 0.5


def test_agreement__bulk_after_a_verdict_of_ones_own_takes_it_back(reviewed):
    image = reviewed.images()["image_id"][0]
    ids = reviewed.image_review(image).masks.mask_id.tolist()
    reviewed.record(event("verdict", image, ids[0], verdict="accept"))
    reviewed.record(event("verdict", image, ids[0], by="b", purpose="second", verdict="accept"))
    assert reviewed.agreement().masks_judged_twice == 1
    reviewed.record(event("verdict", image, by="b", purpose="second", verdict="accept", masks=ids[:2]))
    assert reviewed.agreement().masks_judged_twice == 1
    reviewed.record(event("verdict", image, by="b", purpose="second", verdict="reject", masks=ids[:2]))
    assert reviewed.agreement().masks_judged_twice == 0


def test_agreement__a_correction_in_the_shared_review_is_no_second_opinion(reviewed):
    image = reviewed.images()["image_id"][0]
    mask = reviewed.image_review(image).masks.mask_id[0]
    reviewed.record([event("verdict", image, mask, by=by, verdict=v) for by, v in (("a", "accept"), ("b", "reject"))])
    assert reviewed.agreement().masks_judged_twice == 0
    reviewed.record(event("verdict", image, mask, by="s", purpose="second", verdict="reject"))
    found = reviewed.agreement()
    assert found.masks_judged_twice == 1
    assert list(found.cohens_kappa) == ["b – s"], "the verdict that stands is compared"


def test_agreement__the_review_counts_whole_whoever_worked_on_it(reviewed):
    image = reviewed.images()["image_id"][0]
    reviewed.record([desk.draw(image, (18, 20, 23, 25), by="b"), event("complete", image)])
    second = [
        desk.draw(image, (18, 20, 23, 25), by="s", purpose="second"),
        event("complete", image, by="s", purpose="second"),
    ]
    reviewed.record(second)
    found = reviewed.agreement()
    assert (found.images_twice, found.matched_share.value, found.drawn_iou.value) == (1, 1.0, 1.0)
    assert (found.matched_share.how, found.matched_share.high) == ("binomial", 1.0)


def test_quality_report__masks_an_hour_counts_masks_whose_time_was_measured(reviewed):
    one, two = reviewed.images()["image_id"][:2]
    reviewed.record(desk.draw(one, (18, 20, 23, 25), elapsed_ms=36_000))
    reviewed.record(desk.draw(two, (18, 20, 23, 25), elapsed_ms=9_000, seconds_source="simulated"))
    report = reviewed.quality_report()
    assert (report.manual, report.seconds_source, report.masks_per_hour) == (2, "measured", pytest.approx(100))


def test_quality_report__rejections_in_bulk_are_in_neither_count(reviewed):
    image = reviewed.images()["image_id"][0]
    ids = reviewed.image_review(image).masks.mask_id.tolist()
    reviewed.record(
        [event("verdict", image, verdict="reject", masks=ids[:2]), event("verdict", image, ids[2], verdict="reject")]
    )
    report = reviewed.quality_report()
    assert (report.rejected, report.rejection_rate.value, sum(report.rejected_by_reason.values())) == (1, 1.0, 1)


def test_queue__a_mask_left_open_in_an_audit_is_for_others(reviewed):
    reviewed.draw_audit()
    claim = reviewed.queue().claim("s")
    first, _ = reviewed.audit_review(claim.image_id, "s").masks.mask_id.tolist()
    reviewed.record([event("verdict", claim.image_id, first, by="s", verdict="accept")], claim)
    reviewed.record(event("complete", claim.image_id, by="s"), claim)
    seen = []
    while (more := reviewed.queue().claim("s")) is not None:
        seen.append(more.image_id)
        reviewed.record(event("complete", more.image_id, by="s"), more)
    assert len(seen) == len(set(seen)) == 3
    assert claim.image_id not in seen
    assert answer(reviewed, senior="t") == 7  # all but the one that was judged
    assert reviewed.audits()["answered"].tolist() == [8]


def test_queue__an_audit_drawn_again_comes_back_to_who_left_the_last(reviewed):
    reviewed.draw_audit()
    assert answer(reviewed) == 8
    reviewed.draw_audit(seed=1, again=True)
    assert answer(reviewed) == 8


@pytest.mark.parametrize("seed", [-1, "x", 1.5])
def test_draw_audit__a_seed_that_is_none_is_refused_in_words(reviewed, seed):
    with pytest.raises(ValueError, match="seed: expected a whole number of 0 or more"):
        reviewed.draw_audit(seed)
