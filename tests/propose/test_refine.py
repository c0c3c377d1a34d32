"""A second look at distinct masks: by hand, with crops, at the floors, and where it cannot be replayed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from flat_segmenter import FlatSegmenter, squares
from random_sams import random_sam

import workbench as wb
from workbench.masks import nms, rle
from workbench.propose.grid import Crop
from workbench.propose.refine import refined
from workbench.propose.score import cut_by_crop
from workbench.sam.load import load_sam
from workbench.settings import SettingError

PLAIN = {"jitter_prompts": 0, "features": False, "pool": "distinct"}


def test_refine__fragments_and_wholes_become_what_their_point_lies_on():
    image, masks = squares()
    config = wb.ProposeConfig(points_per_side=12, predicted_iou_floor=0.0, nms_iou=0.8, **PLAIN)
    rough = wb.propose(image, FlatSegmenter(), config)
    fine = wb.propose(image, FlatSegmenter(), config.replace(refine=True))
    assert len(fine) < len(rough)
    found = set(fine.rles.tolist())
    assert set(rle.encode(masks)) <= found
    assert len(found) == len(fine) == len(masks) + 1  # and the background
    assert set(fine.predicted_iou.tolist()) <= {np.float32((0.95 + before) / 2) for before in (0.95, 0.8, 0.6)}
    assert fine.area_px.tolist() == rle.area(fine.rles.tolist(), image.shape[:2]).tolist()
    assert len(set(fine.mask_id.tolist())) == len(fine)


@pytest.mark.parametrize("box_xyxy", [(0, 0, 64, 48), (16, 8, 64, 48)])
def test_refined__asks_with_the_point_and_the_box_of_each_row(box_xyxy):
    """By hand, one row at a time; in a crop points and boxes are those of the crop, masks those of the image."""
    sam = load_sam(random_sam(input_px=64), device="cpu")
    image = np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8)
    config = wb.ProposeConfig(points_per_side=4, predicted_iou_floor=-10, nms_iou=1.0, **{**PLAIN, "features": True})
    crop = Crop(box_xyxy, int(box_xyxy[0] > 0))
    x0, y0, x1, y1 = box_xyxy
    rough = wb.propose(image, sam, config)
    rough = rough.select((rough.points_xy >= (x0, y0)).all(axis=1))
    embedding = sam.embed(np.ascontiguousarray(image[y0:y1, x0:x1]))
    seen = refined(rough, crop, embedding, sam, config)
    expected = []
    for i in range(len(rough)):
        point = (rough.points_xy[i] - (x0, y0))[None, None]
        largest = rle.to_boxes(rle.largest_region([rough.rles[i]], (48, 64)), (48, 64))
        box = largest.astype(float) - (x0, y0, x0, y0)  # of a mask with strays, what is meant
        logits, predicted = sam.decode(embedding, point, np.ones((1, 1), np.int64), box)
        best = int(predicted.argmax())
        mask = np.zeros((48, 64), bool)
        mask[y0:y1, x0:x1] = (sam.upscale(logits, embedding)[0, best] > 0).numpy()
        cut = cut_by_crop(rle.to_boxes(rle.encode(mask[None]), (48, 64)), crop, (48, 64))[0]
        if mask.any() and not cut:
            mean = (float(predicted.max()) + float(rough.predicted_iou[i])) / 2
            expected.append((rle.encode(mask[None])[0], best, mean, "point and box"))
        elif mask.any():
            own = rough.select([i])
            expected.append((own.rles[0], own.mask_index[0], own.predicted_iou[0], "point"))
    assert len(expected) > 3
    assert len(seen) == len(expected)
    for i, (counts, best, predicted, prompt) in enumerate(expected):
        assert rle.iou_matrix([counts], [seen.rles[i]], (48, 64))[0, 0] > 0.99  # other batches, other last bits
        assert seen.mask_index[i] == best
        assert seen.predicted_iou[i] == pytest.approx(predicted, abs=1e-5)
        assert seen.area_px[i] == rle.area([seen.rles[i]], (48, 64))[0]
        assert seen.boxes_xyxy[i].tolist() == rle.to_boxes([seen.rles[i]], (48, 64))[0].tolist()
        assert seen.prompt[i] == prompt
        assert np.isfinite(seen.hypothesis_spread[i])


class Growing(FlatSegmenter):
    """Answers a point with a part of the flat region under it, a point and a box with all of it."""

    def decode(self, embedding, points_xy=None, labels=None, boxes_xyxy=None, mask_logits=None, multimask=True):
        logits, predicted = super().decode(embedding, points_xy, labels, boxes_xyxy, mask_logits, multimask)
        if boxes_xyxy is None:
            inner = torch.nn.functional.max_pool2d(-logits[:, :1], 5, 1, 2)
            return -inner.expand(-1, 3, -1, -1), torch.full_like(predicted, 0.9)
        return logits, predicted


@pytest.mark.parametrize(("x0", "grown"), [(160, False), (170, True)])
def test_refine__what_grows_to_the_edge_of_its_crop_stays_as_it_was(x0, grown):
    """The other crops' masks of it are gone by then: a crop begins at x = 140, and 20 px beside its edge count as cut."""
    image = np.zeros((240, 360, 3), np.uint8)
    image[60:100, x0:215] = 200
    config = wb.ProposeConfig(points_per_side=16, crop_n_layers=1, **PLAIN)
    own = rle.encode(image[None, ..., 0] > 0)
    for refine in (False, True):
        rows = wb.propose(image, Growing(), config.replace(refine=refine))
        ious = rle.iou_matrix(rows.rles.tolist(), own, (240, 360))[:, 0]
        assert (ious > 0.8).sum() == 1
        best = int(ious.argmax())
        assert (ious[best] == 1) == (refine and grown)
        assert rows.prompt[best] == ("point and box" if refine and grown else "point")
        assert rows.crop_boxes_xyxy[best, 0] == 140


