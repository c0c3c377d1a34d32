"""From low-resolution logits to masks at the size of the image: stability score, box, area and run lengths."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch

from workbench.config import ProposeConfig
from workbench.masks import rle
from workbench.masks.compiled import compiled
from workbench.propose import on_device
from workbench.propose.cells import Measured, measure_cells
from workbench.propose.decode import in_batches
from workbench.propose.grid import Crop
from workbench.propose.interpolate import enlargement
from workbench.sam.segmenter import Embedding, Segmenter

if TYPE_CHECKING:
    from numpy.typing import NDArray

# logits at the size of the image that are held at once; 256 MB as float32, whatever the image and the batch
PIXELS_AT_ONCE = 64_000_000
# a mask this near to the edge of a crop, but not of the image, was probably cut by it
CROP_EDGE_PX = 20


@dataclasses.dataclass(frozen=True)
class Scored:
    """Masks that pass the floors, in the order they came.

    index : (K,) position among the logits scored; stability_score : (K,) float32; area_px : (K,) int64;
    boxes_xyxy : (K, 4) int32 half-open, px of the image; rles : K run lengths at the size of the image
    cut : (C,) positions of those that were dropped for the edge of their crop alone
    """

    index: NDArray[np.int64]
    stability_score: NDArray[np.float32]
    area_px: NDArray[np.int64]
    boxes_xyxy: NDArray[np.int32]
    rles: list[bytes]
    cut: NDArray[np.int64]


def upscale(segmenter: Segmenter, embedding: Embedding, logits: torch.Tensor) -> torch.Tensor:
    """Return (K, h, w) low-resolution logits at the size of the image, (K, H, W) float32."""
    # masks along the batch: many channels make torch interpolate by a kernel that rounds otherwise
    return segmenter.upscale(logits[:, None], embedding)[:, 0]


def score_masks(
    segmenter: Segmenter,
    embedding: Embedding,
    logits: torch.Tensor,
    crop: Crop,
    size_hw: tuple[int, int],
    config: ProposeConfig,
) -> Scored:
    """Measure and encode masks at the size of the image, and keep those at or above the stability floor.

    Empty masks are dropped, and so are masks cut by the edge of a crop that is not the image's edge; with
    `regions="largest"` the rest of each mask is.

    Parameters
    ----------
    logits : (K, h, w) low-resolution logits
    crop : what was embedded; size_hw : of the whole image, px

    Source: facebookresearch/segment-anything, SamAutomaticMaskGenerator._process_batch.
    """
    measured = measure_low(segmenter, embedding, logits, config.stability_offset)
    if measured is not None:
        counts, boxes, rles = measured
        return _scored(counts, boxes, lambda index: [rles[i] for i in index], crop, size_hw, config)
    height, width = crop.size_hw

    def score(part: slice) -> Scored:
        return _score(upscale(segmenter, embedding, logits[part]), segmenter.mask_threshold, crop, size_hw, config)

    parts = [
        dataclasses.replace(scored, index=scored.index + part.start, cut=scored.cut + part.start)
        for part, scored in in_batches(score, len(logits), max(1, PIXELS_AT_ONCE // (height * width)))
    ]
    return Scored(
        np.concatenate([p.index for p in parts] or [np.zeros(0, np.int64)]),
        np.concatenate([p.stability_score for p in parts] or [np.zeros(0, np.float32)]),
        np.concatenate([p.area_px for p in parts] or [np.zeros(0, np.int64)]),
        np.concatenate([p.boxes_xyxy for p in parts] or [np.zeros((0, 4), np.int32)]),
        [run for p in parts for run in p.rles],
        np.concatenate([p.cut for p in parts] or [np.zeros(0, np.int64)]),
    )


def measure_low(
    segmenter: Segmenter, embedding: Embedding, logits: torch.Tensor, offset: float = 0.0
) -> Measured | None:
    """Measure and encode masks at the size of the image from (K, h, w) low-resolution logits alone.

    Returns
    -------
    The same to the last bit as upscaled logits would give, for cuts at the segmenter's threshold + offset, threshold
    and threshold − offset; None where only `upscale` knows how (another device or segmenter, infinite or NaN logits)
    """
    sizes = enlargement(segmenter, embedding, logits)
    if sizes is None:
        return None
    low = logits.detach().contiguous().numpy()
    return measure_cells(low, sizes, _cuts(segmenter.mask_threshold, offset), torch.get_num_threads())


def _cuts(threshold: float, offset: float) -> NDArray[np.float32]:
    return np.array([threshold + offset, threshold, threshold - offset], np.float32)


def _score(
    logits: torch.Tensor, threshold: float, crop: Crop, size_hw: tuple[int, int], config: ProposeConfig
) -> Scored:
    """Measure and encode masks from (K, H, W) logits at the size of the crop."""
    counts, boxes = measure(logits, threshold, config.stability_offset)

    def encoded(index: NDArray[np.int64]) -> list[bytes]:
        return encode_above(logits[torch.as_tensor(index, device=logits.device)], threshold)

    return _scored(counts, boxes, encoded, crop, size_hw, config)


def encode_above(logits: torch.Tensor, threshold: float) -> list[bytes]:
    """Return the run lengths of (K, H, W) logits cut at a threshold, encoded where they are."""
    masks = logits > threshold
    return on_device.encode_masks(masks) if is_on_device(logits) else rle.encode(masks.numpy())


def _scored(
    counts: NDArray[np.int64],
    boxes_xyxy: NDArray[np.int32],
    encoded: Callable[[NDArray[np.int64]], list[bytes]],
    crop: Crop,
    size_hw: tuple[int, int],
    config: ProposeConfig,
) -> Scored:
    """Keep of K masks what the settings keep. The stability score is that of the whole mask, whatever its regions.

    Parameters
    ----------
    counts : (K, 3), px above the three cuts; boxes_xyxy : (K, 4), px of the crop
    encoded : gives the run lengths of the masks at an index, at the size of the crop
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        # float32 by float32, as torch divides two integer tensors
        stability = np.divide(counts[:, 0], counts[:, 2], dtype=np.float32)
    keep = counts[:, 1] > 0
    if config.stability_floor is not None:
        keep &= stability >= np.float32(config.stability_floor)
    index = np.flatnonzero(keep)
    rles, area_px, boxes = encoded(index), counts[index, 1], boxes_xyxy[index]
    if config.regions == "largest":
        rles = rle.largest_region(rles, crop.size_hw)
        area_px, boxes = rle.area(rles, crop.size_hw), rle.to_boxes(rles, crop.size_hw)
    boxes = boxes + np.array(crop.box_xyxy[:2] * 2, np.int32)
    is_cut = cut_by_crop(boxes, crop, size_hw)
    whole, cut = np.flatnonzero(~is_cut), index[is_cut]
    index = index[whole]
    in_image = _in_image([rles[i] for i in whole], crop, size_hw)
    return Scored(index, stability[index], area_px[whole], boxes[whole], in_image, cut)


