"""Files written whole or not at all; those that people name never over a project's own files, its images or a device."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import stat
import tomllib
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

MARK = "project.toml"  # of a project's folder
CATALOGUE = "project.sqlite"
OWN_FOLDERS = ("shards", "models", "pooled")
_DESCRIPTORS = {"stdin": 0, "stdout": 1, "stderr": 2}
_DESCRIPTOR = re.compile(r"/dev/(stdin|stdout|stderr)|/(?:dev|proc/self)/fd/(\d+)")


class OutputError(ValueError):
    """A place where no file must be written; the message says which was expected, why this is none, and what to do."""


@contextlib.contextmanager
def whole(path: Path, durable: bool = True) -> Iterator[Path]:
    """Give a draft beside a file to write; it takes the file's place at the end, and where anything fails it is deleted.

    Parameters
    ----------
    durable : wait until the disk has it; not where it can be made anew
    """
    # a name may be as long as names can be; two threads may write one file
    draft = path.with_name(f".{path.stem[:40]}.{secrets.token_hex(4)}.tmp")
    try:
        yield draft
        if durable:
            with draft.open("rb+") as file:
                os.fsync(file.fileno())
        draft.replace(path)
        if durable:
            sync_folder(path.parent)
    finally:
        draft.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable, which syncing the files alone does not."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_whole(path: Path, pieces: Iterable[bytes], originals: Collection[str] = ()) -> None:
    """Write beside the file and rename, so that a full disk or a kill leaves what was there before.

    A link is followed. What is there and is no regular file (a device, a pipe, /dev/stdout) is written into as it is.

    Parameters
    ----------
    originals : as for `expect_target`

    Raises
    ------
    OutputError : as `expect_target`; OSError : when the disk refuses
    """
    target = expect_target(path, originals)
    number = _descriptor(target)
    if number is not None or (target.exists() and not target.is_file()):
        # a descriptor's own copy: what is written so goes where the program's other words go, at the end of a file too
        with open(target if number is None else os.dup(number), "wb") as file:  # noqa: PTH123 - a number is no path
            file.writelines(pieces)
        return
    with whole(target) as draft:
        with draft.open("wb") as file:
            file.writelines(pieces)
        if target.exists():
            shutil.copymode(target, draft)


def expect_target(path: Path, originals: Collection[str] = ()) -> Path:
    """Return where a file that a person has named is to be written, links followed; nothing is written here.

    Parameters
    ----------
    originals : real paths of files that nothing is written over, such as the images of the project at hand

    Raises
    ------
    OutputError : for a folder, a name in a folder that is not there, one that is a project's own, a file of `originals`,
        a disk
    """
    number = _descriptor(path)
    if number is not None:
        try:
            os.fstat(number)
        except OSError:
            raise OutputError(f"{path}: expected a file that is open for writing, there is none") from None
        return path
    target = Path(os.path.realpath(path))
    _refuse_inside(project_of(path), path)
    if str(target) in originals:
        raise OutputError(
            f"{path}: expected the name of a file to write, that is an image of the project or its catalogue; "
            "choose another name"
        )
    kind = _kind(path)
    if stat.S_ISDIR(kind) or not target.parent.is_dir():
        folder = target.parent if path.is_symlink() else path.parent
        wrong = "that is a folder" if stat.S_ISDIR(kind) else f"there is no folder {folder}"
        raise OutputError(f"{path}: expected the name of a file to write, {wrong}")
    if stat.S_ISBLK(kind):
        raise OutputError(f"{path}: expected the name of a file to write, that is a disk; choose another name")
    return target if not kind or stat.S_ISREG(kind) else path


def expect_folder(folder: Path) -> None:
    """Refuse to fill a folder that is a project, or one of its own. Raises OutputError."""
    _refuse_inside(folder if _is_project(folder) else project_of(folder / "file"), folder)


def project_of(path: Path) -> Path | None:
    """Return the project whose own file a path is, as it is written or with its links followed; None for none.

    Its own are the catalogue with its logs, its mark, its locks, and all in its folders; others may lie beside these.
    """
    for place in (os.path.abspath(path), os.path.realpath(path)):  # noqa: PTH100 - as it is written: keeps links
        for folder in Path(place).parents:
            first = Path(place).relative_to(folder).parts[0]
            own = first in OWN_FOLDERS or first.startswith((CATALOGUE, MARK)) or first.endswith(".lock")
            if own and _is_project(folder):
                return folder
    return None


def _refuse_inside(project: Path | None, named: Path) -> None:
    if project is not None:
        raise OutputError(
            f"{named}: expected a name that no project has for its own, got one of {project}: {CATALOGUE}, {MARK}, locks and the "
            f"folders {', '.join(OWN_FOLDERS)} are its own; choose another name"
        )


def _is_project(folder: Path) -> bool:
    """Whether a folder holds a catalogue or the mark of a project, one that cannot be read included."""
    if os.path.isfile(folder / CATALOGUE):  # noqa: PTH113 - a folder that may not be looked into holds none
        return True
    if not os.path.isfile(folder / MARK):  # noqa: PTH113
        return False
    try:
        return "format" in tomllib.loads((folder / MARK).read_text("utf-8"))  # other tools have files of that name
    except (OSError, ValueError):
        return True


def _kind(path: Path) -> int:
    """Return the mode of what a path leads to, 0 for nothing."""
    try:
        return path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return 0


def _descriptor(path: Path) -> int | None:
    """Return the number of the open file of this process that a path means; None for another path."""
    found = _DESCRIPTOR.fullmatch(os.path.abspath(path))  # noqa: PTH100
    if found is None:
        return None
    return int(found[2]) if found[2] else _DESCRIPTORS[found[1]]
