"""Figures with intervals."""

from __future__ import annotations

import math

import pytest

from workbench.tables.figures import Interval


def test_interval__in_words():
    assert str(Interval(0.5, 0.25, 0.75, 1200)) == "0.5 [0.25, 0.75] (n = 1,200)"
    assert str(Interval(0.5, math.nan, math.nan, 3)) == "0.5 (no interval, n = 3)"
    assert str(Interval.unknown()) == "not known (n = 0)"


def test_interval__plain_values_for_json():
    values = Interval(0.5, math.nan, math.nan, 3).to_dict()
    assert values == {"value": 0.5, "low": None, "high": None, "n": 3, "how": "none"}


def test_interval__against_a_bound():
    figure = Interval(0.5, 0.4, 0.6, 9)
    assert figure.above(0.3)
    assert not figure.above(0.45)
    assert figure.below(0.7)
    assert not figure.below(0.55)
    assert not Interval.unknown().above(0)
    assert not Interval.unknown().below(1)


def test_interval__that_is_none_is_refused():
    with pytest.raises(ValueError, match="low <= high"):
        Interval(0.5, 0.6, 0.4, 3)
    with pytest.raises(ValueError, match="0 or more"):
        Interval(0.5, 0.4, 0.6, -1)
