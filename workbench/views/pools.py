"""Pools that all sessions of a server share: built once for a run, in the background, with progress to show."""

from __future__ import annotations

import dataclasses
import threading
from collections import OrderedDict
from collections.abc import Iterator
from concurrent.futures import Future
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from workbench.config import ProposeConfig, TriageConfig
from workbench.masks.matching import match
from workbench.store.errors import StoreError
from workbench.tables.proposals import Proposals
from workbench.triage.limits import THRESHOLDS
from workbench.triage.pool import DistinctPool, ExactPool
from workbench.views.latest import shared

if TYPE_CHECKING:
    from workbench.project import Project

RIGHT_IOU = 0.75  # METRICS: a mask is right when it matches a true one at this IoU
SMALLEST_NMS_IOU = 0.4
_MOST_POOLS = 3
KINDS = {"distinct": "distinct pool", "exact": "exact pool"}


@dataclasses.dataclass(frozen=True, eq=False)
class Pooled:
    """A pool with what a page asks beside it.

    image_ids : (M,) of the images, in the order of the rows given; starts : (M + 1,) where their rows begin
    judged : (D,) bool, distinct proposals of images that have truth; right : (D,) bool, those matched with a true mask
    truths : number of true masks on those images
    """

    pool: DistinctPool | ExactPool
    floors: ProposeConfig
    image_ids: NDArray[np.object_]
    starts: NDArray[np.int64]
    columns: dict[str, NDArray[np.float32]]
    judged: NDArray[np.bool_]
    right: NDArray[np.bool_]
    truths: int

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
        self.future: Future[Pooled] = Future()

    @property
    def share(self) -> float:
        """Part of the images that were read, in [0, 1]."""
        return self.done / self.total if self.total else 0.0


_POOLS: OrderedDict[tuple[object, ...], Building] = OrderedDict()
_LOCK = threading.Lock()


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
    fixed = TriageConfig().replace(**{n: v for n, v in base.to_dict().items() if n not in (*THRESHOLDS, "pool")})
    key = (str(project.path), run.id, kind, fixed.digest, totals["done"], _truth_count(project))
    with _LOCK:
        found = _POOLS.get(key)
        failed = found is not None and found.future.done() and found.future.exception() is not None
        if found is None or failed:
            found = _POOLS[key] = Building()
            found.total = int(totals["done"])
            shared().submit(_build, found, project, kind, base, ProposeConfig.from_dict(run.settings))
        _POOLS.move_to_end(key)
        while len(_POOLS) > _MOST_POOLS:
            _POOLS.popitem(last=False)
        return found


def _truth_count(project: Project) -> int:
    return int(project.images()["truth"].notna().sum())


def _build(building: Building, project: Project, kind: str, base: TriageConfig, floors: ProposeConfig) -> None:
    try:
        building.future.set_result(_built(building, project, kind, base, floors))
    except BaseException as error:  # handed to whoever waits
        building.future.set_exception(error)


def _built(building: Building, project: Project, kind: str, base: TriageConfig, floors: ProposeConfig) -> Pooled:
    ids: list[str] = []
    counts: list[int] = []
    found = _Right(project) if kind == "distinct" else None

    def parts() -> Iterator[Proposals]:
        for image_id, rows in project.each(config=base):
            building.done += 1
            if len(rows):
                ids.append(image_id)
                counts.append(len(rows))
                if found is not None:
                    found.take(image_id, rows)
                yield rows

    pool: DistinctPool | ExactPool
    columns: dict[str, NDArray[np.float32]] = {}
    if kind == "distinct":
        pool = DistinctPool.build(parts(), floors, base.replace(pool="distinct"))
    else:
        kept: dict[str, list[NDArray[np.float32]]] = {
            "predicted_iou": [],
            "stability_score": [],
            "jitter_stability": [],
        }
        pool = ExactPool.build(
            _keeping(parts(), kept), floors, base.replace(pool="exact"), smallest_nms_iou=SMALLEST_NMS_IOU
        )
        columns = {name: np.concatenate([np.zeros(0, np.float32), *values]) for name, values in kept.items()}
    starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    names = np.array(ids, dtype=object)
    judged, right, truths = (
        found.of(pool, names, starts) if found and isinstance(pool, DistinctPool) else _unknown(pool)
    )
    return Pooled(pool, floors, names, starts, columns, judged, right, truths)


def _keeping(parts: Iterator[Proposals], kept: dict[str, list[NDArray[np.float32]]]) -> Iterator[Proposals]:
    for part in parts:
        for name, values in kept.items():
            values.append(getattr(part, name))
        yield part


def _unknown(pool: DistinctPool | ExactPool) -> tuple[NDArray[np.bool_], NDArray[np.bool_], int]:
    return np.zeros(len(pool), bool), np.zeros(len(pool), bool), 0


class _Right:
    """Keeps the masks of images that have truth until it is known which proposals are distinct."""

    def __init__(self, project: Project) -> None:
        frame = project.images()
        self._project = project
        seen = frame[frame["truth"].notna() & (frame["status"] == "done")]
        self._with_truth = set(seen["image_id"])
        self._truths = int(seen["truth"].sum())  # those of images without proposals too
        self._masks: dict[str, NDArray[np.object_]] = {}
        self._sizes: dict[str, tuple[int, int]] = {}

    def take(self, image_id: str, rows: Proposals) -> None:
        if image_id in self._with_truth:
            self._masks[image_id] = rows.rles
            self._sizes[image_id] = (int(rows.sizes_hw[0, 0]), int(rows.sizes_hw[0, 1]))

    def of(
        self, pool: DistinctPool, image_ids: NDArray[np.object_], starts: NDArray[np.int64]
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_], int]:
        """Return which distinct proposals are judged, which are right, and the number of true masks."""
        judged, right = np.zeros(len(pool), bool), np.zeros(len(pool), bool)
        image = np.searchsorted(starts, pool.rows, side="right") - 1
        order = np.argsort(image, kind="stable")
        cuts = np.searchsorted(image[order], np.arange(len(image_ids) + 1))
        for m, image_id in enumerate(image_ids):
            if image_id not in self._masks:
                continue
            mine = order[cuts[m] : cuts[m + 1]]
            true = self._project.truth(str(image_id)).rles.tolist()
            masks = self._masks.pop(str(image_id))[pool.rows[mine] - starts[m]].tolist()
            rows, _, _ = match(masks, true, self._sizes[str(image_id)], RIGHT_IOU)
            judged[mine] = True
            right[mine[rows]] = True
        return judged, right, self._truths
