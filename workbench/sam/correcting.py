"""Prompts that better an answer: the same ones with the box round it, or with it and a point where it is wrong."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from workbench.masks import regions
from workbench.sam.questions import Questions

FINE = 2  # px of the model's frame a cell of true masks; logits have cells of 4


def look_again(
    questions: Questions, logits: Tensor, predicted: Tensor, masks: NDArray[np.bool_], rng: np.random.Generator
) -> Questions:
    """Return the same points, each with the box round one of its answers, which leaves no doubt what is asked for.

    The answer is the surest hypothesis, or in half of the prompts any. A point that may ask for a part or for its whole
    asks for whichever its answer shows more of. Boxes are not asked again: the answer to a bad one is often an object, and the
    box round that would be taught to ask for nothing.

    Parameters
    ----------
    questions : with a point or a box each; logits : (P, 4, h, w) and predicted : (P, 4), the answers to them
    masks : (N, H, W) bool, what is true, a cell of FINE px each
    """
    n = len(questions.points_xy)
    surest = predicted[:n, 1:].argmax(dim=1).cpu().numpy()
    chosen = 1 + np.where(rng.random(n) < 0.5, rng.integers(0, 3, n), surest)
    fine = _fine(logits[torch.arange(n), torch.from_numpy(chosen)].detach()[:, None], masks)
    targets = questions.targets[:n].copy()
    both = np.flatnonzero(targets[:, 1] > 0)
    if len(both):
        first, second = (_iou(fine[both], masks[targets[both, k] - 1]) for k in (0, 1))
        targets[both, 0] = np.where(second > first, targets[both, 1], targets[both, 0])
    targets[:, 1] = 0
    # strays are no part of what is meant
    boxes = boxes_round(np.stack([regions.largest_region(mask) for mask in fine]))
    empty = ~np.asarray(fine.any(axis=(1, 2)))
    at = questions.points_xy[empty, 0]
    boxes[empty] = np.concatenate([at, at + FINE], axis=1)  # round an empty answer: a cell where the prompt is
    nothing = np.zeros((0, *questions.points_xy.shape[1:]), np.float32)
    return Questions(
        nothing, nothing[..., 0], boxes, targets, np.zeros(n, bool), questions.points_xy.copy(), questions.labels.copy()
    )


def boxes_round(masks: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return (K, 4) px the boxes round masks (K, H, W) of FINE px a cell; zeros for an empty one."""
    boxes = np.zeros((len(masks), 4), np.float32)
    for i in np.flatnonzero(masks.any(axis=(1, 2))).tolist():
        ys, xs = (np.flatnonzero(masks[i].any(axis=axis)) for axis in (1, 0))
        boxes[i] = xs[0], ys[0], xs[-1] + 1, ys[-1] + 1
    return boxes * FINE


def _fine(logits: Tensor, masks: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return (K, H, W) the masks of logits (K, 1, h, w), cut at 0, at the resolution of true ones."""
    fine = F.interpolate(logits.float(), masks.shape[1:], mode="bilinear", align_corners=False)[:, 0] > 0
    return np.asarray(fine.cpu().numpy())


def _iou(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return (K,) IoU of masks (K, H, W) in pairs."""
    both, either = ((a & b).sum(axis=(1, 2)), (a | b).sum(axis=(1, 2)))
    return np.asarray(both / np.maximum(either, 1))


def correct(
    questions: Questions, logits: Tensor, predicted: Tensor, masks: NDArray[np.bool_], rng: np.random.Generator
) -> Questions | None:
    """Return the prompts that ask for an object once more, each with a point where its best answer is wrong.

    Parameters
    ----------
    logits : (P, 4, h, w) and predicted : (P, 4), the answers to `questions`; the best of the hypotheses is corrected
    masks : (N, H, W) bool, what is true, a cell of FINE px each

    Returns
    -------
    None where no prompt asks for an object; a single point beside the one that it asks for is not corrected

    Source: Kirillov et al. 2023, Segment Anything, appendix A: training algorithm.
    """
    lies = questions.targets[:, 0] > 0
    p = len(questions.points_xy)
    x, y = (questions.points_xy[:, 0] // FINE).astype(np.int64).T
    if len(masks):
        lies &= np.asarray(masks.any(axis=(1, 2)))[questions.targets[:, 0] - 1]  # a thin one may fall between the cells
        lies[:p] &= masks[questions.targets[:p, 0] - 1, y, x]
    asked = np.flatnonzero(lies)
    if not len(asked):
        return None
    first = 1 if questions.earlier is None else 0  # the single answer is for prompts that leave no doubt
    best = predicted[asked, first:].argmax(dim=1) + first if first else torch.zeros(len(asked), dtype=torch.int64)
    chosen = logits[asked, best.to(logits.device)].detach()[:, None]
    wrong = _fine(chosen, masks) != masks[questions.targets[asked, 0] - 1]
    points, labels = _points_of_error(wrong, masks[questions.targets[asked, 0] - 1], rng)
    of_points, of_boxes = asked < p, asked >= p
    boxes = None
    box_points, box_labels = questions.box_points_xy, questions.box_labels
    if questions.boxes_xyxy is not None and of_boxes.any():
        rows = asked[of_boxes] - p
        boxes = questions.boxes_xyxy[rows]
        box_points = points[of_boxes] if box_points is None else np.concatenate([box_points[rows], points[of_boxes]], 1)
        box_labels = labels[of_boxes] if box_labels is None else np.concatenate([box_labels[rows], labels[of_boxes]], 1)
    kept = asked[of_points]
    return Questions(
        np.concatenate([questions.points_xy[kept], points[of_points]], axis=1),
        np.concatenate([questions.labels[kept], labels[of_points]], axis=1),
        boxes,
        np.stack([questions.targets[asked, 0], np.zeros(len(asked), np.int64)], axis=1),
        np.zeros(len(asked), bool),
        box_points if boxes is not None else None,
        box_labels if boxes is not None else None,
        chosen,
    )


def _points_of_error(
    wrong: NDArray[np.bool_], truth: NDArray[np.bool_], rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return (K, 1, 2) a random place where each answer is wrong (anywhere in the object when it is not), (K, 1) labels."""
    points = np.zeros((len(wrong), 1, 2), np.float32)
    labels = np.ones((len(wrong), 1), np.float32)
    for i, (off, mask) in enumerate(zip(wrong, truth, strict=True)):
        cells = np.flatnonzero(off if off.any() else mask)
        y, x = np.divmod(cells[int(rng.integers(len(cells)))], mask.shape[1])
        points[i, 0] = (np.array([x, y]) + 0.5) * FINE
        labels[i, 0] = mask[y, x]
    return points, labels
