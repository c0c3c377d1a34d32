"""JupyterLab opened on a notebook with the annotator ready: what `workbench review` does."""

from __future__ import annotations

import ast
import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from workbench.images import safe_name

FOLDER = "notebooks"  # inside the project's folder


def write_notebook(project: Path, annotator: str, labels: Sequence[str] = (), *, second: bool = False) -> Path:
    """Write the notebook in which a person reviews a project; return its path.

    One that is there is kept as the person left it. Where its cell names another folder or person, since the project was
    moved or copied, these are put right: work must not go into another project. Labels that are given replace its own.

    Parameters
    ----------
    project : the project's folder; the notebook lies in it
    annotator : the person; everyone has a notebook of their own
    labels : names that masks can be given by key
    second : of complete images once more, on their own, which has a notebook of its own
    """
    name = safe_name(annotator)
    if name != annotator:  # two names may be alike as far as they can be part of a file's
        name += "-" + hashlib.sha256(annotator.encode()).hexdigest()[:8]
    path = project / FOLDER / f"review-{name}{'-second' if second else ''}.ipynb"
    if path.exists():
        _put_right(path, project, annotator, labels)
        return path
    given = [f"annotator={annotator!r}", *(["queue=project.queue(second=True)"] if second else [])]
    given += [f"labels={list(labels)!r}"] if labels else []
    code = f"wb.Annotator(project, {', '.join(given)})"
    cells = [
        _markdown(
            f"# {'Second review' if second else 'Review'} of {project.name}\n\nRun the cell below; click into the image, and press `?` for all keys."
        ),
        _code(f"import workbench as wb\n\nproject = wb.Project.open({str(project)!r})\n{code}"),
        _markdown("What has been done so far:"),
        _code("project.quality_report()"),
    ]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    _write(path, {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5})
    return path


def _write(path: Path, notebook: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _put_right(path: Path, project: Path, annotator: str, labels: Sequence[str]) -> None:
    try:
        notebook = json.loads(path.read_text(encoding="utf-8"))
        cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    except (ValueError, KeyError, TypeError):
        return  # no notebook; JupyterLab says so
    changed = False
    for cell in cells:
        source = "".join(cell["source"])
        now = _with_arguments(source, str(project), annotator, labels)
        if now != source:
            cell["source"], changed = now, True
    if changed:
        _write(path, notebook)


def _with_arguments(source: str, project: str, annotator: str, labels: Sequence[str]) -> str:
    """Return code with its `Project.open` and `Annotator` calls about this project and this person."""
    try:
        calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    except SyntaxError:
        return source
    for call in calls:
        before, called = ast.unparse(call), ast.unparse(call.func)
        if called.endswith("Project.open") and call.args and isinstance(call.args[0], ast.Constant):
            call.args[0] = ast.Constant(project)
        elif called.endswith("Annotator"):
            _set(call, "annotator", annotator)
            if labels:
                _set(call, "labels", list(labels))
        if ast.unparse(call) != before:  # one at a time: places in the text move
            written = ast.get_source_segment(source, call) or ""
            return _with_arguments(source.replace(written, ast.unparse(call), 1), project, annotator, labels)
    return source


def _set(call: ast.Call, name: str, value: str | list[str]) -> None:
    literal = ast.parse(repr(value), mode="eval").body
    for keyword in call.keywords:
        if keyword.arg == name:
            if isinstance(keyword.value, ast.Constant | ast.List | ast.Tuple):  # a variable is the person's own
                keyword.value = literal
            return
    if name != "annotator" or len(call.args) < 2:
        call.keywords.append(ast.keyword(name, literal))
    elif isinstance(call.args[1], ast.Constant):
        call.args[1] = literal


def _markdown(text: str) -> dict[str, object]:
    return {"cell_type": "markdown", "id": _cell_id(text), "metadata": {}, "source": text}


def _code(text: str) -> dict[str, object]:
    return {
        "cell_type": "code",
        "id": _cell_id(text),
        "metadata": {},
        "execution_count": None,
        "outputs": [],
        "source": text,
    }


def _cell_id(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def lab_command(notebook: Path, port: int | None, browser: bool) -> list[str]:
    """Return the command that serves a notebook in JupyterLab on this machine only, asking no other host for news."""
    command = [sys.executable, "-m", "jupyterlab", str(notebook), "--ServerApp.ip=127.0.0.1"]
    # the address that is printed leads to the notebook too; its folder is the server's root
    command.append(f"--LabApp.default_url=/lab/tree/{quote(notebook.name)}")
    command.append("--LabApp.news_url=None")
    command.append("--LabApp.check_for_updates_class=jupyterlab.handlers.announcements.NeverCheckForUpdate")
    if port is not None:
        command.append(f"--ServerApp.port={port}")
    return command if browser else [*command, "--no-browser"]
