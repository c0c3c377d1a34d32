"""Upper bounds on the share that is wrong: exact ones for masks drawn with equal probability, a betting one for images."""

from __future__ import annotations

import math
from decimal import ROUND_CEILING, Context, Decimal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
LIKELY = 0.8  # chance that as many labels as are said to be needed will do
LIKELY_DEVIATIONS = 0.8416  # standard deviations below which a normal variable lies with that chance
_UP = Context(prec=3, rounding=ROUND_CEILING)


def check_shares(**shares: float) -> None:
    """Refuse what is no share strictly between 0 and 1. Raises ValueError, naming it."""
    for name, value in shares.items():
        if not 0 < value < 1:
            raise ValueError(f"{name}: expected a share in (0, 1), got {value}")


def percent(share: float) -> str:
    """Return a share that was asked for in percent, with all its digits: 0.0125 is "1.25%"."""
    return f"{_in_percent(share):f}%"


def percent_up(bound: float) -> str:
    """Return a bound in percent, rounded up to three digits, so that no less is said than was found: 0.01441 is "1.45%"."""
    return f"{_UP.plus(_in_percent(bound)):f}%"


def _in_percent(share: float) -> Decimal:
    return Decimal(f"{100 * share:.12g}")  # what floating point adds behind these digits was not asked for


def binomial_upper(wrong: int, n: int, delta: float) -> float:
    """Return the exact upper bound on a share, from `wrong` of `n` draws with replacement; 1 without any.

    Source: Clopper and Pearson 1934.
    """
    from scipy.stats import beta

    if not 0 <= wrong <= n:
        raise ValueError(f"binomial_upper: expected 0 to {n} wrong, got {wrong}")
    return 1.0 if wrong == n else float(beta.ppf(1 - delta, wrong + 1, n - wrong))


def hypergeometric_upper(wrong: int, n: int, population: int, delta: float) -> float:
    """Return the exact upper bound on a share of a finite population, from `n` of them drawn without replacement.

    The largest share K ÷ population for which so few wrong ones are still seen with a probability above delta; with
    n = population it is the share itself.

    Source: Buonaccorsi 1987, A note on confidence intervals for proportions in finite populations.
    """
    from scipy.stats import hypergeom

    if not 0 <= wrong <= n <= population:
        raise ValueError(f"hypergeometric_upper: expected wrong <= n <= population, got {wrong}, {n}, {population}")
    if population == 0:
        return 0.0
    low, high = wrong, population - (n - wrong)  # as many wrong ones as there can be
    while low < high:  # the probability falls as K grows
        middle = (low + high + 1) // 2
        if hypergeom.cdf(wrong, population, middle, n) > delta:
            low = middle
        else:
            high = middle - 1
    return low / population


def hypergeometric_passes(wrong: int, n: int, population: int, alpha: float, delta: float) -> bool:
    """Whether `hypergeometric_upper` is at most alpha, in one step.

    It is exactly when the least number of wrong ones above alpha would show so few with a probability of at most delta.
    """
    from scipy.stats import hypergeom

    if population == 0:
        return True
    least = math.floor(alpha * population)
    while least / population <= alpha:  # in the arithmetic of the bound
        least += 1
    if least > population - (n - wrong):  # more wrong ones than there can be
        return True
    return bool(least > wrong and hypergeom.cdf(wrong, population, least, n) <= delta)


def labels_needed(alpha: float, delta: float, wrong: int = 0, population: int | None = None) -> int:
    """Return the fewest labels that certify at most `alpha` wrong, when `wrong` of them are found wrong.

    59 for alpha = delta = 0.05 with none wrong; fewer in a small population.
    """
    check_shares(alpha=alpha, delta=delta)
    if population == 0:
        return 0
    if population is not None and math.floor(alpha * population) < wrong:
        return population  # more are wrong than alpha allows: only a look at all could tell

    def certifies(n: int) -> bool:
        if population is None:
            return binomial_upper(wrong, n, delta) <= alpha
        return hypergeometric_upper(wrong, n, population, delta) <= alpha

    low, high = wrong, max(2 * wrong, 1)
    while not certifies(min(high, population or high)):
        low, high = high, 2 * high
    high = min(high, population or high)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if certifies(middle) else (middle, high)
    return high


