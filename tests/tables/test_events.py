from __future__ import annotations

import contextlib
import math

import pytest
from desk import block
from hypothesis import given
from hypothesis import strategies as st

from workbench.tables.events import KINDS, EventError, Progress, ReviewEvent, check_label, check_name

GOOD = {
    "verdict": {"verdict": "accept"},
    "draw": {"rle": block(0, 0, 2, 2).decode(), "size_hw": [24, 32]},
    "edit": {"rle": block(0, 0, 2, 2).decode(), "size_hw": [24, 32]},
    "label": {"label": "cell"},
    "complete": {},
    "skip": {"reason": "blurred"},
    "undo": {"gesture": "g0"},
    "answer": {"dialog": "coverage", "choice": "complete"},
}


def make(kind="verdict", payload=None, **more):
    fields = {"gesture_id": "g1", "image_id": "i", "mask_id": "m", "annotator": "a", **more}
    return ReviewEvent(kind=kind, payload=GOOD.get(kind, {}) if payload is None else payload, **fields)


@pytest.mark.parametrize("kind", KINDS)
def test_event__good_one_of_each_kind(kind):
    event = make(kind)
    assert event.phase == {
        "draw": "draw",
        "edit": "draw",
        "verdict": "verdict",
        "label": "verdict",
        "undo": "verdict",
    }.get(kind, "check")
    with pytest.raises(TypeError):
        event.payload["verdict"] = "reject"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("gesture_id", ""),
        ("gesture_id", "x" * 201),
        ("gesture_id", "a\nb"),
        ("image_id", ""),
        ("kind", "destroy"),
        ("annotator", ""),
        ("annotator", "x" * 10_000),
        ("annotator", "a\x00b"),
        ("phase", "lunch"),
        ("purpose", "fun"),
        ("seconds_source", "guessed"),
        ("elapsed_ms", math.nan),
        ("elapsed_ms", math.inf),
        ("elapsed_ms", -1.0),
        ("elapsed_ms", "5"),
        ("elapsed_ms", True),
        ("cycle", -1),
        ("cycle", 1.5),
        ("run_id", 2**40),
    ],
)
def test_event__field_that_cannot_be_is_refused_by_name(field, value):
    with pytest.raises(EventError, match=f"^{field}: expected"):
        make(**{field: value})


@pytest.mark.parametrize(
    ("kind", "payload", "says"),
    [
        ("verdict", {"verdict": "maybe"}, "verdict: expected one of"),
        ("verdict", {}, "verdict: expected one of"),
        ("verdict", {"verdict": ["accept"]}, "verdict: expected one of"),
        ("verdict", {"verdict": "accept", "masks": "m"}, "masks: expected a list"),
        ("verdict", {"verdict": "accept", "masks": [7]}, "masks: expected a text"),
        ("draw", {}, "rle: size: expected"),
        ("draw", {"rle": "zzz", "size_hw": [24, 32]}, "rle: "),
        ("draw", {"rle": block(0, 0, 2, 2).decode(), "size_hw": [24, 33]}, "the runs sum to 768 px"),
        ("draw", {"rle": block(0, 0, 2, 2).decode(), "size_hw": [10**9, 10**9]}, "rle: "),
        ("draw", {"rle": block(0, 0, 0, 0).decode(), "size_hw": [24, 32]}, "the mask is empty"),
        ("draw", {**GOOD["draw"], "tool": "laser"}, "tool: expected one of"),
        ("draw", {**GOOD["draw"], "prompts": [1]}, "prompts: expected a mapping"),
        ("draw", {**GOOD["draw"], "prompts": {"points": [[math.nan, 1, 1]]}}, "finite numbers"),
        ("draw", {**GOOD["draw"], "label": "x" * 201}, "label: expected"),
        ("label", {"label": "a\nb"}, "label: expected"),
        ("skip", {"reason": ""}, "reason: expected"),
        ("undo", {}, "gesture: expected"),
        ("undo", {"gesture": "g1"}, "cannot undo itself"),
        ("answer", {"dialog": "coverage", "choice": ""}, "choice: expected"),
        ("answer", {"dialog": "dinner", "choice": "yes"}, "dialog: expected one of"),
        ("complete", {"note": "x" * (5 << 20)}, "at most"),
        ("complete", {"note": {1, 2}}, "expected finite numbers"),
        ("complete", [], "payload: expected a mapping"),
    ],
)
def test_event__payload_that_does_not_fit_is_refused_in_words(kind, payload, says):
    with pytest.raises(EventError, match=says):
        make(kind, payload)


def test_event__needs_a_mask_where_it_is_about_one():
    for kind in ("verdict", "edit", "label"):
        with pytest.raises(EventError, match="mask_id"):
            make(kind, mask_id="")


def test_event__markup_in_a_name_is_text_like_any_other():
    assert make(annotator=" <script>alert(1)</script> ").annotator == "<script>alert(1)</script>"


def test_event__bulk_follows_from_its_masks():
    event = make("verdict", {"verdict": "accept", "masks": ["a", "b"]}, mask_id="")
    assert event.bulk
    assert event.targets == ("a", "b")


def test_event__masks_are_kept_canonical():
    # a run of length 0 in the middle means the same pixels
    assert make("draw", {"rle": [0, 2, 0, 2], "size_hw": [2, 2]}).payload["rle"] == "04"


@pytest.mark.parametrize("name", ["a\u200b", "\u202ea", "a\u200db", "ann\u200d", "\ufeffann", "a\u2066b"])
def test_check_name__refuses_what_cannot_be_seen(name):
    with pytest.raises(EventError, match="expected a name"):
        check_name(name)


def test_check_name__keeps_the_joiners_that_scripts_need():
    word = "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645"
    assert check_name(word) == word


@given(st.text(max_size=300))
def test_check_name__gives_one_line_or_refuses(text):
    with contextlib.suppress(EventError):
        name = check_name(text)
        assert name == name.strip()
        assert 1 <= len(name) <= 200
        assert "\n" not in name


def test_check_label__empty_takes_a_label_away():
    assert (check_label(""), check_label(None), check_label(" a ")) == ("", "", "a")


def test_progress__in_words():
    assert str(Progress(847, 1000, 10, 12345)) == "847/1,000 images, 10/12,345 masks"
