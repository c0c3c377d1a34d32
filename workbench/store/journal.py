"""The journal of review: events appended in short transactions, in one order, each gesture once; and its people."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import sqlalchemy as sa

from workbench.store.catalog import Catalog, now
from workbench.store.errors import StoreError
from workbench.store.schema import images
from workbench.store.schema.review import annotators, review_events, review_images
from workbench.tables.events import ROLES, Recorded, ReviewEvent, check_name

if TYPE_CHECKING:
    import pandas as pd

_ASKED_AT_ONCE = 500  # databases limit the length of a question


class Person(NamedTuple):
    """Somebody who reviews: number, name and role (annotator, senior or owner)."""

    id: int
    name: str
    role: str

    @property
    def is_senior(self) -> bool:
        """Whether audits go to this person."""
        return self.role in ("senior", "owner")


class Kept(NamedTuple):
    """A gesture that the journal has: what is answered when it comes again, and what it was."""

    recorded: Recorded
    image_key: int
    annotator_id: int
    kind: str


class Place(NamedTuple):
    """An image as the journal knows it: its row, and its size (h, w) where it was read already."""

    key: int
    image_id: str
    size_hw: tuple[int, int] | None


def add_person(catalog: Catalog, name: str, role: str | None = None) -> Person:
    """Record a person, or give a known one another role; without a role a known one keeps theirs.

    Raises
    ------
    ValueError : for a name or a role that cannot be one
    """
    name = check_name(name)
    if role is not None and role not in ROLES:
        raise ValueError(f"role: expected one of {', '.join(ROLES)}, got {role!r}")
    same = annotators.c.name == name
    with catalog.write() as connection:
        known = connection.execute(_PEOPLE.where(same)).one_or_none()
        if known is None:
            connection.execute(sa.insert(annotators).values(name=name, role=role or ROLES[0], added_at=now()))
        elif role is not None:
            connection.execute(sa.update(annotators).where(same).values(role=role))
        return Person(*connection.execute(_PEOPLE.where(same)).one())


_PEOPLE = sa.select(annotators.c.id, annotators.c.name, annotators.c.role)


def people(connection: sa.Connection) -> dict[str, Person]:
    """Return the people of a project by name, in the order they were added."""
    return {row.name: Person(*row) for row in connection.execute(_PEOPLE.order_by(annotators.c.id))}


def person(connection: sa.Connection, name: str) -> Person:
    """Return a person by name. Raises StoreError for one who was not added."""
    known = people(connection)
    found = known.get(name.strip()) if isinstance(name, str) else None
    if found is None:
        some = ", ".join(list(known)[:10]) or "nobody yet"
        raise StoreError(f"annotator: expected one of {some}, got {name!r:.80}; add them with project.add_annotator")
    return found


def people_frame(catalog: Catalog) -> pd.DataFrame:
    """Return name, role and when they were added, a row a person."""
    import pandas as pd

    query = sa.select(annotators.c.name, annotators.c.role, annotators.c.added_at).order_by(annotators.c.id)
    with catalog.read() as connection:
        rows = [tuple(row) for row in connection.execute(query)]
    return pd.DataFrame(rows, columns=["name", "role", "added_at"])


def places(connection: sa.Connection, image_ids: Iterable[str]) -> dict[str, Place]:
    """Return images by id; what is not known is left out."""
    wanted = sorted(set(image_ids))
    found: dict[str, Place] = {}
    for start in range(0, len(wanted), _ASKED_AT_ONCE):
        part = images.c.image_id.in_(wanted[start : start + _ASKED_AT_ONCE])
        query = sa.select(images.c.key, images.c.image_id, images.c.height, images.c.width).where(part)
        for key, image_id, h, w in connection.execute(query):
            found[image_id] = Place(key, image_id, None if h is None else (h, w))
    return found


# ---- writing --------------------------------------------------------------------------------------------------------


def known(connection: sa.Connection, gesture_ids: Sequence[str]) -> dict[str, Kept]:
    """Return those gestures that the journal has, as duplicates."""
    columns = [review_events.c[name] for name in ("gesture_id", "sequence", "stale", "made_mask_id", *Kept._fields[1:])]
    found: dict[str, Kept] = {}
    for start in range(0, len(gesture_ids), _ASKED_AT_ONCE):
        part = review_events.c.gesture_id.in_(gesture_ids[start : start + _ASKED_AT_ONCE])
        for gesture, sequence, stale, made, *what in connection.execute(sa.select(*columns).where(part)):
            found[gesture] = Kept(Recorded(gesture, sequence, stale, True, made), *what)
    return found


def append(
    connection: sa.Connection, event: ReviewEvent, place: Place, by: Person, token: int | None, made_mask_id: str
) -> Recorded:
    """Add one event at the end of the journal; it is durable when the transaction is."""
    own = {f.name: getattr(event, f.name) for f in dataclasses.fields(event) if f.name in review_events.c}
    row = {**own, "payload": dict(event.payload), "image_key": place.key, "annotator_id": by.id, "token": token}
    row |= {"made_mask_id": made_mask_id, "recorded_at": _now_ms()}
    del row["sequence"]
    made = connection.execute(_APPEND, row).inserted_primary_key
    assert made is not None
    return Recorded(event.gesture_id, int(made[0]), event.stale, False, made_mask_id)


_APPEND = sa.insert(review_events)


def _now_ms() -> str:
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def set_status(connection: sa.Connection, key: int, status: str, sequence: int | None) -> None:
    """Note where an image stands; what the journal says of it is computed by whoever appends."""
    values = {"status": status, "status_sequence": sequence}
    if not connection.execute(sa.update(review_images).where(review_images.c.image_key == key).values(values)).rowcount:
        blank = {"image_key": key, "token": 0, "expires_at": 0.0, "kind": ""}
        connection.execute(sa.insert(review_images).values({**blank, **values}))


def last_sequence(connection: sa.Connection) -> int:
    """Return the number of the last event; 0 before the first."""
    return int(connection.execute(sa.select(sa.func.max(review_events.c.sequence))).scalar() or 0)


# ---- reading --------------------------------------------------------------------------------------------------------


def events(
    connection: sa.Connection,
    keys: Sequence[int] | None = None,
    kinds: Sequence[str] | None = None,
    purpose: str | None = None,
) -> dict[str, list[ReviewEvent]]:
    """Return the events of images (all for None) by image id, each in order; stale ones too."""
    query = _select(review_events.c.payload)
    if kinds is not None:
        query = query.where(review_events.c.kind.in_(kinds))
    if purpose is not None:
        query = query.where(review_events.c.purpose == purpose)
    found: dict[str, list[ReviewEvent]] = {}
    for row in _rows(connection, query, keys):
        event = ReviewEvent.known(**row)
        found.setdefault(event.image_id, []).append(event)
    return found


def gestures(
    connection: sa.Connection, keys: Sequence[int] | None, kinds: Sequence[str], also: str = ""
) -> dict[str, list[ReviewEvent]]:
    """Return events of some kinds, and the gesture `also`, by image id in order; with the payload of undos only.

    Quick, to see what is undone (kind undo) and where images stand (undo, complete, skip), however much was drawn.
    """
    payload = sa.case((review_events.c.kind == "undo", review_events.c.payload), else_=sa.null())
    column = sa.type_coerce(payload, review_events.c.payload.type).label("payload")
    wanted = review_events.c.kind.in_(kinds) | (review_events.c.gesture_id == also)
    found: dict[str, list[ReviewEvent]] = {}
    for row in _rows(connection, _select(column).where(wanted), keys):
        found.setdefault(row["image_id"], []).append(ReviewEvent.known(**row))
    return found


def _select(payload: sa.ColumnElement[Any]) -> sa.Select[Any]:
    own = [c for c in review_events.c if c.name not in ("payload", "image_key", "annotator_id", "token")]
    joined = review_events.join(images).join(annotators)
    columns = (*own, payload, images.c.image_id, annotators.c.name.label("annotator"))
    return sa.select(*columns).select_from(joined).order_by(review_events.c.sequence)


def _rows(connection: sa.Connection, query: sa.Select[Any], keys: Sequence[int] | None) -> Iterable[Mapping[str, Any]]:
    parts = [None] if keys is None else [keys[k : k + _ASKED_AT_ONCE] for k in range(0, len(keys), _ASKED_AT_ONCE)]
    for part in parts:
        asked = query if part is None else query.where(review_events.c.image_key.in_(part))
        for row in connection.execute(asked).mappings():
            yield {**row, "payload": row["payload"] or {}}


class Drawing(NamedTuple):
    """A gesture that drew a mask."""

    gesture_id: str
    purpose: str
    stale: bool


def drawings(connection: sa.Connection, key: int, mask_ids: Sequence[str]) -> dict[str, list[Drawing]]:
    """Return by which gestures people have drawn these masks on an image; masks that nobody drew are left out."""
    made = review_events.c.made_mask_id
    columns = (made, review_events.c.gesture_id, review_events.c.purpose, review_events.c.stale)
    same = (review_events.c.image_key == key) & (made != "")
    found: dict[str, list[Drawing]] = {}
    for start in range(0, len(mask_ids), _ASKED_AT_ONCE):
        part = made.in_(mask_ids[start : start + _ASKED_AT_ONCE])
        for mask, *drawing in connection.execute(sa.select(*columns).where(same & part)):
            found.setdefault(mask, []).append(Drawing(*drawing))
    return found


def edits(connection: sa.Connection, key: int, mask_id: str) -> list[tuple[Drawing, bool]]:
    """Return the gestures that put another mask in the place of this one (True) or drew its pixels (False), in order."""
    made = review_events.c.made_mask_id
    replaced = (review_events.c.mask_id == mask_id) & (review_events.c.kind == "edit") & (made != mask_id)
    columns = (review_events.c.gesture_id, review_events.c.purpose, review_events.c.stale, made)
    query = sa.select(*columns).where((review_events.c.image_key == key) & (replaced | (made == mask_id)))
    rows = connection.execute(query.order_by(review_events.c.sequence))
    return [(Drawing(*drawing), made != mask_id) for *drawing, made in rows]


def has_reviewed(connection: sa.Connection, key: int, by: Person) -> bool:
    """Whether a person's own gestures are part of the review of an image."""
    own = (review_events.c.image_key == key) & (review_events.c.annotator_id == by.id)
    counted = (review_events.c.purpose == "review") & ~review_events.c.stale
    return connection.execute(sa.select(review_events.c.sequence).where(own & counted).limit(1)).first() is not None


