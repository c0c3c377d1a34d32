"""What goes to the page as bytes, read back as the page reads it."""

from __future__ import annotations

import io
import itertools
import json

import numpy as np
import pytest
from PIL import Image

from workbench.masks import rle
from workbench.widgets.packing import MAGIC, pack_live, pack_masks, pack_picture


def unpack(data):
    """Return the masks of packed bytes as pixels."""
    words = np.frombuffer(data, "<u4")
    magic, n, h, w = words[:4].tolist()
    assert magic == MAGIC
    offsets, runs = words[4 : 5 + n], words[5 + n :]
    assert len(runs) == offsets[-1]
    parts = [rle.runs_to_counts(runs[a:b]) for a, b in itertools.pairwise(offsets)]
    return rle.decode(parts, (h, w))


@pytest.mark.parametrize("n", [0, 1, 7])
def test_pack_masks__gives_the_masks_back(n):
    masks = np.random.default_rng(n).random((n, 13, 9)) < 0.4
    np.testing.assert_array_equal(unpack(pack_masks(rle.encode(masks), (13, 9))), masks)


def test_pack_picture__small_ones_lose_nothing():
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    data, scale = pack_picture(image)
    assert scale == 1
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(data))), image)


def test_pack_picture__large_ones_are_reduced():
    data, scale = pack_picture(np.zeros((50, 8192, 3), np.uint8))
    assert scale == 0.5
    assert Image.open(io.BytesIO(data)).size == (4096, 25)


def test_pack_live__header_then_runs():
    data = pack_live({"prompt_id": "p1", "error": "ä"}, b"22")
    length = int(np.frombuffer(data[:4], "<u4")[0])
    assert length % 4 == 0
    assert json.loads(data[4 : 4 + length]) == {"prompt_id": "p1", "error": "ä"}
    assert np.frombuffer(data[4 + length :], "<u4").tolist() == [2, 2]
    assert pack_live({}, None) == pack_live({})
