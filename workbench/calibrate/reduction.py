"""Many columns reduced to the few along which they differ most, so that few labels do not overfit."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

EMBEDDING = "embedding_"  # how the names of its columns begin

Floats = NDArray[np.float64]


@dataclasses.dataclass(frozen=True, eq=False)
class Reduction:
    """Principal components as plain arrays. mean : (C,); axes : (C, k), orthonormal, the widest first."""

    mean: Floats
    axes: Floats

    @classmethod
    def fit(cls, values: ArrayLike, components: int) -> Reduction:
        """Find at most `components` axes of (n, C) values; rows with NaN are left out. No label is looked at.

        Source: Pearson 1901; signs are fixed so that the largest entry of an axis is positive.
        """
        x = np.asarray(values, np.float64)
        x = x[np.isfinite(x).all(axis=1)]
        mean = x.mean(axis=0) if len(x) else np.zeros(x.shape[1])
        _, spread, axes = np.linalg.svd(x - mean, full_matrices=False)
        axes = axes[: min(components, int((spread > 1e-9).sum()))].T
        largest = axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])] if axes.size else np.ones(axes.shape[1])
        # in the order that `from_dict` gives: products of another one differ in their last bits on some processors
        return cls(mean, np.ascontiguousarray(axes * np.sign(largest)))

    @property
    def names(self) -> tuple[str, ...]:
        """(k,) names of the columns it gives."""
        return tuple(f"{EMBEDDING}{k}" for k in range(self.axes.shape[1]))

    def apply(self, values: ArrayLike) -> Floats:
        """Return (n, k) of (n, C)."""
        return np.asarray((np.asarray(values, np.float64) - self.mean) @ self.axes)

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain lists for JSON; every float keeps all its bits."""
        return {"mean": self.mean.tolist(), "axes": self.axes.tolist()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Reduction:
        """Build it from what `to_dict` gave."""
        mean = np.array(values["mean"], np.float64)
        return cls(mean, np.array(values["axes"], np.float64).reshape(len(mean), -1))
