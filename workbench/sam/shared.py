"""SAM's mask decoder for many point prompts of one image: the same function, with the work in another order.

The original decoder copies the image embedding to every prompt and projects all of its positions in every attention.
With T tokens in H heads, H·T is less than the width of a projection, so the products are taken in the order that never
projects the image: scores as (q Wk) keysᵀ, values as (attention keys) Wv, and answers as attention (v Wo). What is the
same for all prompts (the first layer's projections, the positional encoding) is computed once, and only prompts with a
hypothesis above the floor are upscaled. Results differ from the original's by rounding.

Source of the function: facebookresearch/segment-anything, modeling/transformer.py and mask_decoder.py.
"""

from __future__ import annotations

import math
from copy import deepcopy

import torch
from segment_anything.modeling import MaskDecoder
from segment_anything.modeling.transformer import Attention
from torch import Tensor, nn
from torch.nn import functional as F

from workbench.sam.segmenter import Answers

# positions upscaled at once on a CPU: what is made of them stays in its cache
IN_CACHE = 1024


def lowered(decoder: MaskDecoder, kind: torch.dtype) -> MaskDecoder:
    """Return a copy for `SharedDecoder` in another precision, with the head of predicted IoUs as it is: rounded scores tie."""
    copy = deepcopy(decoder).to(kind)
    copy.iou_prediction_head = deepcopy(decoder.iou_prediction_head)
    return copy


