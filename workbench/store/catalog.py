"""The catalogue: the database of a project, its short transactions, its versions.

SQLite in one file of the project's folder, or any database that SQLAlchemy reaches by URL. Everything that only one
kind of database understands is in this file. Writers take turns: `BEGIN IMMEDIATE` on SQLite, an advisory lock on
PostgreSQL, so that a transaction may look before it writes.
"""

from __future__ import annotations

import contextlib
import datetime
import functools
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event, exc

from workbench import outputs
from workbench.store import schema
from workbench.store.errors import StoreError
from workbench.store.files import locked

FILE = outputs.CATALOGUE
BUSY_TIMEOUT_MS = 30_000
CHECKPOINT_BYTES = 4 << 20  # size of the write-ahead log above which it is folded into the database
_WRITERS_TURN = 5_701_324_117  # the number of our advisory lock on PostgreSQL


class Catalog:
    """A database with the tables of `schema`. Make one with `connect`, then `migrate` it."""

    def __init__(self, engine: sa.Engine, log: Path | None) -> None:
        self.engine = engine
        self._log = log  # SQLite's write-ahead log

    @contextlib.contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """Yield a connection in a transaction that sees one state of the database. Raises StoreError."""
        # SQLite's transactions see one state by themselves
        one_state = {} if self.is_sqlite else {"isolation_level": "REPEATABLE READ"}
        with _in_words(), self.engine.connect().execution_options(**one_state) as connection, connection.begin():
            yield connection

    @contextlib.contextmanager
    def write(self, alone: bool = True) -> Iterator[sa.Connection]:
        """Yield a connection in a transaction that no other writer disturbs; it is committed at the end.

        Parameters
        ----------
        alone : False for a single statement that locks its own rows: where the database can, writers then do not wait

        Raises
        ------
        StoreError : when another writer keeps the database for longer than 30 s, or nothing can be written
        """
        how = {"writes": True, "alone": alone}
        with _in_words(), self.engine.connect().execution_options(**how) as connection, connection.begin():
            yield connection
        self.checkpoint(above_bytes=CHECKPOINT_BYTES)

    def checkpoint(self, above_bytes: int = 0) -> None:
        """Fold SQLite's write-ahead log into the database, unless another process is at it.

        Before 3.51.3 SQLite can damage a database that two processes checkpoint at once; so it is done here only, one
        at a time, and never by SQLite itself.
        """
        if self._log is None or not self._log.exists() or self._log.stat().st_size <= above_bytes:
            return
        lock = self._log.with_name("checkpoint.lock")
        with contextlib.suppress(StoreError), locked(lock, busy="busy"):
            connection = self.engine.raw_connection()
            try:
                # does what can be done without waiting for readers
                connection.cursor().execute("PRAGMA busy_timeout = 0")
                connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")
            except sqlite3.OperationalError:
                pass  # nothing is lost: the log stays, and is folded another time
            finally:
                connection.cursor().execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
                connection.close()

    def faults(self) -> list[str]:
        """Return what SQLite finds wrong with its file; other databases look after themselves."""
        if not self.is_sqlite:
            return []
        with self.read() as connection:
            found = connection.exec_driver_sql("PRAGMA quick_check").scalars().all()
        return [f"{FILE}: {line}; restore it from a backup" for line in found if line != "ok"]

    def stamp(self) -> tuple[int, ...]:
        """Return numbers that change when anybody writes; cheap enough to be asked every second.

        Raises
        ------
        StoreError : when the database is gone
        """
        if self._log is not None:
            file = self._log.with_name(self._log.name.removesuffix("-wal"))
            try:
                state = file.stat()
                log = self._log.stat() if self._log.exists() else None
            except OSError as error:
                raise StoreError(
                    f"{file.parent}: the project is not there any more ({error.strerror}); put it back, or open another"
                ) from None
            parts = [state, log] if log is not None and log.st_size else [state]
            return tuple(n for part in parts for n in (part.st_ino, part.st_size, part.st_mtime_ns))
        if self.engine.dialect.name == "postgresql":
            counted = "SELECT coalesce(sum(n_tup_ins + n_tup_upd + n_tup_del), 0) FROM pg_stat_user_tables"
            with self.read() as connection:
                return (int(connection.exec_driver_sql(counted).scalar_one()),)
        return (time.monotonic_ns(),)  # other databases are not known well enough: always taken as changed

    def identity(self) -> tuple[int, ...]:
        """Return numbers of the database's file: others when another was put in its place. Raises StoreError as `stamp`."""
        return self.stamp()[:1] if self._log is not None else ()

    def close(self) -> None:
        """Fold the log and let go of the database."""
        self.checkpoint()
        self.engine.dispose()

    @functools.cached_property
    def is_sqlite(self) -> bool:
        """Whether the database is a SQLite file."""
        return self.engine.dialect.name == "sqlite"


