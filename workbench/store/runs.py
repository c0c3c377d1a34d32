"""Runs of a model over a project's images: which images are done, and the writer that marks them so."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import sqlalchemy as sa

from workbench.settings import did_you_mean
from workbench.store import files, shards
from workbench.store.catalog import Catalog, now
from workbench.store.errors import StoreError
from workbench.store.memory import peak_memory_mb
from workbench.store.schema import image_roots, images, models, run_images, runs
from workbench.store.schema import shards as shard_table
from workbench.tables.proposals import Proposals

ASKED_BY_NAME = 500  # from more names on, all images are read: databases limit the length of a question


@dataclasses.dataclass(frozen=True)
class Run:
    """A model with its settings over the images of a project; equal model and settings are the same run."""

    id: int
    model_id: str
    digest: str
    settings: Mapping[str, Any]
    peak_memory_mb: float | None

    @property
    def folder(self) -> str:
        """Where its shards lie, below the project's folder."""
        return f"{shards.FOLDER}/{self.id:04d}"


class ImageFile(NamedTuple):
    """A recorded image, its file, and what a run has to say of it."""

    key: int
    image_id: str | None
    root: str
    path: str
    status: str | None  # done or failed; None where it was not tried
    reason: str
    shard: str | None
    row_group: int | None


@dataclasses.dataclass(frozen=True)
class Limits:
    """When a shard is closed: at whatever comes first."""

    images: int = 64
    rows: int = 100_000
    seconds: float = 30.0


def begin(catalog: Catalog, model_id: str, digest: str, settings: Mapping[str, Any], made_by: str) -> Run:
    """Return the run of a model and its settings, made when it is the first; the latest it is from its next image on."""
    same = (runs.c.model_id == model_id) & (runs.c.digest == digest)
    with catalog.write() as connection:
        if not connection.execute(sa.select(models).where(models.c.model_id == model_id)).first():
            connection.execute(sa.insert(models).values(model_id=model_id, added_at=now()))
        if not connection.execute(sa.select(runs.c.id).where(same)).first():
            row = {"model_id": model_id, "digest": digest, "settings": dict(settings), "made_by": made_by}
            connection.execute(sa.insert(runs).values(**row, started_at=now(), turn=_NO_TURN))
        return _run(connection.execute(_SELECT.where(same)).one())


def _take_turn(connection: sa.Connection, run_id: int) -> None:
    """Make a run that has an image the latest."""
    has_image = sa.exists().where(run_images.c.run_id == run_id)
    turn = sa.select(1 + sa.func.max(runs.c.turn)).scalar_subquery()
    connection.execute(sa.update(runs).where((runs.c.id == run_id) & has_image).values(turn=turn))


_NO_TURN = 0  # of a run that no image is done of: what was refused, or tried on none, takes nobody's masks away
_SELECT = sa.select(runs.c.id, runs.c.model_id, runs.c.digest, runs.c.settings, runs.c.peak_memory_mb)


def _run(row: Any) -> Run:
    return Run(*row)


def find(catalog: Catalog, run_id: int | None = None) -> Run | None:
    """Return a run, by default the one worked on last; None when there is none yet.

    Raises
    ------
    StoreError : for a number that no run has
    """
    query = _SELECT.where(runs.c.turn > _NO_TURN).order_by(runs.c.turn.desc()).limit(1)
    with catalog.read() as connection:
        row = connection.execute(query if run_id is None else _SELECT.where(runs.c.id == run_id)).first()
        if row is None and run_id is not None:
            have = connection.execute(sa.select(runs.c.id).order_by(runs.c.id)).scalars().all()
            raise StoreError(f"run: expected one of {list(have)}, got {run_id!r}; project.runs() lists them")
    return None if row is None else _run(row)


def expect(run: Run | None, what: str) -> Run:
    """Return a run where there is one. Raises StoreError, which says for what proposals are needed."""
    if run is None:
        words = "expected proposals, there are none yet; run `workbench propose` (project.propose) first"
        raise StoreError(f"{what}: {words}")
    return run


