"""SAM's mask decoder for a batch of images with as many prompts of each, to train with: the same function, in another order.

As in `sam.shared`, an image that differs from prompt to prompt is never projected, and what is the same for all prompts of
an image is computed once; so what is kept for the gradients is little more than the image itself, once a layer. Under
autocast images are kept in its type; the head of predicted IoUs stays in float32.

Source of the function: facebookresearch/segment-anything, modeling/transformer.py and mask_decoder.py.
"""

from __future__ import annotations

import math

import torch
from segment_anything.modeling import MaskDecoder
from segment_anything.modeling.transformer import Attention, TwoWayAttentionBlock
from torch import Tensor, nn
from torch.nn import functional as F

from workbench.sam.shared import quadruple, split, split_weight


def decode(decoder: MaskDecoder, images: Tensor, places: Tensor, sparse: Tensor) -> tuple[Tensor, Tensor]:
    """Return logits (B, P, M, 4h, 4w) and predicted IoUs (B, P, M), float: `MaskDecoder.predict_masks` for each image.

    Parameters
    ----------
    images, places : (B, C, h, w), embedding, with what stands for "no mask", and positional encoding
    sparse : (B, P, T, C), the prompts' tokens
    """
    b, prompts = sparse.shape[:2]
    h, w = images.shape[2:]
    own = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight])
    tokens = torch.cat([own.expand(b, prompts, -1, -1), sparse], dim=2)
    read, seen = transform(decoder, images.flatten(2).mT, places.flatten(2).mT, tokens)
    mlps = decoder.output_hypernetworks_mlps
    hyper = torch.stack([mlp(read[:, 1 + m]) for m, mlp in enumerate(mlps)], dim=1)  # (B·P, M, C/8)
    logits = (hyper @ upscaled(decoder, seen).mT).float()
    logits = logits.view(b, prompts, len(mlps), h, w, 2, 2, 2, 2).permute(0, 1, 2, 3, 5, 7, 4, 6, 8)
    with torch.autocast(images.device.type, enabled=False):
        predicted: Tensor = decoder.iou_prediction_head(read[:, 0].float())
    return logits.reshape(b, prompts, len(mlps), 4 * h, 4 * w), predicted.view(b, prompts, -1)


