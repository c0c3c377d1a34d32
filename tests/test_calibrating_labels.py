"""Labels of calibration and certificates: masks that nobody looked at, final masks before truth, truth with gaps."""

from __future__ import annotations

import judged
import numpy as np
import pytest
import stub_sam
from desk import event

from workbench.loop.labelling import label, truths
from workbench.loop.measuring import figures, judge
from workbench.masks import matching, rle
from workbench.tables.outcomes import Outcome
from workbench.tables.proposals import Proposals

pytestmark = pytest.mark.slow  # each fits, and compares by cross-validation


def accepted_are_wrong(image, always=None):
    """Five masks that triage accepts, all wrong; two that it flags, right; two that it discards, wrong."""
    rng = np.random.default_rng(int(image.astype(np.int64).sum()))
    cells = rng.permutation(len(judged.CELLS))[:9]
    scores = np.r_[rng.uniform(0.82, 1, 5), rng.uniform(0.73, 0.79, 2), rng.uniform(0.5, 0.6, 2)]
    return cells, scores, np.r_[np.zeros(5, bool), np.ones(2, bool), np.zeros(2, bool)]


def two_of_each(image, segmenter, config=None, *, image_id=None):
    """Eight objects, each with a mask of high confidence that has a tail, and with an exact one that triage discards."""
    places = [k for k, (_, x) in enumerate(judged.CELLS) if x in (0, 16)]
    exact = rle.decode(judged.blocks(places, [6] * 8), judged.SIZE)
    tailed = exact.copy()
    for mask, (y, x) in zip(tailed, (judged.CELLS[k] for k in places), strict=True):
        mask[y, x + 6 : x + 12] = True
    scores = np.random.default_rng(int(image.astype(np.int64).sum())).uniform(0.85, 1, 8)
    rles = rle.encode(np.concatenate([tailed, exact]))
    own = {"predicted_iou": np.r_[scores, np.full(8, 0.55)], "model_id": segmenter.model_id}
    return judged.table(rles, image_id, **own)


def review_flagged(project, images=None, auto=None):
    """Accept the flagged masks of images one by one, judge the auto-accepted ones if told how, and complete them."""
    project.add_annotator("a")
    for image in project.images()["image_id"].tolist() if images is None else images:
        review = project.image_review(image)
        words = [(k, "accept") for k in np.flatnonzero(review.outcome == Outcome.flagged)]
        words += [(k, auto) for k in np.flatnonzero(review.outcome == Outcome.auto_accepted) if auto]
        said = [event("verdict", image, str(review.masks.mask_id[k]), verdict=word) for k, word in words]
        project.record([*said, event("complete", image)])


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.setattr(judged, "drawn", accepted_are_wrong)
    with judged.make(tmp_path, monkeypatch, n=60, roles=(0.0, 1.0, 0.0), truth=False) as made:
        yield made


def calibrated_by_truth(project):
    """Calibrate on images with truth, and return those that are kept for certificates, without any."""
    from workbench.loop.calibration import is_for_fitting

    ids = project.images()["image_id"].tolist()
    fitted = [i for i in ids if is_for_fitting(i, project.seed, 0.5)]
    cells = {i: accepted_are_wrong(project.image(i)) for i in fitted}
    masks = [judged.table(judged.blocks(c, np.where(right, 6, 2)), i) for i, (c, _, right) in cells.items()]
    project.import_truth(Proposals.concat(masks), images=fitted)
    assert project.calibrate(draws=5).recalibration is not None
    return [i for i in ids if i not in fitted]


def test_certify__masks_that_nobody_looked_at_count_as_wrong(project, monkeypatch):
    from workbench.calibrate.recalibrate import Recalibration

    kept = calibrated_by_truth(project)
    monkeypatch.setattr(Recalibration, "predict", lambda _, features: features.score)
    review_flagged(project, kept[1:])
    review_flagged(project, kept[:1], auto="accept")
    found = project.certify(alpha=0.2).images
    assert not found.granted
    blind = 5 * (len(kept) - 1)
    assert f"{blind} masks of {len(kept) - 1} of the {len(kept)} images" in found.sentence
    assert found.labels == 1
    assert found.needed >= len(kept)


def test_certify__every_mask_looked_at_gives_a_certificate(project, monkeypatch):
    from workbench.calibrate.recalibrate import Recalibration

    kept = calibrated_by_truth(project)
    monkeypatch.setattr(Recalibration, "predict", lambda _, features: features.score)
    review_flagged(project, kept, auto="accept")
    found = project.certify(alpha=0.2).images
    assert found.granted
    assert found.labels == len(kept)


