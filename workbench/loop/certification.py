"""Certificates of a project: masks drawn from its pool with equal probability, and images kept for the purpose."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from workbench.calibrate.bounds import images_needed
from workbench.calibrate.certify import GRID, Certificate, certify_images, certify_pool
from workbench.calibrate.recalibrate import Recalibration
from workbench.config import TriageConfig
from workbench.loop.comparison import WRONG_IOU
from workbench.loop.labelling import Candidates, Labelled, Source, candidates, label
from workbench.masks import rle
from workbench.plotted import Plotted
from workbench.tables.proposals import digest_of_masks

if TYPE_CHECKING:
    from workbench.review.state import ImageReview
    from workbench.reviewing import Reviewing

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
LABELS = 300  # masks drawn from a pool where no other number is asked for


@dataclasses.dataclass(frozen=True, eq=False)
class Certificates(Plotted):
    """Both promises: of the masks of this pool, and of images to come.

    unlabelled : masks drawn from the pool that have no label yet; drawn : all of them
    """

    pool: Certificate
    images: Certificate
    drawn: int
    unlabelled: int

    @property
    def whole(self) -> bool:
        """Whether every mask that a threshold of the grid can accept was drawn: there are no more to label."""
        return 0 < self.drawn == self.pool.steps[-1].population

    def __str__(self) -> str:
        left = (
            f"{self.unlabelled:,} of the {self.drawn:,} masks drawn have no label yet: give each a verdict, in "
            "wb.Annotator(project, images=project.masks_to_verify().query(\"label == ''\"))"
        )
        lines = [self.pool.sentence, self.images.sentence, *([left] if self.unlabelled else [])]
        if self.whole:
            lines.append(f"The {self.drawn:,} masks drawn are all that have a confidence above {GRID[-1]:g}.")
        return "\n".join(lines)

    __repr__ = __str__

    def to_dict(self) -> dict[str, Any]:
        """Return both as plain values for JSON."""
        counts = {"drawn": self.drawn, "unlabelled": self.unlabelled}
        return {"pool": self.pool.to_dict(), "images": self.images.to_dict(), **counts}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Certificates:
        """Build both from what `to_dict` gave."""
        pool, images = Certificate.from_dict(values["pool"]), Certificate.from_dict(values["images"])
        return cls(pool, images, values["drawn"], values["unlabelled"])


def each_candidate(
    project: Reviewing,
    images: Sequence[str] | None = None,
    run: int | None = None,
    config: TriageConfig | None = None,
) -> Iterator[Candidates]:
    """Yield the distinct proposals of each image that a run has done, by the triage used last or another."""
    config = config or project.triage_config(run)
    for image_id, rows in project.each(images, run, config=config):
        yield candidates(image_id, rows, config)


@dataclasses.dataclass(frozen=True, eq=False)
class Pool:
    """The masks of a run that a threshold on confidence can accept: distinct and within the area limits.

    image, mask_id : (N,); confidence : (N,) p(right), NaN without a score
    """

    image: NDArray[np.object_]
    mask_id: NDArray[np.object_]
    confidence: Floats

    def __len__(self) -> int:
        return len(self.image)

    @functools.cached_property
    def digest(self) -> str:
        """16 hex digits of which masks these are: a certificate of a pool holds for these masks only."""
        return digest_of_masks(zip(self.image.tolist(), self.mask_id.tolist(), strict=True))


def digest_of(project: Reviewing, base: TriageConfig, images: Sequence[str] | None = None) -> str:
    """Return the digest of the pool of the latest run as it is now, without its confidence."""
    found = each_candidate(project, images, config=base)
    return digest_of_masks((own.image_id, mask) for own in found for mask in own.rows.mask_id[own.within].tolist())


def pool_of(
    project: Reviewing, recalibration: Recalibration, base: TriageConfig, images: Sequence[str] | None = None
) -> Pool:
    """Return the pool of the latest run, by the thresholds that the recalibration was made with.

    Whatever triage goes by since: confidence is that of the same masks, for the same reasons.
    """
    nothing = np.zeros(0, object)
    image, mask_id, confidence = [nothing], [nothing], [np.zeros(0)]
    for own in each_candidate(project, images, config=base):
        image.append(own.rows.image_id[own.within])
        mask_id.append(own.rows.mask_id[own.within])
        confidence.append(recalibration.predict(own.features)[own.within])
    return Pool(np.concatenate(image), np.concatenate(mask_id), np.concatenate(confidence))


def draw(pool: Pool, labels: int, seed: Sequence[int], kept: NDArray[np.int64] | None = None) -> NDArray[np.int64]:
    """Draw masks of the pool above the loosest threshold with equal probability; positions, ascending.

    Parameters
    ----------
    labels : how many, those that were drawn before among them; kept : positions of these, all of which stay
    seed : words of it; one that is the same for another recalibration would draw masks that this one may have learned from
    """
    before = np.zeros(0, np.int64) if kept is None else kept
    left = np.setdiff1d(np.flatnonzero(pool.confidence > GRID[-1]), before)
    rng = np.random.default_rng([*seed, len(before)])
    further = rng.choice(left, min(max(labels - len(before), 0), len(left)), replace=False)
    return np.sort(np.concatenate([before, further]))


Verdict = Literal["right", "wrong", "crowd", ""]
Accepted = Callable[[Labelled | Candidates], Flags]
"""Which distinct proposals are accepted, (n,)."""


class Drawn(NamedTuple):
    """Masks that were drawn, among the labelled proposals of their images.

    place : (n,) row of each; -1 where neither truth nor a whole review of its image is known
    by_itself : (n,) for these, what people said of the mask by itself
    """

    rows: Labelled
    place: NDArray[np.int64]
    by_itself: list[Verdict]

    @classmethod
    def of(
        cls,
        project: Reviewing,
        image: Sequence[str],
        mask_id: Sequence[str],
        source: Source,
        config: TriageConfig | None = None,
        run: int | None = None,
    ) -> Drawn:
        """Look masks of the latest run or another up by the ids of their images and their own, by the triage used last or another."""
        rows = label(project, list(dict.fromkeys(image)), run, source=source, config=config)
        place = {key: k for k, key in enumerate(zip(rows.image, rows.mask_id, strict=True))}
        keys = list(zip(image, mask_id, strict=True))
        known, begun = set(rows.images), set(project.reviewed()["image_id"])
        reviews = {name: project.image_review(name) for name in set(image) & begun - known}
        by_itself = [said_by_itself(reviews[name], mask) if name in reviews else "" for name, mask in keys]
        return cls(rows, np.array([place.get(key, -1) for key in keys], np.int64), by_itself)

    def verdicts(self, accepted: Accepted) -> list[Verdict]:
        """Return the label of each when what is accepted is matched alone; "" where there is none yet.

        "crowd": it lies in a crowd of the truth, and is neither right nor wrong.
        """
        taking_part = accepted(self.rows)
        taking_part[self.place[self.place >= 0]] = True
        right, wrong = self.rows.comparison.verdicts(taking_part)
        crowd = self.rows.comparison.crowd_share >= WRONG_IOU
        words = np.select([right, wrong, crowd], ["right", "wrong", "crowd"], "")
        return [words[k] if k >= 0 else own for k, own in zip(self.place.tolist(), self.by_itself, strict=True)]


def said_by_itself(review: ImageReview, mask_id: str) -> Verdict:
    """Return what people said of a mask of an image that they have not left: "" where nobody looked at it one by one.

    What they accepted is right, what they rejected is wrong; what they corrected is right where what came of it lies at IoU 0.75.
    """
    found = np.flatnonzero(review.masks.mask_id == mask_id)
    if not len(found) or not review.looked_at[found[0]]:
        return ""
    k, parents = int(found[0]), review.masks.parent_id.astype(str)
    if not review.superseded[k]:
        return "right" if review.final[k] else "wrong"
    made, of = np.zeros(len(review), bool), {mask_id}
    while of:  # corrections of corrections
        next_ones = np.isin(parents, list(of)) & ~made
        made |= next_ones
        of = set(review.masks.mask_id[next_ones].tolist())
    left = review.masks.rles[made & review.final].tolist()
    size = (int(review.masks.sizes_hw[k, 0]), int(review.masks.sizes_hw[k, 1]))
    close = left and rle.iou_matrix([review.masks.rles[k]], left, size).max() >= WRONG_IOU
    return "right" if close else "wrong"


def above(recalibration: Recalibration, threshold: float) -> Accepted:
    """Accept what is within the area limits and has a confidence above a threshold."""

    return lambda rows: np.asarray(
        rows.within & (recalibration.predict(rows.features) > threshold)
    )  # NaN is above none


def _right_above(
    rows: Labelled, recalibration: Recalibration, some: NDArray[np.int64], by_itself: Flags
) -> Callable[[float], Flags]:
    """Return which of some rows are right when the masks above a threshold are matched alone, as `fp_rate` counts them.

    What stays out takes no true mask from what is accepted. by_itself : what goes for those whose row is -1
    """
    p = recalibration.predict(rows.features)

    def right(threshold: float) -> Flags:
        matched = rows.comparison.verdicts(rows.within & (p > threshold)).right
        return np.where(some >= 0, np.append(matched, False)[some], by_itself)

    return right


def of_pool(
    pool: Pool, drawn: NDArray[np.int64], found: Drawn, recalibration: Recalibration, alpha: float, delta: float
) -> tuple[Certificate, int]:
    """Certify the pool, once every mask drawn has its label; return with it how many have none yet.

    Masks that lie in a crowd are left out of the labels: what is said holds for the others.
    """
    verdicts = np.array(found.verdicts(above(recalibration, GRID[-1])), dtype=object)
    missing = int((verdicts == "").sum())
    if not missing:
        use = verdicts != "crowd"
        right = _right_above(found.rows, recalibration, found.place[use], verdicts[use] == "right")
        return certify_pool(pool.confidence[drawn[use]], right, pool.confidence, alpha, delta), 0
    waiting = certify_pool([], [], pool.confidence, alpha, delta)
    said = f"{missing:,} of the {len(drawn):,} masks that were drawn have no label yet."
    return dataclasses.replace(waiting, note=said, labels=len(drawn) - missing, needed=len(drawn)), missing


def of_images(
    project: Reviewing,
    recalibration: Recalibration,
    base: TriageConfig,
    images: Sequence[str],
    alpha: float,
    delta: float,
    seed: int,
    source: Source = "final",
) -> Certificate:
    """Certify images to come, from labelled images that had no part in the recalibration.

    Every mask that a threshold can accept counts, by the thresholds that the recalibration was made with (`base`). One
    that nobody looked at counts as wrong until somebody does: images cannot be left out for it, since what is looked at
    is chosen by what triage doubts.
    """
    rows = label(project, images, source=source, config=base)
    use = rows.within & (rows.known | rows.unlabelled)
    p, image = recalibration.predict(rows.features)[use], rows.image[use].astype(str)
    places = np.flatnonzero(use)
    right = _right_above(rows, recalibration, places, np.zeros(len(places), bool))
    found = certify_images(p, right, image, np.random.default_rng(seed), alpha, delta)
    counted = p > GRID[-1]
    blind = counted & rows.unlabelled[use]
    if found.granted or not blind.any():
        return found
    complete, unsure = len(np.unique(image[counted])), len(np.unique(image[blind]))
    said = (
        f"{blind.sum():,} masks of {unsure:,} of the {complete:,} images with labels were not looked at one by "
        "one, and count as wrong until they are."
    )
    needed = max(complete, images_needed(alpha, delta))
    return dataclasses.replace(
        found, note=said, labels=complete - unsure, wrong=float("nan"), bound=float("nan"), needed=needed
    )
