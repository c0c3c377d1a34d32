"""Pages without a browser: what they show of a project, whatever state it is in."""

from __future__ import annotations

import dataclasses
import html
import re
import shlex
import threading
import time

import holoviews as hv
import numpy as np
import panel as pn
import pytest
import typer
from bokeh.models import CustomAction
from made_projects import fill, made_project, review, two_domains, write_pictures

import workbench as wb
from workbench import cli
from workbench.reviewing import Reviewing
from workbench.tables.cycles import CycleRow, CycleTable
from workbench.tables.events import ReviewEvent
from workbench.tables.figures import Interval
from workbench.views import apps, layout, page_cycles, reliabilities
from workbench.views.campaign import Campaign


def texts(viewable) -> str:
    """All markup that panes of a view hold."""
    view = viewable.__panel__() if hasattr(viewable, "__panel__") else viewable
    return " ".join(str(pane.object) for pane in view.select(lambda o: hasattr(o, "object")))


@pytest.mark.parametrize("name", list(apps._VIEWS))
def test_page__empty_project_says_what_to_do_next(tmp_path, name):
    write_pictures(tmp_path / "pictures", 1)
    wb.Project.create(tmp_path / "project", images=str(tmp_path / "pictures")).close()
    view = apps.view(name, Campaign(tmp_path / "project"))
    assert "workbench propose" in texts(view)


@pytest.mark.parametrize("name", list(apps._VIEWS))
def test_page__missing_project_is_words(tmp_path, name):
    view = apps.view(name, Campaign(tmp_path / "gone"))
    assert "there is no such folder" in texts(view)


@pytest.mark.parametrize("name", list(apps._VIEWS))
def test_page__names_with_markup_stay_text(tmp_path, name):
    evil = "<img src=x onerror=alert(1)>"
    with made_project(tmp_path, images=1, rows=8, name=evil) as project:
        project.triage(wb.TriageConfig(predicted_iou=0.8), note=evil, author=evil)
    assert evil not in texts(apps.view(name, Campaign(tmp_path / "project")))


def commands(viewable) -> list[list[str]]:
    """The commands that a page tells people, in words."""
    return [shlex.split(html.unescape(line)) for line in re.findall("<code>(.*?)</code>", texts(viewable))]


@pytest.mark.parametrize("reviewed", [None, 0, 3])
def test_page__commands_that_it_tells_are_those_of_the_command_line(tmp_path, reviewed):
    if reviewed is None:
        wb.Project.create(tmp_path / "project", images=str(write_pictures(tmp_path / "pictures", 1))).close()
    else:
        with made_project(tmp_path, images=4, rows=20) as project:
            project.add_annotator("ann")
            for image_id in project.images()["image_id"][:reviewed]:
                project.record([ReviewEvent(f"end of {image_id}", image_id, "complete", annotator="ann")])
    known = typer.main.get_command(cli.app)
    told = [told for name in apps._VIEWS for told in commands(apps.view(name, Campaign(tmp_path / "project")))]
    assert told
    for program, name, *given in told:
        assert program == "workbench"
        known.commands[name].make_context(name, given)  # ends the program with an unknown option, or one too few
    if reviewed:
        assert ["workbench", "audit", str(tmp_path / "project"), "--draw", "--senior", "NAME"] in told


def test_page__unknown_name_lists_the_known(tmp_path):
    with pytest.raises(ValueError, match="cycles"):
        apps.view("nothing", Campaign(tmp_path))


def test_thresholds__a_slider_moves_the_numbers(tmp_path):
    with made_project(tmp_path, images=3, rows=40) as project:
        view = apps.view("thresholds", Campaign(tmp_path / "project"))
        for iou in (0.7, 0.9, 0.97):
            view.state.predicted_iou = iou
            triaged = wb.triage(project.proposals(), view.state.config)
            assert view.answer.counts == triaged.counts()
            assert f"<b>{triaged.counts()['auto_accepted']:,}</b>" in view.counts.object


def test_thresholds__refusal_is_words_and_the_last_answer_stays(tmp_path):
    with made_project(tmp_path, images=1, rows=20):
        view = apps.view("thresholds", Campaign(tmp_path / "project"))
        before = view.answer
        view.state.predicted_iou = 0.3
        assert "rows are stored above" in view.refused.object
        assert view.answer is before
        view.state.predicted_iou = 0.9
        assert view.refused.object == ""


def test_thresholds__a_click_and_a_region_choose(tmp_path):
    with made_project(tmp_path, images=2, rows=40):
        view = apps.view("thresholds", Campaign(tmp_path / "project"))
        view.heat_map.tapped(0.8123, 0.9)
        assert (view.state.predicted_iou, view.state.jitter_stability) == (0.812, 0.9)
        view.heat_map.select(np.array([0.7, 1.0]), np.array([0.8, 1.0]))
        assert "In the region" in view.heat_map.chosen.object
        assert view.heat_map.use_region.visible
        view.heat_map.select(np.array([3.0, 4.0]), np.array([3.0, 4.0]))
        assert not view.heat_map.use_region.visible


