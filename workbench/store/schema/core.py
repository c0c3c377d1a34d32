"""Tables of images, models, runs, shards, triage versions and ground truth."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    }
)

project = Table(
    "project",
    metadata,
    Column("id", Integer, primary_key=True),  # always 1
    Column("name", Text, nullable=False),
    Column("seed", BigInteger, nullable=False),  # of the roles
    Column("roles", JSON, nullable=False),  # shares of train, calibration, test
    Column("made_by", Text, nullable=False),  # version of the package
    Column("made_at", Text, nullable=False),  # UTC, ISO 8601
    Column("key", String(32), nullable=False),  # random; in the folder's mark too, so that each finds the other only
)

image_roots = Table(
    "image_roots",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("path", Text, nullable=False, unique=True),  # relative to the project's folder where it lies beside it
)

images = Table(
    "images",
    metadata,
    Column("key", Integer, primary_key=True),  # also the order of the images
    Column("image_id", String(32), unique=True),  # of the content; null where the bytes could not be read
    Column("root_id", ForeignKey("image_roots.id"), nullable=False),
    Column("path", Text, nullable=False),  # below the root, with forward slashes
    Column("domain", Text, nullable=False),
    Column("role", String(16)),  # null as long as there is no image_id to draw it by
    Column("size_bytes", BigInteger),
    Column("height", Integer),  # px, upright; null until the image is read for the first time
    Column("width", Integer),
    Column("reason", String(32), nullable=False, default=""),  # why the bytes could not be read
    Column("message", Text, nullable=False, default=""),
    UniqueConstraint("root_id", "path"),
)

image_files = Table(  # further files with the content of an image
    "image_files",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("image_key", ForeignKey("images.key"), nullable=False, index=True),
    Column("root_id", ForeignKey("image_roots.id"), nullable=False),
    Column("path", Text, nullable=False),
    UniqueConstraint("root_id", "path"),
)

models = Table(
    "models",
    metadata,
    Column("model_id", Text, primary_key=True),  # name and hash of architecture and weights
    Column("added_at", Text, nullable=False),
)

runs = Table(
    "runs",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("model_id", ForeignKey("models.model_id"), nullable=False),
    Column("digest", String(12), nullable=False),  # of the settings
    Column("settings", JSON, nullable=False),
    Column("made_by", Text, nullable=False),
    Column("started_at", Text, nullable=False),
    Column("turn", Integer, nullable=False),  # the run worked on last has the highest; clocks are not asked
    Column("peak_memory_mb", Float),
    UniqueConstraint("model_id", "digest"),
)

shards = Table(
    "shards",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("run_id", ForeignKey("runs.id"), index=True),  # null for ground truth
    Column("kind", String(16), nullable=False),  # proposals or truth
    Column("path", Text, nullable=False, unique=True),  # below the project's folder
    Column("rows", Integer, nullable=False),
    Column("images", Integer, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("written_at", Text, nullable=False),
)

run_images = Table(
    "run_images",
    metadata,
    Column("run_id", ForeignKey("runs.id"), primary_key=True),
    Column("image_key", ForeignKey("images.key"), primary_key=True),
    Column("status", String(8), nullable=False),  # done or failed
    Column("reason", String(32), nullable=False),
    Column("message", Text, nullable=False),
    Column("rows", Integer, nullable=False),
    Column("distinct_rows", Integer, nullable=False),
    Column("seconds", Float, nullable=False),
    Column("shard_id", ForeignKey("shards.id")),  # null where there are no rows
    Column("row_group", Integer),  # of the shard: one a image
    Index(None, "run_id", "status"),
)

triages = Table(
    "triages",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("run_id", ForeignKey("runs.id"), nullable=False, index=True),
    Column("digest", String(12), nullable=False),
    Column("settings", JSON, nullable=False),
    Column("note", Text, nullable=False),
    Column("author", Text, nullable=False),
    Column("images", Integer, nullable=False),  # how many were done when it was counted
    Column("counts", JSON, nullable=False),
    Column("reasons", JSON, nullable=False),
    Column("made_at", Text, nullable=False),
    Column("turn", Integer, nullable=False),  # the version used last has the highest
)

truth_images = Table(
    "truth_images",
    metadata,
    Column("image_key", ForeignKey("images.key"), primary_key=True),
    Column("shard_id", ForeignKey("shards.id")),  # null where the truth is: no masks
    Column("row_group", Integer),
    Column("rows", Integer, nullable=False),
    Column("origin", Text, nullable=False),  # name of the file it came from
    Column("added_at", Text, nullable=False),
)
