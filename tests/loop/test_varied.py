"""Efficiency, diversity and curriculum of a project: what they are read from, by a case worked out by hand."""

from __future__ import annotations

import json

import holoviews as hv
import numpy as np
import pytest
from disc_project import SIZE_HW, disc_project, draw_all, truth_of
from random_sams import random_sam
from typer.testing import CliRunner

from workbench.cli import app
from workbench.loop import varied
from workbench.loop.efficiency import NOTHING
from workbench.sam.segmenter import Embedding
from workbench.store import campaigns
from workbench.tables.events import ReviewEvent
from workbench.tables.proposals import Proposals


class Halves:
    """A model whose embedding tells the left half of an image (0) from the right one (1)."""

    def embed(self, image):
        import torch

        features = torch.zeros(1, 2, 8, 8)
        features[0, 0, :, 4:] = 1
        return Embedding(features, image.shape[:2], (103, 128))


@pytest.fixture
def project(tmp_path):
    with disc_project(tmp_path, images=4) as made:
        with made.catalog.write() as connection:  # nothing was proposed, so sizes are not known
            connection.exec_driver_sql("UPDATE images SET height = 64, width = 80")
        yield made


def timed(project, image, seconds, source="measured", masks=1):
    """Draw some of an image's true masks in so many seconds each, and complete it in 2."""
    project.add_annotator("a")
    image_id = project.images().set_index("path").loc[image, "image_id"]
    own = {"image_id": image_id, "annotator": "a", "seconds_source": source}
    drawn = [
        {"rle": counts.decode(), "size_hw": list(SIZE_HW)} for counts in project.truth(image_id).rles[:masks].tolist()
    ]
    events = [
        ReviewEvent(f"{image}-{k}", kind="draw", payload=payload, elapsed_ms=1000 * seconds, **own)
        for k, payload in enumerate(drawn)
    ]
    done = 2000.0 if seconds else 0.0
    project.record([*events, ReviewEvent(f"{image}-end", kind="complete", elapsed_ms=done, **own)])


def complete_without_masks(project):
    """Complete all images in 5 seconds each, though they have true masks."""
    project.add_annotator("a")
    for image in project.images()["image_id"]:
        project.record(ReviewEvent(f"{image}-end", image, "complete", annotator="a", elapsed_ms=5000))


# ---- efficiency -------------------------------------------------------------------------------------------------------


def test_efficiency__measured_seconds_by_hand(project):
    paths = project.images()["path"].tolist()
    timed(project, paths[0], 10, masks=3)
    timed(project, paths[1], 10, masks=1)
    timed(project, paths[2], 99, source="simulated", masks=3)
    timed(project, paths[3], 0, masks=3)
    found = project.efficiency(stage1_s=14)
    # two measured images: 4 masks of 10 s, and 2 s each to complete
    assert (found.semi.images, found.semi.masks, found.semi.basis) == (2, 4, "measured")
    assert found.semi.hours * 3600 == pytest.approx(44)
    assert found.manual.seconds_per_mask == pytest.approx(10)
    assert found.stage1.hours * 3600 == pytest.approx(56)
    assert found.stage1.basis == "assumed"
    assert "Left out: 1 image with simulated seconds." in found.notes
    assert "Left out: 1 image complete without seconds, or with both kinds of them." in found.notes


def test_efficiency__simulated_seconds_are_said_to_be_so(project):
    timed(project, project.images()["path"][0], 5, source="simulated")
    found = project.efficiency(manual_s=20)
    assert found.semi.basis == "simulated"
    assert found.manual.basis == "assumed"
    assert "say nothing of people" in str(found)


def test_efficiency__images_without_a_mask_keep_their_time(project):
    complete_without_masks(project)
    found = project.efficiency()
    assert found.semi.hours * 3600 == pytest.approx(4 * 5)
    values = found.to_dict()
    row = next(row for row in values["rows"] if row["work"] == "semi-automatic")
    assert (row["seconds_per_mask"], row["masks"]) == (None, 0)
    assert row["hours"] * 3600 == pytest.approx(20)
    assert values["gain"] is None
    assert "4 images complete, without a mask: 0.00556 h (measured)" in repr(found)
    assert "nan" not in str(hv.Store.lookup_options("bokeh", found.plot(), "plot").kwargs["title"])


