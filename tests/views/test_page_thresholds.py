"""The thresholds page beside what can go wrong: odd addresses, floors, exact versions, experiments, other projects."""

from __future__ import annotations

import shutil

import numpy as np
import panel as pn
import pytest
from made_projects import fill, made_project, review, write_pictures

import workbench as wb
from workbench.config import PRESET_NAMES
from workbench.loop.plan import CycleConfig, Plan
from workbench.store import calibrations, campaigns, runs
from workbench.store.calibrations import Record
from workbench.tables.outcomes import Outcome
from workbench.triage.limits import PoolError
from workbench.views import apps, page_thresholds, pools
from workbench.views.campaign import Campaign
from workbench.views.pools import pool_of
from workbench.views.threshold_sliders import controls
from workbench.views.threshold_state import SLIDERS, Thresholds
from workbench.views.view import query_of


def page(folder):
    return apps.view("thresholds", Campaign(folder / "project"))


@pytest.mark.parametrize("search", ["?utm=²", "?predicted_iou=0.7&x=" + "9" * 5000, "?²", "?predicted_iou"])
def test_address__odd_parts_leave_the_page_whole(tmp_path, monkeypatch, search):
    class Place:
        def __init__(self):
            self.search = search

    with made_project(tmp_path, images=2, rows=20):
        view = page(tmp_path)
        monkeypatch.setattr(type(view), "live", True)
        with monkeypatch.context() as patched:
            patched.setattr(type(pn.state), "location", Place())
            view._from_address()
        assert view.state.predicted_iou == (0.7 if "0.7" in search else view.reference.predicted_iou)
    assert query_of("?a=%C2%B2&b=") == {"a": "²", "b": ""}


def test_floors__what_lies_below_them_is_refused_by_page_and_project(tmp_path):
    with made_project(tmp_path, images=2, rows=20) as project:
        floor = wb.ProposeConfig().predicted_iou_floor
        view = page(tmp_path)
        view.state.predicted_iou = floor
        assert "rows are stored above" in view.refused.object
        view.saving.author.value = "ann"
        versions = len(project.triages())
        view.saving.save()
        assert "rows are stored above" in view.saving.told.object
        assert len(project.triages()) == versions
        with pytest.raises(PoolError, match="propose again with predicted_iou_floor"):
            project.triage(wb.TriageConfig(predicted_iou=floor))


def test_floors__defaults_fit_the_run(tmp_path):
    pictures = write_pictures(tmp_path / "pictures", 1, 0)
    with wb.Project.create(tmp_path / "project", images=str(pictures)) as project:
        floors = wb.ProposeConfig(predicted_iou_floor=0.93, stability_floor=0.9, pool="distinct", nms_iou=0.6)
        run = runs.begin(project.catalog, "made-0", floors.digest, floors.to_dict(), wb.__version__)
        with runs.writing(project.catalog, project.path, run) as writer:
            writer.done(1, (40, 50), wb.Proposals.empty(), 0, 0.1)
        config = project.triage_config()
        assert (config.predicted_iou, config.predicted_iou_margin) == (0.93, 0)
        assert (config.stability_score, config.stability_score_margin, config.nms_iou) == (0.9, 0, 0.6)
        assert project.triage().counts()["distinct"] == 0
        with pytest.raises(PoolError, match=r"stored after NMS \(box\) at 0.6, asked for NMS \(box\) at 0.5"):
            project.triage(config.replace(nms_iou=0.5))


def test_exact_pool__that_cannot_be_had_says_why(tmp_path):
    pictures = write_pictures(tmp_path / "pictures", 1, 0)
    with wb.Project.create(tmp_path / "project", images=str(pictures)) as project:
        floors = wb.ProposeConfig(pool="distinct")
        run = runs.begin(project.catalog, "made-0", floors.digest, floors.to_dict(), wb.__version__)
        with (
            runs.writing(project.catalog, project.path, run) as writer,
            made_project(tmp_path / "other", 1, 20) as other,
        ):
            rows = other.proposals(other.images()["image_id"].iloc[0])
            writer.done(1, tuple(rows.sizes_hw[0].tolist()), rows, len(rows), 0.1)
        view = page(tmp_path)
        view.state.pool = "exact"
        assert view.state.pool == "distinct"
        assert "after NMS" in view.banner.object


