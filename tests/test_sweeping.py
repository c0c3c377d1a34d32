"""Sweeps of a project: figures at each point, experiments kept, compared and adopted; a stub in place of the model."""

from __future__ import annotations

import dataclasses
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import stub_sam

import workbench as wb
from workbench.config import SettingError
from workbench.loop.comparison import Comparison
from workbench.loop.metrics import measure
from workbench.masks import rle
from workbench.store import experiments as store
from workbench.store.errors import StoreError
from workbench.tables.events import ReviewEvent
from workbench.tables.proposals import Proposals
from workbench.triage.limits import unmeasured
from workbench.triage.pool import PoolError

GRID = {"predicted_iou": [0.75, 0.88, 0.95], "jitter_stability": [None, 0.92]}
SAM = stub_sam.StubSam()


@pytest.fixture
def stage(monkeypatch):
    monkeypatch.setitem(sys.modules, "workbench.propose.run", stub_sam.stage())


def made(tmp_path, n=8, config=None):
    images = stub_sam.write_images(tmp_path / "images", n)
    project = wb.Project.create(tmp_path / "cells.wb", images=str(images / "*.png"))
    project.propose(SAM, config, progress=False)
    project.triage(wb.TriageConfig(min_area_px=1, predicted_iou_margin=0.1), note="first")
    return project


@pytest.fixture
def project(tmp_path, stage):
    with made(tmp_path) as project:
        yield project


def take_truth(project, every=2):
    """Every second proposal is true; all images but the last are labelled."""
    ids = project.images()["image_id"].tolist()[:-1]
    some = project.proposals(ids)
    project.import_truth(some.select(np.arange(len(some)) % every == 0), images=ids)
    return ids


def test_sweep__counts_are_those_of_triage(project):
    table = project.sweep(GRID, progress=False)
    assert len(table) == 6
    assert list(table.columns[:6]) == [*GRID, "distinct", "auto_accepted", "flagged", "discarded"]
    base = project.triage_config()
    for row in table.itertuples():
        off = row.jitter_stability is None or np.isnan(row.jitter_stability)
        config = base.replace(predicted_iou=row.predicted_iou, jitter_stability=None if off else row.jitter_stability)
        triage = wb.triage(project.proposals(), config)
        assert {name: getattr(row, name) for name in triage.counts()} == triage.counts()
        assert row.auto_accept_rate == pytest.approx(triage.auto_accept_rate)
        assert row.auto_accept_rate_low <= row.auto_accept_rate <= row.auto_accept_rate_high
        assert row.masks_per_image_n == 8
    assert "recall_auto" not in table
    assert len(project.triages()) == 1  # a sweep is no version of triage


def test_sweep__figures_are_those_of_measure(project):
    ids = take_truth(project)
    table = project.sweep(GRID, exhaustive=True, progress=False)
    proposals, truth = project.proposals(), project.truth()
    comparison, rows = Comparison.of_tables(proposals, truth, ids)
    config = project.triage_config().replace(predicted_iou=0.75, jitter_stability=None)
    names = ["recall_auto", "recall_proposals", "fp_rate", "duplicate_rate", "automatic_share"]
    outcome = wb.triage(proposals, config).outcome[rows]
    expected = measure(comparison, outcome, names, np.random.default_rng(0))
    for name, figure in expected.items():
        got = table.loc[0, [name, f"{name}_low", f"{name}_high"]].tolist()
        assert got == pytest.approx([figure.value, figure.low, figure.high])
        assert table.loc[0, f"{name}_n"] == figure.n
    assert table["fp_rate"].between(0, 1).any()
    assert (table["recall_auto"] <= table["recall_proposals"]).all()


def test_sweep__acceptance_stands_beside_recall(project):
    take_truth(project)
    table = project.sweep(GRID, metrics=["recall_auto_75"], progress=False)
    values = [c for c in table.columns if f"{c}_low" in table.columns]
    assert values == ["auto_accept_rate", "masks_per_image", "recall_auto", "recall_auto_75"]


@pytest.mark.parametrize("pool", ["exact", "distinct"])
def test_sweep__from_two_threads_at_once(project, pool):
    def sweep(_):
        return project.sweep(GRID, base=project.triage_config().replace(pool=pool), progress=False)

    expected = sweep(0)
    with ThreadPoolExecutor(2) as threads:
        assert all(found.equals(expected) for found in threads.map(sweep, range(4)))


