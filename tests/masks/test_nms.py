"""NMS against torchvision, against a plain loop over mask IoUs, and from two threads at once."""

from __future__ import annotations

import doctest
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from workbench.masks import nms, rle
from workbench.masks.boxes import to_inclusive

small_boxes = hnp.arrays(np.int64, st.tuples(st.integers(0, 25), st.just(4)), elements=st.integers(0, 7))
thresholds = st.sampled_from([0.0, 0.0005, 0.01, 0.2, 1 / 3, 0.5, 0.7, 0.9, 1.0]) | st.floats(0, 1)


def official(boxes, scores, threshold):
    """What segment_anything asks of torchvision: float32 boxes, double threshold."""
    tensors = torch.as_tensor(boxes).float(), torch.as_tensor(scores)
    return torchvision.ops.nms(*tensors, threshold).numpy()


@settings(deadline=None, max_examples=300)
@given(small_boxes, thresholds, st.integers(0, 2**32 - 1))
def test_nms_boxes__small_integer_boxes_with_ties_equal_and_empty_ones(starts, threshold, seed):
    rng = np.random.default_rng(seed)
    boxes = starts.copy()
    boxes[:, 2:] += boxes[:, :2]
    scores = rng.integers(0, 4, len(boxes)).astype(np.float32) / 4
    kept = nms.nms_boxes(boxes, scores, threshold, inclusive=False)
    assert kept.dtype == np.int64
    np.testing.assert_array_equal(kept, official(boxes, scores, threshold))
    kept = nms.nms_boxes(boxes, scores, threshold)
    np.testing.assert_array_equal(kept, official(to_inclusive(boxes), scores, threshold))


@settings(deadline=None, max_examples=100)
@given(
    hnp.arrays(np.float32, st.tuples(st.integers(0, 20), st.just(4)), elements=st.floats(-50, 50, width=32)).map(
        lambda b: b.round(3)  # sides of 1e-20 px have areas that float32 cannot hold
    ),
    thresholds,
)
def test_nms_boxes__any_floats_even_boxes_inside_out(boxes, threshold):
    scores = np.linspace(0, 1, len(boxes), dtype=np.float32)
    kept = nms.nms_boxes(boxes, scores, threshold, inclusive=False)
    np.testing.assert_array_equal(kept, official(boxes, scores, threshold))


@pytest.mark.parametrize(("extent", "side", "spread"), [(1024, 30, 0.3), (200, 50, 1.0), (4000, 3, 2.0)])
@pytest.mark.parametrize("threshold", [0.05, 0.7])
def test_nms_boxes__over_4000_boxes(extent, side, spread, threshold):
    rng = np.random.default_rng(extent)
    start = rng.uniform(0, extent, (4500, 2))
    boxes = np.concatenate([start, start + side * rng.lognormal(0, spread, (4500, 2))], axis=1)
    boxes[1000:1500] = boxes[:500] + rng.normal(0, 0.02 * side, (500, 4))
    scores = rng.random(4500).astype(np.float32)
    for whole, inclusive in ((np.floor(boxes).astype(np.int32), True), (boxes.astype(np.float32), False)):
        kept = nms.nms_boxes(whole, scores, threshold, inclusive=inclusive)
        compared = torch.as_tensor(to_inclusive(whole) if inclusive else whole).float()
        by_class = torchvision.ops.batched_nms(compared, torch.as_tensor(scores), torch.zeros(4500), threshold)
        np.testing.assert_array_equal(kept, official(compared, scores, threshold))
        assert set(kept.tolist()) == set(by_class.tolist())
        assert 0 < len(kept) < 4500


def test_nms_boxes__iou_at_the_threshold_stays():
    boxes = [[0, 0, 2, 1], [0, 0, 1, 1]]  # IoU is 0.5 exactly
    assert nms.nms_boxes(boxes, [0.9, 0.8], 0.5, inclusive=False).tolist() == [0, 1]
    assert nms.nms_boxes(boxes, [0.9, 0.8], 0.4999, inclusive=False).tolist() == [0]
    third = [[0, 0, 10, 1], [0, 0, 7, 1]]  # float32(0.7) is below 0.7: it stays at 0.7, as in torchvision
    assert nms.nms_boxes(third, [0.9, 0.8], 0.7, inclusive=False).tolist() == [0, 1]


def test_nms_boxes__rows_without_a_score_fall_and_drop_nothing():
    boxes = [[0, 0, 9, 9], [0, 0, 9, 9], [0, 0, 9, 9]]
    assert nms.nms_boxes(boxes, [np.nan, 0.1, 0.1], 0.5).tolist() == [1]
    assert nms.nms_boxes(boxes, [np.nan] * 3, 0.5).tolist() == []
    assert nms.nms_boxes(boxes, [-np.inf, np.inf, 0], 0.5).tolist() == [1]


