"""What the annotator asks people and the model: the dialogs of R5 and R6, drawn masks checked, prompts completed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench.masks import rle
from workbench.review.config import ReviewConfig
from workbench.review.coverage import COVERAGE_TEXT, overlapping_of, unmasked_of
from workbench.widgets.board import Board
from workbench.widgets.messages import MessageError
from workbench.widgets.packing import pack_live
from workbench.widgets.prompting import Answer

if TYPE_CHECKING:
    from workbench.project import Project

NO_MODEL = (
    "there is no model for clicks: the masks come from another model than the one that comes along; "
    "give it as Annotator(project, sam=load_sam(...))"
)
STALE = (
    "another annotator has this image now; the gesture is kept in the journal as a late one, and changes nothing. "
    "Open the next image"
)
NO_OTHER = "there is no other image left; this one is the last that is open"
ALL_DONE = "all images are done"


def checked_rle(counts: bytes, size_hw: tuple[int, int]) -> str:
    """Return a drawn mask in its canonical form.

    Raises
    ------
    MessageError : when it is damaged, of another size than the image, or empty
    """
    try:
        canonical, _ = rle.from_coco({"size": list(size_hw), "counts": counts})
    except ValueError as error:
        raise MessageError(f"the drawn mask: {error}") from None
    if not rle.area([canonical], size_hw)[0]:
        raise MessageError("the drawn mask is empty: nothing of it lies inside the image")
    return canonical.decode("ascii")


def undo_of(project: Project, image_id: str, gesture: str) -> str:
    """Return the undo that took a gesture back and still holds: undoing it is redo. Raises MessageError."""
    journal = project.journal(image_id)
    undos = journal[(journal["kind"] == "undo") & ~journal["stale"]]
    targets = [str(payload["gesture"]) for payload in undos["payload"]]
    gone: set[str] = set()
    for name, target in zip(reversed(undos["gesture_id"].tolist()), reversed(targets), strict=True):
        if name not in gone:
            if target == gesture:
                return str(name)
            gone.add(target)
    raise MessageError("redo: this gesture is not undone")


def overlap_dialog(board: Board, drawn: str, config: ReviewConfig) -> dict[str, Any] | None:
    """Return the warning of R6 about a mask just drawn, naming the mask it overlaps most; None where it overlaps none."""
    found = overlapping_of(board.review, drawn, config)
    if not len(found):
        return None
    iou, smaller = float(found.iou[0]), float(found.smaller[0])
    others = f", and {len(found) - 1} more" if len(found) > 1 else ""
    return {
        "kind": "overlap",
        "text": f"The mask just drawn overlaps another: IoU {iou:.2f}, {smaller:.0%} of the smaller one{others}.",
        "mask": drawn,
        "other": str(board.review.masks.mask_id[found.rows[0]]),
        "iou": round(iou, 4),
        "smaller": round(smaller, 4),
        "choices": [
            {"key": "k", "choice": "keep", "text": "Keep both"},
            {"key": "u", "choice": "undo", "text": "Undo the drawing"},
        ],
    }


def coverage_dialog(board: Board, config: ReviewConfig) -> dict[str, Any] | None:
    """Return the question of R5 on completing an image, with the region it is about; None where there is none."""
    if board.review.size_hw is None:
        return None
    found = unmasked_of(board.review, config)
    if not found.ask:
        return None
    held = len(found.holds)
    holds = f", where {held} proposal{'s' * (held != 1)} lie{'s' * (held == 1)} that nobody accepted" if held else ""
    share = found.area_px / (board.review.size_hw[0] * board.review.size_hw[1])
    return {
        "kind": "coverage",
        "text": f"{COVERAGE_TEXT} The region shown has no mask: {share:.0%} of the image{holds}.",
        "box": list(found.box_xyxy),
        "rle": found.rle.decode("ascii"),
        "choices": [
            {"key": "c", "choice": "continue", "text": "Continue annotating"},
            {"key": "Enter", "choice": "complete", "text": "It is complete"},
        ],
    }


def with_origin(
    board: Board, mask: str | None, points: Sequence[tuple[float, float, int]]
) -> list[tuple[float, float, int]]:
    """Return clicks that correct a mask, led by the point it was proposed from, so that the model knows which is meant."""
    at = board.at.get(mask) if mask else None
    if at is None or not points:
        return list(points)
    x, y = map(float, board.review.masks.points_xy[at])
    return [(x, y, 1), *points] if np.isfinite([x, y]).all() else list(points)


def live(answer: Answer) -> bytes:
    """Return an answer of the model as the page reads it."""
    prompt = answer.prompt
    header: dict[str, Any] = {
        "token": prompt.token,
        "prompt_id": prompt.prompt_id,
        "predicted_iou": None if answer.predicted_iou is None else round(answer.predicted_iou, 4),
        "area_px": answer.area_px,
    }
    if answer.error:
        header["error"] = answer.error
    return pack_live(header, answer.counts)