def test_sweep__of_some_images(project):
    ids = take_truth(project)
    assert project.sweep(GRID, images=ids[:3], progress=False)["masks_per_image_n"].eq(3).all()
    train = int((project.images()["role"] == "train").sum())
    assert project.sweep(GRID, role="train", progress=False)["masks_per_image_n"].eq(train).all()
    one = project.sweep(GRID, images=ids[:1], progress=False)
    assert one["masks_per_image"].notna().all()
    assert one["masks_per_image_low"].isna().all()  # one image does not say how images differ


def test_sweep__exact_pool(project):
    base = project.triage_config().replace(pool="exact")
    table = project.sweep({"nms_iou": [0.3, 0.7], "predicted_iou": [0.8, 0.9]}, base=base, progress=False)
    for row in table.itertuples():
        config = base.replace(nms_iou=row.nms_iou, predicted_iou=row.predicted_iou)
        assert wb.triage(project.proposals(), config).counts()["auto_accepted"] == row.auto_accepted
    # what a stricter threshold discards is not compared there, and does not bring its duplicates into the denominator
    assert table.groupby("nms_iou")["auto_accept_rate_n"].nunique().eq(1).all()
    plain = project.sweep({"nms_iou": [0.3, 0.7]}, progress=False)
    assert table["distinct"].tolist() == np.repeat(plain["distinct"], 2).tolist()


def test_triage__exact_of_rows_stored_after_nms_is_refused(tmp_path, stage):
    with made(tmp_path, config=wb.ProposeConfig(pool="distinct")) as project:
        exact = project.triage_config().replace(pool="exact")
        with pytest.raises(PoolError, match="rows were stored with pool='distinct'"):
            project.triage(exact)
        assert len(project.triages()) == 1


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"metrics": ["recal"]}, ValueError, "recall_auto.*did you mean"),
        ({"metrics": ["recall_auto"]}, ValueError, "none of the 8 images has any.*auto_accept_rate"),
        ({"metrics": ["fp_rate"], "exhaustive": True}, ValueError, "needs truth, and none"),
        ({"grid": {}}, SettingError, "at least one threshold"),
        ({"grid": {"predicted_io": [1]}}, SettingError, "did you mean 'predicted_iou'"),
        ({"grid": {"predicted_iou": [0.5]}}, PoolError, "predicted_iou_floor=0.4"),
        ({"role": "tests"}, ValueError, "train, calibration, test"),
        ({"images": []}, StoreError, "none of the 0 chosen"),
        ({"images": ["image99.png"]}, StoreError, "image99"),
        ({"wrong_iou": 0.2}, ValueError, "wrong_iou"),
        ({"name": " "}, ValueError, "a line of 1 to 200"),
    ],
)
def test_sweep__that_cannot_be_is_refused_in_words(project, settings, error, words):
    with pytest.raises(error, match=words):
        project.sweep(**{"grid": GRID, "progress": False, "name": "x", **settings})
    assert project.experiments().empty


def test_sweep__false_positives_only_where_truth_is_exhaustive(project):
    take_truth(project)
    with pytest.raises(ValueError, match="exhaustive=True where it is"):
        project.sweep(GRID, metrics=["fp_rate"], progress=False)
    assert "fp_rate" not in project.sweep(GRID, progress=False)


def test_sweep__before_proposals_is_refused(tmp_path):
    images = stub_sam.write_images(tmp_path / "images", 1)
    with wb.Project.create(tmp_path / "p.wb", images) as empty, pytest.raises(StoreError, match="workbench propose"):
        empty.sweep(GRID)


def test_sweep__too_many_numbers_are_refused(project, monkeypatch):
    monkeypatch.setattr("workbench.loop.experiments.MOST_NUMBERS", 60)
    with pytest.raises(ValueError, match=r"6 points on 8 images with 3 figures are 144 numbers.*at most 2 points"):
        project.sweep(GRID, progress=False)


