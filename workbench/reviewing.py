"""Review of a project: its journal, queue and final masks, audits and agreement, and the quality report."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from workbench import handing_out, recording
from workbench.folder import ProjectFolder
from workbench.review.config import ReviewConfig
from workbench.review.queue import Queue
from workbench.review.state import ImageReview
from workbench.store import journal
from workbench.store.catalog import Catalog
from workbench.store.errors import StoreError
from workbench.store.journal import Person
from workbench.tables.events import Claim, Recorded, ReviewEvent
from workbench.tables.proposals import Proposals

if TYPE_CHECKING:
    import pandas as pd


class Reviewing(ProjectFolder):
    """The part of `Project` that people's work goes through.

    Attributes
    ----------
    review_config : settings of claims, dialogs, audits and the quality report; another one may be put in its place
    """

    def __init__(self, path: Path, catalog: Catalog) -> None:
        super().__init__(path, catalog)
        self.review_config = ReviewConfig()
        self._shown = recording.Shown(self)

    # ---- people ---------------------------------------------------------------------------------------------------

    def add_annotator(self, name: str, role: str = "annotator") -> Person:
        """Record a person who reviews, or give a known one another role: annotator, senior or owner.

        Raises
        ------
        ValueError : for an unknown role, or a name that is empty, over 200 characters or more than one line
        """
        return journal.add_person(self.catalog, name, role)

    def annotators(self) -> pd.DataFrame:
        """Return name, role and when they were added, a row a person."""
        return journal.people_frame(self.catalog)

    # ---- the journal ----------------------------------------------------------------------------------------------

    def record(self, events: ReviewEvent | Sequence[ReviewEvent], claim: Claim | None = None) -> list[Recorded]:
        """Append gestures to the journal in one transaction; they are on disk when this returns.

        A gesture that is there already is acknowledged again, without a second row. Under a claim that has gone to
        another since, events are kept as stale: shown, but they change nothing. A claim that expired while nobody else
        took the image still holds, and is renewed by every gesture under it. Under a claim for an audit or for a second
        annotation events get that purpose.

        Parameters
        ----------
        events : one or several; either all are recorded or none
        claim : what the annotator works under; None for work outside a queue

        Raises
        ------
        EventError : for an event that does not fit its image, mask, claim or annotator, or an undo of what cannot be
            undone; StoreError : when nothing can be written
        """
        given = [events] if isinstance(events, ReviewEvent) else list(events)
        return recording.record(self._shown, given, claim, self.review_config.claim_s)

    def journal(self, image: str | None = None) -> pd.DataFrame:
        """Return a row for each event in order, of one image or of all; stale and undone ones too."""
        keys = None if image is None else [file.key for file in self._chosen([image], None)]
        return journal.journal_frame(self.catalog, keys)

    # ---- images and masks -----------------------------------------------------------------------------------------

    def image_review(self, image: str, *, latest: bool = False, annotator: str | None = None) -> ImageReview:
        """Return how an image stands: its masks, outcomes, verdicts, labels, and which are final.

        A complete image is shown with the run and the triage it was completed with, so that its final masks stay; an
        open one with the latest, where verdicts on masks of older runs are suggestions at IoU >= 0.9.

        Parameters
        ----------
        image : id or path
        latest : show a complete image with the latest run too, to review it again
        annotator : count only what this person did, in review or as second annotator

        Raises
        ------
        StoreError : when there is no such image
        """
        image_id = self._image_id(image)
        if annotator is not None:
            return handing_out.own_review(self._shown, image_id, annotator)
        return recording.image_review(self._shown, image_id, latest=latest)

    def final_masks(self, images: str | Iterable[str] | None = None) -> Proposals:
        """Return the final masks of images that are complete, in the order of images; of all for None."""
        found = recording.reviews(self._shown, self._ids(images))
        return Proposals.concat([review.masks.select(review.final) for review in found])

    def final_labels(self, images: str | Iterable[str] | None = None) -> pd.DataFrame:
        """Return image_id, mask_id, label, by, verdict and bulk of each final mask, row by row beside `final_masks`."""
        return handing_out.labels_frame(recording.reviews(self._shown, self._ids(images)))

    def reviewed(self) -> pd.DataFrame:
        """Return a row for each image that was left or worked on: status, annotator, active seconds, gestures."""
        return handing_out.reviewed_frame(self._shown, self.review_config)

    # ---- the queue ------------------------------------------------------------------------------------------------

    def queue(
        self,
        strategy: str = "flagged_first",
        *,
        images: Iterable[str] | None = None,
        role: str | None = None,
        skipped: bool = False,
        second: bool = False,
        claim_s: float | None = None,
    ) -> Queue:
        """Return the queue of images for people; any number of processes may have one.

        Parameters
        ----------
        strategy : flagged_first (images with flagged masks, then audits, then the others), order (as the images are
            ordered), uncertain (most doubtful first), most_flagged
        images, role : only these ids or paths, or images of this role (train, calibration, test)
        skipped : hand out skipped images again
        second : hand out complete images to a second annotator, whose work is kept apart and only used for agreement
        claim_s : seconds that a claim holds; None for that of `review_config`

        Raises
        ------
        ValueError : for an unknown strategy or role; StoreError : for an unknown image
        """
        seconds = self.review_config.claim_s if claim_s is None else float(claim_s)
        return handing_out.queue(self._shown, strategy, images, role, skipped, second, seconds)

    # ---- what the above share -------------------------------------------------------------------------------------

    def _image_id(self, image: str) -> str:
        found = [file.image_id for file in self._chosen([image], None) if file.image_id is not None]
        if len(found) != 1:
            what = "it cannot be read" if not found else f"{len(found)} images have that path; give an id: {found}"
            raise StoreError(f"image: expected one image, got {image!r}: {what}")
        return found[0]

    def _ids(self, images: str | Iterable[str] | None) -> list[str] | None:
        if images is None:
            return None
        names = [images] if isinstance(images, str) else images
        return [str(file.image_id) for file in self._chosen(names, None)]
