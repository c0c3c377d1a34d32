"""What the annotator asks people and the model: the dialogs of R5 and R6, drawn masks checked, prompts completed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench.masks import rle
from workbench.review.config import ReviewConfig
from workbench.review.coverage import COVERAGE_TEXT, overlapping_of, unmasked_of
from workbench.tables.events import Left
from workbench.tables.outcomes import Outcome
from workbench.widgets.board import Board
from workbench.widgets.messages import MessageError
from workbench.widgets.packing import pack_live
from workbench.widgets.prompting import Answer

if TYPE_CHECKING:
    from workbench.project import Project

NO_MODEL = (
    "there is no model for clicks: the masks come from another model than the one that comes along; "
    "give it as Annotator(project, sam=load_sam(...)), or by workbench dashboard --model; polygon and brush work without"
)
STALE = (
    "another annotator has this image now; the gesture is kept in the journal as a late one, and changes nothing. "
    "Open the next image"
)
ANEW = "the masks of this image were proposed or triaged anew; they are shown as they are now: look again, then complete it"
GONE = "another annotator has this image now; what you do on it is kept, but changes nothing. Open the next image"
MOVED = {  # where the open image was meanwhile, see Desk.take_back
    "window": "you have opened this image in another window too; it is this window's again, and what you did there counts",
    "back": "you have left this image in another window; it is open here again, and what you did there counts",
}
NO_OTHER = "there is no other image left; this one is the last that is open"
NO_LATER = "no image follows this one; , (comma) goes back to those before"
NOT_SHOWN = "the images that are left cannot be shown: their files are gone or changed"
ALL_DONE = "all images are done"
LIST_DONE = "these were all images of the list"


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


def none_to_open(left: Left, passed: int, open_here: bool, trail: int) -> str:
    """Return in words why no image can be opened now: all are done, or where those that are left are.

    Parameters
    ----------
    passed : free images that cannot be shown; open_here : an image stays open; trail : images opened so far
    """
    places = [(left.others, "with another annotator", "with other annotators")]
    places.append((left.elsewhere, "open in another window of yours", "open in other windows of yours"))
    held = " and ".join(f"{n:,} {one if n == 1 else more}" for n, one, more in places if n)
    if open_here:
        return f"no other image is free now: {held}" if held else NO_LATER if trail > 1 else NO_OTHER
    if free := max(0, left.free - passed):
        return f"{free:,} {'image is' if free == 1 else 'images are'} free now"
    return f"no image is free now: {held}" if held else NOT_SHOWN if left.free else ALL_DONE


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


def coverage_dialog(
    board: Board, config: ReviewConfig, completeness: Callable[[], float | None] = lambda: None
) -> dict[str, Any] | None:
    """Return the question of R5 on completing an image, with the region it is about; None where there is none.

    completeness : returns the chance that the auto-accepted masks are all there are, where a verifier says so. It is asked
        where nothing else speaks for a question, and nobody has added to these masks
    """
    review = board.review
    if review.size_hw is None:
        return None
    found, chance = unmasked_of(review, config), None
    added = review.final & (review.outcome != Outcome.auto_accepted)
    if not found.ask and found.share > config.coverage_share and not added.any():
        chance = completeness()
        found = unmasked_of(review, config, incomplete=chance is not None and chance < 0.5)
    if not found.ask:
        return None
    held = len(found.holds)
    holds = f", where {held} proposal{'s' * (held != 1)} lie{'s' * (held == 1)} that nobody accepted" if held else ""
    if chance is not None:
        holds = f"; the verifier gives {chance:.0%} that the accepted masks are all there are"
    share = found.area_px / (review.size_hw[0] * review.size_hw[1])
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


def check_inside(
    points: Sequence[tuple[float, float, int]], box: Sequence[float] | None, size_hw: tuple[int, int]
) -> None:
    """Refuse clicks outside the image, and a box that does not meet it. Raises MessageError."""
    h, w = size_hw
    if any(not (0 <= x <= w and 0 <= y <= h) for x, y, _ in points):
        raise MessageError(f"points: expected clicks inside the image of {w}×{h} px (w×h)")
    if box is not None and not (box[0] < w and box[1] < h and box[2] > 0 and box[3] > 0):
        raise MessageError(f"box: expected one that meets the image of {w}×{h} px (w×h)")


def with_origin(
    board: Board, mask: str | None, points: Sequence[tuple[float, float, int]]
) -> list[tuple[float, float, int]]:
    """Return clicks that correct a mask, led by the point it was proposed from, so that the model knows which is meant.

    A mask that was not proposed from a point is led by the pixel deepest inside it.
    """
    at = board.at.get(mask) if mask else None
    if at is None or not points:
        return list(points)
    masks = board.review.masks
    x, y = map(float, masks.points_xy[at])
    if not np.isfinite([x, y]).all():
        x, y = _deepest(masks.rles[at], (int(masks.sizes_hw[at, 0]), int(masks.sizes_hw[at, 1])))
    return [(x, y, 1), *points]


def _deepest(counts: bytes, size_hw: tuple[int, int]) -> tuple[float, float]:
    """Return the centre (x, y) of the pixel of a mask that is farthest from its outline and from the image's edge."""
    from scipy import ndimage

    x0, y0, x1, y1 = rle.to_boxes([counts], size_hw)[0].astype(int)
    inside = np.pad(rle.decode([counts], size_hw)[0][y0:y1, x0:x1], 1)
    y, x = np.unravel_index(int(np.argmax(ndimage.distance_transform_edt(inside))), inside.shape)
    return float(x0 + x - 1) + 0.5, float(y0 + y - 1) + 0.5


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
