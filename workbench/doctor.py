"""Checks of the installation and of a project: what is there, what is wrong and what to do about it."""

from __future__ import annotations

import dataclasses
import importlib
import platform
import shutil
import sqlite3
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import workbench

# versions before it can lose a write-ahead log when several processes checkpoint (sqlite.org/wal.html)
SAFE_SQLITE = (3, 51, 3)
LEAST_FREE_GB = 2.0
PACKAGES = (
    "torch",
    "torchvision",
    "segment-anything",
    "numpy",
    "numba",
    "pyarrow",
    "sqlalchemy",
    "jupyterlab",
    "panel",
)


@dataclasses.dataclass
class Findings:
    """What was found: facts by name, warnings to know of, problems to mend."""

    facts: dict[str, str] = dataclasses.field(default_factory=dict)
    warnings: list[str] = dataclasses.field(default_factory=list)
    problems: list[str] = dataclasses.field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Return facts, warnings and problems as one mapping."""
        return {**self.facts, "warnings": self.warnings, "problems": self.problems}


def examine(folder: Path | None = None, mend: bool = False) -> Findings:
    """Look at the installation and, where one is given, at the project in `folder`.

    Parameters
    ----------
    mend : first bring what the project keeps beside its journal to what the journal says
    """
    found = Findings()
    _versions(found)
    _model(found)
    _disk(found, folder or Path.cwd())
    if folder is not None:
        _project(found, folder, mend)
    return found


def _versions(found: Findings) -> None:
    found.facts["workbench"] = workbench.__version__
    found.facts["python"] = f"{platform.python_version()} ({sys.executable})"
    for package in PACKAGES:
        try:
            found.facts[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found.problems.append(f"{package} is not installed: pip install sam-workbench installs it")
    found.facts["sqlite"] = sqlite3.sqlite_version
    if sqlite3.sqlite_version_info < SAFE_SQLITE:
        found.warnings.append(
            f"SQLite {sqlite3.sqlite_version} is older than {'.'.join(map(str, SAFE_SQLITE))}: with several processes "
            "on one project its write-ahead log can be reset wrongly; the workbench lets one process checkpoint at a "
            "time, and a newer SQLite or PostgreSQL is safer still"
        )


def _model(found: Findings) -> None:
    try:
        import torch

        importlib.import_module("torchvision.ops")  # fails where torchvision does not fit torch
        from workbench.sam.load import load_sam

        sam = load_sam("bundled")
    except Exception as error:  # whatever is wrong with an installation is what this command is for
        found.problems.append(f"the bundled SAM cannot be loaded: {error}")
        return
    found.facts["bundled_sam"] = sam.model_id
    found.facts["device"] = str(sam.device)
    found.facts["threads"] = str(torch.get_num_threads())


def _disk(found: Findings, folder: Path) -> None:
    place = next((p for p in (folder, *folder.absolute().parents) if p.exists()), Path.cwd())
    free_gb = shutil.disk_usage(place).free / 1e9
    found.facts["free_disk_gb"] = f"{free_gb:.1f}"
    if free_gb < LEAST_FREE_GB:
        found.warnings.append(f"only {free_gb:.1f} GB are free at {place}: proposals may not fit")


def _project(found: Findings, folder: Path, mend: bool) -> None:
    from workbench.project import Project
    from workbench.store.errors import StoreError

    try:
        with Project.open(folder) as project:
            mended = project.mend() if mend else []
            images, failures = project.images(), len(project.failures())  # not its report, which may write a triage
            found.problems.extend(project.check())
    except StoreError as error:
        found.problems.append(str(error))
        return
    if mend:
        found.facts["mended"] = "\n".join(mended) or "nothing had to be mended"
    found.facts["images"] = str(len(images))
    found.facts["proposals"] = str(images["proposals"].sum())
    if failures:
        found.warnings.append(f"{failures} images could not be used: `workbench report --failed {folder}` lists them")
