"""What all formats share: an image as an annotation file names it, safe file names, files that appear whole."""

from __future__ import annotations

import dataclasses
import os
import unicodedata
from collections.abc import Iterable
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any


class FormatError(ValueError):
    """A file that cannot be read as the format it is given for; the message says what was expected and what came."""


@dataclasses.dataclass(frozen=True)
class ImageEntry:
    """An image as an annotation file knows it.

    file_name : relative to the folder of images, with forward slashes
    size_hw : height and width, px
    image_id : the `image_id` of its masks in `Proposals`; the file name where none is given
    """

    file_name: str
    size_hw: tuple[int, int]
    image_id: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "image_id", self.image_id or self.file_name)


def check_file_name(name: Any) -> None:
    """Refuse, with a ValueError, a file name that is no relative path with forward slashes inside its folder."""
    if not isinstance(name, str) or not name.strip():
        raise ValueError(f"file_name: expected a relative path, got {short(name)}")
    if PurePosixPath(name).is_absolute() or PureWindowsPath(name).drive:
        raise ValueError(f"file_name: expected a path relative to the images, got the absolute {short(name)}")
    if "\\" in name:
        raise ValueError(f"file_name: expected forward slashes, got backslashes in {short(name)}")
    if ".." in PurePosixPath(name).parts:
        raise ValueError(f"file_name: expected a path inside the folder of images, got {short(name)}")
    if any(unicodedata.category(sign) in ("Cc", "Cs") for sign in name):
        raise ValueError(f"file_name: expected no control characters or surrogates, got {short(name)}")


def write_whole(path: Path, pieces: Iterable[str]) -> None:
    """Write beside the file and rename, so that a full disk or a kill leaves what was there before."""
    if path.is_dir() or not path.parent.is_dir():
        wrong = "that is a folder" if path.is_dir() else f"there is no folder {path.parent}"
        raise FormatError(f"{path}: expected the name of a file to write, {wrong}")
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with unfinished.open("w", encoding="ascii", newline="\n") as file:
            file.writelines(pieces)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def short(value: object) -> str:
    """Return a foreign value for a message, cut to a line."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
