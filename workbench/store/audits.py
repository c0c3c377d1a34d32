"""Audits: which masks were drawn with which probability, who may judge them, and the event that answered each."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import sqlalchemy as sa

from workbench.store.catalog import Catalog, now
from workbench.store.journal import Person, last_sequence
from workbench.store.schema import images
from workbench.store.schema.review import annotators, audit_masks, audits, review_events
from workbench.tables.events import EventError, ReviewEvent, short

if TYPE_CHECKING:
    import pandas as pd

_FRAME = "frame"  # among the settings of an audit
KINDS = ("verdict", "edit", "undo", "answer", "complete", "skip")  # what an auditor's gesture can be


@dataclasses.dataclass(frozen=True)
class AuditMask:
    """A mask drawn for an audit.

    stratum : its name in the strata of the audit; probability : with which it was drawn
    decided_by : who gave the verdict, drew it, or left it as it was when completing the image, "" where nobody did; run_id, triage_id : what it was final by
    """

    image_id: str
    mask_id: str
    stratum: str
    source: str
    model_id: str
    probability: float
    decided_by: str
    run_id: int | None
    triage_id: int | None
    rle: bytes
    size_hw: tuple[int, int]


class Frame(NamedTuple):
    """What an audit was drawn from: images by id, those without a mask drawn too, and what open ones were shown with."""

    image_ids: tuple[str, ...]
    run_id: int | None
    triage_id: int | None


def keep(
    connection: sa.Connection,
    seed: str,
    settings: Mapping[str, Any],
    strata: Mapping[str, Mapping[str, float]],
    masks: Sequence[AuditMask],
    frame: Frame,
) -> tuple[int, list[int]]:
    """Write an audit with all its masks; return its number, and the keys of its images that were audited before."""
    keys = {row.image_id: row.key for row in connection.execute(sa.select(images.c.image_id, images.c.key))}
    ids = {row.name: row.id for row in connection.execute(sa.select(annotators.c.name, annotators.c.id))}
    own = {**settings, _FRAME: frame._asdict()}
    head = {"seed": seed, "settings": own, "strata": json.loads(json.dumps(strata)), "made_at": now()}
    made = connection.execute(sa.insert(audits).values(**head, after_sequence=last_sequence(connection)))
    assert made.inserted_primary_key is not None
    number = int(made.inserted_primary_key[0])
    rows = [_row(mask, number, keys[mask.image_id], ids.get(mask.decided_by)) for mask in masks]
    if rows:
        connection.execute(sa.insert(audit_masks), rows)
    before = sa.select(review_events.c.image_key).where(review_events.c.purpose == "audit").distinct()
    return number, sorted(set(connection.execute(before).scalars()) & {row["image_key"] for row in rows})


def _row(mask: AuditMask, audit: int, key: int, decided_by: int | None) -> dict[str, Any]:
    own = {f.name: getattr(mask, f.name) for f in dataclasses.fields(mask) if f.name not in ("image_id", "size_hw")}
    place = {"audit_id": audit, "image_key": key, "decided_by": decided_by, "sequence": None}
    return {**own, **place, "rle": mask.rle.decode("ascii"), "height": mask.size_hw[0], "width": mask.size_hw[1]}


def not_made_by(by: Person) -> sa.ColumnElement[bool]:
    """Whether a person neither decided an audited mask nor drew it: what they made is for others to judge."""
    drew = sa.exists().where(
        (review_events.c.image_key == audit_masks.c.image_key)
        & (review_events.c.made_mask_id == audit_masks.c.mask_id)
        & (review_events.c.annotator_id == by.id)
        & (review_events.c.purpose == "review")
    )
    return (audit_masks.c.decided_by.is_(None) | (audit_masks.c.decided_by != by.id)) & ~drew


def check(connection: sa.Connection, event: ReviewEvent, key: int, by: Person) -> None:
    """Refuse an auditor's event that an audit must not hold. Raises EventError."""
    if not by.is_senior:
        raise EventError(f"annotator: audits go to a senior or the owner, {short(by.name)} is {by.role}")
    if event.kind not in KINDS:
        raise EventError(f"kind: in an audit expected one of {', '.join(KINDS)}, got {event.kind}")
    if event.kind not in ("verdict", "edit"):
        return
    if event.bulk:
        raise EventError("masks: in an audit each mask is judged on its own, not in bulk")
    query = sa.select(audit_masks.c.mask_id, not_made_by(by)).where(audit_masks.c.image_key == key)
    theirs: dict[str, bool] = {}
    for mask, fit in connection.execute(query):
        theirs[mask] = theirs.get(mask, False) or bool(fit)
    for name in event.targets:
        if name not in theirs:
            raise EventError(f"mask_id: {short(name)} is in no audit of image {event.image_id}")
        if not theirs[name]:
            raise EventError(f"mask_id: {short(by.name)} decided or drew {short(name)}; an audit needs somebody else")


