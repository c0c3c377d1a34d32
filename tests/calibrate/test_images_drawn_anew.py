"""Images drawn anew, and the percentiles of what they show."""

from __future__ import annotations

import math

import numpy as np

from workbench.calibrate.intervals import draw_images, percentiles


def test_draw_images__as_many_as_there_are_each_time():
    times = draw_images(7, 4000, np.random.default_rng(0))
    assert times.shape == (4000, 7)
    assert (times.sum(axis=1) == 7).all()
    assert np.allclose(times.mean(axis=0), 1, atol=0.06)
    assert np.isclose((times[:, 0] == 0).mean(), (6 / 7) ** 7, atol=0.03)


def test_percentiles__undefined_draws_are_left_out():
    values = np.linspace(0, 1, 1001)
    assert np.allclose(percentiles(values), (0.025, 0.975))
    assert percentiles(np.append(values, [np.nan] * 50)) == percentiles(values)
    assert all(math.isnan(end) for some in ([], [np.nan]) for end in percentiles(some))
