"""Measuring and encoding of masks, from upscaled and from low-resolution logits."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from random_sams import random_sam
from segment_anything.utils import amg
from twice_bilinear import LOW_PX, TwiceBilinear, embedding

import workbench as wb
from workbench.masks import rle
from workbench.propose import interpolate, jitter, on_device, score
from workbench.propose.grid import Crop
from workbench.sam.segmenter import Embedding


class AsTheyAre:
    """A segmenter whose low-resolution logits are already at the size of the image."""

    model_id = "as they are"
    mask_threshold = 0.0

    def upscale(self, logits, embedding):
        return logits


def scored(logits, crop=None, size_hw=None, **changes):
    size_hw = size_hw or tuple(logits.shape[1:])
    crop = crop or Crop((0, 0, size_hw[1], size_hw[0]), 0)
    embedding = Embedding(None, crop.size_hw, crop.size_hw)
    return score.score_masks(AsTheyAre(), embedding, logits, crop, size_hw, wb.ProposeConfig(**changes))


def random_logits(n=20, size_hw=(37, 23), seed=0):
    logits = torch.randn(n, *size_hw, generator=torch.Generator().manual_seed(seed)) * 3
    logits[3] = -5  # empty at every cut
    logits[4] = -0.5  # empty, but not at the low cut
    logits[5] = 5  # full
    return logits


def test_measure__is_the_official_arithmetic():
    logits = random_logits()
    counts, boxes = score.measure(logits, 0.0, 1.0)
    masks = logits > 0
    assert counts[:, 1].tolist() == masks.flatten(1).sum(1).tolist()
    official = amg.batched_mask_to_box(masks).numpy()
    full = counts[:, 1] > 0
    assert (boxes[full] - [0, 0, 1, 1] == official[full]).all()
    assert (boxes[~full] == 0).all()
    found = scored(logits)
    expected = amg.calculate_stability_score(logits, 0.0, 1.0).numpy()[found.index]
    assert found.stability_score.tobytes() == expected.tobytes()


def test_measure__device_path_agrees():
    logits = random_logits(seed=1)
    counts, boxes = score.measure(logits, 0.0, 1.0)
    on_device_counts, on_device_boxes = on_device.measure(logits, np.array([1, 0, -1], np.float32))
    assert (boxes == on_device_boxes).all()
    assert boxes.dtype == on_device_boxes.dtype
    assert (counts == on_device_counts).all()


@settings(deadline=None)
@given(hnp.arrays(bool, st.tuples(st.integers(0, 4), st.integers(1, 9), st.integers(1, 9))))
def test_encode_masks__is_what_rlemasklib_writes(masks):
    assert on_device.encode_masks(torch.as_tensor(masks)) == rle.encode(masks)


@pytest.mark.parametrize("changes", [{}, {"stability_floor": 0.8}, {"regions": "largest"}])
@pytest.mark.parametrize("size_hw", [(151, 203), (1, 200), (300, 97)])
def test_score_masks__on_a_device_is_the_same_as_by_numba(monkeypatch, size_hw, changes):
    crop, config = Crop((0, 0, size_hw[1], size_hw[0]), 0), wb.ProposeConfig(**changes)
    arguments = (TwiceBilinear(), embedding(size_hw), low_logits(), crop, size_hw, config)
    by_numba = score.score_masks(*arguments)
    with monkeypatch.context() as patch:
        patch.setattr(score, "is_on_device", lambda logits: True)
        patch.setattr(score, "measure_low", lambda *_: None)
        assert same(score.score_masks(*arguments), by_numba)


@pytest.mark.parametrize("regions", ["all", "largest"])
def test_propose__on_a_device_is_the_same_as_by_numba(monkeypatch, regions):
    image = np.random.default_rng(0).integers(0, 256, (70, 90, 3)).astype(np.uint8)
    sam = wb.load_sam(random_sam(0, input_px=64, score_shift=0.9))
    config = wb.ProposeConfig(points_per_side=4, crop_n_layers=1, jitter_prompts=2, regions=regions)
    expected = wb.propose(image, sam, config)
    monkeypatch.setattr(score, "is_on_device", lambda logits: True)
    monkeypatch.setattr(score, "measure_low", lambda *_: None)
    monkeypatch.setattr(jitter, "measure_low", lambda *_: None)
    assert len(expected)
    assert wb.propose(image, sam, config).to_frame().equals(expected.to_frame())


def test_score_masks__drops_empty_and_unstable():
    logits = random_logits()
    found = scored(logits)
    assert sorted(set(range(20)) - set(found.index.tolist())) == [3, 4]
    assert (rle.decode(found.rles, (37, 23)) == (logits[found.index] > 0).numpy()).all()
    assert scored(logits, stability_floor=0.999).index.tolist() == [5]


def test_score_masks__in_small_parts(monkeypatch):
    logits = random_logits()
    whole = scored(logits)
    monkeypatch.setattr(score, "PIXELS_AT_ONCE", 37 * 23 * 3)
    parts = scored(logits)
    assert parts.index.tolist() == whole.index.tolist()
    assert parts.rles == whole.rles
    assert parts.boxes_xyxy.tolist() == whole.boxes_xyxy.tolist()


def test_score_masks__none():
    found = scored(torch.zeros(0, 8, 8))
    assert len(found.index) == len(found.rles) == len(found.boxes_xyxy) == 0


def test_score_masks__in_a_crop():
    logits = torch.full((2, 60, 60), -5.0)
    logits[0, 25:30, 25:30] = 5  # well inside
    logits[1, 25:30, 50:60] = 5  # cut by the right side of the crop
    found = scored(logits, Crop((40, 0, 100, 60), 1), (100, 200))
    assert found.index.tolist() == [0]
    assert found.boxes_xyxy.tolist() == [[65, 25, 70, 30]]
    assert rle.to_boxes(found.rles, (100, 200)).tolist() == [[65, 25, 70, 30]]


def test_score_masks__largest_region_alone():
    logits = torch.full((2, 60, 60), -5.0)
    logits[:, 25:30, 25:30] = 5
    logits[0, 3, 33] = 5  # a stray pixel
    logits[1, 30:32, 59] = 0.5  # strays that reach the side of the crop
    whole, largest = scored(logits), scored(logits, regions="largest")
    assert whole.area_px.tolist() == [26, 27]
    assert largest.area_px.tolist() == [25, 25]
    assert largest.boxes_xyxy.tolist() == [[25, 25, 30, 30]] * 2
    assert rle.decode(largest.rles, (60, 60))[:, 25:30, 25:30].all()
    assert largest.stability_score.tolist() == whole.stability_score.tolist()
    crop, size_hw = Crop((40, 0, 100, 60), 1), (100, 200)
    assert scored(logits, crop, size_hw).index.tolist() == [0]  # the strays of the second look cut by the crop
    found = scored(logits, crop, size_hw, regions="largest")
    assert found.index.tolist() == [0, 1]
    assert found.boxes_xyxy.tolist() == [[65, 25, 70, 30]] * 2


@pytest.mark.parametrize("seed", range(3))
def test_cut_by_crop__is_the_official_rule(seed):
    rng = np.random.default_rng(seed)
    crop, size_hw = Crop((30, 40, 130, 160), 1), (170, 135)
    low = rng.integers(0, 90, (200, 2))
    boxes = np.concatenate([low, low + rng.integers(1, 40, (200, 2))], axis=1) + np.array([30, 40, 30, 40])
    inclusive = torch.as_tensor(boxes - [30, 40, 31, 41])
    expected = amg.is_box_near_crop_edge(inclusive, list(crop.box_xyxy), [0, 0, 135, 170]).numpy()
    assert (score.cut_by_crop(boxes.astype(np.int32), crop, size_hw) == expected).all()


def low_logits(n=24, seed=0):
    """Low-resolution logits of blobs, among them one that is empty, one that is full and one that is near every cut."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(n, 1, 4, 4, generator=generator) * 10
    logits = F.interpolate(coarse, (LOW_PX, LOW_PX), mode="bicubic")[:, 0]
    logits += torch.randn(logits.shape, generator=generator) * 0.3
    logits[3], logits[5] = -5, 5
    logits[7] = logits[7].round()
    return logits


