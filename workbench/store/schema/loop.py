"""Tables of the loop: model versions, campaigns and their cycles."""

from __future__ import annotations

from sqlalchemy import JSON, Column, Float, ForeignKey, Integer, String, Table, Text, UniqueConstraint

from workbench.store.schema.core import metadata

model_versions = Table(  # models that were trained here
    "model_versions",
    metadata,
    Column("model_id", ForeignKey("models.model_id"), primary_key=True),
    Column("parent_id", Text, nullable=False),  # model_id of the model it was trained from
    Column("architecture", String(32), nullable=False),  # as load_sam knows it; "sam" for another one
    Column("status", String(8), nullable=False),  # ready or failed
    Column("message", Text, nullable=False),  # why it failed
    Column("file", Text, nullable=False),  # weights, below the project's folder
    Column("digest", String(12), nullable=False),  # of parent, masks and settings
    Column("settings", JSON, nullable=False),
    Column("curve", JSON, nullable=False),
    Column("checks", JSON, nullable=False),  # distinct masks before and after
    Column("images", Integer, nullable=False),
    Column("masks", Integer, nullable=False),
    Column("steps", Integer, nullable=False),
    Column("best_step", Integer, nullable=False),
    Column("stopped", String(16), nullable=False),
    Column("seconds", Float, nullable=False),
    Column("made_by", Text, nullable=False),
    Column("made_at", Text, nullable=False),
    Column("turn", Integer, nullable=False),  # the version made last has the highest; clocks are not asked
)

model_images = Table(  # what a version was trained on
    "model_images",
    metadata,
    Column("model_id", ForeignKey("model_versions.model_id"), primary_key=True),
    Column("image_id", String(32), primary_key=True),
    Column("held_out", Integer, nullable=False),  # 1: decided when to stop, 0: was learned from
    Column("masks", JSON, nullable=False),  # mask ids
)

campaigns = Table(  # cycles that belong together: the same settings, floors and test images
    "campaigns",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("digest", String(12), nullable=False),
    Column("settings", JSON, nullable=False),
    Column("model_id", Text, nullable=False),  # the first model
    Column("held_out", JSON, nullable=False),  # ids of the test images
    Column("made_at", Text, nullable=False),
    Column("turn", Integer, nullable=False),  # the campaign worked on last has the highest
)

cycles = Table(
    "cycles",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("campaign_id", ForeignKey("campaigns.id"), nullable=False),
    Column("number", Integer, nullable=False),  # from 1
    Column("step", String(12), nullable=False),  # the step that is to be done next; "done" after the last
    Column("model_id", Text, nullable=False),  # proposes
    Column("trained_id", Text, nullable=False),  # what came out, "" before
    Column("train", JSON, nullable=False),  # ids of the batch
    Column("calibration", JSON, nullable=False),
    Column("state", JSON, nullable=False),  # what the steps have found
    Column("begun_at", Text, nullable=False),
    Column("changed_at", Text, nullable=False),
    UniqueConstraint("campaign_id", "number"),
)
