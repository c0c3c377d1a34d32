"""Bytes of an image file to RGB pixels: formats, size limit, bit depths, transparency, EXIF orientation.

Every way of failing is an `ImageError`, which `workbench.images` uses too.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from io import BytesIO
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

MAX_PIXELS = 100_000_000


class ImageError(Exception):
    """Say why an image cannot be used: `.reason` for programs and tables, the message for people."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(reason, message)  # both, so that it survives the way back from a process pool
        self.reason: Reason = reason
        self.message = message

    def __str__(self) -> str:
        return self.message


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
        raise _explained(error, form.name, data) from None


def stretch(values: npt.NDArray[Any]) -> Pixels:
    """Return grey values of more than 8 bits as uint8: linear between the 0.1 and the 99.9 percentile.

    Of n finite pixels in order, pixel n // 1000 from below becomes 0, the one as far from above 255; what lies beyond
    is clipped. Where both have the same value, the minimum and the maximum take their place; where those are equal
    too, the result is 0. NaN becomes 0, +inf 255.

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
        cut = finite.size // 1000
        finite.partition((cut, finite.size - 1 - cut))
        low, high = float(finite[cut]), float(finite[finite.size - 1 - cut])
        if low == high:
            low, high = float(finite.min()), float(finite.max())
        if low < high:
            flat, step = values.reshape(-1), 1 << 20  # in pieces: float64 of the whole would be 8 bytes a pixel
            for start in range(0, flat.size, step):
                piece = (flat[start : start + step].astype(np.float64) - low) / (high - low) * 255
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


# What Pillow and struct say, format by format, when a file stops in the middle.
_SHORT = (
    "truncat", "not enough", "eof", "requires a buffer", "expecting to read", "incomplete", "index out of range",
    "no more images", "cannot load this image",
)  # fmt: skip


def _cut_short(data: bytes) -> bool:
    if data[:4] == b"RIFF":
        return len(data) < 8 + int.from_bytes(data[4:8], "little")
    if data[:4] in (b"II*\0", b"MM\0*"):  # the directory that says where the pixels are must be there as a whole
        order: Literal["little", "big"] = "little" if data[:1] == b"I" else "big"
        start = int.from_bytes(data[4:8], order)
        return len(data) < start + 6 + 12 * int.from_bytes(data[start : start + 2], order)
    return False


def _explained(error: Exception, name: str, data: bytes) -> ImageError:
    words = str(error).lower()
    if isinstance(error, EOFError) or any(part in words for part in _SHORT) or _cut_short(data):
        return ImageError("truncated", f"the {name} file ends too early ({error}); copy or export it anew")
    if any(part in words for part in ("unknown pixel mode", "unsupported", "cannot handle")):
        return ImageError(
            "unsupported",
            f"this {name} stores its pixels in a way that is not read here ({error}); save it as 8- or 16-bit "
            "grey or RGB",
        )
    return ImageError("damaged", f"the {name} file is damaged ({error}); copy or export it anew")
