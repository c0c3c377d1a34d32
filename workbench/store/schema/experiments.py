"""Tables of threshold experiments."""

from __future__ import annotations

from sqlalchemy import JSON, Column, ForeignKey, Integer, LargeBinary, String, Table, Text

from workbench.store.schema.core import metadata

experiments = Table(
    "experiments",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String(200), nullable=False, unique=True),
    Column("note", Text, nullable=False),
    Column("author", Text, nullable=False),
    Column("run_id", ForeignKey("runs.id"), nullable=False, index=True),
    Column("settings", JSON, nullable=False),  # base, changes of each point, and how figures were counted
    Column("points", Integer, nullable=False),
    Column("images", Integer, nullable=False),
    Column("figures", LargeBinary, nullable=False),  # Parquet: a row a point
    Column("counts", LargeBinary, nullable=False),  # Parquet: a row a point and image
    Column("made_at", Text, nullable=False),
)
