"""What a project says of itself: the summary of a call of propose, and the report of the whole."""

from __future__ import annotations

import dataclasses
import html
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from workbench.plain import plain

if TYPE_CHECKING:
    from workbench.store.records import Version
    from workbench.store.runs import Run


class _Tabular:
    """A frozen dataclass that is shown as a short table in terminals and in notebooks."""

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain values for JSON; what is not known is None."""
        return plain(self._values())

    def _values(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}  # type: ignore[arg-type]

    def _rows(self) -> list[tuple[str, str]]:
        """Return name and words of each field; of counts those above 0, of settings none: `to_dict` has them."""
        values = self.to_dict()
        rows = [(name, _words(value)) for name, value in values.items() if not isinstance(value, dict)]
        counts = {
            name: {k: n for k, n in values[name].items() if n} for name in ("failures", "reasons") if name in values
        }
        return [*rows, *((name, _words(value)) for name, value in counts.items())]

    def __str__(self) -> str:
        return "\n".join(f"{name.replace('_', ' '):20} {text}" for name, text in self._rows())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        cells = "".join(
            f"<tr><th style='text-align:left'>{html.escape(name.replace('_', ' '))}</th>"
            f"<td style='text-align:left'>{html.escape(text)}</td></tr>"
            for name, text in self._rows()
        )
        return f"<table>{cells}</table>"


class Figures(_Tabular):
    """A frozen dataclass of figures, intervals among them, shown whole: a line each, and one for each of a mapping."""

    def _rows(self) -> list[tuple[str, str]]:
        return list(self.to_words().items())

    def to_words(self) -> dict[str, str]:
        """Return each field in words, as it is shown: a figure with its interval, "not known" for none."""
        return {name: _words(value) for name, value in self._values().items()}


@dataclasses.dataclass(frozen=True, repr=False)
class ProposeSummary(_Tabular):
    """What one call of `Project.propose` did.

    images : chosen for this call; done + failed + skipped + left
    done, proposals, distinct, seconds : of this call; distinct: after NMS at the floors
    failed : images without proposals for the reasons in `failures`, in this call or before
    skipped : done before; left : not tried, because of `limit`
    seconds_per_image : of this call, wall clock over images tried; NaN when none was
    peak_memory_mb : the most memory this process has held so far
    """

    run_id: int
    images: int
    done: int
    failed: int
    skipped: int
    left: int
    proposals: int
    distinct: int
    seconds: float
    seconds_per_image: float
    peak_memory_mb: float
    failures: Mapping[str, int]


@dataclasses.dataclass(frozen=True, repr=False)
class Report(_Tabular):
    """Images, proposals and outcomes of a project's latest run (and of none, before the first).

    images : recorded, those that cannot be read among them; done : of the latest run
    duplicates : further files with the content of an image
    distinct : proposals that survive NMS; auto_accept_rate : auto-accepted ÷ distinct, NaN without any
    reasons : how many distinct proposals have each; failures : how many images have no proposals, for each reason
    seconds_per_image : mean over the images done, reading included, writing not
    peak_memory_mb : the most memory a process has held while it wrote the run
    settings : of the run (propose) and of its triage
    """

    name: str
    images: int
    done: int
    duplicates: int
    proposals: int
    distinct: int
    auto_accepted: int
    flagged: int
    discarded: int
    auto_accept_rate: float
    reasons: Mapping[str, int]
    failures: Mapping[str, int]
    seconds_per_image: float
    peak_memory_mb: float
    run_id: int | None
    model_id: str | None
    triage_id: int | None
    settings: Mapping[str, Any]


@dataclasses.dataclass(frozen=True, repr=False)
class TruthSummary(_Tabular):
    """What an import of ground truth did.

    images : of the file that are in the project; masks : theirs; replaced : masks that these images had before
    unmatched : names in the file that are no image of the project; problems : masks left out, with the reason
    """

    images: int
    masks: int
    replaced: int
    unmatched: tuple[str, ...]
    problems: tuple[str, ...]


def assemble(
    name: str, totals: Mapping[str, Any], run: Run | None, kept: Version | None, failures: Mapping[str, int]
) -> Report:
    """Put a report together from what the catalogue counts; without a run or a triage, their part is empty."""
    counts = dict.fromkeys(("auto_accepted", "flagged", "discarded"), 0) | dict(kept.counts if kept else {})
    distinct = counts.pop("distinct", totals["distinct"])
    settings = {"propose": dict(run.settings)} if run else {}
    return Report(
        **{**totals, "distinct": distinct},
        **counts,
        name=name,
        auto_accept_rate=counts["auto_accepted"] / distinct if kept and distinct else math.nan,
        reasons=dict(kept.reasons) if kept else {},
        failures=failures,
        peak_memory_mb=run.peak_memory_mb if run and run.peak_memory_mb is not None else math.nan,
        run_id=run.id if run else None,
        model_id=run.model_id if run else None,
        triage_id=kept.id if kept else None,
        settings={**settings, "triage": dict(kept.settings)} if kept else settings,
    )


def _words(value: object) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "not known"
    if isinstance(value, Mapping):
        inner = ((name, f"({_words(v)})" if isinstance(v, Mapping) else _words(v)) for name, v in value.items())
        return ", ".join(f"{name}: {text}" for name, text in inner) or "none"
    if hasattr(value, "_asdict"):
        return " ".join(_words(v) for v in value._asdict().values())
    if isinstance(value, (list, tuple)):
        shown = ", ".join(map(_words, value[:10]))
        return (f"{shown}, and {len(value) - 10} more" if len(value) > 10 else shown) or "none"
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