def test_thresholds__saving_writes_a_version_with_author_and_note(tmp_path):
    with made_project(tmp_path, images=2, rows=30) as project:
        view = apps.view("thresholds", Campaign(tmp_path / "project"))
        view.state.predicted_iou = 0.93
        view.saving.save()
        assert "Give an author" in view.saving.told.object
        assert len(project.triages()) == 1
        view.saving.author.value, view.saving.note.value = "ann", "fewer wrong ones"
        view.saving.save()
        last = project.triages().iloc[-1]
        assert (last["author"], last["note"]) == ("ann", "fewer wrong ones")
        assert last["settings"]["predicted_iou"] == 0.93
        assert project.triage_config().predicted_iou == 0.93


def test_thresholds__two_pages_see_each_others_versions(tmp_path):
    with made_project(tmp_path, images=2, rows=30) as project:
        one, two = (apps.view("thresholds", Campaign(tmp_path / "project")) for _ in range(2))
        one.state.predicted_iou = 0.95
        one.saving.author.value = "ann"
        one.saving.save()
        two.campaign.poll()
        assert two.reference.predicted_iou == 0.95
        assert two.state.predicted_iou == wb.TriageConfig().predicted_iou  # nobody's sliders are moved
        assert two.reference_name == f"triage version {project.triages()['id'].iloc[-1]}"


def test_thresholds__a_point_of_a_saved_experiment_moves_the_sliders(tmp_path):
    with made_project(tmp_path, images=2, rows=30) as project:
        view = apps.view("thresholds", Campaign(tmp_path / "project"))
        assert "None yet. A sweep that is given a name is kept" in texts(view)
        grid = {"predicted_iou": [0.8, 0.9]}
        table = project.sweep(grid, name="<b>first</b>", note="why", author="ann", progress=False)
        view.campaign.poll()
        assert view.experiments.name.options == ["<b>first</b>"]
        assert view.experiments.points[1][0].value["predicted_iou"].tolist() == [0.8, 0.9]
        view.experiments.take(1)
        assert view.state.predicted_iou == 0.9
        assert view.answer.counts["auto_accepted"] == table["auto_accepted"].iloc[1]
        assert view.saving.note.value == "experiment '<b>first</b>', row 1"
        assert "<b>first" not in texts(view)


def test_thresholds__exact_pool_answers_and_says_so(tmp_path):
    with made_project(tmp_path, images=2, rows=30):
        view = apps.view("thresholds", Campaign(tmp_path / "project"))
        view.state.pool = "exact"
        view.state.nms_iou = 0.5
        assert view.answer.kind == "exact"
        assert "Exact pool" in view.counts.object


def a_cycle(number, rate, closing=False):
    figures = {"auto_accept_rate": Interval(rate, rate - 0.05, rate + 0.05, 40), "recall_auto": Interval.unknown()}
    work = {
        "images": 10,
        "manual_per_image": 3.0,
        "total_per_image": 9.0,
        "rejection_rate": 0.2,
        "masks_per_hour": 80.0,
    }
    return CycleRow(number, closing, "made-0", "", 4, 2, 2, {"kind": "preset"}, figures, {}, [1] * 20, work)


def test_cycles__table_trends_and_the_seed_beside(tmp_path):
    with made_project(tmp_path, images=2, rows=20):
        view = apps.view("cycles", Campaign(tmp_path / "project"))
        assert "No cycles yet" in texts(view)
        read = view.read()
        view.present(dataclasses.replace(read, cycles=CycleTable((), awaited=("an image",), cycle=1)))
        assert "Cycle 1 waits for people" in texts(view)
        assert "No cycles yet" not in texts(view)
        for rows in ((a_cycle(1, 0.4),), (a_cycle(1, 0.4), a_cycle(2, 0.6, closing=True))):
            view.present(dataclasses.replace(read, cycles=CycleTable(rows, awaited=("an image",), cycle=2)))
            shown = view.cycle_table[0][0].value
            assert shown["auto_accept_rate"].tolist() == [row.figures["auto_accept_rate"].value for row in rows]
            assert "waits for 1 image to be reviewed" in texts(view)
        assert "measured here" in set(beside(view)["source"])
        assert any("the seed" in str(s) for s in beside(view)["source"])


