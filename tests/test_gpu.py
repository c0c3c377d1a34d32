"""On a GPU: the masks, clicks and scores of the CPU, batches that shrink to fit its memory, and training in bfloat16."""

from __future__ import annotations

import copy
import functools
from dataclasses import asdict, replace

import numpy as np
import pytest
import skimage.data
import torch
from disc_project import disc_project, draw_all
from PIL import Image
from random_sams import random_sam
from twice_bilinear import TwiceBilinear, embedding

import workbench as wb
from workbench.masks import rle
from workbench.propose import score
from workbench.propose.grid import Crop
from workbench.sam.bundled import load_bundled
from workbench.sam.cache import EmbeddingCache
from workbench.sam.lessons import make_batch
from workbench.sam.load import resolve_device
from workbench.sam.pretrain import Run, export
from workbench.sam.recipe import TOY
from workbench.sam.scenes import draw_scene
from workbench.sam.segmenter import Embedding
from workbench.sam.vit import LoweredViT
from workbench.train import fit as fitting
from workbench.train.lesson import Lesson
from workbench.train.sample import TrainImage
from workbench.train.settings import TrainConfig

DEVICE = "cuda"

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU that torch reaches by CUDA")

CONFIG = wb.preset("bundled").propose.replace(points_per_side=16, crop_n_layers=0, jitter_prompts=4)
COINS_HW = (303, 384)
TRAIN = TrainConfig(steps=24, views=2, prompts=16, check_every=12, held_out=0.25, learning_rate=1e-3, average=0.9)


def photograph(name: str) -> np.ndarray:
    """Return a photograph of scikit-image, (H, W, 3) uint8."""
    image = getattr(skimage.data, name)()
    return np.ascontiguousarray(image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2))


def model(device: str = DEVICE, dtype: str = "float32", **settings: object) -> wb.sam.predict.Predictor:
    return wb.load_sam("bundled", device=device, dtype=dtype, **settings)  # type: ignore[call-overload]


@functools.cache
def on_cpu(name: str) -> wb.Proposals:
    """Return what the CPU proposes on a photograph."""
    return wb.propose(photograph(name), model("cpu"), CONFIG)


def found_again(expected: wb.Proposals, found: wb.Proposals, least_iou: float) -> float:
    """Return the share of masks that the other side has too, of the side on which it is less."""
    size_hw = (int(expected.sizes_hw[0, 0]), int(expected.sizes_hw[0, 1]))
    overlap = rle.iou_matrix(expected.rles.tolist(), found.rles.tolist(), size_hw)
    return float(min((overlap.max(axis=axis) >= least_iou).mean() for axis in (0, 1)))


def weights(sam: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.cpu() for name, tensor in sam.state_dict().items()}


# ---- where models run -------------------------------------------------------------------------------------------------


def test_resolve_device__auto_is_the_gpu() -> None:
    assert resolve_device("auto").type == DEVICE
    sam = wb.load_sam()
    assert next(sam.model.parameters()).device.type == DEVICE
    if torch.cuda.is_bf16_supported(including_emulation=False):
        assert sam.dtype == torch.bfloat16


def test_model_id__is_the_same_on_every_device() -> None:
    assert model().model_id == model("cpu").model_id


# ---- proposing --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["coffee", "coins"])
def test_propose__finds_the_masks_of_the_cpu(name: str) -> None:
    expected, found = on_cpu(name), wb.propose(photograph(name), model(), CONFIG)
    assert len(expected) > 30
    assert abs(len(found) / len(expected) - 1) < 0.03
    assert found_again(expected, found, 0.95) > 0.97
    for column in ("predicted_iou", "stability_score", "hypothesis_spread"):
        assert abs(np.mean(getattr(found, column)) - np.mean(getattr(expected, column))) < 0.01
    for column in ("jitter_stability", "jitter_iou"):  # moves are drawn by the mask's id, so by every bit of it
        ours, theirs = getattr(found, column), getattr(expected, column)
        assert np.isfinite(ours).any()
        assert abs(np.nanmean(ours) - np.nanmean(theirs)) < 0.05