class Unsure(FlatSegmenter):
    """As sure of what it is asked with a box as it is told."""

    def __init__(self, second: float):
        super().__init__()
        self.second = second

    def decode(self, embedding, points_xy=None, labels=None, boxes_xyxy=None, mask_logits=None, multimask=True):
        logits, predicted = super().decode(embedding, points_xy, labels, boxes_xyxy, mask_logits, multimask)
        return (logits, predicted) if boxes_xyxy is None else (logits, torch.full_like(predicted, self.second))


@pytest.mark.parametrize(("second", "left"), [(0.86, True), (0.84, False), (float("nan"), False)])
def test_refine__the_floor_holds_for_the_mean_of_both_looks(second, left):
    image, masks = squares()
    config = wb.ProposeConfig(points_per_side=12, predicted_iou_floor=0.9, refine=True, **PLAIN)
    rows = wb.propose(image, Unsure(second), config)
    assert len(rows) == (len(masks) + 1 if left else 0)
    assert rows.predicted_iou == pytest.approx((0.95 + 0.86) / 2)


class PartlyUnknown(FlatSegmenter):
    """Does not know how good the first of three answers to a box is."""

    def decode(self, embedding, points_xy=None, labels=None, boxes_xyxy=None, mask_logits=None, multimask=True):
        logits, predicted = super().decode(embedding, points_xy, labels, boxes_xyxy, mask_logits, multimask)
        if boxes_xyxy is not None:
            predicted[:, 0] = float("nan")
        return logits, predicted


def test_refine__an_answer_whose_score_is_not_known_is_not_the_surest():
    image, _ = squares()
    config = wb.ProposeConfig(points_per_side=12, predicted_iou_floor=0.5, refine=True, **PLAIN)
    rows = wb.propose(image, PartlyUnknown(), config)
    assert len(rows)
    assert (rows.mask_index == 1).all()


def test_refine__the_stability_floor_holds_for_the_answers():
    image, _ = squares()
    config = wb.ProposeConfig(points_per_side=12, stability_floor=0.9, stability_offset=5.0, refine=True, **PLAIN)
    assert len(wb.propose(image, Unsure(0.9), config))
    assert not len(wb.propose(image, Flatter(0.9), config))


class Flatter(Unsure):
    """Its second answers are near the cut."""

    def decode(self, embedding, points_xy=None, labels=None, boxes_xyxy=None, mask_logits=None, multimask=True):
        logits, predicted = super().decode(embedding, points_xy, labels, boxes_xyxy, mask_logits, multimask)
        return logits if boxes_xyxy is None else logits / 10, predicted


