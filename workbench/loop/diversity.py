"""Diversity (C7): masks by size, rarity, small objects, occlusion; and the share of categories that are found."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.calibrate.intervals import FEW_EVENTS, draw_images, exact_binomial, percentiles
from workbench.masks.regions import eroded
from workbench.plain import plain
from workbench.plotted import Plotted
from workbench.tables.figures import Interval
from workbench.tables.proposals import Proposals

Floats = NDArray[np.float64]
LEAST_RECALL = 0.5
LEAST_LABELLED = 0.5  # share of masks with a label from which those speak for all
_DRAWS = 1000


@dataclasses.dataclass(frozen=True, eq=False)
class Diversity(Plotted):
    """How varied a set of masks is, beside a reference (the truth, or all final masks).

    size_edges_px : the quartiles of the reference's areas (3); size_shares : (4,) share of the masks in each quarter of the
        reference, 0.25 where they are as the reference. NaN where that has no masks
    rarity : mean inverse frequency of the labelled masks' categories, 1 where they are as the reference; NaN where fewer
        than half of these masks, or of the reference, are labelled
    categories : effective number among the labelled masks, e to the entropy; NaN where fewer than half are labelled
    occlusion : mean share of an outline that touches another mask; occluded : share of masks with more than a tenth
    small_found : small masks of the reference (its lowest quartile of areas) matched one to one at IoU >= 0.5 by one of
        these ÷ small masks of the reference; not known where it was not compared
    n : masks; what : which they are; grouped_by : what rarity counts: "label", "embedding", or "" for nothing
    labelled : masks that have one
    """

    size_edges_px: Floats
    size_shares: Floats
    rarity: float
    categories: float
    occlusion: float
    occluded: float
    n: int
    what: str = "final masks"
    small_found: Interval = dataclasses.field(default_factory=Interval.unknown)
    grouped_by: str = ""
    labelled: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values for JSON; what is not known is None."""
        return plain({field.name: getattr(self, field.name) for field in dataclasses.fields(self)})


def diversity(
    masks: Proposals,
    reference: Proposals | None = None,
    labels: ArrayLike | None = None,
    reference_labels: ArrayLike | None = None,
    what: str = "final masks",
    touched: ArrayLike | None = None,
) -> Diversity:
    """Return the diversity of masks beside a reference.

    Parameters
    ----------
    masks : of any images; reference : None for the masks themselves
    labels, reference_labels : categories, or embedding clusters, of either, "" where a mask has none; None for no such
    touched : (N,) share of each outline that touches another mask; None for `occlusion` among these masks
    """
    other = masks if reference is None else reference
    edges = np.quantile(other.area_px, [0.25, 0.5, 0.75]) if len(other) else np.full(3, np.nan)
    nan = float("nan")
    if not len(masks):
        return Diversity(edges, np.full(4, nan), nan, nan, nan, nan, 0, what)
    named, enough = _labelled(labels)
    theirs, known = (named, enough) if reference_labels is None else _labelled(reference_labels)
    outlines = occlusion(masks) if touched is None else np.asarray(touched, np.float64)
    return Diversity(
        edges,
        quarters(masks.area_px, other.area_px),
        float(rarity(named, theirs).mean()) if enough and known else nan,
        effective_number(named) if enough else nan,
        float(outlines.mean()),
        float((outlines > 0.1).mean()),
        len(masks),
        what,
        grouped_by="label" if len(named) else "",
        labelled=len(named),
    )


def _labelled(labels: ArrayLike | None) -> tuple[NDArray[np.str_], bool]:
    """Return the labels there are, and whether they are enough to speak for all masks."""
    names: NDArray[np.str_] = np.asarray([] if labels is None else labels).astype(str)
    named = np.asarray(names[names != ""])
    return named, len(named) > 0 and len(named) >= LEAST_LABELLED * len(names)


def quarters(areas: ArrayLike, reference: ArrayLike) -> Floats:
    """Return the share of areas in each quarter of a reference's, from small to large, (4,); NaN where either is empty.

    An area spans the places that equal ones have among the reference in order, and is split over the quarters of these,
    so that the reference itself gives a quarter each, whatever its ties.
    """
    own, ordered = np.asarray(areas, np.float64), np.sort(np.asarray(reference, np.float64))
    if not len(own) or not len(ordered):
        return np.full(4, np.nan)
    first, last = (np.searchsorted(ordered, own, side)[:, None] for side in ("left", "right"))
    cuts = len(ordered) * np.array([0.25, 0.5, 0.75])
    width = np.maximum(last - first, 1e-9)  # none of an area that the reference lacks: it lies at a point
    below = np.clip((cuts - (first + last) / 2) / width + 0.5, 0, 1)  # (N, 3) share of each area under each cut
    return np.diff(below.mean(axis=0), prepend=0, append=1)


