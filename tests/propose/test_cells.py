"""Masks measured from low-resolution logits equal those measured on pixels, to the last bit."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from twice_bilinear import LOW_PX, SQUARE_PX, TwiceBilinear, embedding

from workbench.masks import rle
from workbench.propose import cells, interpolate

CUTS = np.array([1, 0, -1], np.float32)


def smooth(n, seed=0, blobs=4, noise=0.3, low_hw=(LOW_PX, LOW_PX)):
    """Logits of a few blobs with some noise: most cells are decided, and some are not."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(n, 1, blobs, blobs, generator=generator) * 10
    fine = F.interpolate(coarse, low_hw, mode="bicubic")[:, 0]
    return (fine + noise * torch.randn(n, *low_hw, generator=generator)).numpy()


def on_cells(logits, size_hw, cuts=CUTS, threads=1):
    place = embedding(size_hw)
    across = interpolate.axis(logits.shape[2], SQUARE_PX, place.input_hw[1], size_hw[1])
    down = interpolate.axis(logits.shape[1], SQUARE_PX, place.input_hw[0], size_hw[0])
    sizes = interpolate.Enlargement(across, down)
    return cells.measure_cells(logits, sizes, cuts, threads), sizes


def check(logits, size_hw, cuts=CUTS, threads=1):
    """Compare with every pixel: by our own arithmetic, whose equality with torch's is the matter of test_interpolate."""
    found, sizes = on_cells(logits, size_hw, cuts, threads)
    pixels = interpolate.enlarge(logits, *sizes).transpose(0, 2, 1)
    assert found.counts.tolist() == [[int((one > cut).sum()) for cut in cuts] for one in pixels]
    assert found.rles == rle.encode(pixels > cuts[1])
    assert found.boxes_xyxy.tolist() == rle.to_boxes(found.rles, size_hw).tolist()
    return found


@pytest.mark.parametrize("size_hw", [(150, 150), (128, 128), (301, 222), (97, 350), (33, 61), (60, 79), (1, 90), (75, 1), (1, 1)])  # fmt: skip
@pytest.mark.parametrize("kind", ["smooth", "noise"])
def test_measure_cells__over_sizes(size_hw, kind):
    logits = smooth(6) if kind == "smooth" else np.random.default_rng(1).normal(0, 2, (6, 32, 32)).astype(np.float32)
    check(logits, size_hw)


def test_measure_cells__equals_torch():
    size_hw, logits = (201, 333), smooth(8, seed=3)
    if interpolate.enlargement(TwiceBilinear(), embedding(size_hw), torch.as_tensor(logits)) is None:
        pytest.skip("this processor or build of torch interpolates otherwise; torch is used")
    masks = TwiceBilinear().upscale(torch.as_tensor(logits)[:, None], embedding(size_hw))[:, 0] > 0
    assert on_cells(logits, size_hw)[0].rles == rle.encode(masks.numpy())


def test_measure_cells__all_above_and_all_below():
    logits = np.stack([np.full((LOW_PX, LOW_PX), v, np.float32) for v in (9, -9, 0.5, -0.5)])
    found = check(logits, (40, 50))
    assert found.counts.tolist() == [[2000, 2000, 2000], [0, 0, 0], [0, 2000, 2000], [0, 0, 2000]]
    assert found.boxes_xyxy.tolist() == [[0, 0, 50, 40], [0, 0, 0, 0], [0, 0, 50, 40], [0, 0, 0, 0]]


@pytest.mark.parametrize("ulps", [-1, 0, 1])
@pytest.mark.parametrize("cut", [0, 1, 2])
def test_measure_cells__exactly_at_a_cut(cut, ulps):
    value = CUTS[cut]
    for _ in range(abs(ulps)):
        value = np.nextafter(value, np.float32(ulps * np.inf))
    logits = np.full((1, LOW_PX, LOW_PX), value, np.float32)
    logits[0, 5:9, 20:] = 3
    check(logits, (151, 90))


def test_measure_cells__not_finite():
    for strange in (np.nan, np.inf, -np.inf):
        logits = smooth(3)
        logits[1, 4, 4] = strange
        assert on_cells(logits, (150, 150))[0] is None


def test_measure_cells__largest_and_least_numbers():
    logits = smooth(3)
    logits[0] *= np.float32(1e37)
    logits[1] *= np.float32(1e-41)
    logits[2, 3, 3] = np.finfo(np.float32).max
    check(logits, (150, 170))


def test_measure_cells__offset_zero():
    found = check(smooth(4), (90, 150), np.zeros(3, np.float32))
    assert (found.counts == found.counts[:, :1]).all()


def test_measure_cells__none():
    found, _ = on_cells(np.zeros((0, LOW_PX, LOW_PX), np.float32), (90, 150))
    assert found.counts.shape == (0, 3)
    assert found.boxes_xyxy.shape == (0, 4)
    assert found.rles == []


def test_measure_cells__on_several_threads():
    logits, size_hw = smooth(40, seed=5), (150, 190)
    alone = check(logits, size_hw)
    assert check(logits, size_hw, threads=3).rles == alone.rles
    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(lambda _: on_cells(logits, size_hw, threads=2)[0], range(6)))
    assert all(one.rles == alone.rles and one.counts.tolist() == alone.counts.tolist() for one in both)


def test_measure_cells__taller_than_counts_can_hold(monkeypatch):
    monkeypatch.setattr(cells, "PLACES", 5)
    assert on_cells(smooth(1), (32, 20))[0] is None


@settings(deadline=None, max_examples=80)
@given(
    size_hw=st.tuples(st.integers(1, 70), st.integers(1, 70)),
    low_hw=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    levels=st.lists(
        st.sampled_from([-20.0, -1.0, -1e-7, 0.0, 1e-7, 0.3, 1.0, 1.0000001, 20.0]), min_size=1, max_size=6
    ),
    seed=st.integers(0, 2**16),
)
def test_measure_cells__any_small_mask(size_hw, low_hw, levels, seed):
    logits = np.random.default_rng(seed).choice(np.array(levels, np.float32), (2, *low_hw))
    check(logits, size_hw)
