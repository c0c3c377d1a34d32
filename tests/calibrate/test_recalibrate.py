from __future__ import annotations

import json

import numpy as np
import pytest

from workbench.calibrate.recalibrate import METHODS, Features, Recalibration, choose, fit


def drawn(n=800, images=40, seed=0, slope=6.0):
    """Scores whose truth is sigmoid(slope (score − 0.6) + shape), so that the second column helps."""
    rng = np.random.default_rng(seed)
    score, shape = rng.uniform(0.2, 1, n), rng.normal(0, 1, n)
    p = 1 / (1 + np.exp(-(slope * (score - 0.6) + 2 * (np.abs(shape) < 0.5) - 1)))
    return Features.of(predicted_iou=score, shape=shape), rng.random(n) < p, rng.integers(0, images, n)


@pytest.mark.parametrize("method", METHODS)
def test_round_trip__is_exact(method):
    features, right, _ = drawn()
    fitted = fit(method, features, right)
    again = Recalibration.from_dict(json.loads(json.dumps(fitted.to_dict(), allow_nan=False)))
    other, _, _ = drawn(seed=1)
    assert np.array_equal(fitted.predict(other), again.predict(other))
    assert all(np.array_equal(fitted.arrays[k], again.arrays[k]) for k in fitted.arrays)


def test_trees__give_what_scikit_learn_gives(monkeypatch):
    from sklearn import ensemble

    kept = []

    class Kept(ensemble.GradientBoostingClassifier):
        def fit(self, *args, **settings):
            kept.append(self)
            return super().fit(*args, **settings)

    monkeypatch.setattr(ensemble, "GradientBoostingClassifier", Kept)
    features, right, _ = drawn()
    fitted = fit("trees", features, right)
    other, _, _ = drawn(seed=1)
    expected = kept[0].predict_proba(other.values.astype(np.float32))[:, 1]
    assert np.allclose(fitted.predict(other), expected, rtol=0, atol=1e-12)


def test_isotonic__gives_what_scikit_learn_gives():
    from sklearn.isotonic import IsotonicRegression

    features, right, _ = drawn()
    other, _, _ = drawn(seed=1)
    expected = IsotonicRegression(out_of_bounds="clip").fit(features.score, right).predict(other.score)
    assert np.allclose(fit("isotonic", features, right).predict(other), expected, rtol=0, atol=1e-12)


def test_logistic__gives_what_scikit_learn_gives_on_columns_of_unit_deviation():
    from sklearn.linear_model import LogisticRegression

    features, right, _ = drawn()
    other, _, _ = drawn(seed=1)
    middle, spread = features.values.mean(axis=0), features.values.std(axis=0)
    model = LogisticRegression(C=0.3, max_iter=2000).fit((features.values - middle) / spread, right)
    expected = model.predict_proba((other.values - middle) / spread)[:, 1]
    assert np.allclose(fit("logistic", features, right).predict(other), expected, rtol=0, atol=1e-9)


def test_logistic__columns_that_are_missing_or_do_not_vary():
    features, right, _ = drawn()
    values = features.values.copy()
    values[::3, 1] = np.nan
    gappy = Features(features.names, values)
    constant = Features((*features.names, "same"), np.c_[values, np.full(len(values), 7.0)])
    p, q = (fit("logistic", some, right).predict(some) for some in (gappy, constant))
    assert np.isfinite(p).all()
    assert np.allclose(p, q)


def test_temperature__finds_the_one_that_was_put_in():
    rng = np.random.default_rng(0)
    score = rng.uniform(0.01, 0.99, 20_000)
    right = rng.random(20_000) < 1 / (1 + np.exp(-np.log(score / (1 - score)) / 3))
    found = fit("temperature", Features.of(predicted_iou=score), right).arrays["temperature"][0]
    assert found == pytest.approx(3, rel=0.05)


def test_platt__separable_scores_keep_a_finite_slope():
    fitted = fit("platt", Features.of(predicted_iou=[0.1, 0.2, 0.8, 0.9]), [False, False, True, True])
    assert np.isfinite(fitted.arrays["slope"]).all()
    assert 0 < fitted.predict(Features.of(predicted_iou=[0.9]))[0] < 1


def test_choose__trees_where_another_column_tells_more():
    features, right, image = drawn(3000, 100)
    choice = choose(features, right, image)
    by_name = {t.method: t for t in choice.tried}
    assert choice.chosen.method == "trees"
    assert by_name["trees"].brier < by_name["platt"].brier - 0.02
    assert by_name["trees"].behind == 0