def test_refine__jitter_moves_points_with_the_boxes_of_their_masks():
    image, _ = squares()
    config = wb.ProposeConfig(points_per_side=12, refine=True, **{**PLAIN, "jitter_prompts": 3})
    sam = Boxed()
    rows = wb.propose(image, sam, config)
    points, boxes = (np.concatenate(parts[-1:])[-3 * len(rows) :] for parts in (sam.points, sam.boxes))
    assert len(points) == 3 * len(rows)
    for point, box, k in zip(points[:, 0], boxes, np.arange(len(rows)).repeat(3), strict=True):
        row = rows.select(np.argsort(rows.row)[[k]])  # one crop: in the order of the rows
        by = point - row.points_xy[0]
        assert by.any()
        expected = np.clip(row.boxes_xyxy[0] + np.tile(by, 2), 0, (96, 64, 96, 64))
        assert np.allclose(box, expected)


def test_refine__prompts_that_do_not_move_find_the_mask_again():
    image, _ = squares()
    config = wb.ProposeConfig(points_per_side=12, refine=True, **{**PLAIN, "jitter_prompts": 2, "jitter_sigma_px": 0.0})
    rows = wb.propose(image, FlatSegmenter(), config)
    assert len(rows)
    assert (rows.jitter_iou == 1).all()
    assert (rows.jitter_stability == 1).all()


class Boxed(FlatSegmenter):
    """Keeps the points and boxes it is asked with together."""

    def __init__(self):
        super().__init__()
        self.points, self.boxes = [], []

    def decode(self, embedding, points_xy=None, labels=None, boxes_xyxy=None, mask_logits=None, multimask=True):
        if boxes_xyxy is not None:
            self.points.append(points_xy)
            self.boxes.append(boxes_xyxy)
        return super().decode(embedding, points_xy, labels, boxes_xyxy, mask_logits, multimask)


@pytest.mark.parametrize("layers", [0, 1])
def test_refine__floors_and_nms_hold_for_the_answers(layers):
    sam = load_sam("bundled", device="cpu")
    image, _ = squares((128, 160))
    config = wb.preset("bundled").propose.replace(
        points_per_side=6, crop_n_layers=layers, predicted_iou_floor=0.5, refine=True, jitter_prompts=2, pool="distinct"
    )
    rows = wb.propose(image, sam, config)
    again = wb.propose(image, sam, config)
    assert len(rows)
    assert rows.rles.tolist() == again.rles.tolist()
    assert (rows.predicted_iou > 0.5).all()
    assert np.isfinite(rows.jitter_iou).all()
    assert np.isfinite(rows.hypothesis_spread).all()
    scores = rows.predicted_iou if not layers else 1 / (rows.crop_boxes_xyxy[:, 2] - rows.crop_boxes_xyxy[:, 0])
    assert len(nms.nms_boxes(rows.boxes_xyxy, scores.astype(np.float32), 0.5)) == len(rows)


def test_refine__is_refused_where_rows_are_stored_before_nms():
    with pytest.raises(
        SettingError, match=r"refine: refined masks .* got True with pool='exact': set pool='distinct', or refine=False"
    ):
        wb.ProposeConfig(refine=True)


def test_refine__runs_of_before_keep_their_name():
    assert wb.ProposeConfig().digest == "72583c50159c"
    assert wb.preset("official").propose.digest == "bf6477506b39"
    assert wb.ProposeConfig(pool="distinct").digest != wb.ProposeConfig(pool="distinct", refine=True).digest


def test_refine__no_row():
    sam = load_sam(random_sam(input_px=64), device="cpu")
    none = wb.propose(np.zeros((8, 8, 3), np.uint8), FlatSegmenter((0.1, 0.1, 0.1)), wb.ProposeConfig(**PLAIN))
    with torch.no_grad():
        assert (
            len(refined(none, Crop((0, 0, 8, 8), 0), sam.embed(np.zeros((8, 8, 3), np.uint8)), sam, wb.ProposeConfig()))
            == 0
        )
