"""Images from disk: safe reading to RGB, ids by content, finding files, domain tags, roles, safe file names.

Whatever a file holds, reading it ends in an (h, w, 3) uint8 array or in an `ImageError` that carries a short stable
reason, so that a run can record the image with its reason and go on.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
import stat
import unicodedata
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal

import numpy as np

from workbench.pixels import MAX_PIXELS, ImageError, Pixels, decode

Role = Literal["train", "calibration", "test"]

__all__ = [
    "ROLES",
    "SUFFIXES",
    "ImageError",
    "Role",
    "array_id",
    "assign_role",
    "content_id",
    "decode",
    "domain_of",
    "find_images",
    "read_bytes",
    "read_image",
    "safe_name",
]

ROLES: tuple[Role, ...] = ("train", "calibration", "test")
SUFFIXES = frozenset(
    {".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".tif", ".tiff", ".bmp", ".webp", ".gif", ".ppm", ".pgm"}
    | {".pbm", ".pnm"}
)
MAX_BYTES = 1 << 30


# ---- ids ----------------------------------------------------------------------------------------------------------


def content_id(data: bytes) -> str:
    """Return the id of a file: the first 32 hex digits of the SHA-256 of its bytes.

    Two files with equal bytes are one image, under whatever names.
    """
    return hashlib.sha256(data).hexdigest()[:32]


def expect_rgb(image: object) -> None:
    """Raise ValueError unless `image` is (H, W, 3) uint8 with at least one pixel."""
    if not isinstance(image, np.ndarray) or image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        came = f"{image.dtype} of shape {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
        raise ValueError(f"image: expected (H, W, 3) uint8 RGB, got {came}; workbench.images.read_image makes one")
    if image.size == 0:
        raise ValueError(f"image: expected at least one pixel, got shape {image.shape}")


def array_id(image: Pixels) -> str:
    """Return the id of an image that came as an array: 32 hex digits over its shape and pixels.

    Parameters
    ----------
    image : (h, w, 3) uint8, RGB

    Raises
    ------
    ValueError : as `expect_rgb`
    """
    expect_rgb(image)
    digest = hashlib.sha256(b"workbench array %d %d\0" % image.shape[:2])
    digest.update(np.ascontiguousarray(image).data)
    return digest.hexdigest()[:32]


# ---- bytes --------------------------------------------------------------------------------------------------------


def read_bytes(path: str | Path, *, root: str | Path | None = None, max_bytes: int = MAX_BYTES) -> bytes:
    """Return the bytes of a regular file; never waits on a pipe, never leaves `root`.

    Parameters
    ----------
    path : the file; links are followed
    root : when given, the file must lie in this folder after all links are followed
    max_bytes : a larger file is refused before it is read

    Raises
    ------
    ImageError : missing, outside_folder, not_a_file, no_permission, too_large, empty_file or unreadable
    """
    try:
        real = Path(path).resolve(strict=True)
        if root is not None and not real.is_relative_to(Path(root).resolve()):
            raise ImageError(
                "outside_folder",
                f"{path}: expected a file inside {root}, it leads to {real}; copy the image into the folder, "
                "or give the folder it lies in",
            )
        return _read_regular(real, path, max_bytes)
    except (FileNotFoundError, NotADirectoryError):
        raise ImageError(
            "missing", f"{path}: expected a file, there is none (or a link that leads nowhere); check the path"
        ) from None
    except PermissionError:
        raise ImageError(
            "no_permission", f"{path}: may not be read by this user; give read permission (chmod u+r)"
        ) from None
    except (OSError, RuntimeError, ValueError) as error:  # disk errors; link loops; a NUL in the name
        raise ImageError("unreadable", f"{path}: could not be read ({error}); copy the file anew") from None


def _read_regular(real: Path, shown: str | Path, max_bytes: int) -> bytes:
    # Without O_NONBLOCK, opening a pipe waits for a writer; with O_NOFOLLOW, nobody swaps in a link after the check.
    flags = os.O_RDONLY
    for name in ("O_NONBLOCK", "O_NOFOLLOW", "O_CLOEXEC", "O_BINARY"):
        flags |= getattr(os, name, 0)
    # before opening, which alone can move a tape or wake a device
    _refuse_unless_file(real, real.stat().st_mode, shown)
    with os.fdopen(os.open(real, flags), "rb") as file:
        status = os.fstat(file.fileno())
        _refuse_unless_file(real, status.st_mode, shown)
        data = file.read(max_bytes + 1) if status.st_size <= max_bytes else b""
    if status.st_size > max_bytes or len(data) > max_bytes:
        raise ImageError(
            "too_large",
            f"{shown}: expected at most {max_bytes:,} bytes, got {max(status.st_size, len(data)):,}; cut the image "
            "into tiles or raise max_bytes",
        )
    if not data:
        raise ImageError("empty_file", f"{shown}: expected an image, the file has 0 bytes; copy it anew")
    return data


def _refuse_unless_file(real: Path, mode: int, shown: str | Path) -> None:
    if stat.S_ISREG(mode):
        return
    got = "a pipe, socket or device; take it out of the folder"
    if stat.S_ISDIR(mode):
        if not os.access(real, os.R_OK | os.X_OK):
            raise PermissionError  # what find_images could not look into
        got = "a folder; give a glob such as 'folder/*.png' to read what is in it"
    raise ImageError("not_a_file", f"{shown}: expected an image file, got {got}")


def read_image(path: str | Path, *, root: str | Path | None = None, max_pixels: int = MAX_PIXELS) -> tuple[Pixels, str]:
    """Return the picture of a file as `decode` gives it, and its `content_id`.

    Raises
    ------
    ImageError : as `read_bytes` and `decode`, with the path in the message
    """
    data = read_bytes(path, root=root)
    try:
        return decode(data, max_pixels=max_pixels), content_id(data)
    except ImageError as error:
        raise ImageError(error.reason, f"{path}: {error}") from None


# ---- files --------------------------------------------------------------------------------------------------------

_WILD = re.compile(r"[*?\[]")


def find_images(pattern: str | Path) -> tuple[Path, list[Path]]:
    """Return the folder that a pattern stands on and the files it names, in natural order (img2 before img10).

    Parameters
    ----------
    pattern : a glob ("cells/*.png", "cells/**/*.tif", "~/cells"), a folder (every file below it with the suffix of a
        raster format), or one file. Hidden files are skipped unless the pattern names the dot; "**" does not enter
        linked folders. A folder whose name is on disk as it is written wins over its reading as a glob.

    Returns
    -------
    (root, paths) : root is absolute, the part before the first wildcard (the parent of a single file). Whatever a glob
        matches is listed, folders too, and folders that may not be read: reading them gives the reason.

    Raises
    ------
    ImageError : missing, when nothing matches
    """
    root, parts = _split(pattern)
    if parts and parts != ("**",):
        found = set(_expand(root, parts))
    elif _is_folder(root):
        found = {path for path in _expand(root, ("**", "*")) if _is_candidate(path)}
    else:
        found, root = ({root} if _is_there(root) else set()), root.parent
    if not found:
        near = next(folder for folder in (root, *root.parents) if _is_folder(folder))
        raise ImageError(
            "missing",
            f"{str(pattern)!r}: expected a glob, a folder or a file with images, nothing matches; the nearest folder "
            f"there is {near}; hidden files are skipped, and * tells capitals apart (.PNG is not .png)",
        )
    return root, sorted(found, key=lambda path: _natural(path.relative_to(root)))


def is_glob(path: Path) -> bool:
    """Return whether a path has wildcards, and no file or folder has that very name."""
    return bool(_WILD.search(str(path))) and not _is_there(path)


def _split(pattern: str | Path) -> tuple[Path, tuple[str, ...]]:
    try:
        path = Path(pattern).expanduser()
    except RuntimeError as error:
        raise ImageError("missing", f"{str(pattern)!r}: {error}; write the path out") from None
    if not str(pattern).strip() or "\0" in str(pattern):
        raise ImageError("missing", f"expected a glob, a folder or a file, got {str(pattern)!r}")
    root = Path.cwd()
    for index, part in enumerate(path.parts):
        if _WILD.search(part) and not _is_there(root / part):
            return root, path.parts[index:]
        root /= part
    return root, ()


def _expand(folder: Path, parts: tuple[str, ...]) -> Iterator[Path]:
    if not parts:
        yield folder
        return
    head, rest = parts[0], parts[1:]
    if not _WILD.search(head):
        if _is_there(folder / head):
            yield from _expand(folder / head, rest)
        return
    if head == "**" and rest:
        yield from _expand(folder, rest)
    try:
        entries = list(os.scandir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError:  # may not be read: listed, so that it is recorded with its reason
        yield folder
        return
    for entry in entries:
        if entry.name.startswith(".") and not head.startswith("."):
            continue
        if head == "**":
            if entry.is_dir(follow_symlinks=False):
                yield from _expand(Path(entry.path), parts)
        elif fnmatchcase(entry.name, head):
            yield from _expand(Path(entry.path), rest)


def _is_there(path: Path) -> bool:
    try:
        path.lstat()
    except OSError:
        return False
    return True


def _is_folder(path: Path) -> bool:
    try:
        return stat.S_ISDIR(path.stat().st_mode)
    except OSError:
        return False


def _is_candidate(path: Path) -> bool:
    if _is_folder(path):
        return not os.access(path, os.R_OK | os.X_OK)
    return path.suffix.lower() in SUFFIXES


def _natural(path: Path) -> tuple[list[list[tuple[int, int, str]]], str]:
    def pieces(part: str) -> list[tuple[int, int, str]]:
        return [(0, int(p), "") if p.isdecimal() else (1, 0, p) for p in re.split(r"(\d+)", part) if p]

    return [pieces(part) for part in path.parts], str(path)


# ---- domains, roles, names ----------------------------------------------------------------------------------------


def domain_of(path: str | Path, root: str | Path) -> str:
    """Return the default domain tag: the name of the first sub-folder below `root` on the way to `path`, "" for none."""
    path, root = Path(path).absolute(), Path(root).absolute()
    if not path.is_relative_to(root):
        return ""
    folders = path.relative_to(root).parts[:-1]
    return folders[0] if folders and folders[0] != ".." else ""


def check_shares(shares: Sequence[float]) -> None:
    """Raise ValueError for shares of roles that are not three numbers in [0, 1] that sum to 1."""
    if len(shares) != 3 or not all(0 <= s <= 1 for s in shares) or not math.isclose(sum(shares), 1.0):
        raise ValueError(
            f"shares: expected three numbers in [0, 1] that sum to 1, for {', '.join(ROLES)}, got {tuple(shares)}"
        )


def assign_role(image_id: str, seed: int, shares: Sequence[float] = (0.6, 0.2, 0.2)) -> Role:
    """Return the role of an image, drawn by a hash of seed and id: adding images moves none that are there.

    Parameters
    ----------
    image_id : as `content_id` gives it
    seed : another seed draws another split
    shares : the expected shares of train, calibration and test, in [0, 1], summing to 1

    Raises
    ------
    ValueError : for shares that are not such
    """
    check_shares(shares)
    digest = hashlib.sha256(f"workbench role\0{seed}\0{image_id}".encode()).digest()
    draw, edge = int.from_bytes(digest[:6], "big") / 2**48, 0.0
    open_roles = [(role, share) for role, share in zip(ROLES, shares, strict=True) if share > 0]
    for role, share in open_roles:
        edge += share
        if draw < edge:
            return role
    return open_roles[-1][0]  # the sum fell short of 1 by rounding


def safe_name(text: str) -> str:
    """Return a text as one file name that is legal everywhere: no folders, no control characters, no leading dot.

    At most 120 characters and 200 bytes; never empty ("unnamed"). Different texts can give the same name.
    """
    text = unicodedata.normalize("NFC", text)
    text = "".join(c for c in text if not unicodedata.category(c).startswith("C"))
    text = re.sub(r'[\\/:*?"<>|\s]+', "_", text).lstrip("._")[:120]
    text = text.encode()[:200].decode(errors="ignore").rstrip("._")
    if re.fullmatch(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", text, re.IGNORECASE):
        text = f"_{text}"  # devices on Windows
    return text or "unnamed"
