"""The calibration page: reliability before and after, by domain and run, errors beside a perfect model's, certificates."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import panel as pn
import panel_material_ui as pmui

from workbench.calibrate.reliability import ReliabilityTable
from workbench.loop.certification import Certificates
from workbench.store import calibrations
from workbench.views import layout, plots, reliability_plots
from workbench.views.campaign import words
from workbench.views.latest import long_work
from workbench.views.reliabilities import Domains, by_cycle, by_domain
from workbench.views.view import View, tried

if TYPE_CHECKING:
    from workbench.loop.calibration import Calibration

_WHY = (
    "Confidence is believed here only where it was checked: on calibration images that people have completed, or that "
    "have imported truth."
)
WHEN = ("before", "after")
_TABLES = {
    "before": "all distinct, before",
    "after": "all distinct, after",
    "before_auto": "auto-accepted, before",
    "after_auto": "auto-accepted, after",
}


@dataclasses.dataclass(frozen=True)
class _Read:
    proposals: int
    calibration: Calibration | None
    certificates: Certificates | None
    records: Any  # DataFrame
    by_cycle: Mapping[str, Mapping[str, ReliabilityTable]]  # before and after
    by_domain: Domains


class CalibrationView(View):
    """Whether the model's confidence can be believed, and what can be promised."""

    name_of_page = "calibration"

    def setup(self) -> None:
        """Make the forms."""
        self._measured: tuple[int, Domains] = (-1, Domains({}, {}, 0))
        self.alpha = pmui.FloatInput(
            label="α: most of them wrong", value=0.05, start=0.001, end=0.5, step=0.01, width=170
        )
        self.delta = pmui.FloatInput(
            label="δ: chance to be mistaken", value=0.05, start=0.001, end=0.5, step=0.01, width=170
        )
        self.measure = pmui.Button(label="Calibrate now")
        self.certify = pmui.Button(label="Certify")
        self.progress = pmui.LinearProgress(visible=False, sizing_mode="stretch_width")
        self.told = layout.words("")
        self.certificates = pn.Column(sizing_mode="stretch_width")
        self.measure.on_click(self.guarded(lambda _: self.run_calibration()))
        self.certify.on_click(self.guarded(lambda _: self.run_certificates()))

    def read(self) -> _Read:
        """Look at the latest calibration; nothing is measured for it."""
        project = self.campaign.project
        totals, _ = project._totals()
        found = project.calibration()
        kept = calibrations.latest(project.catalog, "certificate", found.run_id) if found is not None else None
        if found is not None and self._measured[0] != found.id:  # measured once for a calibration
            self._measured = found.id, by_domain(project)
        return _Read(
            int(totals["proposals"]),
            found,
            Certificates.from_dict(kept.result) if kept is not None else None,
            project.calibration_records().drop(columns="result"),
            {when: by_cycle(project, when) for when in WHEN},
            self._measured[1],
        )

    def present(self, data: _Read) -> None:
        """Show what there is, or what to do next."""
        place = self.campaign.place
        if not data.proposals:
            text = "The project has no proposals yet. Propose masks first:"
            self.body.objects = [layout.next_step("Nothing proposed yet", text, f"workbench propose {place}")]
            return
        found = data.calibration
        measuring = [self.measure, self.progress, self.told]
        if found is None or found.recalibration is None:
            title = "Not calibrated yet" if found is None else "Calibration is undefined"
            text = _WHY if found is None else f"{found.note[:1].upper()}{found.note[1:]}. {_WHY}"
            step = layout.next_step(title, f"{text} Then calibrate:", f"workbench calibrate {place}")
            self.body.objects = [step, layout.grid(layout.card("Calibrate", *measuring, wide=True))]
            return
        form = pn.FlexBox(self.alpha, self.delta, self.certify, align_items="end")
        title = f"Calibration of run {found.run_id} on {len(found.images):,} images"
        self.body.objects = [
            layout.grid(
                layout.card(title, layout.words(_errors(found)), *measuring, text=_WHY, wide=True),
                layout.card("All distinct proposals", self._curve(found, "calibration", auto=False)),
                layout.card("Auto-accepted masks", self._curve(found, "calibration-accepted", auto=True)),
                *self._by_cycle(data.by_cycle),
                *self._by_domain(data.by_domain),
                self._table("Figures", _figures(found), "calibration", _FIGURES),
                *self._verifiers(found),
                layout.card("What can be promised", form, self.certificates, text=_PROMISE, wide=True),
                self._table("Records", data.records.iloc[::-1], "calibration-records"),
            )
        ]
        kept = data.certificates
        if kept is not None:
            self.soon(lambda: self._promise(kept))

    def _table(self, title: str, frame: Any, name: str, text: str = "", *below: Any, **settings: Any) -> Any:
        height = layout.table_px(len(frame), 2 if settings else 1)
        table = self.later(lambda: [layout.table(frame, name, **settings)], height)
        return layout.card(title, table, *below, text=text, wide=True)

    def _curve(self, found: Calibration, name: str, auto: bool) -> Any:
        return self.later(lambda: _panes(plots.figure(found, auto=auto), name), 545)

    def _groups(self, title: str, tables: Mapping[str, Mapping[str, ReliabilityTable]], name: str, text: str) -> Any:
        """Return the curves of groups, with the choice of before or after recalibration."""
        when = pmui.RadioButtonGroup(label=title, options=list(WHEN), value="after", size="small")

        def drawn() -> list[Any]:
            return [layout.figure(reliability_plots.groups(tables[when.value], f"{name}-{when.value}"), 340)]

        place = self.later(drawn, 340)
        when.param.watch(self.guarded(lambda _: setattr(place, "objects", drawn())), "value")
        return layout.card(title, pn.Row(when, height=44), place, text=text)

    def _by_cycle(self, tables: Mapping[str, Mapping[str, ReliabilityTable]]) -> list[Any]:
        if len(tables["after"]) < 2:
            text = "Only one run has been calibrated. Calibrate after each cycle, and its curve stands beside the others here."
            return [layout.card("By cycle", layout.note(text))]
        text = "Distinct proposals, before or after recalibration, each run's latest calibration."
        return [self._groups("By cycle", tables, "calibration-by-cycle", text)]

    def _by_domain(self, found: Domains) -> list[Any]:
        if not found.after:
            text = "Domains are the folders of the images; there are no labelled calibration images of two domains that had no part in the recalibration."
            return [layout.card("By domain", layout.note(text))]
        text = f"Before or after recalibration, on {found.images:,} calibration images that had no part in it."
        tables = {"before": found.before, "after": found.after}
        return [self._groups("By domain", tables, "calibration-by-domain", text)]

    def _verifiers(self, found: Calibration) -> list[Any]:
        text = f"To have triage flag what it doubts: workbench calibrate {self.campaign.place} --adopt verifier"
        step = [layout.note(text)] if found.good.useful else []
        return [self._table("Verifiers", _verified(found), "verifiers", _VERIFIERS, *step, prose={"use": 330})]

    def run_calibration(self) -> None:
        """Calibrate in a thread; the page follows."""
        self._work(self.campaign.project.calibrate, lambda _: self._tell_done("Calibrated."))

    def run_certificates(self) -> None:
        """Certify for the α and δ of the form, in a thread."""
        alpha, delta = float(self.alpha.value or 0), float(self.delta.value or 0)
        self._work(lambda: self.campaign.project.certify(alpha, delta), self._certified)

    def _tell_done(self, text: str) -> None:
        self.told.object = layout.box(text, "info")
        self.campaign.poll()

    def _certified(self, found: Certificates) -> None:
        self._promise(found)
        self.campaign.poll()

    def _promise(self, found: Certificates) -> None:
        """Show certificates in words; of one that tested a threshold, the bounds too."""
        sentences = "".join(layout.box(line, "info") for line in str(found).splitlines() if line)
        tested = [some for some in (found.pool, found.images) if any(step.bound == step.bound for step in some.steps)]
        drawn = [pane for some in tested for pane in _panes(plots.figure(some), "certificate")]
        self.certificates.objects = [layout.words(sentences), *([layout.grid(*drawn)] if drawn else [])]

    def _work(self, work: Callable[[], Any], then: Callable[[Any], None]) -> None:
        """Do something long away from the server's thread, and say how it went."""
        self.progress.visible = True
        self.measure.disabled = self.certify.disabled = True
        self.told.object = '<p role="status">Working …</p>'

        def finish(found: Any, error: Exception | None) -> None:
            self.progress.visible = self.measure.disabled = self.certify.disabled = False
            self.told.object = layout.box(words(error)) if error is not None else ""
            if error is None:
                then(found)

        def run() -> None:
            found, error = tried(work)
            self.on_page(lambda: finish(found, error))

        if self.live:
            long_work().submit(run)
        else:
            run()


