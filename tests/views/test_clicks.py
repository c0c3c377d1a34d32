"""The model of the review page: which one it is, that it is loaded once, and on which thread it works."""

from __future__ import annotations

import gc
import threading
import time
import weakref

import pytest
from made_projects import fill, made_project

import workbench as wb
from workbench.sam.load import CheckpointError
from workbench.views import apps
from workbench.views.campaign import Campaign
from workbench.views.clicks import ClickModel


def test_clicks__are_of_the_model_of_the_masks(tmp_path):
    with made_project(tmp_path, images=1, rows=4) as project:
        assert ClickModel().loader(project) is None, "these masks are another model's"
        fill(project, 4, model=wb.load_sam("bundled").model_id)
        first, second = (ClickModel().loader(project) for _ in range(2))
        assert first().model_id == project.model_id
        assert first() is second(), "all sessions share a model and its embeddings"


def test_clicks__a_project_that_is_opened_anew_has_the_model_that_is_there(tmp_path):
    with made_project(tmp_path, images=1, rows=4) as project:
        fill(project, 4, model=wb.load_sam("bundled").model_id)
        first, known = ClickModel().loader(project)(), weakref.ref(project)
    del project
    gc.collect()
    assert known() is None, "a closed project is kept in memory"
    with wb.Project.open(tmp_path / "project") as again:
        assert ClickModel().loader(again)() is first


def test_clicks__of_an_older_bundled_model_are_not_the_new_ones(tmp_path):
    with made_project(tmp_path, images=1, rows=4) as project:
        fill(project, 4, model="bundled-000000000000")
        assert ClickModel().loader(project)() is None


def test_clicks__a_model_that_is_named_keeps_its_embeddings(tmp_path):
    with made_project(tmp_path, images=1, rows=4) as project:
        named = ClickModel("bundled", embedding_cache=str(tmp_path / "kept"))
        sam = named.loader(project)()
        fill(project, 4, model="other-0123")
        assert named.loader(project)() is sam, "whatever run comes meanwhile"
        sam.embed(project.image(project.images()["image_id"].iloc[0]))
        assert len(list((tmp_path / "kept").glob("*.safetensors"))) == 1
        with pytest.raises(CheckpointError, match="nothing is downloaded"):
            ClickModel("vit_b").load(project)


def test_review__the_model_works_off_the_thread_of_the_page(tmp_path, monkeypatch):
    seen = []

    def load(self, project):
        seen.append(threading.current_thread().name)

    monkeypatch.setattr(ClickModel, "load", load)
    with made_project(tmp_path, images=1, rows=4):
        view = apps.view("review", Campaign(tmp_path / "project", clicks=ClickModel("bundled")))
        view.start("ann")
        until = time.monotonic() + 30
        while not seen and time.monotonic() < until:
            time.sleep(0.01)
        view.close()
    assert seen == ["workbench prompts"]


def test_review__without_a_model_says_how_to_give_one(tmp_path):
    with made_project(tmp_path, images=1, rows=4):
        view = apps.view("review", Campaign(tmp_path / "project"))
        view.start("ann")
        assert "--model NAME" in " ".join(str(pane.object) for pane in view.body.select(lambda o: hasattr(o, "object")))
        view.close()
