"""Proposing on one image with a segmenter whose answers are known, and with small random SAMs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from flat_segmenter import FlatSegmenter, squares
from random_sams import random_sam

import workbench as wb
from workbench.config import SettingError
from workbench.images import array_id
from workbench.masks import rle
from workbench.propose.jitter import moved_points

NO_JITTER = {"jitter_prompts": 0}


def test_propose__finds_the_squares():
    image, truth = squares()
    rows = wb.propose(image, FlatSegmenter(), wb.ProposeConfig(points_per_side=12, pool="distinct", **NO_JITTER))
    found = {row.tobytes() for row in rows.masks(slice(None))}
    assert {mask.tobytes() for mask in truth} <= found


def test_propose__columns():
    image, _ = squares()
    rows = wb.propose(image, FlatSegmenter(), wb.ProposeConfig(points_per_side=4, predicted_iou_floor=0.7, **NO_JITTER))
    assert rows.row.tolist() == list(range(len(rows))) == list(range(32))  # 16 points, hypotheses 0.95 and 0.8
    assert rows.mask_index.tolist() == [0, 1] * 16
    assert rows.points_xy[:4].tolist() == [[12, 8], [12, 8], [36, 8], [36, 8]]
    assert set(rows.image_id) == {array_id(image)}
    assert set(rows.model_id) == {"flat-000000000000"}
    assert set(rows.source) == {"automatic"}
    assert set(rows.prompt) == {"point"}
    assert rows.stability_score.tolist() == [1.0] * 32
    assert rows.area_px.tolist() == rle.area(rows.rles.tolist(), (64, 96)).tolist()
    assert rows.boxes_xyxy.tolist() == rle.to_boxes(rows.rles.tolist(), (64, 96)).tolist()
    assert rows.crop_boxes_xyxy.tolist() == [[0, 0, 96, 64]] * 32
    assert np.isfinite(rows.solidity).all()
    assert np.isfinite(rows.hypothesis_spread).all()
    assert np.isnan(rows.jitter_stability).all()


def test_propose__floor_is_strict_and_float32():
    image, _ = squares()
    config = wb.ProposeConfig(points_per_side=2, predicted_iou_floor=0.88, **NO_JITTER)
    assert len(wb.propose(image, FlatSegmenter((0.88, 0.8800001, 0.87)), config)) == 4
    assert len(wb.propose(image, FlatSegmenter((0.88, 0.88, 0.5)), config)) == 0


def test_propose__nothing_above_the_floor():
    image, _ = squares()
    rows = wb.propose(image, FlatSegmenter((0.1, 0.1, np.nan)), wb.ProposeConfig(crop_n_layers=1, pool="distinct"))
    assert len(rows) == 0
    assert len(wb.triage(rows)) == 0


def test_propose__exact_pool_holds_what_distinct_does():
    image, _ = squares()
    exact = wb.propose(image, FlatSegmenter(), wb.ProposeConfig(points_per_side=8, **NO_JITTER))
    distinct = wb.propose(image, FlatSegmenter(), wb.ProposeConfig(points_per_side=8, pool="distinct", **NO_JITTER))
    kept = exact.select(wb.triage(exact, wb.TriageConfig(nms_iou=0.7)).distinct)
    assert len(exact) > len(distinct)
    assert sorted(kept.mask_id) == sorted(distinct.mask_id)


@pytest.mark.parametrize("nms", ["box", "mask"])
def test_propose__mask_nms_keeps_what_boxes_would_drop(nms):
    # a frame and what it encloses have nearly one box, but share no pixel
    image = np.full((60, 60, 3), 10, np.uint8)
    image[2:58, 2:58] = 200
    config = wb.ProposeConfig(points_per_side=30, pool="distinct", nms=nms, predicted_iou_floor=0.9, **NO_JITTER)
    assert len(wb.propose(image, FlatSegmenter(), config)) == {"box": 1, "mask": 2}[nms]


def test_jitter__a_point_deep_inside_is_stable_and_one_at_the_rim_is_not():
    image = np.zeros((100, 100, 3), np.uint8)
    image[20:80, 20:80] = 200
    config = wb.ProposeConfig(points_per_side=1, predicted_iou_floor=0.9, jitter_sigma_px=3)
    deep = wb.propose(image, FlatSegmenter(), config)
    assert deep.jitter_stability.tolist() == [1.0]
    assert deep.jitter_iou.tolist() == [1.0]
    at_rim = np.zeros_like(image)
    at_rim[20:80, 49:95] = 200  # the left side is one pixel left of the point
    rim = wb.propose(at_rim, FlatSegmenter(), config)
    moves = moved_points(rim.points_xy[0], rim.mask_id[0], (100, 100), config)
    inside = at_rim[moves[:, 1].astype(int), moves[:, 0].astype(int), 0] == 200
    areas = np.where(inside, 2760, 7240)
    assert 0 < inside.sum() < 10
    assert np.isclose(rim.jitter_stability[0], 1 - areas.std() / 2760)
    assert np.isclose(rim.jitter_iou[0], inside.mean())


def test_jitter__only_for_what_survives_nms_at_the_floors():
    image, _ = squares()
    segmenter = FlatSegmenter()
    rows = wb.propose(image, segmenter, wb.ProposeConfig(points_per_side=8, jitter_prompts=3))
    distinct = wb.triage(rows, wb.TriageConfig()).distinct
    assert (np.isfinite(rows.jitter_stability) == distinct).all()
    assert segmenter.prompts == 64 + 3 * distinct.sum()


class LessSureInCrops(FlatSegmenter):
    """Predicts a lower IoU on crops than on the whole image."""

    def decode(self, embedding, *args, **kwargs):
        self.predicted_iou = (0.95, 0.8, 0.6) if embedding.features.shape == (192, 192) else (0.7, 0.65, 0.6)
        return super().decode(embedding, *args, **kwargs)


def test_jitter__of_what_a_smaller_crop_suppressed_and_other_thresholds_bring_back():
    image, _ = squares((192, 192), side=24, gap=40)  # far enough from the edges of crops
    config = wb.ProposeConfig(points_per_side=12, jitter_prompts=3, crop_n_layers=1)
    rows = wb.propose(image, LessSureInCrops(), config)
    low, high = (
        wb.TriageConfig(
            pool="exact", predicted_iou=t, predicted_iou_margin=0, max_area_share=1.0, jitter_stability=None
        )
        for t in (0.5, 0.9)
    )
    before, after = (wb.triage(rows, c).outcome for c in (low, high))
    back = np.isin(after, (1, 2)) & (before == 3)
    assert back.any()  # a mask of the whole image, which a less sure one of a crop had suppressed
    assert np.isfinite(rows.jitter_stability[np.isin(after, (1, 2))]).all()
    stored = wb.propose(image, LessSureInCrops(), config.replace(pool="distinct"))
    assert np.isfinite(stored.jitter_stability).all()  # nothing comes back there: no other is moved
    kept = rows.select(np.isin(rows.mask_id, stored.mask_id) & np.isin(before, (1, 2)))
    assert (
        dict(zip(kept.mask_id, kept.jitter_stability, strict=True)).items()
        <= dict(zip(stored.mask_id, stored.jitter_stability, strict=True)).items()
    )


def test_jitter__is_the_same_alone_and_among_others():
    config = wb.ProposeConfig()
    mask_id = "0123456789abcdef" * 2
    one = moved_points(np.array([50.0, 50.0]), mask_id, (100, 100), config)
    assert one.shape == (10, 2)
    assert (one == moved_points(np.array([50.0, 50.0]), mask_id, (100, 100), config)).all()
    assert (one != moved_points(np.array([50.0, 50.0]), "f" * 32, (100, 100), config)).any()
    assert (one != moved_points(np.array([50.0, 50.0]), mask_id, (100, 100), config.replace(seed=1))).any()


def test_jitter__moves_by_sigma_and_stays_inside():
    config = wb.ProposeConfig(jitter_prompts=1000, jitter_sigma_px=5)
    moves = moved_points(np.array([500.0, 500.0]), "0" * 32, (1000, 1000), config)
    assert abs(moves.std() - 5) < 0.3
    assert abs(moves.mean() - 500) < 0.3
    corner = moved_points(np.array([0.0, 0.0]), "0" * 32, (8, 8), config)
    assert corner.min() == 0
    assert corner.max() <= 8


def test_propose__is_deterministic():
    image = np.random.default_rng(0).integers(0, 256, (70, 90, 3)).astype(np.uint8)
    sam = wb.load_sam(random_sam(0, input_px=64, score_shift=0.9))
    config = wb.ProposeConfig(points_per_side=4, crop_n_layers=1, jitter_prompts=2)
    first, second = wb.propose(image, sam, config), wb.propose(image, sam, config)
    assert len(first)
    assert first.to_frame().equals(second.to_frame())


def test_propose__crops_are_jittered_in_their_own_frame():
    image, _ = squares((96, 96))
    rows = wb.propose(image, FlatSegmenter(), wb.ProposeConfig(points_per_side=6, crop_n_layers=1, jitter_sigma_px=0))
    measured = np.isfinite(rows.jitter_stability)
    of_crops = (rows.crop_boxes_xyxy != [0, 0, 96, 96]).any(axis=1)
    assert (measured & of_crops).any()
    # a prompt that does not move gives the mask it gave
    assert (rows.jitter_stability[measured] == 1).all()
    assert (rows.jitter_iou[measured] == 1).all()


def test_propose__goes_on_when_memory_runs_out():
    image, _ = squares()
    config = wb.ProposeConfig(points_per_side=8, **NO_JITTER)
    expected = wb.propose(image, FlatSegmenter(), config)

    class Tight(FlatSegmenter):
        def decode(self, embedding, points_xy=None, *args, **settings):
            if len(points_xy) > 10:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return super().decode(embedding, points_xy, *args, **settings)

    rows = wb.propose(image, Tight(), config)
    assert rows.to_frame().equals(expected.to_frame())


@pytest.mark.parametrize("size_hw", [(1, 1), (1, 50), (50, 1), (3, 2)])
def test_propose__tiny_images(size_hw):
    image = np.zeros((*size_hw, 3), np.uint8)
    rows = wb.propose(
        image, wb.load_sam(random_sam(1, input_px=64)), wb.ProposeConfig(points_per_side=2, crop_n_layers=2)
    )
    assert (rows.sizes_hw == size_hw).all()


@pytest.mark.parametrize(
    ("image", "came"),
    [
        (np.zeros((4, 4), np.uint8), r"uint8 of shape \(4, 4\)"),
        (np.zeros((4, 4, 4), np.uint8), r"\(4, 4, 4\)"),
        (np.zeros((4, 4, 3)), "float64"),
        (np.zeros((0, 4, 3), np.uint8), "at least one pixel"),
        ([[1]], "list"),
    ],
)
def test_propose__says_what_is_wrong_with_an_image(image, came):
    with pytest.raises(ValueError, match=came):
        wb.propose(image, FlatSegmenter())


def test_propose__takes_presets_by_name():
    image, _ = squares()
    rows = wb.propose(image, FlatSegmenter(), "official")
    assert len(rows)
    assert len(rows) == len(wb.propose(image, FlatSegmenter(), wb.preset("official")))
    with pytest.raises(SettingError, match="did you mean 'official'"):
        wb.propose(image, FlatSegmenter(), "oficial")


def test_propose__cleaning_fills_holes_and_drops_islands():
    image = np.zeros((60, 60, 3), np.uint8)
    image[10:50, 10:50] = 200
    image[20:23, 20:23] = 90  # a hole of 9 px
    config = wb.ProposeConfig(points_per_side=10, pool="distinct", predicted_iou_floor=0.9, **NO_JITTER)
    plain = wb.propose(image, FlatSegmenter(), config)
    clean = wb.propose(image, FlatSegmenter(), config.replace(min_region_area_px=20))
    assert 1600 - 9 in plain.area_px
    assert 1600 in clean.area_px
    assert 1600 - 9 not in clean.area_px
    assert clean.area_px.tolist() == rle.area(clean.rles.tolist(), (60, 60)).tolist()
