"""Images handed out to people, and tables of what came back: where queue, claims and journal meet."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from workbench.images import ROLES
from workbench.recording import image_review
from workbench.review import queue as queueing
from workbench.review import state, timing
from workbench.review.config import ReviewConfig
from workbench.review.queue import Queue
from workbench.review.state import ImageReview
from workbench.settings import did_you_mean
from workbench.shown import Shown
from workbench.store import campaigns, claims, journal, runs
from workbench.store.claims import Scope
from workbench.store.errors import StoreError
from workbench.store.schema import images as images_table
from workbench.tables.events import Claim, Left, Progress

if TYPE_CHECKING:
    import pandas as pd

_COUNTED_AT_ONCE = 64


def queue(
    shown: Shown,
    strategy: str,
    images: Iterable[str] | None,
    role: str | None,
    skipped: bool,
    second: bool,
    claim_s: float,
) -> Queue:
    """Return a queue over images; see `Reviewing.queue`."""
    if strategy not in claims.STRATEGIES:
        hint = did_you_mean(strategy, claims.STRATEGIES)
        raise ValueError(f"strategy: expected one of {', '.join(claims.STRATEGIES)}, got {strategy!r}{hint}")
    if role is not None and role not in ROLES:
        raise ValueError(f"role: expected one of {', '.join(ROLES)}, got {role!r}")
    if not 0 < claim_s < 1e9:
        raise ValueError(f"claim_s: expected seconds above 0, got {claim_s!r}")
    keys = None if images is None else {f.key for f in runs.image_files(shown.project.catalog, None, list(images))}
    if role is not None:
        with shown.project.catalog.read() as connection:
            query = sa.select(images_table.c.key).where(images_table.c.role == role)
            of_role = set(connection.execute(query).scalars())
        keys = of_role if keys is None else keys & of_role
    scope = Scope(strategy, None, None if keys is None else tuple(sorted(keys)), skipped, second)
    desk = _Desk(shown, scope, claim_s)
    desk.refresh()
    return Queue(desk, strategy, desk.refresh)


class _Desk:
    """The claims of a project, as a queue asks for them."""

    def __init__(self, shown: Shown, scope: Scope, claim_s: float) -> None:
        self.shown, self.scope, self.claim_s = shown, scope, claim_s

    def refresh(self) -> None:
        """Enter images that are new, see what a campaign waits for, and count outcomes of the latest triage."""
        catalog, version = self.shown.project.catalog, self.shown.latest()
        claims.enter(catalog)
        first = () if self.scope.second or self.scope.strategy == "order" else campaigns.awaited(catalog).keys
        self.scope = dataclasses.replace(self.scope, triage_id=version.triage_id, first=first)
        if version.run_id is None or version.triage_id is None:
            return
        todo = claims.uncounted(catalog, version.run_id, version.triage_id)
        for start in range(0, len(todo), _COUNTED_AT_ONCE):
            part = todo[start : start + _COUNTED_AT_ONCE]
            claims.count(
                catalog,
                version.triage_id,
                [(image, queueing.priorities(*self.shown.triaged(version, image))) for image in part],
            )

    def take(
        self, annotator: str, image: str | None, other_than: Sequence[str], window: str | None, resume: bool
    ) -> Claim | None:
        """Take an image, or the next one."""
        catalog, by = self.shown.project.catalog, self._person(annotator)
        image_id = None
        if image is not None:
            found = {f.image_id for f in runs.image_files(catalog, None, [image])} - {None}
            if len(found) != 1:
                raise StoreError(f"image: expected one readable image, {image!r} means {len(found)}; give an id")
            image_id = found.pop()
        return claims.claim(catalog, by, self.scope, self.claim_s, image_id, other_than, window, resume)

    def renew(self, claim: Claim) -> Claim:
        """Let a claim hold for another while."""
        return claims.renew(self.shown.project.catalog, claim, self.claim_s)

    def release(self, claim: Claim) -> bool:
        """Give an image back."""
        return claims.release(self.shown.project.catalog, claim)

    def whereabouts(self, claim: Claim) -> str:
        """Tell where the image of a claim is."""
        return claims.whereabouts(self.shown.project.catalog, claim)

    def progress(self) -> Progress:
        """Count what is done."""
        return claims.progress(self.shown.project.catalog, self.scope)

    def left(self, annotator: str, window: str | None) -> Left:
        """Count what is not done, by where it is."""
        return claims.left(self.shown.project.catalog, self._person(annotator), self.scope, window)

    def _person(self, annotator: str) -> journal.Person:
        with self.shown.project.catalog.read() as connection:
            return journal.person(connection, annotator)


def own_review(shown: Shown, image_id: str, annotator: str) -> ImageReview:
    """Return an image as one person left it: by their second annotation where there is one, else by their review."""
    with shown.project.catalog.read() as connection:
        by = journal.person(connection, annotator)
        place = journal.places(connection, [image_id])[image_id]
        events = journal.events(connection, [place.key]).get(image_id, [])
    second = any(event.annotator == by.name for event in state.counting(events, "second"))
    return image_review(shown, image_id, purpose="second" if second else "review", by=by.name)


def labels_frame(found: Iterable[ImageReview]) -> pd.DataFrame:
    """Return image_id, mask_id, label, by, verdict and bulk of each final mask."""
    import pandas as pd

    from workbench.tables.events import VERDICTS

    rows: list[tuple[Any, ...]] = []
    for review in found:
        for k in review.final.nonzero()[0]:
            verdict = VERDICTS[review.verdict[k]]
            rows.append(
                (review.image_id, review.masks.mask_id[k], review.label[k], review.by[k], verdict, bool(review.bulk[k]))
            )
    return pd.DataFrame(rows, columns=["image_id", "mask_id", "label", "by", "verdict", "bulk"])


def reviewed_frame(shown: Shown, config: ReviewConfig) -> pd.DataFrame:
    """Return a row for each image that people left or worked on."""
    import pandas as pd

    catalog = shown.project.catalog
    with catalog.read() as connection:
        by_image = journal.events(connection)
        files = [f for f in runs.image_files(catalog, None) if f.image_id in by_image]
    rows = []
    for file in files:
        events = by_image[str(file.image_id)]
        last = state.standing(events)
        status = "open" if last is None else state.STATUS[last.kind]
        who = last.annotator if last else ", ".join(dict.fromkeys(e.annotator for e in events))
        reason = str(last.payload.get("reason", "")) if last else ""
        seconds = timing.active_s([e for e in events if e.purpose == "review"], config.idle_s, config.drawing_s)
        rows.append((file.image_id, file.path, status, who, sum(seconds.values()), len(events), reason))
    return pd.DataFrame(rows, columns=["image_id", "path", "status", "annotator", "seconds", "gestures", "reason"])
