"""Public names of the workbench, each loaded on first use, so that `import workbench` stays light."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from workbench.config import ProposeConfig as ProposeConfig
    from workbench.config import TriageConfig as TriageConfig
    from workbench.config import preset as preset
    from workbench.gallery import draw as draw
    from workbench.loop.gate import GateConfig as GateConfig
    from workbench.loop.oracle import Oracle as Oracle
    from workbench.loop.oracle import OracleConfig as OracleConfig
    from workbench.loop.plan import CycleConfig as CycleConfig
    from workbench.project import Project as Project
    from workbench.propose.run import propose as propose
    from workbench.quality import combine as combine
    from workbench.quality import coverage as coverage
    from workbench.quality import overlaps as overlaps
    from workbench.review.config import ReviewConfig as ReviewConfig
    from workbench.sam.load import load_sam as load_sam
    from workbench.tables.events import ReviewEvent as ReviewEvent
    from workbench.tables.outcomes import Triage as Triage
    from workbench.tables.proposals import Proposals as Proposals
    from workbench.train.settings import TrainConfig as TrainConfig
    from workbench.triage.rules import triage as triage
    from workbench.views.dashboard import Dashboard as Dashboard
    from workbench.widgets.annotator import Annotator as Annotator

__version__ = "0.1.0"

_HOMES = {
    "Annotator": "workbench.widgets.annotator",
    "CycleConfig": "workbench.loop.plan",
    "Dashboard": "workbench.views.dashboard",
    "GateConfig": "workbench.loop.gate",
    "Oracle": "workbench.loop.oracle",
    "OracleConfig": "workbench.loop.oracle",
    "Project": "workbench.project",
    "ProposeConfig": "workbench.config",
    "Proposals": "workbench.tables.proposals",
    "ReviewConfig": "workbench.review.config",
    "ReviewEvent": "workbench.tables.events",
    "TrainConfig": "workbench.train.settings",
    "Triage": "workbench.tables.outcomes",
    "TriageConfig": "workbench.config",
    "combine": "workbench.quality",
    "coverage": "workbench.quality",
    "draw": "workbench.gallery",
    "load_sam": "workbench.sam.load",
    "overlaps": "workbench.quality",
    "preset": "workbench.config",
}

_ROOMS = ("propose", "triage")  # packages that can be called

__all__ = ["__version__", *_HOMES, *_ROOMS]


def __getattr__(name: str) -> object:
    if name in _ROOMS:
        return importlib.import_module(f"{__name__}.{name}")
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'workbench' has no attribute {name!r}; it has {', '.join(sorted(__all__))}")
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
