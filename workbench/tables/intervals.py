"""Intervals of figures: bootstrap over images, exact binomial for few events, paired differences."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.calibrate.intervals import ENDS, FEW_EVENTS, LEVEL, exact_binomial
from workbench.tables.figures import How, Interval

__all__ = [
    "DRAWS",
    "FEW_EVENTS",
    "LEVEL",
    "Intervals",
    "bootstrap",
    "bootstrap_many",
    "difference",
    "difference_many",
    "exact_binomial",
]

DRAWS = 2000
_CELLS = 2**22  # draws times images at once

Numbers = NDArray[np.float64]


class Intervals(NamedTuple):
    """Figures of several settings over the same images, (P,) each; see `Interval`."""

    value: Numbers
    low: Numbers
    high: Numbers
    n: NDArray[np.int64]
    exact: NDArray[np.bool_]  # by the binomial distribution

    def interval(self, k: int) -> Interval:
        """Return the figure of one setting."""
        how: How = "none" if np.isnan(self.low[k]) else "binomial" if self.exact[k] else "bootstrap"
        return Interval(float(self.value[k]), float(self.low[k]), float(self.high[k]), int(self.n[k]), how)


def bootstrap(
    values_per_image: ArrayLike, rng: np.random.Generator, per_image: ArrayLike | None = None, *, draws: int = DRAWS
) -> Interval:
    """Return a mean over images, or a rate, with its 95 % interval from drawing the images anew.

    Parameters
    ----------
    values_per_image : (M,) a value of each image, or the numerator of a rate; NaN where it was not measured
    per_image : (M,) the denominator of the rate; None for the mean over images. The rate is sum ÷ sum
    draws : how often the images are drawn anew

    Returns
    -------
    Interval; for a rate with fewer than 5 events (or non-events) the exact binomial one, which takes masks as
    independent. With fewer than two images there is none otherwise: one image does not say how images differ

    Source: Efron 1979, Bootstrap methods (percentiles); Clopper and Pearson 1934 for few events.
    """
    values = np.atleast_2d(np.asarray(values_per_image, dtype=np.float64))
    if per_image is None:
        return bootstrap_many(values, np.where(np.isnan(values), np.nan, 1.0), rng, draws, of_events=False).interval(0)
    return bootstrap_many(values, np.atleast_2d(np.asarray(per_image, dtype=np.float64)), rng, draws).interval(0)


def bootstrap_many(
    values: Numbers, per: Numbers, rng: np.random.Generator, draws: int = DRAWS, *, of_events: bool = True
) -> Intervals:
    """Return figures of P settings over the same M images, drawn anew alike for all of them; see `bootstrap`.

    Parameters
    ----------
    values, per : (P, M) numerators and denominators; an image that is NaN in any setting is left out
    of_events : values count events among `per`; where not, the exact interval is never used
    """
    values, per = _measured(values, per)
    value = _ratio(values.sum(axis=1), per.sum(axis=1))
    low, high = (np.full(len(value), np.nan) for _ in range(2))
    if values.shape[1] >= 2:
        low, high = _percentiles(np.concatenate([_ratio(*sums) for sums in _drawn(rng, draws, values, per)], axis=0))
    events, n = values.sum(axis=1), per.sum(axis=1)
    exact = (np.minimum(events, n - events) < FEW_EVENTS) & (n > 0) if of_events else np.zeros(len(value), bool)
    low[exact], high[exact] = exact_binomial(events[exact], n[exact])
    return Intervals(value, low, high, np.rint(n).astype(np.int64), exact)


def difference(
    a: tuple[Numbers, Numbers], b: tuple[Numbers, Numbers], rng: np.random.Generator, draws: int = DRAWS
) -> Interval:
    """Return the paired difference a − b of a rate under two settings or models; n is the number of images.

    Parameters
    ----------
    a, b : numerators and denominators (M,) of the same images in the same order; NaN where not measured
    """
    of_a, of_b = ((np.atleast_2d(x), np.atleast_2d(y)) for x, y in (a, b))
    return difference_many(of_a, of_b, rng, draws).interval(0)


def difference_many(
    a: tuple[Numbers, Numbers],
    b: tuple[Numbers, Numbers],
    rng: np.random.Generator,
    draws: int = DRAWS,
    *,
    of_events: bool = True,
) -> Intervals:
    """Return paired differences a − b of P pairs of settings, (P, M) each, the images drawn alike for both.

    With fewer than 5 events on either side the exact intervals of both are put together by square-and-add, which takes
    no account of the pairing and is wider for it.

    Source: Efron 1979; Newcombe 1998, Interval estimation for the difference between independent proportions.
    """
    values_a, per_a, values_b, per_b = _measured(*a, *b)
    rates = [_ratio(x.sum(axis=1), y.sum(axis=1)) for x, y in ((values_a, per_a), (values_b, per_b))]
    value = rates[0] - rates[1]
    low, high = (np.full(len(value), np.nan) for _ in range(2))
    images = values_a.shape[1]
    if images >= 2:
        sums = _drawn(rng, draws, values_a, per_a, values_b, per_b)
        low, high = _percentiles(np.concatenate([_ratio(s, t) - _ratio(u, v) for s, t, u, v in sums], axis=0))
    exact = np.zeros(len(value), bool)
    if of_events:
        one, other = (_events(x, y) for x, y in ((values_a, per_a), (values_b, per_b)))
        exact = (one.few | other.few) & ~np.isnan(value)
        down = np.hypot(rates[0] - one.low, other.high - rates[1])
        up = np.hypot(one.high - rates[0], rates[1] - other.low)
        low[exact], high[exact] = (value - down)[exact], (value + up)[exact]
    return Intervals(value, low, high, np.full(len(value), images), exact)


class _Events(NamedTuple):
    low: Numbers
    high: Numbers
    few: NDArray[np.bool_]


def _events(values: Numbers, per: Numbers) -> _Events:
    events, n = values.sum(axis=1), per.sum(axis=1)
    low, high = exact_binomial(events, n)
    return _Events(low, high, np.minimum(events, n - events) < FEW_EVENTS)


def _measured(*columns: Numbers) -> list[Numbers]:
    """Leave out the images that some column does not know."""
    if len({column.shape for column in columns}) != 1:
        raise ValueError(
            f"expected numerators and denominators of one shape, got {[c.shape for c in columns]}: the same images"
        )
    known = ~np.isnan(columns[0]).any(axis=0)
    for column in columns[1:]:
        known &= ~np.isnan(column).any(axis=0)
    return [column[:, known] for column in columns]


def _ratio(a: Numbers, b: Numbers) -> Numbers:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(b > 0, a / b, np.nan)


def _drawn(rng: np.random.Generator, draws: int, *columns: Numbers) -> Iterator[tuple[Numbers, ...]]:
    """Yield sums of each column over images drawn anew, (some draws, P), until all draws are made."""
    images = columns[0].shape[1]
    some = max(1, _CELLS // images)
    for start in range(0, draws, some):
        n = min(some, draws - start)
        which = rng.integers(0, images, (n, images)) + images * np.arange(n)[:, None]
        times = np.bincount(which.ravel(), minlength=n * images).reshape(n, images).astype(np.float64)
        yield tuple(times @ column.T for column in columns)


def _percentiles(drawn: Numbers) -> tuple[Numbers, Numbers]:
    """The ends of the interval of each column of (draws, P); draws without a denominator are left out."""
    low, high = np.quantile(drawn, ENDS, axis=0)
    for k in np.flatnonzero(np.isnan(drawn).any(axis=0)):
        known = drawn[~np.isnan(drawn[:, k]), k]
        low[k], high[k] = np.quantile(known, ENDS) if len(known) else (np.nan, np.nan)
    return low, high
