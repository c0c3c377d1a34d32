"""Images that a model was trained on: never read for its calibration or its gate, and refused as test images."""

from __future__ import annotations

import pytest
from disc_project import disc_project, draw_all
from random_sams import random_sam

from workbench.config import ProposeConfig
from workbench.loop.plan import CycleConfig
from workbench.store import calibrations, versions
from workbench.store.errors import StoreError
from workbench.train.settings import TrainConfig

pytestmark = pytest.mark.slow

FLOORS = ProposeConfig(points_per_side=3, predicted_iou_floor=-5, pool="distinct", jitter_prompts=0, features=False)
TRAIN = TrainConfig(steps=1, views=1, prompts=4, check_every=1, learning_rate=1e-4)
TOY = {"annotator": "oracle", "floors": FLOORS, "train": TRAIN, "progress": False}


def fresh():
    return random_sam(input_px=64, score_shift=0.9)


def proposed_by(project, model_id):
    project.propose(project.load_model(model_id, into=fresh()), FLOORS, progress=False)
    project.triage()


def read_by(project):
    """Return the images that calibration and gate read, under the latest run."""
    calibrated = set(project.calibrate(share=1.0, draws=5).images)
    project.gate()
    return calibrated | set(calibrations.latest(project.catalog, "gate", project._run_id()).images)


def test_gate_and_calibration__never_read_trained_images(tmp_path):
    with disc_project(tmp_path, images=8, roles=(0, 0.5, 0.5)) as project:
        draw_all(project, 3)
        parent = project.train(fresh(), TRAIN, images=["0.png", "1.png"], floors=FLOORS, progress=False).model_id
        model = project.load_model(parent, into=fresh())
        child = project.train(model, TRAIN, images=["2.png"], floors=FLOORS, progress=False).model_id
        proposed_by(project, child)
        frame = project.images()
        trained = set(frame["image_id"][frame["path"].isin(["0.png", "1.png", "2.png"])])
        assert versions.learned_by(project.catalog, child) == trained
        assert read_by(project) == set(frame["image_id"]) - trained
        assert versions.learned_by(project.catalog, "a model of elsewhere") == set()


def test_gate_and_calibration__roles_are_those_of_the_campaign(tmp_path):
    with disc_project(tmp_path, images=8) as project:  # all of role train
        roles = {"train": ["0.png", "1.png"], "calibration": ["2.png", "3.png", "4.png"]}
        held_out = ["5.png", "6.png"]
        table = project.run_cycles(1, model=fresh(), roles=roles, held_out=held_out, **TOY, config=CycleConfig(train=2))
        proposed_by(project, table.rows[0].trained_id)
        paths = project.images().set_index("image_id")["path"]
        assert set(paths[project.unseen_images("test")]) == set(held_out)
        assert set(paths[project.unseen_images("calibration")]) == set(roles["calibration"])


@pytest.mark.parametrize("role", ["test", "calibration"])
def test_run_cycles__images_that_the_first_model_was_trained_on_are_refused(tmp_path, role):
    with disc_project(tmp_path, images=6) as project:
        draw_all(project, 2)
        version = project.train(fresh(), TRAIN, images=["0.png", "1.png"], floors=FLOORS, progress=False)
        model = project.load_model(version.model_id, into=fresh())
        parts = {"test": ["5.png"], "calibration": ["4.png"], "train": ["2.png"]}
        parts[role] = ["1.png"]
        test = parts.pop("test")
        with pytest.raises(StoreError, match=f"trained on 1 of the {role} images"):
            project.run_cycles(1, model=model, roles=parts, held_out=test, **TOY, config=CycleConfig(train=1))
