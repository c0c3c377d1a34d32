"""The bundled SAM: its size, its file and card, and that the official predictor and generator run on it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from segment_anything import SamAutomaticMaskGenerator, SamPredictor
from segment_anything.modeling import Sam
from segment_anything.utils.transforms import ResizeLongestSide

from workbench.config import preset
from workbench.propose.run import propose
from workbench.sam.bundled import (
    BLOCKS,
    EARLIER_BLOCKS,
    WEIGHTS,
    blocks_of,
    build_bundled,
    load_bundled,
    standardise,
    write_bundled,
)
from workbench.sam.checkpoints import CheckpointError
from workbench.sam.load import load_sam
from workbench.sam.scenes import draw_scene


@pytest.fixture(scope="module")
def sam():
    return load_bundled()


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    for source in (WEIGHTS, WEIGHTS.with_suffix(".json")):
        shutil.copy(source, tmp_path / source.name)
    return tmp_path / WEIGHTS.name


def test_build_bundled__within_the_limits_of_a_package():
    built = build_bundled()
    assert sum(p.numel() for p in built.parameters()) <= 8_000_000
    assert WEIGHTS.stat().st_size <= 16_000_000
    assert built.image_encoder.img_size == 512
    assert not built.training


@pytest.mark.parametrize("blocks", [BLOCKS, *EARLIER_BLOCKS])
def test_blocks_of__weights_say_how_deep_they_are(blocks):
    assert blocks_of(build_bundled(blocks).state_dict()) == blocks


def test_blocks_of__what_never_came_is_expected_as_it_is_now():
    tensors = build_bundled().state_dict()
    without_last = [name for name in tensors if not name.startswith("image_encoder.stage16.14.")]
    many = [f"image_encoder.stage8.{k}.norm.weight" for k in range(1000)]
    for names in (without_last, many, ["image_encoder.stage16", "image_encoder.stage32.0.bias", ""], []):
        assert blocks_of(names) == BLOCKS


def test_load_bundled__weights_are_those_of_the_card(sam):
    card = json.loads(WEIGHTS.with_suffix(".json").read_text(encoding="utf-8"))
    assert card["bytes"] == WEIGHTS.stat().st_size
    assert card["parameters"] == sum(p.numel() for p in sam.parameters())
    assert all(t.dtype == torch.float32 for t in sam.parameters())
    assert {"architecture", "recipe", "seed", "steps", "hours", "figures", "bad_at", "next"} <= set(card)


def test_load_bundled__changed_file_is_refused(copied):
    data = bytearray(copied.read_bytes())
    data[len(data) // 2] ^= 1
    copied.write_bytes(bytes(data))
    with pytest.raises(ValueError, match=r"bundled\.safetensors: expected sha256 [0-9a-f]{64}"):
        load_bundled(copied)


def test_load_bundled__truncated_file_is_named_with_both_sizes(copied):
    size = copied.stat().st_size
    copied.write_bytes(copied.read_bytes()[: size // 2])
    with pytest.raises(ValueError, match=rf"bundled\.safetensors: .*\({size} bytes\), found .*\({size // 2} bytes\)"):
        load_bundled(copied)


def test_load_bundled__missing_files_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"bundled\.json: expected the card"):
        load_bundled(tmp_path / "bundled.safetensors")
    shutil.copy(WEIGHTS.with_suffix(".json"), tmp_path)
    with pytest.raises(FileNotFoundError, match=r"bundled\.safetensors: expected the bundled weights"):
        load_bundled(tmp_path / "bundled.safetensors")


def test_load_bundled__something_else_with_a_matching_hash(copied):
    import hashlib

    copied.write_bytes(b"not tensors")
    card = {"sha256": hashlib.sha256(b"not tensors").hexdigest(), "bytes": 11}
    copied.with_suffix(".json").write_text(json.dumps(card), encoding="utf-8")
    with pytest.raises(ValueError, match="expected a safetensors file"):
        load_bundled(copied)


def test_write_bundled__round_trip_in_half_precision(tmp_path):
    torch.manual_seed(3)
    built = build_bundled()
    path = tmp_path / "new" / "mine.safetensors"
    write_bundled(built.state_dict(), {"seed": 3}, path)
    loaded = load_bundled(path)
    for name, tensor in built.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor.half().float())
    assert [p.name for p in sorted(path.parent.iterdir())] == ["mine.json", "mine.safetensors"]


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"sha256": "00"}', "\udcff"])
def test_load_bundled__a_card_that_is_none_is_named(copied, text):
    copied.with_suffix(".json").write_text(text, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(ValueError, match=r"bundled\.json: expected the card of bundled\.safetensors"):
        load_bundled(copied)


def test_load_sam__weights_beside_their_card_are_those_of_the_card(copied):
    assert load_sam("bundled", checkpoint=copied).model_id == load_sam("bundled").model_id
    card = json.loads(copied.with_suffix(".json").read_text(encoding="utf-8"))
    copied.with_suffix(".json").write_text(json.dumps({**card, "sha256": "00"}), encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"expected sha256 00"):
        load_sam("bundled", checkpoint=copied)
    copied.with_suffix(".json").unlink()  # versions of a project have none
    assert load_sam("bundled", checkpoint=copied).model_id == load_sam("bundled").model_id


def test_load_bundled__draws_nothing_from_the_generator_of_the_user():
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    load_bundled()
    assert torch.equal(torch.rand(2), expected)


@pytest.mark.parametrize("name", ["w.json", "w.pt", "w"])
def test_write_bundled__refuses_a_name_beside_which_no_card_can_lie(tmp_path, sam, name):
    with pytest.raises(ValueError, match=r"expected a name that ends in \.safetensors"):
        write_bundled(sam.state_dict(), {}, tmp_path / name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("value", [float("nan"), 1e9])  # the second is none in half precision
def test_write_bundled__refuses_what_is_no_finite_number(tmp_path, sam, value):
    tensors = {**sam.state_dict(), "mask_decoder.iou_token.weight": torch.full((1, 96), value)}
    with pytest.raises(ValueError, match=r"expected finite numbers, found others in mask_decoder\.iou_token\.weight"):
        write_bundled(tensors, {}, tmp_path / "w.safetensors")


def test_write_bundled__refuses_other_tensors(tmp_path):
    with pytest.raises(ValueError, match="expected the tensors of the bundled architecture"):
        write_bundled({"weight": torch.zeros(2)}, {}, tmp_path / "x.safetensors")
    assert not (tmp_path / "x.safetensors").exists()


def test_encoder__embedding_of_a_frame_and_of_a_window(sam):
    with torch.inference_mode():
        assert sam.image_encoder(torch.zeros(1, 3, 512, 512)).shape == (1, 96, 32, 32)
        assert sam.image_encoder(torch.zeros(2, 3, 256, 128)).shape == (2, 96, 16, 8)


def test_standardise__padding_stays_out_and_scale_does_not_matter():
    torch.manual_seed(0)
    image = torch.randn(1, 3, 16, 16) + 2
    padded = torch.nn.functional.pad(image, (0, 16, 0, 16))
    assert torch.allclose(standardise(padded)[:, 3:, :16, :16], standardise(image)[:, 3:], atol=1e-5)
    assert (standardise(padded)[:, :, 16:] == 0).all()
    assert torch.allclose(standardise(image * 9)[:, 3:], standardise(image)[:, 3:], atol=0.1)


def test_predictor__answers_points_boxes_and_masks(sam):
    scene = draw_scene(2, 128, "plain")
    predictor = SamPredictor(sam)
    predictor.set_image(scene.image)
    masks, predicted, logits = predictor.predict(np.array([[64, 64]]), np.array([1]), multimask_output=True)
    assert masks.shape == (3, 128, 128)
    assert predicted.shape == (3,)
    assert logits.shape == (3, 128, 128)
    again, _, _ = predictor.predict(
        np.array([[64, 64], [5, 5]]), np.array([1, 0]), mask_input=logits[:1], multimask_output=False
    )
    boxed, _, _ = predictor.predict(box=np.array([20, 20, 90, 90]), multimask_output=False)
    assert again.shape == boxed.shape == (1, 128, 128)


def test_generator__same_image_same_proposals(sam):
    image = draw_scene(9, 192, "fluorescence").image
    runs = [
        SamAutomaticMaskGenerator(
            sam, points_per_side=8, pred_iou_thresh=0.3, stability_score_thresh=0.3, output_mode="uncompressed_rle"
        ).generate(image)
        for _ in range(2)
    ]
    assert runs[0] == runs[1]
    assert len(runs[0]) > 0


def test_propose__same_image_same_proposals_whoever_loads_the_weights():
    image, config = draw_scene(9, 192, "fluorescence").image, preset("bundled").propose.replace(points_per_side=6)
    first, second = (propose(image, load_sam("bundled"), config) for _ in range(2))
    assert len(first) > 0
    assert first.to_frame().equals(second.to_frame())


@pytest.mark.parametrize("size", [(512, 512), (384, 512), (512, 100), (300, 200)])
def test_postprocess_masks__is_bit_for_bit_that_of_the_published_model(size):
    sam, logits = build_bundled(), torch.randn(2, 3, 128, 128)
    inside = ResizeLongestSide.get_preprocess_shape(*size, sam.image_encoder.img_size)
    found = sam.postprocess_masks(logits, inside, size)
    assert found.shape == (2, 3, *size)
    assert torch.equal(found, Sam.postprocess_masks(sam, logits, inside, size))
