"""What a fine-tuning teaches: SAM's focal and dice losses of the best hypothesis, and the squared error of predicted IoU."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from workbench.sam.asking import best_of_three, deserved, focal_and_dice
from workbench.sam.questions import Questions
from workbench.train.settings import TrainConfig

WITHIN = 0.9  # share of a mask's area by which it lies within another


class Losses(NamedTuple):
    """Losses of one view's prompts, scalars; best_iou: mean IoU of the best hypothesis with what was asked, or NaN."""

    total: Tensor
    mask: Tensor
    iou: Tensor
    best_iou: Tensor


def view_losses(logits: Tensor, predicted: Tensor, masks: Tensor, questions: Questions, config: TrainConfig) -> Losses:
    """Return what the answers to a view's prompts deserve.

    A prompt on an object is taught its mask: the best of the three hypotheses, and the single answer where the prompt
    leaves no doubt. Every prompt is taught the IoU that its answers have with what it asked for, 0 where that is nothing:
    an answer that strays from further away than `reach_px` is left to prompts on the object. By `iou_with="nearest"` it is
    the IoU with whichever true mask is there. Where truth is not exhaustive, only the answers that come closest to what was
    asked for are taught an IoU.

    Parameters
    ----------
    logits : (P, 4, h, w), the single answer first; predicted : (P, 4)
    masks : (N, H, W) bool, true masks, H a multiple of h
    """
    targets = torch.from_numpy(questions.targets).to(logits.device)
    pointed = torch.from_numpy(questions.pointed).to(logits.device)
    overlap = iou_with_truth(logits, masks)
    some = targets[:, 0] > 0
    mask, best_iou = logits.new_zeros(()), logits.new_full((), torch.nan)
    known = torch.full_like(predicted, config.exhaustive is not False, dtype=torch.bool)
    if bool(some.any()):
        truth = cells(masks, targets[some], logits.shape[-1])
        focal, dice = focal_and_dice(logits[some], truth)
        losses = config.focal_weight * focal / logits[0, 0].numel() + config.dice_weight * dice
        if config.robust:
            losses = losses.log1p()
        mask = best_of_three(losses, targets[some], pointed[some])
        known[some] |= closest(losses, targets[some], pointed[some])
        rows = torch.arange(len(losses), device=logits.device)
        best_iou = overlap[some][rows, 1:, targets[some, 0] - 1].amax(dim=1).mean()
    meant = overlap if config.iou_with == "nearest" else overlap * asked_for(masks, targets)[:, None]
    iou = ((predicted - deserved(meant, targets, pointed)).square() * known).mean()
    return Losses(mask + config.iou_weight * iou, mask, iou, best_iou)


def closest(losses: Tensor, targets: Tensor, pointed: Tensor) -> Tensor:
    """Return (P, 4) bool, which answers to prompts on objects come closest to what was asked for.

    The best of the three hypotheses for each target, and the single answer where the prompt leaves no doubt.

    Parameters
    ----------
    losses : (P, 4, T) of every answer, the single one first; targets : (P, T), 0 for none; pointed : (P,) ambiguous
    """
    best = F.one_hot(losses[:, 1:].argmin(dim=1), 3).bool() & (targets > 0)[..., None]
    return torch.cat([~pointed[:, None], best.any(dim=1)], dim=1)


@torch.no_grad()
def iou_with_truth(logits: Tensor, masks: Tensor) -> Tensor:
    """Return (P, M, N) IoU of every mask, cut at 0 at the resolution of the truth, with every true mask."""
    fine = F.interpolate(logits.float(), masks.shape[1:], mode="bilinear", align_corners=False)
    found = (fine > 0).flatten(2).float().flatten(0, 1)
    truth = masks.flatten(1).float()
    both = found @ truth.T
    union = found.sum(dim=1, keepdim=True) + truth.sum(dim=1) - both
    return (both / union.clamp(min=1)).reshape(*logits.shape[:2], len(masks))


def asked_for(masks: Tensor, targets: Tensor) -> Tensor:
    """Return (P, N) bool, whether a prompt may mean a true mask: one of its targets, or one that holds most of a target.

    Parameters
    ----------
    masks : (N, H, W) bool; targets : (P, T) int, numbered from 1, 0 for none
    """
    if not len(masks):
        return targets.new_zeros((len(targets), 0), dtype=torch.bool)
    flat = masks.flatten(1).float()
    asked = flat[(targets - 1).clamp(min=0)]  # (P, T, H·W)
    within = asked @ flat.T >= WITHIN * asked.sum(dim=2, keepdim=True)
    return (within & (targets > 0)[..., None]).any(dim=1)


def cells(masks: Tensor, targets: Tensor, side: int) -> Tensor:
    """Return (P, T, side, side) float: the share of each cell of the logits that each target covers; 0 for no target."""
    chosen = masks[(targets - 1).clamp(min=0)] & (targets > 0)[..., None, None]
    return F.avg_pool2d(chosen.float(), masks.shape[-1] // side)
