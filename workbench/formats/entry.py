"""What all formats share: an image as an annotation file names it, safe file names."""

from __future__ import annotations

import dataclasses
import unicodedata
from pathlib import PurePosixPath, PureWindowsPath
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
    if has_controls(name):
        raise ValueError(f"file_name: expected no control characters or surrogates, got {short(name)}")


def has_controls(text: str) -> bool:
    """Whether a text has control characters, or surrogates, which no file can be written with."""
    return any(unicodedata.category(sign) in ("Cc", "Cs") for sign in text)


def short(value: object) -> str:
    """Return a foreign value for a message, cut to a line."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
