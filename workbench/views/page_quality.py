"""The quality page: coverage and overlaps, rejections, audits and disagreements, agreement, time, diversity, failures."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import panel as pn

from workbench.loop.diversity import Diversity, diversity, occlusion
from workbench.tables.figures import Interval
from workbench.views import layout, report_plots
from workbench.views.latest import Latest
from workbench.views.strip import mask_picture
from workbench.views.view import View

if TYPE_CHECKING:
    from workbench.auditing import Agreement
    from workbench.overview import QualityReport
    from workbench.tables.proposals import Proposals

_AUDITS = "A blind sample of final masks, judged by a senior."
_SHOWN = "Choose a row to see its masks."
_NOT_YET = (
    "Nobody has reviewed an image yet. Quality is measured on images that people have left as complete. "
    "Review some on the page Review, or in JupyterLab:"
)


@dataclasses.dataclass(frozen=True)
class _Read:
    report: QualityReport
    agreement: Agreement
    diversity: tuple[Diversity, ...]  # of all final masks, and of those by where they come from
    audits: Any  # DataFrames
    disagreements: Any
    overlaps: Any
    reviewed: Any
    failures: Any
    paths: Mapping[str, str]
    proposals: int


class QualityView(View):
    """What people left, what they disagree about, and what it took."""

    name_of_page = "quality"

    def setup(self) -> None:
        """Make the place where a mask is shown that somebody opens."""
        self.opened = layout.words("")
        self.audited = pn.Column(sizing_mode="stretch_width")
        self.opening: Latest[tuple[str, str], str] = Latest(self._drawn, self._show_drawn)

    def close(self) -> None:
        """Stop working for a page that is gone."""
        super().close()
        self.opening.close()

    def read(self) -> _Read:
        """Look at the project; on a large one this takes a while."""
        import pandas as pd

        project = self.campaign.project
        report = project.quality_report()
        images = project.images()
        paths = dict(zip(images["image_id"], images["path"], strict=True))
        pairs = pd.DataFrame(
            [(paths.get(p.image_id, p.image_id), p.iou, p.mask_id, p.other_id, p.image_id) for p in report.overlaps],
            columns=["image", "iou", "mask_id", "other_id", "image_id"],
        )
        reviewed = project.reviewed()
        return _Read(
            report=report,
            agreement=project.agreement(),
            diversity=_by_source(project.final_masks()),
            audits=project.audits(),
            disagreements=project.disagreements(),
            overlaps=pairs,
            reviewed=reviewed,
            failures=project.failures(),
            paths=paths,
            proposals=int(images["proposals"].sum()),
        )

    def present(self, data: _Read) -> None:
        """Show what there is, or what to do next."""
        place = self.campaign.place
        if not data.report.images_done and not data.report.gestures:
            if not data.proposals:
                text = "The project has no proposals yet, so there is nothing to review. Propose masks first:"
                step = layout.next_step("Nothing proposed yet", text, f"workbench propose {place}")
            else:
                command = f"workbench review {place} --annotator NAME"
                step = layout.next_step("Nothing reviewed yet", _NOT_YET, command)
            self.body.objects = [step, *self._failures(data)]
            return
        self.body.objects = [
            layout.grid(
                layout.card("What people left", layout.words(_left(data.report)), wide=True),
                self._figure("Time by phase", lambda: report_plots.phases(data.report), _time_text(data.report)),
                self._figure(
                    "Rejected masks by reason",
                    lambda: report_plots.reasons(data.report.rejected_by_reason, "rejected masks"),
                    "One mask may have several reasons.",
                    320,
                ),
                layout.card("Agreement between annotators", *_agreement(data.agreement)),
                self._figure(
                    "Sizes of automatic and drawn masks",
                    lambda: report_plots.sizes(data.diversity[1:]),
                    _diversity_text(data.diversity),
                ),
                layout.card("Audits", *self._audits(data, place), self.audited, text=_AUDITS, hint=_SHOWN),
                self._openable("Disagreements with the audit", data.disagreements, "disagreements", data.paths),
                self._openable("Masks that overlap too much", data.overlaps, "overlaps", data.paths),
                *self._chosen(data),
                layout.card(
                    "Images",
                    self.later(lambda: [layout.table(data.reviewed, "reviewed")], layout.table_px(len(data.reviewed))),
                    wide=True,
                ),
                *self._failures(data),
            )
        ]

    def _figure(self, title: str, figure: Callable[[], Any], text: str, height: int = 280) -> Any:
        return layout.card(title, self.later(lambda: [layout.figure(figure(), height)], height), text=text)

    def _failures(self, data: _Read) -> list[Any]:
        if not len(data.failures):
            return []
        return [layout.card("Images that could not be used", layout.table(data.failures, "failures"), wide=True)]

    def _chosen(self, data: _Read) -> list[Any]:
        """Return where a mask is drawn, when there is a table to choose it in."""
        if not (len(data.audits) or len(data.disagreements) or len(data.overlaps)):
            return []
        return [layout.card("The mask that you chose", self.opened, wide=True, hint="Choose a row in a table above.")]

    def _openable(self, title: str, frame: Any, name: str, paths: Mapping[str, str]) -> Any:
        """Return a table whose rows can be opened: the mask is drawn below."""
        if not len(frame):
            return layout.card(title, layout.note("None."))

        frame = frame.reset_index(drop=True)
        if "image" not in frame:
            frame.insert(0, "image", frame["image_id"].map(lambda i: paths.get(i, i)))

        def click(event: Any) -> None:
            row = frame.iloc[int(event.row)]
            self.opened.object = '<p role="status">Drawing …</p>'
            self._open(str(row["image_id"]), str(row["mask_id"]))

        table = layout.table(frame, name, on_click=self.guarded(click))
        return layout.card(title, table, hint="Choose a row to see its mask.")

    def _audits(self, data: _Read, place: str) -> list[Any]:
        if not len(data.audits):
            command = f"workbench audit {place} --draw --senior NAME"
            return [layout.next_step("No audit drawn yet", "Draw a sample for a senior reviewer:", command)]
        audits = data.audits.reset_index(drop=True)

        def click(event: Any) -> None:
            number = int(audits["audit_id"].iloc[int(event.row)])
            found = self.campaign.project.audit_results(number)
            self.audited.objects = [self._openable(f"Masks of audit {number}", found, f"audit-{number}", data.paths)]

        return [layout.table(audits, "audits", on_click=self.guarded(click))]

    def _open(self, image_id: str, mask_id: str) -> None:
        if self.live:
            self.opening.ask((image_id, mask_id))
        else:
            self.opened.object = self._drawn((image_id, mask_id))

    def _drawn(self, asked: tuple[str, str]) -> str:
        return mask_picture(self.campaign.project, *asked)

    def _show_drawn(self, _asked: Any, markup: str | None, error: Exception | None) -> None:
        from workbench.views.campaign import words

        def act() -> None:
            self.opened.object = markup if markup is not None else layout.box(words(error) if error else "")

        self.on_page(act)


def _left(report: QualityReport) -> str:
    """Return the main figures as tiles."""
    rate = report.rejection_rate
    cells = [
        (f"{report.images_done:,} of {report.images:,}", "images done", f"{report.skipped:,} of them skipped", ""),
        (
            f"{report.masks:,}",
            "final masks",
            f"{report.automatic:,} automatic, {report.manual:,} manual, {report.edited:,} edited",
            "",
        ),
        (_share(report.coverage_ratio), "of the pixels covered", "mean over complete images", ""),
        (_number(report.num_masks, 1), "masks an image", f"mean size {_number(report.avg_mask_size, 0)} px", ""),
        (_share(rate.value), "of the automatic masks rejected", _ends(rate), ""),
        (_number(report.masks_per_hour, 0), "masks an hour", f"drawn or edited; {report.seconds_source} time", ""),
    ]
    return layout.tiles(cells)


def _time_text(report: QualityReport) -> str:
    total = sum(report.active_s.values())
    plan = "/".join(f"{100 * share:.0f}" for share in report.planned_share.values())
    return f"{total / 3600:.1f} active hours ({report.seconds_source}); in grey the plan of {plan} %."


def _agreement(found: Agreement) -> list[Any]:
    import pandas as pd

    if not found.masks_judged_twice and not found.images_twice:
        text = (
            "No mask has been judged by two people yet. The queue hands out complete images to a second annotator with "
            "workbench review DIR --second, or wb.Annotator(project, queue=project.queue(second=True))."
        )
        return [layout.note(text)]
    rows: list[tuple[str, Interval]] = [("Krippendorff's alpha", found.krippendorffs_alpha)]
    rows += [(f"Cohen's kappa, {pair}", interval) for pair, interval in found.cohens_kappa.items()]
    rows += [(f"share agreed, {name}", interval) for name, interval in found.by_annotator.items()]
    rows += [("IoU of matched masks", found.matched_iou), ("share of masks matched", found.matched_share)]
    rows += [("IoU of drawn masks", found.drawn_iou)]
    frame = pd.DataFrame(
        [(name, i.value, i.low, i.high, i.n) for name, i in rows if i.known],
        columns=["figure", "value", "low", "high", "n"],
    ).round(3)
    return [layout.table(frame, "agreement")]


def _by_source(final: Proposals) -> tuple[Diversity, ...]:
    """Return the diversity of all final masks, and of automatic ones and those that people drew or edited beside them."""
    touched, drawn = occlusion(final), final.source != "automatic"
    own = [diversity(final, touched=touched)]
    for what, some in (("automatic", ~drawn), ("drawn or edited", drawn)):
        own.append(diversity(final.select(some), final, what=what, touched=touched[some]))
    return tuple(own)


def _diversity_text(found: tuple[Diversity, ...]) -> str:
    every, *parts = found
    if not every.n:
        return "No final masks yet."
    counts = " and ".join(f"{part.n:,} {part.what}" for part in parts)
    return (
        f"{every.n:,} final masks, {counts}; {_share(every.occluded)} of them touch another along a tenth of their outline. "
        "A quarter of all lies in each group of sizes; automatic ones blue, drawn or edited ones orange."
    )


def _share(value: float) -> str:
    return "—" if math.isnan(value) else f"{value:.1%}"


def _number(value: float, digits: int) -> str:
    return "—" if math.isnan(value) else f"{value:,.{digits}f}"


def _ends(interval: Interval) -> str:
    if math.isnan(interval.low):
        return f"of {interval.n:,} looked at"
    return f"95 % interval {interval.low:.1%} to {interval.high:.1%}, of {interval.n:,} looked at"
