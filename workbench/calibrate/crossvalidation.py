"""Cross-validation grouped by image: what a fit says of images that it has not seen, and which way is as good as the best."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from workbench.calibrate.reliability import undefined

if TYPE_CHECKING:
    from workbench.calibrate.recalibrate import Features

Floats = NDArray[np.float64]


class Tried(NamedTuple):
    """A method in cross-validation: mean Brier score, and how much worse than the best, with its standard error."""

    method: str
    brier: float
    behind: float
    behind_se: float
    chosen: bool


def image_folds(groups: NDArray[Any], folds: int, seed: int) -> NDArray[np.int64]:
    """Return the fold of each row, (n,); all rows of an image are in one."""
    codes = np.unique(groups, return_inverse=True)[1].reshape(-1)
    images = int(codes.max()) + 1
    order = np.random.default_rng(seed).permutation(images)
    return np.asarray((order % min(folds, images))[codes], dtype=np.int64)


class Predicts(Protocol):
    """A fitted model of yes or no."""

    def predict(self, features: Features) -> Floats:
        """Return (n,) the probability of yes."""
        ...


def held_out(
    fit: Callable[[Features, NDArray[np.bool_]], Predicts],
    features: Features,
    y: NDArray[np.bool_],
    fold: NDArray[np.int64],
    known: NDArray[np.bool_] | None = None,
) -> Floats:
    """Return (n,) the probability of yes of each row, by a fit on the other folds.

    Parameters
    ----------
    fit : fits a model on rows and their labels, which are of both classes; y : (n,); fold : (n,), see `image_folds`
    known : (n,) rows that take part, the others are NaN; None for all
    """
    use = np.ones(len(y), bool) if known is None else known
    p = np.full(len(y), np.nan)
    for k in np.unique(fold):
        rest = use & (fold != k)
        labels = y[rest]
        if undefined(labels):  # the other folds hold one class: their share is all there is to say
            p[fold == k] = labels.mean() if len(labels) else 0.5
            continue
        p[fold == k] = fit(features.select(rest), labels).predict(features.select(fold == k))
    return np.where(use, p, np.nan)


def compare(losses: Mapping[str, Floats], groups: NDArray[Any]) -> tuple[Tried, ...]:
    """Compare mean losses in pairs over images; chosen is the first within one standard error of the best."""
    codes = np.unique(groups, return_inverse=True)[1].reshape(-1)
    n, images = len(codes), int(codes.max()) + 1
    best = min(losses, key=lambda name: float(losses[name].mean()))
    rows = []
    for name, loss in losses.items():
        of_image = np.bincount(codes, loss - losses[best])
        se = float(np.sqrt(images / max(images - 1, 1) * ((of_image - of_image.mean()) ** 2).sum()) / n)
        rows.append((name, float(loss.mean()), float(of_image.sum() / n), se))
    chosen = next(name for name, _, behind, se in rows if behind <= se)
    return tuple(Tried(*row, row[0] == chosen) for row in rows)