def test_sweep__images_without_proposals_and_missing_scores(tmp_path, monkeypatch):
    def propose(image, segmenter, config=None, *, image_id=None):
        found = stub_sam.propose(image, segmenter, config, image_id=image_id)
        if image.mean() < 127.5:
            return found.select(np.zeros(len(found), bool))
        return found.replace(predicted_iou=np.where(np.arange(len(found)) % 2, np.nan, found.predicted_iou))

    monkeypatch.setitem(sys.modules, "workbench.propose.run", stub_sam.stage(propose))
    with made(tmp_path) as project:
        take_truth(project)
        table = project.sweep(GRID, exhaustive=True, progress=False)
        config = project.triage_config().replace(predicted_iou=0.75, jitter_stability=None)
        assert table.loc[0, "auto_accepted"] == wb.triage(project.proposals(), config).counts()["auto_accepted"]
        assert table["ceiling"].notna().all()


def test_sweep__no_proposal_at_all(tmp_path, monkeypatch):
    def propose(image, segmenter, config=None, *, image_id=None):
        return Proposals.empty()

    monkeypatch.setitem(sys.modules, "workbench.propose.run", stub_sam.stage(propose))
    with made(tmp_path, n=3) as project:
        table = project.sweep(GRID, name="none", progress=False)
        assert table["distinct"].eq(0).all()
        assert table["auto_accept_rate"].isna().all()
        assert project.experiment("none").table.equals(table)


def test_sweep__crowds_of_the_truth_are_left_aside(project):
    frame = project.images()
    image = frame.loc[frame["distinct"] > 0, "image_id"].iloc[0]
    own = project.proposals(image)
    h, w = own.sizes_hw[0]
    whole = Proposals.make(rles=rle.encode(np.ones((1, h, w), bool)), image_id=image, sizes_hw=(h, w))
    project.import_truth(whole, crowd=[True])
    table = project.sweep({"predicted_iou": [0.7]}, images=[image], exhaustive=True, progress=False)
    assert table["fp_rate_n"].eq(0).all()  # all lies in the crowd
    assert table["recall_auto_n"].eq(0).all()


# ---- experiments ------------------------------------------------------------------------------------------------------


def test_experiment__of_before_a_figure_was_renamed_has_it_by_its_name(project):
    reviewed(project)
    project.sweep(GRID, metrics=["rejection_rate_auto"], name="new", progress=False)
    new = project.experiment("new")
    old = dataclasses.replace(
        new.counted, metrics=[name.replace("rejection_rate_auto", "rejection_rate") for name in new.counted.metrics]
    )
    figures = {name.replace("rejection_rate_auto", "rejection_rate"): column for name, column in new.figures.items()}
    assert set(figures) != set(new.figures)
    store.save(project.catalog, "old", new.run_id, new.settings, old, figures, note="", author="me")
    assert project.experiment("old").table.equals(new.table)
    assert "rejection_rate_auto" in project.compare("old", "new")["metric"].tolist()


def test_experiment__is_reopened_as_it_was(project):
    take_truth(project)
    table = project.sweep(GRID, name="first", note="why", author="me", exhaustive=True, progress=False)
    project.close()
    with wb.Project.open(project.path) as again:
        found = again.experiment("first")
        assert found.table.equals(table)
        assert (found.note, found.author, found.settings["exhaustive"], found.settings["labelled"]) == (
            "why",
            "me",
            True,
            7,
        )
        assert found.config(1) == again.triage_config().replace(predicted_iou=0.75)
        listed = again.experiments().to_dict("records")
        assert [(e["name"], e["grid"], e["points"], e["images"]) for e in listed] == [
            ("first", "predicted_iou, jitter_stability", 6, 8)
        ]
        assert "first" in repr(found)
        assert "<table" in found._repr_html_()


def test_experiment__name_that_is_taken_is_refused_before_any_work(project, monkeypatch):
    project.sweep(GRID, name="first", progress=False)
    monkeypatch.setattr("workbench.loop.experiments.count", lambda *_, **__: 1 / 0)
    with pytest.raises(StoreError, match="'first' already"):
        project.sweep(GRID, name="first", progress=False)


def test_experiment__name_taken_in_the_meantime(project, monkeypatch):
    project.sweep(GRID, name="first", progress=False)
    seen = []
    check = store.check_name
    monkeypatch.setattr(store, "check_name", lambda c, n: seen.append(n) if len(seen) < 2 else check(c, n))
    with pytest.raises(StoreError, match="'first' already"):
        project.sweep(GRID, name="first", progress=False)
    assert len(project.experiments()) == 1


def test_experiment__unknown_name_tells_the_nearest(project):
    with pytest.raises(StoreError, match="there are none yet"):
        project.experiment("first")
    project.sweep(GRID, name="first", progress=False)
    with pytest.raises(StoreError, match="did you mean 'first'"):
        project.experiment("firts")


