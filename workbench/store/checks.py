"""What can be wrong with the files of a project, and how to tell."""

from __future__ import annotations

import os
from pathlib import Path

import sqlalchemy as sa

from workbench.store.catalog import Catalog
from workbench.store.schema import image_roots, images, shards

_NAMED = 3  # files that a line names


def problems(catalog: Catalog, project: Path) -> list[str]:
    """Return a line for each thing that is wrong: database, shards, folders of images, image files."""
    return [*catalog.faults(), *_shards(catalog, project), *_roots(catalog, project), *_images(catalog, project)]


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


def _images(catalog: Catalog, project: Path) -> list[str]:
    """Look for the file of each image, by name and size: below a folder that is missing nothing more is said."""
    query = sa.select(image_roots.c.path, images.c.path, images.c.size_bytes).join_from(images, image_roots)
    with catalog.read() as connection:
        rows = connection.execute(query.where(images.c.image_id.is_not(None)).order_by(images.c.key)).all()
    roots = {root: (project / root).resolve() for root in {root for root, *_ in rows}}
    there = {root: str(place) for root, place in roots.items() if place.is_dir()}
    gone: list[str] = []
    changed: list[str] = []
    for root, path, size in rows:
        if root not in there:
            continue
        try:
            found = os.stat(f"{there[root]}/{path}").st_size  # noqa: PTH116 - of very many files
        except OSError:
            gone.append(f"{there[root]}/{path}")
            continue
        if size is not None and found != size:
            changed.append(f"{there[root]}/{path}")
    lines = []
    if gone:
        lines.append(
            f"{_counted(gone, 'image file')} missing: {_first(gone)}; put them back under these names, until then no model "
            "and no page can read these images"
        )
    if changed:
        lines.append(
            f"{_counted(changed, 'image file')} of another size than when recorded: {_first(changed)}; restore what they "
            "held, or save the new pictures under names of their own and add them (workbench add)"
        )
    return lines


def _counted(files: list[str], what: str) -> str:
    return f"1 {what} is" if len(files) == 1 else f"{len(files):,} {what}s are"


def _first(files: list[str]) -> str:
    more = f" and {len(files) - _NAMED:,} more" if len(files) > _NAMED else ""
    return ", ".join(files[:_NAMED]) + more
