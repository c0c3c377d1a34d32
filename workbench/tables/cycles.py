"""Cycles: what each one's model and people came to, a row a cycle, measured on the same test images (C2)."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from workbench.plain import nan_for_none, plain
from workbench.plotted import Plotted
from workbench.tables.figures import Interval

if TYPE_CHECKING:
    import pandas as pd

SHOWN = ("auto_accept_rate", "recall_auto", "fp_rate", "recall_proposals", "smooth_ece")


@dataclasses.dataclass(frozen=True)
class CycleRow:
    """One cycle. Figures are of the model that proposed in it, on the campaign's test images.

    cycle : from 1; closing : no work, only the model that came out of the last cycle
    model_id : proposed; trained_id : came out of it, "" for none
    train, calibration, test : numbers of images
    thresholds : of triage: predicted_iou, jitter_stability, confidence (None where no recalibration is asked), and `kind`,
        "preset" or "calibrated" (never certified)
    figures : of METRICS, and distinct_per_image, confidence, hypothesis_spread (mean over distinct masks of 1 − IoU with the
        other hypotheses of their prompt), share_by_hand; ece, smooth_ece, brier_skill and auroc after recalibration,
        before it (`_before`), of auto-accepted masks (`_auto`, `_auto_before`), and of a perfect model (`_perfect`)
    seed_figures : auto_accept_rate, recall_auto, fp_rate and fp_rate_50 by the seed's fixed thresholds on the same masks
    confidence : counts of predicted IoU in 20 bins over [0, 1], those outside in the first and last
    work : on the batch: images, manual_per_image, total_per_image, auto_to_manual, automatic_share,
        rejection_rate (with `_low` and `_high`), masks_per_hour, active_hours, and `seconds_source`
    changes : paired differences of some figures to the cycle before ("before") and to the first ("first")
    notes : why thresholds or calibration are what they are, and which test images were left out
    """

    cycle: int
    closing: bool
    model_id: str
    trained_id: str
    train: int
    calibration: int
    test: int
    thresholds: Mapping[str, Any]
    figures: Mapping[str, Interval]
    seed_figures: Mapping[str, Interval]
    confidence: Sequence[int]
    work: Mapping[str, Any]
    changes: Mapping[str, Mapping[str, Interval]] = dataclasses.field(default_factory=dict)
    notes: Sequence[str] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the row as plain values for JSON; what is not known is None."""
        return plain({field.name: getattr(self, field.name) for field in dataclasses.fields(self)})

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> CycleRow:
        """Build the row from what `to_dict` gave."""
        known = dict(values)
        for name in ("figures", "seed_figures"):
            known[name] = {k: interval_of(figure) for k, figure in known[name].items()}
        known["changes"] = {k: {n: interval_of(f) for n, f in some.items()} for k, some in known["changes"].items()}
        known["work"] = nan_for_none(known["work"])
        return cls(**known)

    def flat(self) -> dict[str, Any]:
        """Return one level of columns: figures by name with `_low` and `_high`, work, thresholds, the seed's beside.

        `automatic_share` is the figure of the test images, `batch_automatic_share` that of the batch's final masks.
        """
        row: dict[str, Any] = {name: getattr(self, name) for name in ("cycle", "closing", "model_id", "trained_id")}
        row |= {name: getattr(self, name) for name in ("train", "calibration", "test")}
        row |= {f"threshold_{name}": value for name, value in self.thresholds.items()}
        for lead, some in (("", self.figures), ("seed_", self.seed_figures)):
            for name, figure in some.items():
                row[lead + name] = figure.value
                row[f"{lead}{name}_low"], row[f"{lead}{name}_high"] = figure.low, figure.high
        # of test images it is what people would find, with an interval; of the batch what they left
        row |= {"batch_automatic_share" if name == "automatic_share" else name: v for name, v in self.work.items()}
        return {**row, "notes": "; ".join(self.notes)}

    @property
    def reviewed(self) -> bool:
        """Whether people completed images in this cycle."""
        return not math.isnan(self.work.get("manual_per_image", math.nan))


def interval_of(values: Mapping[str, Any]) -> Interval:
    """Return a figure from what its `to_dict` gave."""
    return Interval(**nan_for_none(values))


