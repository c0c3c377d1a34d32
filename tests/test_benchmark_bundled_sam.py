"""The benchmark of the bundled SAM goes on after it was cut off, with what each image showed."""

from __future__ import annotations

import dataclasses

import numpy as np

from benchmarks.bundled_sam import Found, kept


def found() -> Found:
    some = np.array([True, False])
    return Found(np.array([3, 40]), some, ~some, 0.25, some, np.zeros(0), np.array([0.5, 0.75], np.float32), some,
                 np.array([0.9], np.float32), np.array([True]), np.array([True]), 1.5, some, some, (2, 5))  # fmt: skip


def test_kept__is_read_again_as_it_was_and_measured_once(tmp_path):
    path, asked = tmp_path / "weights" / "nuclei" / "a.png.npz", []

    def made() -> Found:
        asked.append(1)
        return found()

    first, again = kept(path, made), kept(path, made)
    assert len(asked) == 1
    for part in dataclasses.fields(Found):
        here, there = getattr(first, part.name), getattr(again, part.name)
        assert type(here) is type(there)
        np.testing.assert_array_equal(here, there)
    assert list(tmp_path.rglob("*.part")) == []


def test_kept__without_a_folder_is_measured_each_time():
    asked = []
    for _ in range(2):
        kept(None, lambda: asked.append(1) or found())
    assert len(asked) == 2
