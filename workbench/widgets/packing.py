"""What goes to the page as bytes: the picture, all masks of an image, and the mask that answers a prompt."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from workbench.masks import rle

MAGIC = 0x314B534D  # "MSK1", little-endian
LONGEST_PX = 4096  # of the picture; browsers draw larger ones slowly or not at all
_LOSSLESS_PIXELS = 1_500_000  # above it a PNG takes long to make and to send


def pack_masks(rles: Sequence[bytes], size_hw: tuple[int, int]) -> bytes:
    """Return N masks as little-endian uint32: magic, N, height, width, N + 1 offsets into the runs, then the runs.

    Parameters
    ----------
    rles : N compressed COCO strings; size_hw : height and width of the image, px

    >>> np.frombuffer(pack_masks([b"22"], (2, 2)), "<u4")[1:].tolist()
    [1, 2, 2, 0, 2, 2, 2]
    """
    runs, offsets = rle.unpack_runs(rles)
    head = np.array([MAGIC, len(rles), *size_hw], np.int64)
    return np.concatenate([head, offsets, runs]).astype("<u4").tobytes()


def pack_picture(image: np.ndarray) -> tuple[bytes, float]:
    """Return an (H, W, 3) uint8 image as a PNG or, when it is large, as a JPEG; and its scale, picture px ÷ image px."""
    height, width = image.shape[:2]
    scale = min(1.0, LONGEST_PX / max(height, width))
    picture = Image.fromarray(image)
    if scale < 1:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        picture = picture.resize(size, Image.Resampling.BOX)
    buffer = io.BytesIO()
    if picture.width * picture.height <= _LOSSLESS_PIXELS:
        picture.save(buffer, "PNG", compress_level=1)
    else:
        picture.save(buffer, "JPEG", quality=93, subsampling=0)
    return buffer.getvalue(), scale


def pack_live(header: Mapping[str, Any], counts: bytes | None = None) -> bytes:
    """Return the answer to a prompt: length of the header, the header as JSON padded to 4 bytes, then runs of uint32.

    Parameters
    ----------
    counts : the mask as a compressed COCO string; None for an answer without one
    """
    text = json.dumps(header, allow_nan=False).encode()
    text += b" " * (-len(text) % 4)
    runs = b"" if counts is None else rle.counts_to_runs(counts).astype("<u4").tobytes()
    return np.array([len(text)], "<u4").tobytes() + text + runs
