"""TIFF of more than 8 bits: every layout gives the numbers that were written, or is refused; none comes scrambled."""

from __future__ import annotations

import io
import itertools
import struct
import tracemalloc
import zlib

import cv2
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from workbench.pixels import ImageError, Pixels, decode, stretch

pytestmark = pytest.mark.filterwarnings("error")

FORMATS = {"u": 1, "i": 2, "f": 3}
NONE, LZW, JPEG, DEFLATE, PACKBITS = 1, 5, 7, 8, 32773
LOSSLESS = (NONE, LZW, DEFLATE, PACKBITS)
H, W = 37, 45  # whole numbers of neither strips nor tiles
BASE = np.random.default_rng(3).permutation(np.arange(H * W)).reshape(H, W)  # no symmetry, every value once
PAINT = np.stack([BASE, (BASE * 7 + 5) % (H * W), BASE[::-1, ::-1]], axis=2) + 600  # 12 bits, as satellites give it


def grey(kind: str) -> np.ndarray:
    """Return (H, W) numbers that use more than one byte, negative ones too where the type has them."""
    if kind == "i1":
        return (BASE % 200 - 100).astype(kind)
    if kind == "f4":
        return (BASE / np.float32(7) - 100).astype(kind)
    return (BASE + {"u2": 300, "i2": -800, "u4": 2**31 - 800, "i4": -800}[kind]).astype(kind)


