"""Thresholds from calibration images: as low as the labels allow, reasons that mean nothing off, words where none fits."""

from __future__ import annotations

import numpy as np
import pytest

from workbench.calibrate.recalibrate import Features
from workbench.config import ProposeConfig, TriageConfig, preset
from workbench.loop.comparison import Comparison
from workbench.loop.thresholds import Allowed, calibrated
from workbench.masks import rle
from workbench.tables.outcomes import Reason
from workbench.tables.proposals import Proposals
from workbench.triage.limits import PoolError, refuse_below
from workbench.triage.rules import triage

BASE = preset("official").triage.replace(stability_score=None, predicted_iou=0.88)


def rows_of(scores) -> Proposals:
    """One mask an image, so that no other is near."""
    mask = np.zeros((1, 20, 20), bool)
    mask[0, :8, :8] = True
    counts = rle.encode(mask)[0]
    ids = [f"i{k}" for k in range(len(scores))]
    return Proposals.make(
        rles=[counts] * len(scores), image_id=ids, sizes_hw=(20, 20), area_px=64, boxes_xyxy=(0, 0, 8, 8),
        predicted_iou=np.asarray(scores, np.float32),
    )  # fmt: skip


def judge_by(wrong):
    """Judge every mask by itself, as where none is near another."""
    return lambda chosen: (chosen & ~wrong, chosen & wrong)


def test_calibrated__lowest_threshold_that_is_right_enough():
    scores = np.linspace(0.99, 0.6, 40)
    wrong = scores < 0.7
    found = calibrated(BASE, rows_of(scores), judge_by(wrong), Allowed(0.05))
    assert found.kind == "calibrated"
    outcome = triage(rows_of(scores), found.config)
    accepted = outcome.auto_accepted
    assert (wrong[accepted].sum() + 1) / (accepted.sum() + 1) <= 0.05
    assert accepted.sum() == (~wrong).sum()  # one more would be one too many
    assert outcome.flagged.sum() == wrong.sum()  # the rest is looked at, down to the floor
    assert found.labels == 40


def test_calibrated__never_below_the_floors_of_the_run():
    floors = ProposeConfig(predicted_iou_floor=0.5, pool="distinct")
    rows, wrong = rows_of(np.linspace(0.99, 0.5004, 60)), np.arange(60) >= 30  # the lowest score lies just above
    found = calibrated(BASE, rows, judge_by(wrong), Allowed(0.05), floors)
    assert found.kind == "calibrated"
    refuse_below(found.config, floors)
    assert triage(rows, found.config).outcome.min() > 0  # all the others are flagged down to the floor
    with pytest.raises(PoolError):
        refuse_below(calibrated(BASE, rows, judge_by(wrong), Allowed(0.05)).config, floors)


def test_calibrated__equal_scores_go_together():
    scores = np.array([0.9] * 30 + [0.8] * 30)
    wrong = np.arange(60) >= 50
    found = calibrated(BASE, rows_of(scores), judge_by(wrong), Allowed(0.05))
    assert 0.8 <= found.config.predicted_iou < 0.9


@pytest.mark.parametrize(
    ("wrong", "why"),
    [(np.ones(40, bool), "no threshold"), (np.zeros(5, bool), "no threshold"), (np.zeros(0, bool), "no labelled")],
    ids=["all wrong", "too few", "none"],
)
def test_calibrated__keeps_the_given_thresholds_where_labels_allow_none(wrong, why):
    found = calibrated(BASE, rows_of(np.linspace(0.9, 0.5, len(wrong))), judge_by(wrong), Allowed(0.05))
    assert (found.kind, found.config) == ("preset", BASE)
    assert why in found.note


def test_calibrated__all_right_accepts_all():
    wrong = np.zeros(40, bool)
    rows = rows_of(np.linspace(0.9, 0.5, 40))
    found = calibrated(BASE, rows, judge_by(wrong), Allowed(0.05))
    assert triage(rows, found.config).auto_accepted.all()


def test_calibrated__scores_that_are_missing_are_left_out():
    scores = np.r_[np.linspace(0.9, 0.6, 30), [np.nan] * 5]
    wrong = np.isnan(scores)
    found = calibrated(BASE, rows_of(scores), judge_by(wrong), Allowed(0.05))
    assert found.kind == "calibrated"
    assert found.labels == 30
    assert not triage(rows_of(scores), found.config).auto_accepted[30:].any()


