"""Asking for memory ahead changes nothing that is computed, wherever it points."""

from __future__ import annotations

import numpy as np
import pytest

from workbench.masks.compiled import compiled
from workbench.masks.prefetch import prefetch


@compiled
def total(values, ahead):
    found = 0.0
    for i in range(len(values)):
        prefetch(values, i + ahead)
        found += values[i]
    return found


@pytest.mark.parametrize("dtype", [np.uint16, np.float32, np.int64])
@pytest.mark.parametrize("ahead", [0, 3, -1, 10**12])
def test_prefetch__any_place(dtype, ahead):
    assert total(np.arange(5, dtype=dtype), ahead) == 10
    assert total(np.zeros(0, dtype), ahead) == 0
