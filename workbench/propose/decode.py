"""Prompts decoded in batches that halve themselves when memory runs out, and how far the hypotheses disagree."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import TypeVar

import numpy as np
import torch

from workbench.config import ProposeConfig
from workbench.sam.segmenter import Answers, Embedding, Segmenter, SharingSegmenter

log = logging.getLogger(__name__)
T = TypeVar("T")


def in_batches(work: Callable[[slice], T], n: int, size: int) -> Iterator[tuple[slice, T]]:
    """Yield `work(part)` for consecutive parts of `n` items, at most `size` each, halving the size on out-of-memory.

    Raises
    ------
    MemoryError : when a single item does not fit
    """
    start = 0
    while start < n:
        part = slice(start, min(start + size, n))
        try:
            done = work(part)
        except (MemoryError, RuntimeError) as error:
            if not _out_of_memory(error):
                raise
            if size == 1:
                raise MemoryError(
                    "one prompt does not fit into memory: use a smaller image or another device"
                ) from error
            size = max(1, size // 2)
            log.warning("out of memory: going on with batches of %d", size)
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            continue
        yield part, done
        start = part.stop


def _out_of_memory(error: Exception) -> bool:
    # the CPU allocator of torch raises a bare RuntimeError
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "can't allocate memory" in str(error)


def decode_points(
    segmenter: Segmenter, embedding: Embedding, points_xy: np.ndarray, config: ProposeConfig, floor: float
) -> Iterator[tuple[slice, Answers]]:
    """Yield for each batch of single-point prompts what the model says to them.

    Parameters
    ----------
    points_xy : (P, 2) float64 px of what was embedded
    floor : prompts without a hypothesis above it (strictly, in float32) have no logits
    """

    def decode(part: slice) -> Answers:
        return answer(segmenter, embedding, points_xy[part], config, floor)

    return in_batches(decode, len(points_xy), config.points_per_batch)


def answer(
    segmenter: Segmenter,
    embedding: Embedding,
    points_xy: np.ndarray,
    config: ProposeConfig,
    floor: float,
    boxes_xyxy: np.ndarray | None = None,
) -> Answers:
    """Answer (P, 2) single-point prompts at once, each with a box (P, 4) where given, by the decoder that the settings name."""
    points, labels = points_xy[:, None, :], np.ones((len(points_xy), 1), np.int64)
    floor = np.float32(floor).item()  # 0.88 as a float64 lies on the other side of some scores
    if config.decoder == "shared" and isinstance(segmenter, SharingSegmenter):
        return segmenter.decode_shared(embedding, points, labels, floor, boxes_xyxy)
    logits, iou = segmenter.decode(embedding, points, labels, boxes_xyxy)
    index = torch.nonzero(~(iou <= floor).all(1)).flatten()
    return Answers(iou, index, logits[index])


def hypothesis_spread(logits: torch.Tensor, threshold: float) -> torch.Tensor:
    """Return for each hypothesis 1 − its mean IoU with the other hypotheses of the same prompt.

    Measured on the low-resolution logits, where masks are cheap to compare; two empty masks agree.

    Parameters
    ----------
    logits : (B, M, h, w) float

    Returns
    -------
    (B, M) float32 in [0, 1]; 0 where M = 1
    """
    masks = (logits > threshold).flatten(2)
    count = masks.shape[1]
    if count < 2:
        return torch.zeros(masks.shape[:2], device=logits.device)
    total = torch.zeros(masks.shape[:2], device=logits.device)
    for i in range(count):
        for j in range(i + 1, count):
            inter = (masks[:, i] & masks[:, j]).sum(-1)
            union = (masks[:, i] | masks[:, j]).sum(-1)
            iou = torch.where(union > 0, inter / union.clamp(min=1), torch.ones_like(inter, dtype=torch.float32))
            total[:, i] += iou
            total[:, j] += iou
    return 1 - total / (count - 1)
