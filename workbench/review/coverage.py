"""What to ask a person about an image: is a large region left without masks (R5), does a new mask overlap one (R6)."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from workbench.masks import pairs, regions, rle
from workbench.review.config import ReviewConfig
from workbench.review.state import REJECT, ImageReview
from workbench.tables.outcomes import Outcome

COVERAGE_TEXT = "Significant unmasked region detected. Continue annotating?"


@dataclasses.dataclass(frozen=True)
class Unmasked:
    """What no kept mask covers, and whether to ask about it.

    share : pixels that no kept mask covers ÷ pixels of the image
    area_px, box_xyxy, rle : the largest connected region of them; 0, zeros and the empty mask where there is none
    holds : rows of the candidates that lie in it; ask : whether to ask
    """

    share: float
    area_px: int
    box_xyxy: tuple[int, int, int, int]
    rle: bytes
    holds: tuple[int, ...]
    ask: bool


@dataclasses.dataclass(frozen=True, eq=False)
class Overlapping:
    """Kept masks that a new one overlaps: their rows, IoU, and intersection over the smaller mask; worst first, (K,)."""

    rows: NDArray[np.int64]
    iou: NDArray[np.float64]
    smaller: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.rows)


def unmasked(
    kept: Sequence[bytes],
    candidates: Sequence[bytes],
    size_hw: tuple[int, int],
    config: ReviewConfig | None = None,
    *,
    incomplete: bool = False,
) -> Unmasked:
    """Return the largest region that no kept mask covers, and whether to ask the person who leaves the image (R5).

    It is asked when the unmasked share is above `coverage_share` and the region holds a candidate, which it does when
    at least `coverage_overlap` of the candidate's pixels lie in it.

    Parameters
    ----------
    kept : run lengths of the final masks; candidates : of the flagged and discarded proposals nobody has rejected
    incomplete : what a model of completeness says; it stands for a candidate
    """
    config = config or ReviewConfig()
    bare = ~rle.decode([rle.union(kept, size_hw)], size_hw)[0]
    share = float(bare.mean()) if bare.size else 0.0
    region = regions.largest_region(bare)
    (counts,) = rle.encode(region[None])
    holds: tuple[int, ...] = ()
    if len(candidates):
        inside = rle.area([rle.merge([c, counts], size_hw, "intersection") for c in candidates], size_hw)
        areas = rle.area(candidates, size_hw)
        held = (inside > 0) & (inside >= config.coverage_overlap * areas)
        holds = tuple(int(k) for k in np.flatnonzero(held))
    wanted = {"share": True, "off": False, "proposals": bool(holds) or incomplete}[config.coverage_rule]
    x0, y0, x1, y1 = rle.to_boxes([counts], size_hw)[0].tolist()
    return Unmasked(share, int(region.sum()), (x0, y0, x1, y1), counts, holds, wanted and share > config.coverage_share)


def unmasked_of(review: ImageReview, config: ReviewConfig | None = None, *, incomplete: bool = False) -> Unmasked:
    """Return the same for an image as it stands; `holds` are rows of its masks. Raises ValueError without a size."""
    if review.size_hw is None:
        raise ValueError(f"image {review.image_id}: expected an image whose size is known; run propose on it, or draw")
    final = review.final
    weak = (review.outcome == Outcome.flagged) | (review.outcome == Outcome.discarded)
    rows = np.flatnonzero(weak & ~final & ~review.drawn & ~review.superseded & (review.verdict != REJECT))
    rles = review.masks.rles
    found = unmasked(rles[final].tolist(), rles[rows].tolist(), review.size_hw, config, incomplete=incomplete)
    return dataclasses.replace(found, holds=tuple(int(rows[k]) for k in found.holds))


def overlapping(
    new: bytes, kept: Sequence[bytes], size_hw: tuple[int, int], config: ReviewConfig | None = None
) -> Overlapping:
    """Return which kept masks a new one overlaps by more than `overlap_warning` (R6).

    By IoU, or by intersection over the smaller mask, which finds nested masks too: it is never less than the IoU.
    """
    limit = (config or ReviewConfig()).overlap_warning
    _, rows, smaller = pairs.overlapping([new], kept, size_hw, limit, kind="smaller")
    iou = rle.iou_matrix([new], [kept[k] for k in rows], size_hw)[0] if len(rows) else np.zeros(0)
    order = np.lexsort((-iou, -smaller))
    return Overlapping(rows[order], iou[order], smaller[order])


def overlapping_of(review: ImageReview, mask_id: str, config: ReviewConfig | None = None) -> Overlapping:
    """Return the same for a mask of an image that was just drawn, against the other final ones; rows of its masks.

    Raises
    ------
    KeyError : for a mask that the image does not have
    """
    own = review.at(mask_id)
    others = np.flatnonzero(review.final & (np.arange(len(review)) != own))
    size = (int(review.masks.sizes_hw[own, 0]), int(review.masks.sizes_hw[own, 1]))
    found = overlapping(review.masks.rles[own], review.masks.rles[others].tolist(), size, config)
    return Overlapping(others[found.rows], found.iou, found.smaller)
