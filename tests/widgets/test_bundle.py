"""The annotator's module in the package is what its sources build, and its lock file names no host."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BUILT = ROOT / "workbench/widgets/static/annotator.js"


@pytest.fixture(scope="module")
def esbuild():
    """The builder, installed from the lock file if it is not there yet."""
    if not shutil.which("node") or not shutil.which("npm"):
        pytest.skip("node and npm build the annotator; they are not installed here")
    if not (ROOT / "js/node_modules/esbuild").exists():
        done = subprocess.run(["npm", "ci"], cwd=ROOT / "js", capture_output=True, text=True, check=False, timeout=300)
        if done.returncode:
            pytest.skip(f"npm ci could not install esbuild, which builds the annotator: {done.stderr[-300:]}")


def test_bundle__is_what_the_sources_build(esbuild, tmp_path):
    built = tmp_path / "annotator.js"
    subprocess.run(["node", "build.mjs", str(built)], cwd=ROOT / "js", check=True, capture_output=True, timeout=120)
    same = built.read_bytes() == BUILT.read_bytes()
    assert same, "workbench/widgets/static/annotator.js is not current: run `npm run build` in js/"


def test_bundle__asks_no_host_and_runs_no_text():
    text = BUILT.read_text("utf-8")
    assert "http://" not in text.replace("http://www.w3.org/2000/svg", "")
    for door in ("https://", "innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function"):
        assert door not in text, f"{door} in the annotator"


def test_bundle__lock_file_names_no_host():
    lock = json.loads((ROOT / "js/package-lock.json").read_text("utf-8"))
    assert not [name for name, package in lock["packages"].items() if "resolved" in package]
