"""The benchmark of the bundled SAM: its figures on what is known by hand, and that it goes on after it was cut off."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from benchmarks import fit_preset
from benchmarks.bundled_rows import Found, recall_rows, score_rows
from benchmarks.bundled_sam import Sample, covered, distinct, kept, within_reach
from workbench.config import ProposeConfig, TriageConfig
from workbench.masks import rle
from workbench.tables.proposals import Proposals

NO, YES = np.array([], bool), np.array([True, False])


def found(**values) -> Found:
    """Return what an image of two true masks, of which one is met, showed."""
    made = Found(
        truth_area=np.array([3, 40]), matched_50=YES, matched_75=~YES, matched_share=np.array([0.6, 0.2]), reachable=YES,
        pointed_at=~YES, centre_iou=np.zeros(0), hypothesis_score=np.array([0.5, 0.75], np.float32), hypothesis_right=YES,
        distinct_score=np.array([0.9], np.float32), distinct_right=np.array([True]), distinct_right_50=np.array([True]),
        accepted=np.array([True]), accepted_right=np.array([True]), accepted_right_50=np.array([True]), seconds=1.5,
        plain_50=YES, plain_75=YES, plain_right_50=YES,
    )  # fmt: skip
    return dataclasses.replace(made, **values)


def test_kept__is_read_again_as_it_was_and_measured_once(tmp_path):
    path, asked = tmp_path / "weights" / "nuclei" / "a.png.npz", []

    def made() -> Found:
        asked.append(1)
        return found()

    first, again = kept(path, made), kept(path, made)
    assert len(asked) == 1
    for part in dataclasses.fields(Found):
        here, there = getattr(first, part.name), getattr(again, part.name)
        assert type(here) is type(there)
        np.testing.assert_array_equal(here, there)
    assert list(tmp_path.rglob("*.part")) == []


def test_kept__without_a_folder_is_measured_each_time():
    asked = []
    for _ in range(2):
        kept(None, lambda: asked.append(1) or found())
    assert len(asked) == 2


def test_recall_rows__count_truth_and_not_images():
    many = found(
        truth_area=np.arange(100), matched_50=np.arange(100) < 20, matched_75=np.zeros(100, bool), matched_share=np.full(100, 0.2),
        reachable=np.arange(100) < 50, pointed_at=np.arange(100) < 25,
    )  # fmt: skip
    one = found(
        truth_area=np.array([500]), matched_50=np.array([True]), matched_75=np.array([True]), matched_share=np.array([1.0]),
        reachable=np.array([True]), pointed_at=np.array([True]),
    )  # fmt: skip
    rows = {r.name: r for r in recall_rows("set", [many, one], {"recall_50": 0.2})}
    assert rows["set.recall_50"].value == pytest.approx(21 / 101)
    assert rows["set.recall_50"].met is True
    assert rows["set.recall_75"].value == pytest.approx(1 / 101)
    assert rows["set.ar_300"].value == pytest.approx((100 * 0.2 + 1) / 101)
    assert rows["set.ceiling"].value == pytest.approx(51 / 101)
    assert rows["set.a_point_falls_on_it"].value == pytest.approx(26 / 101)
    assert rows["set.centre_point_best_iou"].n == 0
    by_size = [r for name, r in rows.items() if ".size_" in name]
    assert [r.n for r in by_size] == [25, 25, 25, 26]
    assert [r.value for r in by_size] == pytest.approx([20 / 25, 0, 0, 1 / 26])


def test_score_rows__rank_calibration_and_what_lies_above():
    first = found(
        hypothesis_score=np.array([0.2, 1.5]), hypothesis_right=np.array([False, True]),
        distinct_score=np.array([0.95, 0.9, 0.6]), distinct_right=np.array([True, False, True]), distinct_right_50=np.array([True, True, True]),
        accepted=np.array([True, True, False, False]), accepted_right=np.array([True, False]), accepted_right_50=np.array([True, True]),
    )  # fmt: skip
    second = found(
        hypothesis_score=np.array([0.4, 0.2]), hypothesis_right=np.array([False, True]),
        distinct_score=np.array([0.97]), distinct_right=np.array([True]), distinct_right_50=np.array([True]),
        accepted=np.array([True]), accepted_right=np.array([True]), accepted_right_50=np.array([True]),
    )  # fmt: skip
    rows = {r.name: r for r in score_rows("set", [first, second], {"high": 0.6, "high_wrong": 0.3})}
    assert rows["set.auroc.hypothesis"].value == pytest.approx(2.5 / 4)  # of four pairs two are right, one is a tie
    assert rows["set.auroc.hypothesis"].interval is not None
    # bins of equal mass with ties together: 0.2 (half of them right), 0.4 (wrong), 1.5 read as 1 (right)
    assert rows["set.ece.hypothesis"].value == pytest.approx((2 * 0.3 + 0.4 + 0) / 4)
    assert rows["set.auroc.distinct"].value == pytest.approx(2 / 3)
    assert (rows["set.right_above_0.88"].value, rows["set.right_above_0.88"].n) == (pytest.approx(2 / 3), 3)
    assert (rows["set.wrong_among_above_0.88"].value, rows["set.wrong_among_above_0.88"].n) == (pytest.approx(1 / 3), 3)
    assert rows["set.wrong_among_above_0.88"].met is False
    assert rows["set.wrong_among_distinct"].value == pytest.approx(1 / 4)
    assert rows["set.wrong_among_distinct_50"].value == 0
    assert rows["set.auto_accept_rate"].value == pytest.approx(3 / 5)
    assert rows["set.fp_rate"].value == pytest.approx(1 / 3)
    assert rows["set.fp_rate_50"].value == 0


def boxes(*corners: tuple[int, int, int, int], size=(64, 64)) -> np.ndarray:
    masks = np.zeros((len(corners), *size), bool)
    for mask, (x0, y0, x1, y1) in zip(masks, corners, strict=True):
        mask[y0:y1, x0:x1] = True
    return masks


def test_covered__is_one_to_one_above_the_iou():
    truth = rle.encode(boxes((0, 0, 10, 10), (20, 0, 30, 10)))
    made = rle.encode(boxes((0, 0, 10, 10), (0, 0, 10, 9), (20, 0, 30, 6)))
    assert covered(truth, made, (64, 64), 0.5).tolist() == [True, True]
    assert covered(truth, made, (64, 64), 0.75).tolist() == [True, False]
    assert covered(made, truth, (64, 64), 0.5).tolist() == [True, False, True]  # the second one of a truth is wrong


def test_within_reach__a_point_on_it_or_as_far_beside_as_the_model_answers():
    # the only point of the grid lies in the middle, at 32; the frame is 8 times as large as the image
    image = np.zeros((64, 64, 3), np.uint8)
    masks = boxes((30, 30, 40, 40), (34, 20, 44, 30), (0, 0, 10, 10), (31, 31, 33, 33), (0, 0, 64, 64))
    sample = Sample("a", image, rle.encode(masks))
    grid, limits = ProposeConfig(points_per_side=1), TriageConfig(min_area_px=5, max_area_share=0.9)
    assert within_reach(sample, grid, limits, 0).tolist() == [True, False, False, False, False]
    assert within_reach(sample, grid, limits, 8 * 3.7).tolist() == [
        True,
        True,
        False,
        False,
        False,
    ]  # √(2² + 3²) px away
    assert within_reach(sample, grid, limits, 8 * 3.5).tolist() == [True, False, False, False, False]


def test_within_reach__no_more_than_an_image_may_have_the_largest(monkeypatch):
    monkeypatch.setattr("benchmarks.bundled_sam.MOST_PROPOSALS", 1)
    sample = Sample("a", np.zeros((64, 64, 3), np.uint8), rle.encode(boxes((30, 30, 40, 40), (25, 25, 45, 45))))
    found = within_reach(sample, ProposeConfig(points_per_side=1), TriageConfig(max_area_share=0.9), 0)
    assert found.tolist() == [False, True]


def test_distinct__survives_nms_at_the_floors_best_first_and_no_more_than_an_image_may_have(monkeypatch):
    corners = [(0, 0, 10, 10), (0, 0, 10, 9), (20, 0, 30, 10), (40, 0, 50, 10), (0, 40, 3, 43)]
    rows = Proposals.make(
        rles=rle.encode(boxes(*corners)), image_id="a" * 32, sizes_hw=[(64, 64)] * 5, boxes_xyxy=corners,
        predicted_iou=[0.7, 0.8, 0.3, 0.9, 0.95], area_px=[100, 90, 100, 100, 9],
    )  # fmt: skip
    floors = ProposeConfig(predicted_iou_floor=0.4, nms_iou=0.5)
    left = distinct(rows, floors, TriageConfig(min_area_px=20))
    np.testing.assert_allclose(left.predicted_iou, [0.9, 0.8])  # one too low, one too small, one a second mask
    monkeypatch.setattr("benchmarks.bundled_sam.MOST_PROPOSALS", 1)
    np.testing.assert_allclose(distinct(rows, floors, TriageConfig(min_area_px=20)).predicted_iou, [0.9])


def test_choose_grid__the_best_in_at_most_twice_the_time():
    compared = {
        "32": {"recall_75": 0.4, "seconds": 1.0}, "40": {"recall_75": 0.5, "seconds": 2.0}, "48": {"recall_75": 0.9, "seconds": 2.1},
    }  # fmt: skip
    assert fit_preset.choose_grid(compared) == "40"


def test_choose__reads_the_rules_off_a_pool_that_is_known():
    rng = np.random.default_rng(0)
    score = np.linspace(0.2, 0.99, 4000).astype(np.float32)
    right = rng.random(4000) < np.where(score > 0.8, 1.0, np.where(score > 0.5, 0.5, 0.1))
    jitter = np.where(right, rng.uniform(0.6, 1, 4000), 0.1)
    reached = np.ones((len(fit_preset.FLOORS), 100), bool)
    reached[fit_preset.FLOORS > 0.4, :3] = False  # 97 % of the recall
    pool = fit_preset.Pool(score, jitter, right, reached)
    worse = dataclasses.replace(pool, reached=reached & (np.arange(100) < 90))
    said = fit_preset.choose({0.5: pool, 0.7: worse})
    assert (said["nms_iou"], said["predicted_iou_floor"]) == (0.5, 0.4)
    # above 0.78 one in twenty of all is wrong: half of 2 in 21 hundredths
    above = right[score > np.float32(said["predicted_iou"])]
    below = right[score > np.float32(said["predicted_iou"] - 0.01)]
    assert (~above).mean() <= 0.05 < (~below).mean()
    assert said["predicted_iou_is_safe_on_scenes"] is True
    assert said["predicted_iou"] - said["predicted_iou_margin"] == pytest.approx(0.4)  # a quarter is right down there
    assert said["jitter_stability"] == pytest.approx(0.62, abs=0.011)
    none = fit_preset.thresholds(dataclasses.replace(pool, right=np.zeros(4000, bool)), 0.4, 0.05)
    assert (none["predicted_iou"], none["predicted_iou_is_safe_on_scenes"]) == (0.88, False)
