"""Saved experiments on the thresholds page: what they were counted on, and what the page may say of their points."""

from __future__ import annotations

from made_projects import fill, made_project

import workbench as wb
from workbench.store import runs
from workbench.views import apps
from workbench.views.campaign import Campaign


def page(folder):
    return apps.view("thresholds", Campaign(folder / "project"))


def experiment_on(view, name, row=0):
    view.campaign.poll()
    view.experiments.name.value = name
    view.experiments.take(row)
    return view.experiments.told.object


def test_experiment__of_another_run_says_so(tmp_path):
    with made_project(tmp_path, images=2, rows=30) as project:
        project.sweep({"predicted_iou": [0.8]}, name="old", progress=False)
        view = page(tmp_path)
        assert "made on run" not in experiment_on(view, "old")
        assert view.saving.note.value == "experiment 'old', row 0"
        first, model = project.experiment("old").run_id, project.experiment("old").model_id
        fill(project, 30, seed=9, truth=False, model="other-0001")
        view.campaign.poll()
        assert view.saving.note.value == ""  # the sliders stand there, but not over its run
        latest = project._run_id()
        told = experiment_on(view, "old")
        assert f"was made on run {first} of {model}; the counts here are of run {latest} of other-0001" in told
        assert view.saving.note.value == f"as experiment 'old', row 0, which was made on run {first} of {model}"
        assert view.state.predicted_iou == 0.8


def test_experiment__is_shown_in_the_pool_that_it_was_counted_in(tmp_path):
    with made_project(tmp_path, images=2, rows=30) as project:
        base, grid = project.triage_config(), {"predicted_iou": [0.8]}
        for nms_iou in (0.7, 0.3):
            exact = base.replace(pool="exact", nms_iou=nms_iou)
            project.sweep(grid, base=exact, name=f"exact {nms_iou}", progress=False)
        project.sweep(grid, base=base, name="distinct", progress=False)
        project.sweep(grid, base=base.replace(nms_iou=0.5), name="other", progress=False)
        view = page(tmp_path)
        experiment_on(view, "exact 0.7")
        row = project.experiment("exact 0.7").table.iloc[0]
        assert view.state.pool == view.answer.kind == "exact"
        assert view.answer.counts["kept"] == row["auto_accepted"] + row["flagged"]
        experiment_on(view, "distinct")
        assert view.answer.counts["auto_accepted"] == project.experiment("distinct").table["auto_accepted"].iloc[0]
        before = view.state.to_query()
        assert "settled at 0.3, the exact pool here from 0.4 on" in experiment_on(view, "exact 0.3")
        assert "settled at 0.5, the distinct pool here at 0.7" in experiment_on(view, "other")
        assert view.state.to_query() == before


def test_experiment__below_what_this_run_stored_is_words(tmp_path):
    with made_project(tmp_path, images=1, rows=20) as project:
        project.sweep({"predicted_iou": [0.6]}, name="low", progress=False)
        rows = project.proposals().select(project.proposals().predicted_iou > 0.8)
        floors = wb.ProposeConfig(predicted_iou_floor=0.8)
        run = runs.begin(project.catalog, "made-1", floors.digest, floors.to_dict(), wb.__version__)
        with runs.writing(project.catalog, project.path, run) as writer:
            writer.done(1, tuple(rows.sizes_hw[0].tolist()), rows, len(rows), 0.1)
        view = page(tmp_path)
        before = view.state.config
        assert f"cannot be shown of run {run.id}: rows are stored above" in experiment_on(view, "low")
        assert view.state.config == before


def test_experiment__says_what_it_was_counted_against(tmp_path):
    with made_project(tmp_path, images=4, rows=30) as project:
        project.sweep({"predicted_iou": [0.8]}, name="one", exhaustive=True, progress=False)
        view, found = page(tmp_path), project.experiment("one")
        facts = view.experiments.points[0].object
        assert "holds every object of 2 images" in found.about
        assert found.about in facts
        assert f"of run {found.run_id} of {found.model_id}, 4 images" in facts


def test_experiment__its_note_goes_when_the_sliders_do(tmp_path):
    with made_project(tmp_path, images=2, rows=30) as project:
        project.sweep({"predicted_iou": [0.8, 0.9]}, name="one", progress=False)
        view = page(tmp_path)
        experiment_on(view, "one", 1)
        view.state.predicted_iou = 0.95
        assert (view.saving.note.value, view.experiments.told.object) == ("", "")
        experiment_on(view, "one", 1)
        view.saving.note.value = "my own words"
        view.state.predicted_iou = 0.95
        assert view.saving.note.value == "my own words"


def test_experiment__moves_the_sliders_and_not_what_back_goes_to(tmp_path):
    with made_project(tmp_path, images=4, rows=30) as project:
        project.sweep({"predicted_iou": [0.93]}, name="one", progress=False)
        project.sweep({"overlap": [0.3]}, name="other", progress=False)
        view = page(tmp_path)
        before = view.reference.predicted_iou
        view.experiments.name.value = "one"
        view.experiments.take(0)
        assert view.state.predicted_iou == 0.93
        assert view.state.to_query()["predicted_iou"] == "0.93"
        view.state.take(view.state.base)
        assert view.state.predicted_iou == before
        view.experiments.name.value = "other"
        view.experiments.take(0)
        assert "overlap" in view.experiments.told.object
        assert view.refused.object == ""
