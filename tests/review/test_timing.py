from __future__ import annotations

import math

import pytest
from desk import draw, event

from workbench.review import timing


def test_active_s__the_gesture_decides_the_phase():
    events = [
        event("verdict", "i", "m", verdict="accept", elapsed_ms=2000),
        draw("i", (0, 0, 2, 2), elapsed_ms=14_000),
        event("complete", "i", elapsed_ms=4000),
    ]
    seconds = timing.active_s(events)
    assert seconds == {"verdict": 2.0, "draw": 14.0, "check": 4.0}
    assert timing.shares(seconds) == {"verdict": 0.1, "draw": 0.7, "check": 0.2}


def test_active_s__a_pause_is_not_active_but_long_drawing_is():
    events = [
        event("verdict", "i", "m", verdict="accept", elapsed_ms=60_000),
        event("verdict", "i", "m", verdict="accept", elapsed_ms=60_001),
        draw("i", (0, 0, 2, 2), elapsed_ms=61_000),
    ]
    assert timing.active_s(events) == {"verdict": 60.0, "draw": 61.0, "check": 0.0}
    assert timing.active_s(events, idle_s=90)["verdict"] == pytest.approx(120.001)


def test_active_s__a_drawing_counts_for_at_most_its_limit():
    events = [draw("i", (0, 0, 2, 2), elapsed_ms=ms) for ms in (299_000, 301_000, 3 * 3600 * 1000)]
    assert timing.active_s(events)["draw"] == 299 + 300 + 300
    assert timing.active_s(events, drawing_s=100)["draw"] == 300
    label = event("label", "i", "m", label="x", phase="draw", elapsed_ms=61_000)
    assert timing.active_s([label])["draw"] == 0.0


def test_active_s__a_completeness_check_counts_for_at_most_its_limit():
    events = [event("complete", "i", elapsed_ms=61_000), event("skip", "i", reason="dark", elapsed_ms=3_600_000)]
    seconds = timing.active_s(events)
    assert seconds["check"] == 61 + 300


def test_active_s__of_nothing():
    assert timing.shares(timing.active_s([])) == {"verdict": 0.0, "draw": 0.0, "check": 0.0}
    assert math.isnan(timing.per_hour(3, 0.0))
    assert timing.per_hour(3, 60.0) == 180.0