class Settled(NamedTuple):
    """A mask of an audit, the event that answers it by the journal, and the one that is noted."""

    audit_id: int
    mask_id: str
    sequence: int | None
    noted: int | None


def settled(connection: sa.Connection, key: int, events: Sequence[ReviewEvent]) -> list[Settled]:
    """Return for each audited mask of an image the event that answers it today: the last by somebody who may judge it.

    A mask that a later audit asked about again keeps for the older audit the answer it had by then.

    Parameters
    ----------
    events : those of audits on this image that count, in order
    """
    answers: dict[str, list[ReviewEvent]] = {}
    for event in events:
        if event.kind in ("verdict", "edit") and not event.bulk:
            for name in event.targets:
                answers.setdefault(name, []).append(event)
    since = _counts_since(connection, key)
    columns = (audit_masks.c.audit_id, audit_masks.c.mask_id, audit_masks.c.sequence, annotators.c.name)
    joined = audit_masks.outerjoin(annotators)
    rows = connection.execute(sa.select(*columns).select_from(joined).where(audit_masks.c.image_key == key)).all()
    drawers = _drawers(connection, key)
    asked: dict[str, list[tuple[int, int]]] = {}
    for audit, mask, _, _ in rows:
        asked.setdefault(mask, []).append((audit, since[audit]))
    found = []
    for audit, mask, noted, decided_by in rows:
        after = since[audit]
        own = {decided_by, *drawers.get(mask, ())}
        fit = [e for e in answers.get(mask, []) if (e.sequence or 0) > after and e.annotator not in own]
        again = min((start for later, start in asked[mask] if later > audit and start > after), default=None)
        by_then = [e for e in fit if again is None or (e.sequence or 0) <= again]
        last = next((e for part in (by_then, fit) for e in part[-1:] if e.payload.get("verdict") != "none"), None)
        found.append(Settled(audit, mask, last.sequence if last else None, noted))
    return found


def _drawers(connection: sa.Connection, key: int) -> dict[str, set[str]]:
    """Return who drew each drawn mask of an image in review."""
    query = sa.select(review_events.c.made_mask_id, annotators.c.name).select_from(review_events.join(annotators))
    drawn = (review_events.c.made_mask_id != "") & (review_events.c.purpose == "review")
    found: dict[str, set[str]] = {}
    for mask, name in connection.execute(query.where(drawn & (review_events.c.image_key == key))):
        found.setdefault(mask, set()).add(name)
    return found


def _counts_since(connection: sa.Connection, key: int) -> dict[int, int]:
    """Return for each audit of an image the event after which answers count: 0 unless masks were asked about again."""
    here = sa.select(audit_masks.c.audit_id).where(audit_masks.c.image_key == key)
    again = audits.c.settings["again"].as_boolean()
    query = sa.select(audits.c.id, audits.c.after_sequence, again).where(audits.c.id.in_(here))
    return {audit: 0 if asked is False else int(after) for audit, after, asked in connection.execute(query)}


def settle(connection: sa.Connection, key: int, events: Sequence[ReviewEvent]) -> None:
    """Note for each audited mask of an image the event that answers it today; see `settled`."""
    for one in settled(connection, key, events):
        if one.sequence != one.noted:
            same = (audit_masks.c.audit_id == one.audit_id) & (audit_masks.c.mask_id == one.mask_id)
            mine = same & (audit_masks.c.image_key == key)
            connection.execute(sa.update(audit_masks).where(mine).values(sequence=one.sequence))


def image_keys(connection: sa.Connection) -> list[int]:
    """Return the keys of all images that an audit was drawn from, in order."""
    return list(
        connection.execute(sa.select(audit_masks.c.image_key).distinct().order_by(audit_masks.c.image_key)).scalars()
    )


def pending(connection: sa.Connection, key: int, by: Person) -> dict[str, int]:
    """Return the masks of an image that a person has to judge or has judged in an open audit, in no telling order.

    With each the event after which it was asked about last: what they said before is no answer.
    """
    answer = review_events.alias()
    mine = audit_masks.c.sequence.is_(None) | (answer.c.annotator_id == by.id)
    joined = audit_masks.outerjoin(answer, answer.c.sequence == audit_masks.c.sequence)
    query = (
        sa.select(audit_masks.c.mask_id, audit_masks.c.audit_id)
        .select_from(joined)
        .where((audit_masks.c.image_key == key) & not_made_by(by) & mine)
        .order_by(audit_masks.c.mask_id)  # a hash of the pixels
    )
    since, found = _counts_since(connection, key), dict[str, int]()
    for mask, audit in connection.execute(query):
        found[mask] = max(found.get(mask, 0), since[audit])
    return found