def transform(decoder: MaskDecoder, images: Tensor, places: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Return tokens (B·P, T, C) and images (B·P, HW, C) after the two-way transformer.

    Parameters
    ----------
    images, places : (B, HW, C); tokens : (B, P, T, C)
    """
    prompts = tokens.shape[1]
    tokens = tokens.flatten(0, 1)
    queries, keys = tokens, images
    for number, layer in enumerate(decoder.transformer.layers):
        if layer.skip_first_layer_pe:
            queries = layer.self_attn(q=queries, k=queries, v=queries)
        else:
            placed = queries + tokens
            queries = queries + layer.self_attn(q=placed, k=placed, v=queries)
        queries = layer.norm1(queries)
        to_image = layer.cross_attn_token_to_image
        if number == 0:
            seen = first_look(to_image, queries + tokens, images, places)
        else:
            seen = look(to_image, queries + tokens, keys, places)
        queries = layer.norm2(queries + seen)
        queries = layer.norm3(queries + layer.mlp(queries))
        keys = tell(layer, queries + tokens, queries, keys, places, prompts, first=number == 0)
    seen = look(decoder.transformer.final_attn_token_to_image, queries + tokens, keys, places)
    return decoder.transformer.norm_final_attn(queries + seen), keys


def first_look(attention: Attention, queries: Tensor, images: Tensor, places: Tensor) -> Tensor:
    """Tokens (B·P, T, C) attend to images (B, HW, C) that no prompt has changed yet."""
    b, heads = len(images), attention.num_heads
    q = split(attention.q_proj(queries).view(b, -1, attention.internal_dim), heads)  # (B, H, P·T, d)
    k, v = split(attention.k_proj(images + places), heads), split(attention.v_proj(images), heads)
    seen = F.scaled_dot_product_attention(q, k, v).transpose(1, 2)
    out: Tensor = attention.out_proj(seen.reshape(*queries.shape[:2], -1))
    return out


def look(attention: Attention, queries: Tensor, keys: Tensor, places: Tensor) -> Tensor:
    """Tokens (B·P, T, C) attend to the image (B·P, HW, C) of their prompt."""
    heads = attention.num_heads
    q = split(attention.q_proj(queries), heads)  # (B·P, H, T, d)
    # the bias of k_proj adds the same to every position, which softmax ignores
    asked = (q @ split_weight(attention.k_proj, heads)).flatten(1, 2) / math.sqrt(q.shape[-1])  # (B·P, H·T, C)
    weights = torch.softmax(scores(asked, keys, places), dim=-1)
    seen = (weights @ keys).view(len(keys), heads, -1, keys.shape[2])  # (B·P, H, T, C)
    values = seen @ split_weight(attention.v_proj, heads).mT + attention.v_proj.bias.view(heads, 1, -1)
    out: Tensor = attention.out_proj(values.transpose(1, 2).flatten(2))
    return out


def tell(
    layer: TwoWayAttentionBlock,
    placed: Tensor,
    queries: Tensor,
    keys: Tensor,
    places: Tensor,
    prompts: int,
    first: bool,
) -> Tensor:
    """Return (B·P, HW, C) images after they attended to the tokens (B·P, T, C) of their prompt, normalised.

    Parameters
    ----------
    placed, queries : tokens with and without their position
    keys : (B·P, HW, C), or (B, HW, C) in the `first` layer
    """
    attention = layer.cross_attn_image_to_token
    heads, t = attention.num_heads, placed.shape[1]
    k = split(attention.k_proj(placed), heads) / math.sqrt(attention.internal_dim // heads)  # (B·P, H, T, d)
    asked = (k @ split_weight(attention.q_proj, heads)).flatten(1, 2)  # (B·P, H·T, C)
    bias = (k @ attention.q_proj.bias.view(heads, -1, 1)).flatten(1, 2)
    if first:
        wide = asked.view(len(keys), -1, asked.shape[2]) @ (keys + places).to(asked.dtype).mT
        found = wide.view(*asked.shape[:2], -1) + bias
    else:
        found = scores(asked, keys, places) + bias
    weights = torch.softmax(found.view(len(found), heads, t, -1), dim=2).flatten(1, 2)  # (B·P, H·T, HW)
    v = split(attention.v_proj(queries), heads)
    told = (v @ split_weight(attention.out_proj, heads, columns=True)).flatten(1, 2)  # (B·P, H·T, C)
    told = told + attention.out_proj.bias / heads  # the weights of a head add up to 1
    change = weights.mT @ told
    if first:
        changed = (keys.to(change.dtype)[:, None] + change.view(-1, prompts, *change.shape[1:])).flatten(0, 1)
    else:
        changed = keys + change
    return normed(layer.norm4, changed)


def scores(asked: Tensor, keys: Tensor, places: Tensor) -> Tensor:
    """Return (B·P, H·T, HW): asked (B·P, H·T, C) times the images (B·P, HW, C) and their positions (B, HW, C)."""
    at_places = asked.view(len(places), -1, asked.shape[2]) @ places.mT
    return torch.baddbmm(at_places.view(*asked.shape[:2], -1), asked, keys.mT)


def upscaled(decoder: MaskDecoder, images: Tensor) -> Tensor:
    """Return (N, HW·16, C/8) of (N, HW, C): the upscaled image, the pixels of each position together."""
    first, norm, activation, second, last = decoder.output_upscaling
    finest: Tensor = last(quadruple(second, activation(normed(norm, quadruple(first, images)))))
    return finest.flatten(1, -2)


def normed(norm: nn.LayerNorm, x: Tensor) -> Tensor:
    """Return the layer norm over the last axis in the type of `x`, which autocast would widen."""
    with torch.autocast(x.device.type, enabled=False):
        return F.layer_norm(x, (x.shape[-1],), norm.weight.to(x.dtype), norm.bias.to(x.dtype), norm.eps)