def _in_image(rles: list[bytes], crop: Crop, size_hw: tuple[int, int]) -> list[bytes]:
    return rle.uncrop(rles, crop.box_xyxy, size_hw) if crop.layer > 0 else rles


def cut_by_crop(boxes_xyxy: NDArray[np.int32], crop: Crop, size_hw: tuple[int, int]) -> NDArray[np.bool_]:
    """Return which half-open boxes come within `CROP_EDGE_PX` of a side of the crop that is not near the image's.

    The official code compares its inclusive maxima with half-open crops; so does this.
    """
    inclusive = boxes_xyxy - np.array([0, 0, 1, 1], np.int32)
    near_crop = np.abs(inclusive - np.array(crop.box_xyxy)) <= CROP_EDGE_PX
    near_image = np.abs(inclusive - np.array([0, 0, size_hw[1], size_hw[0]])) <= CROP_EDGE_PX
    cut: NDArray[np.bool_] = (near_crop & ~near_image).any(axis=1)
    return cut


def measure(logits: torch.Tensor, threshold: float, offset: float) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Count pixels above three cuts of each mask, and box the middle one.

    Parameters
    ----------
    logits : (K, H, W) float32; threshold, offset : logit units

    Returns
    -------
    counts : (K, 3) int64, pixels above threshold + offset, threshold, threshold − offset
    boxes_xyxy : (K, 4) int32 half-open, zeros for an empty mask
    """
    cuts = _cuts(threshold, offset)
    if is_on_device(logits):
        return on_device.measure(logits, cuts)
    counts, boxes = _measure(logits.contiguous().numpy(), cuts)
    return counts, boxes


def is_on_device(logits: torch.Tensor) -> bool:
    """Return whether masks are measured and encoded by torch, where they are, instead of by numba on the CPU."""
    return logits.device.type != "cpu"


@compiled
def _measure(logits: NDArray[np.float32], cuts: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """One pass over each mask, row by row."""
    n, height, width = logits.shape
    counts = np.zeros((n, 3), np.int64)
    boxes = np.zeros((n, 4), np.int32)
    for k in range(n):
        x0, y0, x1, y1 = width, height, 0, 0
        for y in range(height):
            row = logits[k, y]
            high = middle = low = 0
            for x in range(width):
                high += row[x] > cuts[0]
                middle += row[x] > cuts[1]
                low += row[x] > cuts[2]
            counts[k, 0] += high
            counts[k, 1] += middle
            counts[k, 2] += low
            if middle == 0:
                continue
            y0, y1 = min(y0, y), y + 1
            first = 0
            while first < x0 and not row[first] > cuts[1]:
                first += 1
            x0 = min(x0, first)
            last = width
            while last > x1 and not row[last - 1] > cuts[1]:
                last -= 1
            x1 = max(x1, last)
        if counts[k, 1] > 0:
            boxes[k] = (x0, y0, x1, y1)
    return counts, boxes
