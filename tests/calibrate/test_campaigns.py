"""Certificates in simulated campaigns of known error, at several correlations within images (a small benchmark)."""

from __future__ import annotations

import math

import numpy as np
import pytest

from benchmarks import certificates
from workbench.calibrate.bounds import hypergeometric_upper

N = 1000
MOST = certificates.DELTA + 2 * math.sqrt(certificates.DELTA * (1 - certificates.DELTA) / N)


def rates(rho):
    return {r.name: r.value for r in certificates.at_one_threshold(np.random.default_rng(1), rho, N, 80, 200)}


@pytest.mark.slow
@pytest.mark.parametrize("rho", certificates.CORRELATIONS)
def test_certificates__are_wrong_at_most_delta_of_the_time_and_have_power(rho):
    found = rates(rho)
    for kind in ("pool", "images"):
        assert found[f"violations: {kind}, correlation {rho:g}, error 5%"] <= MOST
    assert found[f"power: pool, correlation {rho:g}, error 1%"] > 0.8
    assert found[f"power: images, correlation {rho:g}, error 1%"] > 0.5


@pytest.mark.slow
def test_binomial_over_masks_of_images__fails_where_masks_of_an_image_are_alike():
    assert rates(0.1)["violations: binomial over masks of images, correlation 0.1, error 5%"] > 2 * MOST


@pytest.mark.slow
@pytest.mark.parametrize("rho", [0.0, 0.2])
def test_sequence__threshold_is_wrong_at_most_delta_of_the_time(rho):
    found = certificates.in_sequence(np.random.default_rng(2), rho, 60, 80, 200)
    for row in found:
        if row.name.startswith("violations"):
            assert row.value * 60 <= 8  # beyond it by chance once in ten thousand


def test_campaigns__have_the_error_and_the_correlation_asked_for():
    masks, wrong = certificates.campaigns(np.random.default_rng(0), 50, 200, 0.05, 0.2)
    shares = (wrong / masks).ravel()
    assert shares.mean() == pytest.approx(0.05, abs=0.005)
    expected = 0.05 * 0.95 * (0.2 + 0.8 * (1 / masks).mean())
    assert shares.var() == pytest.approx(expected, rel=0.15)


def test_fixed_pools__lie_just_above_alpha():
    masks, wrong = certificates.fixed_pools(np.random.default_rng(0), 20, 50, 0.05, 0.2)
    assert (wrong.sum(axis=1) / masks.sum(axis=1) > 0.05).all()
    assert ((wrong.sum(axis=1) - 1) / masks.sum(axis=1) <= 0.05).all()
    assert (wrong <= masks).all()
    assert (wrong >= 0).all()


def test_pool__granted_exactly_when_the_bound_is_at_most_alpha():
    masks, wrong = certificates.campaigns(np.random.default_rng(0), 40, 40, 0.02, 0.1)
    granted = certificates.pool_granted(np.random.default_rng(3), masks, wrong, 100)
    total, bad = masks.sum(axis=1), wrong.sum(axis=1)
    seen = np.random.default_rng(3).hypergeometric(bad, total - bad, 100)
    expected = [
        hypergeometric_upper(int(k), 100, int(n), certificates.DELTA) <= certificates.ALPHA
        for k, n in zip(seen, total, strict=True)
    ]
    assert granted.tolist() == expected
    assert len(set(expected)) == 2
