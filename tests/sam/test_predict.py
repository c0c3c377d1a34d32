"""The predictor against segment_anything's own, its memory, its folder of embeddings, and threads."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from random_sams import random_sam
from segment_anything import SamPredictor
from segment_anything.modeling import Sam

from workbench.sam.cache import EmbeddingCache
from workbench.sam.predict import Predictor
from workbench.sam.segmenter import Embedding, Segmenter

SIZES_HW = [(48, 64), (33, 47), (1, 40), (40, 1), (64, 64), (150, 131), (7, 9)]


@pytest.fixture(autouse=True)
def one_thread(request: pytest.FixtureRequest) -> Iterator[None]:
    """Small models run faster on one thread; the official predictor is met on two, where torch runs other kernels."""
    before = torch.get_num_threads()
    torch.set_num_threads(2 if "official" in request.node.name else 1)
    yield
    torch.set_num_threads(before)


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Return an (H, W, 3) uint8 image of blobs: noise enlarged, so that resizing has something to smooth."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (height // 5 + 1, width // 5 + 1, 3), dtype=np.uint8)
    return np.ascontiguousarray(coarse.repeat(5, 0).repeat(5, 1)[:height, :width])


def small_sam(img_size: int = 64, width: int = 32, seed: int = 0) -> Sam:
    return random_sam(seed, input_px=img_size, width=width)


def predictor(**settings: object) -> Predictor:
    return Predictor(small_sam(), "small-0", **settings)  # type: ignore[arg-type]


def count_encodings(made: Predictor) -> list[int]:
    """Count the runs of the image encoder in a list of one number."""
    runs = [0]

    def note(*_: object) -> None:
        runs[0] += 1

    made.model.image_encoder.register_forward_hook(note)
    return runs


@pytest.mark.parametrize(
    ("size_hw", "img_size", "width"),
    [(size, 64, 32) for size in SIZES_HW] + [((90, 200), 128, 32), ((33, 47), 64, 256)],
)
def test_decode__equals_the_official_predictor_bit_for_bit(size_hw: tuple[int, int], img_size: int, width: int) -> None:
    sam, image = small_sam(img_size, width), noise(*size_hw)
    official, ours = SamPredictor(sam), Predictor(sam, "small-0")
    official.set_image(image)
    embedding = ours.embed(image)
    assert torch.equal(embedding.features, official.features)
    assert (embedding.size_hw, embedding.input_hw) == (size_hw, official.input_size)

    rng = np.random.default_rng(1)
    points = rng.uniform(0, 1, (4, 1, 2)) * size_hw[::-1]
    scaled = torch.as_tensor(official.transform.apply_coords(points, size_hw))  # float64, as in the mask generator
    labels = np.ones((4, 1), dtype=int)
    masks, iou, low = official.predict_torch(scaled, torch.as_tensor(labels, dtype=torch.int), return_logits=True)
    logits, predicted_iou = ours.decode(embedding, points, labels)
    assert torch.equal(logits, low)
    assert torch.equal(predicted_iou, iou)
    assert torch.equal(ours.upscale(logits, embedding), masks)
    assert logits.dtype == predicted_iou.dtype == torch.float32


@pytest.mark.parametrize("multimask", [True, False])
@pytest.mark.parametrize("prompts", ["points", "box", "points box", "mask", "points box mask"])
def test_predict__equals_the_official_predictor_for_every_kind_of_prompt(prompts: str, multimask: bool) -> None:
    sam, image = small_sam(), noise(51, 77)
    official, ours = SamPredictor(sam), Predictor(sam, "small-0")
    official.set_image(image)
    points = np.array([[10.3, 20.7], [60, 5]]) if "points" in prompts else None
    labels = np.array([1, 0]) if "points" in prompts else None
    box = np.array([3, 4, 50, 47]) if "box" in prompts else None
    earlier = np.random.default_rng(2).normal(0, 5, (1, 16, 16)).astype(np.float32) if "mask" in prompts else None
    masks, iou, low = official.predict(points, labels, box, earlier, multimask_output=multimask)
    answer = ours.predict(image, points, labels, box, earlier, multimask=multimask)
    np.testing.assert_array_equal(answer.masks, masks)
    np.testing.assert_array_equal(answer.predicted_iou, iou)
    np.testing.assert_array_equal(answer.low_res_logits, low)
    assert answer.masks.shape == (3 if multimask else 1, 51, 77)
    assert answer.masks.dtype == bool


def test_decode__boxes_and_masks_of_many_prompts_at_once() -> None:
    ours = predictor()
    embedding = ours.embed(noise(60, 40))
    boxes = np.array([[1, 2, 30, 40], [5, 5, 20, 50], [0, 0, 40, 60]])
    earlier, _ = ours.decode(embedding, boxes_xyxy=boxes, multimask=False)
    logits, predicted_iou = ours.decode(embedding, boxes_xyxy=boxes, mask_logits=earlier, multimask=False)
    assert logits.shape == (3, 1, 16, 16)
    assert predicted_iou.shape == (3, 1)
    assert not torch.equal(logits, earlier)
    single, _ = ours.decode(embedding, boxes_xyxy=boxes[1:2], mask_logits=earlier[1:2], multimask=False)
    torch.testing.assert_close(single[0], logits[1], rtol=1e-4, atol=1e-4)


def test_decode__padding_points_change_only_what_official_padding_does() -> None:
    ours = predictor()
    embedding = ours.embed(noise(64, 64))
    one, _ = ours.decode(embedding, np.array([[[30.0, 20.0]]]), np.array([[1]]))
    # the official encoder adds one padding point of its own where there is no box; a second one is another token
    padded, _ = ours.decode(embedding, np.array([[[30.0, 20.0], [0.0, 0.0]]]), np.array([[1, -1]]))
    moved, _ = ours.decode(embedding, np.array([[[30.0, 20.0], [9.0, 50.0]]]), np.array([[1, -1]]))
    assert torch.equal(padded, moved)
    assert not torch.equal(one, padded)


def test_decode__no_prompts_give_empty_answers() -> None:
    ours = predictor()
    embedding = ours.embed(noise(20, 30))
    logits, predicted_iou = ours.decode(embedding, np.zeros((0, 1, 2)), np.zeros((0, 1)))
    assert logits.shape == (0, 3, 16, 16)
    assert predicted_iou.shape == (0, 3)
    assert ours.upscale(logits, embedding).shape == (0, 3, 20, 30)
    assert ours.decode(embedding, boxes_xyxy=np.zeros((0, 4)), multimask=False)[0].shape == (0, 1, 16, 16)


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        ({}, "no prompt"),
        ({"points_xy": np.zeros((1, 1, 2))}, "labels come together"),
        ({"points_xy": np.zeros((4, 2)), "labels": np.zeros(4)}, r"points_xy: expected \(N, P, 2\), got \(4, 2\)"),
        ({"points_xy": np.zeros((4, 2, 2)), "labels": np.zeros((4, 1))}, r"labels: expected \(4, 2\), got \(4, 1\)"),
        ({"points_xy": np.zeros((1, 1, 2)), "labels": np.array([[7]])}, r"labels: .* got \[7\]"),
        ({"boxes_xyxy": np.zeros((2, 3))}, r"boxes_xyxy: expected \(N, 4\), got \(2, 3\)"),
        ({"mask_logits": torch.zeros(1, 1, 256, 256)}, r"mask_logits: expected \(N, 1, 16, 16\)"),
        ({"mask_logits": torch.zeros(2, 1, 16, 16), "boxes_xyxy": np.zeros((3, 4))}, "same N"),
    ],
)
def test_decode__prompts_that_do_not_fit_are_named(prompts: dict[str, object], message: str) -> None:
    ours = predictor()
    with pytest.raises(ValueError, match=message):
        ours.decode(ours.embed(noise(8, 8)), **prompts)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 3)),
        np.zeros((0, 4, 3), np.uint8),
        "x",
    ],
)
def test_embed__other_arrays_are_refused(image: np.ndarray) -> None:
    with pytest.raises(ValueError, match="image: expected"):
        predictor().embed(image)


def test_embed__a_thread_of_a_picture_keeps_one_pixel() -> None:
    ours = predictor()
    embedding = ours.embed(noise(1, 900))
    assert embedding.input_hw == (1, 64)
    assert ours.predict(embedding, np.array([[450, 0]]), np.array([1])).masks.shape == (3, 1, 900)


def test_embed__is_computed_once_for_equal_content() -> None:
    ours = predictor()
    runs, image = count_encodings(ours), noise(30, 40)
    first = ours.embed(image)
    assert ours.embed(image.copy()) is first
    ours.predict(image, np.array([[3, 4]]), np.array([1]))
    assert runs == [1]
    changed = image.copy()
    changed[0, 0, 0] ^= 1
    assert ours.embed(changed) is not first
    assert runs == [2]


def test_embed__forgets_the_image_unused_longest() -> None:
    ours = predictor()
    runs, images = count_encodings(ours), [noise(8, 8, seed) for seed in range(9)]
    for image in images:
        ours.embed(image)
    ours.embed(images[1])
    assert runs == [9]
    ours.embed(images[0])
    assert runs == [10]


def test_embed__bfloat16_encoder_leaves_the_decoder_in_float32() -> None:
    exact, half = predictor(), predictor(dtype=torch.bfloat16)
    image = noise(50, 50)
    rounded = half.embed(image)
    assert rounded.features.dtype == torch.float32
    assert not torch.equal(rounded.features, exact.embed(image).features)
    torch.testing.assert_close(rounded.features, exact.embed(image).features, rtol=0.1, atol=0.1)
    points, labels = np.array([[[5.0, 6.0]]]), np.array([[1]])
    same = Embedding(rounded.features, rounded.size_hw, rounded.input_hw)
    with torch.autocast("cpu", dtype=torch.bfloat16):  # somebody else's context must not reach the decoder
        logits, predicted_iou = half.decode(rounded, points, labels)
    assert torch.equal(logits, exact.decode(same, points, labels)[0])
    assert predicted_iou.dtype == torch.float32


def test_predictor__refuses_weights_that_changed() -> None:
    ours = predictor()
    embedding = ours.embed(noise(8, 8))
    with torch.no_grad():
        ours.model.mask_decoder.iou_token.weight.add_(1.0)
    with pytest.raises(RuntimeError, match=r"small-0 changed.*load_sam\(predictor.model\)"):
        ours.decode(embedding, boxes_xyxy=np.array([[0, 0, 4, 4]]))
    with pytest.raises(RuntimeError, match="small-0 changed"):
        ours.embed(noise(8, 8))


def test_embed__features_can_be_trained_on() -> None:
    ours = predictor()
    features = ours.embed(noise(8, 8)).features
    torch.nn.functional.conv2d(features, torch.ones(1, 32, 1, 1, requires_grad=True)).sum().backward()


def test_predictor__two_threads_get_their_own_answers() -> None:
    ours = predictor()
    images = [noise(40 + 3 * seed, 50, seed) for seed in range(12)]  # more than are kept
    click = (np.array([[20.0, 20.0]]), np.array([1]))
    alone = [Predictor(ours.model, "small-0").predict(image, *click) for image in images]
    wrong: list[str] = []

    def work(order: list[int]) -> None:
        for i in order:
            answer = ours.predict(images[i], *click)
            if answer.masks.shape != alone[i].masks.shape:
                wrong.append(f"image {i}: masks of another image")
            elif not np.allclose(answer.low_res_logits, alone[i].low_res_logits, atol=1e-4):
                wrong.append(f"image {i}: other logits")

    threads = [threading.Thread(target=work, args=(order,)) for order in (list(range(12)), list(range(11, -1, -1)))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


# ---- embeddings on disk -------------------------------------------------------------------------------------------


def test_cache__outlives_the_predictor(tmp_path: Path) -> None:
    image = noise(30, 20)
    first = predictor(cache=EmbeddingCache(tmp_path / "kept")).embed(image)
    again = predictor(cache=EmbeddingCache(tmp_path / "kept"))
    runs = count_encodings(again)
    second = again.embed(image)
    assert runs == [0]
    assert torch.equal(first.features, second.features)
    assert (second.size_hw, second.input_hw) == ((30, 20), first.input_hw)
    assert [path.suffix for path in (tmp_path / "kept").iterdir()] == [".safetensors"]


def test_cache__keeps_models_and_precisions_apart(tmp_path: Path) -> None:
    image, cache = noise(8, 8), EmbeddingCache(tmp_path)
    features = [
        Predictor(small_sam(seed=seed), f"small-{seed}", dtype=dtype, cache=cache).embed(image).features
        for seed, dtype in [(0, torch.float32), (1, torch.float32), (0, torch.bfloat16)]
    ]
    assert len(list(tmp_path.iterdir())) == 3
    assert not torch.equal(features[0], features[1])
    assert not torch.equal(features[0], features[2])


@pytest.mark.parametrize("damage", ["truncated", "empty", "one bit", "text", "another key"])
def test_cache__damaged_file_is_ignored_and_written_again(tmp_path: Path, damage: str) -> None:
    image, cache = noise(30, 20), EmbeddingCache(tmp_path)
    right = predictor(cache=cache).embed(image)
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[-9] ^= 16
    cache.put("other image", "other model", right)
    other = cache.path("other image", "other model").read_bytes()
    path.write_bytes(
        {
            "truncated": whole[:-50],
            "empty": b"",
            "one bit": bytes(flipped),
            "text": b"no tensors",
            "another key": other,
        }[damage]
    )
    again = predictor(cache=cache)
    runs = count_encodings(again)
    assert torch.equal(again.embed(image).features, right.features)
    assert runs == [1]
    assert path.read_bytes() == whole


def test_cache__stays_below_its_size_and_drops_the_oldest(tmp_path: Path) -> None:
    def embedding(value: float) -> Embedding:
        return Embedding(torch.full((1, 1000), value), (8, 8), (8, 8))

    EmbeddingCache(tmp_path).put("a", "m", embedding(0))
    size = EmbeddingCache(tmp_path).path("a", "m").stat().st_size
    cache = EmbeddingCache(tmp_path, max_bytes=3 * size + size // 2)
    for age, name in enumerate("abc"):
        cache.put(name, "m", embedding(age))
        os.utime(cache.path(name, "m"), (1000 + age, 1000 + age))
    assert cache.get("a", "m") is not None  # used: now the youngest
    others = [tmp_path / name for name in ("notes.txt", "weights.safetensors", ".weights.tmp")]
    for k, other in enumerate(others):
        other.write_bytes(b"not ours" * size)
        os.utime(other, (k, k))  # older than all
    cache.put("d", "m", embedding(9))
    assert {name for name in "abcd" if cache.get(name, "m")} == {"a", "c", "d"}
    assert all(other.exists() for other in others)
    EmbeddingCache(tmp_path, max_bytes=10).put("e", "m", embedding(1))
    assert cache.get("e", "m") is None


def test_cache__lists_of_tensors_come_back_in_order(tmp_path: Path) -> None:
    parts = [torch.full((2,), float(i)) for i in range(11)]
    cache = EmbeddingCache(tmp_path)
    cache.put("a", "m", Embedding(parts, (3, 4), (5, 6)))
    found = cache.get("a", "m")
    assert found is not None
    assert [float(part[0]) for part in found.features] == list(range(11))


def test_cache__folder_that_cannot_be_written_costs_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("in the way")
    embedding = predictor(cache=EmbeddingCache(tmp_path / "file")).embed(noise(8, 8))
    assert embedding.features.shape == (1, 32, 4, 4)
    assert "not kept on disk" in caplog.text


def test_cache__size_must_be_positive(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="max_bytes: expected more than 0, got 0"):
        EmbeddingCache(tmp_path, max_bytes=0)


def test_predictor__is_a_segmenter() -> None:
    made: Segmenter = predictor()
    assert made.mask_threshold == 0.0
    assert made.model_id == "small-0"
