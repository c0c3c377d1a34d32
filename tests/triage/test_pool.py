"""The pools answer as `triage` does, from random pools, or refuse in words; histograms and heat maps as numpy's."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_pools import SIZE, random_proposals

from workbench.config import ProposeConfig, TriageConfig, preset
from workbench.masks import rle
from workbench.tables.outcomes import Outcome, Triage
from workbench.tables.proposals import Proposals
from workbench.triage.limits import refuse_unanswerable
from workbench.triage.pool import DistinctPool, ExactPool, PoolError
from workbench.triage.rules import triage

EXACT = TriageConfig(pool="exact", overlap=None)
DISTINCT = TriageConfig()
FLOORS = ProposeConfig()  # predicted IoU above 0.5, pool exact

score = st.sampled_from([0.5, 0.6, 0.7, 0.8, 0.88, 0.92, 1.0])
thresholds = st.fixed_dictionaries(
    {
        "predicted_iou": score,
        "predicted_iou_margin": st.sampled_from([0.0, 0.08, 0.2]),
        "jitter_stability": st.none() | score,
        "jitter_stability_margin": st.sampled_from([0.0, 0.07]),
        "stability_score": st.none() | score,
        "stability_score_margin": st.sampled_from([0.0, 0.1]),
        "min_area_px": st.sampled_from([0, 30, 100, 400]),
        "max_area_share": st.sampled_from([1.0, 0.9, 0.1, 0.0]),
    }
)
pools = st.builds(
    lambda seed, n, images, crops: random_proposals(np.random.default_rng(seed), n, images, crops),
    st.integers(0, 2**32 - 1),
    st.integers(0, 100),
    st.integers(1, 4),
    st.integers(1, 5),
)


def kept(result: Triage) -> np.ndarray:
    return result.auto_accepted | result.flagged


def equal_boxes(n: int, size_hw: tuple[int, int] = SIZE, **columns: Any) -> Proposals:
    mask = np.zeros(size_hw, dtype=bool)
    mask[5:25, 5:35] = True
    given = {"boxes_xyxy": (5, 5, 35, 25), "area_px": 600, "sizes_hw": size_hw, "image_id": "a", "mask_id": "m"}
    return Proposals.make(rles=rle.encode(mask[None]) * n, **{**given, **columns})


def assert_exact(pool: ExactPool, proposals: Proposals, config: TriageConfig) -> None:
    expected = triage(proposals, config)
    assert np.array_equal(pool.keep(config), kept(expected))
    assert pool.counts(config) == {
        "kept": int(kept(expected).sum()),
        "discarded": int(expected.discarded.sum()),
        "duplicates": int((expected.outcome == Outcome.duplicate).sum()),
    }


# The exact pool


@settings(deadline=None, max_examples=60)
@given(proposals=pools, moves=st.lists(thresholds, min_size=1, max_size=4), data=st.data())
def test_exact__what_triage_keeps(proposals, moves, data):
    edges_per_row = data.draw(st.sampled_from([0, 1, 3, 64]), label="edges_per_row")
    pool = ExactPool.build(proposals, base=EXACT, smallest_nms_iou=0.3, edges_per_row=edges_per_row)
    for move in moves:
        config = EXACT.replace(nms_iou=data.draw(st.sampled_from([0.3, 0.5, 0.7, 0.75, 0.9, 1.0])), **move)
        assert_exact(pool, proposals, config)
        # then predicted IoU alone, up and down: answered from the last pass
        for alone in data.draw(st.lists(score, max_size=3)):
            assert_exact(pool, proposals, config.replace(predicted_iou=alone))


@settings(deadline=None, max_examples=15)
@given(proposals=pools, nms_iou=st.sampled_from([0.0, 0.0005, 0.01, 0.2]))
def test_exact__nms_thresholds_near_zero(proposals, nms_iou):
    config = EXACT.replace(nms_iou=nms_iou, predicted_iou=0.5, min_area_px=0)
    assert_exact(ExactPool.build(proposals, base=EXACT, smallest_nms_iou=0.0), proposals, config)


def test_exact__suppressed_rows_come_back():
    proposals = equal_boxes(3, predicted_iou=np.float32([0.95, 0.9, 0.85]), stability_score=np.float32([0.8, 0.9, 0.9]))
    config = EXACT.replace(predicted_iou_margin=0.0, predicted_iou=0.8)
    pool = ExactPool.build(proposals, base=EXACT)
    assert pool.edges == 3
    assert pool.keep(config).tolist() == [True, False, False]
    assert pool.keep(config.replace(stability_score=0.85)).tolist() == [False, True, False]
    assert pool.keep(config.replace(stability_score=0.85, predicted_iou=0.9)).tolist() == [False, False, False]
    assert pool.keep(config.replace(nms_iou=1.0)).tolist() == [True, True, True]


def test_exact__no_rows():
    pool = ExactPool.build(Proposals.empty(), base=EXACT)
    assert pool.keep(EXACT).shape == (0,)
    assert pool.counts(EXACT) == {"kept": 0, "discarded": 0, "duplicates": 0}
    assert repr(ExactPool.build(iter([]))) == "<ExactPool: 0 proposals of 0 images, 0 edges>"


@pytest.mark.parametrize("scores", [0.9, np.nan, np.inf, -np.inf])
def test_exact__all_scores_and_boxes_equal(scores):
    proposals = equal_boxes(3000, predicted_iou=scores)
    for edges_per_row in (64, 2000):
        pool = ExactPool.build(proposals, base=EXACT, edges_per_row=edges_per_row)
        assert pool.edges <= edges_per_row * len(proposals)
        assert_exact(pool, proposals, EXACT)


@pytest.mark.parametrize("equal", [True, False])
def test_exact__100_000_rows_of_one_image(equal):
    n = 100_000
    proposals = equal_boxes(n, (2000, 2000), predicted_iou=np.linspace(0.5, 1, n, dtype=np.float32))
    if not equal:
        corners = np.random.default_rng(0).integers(0, 1900, (n, 2))
        proposals = proposals.replace(boxes_xyxy=np.hstack([corners, corners + 60]), mask_id="m")
    pool = ExactPool.build(proposals, base=EXACT)
    assert pool.edges <= 64 * n
    assert_exact(pool, proposals, EXACT)
    assert_exact(pool, proposals, EXACT.replace(nms_iou=0.9, predicted_iou=0.7))


def test_exact__edges_are_shared_by_the_crops_of_a_block():
    crowded, lone = equal_boxes(100), equal_boxes(300, image_id="b", boxes_xyxy=(0, 0, 1, 1))
    proposals = Proposals.concat([crowded, lone]).replace(predicted_iou=0.95, jitter_stability=0.95, mask_id="m")
    pool = ExactPool.build(proposals, base=EXACT, edges_per_row=13)
    assert (pool.edges, pool.direct_rows) == (100 * 99 // 2, 0)
    pool = ExactPool.build(proposals, base=EXACT, edges_per_row=12)
    assert (pool.edges, pool.direct_rows) == (0, 100)
    assert_exact(pool, proposals, EXACT)


def test_exact__boxes_far_beyond_float32():
    corner = 2**30 + np.arange(0, 400, 7, dtype=np.int32)[:, None] % 97
    boxes = np.hstack([corner, corner, corner + 300, corner + 280]).astype(np.int32)
    proposals = Proposals.make(
        rles=[b"0"] * len(boxes), image_id="a", boxes_xyxy=boxes, area_px=84_000, sizes_hw=2**31 - 1, predicted_iou=0.95
    )
    pool = ExactPool.build(proposals, base=EXACT)
    for nms_iou in (0.5, 0.7, 0.9):
        assert_exact(pool, proposals, EXACT.replace(nms_iou=nms_iou))


def test_exact__parts_and_one_table():
    proposals = random_proposals(np.random.default_rng(1), 200, images=5, crops=3)
    parts = [proposals.select(rows) for _, rows in proposals.by_image()]
    order = np.concatenate([rows for _, rows in proposals.by_image()])
    whole, split = ExactPool.build(proposals, base=EXACT), ExactPool.build(iter(parts), base=EXACT)
    assert np.array_equal(whole.keep(EXACT)[order], split.keep(EXACT))


def test_exact__blocks_of_few_rows(monkeypatch):
    monkeypatch.setattr("workbench.triage.blocks.BLOCK_ROWS", 10)
    proposals = random_proposals(np.random.default_rng(2), 300, images=40, crops=2)
    assert_exact(ExactPool.build(proposals, base=EXACT), proposals, EXACT)
    pool = DistinctPool.build((proposals.select(rows) for _, rows in proposals.by_image()), base=DISTINCT)
    assert pool.counts(DISTINCT) == triage(proposals, DISTINCT).counts()


# The distinct pool


@settings(deadline=None, max_examples=50)
@given(
    proposals=pools,
    moves=st.lists(thresholds, min_size=1, max_size=4),
    measure=st.sampled_from(["iou", "smaller"]),
    overlap=st.none() | st.sampled_from([0.0, 0.5]),
    nms=st.sampled_from(["box", "mask"]),
)
def test_distinct__outcomes_of_triage(proposals, moves, measure, overlap, nms):
    base = DISTINCT.replace(overlap=overlap, overlap_measure=measure, nms=nms)
    pool = DistinctPool.build(proposals, base=base)
    for move in moves:
        config = base.replace(**move)
        expected = triage(proposals, config)
        assert np.array_equal(pool.outcome(config), expected.outcome)
        assert np.array_equal(pool.keep(config), kept(expected))
        assert pool.counts(config) == expected.counts()


@settings(deadline=None, max_examples=50)
@given(
    proposals=pools,
    moves=st.lists(thresholds, min_size=1, max_size=4),
    rule=st.sampled_from(["doubts", "decides"]),
    data=st.data(),
)
def test_distinct__a_confidence_moves_as_other_thresholds_do(proposals, moves, rule, data):
    some = st.sampled_from([0.0, 0.3, 0.5, np.nextafter(0.5, 1), 0.9, 1.0])
    given_to_all = data.draw(st.lists(some | st.just(np.nan), min_size=len(proposals), max_size=len(proposals)))
    proposals = proposals.replace(confidence=np.array(given_to_all, float))
    base = DISTINCT.replace(overlap=0.5, confidence=0.5, confidence_rule=rule)
    pool = DistinctPool.build(proposals, base=base)
    for move in moves:
        config = base.replace(**move, confidence=data.draw(some))
        expected = triage(proposals, config)
        assert np.array_equal(pool.outcome(config), expected.outcome)
        assert pool.counts(config) == expected.counts()
    with pytest.raises(PoolError, match=r"built for confidence=0\.5, asked for None"):
        pool.outcome(base.replace(confidence=None, confidence_rule="doubts"))
    with pytest.raises(PoolError, match=r"built for confidence=None, asked for 0\.5"):
        DistinctPool.build(proposals, base=base.replace(confidence=None, confidence_rule="doubts")).outcome(base)


def test_distinct__overlap_with_a_mask_that_comes_to_fail():
    columns = {"predicted_iou": np.float32([0.99, 0.95]), "jitter_stability": np.float32([0.92, 0.99])}
    proposals = equal_boxes(2, **columns)  # kept both: NMS is off at 1
    base = DISTINCT.replace(nms_iou=1.0)
    pool = DistinctPool.build(proposals, base=base)
    assert pool.outcome(base).tolist() == [Outcome.auto_accepted, Outcome.flagged]
    strict = base.replace(jitter_stability=0.99, jitter_stability_margin=0.0)
    assert pool.outcome(strict).tolist() == [Outcome.discarded, Outcome.auto_accepted]


def test_distinct__no_rows():
    pool = DistinctPool.build(Proposals.empty())
    assert pool.counts(DISTINCT) == triage(Proposals.empty()).counts()
    assert pool.outcome(DISTINCT).shape == (0,)
    assert pool.histogram("area_px", 4, DISTINCT).counts.sum() == 0
    assert pool.heat_map("predicted_iou", "solidity", 3, DISTINCT).counts.shape == (3, 3, 3)


def test_distinct__all_equal():
    proposals = equal_boxes(3000, predicted_iou=0.95, jitter_stability=0.95)
    pool = DistinctPool.build(proposals)
    assert (len(pool), pool.rows.tolist()) == (1, [0])
    assert np.array_equal(pool.outcome(DISTINCT), triage(proposals, DISTINCT).outcome)


# Histograms and heat maps


@pytest.fixture
def pool_and_outcome():
    proposals = random_proposals(np.random.default_rng(3), 400, images=30)
    pool = DistinctPool.build(proposals)
    return pool, proposals, triage(proposals, DISTINCT).outcome


@pytest.mark.parametrize("bins", [1, 7, [0.5, 0.6, 0.61, 0.9, 0.92], np.float32([0.6, 0.7, 0.88, 2])])
@pytest.mark.parametrize("column", ["predicted_iou", "jitter_stability", "contrast"])
def test_histogram__as_numpy_has_it(pool_and_outcome, column, bins):
    pool, proposals, outcome = pool_and_outcome
    found = pool.histogram(column, bins, DISTINCT)
    values = getattr(proposals, column).astype(np.float64)
    for code in range(3):
        some = values[outcome == code]
        expected, _ = np.histogram(some[np.isfinite(some)], bins=found.edges)
        assert np.array_equal(found.counts[code], expected)
    assert found.counts.sum() + found.left_out == len(pool)


def test_histogram__equal_bins_over_finite_values(pool_and_outcome):
    pool, proposals, outcome = pool_and_outcome
    values = proposals.predicted_iou[outcome < 3]
    values = values[np.isfinite(values)]
    edges = pool.histogram("predicted_iou", 5, DISTINCT).edges
    assert np.array_equal(edges, np.histogram_bin_edges(values.astype(np.float64), 5))
    same = DistinctPool.build(equal_boxes(1, solidity=0.5)).histogram("solidity", 2, DISTINCT)
    assert (same.edges.tolist(), same.counts.sum(axis=0).tolist()) == ([0.0, 0.5, 1.0], [0, 1])


def test_heat_map__as_numpy_has_it(pool_and_outcome):
    pool, proposals, outcome = pool_and_outcome
    found = pool.heat_map("predicted_iou", "area_px", (4, [0, 50, 100, 700]), DISTINCT)
    for code in range(3):
        x, y = proposals.predicted_iou[outcome == code].astype(np.float64), proposals.area_px[outcome == code]
        finite = np.isfinite(x)
        expected, _, _ = np.histogram2d(y[finite], x[finite], bins=[found.y_edges, found.x_edges])
        assert np.array_equal(found.counts[code], expected)
    assert found.counts.sum() + found.left_out == len(pool)


@pytest.mark.parametrize("bins", [0, -1, [1.0], [0.0, np.nan], [1.0, 0.0], [[0.0, 1.0]]])
def test_histogram__bins_that_are_none(pool_and_outcome, bins):
    with pytest.raises(ValueError, match=r"^bins: expected"):
        pool_and_outcome[0].histogram("predicted_iou", bins, DISTINCT)


def test_histogram__unknown_column(pool_and_outcome):
    with pytest.raises(ValueError, match=r"expected one of predicted_iou.*got 'score'"):
        pool_and_outcome[0].histogram("score", 4, DISTINCT)


# Refusals and errors


@pytest.mark.parametrize(
    ("floors", "changes", "message"),
    [
        (
            FLOORS,
            {"predicted_iou": 0.55},
            r"above a predicted IoU of 0.5, asked for those above 0.47 .*lower predicted_iou_margin",
        ),
        (FLOORS.replace(stability_floor=0.9), {}, r"from a stability score of 0.9, asked for all, its threshold being"),
        (FLOORS.replace(stability_floor=0.9), {"stability_score": 0.85}, r"asked for those from 0.85"),
        (None, {"border_px": 3}, r"built for border_px=0, asked for 3; only confidence, predicted_iou.*build another"),
        (None, {"nms": "mask"}, r"built for nms='box', asked for 'mask'"),
    ],
)
def test_pools__outside_what_is_stored(floors, changes, message):
    for pool, base in (
        (ExactPool.build(equal_boxes(2), floors, EXACT), EXACT),
        (DistinctPool.build(equal_boxes(2), floors, DISTINCT), DISTINCT),
    ):
        for ask in (pool.keep, pool.counts):
            with pytest.raises(PoolError, match=message):
                ask(base.replace(**changes))


def test_pools__down_to_the_floors():
    # 0.58 - 0.08 is less than 0.5 as a float64, and 0.5 as the float32 that is compared
    for pool, base in ((ExactPool, EXACT), (DistinctPool, DISTINCT)):
        assert len(pool.build(equal_boxes(2), FLOORS, base).keep(base.replace(predicted_iou=0.58))) == 2


@pytest.mark.parametrize("name", ["stage2", "paper", "official", "bundled"])
def test_distinct__presets_are_within_their_own_floors(name):
    both = preset(name)
    proposals = random_proposals(np.random.default_rng(4), 50)
    pool = DistinctPool.build(proposals, both.propose, both.triage)
    assert pool.counts(both.triage) == triage(proposals, both.triage).counts()


def test_exact__nms_below_the_graph():
    pool = ExactPool.build(equal_boxes(2), base=EXACT, smallest_nms_iou=0.6)
    with pytest.raises(PoolError, match=r"IoU is above 0.6, asked for nms_iou=0.5: raise nms_iou, or build another"):
        pool.keep(EXACT.replace(nms_iou=0.5))


@pytest.mark.parametrize(
    ("floors", "base", "message"),
    [
        (FLOORS.replace(pool="distinct"), EXACT, "after NMS at 0.7: what it suppressed cannot come back"),
        (FLOORS.replace(pool="distinct", min_region_area_px=9), EXACT, "cleaned of regions below 9 px"),
        (
            FLOORS.replace(pool="distinct", refine=True),
            EXACT,
            "asked a second time.* with refine=False and pool='exact'",
        ),
        (FLOORS.replace(crop_n_layers=1), EXACT, "2 of 2 rows do not say theirs"),
        (None, EXACT.replace(nms="mask"), "the graph is of boxes, asked for NMS on nms='mask'"),
        (None, DISTINCT, "needs settings with pool='exact', got 'distinct'"),
    ],
)
def test_exact__what_cannot_be_replayed(floors, base, message):
    with pytest.raises(PoolError, match=message):
        ExactPool.build(equal_boxes(2), floors, base)


def test_distinct__what_cannot_be_built():
    with pytest.raises(PoolError, match="needs settings with pool='distinct', got 'exact'"):
        DistinctPool.build(equal_boxes(2), base=EXACT)
    stored = FLOORS.replace(pool="distinct")
    for nms, nms_iou in (("box", 0.9), ("box", 0.55), ("mask", 0.7)):  # a chain of duplicates cannot be unravelled
        with pytest.raises(
            PoolError, match=rf"NMS \(box\) at 0.7, asked for NMS \({nms}\) at {nms_iou}: take the same"
        ):
            DistinctPool.build(equal_boxes(2), stored, DISTINCT.replace(nms=nms, nms_iou=nms_iou))
    crops = stored.replace(crop_n_layers=1, crop_nms_iou=0.6)
    with pytest.raises(
        PoolError, match=r"between crops at 0.6, asked for NMS \(box\) at 0.7.*and crop_nms_iou=0.7, or pool"
    ):
        DistinctPool.build(equal_boxes(2), crops, DISTINCT)
    for unanswerable in (crops, crops.replace(pool="exact")):
        with pytest.raises(PoolError, match=r"triage has one NMS, .*: propose with crop_nms_iou=0.7"):
            refuse_unanswerable(unanswerable)
    with pytest.raises(PoolError, match="triage has one NMS"):  # as such a run was stored
        ExactPool.build(equal_boxes(2), crops.replace(pool="exact"), EXACT)
    for answerable in (stored, crops.replace(crop_nms_iou=0.7), crops.replace(crop_n_layers=0)):
        refuse_unanswerable(answerable)


@pytest.mark.parametrize(
    "given", [{"smallest_nms_iou": 1.5}, {"smallest_nms_iou": float("nan")}, {"edges_per_row": -1}]
)
def test_exact__arguments_out_of_range(given):
    with pytest.raises(ValueError, match=f"{next(iter(given))}: expected"):
        ExactPool.build(equal_boxes(2), base=EXACT, **given)


@pytest.mark.parametrize("sizes", [[SIZE, (9, 9)], [(0, 9), (0, 9)]])
def test_pools__the_error_of_triage(sizes):
    proposals = equal_boxes(2).replace(sizes_hw=np.array(sizes), mask_id="m")
    with pytest.raises(ValueError) as slow:
        triage(proposals, EXACT)
    for pool, base in ((ExactPool, EXACT), (DistinctPool, DISTINCT)):
        with pytest.raises(ValueError) as error:
            pool.build(proposals, base=base)
        assert str(error.value) == str(slow.value)


def test_pools__an_image_in_several_parts(monkeypatch):
    monkeypatch.setattr("workbench.triage.blocks.BLOCK_ROWS", 1)
    for pool, base in ((ExactPool, EXACT), (DistinctPool, DISTINCT)):
        with pytest.raises(ValueError, match="all rows of an image in one part, got 'a' in several"):
            pool.build([equal_boxes(2), equal_boxes(1)], base=base)


@pytest.mark.parametrize("crops", [1, 4])
def test_pools__asked_from_several_threads(crops):
    proposals = random_proposals(np.random.default_rng(5), 300, images=6, crops=crops)
    exact, distinct = ExactPool.build(proposals, base=EXACT), DistinctPool.build(proposals)
    moves = [{"predicted_iou": p, "min_area_px": a} for p in (0.6, 0.7, 0.88, 0.92) for a in (0, 100)]
    expected = [(kept(triage(proposals, EXACT.replace(**m))), triage(proposals, DISTINCT.replace(**m))) for m in moves]

    def ask(k: int) -> bool:
        exact_kept, result = expected[k % len(moves)]
        move = moves[k % len(moves)]
        return bool(
            np.array_equal(exact.keep(EXACT.replace(**move)), exact_kept)
            and np.array_equal(distinct.outcome(DISTINCT.replace(**move)), result.outcome)
        )

    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(ask, np.random.default_rng(6).integers(0, 100, 200).tolist()))


def test_pool__imports_no_pandas_and_no_torch():
    code = "import sys, workbench.triage.pool; print(sorted({'pandas', 'torch'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"