class SharedDecoder:
    """The decoder bound to one image.

    Parameters
    ----------
    decoder : its weights are used as they are, in the precision of their own; the head of predicted IoUs in its
    image, place : (1, C, h, w), embedding, with what stands for "no mask", and positional encoding
    """

    def __init__(self, decoder: MaskDecoder, image: Tensor, place: Tensor) -> None:
        self._decoder, self._hw = decoder, image.shape[-2:]
        self._kind = decoder.iou_token.weight.dtype
        self._keys = image[0].flatten(1).T.to(self._kind)  # (HW, C)
        self._pe = place[0].flatten(1).T.contiguous().to(self._kind)
        first = decoder.transformer.layers[0]
        placed = self._keys + self._pe
        self._first_k = _heads(first.cross_attn_token_to_image, "k_proj", placed)
        self._first_v = _heads(first.cross_attn_token_to_image, "v_proj", self._keys)
        self._first_q = _heads(first.cross_attn_image_to_token, "q_proj", placed)

    def answer(self, sparse: Tensor, floor: float) -> Answers:
        """Answer N prompts.

        Parameters
        ----------
        sparse : (N, T, C) float32, the prompts' tokens
        floor : hypotheses count above it (strictly); the others are not upscaled where no one of their prompt does
        """
        queries, images = self.transform(sparse)
        iou = self.predicted_iou(queries)[:, 1:]
        index = torch.nonzero(~(iou <= floor).all(1)).flatten()
        chosen = images if len(index) == len(images) else images[index]
        logits = self.upscale(chosen, queries[index], range(1, self._decoder.num_mask_tokens))
        return Answers(iou, index, logits.float())

    def transform(self, sparse: Tensor) -> tuple[Tensor, Tensor]:
        """Return all tokens (N, 1 + M + T, C), those of IoU and masks first, and image (N, HW, C) after the transformer."""
        transformer = self._decoder.transformer
        own = torch.cat([self._decoder.iou_token.weight, self._decoder.mask_tokens.weight])
        tokens = torch.cat([own.expand(len(sparse), -1, -1), sparse.to(self._kind)], dim=1)
        queries, keys = tokens, self._keys.expand(len(tokens), -1, -1)
        for number, layer in enumerate(transformer.layers):
            if layer.skip_first_layer_pe:
                queries = layer.self_attn(q=queries, k=queries, v=queries)
            else:
                placed = queries + tokens
                queries = queries + layer.self_attn(q=placed, k=placed, v=queries)
            queries = layer.norm1(queries)
            to_image = layer.cross_attn_token_to_image
            seen = (
                self._first_look(to_image, queries + tokens)
                if number == 0
                else self._look(to_image, queries + tokens, keys)
            )
            queries = layer.norm2(queries + seen)
            queries = layer.norm3(queries + layer.mlp(queries))
            told = self._tell(layer.cross_attn_image_to_token, queries + tokens, queries, keys, first=number == 0)
            keys = layer.norm4(told)
        seen = self._look(transformer.final_attn_token_to_image, queries + tokens, keys)
        return transformer.norm_final_attn(queries + seen), keys

    def predicted_iou(self, queries: Tensor) -> Tensor:
        """Return predicted IoUs (N, M) of tokens (N, 1 + M + T, C), in the precision of their head."""
        head = self._decoder.iou_prediction_head
        predicted: Tensor = head(queries[:, 0].to(head.layers[0].weight.dtype))
        return predicted

    def _first_look(self, attention: Attention, queries: Tensor) -> Tensor:
        """Tokens attend to an image that no prompt has changed yet: one product for all prompts."""
        n, t, _ = queries.shape
        q = _heads(attention, "q_proj", queries.flatten(0, 1))  # (H, N·T, d)
        weights = torch.softmax(q @ self._first_k.mT / math.sqrt(q.shape[-1]), dim=-1)
        seen = (weights @ self._first_v).transpose(0, 1).reshape(n, t, -1)
        out: Tensor = attention.out_proj(seen)
        return out

    def _look(self, attention: Attention, queries: Tensor, keys: Tensor) -> Tensor:
        """Tokens (N, T, C) attend to the image (N, HW, C) of their prompt."""
        n, t, c = queries.shape
        heads = attention.num_heads
        q = split(attention.q_proj(queries), heads)  # (N, H, T, d)
        # the bias of k_proj adds the same to every position, which softmax ignores
        asked = (q @ split_weight(attention.k_proj, heads)).flatten(1, 2) / math.sqrt(q.shape[-1])  # (N, H·T, C)
        at_places = (asked.flatten(0, 1) @ self._pe.T).view(n, 1, heads * t, -1)
        keys = keys[:, None]
        seen = F.scaled_dot_product_attention(asked[:, None], keys, keys, at_places, scale=1.0).view(n, heads, t, c)
        values = seen @ split_weight(attention.v_proj, heads).mT + attention.v_proj.bias.view(heads, 1, -1)
        out: Tensor = attention.out_proj(values.transpose(1, 2).reshape(n, t, -1))
        return out

    def _tell(self, attention: Attention, placed: Tensor, queries: Tensor, keys: Tensor, first: bool) -> Tensor:
        """Image positions attend to the tokens of their prompt; returns keys + attention, (N, HW, C).

        Scores are kept tokens by positions, so that the softmax over a few tokens runs along many positions.
        """
        n, t, _ = queries.shape
        heads = attention.num_heads
        k = split(attention.k_proj(placed), heads) / math.sqrt(attention.internal_dim // heads)  # (N, H, T, d)
        if first:
            scores = (k.transpose(0, 1).flatten(1, 2) @ self._first_q.mT).view(heads, n, t, -1).transpose(0, 1)
        else:
            asked = (k @ split_weight(attention.q_proj, heads)).flatten(1, 2)  # (N, H·T, C)
            bias = (k @ attention.q_proj.bias.view(heads, -1, 1)).view(-1, 1)
            at_places = torch.addmm(bias, asked.flatten(0, 1), self._pe.T).view(n, heads * t, -1)
            scores = at_places.baddbmm_(asked, keys.mT).view(n, heads, t, -1)
        weights = torch.softmax(scores, dim=2).flatten(1, 2)  # (N, H·T, HW)
        v = split(attention.v_proj(queries), heads)
        told = (v @ split_weight(attention.out_proj, heads, columns=True)).flatten(1, 2)  # (N, H·T, C)
        told += attention.out_proj.bias / heads  # the weights of a head add up to 1
        # the image of later layers is the prompt's own and is not needed again
        return torch.baddbmm(keys, weights.mT, told) if first else keys.baddbmm_(weights.mT, told)

    def upscale(self, keys: Tensor, queries: Tensor, masks_of: range) -> Tensor:
        """Return (K, len(masks_of), 4h, 4w) logits from image (K, HW, C) and tokens (K, 1 + M + T, C).

        A transposed convolution of kernel and stride 2 is a product for each position, whose answers become 2 × 2
        pixels; they stay in that order until only three masks are left to rearrange.
        """
        mlps = self._decoder.output_hypernetworks_mlps
        hyper = torch.stack([mlps[m](queries[:, 1 + m]) for m in masks_of], dim=1)
        (height, width), count = self._hw, len(masks_of)
        if keys.device.type == "cpu":
            masks = keys.new_empty(len(keys), count, height * width * 16)
            for image, weight, mask in zip(keys, hyper, masks, strict=True):
                for places, part in zip(image.split(IN_CACHE), mask.split(IN_CACHE * 16, dim=1), strict=True):
                    torch.mm(weight, self._finest(places).mT, out=part)
        else:
            masks = hyper @ self._finest(keys).mT
        masks = masks.view(-1, count, height, width, 2, 2, 2, 2).permute(0, 1, 2, 4, 6, 3, 5, 7)
        return masks.reshape(-1, count, 4 * height, 4 * width)

    def _finest(self, places: Tensor) -> Tensor:
        """Return (..., N·16, C/8) of (..., N, C), the pixels of each position together."""
        first, norm, activation, second, last = self._decoder.output_upscaling
        fine = F.layer_norm(quadruple(first, places), (norm.weight.shape[0],), norm.weight, norm.bias, norm.eps)
        finest: Tensor = last(quadruple(second, activation(fine)))
        return finest.flatten(-4, -2)


def quadruple(convolution: nn.ConvTranspose2d, x: Tensor) -> Tensor:
    """Return (..., 4, O) of (..., I): what a transposed convolution of kernel and stride 2 makes of each position."""
    weight = convolution.weight.permute(0, 2, 3, 1).flatten(1)  # (I, 2·2·O)
    assert convolution.bias is not None
    bias = convolution.bias.repeat(4)
    flat = torch.addmm(bias, x.reshape(-1, x.shape[-1]), weight)
    return flat.view(*x.shape[:-1], 4, len(bias) // 4)


def _heads(attention: Attention, name: str, x: Tensor) -> Tensor:
    """Return (H, N, d): the projection `name` of (N, C), split into heads."""
    projected: Tensor = getattr(attention, name)(x)
    return projected.view(len(x), attention.num_heads, -1).transpose(0, 1).contiguous()


def split(x: Tensor, heads: int) -> Tensor:
    """Return (N, H, T, d) of (N, T, H·d)."""
    return x.view(*x.shape[:2], heads, -1).transpose(1, 2)


def split_weight(projection: nn.Linear, heads: int, columns: bool = False) -> Tensor:
    """Return the weight of a projection into heads as (H, d, C), or of one out of them with `columns`."""
    weight = projection.weight.T if columns else projection.weight
    return weight.view(heads, -1, weight.shape[1]) if not columns else weight.reshape(heads, -1, weight.shape[1])
