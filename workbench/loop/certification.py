"""Certificates of a project: masks drawn from its pool with equal probability, and images kept for the purpose."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

import workbench
from workbench.calibrate.bounds import images_needed
from workbench.calibrate.certify import GRID, Certificate, certify_images, certify_pool
from workbench.calibrate.recalibrate import Recalibration
from workbench.config import TriageConfig
from workbench.loop.labelling import Candidates, Source, candidates, label
from workbench.plotted import Plotted

if TYPE_CHECKING:
    from workbench.reviewing import Reviewing

Floats = NDArray[np.float64]
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

    def __str__(self) -> str:
        left = f"{self.unlabelled:,} of the {self.drawn:,} masks drawn have no label yet: project.masks_to_verify()"
        return "\n".join([self.pool.sentence, self.images.sentence, *([left] if self.unlabelled else [])])

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
        yield candidates(image_id, rows, workbench.triage(rows, config))


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

    @property
    def digest(self) -> str:
        """16 hex digits of which masks these are: a certificate of a pool holds for these masks only."""
        keys = sorted(zip(self.image.tolist(), self.mask_id.tolist(), strict=True))
        return hashlib.sha256(json.dumps(keys).encode()).hexdigest()[:16]


def pool_of(project: Reviewing, recalibration: Recalibration, images: Sequence[str] | None = None) -> Pool:
    """Return the pool of the latest run."""
    nothing = np.zeros(0, object)
    image, mask_id, confidence = [nothing], [nothing], [np.zeros(0)]
    for own in each_candidate(project, images):
        image.append(own.rows.image_id[own.within])
        mask_id.append(own.rows.mask_id[own.within])
        confidence.append(recalibration.predict(own.features)[own.within])
    return Pool(np.concatenate(image), np.concatenate(mask_id), np.concatenate(confidence))


def draw(pool: Pool, labels: int, seed: int, kept: NDArray[np.int64] | None = None) -> NDArray[np.int64]:
    """Draw masks of the pool above the loosest threshold with equal probability; positions, ascending.

    Parameters
    ----------
    labels : how many, those that were drawn before among them; kept : positions of these, all of which stay
    """
    before = np.zeros(0, np.int64) if kept is None else kept
    left = np.setdiff1d(np.flatnonzero(pool.confidence > GRID[-1]), before)
    rng = np.random.default_rng([seed, len(before)] if len(before) else seed)
    further = rng.choice(left, min(max(labels - len(before), 0), len(left)), replace=False)
    return np.sort(np.concatenate([before, further]))


Verdict = Literal["right", "wrong", ""]


def labels_of(
    project: Reviewing, image: Sequence[str], mask_id: Sequence[str], source: Source = "final"
) -> list[Verdict]:
    """Return the label of each mask by the final masks or the truth of its image; "" where there is none yet."""
    rows = label(project, list(dict.fromkeys(image)), source=source)
    pairs = zip(rows.image, rows.mask_id, rows.known, rows.right, strict=True)
    found: dict[tuple[str, str], Verdict] = {(i, m): "right" if ok else "wrong" for i, m, known, ok in pairs if known}
    return [found.get(key, "") for key in zip(image, mask_id, strict=True)]


def of_pool(
    pool: Pool, drawn: NDArray[np.int64], verdicts: Sequence[Verdict], alpha: float, delta: float
) -> Certificate:
    """Certify the pool, once every mask drawn has its label."""
    p = pool.confidence[drawn]
    missing = sum(verdict == "" for verdict in verdicts)
    if not missing:
        return certify_pool(p, [verdict == "right" for verdict in verdicts], pool.confidence, alpha, delta)
    waiting = certify_pool(p[:0], [], pool.confidence, alpha, delta)
    said = f"{missing:,} of the {len(drawn):,} masks that were drawn have no label yet."
    return dataclasses.replace(waiting, note=said, labels=len(drawn) - missing, needed=len(drawn))


def of_images(
    project: Reviewing,
    recalibration: Recalibration,
    images: Sequence[str],
    alpha: float,
    delta: float,
    seed: int,
    source: Source = "final",
) -> Certificate:
    """Certify images to come, from labelled images that had no part in the recalibration.

    Every mask that a threshold can accept counts. One that nobody looked at counts as wrong until somebody does: images
    cannot be left out for it, since what is looked at is chosen by what triage doubts.
    """
    rows = label(project, images, source=source)
    use = rows.within & (rows.known | rows.unlabelled)
    p, image = recalibration.predict(rows.features)[use], rows.image[use].astype(str)
    found = certify_images(p, rows.right[use], image, np.random.default_rng(seed), alpha, delta)
    above = p > GRID[-1]
    blind = above & rows.unlabelled[use]
    if found.granted or not blind.any():
        return found
    complete, unsure = len(np.unique(image[above])), len(np.unique(image[blind]))
    said = (
        f"{blind.sum():,} masks of {unsure:,} of the {complete:,} images with labels were not looked at one by "
        "one, and count as wrong until they are."
    )
    needed = max(complete, images_needed(alpha, delta))
    return dataclasses.replace(
        found, note=said, labels=complete - unsure, wrong=float("nan"), bound=float("nan"), needed=needed
    )
