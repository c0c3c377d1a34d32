"""Values for strict JSON: nothing that is not finite, numpy's and tuples as plain ones, and back."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from workbench.cli.answering import show
from workbench.plain import nan_for_none, plain


class Pair(NamedTuple):
    low: float
    high: float


@dataclasses.dataclass
class Told:
    value: float

    def to_dict(self):
        return {"value": self.value}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (math.nan, None),
        (-math.inf, None),
        (np.float32("nan"), None),
        (np.float32(0.5), 0.5),
        (np.int64(3), 3),
        (np.bool_(True), True),
        (True, True),
        ("nan", "nan"),
        (None, None),
        (np.array([[1.5, np.inf], [np.nan, 2]]), [[1.5, None], [None, 2.0]]),
        (np.array(7), 7),
        ((1, (math.nan,)), [1, [None]]),
        ({1: {"a": math.inf}}, {"1": {"a": None}}),
        (Pair(0.1, math.nan), {"low": 0.1, "high": None}),
        ([Told(math.nan)], [{"value": None}]),
    ],
)
def test_plain__is_strict_json(value, expected):
    found = plain(value)
    assert found == expected
    assert type(found) is type(expected)
    assert json.loads(json.dumps(found, allow_nan=False)) == expected


def test_plain__leaves_what_json_has_not_to_the_caller():
    assert plain({"path": Path("a")}) == {"path": Path("a")}


def test_nan_for_none__reads_back_what_plain_gave():
    given = {"n": 3, "what": "masks", "value": math.nan, "steps": [{"bound": math.nan, "passed": False}]}
    again = nan_for_none(json.loads(json.dumps(plain(given), allow_nan=False)))
    assert math.isnan(again.pop("value"))
    assert math.isnan(again["steps"][0].pop("bound"))
    assert again == {"n": 3, "what": "masks", "steps": [{"passed": False}]}


def test_show__prints_strict_json(capsys):
    show({"rate": math.nan, "n": np.int64(2), "ends": (0.5, math.inf), "file": Path("a")}, True, "")
    assert capsys.readouterr().out == '{"rate": null, "n": 2, "ends": [0.5, null], "file": "a"}\n'
