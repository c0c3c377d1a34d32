from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.calibrate import smooth
from workbench.calibrate.reliability import (
    ReliabilityTable,
    auroc,
    bins_of,
    brier_skill,
    ece,
    reliability,
)


def drawn(n=600, images=30, seed=0, bias=0.0):
    rng = np.random.default_rng(seed)
    p = rng.uniform(0.2, 1, n)
    return p, rng.random(n) < np.clip(p - bias, 0, 1), rng.integers(0, images, n)


def test_ece__by_hand():
    # two bins: mean confidence 0.2 with none right, 0.8 with half right
    p, y = np.array([0.1, 0.3, 0.7, 0.9]), np.array([False, False, True, False])
    assert ece(p, y, bins=2) == pytest.approx((2 * 0.2 + 2 * 0.3) / 4)


def test_ece__of_a_constant_that_is_the_share_right_is_zero():
    y = np.arange(40) % 4 > 0
    assert ece(np.full(40, 0.75), y) == 0


def test_bins__are_of_equal_mass_and_keep_equal_values_together():
    p = np.random.default_rng(0).uniform(size=150)
    assert np.bincount(bins_of(p)).tolist() == [10] * 15
    assert len(np.unique(bins_of(np.full(9, 0.3)))) == 1
    assert len(bins_of(np.zeros(0))) == 0


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=60))
def test_ece__lies_between_the_mean_gap_and_one(rows):
    p, y = np.array([r[0] for r in rows]), np.array([r[1] for r in rows])
    assert abs(p.mean() - y.mean()) - 1e-9 <= ece(p, y) <= 1


def test_auroc__known_values():
    assert auroc(np.array([0.1, 0.2, 0.8, 0.9]), np.array([False, False, True, True])) == 1
    assert auroc(np.array([0.5, 0.5]), np.array([False, True])) == 0.5
    for right in (np.ones(2, bool), np.zeros(2, bool), np.zeros(0, bool)):
        assert np.isnan(auroc(np.full(len(right), 0.5), right))


def test_auroc_and_skill__beside_scikit_learn():
    from sklearn.metrics import brier_score_loss, roc_auc_score

    p, y, _ = drawn()
    p = p.round(1)  # ties
    assert auroc(p, y) == pytest.approx(roc_auc_score(y, p))
    assert brier_skill(p, y) == pytest.approx(
        1 - brier_score_loss(y, p) / brier_score_loss(y, np.full(len(y), y.mean()))
    )


def test_smooth_ece__of_many_agrees_with_relplot():
    for bias in (0.0, 0.05, 0.15):
        p, y, _ = drawn(bias=bias, seed=3)
        residuals, counts = smooth.on_grid(p, p - y)[None], smooth.on_grid(p, np.ones(len(p)))[None]
        assert smooth.smooth_ece_of_many(residuals, counts)[0] == pytest.approx(smooth.smooth_ece(p, y), abs=2e-3)


def test_reliability__finds_what_was_put_in():
    table = reliability(*drawn(3000, 100, bias=0.15), np.random.default_rng(1), draws=200)
    for name in ("ece", "smooth_ece"):
        m = table[name]
        assert 0.12 < m.value < 0.18, name
        assert m.low <= m.value <= m.high
        assert m.perfect < 0.04 < m.value
        assert m.perfect_high >= m.perfect
    assert table.counts.sum() == 3000
    assert (table.low <= table.share_right).all()
    assert (table.share_right <= table.high).all()


def test_reliability__perfect_model_shows_what_perfection_shows():
    table = reliability(*drawn(2000, 80, seed=5), np.random.default_rng(1), draws=200)
    for name in ("ece", "smooth_ece"):
        assert table[name].value <= table[name].perfect_high * 1.3


def test_reliability__iou_error_is_another_thing():
    p, y, image = drawn(1000)
    table = reliability(p, y, image, np.random.default_rng(0), predicted_iou=p, true_iou=p - 0.1, draws=50)
    assert table["iou_calibration_error"].value == pytest.approx(0.1)
    assert table["iou_calibration_error"].perfect == pytest.approx(0, abs=1e-9)
    assert table["ece"].value < 0.1


