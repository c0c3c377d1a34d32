"""Polygons filled by the centres of pixels, against ray casting, and COCO polygons against pycocotools."""

from __future__ import annotations

import doctest

import numpy as np
import pytest
from ascii_masks import draw
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pycocotools import mask as coco

from workbench.masks import polygons, rle

flat_polygons = st.lists(
    st.lists(st.floats(-20, 40) | st.integers(-20, 40), min_size=6, max_size=16).map(lambda p: p[: len(p) // 2 * 2]),
    min_size=1,
    max_size=4,
)


@settings(deadline=None, max_examples=300)
@given(flat_polygons, st.tuples(st.integers(1, 25), st.integers(1, 25)))
def test_from_coco_polygons__string_of_pycocotools(flat, size):
    ours = polygons.from_coco_polygons(flat, size)
    assert ours == coco.merge(coco.frPyObjects(flat, *size))["counts"]
    assert rle.from_coco({"size": size, "counts": ours}) == (ours, size)


def test_from_coco_polygons__large_ones():
    rng = np.random.default_rng(3)
    for _ in range(20):
        flat = [rng.uniform(-100, 800, 2 * rng.integers(3, 40)).round(2).tolist() for _ in range(rng.integers(1, 5))]
        assert polygons.from_coco_polygons(flat, (480, 640)) == coco.merge(coco.frPyObjects(flat, 480, 640))["counts"]


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(*[st.integers(-3, 14)] * 4), min_size=1, max_size=5), st.tuples(*[st.integers(1, 14)] * 2))
def test_from_coco_polygons__edges_between_pixels_as_by_their_centres(boxes, size):
    rings = [[[x0, y0], [x1, y0], [x1, y1], [x0, y1]] for x0, y0, x1, y1 in boxes if x0 < x1 and y0 < y1]
    assume(rings)
    found = rle.decode([polygons.from_coco_polygons([np.ravel(ring).tolist() for ring in rings], size)], size)[0]
    np.testing.assert_array_equal(found, polygons.fill(rings, size, rule="union"))


@pytest.mark.parametrize(
    ("flat", "words"),
    [
        ([], "at least one"),
        ([[0, 0, 5, 5]], "polygon 0: expected at least 3 points"),
        ([[0, 0, 5, 5, 5, 0], []], "polygon 1: expected at least 3 points"),
        ([[0, 0, 5, 5, 5]], "lacks a y"),
        ([[0, 0, 5, 5, 5, np.nan]], "finite"),
        ([[0, 0, 5, 5, 5, 1e300]], "are the coordinates pixels"),
        ([[0, 0, 1e9, 1e9, 5, 0]], "are the coordinates pixels"),
        ([[[0, 0], [5, 5], [5, 0]]], "flat list"),
    ],
)
def test_from_coco_polygons__errors_in_words(flat, words):
    with pytest.raises(ValueError, match=words):
        polygons.from_coco_polygons(flat, (10, 10))


def test_fill__drawn():
    outer, hole = [[0, 0], [3, 0], [3, 3], [0, 3]], [[1, 1], [1, 2], [2, 2], [2, 1]]
    corner = [[3, 3], [4, 3], [4, 4], [3, 4]]
    assert draw(polygons.fill([outer, hole, corner], (4, 4))) == "###.\n#.#.\n###.\n...#"
    assert draw(polygons.fill([outer, hole, corner], (4, 4), rule="union")) == "###.\n###.\n###.\n...#"


@settings(deadline=None, max_examples=100)
@given(
    st.lists(hnp.arrays(np.float64, st.tuples(st.integers(3, 7), st.just(2)), elements=st.floats(-5, 15)), max_size=4)
)
def test_fill__pixel_centres_by_ray_casting(rings):
    def inside(ring, x, y):
        (xa, ya), (xb, yb) = ring.T, np.roll(ring, -1, axis=0).T
        hit = (ya <= y) != (yb <= y)
        at = xa[hit] + (y - ya[hit]) * (xb - xa)[hit] / (yb - ya)[hit]
        assume((abs(at - x) > 1e-9).all())  # no centre on an outline
        return (at > x).sum() % 2 == 1

    rings = [ring + 0.1234567 for ring in rings]
    table = np.array([[[inside(r, x + 0.5, y + 0.5) for r in rings] for x in range(9)] for y in range(11)], dtype=bool)
    table = table.reshape(11, 9, len(rings))
    np.testing.assert_array_equal(polygons.fill(rings, (11, 9)), table.sum(-1) % 2 == 1)
    np.testing.assert_array_equal(polygons.fill(rings, (11, 9), rule="union"), table.any(-1))


def test_fill__nothing():
    assert polygons.fill([], (4, 5)).shape == (4, 5)
    assert not polygons.fill([], (4, 5), rule="union").any()


def test_errors_in_words():
    with pytest.raises(ValueError, match="'even-odd' or 'union'"):
        polygons.fill([], (2, 2), rule="nonzero")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="polygon 1: expected at least 3 points"):
        polygons.fill([[[0, 0], [1, 0], [1, 1]], [[0, 0], [1, 1]]], (2, 2))


def test_docstrings():
    assert doctest.testmod(polygons).failed == 0
