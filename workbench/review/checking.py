"""Whether an event fits what it is about: its claim, its image, its masks, what it undoes. Refusals are in words."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

from workbench.review import state
from workbench.tables.events import Claim, EventError, ReviewEvent, short


def check_claim(event: ReviewEvent, claim: Claim | None) -> None:
    """Refuse an event under a claim of another annotator or image. Raises EventError."""
    if claim is None:
        return
    if event.annotator != claim.annotator:
        raise EventError(
            f"annotator: the claim belongs to {short(claim.annotator)}, the event is by {short(event.annotator)}"
        )
    if event.image_id != claim.image_id:
        raise EventError(f"image_id: the claim is on image {claim.image_id}, the event is on {event.image_id}")


def check_size(event: ReviewEvent, size_hw: tuple[int, int] | None) -> None:
    """Refuse a drawn mask of another size than its image. Raises EventError."""
    if event.drawn is None or size_hw is None:
        return
    h, w = event.drawn[1]
    if (h, w) != size_hw:
        raise EventError(
            f"rle: the mask has {h}×{w} px (h×w), the image has {size_hw[0]}×{size_hw[1]} px as it is seen (upright)"
        )


def named_masks(event: ReviewEvent) -> list[str]:
    """Return the masks that an event says something about, and that must be there already."""
    if event.kind == "verdict":
        return list(event.targets)
    named = [event.mask_id] if event.kind in ("edit", "label") else []
    replaced = event.payload.get("replaces") if event.kind == "draw" else None
    return [*named, str(replaced)] if replaced else named


def renamed(event: ReviewEvent, ids: Mapping[str, str]) -> ReviewEvent:
    """Return an event with masks called by other names."""
    payload = dict(event.payload)
    if "masks" in payload:
        payload["masks"] = [ids.get(name, name) for name in payload["masks"]]
    if payload.get("replaces"):
        payload["replaces"] = ids.get(payload["replaces"], payload["replaces"])
    return dataclasses.replace(event, mask_id=ids.get(event.mask_id, event.mask_id), payload=payload)


def refuse_unknown(event: ReviewEvent, unknown: Sequence[str]) -> None:
    """Refuse an event about masks that are none of its image's. Raises EventError."""
    if unknown:
        more = f" and {len(unknown) - 1} more" if len(unknown) > 1 else ""
        raise EventError(
            f"mask_id: image {event.image_id} has no mask {short(unknown[0])}{more}, neither in run {event.run_id} nor "
            "drawn; open the image again"
        )


def refuse_gone(event: ReviewEvent, gone: Iterable[str]) -> None:
    """Refuse an event about a mask whose drawing was undone, came late, or was not for this purpose. Raises EventError."""
    for name in gone:
        raise EventError(
            f"mask_id: mask {short(name)} of image {event.image_id} is gone: its drawing was undone or does not count; "
            "redo it first, or open the image again"
        )


def refuse_edited(event: ReviewEvent, edited: bool) -> None:
    """Refuse an event about a mask in whose place an edit has come: it would change nothing. Raises EventError."""
    if edited:
        name = short(named_masks(event)[0])
        raise EventError(f"mask_id: mask {name} was edited meanwhile; say it of the mask that it has become")


def refuse_other(event: ReviewEvent, same: bool) -> None:
    """Refuse a gesture that bears the id of another one: it would be taken for that, and lost. Raises EventError."""
    if not same:
        raise EventError(
            f"gesture_id: {short(event.gesture_id)} is another gesture already (of another kind, image or annotator); "
            "give each gesture an id of its own"
        )


def check_undo(event: ReviewEvent, gestures: Sequence[ReviewEvent]) -> None:
    """Refuse an undo of what cannot be undone. Raises EventError.

    Parameters
    ----------
    gestures : of the image of the event, in order
    """
    wanted = event.payload["gesture"]
    found = next((gesture for gesture in gestures if gesture.gesture_id == wanted), None)
    if found is None:
        raise EventError(f"gesture: image {event.image_id} has no gesture {short(wanted)} to undo")
    if found.annotator != event.annotator:
        raise EventError(
            f"gesture: {short(wanted)} is by {short(found.annotator)}; undo your own, and decide anew about others'"
        )
    if found.purpose != event.purpose:
        raise EventError(f"gesture: {short(wanted)} was for {found.purpose}, the undo is for {event.purpose}")
    if wanted in state.undone(gestures):
        raise EventError(f"gesture: {short(wanted)} is undone already; to redo it, undo its undo")
