"""Decoding: every kind of picture becomes upright RGB, everything else is refused with its reason."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import workbench
from workbench.pixels import ImageError, decode, stretch

pytestmark = pytest.mark.filterwarnings("error")  # Pillow's warnings too: its bomb warning must not come through

BLOCKS = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
PICTURE = BLOCKS.repeat(4, 0).repeat(4, 1)  # 20 x 28, odd blocks, no symmetry


def encoded(image: Image.Image, form: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def refused(data: bytes, **options: int) -> ImageError:
    with pytest.raises(ImageError) as caught:
        decode(data, **options)
    return caught.value


def png(width: int, height: int, bits: int, colour: int, rows: bytes) -> bytes:
    """Write a PNG by hand: colour 0 grey, 2 RGB, 4 grey and alpha."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


SAMPLES = {
    "png": encoded(Image.fromarray(PICTURE), "PNG"),
    "jpeg": encoded(Image.fromarray(PICTURE), "JPEG", quality=95),
    "progressive jpeg": encoded(Image.fromarray(PICTURE), "JPEG", quality=95, progressive=True),
    "bmp": encoded(Image.fromarray(PICTURE), "BMP"),
    "gif": encoded(Image.fromarray(PICTURE).quantize(64), "GIF"),
    "webp": encoded(Image.fromarray(PICTURE), "WEBP", lossless=True),
    "lossy webp": encoded(Image.fromarray(PICTURE), "WEBP", quality=95),
    "ppm": encoded(Image.fromarray(PICTURE), "PPM"),
    "tiff": encoded(Image.fromarray(PICTURE), "TIFF"),
    "lzw tiff": encoded(Image.fromarray(PICTURE), "TIFF", compression="tiff_lzw"),
    "deflate tiff": encoded(Image.fromarray(PICTURE), "TIFF", compression="tiff_adobe_deflate"),
}


# ---- pictures that are read -------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", SAMPLES)
def test_decode__formats_give_the_picture(form: str) -> None:
    got = decode(SAMPLES[form])
    assert got.shape == PICTURE.shape
    assert got.dtype == np.uint8
    assert got.flags.c_contiguous and got.flags.writeable  # noqa: PT018
    if form in ("png", "bmp", "gif", "webp", "ppm", "tiff", "lzw tiff", "deflate tiff"):
        np.testing.assert_array_equal(got, PICTURE)
    else:  # 4 px blocks, colour at half resolution: near on average
        assert np.abs(got.astype(int) - PICTURE).mean() < 20


@pytest.mark.parametrize("form", ["PNG", "JPEG", "TIFF", "BMP", "WEBP", "GIF", "PPM"])
def test_decode__one_pixel(form: str) -> None:
    got = decode(encoded(Image.new("RGB", (1, 1), (255, 255, 255)), form))
    assert got.tolist() == [[[255, 255, 255]]]


def test_decode__one_bit_and_grey() -> None:
    bits = np.array([[True, False, True], [False, False, True]])
    np.testing.assert_array_equal(decode(encoded(Image.fromarray(bits), "PNG"))[..., 1], bits * 255)
    grey = PICTURE[..., 0]
    np.testing.assert_array_equal(decode(encoded(Image.fromarray(grey), "PNG")), np.stack([grey] * 3, axis=-1))


def test_decode__palette_and_transparent_palette() -> None:
    image = Image.new("P", (3, 1))
    image.putpalette([10, 20, 30, 200, 100, 50, 0, 0, 0])
    image.putdata([0, 1, 2])
    plain = [[[10, 20, 30], [200, 100, 50], [0, 0, 0]]]
    assert decode(encoded(image, "PNG")).tolist() == plain
    seen = [[[10, 20, 30], [200, 100, 50], [255, 255, 255]]]
    assert decode(encoded(image, "PNG", transparency=2)).tolist() == seen
    assert decode(encoded(image, "GIF", transparency=2)).tolist() == seen
    half = decode(encoded(image, "PNG", transparency=bytes([255, 128, 0])))[0]
    assert half[[0, 2]].tolist() == [[10, 20, 30], [255, 255, 255]]
    np.testing.assert_allclose(half[1], 255 + (np.array([200, 100, 50]) - 255) * 128 / 255, atol=1)


@pytest.mark.parametrize("form", ["PNG", "WEBP", "TIFF"])
def test_decode__alpha_lies_over_white(form: str) -> None:
    rgba = np.dstack([PICTURE, np.tile(np.uint8([0, 128, 200, 255]), 35).reshape(20, 7).repeat(4, 1)])
    options = {"lossless": True, "exact": True} if form == "WEBP" else {}
    got = decode(encoded(Image.fromarray(rgba), form, **options))
    alpha = rgba[..., 3:] / 255
    np.testing.assert_allclose(got, PICTURE * alpha + 255 * (1 - alpha), atol=1)
    np.testing.assert_array_equal(got[rgba[..., 3] == 255], PICTURE[rgba[..., 3] == 255])


