"""Ground truth: the true masks of images, with labels, in shards of their own; importing again replaces."""

from __future__ import annotations

import itertools
import os
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from workbench.store import files, runs, shards
from workbench.store.catalog import Catalog, now
from workbench.store.schema import image_files, image_roots, images, truth_images
from workbench.store.schema import shards as shard_table
from workbench.tables.proposals import Proposals

if TYPE_CHECKING:
    import pandas as pd

FOLDER = f"{shards.FOLDER}/truth"
_IMAGES_A_SHARD = 256


class TrueMasks(NamedTuple):
    """The true masks of one image, none included.

    masks : source "manual"; labels : (N,) str, "" for none; crowd : (N,) bool, regions of many things as in COCO
    """

    masks: Proposals
    labels: NDArray[np.object_]
    crowd: NDArray[np.bool_]


class Recorded(NamedTuple):
    """An image of the project as names and sizes of an annotation file are compared with it."""

    key: int
    image_id: str
    path: str
    size_hw: tuple[int, int] | None  # None until the image was read
    root: str  # the folder that `path` is below, absolute


def _plain(name: str) -> str:
    """Return a name as it is compared: in one of the forms that look the same (Macs write the other), without a leading ./"""
    return unicodedata.normalize("NFC", name).removeprefix("./")


class Names:
    """Finds the image that a name in an annotation file means, by comparing text; no path is ever joined or opened."""

    def __init__(self, catalog: Catalog, project: Path) -> None:
        self._all = _recorded(catalog, project)
        self._by_last: dict[str, list[Recorded]] = {}
        for recorded in self._all:
            self._by_last.setdefault(_plain(recorded.path).rpartition("/")[2], []).append(recorded)

    def by_id(self) -> dict[str, Recorded]:
        """Return the images by the id of their content."""
        return {recorded.image_id: recorded for recorded in reversed(self._all)}

    def by_file(self) -> dict[str, str]:
        """Return the ids of the images by the absolute paths of their files."""
        return {f"{recorded.root}/{recorded.path}": recorded.image_id for recorded in self._all}

    def taken(self, meant: Mapping[str, Recorded | None]) -> dict[int, str]:
        """Return of the images that names of a file mean, by key, the one name that is believed of each.

        Of several, the first that is an id or lies where the image does; where none does, none is believed.
        """
        names_of: dict[int, list[str]] = {}
        for name, image in meant.items():
            if image is not None:
                names_of.setdefault(image.key, []).append(name)
        sure = {
            image.key: name
            for name, image in reversed(list(meant.items()))
            if image is not None and self.lies_there(image, name)
        }
        return {key: sure.get(key, names[0]) for key, names in names_of.items() if key in sure or len(names) == 1}

    def lies_there(self, image: Recorded, name: str) -> bool:
        """Whether `name` is the image's id, or how the absolute path of one of its files ends."""
        name = _plain(name)
        files = [r for r in self._by_last.get(name.rpartition("/")[2], []) if r.key == image.key]
        return name == image.image_id or any(_plain(f"{r.root}/{r.path}").endswith(f"/{name}") for r in files)

    def find(self, name: str) -> Recorded | None:
        """Return the image whose path is `name`, or the only one where one of the two ends like the other.

        Where paths repeat in several roots, folders of the root that lead the name tell them apart.
        """
        given, name = name, _plain(name)
        same_last = self._by_last.get(name.rpartition("/")[2], [])
        paths = {r: f"/{_plain(r.path)}" for r in same_last}
        exact = [r for r in same_last if r.path == given] or [r for r, path in paths.items() if path == f"/{name}"]
        alike = [r for r, path in paths.items() if path.endswith(f"/{name}") or f"/{name}".endswith(path)]
        if len({r.image_id for r in exact or alike}) > 1:
            alike = [r for r in alike if _plain(f"{r.root}/{r.path}").endswith(f"/{name}")]
            exact = []
        found = exact or alike
        return found[0] if len({r.image_id for r in found}) == 1 else None


def by_file(catalog: Catalog, project: Path, names: Iterable[str] | None) -> list[str] | None:
    """Return names of images, the paths of their files, as a shell completes them, put as ids; None for None."""
    if names is None:
        return None
    given = runs.listed(names)
    paths = [name for name in given if os.sep in name and os.path.isfile(name)]  # noqa: PTH113 - no path, no file
    if not paths:
        return given
    known = Names(catalog, project).by_file()
    ids = {name: known.get(Path(os.path.abspath(name)).as_posix(), name) for name in paths}  # noqa: PTH100 - keeps links
    return [ids.get(name, name) for name in given]


def _recorded(catalog: Catalog, project: Path) -> list[Recorded]:
    columns = (images.c.key, images.c.image_id, images.c.height, images.c.width)
    named = images.c.image_id.is_not(None)
    first = sa.select(*columns, images.c.path, image_roots.c.path).join_from(images, image_roots).where(named)
    of_further = images.join(image_files).join(image_roots, image_files.c.root_id == image_roots.c.id)
    further = sa.select(*columns, image_files.c.path, image_roots.c.path).select_from(of_further).where(named)
    with catalog.read() as connection:
        rows = [row for query in (first, further) for row in connection.execute(query)]
    roots = {root: Path(os.path.abspath(project / root)).as_posix() for *_, root in rows}  # noqa: PTH100 - keeps links
    return [Recorded(key, i, path, None if h is None else (h, w), roots[root]) for key, i, h, w, path, root in rows]


