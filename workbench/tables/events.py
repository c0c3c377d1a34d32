"""Review events: what a person did, checked when made; and the answers of journal and queue."""

from __future__ import annotations

import dataclasses
import json
import math
import re
import unicodedata
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from workbench.masks import rle

KINDS = ("verdict", "draw", "edit", "label", "complete", "skip", "undo", "answer")
VERDICTS = ("none", "accept", "reject")  # in the order of their codes in `ImageReview.verdict`
PHASES = ("verdict", "draw", "check")
PURPOSES = ("review", "audit", "second")
TOOLS = ("polygon", "brush", "click", "box")
DIALOGS = ("coverage", "overlap")
ROLES = ("annotator", "senior", "owner")
SECONDS_SOURCES = ("measured", "simulated")
MAX_TEXT = 200  # characters of a label, a name, a gesture id
MAX_PAYLOAD_BYTES = 4 << 20
MAX_ELAPSED_MS = 24 * 3_600_000
LATER = "g:"  # leads a gesture id where a mask is named by the gesture that draws it

_PHASE_OF = {"draw": "draw", "edit": "draw", "complete": "check", "skip": "check", "answer": "check"}


class EventError(ValueError):
    """An event that cannot be true; the message says what was expected, what came, and what to do."""


_UNSEEN = ("Cc", "Cf", "Cs", "Zl", "Zp")
_JOINED = re.compile(r"(?<=[^\x00-\x7f\u200c\u200d])[\u200c\u200d](?=[^\x00-\x7f\u200c\u200d])")


def check_name(name: object, what: str = "annotator") -> str:
    """Return a name of a person, trimmed.

    Raises
    ------
    EventError : for one that is empty, too long, or holds characters that control or cannot be seen: two names must not
        look alike
    """
    text = name.strip() if isinstance(name, str) else ""
    bare = _JOINED.sub("", text)  # some scripts need the joiners inside a word
    if not text or len(text) > MAX_TEXT or any(unicodedata.category(c) in _UNSEEN for c in bare):
        raise EventError(f"{what}: expected a name of 1 to {MAX_TEXT} characters in one line, got {short(name)}")
    return text


def check_label(label: object) -> str:
    """Return a label, trimmed; "" for none. Raises EventError as `check_name` does."""
    return "" if label == "" or label is None else check_name(label, "label")


def short(value: object, most: int = 60) -> str:
    """Return a value as it is written in Python, cut where it is long."""
    text = repr(value[: most + 1] if isinstance(value, (str, bytes)) else value)
    return text if len(text) <= most else f"{text[:most]}..."


