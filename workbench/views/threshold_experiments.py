"""The part of the thresholds page that shows saved experiments: a click on a point puts the sliders where it was."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import panel as pn
import panel_material_ui as pmui

from workbench.triage.limits import THRESHOLDS, PoolError, refuse
from workbench.views import layout

if TYPE_CHECKING:
    from workbench.tables.experiments import Experiment
    from workbench.views.page_thresholds import ThresholdsView

_NONE = "None yet. A sweep that is given a name is kept: project.sweep({'predicted_iou': [0.8, 0.9]}, name='first')."


class Experiments:
    """The choice of an experiment, and the table of its points."""

    def __init__(self, view: ThresholdsView) -> None:
        self._view = view
        self._shown: Experiment | None = None
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
        """Put the sliders where a point of the experiment was."""
        view, shown = self._view, self._shown
        if shown is None:
            return
        config, exact = shown.config(row), view.state.pool == "exact"
        if config.nms_iou != view.reference.nms_iou and not exact:
            text = (
                f"Row {row} has duplicates settled at {config.nms_iou:g}, this pool at {view.reference.nms_iou:g}: "
                "choose the exact pool to see it."
            )
            self.told.object = layout.box(text, "info")
            return
        alike = config.replace(pool=view.reference.pool)
        try:
            refuse(view.reference, alike, None, (*THRESHOLDS, "nms_iou"))
        except PoolError as error:
            text = f"Row {row} has other settings than the project's triage, which no slider moves: {error}"
            self.told.object = layout.box(text, "info")
            return
        view.state.move(config)
        view.saving.note.value = f"experiment {shown.name!r}, row {row}"
        text = f"The sliders stand where row {row} of {shown.name} was."
        self.told.object = f'<p class="note" role="status">{layout.escape(text)}</p>'

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
        self.points.objects = [
            layout.words(layout.facts({"made": found.made_at, "by": found.author, "note": found.note})),
            layout.table(table, "experiment", on_click=clicked),
        ]
