"""Recalibration: from scores to p(right), by the method that cross-validation over images likes best.

A fitted `Recalibration` is plain arrays and is evaluated with numpy, so that it is stored as JSON and read back to the
same bits; no estimator is ever written to disk. scikit-learn is needed to fit only.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.calibrate.crossvalidation import Tried, compare, held_out, image_folds
from workbench.calibrate.reliability import undefined

METHODS = ("temperature", "platt", "isotonic", "logistic", "trees")  # from the simplest on
LEAST_IMAGES, LEAST_OF_A_CLASS = 2, 2
_CLIP = 1e-6
_LITTLE = 0.3  # inverse strength of the ridge, on columns of unit deviation

Floats = NDArray[np.float64]


class Features(NamedTuple):
    """What a recalibration looks at: columns with names; the first is the score that the simple methods use.

    names : (F,); values : (n, F) float, NaN where not measured
    """

    names: tuple[str, ...]
    values: Floats

    @classmethod
    def of(cls, **columns: ArrayLike) -> Features:
        """Stack columns of one length; predicted_iou comes first."""
        arrays = [np.asarray(column, np.float64) for column in columns.values()]
        if len({a.shape for a in arrays}) != 1 or arrays[0].ndim != 1:
            raise ValueError(f"Features: expected columns of one length, got {[a.shape for a in arrays]}")
        return cls(tuple(columns), np.stack(arrays, axis=1))

    @property
    def score(self) -> Floats:
        """(n,) the first column."""
        return self.values[:, 0]

    @property
    def scored(self) -> NDArray[np.bool_]:
        """(n,) which have a score: one that is not finite counts as missing, in fitting and in predicting."""
        return np.isfinite(self.score)

    def columns(self, names: Sequence[str]) -> Features:
        """Return these columns, in this order. Raises ValueError when one is missing."""
        missing = [name for name in names if name not in self.names]
        if missing:
            raise ValueError(
                f"features: expected columns {tuple(names)}, {', '.join(missing)} is not among {self.names}"
            )
        return Features(tuple(names), self.values[:, [self.names.index(name) for name in names]])

    def beside(self, others: Features) -> Features:
        """Return these columns, and those of others after them, of the same rows."""
        return Features((*self.names, *others.names), np.concatenate([self.values, others.values], axis=1))

    def select(self, rows: Any) -> Features:
        """Return some rows."""
        return Features(self.names, self.values[rows])


@dataclasses.dataclass(frozen=True, eq=False)
class Recalibration:
    """A map from features to p(right); `predict` gives it, NaN where the score is missing.

    method : of `METHODS`, or "none": the score itself, read as a probability
    features : names of the columns it takes; arrays : its parameters
    """

    method: str
    features: tuple[str, ...]
    arrays: Mapping[str, NDArray[Any]]

    def predict(self, features: Features) -> Floats:
        """Return (n,) p(right).

        Parameters
        ----------
        features : with the columns it was fitted on; what came to be looked at later is passed over

        Raises
        ------
        ValueError : when one of the columns is missing
        """
        features = features.columns(self.features)
        p = _PREDICT[self.method](self.arrays, features)
        return np.where(features.scored, np.clip(p, 0, 1), np.nan)

    def to_dict(self) -> dict[str, Any]:
        """Return method, columns and arrays as plain lists for JSON; every float keeps all its bits."""
        arrays = {k: {"dtype": str(a.dtype), "values": a.tolist()} for k, a in self.arrays.items()}
        return {"method": self.method, "features": list(self.features), "arrays": arrays}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Recalibration:
        """Build it from what `to_dict` gave. Raises ValueError for a method or a type that is not known."""
        if values["method"] not in _PREDICT:
            raise ValueError(f"recalibration: expected a method of {sorted(_PREDICT)}, got {values['method']!r}")
        dtypes = {a["dtype"] for a in values["arrays"].values()}
        if not dtypes <= {"float64", "int64"}:
            raise ValueError(f"recalibration: expected arrays of float64 or int64, got {sorted(dtypes)}")
        arrays = {k: np.array(a["values"], dtype=a["dtype"]) for k, a in values["arrays"].items()}
        return cls(values["method"], tuple(values["features"]), arrays)

    @classmethod
    def none(cls, features: Sequence[str]) -> Recalibration:
        """Return the one that leaves the score as it is."""
        return cls("none", tuple(features), {})


# ---- fitting ------------------------------------------------------------------------------------------------------


def fit(method: str, features: Features, right: ArrayLike, seed: int = 0) -> Recalibration:
    """Fit one method on labelled masks; rows without a score are left out.

    Raises
    ------
    ValueError : for an unknown method, or where all are right or all are wrong

    "logistic" is a ridge logistic regression on all columns. Source of the others: Platt 1999; Zadrozny and Elkan 2002
    (isotonic); Guo et al. 2017 (temperature); Friedman 2001 (trees).
    """
    if method not in METHODS:
        raise ValueError(f"recalibration: expected a method of {', '.join(METHODS)}, got {method!r}")
    y = np.asarray(right, bool)
    known = features.scored
    features, y = features.select(known), y[known]
    if why := undefined(y):
        raise ValueError(f"recalibration: {why}")
    return Recalibration(method, features.names, _FIT[method](features, y, seed))


def _logit(score: Floats) -> Floats:
    p = np.clip(score, _CLIP, 1 - _CLIP)
    return np.log(p) - np.log1p(-p)


def sigmoid(x: Floats) -> Floats:
    """Return 1 ÷ (1 + e to the −x), of any shape."""
    return np.asarray(1 / (1 + np.exp(-np.clip(x, -500, 500))))


def _fit_temperature(features: Features, y: NDArray[np.bool_], _seed: int) -> dict[str, NDArray[Any]]:
    from scipy.optimize import minimize_scalar

    logits, sign = _logit(features.score), np.where(y, 1.0, -1.0)

    def loss(log_temperature: float) -> float:
        return float(np.logaddexp(0, -sign * logits / np.exp(log_temperature)).mean())

    found = minimize_scalar(loss, bounds=(-4, 6), method="bounded")
    return {"temperature": np.array([np.exp(found.x)])}


def _fit_platt(features: Features, y: NDArray[np.bool_], _seed: int) -> dict[str, NDArray[Any]]:
    from sklearn.linear_model import LogisticRegression

    # Platt's targets: a little away from 0 and 1, so that separable scores give finite slopes
    n_right, n_wrong = int(y.sum()), int((~y).sum())
    high, low = (n_right + 1) / (n_right + 2), 1 / (n_wrong + 2)
    targets = np.where(y, high, low)
    x = np.tile(features.score[:, None], (2, 1))
    model = LogisticRegression(C=np.inf, max_iter=1000)
    model.fit(x, np.repeat([True, False], len(y)), sample_weight=np.concatenate([targets, 1 - targets]))
    return {"slope": model.coef_[0].astype(np.float64), "offset": model.intercept_.astype(np.float64)}


def _fit_isotonic(features: Features, y: NDArray[np.bool_], _seed: int) -> dict[str, NDArray[Any]]:
    from sklearn.isotonic import IsotonicRegression

    model = IsotonicRegression(out_of_bounds="clip").fit(features.score, y.astype(np.float64))
    return {"x": np.asarray(model.X_thresholds_, np.float64), "y": np.asarray(model.y_thresholds_, np.float64)}


def _fit_logistic(features: Features, y: NDArray[np.bool_], _seed: int) -> dict[str, NDArray[Any]]:
    from sklearn.linear_model import LogisticRegression

    fill = _middles(features.values)
    x = np.where(np.isfinite(features.values), features.values, fill)
    middle, spread = x.mean(axis=0), x.std(axis=0)
    spread = np.where(spread > 1e-12, spread, 1.0)
    model = LogisticRegression(C=_LITTLE, max_iter=2000).fit((x - middle) / spread, y)
    weights = model.coef_[0].astype(np.float64) / spread
    return {"fill": fill, "weights": weights, "offset": model.intercept_.astype(np.float64) - middle @ weights}


def _fit_trees(features: Features, y: NDArray[np.bool_], seed: int) -> dict[str, NDArray[Any]]:
    from sklearn.ensemble import GradientBoostingClassifier

    fill = _middles(features.values)
    least = max(2, min(20, len(y) // 10))
    model = GradientBoostingClassifier(
        n_estimators=80, max_depth=3, learning_rate=0.08, subsample=0.7, min_samples_leaf=least, random_state=seed
    )
    model.fit(_filled(features.values, fill), y)
    trees = [estimator.tree_ for estimator in model.estimators_[:, 0]]
    starts = np.cumsum([0] + [tree.node_count for tree in trees[:-1]])
    moved = [
        (
            np.where(t.children_left < 0, -1, t.children_left + s),
            np.where(t.children_right < 0, -1, t.children_right + s),
        )
        for t, s in zip(trees, starts, strict=True)
    ]
    share = float(y.mean())
    return {
        "fill": fill,
        "base": np.array([np.log(share / (1 - share)), model.learning_rate]),
        "root": starts.astype(np.int64),
        "feature": np.concatenate([t.feature for t in trees]).astype(np.int64),
        "threshold": np.concatenate([t.threshold for t in trees]).astype(np.float64),
        "left": np.concatenate([m[0] for m in moved]).astype(np.int64),
        "right": np.concatenate([m[1] for m in moved]).astype(np.int64),
        "value": np.concatenate([t.value[:, 0, 0] for t in trees]).astype(np.float64),
    }


def _middles(values: Floats) -> Floats:
    """Median of each column without its gaps; 0 for one that was never measured."""
    found = np.zeros(values.shape[1])
    for k in range(values.shape[1]):
        known = values[np.isfinite(values[:, k]), k]
        found[k] = np.median(known) if len(known) else 0.0
    return found


def _filled(values: Floats, fill: Floats) -> NDArray[np.float32]:
    return np.where(np.isfinite(values), values, fill).astype(np.float32)  # trees compare in float32


_FIT = {
    "temperature": _fit_temperature,
    "platt": _fit_platt,
    "isotonic": _fit_isotonic,
    "logistic": _fit_logistic,
    "trees": _fit_trees,
}


# ---- evaluating ---------------------------------------------------------------------------------------------------


def _grown(a: Mapping[str, NDArray[Any]], features: Features) -> Floats:
    """Sum the leaves that each row falls into, all trees of a row walked at once."""
    x = _filled(features.values, a["fill"])
    node = np.repeat(a["root"][None], len(x), axis=0)
    rows = np.arange(len(x))[:, None]
    while (inner := a["left"][node] >= 0).any():
        below = x[rows, np.where(inner, a["feature"][node], 0)] <= a["threshold"][node]
        node = np.where(inner, np.where(below, a["left"][node], a["right"][node]), node)
    base, rate = a["base"]
    return sigmoid(base + rate * a["value"][node].sum(axis=1))


def _summed(a: Mapping[str, NDArray[Any]], features: Features) -> Floats:
    x = np.where(np.isfinite(features.values), features.values, a["fill"])
    return sigmoid(x @ a["weights"] + a["offset"][0])


_PREDICT: dict[str, Any] = {
    "none": lambda _, f: f.score,
    "temperature": lambda a, f: sigmoid(_logit(f.score) / a["temperature"][0]),
    "platt": lambda a, f: sigmoid(a["slope"][0] * f.score + a["offset"][0]),
    "isotonic": lambda a, f: np.interp(f.score, a["x"], a["y"]),
    "logistic": _summed,
    "trees": _grown,
}


# ---- choosing -----------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, eq=False)
class Choice:
    """The methods compared, and the one that was chosen, fitted on everything.

    tried : of each method, "none" included; chosen : None where no recalibration is possible, and `note` says why
    held_out : (n,) p(right) of each mask by a fit that has not seen its image; NaN without one
    """

    tried: tuple[Tried, ...]
    chosen: Recalibration | None
    held_out: Floats
    note: str = ""


def choose(
    features: Features,
    right: ArrayLike,
    image: ArrayLike,
    *,
    folds: int = 5,
    seed: int = 0,
    methods: Sequence[str] = METHODS,
) -> Choice:
    """Compare methods by cross-validation grouped by image, and fit the simplest one that is as good as the best.

    "As good": its Brier score is behind by no more than one standard error of the paired difference over images.

    Parameters
    ----------
    features : (n, F); right : (n,) bool; image : (n,) which image each mask is of
    folds : at most, and no more than images

    Returns
    -------
    Choice; without two images, or with one class only, nothing is chosen and `note` says why
    """
    y, groups = np.asarray(right, bool), np.asarray(image)
    known = features.scored
    why = undefined(y[known]) or _too_few(y[known], groups[known])
    if why:
        return Choice((), None, np.full(len(y), np.nan), why)
    fold = image_folds(groups, folds, seed)
    held = {"none": Recalibration.none(features.names).predict(features)}
    for name in methods:
        held[name] = held_out(functools.partial(fit, name, seed=seed), features, y, fold, known)
    scored = known & np.all([np.isfinite(p) for p in held.values()], axis=0)
    tried = compare({k: (p - y)[scored] ** 2 for k, p in held.items()}, groups[scored])
    best = next(t.method for t in tried if t.chosen)
    fitted = Recalibration.none(features.names) if best == "none" else fit(best, features, y, seed)
    note = f"{int((~known).sum())} masks without a score left out" if not known.all() else ""
    return Choice(tried, fitted, held[best], note)


def _too_few(y: NDArray[np.bool_], groups: NDArray[Any]) -> str:
    images = len(np.unique(groups))
    if images < LEAST_IMAGES:
        return f"labels of {images} image: cross-validation by image needs at least {LEAST_IMAGES}; review more"
    for name, labels in (("right", y), ("wrong", ~y)):
        if labels.sum() < LEAST_OF_A_CLASS:
            return (
                f"only {int(labels.sum())} labelled mask is {name}: {LEAST_OF_A_CLASS} are needed at least; review more"
            )
    return ""
