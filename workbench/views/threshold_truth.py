"""What the thresholds page takes truth for: whether it holds every object of its images, and who says so."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import panel as pn
import panel_material_ui as pmui

from workbench.loop.plan import Plan
from workbench.store import calibrations, campaigns
from workbench.views import layout

if TYPE_CHECKING:
    from workbench.project import Project
    from workbench.views.page_thresholds import ThresholdsView

_MEANS = "Where it does not, a mask that matches no true one may be of an object that truth leaves out: recall alone is known."


class OnRecord(NamedTuple):
    """Whether a project says that its truth holds every object, and where it says so, in words."""

    exhaustive: bool
    words: str


def on_record(project: Project) -> OnRecord:
    """Return what the last calibration of the latest run and the last campaign say of the truth.

    It is exhaustive where one of them takes it so and none denies it.
    """
    said: dict[str, bool] = {}
    if calibrations.latest(project.catalog, "calibration", project._run_id()) is not None:
        said["calibration"] = project.label_source() == "final"
    campaign = campaigns.find(project.catalog)
    if campaign is not None:
        said["campaign"] = Plan.from_dict(dict(campaign.settings)).cycle.exhaustive
    if not said:
        return OnRecord(False, "Nothing on record says that truth holds every object.")
    whole = all(said.values())
    names = " and ".join(name for name, value in said.items() if value == whole)
    return OnRecord(
        whole, f"On record by the {names}: truth {'holds every object' if whole else 'leaves objects out'}."
    )


class Truth:
    """The switch that says that truth holds every object, beside what is on record of that."""

    def __init__(self, view: ThresholdsView) -> None:
        switch = pmui.Switch.from_param(view.state.param.exhaustive, label="truth holds every object", margin=(8, 14))
        self.said = layout.words("")
        self.shown = pn.Column(switch, self.said, sizing_mode="stretch_width", visible=False)

    def follow(self, record: OnRecord) -> None:
        """Say what is on record."""
        self.said.object = layout.hinted(record.words, _MEANS)
