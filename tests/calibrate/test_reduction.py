from __future__ import annotations

import json

import numpy as np
import pytest

from workbench.calibrate.reduction import Reduction


def drawn(n=200, c=20, k=3, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, k)) * [5, 3, 2] @ rng.normal(size=(k, c)) + rng.normal(size=c)


def test_fit__as_scikit_learn():
    from sklearn.decomposition import PCA

    x = drawn()
    ours, theirs = Reduction.fit(x, 3), PCA(3).fit(x)
    assert np.allclose(np.abs(ours.apply(x)), np.abs(theirs.transform(x)))
    assert ours.names == ("embedding_0", "embedding_1", "embedding_2")


def test_fit__no_more_axes_than_there_are_and_rows_with_nan_are_left_out():
    x = drawn()
    x[5] = np.nan
    found = Reduction.fit(x, 8)
    assert found.axes.shape == (20, 3)
    assert np.isnan(found.apply(x)[5]).all()
    assert np.isfinite(np.delete(found.apply(x), 5, axis=0)).all()


@pytest.mark.parametrize("n", [0, 1])
def test_fit__of_too_few_rows_gives_no_column(n):
    found = Reduction.fit(drawn()[:n], 4)
    assert found.names == ()
    assert found.apply(np.ones((2, 20))).shape == (2, 0)
    assert Reduction.from_dict(found.to_dict()).names == ()


def test_reduction__round_trip_is_exact():
    x = drawn()
    found = Reduction.fit(x, 3)
    again = Reduction.from_dict(json.loads(json.dumps(found.to_dict(), allow_nan=False)))
    assert np.array_equal(found.apply(x), again.apply(x))
