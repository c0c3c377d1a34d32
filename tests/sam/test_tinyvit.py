"""MobileSAM's encoder: tensor names and shapes of the public checkpoint, its attention, and other input sizes."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from segment_anything import SamAutomaticMaskGenerator

from workbench.sam.predict import Predictor
from workbench.sam.tinyvit import TinyViT, WindowAttention, WindowBlock, build_mobile_sam

# as the code that published mobile_sam.pt builds them (ChaoningZhang/MobileSAM, mobile_sam/modeling/tiny_vit_sam.py)
FACTS = {
    "image_encoder.patch_embed.seq.0.c.weight": (32, 3, 3, 3),
    "image_encoder.patch_embed.seq.2.bn.running_var": (64,),
    "image_encoder.layers.0.blocks.1.conv2.c.weight": (256, 1, 3, 3),
    "image_encoder.layers.0.blocks.0.conv3.bn.num_batches_tracked": (),
    "image_encoder.layers.0.downsample.conv1.c.weight": (128, 64, 1, 1),
    "image_encoder.layers.1.blocks.0.attn.attention_biases": (4, 49),
    "image_encoder.layers.1.blocks.1.attn.qkv.weight": (384, 128),
    "image_encoder.layers.2.blocks.5.attn.attention_biases": (5, 196),
    "image_encoder.layers.2.blocks.0.attn.norm.bias": (160,),
    "image_encoder.layers.2.blocks.0.mlp.fc1.weight": (640, 160),
    "image_encoder.layers.2.downsample.conv2.c.weight": (320, 1, 3, 3),
    "image_encoder.layers.3.blocks.0.attn.attention_biases": (10, 49),
    "image_encoder.layers.3.blocks.1.local_conv.c.weight": (320, 1, 3, 3),
    "image_encoder.layers.3.blocks.1.mlp.norm.weight": (320,),
    "image_encoder.norm_head.weight": (320,),
    "image_encoder.head.weight": (1000, 320),
    "image_encoder.neck.0.weight": (256, 320, 1, 1),
    "image_encoder.neck.2.weight": (256, 256, 3, 3),
    "image_encoder.neck.3.bias": (256,),
    "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix": (2, 128),
    "mask_decoder.iou_prediction_head.layers.2.weight": (4, 256),
}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Small models run faster on one thread; much so where many tests share few cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def tiny(img_size: int = 64) -> TinyViT:
    torch.manual_seed(0)
    made = TinyViT(img_size, (8, 8, 16, 16), (1, 1, 2, 1), (1, 2, 2, 4), (3, 3, 4, 3), num_classes=2)
    return made.eval()


def test_mobile_sam__names_and_shapes_of_the_public_checkpoint() -> None:
    with torch.device("meta"):
        sam = build_mobile_sam()
    layout = {name: tuple(tensor.shape) for name, tensor in sam.state_dict().items()}
    assert {name: layout.get(name) for name in FACTS} == FACTS
    encoder = [name for name in layout if name.startswith("image_encoder.")]
    # 38 convolutions with batch norm, 10 window blocks of 13 tensors beside them, 3 + 3 of head and necks
    convolutions = 2 + 2 * 3 + 3 * 3 + 10
    assert len(encoder) == convolutions * 6 + 10 * 13 + 4 + 6
    numbers = sum(parameter.numel() for parameter in sam.parameters())
    assert numbers == 10_130_092  # 10.13 M, as its authors count


@pytest.mark.parametrize("img_size", [64, 112])
def test_tinyvit__embeds_at_stride_16(img_size: int) -> None:
    with torch.no_grad():
        embedding = tiny(img_size)(torch.randn(2, 3, img_size, img_size))
    assert embedding.shape == (2, 256, img_size // 16, img_size // 16)


def test_tinyvit__size_must_fit_the_stride() -> None:
    with pytest.raises(ValueError, match="multiple of 16, got 100"):
        TinyViT(img_size=100)


def test_window_attention__equals_the_sum_written_out() -> None:
    torch.manual_seed(0)
    window, heads, channels = 3, 2, 8
    attention = WindowAttention(channels, heads, window)
    torch.nn.init.normal_(attention.attention_biases)
    x = torch.randn(1, window * window, channels)
    with torch.no_grad():
        found = attention(x)[0]
        packed = attention.qkv(attention.norm(x))[0].view(window * window, heads, 3, channels // heads)
        answers = torch.zeros(window * window, heads, channels // heads)
        for head in range(heads):
            for i in range(window * window):
                scores = []
                for j in range(window * window):
                    rows, columns = abs(i // window - j // window), abs(i % window - j % window)
                    dot = float(packed[i, head, 0] @ packed[j, head, 1]) / math.sqrt(channels // heads)
                    scores.append(dot + float(attention.attention_biases[head, rows * window + columns]))
                weights = torch.softmax(torch.tensor(scores), 0)
                answers[i, head] = sum(w * packed[j, head, 2] for j, w in enumerate(weights))
        wanted = attention.proj(answers.reshape(window * window, channels))
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


def test_window_block__windows_are_apart_and_tokens_stay_in_place() -> None:
    torch.manual_seed(0)
    block = WindowBlock(8, 2, 3).eval()
    x = torch.randn(1, 8, 5, 7)  # neither is a multiple of 3
    changed = x.clone()
    changed[:, :, 4, 6] = torch.randn(8)  # in the window of rows 3-4, column 6
    with torch.no_grad():
        moved = (block._attend(x.permute(0, 2, 3, 1)) - block._attend(changed.permute(0, 2, 3, 1))).abs().sum(-1)[0]
    assert {(int(y), int(x)) for y, x in torch.nonzero(moved > 0)} == {(3, 6), (4, 6)}


def test_mobile_sam__runs_under_the_official_generator_and_the_predictor() -> None:
    sam = build_mobile_sam(tiny())
    image = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    generator = SamAutomaticMaskGenerator(
        sam, points_per_side=2, pred_iou_thresh=0.0, stability_score_thresh=0.0, box_nms_thresh=1.0
    )
    records = generator.generate(image)
    assert 0 < len(records) <= 12
    assert all(record["segmentation"].shape == (40, 60) for record in records)
    answer = Predictor(sam, "tiny").predict(image, np.array([[30, 20]]), np.array([1]))
    assert answer.masks.shape == (3, 40, 60)


def test_tinyvit__trains() -> None:
    encoder = tiny().train()
    encoder(torch.randn(2, 3, 64, 64)).square().mean().backward()
    still = {name for name, p in encoder.named_parameters() if p.grad is None}
    assert still == {"norm_head.weight", "norm_head.bias", "head.weight", "head.bias"}