def listed(names: Iterable[str]) -> list[str]:
    """Return names of images as a list. Raises TypeError for a text, whose letters are no names."""
    if isinstance(names, str):
        raise TypeError(f"images: expected a list of ids or paths, got the text {names!r}; put it in a list")
    return [str(name) for name in names]


def image_files(catalog: Catalog, run_id: int | None, names: Iterable[str] | None = None) -> list[ImageFile]:
    """Return images in their order, with what a run has to say of each.

    Parameters
    ----------
    names : ids or paths; None for all images

    Raises
    ------
    StoreError : for a name that no image has, with the nearest one
    """
    wanted = None if names is None else set(listed(names))
    seen = sa.and_(run_images.c.image_key == images.c.key, run_images.c.run_id == run_id)
    query = (
        sa.select(
            images.c.key,
            images.c.image_id,
            image_roots.c.path,
            images.c.path,
            run_images.c.status,
            sa.func.coalesce(run_images.c.reason, images.c.reason),
            shard_table.c.path,
            run_images.c.row_group,
        )
        .select_from(images.join(image_roots).outerjoin(run_images, seen).outerjoin(shard_table))
        .order_by(images.c.key)
    )
    with catalog.read() as connection:
        if wanted is None or len(wanted) > ASKED_BY_NAME:
            found = [ImageFile(*row) for row in connection.execute(query)]
        else:  # ids first: they have an index, paths alone have none
            found = [ImageFile(*row) for row in connection.execute(query.where(images.c.image_id.in_(wanted)))]
            paths = wanted - {file.image_id for file in found}
            if paths:
                found += [ImageFile(*row) for row in connection.execute(query.where(images.c.path.in_(paths)))]
                found = sorted({file.key: file for file in found}.values(), key=lambda file: file.key)
    if wanted is None:
        return found
    chosen = [file for file in found if file.image_id in wanted or file.path in wanted]
    _refuse_unknown(catalog, wanted - {file.path for file in chosen} - {file.image_id for file in chosen})
    return chosen


def _refuse_unknown(catalog: Catalog, unknown: set[str]) -> None:
    if not unknown:
        return
    name = min(unknown)
    with catalog.read() as connection:
        paths = connection.execute(sa.select(images.c.path)).scalars().all()
    hint = did_you_mean(name, paths[:10_000], "project.images() lists them")
    raise StoreError(f"image: expected the id or the path of an image, none is called {name!r}{hint}")


class RunWriter:
    """The one writer of a run: gathers images into shards and marks them done. Use `writing` to make one.

    Its calls take turns, so that a thread may write while another one ends the run.
    """

    def __init__(self, catalog: Catalog, project: Path, run: Run, limits: Limits) -> None:
        self.catalog, self.project, self.run, self.limits = catalog, project, run, limits
        self._shard: shards.ShardWriter | None = None
        self._rows: list[dict[str, Any]] = []
        self._sizes: list[dict[str, int]] = []
        self._since = time.monotonic()
        self._turn = threading.RLock()
        self._is_latest = False

    def done(self, key: int, size_hw: tuple[int, int], proposals: Proposals, distinct: int, seconds: float) -> None:
        """Take the proposals of an image; they are durable after the next `flush`. Raises StoreError."""
        group = None
        with self._turn:
            if len(proposals):
                self._shard = self._shard or shards.ShardWriter(self.project, self.run.folder)
                group = self._shard.add(proposals)
            self._sizes.append({"image": key, "h": size_hw[0], "w": size_hw[1]})
            self._note(key, "done", seconds, rows=len(proposals), distinct_rows=distinct, row_group=group)

    def failed(self, key: int, reason: str, message: str, seconds: float) -> None:
        """Take the reason why an image has no proposals."""
        with self._turn:
            self._note(key, "failed", seconds, reason=reason[:32], message=message[:2000])

    def _note(self, key: int, status: str, seconds: float, **more: Any) -> None:
        blank = {"reason": "", "message": "", "rows": 0, "distinct_rows": 0, "row_group": None}
        row = {"run_id": self.run.id, "image_key": key, "status": status, "seconds": seconds}
        self._rows.append({**blank, **row, **more})
        rows = self._shard.rows if self._shard else 0
        full = len(self._rows) >= self.limits.images or rows >= self.limits.rows
        if full or time.monotonic() - self._since >= self.limits.seconds:
            self.flush()

    def flush(self) -> None:
        """Make all that was taken durable: the shard on disk, then its images in the catalogue.

        Raises
        ------
        StoreError : when the disk or the database refuses; the images taken since the last flush are not done then
        """
        with self._turn:
            shard, self._shard, rows, self._rows = self._shard, None, self._rows, []
            sizes, self._sizes, self._since = self._sizes, [], time.monotonic()
            whole = shard.finish() if shard else None
            if not rows:
                return
            with self.catalog.write() as connection:
                files.reached("catalog_begun")
                _commit(connection, self.run.id, whole, rows, sizes)
                if not self._is_latest:  # once: a run that is written beside it and began later stays the later one
                    _take_turn(connection, self.run.id)
                files.reached("catalog_written")
            self._is_latest = True
            files.reached("catalog_committed")

    def abandon(self) -> None:
        """Forget what was taken since the last flush."""
        with self._turn:
            if self._shard:
                self._shard.abandon()
            self._shard, self._rows, self._sizes = None, [], []


