"""Two ways of doing the same thing timed in pairs (A B B A), and the median of their ratio with its interval."""

from __future__ import annotations

import gc
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from benchmarks.figures import Row


def one_set(data: Path) -> Path:
    """Return the folder of one set of images: of a folder of several, as other benchmarks take it, the nuclei."""
    return data / "nuclei" if (data / "nuclei").is_dir() else data


@dataclass(frozen=True)
class Pairs:
    """Seconds of both ways, (R, 2) each: R rounds of A B B A; columns are wall time and processor time of all threads."""

    peer_s: np.ndarray
    ours_s: np.ndarray

    @property
    def ratios(self) -> np.ndarray:
        """How many times as long the peer took, (R, 2)."""
        ratios: np.ndarray = self.peer_s / self.ours_s
        return ratios

    def rows(self, name: str, aim: float | None = None) -> list[Row]:
        """Return the ratio of wall time, which has an aim, that of processor time, and the medians of both ways."""
        n = len(self.peer_s)
        rows = [
            Row(f"{name}: {kind}", *median(self.ratios[:, i]), n=n, aim=wanted, direction=">=")
            for i, kind, wanted in ((0, "wall ratio", aim), (1, "processor ratio", None))
        ]
        for whose, seconds in (("peer", self.peer_s), ("ours", self.ours_s)):
            value, _, interval = median(1000 * seconds[:, 0], "ms")
            rows.append(Row(f"{name}: {whose}", value, "ms", interval, n, None, "<="))
        return rows


def paired(peer: Callable[[], object], ours: Callable[[], object], rounds: int) -> Pairs:
    """Time `rounds` rounds of peer, ours, ours, peer; each way has run once before, so that nothing is compiled."""
    seconds = np.zeros((2, rounds, 2))
    for i in range(rounds):
        for which, way in ((0, peer), (1, ours), (1, ours), (0, peer)):
            seconds[which, i] += timed(way)
    return Pairs(seconds[0] / 2, seconds[1] / 2)


def timed(way: Callable[[], object]) -> tuple[float, float]:
    """Return wall time and processor time of one call, s; rubbish is collected before, and not during it."""
    gc.collect()
    gc.disable()
    try:
        wall, processor = time.perf_counter(), time.process_time()
        result = way()
        taken = time.perf_counter() - wall, time.process_time() - processor
    finally:
        gc.enable()
    del result
    return taken


def median(values: np.ndarray, unit: str = "×", draws: int = 1000) -> tuple[float, str, tuple[float, float]]:
    """Return the median, the unit, and the 95 % interval of the median by bootstrap over rounds."""
    picks = np.random.default_rng(0).integers(0, len(values), (draws, len(values)))
    low, high = np.quantile(np.median(values[picks], axis=1), [0.025, 0.975])
    return float(np.median(values)), unit, (float(low), float(high))


def commit() -> str:
    """Return the commit that is measured, marked when the working tree differs from it."""
    command = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def processor(device: str = "cpu") -> str:
    """Return what computes, for the field `device`."""
    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    return f"cpu, {torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()}"
