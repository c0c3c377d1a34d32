"""Catalogued: a folder with a catalogue, as a project is: made, opened and closed."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import sqlalchemy as sa

import workbench
from workbench.images import assign_role
from workbench.store import intake, places, schema
from workbench.store.catalog import Catalog, now
from workbench.store.errors import StoreError
from workbench.store.intake import Pattern
from workbench.store.shards import ShardReader


class Catalogued:
    """A project's folder and its catalogue.

    Attributes
    ----------
    path : the folder; name : for people; seed, roles : of the split into train, calibration and test
    """

    def __init__(self, path: Path, catalog: Catalog) -> None:
        self.path, self.catalog = path, catalog
        self._shards = ShardReader(path)
        with catalog.read() as connection:
            row = connection.execute(sa.select(schema.project)).mappings().first()
        if row is None:
            raise StoreError(f"{path}: its catalogue holds no project; was another database= meant?")
        self.name: str = row["name"]
        self.seed: int = row["seed"]
        self.roles: tuple[float, ...] = tuple(row["roles"])

    # ---- making and opening ---------------------------------------------------------------------------------------

    @classmethod
    def create(
        cls,
        path: str | Path,
        images: Pattern,
        *,
        database: str | None = None,
        seed: int = 0,
        roles: Sequence[float] = (0.6, 0.2, 0.2),
        name: str | None = None,
    ) -> Self:
        """Make a project of images; the files stay where they are.

        Parameters
        ----------
        path : the folder to make; images : a glob, a folder, or a list of files and globs
        database : URL of a database of its own for the catalogue; None for SQLite in the folder
        seed, roles : shares of train, calibration and test, drawn by content, so that later images move none
        name : for people; by default the folder's

        Raises
        ------
        StoreError : when the name is taken, no image matches, or the folder cannot be written
        ValueError : for roles that are not shares, or a seed of more than 64 bits
        """
        path = Path(path).expanduser().resolve()
        if not -(2**63) <= seed < 2**63:
            raise ValueError(f"seed: expected a whole number of at most 64 bits, got {seed}")
        assign_role("", seed, roles)  # says what is wrong with them before anything is made
        places.refuse_taken(path)
        root, paths = intake.gather(images)
        name = name or path.stem
        key = secrets.token_hex(16)
        with places.making(path, database, name, workbench.__version__, key) as (_, catalog):
            intake.refuse_used(catalog)
            found = intake.identify(root, paths)
            intake.record(catalog, intake.root_text(root, path), found, seed, roles)
            row = {
                "id": 1,
                "name": name,
                "seed": seed,
                "roles": list(roles),
                "made_by": workbench.__version__,
                "key": key,
            }
            with catalog.write() as connection:
                connection.execute(sa.insert(schema.project).values({**row, "made_at": now()}))
        return cls.open(path, database)

    @classmethod
    def open(cls, path: str | Path, database: str | None = None) -> Self:
        """Open a project; tables of an older version are brought to this one.

        Raises
        ------
        StoreError : when there is none, a newer workbench made it, or it cannot be written
        """
        path = Path(path).expanduser().resolve()
        catalog = places.open_catalog(path, database)
        try:
            return cls(path, catalog)
        except BaseException:
            catalog.engine.dispose()
            raise

    def close(self) -> None:
        """Let go of files and database; the project can be opened again."""
        self._shards.close()
        self.catalog.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
