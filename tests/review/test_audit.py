from __future__ import annotations

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


def shared(strata, names, wrong, images=None):
    images = [f"i{k}" for k in range(len(names))] if images is None else images
    return audit.wrong_share(strata, names, images, np.asarray(wrong, bool), np.random.default_rng(0))


def test_wrong_share__weighs_strata_by_their_masks():
    # worked by hand: 900/1000 · 1/10 + 100/1000 · 5/10 = 0.14
    strata = [Stratum("a", 900, 10), Stratum("b", 100, 10)]
    found = shared(strata, ["a"] * 10 + ["b"] * 10, [1] + [0] * 9 + [1] * 5 + [0] * 5)
    assert (found.value, found.n, found.how) == (pytest.approx(0.14), 20, "bootstrap")
    assert found.low < 0.14 < found.high


def test_wrong_share__few_wrong_masks_have_the_exact_interval():
    # Clopper and Pearson for 0 of 59 and 1 of 10
    found = shared([Stratum("a", 500, 59)], ["a"] * 59, [0] * 59)
    assert (found.value, found.low, found.high) == (0.0, 0.0, pytest.approx(0.0606, abs=5e-5))
    found = shared([Stratum("a", 500, 10)], ["a"] * 10, [1] + [0] * 9)
    assert (found.low, found.high, found.how) == (
        pytest.approx(0.0025, abs=5e-5),
        pytest.approx(0.4450, abs=5e-5),
        "binomial",
    )
    assert shared([Stratum("a", 9, 3)], ["a"] * 3, [1, 1, 1]).high == 1.0


def test_wrong_share__few_in_several_strata_split_the_risk():
    # 1 − 0.0125^(1/20) of three quarters of the masks, 1 − 0.0125^(1/10) of one quarter
    found = shared([Stratum("a", 300, 20), Stratum("b", 100, 10)], ["a"] * 20 + ["b"] * 10, [0] * 30)
    assert found.high == pytest.approx(0.75 * (1 - 0.0125 ** (1 / 20)) + 0.25 * (1 - 0.0125 ** (1 / 10)))


def test_wrong_share__masks_of_one_image_are_no_evidence_on_their_own():
    wrong = [1] * 10 + [0] * 90
    apart = shared([Stratum("a", 1000, 100)], ["a"] * 100, wrong)
    together = shared([Stratum("a", 1000, 100)], ["a"] * 100, wrong, [f"i{k // 10}" for k in range(100)])
    assert apart.value == together.value == pytest.approx(0.1)
    assert together.high - together.low > 1.5 * (apart.high - apart.low)


def test_wrong_share__covers_the_truth_about_as_often_as_it_says():
    rng, hits = np.random.default_rng(7), 0
    for _ in range(200):
        rate = np.repeat(rng.beta(2, 8, 60), 5)  # masks of one image go wrong together; 0.2 on average
        wrong = rng.random(300) < rate
        found = audit.wrong_share([Stratum("a", 3000, 300)], ["a"] * 300, [str(k // 5) for k in range(300)], wrong, rng)
        hits += found.low <= 0.2 <= found.high
    assert 180 <= hits <= 199


def test_wrong_share__strata_without_an_answer_are_left_out_and_of_no_answer_it_is_not_known():
    strata = [Stratum("a", 4, 4), Stratum("b", 100, 5)]
    assert shared(strata, ["a"] * 4, [1, 0, 0, 1]).value == 0.5
    assert not shared(strata, [], []).known
