"""The triage table: outcomes are counted over distinct proposals, reasons have words."""

from __future__ import annotations

import math

import numpy as np
import pytest

from workbench.config import TriageConfig, preset
from workbench.tables.outcomes import DOUBTS, FAILURES, Outcome, Reason, Triage, reason_names
from workbench.tables.proposals import Proposals

NOT_DISTINCT = Reason.duplicate
SIX = Triage(
    np.array([2, 2, 1, 0, 3, 3]),
    np.array(
        [
            0,
            0,
            Reason.ragged | Reason.overlaps,
            Reason.too_small | Reason.ragged,
            NOT_DISTINCT,
            NOT_DISTINCT,
        ]
    ),
)
NONE = Triage(np.zeros(0), np.zeros(0))


def test_reasons__are_doubts_failures_or_duplicate():
    assert Reason(0) == DOUBTS & FAILURES
    assert DOUBTS | FAILURES | Reason.duplicate == Reason(sum(Reason))
    assert len(Reason) == 17
    assert max(Reason) < 2**32


def test_counts__duplicates_are_not_distinct():
    assert SIX.counts() == {"distinct": 4, "auto_accepted": 2, "flagged": 1, "discarded": 1}
    assert SIX.auto_accept_rate == 0.5
    assert len(SIX) == 6


def test_columns__of_outcomes():
    assert SIX.auto_accepted.tolist() == [True, True, False, False, False, False]
    assert SIX.flagged.tolist() == [False, False, True, False, False, False]
    assert SIX.discarded.tolist() == [False, False, False, True, False, False]
    assert SIX.distinct.tolist() == [True, True, True, True, False, False]
    assert (SIX.outcome.dtype, SIX.reasons.dtype) == (np.uint8, np.uint32)


def test_reason_counts__every_reason_over_distinct_rows():
    counts = SIX.reason_counts()
    assert list(counts) == [reason.name for reason in Reason if reason is not Reason.duplicate]
    assert {name: n for name, n in counts.items() if n} == {"ragged": 2, "overlaps": 1, "too_small": 1}


def test_no_rows():
    assert NONE.counts() == {"distinct": 0, "auto_accepted": 0, "flagged": 0, "discarded": 0}
    assert math.isnan(NONE.auto_accept_rate)
    assert set(NONE.reason_counts().values()) == {0}
    assert len(NONE.to_frame(Proposals.empty())) == 0


def test_auto_accept_rate__of_duplicates_only_is_nan():
    assert math.isnan(Triage(np.array([3, 3]), np.array([NOT_DISTINCT] * 2)).auto_accept_rate)


@pytest.mark.parametrize(
    ("outcome", "reasons", "message"),
    [
        ([0, 1], [0], r"two columns of one length, got \(2,\) and \(1,\)"),
        ([[0]], [[0]], r"two columns of one length, got \(1, 1\)"),
        ([4], [0], r"Triage\.outcome: expected codes \[0, 1, 2, 3\], got \[4\]"),
        ([0.5], [0], r"Triage\.outcome: expected codes"),
    ],
)
def test_make__what_does_not_fit(outcome, reasons, message):
    with pytest.raises(ValueError, match=message):
        Triage(np.array(outcome), np.array(reasons))


def test_config__is_kept():
    assert SIX.config == TriageConfig()
    paper = preset("paper").triage
    assert Triage(SIX.outcome, SIX.reasons, paper).config == paper


def test_reason_names__in_words():
    assert reason_names(0) == ""
    assert reason_names(np.uint32(Reason.ragged | Reason.overlaps)) == "overlaps, ragged"
    assert [reason_names(int(reason)) for reason in Reason] == [reason.name for reason in Reason]


def test_repr__counts():
    assert repr(SIX) == "<Triage: 4 distinct, 2 auto_accepted, 1 flagged, 1 discarded>"


def test_to_frame__words_beside_the_proposals():
    frame = SIX.to_frame()
    assert frame["outcome"].tolist() == [Outcome(code).name for code in SIX.outcome]
    assert frame["reasons"].tolist() == ["", "", "overlaps, ragged", "ragged, too_small", "duplicate", "duplicate"]
    proposals = Proposals.make(rles=[b"4"] * 6, sizes_hw=(2, 2))
    beside = SIX.to_frame(proposals)
    assert beside.columns.tolist() == [*proposals.to_frame().columns, "outcome", "reasons"]
    assert beside["outcome"].tolist() == frame["outcome"].tolist()


def test_to_frame__of_other_proposals():
    with pytest.raises(ValueError, match="expected 6 proposals, got 0"):
        SIX.to_frame(Proposals.empty())
