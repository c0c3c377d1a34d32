"""First version: images, models, runs, shards, triage versions, ground truth."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "project",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("seed", sa.BigInteger, nullable=False),
        sa.Column("roles", sa.JSON, nullable=False),
        sa.Column("made_by", sa.Text, nullable=False),
        sa.Column("made_at", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_project"),
    )
    _create_images()
    _create_runs()
    _create_triages()
    _create_truth()


def _create_images() -> None:
    op.create_table(
        "image_roots",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("path", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_image_roots"),
        sa.UniqueConstraint("path", name="uq_image_roots_path"),
    )
    op.create_table(
        "images",
        sa.Column("key", sa.Integer, nullable=False),
        sa.Column("image_id", sa.String(32)),
        sa.Column("root_id", sa.Integer, nullable=False),
        sa.Column("path", sa.Text, nullable=False),
        sa.Column("domain", sa.Text, nullable=False),
        sa.Column("role", sa.String(16)),
        sa.Column("size_bytes", sa.BigInteger),
        sa.Column("height", sa.Integer),
        sa.Column("width", sa.Integer),
        sa.Column("reason", sa.String(32), nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_images"),
        sa.UniqueConstraint("image_id", name="uq_images_image_id"),
        sa.UniqueConstraint("root_id", "path", name="uq_images_root_id_path"),
        sa.ForeignKeyConstraint(["root_id"], ["image_roots.id"], name="fk_images_root_id"),
    )
    op.create_table(
        "image_files",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("image_key", sa.Integer, nullable=False),
        sa.Column("root_id", sa.Integer, nullable=False),
        sa.Column("path", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_image_files"),
        sa.UniqueConstraint("root_id", "path", name="uq_image_files_root_id_path"),
        sa.ForeignKeyConstraint(["image_key"], ["images.key"], name="fk_image_files_image_key"),
        sa.ForeignKeyConstraint(["root_id"], ["image_roots.id"], name="fk_image_files_root_id"),
    )
    op.create_index("ix_image_files_image_key", "image_files", ["image_key"])


def _create_runs() -> None:
    op.create_table(
        "models",
        sa.Column("model_id", sa.Text, nullable=False),
        sa.Column("added_at", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("model_id", name="pk_models"),
    )
    op.create_table(
        "runs",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("model_id", sa.Text, nullable=False),
        sa.Column("digest", sa.String(12), nullable=False),
        sa.Column("settings", sa.JSON, nullable=False),
        sa.Column("made_by", sa.Text, nullable=False),
        sa.Column("started_at", sa.Text, nullable=False),
        sa.Column("turn", sa.Integer, nullable=False),
        sa.Column("peak_memory_mb", sa.Float),
        sa.PrimaryKeyConstraint("id", name="pk_runs"),
        sa.UniqueConstraint("model_id", "digest", name="uq_runs_model_id_digest"),
        sa.ForeignKeyConstraint(["model_id"], ["models.model_id"], name="fk_runs_model_id"),
    )
    op.create_table(
        "shards",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("run_id", sa.Integer),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("path", sa.Text, nullable=False),
        sa.Column("rows", sa.Integer, nullable=False),
        sa.Column("images", sa.Integer, nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("written_at", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_shards"),
        sa.UniqueConstraint("path", name="uq_shards_path"),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="fk_shards_run_id"),
    )
    op.create_index("ix_shards_run_id", "shards", ["run_id"])
    op.create_table(
        "run_images",
        sa.Column("run_id", sa.Integer, nullable=False),
        sa.Column("image_key", sa.Integer, nullable=False),
        sa.Column("status", sa.String(8), nullable=False),
        sa.Column("reason", sa.String(32), nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("rows", sa.Integer, nullable=False),
        sa.Column("distinct_rows", sa.Integer, nullable=False),
        sa.Column("seconds", sa.Float, nullable=False),
        sa.Column("shard_id", sa.Integer),
        sa.Column("row_group", sa.Integer),
        sa.PrimaryKeyConstraint("run_id", "image_key", name="pk_run_images"),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="fk_run_images_run_id"),
        sa.ForeignKeyConstraint(["image_key"], ["images.key"], name="fk_run_images_image_key"),
        sa.ForeignKeyConstraint(["shard_id"], ["shards.id"], name="fk_run_images_shard_id"),
    )
    op.create_index("ix_run_images_run_id_status", "run_images", ["run_id", "status"])


def _create_triages() -> None:
    op.create_table(
        "triages",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("run_id", sa.Integer, nullable=False),
        sa.Column("digest", sa.String(12), nullable=False),
        sa.Column("settings", sa.JSON, nullable=False),
        sa.Column("note", sa.Text, nullable=False),
        sa.Column("author", sa.Text, nullable=False),
        sa.Column("images", sa.Integer, nullable=False),
        sa.Column("counts", sa.JSON, nullable=False),
        sa.Column("reasons", sa.JSON, nullable=False),
        sa.Column("made_at", sa.Text, nullable=False),
        sa.Column("turn", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_triages"),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="fk_triages_run_id"),
    )
    op.create_index("ix_triages_run_id", "triages", ["run_id"])


def _create_truth() -> None:
    op.create_table(
        "truth_images",
        sa.Column("image_key", sa.Integer, nullable=False),
        sa.Column("shard_id", sa.Integer),
        sa.Column("row_group", sa.Integer),
        sa.Column("rows", sa.Integer, nullable=False),
        sa.Column("origin", sa.Text, nullable=False),
        sa.Column("added_at", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("image_key", name="pk_truth_images"),
        sa.ForeignKeyConstraint(["image_key"], ["images.key"], name="fk_truth_images_image_key"),
        sa.ForeignKeyConstraint(["shard_id"], ["shards.id"], name="fk_truth_images_shard_id"),
    )