@pytest.mark.parametrize("harmless", [True, False])
def test_calibrated__a_reason_that_means_nothing_is_switched_off(harmless):
    """All masks touch the border; where they are right all the same, that is no reason to look."""
    base = BASE.replace(border_px=0)
    scores = np.linspace(0.95, 0.6, 60)
    wrong = np.zeros(60, bool) if harmless else np.arange(60) % 3 == 0
    found = calibrated(base, rows_of(scores), judge_by(wrong), Allowed(0.05))
    assert ("border_px" in found.switched_off) == harmless
    assert isinstance(found.config, TriageConfig)


def test_calibrated__a_mask_that_stays_out_takes_no_truth_from_one_that_goes_in():
    """Each object has two masks: the better scored one is accepted, the other fits a little better and is flagged."""
    whole, most = np.zeros((2, 40, 40), bool)
    whole[:20, :20], most[:20, :19] = True, True
    images = [f"i{k}" for k in range(40)]
    rows = Proposals.make(
        rles=rle.encode(np.stack([most, whole])) * 40, image_id=np.repeat(images, 2), sizes_hw=(40, 40),
        area_px=np.tile([380, 400], 40), boxes_xyxy=np.tile([[0, 0, 19, 20], [0, 0, 20, 20]], (40, 1)),
        predicted_iou=np.tile(np.float32([0.95, 0.9]), 40),
    )  # fmt: skip
    truth = Proposals.make(
        rles=rle.encode(whole[None]) * 40, image_id=images, sizes_hw=(40, 40), area_px=400,
        boxes_xyxy=(0, 0, 20, 20), predicted_iou=np.float32(1),
    )  # fmt: skip
    comparison, at = Comparison.of_tables(rows, truth, images)
    assert comparison.verdicts(np.ones(80, bool)).wrong.reshape(40, 2)[:, 0].all()
    base = BASE.replace(overlap=0.5, nms_iou=1.0, pool="distinct")
    found = calibrated(base, rows.select(at), comparison.verdicts, Allowed(0.05))
    assert (found.kind, found.accepted) == ("calibrated", 40)
    assert triage(rows, found.config).auto_accepted.reshape(40, 2).tolist() == [[True, False]] * 40


def told_by_jitter(n, seed=0):
    """Masks whose predicted IoU says nothing, and whose jitter stability says everything; 8 an image."""
    rng = np.random.default_rng(seed)
    rows = rows_of(rng.uniform(0.6, 0.95, n))
    wrong = rng.random(n) < 0.4
    steady = np.where(wrong, rng.uniform(0.3, 0.6, n), rng.uniform(0.7, 1.0, n))
    rows = rows.replace(image_id=np.array([f"i{k // 8}" for k in range(n)], object))
    return rows, Features.of(predicted_iou=rows.predicted_iou, jitter_stability=steady), wrong


def test_calibrated__confidence_accepts_what_predicted_iou_cannot_tell():
    rows, features, wrong = told_by_jitter(240)
    base = BASE.replace(overlap=None, nms_iou=1.0)  # all lie in one place
    assert calibrated(base, rows, judge_by(wrong), Allowed(0.05)).accepted < 40
    found = calibrated(base, rows, judge_by(wrong), Allowed(0.05), features=features)
    assert found.recalibration is not None
    assert found.accepted > 0.9 * (~wrong).sum()
    others, theirs, theirs_wrong = told_by_jitter(400, seed=1)
    config = found.config.replace(confidence_model=1)
    accepted = triage(others.replace(confidence=found.recalibration.predict(theirs)), config).auto_accepted
    assert accepted.sum() > 0.9 * (~theirs_wrong).sum()
    assert theirs_wrong[accepted].mean() <= 0.05


@pytest.mark.parametrize(("pool", "rule"), [("distinct", "decides"), ("exact", "doubts")])
def test_calibrated__confidence_decides_where_distinct_masks_are_known(pool, rule):
    """Every other mask is at the border, most of these right: the recalibration says which, and the doubt stays to be read."""
    rows, features, wrong = told_by_jitter(480)
    at_border = np.arange(480) % 2 == 0
    rows = rows.replace(boxes_xyxy=np.where(at_border[:, None], [0, 0, 8, 8], [5, 5, 13, 13]))
    base = BASE.replace(overlap=None, nms_iou=1.0, border_px=0, pool=pool)
    found = calibrated(base, rows, judge_by(wrong), Allowed(0.05), features=features)
    assert found.config.confidence_rule == rule
    triaged = triage(
        rows.replace(confidence=found.recalibration.predict(features)), found.config.replace(confidence_model=1)
    )
    accepted = triaged.auto_accepted
    assert wrong[accepted].mean() <= 0.05
    least, most = (0.9, 1) if rule == "decides" else (0, 0)
    assert least <= accepted[at_border & ~wrong].mean() <= most
    assert accepted[~at_border & ~wrong].mean() > 0.9
    assert (triaged.reasons[at_border] & np.uint32(Reason.touches_border)).all()


