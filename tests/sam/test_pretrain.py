"""The training recipe at toy size: it runs, learns, stops and goes on, and asks what it says it asks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional as F

from workbench.sam import checking
from workbench.sam.asking import answer
from workbench.sam.bundled import build_bundled, load_bundled
from workbench.sam.dense import dense_loss, direction_to_middle
from workbench.sam.lessons import Lessons, collate, drawn_ahead, make_batch
from workbench.sam.pretrain import Run
from workbench.sam.questions import Questions, boxes_of, draw_questions, object_at, pixels_of
from workbench.sam.recipe import TOY, Recipe
from workbench.sam.scenes import VALIDATION_SEEDS, Scene, draw_scene, family_table
from workbench.sam.teaching import (
    answer_batch,
    asked_for,
    mask_losses,
    normalised,
    prompt_losses,
    true_iou,
    truth_cells,
    twice,
)


def square_scene() -> Scene:
    """Two squares of 24 px, the second with a part of 8 px inside."""
    owner = np.zeros((64, 64), np.int16)
    owner[4:28, 4:28] = 1
    owner[36:60, 36:60] = 2
    owner[40:48, 40:48] = 3
    return Scene(np.full((64, 64, 3), 90, np.uint8), owner, np.array([0, 0, 0, 2], np.int16), "plain")


@pytest.mark.parametrize("prompted", [False, True])
def test_train_step__lowers_the_loss_on_a_scene_it_sees_again_and_again(tmp_path, prompted):
    run = Run(replace(TOY, steps=1000, learning_rate=2e-3), tmp_path)
    scenes = [draw_scene(1, 64, "plain"), draw_scene(2, 64, "fluorescence")]
    losses = []
    for step in range(24):
        run.step = step + 50
        rng = np.random.default_rng(step)
        dense, mask, _, _ = run.train_step(make_batch(scenes, 8, rng), prompted, rng).tolist()
        losses.append(dense + mask)
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:3])


def test_grown__weights_with_fewer_blocks_say_the_same_until_they_are_trained(tmp_path):
    """Blocks are taken off the shipped weights, and the model that remains is grown again."""
    fewer, image = load_bundled(), torch.randn(1, 3, 128, 128)
    fewer.image_encoder.stage16 = fewer.image_encoder.stage16[:-2]
    save_file(fewer.state_dict(), tmp_path / "fewer.safetensors")
    run = Run(TOY, tmp_path / "run", init_from=tmp_path / "fewer.safetensors")
    with torch.no_grad():
        assert torch.equal(run.sam.image_encoder(image), fewer.image_encoder(image))
    batch = make_batch([draw_scene(1, 64)], 4, np.random.default_rng(0))
    before = run.sam.state_dict()["image_encoder.stage16.8.narrow.weight"].clone()
    run.train_step(batch, True, np.random.default_rng(0))
    assert not torch.equal(before, run.sam.state_dict()["image_encoder.stage16.8.narrow.weight"])


def test_grown__weights_of_another_model_are_refused(tmp_path):
    save_file({"image_encoder.stem.0.weight": torch.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match=r"other\.safetensors: expected the tensors of the bundled architecture"):
        Run(TOY, tmp_path / "run", init_from=tmp_path / "other.safetensors")


def test_lessons__are_the_same_every_time_and_none_is_for_validation():
    lessons = Lessons(size_px=64, scenes=3, new=1, prompts=8, kept=4, first_seed=7)
    one, two = drawn_ahead(lessons, 0), drawn_ahead(lessons, 0)
    for _ in range(4):
        assert all(torch.equal(x, y) for x, y in zip(next(one), next(two), strict=True))
    with pytest.raises(ValueError, match="kept for measuring"):
        Recipe(first_scene=VALIDATION_SEEDS - 150_000_000, processes=2)


def test_lessons__workers_draw_seeds_of_their_own():
    lessons = Lessons(size_px=64, scenes=2, new=2, prompts=4, kept=4, first_seed=7)
    ahead = drawn_ahead(lessons, 2)
    first, second = next(ahead), next(ahead)
    assert first.images.shape == second.images.shape == (2, 64, 64, 3)
    assert not torch.equal(first.owners, second.owners)


@pytest.mark.parametrize("points", [1, 3])
def test_answer_batch__says_what_the_model_says_of_each_scene_alone(points):
    rng = np.random.default_rng(points)
    scenes = [draw_scene(seed, 64) for seed in (3, 4)]
    questions = [draw_questions(scene, 10, rng, points) for scene in scenes]
    windows = np.array([[0, 5], [28, 11]])
    batch, sam = collate(scenes, questions, windows), build_bundled()
    with torch.no_grad():
        embedding = sam.image_encoder(normalised(sam, batch.images))
        logits, predicted = answer_batch(sam, embedding, batch)
        for i, asked in enumerate(questions):
            alone = answer(sam, embedding[i : i + 1], asked, (int(windows[i, 0]), int(windows[i, 1])))
            assert torch.allclose(logits[i], alone[0], atol=1e-4)
            assert torch.allclose(predicted[i], alone[1], atol=1e-5)


def test_prompt_losses__a_scene_beside_another_is_taught_as_alone():
    """Scenes of a batch share padded tables; none may see the other's objects."""
    rng = np.random.default_rng(0)
    scenes = [square_scene(), draw_scene(5, 64, "crowd")]
    batch = collate(scenes, [draw_questions(scene, 10, rng) for scene in scenes], np.zeros((2, 2), np.int64))
    logits, predicted = torch.randn(2, 10, 4, 16, 16), torch.rand(2, 10, 4)
    both = true_iou(logits, batch.owners, batch.family)
    for i, scene in enumerate(scenes):
        n = len(scene)
        family = torch.from_numpy(family_table(scene.parents))
        alone = true_iou(logits[i : i + 1], torch.from_numpy(scene.owner)[None], family[None])[0]
        assert torch.equal(both[i, ..., :n], alone)
        assert not both[i, ..., n:].any()
    mask, iou, best = prompt_losses(logits, predicted, batch)
    assert 0 <= best.item() < 0.5
    assert mask.item() > 0
    assert iou.item() > 0


