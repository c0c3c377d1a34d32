"""Active time of people by phase: verdicts, drawing and editing, completion check (R10)."""

from __future__ import annotations

from collections.abc import Iterable

from workbench.tables.events import PHASES, ReviewEvent

_LONG = ("draw", "edit", "complete", "skip")  # one gesture that may well take minutes


def active_s(events: Iterable[ReviewEvent], idle_s: float = 60.0, drawing_s: float = 300.0) -> dict[str, float]:
    """Return active seconds by phase; the gesture decides the phase.

    A client cuts its pauses where it can see them. Drawing, editing, completing and skipping may well take minutes: they
    count as the client measured them, up to the larger of `drawing_s` and `idle_s`, so that a client that cuts no pauses
    adds little. Any other gesture that took longer than `idle_s` is a pause, and counts for nothing.

    Parameters
    ----------
    events : of any images and people; stale ones count too, since the time was spent
    idle_s : the longest time between two gestures that is still active
    drawing_s : the most that one gesture of drawing, editing or leaving the image counts for, at least `idle_s`
    """
    seconds = dict.fromkeys(PHASES, 0.0)
    for event in events:
        spent = event.elapsed_ms / 1000.0
        if event.kind in _LONG:
            seconds[event.phase] += min(spent, max(drawing_s, idle_s))
        elif spent <= idle_s:
            seconds[event.phase] += spent
    return seconds


def shares(seconds: dict[str, float]) -> dict[str, float]:
    """Return the share of each phase of all active time, 0 where there is none."""
    total = sum(seconds.values())
    return {phase: spent / total if total else 0.0 for phase, spent in seconds.items()}


def per_hour(masks: int, seconds: float) -> float:
    """Return masks an active hour; NaN without active time."""
    return masks * 3600.0 / seconds if seconds > 0 else float("nan")
