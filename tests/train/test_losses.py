"""What is taught: SAM's weights, the best of three, and the IoU that answers on objects and on nothing deserve."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from workbench.sam.asking import deserved, focal_and_dice
from workbench.sam.questions import Questions
from workbench.train.losses import asked_for, cells, closest, iou_with_truth, view_losses
from workbench.train.settings import TrainConfig


def square(at: int, side: int = 32) -> torch.Tensor:
    mask = torch.zeros(side, side, dtype=torch.bool)
    mask[at : at + 8, at : at + 8] = True
    return mask


def asking(targets: list[list[int]], pointed: list[bool]) -> Questions:
    n = len(targets)
    return Questions(
        np.zeros((n, 1, 2), np.float32), np.ones((n, 1), np.float32), None, np.array(targets), np.array(pointed)
    )


def test_focal_and_dice__against_the_formulas():
    torch.manual_seed(0)
    logits, truth = torch.randn(2, 3, 4, 4), (torch.rand(2, 1, 4, 4) > 0.5).float()
    focal, dice = focal_and_dice(logits, truth)
    entropy = F.binary_cross_entropy_with_logits(logits, truth.expand_as(logits), reduction="none")
    off = (logits.sigmoid() - truth).abs().square()
    assert torch.allclose(focal[..., 0], (off * entropy).sum((2, 3)), atol=1e-5)
    p = logits.sigmoid()
    expected = 1 - (2 * (p * truth).sum((2, 3)) + 1) / (p.square().sum((2, 3)) + truth.square().sum((2, 3)) + 1)
    assert torch.allclose(dice[..., 0], expected, atol=1e-6)


def test_view_losses__only_the_best_hypothesis_is_taught():
    masks = torch.stack([square(4)])
    good = torch.where(F.avg_pool2d(masks[:, None].float(), 2)[0, 0] > 0.5, 8.0, -8.0)
    logits = torch.stack([good, good, torch.zeros(16, 16), torch.zeros(16, 16)])[None].requires_grad_()
    questions = asking([[1, 0]], [True])
    losses = view_losses(logits, torch.zeros(1, 4), masks, questions, TrainConfig(iou_weight=0))
    assert losses.mask < 0.1
    assert losses.best_iou == 1
    losses.total.backward()
    taught = logits.grad.abs().sum((0, 2, 3))
    assert taught[2] < 0.1  # a hypothesis that is not the best hardly moves


def test_asked_for__the_targets_and_what_holds_them():
    whole, part, other = square(0), torch.zeros(32, 32, dtype=torch.bool), square(6)
    part[1:5, 1:5] = True
    masks = torch.stack([whole, part, other])
    found = asked_for(masks, torch.tensor([[2, 0], [1, 0], [0, 0], [3, 2]]))
    assert found.tolist() == [[True, True, False], [True, False, False], [False] * 3, [True, True, True]]
    leaf = torch.zeros(32, 32, dtype=torch.bool)
    leaf[2:4, 2:4] = True
    assert asked_for(torch.stack([whole, part, leaf]), torch.tensor([[3, 2], [3, 0]])).all()  # three levels
    jutting = torch.zeros(32, 32, dtype=torch.bool)
    jutting[0, :10] = True  # 8 of 10 cells within the whole
    assert asked_for(torch.stack([whole, jutting]), torch.tensor([[2, 0]])).tolist() == [[False, True]]
    assert asked_for(masks[:0], torch.zeros(2, 2, dtype=torch.int64)).shape == (2, 0)


@pytest.mark.parametrize(
    ("iou_with", "beside", "on_another"), [("asked", 0.0, 0.0), ("nearest", 1.0, 1.0)], ids=["asked", "nearest"]
)
def test_view_losses__an_answer_that_strays_to_an_object_from_beside_it(iou_with, beside, on_another):
    """Three prompts give the mask of the first object: one on it, one on nothing, one on the second object."""
    masks = torch.stack([square(4), square(20)])
    answer = torch.where(F.avg_pool2d(masks[:1, None].float(), 2)[0, 0] > 0.5, 8.0, -8.0)
    questions = asking([[1, 0], [0, 0], [2, 0]], [True] * 3)
    predicted = torch.tensor([[1.0], [beside], [on_another]]).expand(3, 4)
    losses = view_losses(answer.expand(3, 4, 16, 16), predicted, masks, questions, TrainConfig(iou_with=iou_with))
    assert losses.iou.item() == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(("exhaustive", "taught"), [(None, 12), (True, 12), (False, 3)])
def test_view_losses__where_truth_leaves_things_out_only_the_closest_answers_are_taught_their_iou(exhaustive, taught):
    """A point on the object whose third hypothesis shows it, one on nothing, and a box whose single answer shows it."""
    masks = torch.stack([square(4)])
    good = torch.where(F.avg_pool2d(masks[:, None].float(), 2)[0, 0] > 0.5, 8.0, -8.0)
    logits = torch.full((3, 4, 16, 16), -8.0)
    logits[0, 3] = logits[2, 0] = logits[2, 1] = good
    questions = asking([[1, 0], [0, 0], [1, 0]], [True, True, False])
    predicted = torch.full((3, 4), 0.5, requires_grad=True)
    view_losses(logits, predicted, masks, questions, TrainConfig(exhaustive=exhaustive)).total.backward()
    moved = predicted.grad != 0
    assert moved[0, 3]
    assert moved[2, 0]
    assert int(moved.sum()) == taught  # of a box its best hypothesis as well
    assert bool(moved[1].any()) is (exhaustive is not False)


def test_closest__the_best_hypothesis_for_each_target_and_the_clear_single_answer():
    losses = torch.tensor([[[0.0, 0], [3, 1], [1, 3], [2, 2]]] * 3)
    found = closest(losses, torch.tensor([[1, 2], [1, 0], [2, 1]]), torch.tensor([True, True, False]))
    assert found.tolist() == [[False, True, True, False], [False, False, True, False], [True, True, True, False]]


def test_view_losses__robust_is_the_log_of_what_sam_teaches():
    """One object that no answer shows and one that all show: a sum, the log of each."""
    masks = torch.stack([square(0), torch.ones(32, 32, dtype=torch.bool)])
    logits = torch.full((2, 4, 16, 16), -20.0)
    plain, robust = (
        [
            float(view_losses(logits[:1], torch.zeros(1, 4), masks, asking([[k, 0]], [False]), config).mask)
            for k in (1, 2)
        ]
        for config in (TrainConfig(robust=False), TrainConfig(robust=True))
    )
    others = 1 + 0.03  # the best hypothesis and a little of all three; then the single answer
    assert plain == pytest.approx([(others + 1) * (20 * 20 * k + 1) for k in (64 / 1024, 1)], rel=0.02)
    assert robust == pytest.approx([(others + 1) * np.log1p(20 * 20 * k + 1) for k in (64 / 1024, 1)], rel=0.02)


def test_view_losses__background_is_taught_by_its_predicted_iou_alone():
    logits = torch.randn(2, 4, 16, 16, requires_grad=True)
    predicted = torch.full((2, 4), 0.9, requires_grad=True)
    losses = view_losses(
        logits, predicted, torch.zeros(0, 32, 32, dtype=torch.bool), asking([[0, 0]] * 2, [True] * 2), TrainConfig()
    )
    assert losses.mask == 0
    assert losses.iou.item() == pytest.approx(0.81)
    assert torch.isnan(losses.best_iou)
    losses.total.backward()
    assert (predicted.grad > 0).all()  # pushed down, towards the IoU of nothing
    assert logits.grad is None or not logits.grad.any()


def test_deserved__a_clear_prompt_is_judged_by_what_it_asked_for():
    overlap = torch.tensor([[[0.2, 0.9]] * 4] * 3)
    wanted = deserved(overlap, torch.tensor([[1, 0], [1, 0], [0, 0]]), torch.tensor([True, False, False]))
    assert torch.allclose(wanted[0], torch.full((4,), 0.9))  # a point: the nearest object of those that count
    assert torch.allclose(wanted[1], torch.tensor([0.2, 0.9, 0.9, 0.9]))
    assert torch.allclose(wanted[2], torch.full((4,), 0.9))  # a bad box: whatever it happens to meet
    assert (
        deserved(torch.zeros(2, 4, 0), torch.zeros(2, 2, dtype=torch.int64), torch.ones(2, dtype=torch.bool)).sum() == 0
    )


def test_iou_with_truth__by_counting():
    masks = torch.stack([square(4), square(8)])
    logits = torch.where(masks[:1], 9.0, -9.0)[None]
    assert torch.allclose(iou_with_truth(logits, masks), torch.tensor([[[1.0, 16 / 112]]]))


def test_cells__no_target_is_an_empty_one():
    got = cells(torch.stack([square(3)]), torch.tensor([[1, 0]]), 16)
    assert got.shape == (1, 2, 16, 16)
    assert got[0, 0].sum() * 4 == 64
    assert got[0, 0, 1, 1] == 0.25  # a corner of the square covers a quarter of its cell
    assert got[0, 1].sum() == 0
