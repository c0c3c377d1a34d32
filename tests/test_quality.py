"""Quality control: coverage, overlapping pairs and combining, against dense numpy."""

from __future__ import annotations

import ascii_masks
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import workbench
from workbench.masks import rle
from workbench.quality import Coverage, combine, coverage, label_map, overlaps
from workbench.tables.proposals import Proposals

NONE = np.zeros((0, 4, 5), dtype=bool)
TWO = np.stack([ascii_masks.mask("##..\n##..\n...."), ascii_masks.mask(".##.\n.##.\n....")])


def proposals(masks: np.ndarray, **columns: object) -> Proposals:
    size_hw = masks.shape[1:]
    rles = rle.encode(masks)
    return Proposals.make(rles=rles, sizes_hw=size_hw, **{"image_id": "a", **columns})


def boxes(*boxes_xyxy: tuple[int, int, int, int]) -> np.ndarray:
    masks = np.zeros((len(boxes_xyxy), 60, 60), dtype=bool)
    for mask, (x0, y0, x1, y1) in zip(masks, boxes_xyxy, strict=True):
        mask[y0:y1, x0:x1] = True
    return masks


@pytest.mark.parametrize("masks", [TWO, proposals(TWO)])
def test_coverage__counts_shared_pixels_once(masks):
    assert coverage(masks) == Coverage(coverage_ratio=0.5, num_masks=2, avg_mask_size=3.0)


@pytest.mark.parametrize("masks", [NONE, Proposals.empty()])
def test_coverage__no_masks(masks):
    assert coverage(masks) == coverage(masks, (4, 5)) == Coverage(0.0, 0, 0.0)


def test_coverage__empty_and_full_masks():
    assert coverage(np.zeros((1, 3, 3), bool)) == Coverage(0.0, 1, 0.0)
    assert coverage(np.ones((2, 3, 3), bool)) == Coverage(1.0, 2, 4.5)


def test_coverage__size_that_contradicts():
    with pytest.raises(ValueError, match=r"the masks are \(3, 4\) \(h, w\), got \(4, 3\)"):
        coverage(TWO, (4, 3))


def test_coverage__several_images():
    with pytest.raises(ValueError, match="masks of one image, got 2"):
        coverage(proposals(TWO, image_id=["a", "b"]))


stacks = st.integers(1, 6).flatmap(lambda n: arrays(bool, (n, 6, 7)))


@settings(deadline=None, max_examples=60)
@given(stacks)
def test_coverage__same_as_the_seed_on_arrays(masks):
    covered = masks.any(axis=0).sum()
    assert coverage(masks) == Coverage(covered / 42, len(masks), covered / len(masks))


@settings(deadline=None, max_examples=60)
@given(stacks, st.sampled_from([0.0, 0.25, 0.5, 0.7, 1.0]))
def test_overlaps__same_as_the_seed_on_arrays(masks, limit):
    expected = []
    for i in range(len(masks)):
        for j in range(i + 1, len(masks)):
            union = (masks[i] | masks[j]).sum()
            iou = (masks[i] & masks[j]).sum() / union if union else 0.0
            if iou > limit:
                expected.append((i, j, iou))
    for given_as in (masks, proposals(masks)):
        found = overlaps(given_as, limit)
        assert list(zip(found.i.tolist(), found.j.tolist(), found.iou.tolist(), strict=True)) == expected


def test_overlaps__strictly_above():
    masks = boxes((0, 0, 10, 10), (0, 0, 10, 7))
    assert len(overlaps(masks)) == 0  # IoU 0.7
    assert overlaps(masks, 0.69).iou.tolist() == [0.7]


@pytest.mark.parametrize("masks", [NONE, Proposals.empty()])
def test_overlaps__no_masks(masks):
    assert len(overlaps(masks)) == 0


@pytest.mark.parametrize("function", [overlaps, lambda m, max_overlap: combine(m, m, max_overlap=max_overlap)])
def test_max_overlap__range(function):
    with pytest.raises(ValueError, match=r"max_overlap: expected an IoU in \[0, 1\], got 70"):
        function(TWO, max_overlap=70)


def test_combine__manual_goes_before_automatic():
    automatic = proposals(boxes((0, 0, 20, 20), (30, 30, 50, 50)), predicted_iou=np.array([0.99, 0.9]))
    manual = proposals(boxes((0, 0, 20, 19)), source="manual")
    result = combine(automatic, manual)
    assert result.kept.mask_id.tolist() == [automatic.mask_id[1], manual.mask_id[0]]
    assert result.dropped.mask_id.tolist() == [automatic.mask_id[0]]
    assert result.why == [f"overlaps the manual mask {manual.mask_id[0]} with an IoU of 0.950, above 0.7"]


