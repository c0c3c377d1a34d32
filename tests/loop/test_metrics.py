"""Figures of matching and rates: worked out by hand, against COCO's evaluation, and with nothing to count."""

from __future__ import annotations

import contextlib
import io
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from strips import strips

from workbench.config import ProposeConfig, TriageConfig
from workbench.loop.comparison import Comparison, TrueImage, compare_image
from workbench.loop.metrics import METRICS, Point, known_metrics, measure, precision_recall
from workbench.masks import rle
from workbench.tables.outcomes import Outcome
from workbench.tables.proposals import Proposals

AUTO, FLAGGED, DISCARDED, DUPLICATE = (
    Outcome.auto_accepted,
    Outcome.flagged,
    Outcome.discarded,
    Outcome.duplicate,
)
TRUTH = [(0, 20), (30, 50), (60, 64)]
FOUND = {
    (0, 20): AUTO,  # right
    (0, 16): AUTO,  # IoU 0.8 with the same: a second mask
    (30, 42): AUTO,  # IoU 0.6
    (60, 64): FLAGGED,
    (80, 90): AUTO,  # nothing there
    (0, 21): DUPLICATE,
    (30, 50): DISCARDED,
}


def by_hand():
    return Comparison.of([compare_image("a", strips(*FOUND), TrueImage.of(strips(*TRUTH)))])


def outcome(*codes):
    return np.array(codes, np.uint8)


def figures(comparison, codes, config=None):
    found = measure(comparison, outcome(*codes), None, np.random.default_rng(0), config=config)
    return {name: figure.value for name, figure in found.items()}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("auto_accept_rate", 4 / 6),
        ("masks_per_image", 4),
        ("flagged_per_image", 1),
        ("recall_proposals", 1),
        ("recall_proposals_75", 1),
        ("recall_proposals_small", 1),  # the quartile of 20, 20 and 4 is 12
        ("recall_auto", 2 / 3),
        ("recall_auto_75", 1 / 3),
        ("recall_auto_small", 0),
        ("recall_auto_small_coco", 2 / 3),
        ("automatic_share", 2 / 3),
        ("ceiling", 2 / 3),
        ("fp_rate", 3 / 4),
        ("fp_rate_50", 2 / 4),
        ("duplicate_rate", 1 / 4),
    ],
)
def test_measure__by_hand(name, value):
    found = figures(by_hand(), FOUND.values(), TriageConfig(min_area_px=10))
    assert found[name] == pytest.approx(value)


def test_measure__images_without_truth_proposals_or_labels():
    nothing = strips()
    images = [
        compare_image("nothing true", strips((0, 9), (20, 29)), TrueImage.of(nothing)),
        compare_image("nothing proposed", nothing, TrueImage.of(strips((0, 9)))),
        compare_image("nothing at all", nothing, TrueImage.of(nothing)),
        compare_image("not labelled", strips((0, 9), (0, 9)), None),
        compare_image("good", strips((0, 9)), TrueImage.of(strips((0, 9)))),
    ]
    point = Point(Comparison.of(images), outcome(AUTO, AUTO, AUTO, FLAGGED, AUTO))
    counted = {name: METRICS[name].counts(point) for name in ("auto_accept_rate", "recall_auto", "fp_rate")}
    found = {name: list(zip(*(c.tolist() for c in counts), strict=True)) for name, counts in counted.items()}
    assert found["auto_accept_rate"] == [(2, 2), (0, 0), (0, 0), (1, 2), (1, 1)]
    assert found["recall_auto"][:3] + found["recall_auto"][4:] == [(0, 0), (0, 1), (0, 0), (1, 1)]
    assert found["fp_rate"][:3] + found["fp_rate"][4:] == [(2, 2), (0, 0), (0, 0), (0, 1)]
    assert np.isnan(found["recall_auto"][3] + found["fp_rate"][3]).all()
    interval = measure(Comparison.of(images), outcome(AUTO, AUTO, AUTO, FLAGGED, AUTO), ["fp_rate"], rng())["fp_rate"]
    assert (interval.value, interval.n, interval.how) == (2 / 3, 3, "binomial")


def test_measure__final_masks_that_nobody_looked_at_are_found_but_are_no_labels():
    """Three auto-accepted masks: one is the final mask nobody looked at, one a final mask somebody accepted, one wrong."""
    proposed, final = strips((0, 9), (20, 29), (40, 49)), strips((0, 9), (20, 29), (60, 69))
    images = [
        compare_image("some unseen", proposed, TrueImage.of(final, unseen=[True, False, False])),
        compare_image("all seen", proposed, TrueImage.of(final)),
    ]
    both = Comparison.of(images)
    point = Point(both, outcome(*[AUTO] * 6))
    counted = {
        name: METRICS[name].counts(point) for name in ("recall_auto", "automatic_share", "fp_rate", "fp_rate_50")
    }
    assert [c.tolist() for c in counted["recall_auto"]] == [[2, 2], [3, 3]]
    assert [c.tolist() for c in counted["automatic_share"]] == [[2, 2], [3, 3]]
    for name in ("fp_rate", "fp_rate_50"):  # images where nothing was left unseen are those where more was wrong
        assert np.isnan(counted[name]).all()
    assert both.whole(np.ones(6, bool)).tolist() == [False, True]
    right, wrong = both.verdicts(np.ones(6, bool))
    assert right.tolist() == [False, True, False, True, True, False]
    assert wrong.tolist() == [False, False, True, False, False, True]


