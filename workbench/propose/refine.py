"""A second look: each distinct proposal asked again with its point and the box round it, which leave no doubt what is meant."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from workbench.config import ProposeConfig
from workbench.masks import rle
from workbench.propose.decode import answer, hypothesis_spread, in_batches
from workbench.propose.grid import Crop
from workbench.propose.score import score_masks
from workbench.sam.segmenter import Answers, Embedding, Segmenter
from workbench.tables.proposals import ASKED_AGAIN, Proposals


def ask_again(
    segmenter: Segmenter,
    embedding: Embedding,
    points_xy: NDArray[np.float64],
    boxes_xyxy: NDArray[np.float64],
    config: ProposeConfig,
) -> tuple[Answers, torch.Tensor]:
    """Return what a model says to K points (K, 2), each with a box (K, 4), px of what was embedded, and (K,) what it is surest of."""
    said = answer(segmenter, embedding, points_xy, config, -np.inf, boxes_xyxy)
    return said, said.predicted_iou.nan_to_num(nan=-np.inf).argmax(dim=1)


def surest(said: Answers, index: torch.Tensor) -> torch.Tensor:
    """Return the logits (K, h, w) of one hypothesis of each prompt."""
    return said.logits[torch.arange(len(index), device=index.device), index]


def refined(
    rows: Proposals, crop: Crop, embedding: Embedding, segmenter: Segmenter, config: ProposeConfig
) -> Proposals:
    """Return the answers to a crop's proposals, each asked again with its point and box, those above the floors.

    Predicted IoU is the mean of that before and the answer's: two looks rank masks better than either. All else is the
    answer's. Fragments of an object tend to become that object, and so duplicates: NMS has to follow. Where the answer
    comes to the edge of its crop, which cannot tell what lies beyond, the proposal stays as it was: nothing else is left of it.
    """
    if not len(rows):
        return rows
    size_hw = (int(rows.sizes_hw[0, 0]), int(rows.sizes_hw[0, 1]))
    points_xy, boxes_xyxy = in_crop(rows, crop)
    floor = np.float32(config.predicted_iou_floor).item()

    def ask(part: slice) -> tuple[Answers, torch.Tensor]:
        return ask_again(segmenter, embedding, points_xy[part], boxes_xyxy[part], config)

    parts, places = list[Proposals](), list[NDArray[np.int64]]()
    for part, (said, index) in in_batches(ask, len(rows), config.points_per_batch):
        at = torch.arange(len(index), device=index.device)
        before = torch.as_tensor(rows.predicted_iou[part], device=index.device)
        predicted = (said.predicted_iou[at, index].float() + before) / 2
        above = torch.nonzero(predicted > floor).flatten()
        scored = score_masks(segmenter, embedding, surest(said, index)[above], crop, size_hw, config)
        kept = above[torch.as_tensor(scored.index, device=above.device)]
        spread = np.full(len(kept), np.nan, np.float32)
        if config.features:
            of_all = hypothesis_spread(said.logits[kept], segmenter.mask_threshold)
            spread = of_all[torch.arange(len(kept), device=kept.device), index[kept]].cpu().numpy()
        stay = part.start + above.cpu().numpy()[scored.cut]
        places += [part.start + kept.cpu().numpy(), stay]
        parts.append(
            rows.select(places[-2]).replace(
                predicted_iou=predicted[kept].cpu().numpy(),
                stability_score=scored.stability_score,
                hypothesis_spread=spread,
                mask_index=index[kept].cpu().numpy(),
                area_px=scored.area_px,
                boxes_xyxy=scored.boxes_xyxy,
                prompt=ASKED_AGAIN,
                rles=np.array([*scored.rles, None], dtype=object)[:-1],
            )
        )
        parts.append(rows.select(stay))
    return Proposals.concat(parts).select(np.argsort(np.concatenate(places), kind="stable"))


def in_crop(rows: Proposals, crop: Crop) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return points (K, 2) of proposals and the boxes (K, 4) round their largest regions, in px of their crop."""
    corner_xy, boxes = np.array(crop.box_xyxy[:2]), rows.boxes_xyxy
    if len(rows):
        size_hw = (int(rows.sizes_hw[0, 0]), int(rows.sizes_hw[0, 1]))
        boxes = rle.to_boxes(rle.largest_region(rows.rles.tolist(), size_hw), size_hw)  # strays are not what is meant
    return rows.points_xy - corner_xy, (boxes - np.tile(corner_xy, 2)).astype(np.float64)
