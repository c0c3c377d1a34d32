"""Claims: who works on which image. One statement finds a free image and takes it, so that no two get the same."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa

from workbench.store.audits import not_made_by
from workbench.store.catalog import Catalog
from workbench.store.errors import StoreError
from workbench.store.journal import Person
from workbench.store.schema import images, run_images
from workbench.store.schema.review import annotators, audit_masks, audits, review_events, review_images, triage_images
from workbench.tables.events import Claim, Left, Progress

STRATEGIES = ("flagged_first", "order", "uncertain", "most_flagged")
_ROWS_AT_ONCE = 500


@dataclasses.dataclass(frozen=True)
class Scope:
    """Which images a queue hands out, and in which order.

    triage_id : whose counts the order follows; None before there are any
    keys, first : of the images, None for all; of those that come before the others, as a campaign waits for them
    skipped, second : hand out skipped images again, or complete ones to a second annotator
    """

    strategy: str = "flagged_first"
    triage_id: int | None = None
    keys: tuple[int, ...] | None = None
    skipped: bool = False
    second: bool = False
    first: tuple[int, ...] = ()


def enter(catalog: Catalog) -> None:
    """Give every readable image its row, where it has none yet."""
    has = sa.select(review_images.c.image_key)
    missing = sa.select(images.c.key).where(images.c.image_id.is_not(None) & images.c.key.not_in(has))
    with catalog.read() as connection:
        if connection.execute(missing.limit(1)).first() is None:
            return
    literals = [sa.literal(value).label(name) for name, value in _BLANK.items()]
    with catalog.write() as connection:
        names = ["image_key", *_BLANK]
        connection.execute(sa.insert(review_images).from_select(names, missing.add_columns(*literals)))


_BLANK: dict[str, Any] = {"status": "open", "token": 0, "expires_at": 0.0, "kind": ""}


def uncounted(catalog: Catalog, run_id: int, triage_id: int) -> list[str]:
    """Return the ids of images that a run has done and whose outcomes are not counted yet for a version of triage."""
    counted = sa.select(triage_images.c.image_key).where(triage_images.c.triage_id == triage_id)
    done = (run_images.c.run_id == run_id) & (run_images.c.status == "done") & run_images.c.image_key.not_in(counted)
    query = sa.select(images.c.image_id).select_from(run_images.join(images)).where(done).order_by(images.c.key)
    with catalog.read() as connection:
        return [str(image) for image in connection.execute(query).scalars()]


def count(catalog: Catalog, triage_id: int, rows: Iterable[tuple[str, dict[str, float]]]) -> None:
    """Keep what a version of triage comes to on images, given by id; what another process has kept stays."""
    found = list(rows)
    for start in range(0, len(found), _ROWS_AT_ONCE):
        part = dict(found[start : start + _ROWS_AT_ONCE])
        with catalog.write() as connection:
            query = sa.select(images.c.image_id, images.c.key).where(images.c.image_id.in_(part))
            keys = {row.image_id: row.key for row in connection.execute(query)}
            same = (triage_images.c.triage_id == triage_id) & triage_images.c.image_key.in_(keys.values())
            kept = set(connection.execute(sa.select(triage_images.c.image_key).where(same)).scalars())
            new = [
                {"triage_id": triage_id, "image_key": keys[image], **counts}
                for image, counts in part.items()
                if keys[image] not in kept
            ]
            if new:
                connection.execute(sa.insert(triage_images), new)


# ---- taking and giving back -----------------------------------------------------------------------------------------


def claim(
    catalog: Catalog,
    by: Person,
    scope: Scope,
    claim_s: float,
    image_id: str | None = None,
    other_than: Sequence[str] = (),
    window: str | None = None,
    resume: bool = True,
) -> Claim | None:
    """Take a free image for a person, in one statement; None when there is none for them.

    The image a person holds already comes first; then one they had held last: both keep their token; then by kind and
    strategy. A claim that has expired is free to all.

    Parameters
    ----------
    claim_s : seconds that it holds
    image_id : the image to take; None for the next one
    other_than : ids of images to pass over
    window : of the person's, that takes the image
    resume : go on with an image that another window of theirs holds, which then has it no more; False leaves it there
    """
    clock = _clock(catalog.is_sqlite)
    kind = _kind(by, scope)
    free = review_images.c.claimed_by.is_(None) | (review_images.c.expires_at <= clock)
    own = review_images.c.claimed_by == by.id
    theirs_last = review_images.c.claimed_by.is_(None) & (review_images.c.last_by == by.id)  # given back, nobody else's
    query = sa.select(review_images.c.image_key).select_from(_joined(scope)).where(free | own)
    if image_id is not None:
        query = query.where(images.c.image_id == image_id)
    if image_id is None:
        query = query.where(kind != "")
    elif scope.second:  # by name one may open any image, but annotate only one's own a second time again
        query = query.where((kind != "") | ((review_images.c.last_by == by.id) & (review_images.c.kind == "second")))
    if scope.keys is not None and image_id is None:
        query = query.where(_among(scope.keys))
    if other_than:
        query = query.where(images.c.image_id.not_in(other_than))
    if image_id is None and not resume:
        query = query.where(~(own & (review_images.c.expires_at > clock) & ~_in(window)))
    held = sa.case((own, 0), (review_images.c.last_by == by.id, 1), else_=2)
    chosen = query.order_by(held, *_order(scope, kind)).limit(1).with_for_update(of=review_images, skip_locked=True)
    taken: dict[str, Any] = {
        "claimed_by": by.id,
        "last_by": by.id,
        "expires_at": clock + claim_s,
        "token": sa.case((own | theirs_last, review_images.c.token), else_=review_images.c.token + 1),
        "kind": _taken_kind(by, scope),
        "held_in": window,
    }
    statement = sa.update(review_images).where(review_images.c.image_key == chosen.scalar_subquery()).values(taken)
    with catalog.write(alone=False) as connection:
        row = connection.execute(statement.returning(*_RETURNED)).first()
        if row is None:
            return None
        name = connection.execute(sa.select(images.c.image_id).where(images.c.key == row.image_key)).scalar_one()
        return Claim(str(name), by.name, row.token, row.expires_at, row.kind, window)


_RETURNED = (review_images.c.image_key, review_images.c.token, review_images.c.expires_at, review_images.c.kind)


def _clock(sqlite: bool) -> sa.ColumnElement[float]:
    """Seconds since 1970 by the database's clock, the one that all who claim share."""
    if sqlite:
        return sa.literal_column("((julianday('now') - 2440587.5) * 86400.0)", sa.Float)
    return sa.cast(sa.extract("epoch", sa.func.clock_timestamp()), sa.Float)


