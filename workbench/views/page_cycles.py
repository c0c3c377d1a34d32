"""The cycles page: where the campaign stands, its runs and outcomes, and what speaks against masks."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import panel as pn
import panel_material_ui as pmui

from workbench import colours
from workbench.loop import efficiency
from workbench.loop.efficiency import Efficiency
from workbench.loop.gate import CHECKS, GateReport
from workbench.report import Report
from workbench.store import calibrations, claims
from workbench.views import cycle_plots, layout, plots, report_plots
from workbench.views.campaign import words
from workbench.views.latest import Latest, long_work
from workbench.views.view import View

if TYPE_CHECKING:
    from workbench.tables.cycles import CycleTable


_CYCLES = "Figures of each cycle's model on the same test images, with 95 % intervals; recall stands beside acceptance."
_EFFICIENCY = (
    "People's active hours on the complete images, beside drawing the same masks by hand; what is assumed says so."
)
_TREND_PX = 320
_GATE_PROSE = {"why": 350, "what it is": 290}
_COUNTED_AT_ONCE = 2_000  # complete images; of more, the hours are counted when somebody asks
_FIRST = (
    "source",
    "cycle",
    "auto_accept_rate",
    "recall_auto",
    "fp_rate",
    "rejection_rate",
    "auto_to_manual",
    "masks_per_hour",
)


@dataclasses.dataclass(frozen=True)
class _Read:
    report: Report
    runs: Any  # DataFrames
    versions: Any
    failures: Any
    cycles: CycleTable
    models: Any
    gate: GateReport | None
    complete: int


class CyclesView(View):
    """Counts of the latest run, runs, versions of the triage, reasons and failures."""

    name_of_page = "cycles"
    shared = True

    def setup(self) -> None:
        """Make the switch of the seed's figures, and the place of the cycle table."""
        self.reference = pmui.Switch(label="the seed's figures beside ours", value=False, margin=(4, 14))
        self.cycle_table = pn.Column(sizing_mode="stretch_width")
        self.reference.param.watch(self.guarded(lambda _: self._refer()), "value")
        self.beside_seed: dict[str, pn.Column] = {}
        self.efficiency = pn.Column(sizing_mode="stretch_width")
        self.count = pmui.Button(label="Count it", size="small", variant="outlined")
        self.count.on_click(self.guarded(lambda _: self._count()))
        self.counting: Latest[int, Efficiency] = Latest(lambda _: self._counted(), self._show_efficiency, long_work())

    def close(self) -> None:
        """Stop working for a page that is gone."""
        super().close()
        self.counting.close()

    def read(self) -> _Read:
        """Look at the project; nothing is triaged for it."""
        project = self.campaign.project
        kept = calibrations.latest(project.catalog, "gate", project._run_id())
        return _Read(
            project._last_report(),
            project.runs(),
            project.triages(),
            project.failures(),
            project.cycles(changes=False),
            project.models(),
            GateReport.from_dict(kept.result) if kept is not None else None,
            claims.complete(project.catalog),
        )

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
            figure = self.later(lambda: [layout.figure(report_plots.reasons(report.reasons), 320)], 320)
            text = "Distinct proposals by reason; one may have several, and what a confidence accepts has them too."
            cards.append(layout.card("Why masks are flagged or discarded", figure, text=text))
        cards += [*self._cycles(data), *self._gate(data), *self._efficiency(data)]
        runs = data.runs[["id", "model_id", "started_at", "done", "failed", "proposals", "distinct", "seconds"]]
        table = self.later(
            lambda: [layout.table(runs.iloc[::-1].reset_index(drop=True), "runs")], layout.table_px(len(runs))
        )
        cards.append(layout.card("Runs of models", table, wide=True))
        self.body.objects = [layout.grid(*cards, *self._failed(data))]

    def _cycles(self, data: _Read) -> list[Any]:
        """Return the cycle table with its trends, or how to begin."""
        table, place = data.cycles, self.campaign.place
        if not len(table) and table.awaited:
            steps = f"workbench review {place} --annotator NAME"
            return [layout.next_step(f"Cycle {table.cycle} waits for people", table.lines()[-1], steps)]
        if not len(table):
            text = "No cycle has been run. A cycle proposes, lets people review, trains and measures:"
            return [layout.next_step("No cycles yet", text, f"workbench cycle {place} --cycles 5")]
        waiting = [layout.note(line) for line in table.lines()[-1:] if table.awaited]
        parts = [
            layout.card("Cycle table", *waiting, self.reference, self.cycle_table, text=_CYCLES, wide=True),
            *[self._trend(table, name) for name in cycle_plots.TRENDS],
            layout.card("Predicted IoU by cycle", self.later(lambda: self._confidence(table), _TREND_PX)),
        ]
        if len(data.models):
            models = self.later(
                lambda: [layout.table(data.models, "models", prose={"message": 560})],
                layout.table_px(len(data.models), 2),
            )
            parts.append(layout.card("Models and their parents", models, wide=True))
        self._table = table
        self.soon(self._fill_table)
        return parts

    def _trend(self, table: CycleTable, name: str) -> Any:
        """Return a figure by cycle, or why there is none: the one that `project.cycles().plot()` has."""
        title = cycle_plots.TRENDS[name].title
        if not cycle_plots.known(table, name):
            return layout.card(title, layout.note(cycle_plots.why_unknown(name)))
        place = self.later(lambda: self._drawn(table, name), _TREND_PX)
        if cycle_plots.states(name):
            self.beside_seed[name] = place
        return layout.card(title, place)

    def _drawn(self, table: CycleTable, name: str) -> list[Any]:
        drawn = cycle_plots.trend(table, name, seed=bool(self.reference.value), title=False)
        return layout.figures(drawn, cycle_plots.TRENDS[name].title, _TREND_PX)

    def _confidence(self, table: CycleTable) -> list[Any]:
        return layout.figures(cycle_plots.confidence(table, title=False), "predicted IoU by cycle", _TREND_PX)

    def _refer(self) -> None:
        """Show the seed's figures beside ours, or no longer: in the table and in the figures that it states."""
        self._fill_table()
        for name, place in self.beside_seed.items():
            place.objects = self._drawn(self._table, name)

    def _fill_table(self) -> None:
        """Show the cycles, with the figures of the seed beside them where that is wanted."""
        shown = self._table.beside_seed() if self.reference.value else self._table.to_frame()
        first = [name for name in _FIRST if name in shown]
        rest = [name for name in shown if name not in first]
        notes = [layout.note(str(shown.attrs["note"]))] if self.reference.value else []
        self.cycle_table.objects = [layout.table(shown[first + rest].round(3), "cycles"), *notes]

    def _gate(self, data: _Read) -> list[Any]:
        """Return the checks of the gate, or how to hold the project against it."""
        if data.gate is None:
            text = "The gate to fully automatic annotation has not been asked yet:"
            return [layout.next_step("Gate not asked yet", text, f"workbench gate {self.campaign.place}")]
        gate = data.gate
        checks = f"{len(gate.shut_by)} of {len(gate.checks)} checks"
        state = "The gate is open" if gate.open else f"The gate is shut by {checks}"
        text = f"{state}; bounds are read at the {gate.config.reading}."
        table = self.later(
            lambda: [layout.table(_checks(gate), "gate", prose=_GATE_PROSE, lines=3)],
            layout.table_px(len(gate.checks), 3),
        )
        return [layout.card("Gate to fully automatic annotation", table, text=text, wide=True)]

    def _efficiency(self, data: _Read) -> list[Any]:
        """Return hours against other ways to work: counted at once where that is quick, else when it is asked for."""
        if not data.complete:
            return []
        if data.complete <= _COUNTED_AT_ONCE:
            self._count()
        elif not len(self.efficiency):
            text = f"Reads the review of {data.complete:,} images; that takes a while."
            self.efficiency.objects = [layout.note(text), self.count]
        return [layout.card("Hours of annotation", self.efficiency, text=_EFFICIENCY, wide=True)]

    def _count(self) -> None:
        """Count hours, in a thread where a browser is connected."""
        if self.live:
            self.counting.ask(self.campaign.changed)
        else:
            self._show_efficiency(0, self._counted(), None)

    def _counted(self) -> Efficiency:
        return efficiency.of_project(self.campaign.project, wanted=lambda: not self.counting.closed)

    def _show_efficiency(self, _asked: int, found: Efficiency | None, error: Exception | None) -> None:
        def act() -> None:
            if found is None:
                self.efficiency.objects = [layout.words(layout.box(words(error) if error else ""))]
                return
            table = layout.table(_table_of(found), "efficiency", prose={"how": 330})
            lines = [layout.note(line) for line in found.notes]
            drawn = layout.figures(plots.figure(found), "efficiency", 300)
            self.efficiency.objects = [*drawn, table, *lines]

        self.on_page(self.guarded(act))

    def _failed(self, data: _Read) -> list[Any]:
        if not len(data.failures):
            return []
        text = "Images without proposals, each with the reason."
        table = layout.table(data.failures, "failures")
        return [layout.card("Images that could not be used", table, text=text, wide=True)]


