"""What can be wrong with the files of a project, and how to tell."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from workbench.store.catalog import Catalog
from workbench.store.schema import image_roots, shards


def problems(catalog: Catalog, project: Path) -> list[str]:
    """Return a line for each thing that is wrong: database, shards, folders of images."""
    return [*catalog.faults(), *_shards(catalog, project), *_roots(catalog, project)]


def _shards(catalog: Catalog, project: Path) -> list[str]:
    with catalog.read() as connection:
        named = connection.execute(sa.select(shards.c.path, shards.c.size_bytes)).all()
    lines = []
    for path, size in named:
        file = project / path
        if not file.exists():
            lines.append(f"{file} is missing; restore it from a backup")
        elif (found := file.stat().st_size) != size:
            lines.append(f"{file}: expected {size} bytes, got {found}; restore it from a backup")
    return lines


def _roots(catalog: Catalog, project: Path) -> list[str]:
    with catalog.read() as connection:
        roots = connection.execute(sa.select(image_roots.c.path)).scalars().all()
    places = [(project / root).resolve() for root in roots]
    return [f"{place}: the folder of images is missing; put it back" for place in places if not place.is_dir()]
