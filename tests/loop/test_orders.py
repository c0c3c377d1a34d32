"""Two campaigns at equal budget: paired over the same test images, and refused where they cannot be compared."""

from __future__ import annotations

import json

import holoviews as hv
import pytest
from disc_project import disc_project
from random_sams import random_sam
from typer.testing import CliRunner

from workbench.cli import app
from workbench.config import ProposeConfig
from workbench.loop import orders
from workbench.loop.plan import CycleConfig
from workbench.store import campaigns
from workbench.store.errors import StoreError
from workbench.train.settings import TrainConfig

PLAN = {"model_id": "m", "floors": {}, "triage": {}, "train": {}, "cycle": {"strategy": "random"}, "pools": {}}


def campaign(project, held_out, *cycles, **changes):
    """Write down a campaign: for each cycle the batch, and the counts of a figure by test image."""
    plan = {**PLAN, **changes}
    made = campaigns.begin(project.catalog, "d" * 12, plan, plan["model_id"], held_out)
    for number, (train, values) in enumerate(cycles, 1):
        campaigns.add(project.catalog, made.id, number, "m", train, [], {})
        row = campaigns.of_campaign(project.catalog, made.id)[-1]
        counts = {"recall_auto": [values, [4.0] * len(values)]}
        campaigns.advance(project.catalog, row, "done", counts=counts)


@pytest.fixture
def two(tmp_path):
    with disc_project(tmp_path / "a", images=1) as a, disc_project(tmp_path / "b", images=1) as b:
        yield a, b


def test_compare__paired_by_image_whatever_their_order(two):
    a, b = two
    curriculum = {"strategy": "curriculum"}
    campaign(a, ["x", "y"], (["1"], [4.0, 0.0]), (["2"], [4.0, 2.0]), ([], [4.0, 4.0]), cycle=curriculum)
    campaign(b, ["y", "x"], (["2"], [0.0, 4.0]), (["1", "3"], [0.0, 4.0]), ([], [0.0, 4.0]))
    found = a.compare_orders(b)
    assert found.strategies == ("curriculum", "random")
    # after the second cycle the other had reviewed an image more: no equal budget
    assert [(cycle, images) for cycle, images, _ in found.rows] == [(1, 0), (2, 1)]
    assert found.rows[0][2]["recall_auto"].value == 0
    second = found.rows[1][2]["recall_auto"]
    assert (second.value, second.n) == (0.25, 2)  # 6 of 8 beside 4 of 8
    assert "curriculum − random" in repr(found)
    assert json.dumps(found.to_dict(), allow_nan=False)


def test_plot__is_a_line_of_differences_with_intervals(two):
    a, b = two
    campaign(a, ["x", "y"], (["1"], [4.0, 0.0]), (["2"], [4.0, 2.0]), cycle={"strategy": "curriculum"})
    campaign(b, ["y", "x"], (["2"], [0.0, 4.0]), (["1"], [0.0, 4.0]))
    figure = a.compare_orders(b).plot()
    (line,) = figure.traverse(None, [hv.Curve])
    assert line.label == "recall auto"
    assert line["value"].tolist() == [0, 0.25]
    assert len(figure.traverse(None, [hv.ErrorBars])[0]) == 2
    assert "curriculum − random" in hv.renderer("bokeh").get_plot(figure).state.title.text


def test_compare__a_test_image_without_truth_leaves_the_figure_out(two):
    a, b = two
    for project in two:
        campaign(project, ["x", "y"], (["1"], [4.0]))
    found = a.compare_orders(b)
    assert dict(found.rows[0][2]) == {}
    assert "no test image has ground truth" in " ".join(str(t.data[2]) for t in found.plot().traverse(None, [hv.Text]))


@pytest.mark.parametrize(
    ("held_out", "changes", "word"),
    [
        (["x"], {"model_id": "n"}, "first model"),
        (["x"], {"floors": {"points_per_side": 3}}, "grid and floors"),
        (["x"], {"train": {"steps": 3}}, "training"),
        (["x"], {"cycle": {"strategy": "random", "reserve": 0.5}}, "may let be wrong"),
        (["x"], {"cycle": {"strategy": "random", "most_wrong": 0.1}}, "may let be wrong"),
        (["x"], {"cycle": {"strategy": "random", "exhaustive": False}}, "recall alone"),
        (["z"], {}, "test images"),
    ],
)
def test_compare__what_differs_is_refused(two, held_out, changes, word):
    a, b = two
    campaign(a, ["x"], (["1"], [1.0]))
    campaign(b, held_out, (["1"], [1.0]), **changes)
    with pytest.raises(StoreError, match=word):
        orders.compare(a.catalog, b.catalog)


