"""Proposals of many images at once: whole stretches of shards are read, in threads, instead of an image at a time."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from workbench.ahead import Ahead
from workbench.store import shards
from workbench.store.runs import ImageFile
from workbench.tables.proposals import COLUMNS, NOT_STORED, Proposals

STORED = tuple(name for name in COLUMNS if name not in NOT_STORED)
IMAGES = 512  # of a block at least, up to the end of their shard
_MOST_IMAGES = 4096
_ROWS_AHEAD = 2**18
_THREADS = 2
_ALWAYS = ("rles", "mask_id")  # what `Proposals.make` would count rows by, or compute


class Block(NamedTuple):
    """Images of a run that are done, in their order, with their proposals.

    image_ids : of the images that have proposals, M; starts : (M + 1,) where the rows of each begin
    done : how many images these are, those without proposals among them
    """

    image_ids: list[str]
    starts: np.ndarray
    proposals: Proposals
    done: int

    def each(self) -> Iterator[tuple[str, Proposals]]:
        """Yield each image that has proposals, with these."""
        for image_id, (a, b) in zip(self.image_ids, itertools.pairwise(self.starts.tolist()), strict=True):
            yield image_id, self.proposals.select(slice(a, b))


def read(project: Path, files: Iterable[ImageFile], columns: Collection[str]) -> Iterator[Block]:
    """Yield the proposals of images, several hundred at a time, read ahead in threads.

    Parameters
    ----------
    project : its folder; files : images in their order; those that are not done are passed over
    columns : of `Proposals` that are read; others get their defaults, masks and `mask_id` too. Image ids are always there

    Raises
    ------
    StoreError : when a shard is missing or damaged
    """
    done = [file for file in files if file.status == "done"]

    def block(some: list[ImageFile]) -> Block:
        return _block(project, some, columns)

    with Ahead(block, _cut(done), lambda b: len(b.proposals), most=_ROWS_AHEAD, count=4, threads=_THREADS) as blocks:
        yield from blocks


def _cut(files: list[ImageFile]) -> Iterator[list[ImageFile]]:
    """Cut images where a shard ends, so that each shard is opened once as long as one writer wrote them in order."""
    start = 0
    while start < len(files):
        stop = min(start + IMAGES, len(files))
        most = min(start + _MOST_IMAGES, len(files))
        while stop < most and files[stop].shard == files[stop - 1].shard:
            stop += 1
        yield files[start:stop]
        start = stop


def _block(project: Path, files: list[ImageFile], columns: Collection[str]) -> Block:
    found = [(str(f.image_id), f.shard, f.row_group) for f in files if f.shard is not None and f.row_group is not None]
    members: dict[str, list[int]] = {}
    for k, (_, shard, _) in enumerate(found):
        members.setdefault(shard, []).append(k)
    counts, first, before = np.zeros(len(found), np.int64), np.zeros(len(found), np.int64), 0
    parts = []
    for shard, own in members.items():
        table, rows = shards.read_groups(project, shard, [found[k][2] for k in own], columns)
        ids = np.array([found[k][0] for k in own], dtype=object)
        named = {name: np.full(len(table), COLUMNS[name].default, object) for name in _ALWAYS if name not in columns}
        parts.append(shards.from_table(table, image_id=np.repeat(ids, rows), **named))
        counts[own], first[own] = rows, before + np.cumsum(rows) - rows
        before += len(table)
    starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    whole = parts[0] if len(parts) == 1 else Proposals.concat(parts)
    if not np.array_equal(first, starts[:-1]):  # several wrote, by turns: back to the order of the images
        whole = whole.select(np.arange(before) + np.repeat(first - starts[:-1], counts))
    return Block([image_id for image_id, *_ in found], starts, whole, len(files))
