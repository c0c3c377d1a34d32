"""Projects that many tests begin with: each is made once a process, and every test works on a copy of its own."""

from __future__ import annotations

import functools
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from workbench.project import Project


def made_once(folder: Path, name: str, make: Callable[..., Project], *how: Any) -> Project:
    """Return the project `folder`/name, a copy of what `make(some folder, *how)` made when it was first asked for."""
    shutil.copytree(_kept(make, *how).name, folder, dirs_exist_ok=True)
    return Project.open(folder / name)


@functools.cache
def _kept(make: Callable[..., Project], *how: Any) -> tempfile.TemporaryDirectory[str]:
    kept = tempfile.TemporaryDirectory()  # it goes with the process
    make(Path(kept.name), *how).close()
    return kept
