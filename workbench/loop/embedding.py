"""SAM's embedding as columns for the verifier: pooled over masks and images, and kept for triage once it is adopted."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from workbench.calibrate.reduction import Reduction
from workbench.loop.labelling import Labelled
from workbench.store import pooled as kept
from workbench.store.errors import StoreError
from workbench.tables.proposals import Proposals

if TYPE_CHECKING:
    from workbench.reviewing import Reviewing
    from workbench.sam.segmenter import Segmenter

OF_MASKS, OF_IMAGES = 8, 4  # components


class Embedded(NamedTuple):
    """Pooled embeddings. masks : (n, C) row by row beside `Labelled`; images : (M, C) beside its images."""

    masks: NDArray[np.float32]
    images: NDArray[np.float32]


def expect_model(project: Reviewing, sam: Segmenter | None) -> None:
    """Refuse a model that did not make the proposals of the latest run. Raises StoreError."""
    model = getattr(sam, "model_id", None)
    if not hasattr(sam, "embed") or model != project.model_id:
        raise StoreError(
            f"embedding: expected the model of the latest run, {project.model_id}, got {model or type(sam).__name__}; the "
            "verifier looks at its embedding: give sam=... (--embedding)"
        )


def of_labelled(project: Reviewing, sam: Segmenter, rows: Labelled) -> Embedded:
    """Return the embedding pooled over each labelled mask and over each of their images."""
    from workbench.sam.pooling import pooled

    expect_model(project, sam)
    masks: list[NDArray[np.float32]] = []
    images: list[NDArray[np.float32]] = []
    number = {name: m for m, name in enumerate(rows.comparison.image_ids)}
    for image_id, proposals in project.each(rows.comparison.image_ids):
        own = rows.mask_id[rows.comparison.image_of_row == number[image_id]]
        place = {name: k for k, name in enumerate(proposals.mask_id.tolist())}
        wanted = [place[name] for name in own.tolist()]
        of_masks, of_image = pooled(sam, project.image(image_id), list(proposals.rles[wanted]))
        masks.append(of_masks)
        images.append(of_image)
    if not images:
        return Embedded(np.zeros((0, 0), np.float32), np.zeros((0, 0), np.float32))
    return Embedded(np.concatenate(masks), np.stack(images))


def measure(project: Reviewing, sam: Segmenter, number: int, reduction: Reduction, progress: bool) -> int:
    """Keep the reduced embedding of every mask of the latest run for an adopted verifier; return how many images it took.

    Images that have theirs are passed over, so that the same call goes on after a kill.
    """
    from tqdm.auto import tqdm

    from workbench.sam.pooling import pooled

    expect_model(project, sam)
    done = 0
    for image_id, rows in tqdm(project.each(), desc="embedding", unit="image", disable=not progress):
        if of_image(project, number, image_id, rows, reduction) is None:
            values, _ = pooled(sam, project.image(image_id), list(rows.rles))
            kept.keep(project.path, number, image_id, reduction.apply(values).astype(np.float32))
            done += 1
    return done


def of_image(
    project: Reviewing, number: int, image_id: str, rows: Proposals, reduction: Reduction
) -> NDArray[np.float32] | None:
    """Return what `measure` kept for the proposals of an image, (N, k); None before it."""
    return kept.load(project.path, number, image_id, len(rows), len(reduction.names))