def both_ways(monkeypatch, logits, size_hw=(151, 203), crop=None, **changes):
    """Return what low-resolution logits give, and what pixels give; the first must not have used pixels."""
    crop = crop or Crop((0, 0, size_hw[1], size_hw[0]), 0)
    place, config = embedding(crop.size_hw), wb.ProposeConfig(**changes)
    arguments = (TwiceBilinear(), place, logits, crop, size_hw, config)
    if interpolate.enlargement(*arguments[:3]) is None:
        pytest.skip("this processor or build of torch interpolates otherwise; torch is used")
    with monkeypatch.context() as patch:
        patch.setattr(score, "upscale", None)
        found = score.score_masks(*arguments)
    with monkeypatch.context() as patch:
        patch.setattr(score, "measure_low", lambda *_: None)
        return found, score.score_masks(*arguments)


def same(found, expected):
    return (
        found.rles == expected.rles
        and all(
            a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
            for a, b in (
                (getattr(found, name), getattr(expected, name))
                for name in ("index", "stability_score", "area_px", "boxes_xyxy")
            )
        )
    )  # fmt: skip


@pytest.mark.parametrize("size_hw", [(151, 203), (128, 128), (300, 97), (90, 60), (1, 200)])
@pytest.mark.parametrize("changes", [{}, {"stability_floor": 0.8}, {"stability_offset": 0.0}, {"regions": "largest"}])
def test_score_masks__from_low_resolution_is_the_same(monkeypatch, size_hw, changes):
    found, expected = both_ways(monkeypatch, low_logits(), size_hw, **changes)
    assert same(found, expected)
    assert len(found.index) > 3


