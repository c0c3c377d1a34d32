"""Thresholds from calibration images: as low as the labels allow, reasons that mean nothing off, words where none fits."""

from __future__ import annotations

import numpy as np
import pytest

from workbench.config import ProposeConfig, TriageConfig, preset
from workbench.loop.thresholds import calibrated
from workbench.masks import rle
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


def test_calibrated__lowest_threshold_that_is_right_enough():
    scores = np.linspace(0.99, 0.6, 40)
    wrong = scores < 0.7
    found = calibrated(BASE, rows_of(scores), ~wrong, wrong, 0.05)
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
    found = calibrated(BASE, rows, ~wrong, wrong, 0.05, floors)
    assert found.kind == "calibrated"
    refuse_below(found.config, floors)
    assert triage(rows, found.config).outcome.min() > 0  # all the others are flagged down to the floor
    with pytest.raises(PoolError):
        refuse_below(calibrated(BASE, rows, ~wrong, wrong, 0.05).config, floors)


def test_calibrated__equal_scores_go_together():
    scores = np.array([0.9] * 30 + [0.8] * 30)
    wrong = np.arange(60) >= 50
    found = calibrated(BASE, rows_of(scores), ~wrong, wrong, 0.05)
    assert 0.8 <= found.config.predicted_iou < 0.9


@pytest.mark.parametrize(
    ("wrong", "why"),
    [(np.ones(40, bool), "no threshold"), (np.zeros(5, bool), "no threshold"), (np.zeros(0, bool), "no labelled")],
    ids=["all wrong", "too few", "none"],
)
def test_calibrated__keeps_the_given_thresholds_where_labels_allow_none(wrong, why):
    found = calibrated(BASE, rows_of(np.linspace(0.9, 0.5, len(wrong))), ~wrong, wrong, 0.05)
    assert (found.kind, found.config) == ("preset", BASE)
    assert why in found.note


def test_calibrated__all_right_accepts_all():
    wrong = np.zeros(40, bool)
    rows = rows_of(np.linspace(0.9, 0.5, 40))
    found = calibrated(BASE, rows, ~wrong, wrong, 0.05)
    assert triage(rows, found.config).auto_accepted.all()


def test_calibrated__scores_that_are_missing_are_left_out():
    scores = np.r_[np.linspace(0.9, 0.6, 30), [np.nan] * 5]
    wrong = np.isnan(scores)
    found = calibrated(BASE, rows_of(scores), ~wrong, wrong, 0.05)
    assert found.kind == "calibrated"
    assert found.labels == 30
    assert not triage(rows_of(scores), found.config).auto_accepted[30:].any()


@pytest.mark.parametrize("harmless", [True, False])
def test_calibrated__a_reason_that_means_nothing_is_switched_off(harmless):
    """All masks touch the border; where they are right all the same, that is no reason to look."""
    base = BASE.replace(border_px=0)
    scores = np.linspace(0.95, 0.6, 60)
    wrong = np.zeros(60, bool) if harmless else np.arange(60) % 3 == 0
    found = calibrated(base, rows_of(scores), ~wrong, wrong, 0.05)
    assert ("border_px" in found.switched_off) == harmless
    assert isinstance(found.config, TriageConfig)