def test_exact_version__is_not_compared_with_the_distinct_pool(tmp_path):
    with made_project(tmp_path, images=2, rows=30) as project:
        project.triage(project.triage_config().replace(pool="exact"))
        view = page(tmp_path)
        assert view.state.pool == view.answer.kind == "exact"
        assert view.state.to_query() == {}
        view.state.pool = "distinct"
        assert view.before == {}
        assert "Differences are against" not in view.counts.object
        assert "exact pool" in view.changes.object


def test_exact_pool__says_how_many_kept_rows_have_no_jitter(tmp_path):
    with made_project(tmp_path, images=2, rows=30) as project:
        view = page(tmp_path)
        view.state.pool = "exact"
        config = view.state.config
        wanted = (Outcome.flagged, Outcome.auto_accepted)
        kept = [rows.select(np.isin(wb.triage(rows, config).outcome, wanted)) for _, rows in project.each()]
        expected = sum(int(np.isnan(rows.jitter_stability).sum()) for rows in kept)
        assert view.answer.unjittered == expected
        view.state.by_jitter = False
        assert view.answer.unjittered == 0


def test_truth__of_some_objects_says_of_no_mask_that_it_is_wrong(tmp_path):
    with made_project(tmp_path, images=4, rows=30) as project:
        view = page(tmp_path)
        assert view.truth.shown.visible
        assert "Nothing on record" in view.truth.said.object
        assert "<b>—</b><span>wrong among accepted</span><i>known if truth holds every object" in view.counts.object
        assert "recall of accepted" in view.counts.object
        assert "error" not in view.heat_map.shown.options
        assert "only where truth holds every object" in view.figures.precision_recall[0].object
        view.state.exhaustive = True
        grid = {"predicted_iou": [view.state.predicted_iou]}
        table = project.sweep(grid, ["fp_rate"], exhaustive=True, progress=False)
        assert f"<b>{table['fp_rate'][0]:.1%}</b><span>wrong among accepted" in view.counts.object
        assert not isinstance(view.figures.precision_recall[0], pn.pane.HTML)
        view.heat_map.shown.value = "error"
        view.state.exhaustive = False
        assert view.heat_map.shown.value == "accepted"
        assert "known if truth holds every object" in view.counts.object


@pytest.mark.parametrize(
    ("calibrated", "cycles", "whole"),
    [(None, None, False), (True, None, True), (False, None, False), (None, True, True), (True, False, False)],
)
def test_truth__what_is_on_record_is_taken(tmp_path, calibrated, cycles, whole):
    with made_project(tmp_path, images=2, rows=20) as project:
        if calibrated is not None:
            run = project._find_run(None)
            record = Record("calibration", run.id, run.model_id, {"exhaustive": calibrated}, [], {})
            calibrations.keep(project.catalog, record, wb.__version__)
        if cycles is not None:
            parts = CycleConfig(exhaustive=cycles), wb.ProposeConfig(), wb.TriageConfig(), wb.TrainConfig()
            campaigns.begin(project.catalog, "digest", Plan(*parts, "made-0", {}).to_dict(), "made-0", [])
        view = page(tmp_path)
        assert view.state.exhaustive is whole
        assert ("fp_rate" in view.answer.rates) is whole
        assert ("calibration" in view.truth.said.object) is (calibrated is not None and calibrated == whole)
        assert view.state.to_query() == {}


def test_truth__a_record_that_comes_later_is_followed(tmp_path):
    with made_project(tmp_path, images=2, rows=20) as project:
        view = page(tmp_path)
        assert "fp_rate" not in view.answer.rates
        project.calibrate(draws=2)
        view.campaign.poll()
        assert "fp_rate" in view.answer.rates


