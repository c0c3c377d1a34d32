"""The oracle: answers from ground truth in the place of a person, as exact or as human as it is asked to be."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from workbench.loop.comparison import WRONG_IOU, Comparison, TrueImage, compare_image
from workbench.masks import rle
from workbench.review.state import ACCEPT, NONE
from workbench.settings import Settings, setting, settings
from workbench.store.errors import StoreError
from workbench.tables.events import Recorded, ReviewEvent
from workbench.tables.outcomes import Outcome
from workbench.tables.proposals import Proposals

if TYPE_CHECKING:
    import pandas as pd

    from workbench.review.state import ImageReview


@settings
class OracleConfig(Settings):
    """How human the oracle is. The seconds are assumptions, not measurements: events carry them as simulated."""

    seed: int = setting(default=0, low=0, high=2**63 - 1, doc="of its errors; the same on the same image")
    error_rate: float = setting(default=0.0, low=0, high=1, doc="share of verdicts that are the wrong way round")
    boundary_px: float = setting(default=0.0, low=0, high=50, doc="standard deviation by which drawn outlines are off")
    missed_small: float = setting(default=0.0, low=0, high=1, doc="share of missed small objects that it overlooks too")
    small_px: int = setting(default=100, low=0, doc="an object of this area or less is small")
    verdict_s: float = setting(
        default=1.5, low=0, high=60, doc="seconds a verdict on an automatic mask; more is a pause"
    )
    draw_s: float = setting(
        default=14.0,
        low=0,
        high=300,
        doc="seconds a drawn mask (Stage 1 of Segment Anything ended at 14); no more are counted",
    )
    complete_s: float = setting(
        default=5.0, low=0, high=300, doc="seconds to look whether anything is missing; no more are counted"
    )


class Reviewable(Protocol):
    """What the oracle asks of a project."""

    def images(self) -> pd.DataFrame:
        """Return a row for each image."""

    def truth(self, image: str) -> Proposals:
        """Return the true masks of an image."""

    def truth_labels(self, image: str) -> pd.DataFrame:
        """Return label and crowd of each."""

    def image_review(self, image: str) -> ImageReview:
        """Return how an image stands."""

    def reviewed_images(self, status: str | None = None) -> list[str]:
        """Return the ids of images that people left with a status, None for any."""

    def record(self, events: Sequence[ReviewEvent]) -> list[Recorded]:
        """Append events to the journal."""

    def add_annotator(self, name: str, role: str | None = None) -> Any:
        """Record who reviews."""


class Annotator(Protocol):
    """Who reviews the images of a cycle: people, an oracle, or something of your own."""

    def annotate(self, project: Any, images: Sequence[str], cycle: int) -> list[str]:
        """Work on images, and return the ids of those that are not done yet; called again until none is left."""


class People:
    """People, who review through the queue in their own time: nothing is done here but to see what is left."""

    def annotate(self, project: Any, images: Sequence[str], cycle: int) -> list[str]:
        """Return the images that are neither complete nor skipped."""
        left = set(project.reviewed_images())
        return [image for image in images if image not in left]


def annotator_of(given: Annotator | OracleConfig | str) -> Annotator:
    """Return who reviews, from "people", "oracle", settings of an oracle, or an object of one's own. Raises ValueError."""
    if isinstance(given, OracleConfig):
        return Oracle(given)
    if isinstance(given, str):
        if given not in ("people", "oracle"):
            raise ValueError(f'annotator: expected "people", "oracle", OracleConfig or an object, got {given!r}')
        return Oracle() if given == "oracle" else People()
    if not callable(getattr(given, "annotate", None)):
        raise ValueError(f"annotator: expected an object with a method annotate(project, images, cycle), got {given!r}")
    return given


