"""Pictures of images whose outcome changes between two settings of the thresholds."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

import workbench
from workbench.config import TriageConfig
from workbench.gallery import overlay
from workbench.images import ImageError
from workbench.proposing import ChangedError
from workbench.store.errors import StoreError
from workbench.views import layout
from workbench.views.thresholds import Moved

if TYPE_CHECKING:
    from workbench.project import Project

MOST = 6
SIDE_PX = 360
_NO_PICTURE = "data:image/gif;base64,R0lGODlhAQABAAAAACwAAAAAAQABAAA="  # one transparent pixel


def pictures_of(
    project: Project, rows: Sequence[Moved], before: TriageConfig, after: TriageConfig, wanted: Callable[[], bool]
) -> list[tuple[str, str, str]]:
    """Return name, picture as a data address, and caption of each image, the first `MOST`.

    Masks that are accepted now and were not are blue, those that were and are not any more orange.

    Parameters
    ----------
    wanted : asked before each picture, whether anybody still waits for them
    """
    found = []
    for row in rows[:MOST]:
        if not wanted():
            break
        name = project._chosen([row.image_id], None)[0].path
        parts = [f"+{row.gained} accepted" * bool(row.gained), f"−{row.lost} accepted" * bool(row.lost)]
        parts += [f"{row.other} between flagged and discarded" * bool(row.other)]
        try:
            picture = _picture(project, row.image_id, before, after)
        except (ImageError, ChangedError, StoreError):
            picture, parts = _NO_PICTURE, [*parts, "its file is gone or was changed"]
        found.append((name, picture, ", ".join(filter(None, parts))))
    return found


def mask_picture(project: Project, image_id: str, mask_id: str) -> str:
    """Return an image with one of its masks, as markup. Raises StoreError, ImageError."""
    review = project.image_review(image_id)
    row = review.masks.mask_id == mask_id
    file = project._chosen([image_id], None)[0]
    if not row.any():
        raise StoreError(f"{file.path}: its mask {mask_id} is not there any more")
    drawn = overlay(project.image(image_id), {"auto_accepted": review.masks.rles[row].tolist()})
    box = ", ".join(str(v) for v in review.masks.boxes_xyxy[row][0])
    return layout.strip([(file.path, _data(drawn, 2 * SIDE_PX), f"mask {mask_id[:8]}, box {box} px")])


def _picture(project: Project, image_id: str, before: TriageConfig, after: TriageConfig) -> str:
    rows, image = project.proposals(image_id), project.image(image_id)
    was, now = (workbench.triage(rows, config).auto_accepted for config in (before, after))
    layers = {"flagged": rows.rles[was & ~now].tolist(), "auto_accepted": rows.rles[now & ~was].tolist()}
    return _data(overlay(image, layers), SIDE_PX)


def _data(pixels: np.ndarray, side_px: int) -> str:
    """Return a picture as a data address, at most `side_px` on its longest side."""
    picture = Image.fromarray(pixels)
    picture.thumbnail((side_px, side_px))
    file = io.BytesIO()
    picture.save(file, "WEBP", quality=80)
    return "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode()