def test_calibrate__images_with_accepted_masks_that_nobody_looked_at_are_left_out(project):
    ids = project.images()["image_id"].tolist()
    review_flagged(project, ids[5:])
    review_flagged(project, ids[:5], auto="reject")
    found = project.calibrate(share=1.0, draws=5)
    assert set(found.images) == set(ids[:5])
    assert f"55 of 60 images left out: {55 * 5} of their final masks were not looked at one by one" in found.note
    assert found.before_auto.n == 25
    assert not label(project, ids[:1]).unlabelled.any()
    assert label(project, ids[5:6]).unlabelled.sum() == 5


def test_calibrate__nobody_looked_at_any_accepted_mask_is_undefined(project):
    review_flagged(project)
    found = project.calibrate(share=1.0, draws=5)
    assert found.recalibration is None
    assert found.note == (
        f"{found.good.note}; of the 60 calibration images to fit on 60 are complete or have truth, and 60 of these have "
        "masks without a verdict of their own (300 masks), which are no labels: accept or reject each"
    )
    assert "no labelled masks: review calibration images, each of their accepted masks too" in found.good.note
    assert project.calibration().note == found.note


def test_calibrate__before_a_review_says_that_no_image_is_complete(project):
    found = project.calibrate(share=1.0, draws=5)
    assert found.note.endswith("of the 60 calibration images to fit on 0 are complete or have truth")


def test_calibrate__masks_rejected_in_bulk_are_no_labels(project):
    ids = project.images()["image_id"].tolist()
    review_flagged(project, ids[:50], auto="reject")
    whole = project.calibrate(share=1.0, draws=5)
    project.add_annotator("a")
    for image in ids[50:]:
        review = project.image_review(image)
        shown = review.masks.mask_id[review.outcome != Outcome.discarded].tolist()
        project.record([event("verdict", image, masks=shown, verdict="reject", bulk=True), event("complete", image)])
    rows = label(project, ids[50:])
    assert not rows.known[rows.auto].any()
    assert not rows.whole.any()
    found = project.calibrate(share=1.0, draws=5)
    assert (found.images, found.before.n) == (whole.images, whole.before.n)
    assert "10 of 60 images left out" in found.note


def test_label__a_bulk_verdict_that_was_taken_back_is_none(project):
    image = project.images()["image_id"][0]
    review_flagged(project, [image], auto="reject")
    review = project.image_review(image)
    left = [str(m) for m in review.masks.mask_id[review.outcome == Outcome.discarded]]
    before = label(project, [image]).known.sum()
    for verdict in ("reject", "none"):
        project.record(event("verdict", image, masks=left, verdict=verdict, bulk=True))
    rows = label(project, [image])
    assert rows.whole.all()
    assert rows.known.sum() == before


def test_label__what_lies_in_a_crowd_leaves_no_image_out(project):
    """An accepted mask in a crowd of the imported truth: nobody is asked about it, an oracle neither."""
    image = project.images()["image_id"][0]
    review = project.image_review(image)
    accepted = np.flatnonzero(review.outcome == Outcome.auto_accepted)
    project.import_truth(review.masks.select(accepted[:1]), crowd=[True], images=[image])
    project.add_annotator("a")
    said = [event("verdict", image, str(review.masks.mask_id[k]), verdict="reject") for k in accepted[1:]]
    said += [
        event("verdict", image, str(review.masks.mask_id[k]), verdict="accept")
        for k in np.flatnonzero(review.outcome == Outcome.flagged)
    ]
    project.record([*said, event("complete", image)])
    rows = label(project, [image], source="final only")
    assert rows.whole.all()
    assert rows.known.sum() == len(rows.known) - 1
    assert not rows.known[rows.mask_id == review.masks.mask_id[accepted[0]]].any()
    assert len(rows.truth_labels) == len(rows.comparison.ignore) == 3  # the crowd is no object


def test_calibrate__a_project_with_a_seed_below_zero(tmp_path, monkeypatch):
    with judged.make(tmp_path, monkeypatch, n=30, roles=(0, 0.6, 0.4)) as project:
        project.seed = -3
        project.calibrate(draws=5)
        project.certify(labels=5)
        assert not project.gate().open
        project.recall_auto()
        project.annotate_automatically(override="a trial", sample=5)


