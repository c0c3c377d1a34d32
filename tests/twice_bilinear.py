"""A segmenter without a model that enlarges masks as SAM does."""

from __future__ import annotations

import torch.nn.functional as F
from segment_anything.utils.transforms import ResizeLongestSide

from workbench.sam.segmenter import Embedding

LOW_PX = 32
SQUARE_PX = 128


class TwiceBilinear:
    """Enlarges bilinearly to a square, cuts off what the image does not cover, and enlarges to the image."""

    model_id = "twice-bilinear-000000000000"
    square_px = SQUARE_PX

    def __init__(self, mask_threshold=0.0):
        self.mask_threshold = mask_threshold

    def upscale(self, logits, embedding):
        square = F.interpolate(logits, (self.square_px,) * 2, mode="bilinear", align_corners=False)
        height, width = embedding.input_hw
        return F.interpolate(square[..., :height, :width], embedding.size_hw, mode="bilinear", align_corners=False)


def embedding(size_hw):
    """Return the place of an image of this size in the square."""
    height, width = ResizeLongestSide.get_preprocess_shape(*size_hw, SQUARE_PX)
    return Embedding(None, size_hw, (max(height, 1), max(width, 1)))
