"""Parquet shards: what models make, several images a file, one row group an image.

A shard is written to a temporary file, synced, renamed, and its folder synced; then one transaction of the catalogue
names it and marks its images done. Readers go by the catalogue only, so a file that a kill has left behind is never
read; the next writer sweeps it away.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import os
import threading
import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from workbench.outputs import sync_folder
from workbench.store import files
from workbench.store.errors import StoreError
from workbench.tables.proposals import COLUMNS, NOT_STORED, TEXT, Column, Proposals

FOLDER = "shards"
COMPRESSION = "zstd"
_REPEATED = ["image_id", "model_id", "parent_id", "prompt", "source", "label"]  # few values: stored as a dictionary


@dataclasses.dataclass(frozen=True)
class Shard:
    """A shard that is whole and durable on disk, though no catalogue names it yet.

    path : below the project's folder; rows, images : how many it holds; size_bytes : of the file
    """

    path: str
    rows: int
    images: int
    size_bytes: int


class ShardWriter:
    """One shard in the making: `add` rows image by image, then `finish`, or `abandon` it.

    Parameters
    ----------
    project : the project's folder; folder : below it, where the shard goes
    """

    def __init__(self, project: Path, folder: str) -> None:
        files.make_folder(project / folder)
        self.path = f"{folder}/{uuid.uuid4().hex[:16]}.parquet"
        self.rows = self.images = 0
        self._final = project / self.path
        self._draft = self._final.with_suffix(".tmp")
        self._file: IO[bytes] | None = None
        self._parquet: Any = None

    def add(self, proposals: Proposals, extra: Mapping[str, Any] | None = None) -> int:
        """Write the rows of one image and return the number of their row group.

        Parameters
        ----------
        extra : further columns by name, (N,) strings or booleans, as ground truth has

        Raises
        ------
        StoreError : when the disk refuses; the shard is gone then, and nothing of it will be read
        """
        table = to_table(proposals, extra)
        try:
            if self._parquet is None:
                self._open(table.schema)
            self._parquet.write_table(table, row_group_size=max(len(table), 1))
        except OSError as error:
            raise self._failed(error) from error
        files.reached("image_written")
        self.rows += len(proposals)
        self.images += 1
        return self.images - 1

    def _open(self, schema: pa.Schema) -> None:
        self._file = self._draft.open("xb")
        self._parquet = pq.ParquetWriter(
            self._file,
            schema,
            compression=COMPRESSION,
            use_dictionary=[name for name in _REPEATED if name in schema.names],
            write_statistics=False,
        )
        files.reached("shard_opened")

    def finish(self) -> Shard:
        """Make the shard durable under its name. Raises StoreError as `add` does."""
        if self._file is None:
            raise ValueError("ShardWriter.finish: expected at least one image, got none")
        try:
            self._parquet.close()
            files.reached("shard_written")
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            files.reached("shard_synced")
            size = self._draft.stat().st_size
            self._draft.rename(self._final)
            files.reached("shard_renamed")
            sync_folder(self._final.parent)
            files.reached("folder_synced")
        except OSError as error:
            raise self._failed(error) from error
        return Shard(self.path, self.rows, self.images, size)

    def abandon(self) -> None:
        """Remove what was written; nothing of it was ever readable."""
        if self._file is not None and not self._file.closed:
            if self._parquet is not None:
                self._parquet.is_open = False  # or it writes its footer later, to a file that is closed
            with contextlib.suppress(OSError):  # its last bytes may not fit
                self._file.close()
        self._draft.unlink(missing_ok=True)

    def _failed(self, error: OSError) -> StoreError:
        self.abandon()
        if files.is_full(error):
            what = f"the disk is full ({error.strerror or error}): free some space"
        else:
            what = f"the disk refused ({error.strerror or error}): see that {self._final.parent} can be written"
        return StoreError(
            f"a shard could not be written, {what} and call the same again; everything written before is kept, "
            f"only the {self.images + 1} image(s) of this shard are done again"
        )


def sweep(folder: Path, named: set[str]) -> list[str]:
    """Remove the files that a kill has left in a folder of shards: drafts, and shards that no catalogue names.

    Only for the one writer of the folder, under its lock.

    Parameters
    ----------
    named : file names of the shards that the catalogue has for this folder

    Returns
    -------
    the names of the files removed
    """
    left = [f for f in folder.glob("*") if f.suffix in (".tmp", ".parquet") and f.name not in named]
    for file in left:
        file.unlink()
    return sorted(f.name for f in left)


class ShardReader:
    """Reads images from the shards of a project, keeping the shards read last open; safe to use from threads."""

    def __init__(self, project: Path, keep: int = 12) -> None:
        self._project, self._keep = project, keep
        self._lock = threading.Lock()
        self._open: collections.OrderedDict[str, Any] = collections.OrderedDict()

    def read(self, path: str, row_group: int) -> pa.Table:
        """Return the rows of one image. Raises StoreError when the shard is missing or damaged."""
        return self.groups(path, [row_group])[0]

    def groups(self, path: str, row_groups: Sequence[int]) -> tuple[pa.Table, list[int]]:
        """Return the rows of several images, one after the other, and how many each has. Raises StoreError as `read`."""
        with self._lock, _readable(self._project / path):
            return _groups(self._parquet(path), row_groups, None)

    def proposals(self, path: str, row_group: int) -> Proposals:
        """Return the rows of one image as proposals. Raises StoreError as `read` does."""
        return from_table(self.read(path, row_group))

    def _parquet(self, path: str) -> Any:
        if path not in self._open:
            self._open[path] = pq.ParquetFile(self._project / path, memory_map=False)
            while len(self._open) > self._keep:
                self._open.popitem(last=False)[1].close()
        self._open.move_to_end(path)
        return self._open[path]

    def close(self) -> None:
        """Close all files."""
        with self._lock:
            while self._open:
                self._open.popitem()[1].close()


def read_groups(
    project: Path, path: str, row_groups: Sequence[int], columns: Collection[str]
) -> tuple[pa.Table, list[int]]:
    """Return the rows of several images of a shard, one after the other, and how many each has.

    Parameters
    ----------
    columns : of `Proposals`; what an older version did not write is left out.

    Raises
    ------
    StoreError : when the shard is missing or damaged
    """
    with _readable(project / path), pq.ParquetFile(project / path, memory_map=False) as file:
        return _groups(file, row_groups, columns)


def _groups(file: Any, row_groups: Sequence[int], columns: Collection[str] | None) -> tuple[pa.Table, list[int]]:
    there = names = file.schema_arrow.names
    if columns is not None:
        wanted = [part for name in columns for part in (COLUMNS[name].names or (name,))]
        there = [name for name in wanted if name in names] or names[:1]  # of no column there would be no rows
    table = file.read_row_groups(list(row_groups), columns=there, use_threads=False)
    return table, [int(file.metadata.row_group(group).num_rows) for group in row_groups]


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Say in words when a shard is missing or damaged."""
    try:
        yield
    except (OSError, pa.ArrowException, IndexError) as error:
        what = "is missing" if isinstance(error, FileNotFoundError) else f"is damaged ({error})"
        raise StoreError(
            f"shard {path} {what}; restore it from a backup, or make its masks anew: import ground truth again, propose with other settings"
        ) from error