@dataclasses.dataclass(frozen=True)
class ReviewEvent:
    """One gesture of a person on one image.

    gesture_id : given by the client, the same whenever the gesture is sent again
    kind : verdict, draw, edit, label, complete, skip, undo or answer
    mask_id : the mask that is meant, "" where the payload says it or none is; for an edit the mask it supersedes;
        "g:<gesture_id>" names the mask that a gesture has drawn
    payload : verdict {"verdict": accept|reject|none}, in bulk with {"masks": [ids]}; draw {"rle", "size_hw", "tool",
        "prompts", "label", "replaces", "model_id"}, of which only rle and size_hw are needed; edit the same; label
        {"label"}; skip {"reason"}; undo {"gesture"} (redo: undo of an undo); answer {"dialog", "choice", ...}, where
        the choice "asked" says that the dialog was shown
    phase : verdict, draw or check; "" for the one that follows from the gesture
    elapsed_ms : active time since the previous gesture; seconds_source : measured or simulated
    bulk : given to many masks at once, so no label for calibration
    cycle : of the loop, or None; run_id, triage_id : what the person was shown; None lets the project say
    purpose : review; audit: blind, changes no mask; second: by a second annotator on their own, for agreement
    sequence, stale, recorded_at : when read back: the order, whether it came under a lost claim, UTC

    Raises
    ------
    EventError : for a word that is not known, a mask that is none, a text too long, a time that is not finite
    """

    gesture_id: str
    image_id: str
    kind: str
    mask_id: str = ""
    payload: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    annotator: str = ""
    phase: str = ""
    elapsed_ms: float = 0.0
    seconds_source: str = "measured"
    bulk: bool = False
    cycle: int | None = None
    run_id: int | None = None
    triage_id: int | None = None
    purpose: str = "review"
    sequence: int | None = None
    stale: bool = False
    recorded_at: str = ""

    def __post_init__(self) -> None:
        for name in ("gesture_id", "image_id", "mask_id"):
            _check_id(name, getattr(self, name), empty=name == "mask_id")
        _check_word("kind", self.kind, KINDS)
        if not self.phase:
            object.__setattr__(self, "phase", _PHASE_OF.get(self.kind, "verdict"))
        _check_word("phase", self.phase, PHASES)
        _check_word("seconds_source", self.seconds_source, SECONDS_SOURCES)
        _check_word("purpose", self.purpose, PURPOSES)
        object.__setattr__(self, "annotator", check_name(self.annotator))
        object.__setattr__(self, "elapsed_ms", _time(self.elapsed_ms))
        for name in ("cycle", "run_id", "triage_id"):
            _check_whole(name, getattr(self, name))
        payload = _payload(self.payload)
        _PAYLOADS[self.kind](self, payload)
        object.__setattr__(self, "bulk", bool(self.bulk) or "masks" in payload)
        object.__setattr__(self, "payload", MappingProxyType(payload))

    @classmethod
    def known(cls, **fields: Any) -> ReviewEvent:
        """Return an event that was checked when it was recorded, without checking it again; fields as they are kept."""
        event = object.__new__(cls)
        event.__dict__.update(fields)
        return event

    @property
    def targets(self) -> tuple[str, ...]:
        """The masks that a verdict or a label is about."""
        return tuple(self.payload["masks"]) if "masks" in self.payload else (self.mask_id,)

    @property
    def drawn(self) -> tuple[bytes, tuple[int, int]] | None:
        """The mask of a draw or an edit: run lengths and (h, w)."""
        if self.kind not in ("draw", "edit"):
            return None
        h, w = self.payload["size_hw"]
        return self.payload["rle"].encode("ascii"), (h, w)

    @property
    def label(self) -> str | None:
        """The label that a gesture gives; None where it gives none, "" where it takes one away."""
        return self.payload.get("label")


@dataclasses.dataclass(frozen=True)
class Recorded:
    """What became of an event: its place in the journal, whether it came late, and the mask it made.

    stale : stored, and shown, but it changes nothing: its claim had gone to another
    duplicate : the gesture was known already; nothing was written
    """

    gesture_id: str
    sequence: int
    stale: bool
    duplicate: bool
    mask_id: str = ""


@dataclasses.dataclass(frozen=True)
class Claim:
    """An image that is an annotator's for a while.

    token : fencing number; it grows whenever the image changes hands, and events under an older one are stale
    expires_at : seconds of the database's clock since 1970; kind : flagged, audit, complete or second
    window : of the annotator's that it was made in; None for one made elsewhere
    """

    image_id: str
    annotator: str
    token: int
    expires_at: float
    kind: str
    window: str | None = None

    @property
    def purpose(self) -> str:
        """What gestures under it are for, of `PURPOSES`."""
        return self.kind if self.kind in ("audit", "second") else "review"


@dataclasses.dataclass(frozen=True)
class Progress:
    """How far the images of a queue are: left for good (complete or skipped), and the masks to look at on them.

    masks : auto-accepted and flagged ones
    """

    images_done: int
    images: int
    masks_done: int
    masks: int
    skipped: int = 0

    def __str__(self) -> str:
        return f"{self.images_done:,}/{self.images:,} images, {self.masks_done:,}/{self.masks:,} masks"


@dataclasses.dataclass(frozen=True)
class Left:
    """Images that a queue still has for a person, by where they are.

    free : can be had at once; others : held by other annotators; elsewhere : open in another window of the person's
    """

    free: int
    others: int
    elsewhere: int

    def __bool__(self) -> bool:
        return bool(self.free or self.others or self.elsewhere)


def _check_id(name: str, value: object, empty: bool) -> None:
    if not isinstance(value, str) or len(value) > MAX_TEXT or not (value or empty) or not value.isprintable():
        raise EventError(f"{name}: expected a text of 1 to {MAX_TEXT} characters, got {short(value)}")


