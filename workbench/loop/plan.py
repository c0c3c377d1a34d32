"""What a campaign of cycles is made of: its settings, the floors and thresholds it begins with, its images by role."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

from workbench.config import ProposeConfig, TriageConfig, preset_for
from workbench.settings import Settings, setting, settings
from workbench.train.settings import TrainConfig
from workbench.triage.limits import fitting, refuse_below

Strategy = Literal["random", "uncertain", "diverse", "curriculum"]  # `loop.batches` says what each does


@settings
class CycleConfig(Settings):
    """How a campaign of cycles goes about it."""

    train: int | None = setting(default=None, low=1, high=10**7, doc="train images a cycle; None: all, in equal parts")
    calibration: int | None = setting(default=None, low=0, high=10**7, doc="calibration images a cycle; None: as train")
    strategy: Strategy = setting(default="random", doc="which train images come first")
    most_wrong: float = setting(
        default=0.05, low=0, high=1, doc="share of auto-accepted masks that calibrated thresholds let be wrong"
    )
    reserve: float = setting(
        default=0.5,
        low=0,
        high=1,
        doc="share wrong on one image more that calibrated thresholds leave room for; the fewer images, the more it counts; where "
        "images are enough and no threshold leaves it, the nearest is taken",
        before=0.0,
    )
    exhaustive: bool = setting(
        default=True,
        doc="truth leaves nothing out, so wrong masks count; else recall only, at the thresholds given",
    )
    seed: int = setting(default=0, low=0, high=2**63 - 1, doc="of batches and of intervals")


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a campaign is made of, fixed when it begins: images that are added later take no part.

    pools : ids of the images of each role, disjoint; test images have truth
    """

    cycle: CycleConfig
    floors: ProposeConfig
    triage: TriageConfig
    train: TrainConfig
    model_id: str
    pools: dict[str, tuple[str, ...]]

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as plain values."""
        parts = {name: getattr(self, name).to_dict() for name in ("cycle", "floors", "triage", "train")}
        return {**parts, "model_id": self.model_id, "pools": {role: list(ids) for role, ids in self.pools.items()}}

    @property
    def pooled(self) -> TriageConfig:
        """The first thresholds over the pool that figures are of: distinct at the NMS of the floors, in every cycle."""
        return self.triage.replace(nms=self.floors.nms, nms_iou=self.floors.nms_iou, pool="distinct")

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Plan:
        """Build the plan from what `to_dict` gave."""
        return cls(
            CycleConfig.from_dict(CycleConfig.stored(values["cycle"])),
            ProposeConfig.from_dict(values["floors"]),
            TriageConfig.from_dict(values["triage"]),
            TrainConfig.from_dict(TrainConfig.stored(values["train"])),
            values["model_id"],
            {role: tuple(ids) for role, ids in values["pools"].items()},
        )


def fitting_floors(model_id: str) -> ProposeConfig:
    """Return the floors of METRICS on the grid of the preset that fits a model: IoU 0.5, box NMS 0.7, distinct masks.

    They are asked a second time (`refine`) where the preset has thresholds for such: for models of which it is measured.
    """
    fits = preset_for(model_id)
    nms: dict[str, Any] = {"nms": "box", "nms_iou": 0.7, "crop_nms_iou": 0.7}
    return fits.propose.replace(predicted_iou_floor=0.5, **nms, pool="distinct", refine=fits.refined is not None)


def first_triage(given: TriageConfig | None, floors: ProposeConfig, model_id: str) -> TriageConfig:
    """Return the thresholds of the first cycle: those given, else the fitting preset's, moved to where the floors allow.

    Raises
    ------
    PoolError : a ValueError, for given ones below the floors, or with another NMS than rows are stored after
    """
    if given is None:
        return fitting(model_id, floors).replace(nms=floors.nms, nms_iou=floors.nms_iou, pool=floors.pool)
    refuse_below(given, floors)
    return given
