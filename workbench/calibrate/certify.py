"""Certificates: "at most alpha wrong, with confidence 1 − delta", of a pool of masks, and of images to come.

The threshold is found by testing a fixed sequence: a grid is written down before any label is seen, and tested from the
strictest threshold on until a test fails. That costs nothing in confidence, whatever the number of thresholds.
Source: Angelopoulos et al. 2021, Learn then test, arXiv 2110.01052, section 2.1.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.calibrate.bounds import (
    betting_upper,
    betting_wealth,
    hypergeometric_passes,
    hypergeometric_upper,
    images_needed,
    labels_likely,
    labels_needed,
    percent,
    percent_up,
)
from workbench.calibrate.intervals import exact_binomial
from workbench.plain import nan_for_none, plain
from workbench.plotted import Plotted

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Right = ArrayLike | Callable[[float], ArrayLike]
"""(n,) which masks are right; or a function of the threshold, where that depends on what else is accepted."""
LEAST_CONFIDENCE = 0.5  # of several looks together, below which none is granted
GRID = tuple(round(0.995 - 0.005 * k, 3) for k in range(100))  # 0.995 to 0.5: strictest first


@dataclasses.dataclass(frozen=True)
class Step:
    """One threshold of the grid: masks accepted are those with a confidence above it.

    labels, wrong : of the unit (masks, or images with the sum of their losses); population : masks accepted in the pool
    bound : upper bound on the share wrong, NaN where it was not tested; passed : bound <= alpha
    """

    threshold: float
    labels: int
    wrong: float
    population: int
    bound: float
    passed: bool


@dataclasses.dataclass(frozen=True, eq=False)
class Certificate(Plotted):
    """What can be promised of the masks accepted above a threshold, or why nothing can.

    kind : "pool": the masks of this pool; "images": masks of images to come, from the same source
    granted : whether there is a promise; then `threshold` is the loosest that was certified and `bound` its bound
    labels, wrong : at that threshold; without a promise above the loosest one, and `bound` is of the one that failed
    needed : labels (masks, or images) above the loosest threshold by which there would be one about four times in five, at the
        shares wrong seen so far; more labels let the sequence begin at a stricter threshold.
        -1 when no number would do, since not even at the strictest with labels the share wrong is below alpha
    accepted : masks above the threshold, of `pool`
    steps : the whole grid, as it was tested
    spent : sum of the deltas of earlier certificates of the run by other labels: any of them may have been granted by
        chance, so what is promised by one of several looks is less sure (the union bound)
    """

    kind: Literal["pool", "images"]
    alpha: float
    delta: float
    granted: bool
    threshold: float
    bound: float
    labels: int
    wrong: float
    needed: int
    accepted: int
    pool: int
    steps: tuple[Step, ...]
    note: str = ""
    spent: float = 0.0

    @property
    def confidence(self) -> float:
        """Of the promise, all looks together: 1 − delta where this is the only one."""
        return max(0.0, 1 - self.delta - self.spent)

    @property
    def sentence(self) -> str:
        """The promise in words, or what is missing."""
        unit, of = ("masks", "this pool") if self.kind == "pool" else ("images", "images to come")
        if self.granted:
            whose = f"of {of}" if self.kind == "pool" else "of an image to come, on average,"
            return (
                f"At most {percent(self.alpha)} of the masks {whose} with a confidence above {self.threshold:g} are wrong, "
                f"with confidence {percent(self.confidence)} ({self.labels:,} labelled {unit}, bound {percent_up(self.bound)}; "
                f"{self.accepted:,} of {self.pool:,} masks accepted)." + self._looks
            )
        text = f"No certificate of {of} for alpha {self.alpha:g} at delta {self.delta:g}: {self.note}"
        if self.needed > self.labels:
            text += f" About {self.needed:,} labelled {unit} would be needed, there are {self.labels:,}."
        return text + " The threshold is calibrated, not certified." + self._looks

    @property
    def _looks(self) -> str:
        if not self.spent:
            return ""
        return (
            f" Certificates were asked for before, by other labels (deltas of {self.spent:g} in all): one that is granted by one of several "
            f"looks holds with confidence {percent(self.confidence)}."
        )

    @property
    def look(self) -> tuple[tuple[int, float], ...]:
        """By what it was tested: labels and wrong ones at each threshold. Nothing where no test was made, or all is labelled."""
        census = self.kind == "pool" and all(step.labels == step.population for step in self.steps)
        tested = any(not math.isnan(step.bound) for step in self.steps)
        return tuple((step.labels, step.wrong) for step in self.steps) if tested and not census else ()

    def after(self, earlier: Sequence[Certificate]) -> Certificate:
        """Return it as one of several looks, those by the same labels counted once; not granted where it is no surer than a coin."""
        looks: dict[tuple[tuple[int, float], ...], float] = {}
        for other in earlier:
            looks[other.look] = max(looks.get(other.look, 0.0), other.delta)
        spent = sum(delta for look, delta in looks.items() if look and look != self.look) if self.look else 0.0
        found = dataclasses.replace(self, spent=float(spent))
        if not found.granted or found.confidence > LEAST_CONFIDENCE:
            return found
        said = f"of so many looks one that is granted holds with confidence {percent(found.confidence)} only."
        return dataclasses.replace(
            found, granted=False, note=said, needed=found.labels, threshold=float("nan"), accepted=0
        )

    def __str__(self) -> str:
        return self.sentence

    __repr__ = __str__

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as plain values for JSON; what is undefined is None."""
        return {**plain(dataclasses.asdict(self)), "sentence": self.sentence}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Certificate:
        """Build the certificate from what `to_dict` gave."""
        known = nan_for_none({k: v for k, v in values.items() if k != "sentence"})
        return cls(**{**known, "steps": tuple(Step(**step) for step in known["steps"])})


