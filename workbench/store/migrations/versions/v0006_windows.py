"""Sixth version: settings of review are kept, and a claim knows the window it was made in."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.create_table(
        "review_settings",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("settings", sa.JSON, nullable=False),
        sa.Column("after_sequence", sa.Integer, nullable=False),
        sa.Column("made_at", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_review_settings"),
    )
    op.add_column("review_images", sa.Column("held_in", sa.String(16)))
