"""Masks drawn as text: `#` (or any other sign) is mask, `.` is background; lines are rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def mask(drawing: str) -> NDArray[np.bool_]:
    """Return the (H, W) bool mask of a drawing; blanks and empty lines around it do not count.

    >>> mask('''
    ...     .##
    ...     ..#
    ... ''').astype(int).tolist()
    [[0, 1, 1], [0, 0, 1]]
    """
    rows = [line.strip() for line in drawing.strip().splitlines()]
    if len({len(row) for row in rows}) != 1:
        raise ValueError(f"rows of different widths: {[len(row) for row in rows]}")
    return np.array([[sign != "." for sign in row] for row in rows], dtype=bool)


def draw(pixels: NDArray[np.bool_]) -> str:
    """Return the drawing of an (H, W) mask.

    >>> print(draw(mask('.##\\n..#')))
    .##
    ..#
    """
    return "\n".join("".join("#" if p else "." for p in row) for row in pixels)