def _check_word(name: str, value: object, words: tuple[str, ...]) -> None:
    if value not in words or not isinstance(value, str):
        raise EventError(f"{name}: expected one of {', '.join(words)}, got {short(value)}")


def _check_whole(name: str, value: object) -> None:
    whole = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31
    if value is not None and not whole:
        raise EventError(f"{name}: expected a whole number from 0 on or None, got {short(value)}")


def _time(value: object) -> float:
    number = math.nan if isinstance(value, (bool, str)) or not hasattr(value, "__float__") else float(value)
    if not 0 <= number <= MAX_ELAPSED_MS:
        raise EventError(
            f"elapsed_ms: expected active milliseconds from 0 to a day's, got {short(value)}; measure with a clock that "
            "is never set back"
        )
    return number


def _payload(given: object) -> dict[str, Any]:
    if not isinstance(given, Mapping):
        raise EventError(f"payload: expected a mapping, got {short(given)}")
    rough = sum(len(value) for value in given.values() if isinstance(value, (str, bytes, list, tuple)))
    if rough > MAX_PAYLOAD_BYTES:
        raise EventError(f"payload: expected at most {MAX_PAYLOAD_BYTES:,} bytes, got more")
    try:
        text = json.dumps(dict(given), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise EventError(f"payload: expected finite numbers, texts, lists and mappings: {error}") from None
    if len(text) > MAX_PAYLOAD_BYTES:
        raise EventError(f"payload: expected at most {MAX_PAYLOAD_BYTES:,} bytes, got {len(text):,}")
    plain: dict[str, Any] = json.loads(text)
    return plain


def _verdict(event: ReviewEvent, payload: dict[str, Any]) -> None:
    _check_word("verdict", payload.get("verdict"), VERDICTS)
    if "masks" in payload:
        if not isinstance(payload["masks"], list):
            raise EventError(f"masks: expected a list of mask ids, got {short(payload['masks'])}")
        for mask in payload["masks"]:
            _check_id("masks", mask, empty=False)
    elif not event.mask_id:
        raise EventError("mask_id: a verdict needs a mask; give mask_id, or payload['masks'] for many")


def _draw(event: ReviewEvent, payload: dict[str, Any]) -> None:
    if event.kind == "edit" and not event.mask_id:
        raise EventError("mask_id: an edit needs the mask it supersedes; use draw for a new one")
    if payload.get("tool") is not None:
        _check_word("tool", payload["tool"], TOOLS)
    if not isinstance(payload.setdefault("prompts", {}), dict):
        raise EventError(f"prompts: expected a mapping, got {short(payload['prompts'])}")
    for name in ("replaces", "model_id"):
        if payload.get(name) is not None:
            _check_id(name, payload[name], empty=True)
    if payload.get("label") is not None:
        payload["label"] = check_label(payload["label"])
    try:
        counts, size_hw = rle.from_coco({"size": payload.get("size_hw"), "counts": payload.get("rle")})
    except ValueError as error:
        raise EventError(f"rle: {error}") from None
    if not rle.area([counts], size_hw)[0]:
        raise EventError("rle: the mask is empty; draw at least one pixel inside the image")
    payload.update(rle=counts.decode("ascii"), size_hw=list(size_hw))


def _label(event: ReviewEvent, payload: dict[str, Any]) -> None:
    if not event.mask_id:
        raise EventError("mask_id: a label needs a mask")
    payload["label"] = check_label(payload.get("label", ""))


def _skip(event: ReviewEvent, payload: dict[str, Any]) -> None:
    payload["reason"] = check_name(payload.get("reason"), "reason")


def _undo(event: ReviewEvent, payload: dict[str, Any]) -> None:
    _check_id("gesture", payload.get("gesture"), empty=False)
    if payload["gesture"] == event.gesture_id:
        raise EventError("gesture: a gesture cannot undo itself")


def _answer(event: ReviewEvent, payload: dict[str, Any]) -> None:
    _check_word("dialog", payload.get("dialog"), DIALOGS)
    _check_id("choice", payload.get("choice"), empty=False)


_PAYLOADS = {
    "verdict": _verdict,
    "draw": _draw,
    "edit": _draw,
    "label": _label,
    "complete": lambda event, payload: None,
    "skip": _skip,
    "undo": _undo,
    "answer": _answer,
}
