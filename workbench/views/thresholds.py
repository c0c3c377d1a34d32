"""What a pool says to thresholds: exact outcomes, what is wrong of them, and which images change. It knows no Panel."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from workbench.config import TriageConfig
from workbench.loop.metrics import METRICS, Point
from workbench.tables.figures import Interval
from workbench.tables.outcomes import Outcome
from workbench.triage.histogram import HeatMap, Histogram, cells_of, count
from workbench.triage.limits import PoolError
from workbench.triage.pool import DistinctPool, ExactPool
from workbench.views.pool_audits import PoolAudits
from workbench.views.pools import Pooled

BINS = 48
RECALL = ("recall_auto", "recall_auto_75", "ceiling")
RATES = ("fp_rate", *RECALL)  # the first needs truth that holds every object


class Rate(NamedTuple):
    """A figure as numerator and denominator."""

    events: int
    n: int

    @property
    def value(self) -> float:
        """Events ÷ n; NaN without any."""
        return self.events / self.n if self.n else math.nan


@dataclasses.dataclass(frozen=True, eq=False)
class Answer:
    """What a pool says to some thresholds, as `triage` would.

    counts : of the distinct pool distinct, auto_accepted, flagged, discarded; of the exact pool kept, discarded, duplicates
    heat : rows by predicted IoU (x), a stability (y) and outcome; histogram : by predicted IoU and outcome
    rates : figures of `workbench.loop.metrics.METRICS` on the images with truth, by name; empty without any, and of
        recall alone where truth is not exhaustive
    unjittered : kept rows of the exact pool whose jitter counts and was not measured
    audited : the wrong share among the auto-accepted by audits; None where exhaustive truth says it, or nothing does
    """

    config: TriageConfig
    kind: str
    counts: dict[str, int]
    heat: HeatMap
    histogram: Histogram
    rates: Mapping[str, Rate] = dataclasses.field(default_factory=dict)
    audited: Interval | None = None
    unjittered: int = 0

    def share(self, name: str) -> float:
        """The figure of that name; NaN where it is not known."""
        return self.rates[name].value if name in self.rates else math.nan


def answer(
    pooled: Pooled,
    config: TriageConfig,
    axis: str = "jitter_stability",
    bins: int = BINS,
    audits: PoolAudits | None = None,
    exhaustive: bool = False,
) -> Answer:
    """Return what a pool says to thresholds.

    Parameters
    ----------
    exhaustive : whether truth holds every object of its images; else it says of no mask that it is wrong
    audits : what `audits_of` knows of the pool; asked where truth does not say what is wrong

    Raises
    ------
    PoolError : when the thresholds reach outside of what is stored, with what to do
    """
    if isinstance(pooled.pool, ExactPool):
        return _exact(pooled, pooled.pool, config, axis, bins)
    pool = pooled.pool
    counts = pool.counts(config)
    # every row of the histogram is a row of the heat map: one pass for both would save little
    heat = pool.heat_map(
        "predicted_iou", axis, (_edges_of(pooled, "predicted_iou", bins), _edges_of(pooled, axis, bins)), config
    )
    histogram = pool.histogram("predicted_iou", heat.x_edges, config)
    rates, audited = _rates(pooled, pool, config, RATES if exhaustive else RECALL), None
    if "fp_rate" not in rates and audits is not None:
        audited = audits.fp_rate(pool.distinct_outcome(config)[audits.rows] == Outcome.auto_accepted)
    return Answer(config, "distinct", counts, heat, histogram, rates, audited)


def _rates(pooled: Pooled, pool: DistinctPool, config: TriageConfig, names: tuple[str, ...]) -> dict[str, Rate]:
    """Count what `project.sweep` counts on the images with truth."""
    if pooled.comparison is None:
        return {}
    point = Point(pooled.comparison, pool.distinct_outcome(config)[pooled.compared], config)
    sums = {name: [float(np.nansum(some)) for some in METRICS[name].counts(point)] for name in names}
    return {name: Rate(round(values), round(per)) for name, (values, per) in sums.items()}


def _exact(pooled: Pooled, pool: ExactPool, config: TriageConfig, axis: str, bins: int) -> Answer:
    counts, keep = pool.counts(config), pool.keep(config)
    x, y = _edges_of(pooled, "predicted_iou", bins), _edges_of(pooled, axis, bins)
    codes = np.where(keep, np.uint8(Outcome.auto_accepted), np.uint8(Outcome.discarded))
    cells = np.zeros(len(keep), np.int32)
    cells_of(pooled.columns[axis], y, cells)
    cells_of(pooled.columns["predicted_iou"], x, cells)
    found = count(cells, codes, bins * bins).astype(np.int64)
    heat = HeatMap(x, y, found[:, 1:].reshape(3, bins, bins), int(found[:, 0].sum()))
    alone = np.zeros(len(keep), np.int32)
    cells_of(pooled.columns["predicted_iou"], x, alone)
    bars = count(alone, codes, bins).astype(np.int64)
    histogram = Histogram(x, bars[:, 1:], int(bars[:, 0].sum()))
    unmeasured = keep & np.isnan(pooled.columns["jitter_stability"])
    unjittered = int(unmeasured.sum()) if config.jitter_stability is not None else 0
    return Answer(config, "exact", counts, heat, histogram, unjittered=unjittered)


def _edges_of(pooled: Pooled, name: str, bins: int) -> NDArray[np.float64]:
    found = pooled.edges.get((name, bins))
    if found is None:
        column = pooled.pool.column(name) if isinstance(pooled.pool, DistinctPool) else pooled.columns[name]
        found = pooled.edges[name, bins] = edges(column, bins)
    return found


def edges(values: NDArray[np.float32], bins: int) -> NDArray[np.float64]:
    """Return edges of equal bins over the middle 99.8 % of values, from 0 at least, to two decimals outward and up to 1.

    [0, 1] for none. A few values far off (a jitter stability of −3) must not press all others into one bin; and a
    threshold must be seen that all scores lie below.
    """
    finite = values[np.isfinite(values)] if len(values) < 200_000 else values[:: len(values) // 100_000]
    finite = finite[np.isfinite(finite)]
    if not len(finite):
        return np.linspace(0, 1, bins + 1)
    low, high = np.quantile(finite, [0.001, 0.999])
    low, high = max(0.0, math.floor(low * 100) / 100), max(1.0, math.ceil(high * 100) / 100)
    return np.linspace(low, high if high > low else low + 0.01, bins + 1)


def error_map(
    pooled: Pooled, heat: HeatMap, axis: str, audits: PoolAudits | None = None, exhaustive: bool = False
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the share of wrong ones among the distinct proposals that were judged, by cell, and their number.

    Judged by truth where it is exhaustive, else by audits, where each mask stands for those that were not drawn. NaN where
    none was judged.
    """
    pool, comparison = pooled.pool, pooled.comparison if exhaustive else None
    if not isinstance(pool, DistinctPool) or (comparison is None and audits is None):
        shape = (len(heat.y_edges) - 1, len(heat.x_edges) - 1)
        return np.full(shape, np.nan), np.zeros(shape, np.int64)
    if comparison is not None:
        right, wrong = comparison.verdicts(np.ones(len(comparison), bool))
        rows, weight = pooled.compared, (right | wrong).astype(np.float64)
    else:
        assert audits is not None
        rows, weight, wrong = audits.rows, audits.weight, audits.audited.wrong
    x, y = pool.column("predicted_iou")[rows], pool.column(axis)[rows]
    edges, judged = (heat.y_edges, heat.x_edges), weight > 0
    n, _, _ = np.histogram2d(y[judged], x[judged], bins=edges)
    whole, _, _ = np.histogram2d(y[judged], x[judged], bins=edges, weights=weight[judged])
    bad, _, _ = np.histogram2d(y[judged], x[judged], bins=edges, weights=(weight * wrong)[judged])
    with np.errstate(invalid="ignore"):
        return bad / whole, n.astype(np.int64)