def _joined(scope: Scope) -> sa.FromClause:
    counted = (triage_images.c.image_key == review_images.c.image_key) & (triage_images.c.triage_id == scope.triage_id)
    return review_images.join(images).outerjoin(triage_images, counted)


def _flagged() -> sa.ColumnElement[int]:
    return sa.func.coalesce(triage_images.c.flagged, 0)


def _kind(by: Person, scope: Scope) -> sa.ColumnElement[str]:
    """What an image would be claimed for by a person: flagged, audit, complete, second, or "" for nothing."""
    is_open = review_images.c.status.in_(("open", "skipped") if scope.skipped else ("open",))
    whens: list[tuple[Any, Any]]
    if scope.second:
        seen = sa.exists().where(
            (review_events.c.image_key == review_images.c.image_key)
            & (
                (review_events.c.annotator_id == by.id)
                | ((review_events.c.purpose == "second") & (review_events.c.kind == "complete"))
            )
        )
        again = (review_images.c.claimed_by == by.id) & (review_images.c.kind == "second")
        whens = [((review_images.c.status == "complete") & (~seen | again), "second")]
    else:
        whens = [(is_open & (_flagged() > 0), "flagged")]
        if by.is_senior:
            again = (review_images.c.claimed_by == by.id) & (review_images.c.kind == "audit")
            whens.append((_to_audit(by) & (~_left_in_audit(by) | again), "audit"))
        whens.append((is_open, "complete"))
    return sa.case(*[(condition, sa.literal(word)) for condition, word in whens], else_=sa.literal(""))


def _to_audit(by: Person) -> sa.ColumnElement[bool]:
    """Whether an image has masks to audit that the person did not decide."""
    return sa.exists().where(
        (audit_masks.c.image_key == review_images.c.image_key) & audit_masks.c.sequence.is_(None) & not_made_by(by)
    )


def _left_in_audit(by: Person) -> sa.ColumnElement[bool]:
    """Whether a person completed or skipped the latest audit of an image: what they left open there is for others."""
    drawn = sa.select(sa.func.max(audits.c.after_sequence)).join(audit_masks)
    latest = drawn.where(audit_masks.c.image_key == review_images.c.image_key).scalar_subquery()
    return sa.exists().where(
        (review_events.c.image_key == review_images.c.image_key)
        & (review_events.c.annotator_id == by.id)
        & (review_events.c.purpose == "audit")
        & review_events.c.kind.in_(("complete", "skip"))
        & ~review_events.c.stale
        & (review_events.c.sequence > latest)
    )


