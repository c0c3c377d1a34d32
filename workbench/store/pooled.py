"""Values of masks that follow from a model's embedding, a file an image below the project's folder; made anew when lost."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from workbench.outputs import whole
from workbench.store import files
from workbench.store.errors import StoreError

FOLDER = "pooled"


def path_of(project: Path, number: int, image_id: str) -> Path:
    """Return where the values of an image for record `number` are, or would be."""
    return project / FOLDER / str(int(number)) / f"{image_id}.npy"


def keep(project: Path, number: int, image_id: str, values: NDArray[np.float32]) -> None:
    """Write (N, k) values, a row for each proposal of the image. Raises StoreError when the disk refuses."""
    path = path_of(project, number, image_id)
    files.make_folder(path.parent)
    try:
        with whole(path) as draft, draft.open("xb") as file:
            np.save(file, values.astype(np.float32), allow_pickle=False)
    except OSError as error:
        raise StoreError(f"{path.parent}: the disk refused ({error}); what was written before is kept") from error


def load(project: Path, number: int, image_id: str, rows: int, columns: int) -> NDArray[np.float32] | None:
    """Return the values of an image; None where there are none, or not those of so many proposals."""
    try:
        values = np.load(path_of(project, number, image_id), allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    fits = values.shape == (rows, columns) and values.dtype == np.float32
    return values if fits else None
