"""The embedding averaged over masks, on a stand-in model whose embedding is known."""

from __future__ import annotations

import numpy as np
import torch

from workbench.masks import rle
from workbench.sam import pooling
from workbench.sam.pooling import pooled
from workbench.sam.segmenter import Embedding


class Known:
    """Embeds an image as the columns and rows of its cells; 8 × 8 cells over a square of the longer side."""

    def __init__(self, as_list: bool = False) -> None:
        self.as_list = as_list

    def embed(self, image):
        y, x = torch.meshgrid(torch.arange(8.0), torch.arange(8.0), indexing="ij")
        coarse = torch.stack([x, y])[None]
        size = image.shape[:2]
        input_hw = tuple(round(n * 64 / max(size)) for n in size)
        fine = torch.zeros(1, 2, 16, 16)
        return Embedding([fine, coarse] if self.as_list else coarse, size, input_hw)


def masks_of(size, *boxes):
    masks = np.zeros((len(boxes), *size), bool)
    for mask, (x0, y0, x1, y1) in zip(masks, boxes, strict=True):
        mask[y0:y1, x0:x1] = True
    return rle.encode(masks) if boxes else []


def test_pooled__mean_of_the_cells_by_their_share():
    image = np.zeros((40, 80, 3), np.uint8)  # a cell is 10 px; the image covers 4 × 8 cells
    rles = masks_of((40, 80), (0, 0, 10, 10), (10, 0, 30, 10), (5, 0, 20, 10), (72, 33, 74, 34))
    masks, whole = pooled(Known(), image, rles)
    assert np.allclose(masks, [[0, 0], [1.5, 0], [2 / 3, 0], [7, 3]])
    assert np.allclose(whole, [3.5, 1.5])  # without the padding below
    assert masks.dtype == np.float32


def test_pooled__no_masks_empty_masks_and_many(monkeypatch):
    image = np.zeros((40, 80, 3), np.uint8)
    assert pooled(Known(), image, [])[0].shape == (0, 2)
    assert np.isnan(pooled(Known(), image, masks_of((40, 80), (0, 0, 0, 0)))[0]).all()
    many = masks_of((40, 80), *[(0, 0, 10 + k, 10 + k) for k in range(7)])
    at_once = pooled(Known(), image, many)[0]
    monkeypatch.setattr(pooling, "PIXELS_AT_ONCE", 2 * 40 * 80)  # two masks, then less than one
    assert np.allclose(pooled(Known(), image, many)[0], at_once)
    monkeypatch.setattr(pooling, "PIXELS_AT_ONCE", 7)
    assert np.allclose(pooled(Known(), image, many)[0], at_once)
    assert len(np.unique(at_once[:, 0])) > 3


def test_pooled__of_several_maps_the_coarsest():
    image = np.zeros((40, 80, 3), np.uint8)
    one, _ = pooled(Known(as_list=True), image, masks_of((40, 80), (10, 0, 30, 10)))
    assert np.allclose(one, [[1.5, 0]])


def test_pooled__of_the_bundled_sam():
    from workbench.sam.load import load_sam

    image = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    masks, whole = pooled(load_sam("bundled", device="cpu"), image, masks_of((48, 64), (0, 0, 20, 20)))
    assert masks.shape == (1, len(whole))
    assert np.isfinite(masks).all()
