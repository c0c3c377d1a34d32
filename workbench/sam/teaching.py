"""Asking the model a whole batch of scenes at once, and what its answers deserve.

A prompt that asks for an object is taught its mask: the best of the three hypotheses is pulled towards it, and towards
the whole that it is part of. Every prompt is taught the IoU that its answers have with what it asked for, 0 where that is
nothing: an answer that shows something else, a part or a thing far away, is left to the prompts that ask for that.
"""

from __future__ import annotations

import torch
from segment_anything.modeling import Sam
from torch import Tensor
from torch.nn import functional as F

from workbench.sam.asking import best_of_three, deserved, focal_and_dice
from workbench.sam.batched import decode
from workbench.sam.bundled import STRIDE_PX
from workbench.sam.dense import CELL_PX
from workbench.sam.lessons import Batch


def normalised(sam: Sam, images: Tensor) -> Tensor:
    """Return (B, 3, H, W) float of (B, H, W, 3) uint8, normalised as `Sam.preprocess` does."""
    x: Tensor = (images.permute(0, 3, 1, 2).float() - sam.pixel_mean) / sam.pixel_std
    return x


def answer_batch(sam: Sam, embedding: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
    """Return the decoder's logits (B, P, 4, H/4, W/4), float, and predicted IoUs (B, P, 4) for all P prompts of each scene.

    Parameters
    ----------
    embedding : (B, C, h, w) float32 of the batch's images
    """
    encoder = sam.prompt_encoder
    b, c, h, w = embedding.shape
    shift = (batch.windows * STRIDE_PX).to(batch.points_xy.dtype)[:, None]
    points = (batch.points_xy + shift[:, :, None]).flatten(0, 1)
    sparse, _ = encoder(points=(points, batch.labels.flatten(0, 1)), boxes=None, masks=None)
    sparse = sparse.view(b, -1, *sparse.shape[1:])
    if batch.boxes_xyxy.shape[1]:
        boxes = (batch.boxes_xyxy + shift.repeat(1, 1, 2)).flatten(0, 1)
        boxed, _ = encoder(points=None, boxes=boxes, masks=None)
        sparse = torch.cat([sparse, boxed.view(b, -1, *boxed.shape[1:])], dim=1)
    place = encoder.get_dense_pe()[0]
    rows = batch.windows[:, 1, None] + torch.arange(h, device=place.device)
    columns = batch.windows[:, 0, None] + torch.arange(w, device=place.device)
    places = place[:, rows[:, :, None], columns[:, None]].transpose(0, 1)
    image = embedding + encoder.no_mask_embed.weight.view(1, c, 1, 1)
    with torch.autocast("cuda", torch.bfloat16, enabled=embedding.is_cuda):  # positions were coded in float32
        return decode(sam.mask_decoder, image, places, sparse)


def truth_cells(batch: Batch, scenes: Tensor, targets: Tensor) -> Tensor:
    """Return (K, T, H/4, W/4) float: the share of each cell that each target covers.

    Parameters
    ----------
    scenes : (K,) int64, which scene of the batch; targets : (K, T) int64, objects of it
    """
    # Every other pixel will do: four of a cell's sixteen, spread evenly.
    owners = batch.owners[:, 1::2, 1::2].long()
    rows = batch.family[scenes[:, None], targets]  # (K, T, N + 1)
    at = owners.flatten(1)[scenes][:, None].expand(-1, targets.shape[1], -1)
    return F.avg_pool2d(rows.gather(2, at).view(*targets.shape, *owners.shape[1:]).float(), CELL_PX // 2)


def mask_losses(logits: Tensor, truth: Tensor) -> Tensor:
    """Return (P, M, T): focal loss and dice loss of every logit mask against every target of its prompt.

    The focal sum is divided by the target's size instead of the frame's, or small objects would not count.

    Parameters
    ----------
    logits : (P, M, h, w)
    truth : (P, T, h, w) in [0, 1]
    """
    focal, dice = focal_and_dice(logits, truth)
    area = truth.flatten(2).sum(dim=2)[:, None]
    return focal / (area + 100) + dice


def twice(x: Tensor) -> Tensor:
    """Return (..., 2h, 2w) of (..., h, w): enlarged as bilinear interpolation does, by two products.

    The interpolation of torch gives a GPU a thread a pixel, which then goes through all masks: it takes seven times as long.
    In bfloat16 there, whose rounding hardly ever changes a sign.
    """

    def to_twice(n: int) -> Tensor:
        at = (torch.arange(2 * n, device=x.device) + 0.5) / 2 - 0.5
        return (1 - (at[:, None].clamp(0, n - 1) - torch.arange(n, device=x.device)).abs()).clamp(min=0).to(x.dtype)

    with torch.autocast("cuda", torch.bfloat16, enabled=x.is_cuda):
        y: Tensor = to_twice(x.shape[-2]) @ (x @ to_twice(x.shape[-1]).mT)
    return y


@torch.no_grad()
def true_iou(logits: Tensor, owners: Tensor, family: Tensor) -> Tensor:
    """Return (B, P, M, N) IoU of every mask, cut at 0 at half the input's resolution, with every true mask.

    Parameters
    ----------
    logits : (B, P, M, h, w); owners : (B, 4h, 4w); family : (B, N + 1, N + 1) bool
    """
    b, p, m = logits.shape[:3]
    own = owners[:, 1::2, 1::2].long()
    found = (twice(logits.flatten(1, 2)) > 0).flatten(2).float()  # (B, P·M, pixels)
    truth = family[:, 1:].gather(2, own.flatten(1)[:, None].expand(-1, family.shape[1] - 1, -1)).float()
    both = found @ truth.mT  # of zeros and ones: exact, also where a GPU rounds what it multiplies
    union = found.sum(dim=2, keepdim=True) + truth.sum(dim=2)[:, None] - both
    return (both / union.clamp(min=1)).view(b, p, m, -1)


def asked_for(batch: Batch) -> Tensor:
    """Return (B, P, N) bool, whether a prompt may mean an object: a target of its, or a whole that holds one."""
    b, p, t = batch.targets.shape
    wholes = batch.family[:, 1:]
    at = batch.targets.flatten(1)[:, None].expand(-1, wholes.shape[1], -1)
    return wholes.gather(2, at).view(b, -1, p, t).any(dim=3).mT


def prompt_losses(logits: Tensor, predicted: Tensor, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """Return (mask loss, IoU loss) of a batch's prompts, and the mean IoU of the best of three where there is a target."""
    overlap = true_iou(logits, batch.owners, batch.family)
    meant = overlap * asked_for(batch)[:, :, None]
    wanted = deserved(meant.flatten(0, 1), batch.targets.flatten(0, 1), batch.pointed.flatten()).view_as(predicted)
    iou = F.mse_loss(predicted, wanted)
    scenes, prompts = (batch.targets[..., 0] > 0).nonzero(as_tuple=True)
    if not len(scenes):
        return logits.sum() * 0, iou, logits.new_full((), torch.nan)
    targets, pointed = batch.targets[scenes, prompts], batch.pointed[scenes, prompts]
    losses = mask_losses(logits[scenes, prompts], truth_cells(batch, scenes, targets))
    asked = (targets[:, :1, None] - 1).expand(-1, 3, 1)
    best = overlap[scenes, prompts, 1:].gather(2, asked).amax(dim=(1, 2))
    return best_of_three(losses, targets, pointed), iou, best.mean()
