"""Triage rules: thresholds to the last float, each reason alone, both pools against torchvision's NMS."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

import workbench
from workbench.config import SettingError, TriageConfig, preset
from workbench.masks import rle
from workbench.tables.outcomes import DOUBTS, FAILURES, Outcome, Reason, Triage
from workbench.tables.proposals import Proposals
from workbench.triage.pool import DistinctPool
from workbench.triage.rules import triage

SIZE = (100, 120)  # h, w
GOOD: dict[str, Any] = {
    "predicted_iou": 0.95,
    "stability_score": 0.97,
    "jitter_stability": 0.97,
    "hypothesis_spread": 0.1,
    "solidity": 0.95,
    "roughness": 0.05,
    "contrast": 2.0,
}
ONE = (10, 10, 30, 30)
APART = [(10 + 25 * (k % 4), 10 + 25 * (k // 4), 30 + 25 * (k % 4), 30 + 25 * (k // 4)) for k in range(12)]


def table(*boxes_xyxy: tuple[int, int, int, int], size_hw: tuple[int, int] = SIZE, **columns: Any) -> Proposals:
    """Filled boxes as proposals that nothing speaks against, but what the columns given say."""
    masks = np.zeros((len(boxes_xyxy), *size_hw), dtype=bool)
    for mask, (x0, y0, x1, y1) in zip(masks, boxes_xyxy, strict=True):
        mask[y0:y1, x0:x1] = True
    given = {
        "boxes_xyxy": np.array(boxes_xyxy, np.int32).reshape(-1, 4),
        "area_px": masks.sum(axis=(1, 2)),
        "sizes_hw": size_hw,
        "image_id": "a",
        **GOOD,
        **columns,
    }
    return Proposals.make(rles=rle.encode(masks), **given)


def words(result: Triage) -> list[str]:
    return [Outcome(code).name for code in result.outcome]


def reasons(result: Triage, row: int = 0) -> Reason:
    return Reason(int(result.reasons[row]))


def test_triage__nothing_against_it():
    result = triage(table(ONE))
    assert words(result) == ["auto_accepted"]
    assert reasons(result) == Reason(0)


def test_triage__no_rows():
    result = triage(Proposals.empty(), existing=Proposals.empty())
    assert len(result) == 0
    assert result.counts() == {"distinct": 0, "auto_accepted": 0, "flagged": 0, "discarded": 0}


@pytest.mark.parametrize("given", [None, "stage2", preset("stage2"), TriageConfig()])
def test_triage__settings_in_every_form(given):
    assert triage(table(ONE), given).config == TriageConfig()


def test_triage__unknown_preset():
    with pytest.raises(SettingError, match="did you mean 'stage2'"):
        triage(table(ONE), "stage3")


def test_triage__public_name():
    assert words(workbench.triage(table(ONE), "stage2")) == ["auto_accepted"]


def test_triage__imports_no_pandas_and_no_torch():
    code = "import sys, workbench.triage.rules; print(sorted({'pandas', 'torch'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


# Thresholds


def following(value: float, up: bool) -> np.float32:
    return np.nextafter(np.float32(value), np.float32(np.inf if up else -np.inf))


@pytest.mark.parametrize(
    ("score", "outcome", "why"),
    [
        (np.float32(0.88), "flagged", Reason.borderline_score),
        (following(0.88, up=True), "auto_accepted", Reason(0)),
        (following(0.80, up=True), "flagged", Reason.borderline_score),
        (np.float32(0.80), "discarded", Reason.low_predicted_iou),
        (np.float32(1.02), "auto_accepted", Reason(0)),
        (np.float32(np.nan), "discarded", Reason.low_predicted_iou),
    ],
)
def test_predicted_iou__strictly_greater(score, outcome, why):
    result = triage(table(ONE, predicted_iou=score))
    assert (words(result), reasons(result)) == ([outcome], why)


@pytest.mark.parametrize(
    ("score", "outcome", "why"),
    [
        (np.float32(0.92), "auto_accepted", Reason(0)),
        (following(0.92, up=False), "flagged", Reason.borderline_score),
        (np.float32(0.85), "flagged", Reason.borderline_score),
        (following(0.85, up=False), "discarded", Reason.low_jitter_stability),
        (np.float32(-3), "discarded", Reason.low_jitter_stability),
        (np.float32(np.nan), "flagged", Reason.jitter_missing),
    ],
)
def test_jitter_stability__at_or_above(score, outcome, why):
    result = triage(table(ONE, jitter_stability=score))
    assert (words(result), reasons(result)) == ([outcome], why)


@pytest.mark.parametrize(
    ("score", "outcome", "why"),
    [
        (np.float32(0.95), "auto_accepted", Reason(0)),
        (following(0.95, up=False), "flagged", Reason.borderline_score),
        (np.float32(0.90), "flagged", Reason.borderline_score),
        (following(0.90, up=False), "discarded", Reason.low_stability_score),
        (np.float32(np.nan), "discarded", Reason.low_stability_score),
    ],
)
def test_stability_score__at_or_above(score, outcome, why):
    config = TriageConfig(stability_score=0.95, stability_score_margin=0.05)
    result = triage(table(ONE, stability_score=score), config)
    assert (words(result), reasons(result)) == ([outcome], why)


def test_thresholds__cast_to_float32_once():
    # float32(0.92) is 0.9200000167: greater than the float64 0.92, but not than the float32 that it was stored as
    result = triage(table(ONE, predicted_iou=np.float32(0.92)), TriageConfig(predicted_iou=0.92))
    assert reasons(result) == Reason.borderline_score


@pytest.mark.parametrize("name", ["predicted_iou", "jitter_stability", "stability_score"])
def test_margin__zero_leaves_nothing_near(name):
    config = TriageConfig(**{name: 0.9, f"{name}_margin": 0.0})
    result = triage(table(ONE, **{name: following(0.9, up=False)}), config)
    assert words(result) == ["discarded"]
    assert reasons(result) == Reason[f"low_{name}"]


@pytest.mark.parametrize("name", ["jitter_stability", "stability_score"])
def test_threshold__none_is_off(name):
    for value in (np.nan, 0.0):
        assert words(triage(table(ONE, **{name: value}), TriageConfig(**{name: None}))) == ["auto_accepted"]


def test_area__limits_are_inclusive():
    sizes = [(10, 10, 20, 20), (10, 10, 20, 19), (1, 1, 119, 99)]  # 100, 90 and 11,564 px of 12,000
    results = [triage(table(box)) for box in sizes]
    assert [words(r)[0] for r in results] == ["auto_accepted", "discarded", "discarded"]
    assert [reasons(r) for r in results] == [Reason(0), Reason.too_small, Reason.too_large]
    at_most = TriageConfig(max_area_share=0.96)  # 11,520 px
    assert words(triage(table((1, 1, 119, 99), area_px=11520), at_most)) == ["auto_accepted"]
    assert words(triage(table((1, 1, 119, 99), area_px=11521), at_most)) == ["discarded"]


def test_discarded__keeps_its_doubts():
    result = triage(table(ONE, predicted_iou=0.1, solidity=0.3, jitter_stability=0.9))
    assert words(result) == ["discarded"]
    assert reasons(result) == Reason.low_predicted_iou | Reason.unusual_shape | Reason.borderline_score


def test_official__keeps_exactly_the_rows_above_its_thresholds():
    rng = np.random.default_rng(1)
    iou = rng.choice(np.array([0.5, 0.88, 0.8800001, 0.95, 1.01, np.nan], np.float32), 12)
    stability = rng.choice(np.array([0.9, 0.9499999, 0.95, 1.0, np.nan], np.float32), 12)
    rows = table(*APART, predicted_iou=iou, stability_score=stability, jitter_stability=np.nan, contrast=0)
    result = triage(rows, "official")
    expected = (iou > np.float32(0.88)) & (stability >= np.float32(0.95))
    assert 0 < expected.sum() < 12
    assert result.auto_accepted.tolist() == expected.tolist()
    assert not result.flagged.any()


# Reasons, each alone, and off


def only(rows: Proposals, why: Reason, setting: str | None, *, row: int = 0, **given: Any) -> None:
    """The row is flagged for this reason and no other, the rest is accepted; with the setting off, all is."""
    result = triage(rows, **given)
    assert reasons(result, row) == why
    assert result.outcome[row] == Outcome.flagged
    assert np.delete(result.reasons, row).tolist() == [0] * (len(rows) - 1)
    if setting is not None:
        off = triage(rows, TriageConfig(**{setting: None}), **given)
        assert off.auto_accepted.all()


def test_reason__unusual_shape():
    only(table(ONE, solidity=np.float32(0.59)), Reason.unusual_shape, "unusual_solidity")
    assert triage(table(ONE, solidity=np.float32(0.6))).auto_accepted.all()
    assert triage(table(ONE, solidity=np.nan)).auto_accepted.all()


def sized(*areas: int) -> Proposals:
    return table(*APART[: len(areas)], area_px=np.array(areas))


def test_reason__unusual_size():
    usual = [300, 310, 320, 330, 340, 350, 360, 370, 380]
    only(sized(3000, *usual), Reason.unusual_size, "unusual_size_z")
    only(sized(101, *usual), Reason.unusual_size, "unusual_size_z")


def test_reason__unusual_size__too_few_or_too_equal():
    assert triage(sized(3000, *range(300, 380, 10))).auto_accepted.all()  # nine rows
    assert triage(sized(3000, *[300] * 9)).auto_accepted.all()  # no spread to measure by


def test_reason__unusual_size__by_image():
    ids = ["a"] * 6 + ["b"] * 6
    rows = table(*APART, image_id=ids, area_px=np.array([300, 310, 320, 330, 340, 3000] * 2))
    assert triage(rows).auto_accepted.all()
    assert triage(rows.replace(image_id="a")).reason_counts()["unusual_size"] == 2


def test_reason__unusual_size__duplicates_do_not_count():
    rows = table(*APART[:9], APART[8], area_px=np.array([3000, *range(300, 390, 10)]))
    assert triage(rows).reason_counts()["unusual_size"] == 0  # nine distinct ones


SHIFTED = (10, 10, 30, 30), (16, 10, 36, 30)  # IoU 280 / 520


def test_reason__overlaps__the_lower_score_is_doubted():
    for better in (0, 1):
        scores = np.array([0.9, 0.9], np.float32)
        scores[better] = 0.95
        only(table(*SHIFTED, predicted_iou=scores), Reason.overlaps, "overlap", row=1 - better)


def test_reason__overlaps__among_equals_the_later_row_is_doubted():
    only(table(*SHIFTED), Reason.overlaps, "overlap", row=1)
    only(table(*SHIFTED, row=np.array([1, 0])), Reason.overlaps, "overlap", row=0)


def test_reason__overlaps__above_the_setting():
    rows = table((10, 10, 30, 30), (10, 15, 30, 30))  # IoU 0.75
    nms_off = {"nms_iou": 1.0}
    assert triage(rows, TriageConfig(overlap=0.75, **nms_off)).auto_accepted.all()
    assert triage(rows, TriageConfig(overlap=0.7499, **nms_off)).flagged.tolist() == [False, True]


def test_reason__overlaps__nested():
    rows = table((10, 10, 50, 50), (20, 20, 34, 34))
    assert triage(rows).auto_accepted.all()
    smaller = TriageConfig(overlap_measure="smaller")
    assert reasons(triage(rows, smaller), 1) == Reason.overlaps


def test_reason__overlaps__not_with_discarded_or_other_images():
    scores = np.array([0.95, 0.9], np.float32)
    discarded = table(*SHIFTED, predicted_iou=scores, jitter_stability=np.array([0.1, 0.97]))
    assert words(triage(discarded)) == ["discarded", "auto_accepted"]
    assert triage(table(*SHIFTED, predicted_iou=scores, image_id=["a", "b"])).auto_accepted.all()


def test_reason__overlaps__existing():
    there = table(SHIFTED[1], source="manual", predicted_iou=np.nan)
    rows = table(SHIFTED[0], (60, 60, 80, 80))
    only(rows, Reason.overlaps, "overlap", existing=there)
    assert triage(rows, existing=there.replace(image_id="b")).auto_accepted.all()
    with pytest.raises(ValueError, match=r"expected size \(100, 120\) \(h, w\), got \(99, 120\)"):
        triage(rows, existing=table(SHIFTED[1], size_hw=(99, 120)))


def test_reason__overlaps__same_as_every_pair():
    rng = np.random.default_rng(2)
    corner = rng.integers(0, 80, (150, 2))
    boxes = np.concatenate([corner, corner + rng.integers(5, 20, (150, 2))], axis=1)
    scores = rng.choice(np.array([0.7, 0.85, 0.9, 0.95], np.float32), 150)
    rows = table(*map(tuple, boxes.tolist()), predicted_iou=scores)
    result = triage(rows, TriageConfig(overlap=0.3, min_area_px=60))
    iou = rle.iou_matrix(list(rows.rles), list(rows.rles), SIZE)
    rival = result.distinct & ~result.discarded
    better = (scores[None] > scores[:, None]) | ((scores[None] == scores[:, None]) & np.tri(150, k=-1, dtype=bool))
    expected = ((iou > 0.3) & better & rival[None]).any(axis=1) & result.distinct
    assert 0 < expected.sum() < result.distinct.sum()
    assert ((result.reasons & Reason.overlaps) != 0).tolist() == expected.tolist()


def test_reason__ambiguous():
    only(table(ONE, hypothesis_spread=following(0.8, up=True)), Reason.ambiguous, "ambiguous_spread")
    assert triage(table(ONE, hypothesis_spread=np.float32(0.8))).auto_accepted.all()
    assert triage(table(ONE, hypothesis_spread=np.nan)).auto_accepted.all()


@pytest.mark.parametrize("box", [(0, 40, 20, 60), (40, 0, 60, 20), (100, 40, 120, 60), (40, 80, 60, 100)])
def test_reason__touches_border(box):
    only(table(box), Reason.touches_border, "border_px")


def test_reason__touches_border__within_a_margin():
    rows = table((2, 40, 20, 60))
    outcomes = [triage(rows, TriageConfig(border_px=px)).flagged.tolist() for px in (0, 1, 2)]
    assert outcomes == [[False], [False], [True]]
    assert triage(table((40, 40, 118, 60)), TriageConfig(border_px=2)).flagged.all()


def test_reason__touches_border__empty_mask_touches_nothing():
    result = triage(table((0, 0, 0, 0)), TriageConfig(min_area_px=0))
    assert result.auto_accepted.all()


def test_reason__low_contrast():
    only(table(ONE, contrast=following(0.5, up=False)), Reason.low_contrast, "low_contrast")
    assert triage(table(ONE, contrast=np.float32(0.5))).auto_accepted.all()
    assert triage(table(ONE, contrast=np.nan)).auto_accepted.all()


def test_reason__ragged():
    only(table(ONE, roughness=following(0.35, up=True)), Reason.ragged, "ragged_roughness")
    assert triage(table(ONE, roughness=np.float32(0.35))).auto_accepted.all()
    assert triage(table(ONE, roughness=np.nan)).auto_accepted.all()


def test_reason__jitter_missing():
    only(table(ONE, jitter_stability=np.nan), Reason.jitter_missing, "jitter_stability")


def test_reason__borderline_score():
    only(table(ONE, predicted_iou=0.85), Reason.borderline_score, None)


SURE = TriageConfig(confidence=0.9)


@pytest.mark.parametrize(("confidence", "found"), [(0.9, True), (np.nextafter(0.9, 1), False), (0.0, True)])
def test_reason__low_confidence(confidence, found):
    result = triage(table(ONE, confidence=confidence), SURE)
    assert (Reason.low_confidence in reasons(result)) == found
    assert words(result) == ["flagged" if found else "auto_accepted"]
    assert words(triage(table(ONE, confidence=confidence))) == ["auto_accepted"]  # not asked for


def test_reason__confidence_missing():
    result = triage(table(ONE), SURE)
    assert reasons(result) == Reason.confidence_missing
    assert words(result) == ["flagged"]


def test_confidence__that_decides_accepts_exactly_what_is_sure():
    boxes = [*APART[:4], (0, 0, 2, 2), APART[0]]
    given = table(
        *boxes,
        confidence=[0.95, 0.95, 0.5, 0.5, 0.95, 0.95],
        predicted_iou=[0.95, 0.1, 0.95, 0.1, 0.95, 0.94],
    )
    config = TriageConfig(confidence=0.9, confidence_rule="decides", min_area_px=10)
    result = triage(given, config)
    assert words(result) == ["auto_accepted", "auto_accepted", "flagged", "discarded", "discarded", "duplicate"]
    assert Reason.low_predicted_iou in reasons(result, 1)  # reasons stay, for people to read
    pool = DistinctPool.build(given, None, config)
    for moved in (config, config.replace(min_area_px=1), config.replace(min_area_px=1000, predicted_iou=0.0)):
        assert np.array_equal(pool.outcome(moved), triage(given, moved).outcome)


def test_confidence__that_decides_needs_a_value_and_the_distinct_pool():
    config = TriageConfig(confidence=0.9, confidence_rule="decides")
    with pytest.raises(SettingError, match="needs pool='distinct', got pool='exact'"):
        config.replace(pool="exact")
    with pytest.raises(SettingError, match="none is set"):  # its other thresholds may let everything pass
        config.replace(confidence=None)
    assert config.replace(confidence=None, confidence_rule="doubts") == TriageConfig()


def test_reasons__all_have_a_test_of_their_own():
    here = globals()
    for reason in (r for r in Reason if r in DOUBTS):
        assert any(name.startswith(f"test_reason__{reason.name}") for name in here), reason


# Duplicates and pools


def test_duplicate__the_higher_score_stays():
    rows = table(ONE, (11, 10, 31, 30), (60, 60, 80, 80), predicted_iou=np.array([0.9, 0.95, 0.9]))
    result = triage(rows)
    assert words(result) == ["duplicate", "auto_accepted", "auto_accepted"]
    assert reasons(result) == Reason.duplicate
    assert result.counts()["distinct"] == 2


def test_duplicate__ties_by_row_not_by_place():
    boxes = (ONE, (11, 10, 31, 30))
    assert words(triage(table(*boxes))) == ["auto_accepted", "duplicate"]
    assert words(triage(table(*boxes, row=np.array([7, 3])))) == ["duplicate", "auto_accepted"]


def test_duplicate__a_missing_score_loses():
    rows = table(ONE, (11, 10, 31, 30), (60, 60, 80, 80), predicted_iou=np.array([np.nan, 0.9, np.nan]))
    assert words(triage(rows)) == ["duplicate", "auto_accepted", "discarded"]


def test_duplicate__masks_instead_of_boxes():
    ring = np.zeros((2, *SIZE), dtype=bool)
    ring[:, 10:40, 10:40] = True
    ring[0, 12:38, 12:38] = False
    rows = Proposals.make(
        rles=rle.encode(ring),
        boxes_xyxy=(10, 10, 40, 40),
        area_px=ring.sum(axis=(1, 2)),
        sizes_hw=SIZE,
        **GOOD,
    )
    assert words(triage(rows)) == ["auto_accepted", "duplicate"]
    assert words(triage(rows, TriageConfig(nms="mask"))) == ["auto_accepted", "auto_accepted"]


def test_pools__a_failing_row_suppresses_only_in_the_distinct_pool():
    rows = table(ONE, (11, 10, 31, 30), predicted_iou=np.array([0.95, 0.9]), jitter_stability=np.array([0.1, 0.97]))
    assert words(triage(rows)) == ["discarded", "duplicate"]
    exact = triage(rows, TriageConfig(pool="exact"))
    assert words(exact) == ["discarded", "auto_accepted"]
    assert reasons(exact, 0) & FAILURES == Reason.low_jitter_stability


def test_pools__distinct_does_not_move_with_the_thresholds():
    rows = random_rows(np.random.default_rng(3), 200)
    distinct = [triage(rows, TriageConfig(predicted_iou=t)).distinct.tolist() for t in (0.5, 0.7, 0.9)]
    assert distinct[0] == distinct[1] == distinct[2]


CROPS = np.array([(0, 0, 120, 100), (0, 0, 70, 60), (50, 0, 120, 60), (0, 40, 70, 100)], np.int32)


def random_rows(rng: np.random.Generator, n: int, crops: int = 1) -> Proposals:
    crop = CROPS[np.sort(rng.integers(0, crops, n))]
    corner = crop[:, :2] + rng.integers(0, 30, (n, 2))
    boxes = np.concatenate([corner, corner + rng.integers(8, 30, (n, 2))], axis=1)
    return table(
        *map(tuple, boxes.tolist()),
        predicted_iou=rng.integers(50, 100, n).astype(np.float32) / np.float32(100),  # many ties
        stability_score=rng.uniform(0.8, 1, n).astype(np.float32),
        crop_boxes_xyxy=crop,
    )


@pytest.mark.parametrize("crops", [1, 4])
@pytest.mark.parametrize("seed", range(4))
def test_exact__same_as_filter_and_torchvision_nms(crops, seed):
    torch = pytest.importorskip("torch")
    nms = pytest.importorskip("torchvision").ops.nms
    rows = random_rows(np.random.default_rng(seed), 300, crops)
    config = preset("official").triage.replace(pool="exact", predicted_iou=0.7, stability_score=0.9, nms_iou=0.5)

    left = np.flatnonzero((rows.predicted_iou > np.float32(0.7)) & (rows.stability_score >= np.float32(0.9)))
    boxes = torch.as_tensor(rows.boxes_xyxy - [0, 0, 1, 1]).float()  # the official boxes have an inclusive maximum
    scores = torch.as_tensor(rows.predicted_iou)
    kept = []
    for crop in CROPS:
        members = left[(rows.crop_boxes_xyxy[left] == crop).all(axis=1)]
        kept.extend(members[nms(boxes[members], scores[members], 0.5).numpy()])
    sides = torch.as_tensor(rows.crop_boxes_xyxy[kept, 2:] - rows.crop_boxes_xyxy[kept, :2])
    if crops > 1:
        kept = np.array(kept)[nms(boxes[kept], 1 / sides.prod(dim=1), 0.5).numpy()]

    result = triage(rows, config)
    assert sorted(kept) == np.flatnonzero(result.auto_accepted).tolist()
    assert result.outcome[np.setdiff1d(left, kept)].tolist() == [Outcome.duplicate] * (len(left) - len(kept))
    assert result.discarded.sum() == len(rows) - len(left)


def test_crops__the_smaller_crop_wins_over_the_higher_score():
    rows = table(ONE, ONE, predicted_iou=np.array([0.99, 0.9]), crop_boxes_xyxy=CROPS[[0, 1]])
    assert words(triage(rows)) == ["duplicate", "auto_accepted"]
    whole = rows.replace(crop_boxes_xyxy=np.array([(0, 0, 120, 100), (0, 0, 0, 0)]))  # none said is the whole image
    assert words(triage(whole)) == ["auto_accepted", "duplicate"]


def test_triage__several_images_are_sorted_apart():
    parts = [random_rows(np.random.default_rng(seed), 60).replace(image_id=f"image {seed}") for seed in range(3)]
    alone = [triage(part) for part in parts]
    together = Proposals.concat(parts)
    mixed = np.random.default_rng(0).permutation(len(together))
    result = triage(together.select(mixed))
    assert result.outcome.tolist() == np.concatenate([one.outcome for one in alone])[mixed].tolist()
    assert result.reasons.tolist() == np.concatenate([one.reasons for one in alone])[mixed].tolist()


def test_triage__sizes_that_contradict():
    rows = table(ONE, (60, 60, 80, 80)).replace(sizes_hw=np.array([(100, 120), (120, 100)]))
    with pytest.raises(ValueError, match=r"image 'a', got \[\[100, 120\], \[120, 100\]\]"):
        triage(rows)
    with pytest.raises(ValueError, match="expected one height and width"):
        triage(table(ONE).replace(sizes_hw=(0, 0)))


def test_triage__a_thousand_rows_are_each_given_an_outcome():
    rows = random_rows(np.random.default_rng(5), 1000)
    result = triage(rows)
    assert result.counts()["distinct"] + int((result.outcome == Outcome.duplicate).sum()) == 1000
    assert ((result.reasons == 0) == result.auto_accepted).all()


def test_triage__a_preset_has_the_thresholds_for_how_rows_were_proposed():
    rows = Proposals.make(
        rles=rle.encode(np.ones((1, 40, 40), bool)), image_id="a", boxes_xyxy=[[0, 0, 40, 40]], area_px=[1600],
        sizes_hw=(40, 40), predicted_iou=[0.9],
    )  # fmt: skip
    pair = preset("bundled")
    assert pair.refined != pair.triage
    assert triage(rows.replace(prompt="point"), "bundled").config == pair.triage
    assert triage(rows.replace(prompt="point and box"), "bundled").config == pair.refined
    assert triage(rows.replace(prompt="point and box"), pair.triage).config == pair.triage
