"""Pages without a browser: what they show of a project, whatever state it is in."""

from __future__ import annotations

import numpy as np
import pytest
from made_projects import made_project, write_pictures

import workbench as wb
from workbench.views import apps
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
        view.tapped(0.8123, 0.9)
        assert (view.state.predicted_iou, view.state.jitter_stability) == (0.812, 0.9)
        view.select(np.array([0.7, 1.0]), np.array([0.8, 1.0]))
        assert "In the region" in view.chosen.object
        assert view.use_region.visible
        view.select(np.array([3.0, 4.0]), np.array([3.0, 4.0]))
        assert not view.use_region.visible


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


def test_thresholds__exact_pool_answers_and_says_so(tmp_path):
    with made_project(tmp_path, images=2, rows=30):
        view = apps.view("thresholds", Campaign(tmp_path / "project"))
        view.state.pool = "exact"
        view.state.nms_iou = 0.5
        assert view.answer.kind == "exact"
        assert "Exact pool" in view.counts.object
