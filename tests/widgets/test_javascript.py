"""The annotator's own tests run under node, on vectors that the Python side makes."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import annotator_vectors
import pytest

ROOT = Path(__file__).parents[2]


def test_vectors__are_what_the_python_side_makes():
    same = annotator_vectors.PLACE.read_text("utf-8") == annotator_vectors.written()
    assert same, "js/test/vectors.json is not current: run `python tests/annotator_vectors.py`"


def test_javascript__passes_under_node():
    if not shutil.which("node"):
        pytest.skip("node runs these tests; it is not installed here")
    files = sorted(str(path) for path in (ROOT / "js/test").glob("*.test.js"))
    assert files
    done = subprocess.run(["node", "--test", *files], cwd=ROOT / "js", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:]
