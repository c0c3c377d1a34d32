"""Proposing masks on one image: crops, point grid, decoding, scores, NMS, a second look, jitter, features."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from workbench import images
from workbench.config import Preset, ProposeConfig, propose_config
from workbench.masks import boxes, nms, regions, rle, shape
from workbench.propose.decode import decode_points, hypothesis_spread
from workbench.propose.grid import Crop, crops, points
from workbench.propose.jitter import Target, jitter_scores
from workbench.propose.refine import in_crop, refined
from workbench.propose.score import score_masks
from workbench.sam.segmenter import Answers, Embedding, Segmenter, expect_segmenter
from workbench.tables.proposals import Proposals

if TYPE_CHECKING:
    from numpy.typing import NDArray

# with more boxes, torchvision's batched_nms sorts what it keeps once more, by a sort that reorders equal scores
RESORTED_ABOVE = 1000


def propose(
    image: np.ndarray,
    sam: Segmenter,
    config: ProposeConfig | Preset | str | None = None,
    *,
    image_id: str | None = None,
    embedding: Embedding | None = None,
) -> Proposals:
    """Propose masks on an image from a dense grid of point prompts.

    Parameters
    ----------
    image : (H, W, 3) uint8 RGB
    sam : a model, as `load_sam` returns it
    config : settings, a preset or its name; None for the defaults
    image_id : content id to store; None to hash the pixels
    embedding : of the whole image by this model; None to embed it

    Returns
    -------
    Proposals above the floors of `config`. With `pool="exact"` all of them, in the order of crop, point and hypothesis;
    with `pool="distinct"` those that survive NMS, by descending predicted IoU within a crop and smaller crops first.
    The columns of jitter are filled for the rows that survive NMS at the floors.

    Raises
    ------
    TypeError : for a model that is none
    ValueError : when the image is not (H, W, 3) uint8 with at least one pixel

    Source: Kirillov et al. 2023, Segment Anything, section 5 and appendix B; facebookresearch/segment-anything.
    """
    config = propose_config(config)
    expect_segmenter(sam, "propose")
    images.expect_rgb(image)
    image_id = images.array_id(image) if image_id is None else image_id
    size_hw = (int(image.shape[0]), int(image.shape[1]))
    with torch.inference_mode():
        parts, embeddings = list[Proposals](), list[Embedding]()
        looked_at = crops(size_hw, config)
        for crop in looked_at:
            embedded = _embed(image, crop, sam, embedding)
            parts.append(_propose_crop(crop, embedded, size_hw, sam, config, image_id))
            if config.jitter_prompts or config.refine:  # else it is not needed again
                embeddings.append(embedded)
        rows, ends = _joined(parts)
        within, distinct = _survivors(rows, ends, config)
        if config.refine:
            kept = np.sort(distinct)
            own = [rows.select(kept[(kept >= a) & (kept < b)]) for a, b in itertools.pairwise(ends)]
            again = zip(own, looked_at, embeddings, strict=True)
            rows, ends = _joined([refined(some, crop, embedded, sam, config) for some, crop, embedded in again])
            within, distinct = _survivors(rows, ends, config)
        if config.jitter_prompts:
            # with all rows stored, other thresholds bring back what a smaller crop suppressed: it was measured, too
            moved = np.sort(distinct if config.pool == "distinct" else within)
            rows = _with_jitter(rows, ends, moved, looked_at, embeddings, sam, config)
    if config.pool == "distinct":
        rows = _cleaned(rows.select(distinct), size_hw, config)
    if config.features:
        rows = rows.replace(**shape.describe(rows.rles.tolist(), size_hw, image))
    return rows.replace(row=np.arange(len(rows)))


def _embed(image: np.ndarray, crop: Crop, segmenter: Segmenter, whole: Embedding | None) -> Embedding:
    if crop.layer == 0 and whole is not None:
        return whole
    x0, y0, x1, y1 = crop.box_xyxy
    return segmenter.embed(np.ascontiguousarray(image[y0:y1, x0:x1]))


def _propose_crop(
    crop: Crop,
    embedding: Embedding,
    size_hw: tuple[int, int],
    segmenter: Segmenter,
    config: ProposeConfig,
    image_id: str,
) -> Proposals:
    """Return the proposals of one crop above the floors, in px of the whole image."""
    grid = points(crop, config)
    batches = [
        _propose_batch(segmenter, embedding, answers, grid[part], crop, size_hw, config)
        for part, answers in decode_points(segmenter, embedding, grid, config, config.predicted_iou_floor)
    ]
    columns = {name: np.concatenate([b[name] for b in batches]) for name in batches[0]}
    columns["crop_boxes_xyxy"] = np.array(crop.box_xyxy)
    return Proposals.make(**columns, image_id=image_id, model_id=segmenter.model_id, prompt="point")


def _propose_batch(
    segmenter: Segmenter,
    embedding: Embedding,
    answers: Answers,
    points_xy: NDArray[np.float64],
    crop: Crop,
    size_hw: tuple[int, int],
    config: ProposeConfig,
) -> dict[str, Any]:
    """Return the columns of one batch of points, filtered by predicted IoU before anything is upscaled."""
    logits, iou = answers.logits, answers.predicted_iou[answers.prompts].flatten()
    hypotheses = answers.predicted_iou.shape[1]
    above = torch.nonzero(iou > np.float32(config.predicted_iou_floor).item()).flatten()
    scored = score_masks(segmenter, embedding, logits.flatten(0, 1)[above], crop, size_hw, config)
    kept = above[torch.as_tensor(scored.index, device=above.device)]
    flat = kept.cpu().numpy()
    prompts = answers.prompts.cpu().numpy()[flat // hypotheses]
    spread = np.full(len(flat), np.nan, np.float32)
    if config.features:
        spread = hypothesis_spread(logits, segmenter.mask_threshold).flatten()[kept].cpu().numpy()
    return {
        "predicted_iou": iou[kept].float().cpu().numpy(),
        "stability_score": scored.stability_score,
        "hypothesis_spread": spread,
        "area_px": scored.area_px,
        "boxes_xyxy": scored.boxes_xyxy,
        "points_xy": points_xy[prompts] + np.array(crop.box_xyxy[:2]),
        "mask_index": (flat % hypotheses).astype(np.int8),
        "sizes_hw": np.tile(np.array(size_hw, np.int32), (len(flat), 1)),
        "rles": np.array([*scored.rles, None], dtype=object)[:-1],
    }


def distinct_rows(rows: Proposals, scores: NDArray[Any], threshold: float, config: ProposeConfig) -> NDArray[np.int64]:
    """Return the rows that survive NMS, best first, in the official generator's order."""
    if config.nms == "mask" and len(rows):
        size_hw = (int(rows.sizes_hw[0, 0]), int(rows.sizes_hw[0, 1]))
        return nms.nms_masks(rows.rles.tolist(), size_hw, scores, threshold)
    keep = nms.nms_boxes(rows.boxes_xyxy, scores, threshold)
    if len(rows) > RESORTED_ABOVE:
        keep.sort()
        keep = keep[torch.as_tensor(scores[keep]).sort(descending=True)[1].numpy()]
    return keep


