"""Histograms and heat maps of a pool's columns, split by outcome: one pass over the rows."""

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


def edges_of(bins: int | ArrayLike, values: NDArray[Any]) -> NDArray[np.float64]:
    """Return the edges of bins: those given, or `bins` equal ones over the finite values.

    Raises
    ------
    ValueError : if there is no bin, or the edges are not finite and ascending

    >>> edges_of(2, np.array([0.0, 1.0, np.nan])).tolist()
    [0.0, 0.5, 1.0]
    """
    if isinstance(bins, (int, np.integer)) and not isinstance(bins, bool):
        if bins < 1:
            raise ValueError(f"bins: expected at least 1, got {bins}")
        low, high = _finite_range(values)
        return (
            np.linspace(low, high, int(bins) + 1) if low < high else np.linspace(low - 0.5, high + 0.5, int(bins) + 1)
        )
    edges = np.asarray(bins, dtype=np.float64)
    if edges.ndim != 1 or len(edges) < 2 or not np.isfinite(edges).all() or (np.diff(edges) <= 0).any():
        raise ValueError(f"bins: expected a number, or at least two finite edges in ascending order, got {bins!r}")
    return edges


@compiled
def _finite_range(values: NDArray[Any]) -> tuple[float, float]:
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
def count_1d(
    values: NDArray[Any], codes: NDArray[np.uint8], edges: NDArray[np.float64]
) -> tuple[NDArray[np.int64], int]:
    """Return counts (3, bins) and the number of rows left out."""
    counts = np.zeros((OUTCOMES, len(edges) - 1), dtype=np.int64)
    a_bin = (len(edges) - 1) / (edges[-1] - edges[0])
    left_out = 0
    for i in range(len(values)):
        k = _bin(float(values[i]), edges, a_bin)
        if k < 0:
            left_out += 1
        else:
            counts[codes[i], k] += 1
    return counts, left_out


@compiled
def count_2d(
    x: NDArray[Any],
    y: NDArray[Any],
    codes: NDArray[np.uint8],
    x_edges: NDArray[np.float64],
    y_edges: NDArray[np.float64],
) -> tuple[NDArray[np.int64], int]:
    """Return counts (3, y bins, x bins) and the number of rows left out."""
    counts = np.zeros((OUTCOMES, len(y_edges) - 1, len(x_edges) - 1), dtype=np.int64)
    x_bin, y_bin = (len(x_edges) - 1) / (x_edges[-1] - x_edges[0]), (len(y_edges) - 1) / (y_edges[-1] - y_edges[0])
    left_out = 0
    for i in range(len(x)):
        kx, ky = _bin(float(x[i]), x_edges, x_bin), _bin(float(y[i]), y_edges, y_bin)
        if kx < 0 or ky < 0:
            left_out += 1
        else:
            counts[codes[i], ky, kx] += 1
    return counts, left_out
