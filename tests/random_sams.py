"""Small random SAMs for tests: real `segment_anything` models whose encoder is a tiny ViT."""

from __future__ import annotations

from functools import partial

import torch
from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer

SHARPER = 6.0
LOUDER = 80.0


def random_sam(seed: int = 0, *, input_px: int = 128, width: int = 32, score_shift: float | None = None) -> Sam:
    """Return a random Sam with a ViT of two blocks; `score_shift` is added to every predicted IoU."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        side = input_px // 16
        sam = Sam(
            image_encoder=ImageEncoderViT(
                img_size=input_px, patch_size=16, embed_dim=32, depth=2, num_heads=2, out_chans=width,
                use_rel_pos=True, rel_pos_zero_init=False, window_size=4, global_attn_indexes=(1,),
                norm_layer=partial(torch.nn.LayerNorm, eps=1e-6),
            ),
            prompt_encoder=PromptEncoder(
                embed_dim=width, image_embedding_size=(side, side), input_image_size=(input_px, input_px), mask_in_chans=16
            ),
            mask_decoder=MaskDecoder(
                num_multimask_outputs=3,
                transformer=TwoWayTransformer(depth=2, embedding_dim=width, mlp_dim=64, num_heads=4),
                transformer_dim=width, iou_head_depth=3, iou_head_hidden_dim=32,
            ),
        )  # fmt: skip
        # a random decoder answers every point with the same faint noise: sharper attention makes it look where the
        # point is, and louder logits make masks
        for name, weight in sam.mask_decoder.transformer.named_parameters():
            if name.endswith(("q_proj.weight", "k_proj.weight")):
                weight.data *= SHARPER
        for mlp in sam.mask_decoder.output_hypernetworks_mlps:
            torch.nn.init.normal_(mlp.layers[-1].weight, std=LOUDER)
        last = sam.mask_decoder.iou_prediction_head.layers[-1]
        torch.nn.init.normal_(last.weight, std=0.3)
        if score_shift is not None:
            torch.nn.init.constant_(last.bias, score_shift)
    return sam.eval()
