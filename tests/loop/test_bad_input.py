"""Bad input to the loop, from file to figures: it is used as far as it goes, and what cannot be used is said."""

from __future__ import annotations

import json

import judged
import numpy as np
import pytest
from disc_project import SIZE_HW, disc_masks, disc_project
from PIL import Image
from random_sams import random_sam
from typer.testing import CliRunner

from workbench.cli import app
from workbench.config import ProposeConfig
from workbench.loop.labelling import label
from workbench.loop.teaching import TrainingError
from workbench.masks import rle
from workbench.project import Project
from workbench.store.errors import StoreError
from workbench.train.settings import TrainConfig

FLOORS = ProposeConfig(points_per_side=3, predicted_iou_floor=-5, pool="distinct", jitter_prompts=0, features=False)
TOY = {"floors": FLOORS, "train": TrainConfig(steps=1, views=1, prompts=4, check_every=1), "progress": False}


@pytest.fixture
def sam():
    return random_sam(input_px=64, score_shift=0.9)


def document(images, other_size=(), unused=True):
    """A COCO file of discs whose ids have holes: images 10, 20 ..., masks 7, 107 ..., categories 5 and 40."""
    entries, annotations = [], []
    for k in range(images):
        entries.append({"id": 10 * (k + 1), "file_name": f"{k}.png", "height": SIZE_HW[0], "width": SIZE_HW[1]})
        for mask in disc_masks(k):
            kept = mask[:-4] if k in other_size else mask
            counts = rle.encode(kept[None])[0].decode()
            segmentation = {"size": list(kept.shape), "counts": counts}
            number = 7 + 100 * len(annotations)
            annotations.append(
                {"id": number, "image_id": 10 * (k + 1), "category_id": 5, "iscrowd": 0, "segmentation": segmentation}
            )
    categories = [{"id": 5, "name": "disc"}, *([{"id": 40, "name": "nothing"}] if unused else [])]
    return {"images": entries, "annotations": annotations, "categories": categories}


def coco_project(tmp_path, images, **how):
    """A project of images of discs, and the file of their truth; nothing is imported yet."""
    (tmp_path / "images").mkdir()
    for k in range(images):
        pixels = np.random.default_rng(k).integers(20, 40, (*SIZE_HW, 3), dtype=np.uint8)
        pixels[disc_masks(k).any(axis=0)] = 200
        Image.fromarray(pixels).save(tmp_path / "images" / f"{k}.png")
    (tmp_path / "truth.json").write_text(json.dumps(document(images, **how)))
    return Project.create(tmp_path / "p.wb", images=str(tmp_path / "images"), roles=(1.0, 0.0, 0.0))


# ---- truth ------------------------------------------------------------------------------------------------------------


def test_truth__holes_in_ids_and_a_class_without_masks(tmp_path, sam):
    with coco_project(tmp_path, 3) as project:
        summary = project.import_coco(tmp_path / "truth.json")
        assert (summary.images, summary.masks, summary.problems) == (3, 9, ())
        table = run(project, sam, train=["0.png", "1.png"])
        assert table.rows[0].work["total_per_image"] == 3
        assert table.rows[0].figures["recall_proposals"].n == 3
        assert set(project.truth_labels()["label"]) == {"disc"}  # the other class has no masks
        assert project.diversity().rows[0].n == 6


def test_truth__run_lengths_of_another_size_are_a_problem_and_the_image_has_no_truth(tmp_path, sam):
    with coco_project(tmp_path, 3, other_size=(1,)) as project:
        summary = project.import_coco(tmp_path / "truth.json")
        assert (summary.images, summary.masks, len(summary.problems)) == (2, 6, 4)
        assert "60" in summary.problems[0]  # the size that came
        assert "1.png: all its masks were refused" in summary.problems[3]
        with pytest.raises(StoreError, match="no ground truth to answer from"):
            run(project, sam, train=["1.png"])
        assert len(run(project, sam, train=["0.png"])) == 2


def run(project, sam, **roles):
    return project.run_cycles(1, annotator="oracle", model=sam, roles=roles, held_out=["2.png"], **TOY)


