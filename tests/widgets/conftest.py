"""A session on a small project, and a window that speaks to it."""

from __future__ import annotations

import itertools

import pytest
from ui import drawn_project as scenes

import workbench as wb
from workbench.widgets.session import Session


class Window:
    """What a window does with a session, without a browser."""

    def __init__(self, project, annotator="a1", client="window", **given):
        self.traits = {"replies": [], "acked": {}, "fault": ""}
        self.project, self.client = project, client
        self.session = Session(project, annotator, self.traits.update, **given)
        self.numbers = itertools.count(1)
        self.session.start()

    @property
    def view(self):
        return self.traits["view"]

    @property
    def review(self):
        return self.project.image_review(self.view["token"].split(":")[0])

    def message(self, kind, **fields):
        seq = next(self.numbers)
        head = {"client": self.client, "seq": seq, "gesture_id": f"{self.client}-{seq}", "token": self.view["token"]}
        return {**head, "kind": kind, "phase": "verdict", "elapsed_ms": 10, **fields}

    def send(self, kind, **fields):
        """Send a message and return the reply to it, None where there is none."""
        return self.post(self.message(kind, **fields))

    def post(self, message):
        self.session.receive([message])
        to = (message["client"], message["seq"])
        return next((r for r in self.traits["replies"] if (r["client"], r["to"]) == to), None)


@pytest.fixture(scope="session")
def made_project(tmp_path_factory):
    return scenes.make(tmp_path_factory.mktemp("scenes"))


@pytest.fixture
def project(made_project, tmp_path):
    with wb.Project.open(scenes.copy(made_project, tmp_path / "work")) as opened:
        yield opened


@pytest.fixture
def window(project):
    made = Window(project)
    yield made
    made.session.close()
