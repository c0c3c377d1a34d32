"""Run lengths against pycocotools, dense numpy and damaged input."""

from __future__ import annotations

import doctest
import tracemalloc

import numpy as np
import pytest
from ascii_masks import mask
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pycocotools import mask as coco

from workbench.masks import regions, rle

sizes = st.tuples(st.integers(1, 12), st.integers(1, 12))
batches = st.tuples(st.integers(0, 5), st.integers(1, 12), st.integers(1, 12)).flatmap(
    lambda shape: hnp.arrays(bool, shape)
)
pairs = st.tuples(st.integers(0, 4), st.integers(0, 4), sizes).flatmap(
    lambda s: st.tuples(hnp.arrays(bool, (s[0], *s[2])), hnp.arrays(bool, (s[1], *s[2])))
)


def coco_strings(masks):
    return [one["counts"] for one in coco.encode(np.asfortranarray(masks.transpose(1, 2, 0).astype(np.uint8)))]


@settings(deadline=None, max_examples=150)
@given(batches)
def test_encode__strings_are_those_of_pycocotools(masks):
    rles = rle.encode(masks)
    assert rles == coco_strings(masks)
    size = masks.shape[1:]
    back = rle.decode(rles, size)
    assert back.dtype == bool
    assert back.flags.c_contiguous
    np.testing.assert_array_equal(back, masks)
    assert rle.area(rles, size).tolist() == masks.sum((1, 2)).tolist()


def test_encode__large_and_strided_masks():
    rng = np.random.default_rng(0)
    masks = np.repeat(np.repeat(rng.random((3, 20, 31)) < 0.4, 17, axis=1), 13, axis=2)
    assert rle.encode(masks) == coco_strings(masks)
    assert rle.encode(masks.transpose(0, 2, 1)) == coco_strings(masks.transpose(0, 2, 1))
    assert rle.encode(masks.astype(np.uint8) * 255) == coco_strings(masks)
    assert rle.encode(masks.astype(np.float32)) == coco_strings(masks)


@settings(deadline=None, max_examples=100)
@given(batches)
def test_to_boxes__half_open_and_zero_when_empty(masks):
    expected = []
    for one in masks:
        ys, xs = np.nonzero(one)
        expected.append([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1] if len(ys) else [0, 0, 0, 0])
    boxes = rle.to_boxes(rle.encode(masks), masks.shape[1:])
    assert boxes.dtype == np.int32
    np.testing.assert_array_equal(boxes, np.array(expected).reshape(-1, 4))


@settings(deadline=None, max_examples=100)
@given(pairs)
def test_iou_matrix__as_on_pixels(both):
    a, b = both
    inter = (a[:, None] & b[None]).sum((2, 3)).astype(float)
    total = (a[:, None] | b[None]).sum((2, 3))
    least = np.minimum(a.sum((1, 2))[:, None], b.sum((1, 2))[None])
    rles = rle.encode(a), rle.encode(b)
    size = a.shape[1:]
    np.testing.assert_array_equal(rle.iou_matrix(*rles, size), inter / np.maximum(total, 1))
    np.testing.assert_array_equal(rle.iou_matrix(*rles, size, kind="smaller"), inter / np.maximum(least, 1))


@settings(deadline=None, max_examples=100)
@given(batches)
def test_merge__as_on_pixels(masks):
    rles, size = rle.encode(masks), masks.shape[1:]
    cases = {
        "union": masks.any(0),
        "intersection": masks.all(0) if len(masks) else np.zeros(size, bool),
        "difference": masks[0] & ~masks[1:].any(0) if len(masks) else np.zeros(size, bool),
    }
    for how, expected in cases.items():
        assert rle.merge(rles, size, how) == rle.encode(expected[None])[0]
    assert rle.union(rles, size) == rle.merge(rles, size)


@settings(deadline=None, max_examples=60)
@given(batches)
def test_largest_region__is_one_region_and_none_is_larger(masks):
    size = masks.shape[1:]
    found = rle.decode(rle.largest_region(rle.encode(masks), size), size)
    for pixels, kept in zip(masks.astype(bool), found, strict=True):
        labels, areas = regions.connected_components(pixels)
        assert len(np.unique(labels[kept])) == min(1, len(areas))
        assert kept.sum() == areas.max(initial=0)
        assert not (kept & ~pixels).any()


