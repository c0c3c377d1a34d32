"""The benchmark of pools: its recorded moves, and small runs that compare its peers' answers with ours."""

from __future__ import annotations

import collections
import itertools

import numpy as np
import pytest

from benchmarks import pool, pool_rows


@pytest.fixture
def images():
    rng = np.random.default_rng(0)
    low = rng.uniform(0, 300, (5, 2, 12, 2))
    return [
        pool_rows._around(np.hstack([xy, rng.uniform(20, 80, xy.shape)])[:, :4], (400, 400), f"image {k}", rng)
        for k, (xy, _) in enumerate(low)
    ]


def test_trace__equal_parts_by_slider():
    moves = pool_rows.trace(pool.BASE, 2000)
    assert collections.Counter(slider for slider, _ in moves) == dict.fromkeys(
        ("predicted_iou", "stability_score", "min_area_px", "nms_iou"), 500
    )
    for (_, before), (slider, config) in itertools.pairwise(moves):
        moved = {name for name, value in config.to_dict().items() if value != before.to_dict()[name]}
        assert moved <= {slider}
    distinct = pool_rows.trace(pool.BASE, 2000, exact=False)
    assert len(distinct) == 2000
    assert {config.nms_iou for _, config in distinct} == {pool.BASE.nms_iou}


@pytest.mark.slow
def test_exact_pool__beside_torchvision(images):
    rows = {row.name: row for row in pool.exact_pool(images, 3000, 40, beside=True)}
    for slider in ("all", "predicted_iou", "stability_score", "min_area_px", "nms_iou"):
        assert rows[f"exact 0.003 M: {slider} p99"].value >= rows[f"exact 0.003 M: {slider} p50"].value > 0
    assert rows["exact 0.003 M: torchvision NMS by image: wall ratio"].aim == 20


@pytest.mark.slow
def test_distinct_pool__beside_engines(images):
    pytest.importorskip("duckdb")
    pytest.importorskip("polars")
    rows = {row.name for row in pool.distinct_pool(images, 3000, 30)}
    for engine in ("duckdb", "polars"):
        assert f"distinct 0.003 M: {engine}, heat map and counts: wall ratio" in rows


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["_duckdb", "_polars"])
def test_engines__another_answer_ends_the_run(images, monkeypatch, engine):
    pytest.importorskip(engine[1:])
    prepare = getattr(pool, engine)

    def wrong(*given):
        query = prepare(*given)
        return lambda config: (*query(config)[:-1], query(config)[-1] + 1)

    monkeypatch.setattr(pool, engine, wrong)
    with pytest.raises(AssertionError, match=f"{engine[1:]} counts other rows"):
        pool.distinct_pool(images, 3000, 30)