def test_adopt__makes_a_version_of_triage(project):
    project.sweep(GRID, name="first", progress=False)
    triage = project.experiment("first").adopt(4, author="me", note="fewest errors")
    last = project.triages().iloc[-1]
    assert triage.config == project.triage_config() == project.experiment("first").config(4)
    assert (last["author"], last["note"]) == ("me", "fewest errors")
    project.adopt("first", 5)
    assert project.triages().iloc[-1]["note"] == "experiment 'first', row 5"


def test_adopt__what_is_not_there_is_refused(project):
    project.sweep(GRID, name="first", progress=False)
    for row in (-1, 6, True):
        with pytest.raises(ValueError, match="from 0 to 5"):
            project.adopt("first", row)
    project.propose(stub_sam.StubSam("other-0000"), progress=False)
    with pytest.raises(StoreError, match="made on run 1, the latest is run 2"):
        project.adopt("first", 0)


def test_compare__points_of_one_experiment_are_paired(project):
    take_truth(project)
    table = project.sweep(GRID, name="first", exhaustive=True, progress=False)
    found = project.compare(("first", 0), "first", metrics=["masks_per_image", "recall_auto"])
    assert len(found) == 2 * 6
    first = found[found["metric"] == "recall_auto"].reset_index(drop=True)
    assert first["value_b"].tolist() == pytest.approx(table["recall_auto"].tolist())
    assert first["difference"].tolist() == pytest.approx((table.loc[0, "recall_auto"] - table["recall_auto"]).tolist())
    means = found[found["metric"] == "masks_per_image"].reset_index(drop=True)
    assert means.loc[0, ["difference", "low", "high"]].tolist() == [0, 0, 0]
    assert means["images"].eq(8).all()
    assert first["images"].eq(7).all()
    assert (found["low"] <= found["high"]).all()


def test_compare__two_models_on_the_images_that_both_have(project):
    ids = take_truth(project)
    project.sweep(GRID, name="a", progress=False)
    project.propose(stub_sam.StubSam("other-0000"), progress=False)
    project.sweep(GRID, name="b", base=project.experiment("a").config(0), images=ids[:4], progress=False)
    found = project.compare("a", "b")
    assert len(found) == 6 * found["metric"].nunique()
    assert found["images"].eq(4).all()
    assert found["row_a"].tolist() == found["row_b"].tolist()
    assert found.loc[found["metric"] == "recall_proposals", "difference"].eq(0).all()  # the stub sees the same


def test_compare__what_cannot_be_is_refused(project):
    ids = take_truth(project)
    project.sweep(GRID, name="a", images=ids[:2], progress=False)
    project.sweep({"predicted_iou": [0.8, 0.9]}, name="b", images=ids[2:], metrics=[], progress=False)
    for a, b, metrics, words in (
        ("a", "b", None, r"as many points.*got 6 and 2; name points as"),
        (("a", 0), "b", None, "no image in common"),
        ("b", "b", ["fp_rate"], "asked for fp_rate"),
    ):
        with pytest.raises(ValueError, match=words):
            project.compare(a, b, metrics)
    with pytest.raises(ValueError, match="from 0 to 5"):
        project.compare(("a", 6), "b")
    with pytest.raises(StoreError, match="none is called"):
        project.compare("a", "c")


def test_compare__figures_counted_by_other_rules_are_refused(project, caplog):
    take_truth(project)
    project.sweep(GRID, name="a", progress=False)
    project.sweep(GRID, name="strict", wrong_iou=0.9, progress=False)
    with pytest.raises(ValueError, match=r"automatic_share.*wrong_iou=0.75 in 'a' and .*wrong_iou=0.9 in 'strict'"):
        project.compare("a", "strict", ["automatic_share"])
    assert "automatic_share" not in set(project.compare("a", "strict")["metric"])
    assert "left out automatic_share: counted with wrong_iou=0.75 in 'a'" in caplog.text
    assert not project.compare("a", "strict", ["recall_auto"]).empty
    project.add_annotator("a1")
    for image in project.images()["image_id"]:
        project.record(ReviewEvent(f"done-{image}", image, "complete", annotator="a1"))
    project.sweep(GRID, name="final", labels="review", progress=False)
    with pytest.raises(ValueError, match=r"recall_auto.*labels='truth' in 'a' and .*labels='review' in 'final'"):
        project.compare("a", "final", ["recall_auto"])


