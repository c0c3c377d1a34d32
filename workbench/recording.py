"""Events into a project's journal, and images as they stand out of it: where journal, claims and proposals meet."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import sqlalchemy as sa

from workbench import proposing
from workbench.images import ImageError
from workbench.proposing import ChangedError
from workbench.review import checking, state
from workbench.review.state import ImageReview
from workbench.shown import Shown, Version
from workbench.store import audits, claims, journal, records, runs, truth
from workbench.store.journal import Kept, Person, Place
from workbench.store.schema.review import review_events
from workbench.tables.events import LATER, Claim, EventError, Recorded, ReviewEvent, short
from workbench.tables.proposals import Proposals

if TYPE_CHECKING:
    from workbench.folder import ProjectFolder

_OF_MASKS = ("verdict", "label", "edit")  # gestures on masks that a run proposed


# ---- images out of the journal --------------------------------------------------------------------------------------


def image_review(
    shown: Shown, image_id: str, *, latest: bool = False, purpose: str = "review", by: str | None = None
) -> ImageReview:
    """Return how an image stands; see `Reviewing.image_review`."""
    with shown.project.catalog.read() as connection:
        place = journal.places(connection, [image_id])[image_id]
        events = journal.events(connection, [place.key]).get(image_id, [])
    now = shown.latest()
    return of_events(shown, place, events, now, latest=latest, purpose=purpose, by=by)


def of_events(
    shown: Shown,
    place: Place,
    events: Sequence[ReviewEvent],
    now: Version,
    *,
    latest: bool = False,
    purpose: str = "review",
    by: str | None = None,
    strictly: bool = False,
) -> ImageReview:
    """Return how an image stands by its events: a complete one as it was shown then, an open one as `now`.

    strictly : with `now`, also an image that its run has not got to; see `_open_version`
    """
    last = state.standing(events)
    if last is not None and last.kind == "complete" and not latest:
        version = Version(last.run_id, last.triage_id)
    else:
        version = now if strictly else _open_version(shown, place.image_id, events, now, purpose)
    rows, triaged = shown.triaged(version, place.image_id)
    older = dict.fromkeys(e.run_id for e in events if e.kind == "verdict" and e.run_id not in (None, version.run_id))
    others = [shown.proposals(run_id, place.image_id) for run_id in older]
    return state.fold(
        place.image_id,
        place.size_hw,
        rows,
        triaged,
        events,
        run_id=version.run_id,
        triage_id=version.triage_id,
        purpose=purpose,
        by=by,
        others=Proposals.concat(others),
    )


def _open_version(
    shown: Shown, image_id: str, events: Sequence[ReviewEvent], now: Version, purpose: str = "review"
) -> Version:
    """Return what an open image is shown with: `now`, or, while its run has not got to the image, what was worked on.

    So that another run, tried on some images or under way, takes nothing from the others.
    """
    runs_of = [e.run_id for e in state.counting(events, purpose) if e.kind in _OF_MASKS and e.run_id is not None]
    if not runs_of or runs_of[-1] == now.run_id or shown.done(now.run_id, image_id):
        return now
    return shown.latest(runs_of[-1])


def everything(
    shown: Shown, image_ids: Iterable[str] | None = None, run_id: int | None = None
) -> Iterator[ImageReview]:
    """Return every image that is not skipped as it stands, in order; one that nobody touched as triage left it.

    Parameters
    ----------
    image_ids : None for all
    run_id : what open images are shown with, and nothing else; None for the run worked on last
    """
    return _as_they_stand(shown, image_ids, ("open", "complete"), run_id)


def reviews(shown: Shown, image_ids: Iterable[str] | None = None) -> Iterator[ImageReview]:
    """Return images that are complete as they stand, in their order."""
    return _as_they_stand(shown, image_ids, ("complete",), None)


def _as_they_stand(
    shown: Shown, image_ids: Iterable[str] | None, statuses: Collection[str], run_id: int | None
) -> Iterator[ImageReview]:
    """Yield images of some statuses, one in memory at a time."""
    wanted, now = None if image_ids is None else set(image_ids), shown.latest(run_id)
    with shown.project.catalog.read() as connection:
        worked_on = journal.touched(connection)
        status_of = journal.statuses(connection)
    for file in runs.image_files(shown.project.catalog, None):
        if file.image_id is None or (wanted is not None and file.image_id not in wanted):
            continue
        if status_of.get(file.key, ("open", None))[0] not in statuses:
            continue
        with shown.project.catalog.read() as connection:
            place = journal.places(connection, [file.image_id])[file.image_id]
            events = journal.events(connection, [file.key]).get(file.image_id, []) if file.key in worked_on else []
        yield of_events(shown, place, events, now, strictly=run_id is not None)


# ---- events into the journal ----------------------------------------------------------------------------------------


def record(shown: Shown, events: Sequence[ReviewEvent], claim: Claim | None, claim_s: float) -> list[Recorded]:
    """Append events in one short transaction; see `Reviewing.record`."""
    if not events:
        return []
    catalog = shown.project.catalog
    with catalog.read() as connection:
        places = journal.places(connection, (event.image_id for event in events))
        versions = {image: _version_of(connection, place.key) for image, place in places.items()}
        found = records.latest(connection)
    if None in versions.values() and any(event.run_id is None or event.triage_id is None for event in events):
        now = Version(*found) if found else shown.latest()
        with catalog.read() as connection:
            begun = journal.events(connection, [places[image].key for image, of in versions.items() if of is None])
        versions = {
            image: version or _open_version(shown, image, begun.get(image, []), now)
            for image, version in versions.items()
        }
    prepared = [_prepared(shown, event, claim, places, versions) for event in events]
    places |= {place.image_id: place for _, place, _ in prepared}
    with catalog.write() as connection:  # looks and writes in one turn; nothing slow is done in it
        writer = _Writer(connection, journal.people(connection), claim)
        known = journal.known(connection, [event.gesture_id for event in events])
        told = [writer.append(event, place, ids, known.get(event.gesture_id)) for event, place, ids in prepared]
        left = writer.settle()
        if claim is not None and not writer.lost:
            claims.touch(catalog, connection, claim, claim_s, left)
    return told


def _version_of(connection: sa.Connection, key: int) -> Version | None:
    """Return what a complete image was shown with; None for others."""
    status, sequence = journal.statuses(connection, [key]).get(key, ("open", None))
    if status != "complete":
        return None
    query = sa.select(review_events.c.run_id, review_events.c.triage_id).where(review_events.c.sequence == sequence)
    return Version(*connection.execute(query).one())


def _prepared(
    shown: Shown,
    event: ReviewEvent,
    claim: Claim | None,
    places: Mapping[str, Place],
    versions: Mapping[str, Version | None],
) -> tuple[ReviewEvent, Place, frozenset[str]]:
    """Return an event with what its claim and its image say of it, its place, and the automatic masks it may mean."""
    place = places.get(event.image_id)
    if place is None:
        raise EventError(f"image_id: expected the id of an image of the project, got {short(event.image_id)}")
    checking.check_claim(event, claim)
    changes: dict[str, object] = {}
    if claim is not None:
        changes["purpose"] = claim.purpose
    changes |= _shown_with(shown, event, versions[event.image_id])._asdict()
    event = dataclasses.replace(event, sequence=None, stale=False, recorded_at="", **changes)  # type: ignore[arg-type]
    if event.drawn is not None:
        place = _sized(shown.project, place)
        checking.check_size(event, place.size_hw)
    named = checking.named_masks(event)
    automatic = shown.proposals(event.run_id, event.image_id).mask_id.tolist() if named else ()
    return event, place, frozenset(automatic)


def _shown_with(shown: Shown, event: ReviewEvent, version: Version | None) -> Version:
    """Return the run and the triage that an event goes by: those it names, or else what the image is shown with."""
    run_id, triage_id = event.run_id, event.triage_id
    if triage_id is not None:
        of = shown.run_of(triage_id)  # refuses an unknown one
        if run_id not in (None, of):
            runs.find(shown.project.catalog, run_id)  # refuses an unknown one
            raise EventError(f"triage_id: expected a version of the triage of run {run_id}, {triage_id} is of run {of}")
        return Version(of, triage_id)
    if version is not None and run_id in (None, version.run_id):
        return version
    if run_id is not None:
        runs.find(shown.project.catalog, run_id)  # refuses an unknown one
    return Version(run_id, None)


def _sized(project: ProjectFolder, place: Place) -> Place:
    """Return a place with the size of its image, which is read when no run has done so. Raises EventError."""
    if place.size_hw is not None:
        return place
    try:
        pixels, _ = proposing.read(project.path, runs.image_files(project.catalog, None, [place.image_id])[0])
    except (ImageError, ChangedError) as error:
        raise EventError(f"rle: the size of the image is not known, and it cannot be read: {error}") from None
    size = (int(pixels.shape[0]), int(pixels.shape[1]))
    truth.set_size(project.catalog, place.key, size)
    return place._replace(size_hw=size)


class _Writer:
    """Appends the events of one transaction, each checked against the journal as it is by then."""

    def __init__(self, connection: sa.Connection, people: Mapping[str, Person], claim: Claim | None) -> None:
        self.connection, self.people, self.claim = connection, people, claim
        self.lost = claim is not None and claims.is_lost(connection, claim)
        self._told: dict[str, Kept] = {}
        self._moved: set[int] = set()  # images whose status may be another now
        self._left: bool | None = None  # whether the image of the claim was left for good, or taken up again
        self._audited: set[int] = set()

    def append(self, event: ReviewEvent, place: Place, automatic: frozenset[str], kept: Kept | None) -> Recorded:
        """Append an event, unless it is kept already. Raises EventError when it does not fit: nothing is written then."""
        by = self.people.get(event.annotator)
        what = (place.key, by.id if by else None, event.kind)
        kept = kept or self._told.get(event.gesture_id)  # twice in one call
        if kept is not None:
            checking.refuse_other(event, kept[1:] == what)
            return dataclasses.replace(kept.recorded, duplicate=True)
        if by is None:
            raise EventError(
                f"annotator: {short(event.annotator)} is not known here; add them with project.add_annotator"
            )
        event = self._resolved(event)
        self._check_masks(event, place, automatic)
        if event.kind == "undo":
            wanted = str(event.payload["gesture"])
            found = journal.gestures(self.connection, [place.key], ["undo"], also=wanted)
            checking.check_undo(event, found.get(place.image_id, []))
        self._check_purpose(event, place, by)
        event = dataclasses.replace(event, stale=self.lost)
        token = self.claim.token if self.claim else None
        told = journal.append(self.connection, event, place, by, token, state.made_mask(event))
        self._told[event.gesture_id] = Kept(told, *what)  # type: ignore[arg-type]  # the person is known by now
        if event.kind in ("complete", "skip", "undo") and not event.stale:
            if event.purpose == "review":
                self._moved.add(place.key)
            else:
                self._left = event.kind != "undo"
        return told

    def _check_purpose(self, event: ReviewEvent, place: Place, by: Person) -> None:
        if event.purpose == "audit":
            audits.check(self.connection, event, place.key, by)
            self._audited.add(place.key)
        elif event.purpose == "second" and journal.has_reviewed(self.connection, place.key, by):
            raise EventError(
                f"annotator: {short(by.name)} has reviewed image {event.image_id}; a second annotation needs somebody else"
            )

    def _resolved(self, event: ReviewEvent) -> ReviewEvent:
        """Give masks that are named by their gesture ("g:...") the ids they got."""
        later = [name for name in checking.named_masks(event) if name.startswith(LATER)]
        if not later:
            return event
        gestures = [name.removeprefix(LATER) for name in later]
        made = {**journal.known(self.connection, gestures), **self._told}
        ids = {LATER + gesture: made[gesture].recorded.mask_id for gesture in gestures if gesture in made}
        return checking.renamed(event, ids)

    def _check_masks(self, event: ReviewEvent, place: Place, automatic: frozenset[str]) -> None:
        named = checking.named_masks(event)
        if len(named) == 1 and event.purpose != "audit" and not self.lost:
            checking.refuse_edited(event, self._is_edited(event, place, named[0]))
        unknown = [name for name in named if name not in automatic]
        if not unknown:
            return
        drawn = journal.drawings(self.connection, place.key, unknown)
        checking.refuse_unknown(event, [name for name in unknown if name not in drawn])
        if self.lost or event.purpose == "audit":  # what comes late is kept; audited masks stay what they were
            return
        undos = journal.gestures(self.connection, [place.key], ["undo"]).get(place.image_id, [])
        gone = state.undone(undos)
        here = {
            name
            for name, by in drawn.items()
            if any(d.purpose == event.purpose and not d.stale and d.gesture_id not in gone for d in by)
        }
        checking.refuse_gone(event, [name for name in unknown if name not in here])

    def _is_edited(self, event: ReviewEvent, place: Place, mask: str) -> bool:
        """Whether another mask stands in the place of one, in what the event is for."""
        edits = journal.edits(self.connection, place.key, mask)
        if not any(replaced for _, replaced in edits):
            return False
        gone = state.undone(journal.gestures(self.connection, [place.key], ["undo"]).get(place.image_id, []))
        counted = [
            replaced
            for d, replaced in edits
            if (d.purpose, d.stale) == (event.purpose, False) and d.gesture_id not in gone
        ]
        return bool(counted) and counted[-1]

    def settle(self) -> bool | None:
        """Note where the images stand now; return whether the image of the claim is left for good, None for no change."""
        for key in self._moved:
            status, sequence = standing(self.connection, [key]).get(key, ("open", None))
            journal.set_status(self.connection, key, status, sequence)
            self._left = status != "open"
        for key in self._audited:
            settle_audits(self.connection, key)
        return self._left


def standing(connection: sa.Connection, keys: Sequence[int] | None = None) -> dict[int, tuple[str, int | None]]:
    """Return where images stand by the journal: status, and the sequence of the event that made it so, by image key."""
    found: dict[int, tuple[str, int | None]] = {}
    by_image = journal.gestures(connection, keys, ["complete", "skip", "undo"])
    places = journal.places(connection, by_image)
    for image_id, events in by_image.items():
        last = state.standing(events)
        if last is not None:
            found[places[image_id].key] = (state.STATUS[last.kind], last.sequence)
    return found


def settle_audits(connection: sa.Connection, key: int) -> None:
    """Note which events answer the audited masks of an image today."""
    audits.settle(connection, key, audit_events(connection, key))


def audit_events(connection: sa.Connection, key: int) -> list[ReviewEvent]:
    """Return the gestures of auditors on an image that count, in order."""
    found = journal.events(connection, [key], purpose="audit")
    return state.counting([event for of_image in found.values() for event in of_image], "audit")
