"""Prompts asked again with one of their answers: which answer, and what it asks for."""

from __future__ import annotations

import numpy as np
import torch

from workbench.sam.correcting import correct, look_again
from workbench.sam.questions import Questions

WHOLE, PART = (slice(0, 16), slice(0, 16)), (slice(4, 8), slice(4, 8))


def masks() -> np.ndarray:
    found = np.zeros((2, 32, 32), bool)
    found[0][WHOLE] = True
    found[1][PART] = True
    return found


def logits_of(*shown: np.ndarray) -> torch.Tensor:
    """(1, 4, 16, 16): the single answer and three hypotheses that show these."""
    low = [torch.nn.functional.avg_pool2d(torch.from_numpy(m[None].astype(np.float32)), 2)[0] * 20 - 10 for m in shown]
    return torch.stack([low[0], *low])[None]


def asked(targets: list[list[int]]) -> Questions:
    n = len(targets)
    return Questions(
        np.full((n, 1, 2), 10, np.float32), np.ones((n, 1), np.float32), None, np.array(targets), np.ones(n, bool)
    )


def test_look_again__the_answer_tells_the_part_from_its_whole():
    whole, part = masks()
    logits = logits_of(whole, part, np.zeros_like(part)).repeat(200, 1, 1, 1)
    predicted = torch.tensor([0.0, 0.9, 0.8, 0.1]).repeat(200, 1)
    again = look_again(asked([[2, 1]] * 200), logits, predicted, masks(), np.random.default_rng(0))
    shown = [tuple(box) for box in again.boxes_xyxy.tolist()]
    expected = {
        (0, 0, 32, 32): 1,
        (8, 8, 16, 16): 2,
        (10, 10, 12, 12): 2,
    }  # an empty answer leaves the part, at its point
    assert set(shown) == set(expected)  # any of the three
    assert shown.count((0, 0, 32, 32)) > shown.count((8, 8, 16, 16))  # but more often the surest
    assert again.targets.tolist() == [[expected[box], 0] for box in shown]
    assert not again.pointed.any()
    assert again.earlier is None


def test_look_again__a_stray_does_not_widen_the_box():
    stray = masks()[1]
    stray[28:30, 28:30] = True
    logits, predicted = logits_of(stray, stray, stray), torch.rand(1, 4)
    again = look_again(asked([[2, 1]]), logits, predicted, masks(), np.random.default_rng(0))
    assert again.boxes_xyxy.tolist() == [[8, 8, 16, 16]]


def test_look_again__what_asks_for_nothing_goes_on_asking_for_nothing():
    whole, part = masks()
    logits, predicted = logits_of(whole, part, whole).repeat(2, 1, 1, 1), torch.rand(2, 4)
    first = asked([[0, 0], [1, 0]])
    again = look_again(first, logits, predicted, masks(), np.random.default_rng(0))
    assert again.targets.tolist() == [[0, 0], [1, 0]]
    assert len(again.points_xy) == 0
    assert again.box_points_xy.tolist() == first.points_xy.tolist()
    assert first.pointed.all()  # the questions handed in stay as they are


def test_look_again__without_an_object():
    logits, predicted = torch.zeros(3, 4, 16, 16), torch.rand(3, 4)
    again = look_again(asked([[0, 0]] * 3), logits, predicted, np.zeros((0, 32, 32), bool), np.random.default_rng(0))
    assert not again.targets.any()


def test_look_again__boxes_are_not_asked_again():
    whole, part = masks()
    logits, predicted = logits_of(whole, part, whole).repeat(2, 1, 1, 1), torch.rand(2, 4)
    box = np.array([[4, 4, 20, 20]], np.float32)
    first = Questions(
        np.full((1, 1, 2), 10, np.float32),
        np.ones((1, 1), np.float32),
        box,
        np.array([[2, 0], [1, 0]]),
        np.array([True, False]),
    )
    again = look_again(first, logits, predicted, masks(), np.random.default_rng(0))
    assert again.box_labels.tolist() == [[1]]
    assert again.boxes_xyxy.tolist() in ([[0, 0, 32, 32]], [[8, 8, 16, 16]])
    corrected = correct(again, logits[:1], predicted[:1], masks(), np.random.default_rng(0))
    assert corrected.box_points_xy.shape == (1, 2, 2)
    assert corrected.targets.tolist() == [[2, 0]]
