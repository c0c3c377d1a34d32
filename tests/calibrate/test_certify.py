from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.calibrate import bounds
from workbench.calibrate.certify import Certificate, certify_images, certify_pool

# ---- bounds -----------------------------------------------------------------------------------------------------------


def test_labels_needed__59_without_an_error():
    assert bounds.labels_needed(0.05, 0.05) == 59
    assert bounds.labels_needed(0.05, 0.05, wrong=1) == 93
    assert bounds.labels_needed(0.1, 0.1) == 22
    assert bounds.labels_needed(0.01, 0.05) == 299


def test_labels_needed__fewer_in_a_small_population():
    assert bounds.labels_needed(0.05, 0.05, population=100) == 39
    assert bounds.labels_needed(0.05, 0.05, population=10) == 10
    assert bounds.labels_needed(0.05, 0.05, wrong=6, population=100) == 100


def test_hypergeometric__whole_population_is_known():
    assert bounds.hypergeometric_upper(3, 40, 40, 0.05) == 3 / 40
    assert bounds.hypergeometric_upper(0, 0, 40, 0.05) == 1
    assert bounds.hypergeometric_upper(0, 0, 0, 0.05) == 0


def test_hypergeometric__comes_to_the_binomial_in_a_large_population():
    assert bounds.hypergeometric_upper(2, 100, 10**6, 0.05) == pytest.approx(
        bounds.binomial_upper(2, 100, 0.05), abs=1e-3
    )


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 60), st.data())
def test_hypergeometric__covers_exactly(population, data):
    from scipy.stats import hypergeom

    n = data.draw(st.integers(0, population))
    truth = data.draw(st.integers(0, population))
    missed = sum(
        hypergeom.pmf(k, population, truth, n)
        for k in range(max(0, n - population + truth), min(n, truth) + 1)
        if bounds.hypergeometric_upper(k, n, population, 0.1) < truth / population
    )
    assert missed <= 0.1 + 1e-9


def test_betting__least_number_of_images():
    n = bounds.images_needed(0.05, 0.05)
    assert bounds.betting_upper(np.zeros(n), 0.05) <= 0.05
    assert bounds.betting_upper(np.zeros(n - 1), 0.05) > 0.05
    assert 59 <= n <= 80
    assert bounds.images_needed(0.05, 0.05, mean=0.06) == -1
    assert bounds.images_needed(0.05, 0.05, mean=0.02, spread=0.05) > n


def test_betting__bound_falls_with_images_and_is_one_without():
    rng = np.random.default_rng(0)
    losses = rng.beta(1, 40, 2000)
    found = [bounds.betting_upper(losses[:n], 0.05) for n in (0, 50, 200, 2000)]
    assert found[0] == 1
    assert found == sorted(found, reverse=True)
    assert losses.mean() < found[-1] < losses.mean() + 0.01


def test_betting__losses_that_are_no_shares_are_refused():
    with pytest.raises(ValueError, match="shares"):
        bounds.betting_upper([0.1, np.nan], 0.05)
    with pytest.raises(ValueError, match="shares"):
        bounds.betting_upper([1.5], 0.05)


def test_betting__mean_at_alpha_is_certified_at_most_delta_of_the_time():
    rng = np.random.default_rng(0)
    losses = rng.binomial(8, rng.beta(1, 19, (4000, 100))) / 8  # mean exactly 0.05
    rate = (bounds.betting_wealth(losses, 0.05, 0.1) >= np.log(10)).mean()
    assert rate <= 0.1 + 2 * np.sqrt(0.1 * 0.9 / 4000)


@pytest.mark.parametrize("bad", [0, 1, -0.1, float("nan")])
def test_shares__out_of_range_are_refused(bad):
    with pytest.raises(ValueError, match="alpha"):
        bounds.labels_needed(bad, 0.05)
    with pytest.raises(ValueError, match="delta"):
        bounds.images_needed(0.05, bad)


def test_percent__what_was_asked_for_is_shown_with_all_its_digits():
    asked = (0.05, 0.0125, 0.0004, 1e-7, 1 - 0.004, 1 - 0.07, 1 - 1e-9)
    shown = ["5%", "1.25%", "0.04%", "0.00001%", "99.6%", "93%", "99.9999999%"]
    assert [bounds.percent(share) for share in asked] == shown


