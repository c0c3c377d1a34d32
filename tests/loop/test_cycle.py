"""Cycles at toy size: durable in each step, people awaited, thresholds calibrated, every image used once."""

from __future__ import annotations

import json

import numpy as np
import pytest
from desk import event
from disc_project import disc_project
from random_sams import random_sam

from workbench.calibrate.recalibrate import Recalibration
from workbench.calibrate.verifier import Verifier
from workbench.config import ProposeConfig, preset
from workbench.loop import adoption, batches, labelling, teaching, thresholds
from workbench.loop.adoption import Adopted
from workbench.loop.batches import STRATEGIES, choose
from workbench.loop.comparison import Comparison
from workbench.loop.oracle import Oracle, OracleConfig
from workbench.loop.plan import CycleConfig, Plan
from workbench.loop.teaching import TrainingError
from workbench.sam.load import load_sam
from workbench.settings import name_of
from workbench.store import calibrations, campaigns, files
from workbench.store.campaigns import STEPS
from workbench.store.errors import StoreError
from workbench.tables.outcomes import Outcome
from workbench.train.settings import TrainConfig
from workbench.triage.rules import triage

FLOORS = ProposeConfig(points_per_side=3, predicted_iou_floor=-5, pool="distinct", jitter_prompts=0, features=False)
TOY = {
    "config": CycleConfig(train=2, calibration=1, reserve=0),
    "floors": FLOORS,
    "train": TrainConfig(steps=1, views=1, prompts=4, check_every=1, learning_rate=1e-4),
    "progress": False,
}
SPLIT = {"train": [f"{i}.png" for i in range(5)], "calibration": ["5.png", "6.png"]}


@pytest.fixture
def sam():
    return random_sam(input_px=64, score_shift=0.9)


def made(tmp_path):
    return disc_project(tmp_path, images=9, empty=1)


def run(project, sam, cycles=2, annotator="oracle", **changes):
    return project.run_cycles(
        cycles, annotator=annotator, model=sam, roles=SPLIT, held_out=["7.png", "8.png"], **{**TOY, **changes}
    )