@pytest.mark.parametrize("row", [(0, 9), (0, 7)])
def test_verdicts__what_overlaps_a_mask_that_nobody_looked_at_is_neither(row):
    """At IoU 0.7 and 0.5: nobody vouched for that outline, so another one is not wrong."""
    image = compare_image("a", strips(row, (40, 49)), TrueImage.of(strips((0, 13)), unseen=[True]))
    both = Comparison.of([image])
    right, wrong = both.verdicts(np.ones(2, bool))
    assert (right.tolist(), wrong.tolist()) == ([False, False], [False, True])
    assert both.whole(np.ones(2, bool)).tolist() == [False]


def rng():
    return np.random.default_rng(0)


def test_measure__no_image():
    found = measure(Comparison.of([]), outcome(), None, rng())
    assert set(found) == set(METRICS)
    assert not any(figure.known for figure in found.values())


def test_measure__unknown_name_lists_the_known_and_the_nearest():
    with pytest.raises(ValueError, match=r"recall_proposals.*got 'recal_auto'; did you mean 'recall_auto'\?"):
        known_metrics(["recal_auto"])
    assert known_metrics("fp_rate") == ["fp_rate"]


def test_point__outcome_of_another_table_is_refused():
    with pytest.raises(ValueError, match="expected one for each of 7 proposals"):
        Point(by_hand(), outcome(AUTO))
    with pytest.raises(ValueError, match="wrong_iou"):
        Point(by_hand(), outcome(*FOUND.values()), wrong_iou=0.3)


def test_verdicts__crowds_and_ignored_masks_are_left_aside():
    truth = strips((0, 20), (60, 100), (30, 50))
    true = TrueImage.of(truth, crowd=[False, True, False], ignore=[False, False, True])
    found = strips((0, 20), (70, 80), (50, 65), (30, 50), (30, 49))
    comparison = Comparison.of([compare_image("a", found, true)])
    right, wrong = comparison.verdicts(np.ones(5, bool))
    # in the crowd; a third in the crowd; matched with what is ignored; a second mask on it
    assert right.tolist() == [True, False, False, False, False]
    assert wrong.tolist() == [False, False, True, False, True]
    assert comparison.found(np.ones(5, bool), 0.5).tolist() == [True, False]
    assert figures(comparison, [AUTO] * 5)["recall_auto"] == 1


def test_verdicts__what_is_to_be_found_goes_before_what_is_ignored():
    true = TrueImage.of(strips((0, 20), (0, 19)), ignore=[False, True])
    comparison = Comparison.of([compare_image("a", strips((0, 19)), true)])
    assert comparison.verdicts(np.ones(1, bool)).right.tolist() == [True]


def test_ceiling__by_the_grid():
    floors = ProposeConfig(points_per_side=2)  # at x = 25 and 75
    truth = TrueImage.of(strips((20, 30), (40, 60), (75, 76), (76, 99)))
    comparison = Comparison.of([compare_image("a", strips(), truth, floors)])
    assert comparison.on_grid.tolist() == [True, False, True, False]
    assert figures(comparison, [], TriageConfig(min_area_px=5))["ceiling"] == 1 / 4


def test_compare_image__other_size_is_refused():
    other = Proposals.make(rles=[b"04"], sizes_hw=(2, 2))
    with pytest.raises(ValueError, match=r"of one size \(h, w\).*import the truth again"):
        compare_image("a", strips((0, 9)), TrueImage.of(other))
    with pytest.raises(ValueError, match="ignore, crowd and unseen for each of 1 masks"):
        compare_image("a", strips((0, 9)), TrueImage.of(strips((0, 9)), crowd=[True, False]))


def test_of_tables__finds_the_rows_of_the_images():
    proposals = Proposals.concat([strips((0, 9), image_id="b"), strips((0, 9), (20, 29), image_id="a")])
    truth = Proposals.concat([strips((20, 29), image_id="a"), strips((0, 9), image_id="c")])
    comparison, rows = Comparison.of_tables(proposals, truth, ["a", "c"])
    assert rows.tolist() == [1, 2]
    assert comparison.verdicts(np.ones(2, bool)).right.tolist() == [False, True]
    assert comparison.found(np.ones(2, bool), 0.5).tolist() == [True, False]
    empty, none = Comparison.of_tables(Proposals.empty(), Proposals.empty(), [])
    assert (len(empty), len(none)) == (0, 0)