def test_prompt_losses__nothing_asked_for_teaches_the_predicted_iou_alone():
    empty = Scene(np.zeros((64, 64, 3), np.uint8), np.zeros((64, 64), np.int16), np.zeros(1, np.int16), "plain")
    for points in (1, 3):
        asked = draw_questions(empty, 10, np.random.default_rng(0), points)
        assert (asked.targets == 0).all()
        batch = collate([empty], [asked], np.zeros((1, 2), np.int64))
        logits = torch.zeros(1, 10, 4, 16, 16, requires_grad=True)
        mask, iou, best = prompt_losses(logits, torch.full((1, 10, 4), 0.5), batch)
        assert mask.item() == 0
        assert iou.item() == 0.25
        assert best.isnan()


def test_truth_cells__count_every_other_pixel_of_wholes_and_parts():
    scene = square_scene()
    batch = collate([scene], [draw_questions(scene, 5, np.random.default_rng(0))], np.zeros((1, 2), np.int64))
    cells = truth_cells(batch, torch.zeros(1, dtype=torch.int64), torch.tensor([[2, 3]]))[0]
    whole = F.avg_pool2d(torch.from_numpy(scene.masks[1:3, 1::2, 1::2]).float(), 2)
    assert torch.equal(cells, whole)


def test_boxes_of__hold_parts_that_stick_out():
    owner = np.zeros((64, 64), np.int16)
    owner[10:20, 10:20] = 1
    owner[12:18, 20:40] = 2  # a part beside the rest of its whole
    scene = Scene(np.zeros((64, 64, 3), np.uint8), owner, np.array([0, 0, 1], np.int16), "plain")
    rng = np.random.default_rng(0)
    boxes = np.mean([boxes_of(scene, np.array([1, 2]), rng) for _ in range(200)], axis=0)
    assert np.allclose(boxes, [[10, 10, 40, 20], [20, 12, 40, 18]], atol=0.6)


def test_draw_questions__targets_are_what_the_points_ask_for_and_its_whole():
    scene = square_scene()
    for seed in range(12):
        q = draw_questions(scene, 20, np.random.default_rng(seed))
        asked = object_at(scene, q.points_xy[:, 0].astype(int))
        single = q.targets[q.pointed]
        assert np.array_equal(single[:, 0], asked)
        assert np.array_equal(single[:, 1], scene.parents[asked])
        assert q.boxes_xyxy is not None
        assert (q.boxes_xyxy >= 0).all()
        assert (q.boxes_xyxy <= 64).all()
        assert (q.targets[~q.pointed, 0] > 0).all()