@settings(deadline=None, max_examples=60)
@given(batches, st.integers(0, 3), st.integers(0, 3), st.integers(0, 3), st.integers(0, 3))
def test_crop_and_uncrop__as_cutting_and_padding_the_pixels(masks, top, bottom, left, right):
    n, h, w = masks.shape
    size = (h + top + bottom, w + left + right)
    padded = np.pad(masks, ((0, 0), (top, bottom), (left, right)))
    box = (left, top, left + w, top + h)
    assert rle.uncrop(rle.encode(masks), box, size) == rle.encode(padded)
    assert rle.crop(rle.encode(padded), box, size) == rle.encode(masks)
    rng = np.random.default_rng(0)  # what lies outside is left out
    padded[:, :top] = rng.random(padded[:, :top].shape) < 0.5
    padded[:, :, :left] = rng.random(padded[:, :, :left].shape) < 0.5
    assert rle.crop(rle.encode(padded), box, size) == rle.encode(masks)
    assert len(padded) == n


@settings(deadline=None, max_examples=100)
@given(batches)
def test_runs__there_and_back(masks):
    rles = rle.encode(masks)
    runs, offsets = rle.unpack_runs(rles)
    assert len(offsets) == len(masks) + 1
    for i, one in enumerate(masks):
        own = runs[offsets[i] : offsets[i + 1]]
        dense = np.repeat(np.arange(len(own)) % 2 == 1, own)
        np.testing.assert_array_equal(dense, one.ravel(order="F"))
        np.testing.assert_array_equal(rle.counts_to_runs(rles[i]), own)
        assert rle.runs_to_counts(own) == rles[i]


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(0, 2**27), min_size=1, max_size=12))
def test_runs__long_and_empty_ones(runs):
    counts = rle.runs_to_counts(runs)
    back = rle.counts_to_runs(counts)
    assert back.sum(dtype=np.uint64) == sum(runs)
    assert (back[1:] > 0).all()  # canonical
    assert back[1::2].sum(dtype=np.uint64) == sum(runs[1::2])
    h = int(sum(runs))
    if h:
        raw = coco.frPyObjects({"counts": runs, "size": [h, 1]}, h, 1)  # keeps the empty runs
        np.testing.assert_array_equal(rle.counts_to_runs(raw["counts"]), runs)


def test_thin_and_single_pixel_masks():
    for drawing in ("#", ".", "###.#", "#\n.\n#\n#"):
        masks = mask(drawing)[None]
        rles = rle.encode(masks)
        assert rles == coco_strings(masks)
        np.testing.assert_array_equal(rle.decode(rles, masks.shape[1:]), masks)


def test_no_masks__every_function():
    size = (3, 4)
    assert rle.encode(np.zeros((0, 3, 4), bool)) == []
    assert rle.decode([], size).shape == (0, 3, 4)
    assert rle.area([], size).shape == (0,)
    assert rle.to_boxes([], size).shape == (0, 4)
    assert rle.iou_matrix([], [b"<"], size).shape == (0, 1)
    assert rle.iou_matrix([b"<"], [], size, kind="smaller").shape == (1, 0)
    for how in ("union", "intersection", "difference"):
        assert rle.merge([], size, how) == b"<"
    assert rle.uncrop([], (0, 0, 2, 2), size) == []
    assert rle.largest_region([], size) == []
    assert [len(part) for part in rle.unpack_runs([])] == [0, 1]
    assert rle.runs_to_counts([]) == b""


