"""Curriculum (C4): how difficult the masks are that each cycle added, and images ordered from easy to hard."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.plotted import Plotted

Floats = NDArray[np.float64]
# what makes a mask difficult: True where a high value does
PARTS: Mapping[str, bool] = {"area_share": False, "contrast": False, "occlusion": True, "score": False}


@dataclasses.dataclass(frozen=True, eq=False)
class Curriculum(Plotted):
    """Difficulty of the masks that each cycle added.

    cycles : (C,); counts : (C,) masks; difficulty, low, high : (C,) mean in [0, 1] and its 95 % interval over images
    parts : mean of each part by cycle, in its own unit
    """

    cycles: NDArray[np.int64]
    counts: NDArray[np.int64]
    difficulty: Floats
    low: Floats
    high: Floats
    parts: Mapping[str, Floats]

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values for JSON; what is not known is None."""
        columns = {name: getattr(self, name).tolist() for name in ("cycles", "counts", "difficulty", "low", "high")}
        columns |= {name: values.tolist() for name, values in self.parts.items()}
        return {name: [None if v != v else v for v in values] for name, values in columns.items()}


def difficulty(**parts: ArrayLike) -> Floats:
    """Return how difficult each mask is, (N,) in [0, 1]: the mean of its ranks among all masks.

    Parameters
    ----------
    **parts : some of area_share, contrast, occlusion and score, (N,) each; small, pale, touched and doubtful masks are
        difficult. A value that is missing is left out; NaN where all are

    Raises
    ------
    ValueError : for another part, or columns of different lengths
    """
    from scipy.stats import rankdata

    unknown = set(parts) - set(PARTS)
    if unknown or not parts:
        raise ValueError(f"difficulty: expected some of {', '.join(PARTS)}, got {sorted(unknown) or 'none'}")
    columns = [np.asarray(values, np.float64) for values in parts.values()]
    if len({column.shape for column in columns}) > 1:
        raise ValueError(f"difficulty: expected columns of one length, got {[c.shape for c in columns]}")
    ranks = np.full((len(columns), len(columns[0])), np.nan)
    for k, (name, column) in enumerate(zip(parts, columns, strict=True)):
        known = ~np.isnan(column)
        place = (rankdata(column[known]) - 0.5) / max(int(known.sum()), 1)
        ranks[k, known] = place if PARTS[name] else 1 - place
    known = ~np.isnan(ranks)
    return np.where(known.any(axis=0), np.where(known, ranks, 0).sum(axis=0) / np.maximum(known.sum(axis=0), 1), np.nan)


def curriculum(
    cycle: ArrayLike, image: ArrayLike, rng: np.random.Generator, draws: int = 1000, **parts: ArrayLike
) -> Curriculum:
    """Return the difficulty of what each cycle added.

    Parameters
    ----------
    cycle, image : (N,) of each mask; **parts : as `difficulty` takes them, ranked among the masks of all cycles
    """
    of, groups, hard = np.asarray(cycle, np.int64), np.asarray(image), difficulty(**parts)
    cycles, counts = np.unique(of, return_counts=True)
    ends = [_interval(hard[of == c], groups[of == c], rng, draws) for c in cycles]
    means = {k: np.array([_mean(np.asarray(v, np.float64)[of == c]) for c in cycles]) for k, v in parts.items()}
    middle = np.array([_mean(hard[of == c]) for c in cycles])
    low, high = (np.array([end[k] for end in ends], np.float64) for k in (0, 1))
    return Curriculum(cycles, counts, middle, low, high, means)


def _mean(values: Floats) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")


def _interval(values: Floats, image: NDArray[Any], rng: np.random.Generator, draws: int) -> tuple[float, float]:
    known = ~np.isnan(values)
    codes = np.unique(image[known], return_inverse=True)[1].reshape(-1)
    images = int(codes.max(initial=-1)) + 1
    if images < 2:
        return float("nan"), float("nan")
    sums, counts = np.bincount(codes, values[known]), np.bincount(codes)
    picks = rng.multinomial(images, np.full(images, 1 / images), size=draws)
    low, high = np.quantile((picks @ sums) / (picks @ counts), [0.025, 0.975])
    return float(low), float(high)


def easy_first(hard: ArrayLike, image: ArrayLike, images: Sequence[str]) -> list[str]:
    """Return images from easy to hard by the mean difficulty of their masks; those without masks come last.

    Parameters
    ----------
    hard : (N,) difficulty; image : (N,) id of each mask's image; images : all ids, equals stay in this order
    """
    values, groups = np.asarray(hard, np.float64), np.asarray(image).astype(str)
    mean = {name: _mean(values[groups == name]) for name in images}
    return sorted(images, key=lambda name: (np.isnan(mean[name]), np.nan_to_num(mean[name])))