def audits_frame(catalog: Catalog) -> pd.DataFrame:
    """Return a row for each audit: seed, settings, strata, when it was drawn, masks drawn and answered."""
    import pandas as pd

    counts = (
        sa.select(
            audit_masks.c.audit_id,
            sa.func.count().label("masks"),
            sa.func.count(audit_masks.c.sequence).label("answered"),
        )
        .group_by(audit_masks.c.audit_id)
        .subquery()
    )
    numbers = [sa.func.coalesce(column, 0) for column in (counts.c.masks, counts.c.answered)]
    columns = (audits.c.id, audits.c.seed, audits.c.settings, audits.c.strata, audits.c.made_at, *numbers)
    query = sa.select(*columns).select_from(audits.outerjoin(counts)).order_by(audits.c.id)
    names = ["audit_id", "seed", "settings", "strata", "made_at", "masks", "answered"]
    with catalog.read() as connection:
        found = pd.DataFrame([tuple(row) for row in connection.execute(query)], columns=names)
    found["settings"] = found["settings"].map(lambda some: {k: v for k, v in some.items() if k != _FRAME})
    return found


class Answer(NamedTuple):
    """A mask of an audit and what came of it: the event that answered it, None as long as none has."""

    audit_id: int
    mask: AuditMask
    auditor: str
    event: ReviewEvent | None


def answers(connection: sa.Connection, audit_id: int | None = None, image_id: str | None = None) -> list[Answer]:
    """Return the masks of an audit (None: of all), in the order of images, each with its answer."""
    decider, auditor = annotators.alias(), annotators.alias()
    joined = (
        audit_masks.join(images)
        .outerjoin(decider, decider.c.id == audit_masks.c.decided_by)
        .outerjoin(review_events, review_events.c.sequence == audit_masks.c.sequence)
        .outerjoin(auditor, auditor.c.id == review_events.c.annotator_id)
    )
    own = [c for c in audit_masks.c if c.name not in ("image_key", "decided_by", "sequence")]
    said = [review_events.c[name] for name in ("kind", "payload", "gesture_id", "recorded_at")]
    columns = (images.c.image_id, *own, decider.c.name.label("decided_by"), auditor.c.name.label("auditor"), *said)
    query = sa.select(*columns, audit_masks.c.sequence).select_from(joined)
    if audit_id is not None:
        query = query.where(audit_masks.c.audit_id == audit_id)
    if image_id is not None:
        query = query.where(images.c.image_id == image_id)
    order = (audit_masks.c.audit_id, audit_masks.c.image_key, audit_masks.c.mask_id)
    return [_answer(dict(row)) for row in connection.execute(query.order_by(*order)).mappings()]


def _answer(row: Mapping[str, Any]) -> Answer:
    values = {f.name: row[f.name] for f in dataclasses.fields(AuditMask) if f.name != "size_hw"}
    values |= {"rle": row["rle"].encode("ascii"), "decided_by": row["decided_by"] or ""}
    mask = AuditMask(**values, size_hw=(row["height"], row["width"]))
    event = None
    if row["sequence"] is not None:
        names = ("image_id", "mask_id", "sequence", "kind", "payload", "gesture_id", "recorded_at")
        event = ReviewEvent.known(**{name: row[name] for name in names}, purpose="audit", stale=False)
    return Answer(row["audit_id"], mask, row["auditor"] or "", event)


def strata_of(connection: sa.Connection, audit_id: int) -> dict[str, dict[str, float]]:
    """Return the strata of an audit: for each its masks and how many were drawn."""
    found = connection.execute(sa.select(audits.c.strata).where(audits.c.id == audit_id)).scalar()
    return dict(found or {})


def frame_of(connection: sa.Connection, audit_id: int) -> tuple[Frame, int]:
    """Return what an audit was drawn from (nothing where that was not kept), and the last event of the journal by then."""
    query = sa.select(audits.c.settings, audits.c.after_sequence).where(audits.c.id == audit_id)
    settings, after = connection.execute(query).one()
    frame = settings.get(_FRAME, {"image_ids": (), "run_id": None, "triage_id": None})
    return Frame(tuple(frame["image_ids"]), frame["run_id"], frame["triage_id"]), int(after)


def numbers(connection: sa.Connection) -> list[int]:
    """Return the numbers of all audits, oldest first."""
    return list(connection.execute(sa.select(audits.c.id).order_by(audits.c.id)).scalars())