def test_combine__higher_predicted_iou_goes_first():
    near = boxes((0, 0, 20, 20), (0, 0, 20, 19), (0, 0, 20, 18))
    automatic = proposals(near, predicted_iou=np.array([np.nan, 0.8, 0.9]))
    result = combine(automatic, Proposals.empty())
    assert result.kept.mask_id.tolist() == [automatic.mask_id[2]]
    assert result.dropped.mask_id.tolist() == automatic.mask_id[:2].tolist()
    assert all("automatic mask " + automatic.mask_id[2] in reason for reason in result.why)


def test_combine__a_mask_that_fell_drops_no_other():
    chain = boxes((0, 0, 20, 10), (3, 0, 23, 10), (6, 0, 26, 10))  # IoU 0.74 with the next, 0.54 with the last
    result = combine(proposals(chain, predicted_iou=np.array([0.9, 0.8, 0.7])), NONE)
    assert len(result.kept) == 2
    small = combine(boxes((0, 0, 10, 10)), boxes((0, 0, 10, 9)))  # the manual one is too small to count
    assert small.kept.source.tolist() == ["automatic"]
    assert small.why == ["area of 90 px is below 100 px"]


def test_combine__limits_are_inclusive():
    result = combine(boxes((0, 0, 10, 10)), boxes((0, 0, 10, 7), (20, 0, 29, 11)), min_area=70)
    assert len(result.kept) == 3  # IoU of exactly 0.7, areas of 70 and 99 px
    assert result.why == []
    assert len(combine(boxes((0, 0, 1, 1)), NONE, min_area=0).kept) == 1


def test_combine__min_area_range():
    with pytest.raises(ValueError, match="min_area: expected at least 0 px, got -1"):
        combine(TWO, TWO, min_area=-1)


def test_combine__arrays_take_the_image_of_the_others():
    automatic = proposals(boxes((0, 0, 20, 20)))
    result = combine(automatic, boxes((30, 30, 50, 50)))
    assert result.kept.image_id.tolist() == ["a", "a"]
    assert result.kept.source.tolist() == ["automatic", "manual"]
    assert result.kept.mask_id[1] == proposals(boxes((30, 30, 50, 50))).mask_id[0]
    turned = combine(boxes((30, 30, 50, 50)), automatic)
    assert turned.kept.image_id.tolist() == ["a", "a"]


def test_combine__no_masks():
    for nothing in (NONE, Proposals.empty()):
        result = combine(nothing, nothing)
        assert (len(result.kept), len(result.dropped), result.why) == (0, 0, [])


def test_combine__different_images_or_sizes():
    with pytest.raises(ValueError, match="masks of one image, got 2"):
        combine(proposals(TWO), proposals(TWO, image_id="b"))
    with pytest.raises(ValueError, match="masks of one size"):
        combine(proposals(TWO), proposals(boxes((0, 0, 9, 9))))


@settings(deadline=None, max_examples=40)
@given(stacks, stacks)
def test_combine__what_is_kept_passes_the_checks(automatic, manual):
    result = combine(automatic, manual, min_area=8, max_overlap=0.5)
    assert len(result.kept) + len(result.dropped) == len(automatic) + len(manual)
    assert len(result.why) == len(result.dropped)
    assert len(overlaps(result.kept, 0.5)) == 0
    assert all(mask.sum() >= 8 for mask in result.kept.masks(slice(None)))


def test_quality__public_names():
    assert workbench.coverage is coverage
    assert workbench.overlaps is overlaps
    assert workbench.combine is combine


@pytest.mark.parametrize("made", [np.asarray, proposals])
def test_label_map__what_is_nested_lies_on_what_holds_it(made):
    masks = boxes((10, 10, 20, 20), (0, 0, 40, 40), (15, 15, 25, 25), (50, 50, 60, 60))
    owner = label_map(made(masks))
    assert owner.dtype == np.int32
    assert (owner[5, 5], owner[12, 12], owner[22, 22], owner[55, 55], owner[45, 45]) == (2, 1, 3, 4, 0)
    assert owner[17, 17] == 1  # two of equal area: the first
    assert ((owner > 0) == masks.any(axis=0)).all()


def test_label_map__without_masks():
    assert label_map(NONE).tolist() == label_map(Proposals.empty(), (4, 5)).tolist() == np.zeros((4, 5)).tolist()
    with pytest.raises(ValueError, match="expected masks or size_hw"):
        label_map(Proposals.empty())
