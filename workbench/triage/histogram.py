"""Histograms and heat maps of a pool's columns, split by outcome.

The cell of each row does not move with thresholds: it is found once, and a move then only counts.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.masks.compiled import compiled

OUTCOMES = 3  # discarded, flagged, auto_accepted: the codes of Outcome for distinct proposals


@dataclasses.dataclass(frozen=True, eq=False)
class Histogram:
    """Rows by value of a column and by outcome.

    edges : (B + 1,) float64, ascending; counts : (3, B) int64, by `Outcome` code: discarded, flagged, auto_accepted;
    left_out : rows whose value is NaN, infinite or outside the edges.
    """

    edges: NDArray[np.float64]
    counts: NDArray[np.int64]
    left_out: int


@dataclasses.dataclass(frozen=True, eq=False)
class HeatMap:
    """Rows by values of two columns and by outcome; counts : (3, Y, X) int64, as for `Histogram`."""

    x_edges: NDArray[np.float64]
    y_edges: NDArray[np.float64]
    counts: NDArray[np.int64]
    left_out: int


def edges_of(bins: int | ArrayLike, finite_range: tuple[float, float]) -> NDArray[np.float64]:
    """Return the edges of bins: those given, or `bins` equal ones over a range.

    Raises
    ------
    ValueError : if there is no bin, or the edges are not finite and ascending

    >>> edges_of(2, (0, 1)).tolist()
    [0.0, 0.5, 1.0]
    """
    if isinstance(bins, (int, np.integer)) and not isinstance(bins, bool):
        if bins < 1:
            raise ValueError(f"bins: expected at least 1, got {bins}")
        low, high = finite_range
        return (
            np.linspace(low, high, int(bins) + 1) if low < high else np.linspace(low - 0.5, high + 0.5, int(bins) + 1)
        )
    edges = np.asarray(bins, dtype=np.float64)
    if edges.ndim != 1 or len(edges) < 2 or not np.isfinite(edges).all() or (np.diff(edges) <= 0).any():
        raise ValueError(f"bins: expected a number, or at least two finite edges in ascending order, got {bins!r}")
    return edges


@compiled
def finite_range(values: NDArray[Any]) -> tuple[float, float]:
    """Return the least and the greatest finite value; 0 and 1 where there is none."""
    low, high = np.inf, -np.inf
    for value in values:
        if np.isfinite(value):
            low, high = min(low, float(value)), max(high, float(value))
    return (low, high) if low <= high else (0.0, 1.0)


@compiled
def _bin(value: float, edges: NDArray[np.float64], a_bin: float) -> int:
    """The bin of a value, half-open but for the last, which holds its upper edge; -1 outside."""
    last = len(edges) - 2
    if not (edges[0] <= value <= edges[last + 1]):
        return -1
    k = min(int((value - edges[0]) * a_bin), last)  # right for equal bins, but for rounding
    while value < edges[k]:
        k -= 1
    while k < last and value >= edges[k + 1]:
        k += 1
    return k


@compiled
def cells_of(values: NDArray[Any], edges: NDArray[np.float64], cells: NDArray[np.int32]) -> None:
    """Put each row into its bin of another column: cell * bins + bin; -1, and below, is outside."""
    bins = len(edges) - 1
    a_bin = bins / (edges[-1] - edges[0])
    for i in range(len(values)):
        k = _bin(float(values[i]), edges, a_bin)
        cells[i] = cells[i] * bins + k if k >= 0 and cells[i] >= 0 else -1


@compiled
def count(cells: NDArray[np.int32], codes: NDArray[np.uint8], n_cells: int) -> NDArray[np.uint32]:
    """Return the rows in each cell by outcome, (3, 1 + n_cells); those outside stand first."""
    counts = np.zeros(OUTCOMES * (1 + n_cells), dtype=np.uint32)
    for i in range(len(cells)):
        counts[np.int64(codes[i]) * (1 + n_cells) + 1 + cells[i]] += np.uint32(1)
    return counts.reshape((OUTCOMES, 1 + n_cells))
