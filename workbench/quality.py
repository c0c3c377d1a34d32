"""Quality control of the masks of one image: coverage, overlapping pairs, automatic and manual masks combined (Q1–Q3),
and one owner for each pixel.

Masks are given as `Proposals` of one image or as (N, H, W) arrays; the work is done on run lengths.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from workbench.masks import pairs, rle
from workbench.tables.proposals import Proposals

Masks = Proposals | NDArray[np.bool_]
Size = tuple[int, int]


@dataclasses.dataclass(frozen=True)
class Coverage:
    """How much of an image its masks cover.

    coverage_ratio : pixels of the union of all masks ÷ pixels of the image; 0 without masks
    num_masks : number of masks
    avg_mask_size : pixels of the union ÷ number of masks, px; 0 without masks. Not the mean area: a pixel that several
        masks cover counts once.
    """

    coverage_ratio: float
    num_masks: int
    avg_mask_size: float


@dataclasses.dataclass(frozen=True, eq=False)
class Overlaps:
    """Pairs of masks that overlap too much: rows i < j and their IoU, ordered by i, then j; (K,) each."""

    i: NDArray[np.int64]
    j: NDArray[np.int64]
    iou: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.i)


@dataclasses.dataclass(frozen=True, eq=False)
class Combined:
    """Masks that passed the checks, those that fell, and for each of these the reason in words."""

    kept: Proposals
    dropped: Proposals
    why: list[str]


def coverage(masks: Masks, size_hw: Size | None = None) -> Coverage:
    """Return how much of the image the masks cover (Q1).

    Parameters
    ----------
    masks : Proposals of one image, or (N, H, W) bool
    size_hw : height and width of the image, px; checked where the masks have a size of their own

    Raises
    ------
    ValueError : if the masks belong to several images, or have another size

    Source: seed, section 7, `verify_coverage`.

    >>> coverage(np.array([[[1, 1], [0, 0]], [[1, 0], [1, 0]]], dtype=bool))
    Coverage(coverage_ratio=0.75, num_masks=2, avg_mask_size=1.5)
    """
    rles, size = _runs(masks, size_hw)
    if not rles:
        return Coverage(0.0, 0, 0.0)
    covered = int(rle.area([rle.union(rles, size)], size)[0])
    return Coverage(covered / (size[0] * size[1]), len(rles), covered / len(rles))


def overlaps(masks: Masks, max_overlap: float = 0.7) -> Overlaps:
    """Return the pairs of masks whose IoU is strictly above `max_overlap` (Q2).

    Parameters
    ----------
    masks : Proposals of one image, or (N, H, W) bool
    max_overlap : IoU in [0, 1]

    Raises
    ------
    ValueError : if the masks belong to several images, or max_overlap is outside [0, 1]

    Source: seed, section 7, `check_overlaps`.
    """
    _check_overlap(max_overlap)
    rles, size = _runs(masks, None)
    return Overlaps(*pairs.overlapping_within(rles, size, max_overlap))


def combine(automatic: Masks, manual: Masks, *, min_area: int = 100, max_overlap: float = 0.7) -> Combined:
    """Combine automatic and manual masks of one image, and keep those that pass the checks (Q3).

    A mask falls when it has fewer than `min_area` pixels, or when its IoU with a mask kept before it is strictly above
    `max_overlap`. Manual masks go first, then higher predicted IoU, then the order given.

    Parameters
    ----------
    automatic, manual : Proposals of one image, or (N, H, W) bool
    min_area : px
    max_overlap : IoU in [0, 1]

    Returns
    -------
    Combined; kept and dropped are in the order given, automatic masks before manual ones

    Raises
    ------
    ValueError : if the masks belong to several images or sizes, or a limit is out of its range

    Source: seed, section 7, `complete_annotation` and `QualityController`.
    """
    _check_overlap(max_overlap)
    if min_area < 0:
        raise ValueError(f"min_area: expected at least 0 px, got {min_area!r}")
    both = _together(_as_proposals(automatic, "automatic"), _as_proposals(manual, "manual"))
    is_manual = np.arange(len(both)) >= len(automatic)
    rles, size = _runs(both, None)
    areas = rle.area(rles, size)
    small = areas < min_area
    why = {int(k): f"area of {areas[k]} px is below {min_area} px" for k in np.flatnonzero(small)}
    order = np.lexsort((-np.nan_to_num(both.predicted_iou, nan=-np.inf), ~is_manual))
    large = order[~small[order]]
    i, j, iou = pairs.overlapping_within([rles[k] for k in large], size, max_overlap)
    for better, worse, overlap in zip(large[i], large[j], iou, strict=True):  # best masks first, as they are ordered
        if int(better) not in why and int(worse) not in why:
            kind = "manual" if is_manual[better] else "automatic"
            why[int(worse)] = (
                f"overlaps the {kind} mask {both.mask_id[better]} with an IoU of {overlap:.3f}, above {max_overlap}"
            )
    fell = np.zeros(len(both), dtype=bool)
    fell[list(why)] = True
    return Combined(both.select(~fell), both.select(fell), [why[k] for k in sorted(why)])


def label_map(masks: Masks, size_hw: Size | None = None) -> NDArray[np.int32]:
    """Return which mask each pixel of an image belongs to, as label images of other tools have it.

    Where masks overlap, the smallest owns the pixel, so that what is nested lies on what holds it; of equal ones the first.

    Parameters
    ----------
    masks : Proposals of one image, or (N, H, W) bool
    size_hw : of the image, px; only needed without masks

    Returns
    -------
    (H, W) int32: 0 for the ground, k + 1 for mask k

    Raises
    ------
    ValueError : if the masks belong to several images or sizes, or there are none and no size is given
    """
    if size_hw is None and isinstance(masks, np.ndarray) and masks.ndim == 3:
        size_hw = (masks.shape[1], masks.shape[2])
    rles, size = _runs(masks, size_hw)
    if not rles and size_hw is None:
        raise ValueError("label_map: expected masks or size_hw=(height, width), got neither")
    owner = np.zeros(size, np.int32)
    for k in np.argsort(rle.area(rles, size), kind="stable")[::-1]:  # the first of equal ones last
        owner[rle.decode([rles[k]], size)[0]] = k + 1
    return owner


def _runs(masks: Masks, size_hw: Size | None) -> tuple[list[bytes], Size]:
    """Return the run lengths of masks of one image, and their size."""
    if not isinstance(masks, Proposals):
        array = np.asarray(masks)
        own = (int(array.shape[1]), int(array.shape[2])) if array.ndim == 3 and array.size else None
        rles = rle.encode(array)
    else:
        rles, own = list(masks.rles), _one_size(masks)
    if own is not None and size_hw is not None and own != tuple(size_hw):
        raise ValueError(f"size_hw: the masks are {own} (h, w), got {tuple(size_hw)}; was it written as (w, h)?")
    return rles, own or size_hw or (1, 1)  # of no masks, any size will do


def _one_size(masks: Proposals) -> Size | None:
    images = sorted(set(masks.image_id.tolist()))
    if len(images) > 1:
        raise ValueError(f"expected masks of one image, got {len(images)} ({images[0]!r}, {images[1]!r}, ...); select")
    sizes = np.unique(masks.sizes_hw, axis=0)
    if len(sizes) > 1:
        raise ValueError(f"expected masks of one size (h, w), got {sizes.tolist()}")
    return (int(sizes[0, 0]), int(sizes[0, 1])) if len(sizes) else None


def _as_proposals(masks: Masks, source: str) -> Proposals:
    if isinstance(masks, Proposals):
        return masks
    rles, size = _runs(masks, None)
    return Proposals.make(
        rles=rles, boxes_xyxy=rle.to_boxes(rles, size), area_px=rle.area(rles, size), sizes_hw=size, source=source
    )


def _together(automatic: Proposals, manual: Proposals) -> Proposals:
    """Put both into one table; masks given as an array are of the image that the others are of."""
    if len(automatic) and len(manual):
        one, other = automatic.image_id[0], manual.image_id[0]
        if one and not other:
            manual = manual.replace(image_id=one)
        elif other and not one:
            automatic = automatic.replace(image_id=other)
    return Proposals.concat([automatic, manual])


def _check_overlap(max_overlap: float) -> None:
    if not 0 <= max_overlap <= 1:
        raise ValueError(f"max_overlap: expected an IoU in [0, 1], got {max_overlap!r}")