def written(project):
    return [len(frame) for frame in (project.runs(), project.triages(), project.models(), project.journal())]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Two cycles that nothing stopped: their table, and how much they wrote."""
    with made(tmp_path_factory.mktemp("whole")) as project:
        return run(project, random_sam(input_px=64, score_shift=0.9)).to_dict(), written(project)


def test_run_cycles__table_with_an_oracle(tmp_path, sam):
    with made(tmp_path) as project:
        table = run(project, sam)
        assert [row.cycle for row in table.rows] == [1, 2, 3]
        assert [row.closing for row in table.rows] == [False, False, True]
        first, second, last = table.rows
        assert first.model_id == load_sam(sam).model_id
        assert (second.model_id, last.model_id) == (first.trained_id, second.trained_id)
        assert {row.test for row in table.rows} == {2}
        assert first.thresholds["kind"] == "preset"
        for row in table.rows:
            assert row.figures["recall_proposals"].n == 6
            assert 0 <= row.figures["auto_accept_rate"].value <= 1
            assert sum(row.confidence) == row.figures["distinct_per_image"].value * 2
        assert last.changes["first"]["recall_proposals"].n == 2  # paired over two test images
        assert first.changes == {"first": {}, "before": {}}
        assert first.work["total_per_image"] + second.work["total_per_image"] > 0
        assert first.work["seconds_source"] == "simulated"
        assert last.work == {}
        assert first.notes[0] == "thresholds: no labelled calibration images yet"
        for row in table.rows:
            said = [note for note in row.notes if note.startswith("calibration: ")]
            assert bool(said) != ("smooth_ece" in row.figures)  # a figure, or why there is none
            assert all(note in table.lines()[row.cycle - 1] for note in row.notes)
            assert "ece_auto_before_perfect" in row.figures
        assert project.cycles().to_dict() == table.to_dict()
        assert len(table.to_frame()) == 3
        assert "cycle 3" in repr(table)
        used = [image for d in project.model_data(second.trained_id) for image in [d.image_id]]
        assert len(used) == 4  # two of each cycle, calibration images never
        paths = project.images().set_index("image_id")["path"]
        assert set(paths[used]) <= set(SPLIT["train"])


@pytest.mark.slow
@pytest.mark.parametrize("step", STEPS[:-1])
def test_run_cycles__killed_in_each_step_and_resumed(tmp_path, sam, whole, monkeypatch, step):
    project, met = made(tmp_path / "killed"), []

    def reached(point):
        if point == f"cycle_{step}" and len(met) < 2:
            met.append(point)
            if len(met) == 2:  # in the second cycle
                raise KeyboardInterrupt

    monkeypatch.setattr(files, "reached", reached)
    with project:
        with pytest.raises(KeyboardInterrupt):
            run(project, sam)
        assert len(project.cycles()) == 1
    with type(project).open(project.path) as again:
        assert run(again, sam).to_dict() == whole[0]


@pytest.mark.slow
@pytest.mark.parametrize("step", ["propose", "triage", "train", "evaluate"])
def test_run_cycles__killed_between_what_a_step_writes_and_its_note_of_it(tmp_path, sam, whole, monkeypatch, step):
    advance, met = campaigns.advance, []

    def dying(catalog, cycle, next_step, **found):
        if (cycle.number, cycle.step) == (2, step) and not met:
            met.append(step)
            raise KeyboardInterrupt
        return advance(catalog, cycle, next_step, **found)

    monkeypatch.setattr(campaigns, "advance", dying)
    with made(tmp_path / "killed") as project, pytest.raises(KeyboardInterrupt):
        run(project, sam)
    with type(project).open(project.path) as again:
        assert run(again, sam).to_dict() == whole[0]
        assert written(again) == whole[1]  # what was written is taken up, not made anew


def test_run_cycles__killed_while_a_step_writes(tmp_path, sam, monkeypatch):
    annotate = Oracle.annotate

    def dying(self, project, images, cycle):
        annotate(self, project, images[:1], cycle)  # one image is reviewed, then the power fails
        raise KeyboardInterrupt

    with made(tmp_path) as project:
        monkeypatch.setattr(Oracle, "annotate", dying)
        with pytest.raises(KeyboardInterrupt):
            run(project, sam, 1)
        monkeypatch.setattr(Oracle, "annotate", annotate)
        assert run(project, sam, 1).done
        assert project.journal()["gesture_id"].is_unique


def test_run_cycles__fewer_calibration_images_than_cycles_are_used_one_by_one(tmp_path, sam):
    with made(tmp_path) as project:
        table = run(project, sam, 4, annotator="people", config=CycleConfig(reserve=0))
        roles = project.images().set_index("image_id")["path"]
        assert sorted(roles[image] in SPLIT["calibration"] for image in table.awaited) == [False, True]


def test_run_cycles__more_cycles_than_train_images_allow_are_refused_before_anything_is_done(tmp_path, sam):
    with made(tmp_path) as project:
        with pytest.raises(StoreError, match=r"at most 3, which 5 train images allow at 2 a cycle, got 4; ask for 3"):
            run(project, sam, 4)
        assert written(project) == [0, 0, 0, 0]
        assert not project.cycles().awaited
        assert run(project, sam, 3, annotator="people").awaited
        with pytest.raises(StoreError, match=r"at most 3, which 5 train images"):
            run(project, sam, 4, annotator="people")  # of the campaign that is under way, too


def test_run_cycles__people_are_awaited_and_it_goes_on_when_they_are_done(tmp_path, sam):
    with made(tmp_path) as project:
        table = run(project, sam, 1, annotator="people")
        assert len(table.awaited) == 3
        assert not table.done
        assert "waits for 3 images" in repr(table)
        assert run(project, sam, 1, annotator="people").awaited == table.awaited
        claim_queue = project.queue(images=table.awaited)
        assert claim_queue.progress().images == 3
        assert (project.cycles().awaited, project.cycles().cycle) == (table.awaited, 1)  # known in another session too
        Oracle(name="a person").annotate(project, table.awaited[:2], 1)
        assert run(project, sam, 1, annotator="people").awaited == table.awaited[2:]
        assert project.cycles().awaited == table.awaited[2:]
        Oracle(name="a person").annotate(project, table.awaited[2:], 1)
        assert not project.cycles().awaited
        assert [row.closing for row in run(project, sam, 1, annotator="people").rows] == [False, True]


@pytest.mark.parametrize("strategy", ["flagged_first", "uncertain", "most_flagged"])
def test_queue__hands_out_first_what_a_campaign_waits_for(tmp_path, sam, strategy):
    with made(tmp_path) as project:
        before = project.queue(strategy)
        table = run(project, sam, 1, annotator="people")
        project.add_annotator("a")
        before.refresh()
        for queue in (before, project.queue(strategy)):
            claims = [queue.claim("a", window=str(k), resume=False) for k in range(4)]
            assert {claim.image_id for claim in claims[:3]} == set(table.awaited)
            assert claims[3].image_id not in table.awaited
            for claim in claims:
                assert queue.release(claim)
        for image in table.awaited:
            project.record(event("complete", image))
        assert not project.cycles().awaited
        assert project.queue(strategy).claim("a").image_id not in table.awaited


def test_run_cycles__a_failed_image_is_not_awaited(tmp_path, sam):
    with made(tmp_path) as project:
        first = run(project, sam, 1, annotator="people").awaited
    with disc_project(tmp_path / "other", images=9, empty=1) as project:
        path = project.images().set_index("image_id")["path"][first[0]]
        (tmp_path / "other" / "images" / path).write_bytes(b"no image")
        assert run(project, sam, 1, annotator="people").awaited == first[1:]
        assert project.cycles().awaited == first[1:]


def test_cycles__are_of_the_campaign_worked_on_last(tmp_path, sam, monkeypatch):
    times = iter(range(10, 1000))
    monkeypatch.setattr(campaigns, "now", lambda: f"2026-01-01T00:00:{next(times):04}Z")
    other = CycleConfig(train=3, calibration=1, reserve=0)
    with made(tmp_path) as project:
        first = run(project, sam, 1, annotator="people").awaited
        second = run(project, sam, 1, annotator="people", config=other).awaited  # a slip
        assert project.cycles().awaited == second != first
        run(project, sam, 1, annotator="people")  # and back
        assert project.cycles().awaited == first


def test_run_cycles__another_campaign_while_one_waits_is_told(tmp_path, sam, caplog):
    with made(tmp_path) as project:
        run(project, sam, 1, annotator="people")
        run(project, sam, 1, annotator="people")
        assert "stands in cycle" not in caplog.text
        run(project, sam, 1, annotator="people", config=CycleConfig(train=3, calibration=1, reserve=0))
        assert "stands in cycle 1 (review)" in caplog.text
        assert "They differ in cycle.train: 2, now 3" in caplog.text


def test_run_cycles__more_cycles_later_take_other_images(tmp_path, sam, caplog):
    with made(tmp_path) as project:
        once = run(project, sam, 1)
        twice = run(project, sam, 2)
        assert [row.closing for row in twice.rows] == [False, False, True]
        assert twice.rows[0].to_dict() == once.rows[0].to_dict()
        assert run(project, sam, 3).rows[2].train == 1  # what is left
        assert "another campaign" not in caplog.text
        run(project, sam, 1, annotator="people", config=CycleConfig(train=3, calibration=1, reserve=0))
        assert "(done), and is shown and goes on when it is called in its own words" in caplog.text
        with pytest.raises(StoreError, match="at most 3, which 5 train images allow at 2 a cycle"):
            run(project, sam, 4)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_run_cycles__strategies_look_at_what_the_model_proposes_on_images_not_yet_taken(
    tmp_path, sam, monkeypatch, strategy
):
    asked = []
    monkeypatch.setattr(batches, "choose", lambda *given: (asked.append(given), choose(*given))[1])
    with made(tmp_path) as project:
        run(project, sam, 2, config=TOY["config"].replace(strategy=strategy))
        first, second = campaigns.of_campaign(project.catalog, 1)[:2]
    _, left, _, _, proposed, _, before = asked[2]  # train images of the second cycle
    assert set(first.train).isdisjoint(left)
    assert set(second.train) <= set(left)
    assert set(proposed) == (set() if strategy == "random" else set(left))
    assert set(before) == (set(first.train) if strategy == "diverse" else set())


def test_run_cycles__thresholds_that_fit_the_floors_where_none_are_given(tmp_path, sam):
    with made(tmp_path) as project:
        table = run(project, sam, 1, floors=FLOORS.replace(predicted_iou_floor=0.9, nms_iou=0.5))
        assert table.rows[0].thresholds["predicted_iou"] == 0.9
        assert project.triage_config().nms_iou == 0.5


@pytest.mark.parametrize(("confidence", "share"), [(0.0, 1.0), (0.9, 0.0)])
def test_run_cycles__confidence_decides_where_it_accepts_more(tmp_path, sam, monkeypatch, confidence, share):
    """Figures on the test images are of what the project's triage accepts there, by the recalibration that was kept."""

    def sure(base, rows, judge, most_wrong, floors, features):
        model = Recalibration("platt", features.names, {"slope": np.array([0.0]), "offset": np.array([0.0])})
        config = base.replace(
            predicted_iou=-5.0, predicted_iou_margin=0.0, **dict.fromkeys(thresholds.SETTING.values())
        )
        config = config.replace(confidence=confidence, confidence_rule="decides")
        return thresholds.Calibrated(config, "calibrated", "", (), 9, 10**6, model)

    monkeypatch.setattr(thresholds, "calibrated", sure)
    with made(tmp_path) as project:
        row = run(project, sam, cycles=1).rows[-1]
        assert row.thresholds["confidence"] == confidence
        assert row.figures["auto_accept_rate"].value == share
        config, frame = project.triage_config(), project.images().set_index("path")["image_id"]
        test = dict(project.each(frame[["7.png", "8.png"]].tolist(), config=config))
        assert len(test) == 2
        assert {float(p) for rows in test.values() for p in rows.confidence} == {0.5}
        outcomes = np.concatenate([triage(rows, config).outcome for rows in test.values()])
        assert set(outcomes) == {Outcome.auto_accepted if share else Outcome.flagged}
        number = config.confidence_model
        kept = calibrations.find(project.catalog, number, "adoption")
        model = Adopted.from_dict(kept.result)
        assert project.keep_confidence(model, kept.settings, kept.images) == number  # as after a kill between the two
        arrays = {"mean": np.zeros(1), "scale": np.ones(1), "slope": np.ones((1, 1)), "offset": np.zeros(1)}
        verifier = Verifier("is this mask good?", "logistic", ("predicted_iou",), arrays)
        monkeypatch.setattr(adoption, "expect_useful", lambda *_: verifier)
        began = Plan.from_dict(dict(campaigns.find(project.catalog).settings)).pooled
        project.calibrate(draws=20)
        project.triage(config.replace(confidence=0.6))  # somebody moves it: it is the cycle's all the same
        project.adopt_verifier()  # takes its place, but not its thresholds, which let everything pass
        assert labelling.without_confidence(project.triage_config()) == labelling.without_confidence(began)


