"""A segmenter whose answers are known: the region of the image that has the colour under the point."""

from __future__ import annotations

import numpy as np
import torch
from scipy import ndimage

from workbench.sam.segmenter import Embedding


class FlatSegmenter:
    """Answers a point with three hypotheses: the flat region under it, that region grown by a pixel, and the image.

    Predicted IoU is 0.95, 0.8 and 0.6 by default, and logits are ±10 at the size of the image. A single answer is the
    first of these.
    """

    mask_threshold = 0.0
    model_id = "flat-000000000000"

    def __init__(self, predicted_iou=(0.95, 0.8, 0.6)):
        self.predicted_iou = predicted_iou
        self.prompts = 0

    def embed(self, image):
        return Embedding(image[..., 0].copy(), image.shape[:2], image.shape[:2])

    def decode(self, embedding, points_xy=None, labels=None, boxes_xyxy=None, mask_logits=None, multimask=True):
        image = embedding.features
        height, width = image.shape
        logits = np.empty((len(points_xy), 3, height, width), np.float32)
        for k, ((x, y),) in enumerate(points_xy):
            at = min(int(y), height - 1), min(int(x), width - 1)
            regions, _ = ndimage.label(image == image[at])
            own = regions == regions[at]
            for m, mask in enumerate((own, ndimage.binary_dilation(own), np.ones_like(own))):
                logits[k, m] = np.where(mask, 10, -10)
        self.prompts += len(points_xy)
        iou = torch.tensor(self.predicted_iou, dtype=torch.float32).repeat(len(points_xy), 1)
        hypotheses = 3 if multimask else 1
        return torch.as_tensor(logits)[:, :hypotheses], iou[:, :hypotheses]

    def upscale(self, logits, embedding):
        return logits


def squares(size_hw=(64, 96), side=16, gap=16):
    """Return an image of bright squares on black, each of its own brightness, and their masks."""
    image = np.zeros((*size_hw, 3), np.uint8)
    masks = []
    for k, y in enumerate(range(gap // 2, size_hw[0] - side, side + gap)):
        for j, x in enumerate(range(gap // 2, size_hw[1] - side, side + gap)):
            image[y : y + side, x : x + side] = 60 + 50 * k + 10 * j
            masks.append(image[..., 0] == 60 + 50 * k + 10 * j)
    return image, np.stack(masks)