def test_efficiency__drawing_without_seconds_is_assumed_and_said(project):
    draw_all(project, 1)
    image = project.images()["image_id"][0]
    project.record(ReviewEvent("again", image, "complete", annotator="a", elapsed_ms=4000))
    found = project.efficiency()
    assert (found.manual.seconds_per_mask, found.manual.basis) == (pytest.approx(34), "assumed")
    assert "no seconds of drawing here" in found.manual.how
    assert "3 drawn or edited masks have no seconds" in " ".join(found.notes)


def test_efficiency__of_nothing_and_of_the_seed(project):
    assert project.efficiency().lines() == [NOTHING]
    assert json.dumps(project.efficiency().to_dict(), allow_nan=False)
    assert "13,111 h" in str(project.efficiency("seed"))
    for wrong in ({"preset": "mine"}, {"manual_s": 0}, {"stage1_s": float("inf")}):
        with pytest.raises(ValueError, match="expected"):
            project.efficiency(**wrong)


# ---- diversity --------------------------------------------------------------------------------------------------------


def test_diversity__beside_the_truth(project):
    draw_all(project, 4)
    found = project.diversity()
    assert found.reference == "ground truth"
    assert [row.what for row in found.rows] == ["all final masks", "automatic", "drawn or edited"]
    assert [row.n for row in found.rows] == [12, 0, 12]
    assert found.rows[0].size_shares == pytest.approx(found.rows[2].size_shares)
    assert found.rows[0].small_found.value == 1
    assert found.rows[1].small_found.value == 0
    assert found.to_frame()["small_found"].tolist() == [1, 0, 1]
    assert json.dumps(found.to_dict(), allow_nan=False)
    assert "Rarity is not known" in repr(found)


def texts(figure):
    return " ".join(str(t.data[2]) for t in figure.traverse(lambda x: x, [hv.Text]))


@pytest.mark.parametrize("crowds", [False, True])
def test_diversity__beside_a_truth_of_no_masks_sizes_are_not_known(project, crowds):
    draw_all(project, 4)
    images = project.images()["image_id"].tolist()
    truth = Proposals.concat([project.truth(image) for image in images] if crowds else [])
    project.import_truth(truth, crowd=[True] * len(truth), images=images)
    found = project.diversity()
    assert found.reference == "ground truth"
    assert np.isnan(found.rows[0].size_shares).all()
    assert found.rows[0].n == 12
    assert "12 masks; quarters of sizes not known; small ones found not known" in repr(found)
    assert "the ground truth has no masks" in found.notes[0]
    assert json.dumps(found.to_dict(), allow_nan=False)
    assert "the ground truth has no masks" in " ".join(texts(found.plot()).split())
    assert "Not known" in texts(found.rows[0].plot())
    assert "no masks to group" in repr(project.diversity(sam=Halves()))


def test_diversity__few_labels_do_not_speak_for_all(project):
    draw_all(project, 4)
    masks, ids = project.final_masks(), project.images()["image_id"].tolist()
    project.import_truth(Proposals.concat([project.truth(i) for i in ids]), ["common"] * 11 + ["rare"], images=ids)
    last = next(k for k in range(12) if masks.image_id[k] == ids[-1])
    for k in [last, *(k for k in range(12) if k != last)][:6]:
        assert "Rarity is not known" in repr(project.diversity())
        name = "rare" if k == last else "common"
        event = {"annotator": "a", "payload": {"label": name}}
        project.record(ReviewEvent(f"label-{k}", masks.image_id[k], "label", masks.mask_id[k], **event))
        if k == last:
            assert "1 of 12 masks have a label" in project.diversity().notes[-1]
    found = project.diversity()
    assert found.rows[0].rarity == pytest.approx((5 * 12 / 22 + 12 / 2) / 6)
    assert "6 with a label: rarity" in repr(found)
    assert found.to_frame()["labelled"].tolist() == [6, 0, 6]


@pytest.mark.parametrize("clusters", [None, 3])
def test_diversity__complete_without_a_mask_says_so(project, clusters):
    complete_without_masks(project)
    sam = None if clusters is None else random_sam(input_px=64)
    found = project.diversity(sam=sam, clusters=clusters or 8)
    assert found.notes == ("4 images complete, without a mask.",)
    assert (found.rows[0].n, found.rows[0].small_found.value) == (0, 0)
    assert "without a mask" in texts(found.plot())


def test_cli__diversity_by_clusters_of_no_masks(project):
    complete_without_masks(project)
    answer = CliRunner().invoke(app, ["diversity", str(project.path), "--clusters", "3"])
    assert answer.exit_code == 0, answer.output
    assert "4 images complete, without a mask" in " ".join(answer.output.split())


