"""COCO run lengths: encode, decode, compare and merge masks; check what comes from outside.

A mask is its compressed COCO string (`counts`, bytes) and its size (h, w). Runs go down the columns, background
first. Strings are canonical (no empty run after the first), so equal masks have equal strings, the same ones that
pycocotools writes. The work is done in C by rlemasklib; only the checks of foreign input are ours.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import rlemasklib
from numpy.typing import NDArray
from rlemasklib import RLEMask

Size = tuple[int, int]

MAX_PIXELS = 2**28  # 16,384 squared; larger claims are taken for an attack or a fault
_MAX_RUN = 2**32 - 1  # rlemasklib, as pycocotools, counts in uint32


def encode(masks: NDArray[Any]) -> list[bytes]:
    """Return the compressed COCO string of each mask.

    Parameters
    ----------
    masks : (N, H, W) bool or uint8, non-zero is mask; quickest when C-contiguous

    Raises
    ------
    ValueError : if masks is not three-dimensional, or has no pixels

    >>> encode(np.array([[[0, 1], [0, 1]]], dtype=bool))
    [b'22']
    """
    if masks.ndim != 3:
        raise ValueError(f"masks: expected (N, H, W), got shape {masks.shape}; give one mask as mask[None]")
    if masks.shape[0] == 0:
        return []
    _check_size(masks.shape[1:], None)
    if masks.dtype != np.bool_ and masks.dtype != np.uint8:
        masks = masks != 0
    encoded = rlemasklib.encode(np.ascontiguousarray(masks), batch_first=True)
    return [one["counts"] for one in encoded]


def decode(rles: Sequence[bytes], size_hw: Size) -> NDArray[np.bool_]:
    """Return the masks as pixels: (N, H, W) bool, C-contiguous.

    >>> decode([b"22"], (2, 2)).astype(int).tolist()
    [[[0, 1], [0, 1]]]
    """
    out = np.zeros((len(rles), *_check_size(size_hw, None)), dtype=np.uint8)
    for pixels, mask in zip(out, _parse(rles, size_hw), strict=True):
        mask.decode_into(pixels, fg_value=1)
    return out.view(np.bool_)


def area(rles: Sequence[bytes], size_hw: Size) -> NDArray[np.int64]:
    """Return the number of pixels of each mask, (N,) int64.

    >>> area([b"22", b"4"], (2, 2)).tolist()
    [2, 0]
    """
    return np.array([mask.area() for mask in _parse(rles, size_hw)], dtype=np.int64)


def to_boxes(rles: Sequence[bytes], size_hw: Size) -> NDArray[np.int32]:
    """Return the half-open xyxy box around each mask in pixels, (N, 4) int32; all zeros for an empty mask.

    >>> to_boxes([b"22", b"4"], (2, 2)).tolist()
    [[1, 0, 2, 2], [0, 0, 0, 0]]
    """
    boxes = np.zeros((len(rles), 4), dtype=np.int32)
    for row, mask in zip(boxes, _parse(rles, size_hw), strict=True):
        if mask.any():
            x, y, w, h = mask.bbox()
            row[:] = x, y, x + w, y + h
    return boxes


def iou_matrix(
    a: Sequence[bytes], b: Sequence[bytes], size_hw: Size, kind: Literal["iou", "smaller"] = "iou"
) -> NDArray[np.float64]:
    """Return the overlap of each mask of `a` with each of `b`, (A, B) float64 in [0, 1]; 0 where a mask is empty.

    Parameters
    ----------
    kind : "iou", intersection over union; "smaller", intersection over the area of the smaller mask, which is 1 for
        a mask inside another

    >>> iou_matrix([b"22"], [b"04", b"22"], (2, 2)).tolist()
    [[0.5, 1.0]]
    >>> iou_matrix([b"22"], [b"04", b"22"], (2, 2), kind="smaller").tolist()
    [[1.0, 1.0]]
    """
    if kind not in ("iou", "smaller"):
        raise ValueError(f"kind: expected 'iou' or 'smaller', got {kind!r}")
    masks_a, masks_b = list(_parse(a, size_hw)), list(_parse(b, size_hw))
    iou: NDArray[np.float64] = RLEMask.iou_matrix(masks_a, masks_b)
    if kind == "iou" or iou.size == 0:
        return iou
    area_a = np.array([m.area() for m in masks_a], dtype=np.float64)[:, None]
    area_b = np.array([m.area() for m in masks_b], dtype=np.float64)[None, :]
    # areas are whole numbers far below 2**52, so rounding gives the intersection back exactly
    intersection = np.rint(iou * (area_a + area_b) / (1 + iou))
    smaller: NDArray[np.float64] = intersection / np.maximum(np.minimum(area_a, area_b), 1)
    return smaller


def merge(rles: Sequence[bytes], size_hw: Size, how: Literal["union", "intersection", "difference"] = "union") -> bytes:
    """Return one mask made of many: their union, their intersection, or the first without all others.

    No masks give the empty mask.

    >>> merge([b"04", b"22"], (2, 2), how="difference")
    b'022'
    """
    if how not in ("union", "intersection", "difference"):
        raise ValueError(f"how: expected 'union', 'intersection' or 'difference', got {how!r}")
    masks = list(_parse(rles, size_hw))
    if not masks:
        return _string(RLEMask.zeros(_check_size(size_hw, None)))
    if how == "intersection":
        return _string(RLEMask.intersection(masks))
    if how == "difference":
        first, others = masks[0], masks[1:]
        return _string(first - RLEMask.union(others) if others else first)
    return _string(RLEMask.union(masks))


def union(rles: Sequence[bytes], size_hw: Size) -> bytes:
    """Return the union of the masks; no masks give the empty mask.

    >>> union([b"022", b"22"], (2, 2))
    b'04'
    """
    return merge(rles, size_hw, how="union")


def largest_region(rles: Sequence[bytes], size_hw: Size) -> list[bytes]:
    """Return of each mask its largest region alone; pixels that touch at a corner belong together.

    >>> largest_region([b"0111", b"4"], (1, 4))
    [b'22', b'4']
    """
    return [_string(mask.largest_connected_component(connectivity=8)) for mask in _parse(rles, size_hw)]


def uncrop(rles: Sequence[bytes], crop_box_xyxy: Sequence[int], size_hw: Size) -> list[bytes]:
    """Return masks of a crop as masks of the whole image, background outside the crop.

    Parameters
    ----------
    crop_box_xyxy : half-open box of the crop in the image, in pixels; the masks have its size
    size_hw : size of the image

    >>> uncrop([b"01"], (1, 0, 2, 1), (2, 2))
    [b'211']
    """
    h, w = _check_size(size_hw, None)
    x0, y0, x1, y1 = _inside(crop_box_xyxy, h, w)
    crops = _parse(rles, (y1 - y0, x1 - x0))
    return [_string(mask.pad(y0, h - y1, x0, w - x1)) for mask in crops]


def crop(rles: Sequence[bytes], crop_box_xyxy: Sequence[int], size_hw: Size) -> list[bytes]:
    """Return masks of an image as masks of a crop of it, without what lies outside.

    Parameters
    ----------
    crop_box_xyxy : half-open box of the crop in the image, in pixels
    size_hw : size of the image

    >>> crop([b"211"], (1, 0, 2, 1), (2, 2))
    [b'01']
    """
    h, w = _check_size(size_hw, None)
    x0, y0, x1, y1 = _inside(crop_box_xyxy, h, w)
    return [_string(mask.crop(np.array([x0, y0, x1 - x0, y1 - y0]))) for mask in _parse(rles, (h, w))]


def _inside(crop_box_xyxy: Sequence[int], h: int, w: int) -> tuple[int, int, int, int]:
    x0, y0, x1, y1 = (int(v) for v in crop_box_xyxy)
    if not (0 <= x0 < x1 <= w and 0 <= y0 < y1 <= h):
        raise ValueError(f"crop_box_xyxy: expected a box inside {w}×{h} px (w×h), got {(x0, y0, x1, y1)}")
    return x0, y0, x1, y1


def unpack_runs(rles: Sequence[bytes]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the runs of all masks in one array, and where each mask's runs begin.

    Returns
    -------
    runs : (R,) int64, the lengths in pixels, each mask's background first
    offsets : (N + 1,) int64; mask i has runs[offsets[i]:offsets[i + 1]]

    Raises
    ------
    ValueError : if a string is not a COCO string; its index is named

    Source: the string format of cocoapi, common/maskApi.c, rleToString.

    >>> unpack_runs([b"22", b"04"])
    (array([2, 2, 0, 4]), array([0, 2, 4]))
    """
    ends = np.cumsum([len(one) for one in rles], dtype=np.int64)
    chars = np.frombuffer(b"".join(rles), dtype=np.uint8).astype(np.int64) - 48
    last = (chars & 0x20) == 0  # the sixth bit says that the number goes on
    stops = np.flatnonzero(last)
    starts = np.concatenate(([0], stops[:-1] + 1)).astype(np.int64) if len(stops) else stops
    offsets = np.concatenate(([0], np.cumsum(last, dtype=np.int64)[ends - 1])) if len(chars) else None
    if offsets is None or (np.diff(ends, prepend=0) == 0).any() or not last[ends - 1].all():
        if not len(rles):
            return np.zeros(0, dtype=np.int64), np.zeros(1, dtype=np.int64)
        lacking = [i for i, one in enumerate(rles) if not one or (one[-1] - 48) & 0x20]
        raise ValueError(f"mask {lacking[0]}: the run-length string ends in the middle of a number; is it cut off?")
    digits = stops - starts + 1
    strange = np.flatnonzero((chars < 0) | (chars > 63))
    if len(strange) or digits.max() > 7:
        at = strange[0] if len(strange) else starts[digits.argmax()]
        raise ValueError(
            f"mask {np.searchsorted(ends, at, side='right')}: expected a compressed COCO string of run lengths,"
            " got characters that are none; uncompressed counts go through from_coco"
        )
    places = 5 * (np.arange(len(chars)) - np.repeat(starts, digits))
    values = np.add.reduceat((chars & 0x1F) << places, starts)
    values -= np.where(chars[stops] & 0x10, np.int64(1) << (5 * digits), 0)
    runs = _undo_differences(values, offsets)
    wrong = np.flatnonzero((runs < 0) | (runs > _MAX_RUN))
    if len(wrong):
        mask = np.searchsorted(offsets, wrong[0], side="right") - 1
        raise ValueError(f"mask {mask}: a run of {runs[wrong[0]]} px is no run length; the string is damaged")
    return runs, offsets


