"""The widget: its traits, what it is told, what it refuses, and that its bytes stay out of notebooks."""

from __future__ import annotations

import json

import pandas as pd
import pytest

import workbench as wb
from workbench.review.config import ReviewConfig
from workbench.widgets.annotator import STATIC, Annotator, model_of


@pytest.fixture
def widget(project):
    made = wb.Annotator(project, annotator="ann", sam=False)
    yield made
    made.close()


def send(widget, kind, **fields):
    head = {"client": "c", "seq": 1, "gesture_id": "g", "token": widget.view["token"], "phase": "verdict"}
    widget.set_state({"outbox": [{**head, "kind": kind, "elapsed_ms": 1, **fields}]})


def test_traits__are_those_of_the_protocol(widget):
    own = {"view", "picture", "masks", "live", "acked", "replies", "fault", "outbox", "heard"}
    assert own <= {name for name in widget.keys if not name.startswith("_")}
    assert widget.view["image"]["name"] == "1-cells.png"
    assert widget.picture
    assert widget.masks
    assert (STATIC / "annotator.js").is_file()


def test_outbox__is_answered_each_time_it_is_sent(widget, project):
    mask = widget.view["masks"]["id"][0]
    send(widget, "verdict", mask=mask, verdict="accept")
    assert widget.acked == {"c": 1}
    assert widget.replies[-1]["ok"]
    answered = []
    widget._session.receive = answered.append
    send(widget, "verdict", mask=mask, verdict="accept")
    assert len(answered) == 1, "an equal list is a message that was sent again"
    assert len(project.journal()) == 1


def test_outbox__of_a_wrong_type_leaves_the_kernel_unharmed(widget):
    for value in ("text", 5, None, {"a": 1}):
        widget.set_state({"outbox": value, "heard": value})
    assert "expected a list" in widget.fault
    send(widget, "verdict", mask=widget.view["masks"]["id"][0], verdict="accept")
    assert widget.replies[-1]["ok"]
    assert widget.fault == ""


def test_annotator__unknown_keywords_are_answered_with_the_nearest(project):
    with pytest.raises(TypeError, match="did you mean 'labels'"):
        wb.Annotator(project, label=["a"])
    with pytest.raises(TypeError, match=r"Project\.open"):
        wb.Annotator("cells.wb")
    with pytest.raises(TypeError, match="load_sam"):
        wb.Annotator(project, sam="vit_h")
    with pytest.raises(ValueError, match="flagged_first"):
        wb.Annotator(project, queue="flaged_first")


def test_model__is_the_bundled_one_where_the_masks_are_its(project, monkeypatch):
    assert model_of(project, None) is None, "these masks are another model's"
    assert model_of(project, False) is None
    assert project.model_id == "stub-0123"
    monkeypatch.setattr(type(project), "model_id", property(lambda _: "bundled-0123"))
    assert callable(model_of(project, None))


def test_model__that_was_trained_here_is_loaded(project, monkeypatch):
    monkeypatch.setattr(project, "models", lambda: pd.DataFrame({"model_id": [project.model_id]}))
    monkeypatch.setattr(project, "load_model", lambda model_id: f"loaded {model_id}")
    assert model_of(project, None)() == "loaded stub-0123"


def test_review__is_kept_in_the_project(project):
    made = wb.Annotator(project, sam=False, review=ReviewConfig(overlap_warning=0.25))
    assert project.review_config.overlap_warning == 0.25
    made.close()
    with wb.Project.open(project.path) as again:
        assert again.review_config.overlap_warning == 0.25


def test_display__gives_a_view_and_no_state(widget):
    bundle = widget._repr_mimebundle_()
    data = bundle[0] if isinstance(bundle, tuple) else bundle
    assert "application/vnd.jupyter.widget-view+json" in data
    assert len(json.dumps(data)) < 1000


def test_repr__names_person_and_project(widget, project):
    assert repr(widget) == f"<Annotator 'ann' of {project.name!r}>"


def test_class__is_the_public_name():
    assert wb.Annotator is Annotator
