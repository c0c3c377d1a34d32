"""What the journal says of one image: its masks, today's verdicts, and which of them are final."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from workbench.masks import matching, rle
from workbench.tables.events import VERDICTS, ReviewEvent
from workbench.tables.outcomes import Outcome, Triage
from workbench.tables.proposals import Proposals, mask_id

NONE, ACCEPT, REJECT = range(3)  # codes of VERDICTS
CARRY_OVER_IOU = 0.9
STATUS = {"complete": "complete", "skip": "skipped"}  # of an image, by the kind of the event that left it


class Gesture(NamedTuple):
    """An event of the history of an image."""

    gesture_id: str
    kind: str
    mask_id: str  # meant by it, or made by it
    annotator: str
    sequence: int
    undone: bool
    stale: bool
    purpose: str


@dataclasses.dataclass(frozen=True, eq=False)
class ImageReview:
    """The review of one image as it stands: N masks, the distinct automatic ones in their order, then those drawn.

    status : open, complete or skipped; by_status : who made it so, "" while open
    run_id, triage_id : what is shown; of a complete image what was shown when it was completed
    masks : drawn and edited ones have source manual or edited, their parent and their kind of prompt
    outcome : (N,) uint8 of `Outcome`, for drawn masks discarded (nothing was decided about them)
    reasons : (N,) uint32 of `Reason`; verdict : (N,) uint8, 0 none, 1 accept, 2 reject; bulk : (N,) bool
    label, by : (N,) str, "" for none; prompts : (N,) mappings; superseded : (N,) bool, by an edit
    suggested : (N,) uint8, verdicts on masks of other runs with IoU >= 0.9, for masks without a verdict
    history : all gestures in order; of one annotator where only theirs are counted
    """

    image_id: str
    size_hw: tuple[int, int] | None
    status: str
    by_status: str
    run_id: int | None
    triage_id: int | None
    masks: Proposals
    outcome: NDArray[np.uint8]
    reasons: NDArray[np.uint32]
    verdict: NDArray[np.uint8]
    bulk: NDArray[np.bool_]
    label: NDArray[np.object_]
    by: NDArray[np.object_]
    prompts: NDArray[np.object_]
    superseded: NDArray[np.bool_]
    suggested: NDArray[np.uint8]
    history: tuple[Gesture, ...]

    def __len__(self) -> int:
        return len(self.masks)

    def __repr__(self) -> str:
        final = int(self.final.sum())
        return f"<ImageReview {self.image_id}: {self.status}, {len(self)} masks, {final} final>"

    @property
    def drawn(self) -> NDArray[np.bool_]:
        """(N,) bool: made by a person, from nothing or from another mask."""
        return np.asarray(self.masks.source != "automatic", dtype=bool)

    @property
    def final(self) -> NDArray[np.bool_]:
        """(N,) bool: auto-accepted and not rejected, or accepted, or drawn and not rejected; never superseded."""
        free = self.drawn | (self.outcome == Outcome.auto_accepted)
        kept = (free & (self.verdict != REJECT)) | (self.verdict == ACCEPT)
        return np.asarray(kept & ~self.superseded)

    @property
    def pending(self) -> NDArray[np.bool_]:
        """(N,) bool: flagged, and nobody has decided yet."""
        return np.asarray((self.outcome == Outcome.flagged) & (self.verdict == NONE) & ~self.superseded & ~self.drawn)

    @property
    def looked_at(self) -> NDArray[np.bool_]:
        """(N,) bool: automatic masks that a person looked at: with a verdict of their own, not in bulk, or edited."""
        return np.asarray(~self.drawn & (((self.verdict != NONE) & ~self.bulk) | self.superseded))

    @property
    def rejected(self) -> NDArray[np.bool_]:
        """(N,) bool: automatic masks that a person looked at and rejected; an edit is no rejection."""
        return np.asarray(self.looked_at & (self.verdict == REJECT) & ~self.superseded)

    def at(self, mask: str) -> int:
        """Return the row of a mask id. Raises KeyError for one that is not there."""
        found = np.flatnonzero(self.masks.mask_id == mask)
        if not len(found):
            raise KeyError(f"mask: expected one of the {len(self)} masks of image {self.image_id}, got {mask!r}")
        return int(found[0])


def undone(events: Sequence[ReviewEvent]) -> set[str]:
    """Return the gestures that do not count today, because an undo that counts names them; events in order.

    An undo is undone like any other gesture, which is what redo is.
    """
    gone: set[str] = set()
    for event in reversed(events):  # an undo comes after what it undoes
        if event.kind == "undo" and not event.stale and event.gesture_id not in gone:
            gone.add(str(event.payload["gesture"]))
    return gone


def counting(events: Sequence[ReviewEvent], purpose: str = "review") -> list[ReviewEvent]:
    """Return the events of a purpose that count today: neither undone nor stale; undos themselves are left out."""
    gone = undone(events)
    return [e for e in events if e.purpose == purpose and not e.stale and e.kind != "undo" and e.gesture_id not in gone]


def standing(events: Sequence[ReviewEvent]) -> ReviewEvent | None:
    """Return the event that completed or skipped the image; None while it is open."""
    last = [event for event in counting(events) if event.kind in ("complete", "skip")]
    return last[-1] if last else None


def made_mask(event: ReviewEvent) -> str:
    """Return the id of the mask that an event draws; "" for other events."""
    return mask_id(event.image_id, *event.drawn) if event.drawn is not None else ""


@dataclasses.dataclass
class _Mask:
    """A mask while the events are gone through."""

    verdict: int = NONE
    bulk: bool = False
    label: str = ""
    by: str = ""
    superseded: bool = False
    parent: str = ""
    draw: ReviewEvent | None = None


def fold(
    image_id: str,
    size_hw: tuple[int, int] | None,
    automatic: Proposals,
    triaged: Triage,
    events: Sequence[ReviewEvent],
    *,
    run_id: int | None = None,
    triage_id: int | None = None,
    purpose: str = "review",
    by: str | None = None,
    others: Proposals | None = None,
) -> ImageReview:
    """Go through the events of an image, and return how it stands.

    Parameters
    ----------
    automatic, triaged : proposals of the run that is shown with their outcomes; the distinct ones are kept, and those that
        somebody judged while they were
    events : of this image, in order
    run_id, triage_id : of what is shown
    purpose, by : count only events of this purpose, and of this annotator (None: of all)
    others : proposals of other runs of this image, to carry verdicts over from
    """
    counted = [e for e in counting(events, purpose) if by is None or e.annotator == by]
    chosen = _first_of_each(automatic, triaged.distinct)
    verdicts = {target: e.payload["verdict"] for e in counted if e.kind == "verdict" for target in e.targets}
    judged = {target for target, verdict in verdicts.items() if verdict != VERDICTS[NONE]}
    if more := list(judged - set(automatic.mask_id[chosen].tolist())):
        dropped = _first_of_each(automatic, np.isin(automatic.mask_id.astype(str), more))
        chosen = np.sort(np.concatenate([chosen, dropped]))
    state = {str(mask): _Mask() for mask in automatic.mask_id[chosen]}
    elsewhere: dict[str, int] = {}
    for event in counted:
        _apply(event, state, elsewhere)
    last = [event for event in counted if event.kind in ("complete", "skip")]
    masks = Proposals.concat([automatic.select(chosen), _drawn(image_id, state)])
    return ImageReview(
        image_id=image_id,
        size_hw=size_hw,
        status=STATUS[last[-1].kind] if last else "open",
        by_status=last[-1].annotator if last else "",
        run_id=run_id,
        triage_id=triage_id,
        masks=masks,
        outcome=_padded(triaged.outcome[chosen], len(masks)),
        reasons=_padded(triaged.reasons[chosen], len(masks)),
        suggested=_suggested(masks, state, elsewhere, others),
        history=_history(events if by is None else [e for e in events if e.annotator == by]),
        **_columns(state),
    )


def _first_of_each(automatic: Proposals, some: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return which of some rows; of two with the same pixels the first, since verdicts attach to the pixels."""
    rows = np.flatnonzero(some)
    _, first = np.unique(automatic.mask_id[rows].astype(str), return_index=True)
    return np.asarray(rows[np.sort(first)], dtype=np.int64)