def test_run_cycles__one_image_only(tmp_path, sam):
    with disc_project(tmp_path, images=1) as project:
        table = project.run_cycles(1, annotator="oracle", model=sam, **{**TOY, "config": None})
        assert len(table) == 2
        assert table.rows[0].figures == {}  # no test image: only work is known
        assert table.rows[0].work["total_per_image"] == 3
        assert "cycle 1" in repr(table)


ACCEPT_ALL = preset("official").triage.replace(predicted_iou=-5.0, stability_score=None)


@pytest.mark.parametrize("threshold", [-5.0, 5.0], ids=["all accepted", "all rejected"])
def test_run_cycles__all_or_nothing_auto_accepted(tmp_path, sam, threshold):
    triage = ACCEPT_ALL.replace(predicted_iou=threshold)
    with made(tmp_path) as project:
        table = run(project, sam, 2, triage=triage)
        rate = table.rows[0].figures["auto_accept_rate"].value
        assert rate == (1.0 if threshold < 0 else 0.0)
        assert table.rows[0].figures["fp_rate"].known == (threshold < 0)


def test_run_cycles__test_images_that_are_known_in_one_cycle_only(tmp_path, sam):
    """Truth that comes or goes between cycles, and an image that cannot be read any more: paired over what both have."""
    with made(tmp_path) as project:
        run(project, sam, 1)
        with project.catalog.write() as connection:
            connection.exec_driver_sql(
                "DELETE FROM truth_images WHERE image_key = (SELECT key FROM images WHERE path = '8.png')"
            )
        table = run(project, sam, 2)
        assert [row.test for row in table.rows] == [2, 1, 1]
        assert [row.figures["recall_proposals"].n for row in table.rows] == [6, 3, 3]
        assert table.rows[-1].changes["first"]["recall_proposals"].n == 1
        assert "1 of 2 test images have no truth yet" in table.note
        assert "measured on 1 of 2 test images" in table.lines()[len(table) - 1]
        assert project.cycles().to_dict()["rows"] == table.to_dict()["rows"]


