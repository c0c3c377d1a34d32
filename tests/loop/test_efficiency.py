from __future__ import annotations

import json
import math

import pytest

from workbench.loop.efficiency import Efficiency, Work, measured, seed
from workbench.loop.seed_table import NOTE, SEED_CYCLES, beside_seed


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
    assert "(assumed)" in str(found)


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


def test_seed_cycles__automatic_share_runs_from_36_to_71():
    shares = [round(row.automatic_share, 2) for row in SEED_CYCLES]
    assert shares[0] == 0.36
    assert shares[-1] == 0.71
    assert "36 to 71 %" in NOTE


def test_beside_seed__labels_each_row():
    ours = [{"cycle": 1, "auto_accept_rate": 0.2, "manual_per_image": 8, "total_per_image": 10, "automatic_share": 0.2}]
    frame = beside_seed(ours)
    assert frame["source"].value_counts().to_dict() == {"the seed, as stated": 5, "measured here": 1}
    assert frame.attrs["note"] == NOTE
    assert frame.iloc[-1]["manual_per_image"] == 8
    assert len(beside_seed([])) == 5