def _taken_kind(by: Person, scope: Scope) -> sa.ColumnElement[Any]:
    """The kind again, for the row that is taken; an image asked for by name is at least there to be completed."""
    flagged = sa.exists().where(
        (triage_images.c.image_key == review_images.c.image_key)
        & (triage_images.c.triage_id == scope.triage_id)
        & (triage_images.c.flagged > 0)
    )
    if scope.second:
        return sa.literal("second")
    whens: list[tuple[Any, Any]] = [((review_images.c.status != "complete") & flagged, sa.literal("flagged"))]
    if by.is_senior:
        again = (review_images.c.claimed_by == by.id) & (review_images.c.kind == "audit")
        asked = (review_images.c.status == "complete") | ~_left_in_audit(by) | again
        whens.append((_to_audit(by) & asked, sa.literal("audit")))
    return sa.case(*whens, else_=sa.literal("complete"))


def _order(scope: Scope, kind: sa.ColumnElement[str]) -> list[Any]:
    awaited = [sa.case((_among(scope.first, "first"), 0), else_=1)] if scope.first else []
    turn = [*awaited, sa.case((kind == "flagged", 0), (kind == "audit", 1), else_=2)]
    by_strategy: dict[str, list[Any]] = {
        "flagged_first": turn,
        "order": [],
        "uncertain": [*turn, sa.func.coalesce(triage_images.c.doubt, 0.0).desc()],
        "most_flagged": [*turn, _flagged().desc()],
    }
    return [*by_strategy[scope.strategy], review_images.c.image_key]


def _among(keys: Sequence[int], name: str = "keys") -> sa.ColumnElement[bool]:
    # literal numbers: databases limit how many parameters a question has
    return review_images.c.image_key.in_(sa.bindparam(name, list(keys), expanding=True, literal_execute=True))


def renew(catalog: Catalog, held: Claim, claim_s: float) -> Claim:
    """Let a claim hold for another while from now on.

    Raises
    ------
    StoreError : when it is lost: the image has gone to another; or when it was given back, or the image left for good
    """
    statement = (
        sa.update(review_images)
        .where(_still(held) & (review_images.c.claimed_by == _person_id(held.annotator)))
        .values(expires_at=_clock(catalog.is_sqlite) + claim_s)
        .returning(review_images.c.expires_at)
    )
    with catalog.write(alone=False) as connection:
        expires_at = connection.execute(statement).scalar()
        lost = expires_at is None and is_lost(connection, held)
    if lost:
        raise StoreError(
            f"claim: image {held.image_id} has gone to another annotator since; claim the next one (what was recorded "
            "in the meantime is kept, and shown as late)"
        )
    if expires_at is None:
        raise StoreError(f"claim: image {held.image_id} was given back; claim it again, or the next one")
    return dataclasses.replace(held, expires_at=float(expires_at))


def release(catalog: Catalog, held: Claim) -> bool:
    """Give an image back; False when the claim was lost already, or another window of the person's has the image."""
    statement = sa.update(review_images).where(_still(held) & _in(held.window))
    statement = statement.values(claimed_by=None, expires_at=0.0, held_in=None)
    with catalog.write(alone=False) as connection:
        return bool(connection.execute(statement).rowcount)


def whereabouts(catalog: Catalog, held: Claim) -> str:
    """Return where an image is: here, window (another one of the same person's), back (given back), or gone."""
    with catalog.read() as connection:
        row = connection.execute(_WHEREABOUTS, {**_of(held), "of_window": held.window}).first()
    if row is None:
        return "gone"
    back, in_window = row
    return "back" if back else "here" if in_window else "window"


def _in(window: str | None) -> sa.ColumnElement[bool]:
    return review_images.c.held_in.is_not_distinct_from(window)


def _still(held: Claim) -> sa.ColumnElement[bool]:
    key = sa.select(images.c.key).where(images.c.image_id == held.image_id).scalar_subquery()
    return (review_images.c.image_key == key) & (review_images.c.token == held.token)


def _person_id(name: str) -> sa.ScalarSelect[Any]:
    return sa.select(annotators.c.id).where(annotators.c.name == name).scalar_subquery()


# ---- beside the journal, in its transaction -------------------------------------------------------------------------