def _apply(event: ReviewEvent, state: dict[str, _Mask], elsewhere: dict[str, int]) -> None:
    if event.kind == "verdict":
        verdict = VERDICTS.index(event.payload["verdict"])
        for target in event.targets:
            before = state.get(target)
            if event.bulk and before is not None and before.verdict == verdict != NONE and not before.bulk:
                continue  # decided one by one already, and the same: it stays a verdict of its own
            if before is not None:
                by = event.annotator if verdict or before.draw else ""
                state[target] = dataclasses.replace(before, verdict=verdict, bulk=event.bulk, by=by)
            elsewhere[target] = verdict
    elif event.kind == "label":
        if event.mask_id in state:
            state[event.mask_id].label = event.label or ""
    elif event.kind in ("draw", "edit"):
        _add(event, state)


def _add(event: ReviewEvent, state: dict[str, _Mask]) -> None:
    made = made_mask(event)
    parent = event.mask_id if event.kind == "edit" else str(event.payload.get("replaces") or "")
    before = state.get(parent)
    label = event.label if event.label is not None else before.label if before else ""
    if made in state:  # the pixels of a mask that is there: the person says that it is right
        verdict = NONE if state[made].draw else ACCEPT
        state[made] = dataclasses.replace(
            state[made],
            verdict=verdict,
            bulk=False,
            by=event.annotator,
            superseded=False,
            label=label or state[made].label,
        )
    else:
        state[made] = _Mask(label=label, by=event.annotator, parent=parent, draw=event)
    if before is None or parent == made:
        return
    if event.kind == "edit":
        before.superseded = True
    elif before.verdict != REJECT:
        before.verdict, before.by, before.bulk = REJECT, event.annotator, False