@dataclasses.dataclass(frozen=True, repr=False)
class CycleTable(Plotted):
    """The cycles of a campaign, and what it waits for.

    rows : of the cycles that are done; awaited : ids of images that people have to finish first; cycle : the one that
    waits, or the last; note : which test images nothing can be measured on yet
    calibrating : those of the awaited images that thresholds will be read off
    of : which proposals the figures are of, in words: floor, grid, looks and NMS
    """

    rows: tuple[CycleRow, ...]
    awaited: tuple[str, ...] = ()
    cycle: int = 0
    note: str = ""
    calibrating: tuple[str, ...] = ()
    of: str = ""

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def done(self) -> bool:
        """Whether nothing is waited for."""
        return not self.awaited

    def to_frame(self) -> pd.DataFrame:
        """Return a row for each cycle with all figures and their intervals."""
        import pandas as pd

        return pd.DataFrame([row.flat() for row in self.rows])

    def beside_seed(self) -> pd.DataFrame:
        """Return the seed's table of five cycles and these, each row labelled in `source`; `attrs["note"]` holds the note.

        `auto_accept_rate` and `recall_auto` of ours are measured on the test images, at the cycle's thresholds and (a source of its own) at
        the seed's fixed ones; masks an image and `automatic_share` are those of the batch that was reviewed.
        """
        from workbench.tables.seed_table import beside_seed

        known = {source: [row for row in rows if len(row) > 1] for source, rows in self._by_source().items()}
        return beside_seed(known)

    def _by_source(self) -> dict[str, list[dict[str, Any]]]:
        """Return the figures of the seed's table by where they come from."""
        work = ("manual_per_image", "total_per_image", "automatic_share")
        sources = {s for row in self.rows for s in str(row.work.get("seconds_source", "")).split(", ") if row.reviewed}
        ours: list[dict[str, Any]] = []
        fixed: list[dict[str, Any]] = []
        for row in self.rows:
            worked = {name: row.work[name] for name in work if name in row.work}
            ours.append({"cycle": row.cycle, **_rate(row.figures), **worked})
            fixed.append({"cycle": row.cycle, **_rate(row.seed_figures)})
        who = "an oracle reviewed" if sources == {"simulated"} else "an oracle and people reviewed"
        label = f"measured here, {who}" if "simulated" in sources else "measured here"
        return {label: ours, "measured here, the seed's thresholds": fixed}

    def to_dict(self) -> dict[str, Any]:
        """Return rows and what is awaited as plain values for JSON."""
        rows = [row.to_dict() for row in self.rows]
        return {
            "rows": rows,
            "awaited": list(self.awaited),
            "cycle": self.cycle,
            "note": self.note,
            "calibrating": list(self.calibrating),
            "of": self.of,
        }

    def lines(self) -> list[str]:
        """Return a line of words for each cycle."""
        found = []
        for row in self.rows:
            shown = [f"{name.replace('_', ' ')} {_short(row.figures[name])}" for name in SHOWN if name in row.figures]
            drawn = (
                f"{row.work['manual_per_image']:.1f} drawn an image" if row.reviewed else "no image was completed in it"
            )
            work = "after the last" if row.closing else drawn
            told = [work, *([", ".join(shown)] if shown else []), *row.notes]
            found.append(f"cycle {row.cycle} ({row.thresholds.get('kind')}): {'; '.join(told)}")
        if self.of and self.rows:
            found.append(f"Figures are of the distinct proposals with {self.of}.")
        if self.note:
            found.append(self.note)
        if self.awaited:
            count = f"{len(self.awaited):,} image{'s' * (len(self.awaited) != 1)}"
            some = len(self.calibrating)
            calibrate = (
                f". Thresholds are read off {some:,} of them: there every mask that is shown needs a verdict of its own, "
                "accepted ones too"
            )
            found.append(
                f"cycle {self.cycle} waits for {count} to be reviewed: `workbench review DIR --annotator NAME` or "
                f"wb.Annotator(project, NAME) hands them out first; run the cycles again then{calibrate if some else ''}"
            )
        return found

    def __repr__(self) -> str:
        return "\n".join([f"<CycleTable: {len(self.rows)} rows>", *self.lines()])

    def _repr_html_(self) -> str:
        import html

        names = [name for name in SHOWN if any(name in row.figures for row in self.rows)]
        head = "".join(
            f"<th>{html.escape(n.replace('_', ' '))}</th>" for n in ("cycle", "thresholds", "drawn an image", *names)
        )
        body = ""
        for row in self.rows:
            drawn = f"{row.work['manual_per_image']:.1f}" if row.reviewed else "" if row.closing else "none completed"
            cycle, kind = f"after {row.cycle - 1}" if row.closing else str(row.cycle), str(row.thresholds.get("kind"))
            cells = [cycle, kind, drawn, *(_short(row.figures.get(name, Interval.unknown())) for name in names)]
            body += "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in cells) + "</tr>"
        told = "".join(
            f"<p>cycle {row.cycle}: {html.escape('; '.join(row.notes))}</p>" for row in self.rows if row.notes
        )
        further = "".join(f"<p>{html.escape(line)}</p>" for line in self.lines()[len(self.rows) :])
        return f"<table><tr>{head}</tr>{body}</table>{told}{further}"


def _rate(figures: Mapping[str, Interval]) -> dict[str, float]:
    names = ("auto_accept_rate", "recall_auto")
    return {name: figures[name].value for name in names if name in figures and figures[name].known}


def _short(figure: Interval) -> str:
    ends = "" if math.isnan(figure.low) else f" [{figure.low:.2f}, {figure.high:.2f}]"
    return f"{figure.value:.2f}{ends}" if figure.known else "not known"