def test_run_cycles__people_without_truth_are_told_what_is_not_measured(tmp_path, sam):
    with disc_project(tmp_path, images=9, roles=(0.4, 0.3, 0.3)) as project:
        with project.catalog.write() as connection:
            connection.exec_driver_sql("DELETE FROM truth_images")
        frame = project.images()
        test = frame.loc[frame["role"] == "test", "image_id"].tolist()
        table = project.run_cycles(1, model=sam, **{**TOY, "config": None})
        assert table.awaited
        roles = project.images().set_index("image_id")["role"]
        assert list(table.calibrating) == [image for image in table.awaited if roles[image] == "calibration"] != []
        assert f"Thresholds are read off {len(table.calibrating)} of them: there every mask" in table.lines()[-1]
        assert f"{len(test)} of {len(test)} test images have no truth yet" in repr(table)
        project.add_annotator("a")
        for image in (*table.awaited, test[0]):
            project.record([event("complete", image)])
        table = project.run_cycles(1, model=sam, **{**TOY, "config": None})
        assert [row.test for row in table.rows] == [1, 1]  # what people had completed by then
        for image in test[1:]:
            project.record([event("complete", image)])
        assert [row.test for row in project.cycles().rows] == [1, 1]
        runs = len(project.runs())
        table = project.run_cycles(1, model=sam, **{**TOY, "config": None})
        assert [row.test for row in table.rows] == [len(test), len(test)]  # what is done is measured again
        assert table.rows[-1].changes["first"]["recall_proposals"].n == len(test)
        assert (len(project.runs()), table.note) == (runs, "")
        assert project.cycles().to_dict() == table.to_dict()


