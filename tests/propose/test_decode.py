"""Batches that halve themselves, and the spread of hypotheses."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from workbench.propose.decode import hypothesis_spread, in_batches


def fits(largest, error):
    """Return work that fails with `error` on more than `largest` items, and what it was asked for."""
    asked = []

    def work(part):
        asked.append((part.start, part.stop))
        if part.stop - part.start > largest:
            raise error
        return list(range(part.start, part.stop))

    return work, asked


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_in_batches__halves_until_it_fits_and_loses_nothing(error):
    work, asked = fits(3, error)
    done = [item for _, items in in_batches(work, 10, 8) for item in items]
    assert done == list(range(10))
    assert asked[:3] == [(0, 8), (0, 4), (0, 2)]
    assert max(stop - start for start, stop in asked[3:]) == 2


def test_in_batches__says_when_one_does_not_fit():
    work, _ = fits(0, MemoryError())
    with pytest.raises(MemoryError, match="smaller image"):
        list(in_batches(work, 4, 4))


def test_in_batches__other_errors_pass():
    work, _ = fits(0, RuntimeError("shapes do not match"))
    with pytest.raises(RuntimeError, match="shapes"):
        list(in_batches(work, 4, 4))


def test_in_batches__nothing_to_do():
    assert list(in_batches(lambda part: 1 / 0, 0, 4)) == []


def test_hypothesis_spread__by_hand():
    full = torch.ones(4, 4)
    half = torch.cat([torch.ones(2, 4), -torch.ones(2, 4)])
    other = -half
    spread = hypothesis_spread(torch.stack([full, half, other])[None], 0.0)
    # full against either half: 1/2; half against the other half: 0
    assert np.allclose(spread.numpy(), [[0.5, 0.75, 0.75]])


def test_hypothesis_spread__agreement_and_emptiness():
    same = torch.ones(1, 3, 5, 5)
    assert hypothesis_spread(same, 0.0).tolist() == [[0, 0, 0]]
    assert hypothesis_spread(-same, 0.0).tolist() == [[0, 0, 0]]
    assert hypothesis_spread(same[:, :1], 0.0).tolist() == [[0]]
    assert hypothesis_spread(same[:0], 0.0).shape == (0, 3)
