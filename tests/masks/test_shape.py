"""Form and contrast: forms that must count as smooth, forms that must count as ragged, and slow definitions."""

from __future__ import annotations

import doctest
import math

import cv2
import numpy as np
import pytest
from ascii_masks import mask
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from workbench.masks import regions, rle, shape

masks = st.tuples(st.integers(1, 12), st.integers(1, 12)).flatmap(lambda s: hnp.arrays(bool, s))


def disc(radius: float, centre: tuple[float, float] = (0.3, 0.4)) -> np.ndarray:
    n = math.ceil(radius) + 3
    ys, xs = np.mgrid[-n : n + 1, -n : n + 1]
    return np.hypot(ys - centre[0], xs - centre[1]) <= radius


def described(pixels: np.ndarray, name: str, gray: np.ndarray | None = None, band_px: int = 3) -> float:
    """What `describe` says of one mask (H, W), on an image of grey levels (H, W)."""
    image = None if gray is None else np.repeat(gray.astype(np.uint8)[..., None], 3, axis=2)
    return float(shape.describe(rle.encode(pixels[None]), pixels.shape, image, band_px)[name][0])


def solidity(pixels: np.ndarray) -> float:
    return described(pixels, "solidity")


def roughness(pixels: np.ndarray) -> float:
    return described(pixels, "roughness")


def contrast(gray: np.ndarray, pixels: np.ndarray, band_px: int = 3) -> float:
    return described(pixels, "contrast", gray, band_px)


@settings(deadline=None, max_examples=150)
@given(masks)
def test_solidity__hull_of_pixel_corners_as_opencv(pixels):
    assume(pixels.any())
    ys, xs = np.nonzero(pixels)
    corners = np.concatenate([np.stack([xs + dx, ys + dy], 1) for dx in (0, 1) for dy in (0, 1)])
    hull = cv2.contourArea(cv2.convexHull(corners.astype(np.int32)))
    assert solidity(pixels) == pytest.approx(pixels.sum() / hull, rel=1e-6)


def test_solidity__known_forms():
    assert solidity(np.ones((7, 3), bool)) == 1
    assert solidity(disc(40)) > 0.97
    ring = disc(20) & ~np.pad(disc(10), 10)
    assert solidity(ring) == pytest.approx(0.75, abs=0.03)
    assert math.isnan(solidity(np.zeros((3, 3), bool)))


@settings(deadline=None, max_examples=150)
@given(st.floats(3, 60), st.floats(0, 1), st.floats(0, 1))
def test_roughness__discs_are_smooth(radius, y, x):
    assert roughness(disc(radius, (y, x))) == 0


@settings(deadline=None, max_examples=100)
@given(st.integers(1, 40), st.integers(1, 40))
def test_roughness__rectangles_are_smooth_however_thin(h, w):
    assert roughness(np.ones((h, w), bool)) == 0


@settings(deadline=None, max_examples=100)
@given(st.floats(2, 30), st.floats(0.05, 1), st.floats(0, math.pi))
def test_roughness__tilted_convex_forms_are_smooth(length, aspect, angle):
    ys, xs = np.mgrid[-35:36, -35:36]
    along, across = xs * math.cos(angle) + ys * math.sin(angle), ys * math.cos(angle) - xs * math.sin(angle)
    for pixels in (
        np.hypot(along / length, across / (length * aspect)) <= 1,
        (abs(along) <= length) & (abs(across) <= length * aspect),
    ):
        # where a form is thinner than a pixel it falls into crumbs: those are another thing
        if ndimage.label(pixels)[1] == 1:
            assert roughness(pixels) == 0


@pytest.mark.parametrize("radius", [5, 10, 25, 60])
def test_roughness__ragged_edges_stand_out_at_any_size(radius):
    rng = np.random.default_rng(radius)
    ys, xs = np.mgrid[-80:81, -80:81]
    distance = np.hypot(ys, xs)
    salted = distance + rng.normal(0, 2, distance.shape) <= radius
    slightly = distance + rng.normal(0, 0.5, distance.shape) <= radius
    wavy = distance + ndimage.gaussian_filter(rng.normal(0, 40, distance.shape), 10) <= radius
    assert roughness(salted) > 0.25
    assert 0.05 < roughness(slightly) < roughness(salted)
    assert roughness(wavy) < 0.05


