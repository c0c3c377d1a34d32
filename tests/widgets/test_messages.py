"""Messages of a page: what is read, and that nothing else gets through."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.widgets.messages import KINDS, MAX_RLE, Message, MessageError, address, parse

GOOD = {
    "client": "c1",
    "seq": 1,
    "gesture_id": "g1",
    "token": "t",
    "kind": "verdict",
    "phase": "verdict",
    "elapsed_ms": 120.5,
    "mask": "abc",
    "verdict": "accept",
}
DRAWN = {**GOOD, "kind": "draw", "rle": "04", "tool": "brush", "prompts": {"points": [[1, 2.5, 1]]}, "label": "cell"}


def test_parse__reads_what_the_protocol_names():
    message = parse({**GOOD, "image": "a.png", "tries": 3})
    assert message == Message("c1", 1, "verdict", "g1", "t", "verdict", 120.5, {"mask": "abc", "verdict": "accept"})
    drawn = parse(DRAWN).fields
    assert drawn == {
        "rle": b"04",
        "tool": "brush",
        "prompts": {"points": [[1, 2.5, 1]]},
        "label": "cell",
        "replaces": None,
    }
    prompt = parse(
        {**GOOD, "kind": "prompt", "prompt_id": "p1", "points": [[1, 2, 1]], "box": [9, 8, 1, 2], "mask": None}
    ).fields
    assert prompt == {"prompt_id": "p1", "points": [(1.0, 2.0, 1)], "box": (1.0, 2.0, 9.0, 8.0), "mask": None}


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("client", None, "client"),
        ("client", "x" * 200, "200 characters"),
        ("client", "a b", "client"),
        ("seq", 0, "seq"),
        ("seq", True, "seq"),
        ("seq", 1.5, "seq"),
        ("seq", 10**30, "seq"),
        ("gesture_id", "", "gesture_id"),
        ("gesture_id", {"a": 1}, "gesture_id"),
        ("kind", "delete_everything", "expected one of verdict"),
        ("kind", ["verdict"], "kind"),
        ("phase", "lunch", "phase"),
        ("elapsed_ms", float("nan"), "elapsed_ms"),
        ("elapsed_ms", float("inf"), "elapsed_ms"),
        ("elapsed_ms", -1, "elapsed_ms"),
        ("elapsed_ms", "12", "elapsed_ms"),
        ("token", 7, "token"),
        ("token", "x" * 100_000_000, "100,000,000 characters"),
        ("mask", ["a"], "mask"),
        ("verdict", "maybe", "none, accept, reject"),
    ],
)
def test_parse__refuses_in_words(field, value, words):
    with pytest.raises(MessageError, match=words) as refused:
        parse({**GOOD, field: value})
    assert len(str(refused.value)) < 400


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("rle", ""),
        ("rle", None),
        ("rle", "é"),
        ("rle", "0" * (MAX_RLE + 1)),
        ("tool", "axe"),
        ("prompts", [1]),
        ("prompts", {"a": float("nan")}),
        ("prompts", {"a": [[[[[[[[1]]]]]]]]}),
        ("prompts", {"a": [0] * 300_000}),
        ("prompts", {"a": b"bytes"}),
        ("label", 5),
        ("label", "\ud800"),
        ("replaces", ""),
    ],
)
def test_parse__refuses_drawings_in_words(field, value):
    with pytest.raises(MessageError, match=field):
        parse({**DRAWN, field: value})


def test_parse__text_stays_text():
    script = "<img src=x onerror=alert(1)>"
    assert parse({**DRAWN, "label": script}).fields["label"] == script
    assert parse({**DRAWN, "label": " a\nb\x00 "}).fields["label"] == "ab"


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
        max_leaves=20,
    )
)
def test_parse__anything_else_is_refused_and_nothing_breaks(value):
    with pytest.raises(MessageError):
        parse(value)
    for kind in KINDS:
        with contextlib.suppress(MessageError):
            parse({**GOOD, "kind": kind, "mask": value, "points": value, "prompts": value, "masks": value})


def test_address__names_who_is_answered():
    assert address(GOOD) == ("c1", 1)
    with pytest.raises(MessageError, match="object"):
        address([1])
