"""Audits (R7): a stratified random sample of all final masks, each with the probability with which it was drawn."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


@dataclasses.dataclass(frozen=True)
class Stratum:
    """Masks of one kind: how many there are, how many were drawn, and so with which probability each was."""

    name: str
    masks: int
    drawn: int

    @property
    def probability(self) -> float:
        """Share of the masks that was drawn, 0 of none."""
        return self.drawn / self.masks if self.masks else 0.0


class Sample(NamedTuple):
    """Rows drawn (K,) in ascending order, the probability of each (K,), its stratum (K,), and all strata."""

    rows: NDArray[np.int64]
    probability: NDArray[np.float64]
    stratum: NDArray[np.object_]
    strata: tuple[Stratum, ...]


def draw(
    source: Sequence[str], model_id: Sequence[str], rng: np.random.Generator, share: float = 0.05, least: int = 200
) -> Sample:
    """Draw masks for an audit: simple random sampling within each stratum.

    Strata are the automatic masks of each model, the manual and the edited ones. Of each at least `share` is drawn,
    rounded up, and of the automatic masks of a model at least `least`, or all if there are fewer.

    Parameters
    ----------
    source, model_id : (N,) of the final masks
    """
    if not 0 <= share <= 1 or least < 0:
        raise ValueError(f"audit: expected a share in [0, 1] and at least 0 masks, got {share} and {least}")
    names = np.array(
        [f"{s} by {m or 'unknown'}" if s == "automatic" else s for s, m in zip(source, model_id, strict=True)],
        dtype=object,
    )
    rows, strata = [np.zeros(0, np.int64)], []
    for name in sorted(set(names.tolist())):
        among = np.flatnonzero(names == name)
        n = math.ceil(share * len(among) - 1e-9)
        if name.startswith("automatic"):
            n = max(n, min(least, len(among)))
        rows.append(np.sort(rng.choice(among, n, replace=False)))
        strata.append(Stratum(name, len(among), n))
    chosen = np.sort(np.concatenate(rows))
    probability = {stratum.name: stratum.probability for stratum in strata}
    return Sample(chosen, np.array([probability[n] for n in names[chosen]]), names[chosen], tuple(strata))


def wrong_share(strata: Sequence[Stratum], stratum: Sequence[str], wrong: NDArray[np.bool_]) -> tuple[float, float]:
    """Return the estimated share of wrong masks among all, and its standard error; NaN where nothing was answered.

    Each answered mask stands for the masks of its stratum ÷ answered masks of it. Strata without an answer are left out.

    Parameters
    ----------
    stratum, wrong : (K,) of the answered masks

    Source: Cochran 1977, Sampling Techniques, 3rd ed., equations 5.1 and 5.13 (stratified sampling without replacement).
    """
    names = np.array(list(stratum), dtype=object)
    counted = [(s, wrong[names == s.name]) for s in strata if (names == s.name).any()]
    total = sum(s.masks for s, _ in counted)
    if not total:
        return math.nan, math.nan
    mean = sum(s.masks / total * float(w.mean()) for s, w in counted)
    variance = 0.0
    for s, w in counted:
        n, p = len(w), float(w.mean())
        within = p * (1 - p) * n / (n - 1) if n > 1 else p * (1 - p)
        variance += (s.masks / total) ** 2 * (1 - n / s.masks) * within / n
    return mean, math.sqrt(variance)
