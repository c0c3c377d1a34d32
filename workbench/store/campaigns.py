"""Campaigns and their cycles: which step of which cycle is next, durable after each."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from workbench.store.catalog import Catalog, now
from workbench.store.schema import images, run_images
from workbench.store.schema.loop import campaigns, cycles
from workbench.store.schema.review import review_images

STEPS = ("propose", "triage", "review", "train", "evaluate", "register", "done")


@dataclasses.dataclass(frozen=True)
class Campaign:
    """Cycles that belong together: equal settings, first model and test images are the same campaign."""

    id: int
    digest: str
    settings: Mapping[str, Any]
    model_id: str
    held_out: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Cycle:
    """A cycle as it stands.

    step : what is to be done next, of `STEPS`; model_id proposes; trained_id : what came out of it, "" before
    train, calibration : ids of its images; none of them in the closing one, which only measures the last model
    state : what its steps have found
    """

    id: int
    campaign_id: int
    number: int
    step: str
    model_id: str
    trained_id: str
    train: tuple[str, ...]
    calibration: tuple[str, ...]
    state: Mapping[str, Any]

    @property
    def closing(self) -> bool:
        """Whether it only measures the model that came out of the last cycle."""
        return not self.train and not self.calibration


def begin(
    catalog: Catalog, digest: str, settings: Mapping[str, Any], model_id: str, held_out: Sequence[str]
) -> Campaign:
    """Return the campaign of a digest, made when it is the first; from now on it is the last one."""
    with catalog.write() as connection:
        turn = _next_turn(connection)
        if not connection.execute(sa.update(campaigns).where(campaigns.c.digest == digest).values(turn=turn)).rowcount:
            values = {"digest": digest, "settings": dict(settings), "model_id": model_id, "held_out": list(held_out)}
            connection.execute(sa.insert(campaigns).values(**values, made_at=now(), turn=turn))
    found = find(catalog, digest)
    assert found is not None
    return found


def find(catalog: Catalog, digest: str | None = None) -> Campaign | None:
    """Return the campaign of a digest, or the one that was worked on last; None when there is none."""
    columns = [campaigns.c[name] for name in ("id", "digest", "settings", "model_id", "held_out")]
    query = sa.select(*columns).order_by(campaigns.c.turn.desc()).limit(1)
    with catalog.read() as connection:
        row = connection.execute(query if digest is None else query.where(campaigns.c.digest == digest)).first()
    return None if row is None else Campaign(row[0], row[1], row[2], row[3], tuple(row[4]))


def take_up(catalog: Catalog, campaign_id: int) -> None:
    """Write down that a campaign is worked on, so that it is the last one."""
    with catalog.write() as connection:
        turn = _next_turn(connection)
        connection.execute(sa.update(campaigns).where(campaigns.c.id == campaign_id).values(turn=turn))


def _next_turn(connection: sa.Connection) -> int:
    return 1 + (connection.execute(sa.select(sa.func.max(campaigns.c.turn))).scalar() or 0)


def of_campaign(catalog: Catalog, campaign_id: int) -> list[Cycle]:
    """Return the cycles of a campaign, in order."""
    columns = [cycles.c[field.name] for field in dataclasses.fields(Cycle)]
    query = sa.select(*columns).where(cycles.c.campaign_id == campaign_id).order_by(cycles.c.number)
    with catalog.read() as connection:
        rows = connection.execute(query).mappings().all()
    return [Cycle(**{**row, "train": tuple(row["train"]), "calibration": tuple(row["calibration"])}) for row in rows]


class Awaited(NamedTuple):
    """What a campaign waits for: in which cycle, 0 for nothing, and ids and keys of the images that people have to finish."""

    cycle: int = 0
    images: tuple[str, ...] = ()
    keys: tuple[int, ...] = ()


def awaited(catalog: Catalog) -> Awaited:
    """Return what the campaign that was worked on last waits for; images that its run could not use are not among that."""
    last = find(catalog)
    waiting = [c for c in of_campaign(catalog, last.id) if c.step == "review" and not c.closing] if last else []
    if not waiting:
        return Awaited()
    cycle = waiting[-1]
    joined = images.join(run_images).outerjoin(review_images, review_images.c.image_key == images.c.key)
    is_open = sa.func.coalesce(review_images.c.status, "open") == "open"
    used = (run_images.c.run_id == cycle.state["run_id"]) & (run_images.c.status == "done")
    # literal ids: databases limit how many parameters a question has; and every claim asks this
    asked: sa.BindParameter[str] = sa.bindparam(
        "asked", [*cycle.train, *cycle.calibration], expanding=True, literal_execute=True
    )
    wanted = images.c.image_id.in_(asked) & is_open & used
    with catalog.read() as connection:
        query = sa.select(images.c.image_id, images.c.key).select_from(joined).where(wanted)
        left = {str(row.image_id): int(row.key) for row in connection.execute(query)}
    found = [image for image in (*cycle.train, *cycle.calibration) if image in left]
    return Awaited(cycle.number if found else 0, tuple(found), tuple(left[image] for image in found))


def add(
    catalog: Catalog,
    campaign_id: int,
    number: int,
    model_id: str,
    train: Sequence[str],
    calibration: Sequence[str],
    state: Mapping[str, Any],
) -> None:
    """Begin a cycle, in place of one that only closed the campaign."""
    same = (cycles.c.campaign_id == campaign_id) & (cycles.c.number == number)
    values = {
        "campaign_id": campaign_id, "number": number, "step": STEPS[0], "model_id": model_id, "trained_id": "",
        "train": list(train), "calibration": list(calibration), "state": dict(state),
    }  # fmt: skip
    with catalog.write() as connection:
        connection.execute(sa.delete(cycles).where(same))
        connection.execute(sa.insert(cycles).values(**values, begun_at=now(), changed_at=now()))


def advance(catalog: Catalog, cycle: Cycle, step: str, trained_id: str = "", **found: Any) -> Cycle:
    """Write down that a step is done, with what it found; return the cycle as it stands now."""
    state = {**cycle.state, **found}
    trained = trained_id or cycle.trained_id
    with catalog.write() as connection:
        changed = {"step": step, "trained_id": trained, "state": state, "changed_at": now()}
        connection.execute(sa.update(cycles).where(cycles.c.id == cycle.id).values(changed))
    return dataclasses.replace(cycle, step=step, trained_id=trained, state=state)
