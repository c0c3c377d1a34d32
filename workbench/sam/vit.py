"""SAM's ViT image encoder with its products in a lower precision: the same function, with its attention in fused kernels.

The encoder adds to the score of positions i and j what i says of j's row and what it says of j's column, and for that writes
all scores into memory; autocast then takes their softmax in float32. What i says of all rows and columns, appended to its
query, meets in the key of j a one at j's row and at j's column: then the sum is part of the product of query and key, and
attention needs no scores in memory and no mask. What layers add up, norms and neck stay in float32, as autocast has them.

Source of the function: facebookresearch/segment-anything, modeling/image_encoder.py; of the relative positions: Li et al.
2022, MViTv2, equation 4.
"""

from __future__ import annotations

from copy import deepcopy
from typing import NamedTuple, TypeGuard

import torch
from segment_anything.modeling import ImageEncoderViT
from segment_anything.modeling.common import LayerNorm2d, MLPBlock
from segment_anything.modeling.image_encoder import (
    Attention,
    Block,
    PatchEmbed,
    get_rel_pos,
    window_partition,
    window_unpartition,
)
from torch import Tensor, nn
from torch.nn import functional as F

_PARTS = {
    ImageEncoderViT, PatchEmbed, Block, Attention, MLPBlock, LayerNorm2d,
    nn.ModuleList, nn.Sequential, nn.Conv2d, nn.Linear, nn.LayerNorm, nn.GELU,
}  # fmt: skip
MULTIPLE = 8  # that fused kernels want of the width of a head


class LoweredViT(nn.Module):
    """A copy of an encoder: (B, 3, S, S) float32 to (B, C, S/16, S/16) float32, not to be trained.

    Parameters
    ----------
    encoder : of the published classes, see `is_published`
    kind : of its products, for example bfloat16
    """

    def __init__(self, encoder: ImageEncoderViT, kind: torch.dtype) -> None:
        super().__init__()
        self.kind, self.img_size = kind, encoder.img_size
        grid_hw = tuple(encoder.img_size // stride for stride in encoder.patch_embed.proj.stride)
        # in evaluation weights do not change: what is said of rows and columns is looked up once
        self.positions = [positions_of(block, grid_hw, kind) for block in encoder.blocks]
        lowered = [encoder.patch_embed, *(part for block in encoder.blocks for part in (block.attn, block.mlp))]
        # what a copy takes for a weight: so the encoder is never held twice as it is
        taken = {id(p): nn.Parameter(p.detach().to(kind)) for part in lowered for p in part.parameters()}
        self.encoder = deepcopy(encoder, taken).requires_grad_(False)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return the image embeddings."""
        x = self.encoder.patch_embed(pixels.to(self.kind)).float()
        if self.encoder.pos_embed is not None:
            x = x + self.encoder.pos_embed
        for block, positions in zip(self.encoder.blocks, self.positions, strict=True):
            x = x + self._attend(block, positions, block.norm1(x).to(self.kind))
            x = x + block.mlp(block.norm2(x).to(self.kind))
        embeddings: Tensor = self.encoder.neck(x.permute(0, 3, 1, 2))
        return embeddings

    def _attend(self, block: Block, positions: Positions, x: Tensor) -> Tensor:
        """Return (B, H, W, C) after attention over all of (B, H, W, C), or within windows."""
        if block.window_size == 0:
            return attend(block.attn, positions, x)
        size_hw = (x.shape[1], x.shape[2])
        windows, padded_hw = window_partition(x, block.window_size)
        whole: Tensor = window_unpartition(
            attend(block.attn, positions, windows), block.window_size, padded_hw, size_hw
        )
        return whole


class Positions(NamedTuple):
    """What queries of a block meet: `rows` (H, H, d), `columns` (W, W, d), and `ones` (H·W, H + W + padding) in the keys."""

    rows: Tensor
    columns: Tensor
    ones: Tensor


@torch.no_grad()
def positions_of(block: Block, grid_hw: tuple[int, int], kind: torch.dtype) -> Positions:
    """Return the relative positions of a block for an image of grid_hw positions; of no width where it has none."""
    attention = block.attn
    height, width = (block.window_size, block.window_size) if block.window_size else grid_hw
    if attention.use_rel_pos:
        rows, columns = get_rel_pos(height, height, attention.rel_pos_h), get_rel_pos(width, width, attention.rel_pos_w)
        at = torch.arange(height * width, device=rows.device)
        ones = torch.cat([F.one_hot(at // width, height), F.one_hot(at % width, width)], dim=1)
    else:
        rows = columns = attention.qkv.weight.new_zeros(0, 0, 0)
        ones = attention.qkv.weight.new_zeros(height * width, 0)
    head = attention.qkv.in_features // attention.num_heads
    ones = F.pad(ones, (0, -(head + ones.shape[1]) % MULTIPLE))
    return Positions(rows.to(kind), columns.to(kind), ones.to(kind))


def attend(attention: Attention, positions: Positions, x: Tensor) -> Tensor:
    """Return (B, H, W, C) after every position of (B, H, W, C) attended to all, by `Attention`'s weights."""
    b, h, w, _ = x.shape
    heads, ones = attention.num_heads, positions.ones.expand(b, attention.num_heads, -1, -1)
    q, k, v = attention.qkv(x).view(b, h * w, 3, heads, -1).permute(2, 0, 3, 1, 4)  # (B, heads, H·W, d) each
    queries = [q * attention.scale]
    if attention.use_rel_pos:
        placed = q.reshape(b * heads, h, w, -1)
        of_rows = placed @ positions.rows.mT
        of_columns = (placed.transpose(1, 2) @ positions.columns.mT).transpose(1, 2)
        queries += [said.reshape(b, heads, h * w, -1) for said in (of_rows, of_columns)]
    joined = torch.cat(queries, dim=-1)
    k = torch.cat([k, ones], dim=-1)
    q, values = (F.pad(x, (0, k.shape[-1] - x.shape[-1])) for x in (joined, v))  # as wide as the keys
    seen = F.scaled_dot_product_attention(q, k, values, scale=1.0)[..., : v.shape[-1]]
    out: Tensor = attention.proj(seen.transpose(1, 2).reshape(b, h, w, -1))
    return out


def is_published(encoder: nn.Module) -> TypeGuard[ImageEncoderViT]:
    """Return whether an encoder is built of the published parts alone, so that it can be computed in this order.

    Adapters, as low-rank ones, hooks, and a `forward` of its own say no: they would not be asked.
    """
    return type(encoder) is ImageEncoderViT and all(
        type(part) in _PARTS and "forward" not in vars(part) and not part._forward_hooks and not part._forward_pre_hooks
        for part in encoder.modules()
    )