@pytest.mark.parametrize(("label", "word"), [(True, "right"), (False, "wrong")])
def test_reliability__one_class_is_undefined_and_said_so(label, word):
    table = reliability([0.5, 0.9], [label, label], ["a", "b"], np.random.default_rng(0))
    assert f"all 2 labelled masks are {word}" in table.note
    assert np.isnan(table["smooth_ece"].value)
    assert word in repr(table)


def test_reliability__none_one_image_and_missing_scores_are_said():
    rng = np.random.default_rng(0)
    assert "no labelled masks" in reliability([], [], [], rng).note
    table = reliability([0.2, 0.4, 0.9, np.nan], [False, True, True, True], ["a"] * 4, rng, draws=50)
    assert "one image" in table.note
    assert "1 without a score" in table.note
    assert np.isfinite(table["ece"].value)
    assert np.isnan(table["ece"].high)
    assert "without a score" in reliability([np.nan], [True], ["a"], rng).note
    table = reliability([0.2, 0.4, 0.9, np.inf], [False, True, True, True], list("abca"), rng, draws=50)
    assert "1 without a score" in table.note
    assert table.n == 3


@pytest.mark.parametrize("images", [10, 1])
def test_reliability__what_is_not_known_is_left_out_of_the_words(images, recwarn):
    p, right = np.ones(40), np.arange(40) != 3  # no mask would be wrong, were the confidence true
    table = reliability(p, right, np.arange(40) % images, np.random.default_rng(0), draws=100)
    assert not recwarn.list
    assert np.isnan(table["auroc"].perfect)
    assert np.isnan(table["brier_skill"].perfect_high)
    assert table["ece"].perfect == 0
    assert "nan" not in repr(table)
    assert "perfect 0.0000" in repr(table)


def test_reliability__a_bin_that_no_draw_of_images_has_keeps_its_exact_interval(recwarn):
    p, right = np.repeat([0.3, 0.9], 20), np.arange(40) % 2 == 0
    table = reliability(p, right, p, np.random.default_rng(3), draws=1)
    assert not recwarn.list
    assert np.isfinite(table.low).all()
    assert (table.low <= table.share_right).all()


def test_reliability__columns_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match="one length"):
        reliability([0.5], [True, False], ["a", "b"], np.random.default_rng(0))


def test_reliability__predicted_iou_above_one_counts_as_one():
    table = reliability(
        [1.2, 0.4, 1.1, 0.1], [True, False, False, True], list("abcd"), np.random.default_rng(0), draws=50
    )
    assert table.confidence.max() <= 1


def test_table__to_json_and_back():
    table = reliability(*drawn(200), np.random.default_rng(0), draws=50)
    again = ReliabilityTable.from_dict(json.loads(json.dumps(table.to_dict(), allow_nan=False)))
    assert again.to_dict() == table.to_dict()
    assert np.array_equal(again.counts, table.counts)
    undefined = reliability([0.5], [True], ["a"], np.random.default_rng(0))
    again = ReliabilityTable.from_dict(json.loads(json.dumps(undefined.to_dict(), allow_nan=False)))
    assert np.isnan(again["ece"].value)


@pytest.mark.parametrize("seed", range(8))
def test_reliability__interval_holds_the_value_where_every_draw_has_a_larger_error(seed):
    p, y, image = drawn(n=150, images=12, seed=seed)
    table = reliability(p, y, image, np.random.default_rng(seed), draws=100)
    assert all(m.low <= m.value <= m.high for m in table.figures.values())


def test_reliability__labelled_images_without_such_a_mask_are_not_called_unlabelled():
    nothing = np.zeros(0)
    found = reliability(
        nothing, nothing, nothing, np.random.default_rng(0), what="auto-accepted masks", images_looked_at=12
    )
    assert found.note == "no auto-accepted masks on the 12 labelled images"
