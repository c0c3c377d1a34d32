"""Asking the model of one image, and how far logits are off: what the bundled SAM's training and fine-tuning share."""

from __future__ import annotations

import numpy as np
import torch
from segment_anything.modeling import Sam
from torch import Tensor
from torch.nn import functional as F

from workbench.sam.bundled import STRIDE_PX
from workbench.sam.questions import Questions

OTHERS = 0.03  # how much of the loss of the hypotheses that are not the best is taught, so that none dies
SECOND = 0.7  # weight of the second of two objects at one point


def answer(sam: Sam, embedding: Tensor, questions: Questions, window: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Return the decoder's logits (P, 4, H, W) at a quarter of the input's resolution and predicted IoUs (P, 4).

    Parameters
    ----------
    embedding : (1, C, h, w), of a scene that stands for a window of the model's input frame
    window : the window's first column and row, in embedding cells
    """
    encoder, device = sam.prompt_encoder, embedding.device
    h, w = embedding.shape[2:]
    shift = torch.tensor(window, dtype=torch.float32) * STRIDE_PX

    def placed(points_xy: np.ndarray, labels: np.ndarray) -> tuple[Tensor, Tensor]:
        return (torch.from_numpy(points_xy) + shift).to(device), torch.from_numpy(labels).to(device)

    tokens = list[Tensor]()
    if len(questions.points_xy):
        tokens.append(encoder(points=placed(questions.points_xy, questions.labels), boxes=None, masks=None)[0])
    if questions.boxes_xyxy is not None:
        boxes = (torch.from_numpy(questions.boxes_xyxy) + torch.cat([shift, shift])).to(device)
        points = None
        if questions.box_points_xy is not None and questions.box_labels is not None:
            points = placed(questions.box_points_xy, questions.box_labels)
        tokens.append(encoder(points=points, boxes=boxes, masks=None)[0])
    sparse = torch.cat(tokens)
    if questions.earlier is None:
        dense = encoder.no_mask_embed.weight.reshape(1, -1, 1, 1).expand(len(sparse), -1, h, w)
    else:
        dense = encoder.mask_downscaling(questions.earlier)
    place = encoder.get_dense_pe()[..., window[1] : window[1] + h, window[0] : window[0] + w]
    logits, predicted = sam.mask_decoder.predict_masks(embedding, place, sparse, dense)
    return logits, predicted


def focal_and_dice(logits: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """Return the sum over cells of the focal loss, and the dice loss, (P, M, T) each: of every mask, of every target.

    Targets are shares of cells, so the focal weight is how far a probability is off, to the square.

    Parameters
    ----------
    logits : (P, M, h, w)
    truth : (P, T, h, w) in [0, 1]

    Source: Lin et al. 2017, Focal loss; Milletari et al. 2016, V-Net.
    """
    z, t = logits.flatten(2), truth.flatten(2).transpose(1, 2)
    p, entropy = z.sigmoid(), F.softplus(z)  # the cross-entropy is softplus(z) − z t
    square = p.square()
    # Multiplied out, (p − t)² (softplus(z) − z t) is a polynomial in t, so that targets meet masks in matrix products.
    focal = (square * entropy).sum(dim=-1, keepdim=True) - torch.bmm(2 * p * entropy + square * z, t)
    focal = focal + torch.bmm(entropy + 2 * p * z, t.square()) - torch.bmm(z, t**3)
    dice = 1 - (2 * torch.bmm(p, t) + 1) / (square.sum(dim=-1, keepdim=True) + t.square().sum(dim=1)[:, None] + 1)
    return focal, dice


def best_of_three(losses: Tensor, targets: Tensor, pointed: Tensor) -> Tensor:
    """Return the mean loss of prompts on objects: of the best of three hypotheses for each target, and of the single answer.

    Parameters
    ----------
    losses : (P, 4, 2) of every answer, the single one first, against both targets; P is at least 1
    targets : (P, 2) int, 0 for none; pointed : (P,) bool, ambiguous: the single answer cannot know which object is meant
    """
    best = losses[:, 1:].amin(dim=1) + OTHERS * losses[:, 1:].mean(dim=1)
    each = (targets > 0).float() * losses.new_tensor([1.0, SECOND])
    single = losses[:, 0, 0] * (1 - 0.7 * pointed.float())
    return (best * each).sum() / len(losses) + single.mean()


def deserved(overlap: Tensor, targets: Tensor, pointed: Tensor) -> Tensor:
    """Return (P, 4) the IoU that each answer should predict: with the nearest true mask, or with the one asked for.

    Parameters
    ----------
    overlap : (P, 4, N) IoU with every true mask, 0 for those that do not count; targets : (P, 2), numbered from 1; pointed : (P,) bool, ambiguous
    """
    if not overlap.shape[2]:
        return overlap.new_zeros(overlap.shape[:2])
    wanted = overlap.amax(dim=2)
    clear = torch.nonzero(~pointed & (targets[:, 0] > 0)).flatten()
    wanted[clear, 0] = overlap[clear, 0, targets[clear, 0] - 1]
    return wanted


def nan_mean(rows: np.ndarray) -> np.ndarray:
    """Return the mean of each column over the rows that have it, NaN where none has."""
    there = np.isfinite(rows)
    counts = there.sum(axis=0)
    sums = np.where(there, rows, 0).sum(axis=0)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