@pytest.mark.parametrize("command", ["import", "cycle"])
def test_cli__truth_of_another_size_is_told(tmp_path, command):
    with coco_project(tmp_path, 1, other_size=(0,)) as project:
        folder = project.path
    words = ["import", folder, tmp_path / "truth.json"]
    if command == "cycle":
        words = ["cycle", folder, "--annotator", "oracle", "--ground-truth", tmp_path / "truth.json", "--cycles", 1]
        words += ["--set", "floors.points_per_side=2", "--set", "floors.jitter_prompts=0"]
    answer = CliRunner().invoke(app, [*map(str, words), "--json"])
    assert answer.exit_code == 1
    told = json.loads(answer.stdout.splitlines()[-1])
    assert "nothing was imported; all were refused, the first: annotation" in told["error"]
    if command == "import":
        assert len(told["problems"]) == 4


def test_truth__all_images_are_empty(tmp_path, sam):
    with disc_project(tmp_path, images=3, empty=3) as project:
        table = run(project, sam, train=["0.png"], calibration=["1.png"])
        assert table.rows[0].work["total_per_image"] == 0
        assert not table.rows[0].figures["recall_proposals"].known
        assert "not known" in repr(table)
        assert project.diversity().rows[0].n == 0
        assert len(project.curriculum().cycles) == 0
        assert "2 images complete, without a mask" in repr(project.efficiency())


# ---- calibration ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_calibrate__one_image_only(tmp_path, monkeypatch):
    with judged.make(tmp_path, monkeypatch, n=1, roles=(0.0, 1.0, 0.0)) as project:
        found = project.calibrate(share=1.0, draws=20)
        assert found.recalibration is None
        assert "image" in found.note
        assert "undefined" in str(found)
        with pytest.raises(StoreError, match="image"):
            project.certify()
        assert not project.gate().open


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.3, 1.0], ids=["some", "all"])
def test_calibrate__scores_that_are_missing(tmp_path, monkeypatch, share):
    drawn = judged.drawn

    def missing(image, always=None):
        cells, scores, right = drawn(image, always)
        scores[np.random.default_rng(len(cells)).random(len(scores)) < share] = np.nan
        return cells, scores, right

    monkeypatch.setattr(judged, "drawn", missing)
    with judged.make(tmp_path, monkeypatch) as project:
        rows = label(project, project.images()["image_id"].tolist())
        assert not rows.outcome[np.isnan(rows.features.score)].any()  # never accepted, never flagged
        found = project.calibrate(draws=20)
        json.dumps(found.to_dict(), allow_nan=False)
        assert found.note or found.recalibration is not None
        if found.recalibration is None:
            with pytest.raises(StoreError, match="certify"):
                project.certify()
        else:
            json.dumps(project.certify(alpha=0.2, labels=50).to_dict(), allow_nan=False)
        json.dumps(project.gate().to_dict(), allow_nan=False)
        accepted = project.annotate_automatically(override="a test").masks
        assert not np.isnan(accepted.predicted_iou).any()


def test_run_cycles__scores_that_are_missing(tmp_path, sam):
    """A model whose predicted IoU is not a number proposes nothing; people draw everything, and it learns nothing."""
    import torch

    torch.nn.init.constant_(sam.mask_decoder.iou_prediction_head.layers[-1].bias, float("nan"))
    with disc_project(tmp_path, images=3) as project:
        for _ in range(2):
            with pytest.raises(TrainingError, match="no loss was a number"):
                run(project, sam, train=["0.png"], calibration=["1.png"])
        assert (project.final_masks().source == "manual").all()


# ---- checkpoints ------------------------------------------------------------------------------------------------------


def test_cli__a_checkpoint_of_another_architecture(tmp_path):
    from safetensors.torch import save_file

    with disc_project(tmp_path, images=2) as project:
        folder = project.path
    file = tmp_path / "other.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in random_sam().state_dict().items()}, file)
    for model in ("bundled", "vit_b"):
        words = ["cycle", folder, "--model", model, "--checkpoint", file, "--annotator", "oracle", "--json"]
        answer = CliRunner().invoke(app, list(map(str, words)))
        assert answer.exit_code == 1, answer.output
        said = json.loads(answer.stdout.splitlines()[-1])["error"]
        assert "other.safetensors" in said
        assert "expected" in said