def connect(folder: Path, database: str | None = None) -> Catalog:
    """Return the catalogue of a project folder; no table is made or read yet.

    Parameters
    ----------
    database : URL as SQLAlchemy has it ("postgresql+psycopg://user@host/name"); None for SQLite inside the folder

    Raises
    ------
    StoreError : for a URL that cannot be used, with what to do
    """
    try:
        url = sa.make_url(database) if database else sa.URL.create("sqlite", database=str(folder / FILE))
        wait: dict[str, Any] = {"timeout": BUSY_TIMEOUT_MS / 1000} if url.get_backend_name() == "sqlite" else {}
        engine = sa.create_engine(url, connect_args=wait)
    except exc.ArgumentError as error:
        raise StoreError(f"database: expected a URL like 'postgresql+psycopg://user@host/name', {error}") from None
    except ModuleNotFoundError as error:
        raise StoreError(
            f"database: {error.name} is missing; install it, for PostgreSQL: pip install 'psycopg[binary]'"
        ) from None
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _configure_sqlite)
    event.listen(engine, "begin", _begin)
    path = url.database if engine.dialect.name == "sqlite" else None
    return Catalog(engine, Path(f"{path}-wal") if path else None)


def _configure_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # transactions are begun by `_begin` alone
    for pragma in (
        f"busy_timeout = {BUSY_TIMEOUT_MS}",
        "journal_mode = WAL",
        "synchronous = FULL",
        "foreign_keys = ON",
        "wal_autocheckpoint = 0",
        "mmap_size = 0",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: sa.Connection) -> None:
    options = connection.get_execution_options()
    writes = options.get("writes", False)
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
    elif connection.dialect.name == "postgresql" and writes and options.get("alone", True):
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_WRITERS_TURN})")


@contextlib.contextmanager
def _in_words() -> Iterator[None]:
    """Turn what the database says into what to do about it."""
    try:
        yield
    except exc.OperationalError as error:
        said = str(error.orig)
        if "locked" in said:
            advice = "another process has been writing for 30 s; let it finish, or end it"
        elif "full" in said or "No space" in said:
            advice = "the disk is full; free some space and go on, nothing written before is lost"
        elif "readonly" in said or "unable to open" in said:
            advice = "give write permission to the project's folder, or copy it to a place of your own"
        else:
            advice = "check that the disk, or the database server, is there and well"
        raise StoreError(f"the project's catalogue cannot be used ({said}): {advice}") from error
    except exc.DatabaseError as error:
        if isinstance(error, (exc.IntegrityError, exc.ProgrammingError, exc.DataError)):
            raise
        raise StoreError(
            f"the project's catalogue is damaged ({error.orig}); restore {FILE} from a backup, the shards are untouched"
        ) from error


def migrate(catalog: Catalog) -> None:
    """Bring the tables to this version; nothing is done when they are.

    Raises
    ------
    StoreError : when a newer workbench has made them
    """
    if version(catalog) == schema.HEAD:
        return
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    with catalog.write() as connection:  # two openers take turns; the second finds nothing to do
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def version(catalog: Catalog) -> str:
    """Return the version of the tables, "" when there are none. Raises StoreError for a newer one than is known."""
    with catalog.read() as connection:
        if not sa.inspect(connection).has_table("alembic_version"):
            return ""
        found = connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()
    if found is not None and found not in schema.REVISIONS:
        raise StoreError(
            f"the project was made by a newer workbench (its catalogue has version {found}, this one knows up to "
            f"{schema.HEAD}); update with: pip install -U sam-workbench"
        )
    return found or ""


def now() -> str:
    """Return the time in UTC as text: ISO 8601 to the second."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
