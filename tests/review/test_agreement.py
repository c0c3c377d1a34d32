from __future__ import annotations

import math

import numpy as np
import pytest
from desk import SIZE, block
from hypothesis import given
from hypothesis import strategies as st

from workbench.review import agreement

RNG = np.random.default_rng(0)


def test_cohens_kappa__worked_case():
    # 50 grant proposals, two readers: observed 0.7, expected 0.5 · 0.6 + 0.5 · 0.4 = 0.5
    assert agreement.cohens_kappa(np.array([[20, 5], [10, 15]])) == pytest.approx(0.4)


def test_cohens_kappa__same_agreement_other_margins():
    # observed 0.6 both times; expected 0.54 and 0.46
    assert agreement.cohens_kappa(np.array([[45, 15], [25, 15]])) == pytest.approx((0.6 - 0.54) / 0.46)
    assert agreement.cohens_kappa(np.array([[25, 35], [5, 35]])) == pytest.approx((0.6 - 0.46) / 0.54)


def test_cohens_kappa__not_defined_without_variation_or_data():
    assert math.isnan(agreement.cohens_kappa(np.array([[7, 0], [0, 0]])))
    assert math.isnan(agreement.cohens_kappa(np.zeros((2, 2))))


# Krippendorff 2011, Computing Krippendorff's Alpha-Reliability, section A: two observers, ten units, binary
BINARY = ("0100000000", "1110010010")
# section C: four observers, twelve units, five categories, some missing
_ = None
NOMINAL = (
    (1, 2, 3, 3, 2, 1, 4, 1, 2, _, _, _),
    (1, 2, 3, 3, 2, 2, 4, 1, 2, 5, _, 3),
    (_, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, _),
    (1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, _),
)


def test_alpha__binary_case_of_the_paper():
    units = [[int(a), int(b)] for a, b in zip(*BINARY, strict=True)]
    matrix = agreement.coincidences(units, 2)
    assert matrix.tolist() == [[10, 4], [4, 2]]
    assert agreement.krippendorffs_alpha(matrix) == pytest.approx(0.095, abs=5e-4)


def test_alpha__nominal_case_of_the_paper_with_missing_data():
    units = [[None if v is None else v - 1 for v in unit] for unit in zip(*NOMINAL, strict=True)]
    matrix = agreement.coincidences(units, 5)
    assert matrix.sum() == pytest.approx(40)
    assert np.diag(matrix) == pytest.approx([7, 10, 8, 4, 3])
    assert agreement.krippendorffs_alpha(matrix) == pytest.approx(0.743, abs=5e-4)


def test_alpha__not_defined_without_pairs_or_variation():
    assert math.isnan(agreement.krippendorffs_alpha(agreement.coincidences([], 2)))
    assert math.isnan(agreement.krippendorffs_alpha(agreement.coincidences([[0], [1]], 2)))
    assert math.isnan(agreement.krippendorffs_alpha(agreement.coincidences([[0, 0], [0, 0]], 2)))


@given(st.lists(st.lists(st.integers(0, 2), min_size=2, max_size=4), min_size=1, max_size=12))
def test_alpha__is_one_exactly_when_all_agree(units):
    alpha = agreement.krippendorffs_alpha(agreement.coincidences(units, 3))
    agree = all(len(set(unit)) == 1 for unit in units)
    if not math.isnan(alpha):
        assert (alpha == pytest.approx(1.0)) == agree
        assert alpha <= 1 + 1e-12


def ratings(pairs):
    return {(f"i{k // 4}", f"m{k}"): {"a": x, "b": y} for k, (x, y) in enumerate(pairs)}


def test_alpha_of__has_an_interval_over_images():
    given = ratings([(0, 0), (1, 1), (0, 1), (1, 1)] * 10)
    found = agreement.alpha_of(given, np.random.default_rng(1))
    assert found.n == 40
    assert found.low < found.value < found.high or found.low == found.high == found.value
    assert found.how == "bootstrap"
    assert agreement.alpha_of({}, RNG).n == 0
    assert not agreement.alpha_of({}, RNG).known


def test_alpha_of__few_masks_that_all_agree_on_promise_little():
    given = {(f"i{k}", f"m{j}"): {"a": j, "b": j} for k in range(2) for j in range(2)}
    found = agreement.alpha_of(given, np.random.default_rng(1))
    assert (found.value, found.high, found.n, found.how) == (1.0, 1.0, 4, "binomial")
    # observed agreement of 4 in 4 is at least 0.025 ** (1 / 4); disagreement by chance is 2 · 4 · 4 ÷ (8 · 7)
    assert found.low == pytest.approx(1 - (1 - 0.025 ** (1 / 4)) / (32 / 56))
    kappa = agreement.kappa_of(given, "a", "b", np.random.default_rng(1))
    assert (kappa.value, kappa.how) == (1.0, "binomial")
    assert kappa.low == pytest.approx(1 - (1 - 0.025 ** (1 / 4)) / 0.5)


def test_kappa_of__counts_only_what_both_judged():
    given = {**ratings([(0, 0), (1, 1), (0, 1), (1, 0)] * 3), ("i9", "m"): {"a": 0, "c": 1}}
    found = agreement.kappa_of(given, "a", "b", np.random.default_rng(1))
    assert (found.n, found.value) == (12, pytest.approx(0.0))
    assert agreement.pairs_of(given) == [("a", "b"), ("a", "c")]
    assert agreement.judges(given) == ["a", "b", "c"]


def test_observed_of__is_the_share_of_others_who_agree():
    given = {("i", "m"): {"a": 0, "b": 0, "c": 1}, ("j", "n"): {"a": 1, "b": 1}}
    found = agreement.observed_of(given, "a", np.random.default_rng(1))
    assert (found.value, found.n) == (pytest.approx(2 / 3), 3)


def test_interval__of_one_image_is_none():
    found = agreement.alpha_of(ratings([(0, 1), (1, 1), (0, 0)]), RNG)
    assert found.known
    assert math.isnan(found.low)


def test_matched__sums_over_pairs_matched_one_to_one():
    a = [block(0, 0, 4, 4), block(10, 10, 14, 14)]
    b = [block(0, 0, 4, 3), block(20, 20, 22, 22), block(0, 0, 4, 4)]
    assert agreement.matched(a, b, SIZE, 0.5).tolist() == [1.0, 1.0, 5.0]
    assert agreement.matched([], [], SIZE, 0.5).tolist() == [0.0, 0.0, 0.0]
    iou, share = agreement.iou_of([agreement.matched(a, b, SIZE, 0.5)], RNG)
    assert (iou.value, share.value) == (1.0, 2 / 5)
    assert not agreement.iou_of([], RNG)[0].known


def test_of_days__by_the_day_of_the_last_verdict():
    given = ratings([(0, 0), (1, 1)])
    keys = list(given)
    found = dict(agreement.of_days(given, {keys[0]: "2026-01-02", keys[1]: "2026-01-01"}))
    assert list(found) == ["2026-01-01", "2026-01-02"]
    assert list(found["2026-01-02"]) == [keys[0]]
