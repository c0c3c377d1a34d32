"""What the gate and calibration take for labels and for distinct masks, and what they say is missing."""

from __future__ import annotations

import judged
import numpy as np
import pytest
import stub_sam
from desk import event

import workbench as wb
from workbench.config import SettingError
from workbench.loop.gate import GateConfig
from workbench.loop.labelling import truths
from workbench.loop.oracle import Oracle
from workbench.loop.plan import CycleConfig, Plan
from workbench.store import campaigns
from workbench.tables.proposals import Proposals
from workbench.train.settings import TrainConfig
from workbench.views.threshold_truth import on_record

pytestmark = pytest.mark.slow


def thrice(image, segmenter, config=None, *, image_id=None):
    """Every block of `judged` three times, the later ones narrower and with lower scores, as before NMS."""
    cells, scores, _ = judged.drawn(image)
    rles = [rle for wide in (6, 5, 6) for rle in judged.blocks(cells, [wide] * len(cells))]
    lower = np.concatenate([scores, scores - 0.25, scores - 0.3])
    return judged.table(np.array(rles, object), image_id, predicted_iou=lower, model_id=segmenter.model_id)


def test_gate__distinct_masks_are_the_same_with_both_pools(tmp_path, monkeypatch):
    monkeypatch.setattr(judged, "propose", thrice)
    everything = stub_sam.PLAIN.replace(pool="exact", predicted_iou_floor=0.0)
    with judged.make(tmp_path, monkeypatch, n=40) as project:
        project.propose(stub_sam.StubSam("stub-1"), everything, progress=False)
        gates, calibrations, accepted = {}, {}, {}
        for pool in ("exact", "distinct"):
            project.triage(judged.PLAIN.replace(pool=pool))
            accepted[pool] = set(project.proposals(outcome="auto_accepted").mask_id.tolist())
            gates[pool] = project.gate(GateConfig(least_images=1))
            calibrations[pool] = project.calibrate(draws=5)
        test = project.images().query("role == 'test'")["image_id"].tolist()
        distinct = sum(len(judged.drawn(project.image(image))[0]) for image in test)
    assert accepted["exact"] == accepted["distinct"]
    of_gate = [gates[pool]["auto_accept_rate"] for pool in gates]
    assert of_gate[0].value == of_gate[1].value
    assert of_gate[0].n == of_gate[1].n == distinct
    of_calibration = [calibrations[pool].before["smooth_ece"] for pool in calibrations]
    assert of_calibration[0].n == of_calibration[1].n
    assert of_calibration[0].value == pytest.approx(of_calibration[1].value)


@pytest.fixture
def half_known(tmp_path, monkeypatch):
    """A project whose masks are all right, and whose truth holds every second object, as its campaign was told."""
    monkeypatch.setattr(judged, "drawn", all_right)
    with judged.make(tmp_path, monkeypatch, n=60, roles=(0.2, 0.4, 0.4), truth=False) as project:
        frame = project.images()
        masks = [judged.truth_of(project.image(i), i) for i in frame["image_id"]]
        half = Proposals.concat([some.select(np.arange(0, len(some), 2)) for some in masks])
        project.import_truth(half, images=frame["image_id"].tolist())
        pools = {role: frame["image_id"][frame["role"] == role].tolist() for role in ("train", "calibration", "test")}
        told = CycleConfig(exhaustive=False, train=2, calibration=2)
        plan = Plan(told, stub_sam.PLAIN, judged.PLAIN, TrainConfig(), "stub-1", pools).to_dict()
        campaigns.begin(project.catalog, "d", plan, "stub-1", pools["test"])
        yield project


def all_right(image, always=None):
    rng = np.random.default_rng(int(image.astype(np.int64).sum()))
    n = int(rng.integers(10, 14))
    return rng.permutation(len(judged.CELLS))[:n], rng.uniform(0.82, 1, n), np.ones(n, bool)


def test_calibrate__takes_the_word_of_the_campaign_that_truth_leaves_things_out(half_known):
    assert "truth leaves objects out" in on_record(half_known).words
    found = half_known.calibrate(draws=5)
    assert found.recalibration is None
    assert "0 are complete by people's review, and truth leaves things out" in found.note
    gate = half_known.gate()
    assert gate["fp_rate"].verdict == "insufficient"
    assert "complete by people's review" in str(gate["fp_rate"])
    told = half_known.calibrate(draws=5, exhaustive=True)  # somebody knows better, and is believed from now on
    assert told.before["brier"].n > 0
    assert half_known.gate()["fp_rate"].verdict == "fail"
    assert half_known.calibrate(draws=5).before["brier"].n == told.before["brier"].n


def test_truths__of_people_leave_out_what_an_oracle_answered_from_such_truth(half_known):
    by_oracle, by_people = half_known.images()["image_id"].tolist()[:2]
    assert Oracle().annotate(half_known, [by_oracle], 1) == []
    half_known.add_annotator("a")
    half_known.record(event("complete", by_people))
    assert set(truths(half_known, [by_oracle, by_people], "final only")) == {by_oracle, by_people}
    assert set(truths(half_known, [by_oracle, by_people], "people")) == {by_people}


def test_gate__says_whether_images_or_proposals_are_missing(tmp_path, monkeypatch):
    with judged.make(tmp_path, monkeypatch, n=4, roles=(0.0, 0.0, 1.0)) as project:
        folder, images = project.path, tmp_path / "images"
        assert "4 test images with proposals and truth, at least" in str(project.gate()["recall"])
    with wb.Project.create(tmp_path / "q.wb", images=str(images), roles=(0, 0, 1)) as project:
        assert "no proposals are there on the 4 test images: run `workbench propose`" in str(project.gate()["recall"])
    with wb.Project.create(tmp_path / "r.wb", images=str(images), roles=(1, 0, 0)) as project:
        assert "no image has the role test" in str(project.gate()["recall"])
    assert folder.exists()


def test_arguments__of_another_kind_are_told_before_anything_is_done(tmp_path, monkeypatch):
    with judged.make(tmp_path, monkeypatch, n=4) as project:
        with pytest.raises(SettingError, match=r"gate: expected GateConfig\(...\) or None, got {'recall': 0.5}"):
            project.gate({"recall": 0.5})
        with pytest.raises(SettingError, match=r"config: expected CycleConfig"):
            project.run_cycles(1, config={"train": 3})
        with pytest.raises(ValueError, match="override: expected a reason for the record, in words, got 3"):
            project.annotate_automatically(override=3)
        with pytest.raises(TypeError, match="got the text 'abc'; put it in a list"):
            project.annotate_automatically(images="abc", override="a trial")
        with pytest.raises(TypeError, match="got the text 'abc'; put it in a list"):
            wb.Annotator(project, "a", images="abc")
        assert len(project.cycles()) == 0
