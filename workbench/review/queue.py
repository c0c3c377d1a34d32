"""The queue: which image a person gets next, and how long it is theirs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from workbench.tables.events import Claim, Left, Progress
from workbench.tables.outcomes import Reason, Triage
from workbench.tables.proposals import Proposals


class Desk(Protocol):
    """Where claims are kept: the store behind a queue."""

    def take(
        self, annotator: str, image: str | None, other_than: Sequence[str], window: str | None, resume: bool
    ) -> Claim | None:
        """Take an image, or the next one."""

    def renew(self, claim: Claim) -> Claim:
        """Let a claim hold for another while."""

    def release(self, claim: Claim) -> bool:
        """Give an image back."""

    def whereabouts(self, claim: Claim) -> str:
        """Tell where the image of a claim is."""

    def progress(self) -> Progress:
        """Count what is done."""

    def left(self, annotator: str, window: str | None) -> Left:
        """Count what is not done, by where it is."""


class Queue:
    """Hands images out, each to one person at a time; any number of processes may ask.

    strategy : flagged_first, order, uncertain or most_flagged
    """

    def __init__(self, desk: Desk, strategy: str, refresh: Callable[[], None]) -> None:
        self._desk, self.strategy, self._refresh = desk, strategy, refresh

    def __repr__(self) -> str:
        return f"<Queue {self.strategy}: {self.progress()}>"

    def claim(
        self,
        annotator: str,
        image: str | None = None,
        *,
        other_than: Sequence[str] = (),
        window: str | None = None,
        resume: bool = True,
    ) -> Claim | None:
        """Return an image that is the annotator's for a while; None when there is nothing left for them.

        The image they hold already comes first, then the one they had last, then images with flagged masks, audits
        (for seniors), and images to complete. A claim that expired is free to all.

        Parameters
        ----------
        image : id or path of the image to take; None for the next one. None comes back when somebody else has it.
        other_than : ids of images to pass over
        window : name of the annotator's window that asks, where they may have several
        resume : False passes over an image that another window of theirs has open; True takes it over. An image that is
            asked for by name is always taken over

        Raises
        ------
        StoreError : for an unknown annotator or image
        """
        return self._desk.take(annotator, image, other_than, window, resume)

    def renew(self, claim: Claim) -> Claim:
        """Return the claim with a later end. Raises StoreError when the image has gone to another."""
        return self._desk.renew(claim)

    def release(self, claim: Claim) -> bool:
        """Give an image back; False when it had gone to another already, or to another window of the annotator's."""
        return self._desk.release(claim)

    def whereabouts(self, claim: Claim) -> str:
        """Return where the image of a claim is.

        here; window, when another window of the annotator's took it over; back, when it was given back or left for good;
        gone, when it has gone to another annotator
        """
        return self._desk.whereabouts(claim)

    def progress(self) -> Progress:
        """Return how many images are complete or skipped, of how many, and the same of masks."""
        return self._desk.progress()

    def left(self, annotator: str, *, window: str | None = None) -> Left:
        """Return how many images there are for an annotator: free, held by others, and open in other windows of theirs."""
        return self._desk.left(annotator, window)

    def refresh(self) -> None:
        """Take in what was proposed or triaged since the queue was made."""
        self._refresh()


def priorities(proposals: Proposals, triaged: Triage) -> dict[str, float]:
    """Return what the order of images follows: counts of outcomes, and doubt.

    doubt : sum over flagged masks of how near they are to a coin flip by predicted IoU, 1 at 0.5 and 0 at 0 or 1, and
        at least 0.1 for each: many doubtful masks make an image doubtful
    """
    counts = triaged.counts()
    flagged = triaged.flagged & (triaged.reasons & int(Reason.duplicate) == 0)
    p = np.clip(np.nan_to_num(proposals.predicted_iou[flagged], nan=0.5), 0.0, 1.0).astype(float)
    doubt = float(np.maximum(1 - np.abs(2 * p - 1), 0.1).sum())
    return {**{name: counts[name] for name in ("auto_accepted", "flagged", "discarded")}, "doubt": doubt}
