"""Live triage while a slider moves: `python -m benchmarks.pool --data ../shared/data --json F [--rows N]`.

Exact pools of one and ten million rows (before NMS), a distinct pool of six million (after it). A recorded trace of 2,000
moves (`moves.csv`) drags predicted IoU, stability, area and NMS, ten moves a time; a move is timed until the mask of kept
rows and the counts are there. Beside it, in the same run: thresholds and torchvision's NMS image by image, which is how
micro-sam's `generate` answers other thresholds for its one image (it also copies and draws the masks, which is left out
here), and DuckDB and polars where they are installed (`pip install duckdb polars`). Answers are compared with theirs (kept
rows; counts and every cell of the heat map) and, on a sample of images, with `triage`.
"""

from __future__ import annotations

import argparse
import importlib.util
import resource
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torchvision.ops import nms

from benchmarks import pool_rows
from benchmarks.figures import Row, write_rows
from benchmarks.measuring import commit, paired, processor
from workbench.config import TriageConfig
from workbench.masks.boxes import to_inclusive
from workbench.tables.proposals import Proposals
from workbench.triage.pool import DistinctPool, ExactPool
from workbench.triage.rules import triage

MILLION = 1_000_000
BASE = TriageConfig(
    pool="exact", predicted_iou=0.8, jitter_stability=None, stability_score=0.9, overlap=None, max_area_share=1.0
)
AIMS_MS = {1: (15.0, 30.0), 10: (120.0, 300.0)}  # p50 and p99 by millions of rows
SAMPLE_ROWS = 20_000  # compared with triage
BINS = 100
CELL = ("outcome", "cell", "n")  # columns of the answers of DuckDB and polars: a row for each cell with rows
Cells = tuple[np.ndarray, ...]


def main(given: Sequence[str] | None = None) -> None:
    """Measure, print and write."""
    a = _arguments().parse_args(given)
    images = (pool_rows.of_sam if a.source == "sam" else pool_rows.of_truth)(a.data, a.images)
    if not images:
        raise SystemExit(f"no proposals from source {a.source!r}: nothing above the floor; try --source truth")
    source = f"{len(images)} images, {sum(map(len, images))} rows from {a.source}"
    sizes = [a.rows] if a.rows else [MILLION, 10 * MILLION]
    rows = []
    for n in sizes:
        rows += exact_pool(images, n, a.moves, beside=n == sizes[0])
    rows += distinct_pool(images, a.rows or 6 * MILLION, a.moves)
    write_rows("pool", commit(), f"{processor()}; {source}", rows, a.json)


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with nuclei/ and facades/")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    parser.add_argument("--rows", type=int, help="rows of every pool, for small runs; default 1, 10 and 6 million")
    parser.add_argument("--moves", type=int, default=2000)
    parser.add_argument(
        "--source", choices=("sam", "truth"), default="sam", help="the bundled SAM, or true boxes moved"
    )
    parser.add_argument("--images", type=int, default=20, help="images of each set that proposals are taken from")
    return parser


