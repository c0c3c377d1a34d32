from __future__ import annotations

import numpy as np
import pytest
from desk import block

from workbench.masks import rle
from workbench.review import coverage
from workbench.review.config import ReviewConfig

SIZE = (24, 32)
LEFT = block(0, 0, 24, 10)  # leaves 22/32 of the image in one region on the right
SMALL = block(2, 20, 6, 24)


def test_unmasked__asks_where_the_region_holds_a_proposal():
    found = coverage.unmasked([LEFT], [SMALL], SIZE)
    assert found.share == 22 / 32
    assert (found.area_px, found.box_xyxy) == (22 * 24, (10, 0, 32, 24))
    assert rle.area([found.rle], SIZE)[0] == found.area_px
    assert (found.holds, found.ask) == ((0,), True)


def test_unmasked__a_region_without_proposals_is_background():
    assert not coverage.unmasked([LEFT], [], SIZE).ask
    assert not coverage.unmasked([LEFT], [block(0, 0, 5, 5)], SIZE).ask
    assert coverage.unmasked([LEFT], [], SIZE, incomplete=True).ask
    assert coverage.unmasked([LEFT], [], SIZE, ReviewConfig(coverage_rule="share")).ask
    assert not coverage.unmasked([LEFT], [SMALL], SIZE, ReviewConfig(coverage_rule="off")).ask


def test_unmasked__share_at_the_threshold_is_not_over_it():
    half = block(0, 0, 24, 16)
    assert coverage.unmasked([half], [SMALL], SIZE).share == 0.5
    assert not coverage.unmasked([half], [SMALL], SIZE).ask
    assert coverage.unmasked([half], [SMALL], SIZE, ReviewConfig(coverage_share=0.49)).ask


def test_unmasked__without_masks_it_is_the_image_and_with_all_covered_nothing():
    whole = coverage.unmasked([], [], SIZE)
    assert (whole.share, whole.area_px, whole.box_xyxy) == (1.0, 24 * 32, (0, 0, 32, 24))
    none = coverage.unmasked([block(0, 0, 24, 32)], [SMALL], SIZE)
    assert (none.share, none.area_px, none.box_xyxy, none.holds, none.ask) == (0.0, 0, (0, 0, 0, 0), (), False)


def test_unmasked__the_largest_of_two_regions_decides():
    bar = block(0, 8, 24, 12)  # 8 columns on the left, 20 on the right
    assert coverage.unmasked([bar], [block(0, 0, 4, 4)], SIZE).holds == ()
    assert coverage.unmasked([bar], [block(0, 0, 4, 4), SMALL], SIZE).holds == (1,)


def test_overlapping__finds_nested_masks_and_says_both_measures():
    found = coverage.overlapping(block(2, 2, 4, 4), [block(0, 0, 8, 8), block(2, 2, 4, 5), block(10, 10, 12, 12)], SIZE)
    assert found.rows.tolist() == [1, 0]
    assert found.iou == pytest.approx([4 / 6, 4 / 64])
    assert found.smaller == pytest.approx([1.0, 1.0])


def test_overlapping__half_is_not_over_half():
    assert len(coverage.overlapping(block(0, 0, 4, 4), [block(0, 2, 4, 6)], SIZE)) == 0
    assert len(coverage.overlapping(block(0, 0, 4, 4), [block(0, 1, 4, 5)], SIZE)) == 1
    assert len(coverage.overlapping(block(0, 0, 4, 4), [], SIZE)) == 0
    assert np.array_equal(coverage.overlapping(block(0, 0, 4, 4), [], SIZE).iou, np.zeros(0))