def test_truths__final_masks_of_complete_images_come_before_imported_truth_where_asked(project):
    ids = project.images()["image_id"].tolist()[:3]
    project.import_truth(Proposals.concat([judged.truth_of(project.image(i), i) for i in ids[:2]]), images=ids[:2])
    review_flagged(project, [ids[0], ids[2]], auto="reject")
    sizes = {s: {i: len(t.masks) for i, t in truths(project, ids, s).items()} for s in ("truth", "final", "final only")}
    assert sizes["truth"] == {ids[0]: 9, ids[1]: 9, ids[2]: 2}
    assert sizes["final"] == {ids[0]: 2, ids[1]: 9, ids[2]: 2}
    assert sizes["final only"] == {ids[0]: 2, ids[2]: 2}
    assert truths(project, [], "final") == {}


def complete_as_people_do(project, images, true_masks):
    """Judge what triage flagged, reject what it accepted wrongly, draw what is missing; leave what it accepted rightly."""
    project.add_annotator("a")
    for image in images:
        review, true = project.image_review(image), true_masks[image]
        found, of, _ = matching.match(list(review.masks.rles), list(true.rles), judged.SIZE, 0.75)
        kept = review.outcome != Outcome.discarded
        right = np.isin(np.arange(len(review.masks)), found)
        ids = review.masks.mask_id.astype(str)
        words = [
            (ids[k], "accept" if right[k] else "reject") for k in np.flatnonzero(review.outcome == Outcome.flagged)
        ]
        words += [(ids[k], "reject") for k in np.flatnonzero((review.outcome == Outcome.auto_accepted) & ~right)]
        said = [event("verdict", image, mask, verdict=word) for mask, word in words]
        there = {int(b) for a, b in zip(found, of, strict=True) if kept[a]}
        missing = [true.rles[k].decode() for k in range(len(true)) if k not in there]
        drawn = [event("draw", image, rle=run, size_hw=list(judged.SIZE), tool="brush", prompts={}) for run in missing]
        project.record([*said, *drawn, event("complete", image)])


def test_recall__by_a_peoples_review_is_that_of_the_truth(tmp_path, monkeypatch):
    """Without imported truth the final masks are the truth, also those that triage accepted and nobody had to look at."""
    with judged.make(tmp_path, monkeypatch, n=24, roles=(0.0, 0.0, 1.0), truth=False) as project:
        ids = project.images()["image_id"].tolist()
        true_masks = {image: judged.truth_of(project.image(image), image) for image in ids}
        complete_as_people_do(project, ids, true_masks)
        by_review, gate = project.recall_auto(), project.gate()
        plain = project.sweep({"predicted_iou": [0.8]}, metrics=["recall_auto"], progress=False)
        known = truths(project, ids)
        test = judge(project.each(ids, None), known, project.triage_config(), stub_sam.PLAIN)
        found, _, _ = figures(test, project.triage_config(), True, np.random.default_rng(0))
        judged.add_truth(project)
        by_truth, of_truth = project.recall_auto(), project.gate()
    assert 0.2 < by_review.value < 0.9
    assert (by_review.value, by_review.n) == (by_truth.value, by_truth.n)
    assert plain.loc[0, "recall_auto"] == pytest.approx(by_review.value)
    for check in ("recall", "small_object_recall", "domains"):
        assert gate[check].value == pytest.approx(of_truth[check].value)
    assert "nobody looked" not in gate["recall"].note  # it fails as it is
    assert of_truth["recall"].note == ""
    assert found["recall_auto"].value == pytest.approx(by_truth.value)
    assert found["share_by_hand"].value < 0.9
    assert not found["fp_rate"].known  # people reject what is wrong and leave what is right


def test_gate__recall_does_not_pass_on_masks_that_nobody_looked_at(tmp_path, monkeypatch):
    """All masks are accepted by themselves, and all images completed at once: each true mask is found by itself."""
    accept_all = judged.PLAIN.replace(predicted_iou=0.5, predicted_iou_margin=0)
    with judged.make(tmp_path, monkeypatch, n=24, roles=(0.0, 0.0, 1.0), truth=False) as project:
        project.triage(accept_all)
        ids = project.images()["image_id"].tolist()
        project.add_annotator("a")
        for image in ids:
            project.record([event("complete", image)])
        gate = project.gate()
        for name in ("recall", "small_object_recall", "domains"):
            assert gate[name].verdict == "insufficient"
            assert "nobody looked at one by one" in gate[name].note
        assert gate["category_diversity"].verdict == "insufficient"
        assert gate["recall"].value == 1
        for image in ids:
            review = project.image_review(image)
            project.record(
                [event("verdict", image, mask, verdict="accept") for mask in review.masks.mask_id.astype(str)]
            )
            project.record([event("complete", image)])
        assert project.gate()["recall"].verdict == "pass"