def counts_to_runs(counts: bytes) -> NDArray[np.uint32]:
    """Return the run lengths of one compressed string, (R,) uint32, background first.

    Raises
    ------
    ValueError : if the string is malformed

    >>> counts_to_runs(b"22").tolist()
    [2, 2]
    """
    return unpack_runs([counts])[0].astype(np.uint32)


def runs_to_counts(runs: NDArray[Any] | Sequence[int]) -> bytes:
    """Return the canonical compressed string of run lengths; runs of length 0 after the first are merged away.

    Raises
    ------
    ValueError : if a run is negative, not whole, or the sum exceeds 2**32 - 1

    >>> runs_to_counts([2, 1, 0, 1])
    b'22'
    """
    array = np.asarray(runs)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise ValueError(f"runs: expected a list of whole numbers, got {array.dtype} of shape {array.shape}")
    if array.size == 0:
        return b""
    # each is compared before the sum is made, so that the sum cannot wrap
    if array.min() < 0 or array.max() > _MAX_RUN or (total := int(array.sum(dtype=np.uint64))) > _MAX_RUN:
        raise ValueError(f"runs: expected lengths from 0 to {_MAX_RUN} px in sum, got {array.min()} to {array.max()}")
    counts: bytes = rlemasklib.compress({"size": [total, 1], "ucounts": array.astype(np.uint32)})["counts"]
    return counts or b"0"  # a mask of no pixels