def test_roughness__known_forms():
    assert roughness(np.indices((40, 40)).sum(0) % 2 == 0) > 0.4
    single = np.zeros((40, 40), bool)
    single[::2, ::2] = True
    assert roughness(single) == pytest.approx(1, abs=0.01)
    comb = np.ones((20, 61), bool)
    comb[:, 1::2] = False
    comb[::19] |= [True]
    assert roughness(comb) == pytest.approx((4 + 30 * 4 - 4) / (2 * 81 + 30 * 38), abs=1e-6)
    diagonal = np.eye(30, dtype=bool)  # a line one pixel wide hangs together at corners
    assert roughness(diagonal) == 0
    assert math.isnan(roughness(np.zeros((3, 3), bool)))


@settings(deadline=None, max_examples=100)
@given(masks)
def test_roughness__same_for_turned_and_mirrored_masks(pixels):
    value = roughness(pixels)
    for turned in (pixels.T, pixels[::-1], pixels[:, ::-1], np.pad(pixels, 3)):
        np.testing.assert_equal(roughness(turned), value)
    assert math.isnan(value) or 0 <= value <= 1


def slow_contrast(gray, pixels, band_px):
    box = np.ones((2 * band_px + 1, 2 * band_px + 1), bool)
    outside = ndimage.binary_dilation(pixels, box) & ~pixels
    inside = ndimage.binary_dilation(~pixels, box) & pixels
    if not outside.any() or not inside.any():
        return np.nan
    a, b = gray[inside].astype(float), gray[outside].astype(float)
    pooled = np.sqrt((a.var() * a.size + b.var() * b.size) / (a.size + b.size))
    return abs(a.mean() - b.mean()) / (pooled + 1)


@settings(deadline=None, max_examples=150)
@given(masks, st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_contrast__as_by_dilation(pixels, band_px, seed):
    gray = np.random.default_rng(seed).integers(0, 256, pixels.shape)
    expected = slow_contrast(gray, pixels, band_px)
    assert contrast(gray, pixels, band_px) == pytest.approx(expected, rel=1e-5, abs=1e-5, nan_ok=True)


def test_contrast__known_images():
    pixels = disc(10)
    assert contrast(np.where(pixels, 200, 50), pixels) == 150
    assert contrast(np.where(pixels, 50, 200), pixels) == 150
    assert contrast(np.full(pixels.shape, 90), pixels) == 0
    assert math.isnan(contrast(np.ones((4, 4)), np.ones((4, 4), bool)))
    assert math.isnan(contrast(np.ones((4, 4)), np.zeros((4, 4), bool)))


@settings(deadline=None, max_examples=80)
@given(
    st.tuples(st.integers(1, 4), st.integers(1, 14), st.integers(1, 14)).flatmap(lambda s: hnp.arrays(bool, s)),
    st.integers(1, 4),
    st.integers(0, 2**32 - 1),
)
def test_describe__each_mask_as_alone_on_the_whole_image(batch, band_px, seed):
    size = batch.shape[1:]
    image = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    gray = image @ np.array([0.299, 0.587, 0.114])
    rles = rle.encode(batch)
    found = shape.describe(rles, size, image, band_px)
    for i, pixels in enumerate(batch):
        alone = shape.describe(rles[i : i + 1], size, image, band_px)
        for name, value in alone.items():
            assert found[name].dtype == np.float32
            np.testing.assert_array_equal(found[name][i], value[0])
        expected = slow_contrast(gray, pixels, band_px)
        assert found["contrast"][i] == pytest.approx(expected, rel=1e-4, abs=1e-4, nan_ok=True)


def test_describe__without_image_and_without_masks():
    drawing = mask("""
        .....
        .###.
        .#...
    """)
    found = shape.describe(rle.encode(drawing[None]), (3, 5))
    assert found["solidity"][0] == pytest.approx(4 / 5)
    assert np.isnan(found["contrast"]).all()
    assert regions.connected_components(drawing)[1].tolist() == [4]
    for image in (None, np.zeros((3, 5, 3), np.uint8)):
        none = shape.describe([], (3, 5), image)
        assert {name: values.shape for name, values in none.items()} == {
            "solidity": (0,),
            "roughness": (0,),
            "contrast": (0,),
        }


def test_errors_in_words():
    with pytest.raises(ValueError, match=r"\(H, W, 3\)"):
        shape.describe([b"4"], (2, 2), np.zeros((2, 3, 3), np.uint8))
    with pytest.raises(ValueError, match="band_px"):
        shape.describe([b"4"], (2, 2), band_px=0)


def test_docstrings():
    assert doctest.testmod(shape).failed == 0
