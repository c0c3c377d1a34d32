"""Areas and IoU of moved masks: the same from low-resolution logits as on pixels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from twice_bilinear import LOW_PX, TwiceBilinear, embedding

import workbench as wb
from workbench.masks import rle
from workbench.propose import interpolate, jitter

SIZE_HW = (151, 203)


def blobs(n, seed=0):
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(n, 1, 4, 4, generator=generator) * 10
    return F.interpolate(coarse, (LOW_PX, LOW_PX), mode="bicubic")[:, 0]


def originals(logits):
    return rle.encode((TwiceBilinear().upscale(logits[:, None], embedding(SIZE_HW))[:, 0] > 0).numpy())


def moved(logits, moves=5):
    noise = torch.randn(len(logits) * moves, LOW_PX, LOW_PX, generator=torch.Generator().manual_seed(1))
    return logits.repeat_interleave(moves, 0) + noise


def test_jitter__from_low_resolution_is_the_same(monkeypatch):
    own = blobs(6)
    own[2] = -5  # empty, while its moved masks are not
    logits = moved(own)
    logits[:2] = -5
    logits[10:15] += 6
    arguments = TwiceBilinear(), embedding(SIZE_HW), logits, originals(own)
    expected = jitter._on_pixels(*arguments)
    if interpolate.enlargement(*arguments[:3]) is None:
        pytest.skip("this processor or build of torch interpolates otherwise; torch is used")
    monkeypatch.setattr(jitter, "_on_pixels", None)
    areas, ious = jitter._areas_and_ious(*arguments, wb.ProposeConfig())
    assert areas.tolist() == expected[0].tolist()
    assert ious.tolist() == expected[1].tolist()
    assert (ious[10:15] == 0).all()
    assert 0.3 < ious[ious > 0].mean() < 0.99


def test_jitter__logits_that_are_not_finite():
    own = blobs(3)
    logits = moved(own)
    logits[4, 3, 3] = np.nan
    areas, ious = jitter._areas_and_ious(
        TwiceBilinear(), embedding(SIZE_HW), logits, originals(own), wb.ProposeConfig()
    )
    assert areas[4] < SIZE_HW[0] * SIZE_HW[1]
    assert np.isfinite(ious).all()


@pytest.mark.parametrize("upscaled", [False, True])
def test_jitter__largest_regions_are_compared(monkeypatch, upscaled):
    own = torch.full((1, LOW_PX, LOW_PX), -8.0)
    own[0, 8:14, 8:14] = 8
    logits = moved(own, 3) * 0.1 + own  # too little noise to move a border by much
    logits[1, 20, 28] = 30  # a stray far away
    if upscaled:
        monkeypatch.setattr(jitter, "measure_low", lambda *_: None)
    arguments = TwiceBilinear(), embedding(SIZE_HW), logits, originals(own)
    every, _ = jitter._areas_and_ious(*arguments, wb.ProposeConfig())
    areas, ious = jitter._areas_and_ious(*arguments, wb.ProposeConfig(regions="largest"))
    assert every[1] > areas[1]
    assert every[[0, 2]].tolist() == areas[[0, 2]].tolist()
    assert (ious > 0.97).all()