def _check_total(runs: NDArray[Any] | Sequence[int], h: int, w: int) -> None:
    total = int(np.sum(runs, dtype=np.uint64))
    if total != h * w:
        raise ValueError(
            f"the runs sum to {total} px, but the size {(h, w)} has {h * w} px;"
            " was the size written as (w, h), or the image changed?"
        )


def from_coco(segmentation: Mapping[str, Any], max_pixels: int = MAX_PIXELS) -> tuple[bytes, Size]:
    """Return the canonical mask of a COCO segmentation, and its size (h, w).

    What comes from outside is checked; nothing of the size that it claims is allocated.

    Parameters
    ----------
    segmentation : {"size": [h, w], "counts": compressed string (bytes or str) or list of run lengths}. Polygons go
        through `polygons.from_coco_polygons`.

    Raises
    ------
    ValueError : if it is no such dict, the size is not positive or has more than `max_pixels`, the runs are malformed,
        or they do not sum to h·w

    >>> from_coco({"size": [2, 2], "counts": [2, 1, 0, 1]})
    (b'22', (2, 2))
    """
    if not isinstance(segmentation, Mapping) or not {"size", "counts"} <= segmentation.keys():
        raise ValueError(f"segmentation: expected a dict with 'size' and 'counts', got {_short(segmentation)}")
    size, counts = segmentation["size"], segmentation["counts"]
    if isinstance(size, str) or not isinstance(size, Sequence | np.ndarray) or len(size) != 2:
        raise ValueError(f"size: expected [h, w], got {_short(size)}")
    h, w = _check_size(size, max_pixels)
    if isinstance(counts, str | bytes):
        try:
            runs: Any = counts_to_runs(counts.encode("ascii") if isinstance(counts, str) else counts)
        except UnicodeEncodeError as error:
            raise ValueError(f"counts: expected ASCII, got {_short(counts)}") from error
    elif isinstance(counts, Sequence | np.ndarray):
        runs = counts
    else:
        raise ValueError(f"counts: expected a string or a list of run lengths, got {_short(counts)}")
    canonical = runs_to_counts(runs)
    _check_total(runs, h, w)
    return canonical, (h, w)