def test_run_cycles__an_oracle_that_errs_is_told(tmp_path, sam):
    with made(tmp_path) as project:
        table = run(project, sam, 1, OracleConfig(error_rate=0.25, missed_small=0.5))
        said = "reviewed by an oracle with error_rate 0.25, missed_small 0.5"
        assert [said in row.notes for row in table.rows] == [True, False]
        assert said in table.lines()[0]


def test_run_cycles__roles_that_are_none_or_overlap_are_refused(tmp_path, sam):
    with made(tmp_path) as project:
        with pytest.raises(ValueError, match="roles: expected train and calibration, got 'calib'"):
            project.run_cycles(1, annotator="oracle", model=sam, roles={"train": ["0.png"], "calib": ["1.png"]}, **TOY)
        with pytest.raises(StoreError, match=r"1 of those to train are test images .*leave them out"):
            project.run_cycles(1, model=sam, roles={"train": ["0.png", "7.png"]}, held_out=["7.png", "8.png"], **TOY)


def test_run_cycles__goes_on_where_a_training_failed_by_the_other_rule(tmp_path, sam, monkeypatch):
    counts = {"images": 2, "true": 6, "before": 40, "after": 13}
    monkeypatch.setattr(teaching, "still_proposes", lambda *_: counts)
    with made(tmp_path) as project:
        with pytest.raises(TrainingError, match="least_proposed=half_or_true"):
            run(project, sam, 1)
        written_before = written(project)[:2]
        table = run(project, sam, 1, train=TOY["train"].replace(least_proposed="half_or_true"))
        assert [row.cycle for row in table.rows] == [1, 2]
        assert not any("were reviewed before" in note for row in table.rows for note in row.notes)
        assert written(project)[0] == written_before[0] + 1  # the closing run alone
        assert run(project, sam, 1).to_dict() == table.to_dict()  # and either rule finds it


