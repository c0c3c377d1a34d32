"""Grids of thresholds: checked when made, and at every point the outcomes of triage."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_pools import random_proposals

from workbench.config import ProposeConfig, SettingError, TriageConfig
from workbench.tables.outcomes import Outcome
from workbench.tables.proposals import Proposals
from workbench.triage.pool import PoolError
from workbench.triage.rules import triage
from workbench.triage.sweep import MOST_POINTS, Grid, outcomes

GRID = {
    "predicted_iou": [0.6, 0.88],
    "jitter_stability": [None, 0.8],
    "nms_iou": [0.3, 0.7],
    "min_area_px": [0, 30],
    "unusual_size_z": [1.0],
}


def by_image(proposals):
    return [proposals.select(rows) for _, rows in proposals.by_image()]


@pytest.mark.parametrize("pool", ["distinct", "exact"])
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(0, 60), crops=st.sampled_from([1, 5]), overlap=st.booleans())
@settings(max_examples=40, deadline=None)
def test_outcomes__are_those_of_triage_at_every_point(pool, seed, n, crops, overlap):
    made = np.random.default_rng(seed)
    parts = by_image(random_proposals(made, n, crops=crops))
    moved = {name: made.choice(np.array(some, object), 2).tolist() for name, some in GRID.items()}
    grid = Grid.of(moved, TriageConfig(pool=pool, overlap=0.4 if overlap else None, predicted_iou_margin=0.1))
    found = list(outcomes(lambda: parts, grid))
    assert sorted(one.point for one in found) == list(range(len(grid)))
    for point, config, outcome, distinct in found:
        assert config == grid.configs()[point]
        expected = triage(Proposals.concat(parts), config).outcome
        assert outcome.tolist() == expected.tolist()
        whatever = triage(Proposals.concat(parts), config.replace(pool="distinct")).distinct
        kept = (outcome == Outcome.auto_accepted) | (outcome == Outcome.flagged)
        assert distinct.tolist() == (whatever | kept).tolist()


def test_outcomes__one_pool_for_thresholds(monkeypatch):
    asked = []
    parts = by_image(random_proposals(np.random.default_rng(0), 40))
    grid = Grid.of({"nms_iou": [0.5, 0.7], "predicted_iou": [0.6, 0.7, 0.8]}, TriageConfig())
    found = list(outcomes(lambda: asked.append(0) or parts, grid))
    assert (len(found), len(asked)) == (6, 2)  # the proposals are read once for each nms_iou
    asked.clear()
    assert len(list(outcomes(lambda: asked.append(0) or parts, Grid(TriageConfig(pool="exact"), grid.values)))) == 6
    assert len(asked) == 1


def test_outcomes__no_proposals():
    grid = Grid.of({"predicted_iou": [0.5]}, TriageConfig())
    assert [one.outcome.tolist() for one in outcomes(lambda: [], grid)] == [[]]


def test_outcomes__below_the_floors_is_refused_before_any_work():
    grid = Grid.of({"predicted_iou": [0.9, 0.5]}, TriageConfig(predicted_iou_margin=0.08))
    with pytest.raises(PoolError, match=r"stored above a predicted IoU of 0\.5, asked for those above 0\.42"):
        next(outcomes(lambda: 1 / 0, grid, ProposeConfig()))


def test_outcomes__exact_of_what_was_stored_after_nms_is_refused():
    grid = Grid.of({"predicted_iou": [0.9]}, TriageConfig(pool="exact"))
    with pytest.raises(PoolError, match="after NMS"):
        list(outcomes(lambda: [], grid, ProposeConfig(pool="distinct")))


def test_grid__points_in_order_equal_values_once():
    grid = Grid.of({"predicted_iou": np.array([0.5, 0.9]), "min_area_px": [1, 1, 2]}, TriageConfig())
    assert len(grid) == 4
    assert grid.changes()[1] == {"predicted_iou": 0.5, "min_area_px": 2}
    assert [c.min_area_px for c in grid.configs()] == [1, 2, 1, 2]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, "at least one threshold"),
        (None, "at least one threshold"),
        ({"predicted_iou": []}, "at least one value for predicted_iou"),
        ({"predicted_iou": 0.9}, "expected a list of values"),
        ({"predicted_iou": "0.9"}, "expected a list of values"),
        ({"predicted_io": [0.9]}, "did you mean 'predicted_iou'"),
        ({"predicted_iou": [np.nan]}, "finite number"),
        ({"predicted_iou": [0.9, 99]}, "expected"),
        ({"predicted_iou": np.linspace(0, 1, 200), "nms_iou": np.linspace(0, 1, 100)}, "at most 10,000.*got 20,000"),
    ],
)
def test_grid__that_is_none_is_refused(values, words):
    with pytest.raises(SettingError, match=words):
        Grid.of(values, TriageConfig())


def test_grid__endless_values_are_refused():
    def endless():
        k = 0
        while True:
            k += 1
            yield k

    with pytest.raises(SettingError, match=f"at most {MOST_POINTS:,}"):
        Grid.of({"min_area_px": endless()}, TriageConfig())
