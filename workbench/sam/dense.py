"""The dense stage: what every pixel is, taught through the mask decoder's own upscaling before any prompt is asked.

A throw-away head reads the upscaled embedding (a quarter of the input's resolution) and says whether a pixel lies in an
object, near a border, which way the middle of its object is, and a vector that is alike for pixels of one object and
unlike across a border (pull and push between pairs of pixels, after De Brabandere et al. 2017).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

VECTOR = 8
CELL_PX = 4
PULL_PX = 24.0


class DenseHead(nn.Module):
    """1×1 convolution from the upscaled embedding to foreground, border, direction (2) and vector (8)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.read = nn.Conv2d(channels, 4 + VECTOR, 1)

    def forward(self, upscaled: Tensor) -> Tensor:
        """(B, C, H, W) to (B, 12, H, W)."""
        y: Tensor = self.read(upscaled)
        return y


def direction_to_middle(owner: Tensor) -> Tensor:
    """Return (B, 2, H, W) float: from each pixel of an object to its centroid, x and y, squashed to (−1, 1).

    Parameters
    ----------
    owner : (B, H, W) int64, the object of each pixel; 0 is background
    """
    b, height, width = owner.shape
    at = torch.stack(
        [
            torch.arange(width, device=owner.device).float().expand(height, width),
            torch.arange(height, device=owner.device).float()[:, None].expand(height, width),
        ]
    ).flatten(1)  # (2, H·W), x and y
    objects = int(owner.max()) + 1
    flat = (owner + objects * torch.arange(b, device=owner.device)[:, None, None]).flatten()
    count = torch.bincount(flat, minlength=b * objects).clamp(min=1)
    sums = torch.zeros(2, b * objects, device=owner.device).index_add_(1, flat, at.repeat(1, b))
    off = (sums / count)[:, flat] - at.repeat(1, b)
    off = off.view(2, b, height, width).transpose(0, 1) / (PULL_PX / CELL_PX)
    return off.tanh() * (owner > 0)[:, None]


def dense_loss(out: Tensor, owners: Tensor, rng: np.random.Generator) -> Tensor:
    """Return the mean dense loss of a batch.

    Parameters
    ----------
    out : (B, 12, H, W) of DenseHead
    owners : (B, 4H, 4W) int16, innermost object of each pixel, 0 for background
    rng : draws which pairs of pixels are compared
    """
    b, h, w = len(owners), owners.shape[1] // CELL_PX, owners.shape[2] // CELL_PX
    cells = owners.view(b, h, CELL_PX, w, CELL_PX).transpose(2, 3).flatten(3)
    inside = (cells > 0).float().mean(dim=3)
    border = (cells.amin(dim=3) != cells.amax(dim=3)).float()
    owner = cells[..., 5].long()
    loss = F.binary_cross_entropy_with_logits(out[:, 0], inside)
    loss = loss + F.binary_cross_entropy_with_logits(out[:, 1], border)
    in_object = (owner > 0).float()[:, None]
    to_middle = direction_to_middle(owner)
    off = (F.smooth_l1_loss(out[:, 2:4], to_middle, reduction="none", beta=0.2) * in_object).sum()
    loss = loss + 2 * off / (in_object.sum() + 1)
    return loss + pair_loss(out[:, 4:], owner, rng)


def pair_loss(vectors: Tensor, owner: Tensor, rng: np.random.Generator, pairs: int = 6) -> Tensor:
    """Return the balanced cross-entropy of "same object" read from the distance of two pixels' vectors."""
    total = vectors.new_zeros(())
    reach = np.array([1, 2, 3, 4, 6, 9])
    for i in range(pairs):
        r = int(reach[i % len(reach)])
        dy, dx = [(0, r), (r, 0), (r, r), (r, -r)][int(rng.integers(4))]
        first, second = shifted(vectors, dy, dx)
        a, b = shifted(owner[:, None], dy, dx)
        counts = ((a > 0) | (b > 0)).float()[:, 0]
        same = (a == b).float()[:, 0]
        logit = 4 - 4 * (first - second).square().sum(dim=1)
        loss = F.binary_cross_entropy_with_logits(logit, same, reduction="none")
        weight = counts * (same / ((same * counts).sum() + 20) + (1 - same) / (((1 - same) * counts).sum() + 20))
        total = total + (loss * weight).sum()
    return total / pairs


def shifted(x: Tensor, dy: int, dx: int) -> tuple[Tensor, Tensor]:
    """Return two views of (B, C, H, W), of equal shape, whose pixels lie (dy, dx) apart; dy is not negative."""
    h, w = x.shape[2:]
    if dx >= 0:
        return x[:, :, : h - dy, : w - dx], x[:, :, dy:, dx:]
    return x[:, :, : h - dy, -dx:], x[:, :, dy:, : w + dx]
