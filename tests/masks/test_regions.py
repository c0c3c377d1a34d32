"""Regions against OpenCV and the official generator's cleaning."""

from __future__ import annotations

import doctest

import cv2
import numpy as np
import pytest
from ascii_masks import draw, mask
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from segment_anything.utils import amg

from workbench.masks import regions

masks = st.tuples(st.integers(1, 14), st.integers(1, 14)).flatmap(lambda shape: hnp.arrays(bool, shape))
modes = st.sampled_from(["holes", "islands"])


@settings(deadline=None, max_examples=300)
@given(masks, st.sampled_from([0, 1, 2, 3, 5, 8, 20, 300, 2.5]), modes)
def test_remove_small_regions__as_the_official(pixels, area_px, mode):
    expected, expected_change = amg.remove_small_regions(pixels, area_px, mode)
    cleaned, changed = regions.remove_small_regions(pixels, area_px, mode)
    np.testing.assert_array_equal(cleaned, expected)
    assert changed == expected_change
    assert cleaned.dtype == bool
    assert (cleaned is pixels) == (not changed)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("share", [0.02, 0.1])
def test_remove_small_regions__many_equal_islands_on_larger_images(seed, share):
    rng = np.random.default_rng(seed)
    pixels = rng.random((rng.integers(50, 400), rng.integers(50, 400))) < share
    for area_px, mode in ((1000, "islands"), (3, "islands"), (3, "holes")):
        expected, _ = amg.remove_small_regions(pixels, area_px, mode)
        np.testing.assert_array_equal(regions.remove_small_regions(pixels, area_px, mode)[0], expected)


def test_remove_small_regions__of_equal_islands_the_first_block_stays():
    pixels = mask("""
        ....#.
        .#....
        ......
    """)
    cleaned, changed = regions.remove_small_regions(pixels, 5, "islands")
    assert changed
    # row by row the upper one comes first, but in 2×2 blocks the left one does
    assert draw(cleaned) == "......\n.#....\n......"


def test_remove_small_regions__drawn():
    pixels = mask("""
        ####..#
        #.##...
        ####...
        ####.##
    """)
    filled, _ = regions.remove_small_regions(pixels, 3, "holes")
    assert draw(filled) == "####..#\n####...\n####...\n####.##"
    cleaned, _ = regions.remove_small_regions(filled, 3, "islands")
    assert draw(cleaned) == "####...\n####...\n####...\n####..."


@settings(deadline=None, max_examples=100)
@given(masks, st.sampled_from([4, 8]))
def test_connected_components__as_opencv(pixels, connectivity):
    labels, areas = regions.connected_components(pixels, connectivity)
    count, theirs, stats, _ = cv2.connectedComponentsWithStats(pixels.astype(np.uint8), connectivity=connectivity)
    assert len(areas) == count - 1
    assert sorted(areas) == sorted(stats[1:, -1])
    assert len(set(zip(labels.ravel().tolist(), theirs.ravel().tolist(), strict=True))) == len(np.unique(theirs))
    assert areas.tolist() == [(labels == i + 1).sum() for i in range(len(areas))]


def test_connected_components__corners_join_only_under_8():
    pixels = mask("""
        #.
        .#
    """)
    assert regions.connected_components(pixels)[1].tolist() == [2]
    assert regions.connected_components(pixels, 4)[1].tolist() == [1, 1]


def test_largest_region():
    pixels = mask("""
        ##..#
        ....#
        #...#
    """)
    assert draw(regions.largest_region(pixels)) == "....#\n....#\n....#"


def test_empty_and_full_masks():
    for shape in ((1, 1), (4, 1), (3, 5)):
        empty, full = np.zeros(shape, bool), np.ones(shape, bool)
        assert regions.connected_components(empty)[1].tolist() == []
        assert regions.connected_components(full)[1].tolist() == [full.size]
        assert not regions.largest_region(empty).any()
        assert regions.remove_small_regions(empty, 9, "islands") == (empty, False)
        assert regions.remove_small_regions(full, 99, "islands")[0].all()
        assert regions.remove_small_regions(empty, 99, "holes")[0].all()
    assert regions.connected_components(np.zeros((0, 3), bool))[1].tolist() == []
    assert regions.remove_small_regions(np.zeros((0, 3), bool), 9, "holes")[1] is False
    assert regions.largest_region(np.zeros((0, 3), bool)).shape == (0, 3)


def test_errors_in_words():
    with pytest.raises(ValueError, match="'holes' or 'islands'"):
        regions.remove_small_regions(np.ones((2, 2), bool), 1, "both")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="4 or 8"):
        regions.connected_components(np.ones((2, 2), bool), 6)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"\(H, W\)"):
        regions.connected_components(np.ones((1, 2, 2), bool))


@settings(deadline=None, max_examples=100)
@given(masks)
def test_eroded__as_opencv_with_background_around(pixels):
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    framed = cv2.erode(np.pad(pixels, 1).astype(np.uint8), cross, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    np.testing.assert_array_equal(regions.eroded(pixels), framed[1:-1, 1:-1].astype(bool))
    assert regions.eroded(np.zeros((0, 0), bool)).shape == (0, 0)


def test_docstrings():
    assert doctest.testmod(regions).failed == 0