def test_compare__what_is_small_is_one_thing_on_both_sides(project):
    ids = take_truth(project)
    project.sweep(GRID, name="all", progress=False)
    project.sweep(GRID, name="some", images=ids[:2], progress=False)
    with pytest.raises(
        ValueError, match=r"recall_auto_small: small is up to .* px, the lowest quartile of what was swept"
    ):
        project.compare("all", "some", ["recall_auto_small"])
    compared = project.compare("all", "some")
    assert compared["difference"].eq(0).all()  # the same masks of the same images
    assert {"recall_auto", "recall_auto_small_coco"} <= set(compared["metric"])


def test_compare__truth_that_has_changed_in_between_is_no_difference_of_settings(project):
    ids = take_truth(project)
    project.sweep(GRID, name="before", progress=False)
    some = project.proposals(ids[:2])
    project.import_truth(some, images=ids[:2])
    project.sweep(GRID, name="after", progress=False)
    with pytest.raises(
        ValueError, match=r"recall_auto: [12] of the 8 images had other true masks when 'before' was swept"
    ):
        project.compare("before", "after", ["recall_auto"])
    assert set(project.compare("before", "after")["metric"]) == {
        "auto_accept_rate",
        "masks_per_image",
        "flagged_per_image",
    }
    assert project.experiment("after").counted.known["truth"] != project.experiment("before").counted.known["truth"]


def test_compare__rates_among_proposals_of_other_floors_are_refused(project):
    project.sweep(GRID, name="lax", progress=False)
    project.propose(SAM, wb.ProposeConfig(predicted_iou_floor=0.6), progress=False)
    project.sweep(GRID, name="strict", base=project.triage_config(), progress=False)
    with pytest.raises(
        ValueError, match=r"auto_accept_rate: counted among distinct proposals of predicted_iou_floor=0\.5 in"
    ):
        project.compare("lax", "strict", ["auto_accept_rate"])
    assert "masks_per_image" in set(project.compare("lax", "strict")["metric"])


def test_compare__points_of_other_nms_have_other_denominators(project):
    project.sweep({"nms_iou": [0.2, 0.7]}, name="x", progress=False)
    with pytest.raises(ValueError, match=r"distinct proposals of nms_iou=0\.2 in 'x' and .*nms_iou=0\.7 in 'x'"):
        project.compare(("x", 0), ("x", 1), ["auto_accept_rate"])
    assert not project.compare(("x", 0), ("x", 1), ["masks_per_image"]).empty
    project.propose(SAM, wb.ProposeConfig(nms_iou=0.6, points_per_batch=7), progress=False)
    project.sweep({"nms_iou": [0.7]}, name="y", base=project.triage_config(), progress=False)
    assert not project.compare(("x", 1), "y", ["auto_accept_rate"]).empty  # both by the NMS of their triage


def test_compare__verdicts_given_in_between_are_told(project):
    one, _, _ = reviewed(project)
    project.sweep(GRID, name="before", progress=False)
    say(project, one, 200, "verdict", project.image_review(one).masks.mask_id[0], {"verdict": "accept"})
    project.sweep(GRID, name="after", progress=False)
    with pytest.raises(ValueError, match=r"rejection_rate_auto: 1 of the 8 images had other verdicts when 'before'"):
        project.compare("before", "after", ["rejection_rate_auto"])
    assert "masks_per_image" in set(project.compare("before", "after")["metric"])


def test_sweep__numbers_of_numpy_and_no_note_are_kept(project):
    take_truth(project)
    table = project.sweep(
        GRID, name="x", note=None, seed=np.int64(3), wrong_iou=np.float32(0.8), metrics=["recall_auto"], progress=False
    )
    kept = project.experiment("x")
    assert (kept.note, kept.settings["seed"], kept.settings["wrong_iou"]) == ("", 3, 0.8)
    assert kept.table.equals(table)
    for change, words in (
        ({"seed": -1}, "seed: expected a whole number"),
        ({"seed": 0.5}, "seed: expected a whole number"),
        ({"wrong_iou": "0.7"}, "wrong_iou: expected a value"),
        ({"wrong_iou": np.nan}, "wrong_iou: expected a value"),
    ):
        with pytest.raises(ValueError, match=words):
            project.sweep(GRID, progress=False, **change)


