"""The split of the benchmark of cycles: as the issue states it, disjoint, the same for the same seed."""

from __future__ import annotations

import pytest

from benchmarks.cycles import above, split


@pytest.mark.parametrize(
    ("images", "test", "batch"), [(360, 60, (24, 16)), (260, 60, (24, 16)), (160, 53, (13, 8)), (12, 4, (1, 0))]
)
def test_split__sizes(images, test, batch):
    names = [f"{i}.png" for i in range(images)]
    parts = split(names, 0)
    assert (len(parts.test), parts.batch) == (test, batch)
    everything = [*parts.train, *parts.calibration, *parts.test]
    assert len(everything) == len(set(everything)) <= images
    assert split(names, 0) == parts
    assert split(names, 1) != parts


def test_above__recall_paired_over_the_images_of_both():
    found = above({"a": (3.0, 4.0), "b": (1.0, 4.0), "x": (0.0, 9.0)}, {"b": (1.0, 4.0), "a": (2.0, 4.0)})
    assert (found.value, found.n) == (0.125, 2)
    assert found.low <= 0.125 <= found.high
    assert not above({}, {}).known
