"""The verifier (B3): a small model of the verdict, for "is this mask good?" and "is this image complete?".

It looks at columns given as arrays: the pooled embedding; of a mask scores, geometry and context, of an image counts,
scores and coverage. Logistic regression first; a small network only where it pays. It is a signal for triage only when
it beats the score there is already (predicted IoU for masks) on calibration images, and is reported beside it always.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.calibrate.crossvalidation import compare, held_out, image_folds
from workbench.calibrate.intervals import draw_images, percentiles
from workbench.calibrate.recalibrate import Features, sigmoid
from workbench.calibrate.reduction import EMBEDDING
from workbench.calibrate.reliability import auroc, undefined
from workbench.plain import nan_for_none, plain

Floats = NDArray[np.float64]
Question = Literal["is this mask good?", "is this image complete?"]
GOOD: Question = "is this mask good?"
COMPLETE: Question = "is this image complete?"
Kind = Literal["logistic", "network"]
KINDS: tuple[Kind, ...] = ("logistic", "network")
WITH_EMBEDDING = " with embedding"
_HIDDEN = 16
# The bootstrap over fewer images is too sure of itself. Of 500 verifiers of columns that were all noise 7 % came out as
# useful on 4 images, 6 % on 8 and 3 % on 10; the end of a 95 % interval should let 2.5 % through
_LEAST_IMAGES = 10


@dataclasses.dataclass(frozen=True, eq=False)
class Verifier:
    """A fitted model of the verdict, as plain arrays.

    question : what it answers; kind : logistic or network; columns : names of what it looks at; arrays : parameters
    """

    question: Question
    kind: Kind
    columns: tuple[str, ...]
    arrays: Mapping[str, Floats]

    def predict(self, features: Features) -> Floats:
        """Return (n,) the probability of yes; a value that is missing counts as the mean of its column.

        Parameters
        ----------
        features : with the columns it was fitted on; others are passed over

        Raises
        ------
        ValueError : when one of the columns is missing
        """
        a = self.arrays
        hidden = _standard(features.columns(self.columns).values, a["mean"], a["scale"])
        if self.kind == "network":
            hidden = np.tanh(hidden @ a["weights"] + a["bias"])
        logits = hidden @ a["slope"] + a["offset"]
        return sigmoid(logits[:, 0])

    @property
    def embeds(self) -> bool:
        """Whether it looks at SAM's embedding."""
        return any(name.startswith(EMBEDDING) for name in self.columns)

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain lists for JSON; every float keeps all its bits."""
        arrays = {name: values.tolist() for name, values in self.arrays.items()}
        return {"question": self.question, "kind": self.kind, "columns": list(self.columns), "arrays": arrays}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Verifier:
        """Build it from what `to_dict` gave. Raises ValueError for a kind that is not known."""
        if values["kind"] not in _FIT:
            raise ValueError(f"verifier: expected a kind of {sorted(_FIT)}, got {values['kind']!r}")
        arrays = {name: np.array(column, dtype=np.float64) for name, column in values["arrays"].items()}
        return cls(values["question"], values["kind"], tuple(values["columns"]), arrays)


@dataclasses.dataclass(frozen=True, eq=False)
class Verification:
    """A verifier beside the score there is already, both on images that the fit had not seen.

    auroc, baseline_auroc : of the verifier and of the score; gain, low, high : their difference, its 95 % interval by
        bootstrap over images
    useful : low > 0: it may be used as a signal for triage; brier : of each kind tried
    verifier : fitted on everything; None where that is undefined, and `note` says why; held_out : (n,) probabilities
    """

    question: Question
    auroc: float
    baseline_auroc: float
    gain: float
    low: float
    high: float
    useful: bool
    brier: Mapping[str, float]
    verifier: Verifier | None
    held_out: Floats
    n: int
    images: int
    note: str = ""

    def __repr__(self) -> str:
        if self.verifier is None:
            return f"<Verification {self.question!r}: undefined: {self.note}>"
        use = "can be used as a signal" if self.useful else "not used: it is not better for certain"
        plain = sum(not name.startswith(EMBEDDING) for name in self.verifier.columns)
        over = f"{plain} columns" + " and SAM's embedding" * self.verifier.embeds
        masks, score = (f"{self.n:,} masks of ", "predicted IoU") if self.question == GOOD else ("", "coverage")
        return (
            f"<Verification {self.question!r} on {masks}{self.images:,} images: {self.verifier.kind} over {over}, "
            f"AUROC {self.auroc:.3f} beside {self.baseline_auroc:.3f} of {score}, "
            f"gain {self.gain:+.3f} [{self.low:+.3f}, {self.high:+.3f}]; {use}>"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return all but the held-out probabilities as plain values for JSON; what is undefined is None."""
        names = ("question", "auroc", "baseline_auroc", "gain", "low", "high", "useful", "n", "images", "note")
        model = self.verifier.to_dict() if self.verifier else None
        return {**plain({name: getattr(self, name) for name in names}), "brier": dict(self.brier), "verifier": model}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Verification:
        """Build it from what `to_dict` gave, without the held-out probabilities."""
        known = nan_for_none({k: v for k, v in values.items() if k != "verifier"})
        model = Verifier.from_dict(values["verifier"]) if values["verifier"] else None
        return cls(**known, verifier=model, held_out=np.zeros(0))


def _standard(values: Floats, mean: Floats, scale: Floats) -> Floats:
    z = (values - mean) / scale
    return np.where(np.isfinite(z), np.clip(z, -10, 10), 0.0)


