"""Recording images in the catalogue: what they are by content, under which names, and which cannot be read."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import sqlalchemy as sa

from workbench import images as reading
from workbench.images import ImageError
from workbench.store.catalog import Catalog
from workbench.store.errors import StoreError
from workbench.store.schema import image_files, image_roots, images, project

_THREADS = 4  # hashing lets go of Python's lock; more threads only hold more files in memory
_SHOWN_FROM = 500  # files from which on a progress bar is shown
_PER_TRANSACTION = 20_000

Pattern = str | Path | Iterable[str | Path]


class Found(NamedTuple):
    """A file with the id of its bytes, or the reason why it has none."""

    path: str  # below the root, with forward slashes
    domain: str
    image_id: str | None
    size_bytes: int | None
    reason: str
    message: str


@dataclasses.dataclass(frozen=True)
class Added:
    """What recording has done: images that are new, files that repeat one, files that cannot be read, known files."""

    new: int
    duplicates: int
    unreadable: int
    known: int


def gather(pattern: Pattern) -> tuple[Path, list[Path]]:
    """Return the root and the files of a glob, a folder or a list of files, in the order that images get.

    Raises
    ------
    StoreError : when there is none
    """
    if isinstance(pattern, (str, Path)):
        try:
            return reading.find_images(pattern)
        except ImageError as error:
            raise StoreError(str(error)) from None
    paths = [Path(os.path.abspath(path)) for entry in pattern for path in _named(entry)]  # noqa: PTH100 - keeps links
    if not paths:
        raise StoreError("images: expected a glob, a folder or a list of files, got an empty list")
    return Path(os.path.commonpath([path.parent for path in paths])), list(dict.fromkeys(paths))


def _named(entry: str | Path) -> list[Path]:
    """Return the files that an entry of a list names: those of a glob, or the one, which may be missing."""
    path = Path(entry).expanduser()
    if reading.is_glob(path):
        return gather(path)[1]
    return [path]


def identify(root: Path, paths: Sequence[Path]) -> Iterator[Found]:
    """Yield each file with the id of its content, in order; what cannot be read comes with its reason."""
    from tqdm.auto import tqdm

    with concurrent.futures.ThreadPoolExecutor(_THREADS) as pool:
        found = pool.map(lambda path: _identify(root, path), paths)
        hidden = len(paths) < _SHOWN_FROM
        yield from tqdm(found, total=len(paths), desc="reading", unit="file", leave=False, disable=hidden)


def _identify(root: Path, path: Path) -> Found:
    name, domain = path.relative_to(root).as_posix(), reading.domain_of(path, root)
    try:
        name.encode()
    except UnicodeEncodeError:
        shown = os.fsencode(name).decode(errors="backslashreplace")
        return Found(shown, "", None, None, "unreadable", f"{shown}: the file's name is not UTF-8; rename the file")
    try:
        data = reading.read_bytes(path, root=root)
    except ImageError as error:
        return Found(name, domain, None, None, error.reason, str(error))
    return Found(name, domain, reading.content_id(data), len(data), "", "")


def root_text(root: Path, folder: Path) -> str:
    """Return how a root is written down: relative where it lies beside or in the project, so that both can move."""
    real = root.resolve()
    return os.path.relpath(real, folder) if real.is_relative_to(folder.parent) else str(real)


def refuse_used(catalog: Catalog) -> None:
    """Refuse a database that holds a project; clear what an unfinished creation has left. Raises StoreError."""
    with catalog.write() as connection:
        if connection.execute(sa.select(project)).first():
            raise StoreError("database: it holds a project already; give each project a database of its own")
        for table in (image_files, images, image_roots):
            connection.execute(sa.delete(table))


_ROOTS = sa.select(image_roots.c.path)


def known_files(catalog: Catalog, folder: Path) -> set[str]:
    """Return the absolute paths of all files that are recorded."""
    known: set[str] = set()
    with catalog.read() as connection:
        for table in (images, image_files):
            query = sa.select(image_roots.c.path, table.c.path).join_from(table, image_roots)
            roots = {root: str((folder / root).resolve()) for root in connection.execute(_ROOTS).scalars()}
            known.update(f"{roots[root]}/{path}" for root, path in connection.execute(query))
    return known


def record(
    catalog: Catalog, root: str, found: Iterable[Found], seed: int, roles: Sequence[float], known: int = 0
) -> Added:
    """Write files into the catalogue: new contents as images, further names of known contents as files of those.

    Parameters
    ----------
    root : as `root_text` gives it
    seed, roles : of the split into train, calibration and test
    known : files that were left out because they are recorded; only passed on into the result
    """
    new: list[Found] = []
    repeats: list[Found] = []
    with catalog.read() as connection:
        held = set(connection.execute(sa.select(images.c.image_id)).scalars())
    for file in found:
        (repeats if file.image_id is not None and file.image_id in held else new).append(file)
        held.add(file.image_id)
    try:
        for start in range(0, max(len(new), 1), _PER_TRANSACTION):
            with catalog.write() as connection:
                root_id = _root_id(connection, root)
                rows = [_image_row(file, root_id, seed, roles) for file in new[start : start + _PER_TRANSACTION]]
                if rows:
                    connection.execute(sa.insert(images), rows)
        with catalog.write() as connection:
            _insert_files(connection, root_id, [(str(file.image_id), file.path) for file in repeats])
    except sa.exc.IntegrityError as error:
        raise StoreError("another process records the same images just now; call add_images again") from error
    unreadable = sum(file.image_id is None for file in new)
    return Added(len(new) - unreadable, len(repeats), unreadable, known)


def _image_row(file: Found, root_id: int, seed: int, roles: Sequence[float]) -> dict[str, object]:
    role = None if file.image_id is None else reading.assign_role(file.image_id, seed, roles)
    return {**file._asdict(), "root_id": root_id, "role": role}


def _insert_files(connection: sa.Connection, root_id: int, repeats: list[tuple[str, str]]) -> None:
    for image_id, path in repeats:
        key = connection.execute(sa.select(images.c.key).where(images.c.image_id == image_id)).scalar_one()
        connection.execute(sa.insert(image_files).values(image_key=key, root_id=root_id, path=path))


def _root_id(connection: sa.Connection, root: str) -> int:
    query = sa.select(image_roots.c.id).where(image_roots.c.path == root)
    if (found := connection.execute(query).scalar()) is not None:
        return int(found)
    made = connection.execute(sa.insert(image_roots).values(path=root)).inserted_primary_key
    assert made is not None
    return int(made[0])


def read_again(catalog: Catalog, folder: Path, seed: int, roles: Sequence[float]) -> int:
    """Try the files anew that could not be read, and return how many can be now."""
    with catalog.read() as connection:
        query = sa.select(images.c.key, image_roots.c.path, images.c.path).join_from(images, image_roots)
        unread = connection.execute(query.where(images.c.image_id.is_(None))).all()
    read = 0
    for key, root_path, path in unread:
        root = (folder / root_path).resolve()
        file = _identify(root, root / path)
        with catalog.write() as connection:
            if file.image_id is None:
                values = {"reason": file.reason, "message": file.message}
                connection.execute(sa.update(images).where(images.c.key == key).values(values))
                continue
            row = _image_row(file, _root_id(connection, root_path), seed, roles)
            if connection.execute(sa.select(images.c.key).where(images.c.image_id == file.image_id)).first():
                connection.execute(sa.delete(images).where(images.c.key == key))
                _insert_files(connection, int(str(row["root_id"])), [(file.image_id, file.path)])
            else:
                connection.execute(sa.update(images).where(images.c.key == key).values(row))
            read += 1
    return read