@pytest.mark.parametrize(
    "changes",
    [
        {"decoder": "original"},
        {"crop_n_layers": 1, "pool": "distinct", "nms": "mask"},
        {"pool": "distinct", "refine": True},
    ],
)
def test_propose__other_ways_find_the_masks_of_the_cpu(changes: dict[str, object]) -> None:
    config = CONFIG.replace(points_per_side=8, **changes)
    expected, found = (wb.propose(photograph("coins"), model(device), config) for device in ("cpu", DEVICE))
    assert len(expected) > 20
    assert found_again(expected, found, 0.95) > 0.95


def test_propose__bfloat16_finds_most_of_them() -> None:
    sam = model(dtype="bfloat16")
    assert sam._grid_decoder.iou_token.weight.dtype == torch.bfloat16
    assert sam.model.mask_decoder.iou_token.weight.dtype == torch.float32
    expected, found = on_cpu("coins"), wb.propose(photograph("coins"), sam, CONFIG)
    assert abs(len(found) / len(expected) - 1) < 0.1
    assert found_again(expected, found, 0.8) > 0.8
    assert len(np.unique(found.predicted_iou)) > 0.9 * len(found)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_embed__of_a_vit_in_fused_attention_is_the_cpus_but_for_rounding(dtype: str) -> None:
    sam, image = random_sam(0), photograph("coins")
    expected = wb.load_sam(copy.deepcopy(sam), device="cpu").embed(image).features
    low = wb.load_sam(sam, device=DEVICE, dtype=dtype)  # type: ignore[call-overload]
    assert isinstance(low._encoder, LoweredViT)
    assert torch.allclose(low.embed(image).features.cpu(), expected, atol=0.1)


def test_project__proposes_in_batches_as_on_the_cpu(tmp_path) -> None:
    names = ["coffee", "coins", "chelsea"]
    (tmp_path / "images").mkdir()
    for name in names:
        Image.fromarray(photograph(name)).save(tmp_path / "images" / f"{name}.png")
    with wb.Project.create(tmp_path / "p.wb", images=str(tmp_path / "images")) as project:
        summary = project.propose(model(), CONFIG.replace(images_per_batch=3), progress=False)
        assert (summary.done, summary.failures) == (3, {})
        image_ids = dict(zip(project.images()["path"], project.images()["image_id"], strict=True))
        stored = project.proposals()
    for name in names[:2]:
        rows = stored.select(np.flatnonzero(stored.image_id == image_ids[f"{name}.png"]))
        assert found_again(on_cpu(name), rows, 0.95) > 0.97


def test_propose__batches_shrink_until_they_fit(caplog) -> None:
    sam, image = model(), photograph("coins")
    sam.embed(image)  # what the encoder needs is not halved
    torch.cuda.empty_cache()
    room = torch.cuda.memory_reserved() + 400 * 2**20
    torch.cuda.set_per_process_memory_fraction(room / torch.cuda.get_device_properties(0).total_memory)
    try:
        found = wb.propose(image, sam, CONFIG.replace(points_per_batch=4096, points_per_side=32, jitter_prompts=0))
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert "out of memory: going on with batches of" in caplog.text
    expected = wb.propose(image, sam, CONFIG.replace(points_per_side=32, jitter_prompts=0))
    assert abs(len(found) / len(expected) - 1) < 0.03
    assert found_again(expected, found, 0.95) > 0.97


# ---- scores -----------------------------------------------------------------------------------------------------------


class AsTheyAre:
    """A segmenter whose low-resolution logits are already at the size of the image."""

    model_id = "as they are"
    mask_threshold = 0.0

    def upscale(self, logits: torch.Tensor, embedding: Embedding) -> torch.Tensor:
        return logits


def blobs(n: int, size_hw: tuple[int, int]) -> torch.Tensor:
    """Return (n, h, w) smooth logits, the first of an empty mask, the second of a full one."""
    coarse = torch.randn(n, 1, 9, 9, generator=torch.Generator().manual_seed(0)) * 4
    logits = torch.nn.functional.interpolate(coarse, size_hw, mode="bicubic")[:, 0]
    logits[0], logits[1] = -9, 9
    return logits


