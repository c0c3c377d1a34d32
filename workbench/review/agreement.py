"""Agreement of annotators (R8): matched IoU of their masks, Cohen's kappa and Krippendorff's alpha on their verdicts."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from workbench.calibrate.intervals import draw_images, percentiles
from workbench.masks import matching
from workbench.tables.figures import Interval
from workbench.tables.intervals import DRAWS, FEW_EVENTS, bootstrap, exact_binomial

Counts = NDArray[np.float64]


def cohens_kappa(table: Counts) -> float:
    """Return Cohen's kappa of two raters from their (C, C) table of counts; NaN where it is not defined.

    (observed − expected) ÷ (1 − expected), expected from the margins of the two raters.

    Source: Cohen 1960, A coefficient of agreement for nominal scales.

    >>> round(cohens_kappa(np.array([[20, 5], [10, 15]])), 3)
    0.4
    """
    counts = np.asarray(table, dtype=np.float64)
    n = counts.sum()
    if not n:
        return math.nan
    by_chance = _differ_by_chance(counts)
    return float(1 - (1 - np.trace(counts) / n) / by_chance) if by_chance > 0 else math.nan


def _differ_by_chance(table: Counts) -> float:
    """Share of pairs of verdicts that differ by chance, from the margins of two raters."""
    return 1 - float(table.sum(axis=1) @ table.sum(axis=0)) / float(table.sum()) ** 2


def coincidences(values: Sequence[Sequence[int | None]], categories: int) -> Counts:
    """Return the (C, C) coincidence matrix of units rated by any number of raters; None is no rating.

    A unit of m >= 2 ratings adds 1 ÷ (m − 1) for each ordered pair of its ratings; others add nothing. Matrices of
    several sets of units add up.

    Source: Krippendorff 2011, Computing Krippendorff's Alpha-Reliability.
    """
    matrix = np.zeros((categories, categories))
    for unit in values:
        counts = np.bincount([v for v in unit if v is not None], minlength=categories).astype(np.float64)
        if (m := counts.sum()) >= 2:
            matrix += (np.outer(counts, counts) - np.diag(counts)) / (m - 1)
    return matrix


def krippendorffs_alpha(matrix: Counts) -> float:
    """Return Krippendorff's alpha for nominal data from a coincidence matrix; NaN where it is not defined.

    1 − observed ÷ expected disagreement.

    Source: Krippendorff 2011, Computing Krippendorff's Alpha-Reliability, section B.
    """
    n = matrix.sum()
    if n < 2 or (expected := _expected(matrix)) <= 0:
        return math.nan
    return float(1 - (1 - np.trace(matrix) / n) / expected)


def _expected(matrix: Counts) -> float:
    """Share of pairs of ratings that differ by chance, from the margins of a coincidence matrix."""
    margins = matrix.sum(axis=1)
    n = margins.sum()
    return float((n**2 - (margins**2).sum()) / (n * (n - 1)))


def resampled(
    per_image: Counts, statistic: Callable[[Counts], float], rng: np.random.Generator, n: int, draws: int = DRAWS
) -> Interval:
    """Return a statistic of sums over images with its 95 % interval from drawing the images anew.

    Parameters
    ----------
    per_image : (M, ...) what each image adds; the statistic is taken of the sum
    n : what is counted, for the figure

    Source: Efron 1979, Bootstrap methods (percentiles).
    """
    value = statistic(per_image.sum(axis=0)) if len(per_image) else math.nan
    if math.isnan(value):
        return Interval(math.nan, math.nan, math.nan, n)
    if len(per_image) < 2:  # one image does not say how images differ
        return Interval(value, math.nan, math.nan, n)
    m = len(per_image)
    weights = draw_images(m, draws, rng).astype(np.float64)
    sums = (weights @ per_image.reshape(m, -1)).reshape(draws, *per_image.shape[1:])
    low, high = percentiles([statistic(one) for one in sums])
    if math.isnan(low):
        return Interval(value, math.nan, math.nan, n)
    return Interval(value, min(low, value), max(high, value), n, "bootstrap")


def _with_few(found: Interval, table: Counts, by_chance: Callable[[Counts], float]) -> Interval:
    """Return a figure with the interval that the exact one of observed agreement gives, where it has few events.

    Images drawn anew say too little with fewer than 5 masks that people differ on, or agree on: when all agree, that
    all will. The margins are taken as they are.

    Source: Clopper and Pearson 1934, The use of confidence or fiducial limits illustrated in the case of the binomial.
    """
    if math.isnan(found.low):  # nothing to compare, or one image, which does not say how images differ
        return found
    agreed = found.n * float(np.trace(table) / table.sum())
    if min(agreed, found.n - agreed) >= FEW_EVENTS:
        return found
    low, high = (1 - (1 - float(end)) / by_chance(table) for end in exact_binomial(agreed, found.n))
    return Interval(found.value, low, high, found.n, "binomial")


Ratings = Mapping[tuple[str, str], Mapping[str, int]]  # (image, mask) -> annotator -> code of the verdict


def alpha_of(ratings: Ratings, rng: np.random.Generator, categories: int = 2) -> Interval:
    """Return Krippendorff's alpha over masks with two verdicts or more, with an interval over images; exact for few events."""
    by_image: dict[str, list[list[int | None]]] = {}
    for (image, _), given in ratings.items():
        if len(given) >= 2:
            by_image.setdefault(image, []).append(list(given.values()))
    matrices = [coincidences(units, categories) for units in by_image.values()]
    n = sum(map(len, by_image.values()))
    stacked = np.stack(matrices) if matrices else np.zeros((0, categories, categories))
    return _with_few(resampled(stacked, krippendorffs_alpha, rng, n), stacked.sum(axis=0), _expected)