def test_recall__masks_accepted_in_bulk_are_true_masks_as_well(tmp_path, monkeypatch):
    with judged.make(tmp_path, monkeypatch, n=12, roles=(0.0, 0.0, 1.0), truth=False) as project:
        project.add_annotator("a")
        accepted = final = 0
        for image in project.images()["image_id"].tolist():
            review = project.image_review(image)
            flagged = review.masks.mask_id.astype(str)[review.outcome == Outcome.flagged]
            said = [event("verdict", image, mask, verdict="accept", bulk=True) for mask in flagged]
            project.record([*said, event("complete", image)])
            accepted += int((review.outcome == Outcome.auto_accepted).sum())
            final += len(project.final_masks([image]))
        found = project.recall_auto()
        assert 0 < accepted < final
        assert (found.value, found.n) == (pytest.approx(accepted / final), final)


def test_calibrate__truth_with_gaps_says_of_no_mask_that_it_is_wrong(project):
    ids = project.images()["image_id"].tolist()
    project.import_truth(Proposals.concat([judged.truth_of(project.image(i), i) for i in ids]), images=ids)
    assert project.calibrate(share=1.0, draws=5).recalibration is not None
    found = project.calibrate(share=1.0, draws=5, exhaustive=False)
    assert found.recalibration is None
    assert "no labelled masks" in found.note
    review_flagged(project, ids[:8], auto="reject")
    found = project.calibrate(share=1.0, draws=5, exhaustive=False)
    assert set(found.images) == set(ids[:8])
    project.certify(labels=40)
    frame = project.masks_to_verify()
    assert set(frame["image_id"][frame["label"] != ""]) <= set(ids[:8])


def test_certify__a_mask_that_stays_out_takes_no_true_mask_from_one_that_is_accepted(tmp_path, monkeypatch):
    from workbench.calibrate.recalibrate import Recalibration

    places = [k for k, (_, x) in enumerate(judged.CELLS) if x in (0, 16)]
    monkeypatch.setattr(judged, "propose", two_of_each)
    monkeypatch.setattr(judged, "truth_of", lambda _image, i, _always: judged.table(judged.blocks(places, [6] * 8), i))
    monkeypatch.setattr(Recalibration, "predict", lambda _, features: features.score)
    with judged.make(tmp_path, monkeypatch, roles=(0.0, 1.0, 0.0)) as project:
        found = project.calibrate(draws=5)
        assert found.before["auroc"].value == 0  # among all distinct ones the exact masks are right
        assert "right" in found.before_auto.note  # of the accepted ones all are
        both = project.certify(alpha=0.2)
        for certificate in (both.pool, both.images):
            assert certificate.granted
            assert certificate.threshold == 0.555  # above the exact masks: 0.55 in float32 is more
            assert certificate.wrong == 0
        assert not set(project.masks_to_verify()["label"]) - {"right", "wrong"}
        made = project.annotate_automatically(override="a trial", sample=50)
        assert (made.verified.labelled, made.verified.wrong) == (50, 0)
        assert project.verify_annotation().to_dict() == made.verified.to_dict()


def test_certify__masks_in_a_crowd_are_neither_right_nor_wrong(tmp_path, monkeypatch):
    with judged.make(tmp_path, monkeypatch, roles=(0.0, 1.0, 0.0)) as project:
        ids = project.images()["image_id"].tolist()
        project.calibrate(draws=5)
        crowd = np.zeros((1, *judged.SIZE), bool)
        crowd[0, :, :20] = True
        (region,) = rle.encode(crowd)
        parts = [judged.truth_of(project.image(i), i) for i in ids]
        regions = [judged.table([region], i) for i in ids]
        masks = Proposals.concat([*parts, *regions])
        words = {"crowd": np.arange(len(masks)) >= len(masks) - len(ids)}
        project.import_truth(masks, images=ids, **words)
        both = project.certify(alpha=0.2)
        labels = project.masks_to_verify()["label"]
        assert both.unlabelled == 0
        assert (labels == "crowd").any()
        assert both.pool.steps[-1].labels == (labels != "crowd").sum()
        made = project.annotate_automatically(override="a trial", sample=60).verified
        assert made.labelled == made.drawn == 60
        assert np.isfinite(made.bound)