def exact_pool(images: list[Proposals], n: int, moves: int, beside: bool) -> list[Row]:
    """Figures of an exact pool of n rows; torchvision beside it where asked."""
    name = f"exact {n / MILLION:g} M"
    parts = list(pool_rows.campaign(images, min(n, MILLION)))
    ExactPool.build(parts[0].select(slice(0, 1000)), base=BASE).keep(BASE)  # compiled before anything is timed
    _check_sample(parts[0], moves)
    build_s, pool = _built(pool_rows.campaign(images, n))
    print(pool, f"{pool.edges / len(pool):.1f} edges a row, {pool.direct_rows} rows without edges", flush=True)

    def ask(config: TriageConfig) -> object:
        return pool.keep(config), pool.counts(config)

    p50, p99 = AIMS_MS.get(n // MILLION, (None, None)) if n % MILLION == 0 else (None, None)
    rows = _by_slider(name, ask, pool_rows.trace(BASE, moves), p50, p99)
    rows.append(Row(f"{name}: building a million rows", build_s / n * MILLION, "s", None, n, 5.0, "<="))
    rows.append(Row(f"{name}: edges a row", pool.edges / len(pool), "1", None, n, None, "<="))
    rows.append(_peak(name, n))
    if beside:
        rows += _torchvision_beside(name, parts, pool if n <= MILLION else ExactPool.build(parts, base=BASE))
    return rows


def _built(parts: Any) -> tuple[float, ExactPool]:
    """Seconds of building, without those of drawing the rows, and the pool."""
    drawing = 0.0

    def drawn() -> Any:
        nonlocal drawing
        since = time.perf_counter()
        for part in parts:
            drawing += time.perf_counter() - since
            yield part
            since = time.perf_counter()

    since = time.perf_counter()
    pool = ExactPool.build(drawn(), base=BASE)
    return time.perf_counter() - since - drawing, pool


def _by_slider(
    name: str,
    ask: Callable[[TriageConfig], object],
    moves: list[tuple[str, TriageConfig]],
    p50: float | None,
    p99: float | None,
) -> list[Row]:
    """Time the moves in order; p50 and p99 of all and of each slider, ms, with intervals by bootstrap over moves."""
    took_ms: dict[str, list[float]] = {"all": []}
    ask(moves[0][1])
    for slider, config in moves:
        since = time.perf_counter()
        ask(config)
        ms = 1000 * (time.perf_counter() - since)
        took_ms["all"].append(ms)
        took_ms.setdefault(slider, []).append(ms)
    rows = []
    for slider, ms_of in took_ms.items():
        for q, aim in ((50, p50), (99, p99)):
            values = np.array(ms_of)
            draws = values[np.random.default_rng(0).integers(0, len(values), (500, len(values)))]
            low, high = np.quantile(np.percentile(draws, q, axis=1), [0.025, 0.975])
            value, interval = float(np.percentile(values, q)), (float(low), float(high))
            rows.append(Row(f"{name}: {slider} p{q}", value, "ms", interval, len(values), aim, "<="))
    return rows


def _peak(name: str, n: int) -> Row:
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # KiB on Linux
    return Row(f"{name}: peak memory of the process so far", peak_mb, "MiB", None, n, None, "<=")


def _check_sample(part: Proposals, moves: int) -> None:
    """Whole images of a part, at some settings of the trace: both pools answer as triage, or the run ends."""
    rows = np.concatenate([rows for _, rows in part.by_image()])[:SAMPLE_ROWS]
    sample = part.select(np.isin(part.image_id, part.image_id[rows]))
    exact, distinct_base = ExactPool.build(sample, base=BASE), BASE.replace(pool="distinct")
    distinct = DistinctPool.build(sample, base=distinct_base)
    for _, config in pool_rows.trace(BASE, moves)[:: max(moves // 8, 1)]:
        result = triage(sample, config)
        if not np.array_equal(exact.keep(config), result.auto_accepted | result.flagged):
            raise AssertionError(f"the exact pool keeps other rows than triage at {config}")
        config = config.replace(pool="distinct", nms_iou=BASE.nms_iou)
        if not np.array_equal(distinct.outcome(config), triage(sample, config).outcome):
            raise AssertionError(f"the distinct pool has other outcomes than triage at {config}")


def _torchvision_beside(name: str, parts: list[Proposals], pool: ExactPool) -> list[Row]:
    """torchvision's NMS of each image's rows that pass, against a fresh move of NMS, which looks nothing up."""
    images = [
        (torch.from_numpy(to_inclusive(p.boxes_xyxy[r]).astype(np.float32)), torch.from_numpy(p.predicted_iou[r]), p, r)
        for p in parts
        for _, r in p.by_image()
    ]
    configs = [c for s, c in pool_rows.trace(BASE, 400) if s == "nms_iou"][::10]

    def peer(config: TriageConfig) -> list[np.ndarray]:
        least_iou = np.float32(config.predicted_iou - config.predicted_iou_margin)
        kept = []
        for boxes, scores, p, r in images:
            stable = p.stability_score[r] >= np.float32(config.stability_score or 0)
            passed = np.flatnonzero((p.predicted_iou[r] > least_iou) & stable & (p.area_px[r] >= config.min_area_px))
            rows = torch.from_numpy(passed)
            kept.append(passed[nms(boxes[rows], scores[rows], config.nms_iou).numpy()])
        return kept

    expected = np.zeros(len(pool), dtype=bool)
    before, k = 0, 0
    found = peer(configs[0])
    for p in parts:
        for _, r in p.by_image():
            expected[before + r[found[k]]] = True
            k += 1
        before += len(p)
    if not np.array_equal(pool.keep(configs[0]), expected):
        raise AssertionError("torchvision keeps other rows")
    turn = {"peer": 0, "ours": 0}

    def next_of(who: str, way: Callable[[TriageConfig], object]) -> Callable[[], object]:
        def one() -> object:
            turn[who] += 1
            return way(configs[turn[who] % len(configs)])

        return one

    pairs = paired(next_of("peer", peer), next_of("ours", pool.keep), rounds=3)
    return pairs.rows(f"{name}: torchvision NMS by image", aim=20.0)


def distinct_pool(images: list[Proposals], n: int, moves: int) -> list[Row]:
    """Figures of a distinct pool of n rows: counts and heat map after each move; DuckDB and polars beside it."""
    name = f"distinct {n / MILLION:g} M"
    # NMS is run on the images once; noise then makes few duplicates
    plain = BASE.replace(predicted_iou=-1, stability_score=None, min_area_px=0)
    survivors = [image.select(ExactPool.build(image, base=plain).keep(plain)) for image in images]
    base = BASE.replace(pool="distinct", nms_iou=1.0)
    since = time.perf_counter()
    pool = DistinctPool.build(pool_rows.campaign(survivors, n), base=base)
    build_s = time.perf_counter() - since
    print(pool, flush=True)

    def ask(config: TriageConfig) -> tuple[dict[str, int], np.ndarray]:
        counts = pool.counts(config)
        return counts, pool.heat_map("predicted_iou", "stability_score", BINS, config).counts

    ask(base)
    rows = _by_slider(name, ask, pool_rows.trace(base, moves, exact=False), None, 50.0)
    rows.append(
        Row(f"{name}: building a million rows, with drawing them", build_s / n * MILLION, "s", None, n, None, "<=")
    )
    rows.append(_peak(name, n))
    return rows + _engines_beside(name, pool, ask, base)


def _engines_beside(name: str, pool: DistinctPool, ask: Callable[[TriageConfig], Any], base: TriageConfig) -> list[Row]:
    """The same heat map by outcome in DuckDB and polars over the same columns, thresholds moving.

    The counts are sums over its cells, as no row lies outside. All are given the cell of each row, which ours keeps from
    one move to the next as well.
    """
    x, y = (pool.column(c) for c in ("predicted_iou", "stability_score"))
    grid = pool.heat_map("predicted_iou", "stability_score", BINS, base)
    cells = (_cell(y, grid.y_edges) * BINS + _cell(x, grid.x_edges)).astype(np.int16)
    columns = {"x": x, "y": y, "area": pool.column("area_px"), "flagged": _doubts(pool, base), "cell": cells}
    configs = [c for _, c in pool_rows.trace(base, 60, exact=False)][::5]
    rows = []
    for engine, prepare in (("duckdb", _duckdb), ("polars", _polars)):
        if importlib.util.find_spec(engine) is None:
            print(f"{engine} is not installed: left out")
            continue
        query = prepare(columns)
        for config in configs[:2]:
            if not np.array_equal(_mapped(query(config)), ask(config)[1]):
                raise AssertionError(f"{engine} counts other rows at {config}")
        turn = [0, 0]

        def next_of(who: int, way: Callable[[TriageConfig], object], turn: list[int] = turn) -> Callable[[], object]:
            def one() -> object:
                turn[who] += 1
                return way(configs[turn[who] % len(configs)])

            return one

        rows += paired(next_of(0, query), next_of(1, ask), rounds=5).rows(f"{name}: {engine}, heat map and counts")
    return rows


def _cell(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Return the bin of each value; the last one holds its upper edge, too."""
    return np.minimum(np.searchsorted(edges, values.astype(np.float64), side="right") - 1, len(edges) - 2)


def _doubts(pool: DistinctPool, base: TriageConfig) -> np.ndarray:
    """Rows that are flagged even where no threshold speaks against them."""
    open_ = base.replace(
        predicted_iou=-10, predicted_iou_margin=0, stability_score=None, min_area_px=0, max_area_share=1.0
    )
    return np.asarray(pool.outcome(open_)[pool.rows] == 1)


def _cuts(config: TriageConfig) -> tuple[float, float, float, int]:
    """Thresholds as the float32 values that triage compares with."""
    fail, passed = np.float32(config.predicted_iou - config.predicted_iou_margin), np.float32(config.predicted_iou)
    return float(fail), float(passed), float(np.float32(config.stability_score or 0)), config.min_area_px


def _duckdb(columns: dict[str, np.ndarray]) -> Callable[[TriageConfig], Cells]:
    import duckdb
    import pyarrow as pa

    connection = duckdb.connect()
    connection.execute(f"SET threads = {torch.get_num_threads()}")
    given = pa.table(columns)
    connection.register("given", given)
    connection.execute("CREATE TABLE rows AS SELECT * FROM given")
    # the literals are numbers of this benchmark
    text = """SELECT CASE WHEN NOT (x > $fail AND y >= $stable AND area >= $least) THEN 0
                          WHEN flagged OR NOT x > $passed THEN 1 ELSE 2 END AS outcome, cell, count(*) AS n
              FROM rows GROUP BY ALL"""

    def query(config: TriageConfig) -> Cells:
        fail, passed, stable, least = _cuts(config)
        values = {"fail": fail, "passed": passed, "stable": stable, "least": least}
        found = connection.execute(text, values).fetchnumpy()
        return tuple(np.asarray(found[name]) for name in CELL)

    return query


def _polars(columns: dict[str, np.ndarray]) -> Callable[[TriageConfig], Cells]:
    import polars as pl

    frame = pl.DataFrame(columns).lazy()

    def query(config: TriageConfig) -> Cells:
        fail, passed, stable, least = _cuts(config)
        x, y = pl.col("x"), pl.col("y")
        kept = (x > fail) & (y >= stable) & (pl.col("area") >= least)
        outcome = pl.when(~kept).then(0).when(pl.col("flagged") | ~(x > passed)).then(1).otherwise(2)
        found = frame.group_by([outcome.alias("outcome"), "cell"]).agg(pl.len().alias("n")).collect()
        return tuple(found[name].to_numpy() for name in CELL)

    return query


def _mapped(cells: Cells) -> np.ndarray:
    """Counts by outcome and cell, as `DistinctPool.heat_map` has them."""
    outcome, cell, n = cells
    counts = np.zeros((3, BINS * BINS), np.int64)
    counts[outcome.astype(int), cell.astype(int)] = n
    return counts.reshape(3, BINS, BINS)


if __name__ == "__main__":
    main()
