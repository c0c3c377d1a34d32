"""The benchmark of the second look: its threshold by hand, and both ways on one drawn scene."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.bundled_sam import Sample
from benchmarks.refine import accepted, compare, set_rows
from workbench.masks import rle
from workbench.sam.scenes import VALIDATION_SEEDS, draw_scene


def test_accepted__the_loosest_threshold_of_one_in_twenty():
    right = np.ones(100, bool)
    right[[10, 30, 41, 42, 99]] = False  # 1 of 11 is wrong, 2 of 40, 4 of 80, 5 of 100
    score = np.linspace(1, 0, 100)
    assert accepted(score, right).sum() == 100
    right[98] = False
    assert accepted(score, right).sum() == 98
    right[[0, 1, 2]] = False
    assert accepted(score, right).sum() == 0
    assert accepted(np.zeros(0), np.zeros(0, bool)).shape == (0,)


@pytest.mark.parametrize("name", ["scenes", "facades"])
def test_set_rows__both_ways_with_wrong_ones_where_truth_is_whole(name):
    scene = draw_scene(VALIDATION_SEEDS + 700, 256, "plain")
    seen = compare(iter([Sample("a", scene.image, rle.encode(scene.masks))]), None)
    rows = {row.name: row for row in set_rows(name, seen)}
    for way in ("one look", "refined"):
        assert 0 < rows[f"{name}.{way}.recall_75"].value <= rows[f"{name}.{way}.recall_50"].value <= 1
        assert (f"{name}.{way}.right" in rows) == (name == "scenes")
    once, twice = (seen[way].score[0] for way in ("one look", "refined"))
    assert not np.array_equal(once, twice)
    assert rows[f"{name}.processor time, refined over one look"].value > 0
