"""What a cycle comes to: distinct proposals beside labels that people gave one by one, changes paired by image, work."""

from __future__ import annotations

import dataclasses
import math

import judged
import numpy as np
import pytest
import stub_sam
from desk import event

from workbench.loop import measuring, thresholds
from workbench.loop.labelling import truths
from workbench.loop.measuring import Counts, changes, counts_of


@pytest.fixture
def project(tmp_path, monkeypatch):
    with judged.make(tmp_path, monkeypatch, n=12, roles=(0.0, 1.0, 0.0), truth=False) as made:
        made.add_annotator("a")
        yield made


def accept_all(project, bulk):
    """Accept everything that is shown, at once or one by one, and complete the images."""
    ids = project.images()["image_id"].tolist()
    for image in ids:
        review = project.image_review(image)
        shown = review.masks.mask_id[review.outcome > 0].tolist()
        if bulk and shown:
            project.record([event("verdict", image, verdict="accept", masks=shown, bulk=True)])
        for mask in () if bulk else shown:
            project.record([event("verdict", image, mask, verdict="accept")])
        project.record([event("complete", image)])
    return ids


@pytest.mark.parametrize("bulk", [True, False])
def test_judge__bulk_verdicts_are_no_labels(project, bulk):
    ids = accept_all(project, bulk)
    found = measuring.judge(project.each(ids), truths(project, ids, "final only"), judged.PLAIN, stub_sam.PLAIN)
    rows = thresholds.calibrated(judged.PLAIN, found.rows, found.comparison.verdicts, thresholds.Allowed(0.05))
    assert (found.unseen > 0) == bulk
    assert found.right.any() != bulk
    assert rows.kind == ("preset" if bulk else "calibrated")


def test_judge__of_no_images(project):
    found = measuring.judge([], truths(project, [], "final only"), judged.PLAIN, stub_sam.PLAIN)
    assert (len(found.rows), len(found.features.values), found.comparison.image_ids) == (0, 0, ())
    assert measuring.recalibration(found).chosen is None


@pytest.mark.parametrize("bulk", [True, False])
def test_work__rejection_rate_is_of_masks_that_a_person_looked_at(project, bulk):
    image = project.images()["image_id"][0]
    review = project.image_review(image)
    shown = review.masks.mask_id[review.outcome > 0].tolist()
    if bulk:
        project.record([event("verdict", image, verdict="reject", masks=shown, bulk=True)])
    else:
        project.record([event("verdict", image, shown[0], verdict="reject")])
    project.record([event("complete", image)])
    found = measuring.work([project.image_review(image)], {}, "measured", np.random.default_rng(0))
    rate, *ends = (found[f"rejection_rate{end}"] for end in ("", "_low", "_high"))
    assert all(map(math.isnan, [rate, *ends])) if bulk else (rate, *ends) == (1.0, pytest.approx(0.025), 1.0)
    report = project.quality_report().rejection_rate  # the same figure
    assert not report.known if bulk else report.value == rate


def test_figures__means_are_over_the_rows_that_have_a_value(project):
    ids = accept_all(project, bulk=False)
    found = measuring.judge(project.each(ids), truths(project, ids, "final only"), judged.PLAIN, stub_sam.PLAIN)
    gone = np.arange(len(found.rows)) % 2 == 0
    score = np.where(gone, np.nan, 0.8).astype(np.float32)
    spread = np.where(gone, 0.25, np.nan).astype(np.float32)
    rows = dataclasses.replace(found.rows, predicted_iou=score, hypothesis_spread=spread)
    figures, _, _ = measuring.figures(found._replace(rows=rows), judged.PLAIN, True, np.random.default_rng(0))
    for name, value, n in (("confidence", 0.8, (~gone).sum()), ("hypothesis_spread", 0.25, gone.sum())):
        assert figures[name].value == pytest.approx(value)
        assert figures[name].n == n


def test_calibration_figures__of_distinct_and_of_auto_accepted_masks_beside_perfection(project):
    judged.add_truth(project)
    ids = project.images()["image_id"].tolist()
    parts = [
        measuring.judge(project.each(some), truths(project, some), judged.PLAIN, stub_sam.PLAIN)
        for some in (ids[:6], ids[6:])
    ]
    auto = parts[1].rows.predicted_iou > 0.75
    choice = measuring.recalibration(parts[0])
    assert "ambiguous" in choice.chosen.features  # reasons to doubt are looked at, as in project.calibrate
    found = measuring.calibration_figures(parts[1], auto, choice, np.random.default_rng(0))
    for name in measuring.CALIBRATION:
        for when in ("", "_before"):
            assert found[f"{name}{when}"].n == len(auto)
            assert found[f"{name}_auto{when}"].n == auto.sum() < len(auto)
    assert 0 < found["smooth_ece_perfect"].value < found["smooth_ece_before"].value  # scores were made overbold
    assert "auroc_perfect" not in found
    before = measuring.calibration_figures(parts[1], auto, None, np.random.default_rng(0))
    assert not {"ece", "smooth_ece_auto"} & set(before)


def test_recalibration__all_right_is_undefined_and_said(project):
    ids = accept_all(project, bulk=False)
    found = measuring.judge(project.each(ids), truths(project, ids, "final only"), judged.PLAIN, stub_sam.PLAIN)
    choice = measuring.recalibration(found._replace(wrong=~found.rows.predicted_iou.astype(bool)))
    assert choice.chosen is None
    assert choice.note


def test_changes__paired_by_image_over_those_that_both_measured():
    now = Counts(["x", "y", "z"], {"recall_auto": [[4.0, 1.0, None], [4.0, 4.0, None]], "fp_rate": [[0.0] * 3] * 2})
    before = Counts(["y", "w", "x"], {"recall_auto": [[3.0, 0.0, 0.0], [4.0, 4.0, 4.0]]})
    found = changes(now, before)
    assert list(found) == ["recall_auto"]
    assert (found["recall_auto"].value, found["recall_auto"].n) == (0.25, 2)  # 5 of 8 beside 3 of 8
    assert changes(now, Counts(["w"], {"recall_auto": [[1.0], [1.0]]})) == {}


def test_counts_of__cycles_stored_before_their_images_were():
    counts = {"recall_auto": [[1.0, 2.0], [2.0, 2.0]]}
    assert counts_of({"counts": counts}, ("x", "y")) == (("x", "y"), counts)
    assert counts_of({"counts": counts}, ("x", "y", "z")) == ((), {})  # two of three, and which is not known
    assert counts_of({"counts": counts, "test_images": ["x", "z"]}, ("x", "y", "z")).images == ["x", "z"]
    assert np.isnan(
        changes(counts_of({"counts": {"f": [[None], [None]]}}, "x"), Counts("x", {"f": [[1], [1]]}))["f"].value
    )