def test_run_cycles__only_recall_of_truth_that_leaves_masks_out(tmp_path, sam):
    with made(tmp_path) as project:
        table = run(project, sam, config=CycleConfig(train=2, calibration=1, exhaustive=False, reserve=0))
        assert {row.thresholds["kind"] for row in table.rows} == {"preset"}
        assert all("truth leaves masks out" in row.notes[0] for row in table.rows)
        assert not any(name.startswith(("fp_rate", "ece", "smooth_ece")) for row in table.rows for name in row.figures)
        assert "rejection_rate" not in table.rows[0].work
        assert {"recall_auto", "recall_auto_small_coco"} <= set(table.rows[-1].figures)
        assert campaigns.find(project.catalog).settings["train"]["exhaustive"] is False  # nor are they taught as wrong


def test_run_cycles__another_campaign_counts_no_work_of_the_first(tmp_path, sam):
    with made(tmp_path) as project:
        first = run(project, sam)
        gestures = len(project.journal())
        again = run(project, sam, config=TOY["config"].replace(seed=3))
        new = len(project.journal()) - gestures
        works = [row.work for row in again.rows[:2]]
        assert sum(work["images"] for work in works) == 7 - sum(row.work["images"] for row in first.rows[:2])
        assert new > 0
        counted = sum(work["active_hours"] for work in works)
        total = project.reviewed()["seconds"].sum() / 3600
        assert counted == pytest.approx(total - sum(row.work["active_hours"] for row in first.rows[:2]))
        notes = " ".join(note for row in again.rows for note in row.notes)
        assert "of its 3 images were reviewed before it began: that work is not counted again" in notes
        assert str(again)  # of a cycle without any work too


def test_run_cycles__accepted_masks_that_nobody_looked_at_leave_their_image_out_of_thresholds(tmp_path, sam):
    """As people review: the oracle's verdicts on what triage accepted by itself are taken away."""
    with made(tmp_path) as project:
        project.add_annotator("a")
        changes = {"annotator": "people", "triage": ACCEPT_ALL}
        for image in run(project, sam, 1, **changes).awaited:
            project.record([event("complete", image)])
        table = run(project, sam, 1, **changes)
        closing = table.rows[-1]
        assert closing.thresholds["kind"] == "preset"
        assert closing.thresholds["labels"] == 0
        assert "1 of 1 calibration images left out" in " ".join(closing.notes)
        assert "not looked at one by one" in " ".join(closing.notes)


def test_run_cycles__a_test_image_that_fails_is_no_image_without_proposals(tmp_path, sam):
    with made(tmp_path) as project:
        run(project, sam, 1)
        (tmp_path / "images" / "8.png").write_bytes(b"no image")
        table = run(project, sam, 2)
        assert [row.test for row in table.rows] == [2, 2, 1]  # what the second model had proposed stays
        assert table.rows[-1].changes["first"]["recall_proposals"].n == 1


def test_run_cycles__figures_are_of_distinct_proposals_whatever_is_stored(tmp_path, sam):
    found = []
    for pool in ("distinct", "exact"):
        with made(tmp_path / pool) as project:
            table = run(project, sam, 1, floors=FLOORS.replace(pool=pool))
            found.append(table.rows[0])
            stored = len(project.proposals())
    assert stored > sum(found[1].confidence) > 0
    assert found[0].confidence == found[1].confidence
    assert {k: str(v) for k, v in found[0].figures.items()} == {k: str(v) for k, v in found[1].figures.items()}


def test_run_cycles__human_oracle_is_worse(tmp_path, sam):
    right = []
    for name, annotator in (("exact", "oracle"), ("human", OracleConfig(error_rate=0.5))):
        with made(tmp_path / name) as project:
            run(project, sam, 1, annotator=annotator, triage=ACCEPT_ALL)
            final = project.final_masks()
            images = sorted(set(final.image_id.tolist()))
            compared, _ = Comparison.of_tables(final, project.truth(images), images)
            right.append(compared.verdicts(np.ones(len(compared), bool)).right.mean())
    assert right[0] == 1.0
    assert right[1] < 0.9