def test_from_coco__a_huge_claim_allocates_nothing():
    for size, words in (((30_000, 30_000), "at most"), ((2**40, 2**40), "at most"), ((16_000, 16_000), "sum to 4")):
        tracemalloc.start()
        with pytest.raises(ValueError, match=words):
            rle.from_coco({"size": size, "counts": b"22"})
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        (b"", "cut off"),
        (b"2" + b"R", "cut off"),  # R announces a further character
        (b"2\x00", "characters"),
        (b"2~", "characters"),
        (b"o" * 12 + b"2", "characters"),  # a number of 65 bits
        (b"N", "no run length"),  # negative
        (b"23", "sum to 5"),
        (b"2", "sum to 2"),
    ],
)
def test_from_coco__damaged_strings(counts, words):
    with pytest.raises(ValueError, match=words):
        rle.from_coco({"size": (2, 2), "counts": counts})


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=12) | st.text("0123456789:;<=>?@ABCOPQRSTUnop", max_size=12).map(str.encode), sizes)
def test_from_coco__what_passes_can_be_decoded(counts, size):
    try:
        canonical, _ = rle.from_coco({"size": size, "counts": counts})
    except ValueError:
        return
    expected = coco.decode({"counts": counts, "size": list(size)})
    np.testing.assert_array_equal(rle.decode([counts], size)[0], expected)
    np.testing.assert_array_equal(rle.decode([canonical], size)[0], expected)


def test_unpack_runs__names_the_damaged_mask():
    with pytest.raises(ValueError, match="mask 1"):
        rle.unpack_runs([b"22", b"2\x01", b"22"])
    with pytest.raises(ValueError, match="mask 2"):
        rle.unpack_runs([b"22", b"22", b"R"])
    with pytest.raises(ValueError, match="mask 1"):
        rle.unpack_runs([b"22", b"N2"])


@pytest.mark.parametrize(
    ("segmentation", "words"),
    [
        ([[1, 2, 3, 4, 5, 6]], "dict"),
        ({"size": [2, 2]}, "counts"),
        ({"size": 4, "counts": "22"}, r"\[h, w\]"),
        ({"size": [2, 2, 1], "counts": "22"}, r"\[h, w\]"),
        ({"size": [2.5, 2], "counts": "22"}, "height"),
        ({"size": [0, 2], "counts": "22"}, "height"),
        ({"size": [-2, -2], "counts": "22"}, "height"),
        ({"size": [10**9, 10**9], "counts": "22"}, "at most"),
        ({"size": [2, 2], "counts": "22é"}, "ASCII"),
        ({"size": [2, 2], "counts": None}, "list of run"),
        ({"size": [2, 2], "counts": [2, -1, 3]}, "lengths"),
        ({"size": [2, 2], "counts": [2.5, 1.5]}, "whole"),
        ({"size": [2, 2], "counts": [[2, 2]]}, "whole"),
        ({"size": [2, 2], "counts": [2**64]}, "whole|lengths"),
        ({"size": [2, 2], "counts": [2**63, 2**63, 4]}, "whole|lengths"),
        ({"size": [2, 2], "counts": []}, "cut off|sum"),
        ({"size": [2, 2], "counts": [2, 3]}, "sum to 5"),
    ],
)
def test_from_coco__errors_in_words(segmentation, words):
    with pytest.raises(ValueError, match=words):
        rle.from_coco(segmentation)


@settings(deadline=None, max_examples=60)
@given(batches)
def test_from_coco__all_spellings_give_the_canonical_string(masks):
    for one in coco.encode(np.asfortranarray(masks.transpose(1, 2, 0).astype(np.uint8))):
        size = tuple(one["size"])
        runs = rle.counts_to_runs(one["counts"]).tolist()
        for counts in (one["counts"], one["counts"].decode(), runs, [*runs, 0], [0, 0, *runs], np.array(runs)):
            assert rle.from_coco({"size": list(size), "counts": counts}) == (one["counts"], size)


def test_arguments__errors_in_words():
    with pytest.raises(ValueError, match=r"\(N, H, W\)"):
        rle.encode(np.zeros((3, 3), bool))
    with pytest.raises(ValueError, match="at least 1 px"):
        rle.encode(np.zeros((1, 0, 3), bool))
    with pytest.raises(ValueError, match="'smaller'"):
        rle.iou_matrix([b"4"], [b"4"], (2, 2), kind="dice")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="'union'"):
        rle.merge([b"4"], (2, 2), how="xor")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="inside"):
        rle.uncrop([b"4"], (0, 0, 3, 2), (2, 2))
    with pytest.raises(ValueError, match="expected a box inside"):
        rle.crop([b"4"], (0, 0, 3, 2), (2, 2))
    with pytest.raises(ValueError):
        rle.decode([b"22"], (3, 3))


def test_docstrings():
    assert doctest.testmod(rle).failed == 0