def scored(segmenter: object, place: Embedding, logits: torch.Tensor, size_hw: tuple[int, int]) -> score.Scored:
    config = wb.ProposeConfig(stability_floor=0.6)
    return score.score_masks(segmenter, place, logits, Crop((0, 0, *size_hw[::-1]), 0), size_hw, config)  # type: ignore[arg-type]


@pytest.mark.parametrize("size_hw", [(151, 203), (1, 200), (640, 480)])
def test_score_masks__of_the_same_logits_is_the_same_to_the_bit(size_hw: tuple[int, int]) -> None:
    logits, place = blobs(40, size_hw), Embedding(None, size_hw, size_hw)
    expected, found = (scored(AsTheyAre(), place, logits.to(device), size_hw) for device in ("cpu", DEVICE))
    assert len(expected.index) > 5
    for column in ("index", "stability_score", "area_px", "boxes_xyxy"):
        assert getattr(found, column).tobytes() == getattr(expected, column).tobytes()
        assert getattr(found, column).dtype == getattr(expected, column).dtype
    assert found.rles == expected.rles


def test_score_masks__enlarged_there_differs_by_few_pixels() -> None:
    size_hw = (150, 203)
    logits = blobs(40, (32, 32))
    expected, found = (
        scored(TwiceBilinear(), embedding(size_hw), logits.to(device), size_hw) for device in ("cpu", DEVICE)
    )
    assert found.index.tolist() == expected.index.tolist()
    assert np.abs(found.area_px - expected.area_px).max() <= 3
    assert np.allclose(found.stability_score, expected.stability_score, atol=1e-3)


# ---- clicks -----------------------------------------------------------------------------------------------------------

POINTS, LABELS, BOX = np.array([[110.0, 70.0], [330.0, 250.0]]), np.array([1, 0]), np.array([80.0, 40.0, 200.0, 160.0])


@pytest.mark.parametrize("prompts", ["points", "box", "both", "again"])
def test_predict__answers_as_the_cpu_does(prompts: str) -> None:
    image, answers = photograph("coins"), []
    for device in ("cpu", DEVICE):
        sam = model(device)
        points = (POINTS, LABELS) if prompts != "box" else (None, None)
        answer = sam.predict(image, *points, BOX if prompts in ("box", "both") else None)
        if prompts == "again":
            answer = sam.predict(image, *points, mask_logits=answer.low_res_logits[0], multimask=False)
        answers.append(answer)
    expected, found = answers
    assert found.masks.shape == expected.masks.shape
    assert isinstance(found.low_res_logits, np.ndarray)
    assert np.allclose(found.predicted_iou, expected.predicted_iou, atol=0.02)
    either = (found.masks | expected.masks).sum(axis=(1, 2))
    assert either.any()
    assert ((found.masks & expected.masks).sum(axis=(1, 2)) >= 0.97 * either).all()


def test_cache__embedding_made_there_is_read_everywhere(tmp_path) -> None:
    image, cache = photograph("coins"), EmbeddingCache(tmp_path)
    made = model(cache=cache).embed(image).features
    for device in (DEVICE, "cpu"):
        kept = model(device, cache=cache).embed(image).features
        assert kept.device.type == device
        assert torch.equal(kept.cpu(), made.cpu())


# ---- training ---------------------------------------------------------------------------------------------------------