@pytest.mark.parametrize(
    ("bound", "shown"),
    [(0.0144, "1.44%"), (0.01441, "1.45%"), (0.07, "7%"), (3 / 40, "7.5%"), (0.1 + 0.2, "30%"), (2e-6, "0.0002%"),
     (0.0, "0%"), (0.9999, "100%"), (1.0, "100%")],
)  # fmt: skip
def test_percent_up__rounds_what_was_measured_up(bound, shown):
    assert bounds.percent_up(bound) == shown


@settings(deadline=None)
@given(st.floats(0, 1), st.integers(1, 999))
def test_percent_up__is_never_below_the_bound_nor_above_an_alpha_that_holds_it(bound, alpha):
    shown = float(bounds.percent_up(bound).removesuffix("%")) / 100
    assert bound * (1 - 1e-11) <= shown <= bound * 1.01 + 1e-300
    if bound <= alpha / 1000:
        assert shown <= alpha / 1000 + 1e-12


# ---- certificates -----------------------------------------------------------------------------------------------------


def pool(n=4000, seed=0):
    """Confidence uniform on 0.5 to 1, and too timid."""
    rng = np.random.default_rng(seed)
    p = rng.uniform(0.5, 1, n)
    return p, rng.random(n) < 1 - (1 - p) ** 2


def test_pool__grants_the_loosest_threshold_that_passes_in_sequence():
    p, right = pool()
    drawn = np.random.default_rng(1).permutation(len(p))[:1500]
    found = certify_pool(p[drawn], right[drawn], p)
    assert found.granted
    assert found.bound <= 0.05
    assert (~right[p > found.threshold]).mean() <= 0.05
    tested = [step for step in found.steps if np.isfinite(step.bound)]
    assert [step.passed for step in tested] == [True] * (len(tested) - 1) + [False]
    assert tested[0].labels >= 59
    assert found.threshold == tested[-2].threshold
    assert "At most 5% of the masks of this pool" in found.sentence
    assert "with confidence 95%" in found.sentence


@pytest.mark.parametrize(
    ("alpha", "delta", "words"),
    [
        (0.0125, 0.004, ("At most 1.25% of", "confidence 99.6% ")),
        (0.0004, 0.05, ("At most 0.04% of", "confidence 95% ")),
    ],
)
def test_certificate__promises_no_more_than_was_certified(alpha, delta, words):
    p = np.full(5000, 0.9)
    found = certify_pool(p[:4000], np.ones(4000, bool), p, alpha, delta)
    assert found.granted
    assert all(word in found.sentence for word in words)
    shown = found.sentence.split("bound ")[1].split("%")[0]
    assert found.bound <= float(shown) / 100 <= alpha


def test_certificate__a_bound_just_above_alpha_does_not_read_as_alpha():
    right = np.arange(966) >= 37
    found = certify_pool(np.full(966, 0.9), right, np.full(100_000, 0.9))
    assert 0.05 < found.bound < 0.0501
    assert not found.granted
    assert "is 5.01%." in found.sentence


def test_certificates__a_mask_may_be_right_until_a_better_one_of_its_object_is_accepted():
    p = np.r_[np.full(200, 0.95), np.full(200, 0.6)]
    image, sure = np.tile(np.arange(200), 2), p > 0.9
    for certify in (
        lambda right: certify_pool(p, right, p, alpha=0.2),
        lambda right: certify_images(p, right, image, np.random.default_rng(0), alpha=0.2),
    ):
        assert not certify(~sure).granted  # matched together, the better ones take every object
        found = certify(lambda threshold: sure if threshold >= 0.6 else ~sure)
        assert found.granted
        assert (found.threshold, found.accepted) == (0.6, 200)
        assert found.steps[-1].wrong == pytest.approx(200 if found.kind == "pool" else 100)


def test_pool__starts_at_the_strictest_threshold_with_59_labels():
    p = np.linspace(0.99, 0.51, 100)
    found = certify_pool(p, np.ones(100, bool), np.repeat(p, 100))
    first = next(step for step in found.steps if np.isfinite(step.bound))
    before = found.steps[found.steps.index(first) - 1]
    assert before.labels < 59 <= first.labels
    assert found.granted


