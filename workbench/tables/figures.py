"""Figures with their uncertainty: a value, the interval around it, and what it was counted over."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, Literal

from workbench.plain import plain

How = Literal["bootstrap", "binomial", "none"]


@dataclasses.dataclass(frozen=True)
class Interval:
    """A figure and its interval.

    value : NaN where nothing was counted; low, high : ends of the interval, NaN where none can be given
    n : what it was counted over: the denominator of a rate, the number of images of a mean or of a difference
    how : bootstrap over images; binomial, exact, where there are too few events for that; none
    """

    value: float
    low: float
    high: float
    n: int
    how: How = "none"

    def __post_init__(self) -> None:
        if self.n < 0:
            raise ValueError(f"Interval.n: expected 0 or more, got {self.n}")
        if self.low > self.high:
            raise ValueError(f"Interval: expected low <= high, got {self.low} and {self.high}")

    @classmethod
    def unknown(cls) -> Interval:
        """Return the figure of nothing counted."""
        return cls(math.nan, math.nan, math.nan, 0)

    @property
    def known(self) -> bool:
        """Whether there is a value."""
        return not math.isnan(self.value)

    def above(self, bound: float) -> bool:
        """Whether the whole interval lies above a bound; an unknown one lies nowhere."""
        return self.low > bound

    def below(self, bound: float) -> bool:
        """Whether the whole interval lies below a bound."""
        return self.high < bound

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain values for JSON; what is not known is None."""
        return plain(dataclasses.asdict(self))

    def __str__(self) -> str:
        if not self.known:
            return f"not known (n = {self.n:,})"
        if math.isnan(self.low):
            return f"{self.value:.3g} (no interval, n = {self.n:,})"
        return f"{self.value:.3g} [{self.low:.3g}, {self.high:.3g}] (n = {self.n:,})"