def _joined(parts: Sequence[Proposals]) -> tuple[Proposals, NDArray[np.int64]]:
    """Return the rows of all crops, and (crops + 1,) where those of each end."""
    return Proposals.concat(parts), np.cumsum([0, *map(len, parts)])


def _survivors(
    rows: Proposals, ends: NDArray[np.int64], config: ProposeConfig
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the rows that survive NMS within their crop, and those of them that also survive it between crops."""
    within = _within_crops(rows, ends, config)
    return within, _between_crops(rows, within, config) if len(ends) > 2 else within


def _within_crops(rows: Proposals, ends: NDArray[np.int64], config: ProposeConfig) -> NDArray[np.int64]:
    """Return the rows that survive NMS within their crop, crop by crop, best first.

    Parameters
    ----------
    ends : (crops + 1,) the rows of crop k are ends[k] to ends[k + 1]
    """
    left = []
    for a, b in itertools.pairwise(ends):
        own = rows.select(slice(a, b))
        left.append(a + distinct_rows(own, own.predicted_iou, config.nms_iou, config))
    return np.concatenate(left)


def _between_crops(rows: Proposals, among: NDArray[np.int64], config: ProposeConfig) -> NDArray[np.int64]:
    """Return those of some rows that survive NMS between crops, which prefers the masks of smaller crops."""
    some = rows.select(among)
    smallness = np.float32(1) / boxes.box_area(some.crop_boxes_xyxy).astype(np.float32)
    return np.asarray(among[distinct_rows(some, smallness, config.crop_nms_iou, config)])


def _with_jitter(
    rows: Proposals,
    ends: NDArray[np.int64],
    chosen: NDArray[np.int64],
    looked_at: Sequence[Crop],
    embeddings: Sequence[Embedding],
    segmenter: Segmenter,
    config: ProposeConfig,
) -> Proposals:
    """Fill the jitter columns of the rows that survive NMS at the floors; the others cannot survive triage there."""
    filled = {name: np.full(len(rows), np.nan, np.float32) for name in ("jitter_stability", "jitter_iou")}
    for crop, embedding, first, last in zip(looked_at, embeddings, ends[:-1], ends[1:], strict=True):
        own = chosen[(chosen >= first) & (chosen < last)]
        some = rows.select(own)
        rles = some.rles.tolist()
        if crop.layer > 0 and rles:
            rles = rle.crop(rles, crop.box_xyxy, (int(some.sizes_hw[0, 0]), int(some.sizes_hw[0, 1])))
        points_xy, boxes_xyxy = in_crop(some, crop)
        target = Target(points_xy, boxes_xyxy if config.refine else None, some.mask_index, some.mask_id.tolist(), rles)
        filled["jitter_stability"][own], filled["jitter_iou"][own] = jitter_scores(segmenter, embedding, target, config)
    return rows.replace(**filled)


def _cleaned(rows: Proposals, size_hw: tuple[int, int], config: ProposeConfig) -> Proposals:
    """Fill small holes, drop small islands, and drop the duplicates this makes, preferring untouched masks.

    Source: facebookresearch/segment-anything, postprocess_small_regions.
    """
    if config.min_region_area_px == 0 or len(rows) == 0:
        return rows
    cleaned, untouched = rows.rles.copy(), np.ones(len(rows), np.float32)
    for i, run in enumerate(rows.rles):
        mask, filled = regions.remove_small_regions(rle.decode([run], size_hw)[0], config.min_region_area_px, "holes")
        mask, dropped = regions.remove_small_regions(mask, config.min_region_area_px, "islands")
        if filled or dropped:
            cleaned[i], untouched[i] = rle.encode(mask[None])[0], 0
    runs = cleaned.tolist()
    rows = rows.replace(rles=cleaned, boxes_xyxy=rle.to_boxes(runs, size_hw), area_px=rle.area(runs, size_hw))
    return rows.select(distinct_rows(rows, untouched, max(config.nms_iou, config.crop_nms_iou), config))
