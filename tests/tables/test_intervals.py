"""Intervals: bootstrap over images, exact binomial, paired differences, against scipy and by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from workbench.tables.intervals import bootstrap, bootstrap_many, difference, difference_many, exact_binomial


def rng():
    return np.random.default_rng(0)


def test_bootstrap__mean_is_near_the_normal_interval():
    values = np.random.default_rng(1).normal(3, 1, 400)
    found = bootstrap(values, rng())
    half = 1.96 * values.std() / 20
    assert found.value == pytest.approx(values.mean())
    assert (found.low, found.high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.02)
    assert (found.n, found.how) == (400, "bootstrap")


def test_bootstrap__rate_is_sum_over_sum_and_sees_clusters():
    # every mask of half of the images is right: as many units as images, not as masks
    values, per = np.tile([0.0, 50.0], 20), np.full(40, 50.0)
    found = bootstrap(values, rng(), per)
    assert (found.value, found.n) == (0.5, 2000)
    assert found.high - found.low == pytest.approx(2 * 1.96 * math.sqrt(0.25 / 40), rel=0.15)


def test_bootstrap__of_the_images_that_were_measured():
    found = bootstrap([1.0, np.nan, 3.0], rng())
    assert (found.value, found.n) == (2.0, 2)


@pytest.mark.parametrize(("events", "n"), [(0, 59), (4, 100), (97, 100)])
def test_bootstrap__few_events_are_exact(events, n):
    values = np.zeros(10)
    values[0] = events
    found = bootstrap(values, rng(), np.full(10, n / 10))
    expected = stats.binomtest(events, n).proportion_ci(method="exact")
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert found.how == "binomial"


def test_bootstrap__one_image_says_nothing_of_others():
    found = bootstrap([30.0], rng(), [60.0])
    assert found.value == 0.5
    assert math.isnan(found.low)
    assert found.how == "none"


@pytest.mark.parametrize("per", [None, []])
def test_bootstrap__no_image(per):
    found = bootstrap([], rng(), per)
    assert not found.known
    assert found.n == 0


def test_bootstrap__nothing_to_count():
    found = bootstrap([0.0, 0.0], rng(), [0.0, 0.0])
    assert (found.known, found.n, found.how) == (False, 0, "none")


def test_bootstrap__draws_without_a_denominator_are_left_out():
    found = bootstrap([6.0, 0.0, 0.0], rng(), [12.0, 0.0, 0.0])
    assert (found.value, found.low, found.high) == (0.5, 0.5, 0.5)


def test_bootstrap_many__same_images_for_all_settings():
    values = np.random.default_rng(2).integers(0, 9, (3, 30)).astype(float)
    per = np.full((3, 30), 10.0)
    together = bootstrap_many(values, per, rng())
    for k in range(3):
        assert together.interval(k) == bootstrap(values[k], rng(), per[k])


def test_difference__pairing_takes_out_what_images_share():
    per = np.full(30, 20.0)
    hard = np.random.default_rng(3).integers(2, 16, 30).astype(float)
    paired = difference((hard + 2, per), (hard, per), rng())
    assert (paired.value, paired.n) == (pytest.approx(0.1), 30)
    assert (paired.low, paired.high) == (pytest.approx(0.1), pytest.approx(0.1))
    alone = bootstrap(hard, rng(), per)
    assert alone.high - alone.low > 0.05


def test_difference__few_events_are_put_together_by_square_and_add():
    # Newcombe 1998 with exact intervals: 0/10 against 5/10
    found = difference((np.zeros(10), np.ones(10)), (np.repeat([0.0, 1.0], 5), np.ones(10)), rng())
    (low_b, high_b), (_, high_a) = exact_binomial(5, 10), exact_binomial(0, 10)
    assert found.value == -0.5
    assert found.low == pytest.approx(-0.5 - (high_b - 0.5))
    assert found.high == pytest.approx(-0.5 + math.hypot(high_a, 0.5 - low_b))
    assert found.how == "binomial"


def test_difference__of_means():
    values = np.arange(20.0)[None]
    per = np.ones((1, 20))
    found = difference_many((values + 1, per), (values, per), rng(), of_events=False).interval(0)
    assert (found.value, found.low, found.high, found.n) == (1.0, 1.0, 1.0, 20)


def test_difference__other_images_are_refused():
    with pytest.raises(ValueError, match="same images"):
        difference((np.zeros(3), np.ones(3)), (np.zeros(4), np.ones(4)), rng())


@pytest.mark.parametrize(("k", "n"), [(0, 1), (1, 1), (3, 7), (0, 1000), (1000, 1000)])
def test_exact_binomial__is_clopper_and_pearson(k, n):
    expected = stats.binomtest(k, n).proportion_ci(method="exact")
    assert [float(end) for end in exact_binomial(k, n)] == pytest.approx([expected.low, expected.high])


def test_exact_binomial__of_nothing_is_unknown():
    assert all(math.isnan(float(end)) for end in exact_binomial(0, 0))


@pytest.mark.slow
def test_bootstrap__covers():
    made, inside = np.random.default_rng(4), 0
    for _ in range(300):
        share = made.beta(6, 4, 40)
        values = made.binomial(20, share).astype(float)
        found = bootstrap(values, made, np.full(40, 20.0), draws=500)
        inside += found.low <= 0.6 <= found.high
    assert 0.90 <= inside / 300 <= 0.99
