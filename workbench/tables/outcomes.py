"""The triage table: for each proposal an outcome and the reasons for it."""

from __future__ import annotations

import dataclasses
import enum
from typing import TYPE_CHECKING

import numpy as np

from workbench.config import TriageConfig

if TYPE_CHECKING:
    import pandas as pd

    from workbench.tables.proposals import Proposals


class Outcome(enum.IntEnum):
    """What triage decided; the first three are the outcomes of distinct proposals."""

    discarded = 0
    flagged = 1
    auto_accepted = 2
    duplicate = 3  # suppressed by NMS: not among the distinct proposals


class Reason(enum.IntFlag):
    """Why: doubts send a proposal to people, failures discard it, `duplicate` takes it out of the distinct ones."""

    borderline_score = enum.auto()
    unusual_shape = enum.auto()
    unusual_size = enum.auto()
    overlaps = enum.auto()
    ambiguous = enum.auto()
    touches_border = enum.auto()
    low_contrast = enum.auto()
    ragged = enum.auto()
    jitter_missing = enum.auto()
    low_predicted_iou = enum.auto()
    low_stability_score = enum.auto()
    low_jitter_stability = enum.auto()
    too_small = enum.auto()
    too_large = enum.auto()
    duplicate = enum.auto()
    low_confidence = enum.auto()
    confidence_missing = enum.auto()


CONFIDENCE = Reason.low_confidence | Reason.confidence_missing  # by a model that was adopted, never a feature of one
DOUBTS = (
    Reason.borderline_score
    | Reason.unusual_shape
    | Reason.unusual_size
    | Reason.overlaps
    | Reason.ambiguous
    | Reason.touches_border
    | Reason.low_contrast
    | Reason.ragged
    | Reason.jitter_missing
    | CONFIDENCE
)
FAILURES = (
    Reason.low_predicted_iou
    | Reason.low_stability_score
    | Reason.low_jitter_stability
    | Reason.too_small
    | Reason.too_large
)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Triage:
    """Outcome and reasons of each proposal, row by row beside the `Proposals` it was made from.

    outcome : (N,) uint8 of `Outcome`; reasons : (N,) uint32, a union of `Reason`; config : the thresholds used.
    """

    outcome: np.ndarray
    reasons: np.ndarray
    config: TriageConfig = dataclasses.field(default_factory=TriageConfig)

    def __post_init__(self) -> None:
        outcome, reasons = np.asarray(self.outcome), np.asarray(self.reasons)
        if outcome.ndim != 1 or outcome.shape != reasons.shape:
            raise ValueError(f"Triage: expected two columns of one length, got {outcome.shape} and {reasons.shape}")
        if outcome.size and not np.isin(outcome, list(Outcome)).all():
            raise ValueError(f"Triage.outcome: expected codes {list(map(int, Outcome))}, got {np.unique(outcome)}")
        object.__setattr__(self, "outcome", outcome.astype(np.uint8, copy=False))
        object.__setattr__(self, "reasons", reasons.astype(np.uint32, copy=False))

    def __len__(self) -> int:
        return len(self.outcome)

    def __repr__(self) -> str:
        return f"<Triage: {', '.join(f'{n} {name}' for name, n in self.counts().items())}>"

    @property
    def auto_accepted(self) -> np.ndarray:
        """(N,) bool: accepted without a person."""
        return np.asarray(self.outcome == Outcome.auto_accepted)

    @property
    def flagged(self) -> np.ndarray:
        """(N,) bool: a person has to look."""
        return np.asarray(self.outcome == Outcome.flagged)

    @property
    def discarded(self) -> np.ndarray:
        """(N,) bool: distinct, but not worth a look."""
        return np.asarray(self.outcome == Outcome.discarded)

    @property
    def distinct(self) -> np.ndarray:
        """(N,) bool: survived NMS; the denominator of the auto-acceptance rate."""
        return np.asarray(self.outcome != Outcome.duplicate)

    @property
    def auto_accept_rate(self) -> float:
        """Auto-accepted ÷ distinct proposals; NaN without any."""
        distinct = int(self.distinct.sum())
        return float(self.auto_accepted.sum() / distinct) if distinct else float("nan")

    def counts(self) -> dict[str, int]:
        """Return the number of distinct proposals and of each of their three outcomes."""
        three = ("auto_accepted", "flagged", "discarded")
        return {"distinct": int(self.distinct.sum()), **{name: int(getattr(self, name).sum()) for name in three}}

    def reason_counts(self) -> dict[str, int]:
        """Return for each reason how many distinct proposals have it."""
        reasons = self.reasons[self.distinct]
        return {str(r.name): int((reasons & int(r) != 0).sum()) for r in Reason if r is not Reason.duplicate}

    def to_frame(self, proposals: Proposals | None = None) -> pd.DataFrame:
        """Return outcome and reasons as words, beside the columns of `proposals` where they are given."""
        import pandas as pd

        names = np.array([o.name for o in sorted(Outcome)], dtype=object)
        frame = pd.DataFrame({"outcome": names[self.outcome], "reasons": [reason_names(r) for r in self.reasons]})
        if proposals is None:
            return frame
        if len(proposals) != len(self):
            raise ValueError(f"Triage.to_frame: expected {len(self)} proposals, got {len(proposals)}")
        return pd.concat([proposals.to_frame(), frame], axis=1)


def reason_names(reasons: int | np.integer) -> str:
    """Return the names of a union of reasons, joined by commas."""
    return ", ".join(str(r.name) for r in Reason if int(reasons) & int(r))
