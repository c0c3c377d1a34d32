"""Labels of calibration and certificates: masks that nobody looked at, final masks before truth, truth with gaps."""

from __future__ import annotations

import judged
import numpy as np
import pytest
from desk import event

from workbench.loop.labelling import label, truths
from workbench.tables.outcomes import Outcome
from workbench.tables.proposals import Proposals

pytestmark = pytest.mark.slow  # each fits, and compares by cross-validation


def accepted_are_wrong(image, always=None):
    """Five masks that triage accepts, all wrong; two that it flags, right; two that it discards, wrong."""
    rng = np.random.default_rng(int(image.astype(np.int64).sum()))
    cells = rng.permutation(len(judged.CELLS))[:9]
    scores = np.r_[rng.uniform(0.82, 1, 5), rng.uniform(0.73, 0.79, 2), rng.uniform(0.5, 0.6, 2)]
    return cells, scores, np.r_[np.zeros(5, bool), np.ones(2, bool), np.zeros(2, bool)]


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
    assert "no labelled masks" in found.note
    assert "60 of 60 images left out" in found.note


def test_truths__final_masks_of_complete_images_come_before_imported_truth_where_asked(project):
    ids = project.images()["image_id"].tolist()[:3]
    project.import_truth(Proposals.concat([judged.truth_of(project.image(i), i) for i in ids[:2]]), images=ids[:2])
    review_flagged(project, [ids[0], ids[2]], auto="reject")
    sizes = {s: {i: len(t.masks) for i, t in truths(project, ids, s).items()} for s in ("truth", "final", "final only")}
    assert sizes["truth"] == {ids[0]: 9, ids[1]: 9, ids[2]: 2}
    assert sizes["final"] == {ids[0]: 2, ids[1]: 9, ids[2]: 2}
    assert sizes["final only"] == {ids[0]: 2, ids[2]: 2}
    assert truths(project, [], "final") == {}


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
