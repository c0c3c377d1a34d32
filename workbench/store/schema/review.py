"""Tables of review: annotators, journal, claims, audits, settings."""

from __future__ import annotations

from sqlalchemy import JSON, Boolean, Column, Float, ForeignKey, Index, Integer, String, Table, Text

from workbench.store.schema.core import metadata

annotators = Table(
    "annotators",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("role", String(16), nullable=False),  # annotator, senior or owner
    Column("added_at", Text, nullable=False),
)

review_events = Table(  # the journal: rows are only ever added, triggers refuse all else
    "review_events",
    metadata,
    Column("sequence", Integer, primary_key=True),  # the order; given under the writers' lock
    Column("gesture_id", Text, nullable=False, unique=True),
    Column("image_key", ForeignKey("images.key"), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("mask_id", Text, nullable=False),
    Column("made_mask_id", Text, nullable=False),  # of a draw or an edit, else ""
    Column("payload", JSON, nullable=False),
    Column("annotator_id", ForeignKey("annotators.id"), nullable=False),
    Column("phase", String(16), nullable=False),
    Column("elapsed_ms", Float, nullable=False),
    Column("seconds_source", String(16), nullable=False),
    Column("bulk", Boolean, nullable=False),
    Column("cycle", Integer),
    Column("run_id", ForeignKey("runs.id")),
    Column("triage_id", ForeignKey("triages.id")),
    Column("purpose", String(16), nullable=False),  # review, audit or second
    Column("token", Integer),  # of the claim it came under
    Column("stale", Boolean, nullable=False),
    Column("recorded_at", Text, nullable=False),
    Index(None, "image_key", "sequence"),
)

review_images = Table(  # where each image stands; everything but the claims can be computed from the journal
    "review_images",
    metadata,
    Column("image_key", ForeignKey("images.key"), primary_key=True, autoincrement=False),
    Column("status", String(16), nullable=False),  # open, complete or skipped
    Column("status_sequence", Integer),  # of the event that made it so; null while open
    Column("token", Integer, nullable=False),  # grows whenever the image changes hands
    Column("claimed_by", ForeignKey("annotators.id")),
    Column("expires_at", Float, nullable=False),  # seconds of the database's clock
    Column("kind", String(16), nullable=False),  # of the claim: flagged, audit, complete or second
    Column("last_by", ForeignKey("annotators.id")),  # who had it last, to go on there
    Column("held_in", String(16)),  # the window of theirs that has it; null where it is none of an annotator's
    Index(None, "status", "claimed_by"),
)

triage_images = Table(  # what a version of triage comes to on an image: by this the queue is ordered
    "triage_images",
    metadata,
    Column("triage_id", ForeignKey("triages.id"), primary_key=True, autoincrement=False),
    Column("image_key", ForeignKey("images.key"), primary_key=True, autoincrement=False),
    Column("auto_accepted", Integer, nullable=False),
    Column("flagged", Integer, nullable=False),
    Column("discarded", Integer, nullable=False),
    Column("doubt", Float, nullable=False),
)

audits = Table(
    "audits",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("seed", Text, nullable=False),
    Column("settings", JSON, nullable=False),
    Column("strata", JSON, nullable=False),  # for each: population, drawn, probability
    Column("after_sequence", Integer, nullable=False),  # verdicts of this audit come later in the journal
    Column("made_at", Text, nullable=False),
)

audit_masks = Table(
    "audit_masks",
    metadata,
    Column("audit_id", ForeignKey("audits.id"), primary_key=True, autoincrement=False),
    Column("image_key", ForeignKey("images.key"), primary_key=True, autoincrement=False),
    Column("mask_id", String(32), primary_key=True),
    Column("stratum", Text, nullable=False),
    Column("source", String(16), nullable=False),
    Column("model_id", Text, nullable=False),
    Column("probability", Float, nullable=False),
    Column("decided_by", ForeignKey("annotators.id")),  # null where no person did
    Column("run_id", ForeignKey("runs.id")),
    Column("triage_id", ForeignKey("triages.id")),
    Column("rle", Text, nullable=False),
    Column("height", Integer, nullable=False),
    Column("width", Integer, nullable=False),
    Column("sequence", Integer),  # of the event that answered it; null as long as none has
    Index(None, "image_key", "sequence"),
)

review_settings = Table(  # the last row is in force; rows are only ever added
    "review_settings",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("settings", JSON, nullable=False),
    Column("after_sequence", Integer, nullable=False),  # of the journal: they hold for events that come later
    Column("made_at", Text, nullable=False),
)
