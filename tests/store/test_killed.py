"""A run that is killed, or runs out of disk, and is resumed ends like one that was left alone."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import stub_sam

from workbench.project import Project

POINTS = (
    "shard_opened",
    "image_written",
    "shard_written",
    "shard_synced",
    "shard_renamed",
    "folder_synced",
    "catalog_begun",
    "catalog_written",
    "catalog_committed",
)
N_IMAGES = 13


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """A project of 13 images, one of them empty and one cut off, with nothing proposed."""
    base = tmp_path_factory.mktemp("killed")
    images = stub_sam.write_images(base / "images", N_IMAGES)
    (images / "image1.png").write_bytes((images / "image1.png").read_bytes()[:200])
    (images / "image7.png").write_bytes(b"")
    Project.create(base / "template.wb", images).close()
    return base / "template.wb"


@pytest.fixture(scope="module")
def undisturbed(template):
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "workbench.propose.run", stub_sam.stage())
        return outcome_of(resumed(copy_of(template, "undisturbed")))


def copy_of(template: Path, name: str) -> Path:
    return Path(shutil.copytree(template, template.with_name(f"{name}.wb")))


def resumed(path: Path) -> Path:
    with Project.open(path) as project:
        project.propose(stub_sam.StubSam(), stub_sam.PLAIN, progress=False)
    return path


def outcome_of(path: Path) -> dict[str, pd.DataFrame]:
    """Everything that a run has come to, apart from times and the way images are spread over shards."""
    with Project.open(path) as project:
        assert project.check() == []
        assert len(project.runs()) == 1
        named = {shard.name for shard in path.glob("shards/0001/*.parquet")}
        assert not list(path.glob("shards/**/*.tmp"))
        with project.catalog.read() as connection:
            rows = connection.exec_driver_sql("SELECT path FROM shards").scalars().all()
        assert named == {Path(row).name for row in rows}
        return {
            "images": project.images(),
            "rows": project.proposals().to_frame(),
            "failures": project.failures(),
        }


def assert_equal(a: dict[str, pd.DataFrame], b: dict[str, pd.DataFrame]) -> None:
    for name in a:
        pd.testing.assert_frame_equal(a[name], b[name])


def run_scenarios(scenarios: list[dict]) -> list[dict]:
    """Run all scenarios in one process that forks, and return what it said."""
    told = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("killed_writer.py"))],
        input="".join(json.dumps(scenario) + "\n" for scenario in scenarios),
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
        cwd=Path(__file__).parents[2],
        env={"PYTHONPATH": str(Path(__file__).parents[2]), "PATH": "/usr/bin:/bin"},
    )
    return [json.loads(line) for line in told.stdout.splitlines()]


@pytest.fixture
def _stub(monkeypatch):
    monkeypatch.setitem(sys.modules, "workbench.propose.run", stub_sam.stage())


@pytest.mark.usefixtures("_stub")
def test_propose__killed_at_every_point_and_again_while_resuming(template, undisturbed):
    copies = {point: copy_of(template, point) for point in POINTS}
    scenarios = [
        {"project": str(copies[point]), "point": point, "nth": nth}
        for point in POINTS
        # the second process resumes what the first has left, and is killed after its first shard
        for nth in (1, 6 if point == "image_written" else 2)
    ]
    told = run_scenarios(scenarios)
    assert told == [{"ended": -9}] * len(scenarios)
    for path in copies.values():
        assert_only_whole_images_are_read(path, undisturbed)
        assert_equal(outcome_of(resumed(path)), undisturbed)


def assert_only_whole_images_are_read(path: Path, undisturbed: dict[str, pd.DataFrame]) -> None:
    with Project.open(path) as project:
        before = project.proposals().to_frame()
        done = project.images().query("status == 'done'")["image_id"]
    rows = undisturbed["rows"]
    assert 0 < len(done) < N_IMAGES
    pd.testing.assert_frame_equal(before, rows[rows["image_id"].isin(done)].reset_index(drop=True))


@pytest.mark.usefixtures("_stub")
def test_propose__killed_at_random_moments(template, undisturbed):
    rng = np.random.default_rng(7)
    copies = [copy_of(template, f"random{k}") for k in range(5)]
    run_scenarios([{"project": str(path), "after_s": rng.uniform(0.02, 0.25)} for path in copies])
    for path in copies:
        assert_equal(outcome_of(resumed(path)), undisturbed)


def test_propose__file_size_limit_in_the_middle_of_a_shard(template, monkeypatch):
    path = copy_of(template, "limited")
    told = run_scenarios([{"project": str(path), "limit_bytes": 240_000}])
    assert told[-1] == {"ended": 7}
    assert "the disk is full" in told[0]["error"]
    assert "free some space" in told[0]["error"]
    assert not list(path.glob("shards/**/*.tmp"))
    with Project.open(path) as project:
        assert project.images()["proposals"].gt(0).sum() == 3  # the first shard, which fits
    monkeypatch.setitem(sys.modules, "workbench.propose.run", stub_sam.stage(stub_sam.propose_noise))
    whole = outcome_of(resumed(copy_of(template, "unlimited")))
    assert_equal(outcome_of(resumed(path)), whole)