def test_cycles__seed_beside_is_in_the_figures_too(tmp_path):
    with made_project(tmp_path, images=2, rows=20):
        view = apps.view("cycles", Campaign(tmp_path / "project"))
        view.present(dataclasses.replace(view.read(), cycles=CycleTable((a_cycle(1, 0.4), a_cycle(2, 0.6)))))
        assert set(view.beside_seed) == {"acceptance", "masks"}
        for wanted in (False, True, False):
            view.reference.value = wanted
            for place in view.beside_seed.values():
                (pane,) = place
                labels = {curve.label for curve in pane.object.traverse(lambda x: x, [hv.Curve])}
                assert any(label.startswith("the seed") for label in labels) == wanted


def test_cycles__sessions_look_once_until_somebody_writes(tmp_path, monkeypatch):
    with made_project(tmp_path, images=2, rows=20) as project:
        looked = []
        read = page_cycles.CyclesView.read
        monkeypatch.setattr(page_cycles.CyclesView, "read", lambda self: looked.append(1) or read(self))
        views = [apps.view("cycles", Campaign(tmp_path / "project")) for _ in range(3)]
        assert len(looked) == 1
        assert len({texts(view) for view in views}) == 1
        project.triage(wb.TriageConfig(predicted_iou=0.95, min_area_px=30), author="another")
        for view in views:
            view.campaign.poll()
        assert len(looked) == 2
        assert all(view.look().versions["author"].tolist() == ["tests", "another"] for view in views)


def beside(view):
    view.reference.value = True
    return view.cycle_table[0][0].value


def test_cycles__gate_says_what_is_missing(tmp_path):
    with made_project(tmp_path, images=5, rows=20) as project:
        report = project.gate()
        view = apps.view("cycles", Campaign(tmp_path / "project"))
        assert not report.open
        assert f"The gate is shut by {len(report.shut_by)} of {len(report.checks)} checks" in texts(view)
        (table,) = [t.value for t in view.body.select(pn.widgets.Tabulator) if "verdict" in t.value]
        assert table["verdict"].tolist() == [check.verdict for check in report.checks]
        assert table["why"].tolist() == [check.note for check in report.checks]


def test_calibration__measures_and_says_what_a_certificate_lacks(tmp_path):
    with made_project(tmp_path, images=40, rows=30, seed=3) as project:
        view = apps.view("calibration", Campaign(tmp_path / "project"))
        assert "Not calibrated yet" in texts(view)
        view.run_calibration()
        assert project.calibration() is not None
        assert "smooth ECE" in texts(view) or "Calibration is undefined" in texts(view)
        if project.calibration().recalibration is not None:
            view.run_certificates()
            assert "label" in texts(view.certificates)


def test_review__a_name_is_needed_and_the_annotator_opens(tmp_path):
    with made_project(tmp_path, images=2, rows=20) as project:
        view = apps.view("review", Campaign(tmp_path / "project"))
        view.start("  ")
        assert "Who reviews?" in view.banner.object
        view.start("bob")
        assert view.pane.view["image"]["name"]
        assert view.pane.picture
        assert "bob" in project.annotators()["name"].tolist()
        token = view.pane.view["token"]
        mask = view.pane.view["masks"]["id"][0]
        message = {"client": "c", "seq": 1, "gesture_id": "00000000-0000-4000-8000-000000000001", "token": token}
        message |= {"kind": "verdict", "phase": "verdict", "elapsed_ms": 5, "mask": mask, "verdict": "accept"}
        view.pane.outbox = [message]
        assert view.pane.acked == {"c": 1}
        row = project.journal().iloc[-1]
        assert (row["annotator"], row["mask_id"]) == ("bob", mask)
        view.close()


def test_calibration__curves_by_domain_are_of_images_that_had_no_part(tmp_path):
    with two_domains(tmp_path) as project:
        assert reliabilities.by_domain(project) == ({}, {}, 0)
        calibration = project.calibrate(draws=50)
        before, tables, images = reliabilities.by_domain(project)
        assert set(before) == set(tables)
        assert any(before[name].to_dict() != tables[name].to_dict() for name in tables)
        frame = project.images()
        held = frame[(frame["role"] == "calibration") & ~frame["image_id"].isin(calibration.images)]
        assert set(tables) == set(held["domain"]) == {"left", "right"}
        assert images == len(held)
        assert sum(int(table.counts.sum()) for table in tables.values()) <= int(held["distinct"].sum())
        _, fewer, used = reliabilities.by_domain(project, most=2)
        assert used == 2
        assert set(fewer) <= {"left", "right"}
        view = apps.view("calibration", Campaign(tmp_path / "project"))
        assert f"on {images} calibration images that had no part in it" in texts(view)
        assert "Only one run has been calibrated" in texts(view)
        (shown,) = [t.value for t in view.body.select(pn.widgets.Tabulator) if "question" in t.value]
        assert shown["question"].tolist() == [calibration.good.question, calibration.complete.question]
        expected = [v.auroc for v in (calibration.good, calibration.complete)]
        assert shown["AUROC"].tolist() == pytest.approx(expected, abs=5e-4, nan_ok=True)
        assert ("--adopt verifier" in texts(view)) == calibration.good.useful


