from __future__ import annotations

import math

import numpy as np
import pytest

from workbench.review import audit
from workbench.review.audit import Stratum


def draw(automatic=1000, manual=100, edited=10, seed=0, **more):
    source = ["automatic"] * automatic + ["manual"] * manual + ["edited"] * edited
    model = ["m1"] * (automatic // 2) + ["m2"] * (automatic - automatic // 2) + [""] * (manual + edited)
    return audit.draw(source, model, np.random.default_rng(seed), **more)


def test_draw__five_percent_and_at_least_200_automatic_masks_a_model():
    found = draw(automatic=12_000)
    assert [(s.name, s.masks, s.drawn) for s in found.strata] == [
        ("automatic by m1", 6000, 300),
        ("automatic by m2", 6000, 300),
        ("edited", 10, 1),
        ("manual", 100, 5),
    ]
    assert [s.drawn for s in draw().strata] == [200, 200, 1, 5]
    assert [s.drawn for s in draw(automatic=30).strata] == [15, 15, 1, 5]


def test_draw__rows_are_distinct_and_carry_the_probability_of_their_stratum():
    found = draw()
    assert len(set(found.rows.tolist())) == len(found.rows) == 406
    by_name = {s.name: s.probability for s in found.strata}
    assert by_name == {"automatic by m1": 0.4, "automatic by m2": 0.4, "edited": 0.1, "manual": 0.05}
    assert found.probability.tolist() == [by_name[name] for name in found.stratum]


def test_draw__follows_its_seed():
    assert draw(seed=3).rows.tolist() == draw(seed=3).rows.tolist()
    assert draw(seed=3).rows.tolist() != draw(seed=4).rows.tolist()


def test_draw__each_mask_has_the_probability_that_is_stored():
    n = np.zeros(40)
    for seed in range(2000):
        n[audit.draw(["manual"] * 40, [""] * 40, np.random.default_rng(seed), share=0.1).rows] += 1
    assert np.abs(n / 2000 - 0.1).max() < 0.035  # five standard errors


def test_draw__of_nothing_and_of_all():
    assert len(audit.draw([], [], np.random.default_rng(0)).rows) == 0
    assert len(draw(share=1.0).rows) == 1110
    assert len(draw(share=0.0, least=0).rows) == 0
    with pytest.raises(ValueError, match="share"):
        draw(share=1.5)


def test_wrong_share__weighs_strata_by_their_masks():
    # worked by hand: 900/1000 · 1/10 + 100/1000 · 5/10 = 0.14
    strata = [Stratum("a", 900, 10), Stratum("b", 100, 10)]
    names = ["a"] * 10 + ["b"] * 10
    wrong = np.array([True] + [False] * 9 + [True] * 5 + [False] * 5)
    mean, error = audit.wrong_share(strata, names, wrong)
    assert mean == pytest.approx(0.14)
    variance = 0.81 * (1 - 10 / 900) * (0.09 / 9) + 0.01 * (1 - 10 / 100) * (0.25 / 9)
    assert error == pytest.approx(math.sqrt(variance))


def test_wrong_share__of_a_census_has_no_error():
    assert audit.wrong_share([Stratum("a", 4, 4)], ["a"] * 4, np.array([1, 0, 0, 1], bool)) == (0.5, 0.0)


def test_wrong_share__of_no_answer_is_not_known():
    assert all(map(math.isnan, audit.wrong_share([Stratum("a", 4, 4)], [], np.zeros(0, bool))))
