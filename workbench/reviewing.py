"""Review of a project: its journal, queue and final masks, audits and agreement, and the quality report."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from workbench import auditing, exchange, handing_out, mending, overview, recording
from workbench.auditing import Agreement, AuditDrawn
from workbench.folder import ProjectFolder
from workbench.overview import QualityReport
from workbench.review.config import ReviewConfig
from workbench.review.queue import Queue
from workbench.review.state import ImageReview
from workbench.shown import Shown
from workbench.store import audits, journal, review_settings
from workbench.store.catalog import Catalog
from workbench.store.errors import StoreError
from workbench.store.journal import Person
from workbench.tables.events import Claim, EventError, Recorded, ReviewEvent
from workbench.tables.proposals import Proposals

if TYPE_CHECKING:
    import pandas as pd


class Reviewing(ProjectFolder):
    """The part of `Project` that people's work goes through.

    Attributes
    ----------
    review_config : settings of claims, dialogs, audits and the quality report, see `ReviewConfig`
    """

    def __init__(self, path: Path, catalog: Catalog) -> None:
        super().__init__(path, catalog)
        self._shown = Shown(self)

    # ---- settings -------------------------------------------------------------------------------------------------

    @property
    def review_config(self) -> ReviewConfig:
        """Settings of claims, dialogs, audits and the quality report, for all who work on the project.

        Put another one in its place to change them: it is kept in the project, and in force at once, in windows that are
        open too. The quality report tells which answers of dialogs were given under which settings.
        """
        kept = review_settings.latest(self.catalog)
        return ReviewConfig() if kept is None else ReviewConfig.from_dict(kept)

    @review_config.setter
    def review_config(self, config: ReviewConfig) -> None:
        if not isinstance(config, ReviewConfig):
            raise TypeError(f"review_config: expected a ReviewConfig, got {type(config).__name__}")
        review_settings.keep(self.catalog, config.to_dict(), ReviewConfig().to_dict())

    # ---- people ---------------------------------------------------------------------------------------------------

    def add_annotator(self, name: str, role: str | None = None) -> Person:
        """Record a person who reviews, or give a known one another role.

        Parameters
        ----------
        role : annotator, senior or owner; without one a known person keeps theirs, and a new one is an annotator

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
        if wrong := [event for event in given if not isinstance(event, ReviewEvent)]:
            raise EventError(f"record: expected ReviewEvents, got {type(wrong[0]).__name__}")
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
        return Proposals.concat(list(self._final_by_image(images)))

    def _final_by_image(self, images: str | Iterable[str] | None = None) -> Iterator[Proposals]:
        """Yield the final masks of complete images, one image after the other."""
        for review in recording.reviews(self._shown, self._ids(images)):
            yield review.masks.select(review.final)

    def final_labels(self, images: str | Iterable[str] | None = None) -> pd.DataFrame:
        """Return image_id, mask_id, label, by, verdict and bulk of each final mask, row by row beside `final_masks`."""
        return handing_out.labels_frame(recording.reviews(self._shown, self._ids(images)))

    def reviewed(self) -> pd.DataFrame:
        """Return a row for each image that was left or worked on: status, annotator, active seconds, gestures."""
        return handing_out.reviewed_frame(self._shown, self.review_config)

    def reviewed_images(self, status: str | None = None) -> list[str]:
        """Return the ids of images that people left: complete or skipped; None for both. In the order of images."""
        return journal.reviewed_images(self.catalog, status)

    def proposals(
        self, image: str | Iterable[str] | None = None, run: int | None = None, outcome: str | None = None
    ) -> Proposals:
        """Return proposals as `ProjectFolder.proposals` does; of outcome "final" with what people have decided.

        Those are of reviewed images what people left, of others the auto-accepted masks; skipped images have none.
        """
        if outcome != "final":
            return super().proposals(image, run, outcome)
        return exchange.final_masks(self._shown, self._ids(image), run)

    def export_coco(self, path: str | Path, outcome: str = "auto_accepted") -> int:
        """Write masks of an outcome as a COCO file, as in `proposals`; return how many. Labels of final ones go along.

        Final are, of images that people completed, what they left, and of those that nobody has left what is auto-accepted.

        Raises
        ------
        StoreError : when there are no proposals; OutputError : for a name that is a project's own, an image of the project,
            a folder; OSError : when the file cannot be written
        """
        return exchange.export_coco(self._shown, path, outcome, self.triage_config())

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

    # ---- audits, agreement, quality -------------------------------------------------------------------------------

    def draw_audit(
        self,
        seed: int = 0,
        *,
        share: float | None = None,
        images: Iterable[str] | None = None,
        reviewed_only: bool = True,
        again: bool = False,
    ) -> AuditDrawn:
        """Draw final masks at random for a senior who did not decide them, and keep which, with what probability.

        Of automatic masks of each model, of manual and of edited ones a share is drawn (5 %), and of the automatic ones at
        least 200 a model, or all if there are fewer. The queue hands the images out to seniors; their verdicts change no
        mask.

        Parameters
        ----------
        seed : the same seed draws the same masks from the same ones
        share : None for that of `review_config`
        images : draw from these ids or paths only; None for all
        reviewed_only : draw from complete images; False adds those nobody has reviewed, with what was accepted by itself
        again : ask about masks that were audited before once more. By default they are drawn like all others, with the
            same probability, and what an auditor has said of them counts; only the others are handed out. So a repeated
            audit stays a random sample of all final masks, and costs no work twice

        Raises
        ------
        StoreError : when there is nothing to draw from; ValueError : for a share that is none
        """
        names = None if images is None else self._ids(list(images))
        return auditing.draw(self._shown, self.review_config, seed, share, names, reviewed_only, again)

    def audits(self) -> pd.DataFrame:
        """Return a row for each audit: seed, settings, strata, when it was drawn, masks drawn and answered."""
        return audits.audits_frame(self.catalog)

    def audit_review(self, image: str, annotator: str) -> ImageReview:
        """Return the masks of an image that a senior has to audit, blind: without scores, reasons, verdicts or names.

        Record verdicts (or edits) on them under the claim of the queue, or with purpose="audit".

        Raises
        ------
        StoreError : for somebody who is not senior, or an unknown image
        """
        return auditing.blind_review(self._shown, self._image_id(image), annotator)

    def audit_results(self, audit: int | None = None) -> pd.DataFrame:
        """Return a row for each mask of an audit (None: of all): probability, who decided, who audited, right or wrong.

        A mask that the auditor edited is right when both versions have an IoU of 0.75 (`right_iou`).
        """
        return auditing.results_frame(self._shown, self.review_config, audit)

    def disagreements(self, annotator: str | None = None) -> pd.DataFrame:
        """Return the audited masks that were found wrong, each once, with their images, to be opened again.

        Of several audits that found a mask wrong the last one is told.

        Parameters
        ----------
        annotator : only those that this person decided; None for all, masks that nobody decided among them

        Raises
        ------
        StoreError : for somebody who was not added
        """
        if annotator is not None:
            with self.catalog.read() as connection:
                annotator = journal.person(connection, annotator).name
        frame = self.audit_results()
        chosen = frame["result"] == "wrong"
        if annotator is not None:
            chosen &= frame["decided_by"] == annotator
        return frame[chosen].drop_duplicates(["image_id", "mask_id"], keep="last").reset_index(drop=True)

    def agreement(self) -> Agreement:
        """Return how far annotators agree: alpha and kappa on verdicts, IoU of masks, by person and by day."""
        return auditing.agree(self._shown, self.review_config, np.random.default_rng([abs(self.seed), 8]))

    def quality_report(self) -> QualityReport:
        """Return coverage, overlaps, rejections, time by phase, masks an hour, progress and audits."""
        rng = np.random.default_rng([abs(self.seed), 9])
        return overview.quality_report(self._shown, self.review_config, self.queue().progress(), rng)

    def check(self) -> list[str]:
        """Return what is wrong with the project's files, and where what is kept beside the journal differs from it."""
        return [*super().check(), *mending.faults(self.catalog)]

    def mend(self) -> list[str]:
        """Compute anew what is kept beside the journal: where images stand, which events answer audits.

        Returns a line for each thing that differed. The journal itself is never changed.
        """
        return mending.mend(self.catalog)

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
