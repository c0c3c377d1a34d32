"""The seed's table of five cycles beside measured ones, each row labelled with where it comes from (C3)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import pandas as pd


class SeedCycle(NamedTuple):
    """A row of the seed's table, as it stands there."""

    cycle: int
    auto_accept_rate: float
    manual_per_image: float
    total_per_image: float

    @property
    def automatic_share(self) -> float:
        """(total − manual) ÷ total: what the seed's own counts make of it."""
        return (self.total_per_image - self.manual_per_image) / self.total_per_image


SEED_CYCLES = (
    SeedCycle(1, 0.45, 18, 28),
    SeedCycle(2, 0.52, 15, 30),
    SeedCycle(3, 0.58, 13, 32),
    SeedCycle(4, 0.63, 11, 33),
    SeedCycle(5, 0.67, 10, 34),
)
SOURCE = "the seed, as stated"
NOTE = (
    "The seed states auto-acceptance rates of 45 to 67 %; the share of automatic masks that its own counts give, "
    "(total − manual) ÷ total, runs from 36 to 71 %."
)
COLUMNS = ("cycle", "auto_accept_rate", "recall_auto", "manual_per_image", "total_per_image", "automatic_share")


def beside_seed(ours: Mapping[str, Sequence[Mapping[str, Any]]]) -> pd.DataFrame:
    """Return the seed's cycles and ours in one table; `source` says which is which, and `attrs["note"]` holds the note.

    Parameters
    ----------
    ours : by source, a mapping for each cycle with the names of `COLUMNS`; what is missing is NaN
    """
    import pandas as pd

    rows: list[dict[str, Any]] = [
        {"source": SOURCE, **row._asdict(), "automatic_share": row.automatic_share} for row in SEED_CYCLES
    ]
    for source, cycles in ours.items():
        rows += [{"source": source, **{name: row.get(name, float("nan")) for name in COLUMNS}} for row in cycles]
    frame = pd.DataFrame(rows, columns=["source", *COLUMNS])
    frame.attrs["note"] = NOTE
    return frame


def lines(frame: pd.DataFrame) -> list[str]:
    """Return what `beside_seed` gives in words: a line for each source, cycle after cycle, and the note."""
    found = []
    for source, rows in frame.groupby("source", sort=False):
        words = f"{source}: auto-accepted {_shares(rows['auto_accept_rate'])} (recall {_shares(rows['recall_auto'])})"
        worked = rows.dropna(subset=["total_per_image"])
        if len(worked):
            pairs = zip(worked["manual_per_image"], worked["total_per_image"], strict=True)
            words += f"; masks an image by hand {', '.join(f'{drawn:.3g} of {total:.3g}' for drawn, total in pairs)}"
            words += f"; automatic {_shares(worked['automatic_share'])}"
        found.append(words)
    return [*found, str(frame.attrs["note"])]


def _shares(values: Iterable[float]) -> str:
    values = list(values)
    if all(value != value for value in values):
        return "not known"
    return ", ".join("not known" if value != value else f"{100 * value:.0f}" for value in values) + " %"
