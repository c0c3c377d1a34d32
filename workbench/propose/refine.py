"""A second look: each distinct proposal asked again with its point and the box round it, which leave no doubt what is meant."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from workbench.config import ProposeConfig
from workbench.masks import rle
from workbench.propose.decode import hypothesis_spread, in_batches
from workbench.propose.grid import Crop
from workbench.propose.score import score_masks
from workbench.sam.segmenter import Embedding, Segmenter
from workbench.tables.proposals import Proposals

PROMPT = "point and box"


class Surest(NamedTuple):
    """The surest of the hypotheses of K prompts.

    logits : (K, h, w); predicted_iou, spread : (K,), spread: how far it is from the others; hypothesis : (K,) which it is
    """

    logits: torch.Tensor
    predicted_iou: torch.Tensor
    spread: torch.Tensor
    hypothesis: torch.Tensor


def ask_again(
    segmenter: Segmenter, embedding: Embedding, points_xy: NDArray[np.float64], boxes_xyxy: NDArray[np.float64]
) -> Surest:
    """Return what a model is surest of for K points (K, 2), each with a box (K, 4), px of what was embedded."""
    labels = np.ones((len(points_xy), 1), np.int64)
    logits, predicted = segmenter.decode(embedding, points_xy[:, None], labels, boxes_xyxy)
    index = predicted.argmax(dim=1)
    at = torch.arange(len(index), device=index.device)
    spread = hypothesis_spread(logits, segmenter.mask_threshold)
    return Surest(logits[at, index], predicted[at, index].float(), spread[at, index], index)


def refined(
    rows: Proposals, crop: Crop, embedding: Embedding, segmenter: Segmenter, config: ProposeConfig
) -> Proposals:
    """Return the answers to a crop's proposals, each asked again with its point and box, those above the floors.

    Predicted IoU is the mean of that before and the answer's: two looks rank masks better than either. All else is the
    answer's. Fragments of an object tend to become that object, and so duplicates: NMS has to follow. A mask that
    grows to the edge of its crop is dropped, as at the first look.
    """
    if not len(rows):
        return rows
    size_hw = (int(rows.sizes_hw[0, 0]), int(rows.sizes_hw[0, 1]))
    points_xy, boxes_xyxy = in_crop(rows, crop)
    floor = np.float32(config.predicted_iou_floor).item()

    def ask(part: slice) -> Surest:
        return ask_again(segmenter, embedding, points_xy[part], boxes_xyxy[part])

    parts = []
    for part, said in in_batches(ask, len(rows), config.points_per_batch):
        before = torch.as_tensor(rows.predicted_iou[part], device=said.predicted_iou.device)
        predicted = (said.predicted_iou + before) / 2
        above = torch.nonzero(predicted > floor).flatten()
        scored = score_masks(segmenter, embedding, said.logits[above], crop, size_hw, config)
        kept = above[torch.as_tensor(scored.index, device=above.device)]
        parts.append(
            rows.select(part.start + kept.cpu().numpy()).replace(
                predicted_iou=predicted[kept].cpu().numpy(),
                stability_score=scored.stability_score,
                hypothesis_spread=said.spread[kept].cpu().numpy() if config.features else np.nan,
                mask_index=said.hypothesis[kept].cpu().numpy(),
                area_px=scored.area_px,
                boxes_xyxy=scored.boxes_xyxy,
                prompt=PROMPT,
                rles=np.array([*scored.rles, None], dtype=object)[:-1],
            )
        )
    return Proposals.concat(parts)


def in_crop(rows: Proposals, crop: Crop) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return points (K, 2) of proposals and the boxes (K, 4) round their largest regions, in px of their crop."""
    corner_xy, boxes = np.array(crop.box_xyxy[:2]), rows.boxes_xyxy
    if len(rows):
        size_hw = (int(rows.sizes_hw[0, 0]), int(rows.sizes_hw[0, 1]))
        boxes = rle.to_boxes(rle.largest_region(rows.rles.tolist(), size_hw), size_hw)  # strays are not what is meant
    return rows.points_xy - corner_xy, (boxes - np.tile(corner_xy, 2)).astype(np.float64)
