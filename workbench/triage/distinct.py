"""The distinct pool: proposals after NMS, over which thresholds are filters; outcomes, histograms, heat maps (T3)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.config import ProposeConfig, TriageConfig
from workbench.masks.compiled import compiled
from workbench.tables.outcomes import CONFIDENCE, DOUBTS, Outcome, Reason
from workbench.tables.proposals import SCORES, Proposals
from workbench.triage.blocks import Images, cores, in_threads, in_turn, most_area_px, parts_of, whole_images
from workbench.triage.histogram import HeatMap, Histogram, cells_of, count, edges_of, finite_range
from workbench.triage.limits import Limits, PoolError, doubtful, limits, passes_but_for_iou, refuse, refuse_duplicates
from workbench.triage.rules import decides
from workbench.triage.together import sort_distinct

_DISCARDED, _FLAGGED, _ACCEPTED = (
    np.uint8(Outcome.discarded),
    np.uint8(Outcome.flagged),
    np.uint8(Outcome.auto_accepted),
)
_AXES_KEPT = 4  # histograms and heat maps whose cells are kept, 4 bytes a row
_CODES_KEPT = 4  # settings whose outcomes are kept, a byte a row: as many as are asked about at the same time
# doubts that move with thresholds; what else triage finds is the same for all thresholds
_MOVING = Reason.borderline_score | Reason.jitter_missing | Reason.overlaps | CONFIDENCE


class DistinctPool:
    """Distinct proposals of any number of images, sorted anew for every setting of the thresholds, as `triage` does.

    Scores, area limits and a confidence that is asked for may move: `limits.THRESHOLDS`. What does not move with them is decided once, by `triage`
    itself: which rows are duplicates, and the reasons unusual_shape, unusual_size, ambiguous, touches_border,
    low_contrast and ragged. Pairs of masks that overlap are stored, as the reason overlaps depends on whether the
    better mask of a pair is discarded. Outcomes are then one pass over rows and pairs, in threads.

    A pool does not change once it is built and may be asked from several threads.
    """

    def __init__(self, given: int, base: TriageConfig, floors: ProposeConfig | None, tables: list[_Table]) -> None:
        self.base, self.floors = base, floors
        self._given = given
        starts = np.concatenate([[0], np.cumsum([len(t.position) for t in tables])]).astype(np.int64)
        self._position = _joined([t.position for t in tables], np.int64)
        self._columns = {name: _joined([t.columns[name] for t in tables], np.float32) for name in SCORES}
        self._columns["area_px"] = _joined([t.columns["area_px"] for t in tables], np.int64)
        self._doubt = _joined([t.doubt for t in tables], np.bool_)
        self._starts = _joined([t.starts[:-1] + s for t, s in zip(tables, starts, strict=False)], np.int64)
        self._starts = np.append(self._starts, starts[-1])
        self._confidence = _joined([t.confidence for t in tables], np.float64)  # empty where none is asked for
        self._pixels = _joined([t.pixels for t in tables], np.float64)
        self._worse = _joined([t.worse + s for t, s in zip(tables, starts, strict=False)], np.int64)
        self._better = _joined([t.better + s for t, s in zip(tables, starts, strict=False)], np.int64)
        self._pair_starts = np.searchsorted(self._worse, self._starts)  # pairs are within an image, in its order
        self._chunks = _chunks(self._starts, cores())
        self._last_codes: dict[tuple[Limits, float, float | None], NDArray[np.uint8]] = {}
        self._ranges: dict[str, tuple[float, float]] = {}
        self._last_cells: dict[tuple[tuple[str, bytes], ...], NDArray[np.int32]] = {}

    @classmethod
    def build(
        cls,
        proposals: Proposals | Iterable[Proposals],
        floors: ProposeConfig | None = None,
        base: TriageConfig | None = None,
    ) -> DistinctPool:
        """Run NMS and decide all that thresholds do not move.

        Parameters
        ----------
        proposals : one table, or tables that hold whole images each (millions of rows need not be in memory at once)
        floors : settings of the run that proposed them; None where nothing is left out of `proposals`
        base : settings with pool="distinct"; all but the thresholds are fixed for the pool

        Raises
        ------
        PoolError : if `base` asks for another pool, or for duplicates that were not stored
        ValueError : as `triage`, and for an image whose rows come in several tables
        """
        base = base if base is not None else TriageConfig()
        if base.pool != "distinct":
            raise PoolError(f"a distinct pool needs settings with pool='distinct', got {base.pool!r}; use ExactPool")
        if floors is not None:
            refuse_duplicates(base, floors)
        tables = list(in_turn(lambda images: _Table(images, base), whole_images(parts_of(proposals))))
        return cls(sum(table.given for table in tables), base, floors, tables)

    def __len__(self) -> int:
        return len(self._position)

    def __repr__(self) -> str:
        images = len(self._pixels)
        return f"<DistinctPool: {len(self)} distinct of {self._given} proposals, {images} image{'s' * (images != 1)}>"

    @property
    def rows(self) -> NDArray[np.int64]:
        """(D,) positions of the distinct proposals among the rows given, image by image."""
        return self._position

    def column(self, name: str) -> NDArray[Any]:
        """Return a column of the distinct proposals, (D,) in the order of `rows`. Raises ValueError for another name."""
        if name not in self._columns:
            raise ValueError(f"column: expected one of {', '.join(self._columns)}, got {name!r}")
        return self._columns[name]

    def outcome(self, config: TriageConfig) -> NDArray[np.uint8]:
        """Return the `Outcome` of each row given, (N,), equal to `triage(proposals, config).outcome`.

        Raises
        ------
        PoolError : if `config` differs from the pool's in more than thresholds, or reaches below the stored floors
        """
        outcome = np.full(self._given, Outcome.duplicate, dtype=np.uint8)
        outcome[self._position] = self._codes(config)
        return outcome

    def distinct_outcome(self, config: TriageConfig) -> NDArray[np.uint8]:
        """Return the `Outcome` of each distinct proposal, (D,) in the order of `rows`. Raises PoolError."""
        return self._codes(config)

    def keep(self, config: TriageConfig) -> NDArray[np.bool_]:
        """Return which of the rows given are neither discarded nor duplicates, (N,). Raises PoolError."""
        keep = np.zeros(self._given, dtype=bool)
        keep[self._position] = self._codes(config) != _DISCARDED
        return keep

    def counts(self, config: TriageConfig) -> dict[str, int]:
        """Return what `Triage.counts` returns: distinct, auto_accepted, flagged, discarded. Raises PoolError."""
        codes = self._codes(config)
        parts = in_threads(lambda c: _count(codes[slice(*self._range(c))]), self._chunks)
        found = sum(parts, np.zeros(3, np.int64))
        names = ("auto_accepted", "flagged", "discarded")
        return {"distinct": len(self), **{name: int(found[Outcome[name]]) for name in names}}

    def histogram(self, column: str, bins: int | ArrayLike, config: TriageConfig) -> Histogram:
        """Return distinct proposals by value of a column and by outcome.

        Parameters
        ----------
        column : one of `SCORES` or "area_px"
        bins : number of equal bins over the finite values, or their edges; bins are numpy's

        Raises
        ------
        PoolError, ValueError : as `outcome`; for an unknown column or bins that are none
        """
        edges = self._edges(column, bins)
        counts, left_out = self._counted(config, (column, edges))
        return Histogram(edges, counts, left_out)

    def heat_map(
        self, x_column: str, y_column: str, bins: int | tuple[int | ArrayLike, int | ArrayLike], config: TriageConfig
    ) -> HeatMap:
        """Return distinct proposals by values of two columns and by outcome.

        Parameters
        ----------
        x_column, y_column : as for `histogram`
        bins : as for `histogram`; one number for both columns, or a pair (x, y)
        """
        x_bins, y_bins = bins if isinstance(bins, tuple) else (bins, bins)
        x_edges, y_edges = self._edges(x_column, x_bins), self._edges(y_column, y_bins)
        counts, left_out = self._counted(config, (y_column, y_edges), (x_column, x_edges))
        return HeatMap(x_edges, y_edges, counts.reshape(3, len(y_edges) - 1, len(x_edges) - 1), left_out)

    def _edges(self, column: str, bins: int | ArrayLike) -> NDArray[np.float64]:
        values = self.column(column)
        if column not in self._ranges:
            self._ranges[column] = finite_range(values)
        return edges_of(bins, self._ranges[column])

    def _counted(self, config: TriageConfig, *axes: tuple[str, NDArray[np.float64]]) -> tuple[NDArray[np.int64], int]:
        """Rows by outcome and cell, (3, cells), the last axis fastest; and the rows outside."""
        codes, cells = self._codes(config), self._cells(axes)
        n_cells = math.prod(len(edges) - 1 for _, edges in axes)

        def part(chunk: tuple[int, int]) -> NDArray[np.uint32]:
            some = slice(*self._range(chunk))
            return count(cells[some], codes[some], n_cells)

        counts = np.zeros((3, 1 + n_cells), np.int64)
        for some in in_threads(part, self._chunks):
            counts += some
        return counts[:, 1:], int(counts[:, 0].sum())

    def _cells(self, axes: tuple[tuple[str, NDArray[np.float64]], ...]) -> NDArray[np.int32]:
        """Cell of each row; those of the axes asked last are kept, as thresholds move and axes stay."""
        key = tuple((column, edges.tobytes()) for column, edges in axes)
        found = self._last_cells.get(key)
        if found is not None:
            return found
        cells = np.zeros(len(self), dtype=np.int32)

        def part(chunk: tuple[int, int]) -> None:
            some = slice(*self._range(chunk))
            for column, edges in axes:
                cells_of(self._columns[column][some], edges, cells[some])

        in_threads(part, self._chunks)
        cells.setflags(write=False)
        self._last_cells = dict([*self._last_cells.items(), (key, cells)][-_AXES_KEPT:])  # replaced, never changed
        return cells

    def _range(self, images: tuple[int, int]) -> tuple[int, int]:
        return int(self._starts[images[0]]), int(self._starts[images[1]])

    def _codes(self, config: TriageConfig) -> NDArray[np.uint8]:
        """Outcome of each distinct proposal; the last answers are kept, as views ask for several figures of one."""
        refuse(self.base, config, self.floors)
        key = least, share, confidence = limits(config), config.max_area_share, config.confidence
        found = self._last_codes.get(key)
        if found is not None:
            return found
        codes = np.empty(len(self), dtype=np.uint8)
        most = most_area_px(self._pixels, share)
        iou, stability, jitter, area = (self._columns[name] for name in (*SCORES[:3], "area_px"))

        def sort(images: tuple[int, int]) -> None:
            overlaps = self._pair_starts, self._worse, self._better
            _sort(*images, self._starts, most, iou, stability, jitter, area, self._doubt, *overlaps, least, codes)
            if confidence is not None:
                some = slice(*self._range(images))
                limit = np.repeat(most[slice(*images)], np.diff(self._starts[images[0] : images[1] + 1]))
                within = (area[some] >= config.min_area_px) & (area[some] <= limit)
                _by_confidence(self._confidence[some], within, decides(config), confidence, codes[some])

        in_threads(sort, self._chunks)
        codes.setflags(write=False)
        self._last_codes = dict([*self._last_codes.items(), (key, codes)][-_CODES_KEPT:])  # replaced, never changed
        return codes


class _Table:
    """What a block of images adds to a distinct pool; rows are counted within the block."""

    def __init__(self, images: Images, base: TriageConfig) -> None:
        p = images.proposals.select(images.rows)
        found = sort_distinct(p, images.starts, base)
        rows = found.rows
        self.given = len(images.rows)
        self.position = images.before + images.rows[rows]
        self.columns = {name: getattr(p, name)[rows] for name in (*SCORES, "area_px")}
        self.doubt = (found.reasons & np.uint32(DOUBTS & ~_MOVING)) != 0
        self.confidence = p.confidence[rows[: len(rows) if base.confidence is not None else 0]]
        self.starts = found.starts
        self.pixels = p.sizes_hw[images.starts[:-1]].astype(np.float64).prod(axis=1)
        self.worse, self.better = found.worse, found.better


def _joined(parts: list[NDArray[Any]], dtype: Any) -> NDArray[Any]:
    joined = np.concatenate([np.zeros(0, dtype), *parts]).astype(dtype, copy=False)
    joined.setflags(write=False)
    return joined


def _chunks(starts: NDArray[np.int64], threads: int) -> list[tuple[int, int]]:
    """Ranges of images with about as many rows each, several a thread, as others use the machine too."""
    cuts = np.searchsorted(starts, np.linspace(0, starts[-1], 4 * threads + 1)[1:-1])
    cuts = np.unique([0, *cuts, len(starts) - 1])
    return [(int(a), int(b)) for a, b in itertools.pairwise(cuts)]


@compiled
def _sort(
    first: int,
    last: int,
    starts: NDArray[np.int64],
    most_area: NDArray[np.int64],
    predicted_iou: NDArray[np.float32],
    stability_score: NDArray[np.float32],
    jitter_stability: NDArray[np.float32],
    area_px: NDArray[np.int64],
    doubt: NDArray[np.bool_],
    pair_starts: NDArray[np.int64],
    worse: NDArray[np.int64],
    better: NDArray[np.int64],
    least: Limits,
    codes: NDArray[np.uint8],
) -> None:
    """Write the outcome of each row of images first to last."""
    for m in range(first, last):
        a, b = starts[m], starts[m + 1]
        columns = predicted_iou[a:b], stability_score[a:b], jitter_stability[a:b], area_px[a:b], doubt[a:b]
        _sort_alone(*columns, most_area[m], least, codes[a:b])
        for k in range(pair_starts[m], pair_starts[m + 1]):
            if codes[worse[k]] == _ACCEPTED and codes[better[k]] != _DISCARDED:
                codes[worse[k]] = _FLAGGED


@compiled
def _sort_alone(
    predicted_iou: NDArray[np.float32],
    stability_score: NDArray[np.float32],
    jitter_stability: NDArray[np.float32],
    area_px: NDArray[np.int64],
    doubt: NDArray[np.bool_],
    most_area_px: int,
    least: Limits,
    codes: NDArray[np.uint8],
) -> None:
    """Outcomes but for overlaps; whole arrays and no branches, so that it runs on several rows at once."""
    for i in range(len(codes)):
        iou, stability, jitter = predicted_iou[i], stability_score[i], jitter_stability[i]
        kept = (iou > least.fail_iou) & passes_but_for_iou(stability, jitter, area_px[i], most_area_px, least)
        flagged = doubt[i] | doubtful(iou, stability, jitter, least)
        codes[i] = np.uint8(kept) * (_ACCEPTED - np.uint8(flagged))  # discarded 0, flagged 1, accepted 2


@compiled
def _by_confidence(
    values: NDArray[np.float64], within: NDArray[np.bool_], decides: bool, confidence: float, codes: NDArray[np.uint8]
) -> None:
    """Flag accepted rows that are not sure; where the confidence decides, accept the sure ones within the area limits."""
    for i in range(len(codes)):
        if not values[i] > confidence:  # also where it is missing
            codes[i] = min(codes[i], _FLAGGED)
        elif decides and within[i]:
            codes[i] = _ACCEPTED


@compiled
def _count(codes: NDArray[np.uint8]) -> NDArray[np.int64]:
    discarded, flagged = 0, 0
    for code in codes:
        discarded += code == _DISCARDED
        flagged += code == _FLAGGED
    return np.array([discarded, flagged, len(codes) - discarded - flagged])
