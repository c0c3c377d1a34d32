"""Bytes of an image file to RGB pixels: formats, size limit, bit depths, transparency, EXIF orientation.

Every way of failing is an `ImageError`, which `workbench.images` uses too.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from io import BytesIO
from typing import Any, Literal, NamedTuple, cast

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


class _Tiff(TiffImagePlugin.TiffImageFile):
    """A TIFF of which Pillow reads the tags, and sets up the pixels only where it reads them well."""

    kind: str | None = ""

    def _setup(self) -> None:
        if self.tag_v2.get(277, 1) == 1:
            self.tag_v2[284] = 1  # one band is never apart from others, and Pillow would read it otherwise
        self.kind = _tiff_kind(self.tag_v2)
        if self.kind == "":
            super()._setup()
        else:
            self._mode, self._size, self.tile = "L", (self.tag_v2[256], self.tag_v2[257]), []

    def load_prepare(self) -> None:
        self.im = Image.new(self.mode, getattr(self, "_tile_size", self.size)).im  # else Pillow checks its own limit
        super().load_prepare()


class _Format(NamedTuple):
    name: str
    begins: re.Pattern[bytes]
    reader: Callable[[BytesIO], ImageFile.ImageFile]


# The readers are called by name instead of through Image.open: that one would warn or refuse by its own pixel limit,
# would hand photographs with an embedded preview (MPO) on as two frames, and knows formats that start other programs.
_FORMATS = (
    _Format("PNG", re.compile(rb"\x89PNG\r\n\x1a\n"), PngImagePlugin.PngImageFile),
    _Format("JPEG", re.compile(rb"\xff\xd8\xff"), JpegImagePlugin.JpegImageFile),
    _Format("TIFF", re.compile(rb"II[*+]\0|MM\0[*+]"), _Tiff),
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
    Signed bytes, 16 bits, 32 bits and floats are stretched by `stretch`, the three colours over one range. 16-bit grey
    with alpha (PNG), 16-bit CMYK and PPM colour keep their upper byte. Past the third band, 16-bit TIFF is not read.

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
            rgb = _deep_rgb(image, data, max_pixels)
            if rgb is None:
                image.load()
                rgb = _to_rgb(image)
            # After load: TIFF turns itself upright there, and drops the tag.
            return _upright(rgb, _orientation(image))
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


def _deep_rgb(image: ImageFile.ImageFile, data: bytes, max_pixels: int) -> Pixels | None:
    """Return what Pillow would read wrongly or with one byte of two; None for what it reads well."""
    if isinstance(image, PngImagePlugin.PngImageFile) and image.tile[0][3] in ("RGB;16B", "RGBA;16B"):
        return _png_colour(image, data)
    if isinstance(image, _Tiff) and image.kind != "":
        rgb = _as_rgb(_tiff_values(image.tag_v2, data, image.kind, max_pixels))
        return 255 - rgb if image.tag_v2.get(262) == 0 else rgb  # 0: the brightest is stored as 0
    return None


def _png_colour(image: ImageFile.ImageFile, data: bytes) -> Pixels:
    # Pillow gives the upper byte of a number. Told that numbers have their lower byte first, it gives the other one.
    with PngImagePlugin.PngImageFile(BytesIO(data)) as other:
        other.tile = [cast(Any, (*other.tile[0][:3], f"{image.mode};16L"))]
        values = np.asarray(image).astype(np.uint16) << 8 | np.asarray(other)
    clear = image.info.get("transparency")
    rgb = Image.fromarray(stretch(values[..., :3]))
    if image.mode == "RGBA":
        rgb.putalpha(image.getchannel("A"))
    elif clear is not None:
        rgb.putalpha(Image.fromarray(np.where((values == clear).all(axis=2), 0, 255).astype(np.uint8)))
    return _to_rgb(rgb)


def _to_rgb(image: Image.Image) -> Pixels:
    if image.mode == "F" or image.mode.startswith("I"):
        return _as_rgb(np.asarray(image))
    if image.has_transparency_data:
        seen = image.convert("RGBA")
        page = Image.new("RGB", seen.size, "white")
        page.paste(seen, mask=seen.getchannel("A"))
        return np.array(page)
    return np.array(image.convert("RGB"))


def _as_rgb(values: npt.NDArray[Any]) -> Pixels:
    """Return (h, w) grey or (h, w, 3) colour as (h, w, 3) uint8, stretched unless it is uint8."""
    out = stretch(values) if values.dtype != np.uint8 else values
    return out if out.ndim == 3 else np.repeat(out[:, :, None], 3, axis=2)


def _orientation(image: ImageFile.ImageFile) -> int:
    try:
        return int(image.getexif().get(0x0112, 1))
    except Exception:  # a broken EXIF block says nothing about the pixels, which have been decoded by now
        return 1


def _upright(pixels: Pixels, orientation: int) -> Pixels:
    turn = _UPRIGHT.get(orientation)
    return pixels if turn is None else np.ascontiguousarray(turn(pixels))


# ---- TIFF of more than 8 bits -------------------------------------------------------------------------------------

# Pillow opens more layouts than it reads: it leaves out the byte order of what was compressed, takes planes of 16-bit
# colour for interleaved bytes, signed bytes for unsigned ones, and keeps one byte of 16-bit colour. Who reads what:
#   bits   format      photometric    bands              compression             read by
#   those of _DEEP     grey, RGB      together, apart    _PLAIN, _PREDICTED      _tiff_values
#   8      unsigned    grey, RGB      apart, some more   _PLAIN, _PREDICTED      _tiff_values, as they are
#   8      unsigned    RGB, CMYK      apart              any                     Pillow
#   others                            together           any                     Pillow, which refuses most of them
# Nobody reads what is left: unsupported.
_DEEP = {(8, 2): "i1", (16, 1): "u2", (16, 2): "i2", (32, 1): "u4", (32, 2): "i4", (32, 3): "f4"}  # bits, format
_PLAIN = (1, 32773)  # none, PackBits
_PREDICTED = (5, 8, 32946, 34925, 50000)  # LZW, both names of Deflate, LZMA, Zstandard: may hold differences
_NAMES = {
    258: "BitsPerSample", 277: "SamplesPerPixel", 338: "ExtraSamples", 339: "SampleFormat", 284: "PlanarConfiguration",
    262: "PhotometricInterpretation", 259: "Compression", 317: "Predictor",
}  # fmt: skip


def _tiff_kind(tags: TiffImagePlugin.ImageFileDirectory_v2) -> str | None:
    """Return the numpy type that `_tiff_values` has to read, "" for what Pillow reads, None for what nobody does."""
    bits, form = (v[0] if len(set(v)) == 1 else 0 for v in (tags.get(258, (1,)), tags.get(339, (1,))))
    photometric, apart, samples = tags.get(262, 0), tags.get(284, 1) == 2, tags.get(277, 1)
    packing, predictor, more = tags.get(259, 1), tags.get(317, 1), tags.get(338, ())
    kind = "u1" if apart and (bits, form) == (8, 1) and more and not any(more) else _DEEP.get((bits, form))
    if not kind or photometric not in (0, 1, 2):
        fine = not apart or ((bits, form) == (8, 1) and (photometric == 2 or (photometric, samples) == (5, 4)))
        return "" if fine else None
    if photometric != 2 and samples - 1 > len(more):
        return None  # several channels of equal standing: which is the picture, the file does not say
    known = packing in _PLAIN or (packing in _PREDICTED and (predictor in (1, 2) or (predictor, kind) == (3, "f4")))
    # Together, all bands are held in memory before three are taken: no more of them than Pillow takes.
    return kind if known and (apart or samples <= 6) else None


def _tiff_values(
    tags: TiffImagePlugin.ImageFileDirectory_v2, data: bytes, kind: str | None, max_pixels: int
) -> npt.NDArray[Any]:
    """Return the numbers of a TIFF as they are stored, (h, w) for grey and (h, w, 3) for RGB, in native byte order.

    Bands past the first or the third are left out, those called alpha too: a fourth 16-bit band is near infrared or a
    mask of valid ground far more often than opacity, programs call either alpha, and laid over white by such a band
    the picture is gone.
    """
    if kind is None:
        stored = ", ".join(f"{name} {tags[tag]}" for tag, name in _NAMES.items() if tag in tags)
        raise ImageError(
            "unsupported",
            f"this TIFF stores its pixels in a way that is not read here ({stored}); save it as 8- or 16-bit grey or "
            "RGB, bands together, with LZW, Deflate or no compression",
        )
    width, height, samples = tags[256], tags[257], tags.get(277, 1)
    colours, apart = (3 if tags.get(262, 0) == 2 else 1), tags.get(284, 1) == 2
    planes, step = (colours, 1) if apart else (1, samples)
    tiled = 322 in tags
    across, down = (tags[322], tags[323]) if tiled else (width, min(tags.get(278, height), height))
    columns, rows = -(-width // across), -(-height // down)
    if columns * across * rows * down > max(2 * max_pixels, 1 << 24):
        raise ImageError("too_large", f"the tiles of {across} x {down} are far larger than the picture; save it anew")
    offsets, counts = (tags.get(tag, ()) for tag in ((324, 325) if tiled else (273, 279)))
    dtype, pieces = np.dtype(kind).newbyteorder("<" if data[:1] == b"I" else ">"), columns * rows
    if samples < colours or len(offsets) < planes * pieces:
        raise ImageError("damaged", f"the TIFF names {len(offsets)} pieces of {planes * pieces}; export it anew")
    predictor, found = tags.get(317, 1) if tags.get(259, 1) in _PREDICTED else 1, []
    for first in range(0, planes * pieces, pieces):
        part, wide = slice(first, first + pieces), step * dtype.itemsize
        layout = {256: (columns * across * wide,), 257: (height,), 259: (tags.get(259, 1),), 266: (tags.get(266, 1),)}
        layout |= {322: (across * wide,), 323: (down,), 324: offsets[part]} if tiled else {278: (down,)}
        layout |= {325 if tiled else 279: counts[part]} if counts else {}
        raw = _unpacked(data, layout | ({} if tiled else {273: offsets[part]}))
        values = _undone(raw.reshape(height, columns, -1), dtype, step, predictor).reshape(height, -1, step)
        found.append(values[:, :width, :colours])
    whole = np.concatenate(found, axis=2) if apart else found[0]
    return whole if colours == 3 else whole[..., 0]


def _unpacked(data: bytes, layout: dict[int, tuple[int, ...]]) -> Pixels:
    """Return the decompressed bytes of strips or tiles, (h, bytes of a row): Pillow reads them as 8-bit grey.

    So libtiff bounds what is decompressed by the sizes in `layout` (tag -> values), not by what the bytes swell to.
    """
    tags = {258: (8,), 262: (1,), 277: (1,)} | layout
    start = 14 + 12 * len(tags)
    room = start + 4 * sum(map(len, tags.values()))  # before the file: past the end of a cut one, nothing may be
    table, lists = struct.pack("<H", len(tags)), b""
    for tag, values in sorted(tags.items()):
        numbers = struct.pack(f"<{len(values)}I", *(v + room for v in values) if tag in (273, 324) else values)
        table += struct.pack("<HHI", tag, 4, len(values))
        table += numbers if len(values) == 1 else struct.pack("<I", start + len(lists))
        lists += numbers if len(values) > 1 else b""
    head = (b"II*\0\x08\0\0\0" + table + b"\0" * 4 + lists).ljust(room, b"\0")
    with _Tiff(BytesIO(b"".join((head, data)))) as grey:
        return np.asarray(grey)


def _undone(raw: Pixels, dtype: np.dtype[Any], step: int, predictor: int) -> npt.NDArray[Any]:
    """Return bytes (h, tiles across, bytes of a tile's row) as numbers of `dtype`, the differences summed up.

    Predictor 2 holds, for each of `step` samples, the difference to the pixel on the left, as whole numbers even where
    they are floats. Predictor 3 holds a row's highest bytes, then the next ones, and differences of those bytes.
    """
    size, native = dtype.itemsize, dtype.newbyteorder("=")
    if predictor == 2:
        words = raw.view(f"{dtype.str[0].replace('|', '=')}u{size}").reshape(*raw.shape[:2], -1, step)
        summed: npt.NDArray[Any] = np.add.accumulate(words, axis=2, dtype=f"=u{size}")
        return summed.view(native)
    if predictor == 3:
        spread = np.add.accumulate(raw.reshape(*raw.shape[:2], -1, step), axis=2, dtype=np.uint8)
        spread = spread.reshape(*raw.shape[:2], size, -1).swapaxes(2, 3)
        return np.ascontiguousarray(spread).view(f">f{size}").astype(native)
    return raw.view(dtype).astype(native, copy=False)


# What Pillow and struct say, format by format, when a file stops in the middle.
_SHORT = (
    "truncat", "not enough", "eof", "requires a buffer", "expecting to read", "incomplete", "index out of range",
    "no more images", "cannot load this image",
)  # fmt: skip
_UNREAD = ("unknown pixel mode", "unknown raw mode", "unsupported", "not supported", "cannot handle")


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
    if any(part in words for part in _UNREAD):
        return ImageError(
            "unsupported",
            f"this {name} stores its pixels in a way that is not read here ({error}); save it as 8- or 16-bit "
            "grey or RGB",
        )
    return ImageError("damaged", f"the {name} file is damaged ({error}); copy or export it anew")
