"""Reliability: how far confidence is from the share that is right, with intervals and what perfection would show.

"Right" means: matched one to one with a final or true mask at IoU 0.75. Every figure is of distinct proposals, or of
the auto-accepted ones among them, as the caller chose; nothing here knows images or masks.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.calibrate.intervals import ENDS, FEW_EVENTS, draw_images, exact_binomial, percentiles
from workbench.calibrate.smooth import on_grid, smooth_ece, smooth_ece_of_many
from workbench.plain import nan_for_none, plain
from workbench.plotted import Plotted

BINS = 15
_SMOOTH_DRAWS = 400  # the smooth error takes longer, and its quantiles need no more

Floats = NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class Measured:
    """A figure, its 95 % interval by bootstrap over images, and the value a perfectly calibrated model would show.

    value, low, high : NaN where undefined, and then `note` says why. Errors grow when images are drawn anew, as with fewer
        images: where all draws lie above the value, the interval is widened down to it
    perfect, perfect_high : mean and 95 % quantile of the figure at this n if every confidence were true; NaN where it would
        be undefined, as where every confidence is 1 and no mask could be wrong
    n : masks it is of
    """

    name: str
    value: float
    low: float
    high: float
    perfect: float
    perfect_high: float
    n: int
    note: str = ""


@dataclasses.dataclass(frozen=True, eq=False)
class ReliabilityTable(Plotted):
    """Bins of equal mass, and the figures that judge a confidence.

    confidence, share_right, low, high : (B,) mean confidence, share right, its 95 % interval
    counts : (B,) masks; figures : by name: ece, smooth_ece, brier, brier_skill, auroc, iou_calibration_error
    n, images : masks and images it is of; what : which masks; note : what is undefined, and why
    """

    confidence: Floats
    share_right: Floats
    low: Floats
    high: Floats
    counts: NDArray[np.int64]
    figures: dict[str, Measured]
    n: int
    images: int
    what: str = "distinct proposals"
    note: str = ""

    def __getitem__(self, name: str) -> Measured:
        return self.figures[name]

    def __repr__(self) -> str:
        lines = [
            f"<ReliabilityTable: {self.n:,} {self.what} of {self.images:,} images{'; ' * bool(self.note)}{self.note}"
        ]
        for m in self.figures.values():
            ends = f" [{m.low:.4f}, {m.high:.4f}]" if np.isfinite(m.low) else ""
            perfect = f", perfect {m.perfect:.4f}" if np.isfinite(m.perfect) else ""
            known = f"{m.value:.4f}{ends}{perfect}" if np.isfinite(m.value) else f"undefined: {m.note}"
            lines.append(f"  {m.name:21} {known}")
        return "\n".join(lines) + ">"

    def to_dict(self) -> dict[str, Any]:
        """Return bins and figures as plain values for JSON; what is undefined is None."""
        columns = ("confidence", "share_right", "low", "high", "counts")
        return {
            "what": self.what,
            "n": self.n,
            "images": self.images,
            "note": self.note,
            "bins": {name: plain(getattr(self, name)) for name in columns},
            "figures": {name: plain(dataclasses.asdict(m)) for name, m in self.figures.items()},
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> ReliabilityTable:
        """Build the table from what `to_dict` gave."""
        bins: dict[str, Any] = {name: np.array(nan_for_none(c)) for name, c in values["bins"].items()}
        bins["counts"] = bins["counts"].astype(np.int64)
        figures = {name: Measured(**nan_for_none(m)) for name, m in values["figures"].items()}
        return cls(**bins, figures=figures, **{k: values[k] for k in ("n", "images", "what", "note")})


# ---- figures of one sample ----------------------------------------------------------------------------------------


def bins_of(confidence: Floats, bins: int = BINS) -> NDArray[np.int64]:
    """Return the bin of each confidence, (n,): of equal mass, equal values in one bin."""
    if not len(confidence):
        return np.zeros(0, np.int64)
    inner = np.unique(np.quantile(confidence, np.arange(1, bins) / bins, method="inverted_cdf"))
    found = np.searchsorted(inner, confidence, side="left")
    return np.asarray(np.unique(found, return_inverse=True)[1], dtype=np.int64)


def ece(confidence: Floats, right: ArrayLike, bins: int = BINS) -> float:
    """Return the mean over masks of |confidence − share right| between bins of equal mass; NaN for none.

    With the true IoU in place of `right` and the predicted IoU as confidence, it is `iou_calibration_error`.

    Source: Nixon et al. 2019, Measuring calibration in deep learning (adaptive bins).
    """
    if not len(confidence):
        return float("nan")
    gap = np.bincount(bins_of(confidence, bins), confidence - np.asarray(right, dtype=np.float64))
    return float(np.abs(gap).sum() / len(confidence))


def brier_skill(confidence: Floats, right: NDArray[np.bool_]) -> float:
    """Return 1 − Brier score ÷ that of the constant share right: 1 is best, 0 is no better; NaN with one class."""
    base = float(np.mean((right.mean() - right) ** 2)) if len(right) else 0.0
    return float(1 - np.mean((confidence - right) ** 2) / base) if base else float("nan")


def auroc(confidence: Floats, right: NDArray[np.bool_]) -> float:
    """Return the share of pairs, one right and one wrong, in which the right one has more confidence; ties half."""
    from scipy.stats import rankdata

    n_right = int(right.sum())
    n_wrong = len(right) - n_right
    if not n_right or not n_wrong:
        return float("nan")
    ranks = rankdata(confidence)[right].sum()
    return float((ranks - n_right * (n_right + 1) / 2) / (n_right * n_wrong))


# ---- the table ----------------------------------------------------------------------------------------------------


def reliability(
    confidence: ArrayLike,
    right: ArrayLike,
    image: ArrayLike,
    rng: np.random.Generator,
    *,
    predicted_iou: ArrayLike | None = None,
    true_iou: ArrayLike | None = None,
    what: str = "distinct proposals",
    draws: int = 1000,
    images_looked_at: int = 0,
) -> ReliabilityTable:
    """Compare confidence with what was right.

    Parameters
    ----------
    confidence : (n,) p(right); clipped to [0, 1], what is not finite is left out and said so
    right : (n,) bool; image : (n,) which image each is of
    predicted_iou, true_iou : (n,) for `iou_calibration_error`; None leaves it out. A model fine-tuned by
        `TrainConfig(iou_with="asked")` predicts little on purpose for masks that their prompt did not ask for
    draws : of the bootstrap over images, and of the simulated perfect model
    images_looked_at : with labels, which may have no such mask

    Returns
    -------
    ReliabilityTable; with all right, all wrong or no masks the figures are NaN, and `note` says why

    Raises
    ------
    ValueError : for columns of different lengths
    """
    p, y, groups = np.asarray(confidence, np.float64), np.asarray(right, bool), np.asarray(image)
    if not p.shape == y.shape == groups.shape or p.ndim != 1:
        raise ValueError(f"reliability: expected three columns of one length, got {p.shape}, {y.shape}, {groups.shape}")
    known = np.isfinite(p)
    notes = [f"{int((~known).sum())} without a score left out"] if not known.all() else []
    p, y = np.clip(p[known], 0, 1), y[known]
    codes = np.unique(groups[known], return_inverse=True)[1].reshape(-1)
    pairs = _iou_pairs(predicted_iou, true_iou, known)
    why = undefined(y) if len(y) or not images_looked_at else f"no {what} on the {images_looked_at:,} labelled images"
    if why:
        return _without_figures(p, y, codes, what, [why, *notes])
    images = int(codes.max()) + 1
    picks = draw_images(images, draws, rng)
    if images == 1:
        notes.append("one image: no interval over images")
        picks = picks[:0]
    figures = _figures(p, y, codes, picks, rng)
    if pairs is not None:
        figures["iou_calibration_error"] = _iou_error(*pairs, codes, picks, rng)
    return ReliabilityTable(*_bins(p, y, codes, picks), figures, len(p), images, what, "; ".join(notes))


def undefined(right: NDArray[np.bool_]) -> str:
    """Return why calibration is undefined for these labels, "" where it is defined."""
    if not len(right):
        return "no labelled masks: review calibration images, each of their accepted masks too, or import their truth"
    if right.all():
        return f"all {len(right)} labelled masks are right: calibration is undefined until some are wrong"
    if not right.any():
        return f"all {len(right)} labelled masks are wrong: calibration is undefined until some are right"
    return ""


def _without_figures(
    p: Floats, y: NDArray[np.bool_], codes: NDArray[np.int64], what: str, notes: list[str]
) -> ReliabilityTable:
    nan, n = float("nan"), len(p)
    names = ("ece", "smooth_ece", "brier_skill", "auroc")
    figures = {name: Measured(name, nan, nan, nan, nan, nan, n, notes[0]) for name in names}
    images = len(np.unique(codes))
    bins = _bins(p, y, codes, np.zeros((0, images), np.int64))
    return ReliabilityTable(*bins, figures, n, images, what, "; ".join(notes))


def _iou_pairs(
    predicted_iou: ArrayLike | None, true_iou: ArrayLike | None, known: NDArray[np.bool_]
) -> tuple[Floats, Floats] | None:
    if predicted_iou is None or true_iou is None:
        return None
    return np.asarray(predicted_iou, np.float64)[known], np.asarray(true_iou, np.float64)[known]


def _bins(
    p: Floats, y: NDArray[np.bool_], codes: NDArray[np.int64], picks: NDArray[np.int64]
) -> tuple[Floats, Floats, Floats, Floats, NDArray[np.int64]]:
    found = bins_of(p)
    n_bins = int(found.max(initial=-1)) + 1
    counts = np.bincount(found, minlength=n_bins)
    rights = np.bincount(found, y, n_bins)
    low, high = exact_binomial(rights, counts)
    if len(picks):
        images = picks.shape[1]
        of = codes * n_bins + found
        totals = picks @ np.bincount(of, minlength=images * n_bins).reshape(images, n_bins)
        hits = picks @ np.bincount(of, y, images * n_bins).reshape(images, n_bins)
        shares = np.where(totals > 0, hits / np.maximum(totals, 1), np.nan)
        many = (np.minimum(rights, counts - rights) >= FEW_EVENTS) & (totals > 0).any(axis=0)
        if many.any():
            low[many], high[many] = np.nanquantile(shares[:, many], ENDS, axis=0)
    safe = np.maximum(counts, 1)
    return np.bincount(found, p, n_bins) / safe, rights / safe, low, high, counts


def _figures(
    p: Floats, y: NDArray[np.bool_], codes: NDArray[np.int64], picks: NDArray[np.int64], rng: np.random.Generator
) -> dict[str, Measured]:
    """Each figure, over resampled images and over labels drawn as if the confidence were true."""
    names = {"ece": ece, "brier": lambda a, b: float(np.mean((a - b) ** 2)), "brier_skill": brier_skill, "auroc": auroc}
    perfect = np.stack([rng.random(len(p)) < p for _ in range(max(len(picks), 200))])
    drawn: dict[str, list[float]] = {name: [] for name in names}
    for times in picks:
        rows = np.repeat(np.arange(len(p)), times[codes])
        for name, figure in names.items():
            drawn[name].append(figure(p[rows], y[rows]))
    found = {}
    for name, figure in names.items():
        found[name] = _measured(name, figure(p, y), drawn[name], [figure(p, labels) for labels in perfect], len(p))
    smooth = _smooth_draws(p, y, codes, picks[:_SMOOTH_DRAWS]), _smooth_perfect(p, perfect[:_SMOOTH_DRAWS])
    found["smooth_ece"] = _measured("smooth_ece", smooth_ece(p, y), *smooth, len(p))
    order = ("ece", "smooth_ece", "brier", "brier_skill", "auroc")
    return {name: found[name] for name in order}


def _measured(name: str, value: float, drawn: Any, perfect: Any, n: int) -> Measured:
    note = "" if len(drawn) else "no interval: one image"
    low, high = percentiles(drawn)
    perfect = np.asarray(perfect)[~np.isnan(perfect)]
    low, high = np.minimum(low, value), np.maximum(high, value)
    expected = (perfect.mean(), np.quantile(perfect, 0.95)) if len(perfect) else (np.nan, np.nan)
    return Measured(name, value, float(low), float(high), float(expected[0]), float(expected[1]), n, note)


def _smooth_draws(
    p: Floats, y: NDArray[np.bool_], codes: NDArray[np.int64], picks: NDArray[np.int64]
) -> NDArray[np.float64]:
    if not len(picks):
        return np.zeros(0)
    images = np.split(np.argsort(codes, kind="stable"), np.cumsum(np.bincount(codes, minlength=picks.shape[1]))[:-1])
    times = picks.astype(np.float64)
    residuals = times @ np.stack([on_grid(p[i], p[i] - y[i]) for i in images])
    return smooth_ece_of_many(residuals, times @ np.stack([on_grid(p[i], np.ones(len(i))) for i in images]))


def _smooth_perfect(p: Floats, perfect: NDArray[np.bool_]) -> NDArray[np.float64]:
    residuals = np.stack([on_grid(p, p - labels) for labels in perfect])
    return smooth_ece_of_many(residuals, np.repeat(on_grid(p, np.ones(len(p)))[None], len(perfect), axis=0))


def _iou_error(
    predicted: Floats, true: Floats, codes: NDArray[np.int64], picks: NDArray[np.int64], rng: np.random.Generator
) -> Measured:
    """Mean |predicted IoU − true IoU| over bins; a perfect model keeps the scatter and loses the bias of each bin."""
    known = np.isfinite(predicted) & np.isfinite(true)
    predicted, true, codes = predicted[known], true[known], codes[known]
    found, scatter = bins_of(predicted), true - predicted
    scatter = scatter - (np.bincount(found, scatter) / np.maximum(np.bincount(found), 1))[found]
    rows = (np.repeat(np.arange(len(true)), times[codes]) for times in picks)
    drawn = [ece(predicted[r], true[r]) for r in rows]
    perfect = [ece(predicted, predicted + rng.choice(scatter, len(scatter))) for _ in range(200)]
    return _measured("iou_calibration_error", ece(predicted, true), drawn, perfect, len(true))
