"""SAM's embedding averaged over masks: what the model saw there, as plain arrays for those who know no torch."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from workbench.masks import rle
from workbench.sam.segmenter import Segmenter

PIXELS_AT_ONCE = 2**24  # of masks, as float32


@torch.no_grad()
def pooled(segmenter: Segmenter, image: np.ndarray, rles: Sequence[bytes]) -> tuple[NDArray[np.float32], ...]:
    """Return the mean embedding under each mask, and that of the whole image.

    A cell of the embedding counts by the share of it that the mask covers, so a mask smaller than a cell has a value too;
    one without pixels has NaN. Taken from the segmenter's cache where the embedding is kept, else computed.

    Parameters
    ----------
    image : (H, W, 3) uint8 RGB; rles : N masks of its size

    Returns
    -------
    (N, C) and (C,) float32
    """
    embedding = segmenter.embed(image)
    parts = [embedding.features] if isinstance(embedding.features, torch.Tensor) else list(embedding.features)
    coarse = min(parts, key=lambda part: part.shape[-1] * part.shape[-2])[0].float()  # (C, h, w)
    side = max(embedding.input_hw)
    h, w = (max(1, math.ceil(n * px / side)) for n, px in zip(coarse.shape[1:], embedding.input_hw, strict=True))
    cells = coarse[:, :h, :w].reshape(len(coarse), -1)  # those that show the image, without padding
    found = [np.zeros((0, len(coarse)), np.float32)]
    at_once = max(1, PIXELS_AT_ONCE // math.prod(embedding.size_hw))
    for start in range(0, len(rles), at_once):
        masks = rle.decode(list(rles[start : start + at_once]), embedding.size_hw)
        shares = torch.as_tensor(masks, dtype=torch.float32, device=cells.device)
        weights = functional.adaptive_avg_pool2d(shares[:, None], (h, w)).flatten(1)
        means = weights @ cells.T / weights.sum(1, keepdim=True)  # 0 / 0 is NaN
        found.append(means.cpu().numpy())
    return np.concatenate(found), cells.mean(1).cpu().numpy()