def _table_of(found: Efficiency) -> Any:
    """Return the rows of an efficiency as a table."""
    import pandas as pd

    return pd.DataFrame(found.rows()).round(2)


def _checks(gate: GateReport) -> Any:
    """Return the checks of a gate as a table, with what is missing."""
    import pandas as pd

    rows = [
        {
            "check": check.name.replace("_", " "),
            "verdict": check.verdict,
            "value": check.value,
            "low": check.interval[0],
            "high": check.interval[1],
            "bound": f"{check.side} {check.bound:g}",
            "n": check.n,
            "why": check.note,
            "what it is": CHECKS[check.name][1],
        }
        for check in gate.checks
    ]
    return pd.DataFrame(rows).round(3)


def _standing(report: Report) -> str:
    """Return the main figures as tiles."""
    distinct = max(1, report.distinct)
    cells = [(f"{report.done:,} of {report.images:,}", "images proposed on", f"model {report.model_id}", "")]
    cells.append((f"{report.distinct:,}", "distinct proposals", f"of {report.proposals:,} stored", ""))
    if report.triage_id is not None:
        for name in ("auto_accepted", "flagged", "discarded"):
            n = getattr(report, name)
            label = name.replace("_", "-", 1)
            cells.append((f"{n:,}", label, f"{n / distinct:.1%} of the distinct", colours.OUTCOMES[name]))
    seconds = report.seconds_per_image
    cells.append((f"{seconds:.2f} s", "an image", "reading and proposing", ""))
    return layout.tiles(cells)
