"""What holds for the package as a whole: light imports, what a file says first, no doors, names that stay."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import workbench as wb

ROOT = Path(wb.__file__).parent
MODULES = sorted(p for p in ROOT.rglob("*.py") if "migrations" not in p.parts and "_shipped" not in p.parts)


def run_python(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_import__is_light():
    code = "import sys, json, workbench; print(json.dumps(sorted(sys.modules)))"
    loaded = set(json.loads(run_python(code)))
    assert "workbench" in loaded
    heavy = {"torch", "pandas", "numba", "numpy", "panel", "holoviews", "ray", "scipy", "PIL", "pyarrow", "sqlalchemy"}
    assert not heavy & loaded


def test_import__command_line_is_light():
    loaded = set(json.loads(run_python("import sys, json, workbench.cli; print(json.dumps(sorted(sys.modules)))")))
    assert not {"torch", "pandas", "numba", "panel", "holoviews", "pyarrow", "sqlalchemy"} & loaded


def test_names__all_can_be_reached():
    assert all(getattr(wb, name) is not None for name in wb.__all__)
    assert set(wb.__all__) <= set(dir(wb))


def test_names__unknown_one_lists_the_known():
    with pytest.raises(AttributeError, match="load_sam"):
        wb.load_sem  # noqa: B018


@pytest.mark.parametrize(
    "first", ["workbench.propose.grid", "workbench.propose.run", "workbench.triage.rules", "workbench"]
)
def test_rooms__can_be_called_whatever_was_imported_first(first):
    code = (
        f"import importlib, inspect; importlib.import_module({first!r}); import workbench as wb;"
        "print(callable(wb.propose), callable(wb.triage), list(inspect.signature(wb.triage).parameters))"
    )
    assert run_python(code).strip() == "True True ['proposals', 'config', 'existing']"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_module__says_what_lives_there(path):
    text = path.read_text("utf-8")
    first = (ast.get_docstring(ast.parse(text)) or "").splitlines()
    assert first, "a module begins with a docstring that says what lives there"
    assert len(first[0]) > 20
    assert len(text.splitlines()) <= 400, "a file over 400 lines hides a wall that could be drawn"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_module__opens_no_door(path):
    tree = ast.parse(path.read_text("utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
            assert not {"pickle", "dill", "joblib", "cloudpickle", "shelve", "marshal"} & {
                n.split(".")[0] for n in names
            }
        if isinstance(node, ast.Call):
            called = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
            assert not (isinstance(node.func, ast.Name) and called in {"eval", "exec"})
            for keyword in node.keywords:
                value = getattr(keyword.value, "value", None)
                assert not (keyword.arg == "shell" and value is True)
                assert not (keyword.arg == "weights_only" and value is False)
                assert not (keyword.arg == "allow_pickle" and value is True)
