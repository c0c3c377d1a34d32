"""Proposals beside the truth of their images: overlaps found once, then matched for any choice of proposals."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.config import ProposeConfig
from workbench.masks import rle
from workbench.masks.matching import Overlaps
from workbench.propose import grid
from workbench.tables.proposals import Proposals

WRONG_IOU = 0.75  # from it on, a mask matched one to one is right
LEAST_IOU = 0.5  # the lowest IoU that any figure matches at
SMALL_SHARE = 0.25  # the lowest quartile of areas
SMALL_COCO_PX = 32**2
_MATCHINGS_KEPT = 16

Flags = NDArray[np.bool_]
NONE, ACCEPT, REJECT = range(3)  # verdicts of people on masks


class Verdicts(NamedTuple):
    """Which rows are right (matched one to one with a true mask that is to be found), and which are wrong, (N,)."""

    right: Flags
    wrong: Flags


class TrueImage(NamedTuple):
    """What is known to be true of an image.

    masks : none is a truth too; ignore : (T,) masks that are neither to be found nor wrong to find; crowd : (T,) regions
    of many things, as in COCO: what lies in one is neither right nor wrong; unseen : (T,) final masks that nobody looked at
    one by one: they are to be found, but nobody vouched for them, so what overlaps one is neither right nor wrong
    """

    masks: Proposals
    ignore: Flags
    crowd: Flags
    unseen: Flags

    @classmethod
    def of(
        cls,
        masks: Proposals,
        crowd: ArrayLike | None = None,
        ignore: ArrayLike | None = None,
        unseen: ArrayLike | None = None,
    ) -> TrueImage:
        """Return the truth of an image, by default without crowds, with nothing to ignore and everything looked at."""
        flags = (ignore, crowd, unseen)
        return cls(masks, *(np.zeros(len(masks), bool) if f is None else np.asarray(f, bool) for f in flags))

    @property
    def known(self) -> dict[str, tuple[bool, ...]]:
        """What is said of each mask, by its id: ignore, crowd, unseen."""
        flags = zip(*(some.tolist() for some in self[1:]), strict=True)
        return dict(zip(self.masks.mask_id.tolist(), flags, strict=True))


class ComparedImage(NamedTuple):
    """One image of a `Comparison`: made by `compare_image`."""

    image_id: str
    labelled: bool
    rows: int
    overlaps: Overlaps
    crowd_share: NDArray[np.float64]  # (rows,) largest share of each mask that lies in a crowd
    ignore: Flags  # (T,)
    unseen: Flags  # (T,)
    area_px: NDArray[np.int64]  # (T,)
    image_px: int
    on_grid: Flags  # (T,) holds a point of the grid
    reviewed: bool  # people gave verdicts
    verdict: NDArray[np.uint8]  # (rows,) NONE, ACCEPT or REJECT


def compare_image(
    image_id: str,
    proposals: Proposals,
    true: TrueImage | None,
    floors: ProposeConfig | None = None,
    verdicts: Mapping[str, int] | None = None,
) -> ComparedImage:
    """Find which proposals of an image overlap which true masks.

    Parameters
    ----------
    proposals : rows of this image
    true : its truth; None where there is none
    floors : how the proposals were made, for the grid that the ceiling asks for
    verdicts : ACCEPT or REJECT by mask id, of what people looked at one by one; None where nobody reviewed the image

    Raises
    ------
    ValueError : if masks have different sizes, or the columns of the truth different lengths
    """
    none = np.zeros(0, bool)
    given = verdicts or {}
    said = verdicts is not None, np.array([given.get(mask, NONE) for mask in proposals.mask_id], np.uint8)
    if true is None or not len(true.masks):
        overlaps = Overlaps.of_image([], [], (1, 1), LEAST_IOU)
        overlaps = dataclasses.replace(overlaps, n_a=len(proposals))
        no_share = np.zeros(len(proposals))
        pixels = int(proposals.sizes_hw[0].prod()) if len(proposals) else 0
        areas = none.astype(np.int64)
        return ComparedImage(
            image_id, true is not None, len(proposals), overlaps, no_share, none, none, areas, pixels, none, *said
        )
    size_hw = _size(image_id, proposals, true)
    masks, crowds = (list(true.masks.rles[chosen]) for chosen in (~true.crowd, true.crowd))
    found = list(proposals.rles)
    return ComparedImage(
        image_id,
        True,
        len(found),
        Overlaps.of_image(found, masks, size_hw, LEAST_IOU),
        _share_in(found, crowds, size_hw),
        true.ignore[~true.crowd],
        true.unseen[~true.crowd],
        rle.area(masks, size_hw),
        size_hw[0] * size_hw[1],
        _on_grid(masks, size_hw, floors),
        *said,
    )


def _size(image_id: str, proposals: Proposals, true: TrueImage) -> tuple[int, int]:
    if not len(true.masks) == len(true.ignore) == len(true.crowd) == len(true.unseen):
        raise ValueError(
            f"truth of image {image_id!r}: expected ignore, crowd and unseen for each of {len(true.masks)} masks,"
            f" got {len(true.ignore)}, {len(true.crowd)} and {len(true.unseen)}"
        )
    sizes = np.unique(np.concatenate([proposals.sizes_hw, true.masks.sizes_hw]), axis=0)
    if len(sizes) != 1:
        raise ValueError(
            f"image {image_id!r}: expected proposals and truth of one size (h, w), got {sizes.tolist()};"
            " import the truth again for the image as it is now"
        )
    return int(sizes[0, 0]), int(sizes[0, 1])


def _share_in(found: Sequence[bytes], crowds: Sequence[bytes], size_hw: tuple[int, int]) -> NDArray[np.float64]:
    """The largest share of each mask's area inside one crowd: COCO's IoU with a crowd."""
    if not found or not crowds:
        return np.zeros(len(found))
    iou = rle.iou_matrix(found, crowds, size_hw)
    areas, crowd_areas = (rle.area(some, size_hw).astype(np.float64) for some in (found, crowds))
    # whole numbers far below 2**52, so rounding gives the intersection back exactly
    shared = np.rint(iou * (areas[:, None] + crowd_areas) / (1 + iou))
    return np.asarray((shared / np.maximum(areas, 1)[:, None]).max(axis=1))


def _on_grid(masks: Sequence[bytes], size_hw: tuple[int, int], floors: ProposeConfig | None) -> Flags:
    """Which masks hold a point of the grid of any crop; all of them where the grid is not known."""
    if floors is None:
        return np.ones(len(masks), bool)
    points = np.concatenate([grid.points(c, floors) + c.box_xyxy[:2] for c in grid.crops(size_hw, floors)])
    x, y = (np.minimum(points[:, k].astype(int), size_hw[1 - k] - 1) for k in (0, 1))
    there = np.zeros(size_hw, bool)
    there[y, x] = True
    (prompts,) = rle.encode(there[None])
    return np.asarray(rle.iou_matrix(masks, [prompts], size_hw)[:, 0] > 0)


@dataclasses.dataclass(frozen=True, eq=False)
class Comparison:
    """Proposals of M images beside their truth, N rows and T true masks (crowds left out), image after image.

    image_ids : M names; labelled : (M,) which have truth; image_of_row : (N,); image_of_truth : (T,)
    ignore, unseen, area_px, on_grid : (T,); image_px : (M,) pixels of each image; crowd_share : (N,)
    small_px : the largest area that counts as small: the lowest quartile of the areas of the truth
    reviewed : (M,) which have verdicts of people; verdict : (N,) NONE, ACCEPT or REJECT
    """

    image_ids: tuple[str, ...]
    labelled: Flags
    image_of_row: NDArray[np.int64]
    image_of_truth: NDArray[np.int64]
    overlaps: Overlaps
    crowd_share: NDArray[np.float64]
    ignore: Flags
    unseen: Flags
    area_px: NDArray[np.int64]
    image_px: NDArray[np.int64]
    on_grid: Flags
    small_px: float
    reviewed: Flags
    verdict: NDArray[np.uint8]

    @classmethod
    def of(cls, images: Iterable[ComparedImage], small_px: float | None = None) -> Comparison:
        """Put images together; their rows are counted on in this order.

        Parameters
        ----------
        small_px : the largest area that counts as small; None for the lowest quartile of these images' truth
        """
        found = list(images)
        area_px = _joined([image.area_px for image in found], np.int64)
        ignore = _joined([image.ignore for image in found], bool)
        counted = area_px[~ignore]
        quartile = float(np.quantile(counted, SMALL_SHARE)) if len(counted) else 0.0
        return cls(
            tuple(image.image_id for image in found),
            np.array([image.labelled for image in found], bool),
            np.repeat(np.arange(len(found)), [image.rows for image in found]).astype(np.int64),
            np.repeat(np.arange(len(found)), [len(image.area_px) for image in found]).astype(np.int64),
            Overlaps.joined([image.overlaps for image in found], LEAST_IOU),
            _joined([image.crowd_share for image in found], np.float64),
            ignore,
            _joined([image.unseen for image in found], bool),
            area_px,
            np.array([image.image_px for image in found], np.int64),
            _joined([image.on_grid for image in found], bool),
            quartile if small_px is None else small_px,
            np.array([image.reviewed for image in found], bool),
            _joined([image.verdict for image in found], np.uint8),
        )

    @classmethod
    def of_tables(
        cls,
        proposals: Proposals,
        truth: Proposals,
        images: Sequence[str],
        crowd: ArrayLike | None = None,
        floors: ProposeConfig | None = None,
        small_px: float | None = None,
    ) -> tuple[Comparison, NDArray[np.int64]]:
        """Compare two tables over images that all have truth, some of them none to be found.

        Parameters
        ----------
        images : the ids of all the images; rows of others are left out
        crowd : (T,) which true masks are crowds

        Returns
        -------
        the comparison, and the positions of its rows among `proposals`
        """
        crowds = np.zeros(len(truth), bool) if crowd is None else np.asarray(crowd, bool)
        rows, true, nothing = dict(proposals.by_image()), dict(truth.by_image()), np.zeros(0, np.int64)
        found, positions = [], [nothing]
        for image_id in dict.fromkeys(images):
            own, theirs = rows.get(image_id, nothing), true.get(image_id, nothing)
            of_image = TrueImage.of(truth.select(theirs), crowds[theirs])
            found.append(compare_image(image_id, proposals.select(own), of_image, floors))
            positions.append(own)
        return cls.of(found, small_px), np.concatenate(positions)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_kept", {})  # figures ask for the same matchings, and distinct rows do not move

    def __len__(self) -> int:
        return len(self.image_of_row)

    def matched(self, rows: Flags, iou: float) -> NDArray[np.int64]:
        """Return the pairs of `overlaps` that match chosen rows with truth one to one, to be found before ignored."""
        kept: dict[tuple[bytes, float], NDArray[np.int64]] = self._kept  # type: ignore[attr-defined]
        key = np.packbits(rows).tobytes(), iou
        pairs = kept.get(key)
        if pairs is None:
            pairs = kept[key] = self._match(rows, iou)
            for old in list(kept)[:-_MATCHINGS_KEPT]:
                kept.pop(old, None)
        return pairs

    def _match(self, rows: Flags, iou: float) -> NDArray[np.int64]:
        wanted = self.overlaps.one_to_one(iou, rows, ~self.ignore)
        if not self.ignore.any():
            return wanted
        left = rows.copy()
        left[self.overlaps.a[wanted]] = False
        return np.concatenate([wanted, self.overlaps.one_to_one(iou, left, self.ignore)])

    def found(self, rows: Flags, iou: float) -> Flags:
        """Return which true masks that are to be found are matched by one of the chosen rows, (T,)."""
        found = np.zeros(len(self.ignore), bool)
        found[self.overlaps.b[self.matched(rows, iou)]] = True
        return found & ~self.ignore

    def verdicts(self, rows: Flags, iou: float = WRONG_IOU) -> Verdicts:
        """Return which chosen rows are right, and which are wrong.

        Neither are rows of images without truth, rows that overlap a mask that nobody looked at and, as in COCO, rows
        matched with an ignored mask and unmatched ones that lie in a crowd.
        """
        pairs = self.matched(rows, iou)
        a, b = self.overlaps.a[pairs], self.overlaps.b[pairs]
        unsaid = self.ignore[b] | self.unseen[b]
        right, aside = np.zeros(len(self), bool), self.crowd_share >= iou
        aside[self.overlaps.a[self.unseen[self.overlaps.b]]] = True
        right[a], aside[a] = ~unsaid, unsaid
        return Verdicts(right, rows & ~right & ~aside & self.labelled[self.image_of_row])

    def whole(self, rows: Flags, iou: float = WRONG_IOU) -> Flags:
        """Return the images with truth, (M,), in which each chosen row is right, wrong or in a crowd.

        Verdicts on the others are of the masks that were doubted, and say nothing of those that were not.
        """
        right, wrong = self.verdicts(rows, iou)
        unsaid = rows & ~right & ~wrong & (self.crowd_share < iou)
        return np.asarray(self.labelled & (np.bincount(self.image_of_row[unsaid], minlength=len(self.image_ids)) == 0))


def _joined(parts: Iterable[NDArray[Any]], dtype: type) -> NDArray[Any]:
    return np.concatenate([np.zeros(0, dtype), *parts]).astype(dtype, copy=False)
