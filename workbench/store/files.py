"""Files and folders of a project, handled so that a kill or a full disk loses nothing: locks, syncs, words for errors."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from workbench.outputs import sync_folder, whole
from workbench.store.errors import StoreError

NETWORK_FILE_SYSTEMS = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "ncpfs", "afs", "lustre", "gpfs", "beegfs", "ceph", "glusterfs"}
    | {"fuse.sshfs", "fuse.glusterfs", "9p"}
)
# EFBIG: the limit of this process on file size, which is a full disk of another kind
FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def reached(point: str) -> None:
    """Mark a named point of the write path. Does nothing; tests put a kill or a failing disk in its place."""


def is_full(error: BaseException) -> bool:
    """Return whether an error says that no more bytes fit on the disk."""
    return isinstance(error, OSError) and error.errno in FULL


@contextlib.contextmanager
def locked(path: Path, busy: str) -> Iterator[None]:
    """Hold a lock file; the system frees it when the process ends, however it ends.

    Parameters
    ----------
    path : the lock file, made when missing, and left there
    busy : what to say when another process (or another handle in this one) holds it

    Raises
    ------
    StoreError : when it is held, or the file cannot be made
    """
    try:
        held = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise StoreError(_unwritable(path.parent, error)) from None
    try:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StoreError(busy) from None
        try:
            yield
        finally:
            fcntl.flock(held, fcntl.LOCK_UN)  # closing is not enough where a forked child has the file open too
    finally:
        os.close(held)


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, durably. Raises StoreError where the disk refuses."""
    missing = [f for f in (folder, *folder.parents) if not f.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for made in missing:
            sync_folder(made.parent)
    except OSError as error:
        raise StoreError(_unwritable(folder, error)) from None


def write_text(path: Path, text: str) -> None:
    """Write a small file whole or not at all, durably."""
    with whole(path) as draft:
        draft.write_text(text, encoding="utf-8")


def require_writable(folder: Path) -> None:
    """Refuse a folder in which nothing can be written. Raises StoreError."""
    probe = folder / f".probe-{os.getpid()}"
    try:
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise StoreError(_unwritable(folder, error)) from None


def require_local(folder: Path, mounts: Path = Path("/proc/mounts")) -> None:
    """Refuse a folder on a network file system, where SQLite's write-ahead log does not work.

    Where the system keeps no list of mounts, nothing is refused.

    Raises
    ------
    StoreError : with the kind of file system and what to do
    """
    try:
        lines = mounts.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return
    real, best, kind = folder.resolve(), -1, ""
    for line in lines:
        fields = line.split(" ")
        if len(fields) < 3:
            continue
        place = Path(fields[1].replace("\\040", " "))
        # the later of two mounts on one place covers the earlier
        if real.is_relative_to(place) and len(place.parts) >= best:
            best, kind = len(place.parts), fields[2]
    if kind in NETWORK_FILE_SYSTEMS:
        raise StoreError(
            f"{folder} lies on a network file system ({kind}), where SQLite cannot keep a project safe; "
            "put the project on a local disk, or keep its catalogue in PostgreSQL with database='postgresql+psycopg://…'"
        )


def _unwritable(folder: Path, error: OSError) -> str:
    if is_full(error):
        return f"the disk is full at {folder} ({error.strerror}); free some space and go on"
    return (
        f"{folder}: expected a folder that can be written, got {error.strerror or error}; "
        "give write permission, or copy the project to a place of your own"
    )
