from __future__ import annotations

import json

import pytest

from workbench.loop.gate import (
    CHECKS,
    MEASURED,
    GateConfig,
    GateReport,
    evaluate,
    seed_says,
    should_transition_to_stage3,
)
from workbench.tables.figures import Interval

GOOD = {
    "auto_accept_rate": Interval(0.75, 0.70, 0.80, 400),
    "calibration_error": Interval(0.02, 0.01, 0.04, 400),
    "recall": Interval(0.95, 0.92, 0.97, 300),
    "category_diversity": Interval(1.0, 0.95, 1.0, 8),
    "small_object_recall": Interval(0.92, 0.88, 0.95, 75),
    "improvement": Interval(0.01, -0.02, 0.03, 60),
    "domains": Interval(0.04, 0.01, 0.08, 3),
    "fp_rate": Interval(0.02, 0.01, 0.04, 300),
    "consistency": Interval(0.9, 0.85, 0.95, 50),
}


def with_(**changes):
    return {**GOOD, **changes}


def test_gate__is_open_when_all_bounds_hold_at_the_worse_end():
    report = evaluate(GOOD)
    assert report.open
    assert [c.verdict for c in report.checks] == ["pass"] * 9
    assert report.shut_by == ()
    assert report.seed is True
    assert "The gate is open" in str(report)


@pytest.mark.parametrize(
    ("name", "figure", "verdict"),
    [
        ("auto_accept_rate", Interval(0.60, 0.5, 0.7, 100), "fail"),
        ("auto_accept_rate", Interval(0.70, 0.6, 0.8, 100), "insufficient"),  # holds at the value only
        ("auto_accept_rate", Interval(0.65, 0.65, 0.65, 100), "fail"),  # strictly above
        ("calibration_error", Interval(0.04, 0.02, 0.06, 100), "insufficient"),
        ("calibration_error", Interval(0.06, 0.02, 0.09, 100), "fail"),
        ("fp_rate", Interval(0.35, 0.30, 0.40, 300), "fail"),
        ("fp_rate", Interval(0.04, 0.02, 0.06, 300), "insufficient"),
        ("improvement", Interval(-0.20, -0.25, -0.15, 100), "fail"),  # a fall is no plateau
        ("improvement", Interval(0.01, -0.08, 0.04, 100), "insufficient"),
        ("domains", Interval(0.2, 0.1, 0.3, 3), "fail"),
        ("domains", Interval(0.05, 0.0, 0.10, 3), "pass"),  # at most it
        ("consistency", Interval(0.8, 0.8, 0.9, 3), "pass"),  # at least it
        ("consistency", Interval.unknown(), "insufficient"),
        ("recall", Interval(0.95, float("nan"), float("nan"), 10), "insufficient"),
    ],
)
def test_gate__each_verdict(name, figure, verdict):
    report = evaluate(with_(**{name: figure}))
    assert report[name].verdict == verdict
    assert report.open == (verdict == "pass")
    assert [name in words for words in report.shut_by] == [True] * (verdict != "pass")


def test_gate__too_few_data_to_fail_on_is_insufficient_and_says_why():
    above = Interval(0.057, 0.053, 0.14, 71)
    report = evaluate(with_(calibration_error=above), undecided={"calibration_error": "so few labels cannot tell"})
    assert report["calibration_error"].verdict == "insufficient"
    assert not report.open
    assert report.shut_by == (
        "insufficient calibration_error 0.057 [0.053, 0.140] < 0.05 (n = 71 labelled proposals); so few labels cannot tell",
    )
    assert evaluate(GOOD, undecided={"calibration_error": "so few labels cannot tell"}).open  # it holds all the same


def test_gate__says_what_n_counts_and_what_was_not_measured():
    report = evaluate({name: figure for name, figure in GOOD.items() if name != "improvement"})
    assert "recall 0.950 [0.920, 0.970] > 0.9 (n = 300 true masks)" in " ".join(str(report).split())
    assert "improvement not measured (bound: within 0.05)" in " ".join(str(report).split())


def test_gate__point_estimates_are_a_setting_that_is_shown():
    figures = with_(recall=Interval(0.95, 0.85, 0.99, 20))
    assert not evaluate(figures).open
    report = evaluate(figures, GateConfig(reading="point"))
    assert report.open
    assert "bounds are read at the point" in str(report)
    assert report.to_dict()["reading"] == "point"


def test_gate__not_applicable_only_by_a_declaration_with_a_reason():
    figures = {name: figure for name, figure in GOOD.items() if name != "domains"}
    assert evaluate(figures)["domains"].verdict == "insufficient"
    report = evaluate(figures, declared={"domains": "one microscope"})
    assert report.open
    assert report["domains"].verdict == "not applicable"
    assert "one microscope" in str(report)
    with pytest.raises(ValueError, match="reason"):
        evaluate(figures, declared={"domains": " "})
    with pytest.raises(ValueError, match="expected checks of"):
        evaluate(figures, declared={"weather": "fine"})


@pytest.mark.parametrize("name", MEASURED)
def test_gate__what_applies_to_every_project_cannot_be_declared_away(name):
    with pytest.raises(ValueError, match=f"{name} applies to every project"):
        evaluate({}, declared={name: "not measured yet"})
    rest = dict.fromkeys(set(CHECKS) - set(MEASURED), "a reason")
    assert not evaluate({}, declared=rest).open


def test_gate__without_any_figure_is_shut_and_says_so():
    report = evaluate({}, notes={"recall": "no truth of test images"})
    assert not report.open
    assert {c.verdict for c in report.checks} == {"insufficient"}
    assert len(report.shut_by) == len(CHECKS)
    assert report.seed is None
    assert "no truth of test images" in str(report)


def test_gate__to_json_and_back():
    for figures in (GOOD, {}):
        report = evaluate(figures, declared={"domains": "one"})
        again = GateReport.from_dict(json.loads(json.dumps(report.to_dict(), allow_nan=False)))
        assert again.to_dict() == report.to_dict()
        assert again.open == report.open


def test_seed__rule_as_it_stands():
    model = {"calibration_error": 0.04, "auto_accept_rate": 0.66, "cycle_over_cycle_improvement": 0.04}
    data = {"category_diversity": 0.91, "small_object_recall": 0.86}
    assert should_transition_to_stage3(model, data)
    for name, bad in (("calibration_error", 0.05), ("auto_accept_rate", 0.65), ("cycle_over_cycle_improvement", 0.05)):
        assert not should_transition_to_stage3({**model, name: bad}, data)
    for name, bad in (("category_diversity", 0.9), ("small_object_recall", 0.85)):
        assert not should_transition_to_stage3(model, {**data, name: bad})


def test_seed__goes_on_where_ours_waits_for_data():
    figures = with_(auto_accept_rate=Interval(0.67, 0.55, 0.75, 30))
    report = evaluate(figures)
    assert report.seed is True
    assert not report.open
    assert seed_says({"auto_accept_rate": 0.7}) is None
