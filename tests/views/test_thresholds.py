"""State in, numbers out: what the thresholds page says is what `triage` says."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_projects import made_project

import workbench as wb
from workbench.config import PRESET_NAMES
from workbench.loop.comparison import Comparison
from workbench.masks import rle
from workbench.tables.outcomes import Outcome
from workbench.tables.proposals import Proposals
from workbench.triage.limits import PoolError
from workbench.views.pools import pool_of
from workbench.views.threshold_state import SLIDERS, Thresholds
from workbench.views.thresholds import RATES, RECALL, answer, curves, edges, error_map, inside, moved


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    with made_project(tmp_path_factory.mktemp("made"), images=6, rows=50) as made:
        yield made


@pytest.fixture(scope="module")
def pooled(project):
    return pool_of(project, "distinct", project.triage_config()).future.result(60)


def test_state__knows_no_panel():
    code = (
        "import sys, workbench.views.thresholds, workbench.views.threshold_state, workbench.views.pools,"
        "workbench.views.campaign, workbench.views.latest;"
        "print(sorted({'panel', 'holoviews', 'bokeh'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_state__starts_at_the_settings_it_is_given():
    config = wb.TriageConfig(predicted_iou=0.7, jitter_stability=None, stability_score=0.9, min_area_px=7)
    assert Thresholds(config).config == config


@settings(max_examples=25, deadline=None)
@given(
    iou=st.floats(0.6, 1.05), margin=st.floats(0, 0.1), jitter=st.none() | st.floats(0.5, 1), area=st.integers(0, 150)
)
def test_answer__counts_are_those_of_triage(project, pooled, iou, margin, jitter, area):
    state = Thresholds(project.triage_config())
    state.param.update(predicted_iou=iou, predicted_iou_margin=margin, min_area_px=area, by_jitter=jitter is not None)
    if jitter is not None:
        state.jitter_stability = jitter
    found, triaged = answer(pooled, state.config), wb.triage(project.proposals(), state.config)
    assert found.counts == triaged.counts()
    assert found.counts["auto_accepted"] / found.counts["distinct"] == pytest.approx(triaged.auto_accept_rate)
    assert found.heat.counts.sum() + found.heat.left_out == found.counts["distinct"]
    assert found.histogram.counts[Outcome.auto_accepted].sum() <= found.counts["auto_accepted"]


def test_answer__exact_pool_keeps_what_triage_keeps(project):
    config = project.triage_config().replace(pool="exact")
    pooled = pool_of(project, "exact", config).future.result(60)
    for nms_iou in (0.45, 0.7, 0.9):
        asked = config.replace(nms_iou=nms_iou)
        triaged = wb.triage(project.proposals(), asked)
        found = answer(pooled, asked)
        assert found.counts["kept"] == int((triaged.auto_accepted | triaged.flagged).sum())
        assert sum(found.counts.values()) == len(triaged)
        assert found.heat.counts[2].sum() + found.heat.left_out >= found.counts["kept"]


def test_answer__below_the_floor_is_refused_in_words(project, pooled):
    state = Thresholds(project.triage_config())
    state.predicted_iou = 0.4
    with pytest.raises(PoolError, match=r"above a predicted IoU of 0\.5"):
        answer(pooled, state.config)


def test_answer__rates_are_those_of_a_sweep(project, pooled):
    cuts, stable = [0.6, 0.8, 0.9, 0.97], [0.75, 0.9]
    grid = {"predicted_iou": cuts, "jitter_stability": stable}
    base = project.triage_config()
    table = project.sweep(grid, list(RATES), base=base, exhaustive=True, progress=False)
    assert table["fp_rate"].nunique() > 2
    for row in table.to_dict("records"):
        config = base.replace(**{name: row[name] for name in grid})
        found = answer(pooled, config, exhaustive=True)
        assert found.counts["auto_accepted"] == row["auto_accepted"]
        for name in RATES:
            assert found.share(name) == pytest.approx(row[name], nan_ok=True)
            assert found.rates[name].n == row[f"{name}_n"]


def test_answer__of_truth_that_may_leave_objects_out_recall_alone_is_known(project, pooled):
    config = project.triage_config()
    some, whole = answer(pooled, config), answer(pooled, config, exhaustive=True)
    assert tuple(some.rates) == RECALL
    assert np.isnan(some.share("fp_rate"))
    assert some.rates == {name: whole.rates[name] for name in RECALL}
    share, n = error_map(pooled, some.heat, "jitter_stability")
    assert np.isnan(share).all()
    assert not n.any()


def test_answer__a_duplicate_of_what_is_not_accepted_is_right(tmp_path):
    # the better mask of a true one is not accepted, the other still matches: METRICS matches the accepted ones anew
    with made_project(tmp_path, images=2, rows=0, truth=False, triaged=False) as empty:
        assert pool_of(empty, "distinct", empty.triage_config()).future.result(60).comparison is None
    comparison = Comparison.of_tables(*two_for_one(), images=["a"])[0]
    assert comparison.verdicts(np.array([True, True])).wrong.tolist() == [False, True]
    assert comparison.verdicts(np.array([False, True])).right.tolist() == [False, True]


def two_for_one():
    masks = np.zeros((3, 20, 20), bool)
    masks[0, :10, :10] = masks[1, :10, :9] = masks[2, :10, :10] = True
    rows = Proposals.make(
        image_id="a",
        rles=rle.encode(masks),
        boxes_xyxy=[[0, 0, 10, 10], [0, 0, 9, 10], [0, 0, 10, 10]],
        area_px=masks.sum((1, 2)),
        sizes_hw=(20, 20),
    )
    return rows.select([0, 1]), rows.select([2])


def test_error_map__weighs_to_all_wrong_proposals(project, pooled):
    found = answer(pooled, project.triage_config())
    share, n = error_map(pooled, found.heat, "jitter_stability", exhaustive=True)
    right, wrong = pooled.comparison.verdicts(np.ones(len(pooled.compared), bool))
    assert 0 < n.sum() <= right.sum() + wrong.sum()
    assert np.nansum(share * n) <= wrong.sum()
    assert np.isnan(share[n == 0]).all()
    assert not np.isnan(share[n > 0]).any()


def test_curves__end_at_all_proposals_and_pass_through_what_is_accepted(project, pooled):
    found = {curve.name: curve for curve in curves(pooled)}["predicted_iou"]
    right, wrong = pooled.comparison.verdicts(np.ones(len(pooled.compared), bool))
    assert found.coverage[0] == 1
    assert found.precision[0] == pytest.approx(right.sum() / (right.sum() + wrong.sum()))
    assert found.recall[0] == pytest.approx(right.sum() / len(pooled.comparison.ignore))
    assert (np.diff(found.recall) <= 1e-12).all()
    assert np.allclose(found.risk, 1 - found.precision)


def test_moved__names_the_images_whose_outcome_changes(project, pooled):
    before = project.triage_config()
    after = before.replace(predicted_iou=0.97)
    images, rows = moved(pooled, before, after, most=100)
    told = {row.image_id: (row.gained, row.lost) for row in rows}
    assert images == len(told) > 0
    for image_id, proposals in project.each():
        was, now = (wb.triage(proposals, config).auto_accepted for config in (before, after))
        assert told.get(image_id, (0, 0)) == (int((now & ~was).sum()), int((was & ~now).sum()))
    assert moved(pooled, before, before) == (0, [])


def test_inside__a_box_and_the_same_box_as_a_lasso(project, pooled):
    heat = answer(pooled, project.triage_config()).heat
    x0, x1 = heat.x_edges[[10, 40]]
    y0, y1 = heat.y_edges[[5, 44]]
    box = inside(heat, np.array([x0, x1]), np.array([y0, y1]))
    lasso = inside(heat, np.array([x0, x1, x1, x0]), np.array([y0, y0, y1, y1]))
    assert box == lasso
    assert sum(box.counts.values()) == heat.counts[:, 5:44, 10:40].sum()
    assert (box.x_low, box.y_low) == (x0, y0)
    assert inside(heat, np.array([5.0, 6.0]), np.array([5.0, 6.0])) is None


def test_query__there_and_back():
    state = Thresholds(wb.TriageConfig())
    state.param.update(predicted_iou=0.91, by_jitter=False, min_area_px=33, axis="stability_score")
    query = state.to_query()
    moved = {"predicted_iou": "0.91", "by_jitter": "false", "min_area_px": "33", "axis": "stability_score"}
    assert query | moved == query
    assert query["predicted_iou_margin"] == "0.08"
    other = Thresholds(wb.TriageConfig(predicted_iou=0.7, predicted_iou_margin=0.01))  # another version since
    assert other.from_query(query) == []
    assert other.config == state.config
    assert other.axis == "stability_score"


def test_confidence__is_a_threshold_where_the_base_asks_for_one():
    state = Thresholds(wb.TriageConfig())
    assert (state.rule, state.config.confidence) == ("", None)
    assert state.from_query({"confidence": "0.7"}) == []
    assert state.config.confidence is None
    asked = wb.TriageConfig(confidence=0.9, confidence_rule="decides", confidence_model=1)
    state.take(asked)
    assert (state.rule, state.config) == ("decides", asked)
    state.confidence = 0.75
    assert state.config == asked.replace(confidence=0.75)
    other = Thresholds(asked)
    assert other.from_query(state.to_query()) == []
    assert other.config == state.config


def test_start_from__a_base_that_comes_to_ask_for_a_confidence_and_back():
    """As where a cycle begins, on the first thresholds, and goes on by a confidence, while the page is open."""
    plain = wb.TriageConfig(pool="exact")
    asked = wb.TriageConfig(confidence=0.83, confidence_rule="decides", confidence_model=1, predicted_iou=0.5)
    state = Thresholds(plain)
    state.start_from(asked)
    assert state.config == asked.replace(predicted_iou=plain.predicted_iou)  # which has pool="distinct"
    state.confidence = 0.7
    state.start_from(asked.replace(confidence=0.9))  # of the same model: somebody looks at 0.7
    assert state.config.confidence == 0.7
    state.start_from(asked.replace(confidence=0.9, confidence_model=2))
    assert state.config.confidence == 0.9
    state.start_from(plain.replace(pool="distinct"))
    assert state.config.confidence is None
    state.take(plain)
    assert state.to_query() == {}
    state.predicted_iou = 0.91
    query = state.to_query()
    assert "confidence" not in query  # nobody chose one
    later = Thresholds(asked)
    (told,) = later.from_query(query)
    assert told.startswith("pool: the address has 'exact'")  # of rows that fail nobody knows there which are distinct
    assert later.config == asked.replace(predicted_iou=0.91)


@pytest.mark.parametrize("name", PRESET_NAMES)
def test_query__numbers_come_back_exactly(name):
    state = Thresholds(wb.preset(name).triage)
    state.param.update(predicted_iou=0.1234567890123, jitter_stability_margin=0.1 + 0.2, min_area_px=31)
    other = Thresholds(wb.TriageConfig())
    assert other.from_query(state.to_query()) == []
    assert {n: getattr(other, n) for n in SLIDERS} == {n: getattr(state, n) for n in SLIDERS}


def test_query__keeps_what_differs_from_the_record_of_the_truth():
    state = Thresholds(wb.TriageConfig())
    state.follow_record(True)
    assert state.exhaustive
    assert state.to_query() == {}
    state.exhaustive = False
    assert state.to_query()["exhaustive"] == "false"
    state.follow_record(True)
    assert not state.exhaustive  # somebody has moved it
    other = Thresholds(wb.TriageConfig())
    assert other.from_query({"exhaustive": "true"}) == []
    assert other.exhaustive


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("predicted_iou", "<script>alert(1)</script>"),
        ("predicted_iou", "nan"),
        ("predicted_iou", "1e400"),
        ("min_area_px", "-1"),
        ("min_area_px", "9" * 5000),
        ("pool", "best"),
        ("by_jitter", "perhaps"),
        ("max_area_share", "2"),
        ("axis", "__class__"),
    ],
)
def test_query__nonsense_is_told_and_left(name, text):
    state = Thresholds(wb.TriageConfig())
    (problem,) = state.from_query({name: text, "theme": "dark"})
    assert problem.startswith(f"{name}: the address has")
    assert state.config == wb.TriageConfig()
    assert state.to_query() == {}


@pytest.mark.parametrize("n", [3, 1000])
def test_edges__a_few_values_far_off_leave_the_others_room(n):
    values = np.linspace(0.4, 0.98, n, dtype=np.float32)
    values[0] = -80
    found = edges(values, 48)
    assert (len(found), found[-1]) == (49, 1)
    assert 0 <= found[0] <= 0.41
    assert edges(np.full(5, -3, np.float32), 48)[[0, -1]].tolist() == [0, 1]


def test_answer__no_proposals(tmp_path):
    with made_project(tmp_path, images=1, rows=0, truth=False) as project:
        pooled = pool_of(project, "distinct", project.triage_config()).future.result(60)
        found = answer(pooled, project.triage_config())
    assert found.counts == {"distinct": 0, "auto_accepted": 0, "flagged": 0, "discarded": 0}
    assert np.isnan(found.share("fp_rate"))
    assert curves(pooled) == []
