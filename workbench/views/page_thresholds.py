"""The thresholds page: sliders over a whole pool, what they would accept, and what that is worth."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import Any, NamedTuple
from urllib.parse import urlencode

import numpy as np
import panel as pn
import panel_material_ui as pmui

from workbench.config import TriageConfig
from workbench.store import records
from workbench.store.runs import Run
from workbench.triage.pool import DistinctPool
from workbench.views import layout
from workbench.views.campaign import words
from workbench.views.latest import Latest, long_work
from workbench.views.pool_audits import PoolAudits, audits_of
from workbench.views.pools import KINDS, Pooled, pool_of
from workbench.views.strip import pictures_of
from workbench.views.threshold_counts import counted
from workbench.views.threshold_experiments import Experiments
from workbench.views.threshold_figures import LiveFigures
from workbench.views.threshold_heat import HeatMap
from workbench.views.threshold_saving import Saving
from workbench.views.threshold_sliders import controls
from workbench.views.threshold_state import AXES, SLIDERS, Thresholds
from workbench.views.threshold_truth import OnRecord, Truth, on_record
from workbench.views.thresholds import Answer, Curves, answer, curves, moved
from workbench.views.view import View, query_of, tried

SETTLED_MS = 350  # when a move's answer stands for this long the slower parts of the page follow
BUILDING_MS = 400
_PR = (
    "Distinct proposals on images with truth, best first; right means matched at IoU 0.75. "
    "The diamond: what is accepted now."
)
_RC = "How many of the proposals taken are wrong, the more of them are taken. A good score stays low for long."
_NO_ANSWER = '<p role="status">These thresholds have no answer; what is said above tells how to get one.</p>'
_UNTRIAGED = "the defaults for this model: nothing of its run has been triaged yet"
NO_PROPOSALS = "There are no proposals yet, so there is nothing to sort by thresholds. Propose masks first:"


@dataclasses.dataclass(frozen=True)
class _Read:
    """What one look at the project gives."""

    proposals: int
    run: Run | None  # the latest
    config: TriageConfig
    versions: Any  # DataFrames
    experiments: Any
    reference: str
    judged: tuple[int, int]  # audits, and masks of theirs that have an answer
    truth: OnRecord


class _Asked(NamedTuple):
    """A question to a pool; its answer is dropped when the page has gone on to another pool."""

    pooled: Pooled
    config: TriageConfig
    axis: str
    exhaustive: bool = False


class ThresholdsView(View):
    """Sliders, counts, heat map, curves, the images that change, saved versions."""

    name_of_page = "thresholds"
    shared = True

    def setup(self) -> None:
        """Make the state, its controls and the figures that follow it."""
        self.state = Thresholds()
        self.pooled: Pooled | None = None
        self.answer: Answer | None = None
        self.before: dict[str, int] = {}
        self.known_curves: list[Curves] = []
        self.audits: PoolAudits | None = None
        self.judged = self._audits_for = (0, 0)
        self._built_for = self._compared = ("", "")
        self._settling: Any = None
        self._newest: _Asked | None = None
        self._first = True
        self.asking: Latest[_Asked, Answer] = Latest(self._answered, self._deliver)
        self.settling: Latest[_Asked, tuple[int, str]] = Latest(self._changes, self._strip, long_work())
        self.status = layout.words("", visible=False)
        self.progress = pmui.LinearProgress(value=0, visible=False, sizing_mode="stretch_width")
        self.counts = layout.words('<p role="status">Counting …</p>')
        self.refused = layout.words("")
        self.changes = layout.words(layout.small("Looked for as soon as the sliders rest."))
        self.heat_map = HeatMap(self)
        self.figures = LiveFigures(self)
        self.sidebar = controls(self.state)
        self.saving = Saving(self)
        self.experiments = Experiments(self)
        self.truth = Truth(self)
        self.state.param.watch(self._moved, [*SLIDERS, "by_jitter", "by_stability", "axis", "exhaustive"])
        self.state.param.watch(self.guarded(lambda _: self._build()), "pool")
        self.heat_map.shown.param.watch(lambda _: self._draw(), "value")

    def useful(self) -> bool:
        """Whether the counts are there, or cannot be yet."""
        return self.presented and (self.pooled is None or self.answer is not None)

    def close(self) -> None:
        """Stop working for a page that is gone."""
        super().close()
        self.asking.close()
        self.settling.close()
        self._newest = None  # nobody waits for its pictures

    # ---- the project ----------------------------------------------------------------------------------------------

    def read(self) -> _Read:
        """Look at the project: its proposals, and the versions of its triage."""
        project = self.campaign.project
        totals, run = project._totals()
        kept = records.latest_triage(project.catalog, run.id) if run is not None else None
        reference = f"triage version {kept.id}" if kept is not None else _UNTRIAGED
        drawn = project.audits()
        return _Read(
            int(totals["proposals"]),
            run,
            project.triage_config(),
            project.triages(),
            project.experiments(),
            reference,
            (len(drawn), int(drawn["answered"].sum())),
            on_record(project),
        )

    def present(self, data: _Read) -> None:
        """Follow the project; sliders stay where they are but for the first time."""
        if data.run is None or not data.proposals:
            place = self.campaign.place
            self.body.objects = [layout.next_step("No proposals yet", NO_PROPOSALS, f"workbench propose {place}")]
            return
        self.run, self.reference, self.reference_name, self.judged = data.run, data.config, data.reference, data.judged
        self.state.follow_record(data.truth.exhaustive)
        self.truth.follow(data.truth)
        if self._first:
            self._first = False
            self.state.take(data.config)
            self._lay_out()
            self._from_address()
        else:
            self.state.start_from(data.config)
        self.saving.follow(data.versions)
        self.experiments.follow(data.experiments)
        self._build()

    def _from_address(self) -> None:
        location = pn.state.location if self.live else None
        if location is None:
            return
        problems = self.state.from_query(query_of(location.search))
        if problems:
            self.say("; ".join(problems), "info")

    def _build(self) -> None:
        """Ask for the pool that fits; when it is ready, ask it."""
        building = pool_of(self.campaign.project, self.state.pool, self.reference)
        key = (self.state.pool, str(id(building)))
        if key == self._built_for and self.pooled is not None:
            if self._compared != (self.reference.digest, self.reference_name):  # else nothing moves: people only review
                self._compare()
                self._moved()
            elif self.judged != self._audits_for:
                self._moved()
            return
        if key == self._built_for:
            return  # on its way
        self._built_for = key
        if self.pooled is not None and self.pooled.kind != self.state.pool:
            self.pooled = None  # else the last one answers until this one is there
        if not self.live or building.future.done():
            self._ready(*tried(building.future.result))
            return
        self._watch(building, key)

    def _watch(self, building: Any, key: tuple[str, str]) -> None:
        """Show how far a pool is until it is ready; what moves before the browser has the page may be lost."""

        def look() -> None:
            if key != self._built_for:
                callback.stop()
                return
            self.progress.param.update(value=round(100 * building.share), visible=True)
            self.status.visible = True
            self.status.object = f'<p role="status">Building the {KINDS[key[0]]}: {building.words}</p>'
            if building.future.done():
                callback.stop()
                self._ready(*tried(building.future.result))

        callback: Any = None

        def begin() -> None:
            nonlocal callback
            callback = pn.state.add_periodic_callback(self.guarded(look), period=BUILDING_MS)

        self.soon(begin)

    def _ready(self, pooled: Pooled | None, error: BaseException | None) -> None:
        self.progress.visible = self.status.visible = False
        if pooled is None:
            text = words(error) if error else ""
            self.refused.object = layout.box(text)
            if self.state.pool == "exact":
                self.state.pool = "distinct"
                self.say(text, "info")  # stays when the distinct pool answers
            return
        self.pooled = pooled
        self.audits, self._audits_for = None, (0, 0)
        self.known_curves = curves(pooled)
        self.truth.shown.visible = pooled.comparison is not None
        self._choose_axis(pooled)
        self._compare()
        self._moved()
        self._build()  # the project may have grown meanwhile

    def _choose_axis(self, pooled: Pooled) -> None:
        """Take the other stability for the map where nothing has been measured of the one."""
        column = pooled.pool.column if isinstance(pooled.pool, DistinctPool) else pooled.columns.__getitem__
        if not np.isfinite(column(self.state.axis)).any():
            (other,) = set(AXES) - {self.state.axis}
            if np.isfinite(column(other)).any():
                self.state.axis = other

    def _compare(self) -> None:
        """Count what the project's own triage gives, to show differences from it."""
        self.before, self._compared = {}, (self.reference.digest, self.reference_name)
        if self.pooled is not None and self.pooled.kind == "distinct" == self.reference.pool:
            with contextlib.suppress(ValueError):  # it may lie outside of what the pool stores: nothing to compare with
                self.before = self.pooled.pool.counts(self.reference.replace(pool="distinct"))

    # ---- moves ----------------------------------------------------------------------------------------------------

    def _moved(self, *_: Any) -> None:
        if self.pooled is None or self.pooled.kind != self.state.pool:
            return  # asked when the pool is there
        try:
            config = self.state.config
        except ValueError as error:
            self.refused.object = layout.box(str(error))
            return
        self.experiments.leave(config)
        asked = self._newest = _Asked(self.pooled, config, self.state.axis, self.state.exhaustive)
        if not self.live:
            self._deliver(asked, *tried(lambda: self._answered(asked)))
            self._strip(asked, *tried(lambda: self._changes(asked)))
            return
        self._unsettle()
        self.asking.ask(asked)

    def _unsettle(self) -> None:
        """Do the slower parts not before the next answer."""
        if self._settling is not None:
            self._settling.stop()
        self._settling = None

    def _settle_later(self) -> None:
        """Do the slower parts in a while, unless something moves before."""
        self._unsettle()
        self._settling = pn.state.add_periodic_callback(self.guarded(self._settled), period=SETTLED_MS, count=1)

    def _answered(self, asked: _Asked) -> Answer:
        judged, by_truth = self.judged, asked.exhaustive and asked.pooled.comparison is not None
        if not by_truth and judged != self._audits_for:
            self.audits, self._audits_for = audits_of(self.campaign.project, asked.pooled), judged
        return answer(asked.pooled, asked.config, asked.axis, audits=self.audits, exhaustive=asked.exhaustive)

    def _deliver(self, asked: _Asked, found: Answer | None, error: BaseException | None) -> None:
        def act() -> None:
            if asked.pooled is not self.pooled:
                return
            if self.live:
                self._settle_later()
            if found is None:
                self.refused.object = layout.box(words(error) if error else "")
                if self.answer is None:
                    self.counts.object = _NO_ANSWER
                return
            self.refused.object = ""
            self.answer = found
            self._draw()

        self.on_page(act)

    def _draw(self) -> None:
        if self.answer is None or self.pooled is None:
            return
        self.heat_map.offer("fp_rate" in self.answer.rates or self.answer.audited is not None)
        self.heat_map.say_left_out(self.answer.heat.left_out)
        self.counts.object = counted(self.answer, self.before, self.pooled, self.reference_name)
        self.figures.send(self.answer)

    def _settled(self) -> None:
        self._settling = None
        if self.live and pn.state.location is not None:
            keep = set(self.state.param)
            others = {k: v for k, v in query_of(pn.state.location.search).items() if k not in keep}
            pn.state.location.search = _search({**others, **self.state.to_query()})
        if self._newest is not None:
            self.figures.send_slow()
            self.settling.ask(self._newest)

    def _changes(self, asked: _Asked) -> tuple[int, str]:
        if asked.pooled.kind != "distinct":
            return 0, layout.box("The images that change are told by the distinct pool; choose it to see them.", "info")
        if self.reference.pool != "distinct":
            text = f"{self.reference_name} is of the exact pool: which images change against it is not told."
            return 0, layout.box(text, "info")
        reference = self.reference
        images, rows = moved(asked.pooled, reference, asked.config)
        pictures = pictures_of(self.campaign.project, rows, reference, asked.config, lambda: self._newest is asked)
        return images, layout.strip(pictures)

    def _strip(self, asked: _Asked, found: tuple[int, str] | None, error: BaseException | None) -> None:
        def act() -> None:
            if asked is not self._newest:
                return
            if found is None:
                self.changes.object = layout.box(words(error), "info") if error else ""
                return
            images, markup = found
            text = f"{images:,} image{'s' * (images != 1)} change against {self.reference_name}."
            if not images and self.pooled is not None and self.pooled.kind == "distinct":
                text = f"No image changes against {self.reference_name}. Move a threshold to see which would."
            self.changes.object = f'<p class="note" role="status">{layout.escape(text)}</p>{markup}'

        self.on_page(act)

    def _lay_out(self) -> None:
        figures = self.figures
        self.body.objects = [
            pn.Column(self.status, self.progress, self.refused, sizing_mode="stretch_width"),
            layout.grid(
                layout.card("What these thresholds give", self.counts, self.truth.shown, wide=True),
                self.heat_map.card(figures.heat),
                layout.card("Predicted IoU by outcome", figures.histogram),
                layout.card("Precision and recall", figures.precision_recall, text=_PR),
                layout.card("Risk and coverage", figures.risk_coverage, text=_RC),
                layout.card("Images whose outcome changes", self.changes, wide=True),
                self.experiments.card(),
                self.saving.card(),
            ),
        ]


def _search(query: dict[str, Any]) -> str:
    return f"?{urlencode(query)}" if query else ""
