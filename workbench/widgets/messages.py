"""Messages of the annotator's page, checked strictly before anything is done with them.

A page is not trusted: whatever comes is either a `Message` whose fields have the types and sizes named here, or a
`MessageError` that says in words what was wrong. Nothing is copied, printed or stored before its size is known.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from typing import Any

from workbench.tables.events import DIALOGS, MAX_ELAPSED_MS, PHASES, TOOLS, VERDICTS

MAX_OUTBOX = 5_000  # messages at once
MAX_TEXT = 1_000  # characters of a label, a reason or a name
MAX_RLE = 8_000_000  # characters of one drawn mask
MAX_IDS = 100_000  # masks accepted at once
MAX_VALUES = 200_000  # numbers, texts and containers inside `prompts`
MAX_DEPTH = 6
MAX_POINTS = 1_000  # clicks of one prompt

WHICH = ("next", "previous", "next_flagged", "image")

_WORD = re.compile(r"[A-Za-z0-9_.:\-]{1,128}")


class MessageError(ValueError):
    """A message that is not what the protocol says; the text is for people."""


@dataclasses.dataclass(frozen=True)
class Message:
    """One message of a page.

    client : random name of the page; seq : its number there, from 1; gesture_id : "" for what is not journaled
    token : names the opening of an image that it is about; phase, elapsed_ms : of the time spent
    fields : what the kind needs, checked
    """

    client: str
    seq: int
    kind: str
    gesture_id: str
    token: str
    phase: str
    elapsed_ms: float
    fields: Mapping[str, Any]


Check = Callable[[str, Any], Any]


def address(raw: object) -> tuple[str, int]:
    """Return whose message it is and its number there, so that a refusal can be answered. Raises MessageError."""
    if not isinstance(raw, Mapping):
        raise MessageError(f"message: expected an object, got {_kind(raw)}")
    return _word("client", raw.get("client")), _count("seq", raw.get("seq"))


def parse(raw: object) -> Message:
    """Return the message that a page sent.

    Raises
    ------
    MessageError : naming the field, what was expected and what kind of thing came, never its content
    """
    client, seq = address(raw)
    assert isinstance(raw, Mapping)
    kind = raw.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        raise MessageError(f"kind: expected one of {', '.join(KINDS)}, got {_kind(kind)}")
    wanted = KINDS[kind]
    journaled = kind not in UNRECORDED
    return Message(
        client=client,
        seq=seq,
        kind=kind,
        gesture_id=_word("gesture_id", raw.get("gesture_id")) if journaled or raw.get("gesture_id") else "",
        token=_text("token", raw.get("token")),
        phase=_one_of(PHASES)("phase", raw.get("phase", "verdict")),
        elapsed_ms=_elapsed("elapsed_ms", raw.get("elapsed_ms", 0)),
        fields={name: check(name, raw.get(name)) for name, check in wanted.items()},
    )


# ---- checks -------------------------------------------------------------------------------------------------------


def _kind(value: object) -> str:
    """Name what came without repeating it: it may be huge, or an attack."""
    if value is None:
        return "nothing"
    if isinstance(value, str):
        return f"a text of {len(value):,} characters" if len(value) > 40 else repr(value)
    if isinstance(value, bool | float | int):
        return repr(value) if not isinstance(value, int) or abs(value) < 10**20 else "a huge number"
    if isinstance(value, Mapping):
        return f"an object of {len(value):,} fields"
    return f"a list of {len(value):,}" if isinstance(value, list | tuple) else type(value).__name__


def _word(name: str, value: object) -> str:
    if not isinstance(value, str) or not _WORD.fullmatch(value):
        raise MessageError(f"{name}: expected 1 to 128 letters, digits or -_.: , got {_kind(value)}")
    return value


def _text(name: str, value: object) -> str:
    """Return a text as it is shown and kept: any characters but control ones, ends trimmed."""
    if not isinstance(value, str) or len(value) > MAX_TEXT:
        raise MessageError(f"{name}: expected a text of at most {MAX_TEXT:,} characters, got {_kind(value)}")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise MessageError(f"{name}: expected a text, got one with half a character (a lone surrogate)") from None
    return "".join(c for c in value if c.isprintable()).strip()


def _count(name: str, value: object) -> int:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value < 2**53:
        raise MessageError(f"{name}: expected a whole number from 1, got {_kind(value)}")
    return value


def number(name: str, value: object, low: float = -1e7, high: float = 1e7) -> float:
    """Return a finite number inside a range. Raises MessageError."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise MessageError(f"{name}: expected a number from {low:g} to {high:g}, got {_kind(value)}")
    return float(value)


def _elapsed(name: str, value: object) -> float:
    return number(name, value, 0, MAX_ELAPSED_MS)


