"""What alembic runs: the migrations on the connection, and in the transaction, that the catalogue hands in."""

from __future__ import annotations

from alembic import context

from workbench.store import schema

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=schema.metadata,
    transactional_ddl=True,  # SQLite can, though alembic does not count on it
    render_as_batch=True,  # SQLite cannot alter a table in place
)
context.run_migrations()