def test_sweep__what_is_right_is_not_read_from_images_that_trained_the_model(project, monkeypatch, caplog):
    ids = take_truth(project)
    every = project.sweep(GRID, progress=False)
    monkeypatch.setattr("workbench.store.versions.learned_by", lambda catalog, model_id: set(ids[:3]))
    table = project.sweep(GRID, name="x", progress=False)
    assert "sweep: 3 of the 8 images trained" in caplog.text
    assert table["masks_per_image_n"].equals(every["masks_per_image_n"])
    left = project.sweep(GRID, images=ids[3:], progress=False)
    assert table["recall_auto"].equals(left["recall_auto"])
    assert table["recall_auto_n"].lt(every["recall_auto_n"]).all()
    assert "without 3 that trained the model" in repr(project.experiment("x"))
    with pytest.raises(ValueError, match="none of the 0 that did not train the model has any"):
        project.sweep(GRID, images=ids[:3], metrics=["recall_auto"], progress=False)


def test_sweep__labels_are_chosen_among_images_that_did_not_train_the_model(project, monkeypatch):
    one, other, _ = reviewed(project)
    every = project.images()["image_id"].tolist()
    learned = [image for image in every if image not in (one, other)]
    project.import_truth(project.proposals(learned), images=learned)
    monkeypatch.setattr("workbench.store.versions.learned_by", lambda catalog, model_id: set(learned))
    project.sweep(GRID, name="x", progress=False)
    assert (project.experiment("x").settings["labels"], project.experiment("x").settings["labelled"]) == ("review", 2)
    monkeypatch.setattr("workbench.store.versions.learned_by", lambda catalog, model_id: {one, other})
    with pytest.raises(ValueError, match="nobody has given one, except in bulk, on any of the 6 that did not train"):
        project.sweep(GRID, metrics=["rejection_rate_auto"], progress=False)


def test_sweep__confidence_without_a_model_is_refused(project):
    with pytest.raises(ValueError, match="grid: confidence needs the model"):
        project.sweep({"confidence": [0.5, 0.9]}, progress=False)


def test_sweep__scores_that_a_confidence_overrules_are_told_and_the_confidence_moves(project, monkeypatch, caplog):
    def half(self, proposals, config):
        return proposals.replace(confidence=np.linspace(0, 1, len(proposals)))

    monkeypatch.setattr(type(project), "with_confidence", half)
    base = project.triage_config().replace(confidence=0.5, confidence_rule="decides", confidence_model=1)
    swept = project.sweep({"predicted_iou": [0.8, 0.9]}, base=base, progress=False)
    assert swept["auto_accepted"].nunique() == 1
    assert "so that predicted_iou only sorts the rest" in caplog.text
    caplog.clear()
    project.triage(base)
    project.triage(base.replace(confidence=0.7, predicted_iou=0.95, min_area_px=7))
    assert "triage: a confidence decides" in caplog.text
    assert "so that predicted_iou only sorts the rest" in caplog.text
    caplog.clear()
    project.triage(base.replace(confidence=0.8, predicted_iou=0.95, min_area_px=8))
    project.triage(base.replace(confidence_rule="doubts"))
    assert "sorts the rest" not in caplog.text
    swept = project.sweep({"confidence": [0.25, 0.5, 0.9], "predicted_iou": [0.8]}, base=base, progress=False)
    assert swept["auto_accepted"].is_monotonic_decreasing
    assert swept["auto_accepted"].nunique() == 3
    project.sweep({"predicted_iou": [0.8, 0.9]}, base=base.replace(confidence_rule="doubts"), progress=False)
    assert "sorts the rest" not in caplog.text


def test_sweep__masks_without_jitter_are_told(project, caplog):
    grid = {"nms_iou": [0.7, 0.9], "predicted_iou": [0.9]}
    project.sweep(grid, base=project.triage_config().replace(jitter_stability=None), progress=False)
    assert "jitter_missing" not in caplog.text
    project.sweep(grid, base=project.triage_config().replace(jitter_stability=0.9), progress=False)
    assert "what stays only by NMS (box) at 0.9 with pool='distinct' is flagged (jitter_missing)" in caplog.text
    floors, plain = wb.ProposeConfig(), wb.TriageConfig()
    assert unmeasured(plain, floors) == ""
    assert unmeasured(
        plain.replace(nms_iou=0.5), floors
    )  # what suppressed a mask at 0.7 may itself be suppressed at 0.5
    assert unmeasured(plain.replace(pool="exact"), floors)  # or fail
    caplog.clear()
    project.triage(project.triage_config().replace(jitter_stability=0.9, nms_iou=0.9))
    assert "triage: jitter was measured of what survives NMS (box) at 0.7" in caplog.text
    assert "the run measured no jitter" in unmeasured(wb.TriageConfig(), wb.ProposeConfig(jitter_prompts=0))
    assert unmeasured(wb.TriageConfig(jitter_stability=None), wb.ProposeConfig(jitter_prompts=0)) == ""


