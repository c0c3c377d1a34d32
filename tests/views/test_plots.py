"""Figures of results: each is drawn, empty ones say what to do, and none asks another host."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import holoviews as hv
import numpy as np
import pytest
from strips import strips

from workbench.calibrate.certify import certify_pool
from workbench.calibrate.reliability import reliability
from workbench.loop.curriculum import curriculum
from workbench.loop.diversity import diversity
from workbench.loop.efficiency import measured, seed
from workbench.loop.gate import CHECKS, evaluate
from workbench.loop.varied import DiversityTable
from workbench.tables.cycles import CycleRow, CycleTable
from workbench.tables.figures import Interval
from workbench.tables.proposals import Proposals
from workbench.views import cycle_plots, layout, plots, report_plots
from workbench.views.page_cycles import CyclesView


def rng():
    return np.random.default_rng(0)


def texts(figure):
    return " ".join(str(t.data[2]) for t in figure.traverse(lambda x: x, [hv.Text]))


def drawn():
    p = rng().uniform(0.2, 1, 300)
    table = reliability(p, rng().random(300) < p, np.arange(300) % 20, rng(), draws=20)
    pool = rng().uniform(0.9, 1, 500)
    some = {name: Interval(0.5, 0.4, 0.6, 10) for name in list(CHECKS)[:4]}
    return {
        "reliability": table,
        "certificate": certify_pool(pool[:100], np.ones(100, bool), pool),
        "gate": evaluate(some, declared={"domains": "one"}),
        "efficiency": seed(),
        "curriculum": curriculum([1, 1, 2, 2], list("abcd"), rng(), score=[0.9, 0.8, 0.3, 0.1]),
    }


@pytest.mark.parametrize("name", ["reliability", "certificate", "gate", "efficiency", "curriculum"])
def test_plot__renders_with_a_title(name):
    figure = drawn()[name].plot()
    plot = hv.renderer("bokeh").get_plot(figure)
    assert plot.state is not None
    parts = list(figure) if isinstance(figure, hv.Layout) else [figure]
    assert [part for part in parts if not hv.Store.lookup_options("bokeh", part, "plot").kwargs.get("title")] == []


@pytest.mark.parametrize(
    ("result", "word"),
    [
        (reliability([], [], [], rng()), "no labelled masks"),
        (certify_pool([], [], np.full(9, 0.9)), "No certificate"),
        (evaluate({}), "Nothing measured yet"),
        (measured(0, 0, 0, 0, 0), "review some images"),
        (diversity(Proposals.empty()), "complete the review"),
        (curriculum([], [], rng(), score=[]), "run_cycles"),
    ],
    ids=["reliability", "certificate", "gate", "efficiency", "diversity", "curriculum"],
)
def test_plot__empty_result_says_what_to_do(result, word):
    figure = result.plot()
    assert word in texts(figure)
    assert hv.renderer("bokeh").get_plot(figure).state is not None


def five_cycles(n):
    def one(cycle):
        figures = {
            name: Interval(0.1 * cycle, 0.05, 0.7, 9, "bootstrap") for name in ("auto_accept_rate", "recall_auto")
        }
        work = {} if cycle == 6 else {"manual_per_image": 9.0 - cycle, "total_per_image": 10.0}
        return CycleRow(cycle, cycle == 6, "m", "m2", 1, 1, 1, {}, figures, figures, [1], work)

    return CycleTable(tuple(one(k) for k in range(1, n + 1)))


@pytest.mark.parametrize("n", [1, 6])
def test_plot__cycles_beside_the_seed(n):
    figure = five_cycles(n).plot()
    assert hv.renderer("bokeh").get_plot(figure).state is not None
    curves = {curve.label: curve for panel in figure for curve in panel.traverse(lambda x: x, [hv.Curve])}
    assert set(curves) >= {"here", "here, seed's thresholds", "the seed, as stated", "by hand", "the seed: by hand"}
    assert len(curves["here"]) == n
    assert len(curves["by hand"]) == min(n, 5)  # the closing row has no work
    assert curves["the seed, as stated"]["value"].tolist() == [0.45, 0.52, 0.58, 0.63, 0.67]
    assert "nothing was auto-accepted" in texts(figure)  # no fp_rate was measured


def test_plot__cycles_that_wait_say_so():
    assert "run_cycles" in texts(CycleTable(()).plot())
    assert "waits for 2 images" in texts(CycleTable((), ("a", "b"), 1).plot())


def test_plot__diversity_of_sets():
    one = diversity(strips((0, 1), (2, 4)), what="cycle 1")
    known = dataclasses.replace(one, small_found=Interval(0.5, 0.2, 0.8, 2, "bootstrap"), what="cycle 2")
    figure = DiversityTable((one, known), "ground truth").plot()
    assert hv.renderer("bokeh").get_plot(figure).state is not None
    assert len(figure.traverse(lambda x: x, [hv.Scatter])[0]) == 1
    assert isinstance(DiversityTable((one,), "all final masks").plot(), hv.Bars)
    assert "complete the review" in texts(DiversityTable((diversity(Proposals.empty()),), "all").plot())


def test_figure__of_something_else_is_refused():
    with pytest.raises(TypeError, match="expected a result"):
        plots.figure(3)


def test_phases__names_are_read_on_light_and_dark():
    planned = {"verdict": 0.2, "draw": 0.7, "check": 0.1}
    report = SimpleNamespace(planned_share=planned, active_share=dict(planned))
    drawing = hv.renderer("bokeh").get_plot(report_plots.phases(report)).state
    assert drawing.xaxis[0].group_text_color == "#808080"


def test_trend__spread_of_the_three_hypotheses_by_cycle():
    spread = Interval(0.2, 0.1, 0.3, 9, "bootstrap"), Interval(0.1, np.nan, np.nan, 1)
    rows = tuple(
        dataclasses.replace(row, figures={"hypothesis_spread": found})
        for row, found in zip(five_cycles(2).rows, spread, strict=True)
    )
    drawing = cycle_plots.trend(CycleTable(rows), "spread")
    (curve,) = drawing.traverse(lambda x: x, [hv.Curve])
    assert curve.dimension_values("value").tolist() == [0.2, 0.1]
    assert len(drawing.traverse(lambda x: x, [hv.ErrorBars])[0]) == 1


def test_trend__rejection_has_the_interval_of_the_work():
    (row,) = five_cycles(1).rows
    work = {"rejection_rate": 0.1, "rejection_rate_low": 0.05, "rejection_rate_high": 0.3}
    drawing = cycle_plots.trend(CycleTable((dataclasses.replace(row, work=work),)), "rejection")
    (bars,) = drawing.traverse(lambda x: x, [hv.ErrorBars])
    assert np.allclose(bars.array(), [[1, 0.1, 0.05, 0.2]])


def test_trend__seed_is_left_out_where_it_is_not_wanted():
    labels = [
        {curve.label for curve in cycle_plots.trend(five_cycles(2), "masks", seed=seed).traverse(None, [hv.Curve])}
        for seed in (True, False)
    ]
    assert labels == [{"all", "by hand", "the seed: all", "the seed: by hand"}, {"all", "by hand"}]


def test_plot__trends_that_are_asked_for():
    table = five_cycles(2)
    (panel,) = table.plot(show=["masks"], seed=False)
    assert {curve.label for curve in panel.traverse(lambda x: x, [hv.Curve])} == {"all", "by hand"}
    assert len(table.plot(show="confidence").traverse(lambda x: x, [hv.Curve])) == 2
    with pytest.raises(ValueError, match=r"expected trends among acceptance, .*, got 'speed'"):
        table.plot(show=["speed"])


def test_trends__page_shows_the_figures_of_the_notebook(monkeypatch):
    table, shown = five_cycles(3), {}
    view = object.__new__(CyclesView)
    view.reference = SimpleNamespace(value=True)
    monkeypatch.setattr(layout, "figures", lambda plot, name, _: shown.setdefault(name, plot))
    for name in ("acceptance", "masks"):
        view._drawn(table, name)
    for name, panel in zip(("acceptance", "masks"), table.plot(show=["acceptance", "masks"]), strict=True):
        on_page = shown[cycle_plots.TRENDS[name].title]
        for kind in (hv.Curve, hv.Scatter, hv.ErrorBars):
            ours, theirs = (some.traverse(lambda x: x, [kind]) for some in (on_page, panel))
            assert [part.label for part in ours] == [part.label for part in theirs]
            for one, other in zip(ours, theirs, strict=True):
                np.testing.assert_array_equal(one.array(), other.array())
                styles = [hv.Store.lookup_options("bokeh", part, "style").kwargs for part in (one, other)]
                assert styles[0] == styles[1]


def test_sizes__automatic_and_drawn_masks_beside_all():
    every = strips((0, 1), (0, 2), (0, 4), (0, 8))
    parts = [
        diversity(every.select(slice(*ends)), every, what=what) for ends, what in (((0, 3), "auto"), ((3, 4), "drawn"))
    ]
    bars = report_plots.sizes([*parts, diversity(every.select(slice(0, 0)), every, what="none")])
    found = dict(zip(zip(bars["quarter"], bars["of"], strict=True), bars["share"].round(3), strict=True))
    assert found[("smallest", "auto")] == pytest.approx(100 / 3, abs=1e-3)
    assert [found[(name, "drawn")] for name in ("smallest", "second", "third", "largest")] == [0, 0, 0, 100]
    assert hv.renderer("bokeh").get_plot(bars).state is not None
    assert len(report_plots.sizes([])) == 1
