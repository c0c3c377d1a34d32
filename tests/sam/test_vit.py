"""The ViT encoder in fused kernels is the published one but for rounding, in float32 and below it."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from random_sams import random_sam
from segment_anything.modeling import ImageEncoderViT

import workbench as wb
from workbench.sam import predict
from workbench.sam.vit import LoweredViT, is_published


def encoder(seed: int = 0, *, side: int = 6, heads: int = 3, relative: bool = True, absolute: bool = True):
    """Return a random ViT whose windows of 4 do not divide its grid, with weights large enough to matter."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        vit = ImageEncoderViT(
            img_size=16 * side, embed_dim=12 * heads, depth=4, num_heads=heads, out_chans=16, use_rel_pos=relative,
            use_abs_pos=absolute, window_size=4, global_attn_indexes=(1, 3), norm_layer=partial(torch.nn.LayerNorm, eps=1e-6),
        )  # fmt: skip
        for name, weight in vit.named_parameters():
            if "rel_pos" in name or name == "pos_embed":
                torch.nn.init.normal_(weight)
            if name.endswith("qkv.weight"):
                weight.data *= 3
    return vit.eval()


def pixels(side: int, n: int = 2) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).normal(0, 1, (n, 3, 16 * side, 16 * side)).astype(np.float32))


@pytest.mark.parametrize("side", [1, 4, 6])
@pytest.mark.parametrize("changes", [{}, {"relative": False}, {"absolute": False}, {"heads": 2}])
def test_lowered_vit__in_float32_equals_the_published_but_for_rounding(side, changes):
    vit, x = encoder(side=side, **changes), pixels(side)
    with torch.no_grad():
        expected, found = vit(x), LoweredViT(vit, torch.float32)(x)
    assert found.shape == expected.shape
    assert torch.allclose(found, expected, atol=2e-5)


def test_lowered_vit__relative_positions_matter_here():
    vit, x = encoder(), pixels(6)
    with torch.no_grad():
        before = vit(x)
        for block in vit.blocks:
            block.attn.rel_pos_w.zero_()
        assert (vit(x) - before).abs().max() > 0.1


def test_lowered_vit__interpolates_relative_positions_of_another_grid():
    vit = encoder(side=6)
    for block in vit.blocks:
        if not block.window_size:
            block.attn.rel_pos_h = torch.nn.Parameter(torch.randn(7, 12, generator=torch.Generator().manual_seed(1)))
    x = pixels(6)
    with torch.no_grad():
        assert torch.allclose(LoweredViT(vit, torch.float32)(x), vit(x), atol=2e-5)


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
def test_lowered_vit__rounds_no_worse_than_autocast(kind):
    vit, x = encoder(), pixels(6, n=4)
    with torch.no_grad():
        exact, found = vit(x), LoweredViT(vit, kind)(x)
        with torch.autocast("cpu", dtype=kind):
            cast = vit(x).float()
    assert found.dtype == torch.float32
    error, of_autocast = ((y - exact).square().mean().sqrt() for y in (found, cast))
    assert 0 < error < 1.1 * of_autocast


def test_lowered_vit__is_a_copy():
    vit = encoder()
    given = {name: value.clone() for name, value in vit.state_dict().items()}
    low = LoweredViT(vit, torch.bfloat16)
    assert {p.dtype for p in vit.parameters()} == {torch.float32}
    assert all(torch.equal(value, given[name]) for name, value in vit.state_dict().items())
    assert not any(p.requires_grad for p in low.parameters())
    assert low.encoder.blocks[0].attn.qkv.weight.dtype == low.encoder.blocks[0].mlp.lin1.weight.dtype == torch.bfloat16
    assert low.encoder.neck[0].weight.dtype == low.encoder.blocks[0].norm1.weight.dtype == torch.float32


def test_predictor__uses_it_below_float32_where_it_pays(monkeypatch):
    sam = random_sam(0)
    assert wb.load_sam(sam, dtype="bfloat16")._encoder is sam.image_encoder
    monkeypatch.setattr(predict, "_has_fused_attention", lambda device: True)
    image = np.random.default_rng(1).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    exact, low = wb.load_sam(sam), wb.load_sam(sam, dtype="bfloat16")
    assert exact._encoder is sam.image_encoder
    assert isinstance(low._encoder, LoweredViT)
    assert low.model.image_encoder is sam.image_encoder
    features = low.embed(image).features
    with torch.autocast("cpu", dtype=torch.bfloat16):  # somebody else's
        assert torch.equal(wb.load_sam(sam, dtype="bfloat16").embed(image).features, features)
    assert torch.allclose(features, exact.embed(image).features, atol=0.1)


def test_is_published__not_of_the_bundled_nor_of_somebody_elses_attention():
    vit = encoder()
    assert is_published(vit)
    assert not is_published(wb.load_sam("bundled", device="cpu").model.image_encoder)

    class Other(type(vit.blocks[0].attn)):
        pass

    vit.blocks[0].attn.__class__ = Other
    assert not is_published(vit)


def test_is_published__not_with_an_adapter_a_hook_or_another_forward():
    class Adapted(torch.nn.Module):
        def __init__(self, linear):
            super().__init__()
            self.linear = linear

        def forward(self, x):
            return self.linear(x)

    adapted, hooked, patched = encoder(), encoder(), encoder()
    adapted.blocks[1].attn.qkv = Adapted(adapted.blocks[1].attn.qkv)
    hooked.blocks[0].register_forward_hook(lambda *_: None)
    patched.forward = lambda x: x
    assert not any(is_published(vit) for vit in (adapted, hooked, patched))
