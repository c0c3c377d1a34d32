"""One-to-one matching of masks."""

from __future__ import annotations

import numpy as np
import pytest
from ascii_masks import mask

from workbench.masks import rle
from workbench.masks.matching import match


def encoded(*drawings):
    masks = np.stack([mask(d) for d in drawings])
    return rle.encode(masks), masks.shape[1:]


def test_match__one_to_one():
    a, size = encoded("####....", "....##..")
    b, _ = encoded("###.....", "####....", "....##..")
    rows, columns, iou = match(a, b, size, 0.5)
    assert rows.tolist() == [0, 1]
    assert columns.tolist() == [1, 2]  # the better of the two that fit the first
    assert iou.tolist() == [1.0, 1.0]


def test_match__more_pairs_before_better_ones():
    # the first of a fits both of b, the second only the one that fits the first better
    a, size = encoded("####....", "#####...")
    b, _ = encoded("####....", "##......")
    rows, columns, iou = match(a, b, size, 0.5)
    assert sorted(zip(rows.tolist(), columns.tolist(), strict=True)) == [(0, 1), (1, 0)]
    assert iou.tolist() == [0.5, 0.8]


@pytest.mark.parametrize(("n", "m"), [(0, 0), (0, 1), (1, 0)])
def test_match__none(n, m):
    some, size = encoded("##..")
    rows, columns, iou = match(some[:n], some[:m], size, 0.5)
    assert len(rows) == len(columns) == len(iou) == 0


def test_match__refuses_a_threshold_of_zero():
    some, size = encoded("##..")
    with pytest.raises(ValueError, match=r"\(0, 1\]"):
        match(some, some, size, 0.0)