def told_by_two(n: int, images: int, seed: int = 0) -> tuple[Proposals, Features, np.ndarray]:
    """Masks that are right where both or neither of two features is high: no weighted sum tells."""
    rng = np.random.default_rng(seed)
    a, b = rng.uniform(-1, 1, (2, n))
    a, b = a + np.sign(a) / 2, b + np.sign(b) / 2
    rows = rows_of(rng.uniform(0.6, 0.95, n))
    rows = rows.replace(image_id=np.array([f"i{k % images}" for k in range(n)], object))
    return rows, Features.of(predicted_iou=rows.predicted_iou, jitter_stability=a, solidity=b), a * b < 0


def test_calibrated__trees_are_asked_where_there_are_images_enough():
    base = BASE.replace(overlap=None, nms_iou=1.0)
    rows, features, wrong = told_by_two(600, images=40)
    found = calibrated(base, rows, judge_by(wrong), Allowed(0.05), features=features)
    assert found.recalibration is not None
    assert found.recalibration.method == "trees"
    assert found.accepted > 0.9 * (~wrong).sum()
    others, theirs, theirs_wrong = told_by_two(600, images=40, seed=1)
    config = found.config.replace(confidence_model=1)
    accepted = triage(others.replace(confidence=found.recalibration.predict(theirs)), config).auto_accepted
    assert accepted.sum() > 0.8 * (~theirs_wrong).sum()
    assert theirs_wrong[accepted].mean() <= 0.08
    few, few_features, few_wrong = told_by_two(600, images=20)
    assert calibrated(base, few, judge_by(few_wrong), Allowed(0.05), features=few_features).recalibration is None


def test_calibrated__confidence_asks_for_labels_first():
    rows, features, wrong = told_by_jitter(64)
    base = BASE.replace(overlap=None, nms_iou=1.0)
    assert calibrated(base, rows, judge_by(wrong), Allowed(0.05), features=features) == calibrated(
        base, rows, judge_by(wrong), Allowed(0.05)
    )
    none, nothing = rows.select(np.zeros(0, int)), np.zeros(0, bool)
    assert calibrated(base, none, judge_by(nothing), Allowed(0.05), features=features.select(slice(0))).kind == "preset"


def test_calibrated__confidence_says_nothing_where_nothing_tells():
    rows, features, _ = told_by_jitter(160)
    wrong = np.random.default_rng(5).random(160) < 0.5
    found = calibrated(BASE.replace(overlap=None, nms_iou=1.0), rows, judge_by(wrong), Allowed(0.05), features=features)
    assert (found.kind, found.recalibration) == ("preset", None)


@pytest.mark.parametrize(
    ("reserve", "images", "most"),  # of 1,000 accepted masks on so many images, by hand: m w / 1000 + B <= 0.05 (m + 1)
    [(0.0, 1, 49), (0.5, 9, 0), (0.5, 19, 26), (0.5, 99, 45), (1.0, 99, 40)],
)
def test_allowed__leaves_room_for_one_image_more(reserve, images, most):
    wrong = np.arange(60)
    fits = Allowed(0.05, reserve).fits(wrong, np.full(60, 1000), images)
    assert fits.tolist() == (wrong <= most).tolist()


@pytest.mark.parametrize(
    ("share", "reserve"), [(0.05, 0.5), (0.05, 1.0), (0.1, 0.25), (0.03, 0.5), (0.2, 0.0), (0.03, 0.45), (0.06, 0.54)]
)
def test_allowed__least_images(share, reserve):
    allowed, least = Allowed(share, reserve), Allowed(share, reserve).least_images
    nothing_wrong = np.zeros(1, int), np.full(1, 10**6)
    assert allowed.fits(*nothing_wrong, least).all()
    assert least == 1 or not allowed.fits(*nothing_wrong, least - 1).any()