def to_table(proposals: Proposals, extra: Mapping[str, Any] | None = None) -> pa.Table:
    """Return proposals as an Arrow table of flat columns, `box_x0` ... for boxes."""
    columns = {name: pa.array(values, kind) for name, values, kind in _flat(proposals)}
    return pa.table({**columns, **{name: pa.array(list(values)) for name, values in (extra or {}).items()}})


def _flat(proposals: Proposals) -> Iterator[tuple[str, Any, pa.DataType]]:
    for name, column in COLUMNS.items():
        if name in NOT_STORED:
            continue
        values = getattr(proposals, name)
        for k, part in enumerate(column.names):
            yield part, np.ascontiguousarray(values[:, k]), _arrow(name, column)
        if not column.names:
            yield name, values, _arrow(name, column)


def _arrow(name: str, column: Column) -> pa.DataType:
    if column.dtype == TEXT:
        return pa.binary() if name == "rles" else pa.string()
    return pa.from_numpy_dtype(column.dtype)


def from_table(table: pa.Table, **given: Any) -> Proposals:
    """Return the proposals of an Arrow table; columns that an older version did not write get their defaults.

    Parameters
    ----------
    **given : columns that are taken from here, not from the table
    """
    columns: dict[str, Any] = dict(given)
    for name, column in COLUMNS.items():
        if name in given:
            continue
        parts = [_numpy(table, part) for part in (column.names or (name,)) if part in table.column_names]
        if parts:
            columns[name] = np.stack(parts, axis=1) if column.names else parts[0]
    return Proposals.make(**columns)


def _numpy(table: pa.Table, name: str) -> np.ndarray:
    values: np.ndarray = table.column(name).to_numpy()
    return values