@dataclasses.dataclass(frozen=True, eq=False)
class Curves:
    """Precision and recall, risk and coverage of the distinct proposals above each threshold on a score, (K,) each."""

    name: str
    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    coverage: NDArray[np.float64]
    risk: NDArray[np.float64]


def curves(pooled: Pooled) -> list[Curves]:
    """Return the curves of the distinct proposals on images with truth, one for each score; none without truth.

    They count wrong masks, and so hold where truth is exhaustive.

    Source: Geifman and El-Yaniv 2017, Selective classification for deep neural networks, for risk and coverage.
    """
    found: list[Curves] = []
    pool = pooled.pool
    if not isinstance(pool, DistinctPool):
        return found
    for name, curve in pooled.curves.items():
        score = np.sort(pool.column(name)[pooled.compared].astype(np.float64))  # NaN last, below every threshold
        above = np.isfinite(score).sum() - np.searchsorted(score[np.isfinite(score)], curve.thresholds)
        found.append(Curves(name, curve.precision, curve.recall, above / len(score), 1 - curve.precision))
    return found


@dataclasses.dataclass(frozen=True)
class Moved:
    """An image whose outcome changes: how many masks are accepted now that were not, and the other way round."""

    image_id: str
    gained: int
    lost: int
    other: int  # changes between flagged and discarded


