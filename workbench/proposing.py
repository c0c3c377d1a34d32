"""Working through the images of a run: read ahead, propose, write behind; a bad image is noted and passed over.

Files are read and decoded on threads ahead of the model, images are embedded `images_per_batch` at a time, and what
comes of them is written on one thread behind it. A model that says so works on several batches at a time, each on a share of
the cores. Memory beside the model, at most: decoded images that wait, `PIXELS_AHEAD` px and two images more; two sets of
batches, one at work and one between, of `PIXELS_AHEAD` px (or one larger image) each; the proposals of four images and of
those at work.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import functools
import itertools
import logging
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from workbench import images as reading
from workbench.ahead import Ahead, Later, Room, behind
from workbench.config import ProposeConfig, preset
from workbench.images import ImageError
from workbench.report import ProposeSummary
from workbench.sam.segmenter import BatchingSegmenter, ParallelSegmenter
from workbench.store import files
from workbench.store.errors import StoreError
from workbench.store.memory import peak_memory_mb
from workbench.store.runs import ImageFile, RunWriter
from workbench.tables.proposals import Proposals

if TYPE_CHECKING:
    import numpy as np

    from workbench.sam.segmenter import Embedding, Segmenter

log = logging.getLogger(__name__)

PIXELS_AHEAD = 32_000_000  # 96 MB as uint8 RGB
READERS = 2  # decoding lets go of Python's lock; more threads only take cores from the model


@dataclasses.dataclass(frozen=True)
class Picture:
    """A recorded image as it was read: (H, W, 3) uint8 RGB and its id, or the error; and how long reading took."""

    file: ImageFile
    image: np.ndarray | None
    image_id: str
    error: Exception | None
    seconds: float

    @property
    def pixels(self) -> int:
        """Height times width; 0 where there is no picture."""
        return 0 if self.image is None else int(self.image.shape[0] * self.image.shape[1])


class Proposer:
    """The stage that proposes on one image, bound to a model; looked up here, so that it can be another one."""

    def __init__(self, segmenter: Segmenter, config: ProposeConfig) -> None:
        self.segmenter, self.config = segmenter, config
        from workbench.propose.run import propose  # takes torch along

        self._propose = propose

    def propose(self, image: np.ndarray, image_id: str, embedding: Embedding | None) -> Proposals:
        """Return the proposals of an image, from its embedding where that is there already."""
        return self._propose(image, self.segmenter, self.config, image_id=image_id, embedding=embedding)

    def embed(self, images: Sequence[np.ndarray]) -> Sequence[Embedding | None]:
        """Return embeddings of several images made at once; None for images that are to be embedded one by one."""
        alone = [None] * len(images)
        if len(images) < 2 or not isinstance(self.segmenter, BatchingSegmenter):
            return alone
        try:
            return self.segmenter.embed_many(images)
        except Exception as error:  # then each image shows by itself what is wrong with it
            log.warning("%d images could not be embedded at once (%s): going on one by one", len(images), error)
            return alone


def count_distinct(proposals: Proposals, config: ProposeConfig) -> int:
    """Return how many proposals survive NMS at the floors."""
    if config.pool == "distinct":
        return len(proposals)
    from workbench.triage.rules import triage

    plain = preset("official").triage.replace(nms=config.nms, nms_iou=config.nms_iou, pool="distinct")
    return int(triage(proposals, plain).distinct.sum())


def work(
    project: Path, writer: RunWriter, todo: Sequence[ImageFile], proposer: Proposer, progress: bool
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
    size = proposer.config.images_per_batch
    ahead = Ahead(
        functools.partial(_picture, project), todo, lambda p: p.pixels, most=PIXELS_AHEAD, count=size + READERS,
        threads=READERS,
    )  # fmt: skip
    bar = tqdm(total=len(todo), desc="proposing", unit="image", disable=not progress)
    bar.set_postfix_str("the first image after an installation takes a minute more: loops are compiled")
    with (
        bar,
        ahead as pictures,
        behind() as later,
        _worked(_batches(pictures, size), proposer, -(-len(todo) // size)) as worked,
    ):
        for file, found, seconds in worked:
            if isinstance(found, Exception):
                failures[_note_failure(writer, later, file, found, seconds)] += 1
            else:
                later(functools.partial(writer.done, file.key, *found, seconds))
                _, proposals, distinct = found
                counts["done"] += 1
                counts["proposals"] += len(proposals)
                counts["distinct"] += distinct
            bar.set_postfix(proposals=counts["proposals"], failures=sum(failures.values()), refresh=False)
            bar.update()
        later(writer.flush)
    return {**counts, "failures": failures}


def _picture(project: Path, file: ImageFile) -> Picture:
    since = time.perf_counter()
    try:
        image, image_id = read(project, file)
    except Exception as error:
        return Picture(file, None, "", error, time.perf_counter() - since)
    return Picture(file, image, image_id, None, time.perf_counter() - since)


def _batches(pictures: Iterator[Picture], size: int) -> Iterator[list[Picture]]:
    """Yield pictures in groups of at most `size`, closed early when they hold `PIXELS_AHEAD` px."""
    batch: list[Picture] = []
    for picture in pictures:
        batch.append(picture)
        if len(batch) == size or sum(p.pixels for p in batch) >= PIXELS_AHEAD:
            yield batch
            batch = []
    if batch:
        yield batch


Distinct = tuple[tuple[int, int], Proposals, int]  # size (h, w), proposals, how many are distinct


class Found(NamedTuple):
    """What an image came to, and how long it took, s; of several at a time each counts its share."""

    file: ImageFile
    result: Distinct | Exception
    seconds: float


@contextlib.contextmanager
def _worked(batches: Iterable[list[Picture]], proposer: Proposer, number: int) -> Iterator[Iterable[Found]]:
    """Yield what is found in so many batches, in order: one after another, or several at a time on threads that share the cores."""
    most = max(1, proposer.segmenter.images_at_once) if isinstance(proposer.segmenter, ParallelSegmenter) else 1
    cores = _cores() if most > 1 else 1
    several = min(cores // -(-cores // most), number)
    if several < 2:
        yield itertools.chain.from_iterable(map(functools.partial(_found, proposer), batches))
        return
    room = Room(PIXELS_AHEAD)

    def find(batch: list[Picture]) -> list[Found]:
        with room.taken(sum(p.pixels for p in batch)):
            return [found._replace(seconds=found.seconds / several) for found in _found(proposer, batch)]

    # one that takes long holds up as many that are done
    ahead = Ahead(
        find, batches, lambda _: 1, most=several, count=2 * several, threads=several,
        begin=functools.partial(_take_threads, cores // several, cores),
    )  # fmt: skip
    with ahead as worked:
        yield itertools.chain.from_iterable(worked)


def _cores() -> int:
    import torch

    return torch.get_num_threads()


def _take_threads(share: int, cores: int) -> None:
    """Let torch use a share of the cores on this thread, and all of them on those that are born later.

    Torch has no setting of one thread alone: another one that first uses it at this very moment takes the share, too.
    """
    import torch

    torch.set_num_threads(share)
    torch.get_num_threads()  # else this thread would take on what is set next
    back = threading.Thread(target=torch.set_num_threads, args=(cores,))  # the last number set is that of new threads
    back.start()
    back.join()


def _found(proposer: Proposer, batch: Sequence[Picture]) -> Iterator[Found]:
    """Yield for each picture what was found in it, or the error, and the seconds that it took, reading included."""
    since = time.perf_counter()
    there = [p.image for p in batch if p.image is not None]
    embeddings = iter(proposer.embed(there))
    shared = (time.perf_counter() - since) / max(len(there), 1)
    for picture in batch:
        if picture.image is None:
            assert picture.error is not None
            yield Found(picture.file, picture.error, picture.seconds)
            continue
        since = time.perf_counter()
        found: Distinct | Exception
        try:
            proposals = proposer.propose(picture.image, picture.image_id, next(embeddings))
            size_hw = (picture.image.shape[0], picture.image.shape[1])
            found = size_hw, proposals, count_distinct(proposals, proposer.config)
        except Exception as error:  # whatever a model does on one image must not end the run
            found = error.with_traceback(None)  # which would keep all that was computed
        yield Found(picture.file, found, picture.seconds + shared + time.perf_counter() - since)


def _note_failure(writer: RunWriter, later: Later, file: ImageFile, error: Exception, seconds: float) -> str:
    """Have the reason written why an image has no proposals, and return it; raise what no other image would escape."""
    if isinstance(error, StoreError):
        raise error
    if files.is_full(error):
        raise StoreError(f"the disk is full ({error}): free some space and call propose again") from error
    reason, message = _reason(error)
    later(functools.partial(writer.failed, file.key, reason, message, seconds))
    return reason


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
            "or save the new picture under a name of its own and add it (workbench add, project.add_images)"
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