def test_decode__grey_with_alpha_and_with_a_transparent_colour() -> None:
    la = np.array([[[40, 255], [40, 0]]], np.uint8)
    assert decode(encoded(Image.fromarray(la, "LA"), "PNG"))[0, :, 0].tolist() == [40, 255]
    grey = Image.fromarray(np.array([[7, 40]], np.uint8))
    assert decode(encoded(grey, "PNG", transparency=7))[0, :, 2].tolist() == [255, 40]
    deep = png(2, 1, 16, 4, b"\0" + struct.pack(">4H", 0x2800, 0xFFFF, 0x2800, 0))
    assert decode(deep)[0, :, 0].tolist() == [40, 255]


@pytest.mark.parametrize(
    ("cmyk", "rgb"), [((255, 0, 0, 0), (0, 255, 255)), ((0, 0, 255, 0), (255, 255, 0)), ((0, 0, 0, 255), (0, 0, 0))]
)  # fmt: skip
def test_decode__cmyk_is_not_inverted(cmyk: tuple[int, ...], rgb: tuple[int, ...]) -> None:
    image = Image.new("CMYK", (16, 16), cmyk)
    jpeg = encoded(image, "JPEG", quality=95)
    assert b"Adobe" in jpeg  # the marker under which ink is stored the other way round
    for data in (jpeg, encoded(image, "TIFF")):
        np.testing.assert_allclose(decode(data), np.broadcast_to(rgb, (16, 16, 3)), atol=4)


def test_decode__lab_and_ycbcr_tiff() -> None:
    lab = decode(encoded(Image.new("LAB", (4, 4), (128, 128, 128)), "TIFF"))
    assert np.ptp(lab.astype(int)) <= 6
    assert 90 < lab.mean() < 150
    red = Image.new("RGB", (16, 16), (200, 30, 40)).convert("YCbCr")
    np.testing.assert_allclose(decode(encoded(red, "TIFF")), np.broadcast_to((200, 30, 40), (16, 16, 3)), atol=3)


def test_decode__photograph_with_embedded_preview_is_one_picture() -> None:
    preview = Image.new("RGB", (8, 8))
    data = encoded(Image.fromarray(PICTURE), "MPO", save_all=True, append_images=[preview])
    assert decode(data).shape == PICTURE.shape


# ---- EXIF -------------------------------------------------------------------------------------------------------

# Where the pixel seen at (y, x) of a picture of h rows and w columns is stored, by the words of EXIF 2.32 ("the 0th
# row is at the visual right-hand side, the 0th column at the visual top" is 6).
STORED_AT = {
    1: lambda y, x, h, w: (y, x),
    2: lambda y, x, h, w: (y, w - 1 - x),
    3: lambda y, x, h, w: (h - 1 - y, w - 1 - x),
    4: lambda y, x, h, w: (h - 1 - y, x),
    5: lambda y, x, h, w: (x, y),
    6: lambda y, x, h, w: (w - 1 - x, y),
    7: lambda y, x, h, w: (w - 1 - x, h - 1 - y),
    8: lambda y, x, h, w: (x, h - 1 - y),
}


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_decode__exif_orientation_applied_once(orientation: int, form: str) -> None:
    h, w = PICTURE.shape[:2]
    y, x = np.indices((h, w))
    stored = np.zeros((h, w, 3) if orientation < 5 else (w, h, 3), np.uint8)
    stored[STORED_AT[orientation](y, x, h, w)] = PICTURE
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"JPEG": {"quality": 95, "subsampling": 0}, "WEBP": {"lossless": True}}.get(form, {})
    got = decode(encoded(Image.fromarray(stored), form, exif=exif, **options))
    assert got.shape == PICTURE.shape
    assert got.flags.c_contiguous
    assert np.abs(got.astype(int) - PICTURE).mean() < (15 if form == "JPEG" else 1e-9)