def test_choose__leaves_a_calibrated_score_alone():
    rng = np.random.default_rng(0)
    score = rng.uniform(0, 1, 500)
    choice = choose(Features.of(predicted_iou=score), rng.random(500) < score, rng.integers(0, 50, 500))
    assert choice.chosen.method == "none"


def test_choose__held_out_confidence_is_calibrated():
    from workbench.calibrate.reliability import ece

    features, right, image = drawn(3000, 100)
    choice = choose(features, right, image)
    assert ece(choice.held_out, right) < 0.6 * ece(features.score, right)


def test_choose__no_image_is_on_both_sides(monkeypatch):
    from workbench.calibrate import recalibrate

    seen, plain = [], recalibrate.fit

    def watched(method, features, right, seed=0):
        seen.append(set(features.values[:, 1].tolist()))
        return plain(method, features, right, seed)

    monkeypatch.setattr(recalibrate, "fit", watched)
    features, right, image = drawn(200, 10)
    named = Features(features.names, np.stack([features.score, image.astype(float)], axis=1))
    choose(named, right, image, methods=("platt",), folds=5)
    for trained in seen[:5]:
        assert len(trained) == 8


@pytest.mark.parametrize(
    ("right", "image", "word"),
    [
        ([True] * 6, [0, 0, 1, 1, 2, 2], "all 6 labelled masks are right"),
        ([False] * 6, [0, 0, 1, 1, 2, 2], "all 6 labelled masks are wrong"),
        ([True, False] * 3, [0] * 6, "1 image"),
        ([True, False, False, False, False, False], [0, 0, 1, 1, 2, 2], "only 1 labelled mask is right"),
    ],
)
def test_choose__undefined_is_said_in_words(right, image, word):
    choice = choose(Features.of(predicted_iou=np.linspace(0.2, 0.9, 6)), right, image)
    assert choice.chosen is None
    assert word in choice.note
    assert np.isnan(choice.held_out).all()


def test_choose__none_is_legal():
    choice = choose(Features.of(predicted_iou=[]), [], [])
    assert choice.chosen is None
    assert "no labelled masks" in choice.note


def test_missing_scores__are_left_out_and_stay_missing():
    features, right, image = drawn(300, 20)
    features.values[:5, 0] = np.nan, np.inf, -np.inf, np.inf, np.nan  # none of them is a score
    features.values[5:50, 1] = np.nan
    choice = choose(features, right, image)
    assert "5 masks without a score" in choice.note
    for method in METHODS:
        p = fit(method, features, right).predict(features)
        assert np.isnan(p[:5]).all()
        assert np.isfinite(p[5:]).all()
    assert np.array_equal(np.isfinite(choice.held_out), np.isfinite(features.score))
    assert np.isnan(Recalibration.none(features.names).predict(features)[:5]).all()


def test_choose__an_infinite_score_is_as_a_missing_one():
    features, right, image = drawn(300, 20)
    infinite, missing = (Features(features.names, features.values.copy()) for _ in range(2))
    infinite.values[::7, 0], missing.values[::7, 0] = np.inf, np.nan
    a, b = (choose(given, right, image) for given in (infinite, missing))
    assert (a.tried, a.note) == (b.tried, b.note)
    assert a.chosen.to_dict() == b.chosen.to_dict()
    assert np.array_equal(a.held_out, b.held_out, equal_nan=True)


def test_predict__other_columns_are_refused():
    features, right, _ = drawn(100)
    with pytest.raises(ValueError, match="expected columns"):
        fit("platt", features, right).predict(Features.of(predicted_iou=[0.5]))


def test_predict__columns_that_came_later_are_passed_over():
    features, right, _ = drawn(100)
    more = Features((features.names[0], "later", *features.names[1:]), np.insert(features.values, 1, np.nan, axis=1))
    for method in METHODS:
        fitted = fit(method, features, right)
        np.testing.assert_array_equal(fitted.predict(more), fitted.predict(features))


def test_from_dict__unknown_method_or_type_is_refused():
    with pytest.raises(ValueError, match="method"):
        Recalibration.from_dict({"method": "forest", "features": [], "arrays": {}})
    with pytest.raises(ValueError, match="float64"):
        Recalibration.from_dict({"method": "platt", "features": [], "arrays": {"x": {"dtype": "object", "values": []}}})


def test_fit__one_class_is_refused_in_words():
    with pytest.raises(ValueError, match="all 2 labelled masks are right"):
        fit("platt", Features.of(predicted_iou=[0.1, 0.2]), [True, True])


def test_fit__few_trees_on_few_masks():
    rng = np.random.default_rng(0)
    features = Features.of(predicted_iou=rng.random(10))
    assert np.isfinite(fit("trees", features, np.arange(10) % 2 == 0).predict(features)).all()
