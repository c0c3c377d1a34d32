"""The one way in which mask loops are compiled with numba: cached on disk, GIL released, no threads of its own.

Parallel numba is left out on purpose: its workqueue layer aborts the process when two threads enter it at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from numba import njit

F = TypeVar("F", bound=Callable[..., Any])


def compiled(function: F) -> F:
    """Compile a function of arrays and numbers at its first call; division by zero gives inf or NaN as in numpy."""
    try:
        return cast(F, njit(nogil=True, error_model="numpy", cache=True)(function))
    except RuntimeError:  # no folder to cache in can be written (read-only installation and home): compile each time
        return cast(F, njit(nogil=True, error_model="numpy")(function))
