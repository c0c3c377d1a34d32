"""What 95 % intervals are made of: images drawn anew, the percentiles of what they show, and the exact one for few events."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

LEVEL = 0.95
ENDS = (0.025, 0.975)  # quantiles between which a share of LEVEL lies
FEW_EVENTS = 5  # with fewer, drawing images anew says too little: METRICS asks for the exact binomial interval

Floats = NDArray[np.float64]


def draw_images(images: int, draws: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return how often each image is drawn when as many as there are are drawn with replacement, (draws, images).

    Source: Efron 1979, Bootstrap methods.
    """
    return rng.multinomial(images, np.full(images, 1 / images), size=draws)


def percentiles(drawn: ArrayLike) -> tuple[float, float]:
    """Return the ends of the interval of a figure, from its values on images drawn anew, (draws,).

    Draws where it is undefined, NaN, are left out; NaN where it is in all.

    Source: Efron 1979, Bootstrap methods (percentiles).
    """
    values = np.asarray(drawn, np.float64)
    values = values[~np.isnan(values)]
    if not len(values):
        return float("nan"), float("nan")
    low, high = np.quantile(values, ENDS)
    return float(low), float(high)


def exact_binomial(events: ArrayLike, n: ArrayLike, level: float = LEVEL) -> tuple[Floats, Floats]:
    """Return the ends of the exact two-sided interval of a share: `events` of `n`, arrays of one shape; NaN for n = 0.

    Source: Clopper and Pearson 1934, The use of confidence or fiducial limits illustrated in the case of the binomial.

    >>> [round(float(end), 4) for end in exact_binomial(0, 59)]
    [0.0, 0.0606]
    """
    from scipy.special import betaincinv

    k, total = np.asarray(events, dtype=np.float64), np.asarray(n, dtype=np.float64)
    tail = (1 - level) / 2
    with np.errstate(invalid="ignore"):
        low = np.where(k > 0, betaincinv(np.maximum(k, 1e-9), total - k + 1, tail), 0.0)
        high = np.where(k < total, betaincinv(k + 1, np.maximum(total - k, 1e-9), 1 - tail), 1.0)
    return np.where(total > 0, low, np.nan), np.where(total > 0, high, np.nan)