_FIGURES = "Beside each error stands what a perfectly calibrated model would show at this number of masks."
_VERIFIERS = (
    "Small models of people's verdicts, judged on images that they had not seen: of masks beside predicted IoU, of images "
    "beside the area that accepted masks cover. One is used only when it is better beyond doubt (low > 0)."
)
_PROMISE = "A certificate says that at most α of what is accepted is wrong, with confidence 1 − δ (less when asked for again by other labels); or how many labels it lacks."


def _panes(plot: Any, name: str) -> list[Any]:
    """Return the curve and, lower, the counts below it."""
    found = layout.figures(plot, name, 360)
    for below in found[1:] if name.startswith("calibration") else ():
        below.height = 170
        below.object = below.object.opts(height=170)
    return found


def _errors(found: Calibration) -> str:
    """Return the main errors as tiles."""
    cells = []
    for name, label in (("before", "before recalibration"), ("after", "after it")):
        figure = getattr(found, name)["smooth_ece"]
        small = f"{figure.low:.3f} to {figure.high:.3f}; a perfect model shows {figure.perfect:.3f}"
        cells.append((f"{figure.value:.3f}", f"smooth ECE {label}", small, ""))
    method = found.recalibration.method if found.recalibration else "none"
    return layout.tiles([*cells, (method, "recalibrated by", "chosen by cross-validation over images", "")])


def _verified(found: Calibration) -> Any:
    """Return what the verifiers know beside the scores there are already, as a table."""
    import pandas as pd

    rows = [
        {
            "question": v.question,
            "verifier": v.verifier.kind if v.verifier else "undefined",
            "AUROC": v.auroc,
            "AUROC of the score": v.baseline_auroc,
            "gain": v.gain,
            "low": v.low,
            "high": v.high,
            "images": v.images,
            "use": v.note or ("beats it: may flag" if v.useful else "does not beat it"),
        }
        for v in (found.good, found.complete)
    ]
    return pd.DataFrame(rows).round(3)


def _figures(found: Calibration) -> Any:
    import pandas as pd

    rows = [
        (label, name.replace("_", " "), f.value, f.low, f.high, f.perfect)
        for table, label in _TABLES.items()
        for name, f in getattr(found, table).figures.items()
    ]
    return pd.DataFrame(rows, columns=["masks", "figure", "value", "low", "high", "perfect"]).round(4)