def store(catalog: Catalog, project: Path, found: Iterable[tuple[int, TrueMasks]], origin: str) -> tuple[int, int]:
    """Write the true masks of images, in place of those they had; return how many, and how many they had.

    Parameters
    ----------
    found : the key of each image with its masks
    origin : name of the file they came from

    Raises
    ------
    StoreError : when another process does the same, or the disk refuses; whole shards written before stay
    """
    folder = project / FOLDER
    files.make_folder(folder)
    busy = "ground truth is being imported by another process; let it finish, or end it"
    with files.locked(folder / "writer.lock", busy):
        shards.sweep(folder, runs.shard_names(catalog, FOLDER))
        parts, total, replaced = iter(found), 0, 0
        while part := list(itertools.islice(parts, _IMAGES_A_SHARD)):
            new, old = _store_shard(catalog, project, part, origin)
            total, replaced = total + new, replaced + old
    return total, replaced


def _store_shard(catalog: Catalog, project: Path, part: list[tuple[int, TrueMasks]], origin: str) -> tuple[int, int]:
    writer = shards.ShardWriter(project, FOLDER)
    rows: list[dict[str, Any]] = []
    for key, true in part:
        extra = {"label": true.labels, "crowd": true.crowd}
        group = writer.add(true.masks, extra) if len(true.masks) else None
        rows.append({"image_key": key, "row_group": group, "rows": len(true.masks)})
    shard = writer.finish() if writer.rows else None
    with catalog.write() as connection:
        number = None if shard is None else runs.insert_shard(connection, shard, "truth", None)
        same = {"origin": origin, "added_at": now()}
        rows = [{**r, **same, "shard_id": number if r["row_group"] is not None else None} for r in rows]
        same_images = truth_images.c.image_key.in_([key for key, _ in part])
        replaced = connection.execute(
            sa.select(sa.func.coalesce(sa.func.sum(truth_images.c.rows), 0)).where(same_images)
        )
        had = int(replaced.scalar_one())
        connection.execute(sa.delete(truth_images).where(same_images))
        connection.execute(sa.insert(truth_images), rows)
        used = sa.select(truth_images.c.shard_id).where(truth_images.c.shard_id.is_not(None))
        left = (shard_table.c.kind == "truth") & shard_table.c.id.not_in(used)
        connection.execute(sa.delete(shard_table).where(left))  # their files go with the next sweep
    return writer.rows, had


def load(catalog: Catalog, reader: shards.ShardReader, names: Iterable[str] | None = None) -> list[TrueMasks]:
    """Return the true masks of each image that has truth, in the order of the images.

    Parameters
    ----------
    names : ids or paths of images; None for all

    Raises
    ------
    StoreError : for a name that no image has
    """
    wanted = None if names is None else {file.key for file in runs.image_files(catalog, None, names)}
    query = (
        sa.select(images.c.key, shard_table.c.path, truth_images.c.row_group)
        .select_from(truth_images.join(images).outerjoin(shard_table))
        .order_by(images.c.key)
    )
    if wanted is not None and len(wanted) <= runs.ASKED_BY_NAME:
        query = query.where(images.c.key.in_(wanted))
    with catalog.read() as connection:
        rows = connection.execute(query).all()
    return _read(reader, [(path, group) for key, path, group in rows if wanted is None or key in wanted])


def version(catalog: Catalog, of: Iterable[str] | None = None) -> tuple[int, ...]:
    """Return numbers that change when truth is added or replaced: images that have it, their masks, the newest shard.

    Parameters
    ----------
    of : ids of the images that count; None for all
    """
    sums = (sa.func.sum(truth_images.c.rows), sa.func.max(truth_images.c.shard_id))
    columns = (sa.func.count(), *(sa.func.coalesce(column, 0) for column in sums))
    query = sa.select(*columns).select_from(truth_images)
    if of is not None:
        asked: sa.BindParameter[str] = sa.bindparam("asked", list(of), expanding=True, literal_execute=True)
        keys = sa.select(images.c.key).where(images.c.image_id.in_(asked))
        query = query.where(truth_images.c.image_key.in_(keys))
    with catalog.read() as connection:
        return tuple(map(int, connection.execute(query).one()))


def labels_frame(found: list[TrueMasks]) -> pd.DataFrame:
    """Return image_id, mask_id, label and crowd of each mask."""
    import pandas as pd

    columns = {
        "image_id": [i for true in found for i in true.masks.image_id],
        "mask_id": [i for true in found for i in true.masks.mask_id],
        "label": [label for true in found for label in true.labels],
        "crowd": [bool(flag) for true in found for flag in true.crowd],
    }
    return pd.DataFrame(columns)


def _read(reader: shards.ShardReader, places: Sequence[tuple[str | None, int | None]]) -> list[TrueMasks]:
    """Return the masks at each place, a shard and the row group of an image; each shard is read once."""
    members: dict[str, list[tuple[int, int]]] = {}
    for k, (path, group) in enumerate(places):
        if path is not None and group is not None:
            members.setdefault(path, []).append((k, group))
    nothing = TrueMasks(Proposals.empty(), np.zeros(0, object), np.zeros(0, bool))
    found = [nothing] * len(places)
    for path, of_shard in members.items():
        table, counts = reader.groups(path, [group for _, group in of_shard])
        masks, labels = shards.from_table(table), np.asarray(table.column("label").to_numpy(), dtype=object)
        crowd, stops = table.column("crowd").to_numpy(), np.cumsum(counts).tolist()
        for (k, _), a, b in zip(of_shard, [0, *stops], stops, strict=False):
            found[k] = TrueMasks(masks.select(slice(a, b)), labels[a:b], crowd[a:b])
    return found


def set_size(catalog: Catalog, key: int, size_hw: tuple[int, int]) -> None:
    """Write down the height and width of an image, px."""
    with catalog.write() as connection:
        size = {"height": size_hw[0], "width": size_hw[1]}
        connection.execute(sa.update(images).where(images.c.key == key).values(size))
