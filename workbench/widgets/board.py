"""An open image as the page needs it: columns of its masks, and what a gesture changed in them."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from workbench.plain import plain
from workbench.review.state import ImageReview
from workbench.tables.events import VERDICTS
from workbench.tables.outcomes import Outcome, reason_names

MAX_HISTORY = 300  # gestures that the page hears of: as far as undo goes

REASON_WORDS = {
    "borderline_score": "score just below the threshold",
    "unusual_shape": "unusual shape",
    "unusual_size": "unusual size",
    "overlaps": "overlaps another mask",
    "ambiguous": "the model's masks of this prompt disagree",
    "touches_border": "touches the border",
    "low_contrast": "low contrast with its surrounding",
    "ragged": "ragged outline",
    "jitter_missing": "stability not measured",
    "low_predicted_iou": "low predicted IoU",
    "low_stability_score": "low stability score",
    "low_jitter_stability": "low jitter stability",
    "too_small": "too small",
    "too_large": "too large",
    "low_confidence": "low confidence",
    "confidence_missing": "confidence not known",
}
_COMPARED = ("verdict", "bulk", "label", "by", "suggested")


class Board:
    """The masks of an image that are in play: none that an edit superseded.

    Parameters
    ----------
    review : the image as the journal has it
    blind : hide what was decided, by whom, and all scores
    """

    def __init__(self, review: ImageReview, blind: bool = False) -> None:
        self.review, self.blind = review, blind
        self.rows = np.flatnonzero(~review.superseded)
        self.ids = [str(name) for name in review.masks.mask_id[self.rows]]
        self.at = dict(zip(self.ids, self.rows.tolist(), strict=True))

    def __len__(self) -> int:
        return len(self.rows)

    @functools.cached_property
    def proposed(self) -> dict[str, int]:
        """Outcomes of the automatic masks by id; in an audit nothing, since there they are only what is left to judge."""
        if self.blind:
            return {}
        own = np.flatnonzero(~self.review.drawn)
        return {str(self.review.masks.mask_id[k]): int(self.review.outcome[k]) for k in own}

    @property
    def rles(self) -> list[bytes]:
        """Run lengths of the shown masks, in their order."""
        return list(self.review.masks.rles[self.rows])

    def columns(self, rows: np.ndarray | None = None) -> dict[str, list[Any]]:
        """Return the columns of the page's table of masks; of some rows only where these are given."""
        rows, r, masks = self.rows if rows is None else rows, self.review, self.review.masks
        n = len(rows)
        drawn = r.drawn[rows]
        outcome = [("drawn" if d else Outcome(int(o)).name) for d, o in zip(drawn, r.outcome[rows], strict=True)]
        columns: dict[str, list[Any]] = {
            "id": [str(name) for name in masks.mask_id[rows]],
            "outcome": outcome,
            "verdict": [VERDICTS[v] for v in r.verdict[rows]],
            "bulk": r.bulk[rows].tolist(),
            "source": masks.source[rows].tolist(),
            "area_px": masks.area_px[rows].tolist(),
            "reasons": [[w for w in reason_names(v).split(", ") if w and w != "duplicate"] for v in r.reasons[rows]],
            "label": [str(label) for label in r.label[rows]],
            "suggested": [VERDICTS[v] for v in r.suggested[rows]],
            "by": [str(by) for by in r.by[rows]],
            **{name: _rounded(getattr(masks, name)[rows]) for name in _SCORES},
        }
        if self.blind:
            blank: dict[str, Any] = {"outcome": "flagged", "source": "automatic", "by": "", "suggested": "none"}
            columns |= {name: [value] * n for name, value in blank.items()}
            columns |= {name: [None] * n for name in _SCORES}
            columns["reasons"] = [[] for _ in range(n)]
        return columns

    def changes_since(self, before: Board) -> dict[str, Any]:
        """Return what the page has to change: `changes` by mask, `added` with all their columns, `removed` ids."""
        added = [name for name in self.ids if name not in before.at]
        was = before.compared
        changed = [name for name, values in self.compared.items() if was.get(name, values) != values]
        return {
            "changes": {name: self.told(name) for name in changed},
            "added": [self._whole(name) for name in added],
            "removed": [name for name in before.ids if name not in self.at],
        }

    @functools.cached_property
    def compared(self) -> dict[str, tuple[Any, ...]]:
        """By mask, what a person can change of it."""
        columns = (getattr(self.review, column)[self.rows].tolist() for column in _COMPARED)
        return dict(zip(self.ids, zip(*columns, strict=True), strict=True))

    def told(self, name: str) -> dict[str, Any]:
        """Return what a person can change of a mask, as it is now."""
        i, r = self.at[name], self.review
        told: dict[str, Any] = {
            "verdict": VERDICTS[r.verdict[i]],
            "bulk": bool(r.bulk[i]),
            "label": str(r.label[i]),
            "suggested": VERDICTS[r.suggested[i]],
            "by": str(r.by[i]),
        }
        return {"verdict": told["verdict"], "label": told["label"]} if self.blind else told

    def _whole(self, name: str) -> dict[str, Any]:
        row = np.array([self.at[name]])
        columns = {column: values[0] for column, values in self.columns(row).items()}
        return {**columns, "superseded": False, "rle": self.review.masks.rles[row[0]].decode("ascii")}

    def history(self, purpose: str, annotator: str) -> list[dict[str, Any]]:
        """Return the annotator's own gestures, which they can undo or do again, as far back as the page needs."""
        told = [
            {"gesture": g.gesture_id, "kind": g.kind, "undone": g.undone}
            for g in self.review.history
            if g.kind not in ("undo", "answer") and (g.purpose, g.annotator, g.stale) == (purpose, annotator, False)
        ]
        return told[-MAX_HISTORY:]


_SCORES = ("predicted_iou", "jitter_stability", "stability_score")


def _rounded(values: np.ndarray) -> list[float | None]:
    return plain([round(v, 5) for v in values.tolist()])
