"""Views and prompts: truth follows the picture, and every batch has background and bad prompts."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from random_sams import random_sam
from scipy import ndimage

from workbench.masks import rle
from workbench.sam.correcting import correct
from workbench.sam.load import load_sam
from workbench.train.sample import TrainImage, View, draw_prompts, draw_view, to_input
from workbench.train.settings import TrainConfig


def blocks(size_hw=(64, 96)) -> TrainImage:
    """Two bright blocks, the second with a part inside."""
    masks = np.zeros((3, *size_hw), bool)
    masks[0, 8:24, 8:32], masks[1, 32:60, 40:80], masks[2, 40:50, 50:60] = True, True, True
    pixels = np.zeros((*size_hw, 3), np.uint8)
    pixels[masks.any(axis=0)] = 255
    return TrainImage("blocks", lambda: pixels, size_hw, rle.encode(masks))


def test_draw_view__whole_frame_is_what_the_predictor_sees():
    sam = random_sam(input_px=128)
    image = blocks((50, 90))
    view = draw_view(image, 128, 128, None)
    seen = []
    sam.image_encoder.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    load_sam(sam).embed(image.read())
    assert torch.equal(to_input(sam, [view]), seen[0])


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32), side=st.sampled_from([64, 128]), height=st.integers(40, 120))
def test_draw_view__truth_lies_where_the_picture_is_bright(seed, side, height):
    image = blocks((height, 96))
    view = draw_view(image, 128, side, np.random.default_rng(seed), zoom=0.2)
    assert max(view.pixels.shape[:2]) <= side
    bright = np.zeros((side // 2, side // 2), bool)
    fine = view.pixels[::2, ::2, 0].astype(float)
    bright[: fine.shape[0], : fine.shape[1]] = fine > fine.max(initial=0) / 2
    truth = view.masks.any(axis=0)
    borders = ndimage.binary_dilation(truth, np.ones((3, 3))) & ~ndimage.binary_erosion(truth, np.ones((3, 3)))
    borders[[0, -1]], borders[:, [0, -1]] = True, True  # the view's own
    # a mask of under 4 cells is left out, and shows as a row and a column more of them at most
    pieces, count = ndimage.label((bright != truth) & ~borders)
    assert (np.bincount(pieces.ravel(), minlength=count + 1)[1:] <= 8).all()
    assert (view.masks.sum(axis=(1, 2)) >= 4).all()


def test_draw_view__image_without_masks():
    image = TrainImage("none", lambda: np.zeros((30, 20, 3), np.uint8), (30, 20), [])
    assert draw_view(image, 64, 64, np.random.default_rng(0)).masks.shape == (0, 32, 32)


@settings(max_examples=30, deadline=None)
@given(count=st.integers(4, 60), seed=st.integers(0, 2**32))
def test_draw_prompts__background_and_bad_ones_in_every_batch(count, seed):
    view, config = draw_view(blocks(), 128, 128, None), TrainConfig(reach_px=0)
    asked = draw_prompts(view, count, config, np.random.default_rng(seed))
    p = len(asked.points_xy)
    assert len(asked.targets) == len(asked.pointed) == p + len(asked.boxes_xyxy)
    assert (asked.targets[-1] == 0).all()  # the bad boxes come last
    anywhere = max(1, round(count * config.anywhere))
    assert p > anywhere
    assert (asked.targets[: p - anywhere, 0] > 0).all()
    for (x, y), (k, above) in zip(asked.points_xy[:, 0], asked.targets[:p], strict=True):
        here = view.masks[:, int(y) // 2, int(x) // 2]
        assert k == 0 if not here.any() else here[k - 1]
        assert above == 0 or view.masks[above - 1].sum() >= view.masks[k - 1].sum()


@pytest.mark.parametrize("reach_px", [0.0, 6.0, 20.0])
def test_draw_prompts__a_point_beside_an_object_asks_for_it_within_reach(reach_px):
    view, config = draw_view(blocks(), 128, 128, None), TrainConfig(reach_px=reach_px)
    asked = draw_prompts(view, 400, config, np.random.default_rng(0))
    away = {0: 0, 1: 0}
    for (x, y), (k, _) in zip(asked.points_xy[:, 0], asked.targets, strict=False):
        ys, xs = np.nonzero(view.masks.any(axis=0))
        px = 2 * np.hypot(ys - int(y) // 2, xs - int(x) // 2).min()
        assert (k > 0) == (px <= reach_px)
        if k and px:
            there = view.masks[k - 1]
            assert 2 * np.hypot(*(np.argwhere(there) - (int(y) // 2, int(x) // 2)).T).min() == px
        away[int(k > 0)] += px > 0
    assert away[0]
    assert bool(away[1]) == (reach_px > 0)


def test_draw_prompts__a_point_on_a_whole_close_to_a_part_asks_for_both():
    view = draw_view(blocks(), 96, 96, None)
    ys, xs = np.nonzero(view.masks[2])
    for reach_px in (0.0, 6.0):
        asked = draw_prompts(view, 600, TrainConfig(reach_px=reach_px), np.random.default_rng(0))
        near = []
        for (x, y), targets in zip(asked.points_xy[:, 0], asked.targets.tolist(), strict=False):
            y, x = int(y) // 2, int(x) // 2
            if view.masks[1, y, x] and not view.masks[2, y, x]:
                px = 2 * np.hypot(ys - y, xs - x).min()
                assert targets == ([3, 2] if px <= reach_px else [2, 0])
                near.append(px <= reach_px)
        assert any(near) == (reach_px > 0)
        assert not all(near)


def test_draw_prompts__a_point_on_an_object_does_not_ask_for_its_neighbour():
    masks = np.zeros((2, 32, 32), bool)
    masks[0, 8:24, 4:16], masks[1, 8:16, 16:24] = True, True  # they touch, the second is smaller
    view = View(np.zeros((64, 64, 3), np.uint8), 64, masks)
    asked = draw_prompts(view, 400, TrainConfig(reach_px=6.0), np.random.default_rng(0))
    on = [targets for (x, y), targets in zip(asked.points_xy[:, 0], asked.targets.tolist(), strict=False)
          if masks[0, int(y) // 2, int(x) // 2]]  # fmt: skip
    assert on
    assert all(targets == [1, 0] for targets in on)


def test_draw_prompts__part_comes_before_its_whole():
    view = draw_view(blocks(), 96, 96, None)
    asked = draw_prompts(view, 400, TrainConfig(), np.random.default_rng(0))
    assert [3, 2] in asked.targets.tolist()


def test_draw_prompts__view_without_a_mask():
    view = View(np.zeros((64, 64, 3), np.uint8), 64, np.zeros((0, 32, 32), bool))
    asked = draw_prompts(view, 10, TrainConfig(), np.random.default_rng(0))
    assert not asked.targets.any()
    assert len(asked.points_xy) == 9
    assert correct(asked, torch.zeros(10, 4, 16, 16), torch.zeros(10, 4), view.masks, np.random.default_rng(0)) is None


def test_correct__points_lie_where_the_answer_is_wrong():
    view, rng = draw_view(blocks(), 96, 96, None), np.random.default_rng(0)
    asked = draw_prompts(view, 40, TrainConfig(boxes=0.3), rng)
    logits = torch.full((len(asked.targets), 4, 24, 24), -9.0)  # everything was missed
    once = correct(asked, logits, torch.zeros(len(asked.targets), 4), view.masks, rng)
    assert once is not None
    assert once.points_xy.shape[1] == 2
    assert once.box_points_xy.shape[1] == 1
    assert once.earlier.shape == (len(once.targets), 1, 24, 24)
    assert not once.pointed.any()
    for (x, y), k in zip(once.points_xy[:, -1], once.targets[:, 0], strict=False):
        assert view.masks[k - 1, int(y) // 2, int(x) // 2]
    assert (once.labels[:, -1] == 1).all()
    twice = correct(
        once, torch.full((len(once.targets), 4, 24, 24), 9.0), torch.zeros(len(once.targets), 4), view.masks, rng
    )
    assert twice.points_xy.shape[1] == 3
    assert (twice.labels[:, -1] == 0).all()  # now too much was taken
    for (x, y), k in zip(once.points_xy[:, 0], once.targets[:, 0], strict=False):
        assert view.masks[k - 1, int(y) // 2, int(x) // 2]  # a point beside its object is not asked again
    beside = asked.targets[: len(asked.points_xy), 0] > 0
    assert len(once.points_xy) < beside.sum()


@pytest.mark.parametrize("bgr", [False, True])
def test_to_input__channels_in_the_order_of_the_model(bgr):
    sam = random_sam(input_px=64)
    sam.image_format = "BGR" if bgr else "RGB"
    view = View(np.full((8, 8, 3), (255, 0, 0), np.uint8), 64, np.zeros((0, 32, 32), bool))
    x = to_input(sam, [view])[0]
    assert x[:, :8, :8].amax(dim=(1, 2)).argmax() == (2 if bgr else 0)
    assert (x[:, 8:] == 0).all()