@pytest.mark.parametrize(
    ("at", "reach_px", "asks_for"),
    [
        ((5, 5), 6, 0),  # 9 px from the corner of the nearest, across
        ((8, 12), 6, 1),  # 2 px beside an object
        ((8, 12), 1, 0),
        ((12, 12), 6, 1),  # on it
        ((33, 45), 6, 3),  # on a whole, 3 px beside its part
        ((33, 45), 2, 2),
        ((31, 31), 6, 2),  # the corner of the whole is nearer than the part, whose corner is 7 px away
        ((27, 15), 6, 4),  # between two: 3 px from one, 8 from the other
        ((19, 15), 6, 1),  # on an object, whose neighbour is no part of it
    ],
)
def test_object_at__by_hand(at, reach_px, asks_for):
    owner = np.zeros((64, 64), np.int16)
    owner[10:20, 10:20] = 1
    owner[32:60, 32:60] = 2
    owner[36:50, 36:50] = 3  # a part of it
    owner[10:20, 30:36] = 4
    scene = Scene(np.zeros((64, 64, 3), np.uint8), owner, np.array([0, 0, 0, 2, 0], np.int16), "plain")
    assert object_at(scene, np.array([at]), reach_px).tolist() == [asks_for]


def test_object_at__the_other_border_is_far_away_and_parts_of_parts_count():
    owner = np.zeros((64, 64), np.int16)
    owner[:, 60:] = 1
    owner[20:40, 10:50] = 2
    owner[30:40, 10:50] = 3  # a part of it, all but covered by
    owner[31:40, 10:50] = 4  # a part of that
    scene = Scene(np.zeros((64, 64, 3), np.uint8), owner, np.array([0, 0, 0, 2, 3], np.int16), "plain")
    points = np.array([[0, 0], [63, 10], [58, 63], [30, 25], [30, 24], [30, 30]])
    assert object_at(scene, points, 6).tolist() == [0, 1, 1, 3, 3, 4]
    owner[30] = 2  # the first part is gone, and what is left is a part of a part
    assert object_at(scene, points[3:4], 6).tolist() == [4]


def test_object_at__a_scene_without_objects_has_nothing_to_ask_for():
    empty = Scene(np.zeros((64, 64, 3), np.uint8), np.zeros((64, 64), np.int16), np.zeros(1, np.int16), "plain")
    assert object_at(empty, np.array([[0, 0], [63, 63]])).tolist() == [0, 0]


def test_prompt_losses__an_answer_is_taught_the_iou_with_what_was_asked_for_or_a_whole_of_it():
    """Four points, each answered with the masks of all objects; only the part's whole counts beside the part."""
    scene = square_scene()
    targets = np.array([[1, 0], [3, 0], [2, 0], [0, 0]])
    asked = Questions(np.zeros((4, 1, 2), np.float32), np.ones((4, 1), np.float32), None, targets, np.ones(4, bool))
    batch = collate([scene], [asked], np.zeros((1, 2), np.int64))
    cells = F.avg_pool2d(torch.from_numpy(scene.masks).float(), 4)  # (3, 16, 16)
    logits = torch.cat([torch.full((1, 16, 16), -9.0), 18 * cells - 9])[None, None].expand(1, 4, -1, -1, -1)
    assert asked_for(batch)[0].tolist() == [
        [True, False, False], [False, True, True], [False, True, False], [False, False, False],
    ]  # fmt: skip
    overlap = true_iou(logits, batch.owners, batch.family)[0]
    deserved = torch.zeros(4, 4)
    deserved[0, 1] = overlap[0, 1, 0]
    deserved[1, 2:] = torch.stack([overlap[1, 2, 1:].max(), overlap[1, 3, 1:].max()])
    deserved[2, 2:] = overlap[2, 2:, 1]
    assert deserved[1, 3] > 0.9 > deserved[2, 3] > 0.1  # a part, and the same for its whole
    for predicted, loss in ((deserved, 0.0), (deserved + 0.5, 0.25)):
        assert prompt_losses(logits, predicted[None], batch)[1].item() == pytest.approx(loss, abs=1e-6)


def test_draw_questions__of_several_points_the_first_lies_on_the_object():
    scene = square_scene()
    for seed in range(12):
        q = draw_questions(scene, 20, np.random.default_rng(seed), points=3)
        assert q.points_xy.shape == (20, 3, 2)
        assert not q.pointed.any()
        xy = q.points_xy.astype(int)
        under = scene.owner[xy[..., 1], xy[..., 0]]
        family = family_table(scene.parents)
        assert np.array_equal(q.labels.astype(bool), family[q.targets[:, :1], under])
        assert np.array_equal(under[:, 0], q.targets[:, 0])