def test_calibrated__fewer_images_accept_less_and_too_few_nothing():
    """The lower the score, the more are wrong; the same masks, said to come from more and more images."""
    rng = np.random.default_rng(0)
    scores = np.linspace(0.99, 0.5, 1200)
    wrong = rng.random(1200) < (1 - scores) / 4
    base = BASE.replace(overlap=None, nms_iou=1.0)  # masks of an image all lie at the same place here
    accepted = []
    for images in (8, 14, 30, 300):
        rows = rows_of(scores).replace(image_id=np.array([f"{i % images}" for i in range(1200)], object))
        found = calibrated(base, rows, judge_by(wrong), Allowed(0.05, 0.5))
        accepted.append(found.accepted)
        if images == 8:
            assert found.kind == "preset"
            assert "accepted masks on 9 images at least, and 8 are labelled" in found.note
        else:
            assert found.kind == "calibrated"
    assert accepted[0] == 0
    assert accepted == sorted(accepted)
    assert accepted[-1] <= calibrated(base, rows, judge_by(wrong), Allowed(0.05)).accepted


def test_calibrated__says_that_the_reserve_is_why_where_images_are_too_few_for_it():
    """Eight images, three masks in a hundred wrong whatever their score."""
    rows = rows_of(np.linspace(0.99, 0.5, 1000)).replace(image_id=np.array([f"{i % 8}" for i in range(1000)], object))
    base, judge = BASE.replace(overlap=None, nms_iou=1.0), judge_by(np.arange(1000) % 33 == 0)
    assert calibrated(base, rows, judge, Allowed(0.05)).note == ""
    found = calibrated(base, rows, judge, Allowed(0.05, 0.5))
    assert found.kind == "preset"
    assert "(`reserve`): that takes accepted masks on 9 images at least, and 8 are" in found.note


@pytest.mark.parametrize("every", [33, 21, 10])
def test_calibrated__takes_the_nearest_where_images_are_enough_and_the_room_is_not_there(every):
    """Twenty images, one mask in so many wrong whatever its score: the room for one image more takes 2 in 100 or fewer."""
    rows = rows_of(np.linspace(0.99, 0.5, 1000)).replace(image_id=np.array([f"{i % 20}" for i in range(1000)], object))
    wrong = np.arange(1000) % every == 0
    base, allowed = BASE.replace(overlap=None, nms_iou=1.0), Allowed(0.05, 0.5)
    found = calibrated(base, rows, judge_by(wrong), allowed)
    errors, counts = np.cumsum(wrong), np.arange(1, 1001)
    with_room = allowed.with_room(errors, counts, np.minimum(counts, 20))
    with_room[(errors + 1) / (counts + 1) > 0.05] = np.inf  # more than 5 % themselves
    assert (with_room > 0.05).all()
    if every == 10:
        assert found.kind == "preset"
        return
    assert (found.kind, found.accepted) == ("calibrated", int(np.argmin(with_room)) + 1)
    assert f"the nearest, with {100 * errors[found.accepted - 1] / found.accepted:.2g} % wrong" in found.note
    assert f"{100 * with_room.min():.3g} % with that room, was taken" in found.note


def test_calibrated__images_without_an_accepted_mask_leave_no_room():
    """Sixty surest masks are right, all of one image; eight other images have none that may be accepted."""
    rows = rows_of(np.linspace(0.99, 0.5, 140))
    rows = rows.replace(image_id=np.array(["easy"] * 60 + [f"{i % 8}" for i in range(80)], object))
    base, judge = BASE.replace(overlap=None, nms_iou=1.0), judge_by(np.arange(140) >= 60)
    assert calibrated(base, rows, judge, Allowed(0.05)).accepted == 62  # 3 of 63 is less than 5 %
    assert calibrated(base, rows, judge, Allowed(0.05, 0.5)).kind == "preset"


@pytest.mark.parametrize(("images", "off"), [(4, False), (40, True)])
def test_calibrated__a_reason_is_put_to_the_test_with_the_same_room(images, off):
    """A hundred right masks touch the border, in a few images or in many; others do not."""
    touches = np.arange(400) % 4 == 0
    rows = rows_of(np.linspace(0.99, 0.6, 400))
    boxes = np.where(touches[:, None], (0, 0, 8, 8), (1, 1, 9, 9))
    names = [f"{k // 4 % images}" if t else f"inside {k % 50}" for k, t in enumerate(touches)]
    rows = rows.replace(boxes_xyxy=boxes.astype(np.int32), image_id=np.array(names, object))
    base = BASE.replace(border_px=0, overlap=None, nms_iou=1.0)
    found = calibrated(base, rows, judge_by(np.zeros(400, bool)), Allowed(0.05, 0.5))
    assert found.kind == "calibrated"
    assert ("border_px" in found.switched_off) == off
