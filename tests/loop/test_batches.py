"""Which images come next: each strategy by a case worked out by hand, and what all of them keep."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from workbench.loop.batches import STRATEGIES, choose
from workbench.masks import rle
from workbench.tables.proposals import Proposals


def rows_of(image: str, score: float, count: int, side: int = 8) -> Proposals:
    mask = np.zeros((1, 40, 40), bool)
    mask[0, :side, :side] = True
    return Proposals.make(
        rles=rle.encode(mask) * count, image_id=image, sizes_hw=(40, 40), area_px=side**2, predicted_iou=score,
        contrast=score, solidity=1.0,
    )  # fmt: skip


def pick(strategy, proposed, count, threshold=0.88):
    return choose(strategy, list(proposed), count, np.random.default_rng(0), proposed, threshold)


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("count", [0, 2, 9])
def test_choose__some_of_the_images_each_once_and_the_same_every_time(strategy, count):
    proposed = {f"i{k}": rows_of(f"i{k}", 0.5 + k / 10, k) for k in range(5)}  # i0 has no proposals
    chosen = pick(strategy, proposed, count)
    assert len(chosen) == len(set(chosen)) == min(count, 5)
    assert chosen == pick(strategy, proposed, count)
    assert choose(strategy, [], count, np.random.default_rng(0), {}, 0.88) == []


def test_choose__uncertain_takes_doubtful_masks_first():
    proposed = {
        "sure": rows_of("sure", 1.2, 9),
        "doubtful": rows_of("doubtful", 0.86, 3),
        "bad": rows_of("bad", 0.3, 9),
    }
    assert pick("uncertain", proposed, 1) == ["doubtful"]
    assert pick("uncertain", proposed, 1, threshold=0.35) == ["bad"]  # the threshold in use decides


def test_choose__curriculum_takes_easy_images_first():
    proposed = {"hard": rows_of("hard", 0.4, 5, side=4), "easy": rows_of("easy", 0.9, 5, side=20)}
    assert pick("curriculum", proposed, 2) == ["easy", "hard"]


def test_choose__curriculum_takes_masks_that_lie_apart_before_those_that_hide_each_other():
    apart = np.zeros((2, 40, 40), bool)
    apart[0, :8, :8] = apart[1, 20:28, 20:28] = True
    alone = dataclasses.replace(rows_of("alone", 0.9, 2), rles=np.array(rle.encode(apart), dtype=object))
    for names in (("alone", "hidden"), ("hidden", "alone")):
        both = {"alone": alone, "hidden": rows_of("hidden", 0.9, 2)}
        assert pick("curriculum", {name: both[name] for name in names}, 2) == ["alone", "hidden"]


def test_choose__diverse_leaves_no_kind_out():
    proposed = {f"many{k}": rows_of(f"many{k}", 0.9, 30) for k in range(6)} | {"few": rows_of("few", 0.4, 1, side=30)}
    assert "few" in pick("diverse", proposed, 2)


def test_choose__diverse_keeps_away_from_what_was_taken_before():
    proposed = {
        "few": rows_of("few", 0.4, 1, side=30),
        "some": rows_of("some", 0.7, 9, side=16),
        "many": rows_of("many", 0.9, 30),
    }
    for taken, expected in (("few", "many"), ("many", "few")):
        left = {name: rows for name, rows in proposed.items() if name != taken}
        for seed in range(4):
            given = np.random.default_rng(seed), left, 0.88, {taken: proposed[taken]}
            assert choose("diverse", list(left), 1, *given) == [expected]


def test_choose__unknown_strategy():
    with pytest.raises(ValueError, match="expected one of random"):
        choose("best", ["a"], 1, np.random.default_rng(0), {}, 0.88)