def _flag(name: str, value: object) -> bool:
    if value is not None and not isinstance(value, bool):
        raise MessageError(f"{name}: expected true or false, got {_kind(value)}")
    return bool(value)


def _one_of(allowed: tuple[str, ...]) -> Check:
    def check(name: str, value: object) -> str:
        if not isinstance(value, str) or value not in allowed:
            raise MessageError(f"{name}: expected one of {', '.join(allowed)}, got {_kind(value)}")
        return value

    return check


def _optional(check: Check) -> Check:
    return lambda name, value: None if value is None else check(name, value)


def _optional_text(name: str, value: object) -> str:
    return "" if value is None else _text(name, value)


def _words(name: str, value: object) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not 1 <= len(value) <= MAX_IDS:
        raise MessageError(f"{name}: expected a list of 1 to {MAX_IDS:,} masks, got {_kind(value)}")
    return tuple(dict.fromkeys(_word(name, one) for one in value))


def _rle(name: str, value: object) -> bytes:
    if not isinstance(value, str) or not value or len(value) > MAX_RLE or not value.isascii():
        raise MessageError(
            f"{name}: expected run lengths as a COCO string of at most {MAX_RLE:,} characters, got {_kind(value)}"
        )
    return value.encode("ascii")


def _points(name: str, value: object) -> list[tuple[float, float, int]]:
    if value is None:
        return []
    if not isinstance(value, list | tuple) or len(value) > MAX_POINTS:
        raise MessageError(f"{name}: expected a list of at most {MAX_POINTS:,} clicks, got {_kind(value)}")
    points = []
    for one in value:
        if not isinstance(one, list | tuple) or len(one) != 3:
            raise MessageError(f"{name}: expected clicks [x, y, 0 or 1], got {_kind(one)}")
        if isinstance(one[2], bool) or one[2] not in (0, 1):
            raise MessageError(f"{name}: expected 1 (inside) or 0 (outside) as third number, got {_kind(one[2])}")
        points.append((number(name, one[0]), number(name, one[1]), int(one[2])))
    return points


def _box(name: str, value: object) -> tuple[float, ...] | None:
    if value is None:
        return None
    if not isinstance(value, list | tuple) or len(value) != 4:
        raise MessageError(f"{name}: expected [x0, y0, x1, y1], got {_kind(value)}")
    x0, y0, x1, y1 = (number(name, one) for one in value)
    return (min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1))


def _tree(name: str, value: object) -> dict[str, Any]:
    """Return what is kept of how a mask was drawn: an object of finite numbers, short texts, lists and objects."""
    left = [MAX_VALUES]
    if value is not None and not isinstance(value, Mapping):
        raise MessageError(f"{name}: expected an object, got {_kind(value)}")
    return dict(_branch(name, value or {}, 0, left))


def _branch(name: str, value: object, depth: int, left: list[int]) -> Any:
    left[0] -= len(value) if isinstance(value, Mapping | list | tuple) else 1
    if left[0] < 0 or depth > MAX_DEPTH:
        raise MessageError(f"{name}: expected at most {MAX_VALUES:,} values, {MAX_DEPTH} deep; draw it in parts")
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return value if isinstance(value, int) and abs(value) < 2**53 else number(name, value, -1e15, 1e15)
    if isinstance(value, str):
        return _text(name, value)
    if isinstance(value, Mapping):
        return {_text(name, key): _branch(name, one, depth + 1, left) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_branch(name, one, depth + 1, left) for one in value]
    raise MessageError(f"{name}: expected numbers and texts, got {_kind(value)}")


_DRAWING: dict[str, Check] = {"rle": _rle, "tool": _one_of(TOOLS), "prompts": _tree, "label": _optional_text}

KINDS: dict[str, dict[str, Check]] = {
    "verdict": {"mask": _word, "verdict": _one_of(VERDICTS)},
    "accept_all": {"masks": _words},
    "draw": {**_DRAWING, "replaces": _optional(_word)},
    "edit": {**_DRAWING, "mask": _word},
    "label": {"mask": _word, "label": _optional_text},
    "undo": {"gesture": _word},
    "redo": {"gesture": _word},
    "complete": {"confirmed": _flag},
    "skip": {"reason": _text},
    "answer": {"dialog": _one_of(DIALOGS), "choice": _text, "mask": _optional(_word), "other": _optional(_word)},
    "open": {"which": _one_of(WHICH), "image": _optional(_text)},
    "prompt": {"prompt_id": _text, "points": _points, "box": _box, "mask": _optional(_word)},
    "renew": {},
    "refresh": {},
}
UNRECORDED = ("open", "prompt", "renew", "refresh")
