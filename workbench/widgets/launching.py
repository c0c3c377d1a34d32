"""JupyterLab opened on a notebook with the annotator ready: what `workbench review` does."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from workbench.images import safe_name

FOLDER = "notebooks"  # inside the project's folder


def write_notebook(project: Path, annotator: str) -> Path:
    """Write the notebook in which a person reviews a project, unless it is there; return its path.

    Parameters
    ----------
    project : the project's folder; the notebook lies in it
    annotator : the person; everyone has a notebook of their own
    """
    path = project / FOLDER / f"review-{safe_name(annotator)}.ipynb"
    if path.exists():
        return path
    cells = [
        _markdown(
            f"# Review of {project.name}\n\nRun the cell below; click into the image, and press `?` for all keys."
        ),
        _code(
            "import workbench as wb\n\n"
            f"project = wb.Project.open({str(project)!r})\n"
            f"wb.Annotator(project, annotator={annotator!r})"
        ),
        _markdown("What has been done so far:"),
        _code("project.quality_report()"),
    ]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    notebook = {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


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
    import hashlib

    return hashlib.sha256(text.encode()).hexdigest()[:8]


def lab_command(notebook: Path, port: int | None, browser: bool) -> list[str]:
    """Return the command that serves a notebook in JupyterLab on this machine only, asking no other host for news."""
    command = [sys.executable, "-m", "jupyterlab", str(notebook), "--ServerApp.ip=127.0.0.1"]
    command.append("--LabApp.news_url=None")
    command.append("--LabApp.check_for_updates_class=jupyterlab.handlers.announcements.NeverCheckForUpdate")
    if port is not None:
        command.append(f"--ServerApp.port={port}")
    return command if browser else [*command, "--no-browser"]