@pytest.mark.parametrize("orientation", [0, 9, 77])
def test_decode__unknown_orientation_is_none(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    np.testing.assert_array_equal(decode(encoded(Image.fromarray(PICTURE), "PNG", exif=exif)), PICTURE)


def test_decode__broken_exif_leaves_the_picture() -> None:
    data = encoded(Image.fromarray(PICTURE), "WEBP", lossless=True, exif=b"Exif\0\0not a tiff header")
    np.testing.assert_array_equal(decode(data), PICTURE)


# ---- more than 8 bits -------------------------------------------------------------------------------------------

RAMP = np.arange(0, 4000, 10, dtype=np.uint16).reshape(20, 20)  # 12-bit data in 16 bits, as microscopes write it
EXPECTED = np.rint(RAMP / 3990 * 255).astype(np.uint8)


def _sixteen_bit_files() -> dict[str, bytes]:
    big = Image.frombytes("I;16B", (20, 20), RAMP.astype(">u2").tobytes())
    return {
        "png": encoded(Image.fromarray(RAMP), "PNG"),
        "tiff": encoded(Image.fromarray(RAMP), "TIFF"),
        "big-endian tiff": encoded(big, "TIFF"),
        "deflate tiff": encoded(Image.fromarray(RAMP), "TIFF", compression="tiff_adobe_deflate"),
        "pgm": b"P5\n20 20\n65535\n" + RAMP.astype(">u2").tobytes(),
    }


@pytest.mark.parametrize("name", _sixteen_bit_files())
def test_decode__deep_grey_is_stretched(name: str) -> None:
    got = decode(_sixteen_bit_files()[name])
    assert got.shape == (20, 20, 3)
    assert (got == got[..., :1]).all()
    np.testing.assert_allclose(got[..., 0].astype(int), EXPECTED, atol=1)


def test_decode__sixteen_bit_png_colour_is_stretched_over_one_range() -> None:
    deep = PICTURE.astype(np.uint16) * 9 + 300  # as satellites give it, where the upper byte is 1 to 10
    alpha = np.full((20, 28), 0xFFFF, np.uint16)
    alpha[:4] = 0
    colour, rgba = (
        png(28, 20, 16, kind, b"".join(b"\0" + row.astype(">u2").tobytes() for row in values))
        for kind, values in ((2, deep), (6, np.dstack([deep, alpha])))
    )
    np.testing.assert_array_equal(decode(colour), stretch(deep))
    np.testing.assert_array_equal(decode(rgba)[4:], stretch(deep)[4:])
    assert (decode(rgba)[:4] == 255).all()
    chunk = b"tRNS" + struct.pack(">3H", *deep[0, 0])
    clear = struct.pack(">I", 6) + chunk + struct.pack(">I", zlib.crc32(chunk))
    at = colour.index(b"IDAT") - 4
    seen = decode(colour[:at] + clear + colour[at:])
    np.testing.assert_array_equal((seen == 255).all(axis=2), (deep == deep[0, 0]).all(axis=2))


def test_stretch__rule() -> None:
    values = np.arange(10_000).reshape(100, 100)
    got = stretch(values)  # ten values are cut off below and ten above
    np.testing.assert_array_equal(got, np.rint(np.clip((values - 10) / (9989 - 10), 0, 1) * 255))


def test_stretch__constant_empty_and_not_finite() -> None:
    assert stretch(np.full((3, 4), 517, np.uint16)).tolist() == [[0] * 4] * 3
    assert stretch(np.zeros((0, 4), np.float32)).shape == (0, 4)
    assert stretch(np.full((2, 2), np.nan, np.float32)).tolist() == [[0, 0], [0, 0]]
    got = stretch(np.array([[np.nan, -np.inf, 1.0], [2.0, 3.0, np.inf]], np.float32))
    assert got.tolist() == [[0, 0, 0], [128, 255, 255]]
    widest = np.finfo(np.float32).max
    assert stretch(np.array([[-widest, 0, widest]], np.float32)).tolist() == [[0, 128, 255]]


def test_stretch__few_bright_pixels_on_constant_ground_are_kept() -> None:
    values = np.full((100, 100), 300, np.uint16)
    values[50, 50:53] = 4000
    got = stretch(values)
    assert got[50, 50] == 255
    assert (got > 0).sum() == 3


# ---- files that are refused -------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", SAMPLES)
def test_decode__truncated_anywhere_is_refused_or_whole(form: str) -> None:
    data = SAMPLES[form]
    whole = decode(data)
    for end in {*range(1, 120), *range(120, len(data), 23), *range(len(data) - 30, len(data))}:
        try:
            got = decode(data[:end])
        except ImageError as error:
            assert error.reason in ("truncated", "damaged", "not_an_image"), (end, error)  # noqa: PT017
        else:
            np.testing.assert_array_equal(got, whole)  # only the end mark was cut off
            assert end > len(data) - 30


@pytest.mark.parametrize("form", SAMPLES)
def test_decode__truncated_in_the_middle_says_so(form: str) -> None:
    error = refused(SAMPLES[form][: len(SAMPLES[form]) * 2 // 3])
    assert error.reason == "truncated"
    assert "ends too early" in str(error)


def test_decode__damaged() -> None:
    data = bytearray(SAMPLES["png"])
    data[60] ^= 0xFF
    assert refused(bytes(data)).reason in ("damaged", "truncated")
    assert refused(png(0, 5, 8, 2, b"")).reason == "damaged"


@settings(deadline=None, max_examples=200)
@given(
    form=st.sampled_from(sorted(SAMPLES)),
    changes=st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), max_size=6),
)
@pytest.mark.filterwarnings("ignore:::PIL")  # what Pillow has to say about broken EXIF
def test_decode__any_damage_gives_a_picture_or_a_reason(form: str, changes: list[tuple[int, int]]) -> None:
    data = bytearray(SAMPLES[form])
    for where, value in changes:
        data[where % len(data)] = value
    try:
        got = decode(bytes(data), max_pixels=100_000)
    except ImageError as error:
        assert error.reason in ("truncated", "damaged", "not_an_image", "unsupported", "too_large", "animated")  # noqa: PT017
    else:
        assert got.ndim == 3
        assert got.shape[2] == 3
        assert got.size <= 300_000


@pytest.mark.parametrize(
    "data",
    [
        b"this is a text file\n",
        b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" width="5" height="5"/>',
        b"<svg/>",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\nshowpage\n",
        b"\xc5\xd0\xd3\xc6" + b"\0" * 40,  # EPS with a preview
        b"%PDF-1.7\n",
        b"\0",
    ],
)
def test_decode__not_a_raster_image(data: bytes) -> None:
    error = refused(data)
    assert error.reason == "not_an_image"
    assert "PNG, JPEG, TIFF" in str(error)


def test_decode__zero_bytes() -> None:
    assert refused(b"").reason == "empty_file"


def _bombs() -> dict[str, bytes]:
    jpeg = bytearray(SAMPLES["jpeg"])
    at = jpeg.index(b"\xff\xc0") + 5
    jpeg[at : at + 4] = struct.pack(">HH", 30_000, 30_000)
    tiff = bytearray(SAMPLES["tiff"])
    start = struct.unpack_from("<I", tiff, 4)[0]
    for at in range(start + 2, start + 26, 12):  # the first two tags, width and height
        tiff[at + 2 : at + 12] = struct.pack("<HII", 4, 1, 30_000)
    bmp = bytearray(SAMPLES["bmp"])
    bmp[18:26] = struct.pack("<ii", 30_000, 30_000)
    gif = b"GIF89a" + struct.pack("<HHBBB", 30_000, 30_000, 0, 0, 0)
    gif += b"," + struct.pack("<HHHHB", 0, 0, 30_000, 30_000, 0)
    return {
        "png": png(30_000, 30_000, 8, 2, b"\0" * 100_000),
        "tiff": bytes(tiff),
        "ppm": b"P6\n30000 30000\n255\n" + b"\0" * 100,
        "jpeg": bytes(jpeg),
        "bmp": bytes(bmp),
        "gif": gif + b"\x08\x02\x4c\x01\x00;",
    }  # fmt: skip


@pytest.mark.parametrize("form", _bombs())
def test_decode__bomb_is_refused_by_its_header(form: str) -> None:
    error = refused(_bombs()[form])
    assert error.reason == "too_large"
    assert "900,000,000" in str(error)
    assert "100,000,000" in str(error)


def test_decode__bomb_takes_no_memory(tmp_path: Path) -> None:
    pytest.importorskip("resource")
    (tmp_path / "bomb.png").write_bytes(_bombs()["png"])
    script = (
        "import resource, sys\n"
        "from workbench.images import ImageError, read_image\n"
        "held = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // (1024 if sys.platform == 'darwin' else 1)\n"
        "before = held()\n"
        "try: read_image(sys.argv[1])\n"
        "except ImageError as error: print(error.reason, held() - before)\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script, tmp_path / "bomb.png"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(workbench.__file__).parents[1])},
    )
    assert not done.stderr
    reason, grown_kb = done.stdout.split()
    assert reason == "too_large"
    assert int(grown_kb) < 30_000  # the picture would take 2,700,000


def test_decode__only_our_limit_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    for form in ("png", "tiff", "lzw tiff"):
        np.testing.assert_array_equal(decode(SAMPLES[form], max_pixels=20 * 28), PICTURE)
    assert refused(SAMPLES["png"], max_pixels=20 * 28 - 1).reason == "too_large"


@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG", "TIFF"])
def test_decode__several_frames_are_refused_with_their_number(form: str) -> None:
    frames = [Image.new("RGB", (8, 8), (60 * i, 0, 0)) for i in range(3)]
    error = refused(encoded(frames[0], form, save_all=True, append_images=frames[1:]))
    assert error.reason == "animated"
    assert "3 frames" in str(error)
