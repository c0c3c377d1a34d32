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
from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatchcase
from io import BytesIO
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

Pixels = npt.NDArray[np.uint8]

Reason = Literal[
    "missing",  # no such file, or a pattern that matches nothing
    "outside_folder",  # a link or '..' that leaves the given folder
    "not_a_file",  # a folder, pipe, socket or device
    "no_permission",
    "unreadable",  # the file system gave an error in the middle of reading
    "empty_file",
    "too_large",  # more bytes or more pixels than allowed
    "not_an_image",  # the bytes begin like none of the formats that are read
    "unsupported",  # the format is known, its way of storing pixels is not
    "animated",  # several frames or pages
    "truncated",  # the file ends too early
    "damaged",
]
Role = Literal["train", "calibration", "test"]

ROLES: tuple[Role, ...] = ("train", "calibration", "test")
SUFFIXES = frozenset(".png .apng .jpg .jpeg .jpe .jfif .tif .tiff .bmp .webp .gif .ppm .pgm .pbm .pnm".split())
MAX_BYTES = 1 << 30
MAX_PIXELS = 100_000_000


class ImageError(Exception):
    """Say why an image cannot be used: `.reason` for programs and tables, the message for people."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(reason, message)  # both, so that it survives the way back from a process pool
        self.reason: Reason = reason
        self.message = message

    def __str__(self) -> str:
        return self.message


# ---- ids ----------------------------------------------------------------------------------------------------------


def content_id(data: bytes) -> str:
    """Return the id of a file: the first 32 hex digits of the SHA-256 of its bytes.

    Two files with equal bytes are one image, under whatever names.
    """
    return hashlib.sha256(data).hexdigest()[:32]


def array_id(image: Pixels) -> str:
    """Return the id of an image that came as an array: 32 hex digits over its shape and pixels.

    Parameters
    ----------
    image : (h, w, 3) uint8, RGB

    Raises
    ------
    ValueError : for another shape or dtype
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(
            f"image: expected (h, w, 3) uint8, got {image.shape} {image.dtype}; "
            "images.decode makes such an array of any file"
        )
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
    if not stat.S_ISREG(real.stat().st_mode):
        raise ImageError("not_a_file", f"{shown}: expected an image file, got {_kind(real.stat().st_mode)}")
    with open(os.open(real, flags), "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise ImageError("not_a_file", f"{shown}: expected an image file, got {_kind(status.st_mode)}")
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


def _kind(mode: int) -> str:
    kinds: list[tuple[Callable[[int], bool], str]] = [
        (stat.S_ISDIR, "a folder; give a glob such as 'folder/*.png' to read what is in it"),
        (stat.S_ISFIFO, "a pipe; save its content as a file"),
        (stat.S_ISSOCK, "a socket; take it out of the folder"),
    ]
    return next((words for test, words in kinds if test(mode)), "a device; take it out of the folder")


# ---- pixels -------------------------------------------------------------------------------------------------------


class _Format(NamedTuple):
    name: str
    begins: re.Pattern[bytes]
    reader: Callable[[BytesIO], ImageFile.ImageFile]


# The readers are called by name instead of through Image.open: that one would warn or refuse by its own pixel limit,
# would hand photographs with an embedded preview (MPO) on as two frames, and knows formats that start other programs.
_FORMATS = (
    _Format("PNG", re.compile(rb"\x89PNG\r\n\x1a\n"), PngImagePlugin.PngImageFile),
    _Format("JPEG", re.compile(rb"\xff\xd8\xff"), JpegImagePlugin.JpegImageFile),
    _Format("TIFF", re.compile(rb"II[*+]\0|MM\0[*+]"), TiffImagePlugin.TiffImageFile),
    _Format("WEBP", re.compile(rb"RIFF....WEBP", re.DOTALL), WebPImagePlugin.WebPImageFile),
    _Format("GIF", re.compile(rb"GIF8[79]a"), GifImagePlugin.GifImageFile),
    _Format("BMP", re.compile(rb"BM"), BmpImagePlugin.BmpImageFile),
    _Format("PPM", re.compile(rb"P[1-6]\s"), PpmImagePlugin.PpmImageFile),
)

# EXIF orientation -> the array as it is to be seen (rot90 turns to the left).
_UPRIGHT: dict[int, Callable[[Pixels], Pixels]] = {
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
    8: lambda a: np.rot90(a, 1),
}


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


def decode(data: bytes, *, max_pixels: int = MAX_PIXELS) -> Pixels:
    """Return an image file's picture, upright, as RGB.

    The format is what the bytes say, whatever the file is called: PNG, JPEG, TIFF, BMP, WEBP, GIF or PPM.
    EXIF orientation is applied once. Transparent pixels are laid over white. Colour profiles are not applied.
    16-bit colour keeps its upper byte; 16- and 32-bit grey and floats are stretched by `stretch`.

    Parameters
    ----------
    data : the bytes of one file
    max_pixels : width times height as the header states them; checked before any pixel is decoded

    Returns
    -------
    (h, w, 3) uint8, C-contiguous, writable

    Raises
    ------
    ImageError : empty_file, not_an_image, unsupported, too_large, animated, truncated or damaged
    """
    if not data:
        raise ImageError("empty_file", "expected an image, got 0 bytes; copy the file anew")
    form = next((form for form in _FORMATS if form.begins.match(data)), None)
    if form is None:
        raise ImageError(
            "not_an_image",
            f"expected {', '.join(form.name for form in _FORMATS)}, got bytes that begin with {data[:12]!r}; "
            "convert the file to PNG",
        )
    try:
        with form.reader(BytesIO(data)) as image:
            _check_header(image, form.name, max_pixels)
            image.load()
            # After load: TIFF turns itself upright there, and drops the tag.
            return _upright(_to_rgb(image), _orientation(image))
    except ImageError:
        raise
    except (MemoryError, Image.DecompressionBombError) as error:
        raise ImageError(
            "too_large", f"the {form.name} image needs more memory than there is ({error}); cut it into tiles"
        ) from None
    except Exception as error:  # a damaged file makes Pillow raise nearly anything, struct.error and KeyError too
        raise _explained(error, form.name) from None


def stretch(values: npt.NDArray[Any]) -> Pixels:
    """Return grey values of more than 8 bits as uint8: 0.1 percentile to 0, 99.9 percentile to 255, linear between.

    Percentiles are values that occur (no interpolation), over finite pixels. Where both are the same value, the
    minimum and the maximum take their place; where those are equal too, the result is 0. NaN becomes 0, +inf 255.

    Parameters
    ----------
    values : any shape, integer or float

    Returns
    -------
    the same shape, uint8
    """
    finite = values[np.isfinite(values)]
    out = np.zeros(values.size, np.uint8)
    if finite.size:
        low, high = (float(v) for v in np.percentile(finite, (0.1, 99.9), method="inverted_cdf"))
        if low == high:
            low, high = float(finite.min()), float(finite.max())
        if low < high:
            flat, step = values.reshape(-1), 1 << 20  # in pieces: float64 of the whole would be 8 bytes a pixel
            for start in range(0, flat.size, step):
                piece = (flat[start : start + step].astype(np.float64) - low) * (255.0 / (high - low))
                out[start : start + step] = np.rint(np.nan_to_num(np.clip(piece, 0.0, 255.0), nan=0.0))
    return out.reshape(values.shape)


def _check_header(image: ImageFile.ImageFile, name: str, max_pixels: int) -> None:
    width, height = image.size
    if width * height > max_pixels:
        raise ImageError(
            "too_large",
            f"expected at most {max_pixels:,} pixels, the {name} header says {width} x {height} = "
            f"{width * height:,}; cut the image into tiles or raise max_pixels",
        )
    if width < 1 or height < 1:
        raise ImageError("damaged", f"the {name} header says {width} x {height} pixels; copy the file anew")
    frames = int(getattr(image, "n_frames", 1))
    if frames > 1:
        raise ImageError(
            "animated",
            f"expected one picture, the {name} file holds {frames} frames or pages; save those to annotate as files "
            "of their own",
        )


def _to_rgb(image: ImageFile.ImageFile) -> Pixels:
    if image.mode == "F" or image.mode.startswith("I"):
        return np.repeat(stretch(_grey_values(image))[:, :, None], 3, axis=2)
    if image.has_transparency_data:
        seen = image.convert("RGBA")
        page = Image.new("RGB", seen.size, "white")
        page.paste(seen, mask=seen.getchannel("A"))
        return np.array(page)
    return np.array(image.convert("RGB"))


def _grey_values(image: ImageFile.ImageFile) -> npt.NDArray[Any]:
    values = np.asarray(image)
    if isinstance(image, TiffImagePlugin.TiffImageFile) and image.mode == "I":
        bits, sample_format = image.tag_v2.get(258), image.tag_v2.get(339, (1,))
        if bits == (32,) and sample_format == (1,):  # unsigned, which Pillow holds in a signed integer
            return values.view(np.uint32)
    return values


def _orientation(image: ImageFile.ImageFile) -> int:
    try:
        return int(image.getexif().get(0x0112, 1))
    except Exception:  # a broken EXIF block says nothing about the pixels, which have been decoded by now
        return 1


def _upright(pixels: Pixels, orientation: int) -> Pixels:
    turn = _UPRIGHT.get(orientation)
    return pixels if turn is None else np.ascontiguousarray(turn(pixels))


def _explained(error: Exception, name: str) -> ImageError:
    words = str(error).lower()
    if any(part in words for part in ("unknown pixel mode", "unsupported", "cannot handle", "unknown data org")):
        return ImageError(
            "unsupported",
            f"this {name} stores its pixels in a way that is not read here ({error}); save it as 8- or 16-bit "
            "grey or RGB",
        )
    if isinstance(error, EOFError) or any(part in words for part in ("truncat", "not enough", "eof")):
        return ImageError("truncated", f"the {name} file ends too early ({error}); copy or export it anew")
    return ImageError("damaged", f"the {name} file is damaged ({error}); copy or export it anew")


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
    if len(shares) != 3 or not all(0 <= s <= 1 for s in shares) or not math.isclose(sum(shares), 1.0):
        raise ValueError(
            f"shares: expected three numbers in [0, 1] that sum to 1, for {', '.join(ROLES)}, got {tuple(shares)}"
        )
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
    text = re.sub(r'[\\/:*?"<>|\s]+', "_", text).lstrip("._ ")[:120]
    text = text.encode()[:200].decode(errors="ignore").rstrip(". ")
    if re.fullmatch(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", text, re.IGNORECASE):
        text = f"_{text}"  # devices on Windows
    return text or "unnamed"
