"""Outlines that fill back to their mask, and COCO polygons against pycocotools."""

from __future__ import annotations

import doctest

import numpy as np
import pytest
from ascii_masks import draw, mask
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pycocotools import mask as coco
from scipy import ndimage

from workbench.masks import polygons, rle

masks = st.tuples(st.integers(1, 14), st.integers(1, 14)).flatmap(lambda s: hnp.arrays(bool, s))


def signed_area(ring):
    x, y = ring.T
    return float((x * np.roll(y, -1) - y * np.roll(x, -1)).sum() / 2)


def to_segment(point, a, b):
    along = b - a
    share = min(max(float((point - a) @ along) / max(float(along @ along), 1e-12), 0), 1)
    return float(np.linalg.norm(point - a - share * along))


@settings(deadline=None, max_examples=200)
@given(masks)
def test_outlines__filling_them_gives_the_mask_back(pixels):
    rings = polygons.outlines(pixels)
    np.testing.assert_array_equal(polygons.fill(rings, pixels.shape), pixels)
    assert sum(signed_area(ring) for ring in rings) == pixels.sum()
    parts = ndimage.label(pixels)[1]
    holes = ndimage.label(np.pad(~pixels, 1, constant_values=True), np.ones((3, 3)))[1] - 1
    assert sum(signed_area(ring) > 0 for ring in rings) == parts
    assert sum(signed_area(ring) < 0 for ring in rings) == holes
    crack_length = sum(np.abs(np.diff(np.pad(pixels, 1).astype(int), axis=axis)).sum() for axis in (0, 1))
    assert sum(np.abs(ring - np.roll(ring, 1, axis=0)).sum() for ring in rings) == crack_length
    for ring in rings:
        steps = np.roll(ring, -1, axis=0) - ring
        assert ((steps == 0).sum(axis=1) == 1).all()  # along an axis, and no corner twice in a row
        assert ((steps == 0) != (np.roll(steps, 1, axis=0) == 0)).all()  # every point is a corner


def test_outlines__drawn():
    pixels = mask("""
        ###.
        #.#.
        ###.
        ...#
    """)
    outer, hole, corner = polygons.outlines(pixels)
    assert outer.tolist() == [[0, 0], [3, 0], [3, 3], [0, 3]]
    assert sorted(map(tuple, hole.tolist())) == [(1, 1), (1, 2), (2, 1), (2, 2)]
    assert signed_area(hole) == -1
    assert corner.tolist() == [[3, 3], [4, 3], [4, 4], [3, 4]]
    assert draw(polygons.fill([outer, hole, corner], (4, 4), rule="union")) == "###.\n###.\n###.\n...#"


def test_outlines__large_mask():
    pixels = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(300, 400)), 3) > 0
    rings = polygons.outlines(pixels)
    assert len(rings) > 20
    np.testing.assert_array_equal(polygons.fill(rings, pixels.shape), pixels)


@settings(deadline=None, max_examples=100)
@given(masks, st.sampled_from([0, 0.3, 0.8, 1.5, 4]))
def test_simplify__keeps_within_the_tolerance(pixels, tolerance_px):
    for ring in polygons.outlines(pixels):
        fewer = polygons.simplify(ring, tolerance_px)
        assert 3 <= len(fewer) <= len(ring)
        rows = [ring.tolist().index(point) for point in fewer.tolist()]
        assert rows[0] == 0
        starts, stops = fewer, np.roll(fewer, -1, axis=0)
        for point in ring:
            nearest = min(to_segment(point, a, b) for a, b in zip(starts, stops, strict=True))
            assert nearest <= tolerance_px + 1e-9 or len(fewer) == len(ring)


def test_simplify__a_disc_takes_few_points():
    ys, xs = np.mgrid[:101, :101]
    pixels = np.hypot(ys - 50, xs - 50) < 45
    (ring,) = polygons.outlines(pixels)
    fewer = polygons.simplify(ring, 1)
    assert len(fewer) < len(ring) / 4
    again = polygons.fill([fewer], pixels.shape)
    assert (again & pixels).sum() / (again | pixels).sum() > 0.97


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
    rle.validate(ours, size)


def test_from_coco_polygons__large_ones():
    rng = np.random.default_rng(3)
    for _ in range(20):
        flat = [rng.uniform(-100, 800, 2 * rng.integers(3, 40)).round(2).tolist() for _ in range(rng.integers(1, 5))]
        assert polygons.from_coco_polygons(flat, (480, 640)) == coco.merge(coco.frPyObjects(flat, 480, 640))["counts"]


@settings(deadline=None, max_examples=60)
@given(masks)
def test_from_coco_polygons__whole_outlines_without_holes(pixels):
    filled = ndimage.binary_fill_holes(pixels)
    rings = [ring.reshape(-1).tolist() for ring in polygons.outlines(filled) if signed_area(ring) > 0]
    if rings:
        size = pixels.shape
        found = rle.decode([polygons.from_coco_polygons(rings, size)], size)[0]
        expected = polygons.fill([np.reshape(r, (-1, 2)) for r in rings], size, rule="union")
        np.testing.assert_array_equal(found, expected)


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


def test_nothing_to_outline_or_fill():
    assert polygons.outlines(np.zeros((4, 5), bool)) == []
    assert polygons.outlines(np.zeros((0, 5), bool)) == []
    assert polygons.fill([], (4, 5)).shape == (4, 5)
    assert not polygons.fill([], (4, 5), rule="union").any()


def test_errors_in_words():
    with pytest.raises(ValueError, match="'even-odd' or 'union'"):
        polygons.fill([], (2, 2), rule="nonzero")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="polygon 1: expected at least 3 points"):
        polygons.fill([[[0, 0], [1, 0], [1, 1]], [[0, 0], [1, 1]]], (2, 2))
    with pytest.raises(ValueError, match="tolerance_px"):
        polygons.simplify([[0, 0], [1, 0], [1, 1]], -1)
    with pytest.raises(ValueError, match=r"\(H, W\)"):
        polygons.outlines(np.zeros((1, 2, 2), bool))


def test_docstrings():
    assert doctest.testmod(polygons).failed == 0
