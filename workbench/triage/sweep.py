"""A grid of thresholds over stored proposals: at each point the outcomes that `triage` returns there (T4)."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from workbench.config import ProposeConfig, SettingError, TriageConfig
from workbench.tables.outcomes import Outcome
from workbench.tables.proposals import Proposals
from workbench.triage.limits import THRESHOLDS, refuse, settled
from workbench.triage.pool import DistinctPool, ExactPool
from workbench.triage.rules import failures, triage

MOST_POINTS = 10_000

Parts = Callable[[], Iterable[Proposals]]
_Found = tuple[NDArray[np.uint8], NDArray[np.bool_]]


@dataclasses.dataclass(frozen=True)
class Grid:
    """All combinations of some values of some settings; the last setting moves fastest.

    base : what the settings are that do not move; values : by name of a setting, in the order given
    """

    base: TriageConfig
    values: Mapping[str, tuple[Any, ...]]

    @classmethod
    def of(cls, values: Mapping[str, Iterable[Any]], base: TriageConfig) -> Grid:
        """Check a grid as it is given; equal values of a setting are taken once.

        Raises
        ------
        SettingError : for an unknown setting, a value out of its range, an empty grid, or more than 10,000 points
        """
        if not isinstance(values, Mapping) or not values:
            raise SettingError(
                f"grid: expected at least one threshold with its values, as {{'predicted_iou': [0.8, 0.9]}}, got {values!r}"
            )
        if unknown := [name for name in values if not isinstance(name, str)]:
            raise SettingError(f"grid: expected names of thresholds, got {unknown[0]!r}")
        checked = {name: _checked(name, some, base) for name, some in values.items()}
        points = math.prod(map(len, checked.values()))
        if points > MOST_POINTS:
            sizes = " × ".join(f"{len(some):,} {name}" for name, some in checked.items())
            raise SettingError(
                f"grid: expected at most {MOST_POINTS:,} points, got {points:,} ({sizes}); take wider steps"
            )
        return cls(base, checked)

    def __len__(self) -> int:
        return math.prod(map(len, self.values.values()))

    def changes(self) -> list[dict[str, Any]]:
        """Return what each point sets, in order."""
        return [dict(zip(self.values, some, strict=True)) for some in itertools.product(*self.values.values())]

    def configs(self) -> list[TriageConfig]:
        """Return the settings of each point, in order."""
        return [self.base.replace(**changes) for changes in self.changes()]


def _checked(name: str, values: Iterable[Any], base: TriageConfig) -> tuple[Any, ...]:
    if isinstance(values, (str, bytes)) or not isinstance(values, Iterable):
        raise SettingError(f"grid: expected a list of values for {name}, got {values!r}")
    found = [getattr(base.replace(**{name: value}), name) for value in itertools.islice(values, MOST_POINTS + 1)]
    if not found:
        raise SettingError(f"grid: expected at least one value for {name}, got none")
    return tuple(dict.fromkeys(found))


class Outcomes(NamedTuple):
    """The outcomes at a point of a grid: its number, its settings, and the `Outcome` of each row given, (N,).

    distinct : (N,) which rows survive the point's NMS whatever their scores are, and with pool="exact" what is accepted or
        flagged beside them. There what fails a threshold is not compared, so the outcomes do not tell its duplicates
    """

    point: int
    config: TriageConfig
    outcome: NDArray[np.uint8]
    distinct: NDArray[np.bool_]


def outcomes(parts: Parts, grid: Grid, floors: ProposeConfig | None = None) -> Iterator[Outcomes]:
    """Yield the outcomes at each point, equal to `triage(proposals, config).outcome`, from as few pools as will do.

    Points that differ in thresholds only are asked of one pool; the order is that of the pools, not of the grid.

    Parameters
    ----------
    parts : returns the proposals anew whenever it is called: tables that hold whole images each, always in one order.
        With pool="exact" they are held in memory
    floors : settings of the run that proposed them; None where nothing is left out

    Raises
    ------
    PoolError : before any work where a point reaches below what is stored; where the pool cannot be built from it
    """
    configs = grid.configs()
    for config in configs:
        refuse(config, config, floors)
    for members in _alike(configs):
        some = [configs[k] for k in members]
        answers = _exact(parts, some, floors) if some[0].pool == "exact" else _distinct(parts, some, floors)
        for k, (outcome, distinct) in zip(members, answers, strict=True):
            yield Outcomes(k, configs[k], outcome, distinct)


def _alike(configs: list[TriageConfig]) -> list[list[int]]:
    """Group points by all settings that do not move over a pool."""
    groups: dict[tuple[Any, ...], list[int]] = {}
    for k, config in enumerate(configs):
        moving = (*THRESHOLDS, "nms_iou") if config.pool == "exact" else THRESHOLDS
        groups.setdefault(tuple(settled(config, moving).items()), []).append(k)
    return list(groups.values())


def _distinct(parts: Parts, configs: list[TriageConfig], floors: ProposeConfig | None) -> Iterator[_Found]:
    pool = DistinctPool.build(parts(), floors, configs[0])
    for config in configs:
        outcome = pool.outcome(config)
        yield outcome, outcome != Outcome.duplicate


def _exact(parts: Parts, configs: list[TriageConfig], floors: ProposeConfig | None) -> Iterator[_Found]:
    """What survives NMS comes from the pool; triage of the survivors alone, which NMS leaves as they are, finds doubts."""
    held = list(parts())
    smallest = min(config.nms_iou for config in configs)
    pool = ExactPool.build(held, floors, configs[0], smallest_nms_iou=smallest)
    starts = np.concatenate([[0], np.cumsum([len(part) for part in held])]).astype(np.int64)
    distinct: dict[float, NDArray[np.bool_]] = {}
    for config in configs:
        if config.nms_iou not in distinct:
            first = config.replace(pool="distinct", overlap=None)
            found = [triage(part, first).distinct for part in held]
            distinct[config.nms_iou] = np.concatenate([np.zeros(0, bool), *found])
        keep = pool.keep(config)
        outcome = np.full(len(keep), Outcome.duplicate, dtype=np.uint8)
        for part, start in zip(held, starts, strict=False):
            own, kept = outcome[start : start + len(part)], keep[start : start + len(part)]
            own[failures(part, config)] = Outcome.discarded
            own[kept] = triage(part.select(kept), config).outcome
        yield outcome, distinct[config.nms_iou] | (outcome == Outcome.auto_accepted) | (outcome == Outcome.flagged)