# ---- labels from reviews ----------------------------------------------------------------------------------------------


def reviewed(project):
    """The first two images with masks: one accepted and rejected mask by mask, one in bulk; both complete."""
    project.add_annotator("a1")
    frame = project.images()
    one, other = frame.loc[frame["distinct"] >= 2, "image_id"].head(2)
    masks = project.image_review(one).masks.mask_id.tolist()
    for k, mask in enumerate(masks):
        say(project, one, k, "verdict", mask, {"verdict": "accept" if k % 2 else "reject"})
    bulk = {"verdict": "accept", "masks": project.image_review(other).masks.mask_id.tolist()}
    say(project, other, 0, "verdict", "", bulk, bulk=True)
    for image in (one, other):
        say(project, image, 99, "complete", "", {})
    return one, other, len(masks)


def say(project, image, k, kind, mask, payload, **more):
    project.record(ReviewEvent(f"{image}-{k}", image, kind, mask, payload=payload, annotator="a1", **more))


def test_sweep__verdicts_given_one_by_one_count_and_bulk_ones_do_not(project):
    _, _, n = reviewed(project)
    accept_all = {"predicted_iou": [0.6], "jitter_stability": [None]}
    plain = dict.fromkeys(("unusual_solidity", "overlap", "border_px", "unusual_size_z"))
    base = project.triage_config().replace(**plain)
    table = project.sweep(accept_all, metrics=["rejection_rate_auto"], base=base, name="x", progress=False)
    assert table.loc[0, "rejection_rate_auto"] == pytest.approx(-(-n // 2) / n)
    assert table.loc[0, "rejection_rate_auto_n"] == n
    settings = project.experiment("x").settings
    assert (settings["labels"], settings["labelled"], settings["reviewed"]) == ("review", 2, 1)


def test_sweep__recall_of_final_masks_counts_those_accepted_in_bulk(project):
    one, other, _ = reviewed(project)
    table = project.sweep(GRID, progress=False)
    final = sum(project.image_review(image).final.sum() for image in (one, other))
    assert table["recall_proposals_n"].eq(final).all()
    assert table["recall_proposals"].eq(1).all()
    assert "fp_rate" not in table


def test_sweep__truth_goes_before_reviews_unless_told(project):
    one, other, _ = reviewed(project)
    with pytest.raises(ValueError, match="labels: expected truth, review, audits or None"):
        project.sweep(GRID, labels="people", progress=False)
    with pytest.raises(ValueError, match=r"needs truth from elsewhere.*ask for rejection_rate_auto"):
        project.sweep(GRID, metrics=["fp_rate"], exhaustive=True, progress=False)
    take_truth(project)
    assert "fp_rate" in project.sweep(GRID, exhaustive=True, progress=False)
    final = sum(project.image_review(image).final.sum() for image in (one, other))
    assert project.sweep(GRID, labels="review", progress=False)["recall_auto_n"].eq(final).all()


def test_sweep__what_lies_in_a_crowd_of_the_truth_is_no_error_of_a_review(project):
    one, _, _ = reviewed(project)
    review = project.image_review(one)
    rejected = review.masks.select(review.verdict == 2)
    known = project._final_images(project.images(), frozenset([one]))(one)
    assert not known.crowd.any()
    project.import_truth(rejected, crowd=np.ones(len(rejected), bool), images=[one])
    known = project._final_images(project.images(), frozenset([one]))(one)
    assert known.masks.mask_id[known.crowd].tolist() == rejected.mask_id.tolist()
    assert len(known.masks) == review.final.sum() + len(rejected)


def test_sweep__rejections_without_a_verdict_are_refused(project):
    with pytest.raises(ValueError, match="rejection_rate_auto needs verdicts, and nobody has given one"):
        project.sweep(GRID, metrics=["rejection_rate_auto"], progress=False)