def test_compare__a_setting_that_came_later_is_what_was_done_before(two):
    a, b = two
    campaign(a, ["x"], (["1"], [1.0]))
    campaign(
        b,
        ["x"],
        (["1"], [1.0]),
        cycle={"strategy": "diverse", "reserve": 0.0},
        train={"closer": 0.0, "iou_with": "nearest", "reach_px": 0.0, "robust": False, "looks_again": 0.0},
    )
    assert orders.compare(a.catalog, b.catalog).strategies == ("random", "diverse")


def test_compare__floors_of_before_are_without_a_second_look(two):
    for project, floors in zip(two, ({"points_per_side": 8}, {"points_per_side": 8, "refine": False}), strict=True):
        campaign(project, ["x"], (["1"], [1.0]), floors=floors)
    assert len(orders.compare(two[0].catalog, two[1].catalog)) == 1


def test_compare__by_recall_alone_nothing_is_allowed(two):
    for project, reserve in zip(two, (0.0, 0.5), strict=True):
        cycle = {"strategy": "random", "reserve": reserve, "exhaustive": False}
        campaign(project, ["x"], (["1"], [1.0]), cycle=cycle)
    assert len(orders.compare(two[0].catalog, two[1].catalog)) == 1


def test_cli__without_cycles_says_what_to_do(two):
    a, b = two
    answer = CliRunner().invoke(app, ["curriculum", str(a.path), "--against", str(b.path), "--json"])
    assert answer.exit_code == 1
    assert "run cycles in both" in json.loads(answer.stdout)["error"]


@pytest.mark.slow
def test_compare_orders__curriculum_beside_random(tmp_path):
    """From the run of the cycles to the difference: easy images first, and drawn at random."""
    found = []
    sam = random_sam(input_px=64, score_shift=0.9)
    for strategy in ("curriculum", "random"):
        project = disc_project(tmp_path / strategy, images=6)
        found.append(project)
        project.run_cycles(
            2,
            annotator="oracle",
            model=sam,
            config=CycleConfig(train=2, calibration=0, strategy=strategy),
            floors=ProposeConfig(points_per_side=3, predicted_iou_floor=-5, pool="distinct", jitter_prompts=0),
            train=TrainConfig(steps=1, views=1, prompts=4, check_every=1, learning_rate=1e-4),
            roles={"train": [f"{i}.png" for i in range(4)]},
            held_out=["4.png", "5.png"],
            progress=False,
        )
    a, b = found
    rows = a.compare_orders(b).rows
    assert [(cycle, images) for cycle, images, _ in rows] == [(1, 0), (2, 2), (3, 4)]
    assert rows[0][2]["recall_proposals"].value == 0  # the same first model
    answer = CliRunner().invoke(app, ["curriculum", str(a.path), "--against", str(b.path)])
    assert answer.exit_code == 0, answer.output
    assert "after 4 images: " in " ".join(answer.output.split())
    for project in found:
        project.close()


@pytest.mark.parametrize("role", ["train", "calibration"])
def test_compare__other_images_to_choose_from_are_refused(two, role):
    for project, images in zip(two, (["1", "2"], ["2", "3"]), strict=True):
        campaign(project, ["x"], (["1"], [1.0]), pools={role: images})
    with pytest.raises(StoreError, match=f"the same {role} images to choose from"):
        orders.compare(*(project.catalog for project in two))


def test_compare__other_calibration_images_of_a_cycle_are_refused(two):
    for project, images in zip(two, (["1"], ["2"]), strict=True):
        made = campaigns.begin(project.catalog, "d" * 12, PLAN, "m", ["x"])
        campaigns.add(project.catalog, made.id, 1, "m", [], images, {})
        row = campaigns.of_campaign(project.catalog, made.id)[-1]
        campaigns.advance(project.catalog, row, "done", counts={"recall_auto": [[1.0], [4.0]]})
    with pytest.raises(StoreError, match="the same calibration images in cycle 1"):
        orders.compare(*(project.catalog for project in two))


def test_compare__campaigns_of_different_length_are_compared_as_far_as_both_go(two):
    for project, batches in zip(two, ([["c1"], []], [["c1"], ["c2"], []]), strict=True):
        made = campaigns.begin(project.catalog, "d" * 12, PLAN, "m", ["x"])
        for number, calibration in enumerate(batches, 1):
            campaigns.add(project.catalog, made.id, number, "m", ["1"] if calibration else [], calibration, {})
            row = campaigns.of_campaign(project.catalog, made.id)[-1]
            campaigns.advance(project.catalog, row, "done", counts={"recall_auto": [[float(number)], [4.0]]})
    found = orders.compare(*(project.catalog for project in two))
    assert [(cycle, images) for cycle, images, _ in found.rows] == [(1, 0), (2, 2)]
