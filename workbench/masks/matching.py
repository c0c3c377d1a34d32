"""Which mask is which: one-to-one matching of two sets of masks by IoU, once or again and again over some of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from workbench.masks import rle

_BLOCK = 2**22  # IoUs in memory at once: 32 MB


def match(
    a: Sequence[bytes], b: Sequence[bytes], size_hw: tuple[int, int], iou: float
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Match masks one to one so that as many pairs as possible reach the IoU, and among these the sum of IoU is largest.

    Parameters
    ----------
    a, b : run lengths of masks of one image
    iou : least IoU of a pair, in (0, 1]

    Returns
    -------
    rows of a (K,), rows of b (K,), IoU (K,) of the pairs, in order of a

    Raises
    ------
    ValueError : if the IoU is not in (0, 1]

    Source: Kuhn 1955, The Hungarian method for the assignment problem; scipy.optimize.linear_sum_assignment.
    """
    _check(iou)
    overlap = rle.iou_matrix(a, b, size_hw)
    rows, columns = _assign(overlap, iou)
    return rows, columns, overlap[rows, columns]


def _check(iou: float) -> None:
    if not 0 < iou <= 1:
        raise ValueError(f"iou: expected a value in (0, 1], got {iou}")


def _assign(overlap: NDArray[np.float64], iou: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    # one whole point a pair makes their number count before their IoU
    worth = np.where(overlap >= iou, sum(overlap.shape) + overlap, 0.0)
    rows, columns = linear_sum_assignment(worth, maximize=True)
    matched = overlap[rows, columns] >= iou
    return rows[matched], columns[matched]


@dataclasses.dataclass(frozen=True, eq=False)
class Overlaps:
    """Pairs of masks that overlap enough to be matched, of any number of images: found once, matched for any subset.

    a, b : (K,) int64, a row of either set; iou : (K,) float64. Pairs are ordered by b, then by falling IoU, then by a.
    least_iou : pairs below it are not stored; n_a, n_b : rows of either set
    """

    a: NDArray[np.int64]
    b: NDArray[np.int64]
    iou: NDArray[np.float64]
    least_iou: float
    n_a: int
    n_b: int

    def __post_init__(self) -> None:
        order = np.lexsort((self.a, -self.iou, self.b))
        for name in ("a", "b", "iou"):
            object.__setattr__(self, name, getattr(self, name)[order])
        object.__setattr__(self, "_tangled", _knots(self.a, self.b, self.n_a, self.n_b) >= 0)

    @classmethod
    def of_image(cls, a: Sequence[bytes], b: Sequence[bytes], size_hw: tuple[int, int], least_iou: float) -> Overlaps:
        """Return the pairs of two sets of masks of one image whose IoU is at least `least_iou`, in (0, 1]."""
        _check(least_iou)
        found = [(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))]
        step = max(1, _BLOCK // max(len(b), 1))
        for start in range(0, len(a) if len(b) else 0, step):
            overlap = rle.iou_matrix(a[start : start + step], b, size_hw)
            i, j = np.nonzero(overlap >= least_iou)
            found.append((start + i, j, overlap[i, j]))
        rows, columns, iou = (np.concatenate(parts) for parts in zip(*found, strict=True))
        return cls(rows, columns, iou, least_iou, len(a), len(b))

    @classmethod
    def joined(cls, parts: Iterable[Overlaps], least_iou: float) -> Overlaps:
        """Return the pairs of several images as one; rows are counted on from image to image."""
        a, b, iou = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], [np.zeros(0)]
        n_a = n_b = 0
        for part in parts:
            a.append(n_a + part.a)
            b.append(n_b + part.b)
            iou.append(part.iou)
            n_a, n_b = n_a + part.n_a, n_b + part.n_b
        return cls(np.concatenate(a), np.concatenate(b), np.concatenate(iou), least_iou, n_a, n_b)

    def one_to_one(
        self, iou: float, a: NDArray[np.bool_] | None = None, b: NDArray[np.bool_] | None = None
    ) -> NDArray[np.int64]:
        """Return which pairs a one-to-one matching takes, (P,) ascending: as many as possible, then the largest IoU.

        Parameters
        ----------
        iou : least IoU of a pair, from `least_iou` on
        a, b : (n_a,), (n_b,) bool, the rows that take part; None for all

        Raises
        ------
        ValueError : for an IoU below `least_iou`

        Source: as `match`. Where no row of `a` reaches the IoU with two of `b`, the best of each row of `b` is the answer;
        only the others, few where the masks of `b` do not overlap, need the Hungarian method.
        """
        if not self.least_iou <= iou <= 1:
            raise ValueError(f"iou: expected a value in [{self.least_iou}, 1] (pairs below are not stored), got {iou}")
        part = self.iou >= iou
        if a is not None:
            part &= a[self.a]
        if b is not None:
            part &= b[self.b]
        tangled = np.flatnonzero(part & self._tangled)  # type: ignore[attr-defined]
        knots = _knots(self.a[tangled], self.b[tangled], self.n_a, self.n_b)  # fewer than among all pairs
        part[tangled[knots >= 0]] = False
        plain = np.flatnonzero(part)
        first = np.ones(len(plain), dtype=bool)
        first[1:] = self.b[plain[1:]] != self.b[plain[:-1]]
        knotted = self._untangled(tangled[knots >= 0], knots[knots >= 0], iou)
        return np.sort(np.concatenate([plain[first], *knotted]))

    def _untangled(self, pairs: NDArray[np.int64], knots: NDArray[np.int64], iou: float) -> Iterator[NDArray[np.int64]]:
        order = np.argsort(knots, kind="stable")
        cuts = np.flatnonzero(np.diff(knots[order])) + 1
        for knot in np.split(pairs[order], cuts) if len(pairs) else []:
            rows, i = np.unique(self.a[knot], return_inverse=True)
            columns, j = np.unique(self.b[knot], return_inverse=True)
            overlap, which = np.zeros((len(rows), len(columns))), np.zeros((len(rows), len(columns)), np.int64)
            overlap[i, j], which[i, j] = self.iou[knot], knot
            yield which[_assign(overlap, iou)]


def _knots(a: NDArray[np.int64], b: NDArray[np.int64], n_a: int, n_b: int) -> NDArray[np.int64]:
    """Number of the connected part that holds each pair, -1 where no row of `a` in it has two partners."""
    knots = np.full(len(a), -1, dtype=np.int64)
    several = np.bincount(a, minlength=n_a) > 1
    if not several.any():
        return knots
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(a), np.int8), (a, n_a + b)), shape=(n_a + n_b,) * 2)
    parts, label = connected_components(graph, directed=False)
    held = np.zeros(parts, dtype=bool)
    held[label[:n_a][several]] = True
    return np.where(held[label[a]], label[a], -1)
