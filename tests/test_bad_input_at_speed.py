"""Bad input where answers are computed fast: the same answer as the slow path, or the same error."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from random_pools import random_proposals
from random_sams import random_sam

import workbench as wb
from workbench.config import SettingError
from workbench.propose import jitter, score
from workbench.tables.proposals import Proposals
from workbench.triage.pool import DistinctPool, ExactPool, PoolError

EXACT = wb.TriageConfig(pool="exact", overlap=None)
DISTINCT = wb.TriageConfig(overlap=None)
CONFIG = wb.ProposeConfig(points_per_side=3, predicted_iou_floor=-10, jitter_prompts=2)


def picture(size_hw, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (*size_hw, 3)).astype(np.uint8)


def by_pixels(monkeypatch, image, sam, config):
    """Propose from upscaled logits, as on a segmenter of which nothing is known."""
    with monkeypatch.context() as patch:
        patch.setattr(score, "measure_low", lambda *_: None)
        patch.setattr(jitter, "measure_low", lambda *_: None)
        return wb.propose(image, sam, config)


def kept_by(proposals, config):
    found = wb.triage(proposals, config)
    return found.auto_accepted | found.flagged


@pytest.mark.parametrize("size_hw", [(1, 1), (1, 90), (90, 1), (2, 3)])
def test_propose__images_of_a_pixel_or_little_more(monkeypatch, size_hw):
    sam = wb.load_sam(random_sam(0, input_px=64))
    found = wb.propose(picture(size_hw), sam, CONFIG)
    assert len(found)
    assert found.to_frame().equals(by_pixels(monkeypatch, picture(size_hw), sam, CONFIG).to_frame())


def test_propose__nothing_above_the_floor(monkeypatch):
    sam, config = wb.load_sam(random_sam(0, input_px=64)), CONFIG.replace(predicted_iou_floor=10)
    found = wb.propose(picture((40, 50)), sam, config)
    assert len(found) == len(by_pixels(monkeypatch, picture((40, 50)), sam, config)) == 0


def test_propose__by_two_threads_with_one_model():
    images = [picture((40, 50), seed) for seed in range(4)]
    expected = [wb.propose(image, wb.load_sam(random_sam(0, input_px=64)), CONFIG).to_frame() for image in images]
    sam = wb.load_sam(random_sam(0, input_px=64))
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda image: wb.propose(image, sam, CONFIG).to_frame(), images * 2))
    for a, b in zip(found, expected * 2, strict=True):
        assert a.equals(b)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_propose__predicted_iou_that_is_no_number(monkeypatch, bad):
    model = random_sam(0, input_px=64)
    with torch.no_grad():
        model.mask_decoder.iou_prediction_head.layers[-1].bias[1] = bad
    sam = wb.load_sam(model)
    found = wb.propose(picture((40, 50)), sam, CONFIG)
    original = wb.propose(picture((40, 50)), sam, CONFIG.replace(decoder="original"))
    assert found.mask_index.tolist() == original.mask_index.tolist()
    assert np.array_equal(np.isfinite(found.predicted_iou), np.isfinite(original.predicted_iou))
    assert (found.mask_index == 0).any() == (bad == np.inf)  # neither NaN nor -inf is above a floor


def test_pools__0_proposals():
    assert len(ExactPool.build(Proposals.empty(), base=EXACT).keep(EXACT)) == 0
    assert len(DistinctPool.build(Proposals.empty(), base=DISTINCT).keep(DISTINCT)) == 0


def test_pools__images_of_one_pixel():
    one = Proposals.make(
        rles=[b"01"] * 3, image_id="a", mask_id="m", boxes_xyxy=(0, 0, 1, 1), area_px=1, sizes_hw=(1, 1),
        predicted_iou=[0.9, 0.95, np.nan], jitter_stability=1.0,
    )  # fmt: skip
    exact, distinct = (
        EXACT.replace(min_area_px=0, max_area_share=1.0),
        DISTINCT.replace(min_area_px=0, max_area_share=1.0),
    )
    assert (ExactPool.build(one, base=exact).keep(exact) == kept_by(one, exact)).all()
    assert (DistinctPool.build(one, base=distinct).keep(distinct) == kept_by(one, distinct)).all()


@pytest.mark.parametrize("levels", [(0.9,), (0.9, np.nan, np.inf, -np.inf)])
def test_pools__equal_missing_and_infinite_scores(levels):
    rng = np.random.default_rng(0)
    scores = rng.choice(np.array(levels, np.float32), 200)
    rows = random_proposals(rng, 200, predicted_iou=scores, stability_score=scores, jitter_stability=scores)
    for low in (-10, 0.5, 0.9, 10):
        exact, distinct = EXACT.replace(predicted_iou=low), DISTINCT.replace(predicted_iou=low)
        assert (ExactPool.build(rows, base=EXACT).keep(exact) == kept_by(rows, exact)).all()
        assert (DistinctPool.build(rows, base=DISTINCT).keep(distinct) == kept_by(rows, distinct)).all()


@pytest.mark.slow
def test_distinct_pool__100_000_proposals_on_one_image():
    n, rng = 100_000, np.random.default_rng(0)
    low = rng.integers(0, 3900, (n, 2))
    boxes = np.hstack([low, low + rng.integers(1, 100, (n, 2))])
    rows = Proposals.make(
        rles=[b"0"] * n, image_id="a", mask_id="m", boxes_xyxy=boxes, area_px=boxes[:, 2] * 3, sizes_hw=(4000, 4000),
        predicted_iou=rng.random(n).astype(np.float32), jitter_stability=1.0,
    )  # fmt: skip
    assert (DistinctPool.build(rows, base=DISTINCT).keep(DISTINCT) == kept_by(rows, DISTINCT)).all()


def test_thresholds__outside_their_range_are_refused_alike():
    for changes in ({"nms_iou": 1.5}, {"stability_score": -0.1}, {"predicted_iou": np.nan}, {"min_area_px": -1}):
        with pytest.raises(SettingError, match=next(iter(changes))):
            EXACT.replace(**changes)
    rows = random_proposals(np.random.default_rng(0), 20)
    with pytest.raises(PoolError, match="nms_iou"):
        ExactPool.build(rows, base=EXACT, smallest_nms_iou=0.6).keep(EXACT.replace(nms_iou=0.5))
