"""Third version: review: journal, claims, audits."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

APPEND_ONLY = "the journal is append-only; undo is another event"


def upgrade() -> None:
    _create_annotators()
    _create_review_events()
    _create_review_images()
    _create_triage_images()
    _create_audits()
    _create_audit_masks()
    _refuse_changes()


def _refuse_changes() -> None:
    """Let no statement change or delete a row of the journal, whoever runs it."""
    if op.get_bind().dialect.name == "sqlite":
        for change in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER review_events_no_{change.lower()} BEFORE {change} ON review_events "
                f"BEGIN SELECT RAISE(ABORT, '{APPEND_ONLY}'); END"
            )
        op.execute(  # INSERT OR REPLACE would delete without asking the trigger above
            "CREATE TRIGGER review_events_no_replace BEFORE INSERT ON review_events "
            "WHEN EXISTS (SELECT 1 FROM review_events WHERE sequence = NEW.sequence OR gesture_id = NEW.gesture_id) "
            "BEGIN SELECT RAISE(ABORT, 'the journal is append-only; a gesture is recorded once'); END"
        )
    elif op.get_bind().dialect.name == "postgresql":
        op.execute(
            "CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$ BEGIN RAISE EXCEPTION '{APPEND_ONLY}' USING ERRCODE = 'integrity_constraint_violation'; END $$"
        )
        for change, level in (("UPDATE OR DELETE", "ROW"), ("TRUNCATE", "STATEMENT")):
            op.execute(
                f"CREATE TRIGGER review_events_no_{change.split()[0].lower()} BEFORE {change} ON review_events "
                f"FOR EACH {level} EXECUTE FUNCTION refuse_change()"
            )


def _create_annotators() -> None:
    op.create_table(
        "annotators",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("added_at", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_annotators"),
        sa.UniqueConstraint("name", name="uq_annotators_name"),
    )


def _create_review_events() -> None:
    op.create_table(
        "review_events",
        sa.Column("sequence", sa.Integer, nullable=False),
        sa.Column("gesture_id", sa.Text, nullable=False),
        sa.Column("image_key", sa.Integer, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("mask_id", sa.Text, nullable=False),
        sa.Column("made_mask_id", sa.Text, nullable=False),
        sa.Column("payload", sa.JSON, nullable=False),
        sa.Column("annotator_id", sa.Integer, nullable=False),
        sa.Column("phase", sa.String(16), nullable=False),
        sa.Column("elapsed_ms", sa.Float, nullable=False),
        sa.Column("seconds_source", sa.String(16), nullable=False),
        sa.Column("bulk", sa.Boolean, nullable=False),
        sa.Column("cycle", sa.Integer),
        sa.Column("run_id", sa.Integer),
        sa.Column("triage_id", sa.Integer),
        sa.Column("purpose", sa.String(16), nullable=False),
        sa.Column("token", sa.Integer),
        sa.Column("stale", sa.Boolean, nullable=False),
        sa.Column("recorded_at", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("sequence", name="pk_review_events"),
        sa.UniqueConstraint("gesture_id", name="uq_review_events_gesture_id"),
        sa.ForeignKeyConstraint(["image_key"], ["images.key"], name="fk_review_events_image_key"),
        sa.ForeignKeyConstraint(["annotator_id"], ["annotators.id"], name="fk_review_events_annotator_id"),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="fk_review_events_run_id"),
        sa.ForeignKeyConstraint(["triage_id"], ["triages.id"], name="fk_review_events_triage_id"),
    )
    op.create_index("ix_review_events_image_key_sequence", "review_events", ["image_key", "sequence"])


def _create_review_images() -> None:
    op.create_table(
        "review_images",
        sa.Column("image_key", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("status_sequence", sa.Integer),
        sa.Column("token", sa.Integer, nullable=False),
        sa.Column("claimed_by", sa.Integer),
        sa.Column("expires_at", sa.Float, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("last_by", sa.Integer),
        sa.PrimaryKeyConstraint("image_key", name="pk_review_images"),
        sa.ForeignKeyConstraint(["image_key"], ["images.key"], name="fk_review_images_image_key"),
        sa.ForeignKeyConstraint(["claimed_by"], ["annotators.id"], name="fk_review_images_claimed_by"),
        sa.ForeignKeyConstraint(["last_by"], ["annotators.id"], name="fk_review_images_last_by"),
    )
    op.create_index("ix_review_images_status_claimed_by", "review_images", ["status", "claimed_by"])


def _create_triage_images() -> None:
    op.create_table(
        "triage_images",
        sa.Column("triage_id", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("image_key", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("auto_accepted", sa.Integer, nullable=False),
        sa.Column("flagged", sa.Integer, nullable=False),
        sa.Column("discarded", sa.Integer, nullable=False),
        sa.Column("doubt", sa.Float, nullable=False),
        sa.PrimaryKeyConstraint("triage_id", "image_key", name="pk_triage_images"),
        sa.ForeignKeyConstraint(["triage_id"], ["triages.id"], name="fk_triage_images_triage_id"),
        sa.ForeignKeyConstraint(["image_key"], ["images.key"], name="fk_triage_images_image_key"),
    )


def _create_audits() -> None:
    op.create_table(
        "audits",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("seed", sa.Text, nullable=False),
        sa.Column("settings", sa.JSON, nullable=False),
        sa.Column("strata", sa.JSON, nullable=False),
        sa.Column("after_sequence", sa.Integer, nullable=False),
        sa.Column("made_at", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_audits"),
    )


def _create_audit_masks() -> None:
    op.create_table(
        "audit_masks",
        sa.Column("audit_id", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("image_key", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("mask_id", sa.String(32), nullable=False),
        sa.Column("stratum", sa.Text, nullable=False),
        sa.Column("source", sa.String(16), nullable=False),
        sa.Column("model_id", sa.Text, nullable=False),
        sa.Column("probability", sa.Float, nullable=False),
        sa.Column("decided_by", sa.Integer),
        sa.Column("run_id", sa.Integer),
        sa.Column("triage_id", sa.Integer),
        sa.Column("rle", sa.Text, nullable=False),
        sa.Column("height", sa.Integer, nullable=False),
        sa.Column("width", sa.Integer, nullable=False),
        sa.Column("sequence", sa.Integer),
        sa.PrimaryKeyConstraint("audit_id", "image_key", "mask_id", name="pk_audit_masks"),
        sa.ForeignKeyConstraint(["audit_id"], ["audits.id"], name="fk_audit_masks_audit_id"),
        sa.ForeignKeyConstraint(["image_key"], ["images.key"], name="fk_audit_masks_image_key"),
        sa.ForeignKeyConstraint(["decided_by"], ["annotators.id"], name="fk_audit_masks_decided_by"),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="fk_audit_masks_run_id"),
        sa.ForeignKeyConstraint(["triage_id"], ["triages.id"], name="fk_audit_masks_triage_id"),
    )
    op.create_index("ix_audit_masks_image_key_sequence", "audit_masks", ["image_key", "sequence"])