def test_run_cycles__a_failed_training_stops_the_campaign_loudly(tmp_path, sam, monkeypatch):
    from workbench.loop import teaching

    counts = {"images": 2, "true": 6, "before": 40, "after": 1}
    monkeypatch.setattr(teaching, "still_proposes", lambda *_: counts)
    with made(tmp_path) as project:
        for _ in range(2):
            with pytest.raises(TrainingError, match="kept as failed"):
                run(project, sam, 1)
        assert len(project.cycles()) == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cycles": 0}, "whole number of 1 or more"),
        ({"triage": "stage2", "floors": "official"}, "stored above"),
        ({"triage": preset("bundled").triage}, "NMS"),
        ({"annotator": "robot"}, 'expected "people"'),
        ({"roles": {"train": ["0.png"], "calibration": ["0.png"]}}, "one role each"),
        ({"roles": {"calibration": ["0.png"]}}, "expected images to train on"),
        ({"held_out": ["nothing.png"]}, "none is called"),
    ],
)
def test_run_cycles__wrong_use_is_said(tmp_path, sam, changes, message):
    with made(tmp_path) as project, pytest.raises((ValueError, StoreError), match=message):
        project.run_cycles(**{"cycles": 1, "annotator": "oracle", "model": sam, "roles": SPLIT, **TOY, **changes})


BEFORE = {
    "closer": 0.0,
    "iou_with": "nearest",
    "reach_px": 0.0,
    "robust": False,
    "looks_again": 0.0,
}  # what settings that came later mean, left out


def test_name_of__settings_that_came_later_rename_no_campaign():
    train, before = TrainConfig(**BEFORE), {k: v for k, v in TrainConfig().to_dict().items() if k not in BEFORE}
    assert name_of({"train": train, "model_id": "m"}) == name_of({"train": before, "model_id": "m"})
    for name in BEFORE:
        assert name_of({"train": train.replace(**{name: getattr(TrainConfig(), name)})}) != name_of({"train": train})


def test_name_of__stays_what_it_is():
    """Stored campaigns are found by it."""
    cycle = CycleConfig(
        train=2, calibration=1, strategy="random", most_wrong=0.05, reserve=0.0, exhaustive=True, seed=0
    )
    assert name_of({"cycle": cycle, "model_id": "bundled-1", "pools": {"train": ["a"]}}) == "0ee0e4a5b877"


def test_run_cycles__a_campaign_of_before_goes_on_as_it_was(tmp_path, sam):
    """One whose plan was written before there were some of the settings, called again in the words that fit it."""
    later = {"cycle": {"reserve"}, "train": {*BEFORE, "exhaustive"}}
    words = {"config": TOY["config"], "train": TOY["train"].replace(**BEFORE)}
    with made(tmp_path) as project:
        awaited = run(project, sam, 1, annotator="people", **words).awaited
        campaign = campaigns.find(project.catalog)
        plan = {
            k: {n: w for n, w in v.items() if n not in later[k]} if k in later else v
            for k, v in campaign.settings.items()
        }
        assert plan != campaign.settings
        with project.catalog.write() as connection:
            connection.exec_driver_sql("UPDATE campaigns SET settings = ?", (json.dumps(plan),))
        assert campaigns.find(project.catalog).settings == plan
        assert run(project, sam, 1, annotator="people", **words).awaited == awaited
        assert campaigns.find(project.catalog).id == campaign.id
        read = Plan.from_dict(plan)
        assert (read.cycle, read.train) == (words["config"], words["train"].replace(exhaustive=True))


def test_run_cycles__what_training_settings_leave_open_is_fixed_when_it_begins(tmp_path, sam):
    with made(tmp_path) as project:
        run(project, sam, 1, annotator="people", train=TOY["train"].replace(learning_rate=None, check_every=None))
        first = campaigns.find(project.catalog)
        assert (first.settings["train"]["learning_rate"], first.settings["train"]["check_every"]) == (1e-4, 1)
        run(project, sam, 1, annotator="people")  # the same, said in numbers
        assert campaigns.find(project.catalog).id == first.id


@pytest.mark.parametrize("changes", [{}, {"most_wrong": 0.1, "reserve": 0.25}])
def test_run_cycles__thresholds_leave_the_room_that_the_settings_say(tmp_path, sam, monkeypatch, changes):
    seen, read_off = [], thresholds.calibrated
    monkeypatch.setattr(
        thresholds,
        "calibrated",
        lambda base, rows, judge, allowed, *rest: seen.append(allowed) or read_off(base, rows, judge, allowed, *rest),
    )
    with made(tmp_path) as project:
        run(project, sam, 1, config=CycleConfig(train=2, calibration=1, **changes))
    assert set(seen) == {thresholds.Allowed(changes.get("most_wrong", 0.05), changes.get("reserve", 0.5))}