def lzw(data: bytes) -> bytes:
    """Write every byte as a code of 9 bits of its own, and clear the table before codes would grow."""
    codes = [c for at in range(0, len(data), 200) for c in (256, *data[at : at + 200])] + [257]
    bits = "".join(f"{c:09b}" for c in codes)
    return int(bits.ljust(-(-len(bits) // 8) * 8, "0"), 2).to_bytes(-(-len(bits) // 8), "big")


def packbits(data: bytes) -> bytes:
    return b"".join(bytes([len(data[a : a + 128]) - 1]) + data[a : a + 128] for a in range(0, len(data), 128))


PACK = {NONE: bytes, LZW: lzw, DEFLATE: zlib.compress, PACKBITS: packbits, JPEG: bytes}


def differences(block: np.ndarray, order: str, predictor: int) -> bytes:
    """Return a strip or tile (rows, columns, samples) as bytes, each row as TIFF's technical notes 1 and 3 have it."""
    size = block.dtype.itemsize
    if predictor == 3:
        planes = np.moveaxis(block.astype(f">f{size}")[..., None].view(np.uint8), -1, 1)  # highest bytes first
        bytes_ = planes.reshape(len(block), -1, block.shape[2])
        return np.diff(bytes_, axis=1, prepend=np.uint8(0)).tobytes()
    if predictor == 2:
        block = np.diff(block.view(f"u{size}"), axis=1, prepend=np.zeros((), f"u{size}"))
    return block.astype(block.dtype.newbyteorder(order)).tobytes()


def tiff(
    values: np.ndarray, *, order: str = "<", packing: int = NONE, predictor: int = 1, apart: bool = False,
    tile: tuple[int, int] | None = None, rows: int = 10, photometric: int | None = None, extra: int = 0, **more: int,
) -> bytes:  # fmt: skip
    """Write (h, w) or (h, w, samples) as TIFF; bands past grey or RGB are called `extra`; `more` sets tags ("t274")."""
    values = values.reshape(*values.shape[:2], -1)
    h, w, samples = values.shape
    photometric = (2 if samples > 2 else 1) if photometric is None else photometric
    across, down = tile or (w, rows)
    body, offsets, counts = bytearray(), [], []
    for plane in np.split(values, samples, axis=2) if apart else [values]:
        for y, x in itertools.product(range(0, h, down), range(0, w, across)):
            block = plane[y : y + down, x : x + across]
            if tile:
                block = np.pad(block, ((0, down - block.shape[0]), (0, across - block.shape[1]), (0, 0)), mode="edge")
            packed = PACK[packing](differences(block, order, predictor))
            offsets.append(8 + len(body))
            counts.append(len(packed))
            body += packed
    named = {2: 3, 5: 4, 6: 3}.get(photometric, 1)
    tags = {
        256: [w], 257: [h], 258: [values.dtype.itemsize * 8] * samples, 259: [packing], 262: [photometric],
        277: [samples], 284: [1 + apart], 317: [predictor], 339: [FORMATS[values.dtype.kind]] * samples,
    }  # fmt: skip
    tags |= (
        {322: [across], 323: [down], 324: offsets, 325: counts} if tile else {273: offsets, 278: [rows], 279: counts}
    )
    tags |= {338: [extra] * (samples - named)} if samples > named else {}
    tags |= {int(name[1:]): [value] for name, value in more.items()}
    body += bytes(len(body) % 2)
    start = 8 + len(body)
    lists, end = b"", start + 2 + 12 * len(tags) + 4
    directory = struct.pack(order + "H", len(tags))
    for tag, numbers in sorted(tags.items()):
        short = tag in (258, 262, 284, 317, 338, 339)
        packed = struct.pack(f"{order}{len(numbers)}{'H' if short else 'I'}", *numbers)
        directory += struct.pack(order + "HHI", tag, 3 if short else 4, len(numbers))
        directory += packed.ljust(4, b"\0") if len(packed) <= 4 else struct.pack(order + "I", end + len(lists))
        lists += packed if len(packed) > 4 else b""
    head = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(order + "I", start)
    return head + bytes(body) + directory + b"\0" * 4 + lists


def expected(values: np.ndarray) -> Pixels:
    values = (
        values[..., 0] if values.ndim == 3 and values.shape[2] < 3 else values[..., :3] if values.ndim == 3 else values
    )
    return stretch(values) if values.ndim == 3 else np.repeat(stretch(values)[..., None], 3, axis=2)


def refused(data: bytes, **options: int) -> ImageError:
    with pytest.raises(ImageError) as caught:
        decode(data, **options)
    return caught.value


# ---- layouts that are read ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("tile", [None, (32, 16)])
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("bands", [3, 4, 5])
def test_decode__planes_of_sixteen_bit_colour_are_put_together(bands: int, order: str, tile: tuple[int, int]) -> None:
    values = np.dstack([PAINT, BASE, BASE[::-1]])[..., :bands].astype(np.uint16)
    for packing in LOSSLESS:
        got = decode(tiff(values, order=order, packing=packing, apart=True, tile=tile))
        np.testing.assert_array_equal(got, expected(values), err_msg=str(packing))


@pytest.mark.parametrize("kind", ["u2", "i2", "u4", "i4", "f4", "i1"])
@pytest.mark.parametrize("order", "<>")
def test_decode__first_of_two_planes_is_the_grey(kind: str, order: str) -> None:
    values = np.dstack([grey(kind), grey(kind)[::-1]])
    for packing in LOSSLESS:
        got = decode(tiff(values, order=order, packing=packing, apart=True))
        np.testing.assert_array_equal(got, expected(values), err_msg=str(packing))


@pytest.mark.parametrize("tile", [None, (16, 32)])
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("kind", ["u2", "i2", "u4", "i4", "f4", "i1"])
def test_decode__deep_grey_in_either_byte_order_and_packing(kind: str, order: str, tile: tuple[int, int]) -> None:
    values = grey(kind)
    for packing, predictor in itertools.product(LOSSLESS, (1, 2, 3)):
        if predictor == 1 or (packing in (LZW, DEFLATE) and (predictor == 2 or kind == "f4")):
            data = tiff(values, order=order, packing=packing, predictor=predictor, tile=tile)
            np.testing.assert_array_equal(decode(data), expected(values), err_msg=f"{packing} {predictor}")


def test_decode__signed_bytes_do_not_wrap() -> None:
    values = np.array([[-128, -1, 0, 127]], np.int8)
    assert decode(tiff(values))[0, :, 0].tolist() == [0, 127, 128, 255]


@pytest.mark.parametrize("tile", [None, (16, 16)])
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize(
    ("packing", "predictor"), [(NONE, 1), (PACKBITS, 1), *itertools.product((LZW, DEFLATE), (1, 2))]
)
def test_decode__sixteen_bit_colour_is_stretched_over_one_range(
    packing: int, predictor: int, order: str, tile: tuple[int, int]
) -> None:
    values = PAINT.astype(np.uint16)
    got = decode(tiff(values, order=order, packing=packing, predictor=predictor, tile=tile))
    np.testing.assert_array_equal(got, stretch(values))
    low, high = np.sort(values.reshape(-1))[[4, -5]]  # one range for the channels: 4 of 4995 cut off at either end
    np.testing.assert_allclose(got, np.clip((values - float(low)) / (high - low), 0, 1) * 255, atol=0.51)


@pytest.mark.parametrize("level", [0, 3000, 0xFFFF])
@pytest.mark.parametrize("extra", [0, 1, 2])
@pytest.mark.parametrize("apart", [False, True])
def test_decode__fourth_sixteen_bit_band_leaves_the_picture(apart: bool, extra: int, level: int) -> None:
    values = np.dstack([PAINT, np.full((H, W), level)]).astype(np.uint16)
    np.testing.assert_array_equal(decode(tiff(values, apart=apart, extra=extra)), stretch(values[..., :3]))


@pytest.mark.parametrize("kind", ["u2", "f4"])
def test_decode__deep_grey_whose_zero_is_white(kind: str) -> None:
    np.testing.assert_array_equal(decode(tiff(grey(kind), photometric=0)), 255 - expected(grey(kind)))


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_decode__deep_colour_is_turned_upright_once(orientation: int) -> None:
    values = PAINT.astype(np.uint16)
    turned = np.rot90(stretch(values), {1: 0, 3: 2, 6: -1, 8: 1}[orientation])
    np.testing.assert_array_equal(decode(tiff(values, t274=orientation)), turned)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize("tile", [None, (32, 16)])
def test_decode__colour_as_tifffile_writes_it(order: str, apart: bool, tile: tuple[int, int] | None) -> None:
    values, buffer = PAINT.astype(np.uint16), io.BytesIO()
    tifffile.imwrite(
        buffer, np.moveaxis(values, 2, 0) if apart else values, photometric="rgb", byteorder=order, predictor=True,
        planarconfig="separate" if apart else "contig", compression="deflate", tile=tile,
    )  # fmt: skip
    np.testing.assert_array_equal(decode(buffer.getvalue()), stretch(values))


@pytest.mark.parametrize(("packing", "predictor"), list(itertools.product((LZW, DEFLATE), (1, 2, 3))))
def test_decode__numbers_as_libtiff_writes_them(packing: int, predictor: int) -> None:
    values = grey("f4") if predictor == 3 else PAINT.astype(np.uint16)
    done, data = cv2.imencode(
        ".tif",
        np.ascontiguousarray(values[..., ::-1] if values.ndim == 3 else values),
        [cv2.IMWRITE_TIFF_COMPRESSION, packing, cv2.IMWRITE_TIFF_PREDICTOR, predictor],
    )
    assert done
    with tifffile.TiffFile(io.BytesIO(data.tobytes())) as file:
        assert (file.pages[0].compression, file.pages[0].predictor) == (packing, predictor)
    np.testing.assert_array_equal(decode(data.tobytes()), expected(values))


@pytest.mark.parametrize("bands", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("order", "<>")
def test_decode__planes_of_bytes_are_kept_as_they_are(order: str, bands: int) -> None:
    values = np.dstack([PAINT % 251, BASE % 7, BASE % 9]).astype(np.uint8)[..., :bands]
    seen = values[..., :3] if bands > 2 else np.repeat(values[..., :1], 3, axis=2)
    for packing in LOSSLESS:
        np.testing.assert_array_equal(decode(tiff(values, order=order, packing=packing, apart=True)), seen)


def test_decode__one_band_called_apart_is_read_as_any() -> None:
    values = np.arange(256, dtype=np.uint8).reshape(16, 16)
    white = decode(tiff(values, photometric=0, apart=True))
    np.testing.assert_array_equal(white[..., 0], 255 - values)
    half = decode(tiff(values, apart=True, t258=4, t256=32))
    np.testing.assert_array_equal(
        half[..., 0].reshape(-1, 2), np.stack([values >> 4, values & 15], -1).reshape(-1, 2) * 17
    )


@pytest.mark.parametrize("order", "<>")
def test_decode__sixteen_bit_cmyk_keeps_its_upper_byte(order: str) -> None:
    ink = np.dstack([PAINT % 251, BASE % 7]).astype(np.uint8)
    for packing in LOSSLESS:
        deep = decode(tiff(ink.astype(np.uint16) * 256 + 77, order=order, packing=packing, photometric=5))
        np.testing.assert_array_equal(deep, decode(tiff(ink, order=order, packing=packing, photometric=5)))


# ---- layouts that are refused -------------------------------------------------------------------------------------


def _unread() -> dict[str, bytes]:
    eight, sixteen = (PAINT % 251).astype(np.uint8), PAINT.astype(np.uint16)
    return {
        "planes of YCbCr": tiff(eight, photometric=6, apart=True),
        "planes of grey and alpha": tiff(eight[..., :2], packing=LZW, extra=2, apart=True),
        "planes of 16-bit CMYK": tiff(np.dstack([sixteen, BASE.astype(np.uint16)]), photometric=5, apart=True),
        "16 bits in JPEG": tiff(sixteen, packing=JPEG),
        "whole numbers with predictor 3": tiff(sixteen, packing=DEFLATE, t317=3),
        "predictor 9": tiff(sixteen, packing=DEFLATE, t317=9),
    }


@pytest.mark.parametrize("name", _unread())
def test_decode__layout_that_would_come_scrambled_is_refused(name: str) -> None:
    error = refused(_unread()[name])
    assert error.reason == "unsupported"
    assert "PlanarConfiguration" in str(error)
    assert "save it as" in str(error)


@pytest.mark.parametrize("values", [np.zeros((4, 4, 2), np.uint32), np.zeros((4, 4), np.float64)])
def test_decode__channels_of_equal_standing_and_doubles_are_refused(values: np.ndarray) -> None:
    data = tiff(values)
    if values.ndim == 3:
        data = data.replace(struct.pack("<HH", 338, 3), struct.pack("<HH", 337, 3))  # not called extra by the file
    error = refused(data)
    assert error.reason == "unsupported"
    assert "save it as" in str(error)


@pytest.mark.parametrize("apart", [False, True])
def test_decode__several_deep_pages_are_refused_with_their_number(apart: bool) -> None:
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as file:
        for _ in range(3):
            planes = np.moveaxis(PAINT, 2, 0) if apart else PAINT
            config = "separate" if apart else "contig"
            file.write(planes.astype(np.uint16), photometric="rgb", planarconfig=config, metadata=None)
    error = refused(buffer.getvalue())
    assert error.reason == "animated"
    assert "3 frames" in str(error)


@settings(deadline=None, max_examples=200)
@given(
    order=st.sampled_from("<>"),
    packing=st.sampled_from(LOSSLESS),
    apart=st.booleans(),
    tile=st.sampled_from([None, (16, 16)]),
    changes=st.lists(st.tuples(st.integers(-260, 2000), st.integers(0, 255)), min_size=1, max_size=6),
)
@pytest.mark.filterwarnings("ignore:::PIL")  # what Pillow has to say about broken tags
def test_decode__any_damage_of_deep_tiff_gives_a_picture_or_a_reason(
    order: str, packing: int, apart: bool, tile: tuple[int, int] | None, changes: list[tuple[int, int]]
) -> None:
    data = bytearray(tiff(PAINT[:20, :20].astype(np.uint16), order=order, packing=packing, apart=apart, tile=tile))
    for where, value in changes:  # the directory is at the end
        data[where % len(data)] = value
    try:
        got = decode(bytes(data), max_pixels=100_000)
    except ImageError as error:
        assert error.reason in ("truncated", "damaged", "not_an_image", "unsupported", "too_large", "animated")  # noqa: PT017
    else:
        assert got.ndim == 3
        assert got.shape[2] == 3
        assert got.size <= 300_000


@pytest.mark.parametrize("packing", LOSSLESS)
@pytest.mark.parametrize("tile", [None, (16, 16)])
def test_decode__cut_deep_tiff_is_refused_or_whole(packing: int, tile: tuple[int, int] | None) -> None:
    # The directory goes first, as in files that are cut in the middle of their pixels: each piece is moved behind it.
    values = PAINT[:20, :20].astype(np.uint16)
    data = tiff(values, packing=packing, tile=tile, apart=True)
    start = struct.unpack_from("<I", data, 4)[0]
    room, front = 1000, bytearray(data[start:])
    for at in range(2, 2 + 12 * struct.unpack_from("<H", front)[0], 12):
        tag, kind, count, where = struct.unpack_from("<HHII", front, at)
        if count * (2 if kind == 3 else 4) > 4:
            struct.pack_into("<I", front, at + 8, where - start + 8)
            if tag in (273, 324):
                old = struct.unpack_from(f"<{count}I", front, where - start)
                struct.pack_into(f"<{count}I", front, where - start, *(o - 8 + room for o in old))
    moved = (b"II*\0\x08\0\0\0" + bytes(front)).ljust(room, b"\0") + data[8:start]
    np.testing.assert_array_equal(decode(moved), stretch(values))
    for end in (*range(room, len(moved), 97), len(moved) - 2):
        try:
            got = decode(moved[:end])
        except ImageError as error:
            assert error.reason in ("truncated", "damaged"), end  # noqa: PT017
        else:
            np.testing.assert_array_equal(got, stretch(values))  # only what fills up the last tile was cut off
            assert tile
            assert end > len(moved) - 500


def test_decode__deep_tiff_that_swells_stays_small() -> None:
    values = np.zeros((8, 8, 3), np.uint16)
    honest = tiff(values, packing=DEFLATE)
    start = struct.unpack_from("<I", honest, 4)[0]
    bomb, grown = zlib.compress(bytes(200_000_000)), bytearray(honest[start:])
    entries = range(2, 2 + 12 * struct.unpack_from("<H", grown)[0], 12)
    moved = {273: 8, 279: len(bomb)}  # one strip, which holds 200 MB for the 384 bytes of the picture
    shift = 8 + len(bomb) - start
    for at in entries:
        tag, kind, count, where = struct.unpack_from("<HHII", grown, at)
        new = moved.get(tag, where + shift if count * (2 if kind == 3 else 4) > 4 else where)
        struct.pack_into("<I", grown, at + 8, new)
    data = b"II*\0" + struct.pack("<I", 8 + len(bomb)) + bomb + bytes(grown)
    tracemalloc.start()
    got = decode(data)
    assert tracemalloc.get_traced_memory()[1] < 20_000_000
    tracemalloc.stop()
    assert got.shape == (8, 8, 3)


def test_decode__deep_tiff_is_bound_by_our_limit_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    values = PAINT.astype(np.uint16)
    for packing in LOSSLESS:
        np.testing.assert_array_equal(decode(tiff(values, packing=packing), max_pixels=H * W), stretch(values))


def test_decode__tiles_far_larger_than_the_picture_are_refused() -> None:
    values = PAINT.astype(np.uint16)
    data = tiff(values, tile=(48, 48), t322=1 << 20, t323=1 << 20)
    assert refused(data).reason == "too_large"
    assert refused(tiff(values), max_pixels=H * W - 1).reason == "too_large"


@pytest.mark.parametrize("change", [{"t278": 1}, {"t278": 0}, {"t277": 1}])
def test_decode__deep_tiff_with_missing_pieces_is_refused(change: dict[str, int]) -> None:
    assert refused(tiff(PAINT.astype(np.uint16), **change)).reason in ("damaged", "unsupported")
