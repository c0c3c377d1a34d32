"""Pools that all sessions of a server share: built once for a run, in the background, with progress to show."""

from __future__ import annotations

import dataclasses
import functools
import threading
from collections import OrderedDict
from collections.abc import Iterator
from concurrent.futures import Future
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from workbench.config import ProposeConfig, TriageConfig
from workbench.loop.comparison import ComparedImage, Comparison, TrueImage, compare_image
from workbench.loop.metrics import Curve, precision_recall
from workbench.store import truth, versions
from workbench.store.blocks import STORED
from workbench.store.errors import StoreError
from workbench.tables.proposals import SCORES, Proposals
from workbench.triage.limits import THRESHOLDS, settled
from workbench.triage.pool import DistinctPool, ExactPool
from workbench.triage.together import columns_for
from workbench.views.latest import long_work

if TYPE_CHECKING:
    from workbench.project import Project
    from workbench.store.runs import Run

CURVES = ("predicted_iou", "jitter_stability")  # the scores whose precision and recall are shown
_SMALLEST_NMS_IOU = 0.4  # what NMS may move down to; smaller bounds make larger graphs
_MOST_POOLS = 3
_KEPT = ("predicted_iou", "stability_score", "jitter_stability")  # beside an exact pool, which has no columns
KINDS = {"distinct": "distinct pool", "exact": "exact pool"}


