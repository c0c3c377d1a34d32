"""Smooth calibration error of many samples at once, for its interval and for what perfect calibration would show."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_GRID = 1001
_STEPS = 10  # bisections, as relplot does
_EPS = 1e-4  # what relplot adds to the density


def smooth_ece(confidence: NDArray[np.float64], right: NDArray[np.bool_]) -> float:
    """Return the smooth calibration error of one sample, as relplot computes it.

    Parameters
    ----------
    confidence : (n,) in [0, 1], n > 0; right : (n,) bool

    Source: Błasiok and Nakkiran 2023, Smooth ECE, arXiv 2309.12236; package relplot.
    """
    from relplot.metrics import smECE

    return float(smECE(confidence, right.astype(np.float64)))


def on_grid(confidence: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return values summed on a grid of [0, 1], each shared between its two neighbours: (..., 1001)."""
    place = confidence * (_GRID - 1)
    low = np.clip(place.astype(np.int64), 0, _GRID - 2)
    share = place - low
    below = np.bincount(low, (1 - share) * values, _GRID)
    return np.asarray(below + np.bincount(low + 1, share * values, _GRID))


def smooth_ece_of_many(residuals: NDArray[np.float64], counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the smooth calibration error of D samples given on the grid, (D,).

    Parameters
    ----------
    residuals, counts : (D, 1001), `on_grid` of confidence − right, and of ones

    The bandwidth is the one at which error and bandwidth agree, found by bisection. The Gaussian is reflected at 0 and 1
    by way of a cosine transform; relplot cuts it off at half the interval, which shows in errors above 0.2 only.
    """
    from scipy.fft import dct, idct

    spectra = dct(residuals, type=1, axis=1), dct(counts, type=1, axis=1)
    waves = np.pi * np.arange(_GRID)

    def error(width: NDArray[np.float64]) -> NDArray[np.float64]:
        damped = np.exp(-0.5 * (width[:, None] * waves) ** 2)
        smooth, density = (idct(s * damped, type=1, axis=1) for s in spectra)
        total = (density * _GRID + _EPS).sum(axis=1)
        return np.asarray((np.abs(smooth) * _GRID).sum(axis=1) / total)

    low, high = np.zeros(len(residuals)), np.ones(len(residuals))
    for _ in range(_STEPS):
        middle = (low + high) / 2
        wide = error(middle) < middle
        low, high = np.where(wide, low, middle), np.where(wide, middle, high)
    return error(high)