def kappa_of(ratings: Ratings, one: str, other: str, rng: np.random.Generator, categories: int = 2) -> Interval:
    """Return Cohen's kappa of two annotators over the masks that both judged, with an interval over images; exact for few events."""
    by_image: dict[str, Counts] = {}
    for (image, _), given in ratings.items():
        if one in given and other in given:
            by_image.setdefault(image, np.zeros((categories, categories)))[given[one], given[other]] += 1
    stacked = np.stack(list(by_image.values())) if by_image else np.zeros((0, categories, categories))
    found = resampled(stacked, cohens_kappa, rng, int(stacked.sum()))
    return _with_few(found, stacked.sum(axis=0), _differ_by_chance)


def observed_of(ratings: Ratings, annotator: str, rng: np.random.Generator) -> Interval:
    """Return the share of an annotator's verdicts that others, asked about the same mask, gave too; see `bootstrap`."""
    by_image: dict[str, Counts] = {}
    for (image, _), given in ratings.items():
        if annotator in given:
            same = [given[annotator] == value for name, value in given.items() if name != annotator]
            if same:
                by_image.setdefault(image, np.zeros(2))[:] += (sum(same), len(same))
    stacked = np.stack(list(by_image.values())) if by_image else np.zeros((0, 2))
    return bootstrap(stacked[:, 0], rng, stacked[:, 1])


def _ratio(sums: Counts) -> float:
    return float(sums[0] / sums[1]) if sums[1] else math.nan


def matched(a: Sequence[bytes], b: Sequence[bytes], size_hw: tuple[int, int], iou: float) -> Counts:
    """Return the sum of IoU of masks matched one to one, how many matched, and how many there are on both sides: (3,)."""
    _, _, overlap = matching.match(a, b, size_hw, iou)
    return np.array([overlap.sum(), len(overlap), len(a) + len(b)], dtype=np.float64)


def iou_of(per_image: Sequence[Counts], rng: np.random.Generator) -> tuple[Interval, Interval]:
    """Return the mean IoU of matched masks, and the share of masks that matched (2 · matched ÷ all), over images.

    The interval of the share is the exact binomial one where fewer than 5 masks matched or did not.
    """
    stacked = np.stack(list(per_image)) if len(per_image) else np.zeros((0, 3))
    total = stacked.sum(axis=0) if len(stacked) else np.zeros(3)
    mean = resampled(stacked, lambda s: _ratio(s[:2]), rng, int(total[1]))
    return mean, bootstrap(2 * stacked[:, 1], rng, stacked[:, 2])


def pairs_of(ratings: Ratings) -> list[tuple[str, str]]:
    """Return the pairs of annotators that judged a mask in common, by name."""
    found = {(a, b) for given in ratings.values() for a in given for b in given if a < b}
    return sorted(found)


def judges(ratings: Ratings) -> list[str]:
    """Return the annotators whose verdicts can be compared, by name."""
    return sorted({name for given in ratings.values() if len(given) >= 2 for name in given})


def of_days(ratings: Ratings, day_of: Mapping[tuple[str, str], str]) -> Iterable[tuple[str, Ratings]]:
    """Yield the ratings of each day (UTC), by the day of a mask's last verdict."""
    for day in sorted({day_of[key] for key in ratings}):
        yield day, {key: given for key, given in ratings.items() if day_of[key] == day}
