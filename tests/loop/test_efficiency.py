from __future__ import annotations

import json
import math

import pytest

from workbench.loop.efficiency import NOTHING, Efficiency, Work, measured, seed
from workbench.tables.seed_table import NOTE, SEED_CYCLES, beside_seed, lines


def test_seed__arithmetic_is_reproduced():
    found = seed()
    assert round(found.stage1.masks_per_image, 1) == 35.8
    assert round(found.semi.masks_per_image, 1) == 32.8
    assert round(found.semi.hours, -2) == 13_100
    assert round(found.stage1.hours, -2) == 16_700
    assert round(found.saving, 2) == 0.22
    assert round(found.gain, 1) == 2.3
    assert round(found.more_masks, 2) == 0.37
    assert any("16,700 h need 14 s" in note and "17,917 h" in note for note in found.notes)


def test_measured__by_hand():
    # 10 images, 200 masks in 1,000 s; of these 50 were drawn in 800 s: 16 s by hand, so 3,200 s for all
    found = measured(10, 200, 1000, 50, 800)
    assert found.semi.seconds_per_mask == pytest.approx(5)
    assert found.semi.hours == pytest.approx(1000 / 3600)
    assert found.manual.seconds_per_mask == pytest.approx(16)
    assert found.gain == pytest.approx(3.2)
    assert math.isnan(found.saving)
    assert found.manual.basis == "measured"


def test_measured__nothing_drawn_is_an_assumption_and_said_to_be_one():
    found = measured(10, 200, 1000, 0, 0)
    assert found.manual.basis == "assumed"
    assert "34 s a mask are assumed" in found.manual.how
    assert "(assumed; 34 s" in str(found)


def test_measured__drawn_in_no_time_is_an_assumption_and_said_to_be_one():
    found = measured(3, 9, 12, 9, 0)
    assert (found.manual.basis, found.manual.seconds_per_mask) == ("assumed", 34)
    assert found.gain == pytest.approx(9 * 34 / 12)
    assert "the hours lack that work" in found.notes[-1]
    assert "the hours lack that work" in measured(3, 9, 12, 9, 0, manual_s=20).notes[-1]


def test_measured__time_without_masks_is_kept():
    found = measured(3, 0, 15, 0, 0, stage1_s=14)
    assert found.semi.seconds == 15
    assert math.isnan(found.semi.seconds_per_mask)
    assert math.isnan(found.gain)
    assert math.isnan(found.saving)
    assert found.lines() == ["3 images complete, without a mask: 0.00417 h (measured); seconds a mask are not known"]


def test_efficiency__of_nothing_is_legal():
    found = measured(0, 0, 0, 0, 0)
    assert math.isnan(found.gain)
    assert math.isnan(found.semi.masks_per_image)
    assert json.dumps(found.to_dict(), allow_nan=False)
    assert math.isnan(Efficiency(found.semi, found.manual, Work("Stage 1", 0, 0, 0)).saving)


def test_work__negative_is_refused():
    with pytest.raises(ValueError, match="0 or more"):
        Work("x", -1, 0, 0)
    with pytest.raises(ValueError, match="0 or more"):
        Work("x", 1, 1, float("nan"))
    with pytest.raises(ValueError, match="0 or more"):
        Work.at("x", 1, 1, -1)


def test_seed_cycles__automatic_share_runs_from_36_to_71():
    shares = [round(row.automatic_share, 2) for row in SEED_CYCLES]
    assert shares[0] == 0.36
    assert shares[-1] == 0.71
    assert "36 to 71 %" in NOTE


def test_beside_seed__labels_each_row():
    ours = [{"cycle": 1, "auto_accept_rate": 0.2, "manual_per_image": 8, "total_per_image": 10, "automatic_share": 0.2}]
    frame = beside_seed({"measured here": ours})
    assert frame["source"].value_counts().to_dict() == {"the seed, as stated": 5, "measured here": 1}
    assert frame.attrs["note"] == NOTE
    assert frame.iloc[-1]["manual_per_image"] == 8
    assert len(beside_seed({})) == 5


def test_lines__of_the_table_beside_the_seed():
    ours = {"cycle": 1, "auto_accept_rate": 0.2, "manual_per_image": 8, "total_per_image": 10, "automatic_share": 0.2}
    ours["recall_auto"] = 0.3
    found = lines(beside_seed({"ours": [ours], "fixed": [{"cycle": 1}]}))
    assert found == [
        "the seed, as stated: auto-accepted 45, 52, 58, 63, 67 % (recall not known); masks an image by hand 18 of 28, 15 of 30, 13 of 32, "
        "11 of 33, 10 of 34; automatic 36, 50, 59, 67, 71 %",
        "ours: auto-accepted 20 % (recall 30 %); masks an image by hand 8 of 10; automatic 20 %",
        "fixed: auto-accepted not known (recall not known)",
        NOTE,
    ]


def test_measured__assumptions_are_given_and_labelled():
    # 36 masks in 252 s are 7 s a mask: half of Stage 1's 14 s, a fifth of 35 s by hand
    found = measured(2, 36, 252, 9, 180, manual_s=35, stage1_s=14)
    assert found.saving == pytest.approx(0.5)
    assert found.gain == pytest.approx(5)
    assert [row["basis"] for row in found.rows()] == ["assumed", "measured", "assumed"]
    assert "50% fewer hours than Stage 1, for the same masks" in found.lines()
    assert "20.0 s of each of the 9 masks drawn here" in measured(2, 36, 252, 9, 180).manual.how


def test_lines__of_the_seed():
    words = str(seed())
    assert "Efficiency of the seed, as stated" in words
    assert "Stage 2: 32.8 masks an image, 8.0 s a mask, 13,111 h (assumed" in words
    assert "22% fewer hours than Stage 1, with 37% more masks" in words
    assert measured(0, 0, 0, 0, 0).lines() == [NOTHING]
