"""Masks measured and encoded where their logits are: on a GPU, only counts, boxes and the ends of runs leave it."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np
import torch

from workbench.masks.compiled import compiled
from workbench.propose.cells import CHARS_A_RUN, encode

if TYPE_CHECKING:
    from numpy.typing import NDArray


def measure(logits: torch.Tensor, cuts: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Count pixels above three cuts of each mask, and box the middle one.

    Parameters
    ----------
    logits : (K, H, W) float32; cuts : (3,) float32

    Returns
    -------
    counts : (K, 3) int64; boxes_xyxy : (K, 4) int32 half-open, zeros for an empty mask
    """
    above = torch.stack([(logits > float(cut)).flatten(1).sum(1) for cut in cuts], dim=1)
    return above.cpu().numpy(), boxes_of(logits > float(cuts[1])).cpu().numpy()


def boxes_of(masks: torch.Tensor) -> torch.Tensor:
    """Return (K, 4) int32 half-open boxes of (K, H, W) bool masks."""

    def span(hit: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        length = hit.shape[1]
        ahead = torch.arange(length, device=hit.device)
        first = torch.where(hit, ahead, length).amin(1)
        last = torch.where(hit, ahead + 1, 0).amax(1)
        return torch.where(last > 0, first, 0), last

    x0, x1 = span(masks.any(1))
    y0, y1 = span(masks.any(2))
    return torch.stack([x0, y0, x1, y1], dim=1).to(torch.int32)


def encode_masks(masks: torch.Tensor) -> list[bytes]:
    """Return the compressed COCO string of each of (K, H, W) bool masks, equal to `workbench.masks.rle.encode`."""
    count, height, width = masks.shape
    columns = masks.transpose(1, 2).reshape(count, height * width)
    before = torch.nn.functional.pad(columns[:, :-1], (1, 0))  # a mask begins after a background pixel
    mask, pixel = torch.nonzero(columns != before, as_tuple=True)
    starts = torch.searchsorted(mask, torch.arange(count + 1, device=masks.device))
    changes = pixel.to(torch.int32).cpu().numpy().view(np.uint32)
    text, ends = _texts(changes, starts.cpu().numpy(), height * width)
    letters, at = text.tobytes(), [0, *ends.tolist()]
    return [letters[a:b] for a, b in itertools.pairwise(at)]


@compiled
def _texts(
    changes: NDArray[np.uint32], starts: NDArray[np.int64], total: int
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return all strings in one and where each ends."""
    n = len(starts) - 1
    text, ends, end = np.empty(CHARS_A_RUN * (len(changes) + n), np.uint8), np.zeros(n, np.int64), 0
    for k in range(n):
        end = encode(changes[starts[k] : starts[k + 1]], total, text, end)
        ends[k] = end
    return text[:end], ends