@dataclasses.dataclass(frozen=True, eq=False)
class Pooled:
    """A pool with what a page asks beside it.

    image_ids : (M,) of the images, in the order of the rows given; starts : (M + 1,) where their rows begin
    learned : images of the run that trained its model: of these nothing is read of what is right
    comparison : distinct proposals of the other images that have truth beside it; None where none has any
    compared : (C,) its rows among the distinct proposals; curves : by score, as `workbench.loop.metrics` has them
    edges : of the bins of a score, by name and number, kept as they do not move with thresholds
    """

    pool: DistinctPool | ExactPool
    floors: ProposeConfig
    image_ids: NDArray[np.object_]
    starts: NDArray[np.int64]
    columns: dict[str, NDArray[np.float32]]
    learned: frozenset[str] = frozenset()
    comparison: Comparison | None = None
    compared: NDArray[np.int64] = dataclasses.field(default_factory=lambda: np.zeros(0, np.int64))
    curves: dict[str, Curve] = dataclasses.field(default_factory=dict)
    edges: dict[tuple[str, int], NDArray[np.float64]] = dataclasses.field(default_factory=dict)

    @functools.cached_property
    def rows_by_image(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Order of a distinct pool's rows by image, stable, and (M + 1,) where in it each image begins."""
        assert isinstance(self.pool, DistinctPool)
        image = np.searchsorted(self.starts, self.pool.rows, side="right") - 1
        order = np.argsort(image, kind="stable")
        return order, np.searchsorted(image[order], np.arange(len(self.image_ids) + 1))

    @property
    def kind(self) -> str:
        """distinct or exact."""
        return "distinct" if isinstance(self.pool, DistinctPool) else "exact"

    def __len__(self) -> int:
        return len(self.pool)


class Building:
    """A pool on its way; `share` says how far it is."""

    def __init__(self) -> None:
        self.done, self.total = 0, 0
        self.compared = 0  # images that are held against their truth, once all are read
        self.future: Future[Pooled] = Future()

    @property
    def words(self) -> str:
        """What is being done, and how far it is."""
        if self.compared:
            return f"all {self.total:,} images read, {self.compared:,} are compared with their truth …"
        return f"{self.done:,} of {self.total:,} images read …"

    @property
    def share(self) -> float:
        """Part of the images that were read, in [0, 1]."""
        return self.done / self.total if self.total else 0.0


_POOLS: OrderedDict[tuple[object, ...], Building] = OrderedDict()
_LOCK = threading.Lock()


def least_nms_iou(base: TriageConfig) -> float:
    """Return the lowest NMS threshold that an exact pool of settings answers for: theirs is always among them."""
    return min(_SMALLEST_NMS_IOU, base.nms_iou)


def pool_of(project: Project, kind: str, base: TriageConfig) -> Building:
    """Return the pool of a project's latest run, on its way or ready; equal questions share one.

    Parameters
    ----------
    kind : "distinct", over which score thresholds move, or "exact", over which NMS moves too
    base : settings; all but the thresholds are fixed for the pool

    Raises
    ------
    StoreError : when there are no proposals yet
    """
    run = project._find_run(None)
    totals, _ = project._totals()
    if run is None or not totals["done"]:
        raise StoreError("there are no proposals yet; `workbench propose` makes them")
    fixed = tuple(settled(base, (*THRESHOLDS, "pool")).items())
    place = (str(project.path), project.catalog.identity(), run.id, kind, fixed)
    key = (*place, totals["done"], truth.version(project.catalog))
    with _LOCK:
        found = _POOLS.get(key)
        if found is None:  # one at a time of a run that grows: the next is asked for when this one is there
            found = next((b for k, b in _POOLS.items() if k[: len(place)] == place and not b.future.done()), None)
            if found is not None:
                return found
        failed = found is not None and found.future.done() and found.future.exception() is not None
        if found is None or failed:
            found = _POOLS[key] = Building()
            found.total = int(totals["done"])
            long_work().submit(_build, found, project, kind, base, run)
        _POOLS.move_to_end(key)
        while len(_POOLS) > _MOST_POOLS:
            _POOLS.popitem(last=False)
        return found


def _build(building: Building, project: Project, kind: str, base: TriageConfig, run: Run) -> None:
    try:
        building.future.set_result(_built(building, project, kind, base, run))
    except BaseException as error:  # handed to whoever waits
        building.future.set_exception(error)


def _built(building: Building, project: Project, kind: str, base: TriageConfig, run: Run) -> Pooled:
    floors = ProposeConfig.from_dict(run.settings)
    ids: list[str] = []
    counts = [np.zeros(0, np.int64)]
    kept: dict[str, list[NDArray[np.float32]]] = {name: [np.zeros(0, np.float32)] for name in _KEPT}
    labelled = _Labelled(project, base, run.model_id) if kind == "distinct" else None
    wanted = {*columns_for(base), *SCORES} if kind == "distinct" else set(columns_for(base)) - {"rles"}

    def parts() -> Iterator[Proposals]:
        for block in project.in_blocks(wanted, config=base):
            building.done += block.done
            ids.extend(block.image_ids)
            counts.append(np.diff(block.starts))
            if kind == "exact":
                for name, values in kept.items():
                    values.append(getattr(block.proposals, name))
            yield block.proposals

    pool: DistinctPool | ExactPool
    columns: dict[str, NDArray[np.float32]] = {}
    if kind == "distinct":
        pool = DistinctPool.build(parts(), floors, base.replace(pool="distinct"))
    else:
        config = base.replace(pool="exact")
        pool = ExactPool.build(parts(), floors, config, smallest_nms_iou=least_nms_iou(base))
        columns = {name: np.concatenate(values) for name, values in kept.items()}
    starts = np.concatenate([[0], np.cumsum(np.concatenate(counts))]).astype(np.int64)
    pooled = Pooled(pool, floors, np.array(ids, dtype=object), starts, columns)
    if labelled is None:
        return pooled
    building.compared = labelled.images
    return labelled.beside(pooled)


class _Labelled:
    """The images that have truth, compared with it as soon as it is known which of their proposals are distinct.

    Images that trained the model are not among them: nothing about its confidence is read from these (METRICS).
    """

    def __init__(self, project: Project, base: TriageConfig, model_id: str) -> None:
        frame = project.images()
        done, learned = frame[frame["status"] == "done"], versions.learned_by(project.catalog, model_id)
        self._project, self._base = project, base
        self._learned = learned.intersection(done["image_id"])
        self._ids = [image for image in done.loc[done["truth"].notna(), "image_id"] if image not in learned]
        self.images = len(self._ids)

    def beside(self, pooled: Pooled) -> Pooled:
        """Return the pool with what is true beside it, compared as `project.sweep` does."""
        pooled = dataclasses.replace(pooled, learned=frozenset(self._learned))
        if not self._ids or not isinstance(pooled.pool, DistinctPool):
            return pooled
        place = {image_id: m for m, image_id in enumerate(pooled.image_ids)}
        given, (order, cuts) = pooled.pool.rows, pooled.rows_by_image
        blocks = self._project.in_blocks(STORED, self._ids, config=self._base)
        rows_of = {image_id: rows for block in blocks for image_id, rows in block.each() if image_id in place}
        images: list[ComparedImage] = []
        compared = [np.zeros(0, np.int64)]
        for image_id, true in zip(self._ids, self._project._truth(self._ids), strict=True):
            m, own, mine = place.get(image_id), Proposals.empty(), order[:0]
            if m is not None:
                mine = np.sort(order[cuts[m] : cuts[m + 1]])
                own = rows_of[image_id].select(given[mine] - pooled.starts[m])
            images.append(compare_image(image_id, own, TrueImage.of(true.masks, true.crowd), pooled.floors))
            compared.append(mine)
        comparison, places = Comparison.of(images), np.concatenate(compared)
        scores = {name: pooled.pool.column(name)[places] for name in CURVES}
        known = {name: precision_recall(comparison, s) for name, s in scores.items() if np.isfinite(s).any()}
        return dataclasses.replace(pooled, comparison=comparison, compared=places, curves=known)
