"""Seventh version: campaigns and versions take turns, which no clock decides; a project has a key of its own."""

from __future__ import annotations

import secrets

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

# as these were told apart until now
LAST = {
    "campaigns": (
        "id",
        "SELECT id FROM campaigns ORDER BY COALESCE((SELECT MAX(changed_at) FROM cycles WHERE campaign_id = campaigns.id), made_at), id",
    ),
    "model_versions": ("model_id", "SELECT model_id FROM model_versions ORDER BY made_at, model_id"),
}


def upgrade() -> None:
    connection = op.get_bind()
    op.add_column("project", sa.Column("key", sa.String(32), nullable=False, server_default=""))
    keys = sa.table("project", sa.column("key"))
    connection.execute(sa.update(keys).values(key=secrets.token_hex(16)))
    for table, (key, in_order) in LAST.items():
        op.add_column(table, sa.Column("turn", sa.Integer, nullable=False, server_default="0"))
        for turn, (name,) in enumerate(connection.execute(sa.text(in_order)).all(), start=1):
            of = sa.table(table, sa.column(key), sa.column("turn"))
            connection.execute(sa.update(of).where(of.c[key] == name).values(turn=turn))
