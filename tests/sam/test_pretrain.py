"""The training recipe at toy size: it runs, learns, stops and goes on, and asks what it says it asks."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from workbench.sam.asking import draw_questions, mask_losses, pixels_of, true_iou
from workbench.sam.bundled import build_bundled, load_bundled
from workbench.sam.checking import auroc
from workbench.sam.dense import dense_loss, direction_to_middle
from workbench.sam.pretrain import TOY, Recipe, Run, main, train
from workbench.sam.scenes import Scene, draw_scene
from workbench.sam.stream import VALIDATION_SEEDS, SceneStream
from workbench.sam.team import form


def square_scene() -> Scene:
    """Two squares of 24 px, the second with a part of 8 px inside."""
    owner = np.zeros((64, 64), np.int16)
    owner[4:28, 4:28] = 1
    owner[36:60, 36:60] = 2
    owner[40:48, 40:48] = 3
    return Scene(np.full((64, 64, 3), 90, np.uint8), owner, np.array([0, 0, 0, 2], np.int16), "plain")


def curve(folder) -> list[dict]:
    return [json.loads(line) for line in (folder / "curve.jsonl").read_text(encoding="utf-8").splitlines()]


def test_train__toy_run_learns_and_is_exported(tmp_path):
    recipe = replace(TOY, steps=24, dense_share=0.5, check_every=100)
    run = train(recipe, tmp_path)
    assert run.step == 24
    rows = curve(tmp_path)
    assert rows[0]["recipe"]["steps"] == 24
    assert {"recall_50", "recall_75", "auroc", "score"} <= set(rows[-1])
    main(["--out", str(tmp_path), "--export", str(tmp_path / "made.safetensors")])
    sam = load_bundled(tmp_path / "made.safetensors")
    assert all(torch.isfinite(p).all() for p in sam.parameters())


@pytest.mark.parametrize("prompts", [0, 8])
def test_train_step__lowers_the_loss_on_a_scene_it_sees_again_and_again(tmp_path, prompts):
    run = Run(replace(TOY, steps=1000, learning_rate=2e-3), tmp_path)
    scenes = [draw_scene(1, 64, "plain"), draw_scene(2, 64, "fluorescence")]
    losses = []
    for step in range(24):
        run.step = step + 50
        row = run.train_step(scenes, prompts, np.random.default_rng(step))
        losses.append(row["dense"] + row["mask"])
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:3])


def test_resume__goes_on_where_it_stopped(tmp_path):
    recipe = replace(TOY, steps=4, dense_share=0.5, check_every=100)
    whole = train(recipe, tmp_path / "whole")
    half = Run(recipe, tmp_path / "half")
    scenes = [draw_scene(1, 64)]
    half.train_step(scenes, 4, np.random.default_rng(0))
    half.step = 1
    half.save()
    again = Run(recipe, tmp_path / "half")
    again.resume()
    assert again.step == 1
    for run in (half, again):
        run.train_step(scenes, 4, np.random.default_rng(1))
    ours, theirs = half.sam.state_dict(), again.sam.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert train(recipe, tmp_path / "half", resume=True).step == whole.step


def test_resume__nothing_to_resume_is_said(tmp_path):
    with pytest.raises(FileNotFoundError, match="start without --resume"):
        train(TOY, tmp_path, resume=True)


def test_stream__two_readers_see_the_same_scenes_and_none_is_for_validation(tmp_path):
    with SceneStream(64, 7, 0, 4) as one, SceneStream(64, 7, 0, 4) as two:
        a = [s for i in range(4) for s in one.batch(np.random.default_rng(i), 3, 1)]
        b = [s for i in range(4) for s in two.batch(np.random.default_rng(i), 3, 1)]
        assert all(np.array_equal(x.image, y.image) for x, y in zip(a, b, strict=True))
        assert one.drawn == 3 + 3
        assert one.next_seed < VALIDATION_SEEDS
    assert Recipe().first_scene < VALIDATION_SEEDS


def test_draw_questions__targets_are_what_lies_under_the_points():
    scene = square_scene()
    for seed in range(12):
        q = draw_questions(scene, 20, np.random.default_rng(seed))
        if not q.pointed.any():
            assert (q.labels[:, 0] == 1).all()
            continue
        xy = q.points_xy[:, 0].astype(int)
        leaf = scene.owner[xy[:, 1], xy[:, 0]]
        single = q.targets[q.pointed]
        assert np.array_equal(single[:, 0], leaf)
        assert np.array_equal(single[:, 1], scene.parents[leaf])
        assert q.boxes_xyxy is not None
        assert (q.boxes_xyxy >= 0).all()
        assert (q.boxes_xyxy <= 64).all()
        assert (q.targets[~q.pointed, 0] > 0).all()


def test_draw_questions__a_scene_without_objects_gives_background_points():
    empty = Scene(np.zeros((64, 64, 3), np.uint8), np.zeros((64, 64), np.int16), np.zeros(1, np.int16), "plain")
    q = draw_questions(empty, 10, np.random.default_rng(0))
    assert (q.targets == 0).all()
    assert q.boxes_xyxy is None
    assert true_iou(torch.zeros(10, 4, 16, 16), empty).shape == (10, 4, 0)


def test_pixels_of__lie_on_their_objects():
    scene = square_scene()
    objects = np.array([1, 2, 3, 3, 1])
    xy = pixels_of(scene.owner.ravel(), 64, objects, np.random.default_rng(0))
    assert np.array_equal(scene.owner[xy[:, 1], xy[:, 0]], objects)


def test_true_iou__of_the_truth_itself_and_of_half_of_it():
    scene = square_scene()
    logits = torch.full((1, 2, 16, 16), -9.0)
    logits[0, 0, 1:7, 1:7] = 9.0  # rows and columns 4 to 28: the first square
    logits[0, 1, 1:7, 1:4] = 9.0
    overlap = true_iou(logits, scene)[0]
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
    owner = np.zeros((8, 8), np.int32)
    owner[2:5, 2:7] = 1
    x, y = direction_to_middle(owner)
    assert x[3, 2] > 0 > x[3, 6]
    assert y[2, 4] > 0 > y[4, 4]
    assert x[3, 4] == y[3, 4] == x[0, 0] == 0


def test_dense_loss__falls_when_the_answer_is_right():
    owner = square_scene().owner[None]
    wrong = torch.zeros(1, 12, 16, 16)
    right = wrong.clone()
    inside = torch.from_numpy((owner[:, 1::4, 1::4] > 0).astype(np.float32))
    right[:, 0] = inside * 16 - 8
    assert dense_loss(right, owner, np.random.default_rng(0)) < dense_loss(wrong, owner, np.random.default_rng(0))


def test_auroc__known_values():
    assert auroc(np.array([0.1, 0.2, 0.8, 0.9]), np.array([False, False, True, True])) == 1.0
    assert auroc(np.array([0.5, 0.5]), np.array([False, True])) == 0.5
    assert auroc(np.zeros(0), np.zeros(0, bool)) == 0.5


def test_team__alone_returns_its_own_clock():
    (alone,) = form(1, 4)
    assert alone.average(list(build_bundled().mask_decoder.iou_prediction_head.parameters()), 2.5) == 2.5
