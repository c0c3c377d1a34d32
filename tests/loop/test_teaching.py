"""A project's model: trained on final masks, checked, kept with its data, loaded again."""

from __future__ import annotations

import pytest
import torch
from disc_project import disc_project, draw_all
from random_sams import random_sam
from small_disk import small_disk

from workbench.config import ProposeConfig
from workbench.loop import teaching
from workbench.loop.teaching import TrainingError, failure
from workbench.sam.checkpoints import CheckpointError
from workbench.sam.load import load_sam
from workbench.store.errors import StoreError
from workbench.train.fit import Fit
from workbench.train.sample import TrainImage
from workbench.train.settings import TrainConfig

TOY = TrainConfig(steps=2, views=1, prompts=6, check_every=1)


@pytest.fixture
def project(tmp_path):
    made = disc_project(tmp_path)
    with made.catalog.write() as connection:  # nothing was proposed yet, so sizes are not known
        connection.exec_driver_sql("UPDATE images SET height = 64, width = 80")
    yield made
    made.close()


def test_train__keeps_parent_data_settings_and_curve(project):
    draw_all(project, 5)
    sam = random_sam(score_shift=1.0)
    version = project.train(sam, TOY, progress=False)
    assert version.status == "ready"
    assert version.parent_id.startswith("sam-")
    assert version.parent_id != version.model_id
    assert (version.images, version.masks) == (5, 15)
    assert version.settings == {**TOY.to_dict(), "learning_rate": 1e-4, "exhaustive": True}  # as it was then
    assert [row["step"] for row in version.curve] == [0, 1, 2]
    data = project.model_data(version.model_id)
    assert sum(d.held_out for d in data) == 1
    assert {m for d in data for m in d.masks} == set(project.final_masks().mask_id)
    assert project.models()["model_id"].tolist() == [version.model_id]
    loaded = project.load_model(version.model_id, into=random_sam(seed=5))
    assert loaded.model_id == version.model_id
    assert project.train(sam, TOY, progress=False) == version  # nothing new to learn: the same version


def test_train__weights_that_do_not_fit_on_the_disk_are_told_and_nothing_of_them_is_left(project, monkeypatch):
    draw_all(project, 4)
    write = teaching._write

    def on_small_disk(path, fitted):
        with small_disk(4096):
            write(path, fitted)

    monkeypatch.setattr(teaching, "_write", on_small_disk)
    with pytest.raises(StoreError, match=r"the weights cannot be written .* free some space and train again"):
        project.train(random_sam(score_shift=1.0), TOY, progress=False)
    assert list((project.path / "models").rglob("*.safetensors")) == list(
        (project.path / "models").rglob("training-*/*.safetensors")
    )
    assert not list((project.path / "models").rglob("*.tmp"))
    monkeypatch.undo()
    assert project.train(random_sam(score_shift=1.0), TOY, progress=False).status == "ready"


def test_train__says_when_no_check_was_better_than_the_parent(project, monkeypatch):
    draw_all(project, 4)
    sam = random_sam(score_shift=1.0)
    check = Fit.check

    def worse(self):  # and worse
        row = check(self)
        self.curve[-1]["loss"] = 0.5 + self.step
        return row

    monkeypatch.setattr(Fit, "check", worse)
    version = project.train(sam, TOY, progress=False)
    assert version.status == "ready"
    assert version.message.startswith(f"no better than {version.parent_id} by the loss on held-out views (")
    assert "learning_rate (now 0.0001)" in version.message
    assert "no better than" in repr(version)
    assert project.train(sam, TOY, progress=False) == version


def test_train__resumes_after_a_kill(project, monkeypatch):
    draw_all(project, 4)
    sam = random_sam(score_shift=1.0)
    step = Fit.train_step

    def dying(self):
        if self.step:
            raise KeyboardInterrupt
        step(self)

    monkeypatch.setattr(Fit, "train_step", dying)
    with pytest.raises(KeyboardInterrupt):
        project.train(sam, TOY, progress=False)
    taken = []
    monkeypatch.setattr(Fit, "train_step", lambda self: (taken.append(self.step), step(self)))
    version = project.train(sam, TOY, progress=False)
    assert taken == [1]
    assert (project.path / version.file).is_file()
    assert not list(project.path.glob("models/training-*"))


def test_train__a_model_that_stops_proposing_fails_loudly(project, monkeypatch):
    draw_all(project, 4)
    counts = {"images": 4, "true": 12, "before": 40, "after": 3}
    monkeypatch.setattr(teaching, "still_proposes", lambda *_: counts)
    sam = random_sam()
    for _ in range(2):  # the second call finds it kept as failed
        with pytest.raises(TrainingError, match="proposes 3 distinct masks"):
            project.train(sam, TOY, progress=False)
    assert project.models()["status"].tolist() == ["failed"]


@pytest.mark.parametrize(
    ("before", "after", "true", "fails", "fails_but_for_the_true"),
    [
        (40, 20, 100, False, False),
        (40, 19, 100, True, True),
        (41, 20, 0, True, False),
        (400, 199, 90, True, False),
        (400, 100, 90, True, False),
        (400, 89, 90, True, True),
        (400, 0, 0, True, True),
        (7, 3, 9, True, True),
        (1, 0, 0, True, True),
        (0, 0, 5, False, False),
    ],
)
def test_failure__half_of_before_and_as_many_as_there_are(before, after, true, fails, fails_but_for_the_true):
    checks = {"images": 1, "before": before, "after": after, "true": true}
    assert bool(failure(checks, "half", 1e-4)) == fails
    assert bool(failure(checks, "half_or_true", 1e-4)) == fails_but_for_the_true


