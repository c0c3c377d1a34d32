"""Model versions: models that were trained in a project, with their parent, their data, their settings and their curve."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

import workbench
from workbench.store.catalog import Catalog, now
from workbench.store.errors import StoreError
from workbench.store.schema import models
from workbench.store.schema.loop import model_images, model_versions

if TYPE_CHECKING:
    import pandas as pd

FOLDER = "models"


@dataclasses.dataclass(frozen=True)
class ModelVersion:
    """A model that was trained here.

    model_id, parent_id : names with hashes of the weights; architecture : as `load_sam` knows it, "sam" for another one
    status : ready, or failed, and `message` says why; of a ready one, that it is no better than its parent by the loss
    file : weights, below the project's folder
    digest : of parent, masks and settings; images, masks : how many it was trained on, those held out among them
    curve : a row a check; checks : distinct masks of automatic generation before and after
    steps : taken; best_step : of the weights; stopped : steps or patience; seconds : of training
    """

    model_id: str
    parent_id: str
    architecture: str
    status: str
    message: str
    file: str
    digest: str
    settings: Mapping[str, Any]
    curve: Sequence[Mapping[str, float]]
    checks: Mapping[str, int]
    images: int
    masks: int
    steps: int
    best_step: int
    stopped: str
    seconds: float
    made_by: str = ""
    made_at: str = ""

    def __repr__(self) -> str:
        told = f", {'FAILED: ' * (self.status == 'failed')}{self.message}" if self.message else ""
        return f"<ModelVersion {self.model_id} of {self.parent_id}: {self.masks:,} masks, {self.steps} steps{told}>"


@dataclasses.dataclass(frozen=True)
class LearnedFrom:
    """An image of a version's data: the mask ids, and whether it was held out to decide when to stop."""

    image_id: str
    held_out: bool
    masks: tuple[str, ...]


_SELECT = sa.select(*[model_versions.c[field.name] for field in dataclasses.fields(ModelVersion)])


def keep(catalog: Catalog, version: ModelVersion, data: Sequence[LearnedFrom]) -> ModelVersion:
    """Write a version with its data, in place of one with the same weights; return it as it is kept."""
    values = dataclasses.asdict(version) | {"made_by": workbench.__version__, "made_at": version.made_at or now()}
    rows = [
        {"model_id": version.model_id, "image_id": d.image_id, "held_out": int(d.held_out), "masks": list(d.masks)}
        for d in data
    ]
    with catalog.write() as connection:
        if not connection.execute(sa.select(models).where(models.c.model_id == version.model_id)).first():
            connection.execute(sa.insert(models).values(model_id=version.model_id, added_at=now()))
        connection.execute(sa.delete(model_images).where(model_images.c.model_id == version.model_id))
        same, turn = model_versions.c.model_id == version.model_id, model_versions.c.turn
        kept = connection.execute(sa.select(turn).where(same)).scalar()  # one that is judged again stays where it was
        values["turn"] = kept or 1 + (connection.execute(sa.select(sa.func.max(turn))).scalar() or 0)
        connection.execute(sa.delete(model_versions).where(same))
        connection.execute(sa.insert(model_versions).values(values))
        if rows:
            connection.execute(sa.insert(model_images), rows)
    return find(catalog, version.model_id)


def find(catalog: Catalog, model_id: str) -> ModelVersion:
    """Return a version. Raises StoreError when no such model was trained here, with those that were."""
    with catalog.read() as connection:
        row = connection.execute(_SELECT.where(model_versions.c.model_id == model_id)).first()
        if row is None:
            known = connection.execute(sa.select(model_versions.c.model_id)).scalars().all()
            raise StoreError(
                f"model: expected one that was trained in this project ({', '.join(known) or 'none yet'}), got {model_id!r}"
            )
    return ModelVersion(*row)


def latest(catalog: Catalog) -> ModelVersion | None:
    """Return the version that is ready and was made last, or None."""
    query = _SELECT.where(model_versions.c.status == "ready").order_by(model_versions.c.turn.desc()).limit(1)
    with catalog.read() as connection:
        row = connection.execute(query).first()
    return None if row is None else ModelVersion(*row)


def by_digest(catalog: Catalog, digest: str) -> ModelVersion | None:
    """Return the version of a parent, masks and settings, or None."""
    with catalog.read() as connection:
        row = connection.execute(_SELECT.where(model_versions.c.digest == digest)).first()
    return None if row is None else ModelVersion(*row)


def learned_from(catalog: Catalog, model_id: str) -> list[LearnedFrom]:
    """Return the data of a version, in order of image ids."""
    query = sa.select(model_images.c.image_id, model_images.c.held_out, model_images.c.masks)
    query = query.where(model_images.c.model_id == model_id).order_by(model_images.c.image_id)
    with catalog.read() as connection:
        return [LearnedFrom(i, bool(out), tuple(masks)) for i, out, masks in connection.execute(query)]


def learned_by(catalog: Catalog, model_id: str) -> set[str]:
    """Return the ids of the images that a model and those it came from were trained on here, held out ones too."""
    lineage: list[str] = []
    name: str | None = model_id
    with catalog.read() as connection:
        while name and name not in lineage:
            lineage.append(name)
            name = connection.execute(
                sa.select(model_versions.c.parent_id).where(model_versions.c.model_id == name)
            ).scalar()
        query = sa.select(model_images.c.image_id).where(model_images.c.model_id.in_(lineage))
        return set(connection.execute(query).scalars())


def frame(catalog: Catalog) -> pd.DataFrame:
    """Return a row for each version, the oldest first, without settings and curve."""
    import pandas as pd

    with catalog.read() as connection:
        rows = connection.execute(_SELECT.order_by(model_versions.c.turn)).all()
    made = pd.DataFrame([tuple(row) for row in rows], columns=[f.name for f in dataclasses.fields(ModelVersion)])
    return made.drop(columns=["settings", "curve"])
