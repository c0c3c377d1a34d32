"""What is kept beside the journal for speed, compared with it and computed anew: status of images, answers of audits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workbench import recording
from workbench.store import audits, journal, runs
from workbench.store.catalog import Catalog

if TYPE_CHECKING:
    import sqlalchemy as sa

_ADVICE = "run `workbench doctor --mend DIR`, or project.mend(): the journal is right, and is not changed"


def faults(catalog: Catalog) -> list[str]:
    """Return a line for each image that does not stand where its journal says, and each audited mask likewise."""
    with catalog.read() as connection:
        found = [*_statuses(connection), *_audits(connection)]
    return [f"{line}; {_ADVICE}" for line in _lines(catalog, found)]


def mend(catalog: Catalog) -> list[str]:
    """Bring all that differs from the journal to what it says; return a line for each. See `Reviewing.mend`."""
    with catalog.write() as connection:
        wrong, audited = _statuses(connection), _audits(connection)
        stand = recording.standing(connection)
        for key, _ in wrong:
            journal.set_status(connection, key, *stand.get(key, ("open", None)))
        for key in {key for key, _ in audited}:
            recording.settle_audits(connection, key)
    return _lines(catalog, [*wrong, *audited])


def _statuses(connection: sa.Connection) -> list[tuple[int, str]]:
    kept, stand = journal.statuses(connection), recording.standing(connection)
    found = []
    for key in sorted(kept.keys() | stand.keys()):
        (noted, by), (status, sequence) = (where.get(key, ("open", None)) for where in (kept, stand))
        if (noted, by) != (status, sequence):
            says = f"{status} by event {sequence}" if sequence else status
            has = f"{noted} by event {by}" if by else noted
            found.append((key, f"noted as {has}, the journal says {says}"))
    return found


def _audits(connection: sa.Connection) -> list[tuple[int, str]]:
    found = []
    for key in audits.image_keys(connection):
        events = recording.audit_events(connection, key)
        wrong = [one for one in audits.settled(connection, key, events) if one.sequence != one.noted]
        if wrong:
            words = f"{len(wrong)} audited masks are noted with other answers than the journal has"
            found.append((key, words))
    return found


def _lines(catalog: Catalog, found: list[tuple[int, str]]) -> list[str]:
    paths = {file.key: file.path for file in runs.image_files(catalog, None)} if found else {}
    return [f"{paths[key]}: {words}" for key, words in found]