def test_still_proposes__on_the_grid_of_the_floors(monkeypatch):
    seen = []

    class Stage:
        def __init__(self, model, config):
            seen.append((model, config.points_per_side, config.crop_n_layers, config.jitter_prompts))

    monkeypatch.setattr(teaching.proposing, "Proposer", Stage)
    floors = ProposeConfig(points_per_side=48, crop_n_layers=1, jitter_prompts=10)
    counts = teaching.still_proposes("before", "after", [], floors)
    assert seen == [("before", 48, 1, 0), ("after", 48, 1, 0)]
    assert counts == {"images": 0, "true": 0, "before": 0, "after": 0}


def test_still_proposes__what_the_parent_is_known_to_propose_is_not_asked_anew(monkeypatch):
    asked = []

    class Stage:
        def __init__(self, model, config):
            self.model = model

        def propose(self, image, image_id, progress):
            asked.append((self.model, image_id))
            return [None] * 3

    monkeypatch.setattr(teaching.proposing, "Proposer", Stage)
    images = [TrainImage(f"i{k}", lambda: None, (4, 4), [b""] * k) for k in range(9)]
    known = {f"i{k}": 10 for k in range(8)}
    counts = teaching.still_proposes("before", "after", images, ProposeConfig(), known)
    busiest = [f"i{k}" for k in range(7, 1, -1)]  # i8 has more masks, but nothing is known of it
    assert asked == [("after", name) for name in busiest]
    assert counts == {"images": 6, "true": 27, "before": 60, "after": 18}
    asked.clear()
    teaching.still_proposes("before", "after", images, ProposeConfig(), {"i8": 10})  # too few to go by
    assert [name for model, name in asked if model == "before"] == [f"i{k}" for k in range(7, 2, -1)]


def test_train__counts_of_the_latest_run_are_used_where_it_is_the_parents(project, monkeypatch):
    draw_all(project, 5)
    sam = load_sam(random_sam(score_shift=1.0))
    floors = ProposeConfig(points_per_side=4, points_per_batch=16)
    given = []
    checked = teaching.still_proposes
    monkeypatch.setattr(teaching, "still_proposes", lambda *args: (given.append(args[-1]), checked(*args))[1])
    project.propose(sam, floors, progress=False)
    counts = project.images().set_index("image_id")["distinct"].to_dict()
    own = project.train(sam, TOY, floors=floors.replace(jitter_prompts=0, points_per_batch=8), progress=False)
    project.train(sam, TOY.replace(seed=1), floors=floors.replace(points_per_side=5), progress=False)
    project.train(random_sam(seed=3, score_shift=1.0), TOY, floors=floors, progress=False)
    assert given == [counts, {}, {}]
    known = {image: counts[image] for image in [d.image_id for d in project.model_data(own.model_id)]}
    assert own.checks["before"] == sum(known.values())


def test_failure__says_how_many_were_expected_and_what_to_do():
    checks = {"images": 6, "before": 401, "after": 100, "true": 90}
    words = failure(checks, "half", 3e-4)
    assert "(now 0.0003)" in words
    assert "at least 201 were expected" in words
    assert "least_proposed=half_or_true" in words
    assert "least_proposed" not in failure({**checks, "after": 80}, "half", 3e-4)  # it would not help


def test_train__the_other_rule_takes_a_failed_version_without_training_anew(project, monkeypatch):
    draw_all(project, 4)
    counts = {"images": 4, "true": 12, "before": 40, "after": 13}
    monkeypatch.setattr(teaching, "still_proposes", lambda *_: counts)
    with pytest.raises(TrainingError, match="least_proposed=half_or_true"):
        project.train(random_sam(), TOY, progress=False)
    monkeypatch.setattr(Fit, "train_step", lambda self: pytest.fail("trained anew"))
    version = project.train(random_sam(), TOY.replace(least_proposed="half_or_true"), progress=False)
    assert (version.status, version.message) == ("ready", "")
    assert version.settings["least_proposed"] == "half_or_true"
    assert len(project.model_data(version.model_id)) == 4
    with pytest.raises(TrainingError, match="kept as failed"):
        project.train(random_sam(), TOY, progress=False)


def test_train__nothing_complete(project):
    with pytest.raises(StoreError, match="expected complete train images"):
        project.train(random_sam(), TOY, progress=False)


def test_train__another_kind_of_model(project):
    draw_all(project, 1)
    with pytest.raises(StoreError, match="expected a model of segment_anything"):
        project.train(torch.nn.Linear(1, 1), TOY, progress=False)


def test_load_model__another_architecture_and_unknown_ones(project):
    draw_all(project, 4)
    version = project.train(random_sam(score_shift=1.0), TOY, progress=False)
    with pytest.raises(StoreError, match="give into="):
        project.load_model(version.model_id)
    with pytest.raises(CheckpointError, match="expected the tensors of the model given"):
        project.load_model(version.model_id, into=random_sam(width=64))
    with pytest.raises(StoreError, match="trained in this project"):
        project.load_model("bundled-000000000000")
