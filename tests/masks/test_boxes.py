"""Boxes against their masks and against segment_anything's and torchvision's functions."""

from __future__ import annotations

import doctest

import numpy as np
import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from segment_anything.utils.amg import batched_mask_to_box

from workbench.masks import boxes, rle

batches = st.tuples(st.integers(1, 5), st.integers(1, 9), st.integers(1, 9)).flatmap(
    lambda shape: hnp.arrays(bool, shape)
)
valid = hnp.arrays(np.int64, st.tuples(st.integers(0, 5), st.just(4)), elements=st.integers(0, 20)).map(
    lambda b: np.hstack([b[:, :2], b[:, :2] + b[:, 2:]])
)


@settings(deadline=None, max_examples=100)
@given(batches)
def test_to_inclusive__of_masks_as_segment_anything(masks):
    inclusive = boxes.to_inclusive(rle.to_boxes(rle.encode(masks), masks.shape[1:]))
    np.testing.assert_array_equal(inclusive, batched_mask_to_box(torch.from_numpy(masks)).numpy())


@settings(deadline=None, max_examples=100)
@given(valid)
def test_box_area__and_to_xywh_as_torchvision(given_boxes):
    theirs = torch.from_numpy(given_boxes).double()
    np.testing.assert_array_equal(boxes.box_area(given_boxes), torchvision.ops.box_area(theirs).numpy())
    xywh = torchvision.ops.box_convert(theirs, "xyxy", "xywh").numpy()
    np.testing.assert_array_equal(boxes.to_xywh(given_boxes), xywh)


def test_conversions__keep_the_dtype_and_the_input():
    given_boxes = np.array([[1, 2, 4, 6], [0, 0, 0, 0]], dtype=np.int32)
    for function in (boxes.to_xywh, boxes.to_inclusive):
        assert function(given_boxes).dtype == np.int32
    assert given_boxes.tolist() == [[1, 2, 4, 6], [0, 0, 0, 0]]


def test_box_area__an_end_before_its_start_is_empty():
    assert boxes.box_area([[0, 0, 20, 3], [20, 2, 20, 3], [5, 5, 4, 9]]).tolist() == [60, 0, 0]


def test_no_boxes__every_function():
    assert boxes.box_area([]).shape == (0,)
    for function in (boxes.to_xywh, boxes.to_inclusive):
        assert function(np.zeros((0, 4), np.int32)).shape == (0, 4)


def test_as_boxes__a_single_box_is_refused_in_words():
    with pytest.raises(ValueError, match=r"\(N, 4\), got shape \(4,\)"):
        boxes.box_area([0, 0, 1, 1])


def test_docstrings():
    assert doctest.testmod(boxes).failed == 0
