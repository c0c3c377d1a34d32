"""Active time of people by phase: verdicts, drawing and editing, completion check (R10)."""

from __future__ import annotations

from collections.abc import Iterable

from workbench.tables.events import PHASES, ReviewEvent


def active_s(events: Iterable[ReviewEvent], idle_s: float = 60.0) -> dict[str, float]:
    """Return active seconds by phase; the gesture decides the phase.

    A client cuts its pauses where it can see them. A verdict or an answer that comes more than `idle_s` after the
    gesture before it is a pause whatever the client says, and counts for nothing; drawing is work all along, and counts
    as the client measured it.

    Parameters
    ----------
    events : of any images and people; stale ones count too, since the time was spent
    idle_s : the longest time between two gestures that is still active
    """
    seconds = dict.fromkeys(PHASES, 0.0)
    for event in events:
        spent = event.elapsed_ms / 1000.0
        if event.phase == "draw" or spent <= idle_s:
            seconds[event.phase] += spent
    return seconds


def shares(seconds: dict[str, float]) -> dict[str, float]:
    """Return the share of each phase of all active time, 0 where there is none."""
    total = sum(seconds.values())
    return {phase: spent / total if total else 0.0 for phase, spent in seconds.items()}


def per_hour(masks: int, seconds: float) -> float:
    """Return masks an active hour; NaN without active time."""
    return masks * 3600.0 / seconds if seconds > 0 else float("nan")
