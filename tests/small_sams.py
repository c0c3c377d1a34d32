"""Small random SAMs of segment_anything's own classes, for tests that need a model and no skill."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer
from torch import nn


def small_sam(img_size: int = 64, width: int = 32, seed: int = 0, heads: int = 2) -> Sam:
    """Return a `Sam` whose encoder has 2 blocks of 32 channels; `width` is the prompts' embedding dimension."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        grid = img_size // 16
        encoder = ImageEncoderViT(
            img_size=img_size,
            depth=2,
            embed_dim=32,
            num_heads=heads,
            out_chans=width,
            use_rel_pos=True,
            window_size=3,
            global_attn_indexes=(1,),
            norm_layer=partial(nn.LayerNorm, eps=1e-6),
        )
        prompts = PromptEncoder(width, (grid, grid), (img_size, img_size), mask_in_chans=16)
        transformer = TwoWayTransformer(depth=2, embedding_dim=width, num_heads=heads, mlp_dim=64)
        decoder = MaskDecoder(transformer_dim=width, transformer=transformer, iou_head_hidden_dim=32)
        return Sam(encoder, prompts, decoder).eval()


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Return an (H, W, 3) uint8 image of blobs: noise enlarged, so that resizing has something to smooth."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (height // 5 + 1, width // 5 + 1, 3), dtype=np.uint8)
    return np.ascontiguousarray(coarse.repeat(5, 0).repeat(5, 1)[:height, :width])