def touched(connection: sa.Connection) -> set[int]:
    """Return the keys of the images that have events."""
    return set(connection.execute(sa.select(review_events.c.image_key).distinct()).scalars())


def statuses(connection: sa.Connection, keys: Sequence[int] | None = None) -> dict[int, tuple[str, int | None]]:
    """Return status and the sequence of the event that made it so, by image key; images without a row are open."""
    query = sa.select(review_images.c.image_key, review_images.c.status, review_images.c.status_sequence)
    if keys is not None:
        query = query.where(review_images.c.image_key.in_(keys))
    return {key: (status, sequence) for key, status, sequence in connection.execute(query)}


def reviewed_images(catalog: Catalog, status: str | None = None) -> list[str]:
    """Return the ids of images that people left with a status, complete or skipped (None: either), in the order of images."""
    chosen = review_images.c.status != "open" if status is None else review_images.c.status == status
    query = sa.select(images.c.image_id).join(review_images, review_images.c.image_key == images.c.key)
    with catalog.read() as connection:
        return [str(found) for found in connection.execute(query.where(chosen).order_by(images.c.key)).scalars()]


def simulated_images(catalog: Catalog) -> list[str]:
    """Return the ids of images that an oracle reviewed, by itself or beside people."""
    query = sa.select(images.c.image_id).join(review_events, review_events.c.image_key == images.c.key)
    query = query.where(review_events.c.seconds_source == "simulated").distinct()
    with catalog.read() as connection:
        return [str(found) for found in connection.execute(query).scalars()]


def journal_frame(catalog: Catalog, keys: Sequence[int] | None = None) -> pd.DataFrame:
    """Return a row for each event in order: what, on which mask, by whom, active time, whether it came late."""
    import pandas as pd

    first = ["sequence", "gesture_id", "image_id", "kind", "mask_id", "made_mask_id", "payload", "annotator"]
    columns = [*first, *(c.name for c in review_events.c if c.name not in (*first, "image_key", "annotator_id"))]
    query = _select(review_events.c.payload).add_columns(review_events.c.token)
    with catalog.read() as connection:
        rows = sorted(_rows(connection, query, keys), key=lambda row: row["sequence"])
    return pd.DataFrame([[row[name] for name in columns] for row in rows], columns=columns)