def test_diversity__small_masks_that_were_overlooked(project):
    for path in project.images()["path"].tolist():
        timed(project, path, 1, masks=1)
    areas = np.concatenate([truth_of("", k).area_px for k in range(4)])
    small = areas <= np.quantile(areas, 0.25)
    found = project.diversity().rows[0].small_found
    assert found.value == pytest.approx(small[::3].sum() / small.sum())
    assert found.n == small.sum()


def test_diversity__rarity_by_labels_and_by_embeddings(project):
    draw_all(project, 2)
    masks = project.final_masks()
    for k, (image, mask) in enumerate(zip(masks.image_id, masks.mask_id, strict=True)):
        event = {"annotator": "a", "payload": {"label": "round" if k else "odd"}}
        project.record(ReviewEvent(f"label-{k}", image, "label", mask, **event))
    row = project.diversity().rows[0]
    assert (row.grouped_by, row.rarity) == ("label", pytest.approx(1))
    assert row.categories == pytest.approx(np.exp(-(5 / 6 * np.log(5 / 6) + np.log(1 / 6) / 6)))
    grouped = project.diversity(sam=Halves(), clusters=2).rows[0]
    assert grouped.grouped_by == "embedding"
    assert 1 < grouped.categories <= 2


def test_pooled__is_the_mean_over_the_mask(project):
    rows = project.truth(project.images()["image_id"].tolist()[:1])
    left_to_right = varied.pooled_embedding(project, Halves(), rows)[:, 0]
    # 80 px are 8 cells, so the right half begins at 40 px; the discs lie around x = 14, 40 and 66
    assert left_to_right[[0, 2]].tolist() == [0, 1]
    assert left_to_right[1] == pytest.approx(0.5, abs=0.1)


def test_diversity__of_nothing_and_wrong_use(project):
    assert project.diversity().notes == (varied.NOTHING,)
    assert project.diversity("cycle").rows[0].n == 0
    assert json.dumps(project.diversity(sam=Halves()).to_dict(), allow_nan=False)
    with pytest.raises(ValueError, match='expected "source"'):
        project.diversity("day")
    with pytest.raises(ValueError, match="2 or more"):
        project.diversity(sam=Halves(), clusters=1)


# ---- by cycle ---------------------------------------------------------------------------------------------------------


def with_cycles(project, *batches):
    """Write down a campaign whose cycles had these images."""
    campaign = campaigns.begin(project.catalog, "d" * 12, {}, "m", [])
    for number, images in enumerate(batches, 1):
        campaigns.add(project.catalog, campaign.id, number, "m", images, [], {})


def test_diversity__by_cycle_and_curriculum(project):
    draw_all(project, 3)
    ids = project.images()["image_id"].tolist()
    with_cycles(project, ids[:1], ids[1:3], ids[3:])  # the last is not complete
    rows = project.diversity("cycle").rows
    assert [(row.what, row.n) for row in rows] == [
        ("all final masks", 9),
        ("cycle 1", 3),
        ("cycle 2", 6),
        ("cycle 3", 0),
    ]
    assert rows[3].small_found.n == 0
    found = project.curriculum()
    assert found.cycles.tolist() == [1, 2]
    assert found.counts.tolist() == [3, 6]
    assert (found.parts["contrast"] > 3).all()  # measured on the images: bright discs on a dark ground
    assert np.isnan(found.parts["score"]).all()  # what was drawn has none
    assert found.parts["occlusion"].tolist() == [0, 0]
    assert project.curriculum(drawn=True).counts.tolist() == [3, 6]
    assert "cycle 1: 3 masks" in repr(found)
    assert json.dumps(found.to_dict(), allow_nan=False)


def test_curriculum__without_cycles_and_before_a_review(project):
    assert "No cycles were run" in repr(project.curriculum())
    with_cycles(project, project.images()["image_id"].tolist())
    assert "review those that wait" in repr(project.curriculum())


def test_curriculum__a_picture_that_is_gone_is_left_out_and_said(project):
    draw_all(project, 1)
    with_cycles(project, project.images()["image_id"].tolist()[:1])
    for picture in (project.path.parent / "images").iterdir():
        picture.unlink()
    found = project.curriculum()
    assert "1 image cannot be read now" in repr(found)
    assert np.isnan(found.parts["contrast"]).all()
