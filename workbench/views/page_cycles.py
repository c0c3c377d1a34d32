"""The cycles page: where the campaign stands, its runs and outcomes, and what speaks against masks."""

from __future__ import annotations

import dataclasses
from typing import Any

from workbench.report import Report
from workbench.views import layout, pool_plots, report_plots
from workbench.views.view import View


@dataclasses.dataclass(frozen=True)
class _Read:
    report: Report
    runs: Any  # DataFrames
    versions: Any
    failures: Any


class CyclesView(View):
    """Counts of the latest run, runs, versions of the triage, reasons and failures."""

    name_of_page = "cycles"

    def read(self) -> _Read:
        """Look at the project; nothing is triaged for it."""
        project = self.campaign.project
        return _Read(project._last_report(), project.runs(), project.triages(), project.failures())

    def present(self, data: _Read) -> None:
        """Show what there is, or what to do next."""
        report, place = data.report, self.campaign.place
        if not report.done:
            text = f"The project has {report.images:,} image{'s' * (report.images != 1)} and no proposals. Propose masks first:"
            self.body.objects = [
                layout.next_step("Nothing proposed yet", text, f"workbench propose {place}"),
                *self._failed(data),
            ]
            return
        cards: list[Any] = [layout.card("Where the campaign stands", layout.words(_standing(report)), wide=True)]
        if report.triage_id is None:
            text = "Proposals are not sorted yet. Triage sorts them into accepted, flagged and discarded:"
            cards.append(layout.next_step("Not triaged yet", text, f"workbench triage {place}"))
        else:
            figure = layout.figure(report_plots.reasons(report.reasons), 320)
            text = "Distinct proposals by reason; one may have several."
            cards.append(layout.card("Why masks are flagged or discarded", figure, text=text))
        runs = data.runs[["id", "model_id", "started_at", "done", "failed", "proposals", "distinct", "seconds"]]
        cards.append(layout.card("Runs of models", layout.table(runs.iloc[::-1].reset_index(drop=True), "runs")))
        self.body.objects = [layout.grid(*cards, *self._failed(data))]

    def _failed(self, data: _Read) -> list[Any]:
        if not len(data.failures):
            return []
        text = "Images without proposals, each with the reason."
        table = layout.table(data.failures, "failures")
        return [layout.card("Images that could not be used", table, text=text, wide=True)]


def _standing(report: Report) -> str:
    """Return the main figures as tiles."""
    distinct = max(1, report.distinct)
    cells = [(f"{report.done:,} of {report.images:,}", "images proposed on", f"model {report.model_id}", "")]
    cells.append((f"{report.distinct:,}", "distinct proposals", f"of {report.proposals:,} stored", ""))
    if report.triage_id is not None:
        for name in ("auto_accepted", "flagged", "discarded"):
            n = getattr(report, name)
            label = name.replace("_", "-", 1)
            cells.append((f"{n:,}", label, f"{n / distinct:.1%} of the distinct", pool_plots.OUTCOMES[name]))
    seconds = report.seconds_per_image
    cells.append((f"{seconds:.2f} s", "an image", "reading and proposing", ""))
    return layout.tiles(cells)
