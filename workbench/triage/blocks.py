"""Rows of whole images in blocks of bounded size, and work on blocks in threads: what both pools are built on."""

from __future__ import annotations

import collections
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from workbench.ahead import Ahead
from workbench.masks.boxes import box_area
from workbench.tables.proposals import Proposals
from workbench.triage.rules import size_of_image

T = TypeVar("T")
R = TypeVar("R")

BLOCK_ROWS = 2**16  # enough work for a thread, and few enough blocks that calling costs nothing


class Images(NamedTuple):
    """Whole images of a table: rows ordered by image, then by `row` as triage takes them."""

    proposals: Proposals
    rows: NDArray[np.int64]  # (n,) positions in `proposals`
    starts: NDArray[np.int64]  # (images + 1,) places in `rows`
    before: int  # rows in the parts before: `before + rows` are positions among all rows given


def parts_of(proposals: Proposals | Iterable[Proposals]) -> Iterable[Proposals]:
    """Return the parts of what a pool is built from: one table, or tables that hold whole images each."""
    return [proposals] if isinstance(proposals, Proposals) else proposals


def whole_images(parts: Iterable[Proposals]) -> Iterator[Images]:
    """Yield all images in blocks of about BLOCK_ROWS rows, in order of first appearance.

    Raises
    ------
    ValueError : if the rows of an image come in several parts, or have several sizes or none
    """
    seen: set[str] = set()
    before = 0
    for part in _gathered(parts):
        codes, ids = _codes(part.image_id)
        again = seen.intersection(ids)
        if again:
            raise ValueError(f"parts: expected all rows of an image in one part, got {min(again)!r} in several")
        seen.update(ids)
        rows = np.lexsort((part.row, codes)).astype(np.int64)  # stable: equal rows stay in order
        starts = np.searchsorted(codes[rows], np.arange(len(ids) + 1))
        _check_sizes(part, rows, starts)
        for first, last in _cut(starts):
            a, b = starts[first], starts[last]
            yield Images(part, rows[a:b], starts[first : last + 1] - a, before)
        before += len(part)


def _gathered(parts: Iterable[Proposals]) -> Iterator[Proposals]:
    """Put small parts together, so that a part an image does not make a block an image."""
    waiting: list[Proposals] = []
    rows = 0
    for part in parts:
        waiting.append(part)
        rows += len(part)
        if rows >= BLOCK_ROWS:
            yield waiting[0] if len(waiting) == 1 else Proposals.concat(waiting)
            waiting, rows = [], 0
    yield Proposals.concat(waiting)


def _codes(image_id: NDArray[np.object_]) -> tuple[NDArray[np.int64], list[str]]:
    """Number the images in order of first appearance."""
    codes: dict[str, int] = {}
    numbers = [codes.setdefault(name, len(codes)) for name in image_id.tolist()]
    return np.array(numbers, dtype=np.int64), list(codes)


def _check_sizes(part: Proposals, rows: NDArray[np.int64], starts: NDArray[np.int64]) -> None:
    sizes = part.sizes_hw[rows]
    of_image = np.repeat(sizes[starts[:-1]], np.diff(starts), axis=0)
    wrong = np.flatnonzero(((sizes != of_image) | (sizes < 1)).any(axis=1))
    if len(wrong):
        image = np.searchsorted(starts, wrong[0], side="right") - 1
        of_this = rows[starts[image] : starts[image + 1]]
        size_of_image(part, of_this, str(part.image_id[of_this[0]]))


def _cut(starts: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Yield ranges of images whose rows are about BLOCK_ROWS; an image is never cut."""
    first, images = 0, len(starts) - 1
    while first < images:
        last = int(np.searchsorted(starts, starts[first] + BLOCK_ROWS, side="right")) - 1
        last = min(max(last, first + 1), images)
        yield first, last
        first = last


def number_crops(
    crops_xyxy: NDArray[np.int32], sizes_hw: NDArray[np.int32], starts: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Number the crops, image by image and by their first row; return the crop of each row and the area of each crop.

    Parameters
    ----------
    crops_xyxy, sizes_hw : (n, 4), (n, 2) of rows ordered by image; a crop without an area is the whole image
    starts : (images + 1,) where each image begins
    """
    crops = crops_xyxy.copy()
    unsaid = box_area(crops) == 0
    crops[unsaid, :2], crops[unsaid, 2:] = 0, sizes_hw[unsaid][:, ::-1]
    image_of = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
    first = np.unique(starts[image_of])
    of_image = np.searchsorted(first, np.arange(len(crops)), side="right") - 1  # without the images that have no rows
    if (crops == crops[first[of_image]]).all():
        return of_image, box_area(crops[first])
    _, seen, crop_of = np.unique(np.column_stack([image_of, crops]), axis=0, return_index=True, return_inverse=True)
    by_first = np.argsort(seen)
    number = np.empty(len(seen), np.int64)
    number[by_first] = np.arange(len(seen))
    return number[crop_of.reshape(-1)], box_area(crops[seen[by_first]])


def most_area_px(pixels: NDArray[np.float64], share: float) -> NDArray[np.int64]:
    """Return the largest area that `max_area_share` allows in each image, in the arithmetic of triage."""
    return np.floor(share * pixels).astype(np.int64)


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_turn(work: Callable[[T], R], over: Iterable[T]) -> Iterator[R]:
    """Yield `work` of each item, in order, while items that come late are waited for; few are held at a time."""
    threads = cores()
    with Ahead(work, over, lambda _: 1, most=threads, count=threads, threads=threads) as results:
        yield from results


def in_threads(work: Callable[[T], R], over: Sequence[T]) -> list[R]:
    """Return `work` of each item, in order; compiled work gives up the GIL and runs on all cores.

    The calling thread takes items as the others do: what is done sooner than they have started does not wait for them.
    """
    threads = min(cores(), len(over))
    if threads < 2:
        return [work(item) for item in over]
    found: dict[int, R] = {}
    items = iter(enumerate(over))  # all threads take from it: each item goes to one

    def some() -> None:
        try:
            for k, item in items:
                found[k] = work(item)
        except BaseException:
            collections.deque(items, maxlen=0)  # nothing is left for the others
            raise

    with ThreadPoolExecutor(threads - 1) as pool:
        others = [pool.submit(some) for _ in range(threads - 1)]
        some()
        for other in others:
            other.result()
    return [found[k] for k in range(len(over))]
