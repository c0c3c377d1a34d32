"""Threshold experiments: what a sweep counted at each point of a grid on each image, and the figures made of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from workbench.config import TriageConfig

if TYPE_CHECKING:
    import pandas as pd

    from workbench.tables.outcomes import Triage

OUTCOME_COUNTS = ("distinct", "auto_accepted", "flagged", "discarded")
ENDINGS = ("", "_low", "_high", "_n")  # the columns of a figure: value, ends of its interval, what it was counted over


@dataclasses.dataclass(frozen=True, eq=False)
class Counted:
    """Numerators and denominators of K figures at P points on M images.

    base : the settings that do not move, as `TriageConfig.to_dict`; changes : what each point sets
    outcomes : (P, 4) int64, see `OUTCOME_COUNTS`; metrics : K names
    values, per : (K, P, M) float32, NaN where an image lacks what the figure needs
    audits : (S, P, M) float32 where false positives are estimated from audits: the sums of `workbench.loop.audited`
    known : M digests each of the truth, the verdicts and the audits of an image, "" where there are none; small_px : the
        largest area that counts as small. Empty and None in experiments of before they were kept
    """

    base: Mapping[str, Any]
    changes: tuple[Mapping[str, Any], ...]
    image_ids: tuple[str, ...]
    outcomes: NDArray[np.int64]
    metrics: tuple[str, ...]
    values: NDArray[np.float32]
    per: NDArray[np.float32]
    audits: NDArray[np.float32] | None = None
    known: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    small_px: float | None = None

    def __post_init__(self) -> None:
        shape = len(self.metrics), len(self.changes), len(self.image_ids)
        if self.values.shape != shape or self.per.shape != shape:
            raise ValueError(
                f"Counted: expected values and per of shape {shape}, got {self.values.shape}, {self.per.shape}"
            )
        if self.audits is not None and self.audits.shape[1:] != shape[1:]:
            raise ValueError(f"Counted.audits: expected shape (S, {shape[1]}, {shape[2]}), got {self.audits.shape}")
        if any(len(digests) != len(self.image_ids) for digests in self.known.values()):
            raise ValueError(f"Counted.known: expected a digest for each of {len(self.image_ids)} images")
        if self.outcomes.shape != (len(self.changes), len(OUTCOME_COUNTS)):
            raise ValueError(f"Counted.outcomes: expected a row for each of {len(self.changes)} points")

    def __len__(self) -> int:
        return len(self.changes)

    def config(self, row: int) -> TriageConfig:
        """Return the settings of a point. Raises ValueError for a row that the grid does not have."""
        if isinstance(row, bool) or not 0 <= row < len(self):
            raise ValueError(f"row: expected a point from 0 to {len(self) - 1}, got {row!r}")
        return TriageConfig.from_dict({**self.base, **self.changes[row]})

    def frame(self, figures: Mapping[str, NDArray[Any]]) -> pd.DataFrame:
        """Return a row for each point: what it sets, masks by outcome, and figures with their intervals."""
        import pandas as pd

        moved = {name: [change[name] for change in self.changes] for name in self.changes[0]} if len(self) else {}
        counts = dict(zip(OUTCOME_COUNTS, self.outcomes.T, strict=True))
        frame = pd.DataFrame({**moved, **counts, **figures})
        frame.index.name = "row"
        return frame


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Experiment:
    """A sweep that was kept under a name.

    name, note, author, made_at : as given; run_id, model_id : whose proposals
    settings : exhaustive, wrong_iou, seed of the intervals, which labels were used; figures : columns of the table
    """

    name: str
    note: str
    author: str
    made_at: str
    run_id: int
    model_id: str
    settings: Mapping[str, Any]
    counted: Counted
    figures: Mapping[str, NDArray[Any]]
    adopter: Callable[[int, str, str], Triage] | None = None

    def __len__(self) -> int:
        return len(self.counted)

    def __repr__(self) -> str:
        images = len(self.counted.image_ids)
        grid = ", ".join(self.counted.changes[0])
        return (
            f"<Experiment {self.name!r}: {len(self)} points of {grid} on {images} images; {self.about}; {self.made_at}>"
        )

    def _repr_html_(self) -> str:
        return str(self.table.to_html(max_rows=20))

    @property
    def about(self) -> str:
        """What its figures were counted against, in words."""
        said, learned = self.settings, int(self.settings.get("learned") or 0)
        if not said.get("labelled"):
            words = "no labels"
        else:
            whole = " that holds every object" if said.get("exhaustive") and said.get("labels") == "truth" else ""
            words = f"labels={said.get('labels')}{whole} of {said['labelled']} images, right from IoU {said.get('wrong_iou')}"
        return f"{words}, without {learned} that trained the model" if learned else words

    @property
    def table(self) -> pd.DataFrame:
        """A row for each point, as `Project.sweep` returned it."""
        return self.counted.frame(self.figures)

    def config(self, row: int) -> TriageConfig:
        """Return the settings of a point. Raises ValueError."""
        return self.counted.config(row)

    def adopt(self, row: int, *, author: str = "", note: str = "") -> Triage:
        """Triage the project by the settings of a point and keep that as a version; see `Project.adopt`."""
        if self.adopter is None:
            raise ValueError("adopt: this experiment was not read from a project; use project.experiment(name)")
        return self.adopter(row, author, note)
