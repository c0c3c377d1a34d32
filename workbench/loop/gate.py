"""The gate to Stage 3: checks that pass, fail, or lack data; and the seed's own rule beside them (G2).

A check passes when its bound holds at the worse end of the 95 % interval. It fails when the bound does not hold at the
measured value. In between, and where nothing was measured, it is insufficient: more data would tell; so is a calibration
error above its bound that a perfectly calibrated model would show too on as few labels. A check can be put aside only by
a declaration with a reason, which is kept in the report.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from workbench.config import ProposeConfig
from workbench.plain import nan_for_none, plain
from workbench.plotted import Plotted
from workbench.settings import Settings, setting, settings
from workbench.tables.figures import Interval

Verdict = Literal["pass", "fail", "insufficient", "not applicable"]


@settings
class GateConfig(Settings):
    """Bounds of the gate, and how strictly they are read."""

    auto_accept_rate: float = setting(default=0.65, low=0, high=1, doc="auto-acceptance rate is above it")
    fp_rate: float = setting(
        default=0.05, low=0, high=1, doc="share of auto-accepted masks that are wrong is at most it"
    )
    calibration_error: float = setting(default=0.05, low=0, high=1, doc="smooth ECE is below it")
    recall: float = setting(default=0.90, low=0, high=1, doc="recall_auto on test images is above it")
    category_diversity: float = setting(
        default=0.9, low=0, high=1, doc="share of categories with recall_auto >= 0.5 is above it"
    )
    small_object_recall: float = setting(default=0.85, low=0, high=1, doc="recall_auto of small objects is above it")
    improvement: float = setting(
        default=0.05, low=0, high=10, doc="relative change of the auto-acceptance rate between the last two models"
    )
    domains: float = setting(default=0.10, low=0, high=1, doc="spread of recall_auto between domains is at most it")
    consistency: float = setting(default=0.8, low=-1, high=1, doc="Krippendorff's alpha is at least it")
    reading: Literal["worse end", "point"] = setting(
        default="worse end", doc="bounds hold at the worse end of the interval, or at the measured value only"
    )
    least_images: int = setting(
        default=10, low=1, doc="test, and calibration, images below which every figure of them is insufficient"
    )
    least_instances: int = setting(default=20, low=1, doc="true masks that a category counts from")


MEASURED = ("auto_accept_rate", "fp_rate", "calibration_error", "recall")  # apply always: no gate opens without them
Side = Literal[">", ">=", "<", "<=", "within"]
CHECKS: Mapping[str, tuple[Side, str, str]] = {  # side of the bound, what is measured, what n counts
    "auto_accept_rate": (">", "auto-accepted ÷ distinct proposals on test images", "distinct proposals"),
    "fp_rate": ("<=", "wrong among auto-accepted masks of test images, matched at IoU 0.75", "auto-accepted masks"),
    "calibration_error": ("<", "smooth ECE of recalibrated confidence on distinct proposals", "labelled proposals"),
    "recall": (">", "true masks of test images matched at IoU 0.5 by an auto-accepted one", "true masks"),
    "category_diversity": (">", "share of true categories whose recall_auto is at least 0.5", "categories"),
    "small_object_recall": (">", "recall_auto of the lowest quartile of true areas", "true masks"),
    "improvement": ("within", "relative change of auto_accept_rate between the last two models, paired", "images"),
    "domains": ("<=", "largest − smallest recall_auto among domains", "domains"),
    "consistency": (">=", "Krippendorff's alpha between annotators", "masks that two judged"),
}


@dataclasses.dataclass(frozen=True)
class Check:
    """One bound of the gate.

    value, interval : what was measured, NaN where nothing was; bound, side : what it is compared with
    n : what it was counted over; verdict : pass, fail, insufficient or not applicable; note : why
    """

    name: str
    value: float
    bound: float
    n: int
    interval: tuple[float, float]
    verdict: Verdict
    side: Side = ">"
    note: str = ""

    def __str__(self) -> str:
        bound, note = f"{self.side} {self.bound:g}", f"; {self.note}" if self.note else ""
        ends = "" if math.isnan(self.interval[0]) else f" [{self.interval[0]:.3f}, {self.interval[1]:.3f}]"
        known = f"{self.value:.3f}{ends} {bound} (n = {self.n:,} {CHECKS[self.name][2]})"
        measured = f"not measured (bound: {bound})" if math.isnan(self.value) else known
        return f"{self.verdict:14} {self.name:20} {measured}{note}"

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values for JSON; what is not known is None, an interval as a whole."""
        interval = None if math.isnan(self.interval[0]) else self.interval
        return plain({**dataclasses.asdict(self), "interval": interval})

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Check:
        """Build it from what `to_dict` gave."""
        interval = tuple(values["interval"] or (math.nan, math.nan))
        return cls(**{**nan_for_none(values), "interval": interval})


