"""The folder of a project: how it is made whole or not at all, and recognised."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path

import sqlalchemy as sa

from workbench import outputs
from workbench.outputs import sync_folder
from workbench.store import catalog, files
from workbench.store.catalog import Catalog
from workbench.store.errors import StoreError
from workbench.store.schema import project

MARK = outputs.MARK
FORMAT = 1
# in the environment: the URL of a catalogue elsewhere, which no command line has to show
DATABASE = "WORKBENCH_DATABASE"


@contextlib.contextmanager
def making(path: Path, database: str | None, name: str, made_by: str, key: str) -> Iterator[tuple[Path, Catalog]]:
    """Yield a draft folder with an empty catalogue; it gets its name at the end, when all went well.

    Parameters
    ----------
    key : random text that the catalogue gets too, by which the two are told to belong together

    Raises
    ------
    StoreError : when there is something under that name, or nothing can be written there
    """
    refuse_taken(path)
    files.make_folder(path.parent)
    files.require_writable(path.parent)
    if database is None:
        files.require_local(path.parent)
    draft = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".draft", dir=path.parent))
    draft.chmod(0o777 & ~_umask())  # mkdtemp keeps others out; a project is as open as other folders
    opened = catalog.connect(draft, database)
    try:
        catalog.migrate(opened)
        yield draft, opened
        opened.close()
        kept = "sqlite in this folder" if database is None else "elsewhere"
        lines = {"format": FORMAT, "name": name, "made_by": made_by, "catalogue": kept, "key": key}
        files.write_text(draft / MARK, "".join(f"{key} = {json.dumps(value)}\n" for key, value in lines.items()))
        try:
            draft.rename(path)
        except OSError:
            refuse_taken(path)
            raise
        sync_folder(path.parent)
    finally:
        opened.engine.dispose()
        shutil.rmtree(draft, ignore_errors=True)


def refuse_taken(path: Path) -> None:
    """Refuse a name that is taken, though not by an empty folder. Raises StoreError."""
    if (path / MARK).exists():
        raise StoreError(
            f"{path}: there is a project already; go on with it (Project.open, or the commands after `workbench init`), or choose another name"
        )
    if path.is_symlink() or (path.exists() and (not path.is_dir() or any(path.iterdir()))):
        raise StoreError(f"{path}: expected a free name for the project, there is something else; choose another name")


def open_catalog(path: Path, database: str | None) -> Catalog:
    """Return the catalogue of a project that is there, with its tables brought to this version.

    Raises
    ------
    StoreError : when it is no project, was made by a newer workbench, cannot be written, or needs `database`, which
        is looked for in the environment too
    """
    elsewhere, key = _read_mark(path)
    if elsewhere and database is None:
        database = os.environ.get(DATABASE) or None
    if elsewhere and database is None:
        raise StoreError(
            f"{path}: its catalogue is kept elsewhere; give the URL it was made with as database=, or in {DATABASE}"
        )
    files.require_writable(path)
    if database is None:
        files.require_local(path)
        if not (path / catalog.FILE).exists():
            raise StoreError(
                f"{path}: {catalog.FILE} is missing; restore it from a backup, the shards are of no use alone"
            )
    opened = catalog.connect(path, database)
    try:
        catalog.migrate(opened)
        _expect_key(path, opened, key)
    except BaseException:
        opened.engine.dispose()
        raise
    return opened


def _expect_key(path: Path, opened: Catalog, key: str | None) -> None:
    """Refuse the catalogue of another project, which would take this folder's shards for leftovers."""
    with opened.read() as connection:
        found = connection.execute(sa.select(project.c.key)).scalar()
    if key is not None and found is not None and found != key:
        raise StoreError(
            f"{path}: expected the catalogue that the project was made with, got another project's; give its URL as database=, or "
            f"in {DATABASE}"
        )


def _read_mark(path: Path) -> tuple[bool, str | None]:
    """Return whether the catalogue is kept elsewhere, and the project's key, None where an earlier version made it.

    Raises
    ------
    StoreError : when the folder is no project of ours
    """
    if not path.exists():
        raise StoreError(f"{path}: there is no such folder; `workbench init` (Project.create) makes a project")
    try:
        text = (path / MARK).read_text(encoding="utf-8")
        mark = tomllib.loads(text)
    except (FileNotFoundError, NotADirectoryError):
        raise StoreError(
            f"{path}: this is not a project (it has no {MARK}); `workbench init` (Project.create) makes one"
        ) from None
    except PermissionError:
        raise StoreError(f"{path}: may not be read by this user; give read and write permission") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise StoreError(f"{path / MARK}: expected TOML, got text that does not parse ({error})") from None
    if not isinstance(mark.get("format"), int):
        raise StoreError(
            f"{path}: this is not a project ({MARK} has no format); `workbench init` (Project.create) makes one"
        )
    if mark["format"] > FORMAT:
        raise StoreError(
            f"{path}: the project was made by a newer workbench ({mark.get('made_by', 'unknown')}, format "
            f"{mark['format']}; this one knows up to {FORMAT}); update with: pip install -U sam-workbench"
        )
    key = mark.get("key")
    return mark.get("catalogue") == "elsewhere", key if isinstance(key, str) else None


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