# ---- the two kinds ------------------------------------------------------------------------------------------------


def certify_pool(
    confidence: ArrayLike,
    right: Right,
    pool: ArrayLike,
    alpha: float = 0.05,
    delta: float = 0.05,
    grid: ArrayLike = GRID,
    *,
    bounds: bool = True,
) -> Certificate:
    """Certify masks of a pool, from labels of masks drawn from it with equal probability, without replacement.

    Holds whatever the clustering within images, because masks are drawn and not images.

    Parameters
    ----------
    confidence, right : (n,) of the masks drawn, all of them labelled; pool : (N,) confidence of all masks, drawn ones too.
        A function of the threshold says which are right among the masks above it
    grid : thresholds, strictest first, fixed before labels were seen
    bounds : False leaves the bound of each step out (NaN), which takes most of the time: the same thresholds pass

    Raises
    ------
    ValueError : for alpha or delta that are no shares, a grid that is not falling, more labels than masks in the pool
    """
    p, all_of = _scores(confidence), _scores(pool)
    labels = _labels("certify_pool", right, p)
    if len(p) > len(all_of):
        raise ValueError(f"certify_pool: {len(p)} masks drawn from a pool of {len(all_of)}; draw without replacement")
    thresholds = _grid(grid)
    least = min(labels_needed(alpha, delta), labels_needed(alpha, delta, 0, len(all_of)) if len(all_of) else 1)

    def test(threshold: float) -> Step:
        step = untested(threshold)
        n, wrong, population = step.labels, int(step.wrong), step.population
        if not bounds:
            return dataclasses.replace(step, passed=hypergeometric_passes(wrong, n, population, alpha, delta))
        bound = hypergeometric_upper(wrong, n, population, delta)
        return dataclasses.replace(step, bound=bound, passed=bound <= alpha)

    def untested(threshold: float) -> Step:
        drawn = p > threshold
        counts = int(drawn.sum()), float((drawn & ~labels(threshold)).sum()), int((all_of > threshold).sum())
        return Step(threshold, *counts, float("nan"), False)

    def needs(step: Step) -> int:
        return labels_likely(step.wrong / step.labels, alpha, delta, step.population, least)

    return _sequence("pool", thresholds, least, test, untested, needs, all_of, alpha, delta)


def certify_images(
    confidence: ArrayLike,
    right: Right,
    image: ArrayLike,
    rng: np.random.Generator,
    alpha: float = 0.05,
    delta: float = 0.05,
    grid: ArrayLike = GRID,
    *,
    bounds: bool = True,
) -> Certificate:
    """Certify images to come, from images drawn from the same source with all their masks labelled.

    The unit is the image: its loss is the share wrong among its masks above the threshold; images without any are left
    out, of the promise too.

    Parameters
    ----------
    confidence, right, image : (n,) of all masks of the labelled images; right as for `certify_pool`
    rng : draws the order in which images are bet on
    grid : thresholds, strictest first, fixed before labels were seen
    bounds : False leaves the bound of each step out (NaN), which takes most of the time: the same thresholds pass

    Raises
    ------
    ValueError : for alpha or delta that are no shares, or a grid that is not falling
    """
    p, groups = _scores(confidence), np.asarray(image)
    labels = _labels("certify_images", right, p)
    if p.shape != groups.shape:
        raise ValueError(f"certify_images: expected the image of each of the {p.size} masks, got {groups.size}")
    codes = np.unique(groups, return_inverse=True)[1].reshape(-1)
    order = rng.permutation(int(codes.max(initial=-1)) + 1)
    thresholds, least = _grid(grid), images_needed(alpha, delta)

    def losses(threshold: float) -> Floats:
        accepted = np.bincount(codes, p > threshold, len(order))[order]
        wrong = np.bincount(codes, (p > threshold) & ~labels(threshold), len(order))[order]
        return np.asarray(wrong[accepted > 0] / accepted[accepted > 0])

    def test(threshold: float) -> Step:
        x = losses(threshold)
        passed = bool(betting_wealth(x, alpha, delta) >= np.log(1 / delta))
        bound = betting_upper(x, delta) if bounds else float("nan")
        bound = min(bound, alpha) if passed and bounds else bound
        return Step(threshold, len(x), float(x.sum()), int((p > threshold).sum()), bound, passed)

    def untested(threshold: float) -> Step:
        x = losses(threshold)
        return Step(threshold, len(x), float(x.sum()), int((p > threshold).sum()), float("nan"), False)

    def needs(step: Step) -> int:
        spread = float(losses(step.threshold).std())
        return images_needed(alpha, delta, step.wrong / step.labels, spread) if step.wrong else least

    return _sequence("images", thresholds, least, test, untested, needs, p, alpha, delta)


