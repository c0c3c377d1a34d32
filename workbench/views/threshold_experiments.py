"""The part of the thresholds page that shows saved experiments: a click on a point puts the sliders where it was."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import panel as pn
import panel_material_ui as pmui

from workbench.config import ProposeConfig, TriageConfig
from workbench.triage.limits import PoolError, refuse, refuse_below
from workbench.views import layout
from workbench.views.pools import KINDS, least_nms_iou
from workbench.views.threshold_state import SLIDERS

if TYPE_CHECKING:
    from workbench.tables.experiments import Experiment
    from workbench.views.page_thresholds import ThresholdsView

_NONE = "None yet. A sweep that is given a name is kept: project.sweep({'predicted_iou': [0.8, 0.9]}, name='first')."


class Experiments:
    """The choice of an experiment, and the table of its points."""

    def __init__(self, view: ThresholdsView) -> None:
        self._view = view
        self._shown: Experiment | None = None
        # by a point: its note, the run, where the sliders went
        self._taken: tuple[str, int, TriageConfig] | None = None
        self.name = pmui.Select(label="experiment", options=[], size="small", width=320)
        self.told = layout.words("")
        self.points = pn.Column(layout.note(_NONE), sizing_mode="stretch_width")
        self.name.param.watch(lambda _: view.soon(view.guarded(self._show)), "value")

    def card(self) -> Any:
        """Return the choice and the table below it."""
        hint = "A click on a point puts the sliders where it was, to look at or to keep."
        parts = self.name, self.told, self.points
        return layout.card("Saved experiments", *parts, text="Sweeps that were kept.", hint=hint, wide=True)

    def follow(self, experiments: Any) -> None:
        """Offer the experiments that there are, the last one first."""
        names = experiments["name"].tolist()[::-1] if len(experiments) else []
        self.name.visible = bool(names)
        if names == self.name.options:
            return
        kept = self.name.value if self.name.value in names else next(iter(names), None)
        self.name.param.update(options=names, value=kept)

    def take(self, row: int) -> None:
        """Put the sliders where a point of the experiment was, over the pool that it was counted in."""
        view, shown = self._view, self._shown
        if shown is None:
            return
        config = shown.config(row)
        unfit = self._unfit(shown, row, config)
        if unfit:
            self.told.object = layout.box(f"Row {row} {unfit}", "info")
            return
        view.state.move(config)
        text, note = f"The sliders stand where row {row} of {shown.name} was.", f"experiment {shown.name!r}, row {row}"
        self.told.object = f'<p class="note" role="status">{layout.escape(text)}</p>'
        if shown.run_id != view.run.id:
            made = f"made on run {shown.run_id} of {shown.model_id}"
            here = f"the counts here are of run {view.run.id} of {view.run.model_id}: they are not those of its table"
            self.told.object = layout.box(f"{text} It was {made}; {here}.", "info")
            note = f"as {note}, which was {made}"
        view.saving.note.value, self._taken = note, (note, view.run.id, view.state.config)

    def leave(self, config: TriageConfig) -> None:
        """Take back that the sliders stand where a point was, and the note that says so, once that holds no more."""
        if self._taken is None or self._taken[1:] == (self._view.run.id, config):
            return
        note, self._taken = self._taken[0], None
        self.told.object = ""
        if self._view.saving.note.value == note:
            self._view.saving.note.value = ""

    def _unfit(self, shown: Experiment, row: int, config: TriageConfig) -> str:
        """Say why the page cannot show the settings of a point; "" where it can."""
        own, least = self._view.reference, least_nms_iou(self._view.reference)
        try:
            refuse(own, config.replace(pool=own.pool), None, SLIDERS)
        except PoolError as error:
            return f"has other settings than the project's triage, which no slider moves: {error}"
        if config.nms_iou < least if config.pool == "exact" else config.nms_iou != own.nms_iou:
            here = f"from {least:g} on" if config.pool == "exact" else f"at {own.nms_iou:g}"
            return (
                f"has duplicates settled at {config.nms_iou:g}, the {KINDS[config.pool]} here {here}. To see it, triage by"
                f" it: project.triage(project.experiment({shown.name!r}).config({row}))"
            )
        try:
            refuse_below(config, ProposeConfig.from_dict(self._view.run.settings))
        except PoolError as error:
            return f"cannot be shown of run {self._view.run.id}: {error}"
        return ""

    def _show(self) -> None:
        """Read the experiment that is chosen and show its points."""
        self.told.object = ""
        if not self.name.value:
            self._shown = None
            self.points.objects = [layout.note(_NONE)]
            return
        found = self._shown = self._view.campaign.project.experiment(self.name.value)
        table = found.table.reset_index().round(4)
        clicked = self._view.guarded(lambda event: self.take(int(table["row"].iloc[event.row])))
        images = len(found.counted.image_ids)
        about = {
            "made": found.made_at,
            "by": found.author,
            "note": found.note,
            "proposals": f"of run {found.run_id} of {found.model_id}, {images:,} image{'s' * (images != 1)}",
            "counted against": found.about,
        }
        self.points.objects = [
            layout.words(layout.facts(about)),
            layout.table(table, "experiment", on_click=clicked),
        ]