def test_score_masks__from_low_resolution_in_a_crop(monkeypatch):
    crop = Crop((40, 10, 190, 160), 1)
    logits = low_logits(40)
    inner = torch.zeros(LOW_PX, LOW_PX, dtype=torch.bool)
    inner[6:26, 6:26] = True
    logits[:20] = torch.where(inner, logits[:20], -8)  # the others reach the sides of the crop, and most are cut
    found, expected = both_ways(monkeypatch, logits, (170, 260), crop)
    assert same(found, expected)
    assert 10 < len(found.index) < 30


def test_score_masks__from_low_resolution_none(monkeypatch):
    found, expected = both_ways(monkeypatch, torch.zeros(0, LOW_PX, LOW_PX))
    assert same(found, expected)
    assert found.rles == []


def by_pixels(logits, size_hw=(151, 203)):
    masks = TwiceBilinear().upscale(logits[:, None], embedding(size_hw))[:, 0] > 0
    return rle.encode(masks[masks.flatten(1).any(1)].numpy())


def score_low(logits, size_hw=(151, 203)):
    crop = Crop((0, 0, size_hw[1], size_hw[0]), 0)
    return score.score_masks(TwiceBilinear(), embedding(size_hw), logits, crop, size_hw, wb.ProposeConfig())


@pytest.mark.parametrize("strange", [torch.nan, torch.inf, -torch.inf])
def test_score_masks__logits_that_are_not_finite(strange):
    logits = low_logits()
    logits[8, 10, 10] = strange
    assert score_low(logits).rles == by_pixels(logits)


def test_score_masks__when_our_arithmetic_is_not_torchs(monkeypatch):
    monkeypatch.setattr(interpolate, "_agrees", {})
    monkeypatch.setattr(interpolate, "enlarge", lambda logits, across, down: np.zeros((2, 203, 151), np.float32))
    monkeypatch.setattr(score, "measure_cells", None)
    assert score_low(low_logits()).rles == by_pixels(low_logits())


def test_score_masks__two_threads_at_once():
    logits = [low_logits(seed=seed) for seed in range(4)]
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(score_low, logits))
    assert all(same(one, score_low(low)) for one, low in zip(found, logits, strict=True))
