"""Settings of review that were put in force in a project, and from which event of the journal on each of them holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import sqlalchemy as sa

from workbench.store import journal
from workbench.store.catalog import Catalog, now
from workbench.store.schema.review import review_settings


class InForce(NamedTuple):
    """Settings that hold for events that come later in the journal than `after_sequence`, until others are kept."""

    after_sequence: int
    settings: Mapping[str, Any]


def keep(catalog: Catalog, settings: Mapping[str, Any], before: Mapping[str, Any]) -> None:
    """Put settings in force from the next event on; those that are in force already are not written again.

    Parameters
    ----------
    before : what has held so far where nothing was kept yet; events that are there already keep it
    """
    with catalog.write() as connection:
        after = journal.last_sequence(connection)
        kept = connection.execute(_LATEST).scalar()
        if kept is None and after:
            _add(connection, before, 0)
        if settings != (before if kept is None else kept):
            _add(connection, settings, after)


def _add(connection: sa.Connection, settings: Mapping[str, Any], after_sequence: int) -> None:
    values = {"settings": dict(settings), "after_sequence": after_sequence, "made_at": now()}
    connection.execute(sa.insert(review_settings).values(values))


def latest(catalog: Catalog) -> Mapping[str, Any] | None:
    """Return the settings in force; None where none were kept."""
    with catalog.read() as connection:
        found: Mapping[str, Any] | None = connection.execute(_LATEST).scalar()
    return found


_LATEST = sa.select(review_settings.c.settings).order_by(review_settings.c.id.desc()).limit(1)


def history(connection: sa.Connection) -> list[InForce]:
    """Return all that was kept, the oldest first."""
    query = sa.select(review_settings.c.after_sequence, review_settings.c.settings).order_by(review_settings.c.id)
    return [InForce(*row) for row in connection.execute(query)]