@dataclasses.dataclass(frozen=True)
class GateReport(Plotted):
    """All checks, whether the gate is open, and what the seed's own rule says of the same measured values.

    seed : True or False; None where one of its five values is not known. config : bounds and reading
    measured : run, model_id, floors (with the grid) and NMS (distinct) that the figures are by, and the domains of the test
        images; empty where not known
    """

    checks: tuple[Check, ...]
    config: GateConfig
    seed: bool | None
    measured: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def open(self) -> bool:
        """Whether every check passes or is declared not applicable, and those that apply always were made."""
        made = {check.name for check in self.checks}  # reports of before had fewer
        passed = all(check.verdict in ("pass", "not applicable") for check in self.checks)
        return passed and made.issuperset(MEASURED)

    @property
    def moved(self) -> Mapping[str, Any]:
        """The bounds, and the reading of them, that are not the conservative ones, by name."""
        plain_config = GateConfig().to_dict()
        return {name: value for name, value in self.config.to_dict().items() if value != plain_config[name]}

    @property
    def shut_by(self) -> tuple[str, ...]:
        """The checks that keep it shut, each in words."""
        shut = [check for check in self.checks if check.verdict in ("fail", "insufficient")]
        return tuple(" ".join(str(check).split()) for check in shut)

    def __getitem__(self, name: str) -> Check:
        return next(check for check in self.checks if check.name == name)

    def __str__(self) -> str:
        seed = {True: "would go on", False: "would not go on", None: "cannot say: a value is missing"}[self.seed]
        head = f"The gate is {'open' if self.open else 'shut'}; bounds are read at the {self.config.reading}."
        by = [_by(self.measured)] if self.measured else []
        return "\n".join([head, *by, *map(str, self.checks), f"The seed's rule (should_transition_to_stage3) {seed}."])

    __repr__ = __str__

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values for JSON; what is not known is None."""
        return {
            "open": self.open,
            "reading": self.config.reading,
            "checks": [check.to_dict() for check in self.checks],
            "seed": self.seed,
            "shut_by": list(self.shut_by),
            "config": self.config.to_dict(),
            "measured": dict(self.measured),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> GateReport:
        """Build the report from what `to_dict` gave."""
        config = GateConfig.from_dict(values["config"])
        return cls(tuple(map(Check.from_dict, values["checks"])), config, values["seed"], values.get("measured", {}))


def _by(measured: Mapping[str, Any]) -> str:
    """Say by which run, floors, grid and NMS figures were measured."""
    nms = {name: measured["distinct"][name] for name in ("nms", "nms_iou")}
    floors = ProposeConfig.from_dict(ProposeConfig.stored({**measured["floors"], **nms}))
    return f"Measured on run {measured['run']} ({measured['model_id']}): {floors.in_words()}."


def evaluate(
    figures: Mapping[str, Interval],
    config: GateConfig | None = None,
    declared: Mapping[str, str] | None = None,
    notes: Mapping[str, str] | None = None,
    measured: Mapping[str, Any] | None = None,
    undecided: Mapping[str, str] | None = None,
    doubtful: Mapping[str, str] | None = None,
) -> GateReport:
    """Hold figures against the bounds.

    Parameters
    ----------
    figures : by the names of `CHECKS`; one that is missing or unknown is insufficient
    declared : checks that do not apply, each with its reason; those of `MEASURED` apply always
    notes : words on figures, as why one is not known; measured : what they are by, for the report
    undecided : checks whose data are too few to fail on, each with why: beyond its bound, such a figure is insufficient
    doubtful : checks whose data are not fit to pass on, each with why: within its bound, such a figure is insufficient

    Raises
    ------
    ValueError : for an unknown name, a declaration without a reason, or one of a check that applies always
    """
    config, declared, notes = config or GateConfig(), declared or {}, notes or {}
    excuses = {"fail": undecided or {}, "pass": doubtful or {}}
    check_declared(declared)
    check_names(figures)
    checks = [
        _check(
            name,
            figures.get(name, Interval.unknown()),
            config,
            declared.get(name),
            notes.get(name, ""),
            {verdict: why[name] for verdict, why in excuses.items() if name in why},
        )
        for name in CHECKS
    ]
    seed = seed_says({name: figures[name].value for name in SEED_NAMES if name in figures})
    return GateReport(tuple(checks), config, seed, measured or {})


def check_names(names: Iterable[str]) -> None:
    """Raise ValueError for a check that is unknown."""
    for name in names:
        if name not in CHECKS:
            raise ValueError(f"gate: expected checks of {', '.join(CHECKS)}, got {name!r}")


def check_declared(declared: Mapping[str, str]) -> None:
    """Raise ValueError for a check that is unknown or applies always, or is declared not to apply without a reason."""
    check_names(declared)
    for name, reason in declared.items():
        if name in MEASURED:
            raise ValueError(f"gate: {name} applies to every project; {', '.join(MEASURED)} have to be measured")
        if not str(reason).strip():
            raise ValueError(f"gate: {name} is declared not applicable without a reason; give one for the record")


def _check(
    name: str, figure: Interval, config: GateConfig, declared: str | None, note: str, excuses: Mapping[str, str]
) -> Check:
    side, bound = CHECKS[name][0], float(getattr(config, name))
    ends = (figure.low, figure.high)
    if declared is not None:
        return Check(name, figure.value, bound, figure.n, ends, "not applicable", side, f"declared: {declared}")
    verdict, why = _verdict(figure, side, bound, config.reading == "point")
    if verdict in excuses:
        verdict, why = "insufficient", excuses[verdict]
    return Check(name, figure.value, bound, figure.n, ends, verdict, side, note or why)


def _verdict(figure: Interval, side: Side, bound: float, by_point: bool) -> tuple[Verdict, str]:
    if not figure.known:
        return "insufficient", "nothing to measure it on yet"
    if not _holds(figure.value, side, bound):
        return "fail", ""
    if by_point:
        return "pass", "read at the measured value"
    if math.isnan(figure.low):
        return "insufficient", "too little data for an interval"
    if _holds(figure.low, side, bound) and _holds(figure.high, side, bound):
        return "pass", ""
    return "insufficient", "holds at the measured value, not at the worse end of the interval: more images would tell"


def _holds(value: float, side: Side, bound: float) -> bool:
    if side == "within":
        return abs(value) < bound
    if side in (">", "<"):
        return value > bound if side == ">" else value < bound
    return value >= bound if side == ">=" else value <= bound


# ---- the seed's own rule ------------------------------------------------------------------------------------------

SEED_NAMES = ("calibration_error", "auto_accept_rate", "category_diversity", "small_object_recall", "improvement")


def seed_says(values: Mapping[str, float]) -> bool | None:
    """Return what the seed's `should_transition_to_stage3` says of point estimates; None where one is not known."""
    if any(math.isnan(values.get(name, math.nan)) for name in SEED_NAMES):
        return None
    model = {name: values[name] for name in ("calibration_error", "auto_accept_rate")}
    model["cycle_over_cycle_improvement"] = values["improvement"]
    dataset = {name: values[name] for name in ("category_diversity", "small_object_recall")}
    return should_transition_to_stage3(model, dataset)


def should_transition_to_stage3(model_metrics: Mapping[str, float], dataset_metrics: Mapping[str, float]) -> bool:
    """Return the seed's decision (section 6): calibration, auto-acceptance, diversity, small objects, plateau."""
    confidence_reliable = model_metrics["calibration_error"] < 0.05 and model_metrics["auto_accept_rate"] > 0.65
    coverage_adequate = dataset_metrics["category_diversity"] > 0.9 and dataset_metrics["small_object_recall"] > 0.85
    efficiency_plateau = model_metrics["cycle_over_cycle_improvement"] < 0.05
    return confidence_reliable and coverage_adequate and efficiency_plateau