def moved(pooled: Pooled, before: TriageConfig, after: TriageConfig, most: int = 12) -> tuple[int, list[Moved]]:
    """Return on how many images an outcome changes, and those where most do.

    Raises
    ------
    PoolError : as `answer`
    """
    pool = pooled.pool
    if not isinstance(pool, DistinctPool) or not len(pooled.image_ids):
        raise PoolError("which masks change is told by the distinct pool; choose it to see the images")
    a, b = pool.outcome(before), pool.outcome(after)
    starts, accepted = pooled.starts[:-1], np.uint8(Outcome.auto_accepted)
    changes = [(b == accepted) & (a != accepted), (a == accepted) & (b != accepted), a != b]
    gained, lost, all_ = (np.add.reduceat(c.astype(np.int32), starts) for c in changes)
    order = np.argsort(-(all_ + (gained + lost) * 1000), kind="stable")[:most]
    rows = [
        Moved(str(pooled.image_ids[m]), int(gained[m]), int(lost[m]), int(all_[m] - gained[m] - lost[m]))
        for m in order
        if all_[m]
    ]
    return int((all_ > 0).sum()), rows


@dataclasses.dataclass(frozen=True)
class Chosen:
    """What lies in a region of the heat map: rows by outcome, and the corner of lowest scores."""

    counts: dict[str, int]
    x_low: float
    y_low: float


def inside(heat: HeatMap, xs: NDArray[np.float64], ys: NDArray[np.float64]) -> Chosen | None:
    """Return what lies in a polygon, by cells whose middle is in it; two points mean a box. None where no cell is."""
    x = (heat.x_edges[:-1] + heat.x_edges[1:]) / 2
    y = (heat.y_edges[:-1] + heat.y_edges[1:]) / 2
    if len(xs) == 2:
        xs, ys = np.array([xs[0], xs[1], xs[1], xs[0]]), np.array([ys[0], ys[0], ys[1], ys[1]])
    within = _within(x[None, :], y[:, None], np.asarray(xs, float), np.asarray(ys, float))
    if not within.any():
        return None
    sums = heat.counts[:, within].sum(axis=1)
    rows, columns = np.nonzero(within)
    names = ("discarded", "flagged", "auto_accepted")
    counts = {name: int(n) for name, n in zip(names, sums, strict=True)}
    return Chosen(counts, float(heat.x_edges[columns.min()]), float(heat.y_edges[rows.min()]))


def _within(x: NDArray[Any], y: NDArray[Any], xs: NDArray[Any], ys: NDArray[Any]) -> NDArray[np.bool_]:
    """Whether points lie in a polygon, by the even-odd rule."""
    found = np.zeros(np.broadcast(x, y).shape, bool)
    for k in range(len(xs)):
        x0, y0, x1, y1 = xs[k - 1], ys[k - 1], xs[k], ys[k]
        if y0 == y1:
            continue
        crosses = (y0 > y) != (y1 > y)
        found ^= crosses & (x < (x1 - x0) * (y - y0) / (y1 - y0) + x0)
    return found
