"""The benchmark of certificates on splits of masks: what abstains, what is broken."""

from __future__ import annotations

import types

import numpy as np

from benchmarks.certificates import REAL_ALPHAS, looked_again, on_real_splits
from workbench.calibrate.recalibrate import Features


def labelled(images=120, masks=20, error=0.02, seed=0):
    rng = np.random.default_rng(seed)
    n = images * masks
    score = rng.uniform(0.5, 1, n)
    right = rng.random(n) >= 2 * error * (1 - score) * 2
    found = types.SimpleNamespace(
        known=np.ones(n, bool),
        within=np.ones(n, bool),
        features=Features.of(predicted_iou=score),
        right=right,
        image=np.repeat(np.arange(images), masks).astype(object),
    )
    verdicts = lambda accepted: types.SimpleNamespace(right=accepted & found.right)  # noqa: E731 each object once
    found.comparison = types.SimpleNamespace(verdicts=verdicts)
    return found


def values(rows):
    return {row.name: row.value for row in rows}


def test_on_real_splits__good_masks_are_certified_and_promises_hold():
    found = values(on_real_splits(np.random.default_rng(0), labelled(), 10, 300))
    assert len(found) == 4 * len(REAL_ALPHAS)
    assert found["abstentions: pool, 120 real images, alpha 0.1"] == 0
    assert found["violations: pool, 120 real images, alpha 0.1"] == 0
    assert found["abstentions: images, 120 real images, alpha 0.2"] == 0


def test_on_real_splits__bad_or_few_masks_abstain():
    bad = labelled()
    bad.right = np.random.default_rng(1).random(len(bad.right)) < 0.5
    assert (
        values(on_real_splits(np.random.default_rng(0), bad, 5, 300))["abstentions: pool, 120 real images, alpha 0.2"]
        == 1
    )
    few = values(on_real_splits(np.random.default_rng(0), labelled(images=6), 5, 300))
    assert few["abstentions: images, 6 real images, alpha 0.05"] == 1


def test_looked_again__is_wrong_more_often_than_one_look_and_no_more_than_is_promised():
    rows = looked_again(np.random.default_rng(0), 0.0, 400, 60, 100)
    found = {row.name.split(",")[0]: row for row in rows}
    assert found["violations: pool"].value > 0.06
    assert all(row.value <= row.aim for row in rows)
