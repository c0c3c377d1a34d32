"""The transformers adapter on small random SAM, SAM-HQ and SAM 2: against the models' own forward and processors."""

from __future__ import annotations

import os

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRANSFORMERS_OFFLINE"] = "1"

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from workbench.sam.cache import EmbeddingCache
from workbench.sam.checkpoints import CheckpointError
from workbench.sam.hf import HFSegmenter
from workbench.sam.load import load_sam
from workbench.sam.segmenter import Segmenter

transformers = pytest.importorskip("transformers", reason='pip install "sam-workbench[transformers]"')

FAMILIES = ["sam", "sam_hq", "sam2"]
SIDE, WIDTH = 64, 32
IMAGE = np.random.default_rng(0).integers(0, 256, (45, 80, 3), dtype=np.uint8)
POINTS = np.array([[[10.0, 20.0]], [[70.0, 5.0]], [[40.0, 40.0]]])
LABELS = np.ones((3, 1), dtype=int)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Small models run faster on one thread; much so where many tests share few cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def small_model(family: str, seed: int = 0) -> Any:
    """Return a random model of 64 px input whose parts are as small as its config allows."""
    prompt = {"hidden_size": WIDTH, "image_size": SIDE, "patch_size": 16}
    decoder = {"hidden_size": WIDTH, "mlp_dim": 32, "num_attention_heads": 2, "iou_head_hidden_dim": 16}
    if family == "sam2":
        backbone = {
            "hidden_size": 8,
            "image_size": [SIDE, SIDE],
            "blocks_per_stage": [1, 1, 2, 1],
            "embed_dim_per_stage": [8, 16, 32, 64],
            "num_attention_heads_per_stage": [1, 1, 2, 2],
            "window_size_per_stage": [4, 4, 4, 2],
            "global_attention_blocks": [3],
        }
        vision = {
            "backbone_config": {"model_type": "sam2_hiera_det_model", **backbone},
            "backbone_channel_list": [64, 32, 16, 8],
            "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
            "fpn_hidden_size": WIDTH,
        }
        vision = transformers.Sam2VisionConfig(**vision)
    else:
        vision = {
            "hidden_size": 32,
            "output_channels": WIDTH,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": SIDE,
            "window_size": 2,
            "global_attn_indexes": [1],
            "num_pos_feats": WIDTH // 2,
            "initializer_range": 0.1,
        }
    names = {"sam": "Sam", "sam_hq": "SamHQ", "sam2": "Sam2"}
    if family == "sam_hq":
        decoder["vit_dim"] = 32
    config = getattr(transformers, f"{names[family]}Config")(
        vision_config=vision, prompt_encoder_config=prompt, mask_decoder_config=decoder
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = getattr(transformers, f"{names[family]}Model")(config)
        for parameter in model.mask_decoder.parameters():  # louder, so that prompts show
            parameter.data += 0.1 * torch.randn_like(parameter)
    return model.eval()


@pytest.mark.parametrize("multimask", [True, False])
@pytest.mark.parametrize("family", FAMILIES)
def test_hf__shapes_and_types(family: str, multimask: bool) -> None:
    ours: Segmenter = HFSegmenter(small_model(family))
    embedding = ours.embed(IMAGE)
    logits, predicted_iou = ours.decode(embedding, POINTS, LABELS, multimask=multimask)
    m = 3 if multimask else 1
    assert logits.shape == (3, m, 16, 16)
    assert predicted_iou.shape == (3, m)
    assert logits.dtype == predicted_iou.dtype == torch.float32
    assert ours.upscale(logits, embedding).shape == (3, m, 45, 80)
    assert embedding.input_hw == ((64, 64) if family == "sam2" else (36, 64))
    assert ours.model_id.startswith(f"{family}-")
    empty, _ = ours.decode(embedding, POINTS[:0], LABELS[:0], multimask=multimask)
    assert ours.upscale(empty, embedding).shape == (0, m, 45, 80)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("prompts", ["points", "boxes", "both"])
def test_hf__equals_the_model_and_its_processor(family: str, prompts: str) -> None:
    model = small_model(family)
    boxes = np.array([[5.0, 5, 60, 40], [0, 0, 80, 45], [30, 10, 50, 20]])
    given: dict[str, Any] = {}
    ours: dict[str, Any] = {}
    if prompts != "boxes":
        given |= {"input_points": [POINTS.tolist()], "input_labels": [LABELS.tolist()]}
        ours |= {"points_xy": POINTS, "labels": LABELS}
    if prompts != "points":
        given["input_boxes"] = [boxes.tolist()]
        ours["boxes_xyxy"] = boxes
    pixels = {"height": SIDE, "width": SIDE}
    if family == "sam2":
        processor = transformers.Sam2Processor(transformers.Sam2ImageProcessor(size=pixels), target_size=SIDE)
    else:
        images = transformers.SamImageProcessor(size={"longest_edge": SIDE}, pad_size=pixels)
        processor = {"sam": transformers.SamProcessor, "sam_hq": transformers.SamHQProcessor}[family](images)
    inputs = processor(images=IMAGE, return_tensors="pt", **given)
    with torch.no_grad():
        wanted = model(**{k: v for k, v in inputs.items() if k not in ("original_sizes", "reshaped_input_sizes")})
    sizes = [inputs["original_sizes"]] + ([] if family == "sam2" else [inputs["reshaped_input_sizes"]])
    masks = processor.post_process_masks(wanted.pred_masks, *sizes)[0]

    segmenter = HFSegmenter(model)
    embedding = segmenter.embed(IMAGE)
    logits, predicted_iou = segmenter.decode(embedding, **ours)
    torch.testing.assert_close(logits, wanted.pred_masks[0], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(predicted_iou, wanted.iou_scores[0], rtol=1e-5, atol=1e-6)
    assert torch.equal(segmenter.upscale(logits, embedding) > segmenter.mask_threshold, masks)
    assert masks.any()


@pytest.mark.parametrize("family", FAMILIES)
def test_hf__prompts_act(family: str) -> None:
    ours = HFSegmenter(small_model(family))
    embedding = ours.embed(IMAGE)
    first, _ = ours.decode(embedding, POINTS, LABELS)
    assert not torch.allclose(first[0], first[1])
    outside, _ = ours.decode(embedding, POINTS, 0 * LABELS)
    assert not torch.allclose(first, outside)
    earlier = torch.randn(3, 1, 16, 16, generator=torch.Generator().manual_seed(0)) * 5
    refined, _ = ours.decode(embedding, POINTS, LABELS, mask_logits=earlier)
    assert not torch.allclose(first, refined)
    # each prompt gets its own mask: alone it is answered as among others
    alone, _ = ours.decode(embedding, POINTS[1:2], LABELS[1:2], mask_logits=earlier[1:2])
    torch.testing.assert_close(alone[0], refined[1], rtol=1e-4, atol=1e-5)
    only_mask, _ = ours.decode(embedding, mask_logits=earlier)
    assert only_mask.shape == (3, 3, 16, 16)


@pytest.mark.parametrize("family", FAMILIES)
def test_hf__one_click_on_an_image_or_its_embedding(family: str) -> None:
    ours = HFSegmenter(small_model(family))
    by_image = ours.predict(IMAGE, POINTS[0], LABELS[0])
    by_embedding = ours.predict(ours.embed(IMAGE), POINTS[0], LABELS[0])
    assert by_image.masks.shape == (3, 45, 80)
    np.testing.assert_array_equal(by_image.low_res_logits, by_embedding.low_res_logits)


@pytest.mark.parametrize("family", FAMILIES)
def test_load_sam__takes_models_and_folders(family: str, tmp_path: Path) -> None:
    model = small_model(family)
    by_model = load_sam(model)
    model.save_pretrained(tmp_path / "saved")
    by_folder: Any = load_sam("transformers", checkpoint=tmp_path / "saved")
    assert by_model.model is model
    assert by_folder.model_id == by_model.model_id
    assert by_model.model_id != load_sam(small_model(family, seed=1)).model_id
    embedding = by_folder.embed(IMAGE)
    for ours, theirs in zip(embedding.features, by_model.embed(IMAGE).features, strict=True):
        assert torch.equal(ours, theirs)


def test_from_folder__reads_the_processor_beside_the_model(tmp_path: Path) -> None:
    small_model("sam").save_pretrained(tmp_path)
    plain = HFSegmenter.from_folder(tmp_path).embed(IMAGE)
    transformers.SamImageProcessor(image_mean=[0.0, 0.0, 0.0]).save_pretrained(tmp_path)
    shifted = HFSegmenter.from_folder(tmp_path).embed(IMAGE)
    assert not torch.equal(plain.features[0], shifted.features[0])


def test_from_folder__names_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"expected a folder with config\.json"):
        load_sam("transformers", checkpoint=tmp_path / "facebook" / "sam-vit-base")
    with pytest.raises(CheckpointError, match="give checkpoint="):
        load_sam("transformers")
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(CheckpointError, match="model_type, found something else"):
        HFSegmenter.from_folder(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(CheckpointError, match="expected model_type sam, sam_hq, sam2, sam2_video, found 'bert'"):
        HFSegmenter.from_folder(tmp_path)


def test_from_folder__no_pickle_no_truncated_file_no_random_weights(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    model = small_model("sam")
    model.save_pretrained(tmp_path)
    weights = tmp_path / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match=r"whole model\.safetensors of SamModel"):
        HFSegmenter.from_folder(tmp_path)
    weights.write_bytes(whole)
    tensors = load_file(weights)
    del tensors["mask_decoder.iou_token.weight"]
    save_file(tensors, weights, metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"1 missing or of another shape; first, mask_decoder\.iou_token\.weight"):
        HFSegmenter.from_folder(tmp_path)
    weights.unlink()
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"whole model\.safetensors of SamModel"):
        HFSegmenter.from_folder(tmp_path)


def test_hf__embeddings_are_kept_on_disk(tmp_path: Path) -> None:
    model = small_model("sam2")
    first = HFSegmenter(model, cache=EmbeddingCache(tmp_path)).embed(IMAGE)
    again = HFSegmenter(model, cache=EmbeddingCache(tmp_path))
    model.vision_encoder.register_forward_hook(lambda *_: pytest.fail("the image was encoded again"))
    for kept, fresh in zip(again.embed(IMAGE).features, first.features, strict=True):
        assert torch.equal(kept, fresh)


def test_hf__other_models_and_thin_images_are_refused() -> None:
    vision = transformers.SamVisionModel(small_model("sam").config.vision_config)
    with pytest.raises(ValueError, match="got SamVisionModel"):
        load_sam(vision)
    with pytest.raises(ValueError, match="too thin"):
        HFSegmenter(small_model("sam")).embed(np.zeros((1, 900, 3), np.uint8))


def test_hf__without_transformers_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "sam"}))
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ImportError, match=r'pip install "sam-workbench\[transformers\]"'):
        load_sam("transformers", checkpoint=tmp_path)
