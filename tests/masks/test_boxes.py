"""Boxes against their masks and against segment_anything's and torchvision's functions."""

from __future__ import annotations

import doctest

import numpy as np
import pytest
import torch
import torchvision
from ascii_masks import mask
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from segment_anything.utils.amg import batched_mask_to_box

from workbench.masks import boxes, rle

batches = st.tuples(st.integers(1, 5), st.integers(1, 9), st.integers(1, 9)).flatmap(
    lambda shape: hnp.arrays(bool, shape)
)
valid = hnp.arrays(np.int64, st.tuples(st.integers(0, 5), st.just(4)), elements=st.integers(0, 20)).map(
    lambda b: boxes.from_xywh(b)
)


@settings(deadline=None, max_examples=100)
@given(batches)
def test_of_masks__agrees_with_rle_and_segment_anything(masks):
    ours = boxes.of_masks(masks)
    np.testing.assert_array_equal(ours, rle.to_boxes(rle.encode(masks), masks.shape[1:]))
    inclusive = boxes.to_inclusive(ours)
    np.testing.assert_array_equal(inclusive, batched_mask_to_box(torch.from_numpy(masks)).numpy())
    np.testing.assert_array_equal(boxes.from_inclusive(inclusive, masks.sum((1, 2))), ours)


def test_of_masks__drawn():
    drawing = mask("""
        ......
        ..#...
        .##...
    """)
    assert boxes.of_masks(drawing[None]).tolist() == [[1, 1, 3, 3]]
    assert boxes.of_masks(np.ones((1, 4, 1), np.uint8)).tolist() == [[0, 0, 1, 4]]


@settings(deadline=None, max_examples=100)
@given(valid, valid)
def test_box_iou_matrix__as_torchvision(a, b):
    ours = boxes.box_iou_matrix(a, b)
    theirs = torchvision.ops.box_iou(torch.from_numpy(a).double(), torch.from_numpy(b).double()).numpy()
    np.testing.assert_allclose(ours, np.nan_to_num(theirs), rtol=1e-12)
    np.testing.assert_array_equal(boxes.box_area(a), (a[:, 2] - a[:, 0]) * (a[:, 3] - a[:, 1]))
    np.testing.assert_array_equal(boxes.from_xywh(boxes.to_xywh(a)), a)


def test_clip__keeps_the_dtype_and_the_input():
    given_boxes = np.array([[-5, -1, 30, 3], [40, 2, 50, 3]], dtype=np.int32)
    clipped = boxes.clip(given_boxes, (10, 20))
    assert clipped.tolist() == [[0, 0, 20, 3], [20, 2, 20, 3]]
    assert clipped.dtype == np.int32
    assert given_boxes[0, 0] == -5
    assert boxes.box_area(clipped).tolist() == [60, 0]


def test_touches_border__margin_counts_pixels_between():
    inside = [[2, 2, 8, 8]]
    assert [bool(boxes.touches_border(inside, (10, 10), m)[0]) for m in (0, 1, 1.9, 2)] == [False, False, False, True]
    edges = [[0, 4, 5, 5], [4, 0, 5, 5], [4, 4, 10, 5], [4, 4, 5, 10], [0, 0, 0, 0]]
    assert boxes.touches_border(edges, (10, 10)).tolist() == [True] * 4 + [False]


def test_no_boxes__every_function():
    none = np.zeros((0, 4), np.int32)
    assert boxes.box_area([]).shape == (0,)
    assert boxes.box_iou_matrix([], [[0, 0, 1, 1]]).shape == (0, 1)
    for function in (boxes.from_xywh, boxes.to_xywh, boxes.to_inclusive, boxes.from_inclusive):
        assert function(none).shape == (0, 4)
    assert boxes.clip(none, (3, 3)).shape == (0, 4)
    assert boxes.of_masks(np.zeros((0, 3, 3), bool)).shape == (0, 4)
    assert boxes.touches_border([], (3, 3), 1).shape == (0,)


def test_as_boxes__a_single_box_is_refused_in_words():
    with pytest.raises(ValueError, match=r"\(N, 4\), got shape \(4,\)"):
        boxes.box_area([0, 0, 1, 1])
    with pytest.raises(ValueError, match=r"\(N, H, W\)"):
        boxes.of_masks(np.zeros((3, 3), bool))


def test_docstrings():
    assert doctest.testmod(boxes).failed == 0
