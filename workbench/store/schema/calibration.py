"""Tables of calibration: what was measured, certified, decided and annotated automatically; rows are only ever added."""

from __future__ import annotations

from sqlalchemy import JSON, Column, ForeignKey, Index, Integer, String, Table, Text

from workbench.store.schema.core import metadata

calibration_records = Table(
    "calibration_records",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("kind", String(16), nullable=False),  # calibration, certificate, gate, sample, annotation or adoption
    Column("run_id", ForeignKey("runs.id")),
    Column("triage_id", ForeignKey("triages.id")),
    Column("model_id", Text, nullable=False),
    Column("settings", JSON, nullable=False),
    Column("images", JSON, nullable=False),  # ids of the images it was made from
    Column("result", JSON, nullable=False),
    Column("made_by", Text, nullable=False),  # version of the package
    Column("made_at", Text, nullable=False),
    Index(None, "kind", "run_id"),
)