def labels_likely(share: float, alpha: float, delta: float, population: int, least: int) -> int:
    """Return how many labels certify four times in five when the share wrong stays as it is; at most the whole population.

    Parameters
    ----------
    share : wrong so far; least : the fewest that certify without any
    """
    from scipy.stats import binom

    def do(n: int) -> bool:
        wrong = max(int(math.ceil(share * n)), int(binom.ppf(LIKELY, n, share)))
        return binomial_upper(wrong, n, delta) <= alpha

    if not share:
        return min(least, population)
    low, high = least - 1, least
    while not do(high):
        if high >= population:
            return population
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if do(middle) else (middle, high)
    return min(high, population)


# ---- images -------------------------------------------------------------------------------------------------------


def _bets(losses: Floats, delta: float) -> Floats:
    """Return the bet before each loss, from the losses before it: (..., n)."""
    n = losses.shape[-1]
    order = np.arange(1, n + 1)
    means = (0.5 + losses.cumsum(axis=-1)) / (order + 1)
    spread = (0.25 + ((losses - means) ** 2).cumsum(axis=-1)) / (order + 1)
    before = np.concatenate([np.full((*losses.shape[:-1], 1), 0.25), spread[..., :-1]], axis=-1)
    return np.asarray(np.minimum(1.0, np.sqrt(2 * np.log(1 / delta) / (n * before))))


def betting_wealth(losses: ArrayLike, alpha: float, delta: float) -> Floats:
    """Return the log of the largest wealth of a bet that the mean loss is below `alpha`, (...,).

    Parameters
    ----------
    losses : (..., n) in [0, 1], one an image, in an order that does not depend on them

    If the mean is `alpha` or more, the wealth reaches 1 ÷ delta with a probability of at most delta.

    Source: Waudby-Smith and Ramdas 2024, Estimating means of bounded random variables by betting; Bates et al. 2021,
    Distribution-free, risk-controlling prediction sets, proposition 5.
    """
    x = np.asarray(losses, np.float64)
    if x.size and (np.isnan(x).any() or x.min() < 0 or x.max() > 1):
        raise ValueError("losses: expected shares in [0, 1], one an image")
    if x.shape[-1] == 0:
        return np.zeros(x.shape[:-1])
    with np.errstate(divide="ignore"):  # a whole loss against alpha = 0 ruins the bet: log 0
        wealth = np.log1p(-_bets(x, delta) * (x - alpha)).cumsum(axis=-1)
    return np.asarray(np.maximum(wealth.max(axis=-1), 0.0))


def betting_upper(losses: ArrayLike, delta: float) -> float:
    """Return an upper bound on the mean loss of future images, at confidence 1 − delta; 1 without any."""
    x = np.asarray(losses, np.float64)
    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        enough = betting_wealth(x, middle, delta) >= math.log(1 / delta)
        low, high = (low, middle) if enough else (middle, high)
    return high


def images_needed(alpha: float, delta: float, mean: float = 0.0, spread: float = 0.0) -> int:
    """Return about how many images certify a mean loss of at most `alpha` by betting four times in five; -1 when none do.

    Parameters
    ----------
    mean, spread : mean and standard deviation of the loss that is expected; 0 for the least number there is
    """
    check_shares(alpha=alpha, delta=delta)
    if mean >= alpha:
        return -1
    bet = min(1.0, (alpha - mean) / (spread**2 + (alpha - mean) ** 2))
    growth = math.log1p(bet * (alpha - mean)) - bet**2 * spread**2 / 2
    if growth < 1e-9:
        return 10**9
    # wealth is a sum: its mean grows with n, its spread with the root of n
    aside = LIKELY_DEVIATIONS * bet * spread
    root = (aside + math.sqrt(aside**2 + 4 * growth * math.log(1 / delta))) / (2 * growth)
    guess = max(2, int(root**2))
    if guess > 10**7:
        return guess
    if spread or mean:
        return guess
    while betting_wealth(np.zeros(guess), alpha, delta) < math.log(1 / delta):
        guess += max(1, guess // 100)
    while guess > 1 and betting_wealth(np.zeros(guess - 1), alpha, delta) >= math.log(1 / delta):
        guess -= 1
    return guess