def test_truth__audits_say_what_is_wrong_where_truth_does_not(tmp_path, monkeypatch):
    with made_project(tmp_path, images=4, rows=200) as project:
        review(project, 2)
        audited = [image for image, rows in project.each() if len(rows)][:2]
        view = page(tmp_path)
        assert "audited masks" in view.counts.object
        assert "recall of accepted" in view.counts.object
        assert "error" in view.heat_map.shown.options
        view.state.exhaustive = True
        assert "audited masks" not in view.counts.object
        monkeypatch.setattr("workbench.store.versions.learned_by", lambda catalog, model_id: set(audited))
        pools._POOLS.clear()
        again = page(tmp_path)
        assert "audited masks" not in again.counts.object
        assert "2 images that trained this model are left out" in again.counts.object


def test_reference__is_of_the_latest_run(tmp_path):
    with made_project(tmp_path, images=2, rows=20) as project:
        fill(project, 20, seed=9, truth=False, model="other-0001")
        project.triage(project.triage_config())
        kept = project.triages()
        assert page(tmp_path).reference_name == f"triage version {kept['id'].iloc[-1]}"
        fill(project, 20, seed=8, truth=False, model="other-0002")
        view = page(tmp_path)
        assert view.reference == project.triage_config()
        assert view.reference_name == "the defaults for this model: nothing of its run has been triaged yet"
        assert "triage version" not in view.counts.object


def test_sliders__reach_every_preset_and_wherever_they_are_put():
    state = Thresholds(wb.TriageConfig())
    sliders = [widget for widget in controls(state) if hasattr(widget, "step")]
    for name, slider in zip(SLIDERS, sliders, strict=True):
        for values in (wb.preset(preset).triage.to_dict() for preset in PRESET_NAMES):
            assert values[name] is None or slider.start <= values[name] <= slider.end, name
    state.take(wb.TriageConfig(min_area_px=9000, nms_iou=0.3, predicted_iou=2.0))
    for name, slider in zip(SLIDERS, sliders, strict=True):
        assert slider.value == getattr(state, name)
        assert slider.start <= slider.value <= slider.end


def test_sliders__of_confidence_is_there_where_triage_asks_for_one():
    state = Thresholds(wb.TriageConfig())
    confidence, note = controls(state)[1:3]
    assert (confidence.visible, note.visible) == (False, False)
    state.take(wb.TriageConfig(confidence=0.9, confidence_rule="decides", confidence_model=1))
    assert (confidence.visible, note.visible, confidence.value) == (True, True, 0.9)
    assert "It decides" in note.object
    about_nms = next(part for part in controls(state) if "Duplicates are settled" in str(getattr(part, "object", "")))
    assert "choose the exact pool" not in about_nms.object  # it is off
    assert next(widget for widget in controls(state) if getattr(widget, "label", "") == "pool").disabled
    state.take(wb.TriageConfig(confidence=0.9, confidence_rule="doubts", confidence_model=1))
    assert "is flagged" in note.object
    assert not next(widget for widget in controls(state) if getattr(widget, "label", "") == "pool").disabled
    confidence.value = 0.8
    assert state.config.confidence == 0.8


def test_sliders__steps_of_a_browser_add_up_and_settings_stay_exact():
    state = Thresholds(wb.preset("paper").triage)
    iou, share = (
        widget for widget in controls(state) if str(getattr(widget, "label", "")).startswith(("predicted", "largest"))
    )
    for _ in range(20):
        iou.value -= 0.005
    assert (iou.value, state.predicted_iou) == (0.7799999999999999, 0.78)
    assert state.max_area_share == wb.preset("paper").triage.max_area_share == np.nextafter(0.95, 0)
    share.value = 0.9
    assert state.max_area_share == 0.9
    state.take(state.base)
    assert state.max_area_share == np.nextafter(0.95, 0)