def test_pool__too_few_labels_says_how_many():
    found = certify_pool(np.full(20, 0.97), np.ones(20, bool), np.full(50_000, 0.97))
    assert not found.granted
    assert found.needed == 59
    assert "59" in found.sentence
    assert "20" in found.sentence
    assert np.isnan(found.threshold)


def test_pool__too_many_wrong_says_that_no_number_would_do():
    right = np.arange(200) % 5 > 0
    found = certify_pool(np.full(200, 0.99), right, np.full(5000, 0.99))
    assert not found.granted
    assert found.needed == -1
    assert "20.0% of what was labelled" in found.sentence


def test_pool__a_few_wrong_asks_for_more_labels():
    right = np.arange(100) % 50 > 0  # 2 %
    found = certify_pool(np.full(100, 0.99), right, np.full(50_000, 0.99))
    assert not found.granted
    assert 100 < found.needed < 1000
    wrong = int(np.ceil(0.02 * found.needed))
    assert bounds.binomial_upper(wrong, found.needed, 0.05) <= 0.05


@pytest.mark.parametrize("n", [20, 40, 58, 80, 100])
def test_pool__too_few_labels_never_say_that_no_number_would_do(n):
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.5, 1, 4000)
    right = rng.random(4000) < np.where(confidence < 0.75, 0.5, 0.999)  # a stricter threshold certifies
    order = rng.permutation(4000)

    def certified(labels):
        drawn = order[:labels]
        return certify_pool(confidence[drawn], right[drawn], confidence)

    few = certified(n)
    assert not few.granted
    assert n < few.needed < 400
    assert f"About {few.needed:,} labelled masks would be needed, there are {n:,}" in few.sentence
    assert certified(300).granted


@pytest.mark.parametrize("n", [20, 60, 90])
def test_images__too_few_labels_never_say_that_no_number_would_do(n):
    rng = np.random.default_rng(0)
    image = np.repeat(np.arange(400), 4)
    level = np.repeat(np.where(rng.random(400) < 0.5, 0.9, 0.6), 4)  # every image is sure, or unsure
    right = rng.random(1600) < np.where(level > 0.75, 1, 0.5)

    def certified(images):
        use = image < images
        return certify_images(level[use], right[use], image[use], np.random.default_rng(0))

    few = certified(n)
    assert not few.granted
    assert n < few.needed < 400
    assert certified(few.needed + 20).granted


def test_pool__a_sample_that_is_wrong_throughout_is_hopeless_with_few_labels_too():
    few = certify_pool(np.full(40, 0.99), np.arange(40) % 2 > 0, np.full(5000, 0.99))
    assert few.needed == -1
    assert "50.0% of what was labelled above 0.985 is wrong, which is not below alpha" in few.sentence


def test_pool__nothing_drawn_or_no_pool_is_legal():
    assert not certify_pool([], [], np.full(100, 0.9)).granted
    none = certify_pool([], [], [])
    assert not none.granted
    assert "No certificate" in none.sentence


def test_pool__missing_scores_are_above_no_threshold():
    found = certify_pool(np.full(100, np.nan), np.ones(100, bool), np.full(1000, np.nan))
    assert not found.granted
    assert all(step.labels == 0 for step in found.steps)


def test_pool__a_score_that_is_not_finite_is_above_no_threshold():
    p = np.r_[np.full(100, 0.9), np.inf, -np.inf, np.nan]
    found = certify_pool(p, p == 0.9, p)
    assert (found.granted, found.accepted, found.wrong) == (True, 100, 0)


def test_pool__more_drawn_than_there_are_is_refused():
    with pytest.raises(ValueError, match="without replacement"):
        certify_pool([0.9, 0.9], [True, True], [0.9])


def test_grid__must_fall():
    with pytest.raises(ValueError, match="fall"):
        certify_pool([0.9], [True], [0.9], grid=[0.5, 0.9])


def test_images__unit_is_the_image():
    rng = np.random.default_rng(0)
    image = np.repeat(np.arange(200), 10)
    right = rng.random(2000) < 0.99
    found = certify_images(np.full(2000, 0.9), right, image, np.random.default_rng(0))
    assert found.granted
    assert found.labels == 200
    assert found.threshold == found.steps[-1].threshold
    assert "of an image to come" in found.sentence


