"""Working through the images of a run: read, propose, write; a bad image is noted with its reason and passed over."""

from __future__ import annotations

import collections
import importlib
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench import images as reading
from workbench.config import ProposeConfig, preset
from workbench.images import ImageError
from workbench.report import ProposeSummary
from workbench.store import files
from workbench.store.errors import StoreError
from workbench.store.memory import peak_memory_mb
from workbench.store.runs import ImageFile, RunWriter
from workbench.tables.proposals import Proposals

if TYPE_CHECKING:
    import numpy as np

    from workbench.sam.segmenter import Segmenter

ProposeImage = Callable[["np.ndarray", str], Proposals]


def proposer(segmenter: Segmenter, config: ProposeConfig) -> ProposeImage:
    """Return the stage that proposes on one image; looked up at the call, so that it can be another one."""
    stage = importlib.import_module("workbench.propose.run")

    def propose(image: np.ndarray, image_id: str) -> Proposals:
        proposals: Proposals = stage.propose(image, segmenter, config, image_id=image_id)
        return proposals

    return propose


def count_distinct(proposals: Proposals, config: ProposeConfig) -> int:
    """Return how many proposals survive NMS at the floors."""
    if config.pool == "distinct":
        return len(proposals)
    rules = importlib.import_module("workbench.triage.rules")
    plain = preset("official").triage.replace(nms=config.nms, nms_iou=config.nms_iou, pool="distinct")
    return int(rules.triage(proposals, plain).distinct.sum())


def work(
    project: Path,
    writer: RunWriter,
    todo: Sequence[ImageFile],
    propose: ProposeImage,
    config: ProposeConfig,
    progress: bool,
) -> dict[str, Any]:
    """Propose on each image of `todo` and write what comes of it.

    Returns
    -------
    done, proposals, distinct, and a count of failures by reason

    Raises
    ------
    StoreError : when nothing more can be written
    """
    from tqdm.auto import tqdm

    counts = {"done": 0, "proposals": 0, "distinct": 0}
    failures: collections.Counter[str] = collections.Counter()
    with tqdm(todo, desc="proposing", unit="image", disable=not progress) as bar:
        for file in bar:
            since = time.perf_counter()
            try:
                size_hw, proposals = _propose(project, file, propose)
                distinct = count_distinct(proposals, config)
            except Exception as error:  # whatever a model does on one image must not end the run
                if isinstance(error, StoreError):
                    raise
                if files.is_full(error):
                    raise StoreError(f"the disk is full ({error}): free some space and call propose again") from error
                reason, message = _reason(error)
                failures[reason] += 1
                writer.failed(file.key, reason, message, time.perf_counter() - since)
            else:
                writer.done(file.key, size_hw, proposals, distinct, time.perf_counter() - since)
                counts["done"] += 1
                counts["proposals"] += len(proposals)
                counts["distinct"] += distinct
            bar.set_postfix(proposals=counts["proposals"], failures=sum(failures.values()), refresh=False)
    writer.flush()
    return {**counts, "failures": failures}


def _propose(project: Path, file: ImageFile, propose: ProposeImage) -> tuple[tuple[int, int], Proposals]:
    image, image_id = read(project, file)
    return (image.shape[0], image.shape[1]), propose(image, image_id)


class ChangedError(ValueError):
    """A file no longer holds the image that was recorded under its name."""


def read(project: Path, file: ImageFile) -> tuple[np.ndarray, str]:
    """Return the picture of a recorded image, (H, W, 3) uint8 RGB, and its id.

    Raises
    ------
    ImageError : when it cannot be read
    ChangedError : when the file holds another image now
    """
    root = (project / file.root).resolve()
    image, image_id = reading.read_image(root / file.path, root=root)
    if file.image_id is not None and image_id != file.image_id:
        raise ChangedError(
            f"{root / file.path}: the file was changed after it was recorded; restore it, "
            "or save the new picture under a name of its own and call add_images"
        )
    return image, image_id


def expect_roots(project: Path, files: Iterable[ImageFile]) -> None:
    """Refuse to go through images whose whole folder is gone: a disk that is not mounted is no fault of theirs.

    Raises
    ------
    StoreError : naming the folder
    """
    for root in sorted({file.root for file in files}):
        if not (project / root).is_dir():
            raise StoreError(
                f"{(project / root).resolve()}: the folder of images is not there; mount it or put it back, then go on"
            )


def _reason(error: Exception) -> tuple[str, str]:
    if isinstance(error, ImageError):
        return error.reason, str(error)
    if isinstance(error, ChangedError):
        return "changed", str(error)
    # torch's own error is known by its name, so that torch need not be there
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return "out_of_memory", f"{error or 'no memory'}; lower points_per_batch, or cut the image into tiles"
    return "model_error", f"{type(error).__name__}: {error}"


def summarize(
    run_id: int, chosen: Sequence[ImageFile], tried: Sequence[ImageFile], told: dict[str, Any], seconds: float
) -> ProposeSummary:
    """Return the summary of a call: what was chosen and tried, and what `work` told of it."""
    new = {file.key for file in tried}
    before = [file for file in chosen if file.key not in new]
    failures = collections.Counter(told["failures"])
    failures.update(file.reason for file in before if file.reason)
    skipped = sum(file.status == "done" for file in before)
    failed = sum(failures.values())
    return ProposeSummary(
        run_id=run_id,
        images=len(chosen),
        done=told["done"],
        failed=failed,
        skipped=skipped,
        left=len(chosen) - told["done"] - failed - skipped,
        proposals=told["proposals"],
        distinct=told["distinct"],
        seconds=seconds,
        seconds_per_image=seconds / len(tried) if tried else float("nan"),
        peak_memory_mb=peak_memory_mb(),
        failures=dict(failures),
    )