def is_lost(connection: sa.Connection, held: Claim) -> bool:
    """Whether an image has changed hands since a claim was made. Expired but not taken by another, it holds."""
    return connection.execute(_HELD, _of(held)).first() is None


def touch(catalog: Catalog, connection: sa.Connection, held: Claim, claim_s: float, left: bool | None) -> None:
    """Renew a claim because its holder has worked.

    Parameters
    ----------
    left : True ends it, because the image is left for good; False takes it again, because leaving was undone; None
        renews it where it is still held: a gesture that comes after the image was given back takes nothing from others
    """
    touching = _touching(catalog.is_sqlite, left)
    more = {} if left else {"seconds": claim_s} if left is None else {"seconds": claim_s, "window": held.window}
    connection.execute(touching, {**_of(held), **more})


@functools.cache  # each gesture does this: to put the statement together takes as long as to run it
def _touching(sqlite: bool, left: bool | None) -> sa.Update:
    statement = sa.update(review_images).where(_SAME)
    if left:
        return statement.values(claimed_by=None, expires_at=0.0, held_in=None)
    held = statement.values(claimed_by=_BY, expires_at=_clock(sqlite) + sa.bindparam("seconds", type_=sa.Float))
    if left is None:
        return held.where(review_images.c.claimed_by == _BY)
    return held.values(held_in=sa.bindparam("window", type_=sa.String))


_BY = sa.select(annotators.c.id).where(annotators.c.name == sa.bindparam("of_name")).scalar_subquery()
_SAME = (
    review_images.c.image_key
    == sa.select(images.c.key).where(images.c.image_id == sa.bindparam("of_image")).scalar_subquery()
) & (review_images.c.token == sa.bindparam("of_token"))
# a number alone can be made up: the one who comes with it has to be who the image was given to
_HELD = sa.select(review_images.c.token).where(_SAME & (review_images.c.last_by == _BY))
_WHEREABOUTS = sa.select(
    review_images.c.claimed_by.is_(None),
    review_images.c.held_in.is_not_distinct_from(sa.bindparam("of_window", type_=sa.String)),
).where(_SAME & (review_images.c.last_by == _BY))


def _of(held: Claim) -> dict[str, Any]:
    return {"of_image": held.image_id, "of_token": held.token, "of_name": held.annotator}


# ---- progress -------------------------------------------------------------------------------------------------------


def progress(catalog: Catalog, scope: Scope) -> Progress:
    """Return how many images are left for good, and how many of the masks to look at lie on them.

    Of second annotations: how many of the complete images a second annotator has completed.
    """
    seen = _flagged() + sa.func.coalesce(triage_images.c.auto_accepted, 0)
    done = review_images.c.status != "open"
    if scope.second:
        left = (review_events.c.purpose == "second") & (review_events.c.kind == "complete") & ~review_events.c.stale
        done = sa.exists().where((review_events.c.image_key == review_images.c.image_key) & left)
    query = sa.select(
        sa.func.coalesce(sa.func.sum(sa.case((done, 1), else_=0)), 0),
        sa.func.count(),
        sa.func.coalesce(sa.func.sum(sa.case((done, seen), else_=0)), 0),
        sa.func.coalesce(sa.func.sum(seen), 0),
        sa.func.coalesce(sa.func.sum(sa.case((review_images.c.status == "skipped", 1), else_=0)), 0),
    ).select_from(_joined(scope))
    if scope.keys is not None:
        query = query.where(_among(scope.keys))
    if scope.second:
        query = query.where(review_images.c.status == "complete")
    with catalog.read() as connection:
        return Progress(*map(int, connection.execute(query).one()))


def left(catalog: Catalog, by: Person, scope: Scope, window: str | None = None) -> Left:
    """Return how many images a person could be given, and how many of those others or their other windows hold now."""
    held, own = review_images.c.expires_at > _clock(catalog.is_sqlite), review_images.c.claimed_by == by.id
    places = (~held | (own & _in(window)), held & ~own, held & own & ~_in(window))
    counts = [sa.func.count(sa.case((place, 1))) for place in places]
    query = sa.select(*counts).select_from(_joined(scope)).where(_kind(by, scope) != "")
    if scope.keys is not None:
        query = query.where(_among(scope.keys))
    with catalog.read() as connection:
        return Left(*map(int, connection.execute(query).one()))


def complete(catalog: Catalog) -> int:
    """Return how many images people have left as complete."""
    query = sa.select(sa.func.count()).select_from(review_images).where(review_images.c.status == "complete")
    with catalog.read() as connection:
        return int(connection.execute(query).scalar_one())
