"""One-to-one matching of masks."""

from __future__ import annotations

import numpy as np
import pytest
from ascii_masks import mask
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.masks import matching, rle
from workbench.masks.matching import Overlaps, match


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


def random_masks(rng, n):
    masks = np.zeros((n, 12, 12), bool)
    for one in masks:
        y, x = rng.integers(0, 8, 2)
        one[y : y + rng.integers(2, 6), x : x + rng.integers(2, 6)] = True
    return rle.encode(masks)


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.2, 0.5, 0.75, 1.0]))
@settings(max_examples=100, deadline=None)
def test_one_to_one__same_number_and_sum_as_match_for_any_subset(seed, iou):
    rng = np.random.default_rng(seed)
    parts, expected, chosen_a, chosen_b = [], [], [], []
    for _ in range(rng.integers(0, 4)):
        a, b = random_masks(rng, rng.integers(0, 12)), random_masks(rng, rng.integers(0, 9))
        parts.append(Overlaps.of_image(a, b, (12, 12), 0.2))
        some_a, some_b = rng.random(len(a)) < 0.7, rng.random(len(b)) < 0.7
        chosen_a.append(some_a)
        chosen_b.append(some_b)
        left_a, left_b = ([m for m, k in zip(x, s, strict=True) if k] for x, s in ((a, some_a), (b, some_b)))
        expected.append(match(left_a, left_b, (12, 12), iou)[2])
    overlaps = Overlaps.joined(parts, 0.2)
    among_a, among_b = (np.concatenate([np.zeros(0, bool), *some]) for some in (chosen_a, chosen_b))
    pairs = overlaps.one_to_one(iou, among_a, among_b)
    ious = np.concatenate([np.zeros(0), *expected])
    assert len(pairs) == len(ious)
    assert overlaps.iou[pairs].sum() == pytest.approx(ious.sum())
    assert (overlaps.iou[pairs] >= iou).all()
    assert among_a[overlaps.a[pairs]].all()
    assert among_b[overlaps.b[pairs]].all()
    assert len(np.unique(overlaps.a[pairs])) == len(np.unique(overlaps.b[pairs])) == len(pairs)


def test_one_to_one__more_pairs_before_better_ones():
    a, size = encoded("####....", "#####...")
    b, _ = encoded("####....", "##......")
    overlaps = Overlaps.of_image(a, b, size, 0.5)
    pairs = overlaps.one_to_one(0.5)
    found = sorted(zip(overlaps.a[pairs].tolist(), overlaps.b[pairs].tolist(), strict=True))
    assert found == [(0, 1), (1, 0)]


def test_overlaps__in_blocks_are_the_same(monkeypatch):
    rng = np.random.default_rng(0)
    a, b = random_masks(rng, 40), random_masks(rng, 10)
    whole = Overlaps.of_image(a, b, (12, 12), 0.3)
    monkeypatch.setattr(matching, "_BLOCK", 30)
    cut = Overlaps.of_image(a, b, (12, 12), 0.3)
    assert len(whole.iou) > 5
    assert [whole.a.tolist(), whole.b.tolist(), whole.iou.tolist()] == [
        cut.a.tolist(),
        cut.b.tolist(),
        cut.iou.tolist(),
    ]


def test_one_to_one__below_what_is_stored_is_refused():
    with pytest.raises(ValueError, match=r"in \[0.5, 1\]"):
        Overlaps.joined([], 0.5).one_to_one(0.4)


@pytest.mark.parametrize(("n", "m"), [(0, 0), (0, 1), (1, 0)])
def test_one_to_one__none(n, m):
    some, size = encoded("##..")
    overlaps = Overlaps.of_image(some[:n], some[:m], size, 0.5)
    assert overlaps.one_to_one(0.5).tolist() == []
    assert Overlaps.joined([overlaps], 0.5).n_a == n
