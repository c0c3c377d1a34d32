"""The table of cycles: to JSON and back, flat columns, words for people, n = 0."""

from __future__ import annotations

import dataclasses
import json
import math

from workbench.tables.cycles import CycleRow, CycleTable
from workbench.tables.figures import Interval
from workbench.tables.seed_table import lines


def row(cycle: int = 1, closing: bool = False) -> CycleRow:
    return CycleRow(
        cycle=cycle,
        closing=closing,
        model_id="a",
        trained_id="b",
        train=2,
        calibration=1,
        test=3,
        thresholds={"kind": "calibrated", "predicted_iou": 0.7},
        figures={"auto_accept_rate": Interval(0.5, 0.4, 0.6, 10, "bootstrap"), "fp_rate": Interval.unknown()},
        seed_figures={"auto_accept_rate": Interval(0.1, 0.0, 0.2, 10, "binomial")},
        confidence=[1, 2],
        work={} if closing else {"manual_per_image": 4.0, "rejection_rate": math.nan},
        changes={"first": {"auto_accept_rate": Interval(0.1, 0.05, 0.2, 3, "bootstrap")}, "before": {}},
    )


def test_row__to_json_and_back():
    text = json.dumps(row().to_dict(), allow_nan=False)
    assert CycleRow.from_dict(json.loads(text)).to_dict() == row().to_dict()


def test_table__flat_columns():
    frame = CycleTable((row(), row(2, closing=True))).to_frame()
    assert frame["auto_accept_rate_low"].tolist() == [0.4, 0.4]
    assert frame["seed_auto_accept_rate"].tolist() == [0.1, 0.1]
    assert frame["threshold_kind"].tolist() == ["calibrated"] * 2
    assert frame["manual_per_image"].isna().tolist() == [False, True]


def test_table__a_figure_of_test_images_and_the_same_of_the_batch_keep_apart():
    work = {"manual_per_image": 4.0, "automatic_share": 0.7}
    both = dataclasses.replace(row(), figures={"automatic_share": Interval(0.3, 0.25, 0.35, 9)}, work=work)
    flat = both.flat()
    names = ("automatic_share", "automatic_share_low", "automatic_share_high", "batch_automatic_share")
    assert [flat[name] for name in names] == [0.3, 0.25, 0.35, 0.7]


def test_table__a_cycle_in_which_nothing_was_completed_says_so():
    empty = dataclasses.replace(row(), work={"images": 0, "manual_per_image": math.nan, "seconds_source": "measured"})
    table = CycleTable((empty,))
    assert "cycle 1 (calibrated): no image was completed in it; auto" in table.lines()[0]
    assert "<td>none completed</td>" in table._repr_html_()
    assert "nan" not in repr(table) + table._repr_html_()


def test_table__words():
    table = CycleTable((row(), row(2, closing=True)), ("x", "y"), 3)
    assert "cycle 1 (calibrated): 4.0 drawn an image; auto accept rate 0.50 [0.40, 0.60], fp rate not known" in repr(
        table
    )
    assert "after the last" in table.lines()[1]
    assert "cycle 3 waits for 2 images" in table.lines()[2]
    assert "<td>1</td><td>calibrated</td><td>4.0</td><td>0.50 [0.40, 0.60]</td>" in table._repr_html_()
    assert "<td>after 1</td><td>calibrated</td><td></td>" in table._repr_html_()
    assert not table.done


def test_table__words_of_what_is_not_known():
    noted = dataclasses.replace(row(), notes=("calibration: all 9 masks are right",))
    table = CycleTable((noted,), ("x",), 2, "1 of 2 test images have no truth yet")
    assert table.lines()[0].endswith("; calibration: all 9 masks are right")
    assert table.lines()[1] == "1 of 2 test images have no truth yet"
    assert "waits for 1 image" in table.lines()[2]
    for words in (*noted.notes, table.note):
        assert words in table._repr_html_()
    assert table.to_frame()["notes"].tolist() == ["calibration: all 9 masks are right"]
    assert CycleRow.from_dict(json.loads(json.dumps(noted.to_dict()))).to_dict() == noted.to_dict()
    assert table.to_dict()["note"] == table.note


def test_table__a_figure_without_an_interval_shows_none():
    figure = Interval(0.5, math.nan, math.nan, 1)
    table = CycleTable((dataclasses.replace(row(), figures={"recall_auto": figure}),))
    assert table.lines()[0].endswith("recall auto 0.50")


def test_table__of_no_cycles():
    table = CycleTable(())
    assert (len(table), table.done, len(table.to_frame()), table.lines()) == (0, True, 0, [])
    assert "0 rows" in repr(table)
    assert "<table>" in table._repr_html_()


def test_beside_seed__labels_where_each_row_comes_from():
    worked = {"manual_per_image": 4.0, "total_per_image": 8.0, "automatic_share": 0.5, "seconds_source": "simulated"}
    table = CycleTable((dataclasses.replace(row(), work=worked), row(2, closing=True)))
    frame = table.beside_seed()
    ours, fixed = "measured here, an oracle reviewed", "measured here, the seed's thresholds"
    assert frame["source"].value_counts().to_dict() == {"the seed, as stated": 5, ours: 2, fixed: 2}
    assert frame[frame["source"] == ours]["auto_accept_rate"].tolist() == [0.5, 0.5]
    assert frame[frame["source"] == ours]["automatic_share"].isna().tolist() == [False, True]  # the last has no batch
    assert frame[frame["source"] == fixed]["auto_accept_rate"].tolist() == [0.1, 0.1]
    assert "36 to 71 %" in frame.attrs["note"]


def test_beside_seed__recall_stands_beside_the_auto_acceptance_rate():
    figures = {**row().figures, "recall_auto": Interval(0.25, 0.2, 0.3, 10, "bootstrap")}
    table = CycleTable((dataclasses.replace(row(), figures=figures), row(2)))
    frame = table.beside_seed()
    ours = frame[frame["source"] == "measured here"]
    assert ours["recall_auto"].fillna(-1).tolist() == [0.25, -1]
    assert "auto-accepted 50, 50 % (recall 25, not known %)" in lines(frame)[1]


def test_beside_seed__by_people_and_of_no_cycles():
    assert "measured here" in set(CycleTable((row(),)).beside_seed()["source"])
    assert len(CycleTable(()).beside_seed()) == 5


def test_table__says_which_proposals_figures_are_of():
    table = CycleTable((row(),), of="predicted IoU above 0.5, 48 points a side, each mask asked again, box NMS at 0.7")
    words = (
        "Figures are of the distinct proposals with predicted IoU above 0.5, 48 points a side, each mask asked again"
    )
    assert words in table.lines()[1]
    assert words in table._repr_html_()
    assert table.to_dict()["of"] == table.of