def test_exact_version__with_a_small_nms_has_an_answer(tmp_path):
    with made_project(tmp_path, images=2, rows=30) as project:
        config = project.triage_config().replace(pool="exact", nms_iou=0.3)
        triaged = project.triage(config)
        view = page(tmp_path)
        assert view.refused.object == ""
        assert view.answer.counts["kept"] == int((triaged.auto_accepted | triaged.flagged).sum())


def test_answers__of_a_pool_that_was_left_are_dropped(tmp_path):
    with made_project(tmp_path, images=2, rows=20):
        view = page(tmp_path)
        old = page_thresholds._Asked(view.pooled, view.state.config, view.state.axis)
        view.state.pool = "exact"
        now = view.answer
        view._deliver(old, view._answered(old), None)
        view._strip(old, (7, "of the old pool"), None)
        assert view.answer is now
        assert "of the old pool" not in view.changes.object


def test_map__takes_the_stability_that_was_measured(tmp_path):
    with made_project(tmp_path, images=1, rows=20, triaged=False) as project:
        (image_id,) = project.images()["image_id"]
        rows = project.proposals(image_id)
        none = wb.Proposals.make(
            **{name: getattr(rows, name) for name in ("image_id", "rles", "boxes_xyxy", "area_px", "sizes_hw")},
            predicted_iou=rows.predicted_iou, stability_score=rows.stability_score, model_id="other-0",
        )  # fmt: skip
        config = wb.ProposeConfig(jitter_prompts=0)
        run = runs.begin(project.catalog, "other-0", config.digest, config.to_dict(), wb.__version__)
        with runs.writing(project.catalog, project.path, run) as writer:
            writer.done(1, tuple(rows.sizes_hw[0].tolist()), none, len(none), 0.1)
        view = page(tmp_path)
        assert view.state.axis == "stability_score"
        assert view.answer.heat.counts.sum() > 0


def test_campaign__another_project_in_the_same_folder_is_opened(tmp_path):
    made_project(tmp_path / "old", images=2, rows=20).close()
    made_project(tmp_path / "new", images=5, rows=20).close()
    campaign = Campaign(tmp_path / "old" / "project")
    assert len(campaign.project.images()) == 2
    pooled = pool_of(campaign.project, "distinct", campaign.project.triage_config()).future.result(60)
    shutil.rmtree(tmp_path / "old" / "project")
    shutil.move(tmp_path / "new" / "project", tmp_path / "old" / "project")
    assert campaign.poll()
    assert len(campaign.project.images()) == 5
    again = pool_of(campaign.project, "distinct", campaign.project.triage_config()).future.result(60)
    assert again is not pooled
    assert len(again.image_ids) == 5


def test_pool__is_built_anew_when_truth_is_replaced(tmp_path):
    with made_project(tmp_path, images=2, rows=20) as project:
        config = project.triage_config()
        first = pool_of(project, "distinct", config).future.result(60)
        image_id = project.truth_labels()["image_id"].iloc[0]
        project.import_truth(project.proposals(image_id).select([0]))
        second = pool_of(project, "distinct", config).future.result(60)
        assert len(second.comparison.ignore) == 1 != len(first.comparison.ignore)


def test_pool__of_a_run_that_grows_is_built_one_at_a_time(tmp_path, monkeypatch):
    waiting = []

    class Later:
        def submit(self, *work):
            waiting.append(work)

    monkeypatch.setattr(pools, "long_work", Later)
    with made_project(tmp_path, images=2, rows=20) as project:
        config = project.triage_config()
        first = pool_of(project, "distinct", config)
        project.import_truth(wb.Proposals.empty(), images=project.images()["image_id"].tolist())
        assert pool_of(project, "distinct", config) is first
        assert len(waiting) == 1
        waiting[0][0](*waiting[0][1:])
        assert pool_of(project, "distinct", config) is not first
        fill(project, rows=5, model="another-0")
