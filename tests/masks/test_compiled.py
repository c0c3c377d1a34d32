"""Compiled functions where there is no folder to cache them in."""

from __future__ import annotations

import numba.core.caching
import numpy as np
import pytest

from workbench.masks.compiled import compiled


def half(x):
    return x / np.float64(2)


def one_by(x):
    return 1 / x


def test_compiled__works_without_a_folder_for_the_cache(monkeypatch: pytest.MonkeyPatch):
    for implementation in (numba.core.caching.CacheImpl, numba.core.caching.CompileResultCacheImpl):
        monkeypatch.setattr(implementation, "_locator_classes", [])
    assert compiled(half)(3) == 1.5


def test_compiled__division_by_zero_is_numpys():
    assert compiled(one_by)(0.0) == np.inf
