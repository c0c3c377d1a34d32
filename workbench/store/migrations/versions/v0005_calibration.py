"""Fifth version: calibrations, certificates, gates."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

APPEND_ONLY = "records of calibration are append-only; make another one"


def upgrade() -> None:
    op.create_table(
        "calibration_records",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("run_id", sa.Integer),
        sa.Column("triage_id", sa.Integer),
        sa.Column("model_id", sa.Text, nullable=False),
        sa.Column("settings", sa.JSON, nullable=False),
        sa.Column("images", sa.JSON, nullable=False),
        sa.Column("result", sa.JSON, nullable=False),
        sa.Column("made_by", sa.Text, nullable=False),
        sa.Column("made_at", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_calibration_records"),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="fk_calibration_records_run_id"),
        sa.ForeignKeyConstraint(["triage_id"], ["triages.id"], name="fk_calibration_records_triage_id"),
    )
    op.create_index("ix_calibration_records_kind_run_id", "calibration_records", ["kind", "run_id"])
    _refuse_changes()


def _refuse_changes() -> None:
    """Let no statement change or delete a record, whoever runs it."""
    if op.get_bind().dialect.name == "sqlite":
        for change in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER calibration_records_no_{change.lower()} BEFORE {change} ON calibration_records "
                f"BEGIN SELECT RAISE(ABORT, '{APPEND_ONLY}'); END"
            )
    elif op.get_bind().dialect.name == "postgresql":
        op.execute(
            "CREATE FUNCTION refuse_record_change() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$ BEGIN RAISE EXCEPTION '{APPEND_ONLY}' USING ERRCODE = 'integrity_constraint_violation'; END $$"
        )
        op.execute(
            "CREATE TRIGGER calibration_records_no_change BEFORE UPDATE OR DELETE ON calibration_records "
            "FOR EACH ROW EXECUTE FUNCTION refuse_record_change()"
        )
