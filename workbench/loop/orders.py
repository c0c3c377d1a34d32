"""Two campaigns at equal budget, paired over the same test images: what the order of the images was worth (C4)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from workbench.config import ProposeConfig
from workbench.loop import measuring
from workbench.loop.plan import CycleConfig
from workbench.plotted import Plotted
from workbench.store import campaigns
from workbench.store.errors import StoreError
from workbench.tables.figures import Interval
from workbench.train.settings import TrainConfig

if TYPE_CHECKING:
    from workbench.store.campaigns import Campaign, Cycle
    from workbench.store.catalog import Catalog


@dataclasses.dataclass(frozen=True, repr=False)
class Orders(Plotted):
    """Figures of a campaign minus those of another, by cycle, after as many reviewed images.

    strategies : of both; rows : cycle, images that both had reviewed before it, and the paired differences by figure,
    positive where the first is higher
    """

    strategies: tuple[str, str]
    rows: tuple[tuple[int, int, Mapping[str, Interval]], ...]

    def __len__(self) -> int:
        return len(self.rows)

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values for JSON; what is not known is None."""
        rows = [
            {"cycle": cycle, "images": images, "differences": {k: v.to_dict() for k, v in found.items()}}
            for cycle, images, found in self.rows
        ]
        return {"strategies": list(self.strategies), "rows": rows}

    def lines(self) -> list[str]:
        """Return a line of words for each cycle."""
        return [
            f"cycle {cycle}, after {images:,} images: "
            + ", ".join(f"{name.replace('_', ' ')} {figure}" for name, figure in found.items())
            for cycle, images, found in self.rows
        ]

    def __repr__(self) -> str:
        return "\n".join([f"{self.strategies[0]} − {self.strategies[1]}, on the same test images", *self.lines()])


def compare(first: Catalog, second: Catalog) -> Orders:
    """Return what the last campaign of a project comes to beside that of another; see `Looping.compare_orders`."""
    a, b = (_last(catalog) for catalog in (first, second))
    plans = [_compared(c.settings) for c in (a[0], b[0])]
    for name, what in (
        ("model_id", "first model"),
        ("floors", "grid and floors"),
        ("triage", "thresholds"),
        ("train", "training"),
        ("cycle", "share that thresholds may let be wrong, or recall alone"),
    ):
        if plans[0][name] != plans[1][name]:
            raise StoreError(f"compare_orders: expected campaigns with the same {what}, they differ; so would figures")
    if set(a[0].held_out) != set(b[0].held_out):
        raise StoreError("compare_orders: expected the same test images in both campaigns, they differ")
    for role in ("train", "calibration"):
        if set(a[0].settings["pools"].get(role, ())) != set(b[0].settings["pools"].get(role, ())):
            raise StoreError(
                f"compare_orders: expected the same {role} images to choose from in both campaigns, they differ; so would figures"
            )
    rows, spent = [], 0
    for one, other in zip(a[1], b[1], strict=False):
        counts = [measuring.counts_of(cycle.state, of.held_out) for cycle, of in ((one, a[0]), (other, b[0]))]
        rows.append((one.number, spent, measuring.changes(*counts)))
        batches = [(len(cycle.train), len(cycle.calibration)) for cycle in (one, other)]
        if batches[0] != batches[1]:
            break  # from here on the budgets are not equal
        if set(one.calibration) != set(other.calibration):
            raise StoreError(
                f"compare_orders: expected the same calibration images in cycle {one.number} of both campaigns, they differ: thresholds are "
                "read off them; run both with one seed (CycleConfig), by one version of workbench"
            )
        spent += sum(batches[0])
    strategies = (a[0].settings["cycle"]["strategy"], b[0].settings["cycle"]["strategy"])
    return Orders(strategies, tuple(rows))


def _compared(plan: Mapping[str, Any]) -> dict[str, Any]:
    """Return what must be the same in two plans, settings that came later as what was done before."""
    cycle = CycleConfig.from_dict(CycleConfig.stored(plan["cycle"]))
    allowed = (cycle.most_wrong, cycle.reserve) if cycle.exhaustive else None  # by recall alone none is read off
    stored = {"floors": ProposeConfig.stored(plan["floors"]), "train": TrainConfig.stored(plan["train"])}
    return {**plan, **stored, "cycle": allowed}


def _last(catalog: Catalog) -> tuple[Campaign, list[Cycle]]:
    found = campaigns.find(catalog)
    done = [] if found is None else [c for c in campaigns.of_campaign(catalog, found.id) if c.step == "done"]
    if found is None or not done:
        raise StoreError("compare_orders: expected a cycle that is done in both projects; run cycles in both first")
    return found, done
