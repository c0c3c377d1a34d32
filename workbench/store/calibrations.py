"""Records of calibration: each with its settings, its model and the images it was made from; never changed."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import sqlalchemy as sa

from workbench.store.catalog import Catalog, now
from workbench.store.schema.calibration import calibration_records

if TYPE_CHECKING:
    import pandas as pd

Kind = Literal["calibration", "certificate", "gate", "sample", "annotation", "adoption"]


@dataclasses.dataclass(frozen=True)
class Record:
    """Something that was measured or decided. `id` is 0 until it is kept."""

    kind: Kind
    run_id: int | None
    model_id: str
    settings: Mapping[str, Any]
    images: Sequence[str]
    result: Mapping[str, Any]
    triage_id: int | None = None
    id: int = 0


def keep(catalog: Catalog, record: Record, made_by: str) -> int:
    """Write a record and return its number. Raises ValueError where it holds what JSON has not."""
    values = {k: v for k, v in dataclasses.asdict(record).items() if k != "id"}
    values = json.loads(json.dumps(values, allow_nan=False))
    with catalog.write() as connection:
        row = {**values, "made_by": made_by, "made_at": now()}
        made = connection.execute(sa.insert(calibration_records).values(row))
    assert made.inserted_primary_key is not None
    return int(made.inserted_primary_key[0])


_COLUMNS = tuple(calibration_records.c[field.name] for field in dataclasses.fields(Record))


def latest(catalog: Catalog, kind: Kind, run_id: int | None) -> Record | None:
    """Return the record of a kind that was made last for a run."""
    return _newest(catalog, (calibration_records.c.kind == kind) & (calibration_records.c.run_id == run_id))


def latest_of_any_run(catalog: Catalog, kind: Kind) -> Record | None:
    """Return the record of a kind that was made last, for whatever run."""
    return _newest(catalog, calibration_records.c.kind == kind)


def _newest(catalog: Catalog, condition: sa.ColumnElement[bool]) -> Record | None:
    query = sa.select(*_COLUMNS).where(condition).order_by(calibration_records.c.id.desc()).limit(1)
    with catalog.read() as connection:
        row = connection.execute(query).mappings().first()
    return None if row is None else Record(**dict(row))


def every(catalog: Catalog, kind: Kind, run_id: int | None) -> list[Record]:
    """Return the records of a kind that were made for a run, the oldest first."""
    same = (calibration_records.c.kind == kind) & (calibration_records.c.run_id == run_id)
    query = sa.select(*_COLUMNS).where(same).order_by(calibration_records.c.id)
    with catalog.read() as connection:
        return [Record(**dict(row)) for row in connection.execute(query).mappings()]


def find(catalog: Catalog, number: int, kind: Kind) -> Record | None:
    """Return a record by its number; None where there is none of this kind."""
    same = (calibration_records.c.id == number) & (calibration_records.c.kind == kind)
    with catalog.read() as connection:
        row = connection.execute(sa.select(*_COLUMNS).where(same)).mappings().first()
    return None if row is None else Record(**dict(row))


def frame(catalog: Catalog) -> pd.DataFrame:
    """Return a row for each record: id, kind, run, model, settings, result, when; the oldest first."""
    import pandas as pd

    columns = [c for c in calibration_records.c if c.name != "images"]
    with catalog.read() as connection:
        found = connection.execute(sa.select(*columns).order_by(calibration_records.c.id))
        return pd.DataFrame([tuple(row) for row in found], columns=list(found.keys()))
