"""Audits (R7): a stratified random sample of all final masks, each with the probability with which it was drawn."""

from __future__ import annotations

import collections
import dataclasses
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from workbench.tables.figures import Interval
from workbench.tables.intervals import FEW_EVENTS, LEVEL, bootstrap_many, exact_binomial


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


def wrong_share(
    strata: Sequence[Stratum],
    stratum: Sequence[str],
    image: Sequence[str],
    wrong: NDArray[np.bool_],
    rng: np.random.Generator,
) -> Interval:
    """Return the estimated share of wrong masks among all of the strata with an answer, with its 95 % interval.

    Each answered mask stands for the masks of its stratum ÷ answered masks of it (wrong masks so weighed ÷ all so
    weighed). The interval is from drawing the images anew; with fewer than 5 wrong (or right) masks it is the exact
    binomial one of each stratum, weighed by masks, the 5 % split between the strata. Images count as a sample even where
    all their masks were drawn: a summary, no certificate.

    Parameters
    ----------
    stratum, image, wrong : (K,) of the answered masks

    Source: Cochran 1977, Sampling Techniques, 3rd ed., equation 5.1; Efron 1979; Clopper and Pearson 1934.
    """
    answered = collections.Counter(stratum)
    counted = [s for s in strata if answered[s.name]]
    if not counted:
        return Interval.unknown()
    weight_of = {s.name: s.masks / answered[s.name] for s in counted}
    weight = np.array([weight_of[name] for name in stratum])
    _, at = np.unique(np.array(list(image), dtype=str), return_inverse=True)
    wrong_of, all_of = (np.bincount(at, w)[None].astype(np.float64) for w in (weight * wrong, weight))
    found = bootstrap_many(wrong_of, all_of, rng, of_events=False).interval(0)
    if min(wrong.sum(), (~wrong).sum()) >= FEW_EVENTS:
        return dataclasses.replace(found, n=len(wrong))
    names = np.array(list(stratum), dtype=object)
    k, n = (np.array([x[names == s.name].sum() for s in counted]) for x in (wrong, np.ones_like(wrong)))
    share = np.array([s.masks for s in counted]) / sum(s.masks for s in counted)
    low, high = exact_binomial(k, n, 1 - (1 - LEVEL) / len(counted))
    return Interval(found.value, float(share @ low), float(share @ high), len(wrong), "binomial")