def _commit(
    connection: sa.Connection,
    run_id: int,
    shard: shards.Shard | None,
    rows: list[dict[str, Any]],
    sizes: list[dict[str, int]],
) -> None:
    shard_id = None if shard is None else insert_shard(connection, shard, "proposals", run_id)
    keys = [row["image_key"] for row in rows]  # a failed image that is tried again has a row
    connection.execute(sa.delete(run_images).where((run_images.c.run_id == run_id) & run_images.c.image_key.in_(keys)))
    named = [{**row, "shard_id": shard_id if row["row_group"] is not None else None} for row in rows]
    connection.execute(sa.insert(run_images), named)
    if sizes:
        image = images.c.key == sa.bindparam("image")
        size: dict[str, Any] = {"height": sa.bindparam("h"), "width": sa.bindparam("w")}
        connection.execute(sa.update(images).where(image).values(size), sizes)
    peak = peak_memory_mb()
    less = (runs.c.id == run_id) & (sa.func.coalesce(runs.c.peak_memory_mb, 0.0) < peak)
    connection.execute(sa.update(runs).where(less).values(peak_memory_mb=peak))


def insert_shard(connection: sa.Connection, shard: shards.Shard, kind: str, run_id: int | None) -> int:
    """Name a shard in the catalogue, and return its number there."""
    values = {**dataclasses.asdict(shard), "kind": kind, "run_id": run_id, "written_at": now()}
    made = connection.execute(sa.insert(shard_table).values(values)).inserted_primary_key
    assert made is not None
    return int(made[0])


def shard_names(catalog: Catalog, folder: str) -> set[str]:
    """Return the names of the shards that the catalogue has in a folder."""
    query = sa.select(shard_table.c.path).where(shard_table.c.path.startswith(f"{folder}/", autoescape=True))
    with catalog.read() as connection:
        return {Path(path).name for path in connection.execute(query).scalars()}


@contextlib.contextmanager
def writing(catalog: Catalog, project: Path, run: Run, limits: Limits | None = None) -> Iterator[RunWriter]:
    """Yield the one writer of a run, with what a kill had left behind swept away.

    Left by an error or by Ctrl-C, what was taken is still made durable, unless the disk itself refused.

    Raises
    ------
    StoreError : when another process is writing this run
    """
    folder = project / run.folder
    files.make_folder(folder)
    busy = (
        f"run {run.id} is being written by another process; let it finish, or end it "
        "(other models, or other settings, can run beside it)"
    )
    with files.locked(folder / "writer.lock", busy):
        shards.sweep(folder, shard_names(catalog, run.folder))
        writer = RunWriter(catalog, project, run, limits or Limits())
        try:
            yield writer
        except StoreError:
            writer.abandon()
            raise
        except BaseException:
            writer.flush()
            raise
        writer.flush()
        if not writer._is_latest:  # all was done before
            with catalog.write() as connection:
                _take_turn(connection, run.id)