def rarity(labels: ArrayLike, reference: ArrayLike | None = None) -> Floats:
    """Return the inverse frequency of each mask's category, (N,): reference masks ÷ (categories × masks of that one).

    A category that the reference lacks counts as one mask of it.
    """
    names, counts = np.unique(np.asarray(labels if reference is None else reference).astype(str), return_counts=True)
    each = dict(zip(names.tolist(), counts.tolist(), strict=True))
    total, own = sum(each.values()), np.asarray(labels).astype(str)
    return np.array([total / (max(len(each), 1) * each.get(label, 1)) for label in own.tolist()], np.float64)


def effective_number(labels: ArrayLike) -> float:
    """Return e to the entropy of the categories: how many equally frequent ones are as varied. Source: Hill 1973."""
    counts = np.unique(np.asarray(labels).astype(str), return_counts=True)[1]
    shares = counts / counts.sum()
    return float(np.exp(-(shares * np.log(shares)).sum())) if len(counts) else 0.0


def occlusion(masks: Proposals) -> Floats:
    """Return for each mask the share of its outline's pixels that lie in, or next to, another mask of its image, (N,).

    The outline: pixels of the mask with a neighbour (of four) outside, the image's border included.
    """
    found = np.zeros(len(masks))
    for _, rows in masks.by_image():
        size = masks.sizes_hw[rows[0]]
        near = np.zeros(size + 2, np.uint16)  # how many masks lie in or next to each pixel; a frame of one pixel
        cut = [_cut_out(masks, row) for row in rows]
        for mask, (y, x) in cut:
            near[y : y + mask.shape[0] + 2, x : x + mask.shape[1] + 2] += _grown(mask)
        for row, (mask, (y, x)) in zip(rows, cut, strict=True):
            outline = mask & ~eroded(mask)
            others = near[y + 1 : y + 1 + mask.shape[0], x + 1 : x + 1 + mask.shape[1]] > 1
            found[row] = (others & outline).sum() / max(int(outline.sum()), 1)
    return found


def _cut_out(masks: Proposals, row: Any) -> tuple[NDArray[np.bool_], tuple[int, int]]:
    whole = masks.masks(int(row))
    y, x = np.flatnonzero(whole.any(axis=1)), np.flatnonzero(whole.any(axis=0))
    if not len(y):
        return np.zeros((0, 0), bool), (0, 0)
    return whole[y[0] : y[-1] + 1, x[0] : x[-1] + 1], (int(y[0]), int(x[0]))


def _grown(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The mask and all pixels next to it (of eight), one pixel wider on every side."""
    h, w = mask.shape
    grown = np.zeros((h + 2, w + 2), bool)
    for dy in range(3):
        for dx in range(3):
            grown[dy : dy + h, dx : dx + w] |= mask
    return grown


# ---- categories ---------------------------------------------------------------------------------------------------


def category_diversity(
    found: ArrayLike, labels: ArrayLike, image: ArrayLike, rng: np.random.Generator, least: int = 20
) -> tuple[Interval, str]:
    """Return the share of true categories whose recall_auto is at least 0.5, with words where it is not known.

    Parameters
    ----------
    found : (T,) bool, true masks matched by an auto-accepted one; labels, image : (T,)
    least : true masks that a category counts from
    """
    hit, names, groups = np.asarray(found, bool), np.asarray(labels).astype(str), np.asarray(image)
    codes = np.unique(groups, return_inverse=True)[1].reshape(-1)
    enough = [name for name in _names(names) if (names == name).sum() >= least]
    if not enough:
        return Interval.unknown(), f"no category has {least} true masks"
    images = int(codes.max()) + 1
    totals = np.stack([np.bincount(codes[names == name], minlength=images) for name in enough])
    hits = np.stack([np.bincount(codes[(names == name) & hit], minlength=images) for name in enough])
    value = float((hits.sum(axis=1) / totals.sum(axis=1) >= LEAST_RECALL).mean())
    if images < 2:
        return Interval(value, float("nan"), float("nan"), len(enough)), "one image: no interval"
    picks = draw_images(images, _DRAWS, rng)
    drawn_totals, drawn_hits = totals @ picks.T, hits @ picks.T
    there = drawn_totals > 0
    good = drawn_hits >= LEAST_RECALL * drawn_totals
    # drawing a few images anew hardly moves their recall: at either end these go by the exact interval of their masks
    few, ends = (totals > 0).sum(axis=1) < FEW_EVENTS, exact_binomial(hits.sum(axis=1), totals.sum(axis=1))
    low, high = (
        percentiles(
            (np.where(few[:, None], end[:, None] >= LEAST_RECALL, good) & there).sum(axis=0)
            / np.maximum(there.sum(axis=0), 1)
        )[i]
        for i, end in enumerate(ends)
    )
    return Interval(value, min(low, value), max(high, value), len(enough), "bootstrap"), ""


def _names(labels: NDArray[np.str_]) -> Iterable[str]:
    return [str(name) for name in np.unique(labels) if name]
