"""Figures of results: each is drawn, empty ones say what to do, and none asks another host."""

from __future__ import annotations

import holoviews as hv
import numpy as np
import pytest

from workbench.calibrate.certify import certify_pool
from workbench.calibrate.reliability import reliability
from workbench.loop.curriculum import curriculum
from workbench.loop.diversity import diversity
from workbench.loop.efficiency import measured, seed
from workbench.loop.gate import CHECKS, evaluate
from workbench.loop.seed_table import beside_seed
from workbench.tables.figures import Interval
from workbench.tables.proposals import Proposals
from workbench.views import plots


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
    titles = [str(t) for t in hv.Store.lookup_options("bokeh", figure, "plot").kwargs.items() if t[0] == "title"]
    assert plot.state is not None
    assert titles or isinstance(figure, hv.Layout)


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


def test_cycles__seed_is_dashed_beside_ours():
    frame = beside_seed([{"cycle": 1, "auto_accept_rate": 0.3, "automatic_share": 0.2}])
    curves = plots.cycles(frame).traverse(lambda x: x, [hv.Curve])
    dashes = {c.label: hv.Store.lookup_options("bokeh", c, "style").kwargs["line_dash"] for c in curves}
    assert dashes == {"the seed, as stated": "dashed", "measured here": "solid"}


def test_figure__of_something_else_is_refused():
    with pytest.raises(TypeError, match="expected a result"):
        plots.figure(3)
