"""Measuring and encoding of upscaled logits."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from segment_anything.utils import amg

import workbench as wb
from workbench.masks import rle
from workbench.propose import score
from workbench.propose.grid import Crop
from workbench.sam.segmenter import Embedding


class AsTheyAre:
    """A segmenter whose low-resolution logits are already at the size of the image."""

    model_id = "as they are"
    mask_threshold = 0.0

    def upscale(self, logits, embedding):
        return logits


def scored(logits, crop=None, size_hw=None, **settings):
    size_hw = size_hw or tuple(logits.shape[1:])
    crop = crop or Crop((0, 0, size_hw[1], size_hw[0]), 0)
    embedding = Embedding(None, crop.size_hw, crop.size_hw)
    return score.score_masks(AsTheyAre(), embedding, logits, crop, size_hw, wb.ProposeConfig(**settings))


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
    assert (boxes == score._boxes_on_device(logits > 0).numpy()).all()
    meta_free = torch.stack([(logits > cut).flatten(1).sum(1) for cut in (1.0, 0.0, -1.0)], dim=1)
    assert (counts == meta_free.numpy()).all()


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


@pytest.mark.parametrize("seed", range(3))
def test_cut_by_crop__is_the_official_rule(seed):
    rng = np.random.default_rng(seed)
    crop, size_hw = Crop((30, 40, 130, 160), 1), (170, 135)
    low = rng.integers(0, 90, (200, 2))
    boxes = np.concatenate([low, low + rng.integers(1, 40, (200, 2))], axis=1) + np.array([30, 40, 30, 40])
    inclusive = torch.as_tensor(boxes - [30, 40, 31, 41])
    expected = amg.is_box_near_crop_edge(inclusive, list(crop.box_xyxy), [0, 0, 135, 170]).numpy()
    assert (score.cut_by_crop(boxes.astype(np.int32), crop, size_hw) == expected).all()
