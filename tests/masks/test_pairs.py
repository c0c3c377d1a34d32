"""Overlapping pairs: the same as the dense matrix, for no masks, empty masks and any threshold."""

from __future__ import annotations

import itertools

import ascii_masks
import numpy as np
import pytest

from workbench.masks import pairs, rle

SIZE = (40, 50)


def some_masks(seed: int, n: int) -> list[bytes]:
    rng = np.random.default_rng(seed)
    masks = np.zeros((n, *SIZE), dtype=bool)
    for mask in masks:
        y, x = rng.integers(0, 30, 2)
        mask[y : y + rng.integers(0, 20), x : x + rng.integers(0, 20)] = True
        mask &= rng.random(SIZE) < 0.9
    return rle.encode(masks)


@pytest.mark.parametrize("kind", ["iou", "smaller"])
@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.7, 1.0])
def test_overlapping__same_as_the_matrix(kind, threshold, monkeypatch):
    monkeypatch.setattr(pairs, "_BLOCK", 64)  # several blocks
    a, b = some_masks(0, 40), some_masks(1, 30)
    matrix = rle.iou_matrix(a, b, SIZE, kind)
    i, j, overlap = pairs.overlapping(a, b, SIZE, threshold, kind)
    expected = np.nonzero(matrix > threshold)
    assert (i.tolist(), j.tolist()) == (expected[0].tolist(), expected[1].tolist())
    assert overlap.tolist() == matrix[expected].tolist()


def test_overlapping_within__each_pair_once():
    a = some_masks(2, 40)
    i, j, overlap = pairs.overlapping_within(a, SIZE, 0.2)
    expected = np.nonzero(np.triu(rle.iou_matrix(a, a, SIZE), k=1) > 0.2)
    assert len(i) > 5
    assert (i.tolist(), j.tolist()) == (expected[0].tolist(), expected[1].tolist())
    assert ((overlap > 0.2) & (overlap <= 1)).all()


def test_overlapping__boxes_overlap_but_masks_do_not():
    two = np.stack([ascii_masks.mask("##.\n#..\n#.."), ascii_masks.mask("...\n.##\n.##")])
    assert len(pairs.overlapping_within(rle.encode(two), (3, 3), 0.0)[0]) == 0


@pytest.mark.parametrize(("a", "b"), [([], []), ([b"22"], []), ([], [b"22"]), ([b"4"], [b"4"])])
def test_overlapping__nothing_to_compare(a, b):
    i, j, overlap = pairs.overlapping(a, b, (2, 2), 0.0)
    assert (len(i), len(j), len(overlap)) == (0, 0, 0)
    assert (i.dtype, overlap.dtype) == (np.int64, np.float64)
    assert len(pairs.overlapping_within(a, (2, 2), 0.0)[0]) == 0


@pytest.mark.parametrize("kind", ["iou", "smaller"])
@pytest.mark.parametrize("seed", range(4))
def test_overlapping_by_image__the_pairs_of_each_image_alone(kind, seed):
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 25, 12)  # images with one mask and with none among them
    starts = np.concatenate([[0], np.cumsum(counts)])
    masks = some_masks(seed, int(counts.sum()))
    sizes = np.tile(SIZE, (len(counts), 1))
    measured = rle.iou_matrix(masks, masks, SIZE, kind)
    for threshold in [0.0, 0.5, 1.0, *rng.choice(measured[measured > 0], 8)]:  # at an overlap itself: not above it
        i, j = pairs.overlapping_by_image(masks, starts, sizes, float(threshold), kind)
        alone = [
            pairs.overlapping_within(masks[a:b], SIZE, float(threshold), kind)[:2]
            for a, b in itertools.pairwise(starts)
        ]
        expected = [np.concatenate([pair[k] + a for pair, a in zip(alone, starts, strict=False)]) for k in (0, 1)]
        assert (i.tolist(), j.tolist()) == (expected[0].tolist(), expected[1].tolist())


def test_overlapping_by_image__images_of_several_sizes_and_more_pairs_than_images():
    one, other = rle.encode(np.ones((1, 3, 5), bool)), rle.encode(np.ones((1, 70, 2), bool))
    i, j = pairs.overlapping_by_image(one * 60 + other * 60, np.array([0, 60, 120]), np.array([[3, 5], [70, 2]]), 0.9)
    assert len(i) == 2 * 60 * 59 // 2
    assert ((i < 60) == (j < 60)).all()


def test_overlapping_by_image__no_masks():
    i, j = pairs.overlapping_by_image([], np.zeros(1, np.int64), np.zeros((0, 2), np.int64), 0.5)
    assert (len(i), len(j), i.dtype) == (0, 0, np.int64)


@pytest.mark.parametrize("damaged", [b"2 2", b"2S", b"oooooooooo0", b"\xff\xff"])
def test_overlapping_by_image__damaged_string_is_refused(damaged):
    with pytest.raises(ValueError, match="mask"):
        pairs.overlapping_by_image([b"22", damaged], np.array([0, 2]), np.array([[2, 2]]), 0.5)