def test_calibration__the_last_certificates_are_there_when_the_page_is_opened(tmp_path):
    with two_domains(tmp_path) as project:
        project.calibrate(draws=20)
        view = apps.view("calibration", Campaign(tmp_path / "project"))
        assert not len(view.certificates)
        found = project.certify(0.2, 0.1)
        view.campaign.poll()
        assert layout.escape(found.pool.sentence) in texts(view.certificates)
        tested = [some for some in (found.pool, found.images) if np.isfinite([step.bound for step in some.steps]).any()]
        assert len(view.certificates.select(pn.pane.HoloViews)) == len(tested)


def test_calibration__curves_by_cycle_are_the_latest_of_each_run(tmp_path):
    with two_domains(tmp_path) as project:
        assert reliabilities.by_cycle(project) == {}
        project.calibrate(draws=20)
        last = project.calibrate(draws=20, share=0.6)
        assert list(reliabilities.by_cycle(project)) == ["run 1"]
        assert reliabilities.by_cycle(project)["run 1"].to_dict() == last.after.to_dict()
        assert reliabilities.by_cycle(project, "before")["run 1"].to_dict() == last.before.to_dict()
        fill(project, rows=20, model="other-000000000000")
        project.calibrate(draws=20)
        assert list(reliabilities.by_cycle(project)) == ["run 1", "run 2"]
        view = apps.view("calibration", Campaign(tmp_path / "project"))
        assert "each run&#x27;s latest calibration" in texts(view) or "each run's latest calibration" in texts(view)


def test_cycles__hours_stand_beside_those_by_hand(tmp_path):
    with made_project(tmp_path, images=4, rows=30) as project:
        view = apps.view("cycles", Campaign(tmp_path / "project"))
        assert not len(view.efficiency)
        review(project, 2)
        view.campaign.poll()
        shown = view.efficiency.select(pn.widgets.Tabulator)[0].value
        assert shown["hours"].tolist() == pytest.approx([r["hours"] for r in project.efficiency().rows()], abs=0.006)


def test_cycles__hours_of_many_images_are_counted_when_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr(page_cycles, "_COUNTED_AT_ONCE", 1)
    with made_project(tmp_path, images=4, rows=30) as project:
        review(project, 2)
        view = apps.view("cycles", Campaign(tmp_path / "project"))
        assert "Reads the review of 2 images" in texts(view)
        view.count.clicks += 1
        assert view.efficiency.select(pn.widgets.Tabulator)


def test_cycles__hours_are_counted_no_further_when_the_session_has_gone(tmp_path, monkeypatch):
    whole, begun, go_on, read = Reviewing._final_by_image, threading.Event(), threading.Event(), []

    def slowly(project, images):
        for final in whole(project, images):
            read.append(final)
            begun.set()
            assert go_on.wait(30)
            yield final

    with made_project(tmp_path, images=4, rows=30) as project:
        review(project, 3)
        view = apps.view("cycles", Campaign(tmp_path / "project"))
        monkeypatch.setattr(Reviewing, "_final_by_image", slowly)
        for gone in (False, True):
            begun.clear(), go_on.clear(), read.clear()
            view.counting.ask(1)
            assert begun.wait(30)
            if gone:
                view.close()  # as Bokeh does when it destroys the session
            go_on.set()
            until = time.monotonic() + 30
            while view.counting._running:
                assert time.monotonic() < until
                time.sleep(0.01)
            assert len(read) == (1 if gone else 3)


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """The folder of a project that has something to show on every page."""
    folder = tmp_path_factory.mktemp("measured")
    with made_project(folder, images=40, rows=30, seed=3) as project:
        review(project, 3)
        project.calibrate(draws=20)
    return folder / "project"


@pytest.mark.parametrize("name", ["cycles", "calibration", "thresholds", "quality"])
def test_page__every_figure_can_be_saved_as_png_and_svg(measured, name):
    view = apps.view(name, Campaign(measured))
    panes = view.__panel__().select(pn.pane.HoloViews)
    assert panes
    for pane in panes:
        figure = hv.render(pane.object, backend="bokeh")
        tools = [tool.description for tool in figure.toolbar.tools if isinstance(tool, CustomAction)]
        assert tools == ["save as PNG", "save as SVG"]


def test_frame__is_forgotten_with_its_session():
    def followers():
        return pn.state.param.watchers.get("busy", {}).get("value", [])

    before = len(followers())
    made = layout.frame("cycles", "project", pn.Column())
    assert not made.busy
    assert len(followers()) == before