def _drawn(image_id: str, state: Mapping[str, _Mask]) -> Proposals:
    made = [(mask, kept.draw, kept.parent) for mask, kept in state.items() if kept.draw is not None]
    if not made:
        return Proposals.empty()
    drawings = [draw.drawn for _, draw, _ in made if draw.drawn is not None]
    rles, size = [counts for counts, _ in drawings], drawings[0][1]
    return Proposals.make(
        rles=rles,
        image_id=image_id,
        mask_id=[mask for mask, _, _ in made],
        row=np.full(len(made), -1),
        boxes_xyxy=rle.to_boxes(rles, size),
        area_px=rle.area(rles, size),
        sizes_hw=[drawing[1] for drawing in drawings],
        model_id=[str(draw.payload.get("model_id") or "") for _, draw, _ in made],
        parent_id=[parent for _, _, parent in made],
        prompt=[str(draw.payload.get("tool") or "") for _, draw, _ in made],
        source=["edited" if draw.kind == "edit" else "manual" for _, draw, _ in made],
    )


def _columns(state: Mapping[str, _Mask]) -> dict[str, NDArray[Any]]:
    kept = list(state.values())  # the automatic ones were there first
    prompts = np.empty(len(kept), dtype=object)
    prompts[:] = [dict(m.draw.payload.get("prompts") or {}) if m.draw else {} for m in kept]
    return {
        "verdict": np.array([m.verdict for m in kept], dtype=np.uint8),
        "bulk": np.array([m.bulk for m in kept], dtype=bool),
        "label": np.array([m.label for m in kept], dtype=object),
        "by": np.array([m.by for m in kept], dtype=object),
        "superseded": np.array([m.superseded for m in kept], dtype=bool),
        "prompts": prompts,
    }


def _padded(column: NDArray[Any], n: int) -> NDArray[Any]:
    whole = np.zeros(n, dtype=column.dtype)
    whole[: len(column)] = column
    return whole


def _suggested(
    masks: Proposals, state: Mapping[str, _Mask], elsewhere: Mapping[str, int], others: Proposals | None
) -> NDArray[np.uint8]:
    """Verdicts on masks of other runs, carried over one to one; by themselves they decide nothing."""
    suggested = np.zeros(len(masks), dtype=np.uint8)
    if others is None or not len(others):
        return suggested
    names = others.mask_id.tolist()
    old = [k for k, name in enumerate(names) if elsewhere.get(name) and name not in state]
    new = [k for k, name in enumerate(masks.mask_id) if state[name].verdict == NONE and state[name].draw is None]
    first = list({names[k]: k for k in reversed(old)}.values())
    if not first or not new:
        return suggested
    size = (int(masks.sizes_hw[new[0], 0]), int(masks.sizes_hw[new[0], 1]))
    a, b = [masks.rles[k] for k in new], [others.rles[k] for k in first]
    for i, j, _ in zip(*matching.match(a, b, size, CARRY_OVER_IOU), strict=True):
        suggested[new[i]] = elsewhere[names[first[j]]]
    return suggested


def _history(events: Sequence[ReviewEvent]) -> tuple[Gesture, ...]:
    gone = undone(events)
    return tuple(
        Gesture(
            e.gesture_id,
            e.kind,
            made_mask(e) or e.mask_id,
            e.annotator,
            e.sequence or 0,
            e.gesture_id in gone,
            e.stale,
            e.purpose,
        )
        for e in events
    )


def count_answers(events: Iterable[ReviewEvent]) -> dict[str, dict[str, int]]:
    """Return for each dialog (R5 coverage, R6 overlap) how often it was asked, and how often each answer was given."""
    counts: dict[str, collections.Counter[str]] = {"coverage": collections.Counter(), "overlap": collections.Counter()}
    for event in events:
        if event.kind == "answer" and not event.stale:
            counts[event.payload["dialog"]][event.payload["choice"]] += 1
    told = {}
    for dialog, choices in counts.items():
        asked = choices.pop("asked", 0)
        told[dialog] = {"asked": max(asked, choices.total()), **dict(sorted(choices.items()))}
    return told
