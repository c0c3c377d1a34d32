"""The drawings that other tests rely on."""

from __future__ import annotations

import doctest

import ascii_masks
import pytest


def test_mask__there_and_back():
    drawing = "..##\n#..."
    assert ascii_masks.draw(ascii_masks.mask(drawing)) == drawing
    assert ascii_masks.mask("#.\n.x").tolist() == [[True, False], [False, True]]


def test_mask__ragged_drawings_are_refused():
    with pytest.raises(ValueError, match="different widths"):
        ascii_masks.mask("##\n#")


def test_docstrings():
    assert doctest.testmod(ascii_masks).failed == 0