def test_pixels_of__lie_on_their_objects():
    scene = square_scene()
    objects = np.array([1, 2, 3, 3, 1])
    xy = pixels_of(scene.owner.ravel(), 64, objects, np.random.default_rng(0))
    assert np.array_equal(scene.owner[xy[:, 1], xy[:, 0]], objects)


def test_check_on_scenes__counts_what_is_found_and_ranks_by_what_was_asked_for(monkeypatch):
    """Each point is answered with the masks of all three objects of the scene; what it did not ask for is predicted high."""
    scene = square_scene()
    cells = F.avg_pool2d(torch.from_numpy(scene.masks).float(), 4)
    logits = torch.cat([torch.full((1, 16, 16), -9.0), 18 * cells - 9])
    monkeypatch.setattr(checking, "held_out", lambda number, size_px: scene)

    def answered(high_where_asked, drawn=logits):
        def answer(sam, embedding, batch):
            shape = batch.targets.shape[:2]
            asked = asked_for(batch).float()
            predicted = torch.cat([torch.zeros(*shape, 1), (asked if high_where_asked else 1 - asked) * 0.9], dim=2)
            return drawn.expand(*shape, -1, -1, -1), predicted

        return answer

    found = {}
    for high in (True, False):
        monkeypatch.setattr(checking, "answer_batch", answered(high))
        found[high] = checking.check_on_scenes(build_bundled(), 1, 64)
    assert found[True]["recall_50"] == found[False]["recall_50"] == 1
    assert found[True]["best_of_three"] > 0.9
    assert found[True]["auroc"] == 1
    assert found[False]["auroc"] == 0  # the same masks: right, but not what was asked for
    assert (found[True]["high"], found[False]["high"]) == (1, 0)
    monkeypatch.setattr(checking, "answer_batch", answered(True, torch.full_like(logits, -9.0)))
    nothing = checking.check_on_scenes(build_bundled(), 1, 64)
    assert (nothing["recall_50"], nothing["auroc"], nothing["high"]) == (0, 0.5, 0)  # none is right: nothing to rank


@pytest.mark.parametrize("hw", [(16, 24), (1, 3)])
def test_twice__is_bilinear_interpolation(hw):
    x = torch.randn(3, 5, *hw, generator=torch.Generator().manual_seed(0))
    expected = torch.nn.functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
    assert torch.allclose(twice(x), expected, atol=1e-6)


def test_true_iou__of_the_truth_itself_and_of_half_of_it():
    scene = square_scene()
    logits = torch.full((1, 2, 16, 16), -9.0)
    logits[0, 0, 1:7, 1:7] = 9.0  # rows and columns 4 to 28: the first square
    logits[0, 1, 1:7, 1:4] = 9.0
    family = torch.from_numpy(family_table(scene.parents))
    overlap = true_iou(logits[None], torch.from_numpy(scene.owner)[None], family[None])[0, 0]
    assert overlap[0, 0] == pytest.approx(1.0, abs=0.1)
    assert overlap[1, 0] == pytest.approx(0.5, abs=0.1)
    assert (overlap[:, 1:] == 0).all()


def test_mask_losses__equal_their_plain_definition():
    torch.manual_seed(0)
    logits, truth = torch.randn(3, 4, 8, 8) * 4, torch.rand(3, 2, 8, 8)
    z, t = logits.flatten(2)[:, :, None], truth.flatten(2)[:, None]
    p = z.sigmoid()
    focal = ((p - t) ** 2 * (F.softplus(z) - z * t)).sum(-1) / (t.sum(-1) + 100)
    dice = 1 - (2 * (p * t).sum(-1) + 1) / ((p**2).sum(-1) + (t**2).sum(-1) + 1)
    assert torch.allclose(mask_losses(logits, truth), focal + dice, atol=1e-5)


def test_direction_to_middle__points_inwards():
    owner = torch.zeros(2, 8, 8, dtype=torch.int64)
    owner[1, 2:5, 2:7] = 1
    none, (x, y) = direction_to_middle(owner)
    assert not none.any()
    assert x[3, 2] > 0 > x[3, 6]
    assert y[2, 4] > 0 > y[4, 4]
    assert x[3, 4] == y[3, 4] == x[0, 0] == 0


def test_dense_loss__falls_when_the_answer_is_right():
    owner = torch.from_numpy(square_scene().owner)[None]
    wrong = torch.zeros(1, 12, 16, 16)
    right = wrong.clone()
    right[:, 0] = (owner[:, 1::4, 1::4] > 0).float() * 16 - 8
    assert dense_loss(right, owner, np.random.default_rng(0)) < dense_loss(wrong, owner, np.random.default_rng(0))
