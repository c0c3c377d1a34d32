"""Enlarging as torch does it, bit for bit, and the check that decides whether it may be relied on."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from flat_segmenter import FlatSegmenter
from twice_bilinear import LOW_PX, SQUARE_PX, TwiceBilinear, embedding

import workbench as wb
from workbench.propose import interpolate, score
from workbench.propose.grid import Crop
from workbench.propose.score import score_masks
from workbench.sam.segmenter import Embedding

# smaller and larger than the input, odd, flat and upright, one pixel wide or high
SIZES_HW = [(150, 150), (128, 128), (301, 222), (97, 350), (333, 61), (60, 79), (1, 300), (251, 1)]


def as_torch(size_hw, low_hw=(LOW_PX, LOW_PX), seed=0, scale=5.0):
    logits = np.random.default_rng(seed).normal(0, scale, (3, *low_hw)).astype(np.float32)
    place = embedding(size_hw)
    expected = TwiceBilinear().upscale(torch.as_tensor(logits)[:, None], place)[:, 0].numpy()
    return interpolate.enlarge(logits, *known(place, low_hw=low_hw)).transpose(0, 2, 1), expected


def known(place, segmenter=None, low_hw=(LOW_PX, LOW_PX), **settings):
    return interpolate.enlargement(segmenter or TwiceBilinear(), place, torch.zeros(1, *low_hw, **settings))


@pytest.fixture
def no_answers(monkeypatch):
    monkeypatch.setattr(interpolate, "_agrees", {})


@pytest.mark.parametrize("size_hw", SIZES_HW)
@pytest.mark.parametrize("scale", [1e-3, 5.0, 1e6])
def test_enlarge__is_torch_bit_for_bit(size_hw, scale):
    if known(embedding(size_hw)) is None:
        pytest.skip("this processor or build of torch interpolates otherwise; torch is used")
    found, expected = as_torch(size_hw, scale=scale)
    assert found.shape == expected.shape
    assert (found.view(np.int32) == expected.view(np.int32)).all()


def test_enlarge__none():
    place = interpolate.axis(LOW_PX, SQUARE_PX, SQUARE_PX, 200)
    assert interpolate.enlarge(np.zeros((0, LOW_PX, LOW_PX), np.float32), place, place).shape == (0, 200, 200)


@pytest.mark.parametrize(("low", "square", "cut", "image"), [(32, 128, 128, 300), (32, 128, 77, 20), (8, 8, 5, 5), (9, 4, 1, 7)])  # fmt: skip
def test_axis__says_what_each_pixel_depends_on(low, square, cut, image):
    axis = interpolate.axis(low, square, cut, image)
    nearest = axis.first[axis.second].astype(int)
    farthest = axis.first_next[axis.second_next].astype(int)
    assert axis.starts[0] == 0
    assert axis.starts[-1] == image
    for k in range(low):
        band = slice(axis.starts[k], axis.starts[k + 1])
        assert (nearest[band] == k).all()
        assert (farthest[band] <= k + axis.reach).all()


def test_enlargement__is_known_here():
    # where this fails, torch does all the work and proposing is slow but right: the arithmetic above needs a variant
    if torch.backends.cpu.get_cpu_capability() not in ("AVX2", "AVX512"):
        pytest.skip("no FMA in torch's kernels here")
    assert all(known(embedding(size_hw)) is not None for size_hw in SIZES_HW if sum(size_hw) > 128)


def test_enlargement__is_not_known_for_others(no_answers):
    place = embedding((150, 150))
    assert known(place, FlatSegmenter()) is None
    assert known(place, dtype=torch.float64) is None
    assert known(place, device="meta") is None


@pytest.mark.usefixtures("no_answers")
def test_enlargement__checked_against_what_the_segmenter_does():
    class OneUlpOff(TwiceBilinear):
        def upscale(self, logits, embedding):
            return torch.nextafter(super().upscale(logits, embedding), torch.tensor(torch.inf))

    assert known(embedding((150, 150)), OneUlpOff()) is None


@pytest.mark.usefixtures("no_answers")
def test_enlargement__checked_once_for_the_same_sizes():
    class Counting(TwiceBilinear):
        calls = 0

        def upscale(self, logits, embedding):
            self.calls += 1
            return super().upscale(logits, embedding)

    segmenter = Counting()
    known(embedding((150, 150)), segmenter)
    tried = segmenter.calls  # one call for each variant up to the one that agrees
    known(embedding((150, 150)), segmenter)
    assert segmenter.calls == tried > 0
    known(embedding((150, 151)), segmenter)
    assert segmenter.calls == 2 * tried


@pytest.mark.parametrize("size_hw", [(1, 1), (2, 1), (20, 30), (64, 64)])
def test_enlargement__tiny_images_are_left_to_torch(size_hw):
    # torch has another kernel there, and a mask of a pixel agrees by luck
    assert known(embedding(size_hw)) is None


@pytest.mark.usefixtures("no_answers")
@pytest.mark.parametrize("size_hw", [(1, 1), (2, 1), (1, 300)])
def test_score_masks__of_images_of_a_pixel_and_logits_near_the_cut(monkeypatch, size_hw):
    class Larger(TwiceBilinear):
        square_px = 512

    logits = torch.as_tensor(np.random.default_rng(0).normal(0, 5, (1000, 128, 128)).astype(np.float32))
    longest = max(size_hw)
    place = Embedding(None, size_hw, tuple(max(1, round(512 * side / longest)) for side in size_hw))
    logits -= Larger().upscale(logits[:, None], place)[
        ..., 0, :1
    ]  # the first pixel comes to lie where rounding decides
    crop, config = Crop((0, 0, size_hw[1], size_hw[0]), 0), wb.ProposeConfig()
    fast = score_masks(Larger(), place, logits, crop, size_hw, config)
    monkeypatch.setattr(score, "measure_low", lambda *_: None)
    slow = score_masks(Larger(), place, logits, crop, size_hw, config)
    assert len(slow.index) > 0
    assert np.array_equal(fast.index, slow.index)
    assert fast.rles == slow.rles


@pytest.mark.usefixtures("no_answers")
def test_enlargement__every_column_of_a_large_image_is_compared(monkeypatch):
    class OneColumnOff(TwiceBilinear):
        def upscale(self, logits, embedding):
            found = super().upscale(logits, embedding)
            found[..., 170] += 1
            return found

    monkeypatch.setattr(interpolate, "BAND_PX", 5_000)  # bands of 33 columns, one mask
    assert known(embedding((150, 200)), OneColumnOff()) is None
    assert (known(embedding((150, 200))) is None) == (known(embedding((150, 150))) is None)
