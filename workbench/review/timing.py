"""Active time of people by phase: verdicts, drawing and editing, completion check (R10)."""

from __future__ import annotations

from collections.abc import Iterable

from workbench.tables.events import PHASES, ReviewEvent

_LONG = ("draw", "edit", "complete", "skip")  # one gesture that may well take minutes


def active_s(events: Iterable[ReviewEvent], idle_s: float = 60.0, drawing_s: float = 300.0) -> dict[str, float]:
    """Return active seconds by phase; the gesture decides the phase.

    A client cuts its pauses where it can see them. A verdict or an answer that comes more than `idle_s` after the
    gesture before it is a pause whatever the client says, and counts for nothing. A drawing is one gesture of many
    strokes, which may well take longer; when its strokes fell is known to the client alone, so it counts as the client
    measured it, up to `drawing_s`; so does looking over the whole image before it is completed or skipped: what a client that cuts no pauses adds is bounded, and long work is kept in part.

    Parameters
    ----------
    events : of any images and people; stale ones count too, since the time was spent
    idle_s : the longest time between two gestures that is still active
    drawing_s : the most that one gesture of drawing, editing or leaving the image counts for
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