class Oracle:
    """Answers from the ground truth of a project, through its journal, as an annotator would.

    It looks at auto-accepted and flagged masks: those matched one to one with a true mask at IoU 0.75 it accepts, the
    others it rejects. What no mask that was shown matches, it draws; what it rejected by error it does not draw anew, as
    it took it for nothing. Then it completes the image. What lies in a crowd it leaves as it is, and draws no crowd. On an
    image that somebody began, what was decided and drawn stands, and what that matches is neither accepted nor drawn again.
    """

    def __init__(self, config: OracleConfig | None = None, name: str = "oracle") -> None:
        self.config, self.name = config or OracleConfig(), name

    def annotate(self, project: Reviewable, images: Sequence[str], cycle: int) -> list[str]:
        """Review images, each in one transaction; those that are left already are passed over. Returns those still open.

        Raises
        ------
        StoreError : for an image without ground truth
        """
        self.expect_truth(project, images)
        project.add_annotator(self.name)
        for image_id in images:
            review = project.image_review(image_id)
            if review.status == "open":
                crowd = np.asarray(project.truth_labels(image_id)["crowd"], dtype=bool)
                project.record(self.gestures(review, project.truth(image_id), crowd, cycle))
        left = set(project.reviewed_images())
        return [image_id for image_id in images if image_id not in left]

    def expect_truth(self, project: Reviewable, images: Sequence[str]) -> None:
        """Refuse images without ground truth, as before hours of proposing on them. Raises StoreError."""
        frame = project.images()
        unknown = set(images) - set(frame.loc[frame["truth"].notna(), "image_id"])
        if unknown:
            raise StoreError(
                f"oracle: {len(unknown):,} of {len(images):,} images have no ground truth to answer from ({min(unknown)} "
                "...): import it (import_coco, --ground-truth FILE), or let people review"
            )

    def gestures(
        self, review: ImageReview, truth: Proposals, crowd: NDArray[np.bool_], cycle: int | None = None
    ) -> list[ReviewEvent]:
        """Return what the oracle does on an image, in order.

        Parameters
        ----------
        truth : T masks, none included; crowd : (T,) which are regions of many things
        """
        rng = _rng(self.config.seed, review.image_id)
        undecided = ~review.drawn & ~review.superseded & (review.verdict == NONE)
        shown = np.flatnonzero(np.isin(review.outcome, (Outcome.auto_accepted, Outcome.flagged)) & undecided)
        decided = review.masks.select(review.final & (review.drawn | (review.verdict == ACCEPT)))
        if len(decided):
            begun = Comparison.of([compare_image(review.image_id, decided, TrueImage.of(truth, crowd))])
            right = begun.verdicts(np.ones(len(decided), bool), WRONG_IOU).right
            left = np.ones(len(truth), bool)
            left[np.flatnonzero(~crowd)[begun.found(right, WRONG_IOU)]] = False
            truth, crowd = truth.select(left), crowd[left]
        rows = review.masks.select(shown)
        compared = Comparison.of([compare_image(review.image_id, rows, TrueImage.of(truth, crowd))])
        every = np.ones(len(rows), bool)
        right, wrong = compared.verdicts(every, WRONG_IOU)
        turned = rng.random(len(rows)) < self.config.error_rate
        accepted = (right ^ turned) & (right | wrong)
        events = [
            self._event(
                review, int(k), "verdict", self.config.verdict_s, cycle, str(rows.mask_id[k]),
                {"verdict": "accept" if accepted[k] else "reject"},
            )
            for k in np.flatnonzero(right | wrong)
        ]  # fmt: skip
        missed = np.flatnonzero(~crowd)[~compared.found(right, WRONG_IOU) & ~compared.found(accepted, WRONG_IOU)]
        for k in missed:
            event = self._drawing(review, len(rows) + int(k), truth.rles[k], cycle, rng)
            if event is not None:
                events.append(event)
        return [*events, self._event(review, "done", "complete", self.config.complete_s, cycle)]

    def _drawing(
        self, review: ImageReview, k: int, counts: bytes, cycle: int | None, rng: np.random.Generator
    ) -> ReviewEvent | None:
        assert review.size_hw is not None  # it has truth, so it was read
        size_hw = review.size_hw
        overlooked = rng.random() < self.config.missed_small
        if overlooked and rle.area([counts], size_hw)[0] <= self.config.small_px:
            return None
        if self.config.boundary_px:
            counts = rle.encode(shaken(rle.decode([counts], size_hw)[0], self.config.boundary_px, rng)[None])[0]
        payload = {"rle": counts.decode("ascii"), "size_hw": list(size_hw), "tool": "polygon"}
        return self._event(review, k, "draw", self.config.draw_s, cycle, payload=payload)

    def _event(
        self,
        review: ImageReview,
        k: int | str,
        kind: str,
        seconds: float,
        cycle: int | None,
        mask_id: str = "",
        payload: dict[str, Any] | None = None,
    ) -> ReviewEvent:
        return ReviewEvent(
            # by how much was done before, so that it answers anew on an image that was opened again
            gesture_id=f"{self.name}-{review.image_id}-{review.run_id}-{review.triage_id}-{len(review.history)}-{k}",
            image_id=review.image_id,
            kind=kind,
            mask_id=mask_id,
            payload=payload or {},
            annotator=self.name,
            elapsed_ms=1000 * seconds,
            seconds_source="simulated",
            cycle=cycle,
            run_id=review.run_id,
            triage_id=review.triage_id,
        )


def shaken(mask: NDArray[np.bool_], sigma_px: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Return a mask whose outline is off by a smooth noise of this standard deviation; never empty.

    Parameters
    ----------
    mask : (H, W) bool with at least one pixel
    """
    from scipy import ndimage

    inside, outside = ndimage.distance_transform_edt(mask), ndimage.distance_transform_edt(~mask)
    noise = ndimage.gaussian_filter(rng.standard_normal(mask.shape), 2 * sigma_px + 2, mode="wrap")
    signed = np.where(mask, inside - 0.5, 0.5 - outside)  # px from the outline, positive inside
    moved = signed + noise * (sigma_px / max(float(noise.std()), 1e-12)) > 0
    moved &= signed > -4 * sigma_px - 1  # no islands far from the object
    return moved if moved.any() else mask


def _rng(seed: int, image_id: str) -> np.random.Generator:
    digest = hashlib.sha256(f"oracle\0{image_id}".encode()).digest()
    return np.random.default_rng([seed, int.from_bytes(digest[:8], "big")])