def test_no_rows_and_one_row():
    assert nms.nms_boxes([], [], 0.7).tolist() == []
    assert nms.nms_boxes(np.zeros((0, 4), np.int32), np.zeros(0, np.float32), 0.7).dtype == np.int64
    assert nms.nms_boxes([[3, 3, 3, 3]], [0.5], 0.7).tolist() == [0]
    assert nms.nms_masks([], (4, 4), [], 0.7).tolist() == []
    assert nms.nms_masks(rle.encode(np.zeros((1, 4, 4), bool)), (4, 4), [0.2], 0.7).tolist() == [0]


def plain_nms_masks(masks, scores, threshold, kind):
    overlap = rle.iou_matrix(rle.encode(masks), rle.encode(masks), masks.shape[1:], kind=kind)
    kept: list[int] = []
    for row in np.argsort(-scores, kind="stable"):
        if not np.isnan(scores[row]) and not any(overlap[i, row] > threshold for i in kept):
            kept.append(int(row))
    return kept


@settings(deadline=None, max_examples=150)
@given(
    hnp.arrays(bool, st.tuples(st.integers(0, 8), st.integers(1, 6), st.integers(1, 6))),
    thresholds,
    st.sampled_from(["iou", "smaller"]),
    st.data(),
)
def test_nms_masks__as_a_plain_loop(masks, threshold, kind, data):
    scores = np.array(data.draw(st.lists(st.sampled_from([0.1, 0.5, 0.5, np.nan]), min_size=8, max_size=8)))
    scores = scores[: len(masks)]
    kept = nms.nms_masks(rle.encode(masks), masks.shape[1:], scores, threshold, kind=kind)
    assert kept.tolist() == plain_nms_masks(masks, scores, threshold, kind)


def test_nms_masks__many_discs():
    rng = np.random.default_rng(1)
    ys, xs = np.mgrid[:90, :110]
    at = rng.uniform(0, 90, (150, 2))
    masks = np.hypot(ys - at[:, :1, None], xs - at[:, 1:, None]) < rng.uniform(3, 15, (150, 1, 1))
    scores = rng.random(150)
    for kind in ("iou", "smaller"):
        kept = nms.nms_masks(rle.encode(masks), (90, 110), scores, 0.3, kind=kind)
        assert kept.tolist() == plain_nms_masks(masks, scores, 0.3, kind)
        assert 5 < len(kept) < 150


def test_both__from_several_threads_at_once():
    rng = np.random.default_rng(2)
    start = rng.uniform(0, 300, (3000, 2))
    boxes = np.concatenate([start, start + rng.uniform(5, 60, (3000, 2))], axis=1)
    scores = rng.random(3000)
    masks = rle.encode(rng.random((60, 40, 40)) < 0.7)
    alone = nms.nms_boxes(boxes, scores, 0.5).tolist(), nms.nms_masks(masks, (40, 40), scores[:60], 0.5).tolist()
    with ThreadPoolExecutor(4) as pool:
        of_boxes = [pool.submit(nms.nms_boxes, boxes, scores, 0.5) for _ in range(8)]
        of_masks = [pool.submit(nms.nms_masks, masks, (40, 40), scores[:60], 0.5) for _ in range(8)]
    assert all(one.result().tolist() == alone[0] for one in of_boxes)
    assert all(one.result().tolist() == alone[1] for one in of_masks)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (([[0, 0, 1, 1]], [0.5, 0.6], 0.5), r"scores: expected \(1,\)"),
        (([[0, 0, 1, 1]], [0.5], 1.5), r"in \[0, 1\], got 1.5"),
        (([[0, 0, 1, 1]], [0.5], np.nan), r"in \[0, 1\], got nan"),
        (([[0, 0, 1, np.nan]], [0.5], 0.5), "finite.*row 0"),
        (([0, 0, 1, 1], [0.5], 0.5), r"\(N, 4\)"),
    ],
)
def test_nms_boxes__errors_in_words(arguments, words):
    with pytest.raises(ValueError, match=words):
        nms.nms_boxes(*arguments)


def test_nms_masks__errors_in_words():
    with pytest.raises(ValueError, match="'smaller'"):
        nms.nms_masks([b"4"], (2, 2), [0.5], 0.5, kind="dice")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="scores"):
        nms.nms_masks([b"4"], (2, 2), [], 0.5)


def test_docstrings():
    assert doctest.testmod(nms).failed == 0
