"""The demonstration as a newcomer runs it."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from workbench import config, demo
from workbench.cli import app
from workbench.store.errors import StoreError


@pytest.fixture
def coarse(monkeypatch):
    """The demo with all its images and steps, but smaller pictures, fewer points and two short cycles: minutes otherwise."""
    fitted = config.preset("bundled")
    few = replace(fitted, propose=fitted.propose.replace(points_per_side=8, jitter_prompts=2))
    monkeypatch.setattr(demo, "preset", {"bundled": few}.get)
    smaller = {"PHOTOGRAPH_PX": 160, "SCENE_PX": 160, "CYCLE_PX": 128, "CYCLE_POINTS": 6, "CYCLE_STEPS": 2}
    smaller |= {"CYCLES": 2, "CYCLE_TRAIN": 1, "CYCLE_TEST": 2}
    for name, value in smaller.items():
        monkeypatch.setattr(demo, name, value)


@pytest.mark.slow
def test_demo__proposes_triages_and_shows(tmp_path, coarse):
    result = CliRunner().invoke(app, ["demo", str(tmp_path / "d"), "--no-serve", "--json"])
    assert result.exit_code == 0, result.output
    values = json.loads(result.stdout)
    count = len(demo.PHOTOGRAPHS) + len(demo.SCENES)
    assert values["images"] == values["done"] == count
    assert values["failures"] == {}
    assert values["distinct"] == values["auto_accepted"] + values["flagged"] + values["discarded"]
    # the bundled SAM finds some of what is drawn, and some of it is worth showing
    assert values["recall_of_drawn_truth"]["distinct"] > 0
    assert values["auto_accepted"] + values["flagged"] > 0
    assert len(values["cycles"]) == demo.CYCLES + 2  # the model that came out, and which proposals figures are of
    gallery = tmp_path / "d" / "gallery"
    assert len(list(gallery.glob("*.png"))) == count
    assert (gallery / "gallery.html").read_text("utf-8").count("<figure>") == count


def test_samples__are_the_same_every_time(tmp_path):
    first, second = demo.write_samples(tmp_path / "a" / "samples"), demo.write_samples(tmp_path / "b" / "samples")
    assert first.read_bytes() == second.read_bytes()
    names = sorted(p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*.png"))
    assert len(names) == len(demo.PHOTOGRAPHS) + len(demo.SCENES)
    assert all((tmp_path / "a" / n).read_bytes() == (tmp_path / "b" / n).read_bytes() for n in names)


def test_demo__again_leaves_the_samples_as_they_were_recorded(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(demo, "write_samples", lambda folder: calls.append(folder))
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "project.toml").touch()
    (tmp_path / "truth.json").touch()
    with pytest.raises(StoreError, match="not a project"):  # no further than to what is recorded
        demo.run_demo(tmp_path)
    assert calls == []
