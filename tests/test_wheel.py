"""What is installed: the wheel holds weights, notebooks, dashboards and migrations, and works where no checkout is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(out)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (built,) = out.glob("sam_workbench-*.whl")
    return built


@pytest.mark.slow
def test_wheel__holds_what_is_needed(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    assert "workbench/sam/weights/bundled.safetensors" in names
    assert "workbench/sam/weights/bundled.json" in names
    assert "workbench/_shipped/notebooks/01-propose-and-look.ipynb" in names
    assert "workbench/_shipped/dashboards/README.md" in names
    assert any(name.startswith("workbench/store/migrations/versions/") for name in names)
    assert not [name for name in names if name.startswith(("tests/", "benchmarks/")) or name.endswith(".pyc")]


@pytest.mark.slow
def test_wheel__works_unpacked_elsewhere(wheel, tmp_path):
    """The package is run from the wheel's own files, away from the checkout."""
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    code = "import workbench; print(workbench.__file__); from workbench.cli import main; main()"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}

    def run(*args):
        command = [sys.executable, "-c", code, *args]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
        place, answer = done.stdout.split("\n", 1)
        assert place.startswith(str(tmp_path))
        return json.loads(answer)

    shipped = sorted(path.name for path in (ROOT / "notebooks").glob("*.ipynb"))
    assert run("notebooks", "copied", "--json")["copied"] == shipped
    assert run("doctor", "--json")["bundled_sam"].startswith("bundled-")
