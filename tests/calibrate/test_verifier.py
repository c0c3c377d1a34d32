from __future__ import annotations

import json

import numpy as np
import pytest

from workbench.calibrate.recalibrate import Features
from workbench.calibrate.verifier import COMPLETE, Verifier, fit, verify

COLUMNS = ("a", "b", "c")


def drawn(n=600, images=30, seed=0, network=False):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 3))
    logit = 3 * x[:, 0] * x[:, 1] if network else 2 * x[:, 0] - x[:, 1]
    return x, rng.random(n) < 1 / (1 + np.exp(-logit)), rng.integers(0, images, n)


def rng():
    return np.random.default_rng(0)


def test_verify__beats_a_score_that_says_less():
    x, yes, image = drawn()
    found = verify(Features(COLUMNS, x), yes, image, x[:, 1], rng(), draws=200)
    assert found.useful
    assert found.low > 0
    assert found.auroc > 0.85 > found.baseline_auroc
    assert "used as a signal" in repr(found)


def test_verify__is_not_used_where_the_score_says_as_much_but_is_reported():
    gen = rng()
    score = gen.random(600)
    yes, image = gen.random(600) < score, gen.integers(0, 30, 600)
    x = np.stack([score, gen.normal(size=600), gen.normal(size=600)], axis=1)
    found = verify(Features(COLUMNS, x), yes, image, score, rng(), draws=200)
    assert not found.useful
    assert found.verifier is not None
    assert found.baseline_auroc == pytest.approx(found.auroc, abs=0.02)
    assert "not used" in repr(found)
    assert f"on {found.n} masks of {found.images} images" in repr(found)


def test_verify__network_only_where_it_pays():
    x, yes, image = drawn(1500)
    assert verify(Features(COLUMNS, x), yes, image, x[:, 1], rng(), draws=20).verifier.kind == "logistic"
    x, yes, image = drawn(1500, network=True)
    found = verify(Features(COLUMNS, x), yes, image, x[:, 1], rng(), draws=20)
    assert found.verifier.kind == "network"
    assert found.brier["network"] < found.brier["logistic"] - 0.02


@pytest.mark.parametrize("kind", ["logistic", "network"])
def test_verifier__round_trip_is_exact_and_as_scikit_learn(kind):
    x, yes, _ = drawn()
    x[3, 1] = np.nan
    fitted = fit(kind, Features(COLUMNS, x), yes, COMPLETE)
    again = Verifier.from_dict(json.loads(json.dumps(fitted.to_dict(), allow_nan=False)))
    assert again.question == COMPLETE
    p = fitted.predict(Features(COLUMNS, x))
    assert np.array_equal(p, again.predict(Features(COLUMNS, x)))
    assert ((p > 0.5) == yes).mean() > 0.5


@pytest.mark.parametrize(
    ("yes", "image", "word"),
    [
        ([True] * 8, range(8), "all 8 labelled masks are right"),
        ([False] * 8, range(8), "wrong"),
        ([True, False] * 4, [0] * 8, "1 images"),
        ([True, False] * 9, [k // 2 for k in range(18)], "labels of 9 images, at least 10 are needed"),
        ([], [], "no labelled masks"),
    ],
)
def test_verify__undefined_is_said_in_words(yes, image, word):
    found = verify(Features(COLUMNS, np.zeros((len(yes), 3))), yes, list(image), np.zeros(len(yes)), rng())
    assert found.verifier is None
    assert not found.useful
    assert word in found.note
    assert json.dumps(found.to_dict(), allow_nan=False)


def test_verify__missing_columns_and_scores_are_no_crash():
    x, yes, image = drawn(200)
    x[:, 2] = np.nan
    x[:50, 0] = np.nan
    for missing in (np.nan, np.inf):
        found = verify(Features(COLUMNS, x), yes, image, np.full(200, missing), rng(), draws=50)
        assert np.isfinite(found.held_out).all()
        assert found.baseline_auroc == 0.5
    least = np.where(yes, np.inf, 0.5)  # no score at all is none that is high
    assert verify(Features(COLUMNS, x), yes, image, least, rng(), draws=50).baseline_auroc == 0


def test_predict__a_missing_column_is_refused_and_others_are_passed_over():
    x, yes, _ = drawn(100)
    seen = Features(COLUMNS, x)
    fitted = fit("logistic", seen, yes)
    with pytest.raises(ValueError, match="expected columns"):
        fitted.predict(seen.columns(("a", "b")))
    more = Features(("later",), np.full((100, 1), np.nan)).beside(seen)
    assert np.array_equal(fitted.predict(more), fitted.predict(seen))


def test_from_dict__unknown_kind_is_refused():
    with pytest.raises(ValueError, match="kind"):
        Verifier.from_dict({"kind": "forest", "question": COMPLETE, "columns": [], "arrays": {}})


@pytest.mark.parametrize(
    ("answer", "words"),
    [(False, "incomplete by their accepted masks"), (True, "all 9 labelled images are complete by")],
)
def test_verify__images_that_all_have_one_answer_are_told_of_as_images(answer, words):
    x, yes, image = np.ones((9, 3)), np.full(9, answer), np.arange(9)
    assert words in repr(verify(Features(COLUMNS, x), yes, image, np.ones(9), rng(), question=COMPLETE))
