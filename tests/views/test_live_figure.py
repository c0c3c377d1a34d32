"""Figures whose numbers are exchanged: they show what a figure that is drawn anew would show, wherever they are."""

from __future__ import annotations

import dataclasses

import holoviews as hv
import numpy as np
import pytest
from bokeh.models import ColumnDataSource, GlyphRenderer, Plot
from made_projects import made_project, two_domains

from workbench.views import apps, pool_plots
from workbench.views.campaign import Campaign
from workbench.views.live_figure import LiveFigure
from workbench.views.pools import pool_of
from workbench.views.thresholds import answer, curves


def tables(root) -> list[ColumnDataSource]:
    """What each part of a figure shows, from below."""
    (figure,) = root.select({"type": Plot})
    return [part.data_source for part in figure.renderers if isinstance(part, GlyphRenderer)]


def drawn(overlay) -> list[ColumnDataSource]:
    return tables(hv.renderer("bokeh").get_plot(overlay).state)


def same(found: list[ColumnDataSource], wanted: list[ColumnDataSource]) -> bool:
    assert len(found) == len(wanted)
    for one, other in zip(found, wanted, strict=True):
        assert set(one.data) == set(other.data)
        for name in one.data:
            if not np.array_equal(np.asarray(one.data[name]), np.asarray(other.data[name]), equal_nan=True):
                return False
    return True


@pytest.fixture(scope="module")
def pools(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pools")
    with made_project(folder, images=3, rows=60) as project:
        base = project.triage_config()
        yield {kind: (pool_of(project, kind, base).future.result(), base) for kind in ("distinct", "exact")}


def heat(found, shown="accepted", axis="jitter_stability"):
    return found.heat, shown, found.config, axis, np.full(found.heat.counts.shape[1:], 0.25)


def bars(found):
    return found.histogram, found.config.predicted_iou, found.kind


@pytest.mark.parametrize("shown", ["accepted", "number", "error"])
@pytest.mark.parametrize("kind", ["distinct", "exact"])
def test_figures__show_what_is_drawn_anew(pools, kind, shown):
    pooled, base = pools[kind]
    base = base.replace(pool=kind)
    first = answer(pooled, base)
    figures = {
        "heat": LiveFigure(pool_plots.heat_map(*heat(first, shown)), 300),
        "bars": LiveFigure(pool_plots.histogram(*bars(first)), 300),
    }
    roots = {name: made.pane.get_root() for name, made in figures.items()}
    for iou, jitter in ((0.7, 0.5), (0.95, None), (0.99, 0.99), (0.8, 0.9)):
        found = answer(pooled, base.replace(predicted_iou=iou, jitter_stability=jitter))
        anew = {
            "heat": drawn(pool_plots.heat_map(*heat(found, shown))),
            "bars": drawn(pool_plots.histogram(*bars(found))),
        }
        assert not all(same(tables(roots[name]), anew[name]) for name in roots)
        figures["heat"].show(pool_plots.heat_map_columns(*heat(found, shown)))
        figures["bars"].show(pool_plots.histogram_columns(*bars(found)))
        assert all(same(tables(roots[name]), anew[name]) for name in roots)


def test_figures__of_curves_move_the_point_alone(pools):
    pooled, base = pools["distinct"]
    known = curves(pooled)
    first, found = (answer(pooled, base.replace(predicted_iou=iou), exhaustive=True) for iou in (0.88, 0.95))
    made = LiveFigure(pool_plots.precision_recall(known, first), 300)
    beside = LiveFigure(pool_plots.risk_coverage(known, first, 0.5), 300)
    roots = [made.pane.get_root(), beside.pane.get_root()]
    lines = [{} for _ in known]
    made.show([*lines, pool_plots.precision_recall_columns(found)])
    beside.show([*lines, pool_plots.risk_coverage_columns(found, 0.2)])
    assert same(tables(roots[0]), drawn(pool_plots.precision_recall(known, found)))
    assert same(tables(roots[1]), drawn(pool_plots.risk_coverage(known, found, 0.2)))


def test_figure__shows_the_last_numbers_wherever_it_is_put_later(pools):
    pooled, base = pools["distinct"]
    made = LiveFigure(pool_plots.histogram(*bars(answer(pooled, base))), 300)
    early = made.pane.get_root()
    found = answer(pooled, base.replace(predicted_iou=0.97))
    made.show(pool_plots.histogram_columns(*bars(found)))
    late = made.pane.get_root()
    anew = drawn(pool_plots.histogram(*bars(found)))
    assert same(tables(early), anew)
    assert same(tables(late), anew)


def test_axes__of_one_pool_hold_every_answer(pools):
    for kind, (pooled, base) in pools.items():
        base, tops = base.replace(pool=kind), set()
        for iou in (0.7, 0.9, 0.99):
            found = answer(pooled, base.replace(predicted_iou=iou))
            tops.add(tuple(found.histogram.counts.sum(axis=0)))
            assert dataclasses.astuple(found.heat)[0].tolist() == answer(pooled, base).heat.x_edges.tolist()
        assert len(tops) == 1


def test_page__what_the_heat_map_shows_can_be_changed_and_follows(tmp_path):
    with made_project(tmp_path, images=2, rows=40):
        view = apps.view("thresholds", Campaign(tmp_path / "project"))
        root = view.figures.heat.get_root()
        image = next(table for table in tables(root) if "image" in table.data)
        before = np.array(image.data["image"][0])
        view.state.predicted_iou = 0.97
        assert not np.array_equal(before, image.data["image"][0], equal_nan=True)
        view.heat_map.shown.value = "number"
        (number,) = [table for table in tables(root) if "image" in table.data]
        assert np.nanmax(number.data["image"][0]) > 0
        assert number is not image


def test_page__figures_of_another_pool_are_not_shown_what_this_one_says(tmp_path):
    with made_project(tmp_path, images=2, rows=40):
        view = apps.view("thresholds", Campaign(tmp_path / "project"))
        waiting = []
        view.soon = waiting.append  # as on a page that a browser has open
        before = view.figures.histogram[0]
        view.state.pool = "exact"  # has a layer less
        view.state.predicted_iou = 0.95
        view.state.pool = "distinct"
        view.state.predicted_iou = 0.9
        assert view.figures.histogram[0] is before
        for action in waiting:
            action()
        (root,) = view.figures.histogram[0].get_root().select({"type": Plot})
        assert same(tables(root), drawn(pool_plots.histogram(*bars(view.answer))))


def test_page__curves_are_drawn_anew_for_another_pool(tmp_path):
    with two_domains(tmp_path) as project:
        view = apps.view("thresholds", Campaign(project.path))
        view.state.exhaustive = True
        assert view.known_curves
        before = view.figures.precision_recall[0]
        view.state.predicted_iou = 0.93
        assert view.figures.precision_recall[0] is before
        view.state.axis = "stability_score"
        assert view.figures.precision_recall[0] is before
        view._ready(dataclasses.replace(view.pooled), None)
        assert view.figures.precision_recall[0] is not before
