"""Triage of many images at once says what `triage` says of each alone."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_pools import random_proposals

from workbench.config import ProposeConfig, TriageConfig
from workbench.tables.proposals import Proposals
from workbench.triage import blocks
from workbench.triage.pool import DistinctPool
from workbench.triage.rules import triage
from workbench.triage.together import triage_together

CONFIGS = [
    TriageConfig(min_area_px=10),
    TriageConfig(nms_iou=0.3, unusual_size_z=0.5, overlap=0.2, overlap_measure="smaller", predicted_iou=0.7),
    TriageConfig(nms="mask", nms_iou=0.5, overlap=0.0, unusual_size_z=1.0),
    TriageConfig(unusual_size_z=None, overlap=None, jitter_stability=None),
    TriageConfig(unusual_size_z=1.5, overlap=0.4, confidence=0.5, confidence_rule="decides", max_area_share=0.2),
    TriageConfig(pool="exact", nms_iou=0.5),
]
tables = st.builds(
    lambda seed, n, images, crops: random_proposals(np.random.default_rng(seed), n, images, crops),
    st.integers(0, 2**32 - 1),
    st.integers(0, 150),
    st.integers(1, 12),
    st.sampled_from([1, 2, 4]),
)


def alone(proposals: Proposals, config: TriageConfig) -> tuple[np.ndarray, np.ndarray]:
    """Outcome and reasons of each row, image by image."""
    outcome, reasons = np.zeros(len(proposals), np.uint8), np.zeros(len(proposals), np.uint32)
    for _, rows in proposals.by_image():
        found = triage(proposals.select(rows), config)
        outcome[rows], reasons[rows] = found.outcome, found.reasons
    return outcome, reasons


@settings(deadline=None, max_examples=40)
@given(proposals=tables, config=st.sampled_from(CONFIGS), rows=st.sampled_from([1, 20, 2**16]))
def test_triage_together__as_each_image_alone(proposals, config, rows):
    proposals = proposals.replace(confidence=np.nan_to_num(proposals.stability_score, nan=np.nan, posinf=1.0) - 0.3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "BLOCK_ROWS", rows)  # one block, and many in threads
        found = triage_together(proposals, config)
    outcome, reasons = alone(proposals, config)
    np.testing.assert_array_equal(found.outcome, outcome)
    np.testing.assert_array_equal(found.reasons, reasons)
    assert found.config == config


def test_triage_together__sizes_that_are_unusual_to_the_last_bit():
    rng = np.random.default_rng(1)
    for size in (9, 10, 11, 40):
        proposals = random_proposals(rng, size, images=1).replace(boxes_xyxy=(0, 0, 0, 0), mask_id="m")
        proposals = proposals.replace(area_px=rng.integers(1, 30, size), mask_id="m")
        logs = np.log(proposals.area_px)
        mad = np.median(np.abs(logs - np.median(logs)))
        for z in np.abs(logs - np.median(logs)) / (1.4826 * mad):  # at a row's own z: not above it
            config = TriageConfig(unusual_size_z=float(z), overlap=None)
            assert triage_together(proposals, config).reasons.tolist() == alone(proposals, config)[1].tolist()


def test_triage_together__no_rows():
    assert len(triage_together(Proposals.empty(), TriageConfig())) == 0


def test_triage_together__rows_of_an_image_of_several_sizes_are_refused():
    proposals = random_proposals(np.random.default_rng(0), 6, images=1)
    sizes = proposals.sizes_hw.copy()
    sizes[3] = 7, 7
    with pytest.raises(ValueError, match="one height and width"):
        triage_together(proposals.replace(sizes_hw=sizes), TriageConfig())


@settings(deadline=None, max_examples=20)
@given(parts=st.lists(tables, max_size=5), config=st.sampled_from(CONFIGS[:4]))
def test_distinct_pool__of_several_tables_is_what_triage_says_of_each_image(parts, config):
    named = [
        part.replace(image_id=[f"{k} {name}" for name in part.image_id], mask_id="m") for k, part in enumerate(parts)
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "BLOCK_ROWS", 64)
        pool = DistinctPool.build(iter(named), ProposeConfig(), config)
    outcome, _ = alone(Proposals.concat(named), config)
    np.testing.assert_array_equal(pool.outcome(config), outcome)


@pytest.mark.parametrize("failing", [0, 3])
def test_in_threads__an_error_ends_the_others(monkeypatch, failing):
    monkeypatch.setattr(blocks, "cores", lambda: 4)
    done = []

    def work(k: int) -> int:
        if k == failing:
            raise RuntimeError("this one")
        time.sleep(0.01)
        done.append(k)
        return k

    with pytest.raises(RuntimeError, match="this one"):
        blocks.in_threads(work, range(200))
    assert len(done) < 20
    assert blocks.in_threads(lambda k: k + 1, range(50)) == list(range(1, 51))
