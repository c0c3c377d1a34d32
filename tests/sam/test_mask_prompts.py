"""Mask prompts of the bundled SAM: they are understood, and their training changes nothing else."""

from __future__ import annotations

import copy
import hashlib
import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from workbench.masks import rle
from workbench.sam.bundled import WEIGHTS, build_bundled, load_bundled
from workbench.sam.load import load_sam
from workbench.sam.mask_prompts import MaskRecipe, main, start_anew, train
from workbench.sam.scenes import VALIDATION_SEEDS, draw_scene

TOY = MaskRecipe(steps=6, window_px=128, prompts=8)


@pytest.fixture(scope="module")
def bundled():
    return load_bundled()


def test_train__moves_mask_prompts_alone(bundled):
    before = copy.deepcopy(bundled.state_dict())
    trained, curve = train(copy.deepcopy(bundled), TOY, every=2)
    changed = {name for name, value in trained.state_dict().items() if not torch.equal(value, before[name])}
    assert changed
    assert all(name.startswith("prompt_encoder.mask_downscaling.") for name in changed)
    assert [row["step"] for row in curve] == [2, 4, 6]
    assert all(np.isfinite(list(row.values())).all() for row in curve)


def test_train__the_same_seed_gives_the_same_weights(bundled):
    other = copy.deepcopy(bundled)
    with torch.no_grad():
        for value in other.prompt_encoder.mask_downscaling.parameters():
            value.mul_(3).add_(0.1)  # whatever mask prompts were before
    a, b = (train(m, TOY)[0].prompt_encoder.mask_downscaling.state_dict() for m in (copy.deepcopy(bundled), other))
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_start_anew__a_mask_is_as_good_as_none():
    torch.manual_seed(0)
    model = build_bundled()
    start_anew(model)
    sam = load_sam(model, device="cpu")
    embedding = sam.embed(np.random.default_rng(0).integers(0, 255, (96, 128, 3), dtype=np.uint8))
    point, label = np.array([[[40.0, 50.0]]]), np.ones((1, 1), np.int64)
    logits, predicted = sam.decode(embedding, point, label)
    again, seen = sam.decode(embedding, point, label, mask_logits=20 * torch.randn(1, 1, 128, 128))
    torch.testing.assert_close(again, logits)
    torch.testing.assert_close(seen, predicted)


def test_bundled__an_earlier_mask_says_what_is_meant():
    """On scenes never trained on: beside its point the mask of an object is kept, and told from others at that point."""
    sam = load_sam("bundled", device="cpu")
    with_mask, without = [], []
    for i in range(4):
        scene = draw_scene(VALIDATION_SEEDS + 500 + i, 256)
        embedding = sam.embed(scene.image)
        for mask in scene.masks[scene.masks.sum(axis=(1, 2)) > 150][:12]:
            ys, xs = np.nonzero(mask)
            point, label = np.array([[[xs[len(xs) // 2], ys[len(ys) // 2]]]], float), np.ones((1, 1), np.int64)
            truth = rle.encode(mask[None])
            side = torch.nn.functional.interpolate(
                torch.from_numpy(mask[None, None].astype(np.float32)), (128, 128), mode="area"
            )
            for earlier, found in ((None, without), (16 * side - 8, with_mask)):
                logits, _ = sam.decode(embedding, point, label, mask_logits=earlier, multimask=False)
                answer = (sam.upscale(logits, embedding)[0] > 0).numpy()
                found.append(rle.iou_matrix(truth, rle.encode(answer), mask.shape)[0, 0])
    assert len(with_mask) > 20
    assert np.mean(with_mask) > np.mean(without) + 0.02


def test_main__writes_weights_with_their_card(tmp_path):
    out = tmp_path / "w.safetensors"
    main(["--out", str(out), "--steps", "2", "--seed", "3"])
    card = json.loads(out.with_suffix(".json").read_text())
    assert card["mask_prompts"]["recipe"]["seed"] == 3
    assert card["data"] == "scenes drawn by workbench.sam.scenes; no photograph, no micrograph"
    before, after = load_bundled().state_dict(), load_bundled(out).state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    assert all("mask_downscaling" in name for name in changed)


def test_bundled__what_points_and_boxes_are_answered_is_what_was_measured():
    """The figures of `benchmarks.bundled_sam` are of these tensors; mask prompts came later."""
    tensors = {n: t for n, t in load_file(WEIGHTS).items() if "mask_downscaling" not in n}
    found = hashlib.sha256(b"".join(n.encode() + tensors[n].numpy().tobytes() for n in sorted(tensors)))
    assert found.hexdigest()[:16] == "21a164003726b7d5"