def test_images__many_masks_of_few_images_certify_nothing():
    image = np.repeat(np.arange(5), 1000)
    found = certify_images(np.full(5000, 0.9), np.ones(5000, bool), image, np.random.default_rng(0))
    assert not found.granted
    assert found.needed == bounds.images_needed(0.05, 0.05)


def test_images__without_any_or_one_image_is_legal():
    rng = np.random.default_rng(0)
    assert not certify_images([], [], [], rng).granted
    assert not certify_images([0.9], [True], ["a"], rng).granted
    assert certify_images(np.full(50, 0.9), np.zeros(50, bool), np.arange(50), rng).needed == -1
    few = certify_images(np.full(3, 0.9), np.array([False, True, True]), np.arange(3), rng, alpha=0.2)
    assert few.needed == bounds.images_needed(0.2, 0.05)  # one of three wrong says little
    assert "so far 33.3% of what was labelled above" in few.sentence


def test_images__same_generator_same_certificate():
    p, right = pool(3000)
    image = np.arange(3000) // 10
    a, b = (certify_images(p, right, image, np.random.default_rng(7)) for _ in range(2))
    assert a.to_dict() == b.to_dict()


def test_certificate__to_json_and_back():
    p, right = pool()
    for found in (certify_pool(p[:500], right[:500], p), certify_pool([], [], p)):
        again = Certificate.from_dict(json.loads(json.dumps(found.to_dict(), allow_nan=False)))
        assert again.to_dict() == found.to_dict()


# ---- without bounds ---------------------------------------------------------------------------------------------------


@given(st.integers(0, 300), st.data())
@settings(max_examples=150, deadline=None)
def test_hypergeometric_passes__as_the_bound_says(population, data):
    n = data.draw(st.integers(0, population))
    wrong = data.draw(st.integers(0, min(n, 8)))
    alpha, delta = data.draw(st.sampled_from([0.05, 0.1, 0.29])), data.draw(st.sampled_from([0.05, 0.2]))
    bound = bounds.hypergeometric_upper(wrong, n, population, delta)
    assert bounds.hypergeometric_passes(wrong, n, population, alpha, delta) == (bound <= alpha)


@pytest.mark.parametrize("seed", range(4))
def test_certify__without_bounds_grants_the_same_thresholds(seed):
    gen = np.random.default_rng(seed)
    p, image = gen.random(3000), gen.integers(0, 150, 3000)
    right = gen.random(3000) < 1 - 0.2 * (1 - p) * (1 + seed)
    drawn = gen.choice(3000, 300, replace=False)
    for with_, without in (
        (
            certify_pool(p[drawn], right[drawn], p),
            certify_pool(p[drawn], right[drawn], p, bounds=False),
        ),
        (
            certify_images(p, right, image, np.random.default_rng(0)),
            certify_images(p, right, image, np.random.default_rng(0), bounds=False),
        ),
    ):
        assert with_.granted == without.granted
        assert [s.passed for s in with_.steps] == [s.passed for s in without.steps]
        assert not with_.granted or with_.threshold == without.threshold
        assert np.isnan(without.bound)


def test_needed__as_many_labels_of_a_pool_certify_most_of_the_time():
    rng, pool, share = np.random.default_rng(0), 20_000, 0.02
    labels = bounds.labels_likely(share, 0.05, 0.05, pool, 59)
    wrong = rng.hypergeometric(int(share * pool), pool - int(share * pool), labels, 2000)
    granted = np.mean([bounds.hypergeometric_passes(int(w), labels, pool, 0.05, 0.05) for w in wrong])
    assert 0.7 < granted < 0.95
    assert bounds.labels_needed(0.05, 0.05, int(np.ceil(share * labels))) < labels


def test_needed__as_many_images_certify_most_of_the_time():
    rng, alpha = np.random.default_rng(0), 0.1
    losses = rng.binomial(8, 0.04, (2000, 4000)) / 8  # mean 0.04
    images = bounds.images_needed(alpha, 0.05, 0.04, float(losses.std()))
    granted = np.mean(bounds.betting_wealth(losses[:, :images], alpha, 0.05) >= np.log(1 / 0.05))
    assert 0.65 < granted < 0.97
