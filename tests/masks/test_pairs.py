"""Overlapping pairs: the same as the dense matrix, for no masks, empty masks and any threshold."""

from __future__ import annotations

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