def _undo_differences(values: NDArray[np.int64], offsets: NDArray[np.int64]) -> NDArray[np.int64]:
    """Each number from a mask's fourth on is stored as the difference from the last but one: sum them up again."""
    lengths = np.diff(offsets)
    # every mask gets whole rows of a two-column table (background, foreground), so that one cumulative sum serves all
    row_start = np.concatenate(([0], np.cumsum((lengths + 1) // 2)))
    place = np.arange(len(values)) - np.repeat(offsets[:-1] - 2 * row_start[:-1], lengths)
    table = np.zeros((int(row_start[-1]), 2), dtype=np.int64)
    table.reshape(-1)[place] = values
    first = row_start[:-1]
    leading = table[first, 0].copy()
    table[first, 0] = 0  # the third number is no difference from the first
    sums = np.cumsum(table, axis=0)
    before = np.repeat(sums[first] - table[first], np.diff(row_start), axis=0)
    sums -= before
    sums[first, 0] = leading
    runs: NDArray[np.int64] = sums.reshape(-1)[place]
    return runs


def _parse(rles: Sequence[bytes], size_hw: Size) -> Iterator[RLEMask]:
    size = list(_check_size(size_hw, None))
    return (RLEMask.from_dict({"size": size, "counts": counts}) for counts in rles)


def _string(mask: RLEMask) -> bytes:
    counts: bytes = mask.to_dict()["counts"]
    return counts


def _check_size(size_hw: Sequence[Any] | NDArray[Any], max_pixels: int | None) -> Size:
    h, w = size_hw
    if isinstance(h, bool) or not all(isinstance(v, int | np.integer) for v in (h, w)) or h < 1 or w < 1:
        raise ValueError(f"size: expected a height and a width of at least 1 px, got ({_short(h)}, {_short(w)})")
    limit = _MAX_RUN if max_pixels is None else max_pixels
    if int(h) * int(w) > limit:
        raise ValueError(
            f"size: expected at most {limit} px, got {h}×{w} px (h×w);"
            " if that is meant, raise max_pixels or cut the image into tiles"
        )
    return int(h), int(w)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