def _scores(given: ArrayLike) -> Floats:
    """Scores as numbers that compare: one that is missing or not finite is above no threshold."""
    scores = np.asarray(given, np.float64)
    if scores.ndim != 1:
        raise ValueError(f"certificate: expected one column of scores, got shape {scores.shape}")
    return np.where(np.isfinite(scores), scores, -np.inf)


def _labels(what: str, right: Right, p: Floats) -> Callable[[float], Flags]:
    """Return which of the masks are right, as a function of the threshold."""
    if callable(right):
        return lambda threshold: np.asarray(right(threshold), bool)
    fixed = np.asarray(right, bool)
    if fixed.shape != p.shape:
        raise ValueError(f"{what}: expected a label for each of the {p.size} masks, got {fixed.size}")
    return lambda _: fixed


def _grid(given: ArrayLike) -> Floats:
    grid = np.asarray(given, np.float64)
    if grid.ndim != 1 or not len(grid) or (np.diff(grid) >= 0).any():
        raise ValueError("grid: expected thresholds that fall from the strictest to the loosest")
    return grid


def _sequence(
    kind: Literal["pool", "images"],
    grid: Floats,
    least: int,
    test: Callable[[float], Step],
    untested: Callable[[float], Step],
    needs: Callable[[Step], int],
    pool: Floats,
    alpha: float,
    delta: float,
) -> Certificate:
    """Test from the strictest threshold with enough labels on; the number of labels says nothing of what is wrong."""
    steps: list[Step] = []
    tested: list[Step] = []
    for threshold in grid.tolist():
        step = untested(threshold)
        if tested[-1].passed if tested else step.labels >= least:
            step = test(threshold)
            tested.append(step)
        steps.append(step)
    passed = [step for step in tested if step.passed]
    shown = passed[-1] if passed else steps[-1]
    reach = steps if not tested else steps[: steps.index(tested[0]) + 1]
    note, needed = ("", shown.labels) if passed else _missing(kind, reach, shown, tested, least, needs, alpha)
    return Certificate(
        kind=kind,
        alpha=alpha,
        delta=delta,
        granted=bool(passed),
        threshold=shown.threshold if passed else float("nan"),
        bound=shown.bound if passed or not tested else tested[0].bound,
        labels=shown.labels,
        wrong=shown.wrong,
        needed=needed,
        accepted=shown.population if passed else 0,
        pool=len(pool),
        steps=tuple(steps),
        note=note,
    )


def _missing(
    kind: str,
    reach: Sequence[Step],
    loosest: Step,
    tested: Sequence[Step],
    least: int,
    needs: Callable[[Step], int],
    alpha: float,
) -> tuple[str, int]:
    """Say why there is no certificate, and about how many labels there would have to be.

    reach : the thresholds down to the one that failed, or all: with more labels the sequence can begin at any of them
    """
    labelled = [s for s in reach if s.labels and (kind == "images" or s.population >= least)]
    needed = _needed(labelled, loosest.labels, least, needs, alpha)
    if kind == "pool" and needed > 0:
        needed = min(needed, loosest.population) if loosest.population >= least else needed
    if needed < 0 and labelled:
        strict = labelled[0]
        # a few labels by themselves say little
        if tested or exact_binomial(strict.wrong, strict.labels)[0] > alpha:
            share = strict.wrong / strict.labels
            return (
                f"{share:.1%} of what was labelled above {strict.threshold:g} is wrong, which is not below alpha.",
                -1,
            )
    if tested:
        return (
            f"the bound at the strictest threshold tested ({tested[0].threshold:g}) is {percent_up(tested[0].bound)}.",
            needed,
        )
    unit = "masks" if kind == "pool" else "images"
    share = loosest.wrong / max(loosest.labels, 1)
    so_far = f"; so far {share:.1%} of what was labelled above {loosest.threshold:g} is wrong" if loosest.labels else ""
    return f"no threshold of the grid has the {least:,} labelled {unit} that it takes{so_far}.", max(needed, least)


def _needed(labelled: Sequence[Step], total: int, least: int, needs: Callable[[Step], int], alpha: float) -> int:
    """Return the fewest labels in all by which one of the thresholds has as many as it takes; -1 where none is below alpha."""
    best = -1
    for step in reversed(labelled):  # the loosest first: it has most labels
        scale = total / step.labels
        if 0 < best <= least * scale:
            break
        if step.wrong / step.labels < alpha and (n := needs(step)) > 0:
            found = int(np.ceil(max(n, least) * scale))
            best = found if best < 0 else min(best, found)
    return best
