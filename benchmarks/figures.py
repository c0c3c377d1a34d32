"""The rows that every benchmark prints and writes: value, interval over images, aim and whether it is met."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Row:
    """One figure; `interval` is 95 % by bootstrap over images, None where it was not measured over images."""

    name: str
    value: float
    unit: str
    interval: tuple[float, float] | None
    n: int
    aim: float | None
    direction: str

    @property
    def met(self) -> bool | None:
        """Whether the aim is met; None without one."""
        if self.aim is None:
            return None
        return self.value >= self.aim if self.direction == ">=" else self.value <= self.aim


def row(
    name: str,
    parts: list[np.ndarray],
    aim: float | None = None,
    direction: str = ">=",
    unit: str = "1",
    draws: int = 1000,
) -> Row:
    """Return the mean over everything in `parts` (one array an image), with its interval over images."""
    sums = np.array([float(np.sum(p)) for p in parts])
    counts = np.array([len(p) for p in parts], float)
    n = int(counts.sum())
    if n == 0:
        return Row(name, float("nan"), unit, None, 0, aim, direction)
    picks = np.random.default_rng(0).integers(0, len(parts), (draws, len(parts)))
    totals = counts[picks].sum(axis=1)
    means = sums[picks].sum(axis=1)[totals > 0] / totals[totals > 0]
    low, high = np.quantile(means, [0.025, 0.975])
    return Row(name, float(sums.sum() / n), unit, (float(low), float(high)), n, aim, direction)


def write_rows(benchmark: str, commit: str, device: str, rows: list[Row], path: Path | None) -> None:
    """Print the rows as a table and, with a path, write them as one JSON object."""
    for r in rows:
        interval = f"[{r.interval[0]:.3f}, {r.interval[1]:.3f}]" if r.interval else ""
        aim = "" if r.aim is None else f"aim {r.direction} {r.aim:g}: {'met' if r.met else 'missed'}"
        print(f"{r.name:56s} {r.value:9.3f} {r.unit:12s} {interval:18s} n={r.n:<8d} {aim}")
    if path is not None:
        write_json(benchmark, commit, device, rows, path)


def write_json(benchmark: str, commit: str, device: str, rows: list[Row], path: Path) -> None:
    """Write the rows as one JSON object."""
    document = {
        "benchmark": benchmark,
        "commit": commit,
        "device": device,
        # JSON has no NaN: what could not be measured is null
        "rows": [{**asdict(r), "value": None if np.isnan(r.value) else r.value, "met": r.met} for r in rows],
    }
    path.write_text(json.dumps(document, indent=1, allow_nan=False) + "\n", encoding="utf-8")