def _scales(values: Floats) -> dict[str, Floats]:
    known = np.where(np.isfinite(values), values, np.nan)
    has = np.isfinite(known).any(axis=0)
    mean, scale = np.zeros(values.shape[1]), np.ones(values.shape[1])
    mean[has] = np.nanmean(known[:, has], axis=0)
    spread = np.nanstd(known[:, has], axis=0)
    scale[has] = np.where(spread > 1e-12, spread, 1.0)
    return {"mean": mean, "scale": scale}


def _fit_logistic(x: Floats, y: NDArray[np.bool_], _seed: int) -> dict[str, Floats]:
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=0.1, max_iter=2000).fit(x, y)
    return {"slope": np.asarray(model.coef_.T, np.float64), "offset": np.asarray(model.intercept_, np.float64)}


def _fit_network(x: Floats, y: NDArray[np.bool_], seed: int) -> dict[str, Floats]:
    import warnings

    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    model = MLPClassifier((_HIDDEN,), activation="tanh", alpha=1.0, solver="lbfgs", max_iter=200, random_state=seed)
    with warnings.catch_warnings():  # stopped early on purpose
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(x, y)
    (weights, slope), (bias, offset) = model.coefs_, model.intercepts_
    return {"weights": weights, "bias": bias, "slope": slope, "offset": offset}


_FIT: dict[str, Any] = {"logistic": _fit_logistic, "network": _fit_network}


def fit(kind: Kind, features: Features, yes: ArrayLike, question: Question = GOOD, seed: int = 0) -> Verifier:
    """Fit a verifier of one kind.

    Parameters
    ----------
    features : (n, F), NaN where not measured; yes : (n,) bool

    Raises
    ------
    ValueError : where all answers are the same
    """
    x, y = features.values, np.asarray(yes, bool)
    if why := undefined(y):
        raise ValueError(f"verifier: {why}")
    scales = _scales(x)
    return Verifier(question, kind, features.names, {**scales, **_FIT[kind](_standard(x, **scales), y, seed)})


def _undefined_of_images(complete: NDArray[np.bool_]) -> str:
    """Return why "is this image complete?" cannot be learned from these answers, "" where it can."""
    if not len(complete) or complete.any() != complete.all():
        return "" if len(complete) else undefined(complete)
    words = ("complete", "incomplete") if complete.all() else ("incomplete", "complete")
    return (
        f"all {len(complete)} labelled images are {words[0]} by their accepted masks; it takes some that are {words[1]}"
    )


def verify(
    features: Features,
    yes: ArrayLike,
    image: ArrayLike,
    baseline: ArrayLike,
    rng: np.random.Generator,
    *,
    question: Question = GOOD,
    folds: int = 5,
    draws: int = 1000,
    seed: int = 0,
    embedding: Features | None = None,
) -> Verification:
    """Fit a verifier and compare it with the score there is already, by cross-validation grouped by image.

    Each kind is tried without the embedding and with it; the first within one standard error of the best is taken, from
    the simplest on.

    Parameters
    ----------
    features : (n, F); yes : (n,) bool; image : (n,) which image each row is of
    baseline : (n,) the score to beat, for masks predicted IoU; one that is missing or not finite counts as the lowest
    embedding : (n, k) further columns; None where there are none

    Returns
    -------
    Verification; `useful` only when the interval of the gain in AUROC lies above 0
    """
    y, groups = np.asarray(yes, bool), np.asarray(image)
    codes = np.unique(groups, return_inverse=True)[1].reshape(-1)
    images, nan = int(codes.max(initial=-1)) + 1, float("nan")
    why = undefined(y) if question == GOOD else _undefined_of_images(y)
    if not why and images < _LEAST_IMAGES:
        why = f"labels of {images} images, at least {_LEAST_IMAGES} are needed: review more"
    if why:
        empty = np.full(len(y), nan)
        return Verification(question, nan, nan, nan, nan, nan, False, {}, None, empty, len(y), images, why)
    fold = image_folds(groups, folds, seed)
    looks = {"": features} if embedding is None else {"": features, WITH_EMBEDDING: features.beside(embedding)}
    ways = {kind + which: (kind, seen) for kind in KINDS for which, seen in looks.items()}
    held = {k: held_out(functools.partial(fit, kind, seed=seed), seen, y, fold) for k, (kind, seen) in ways.items()}
    tried = compare({name: (p - y) ** 2 for name, p in held.items()}, groups)
    best = next(t.method for t in tried if t.chosen)
    score = np.asarray(baseline, np.float64)
    score = np.where(np.isfinite(score), score, -np.inf)
    values_of = auroc(held[best], y), auroc(score, y)
    low, high = _gain_interval(held[best], score, y, codes, rng, draws)
    fitted = fit(*ways[best], y, question, seed)
    brier = {t.method: t.brier for t in tried}
    gain = values_of[0] - values_of[1]
    return Verification(question, *values_of, gain, low, high, low > 0, brier, fitted, held[best], len(y), images)


def _gain_interval(
    p: Floats, score: Floats, y: NDArray[np.bool_], codes: NDArray[np.int64], rng: np.random.Generator, draws: int
) -> tuple[float, float]:
    images = int(codes.max()) + 1
    rows = (np.repeat(np.arange(len(y)), times[codes]) for times in draw_images(images, draws, rng))
    return percentiles([auroc(p[r], y[r]) - auroc(score[r], y[r]) for r in rows if not undefined(y[r])])
