"""Live triage over whole campaigns: the exact pool, and the distinct pool of `workbench.triage.distinct` (T3, B2).

Both answer as `triage` does, for any thresholds within what is stored, fast enough to follow a slider.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from workbench.config import ProposeConfig, TriageConfig
from workbench.tables.proposals import Proposals
from workbench.triage import graph
from workbench.triage.blocks import cores, in_threads, most_area_px, parts_of, whole_images
from workbench.triage.distinct import DistinctPool
from workbench.triage.limits import THRESHOLDS, Limits, PoolError, limits, refuse, refuse_no_replay

__all__ = ["DistinctPool", "ExactPool", "PoolError"]

_MOVABLE = (*THRESHOLDS, "nms_iou")
_LOWEST = np.float32(-np.inf)
_Rows = tuple[NDArray[np.int32], NDArray[np.bool_]]  # of a block: the rows that passed, and which of them are kept


class _Answer(NamedTuple):
    """Greedy NMS at some thresholds, over the rows whose predicted IoU is above `above`."""

    others: tuple[Limits, float, float]  # thresholds but that on predicted IoU; largest share of area; NMS
    above: np.float32
    blocks: list[_Rows]


class ExactPool:
    """Proposals before NMS, and what a fresh run keeps of them at any thresholds: `triage` with pool="exact".

    Built once: rows sorted by image, crop and score, with a graph of the pairs whose boxes overlap by more than
    `smallest_nms_iou`. Thresholds and the NMS threshold may move. A move is one pass over the rows and the edges of the
    kept ones. Without crops, a higher threshold on predicted IoU cuts off the tail of each image and changes nothing
    above the cut, so that a move of it alone is looked up in the last answer. The other thresholds may bring suppressed
    rows back, and so may predicted IoU between crops, where smaller crops win: there the pass is run again.

    A pool does not change once it is built and may be asked from several threads.
    """

    def __init__(
        self,
        blocks: list[graph.Block],
        base: TriageConfig,
        floors: ProposeConfig | None,
        smallest_nms_iou: float,
    ) -> None:
        self.base, self.floors, self.smallest_nms_iou = base, floors, smallest_nms_iou
        self._blocks = blocks
        self._given = sum(len(block.position) for block in blocks)
        self._has_crops = any(len(block.direct) > len(block.pixels) for block in blocks)
        self._last: _Answer | None = None

    @classmethod
    def build(
        cls,
        proposals: Proposals | Iterable[Proposals],
        floors: ProposeConfig | None = None,
        base: TriageConfig | None = None,
        *,
        smallest_nms_iou: float = 0.5,
        edges_per_row: int = 64,
    ) -> ExactPool:
        """Sort the rows and find all pairs that an NMS threshold may compare.

        Parameters
        ----------
        proposals : one table, or tables that hold whole images each; masks are not read
        floors : settings of the run that proposed them; None where nothing is left out of `proposals`
        base : settings with pool="exact"; all but the thresholds and nms_iou are fixed for the pool
        smallest_nms_iou : the lowest nms_iou that will be asked, in [0, 1]
        edges_per_row : most edges stored for each row, on average, 6 bytes each. A crop with more overlaps than are
            left (many equal boxes) is compared afresh at every move: slower, with the same answer

        Raises
        ------
        PoolError : if what was stored cannot be replayed: after NMS, cleaned, crops without their boxes, NMS on masks
        ValueError : as `triage`, and for an image whose rows come in several tables
        """
        base = base if base is not None else TriageConfig(pool="exact")
        if base.pool != "exact":
            raise PoolError(f"an exact pool needs settings with pool='exact', got {base.pool!r}; use DistinctPool")
        if base.nms != "box":
            raise PoolError(f"the graph is of boxes, asked for NMS on nms={base.nms!r}: set nms='box', or use triage")
        if not 0 <= smallest_nms_iou <= 1:
            raise ValueError(f"smallest_nms_iou: expected a value in [0, 1], got {smallest_nms_iou}")
        if edges_per_row < 0:
            raise ValueError(f"edges_per_row: expected at least 0, got {edges_per_row}")
        if floors is not None:
            refuse_no_replay(floors)
        if floors is not None and floors.crop_n_layers > 0:
            proposals = _saying_crops(parts_of(proposals))
        images, blocks = whole_images(parts_of(proposals)), list[graph.Block]()
        while some := list(itertools.islice(images, cores())):
            blocks += in_threads(lambda block: graph.build(block, smallest_nms_iou, edges_per_row), some)
        return cls(blocks, base, floors, smallest_nms_iou)

    def __len__(self) -> int:
        return self._given

    def __repr__(self) -> str:
        images = sum(len(block.pixels) for block in self._blocks)
        return f"<ExactPool: {len(self)} proposals of {images} image{'s' * (images != 1)}, {self.edges} edges>"

    @property
    def edges(self) -> int:
        """Pairs of rows in the graph."""
        return sum(len(block.edge_end) for block in self._blocks)

    @property
    def direct_rows(self) -> int:
        """Rows of crops that have no edges and are compared afresh at every move."""
        return sum(int(np.diff(block.crop_starts)[block.direct].sum()) for block in self._blocks)

    def keep(self, config: TriageConfig) -> NDArray[np.bool_]:
        """Return which of the rows given a fresh run keeps, (N,): neither failed nor suppressed by NMS.

        Equal to the rows that `triage(proposals, config)` accepts or flags. Where NMS is laxer than the run's own, a fresh
        one would also measure the jitter of rows that this one did not (`limits.unmeasured`).

        Raises
        ------
        PoolError : if `config` differs from the pool's in more than thresholds and nms_iou, or reaches below the
            stored floors or the graph
        """
        above, answers = self._answers(config)
        keep = np.zeros(self._given, dtype=bool)
        for block, answer in zip(self._blocks, answers, strict=True):  # done sooner than other threads are started
            graph.mark(block, above, *answer, keep)
        return keep

    def counts(self, config: TriageConfig) -> dict[str, int]:
        """Return how many rows are kept, discarded (they fail a threshold) and duplicates. Raises PoolError."""
        above, answers = self._answers(config)
        found = [graph.tally(block, above, *answer) for block, answer in zip(self._blocks, answers, strict=True)]
        kept, compared = sum(k for k, _ in found), sum(c for _, c in found)
        return {"kept": kept, "discarded": self._given - compared, "duplicates": compared - kept}

    def _answers(self, config: TriageConfig) -> tuple[np.float32, list[_Rows]]:
        """Greedy NMS at `config`: the cut on predicted IoU, and what holds above it."""
        refuse(self.base, config, self.floors, _MOVABLE)
        if config.nms_iou < self.smallest_nms_iou:
            raise PoolError(
                f"the graph holds pairs whose IoU is above {self.smallest_nms_iou:g}, asked for nms_iou="
                f"{config.nms_iou:g}: raise nms_iou, or build another with smallest_nms_iou={config.nms_iou:g}"
            )
        least = limits(config)
        above = least.fail_iou
        others = (least._replace(fail_iou=_LOWEST, pass_iou=_LOWEST), config.max_area_share, config.nms_iou)
        last = self._last
        same = last is not None and last.others == others
        if last is not None and same and (above == last.above or (above > last.above and not self._has_crops)):
            return above, last.blocks
        # a slider of predicted IoU that goes down may go on: the whole answer serves all its moves
        cut = _LOWEST if same and not self._has_crops else above
        answers = in_threads(lambda block: _greedy(block, cut, others), self._blocks)
        self._last = _Answer(others, cut, answers)  # one assignment: another thread sees the old answer or this
        return above, answers


def _greedy(block: graph.Block, above: np.float32, others: tuple[Limits, float, float]) -> _Rows:
    least, share, nms_iou = others
    passed, kept = graph.greedy(block, least, above, most_area_px(block.pixels, share), nms_iou)
    passed.setflags(write=False)
    kept.setflags(write=False)
    return passed, kept


def _saying_crops(parts: Iterable[Proposals]) -> Iterator[Proposals]:
    """Pass parts on; raise PoolError where rows do not say their crop."""
    for part in parts:
        boxes = part.crop_boxes_xyxy
        unsaid = int((boxes[:, 2:] <= boxes[:, :2]).any(axis=1).sum())
        if unsaid:
            raise PoolError(
                f"the run had crops, and {unsaid} of {len(part)} rows do not say theirs: NMS within crops cannot be"
                " replayed; give crop_boxes_xyxy, or take pool='distinct' (DistinctPool)"
            )
        yield part
