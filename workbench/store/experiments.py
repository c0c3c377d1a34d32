"""Threshold experiments in the catalogue: written once under a name, never changed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from workbench.settings import did_you_mean
from workbench.store.catalog import Catalog, now
from workbench.store.errors import StoreError
from workbench.store.schema import runs
from workbench.store.schema.experiments import experiments
from workbench.tables.experiments import OUTCOME_COUNTS, Counted, Experiment

if TYPE_CHECKING:
    import pandas as pd

_LONGEST_NAME = 200
_AUDITS = "audits"
_RENAMED = re.compile("^rejection_rate(?=$|_low$|_high$|_n$)"), "rejection_rate_auto"  # in experiments of before


def check_name(catalog: Catalog, name: str) -> None:
    """Raise StoreError for a name that is taken, and ValueError for one that is none."""
    if not isinstance(name, str) or not name.strip() or len(name) > _LONGEST_NAME or not name.isprintable():
        raise ValueError(f"name: expected a line of 1 to {_LONGEST_NAME} characters, got {name!r}")
    with catalog.read() as connection:
        made = connection.execute(sa.select(experiments.c.made_at).where(experiments.c.name == name)).scalar()
    if made is not None:
        raise StoreError(
            f"name: an experiment of {made} is called {name!r} already, and experiments do not change; take another name"
        )


def save(
    catalog: Catalog,
    name: str,
    run_id: int,
    settings: Mapping[str, Any],
    counted: Counted,
    figures: Mapping[str, NDArray[Any]],
    *,
    note: str,
    author: str,
) -> None:
    """Keep an experiment in one short transaction.

    Raises
    ------
    StoreError : when the name is taken, also by another process in the meantime
    """
    check_name(catalog, name)
    names = ("base", "changes", "metrics", "known", "small_px")
    kept = {"images": counted.image_ids, **{name: getattr(counted, name) for name in names}}
    row = {
        "name": name,
        "note": note,
        "author": author,
        "run_id": run_id,
        "settings": {**settings, "counted": kept},
        "points": len(counted),
        "images": len(counted.image_ids),
        "figures": _parquet({**dict(zip(OUTCOME_COUNTS, counted.outcomes.T, strict=True)), **figures}),
        "counts": _parquet(_flat(counted)),
        "made_at": now(),
    }
    try:
        with catalog.write() as connection:
            connection.execute(sa.insert(experiments).values(row))
    except sa.exc.IntegrityError:
        check_name(catalog, name)
        raise


def load(catalog: Catalog, name: str) -> Experiment:
    """Return an experiment. Raises StoreError for a name that none has, with the nearest."""
    query = sa.select(experiments, runs.c.model_id).join_from(experiments, runs).where(experiments.c.name == name)
    with catalog.read() as connection:
        row = connection.execute(query).mappings().first()
        names = [] if row is not None else connection.execute(sa.select(experiments.c.name)).scalars().all()
    if row is None:
        hint = did_you_mean(name, names, f"there are {', '.join(map(repr, names)) or 'none yet'}")
        raise StoreError(f"experiment: none is called {name!r}{hint}")
    settings = dict(row["settings"])
    kept = settings.pop("counted")
    figures = _columns(row["figures"])
    outcomes = np.stack([figures.pop(column) for column in OUTCOME_COUNTS], axis=1)
    counts, shape = _columns(row["counts"]), (row["points"], row["images"])
    values, per = (
        np.array([counts[f"{part}:{m}"].reshape(shape) for m in kept["metrics"]], np.float32)
        for part in ("values", "per")
    )
    sums = [counts[f"{_AUDITS}:{k}"].reshape(shape) for k in range(sum(c.startswith(f"{_AUDITS}:") for c in counts))]
    counted = Counted(
        kept["base"],
        tuple(kept["changes"]),
        tuple(kept["images"]),
        outcomes,
        tuple(_RENAMED[0].sub(_RENAMED[1], name) for name in kept["metrics"]),
        values,
        per,
        np.array(sums, np.float32) if sums else None,
        {what: tuple(digests) for what, digests in kept.get("known", {}).items()},
        kept.get("small_px"),
    )
    about = {column: row[column] for column in ("name", "note", "author", "made_at", "run_id", "model_id")}
    columns = {_RENAMED[0].sub(_RENAMED[1], name): column for name, column in figures.items()}
    return Experiment(**about, settings=settings, counted=counted, figures=columns)


def frame(catalog: Catalog) -> pd.DataFrame:
    """Return a row for each experiment: name, note, author, run, grid, points, images, made_at."""
    import pandas as pd

    names = ("name", "note", "author", "run_id", "settings", "points", "images", "made_at")
    with catalog.read() as connection:
        found = connection.execute(sa.select(*(experiments.c[n] for n in names)).order_by(experiments.c.id)).all()
    rows = [(*row[:4], ", ".join(row.settings["counted"]["changes"][0]), *row[5:]) for row in found]
    return pd.DataFrame(rows, columns=[*names[:4], "grid", *names[5:]])


def _flat(counted: Counted) -> dict[str, NDArray[Any]]:
    parts = {"values": counted.values, "per": counted.per}
    sums = {f"{_AUDITS}:{k}": some.ravel() for k, some in enumerate(() if counted.audits is None else counted.audits)}
    return sums | {f"{p}:{m}": counts[k].ravel() for p, counts in parts.items() for k, m in enumerate(counted.metrics)}


def _parquet(columns: Mapping[str, NDArray[Any]]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({name: pa.array(values) for name, values in columns.items()}), sink, compression="zstd")
    return bytes(sink.getvalue().to_pybytes())


def _columns(parquet: bytes) -> dict[str, NDArray[Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    # on this thread: one that a pool still ends when a command exits at once aborts the process
    table = pq.ParquetFile(pa.BufferReader(parquet)).read(use_threads=False)
    return {name: table.column(name).to_numpy() for name in table.column_names}