def test_precision_recall__by_hand():
    curve = precision_recall(by_hand(), [0.9, 0.8, 0.7, 0.6, 0.5, np.nan, 0.4], iou=0.75, thresholds=[0, 0.55, 0.85, 1])
    assert curve.precision[:3] == pytest.approx([3 / 6, 2 / 4, 1])
    assert math.isnan(curve.precision[3])
    assert curve.recall.tolist() == pytest.approx([1, 2 / 3, 1 / 3, 0])


def test_precision_recall__thresholds_are_quantiles_of_the_scores():
    curve = precision_recall(by_hand(), np.linspace(0, 1, 7))
    assert (curve.thresholds[0], curve.thresholds[-1]) == (0, 1)
    assert precision_recall(Comparison.of([]), []).thresholds.tolist() == []


# ---- against COCO's evaluation -----------------------------------------------------------------------------------------

CELL, SIDE = 12, 60


def scene(made, n):
    """True masks that do not overlap, and proposals near some of them."""
    cells = made.permutation((SIDE // CELL) ** 2)[:n]
    truth = np.array([box(made, cell, 0) for cell in cells]).reshape(-1, SIDE, SIDE)
    near = made.choice(cells, made.integers(0, 3 * n + 1)) if n else np.zeros(0, int)
    found = np.array([box(made, cell, 2) for cell in near]).reshape(-1, SIDE, SIDE)
    return truth, found[found.any(axis=(1, 2))]


def box(made, cell, jitter):
    y, x = (CELL * k for k in divmod(int(cell), SIDE // CELL))
    mask = np.zeros((SIDE, SIDE), bool)
    (y0, x0), (h, w) = made.integers(0, 3, 2) + made.integers(0, jitter + 1, 2), made.integers(6, 9, 2)
    mask[y + y0 : y + y0 + h, x + x0 : x + x0 + w] = True
    return mask


def coco_counts(images, iou):
    """Return true masks found, true masks to be found, right and wrong proposals as COCOeval counts them."""
    truth, found = [], []
    for k, (true, crowd, proposed, scores) in enumerate(images):
        for m, is_crowd in zip(true, crowd, strict=True):
            rles = {"size": [SIDE, SIDE], "counts": rle.encode(m[None])[0].decode()}
            same = {"image_id": k + 1, "category_id": 1, "segmentation": rles}
            truth.append(
                {**same, "id": len(truth) + 1, "area": int(m.sum()), "bbox": [0, 0, 1, 1], "iscrowd": int(is_crowd)}
            )
        for m, score in zip(proposed, scores, strict=True):
            rles = {"size": [SIDE, SIDE], "counts": rle.encode(m[None])[0].decode()}
            found.append({"image_id": k + 1, "category_id": 1, "segmentation": rles, "score": float(score)})
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {
            "images": [{"id": k + 1, "height": SIDE, "width": SIDE} for k in range(len(images))],
            "annotations": truth,
            "categories": [{"id": 1, "name": "thing"}],
        }
        coco.createIndex()
        run = COCOeval(coco, coco.loadRes(found), "segm")
        run.params.iouThrs, run.params.maxDets = np.array([iou]), [1000]
        run.params.areaRng, run.params.areaRngLbl = [[0, 1e10]], ["all"]
        run.evaluate()
    counts = np.zeros(4, int)
    for one in filter(None, run.evalImgs):
        wanted = ~np.asarray(one["gtIgnore"], bool)
        matched, aside = one["dtMatches"][0] > 0, one["dtIgnore"][0].astype(bool)
        counts += [
            (one["gtMatches"][0][wanted] > 0).sum(),
            wanted.sum(),
            (matched & ~aside).sum(),
            (~matched & ~aside).sum(),
        ]
    return counts.tolist()


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.5, 0.75]))
@settings(max_examples=40, deadline=None)
def test_verdicts__as_coco_where_true_masks_do_not_overlap(seed, iou):
    made = np.random.default_rng(seed)
    images, compared = [], []
    for k in range(3):
        true, found = scene(made, int(made.integers(1, 20)))
        crowd = made.random(len(true)) < 0.2
        images.append((true, crowd, found, made.random(len(found))))
        tables = [Proposals.make(rles=rle.encode(m), sizes_hw=(SIDE, SIDE)) for m in (found, true)]
        compared.append(compare_image(str(k), tables[0], TrueImage.of(tables[1], crowd)))
    if not sum(len(found) for _, _, found, _ in images):
        return
    comparison = Comparison.of(compared)
    rows = np.ones(len(comparison), bool)
    right, wrong = comparison.verdicts(rows, iou)
    ours = [comparison.found(rows, iou).sum(), (~comparison.ignore).sum(), right.sum(), wrong.sum()]
    assert [int(n) for n in ours] == coco_counts(images, iou)
