"""Stability of a proposal under moved prompts: the seed's `compute_stability_score`."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import torch

from workbench.config import ProposeConfig
from workbench.masks import rle
from workbench.propose.decode import answer, in_batches
from workbench.propose.refine import ask_again, surest
from workbench.propose.score import PIXELS_AT_ONCE, encode_above, measure_low, upscale
from workbench.sam.segmenter import Embedding, Segmenter

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclasses.dataclass(frozen=True)
class Target:
    """The proposals of one embedding whose prompts are moved; K rows.

    points_xy : (K, 2) float64 px of what was embedded; mask_index : (K,) which hypothesis
    boxes_xyxy : (K, 4) float64 px, boxes round the masks, which move with their points, as if each mask were asked for once
        more, by the surest hypothesis whichever it is; None for points alone
    ids : K mask ids, which seed the moves; rles : K masks at the size of what was embedded
    """

    points_xy: NDArray[np.float64]
    boxes_xyxy: NDArray[np.float64] | None
    mask_index: NDArray[np.int8]
    ids: list[str]
    rles: list[bytes]


def moved_points(
    point_xy: NDArray[np.float64], mask_id: str, size_hw: tuple[int, int], config: ProposeConfig
) -> np.ndarray:
    """Return (J, 2) prompts drawn from N(point, sigma² I) px and kept inside the image.

    The generator is seeded by the settings' seed and the proposal, so that a proposal meets the same moves alone or
    among others, today or in a resumed run.
    """
    words = [config.seed, int(mask_id[:16], 16), int(mask_id[16:], 16)]
    noise = np.random.default_rng(words).normal(0.0, config.jitter_sigma_px, (config.jitter_prompts, 2))
    height, width = size_hw
    return np.clip(point_xy + noise, 0, [width, height])


def jitter_scores(
    segmenter: Segmenter, embedding: Embedding, target: Target, config: ProposeConfig
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Decode moved prompts of each proposal and compare their masks with its own.

    Returns
    -------
    jitter_stability : (K,) float32, 1 − std(areas of the moved masks) / area of the original; at most 1
    jitter_iou : (K,) float32, mean IoU of the moved masks with the original, since equal areas in different places
        are not stability

    Source: stage2-seed, section 2, compute_stability_score; the IoU is ours.
    """
    size_hw, moves = embedding.size_hw, config.jitter_prompts

    def score(part: slice) -> tuple[np.ndarray, np.ndarray]:
        points = np.concatenate(
            [
                moved_points(xy, i, size_hw, config)
                for xy, i in zip(target.points_xy[part], target.ids[part], strict=True)
            ]
        )
        if target.boxes_xyxy is not None:
            by = points - target.points_xy[part].repeat(moves, axis=0)
            boxes = target.boxes_xyxy[part].repeat(moves, axis=0) + np.tile(by, 2)
            chosen = surest(
                *ask_again(segmenter, embedding, points, np.clip(boxes, 0, np.tile(size_hw[::-1], 2)), config)
            )
        else:
            logits = answer(segmenter, embedding, points, config, floor=-np.inf).logits
            index = torch.as_tensor(target.mask_index[part].astype(np.int64).repeat(moves), device=logits.device)
            chosen = logits[torch.arange(len(index), device=logits.device), index]
        return _areas_and_ious(segmenter, embedding, chosen, target.rles[part], config)

    areas, ious = np.zeros((len(target.ids), moves)), np.zeros((len(target.ids), moves))
    for part, (some_areas, some_ious) in in_batches(score, len(target.ids), max(1, config.points_per_batch // moves)):
        areas[part], ious[part] = some_areas.reshape(-1, moves), some_ious.reshape(-1, moves)
    own = rle.area(target.rles, size_hw)
    stability = 1 - areas.std(axis=1) / np.maximum(own, 1)
    return stability.astype(np.float32), ious.mean(axis=1).astype(np.float32)


def _areas_and_ious(
    segmenter: Segmenter, embedding: Embedding, logits: torch.Tensor, rles: list[bytes], config: ProposeConfig
) -> tuple[np.ndarray, np.ndarray]:
    """Return area and IoU of masks that (K·J, h, w) low-resolution logits make with the K masks they were moved from."""
    size_hw, moves = embedding.size_hw, len(logits) // len(rles)
    measured = measure_low(segmenter, embedding, logits)
    if measured is None and config.regions == "all":
        return _on_pixels(segmenter, embedding, logits, rles)
    runs = measured.rles if measured is not None else _encoded(segmenter, embedding, logits)
    if config.regions == "largest":
        runs = rle.largest_region(runs, size_hw)
    moved = [runs[k * moves : (k + 1) * moves] for k in range(len(rles))]
    ious = [rle.iou_matrix(some, [own], size_hw)[:, 0] for some, own in zip(moved, rles, strict=True)]
    return rle.area(runs, size_hw).astype(np.float64), np.concatenate(ious)


def _encoded(segmenter: Segmenter, embedding: Embedding, logits: torch.Tensor) -> list[bytes]:
    """Return the run lengths of low-resolution logits at the size of what was embedded, upscaled where they are."""

    def encode(part: slice) -> list[bytes]:
        return encode_above(upscale(segmenter, embedding, logits[part]), segmenter.mask_threshold)

    return [run for _, runs in in_batches(encode, len(logits), _at_once(embedding)) for run in runs]


def _at_once(embedding: Embedding) -> int:
    height, width = embedding.size_hw
    return max(1, PIXELS_AT_ONCE // (height * width))


def _on_pixels(
    segmenter: Segmenter, embedding: Embedding, logits: torch.Tensor, rles: list[bytes]
) -> tuple[np.ndarray, np.ndarray]:
    """Do the same on upscaled masks, on their device."""
    height, width = embedding.size_hw
    original = torch.as_tensor(rle.decode(rles, (height, width)), device=logits.device)
    of = torch.arange(len(rles), device=logits.device).repeat_interleave(len(logits) // len(rles))

    def compare(part: slice) -> torch.Tensor:
        moved = upscale(segmenter, embedding, logits[part]) > segmenter.mask_threshold
        own = original[of[part]]
        inter = (moved & own).flatten(1).sum(1)
        return torch.stack([moved.flatten(1).sum(1), inter, own.flatten(1).sum(1)]).cpu()

    parts = [done for _, done in in_batches(compare, len(logits), _at_once(embedding))]
    area, inter, own = torch.cat(parts, dim=1).to(torch.float64).numpy()
    return area, inter / np.maximum(area + own - inter, 1)