def train_images(count: int) -> list[TrainImage]:
    """Return dark squares on a noisy ground, each with a bright part that is none of the masks."""
    found = []
    for seed in range(count):
        rng = np.random.default_rng(seed)
        pixels, masks = rng.integers(90, 190, (160, 200, 3), dtype=np.uint8), np.zeros((6, 160, 200), bool)
        for k, mask in enumerate(masks):
            y, x = 8 + 75 * (k // 3) + int(rng.integers(20)), 8 + 62 * (k % 3) + int(rng.integers(15))
            mask[y : y + 40, x : x + 35] = True
            pixels[y : y + 40, x : x + 35] //= 2
            pixels[y + 10 : y + 25, x + 10 : x + 25] = 230
        found.append(TrainImage(f"squares{seed}", lambda pixels=pixels: pixels, (160, 200), rle.encode(masks)))
    return found


@pytest.mark.parametrize("parts", ["decoder", "decoder+encoder"])
def test_fit__lowers_the_loss_in_bfloat16(parts: str, monkeypatch) -> None:
    sam = model().model
    before, seen, embed = weights(sam), [], Lesson.embed

    def noted(self: Lesson, view: object) -> torch.Tensor:
        hook = self.sam.image_encoder.register_forward_hook(lambda *_: seen.append(torch.is_autocast_enabled(DEVICE)))
        try:
            return embed(self, view)  # type: ignore[arg-type]
        finally:
            hook.remove()

    monkeypatch.setattr(Lesson, "embed", noted)
    fitted = fitting.fit(sam, train_images(6), TRAIN.replace(parts=parts))
    assert fitted.curve[-1]["loss"] < 0.9 * fitted.curve[0]["loss"]
    after = weights(fitted.sam)
    assert all(torch.isfinite(tensor).all() for tensor in after.values())
    assert next(fitted.sam.parameters()).dtype == torch.float32
    changed = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert ("image_encoder" in changed) == (parts == "decoder+encoder")
    assert all(torch.equal(value, before[name]) for name, value in weights(sam).items())
    assert set(seen) == {torch.cuda.is_bf16_supported(including_emulation=False)}


def test_fit__a_state_is_taken_up_where_the_optimiser_expects_it(tmp_path) -> None:
    sam, images = model().model, train_images(4)
    run = fitting.Fit(sam, images, TRAIN)
    run.train_step()
    run.save(tmp_path / fitting.STATE)
    again = fitting.Fit(sam, images, TRAIN)
    assert again.resume(tmp_path / fitting.STATE)
    kept, taken = (one.optimiser.state_dict()["state"] for one in (run, again))
    for i, values in kept.items():
        for name, value in values.items():
            assert taken[i][name].device == value.device, name
            assert torch.equal(taken[i][name], value), name
    again.train_step()
    assert again.step == 2
    assert all(torch.isfinite(p).all() for p in again.parameters.values())


def test_train__the_version_still_proposes(tmp_path) -> None:
    with disc_project(tmp_path, images=4) as project:
        floors = CONFIG.replace(points_per_side=12, jitter_prompts=0)
        project.propose(model(), floors, progress=False)
        draw_all(project, 4)
        few = TRAIN.replace(steps=8, check_every=4, learning_rate=1e-4)
        version = project.train(model(), few, floors=floors, progress=False)
        assert version.status == "ready"
        assert version.checks["after"] >= version.checks["before"] / 2 > 0
        trained = project.load_model(version.model_id, device=DEVICE)
        assert next(trained.model.parameters()).device.type == DEVICE
        assert project.load_model(version.model_id, device="cpu").model_id == version.model_id
        summary = project.propose(trained, floors, progress=False)
        assert (summary.done, summary.failures) == (4, {})
        assert summary.distinct > 0


# ---- pretraining ------------------------------------------------------------------------------------------------------


def test_pretrain__lowers_the_loss_and_its_weights_load_on_a_cpu(tmp_path) -> None:
    run = Run(replace(TOY, steps=1000, learning_rate=2e-3, device=DEVICE), tmp_path)
    scenes = [draw_scene(seed, 128) for seed in range(4)]
    losses = []
    for step in range(40):
        run.step = step + 50
        rng = np.random.default_rng(step)
        dense, mask, iou, _ = run.train_step(make_batch(scenes, 16, rng), True, rng).tolist()
        losses.append(dense + mask + iou)
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:3])
    figures = run.check()
    run.log({"recipe": asdict(run.recipe), "step": 0, "init_from": None})
    run.log({"step": 1, "spent_s": 1.0, **figures})
    export(tmp_path, tmp_path / "made.safetensors")
    assert all(torch.isfinite(p).all() for p in load_bundled(tmp_path / "made.safetensors").parameters())
