"""The quality report (Q1, Q2, R10): coverage, overlaps, rejections by reason, time by phase, progress and audits."""

from __future__ import annotations

import bisect
import collections
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from workbench import auditing, quality, recording
from workbench.report import Figures
from workbench.review import state, timing
from workbench.review.config import ReviewConfig
from workbench.review.state import ImageReview
from workbench.shown import Shown
from workbench.store import audits, journal, review_settings
from workbench.store.review_settings import InForce
from workbench.tables.events import Progress, ReviewEvent
from workbench.tables.figures import Interval
from workbench.tables.intervals import bootstrap
from workbench.tables.outcomes import reason_names


class OverlappingPair(NamedTuple):
    """Two final masks of an image that overlap too much."""

    image_id: str
    mask_id: str
    other_id: str
    iou: float


@dataclasses.dataclass(frozen=True, repr=False)
class QualityReport(Figures):
    """The quality of what people left, and what it took.

    images, images_done, skipped : of the project; done are complete and skipped ones
    masks, automatic, manual, edited : final masks of complete images
    coverage_ratio, num_masks, avg_mask_size : means over complete images of pixels of the union ÷ pixels, masks, and
        pixels of the union ÷ masks (px); NaN without an image
    overlapping : final masks of one image whose IoU is above `max_overlap` (0.7)
    rejected, rejection_rate : automatic masks rejected one by one, and rejected ÷ automatic masks a person looked at
        (with a verdict of their own, not in bulk, or edited); rejected_by_reason : how many of the rejected had each
        reason of triage
    active_s, active_share, planned_share : seconds by phase, their share, and the plan (20/70/10)
    masks_per_hour : manual and edited final masks ÷ active hours; seconds_source : measured, or simulated where there is
        nothing measured; masks and hours are those of this source
    gestures, late : events in the journal, and those that came under a lost claim
    dialogs : how often R5 and R6 asked, and each answer
    dialogs_under : the same for each time that settings of the dialogs held in, with these settings
    audits : for each audit masks, answered, wrong, and the estimated share of wrong masks among those it stands for
    settings : of review, as they are now; what is not a dialog is counted by them, whatever held before
    """

    name: str
    images: int
    images_done: int
    skipped: int
    masks: int
    automatic: int
    manual: int
    edited: int
    coverage_ratio: float
    num_masks: float
    avg_mask_size: float
    overlapping: int
    overlaps: tuple[OverlappingPair, ...]
    rejected: int
    rejection_rate: Interval
    rejected_by_reason: Mapping[str, int]
    active_s: Mapping[str, float]
    active_share: Mapping[str, float]
    planned_share: Mapping[str, float]
    masks_per_hour: float
    seconds_source: str
    gestures: int
    late: int
    dialogs: Mapping[str, Mapping[str, int]]
    dialogs_under: Mapping[str, Mapping[str, Any]]
    audits: Mapping[str, Mapping[str, Any]]
    settings: Mapping[str, Any]


class _Counted(NamedTuple):
    """What one complete image adds."""

    sources: collections.Counter[str]
    coverage: quality.Coverage
    pairs: list[OverlappingPair]
    rejected: int
    looked_at: int
    reasons: collections.Counter[str]
    drawn: frozenset[tuple[str, str]]


def quality_report(shown: Shown, config: ReviewConfig, progress: Progress, rng: np.random.Generator) -> QualityReport:
    """Put the report together; see `Reviewing.quality_report`."""
    counted = [_counted(review, config) for review in recording.reviews(shown)]
    with shown.project.catalog.read() as connection:
        events = [event for found in journal.events(connection).values() for event in found]
        numbers = audits.numbers(connection)
        kept = review_settings.history(connection)
    sources = sum((c.sources for c in counted), collections.Counter[str]())
    source, active, by_it = _time(events, config)
    drawn = sum(len(c.drawn & by_it) for c in counted)
    rejected = np.array([c.rejected for c in counted], dtype=float)
    looked_at = np.array([c.looked_at for c in counted], dtype=float)
    covered = [c.coverage for c in counted]
    return QualityReport(
        name=shown.project.name,
        images=progress.images,
        images_done=progress.images_done,
        skipped=progress.skipped,
        masks=sources.total(),
        automatic=sources["automatic"],
        manual=sources["manual"],
        edited=sources["edited"],
        coverage_ratio=_mean([c.coverage_ratio for c in covered]),
        num_masks=_mean([c.num_masks for c in covered]),
        avg_mask_size=_mean([c.avg_mask_size for c in covered]),
        overlapping=sum(len(c.pairs) for c in counted),
        overlaps=tuple(pair for c in counted for pair in c.pairs),
        rejected=int(rejected.sum()),
        rejection_rate=bootstrap(rejected, rng, looked_at),
        rejected_by_reason=dict(sum((c.reasons for c in counted), collections.Counter[str]()).most_common()),
        active_s=active,
        active_share=timing.shares(active),
        planned_share={"verdict": config.plan_verdict, "draw": config.plan_draw, "check": config.plan_check},
        masks_per_hour=timing.per_hour(drawn, sum(active.values())),
        seconds_source=source,
        gestures=len(events),
        late=sum(event.stale for event in events),
        dialogs=state.count_answers(events),
        dialogs_under=_dialogs_under(events, kept or [InForce(0, config.to_dict())]),
        audits={str(number): auditing.found_by(shown, config, number, rng)._asdict() for number in numbers},
        settings=config.to_dict(),
    )


def _counted(review: ImageReview, config: ReviewConfig) -> _Counted:
    final = review.masks.select(review.final)
    found = quality.overlaps(final, config.max_overlap)
    names = final.mask_id
    pairs = [
        OverlappingPair(review.image_id, names[i], names[j], float(iou))
        for i, j, iou in zip(found.i, found.j, found.iou, strict=True)
    ]
    reasons = collections.Counter(
        name
        for k in np.flatnonzero(review.rejected)
        for name in (reason_names(review.reasons[k]) or "none given").split(", ")
    )
    sources = collections.Counter(str(s) for s in final.source)
    drawn = frozenset((review.image_id, str(mask)) for mask in names[final.source != "automatic"])
    covered = quality.coverage(final, review.size_hw)
    looked_at, rejected = int(review.looked_at.sum()), int(review.rejected.sum())
    return _Counted(sources, covered, pairs, rejected, looked_at, reasons, drawn)


def _dialogs_under(events: Sequence[ReviewEvent], kept: Sequence[InForce]) -> dict[str, dict[str, Any]]:
    """Return the answers of dialogs by the settings they were asked under; times without an answer are left out."""
    of_dialogs = [{name: held.settings.get(name) for name in _OF_DIALOGS} for held in kept]
    starts = [k for k, settings in enumerate(of_dialogs) if k == 0 or settings != of_dialogs[k - 1]]
    first = [kept[k].after_sequence for k in starts]
    by_time: list[list[ReviewEvent]] = [[] for _ in starts]
    for event in events:
        if event.kind == "answer" and event.sequence is not None:
            by_time[max(0, bisect.bisect_left(first, event.sequence) - 1)].append(event)
    return {
        f"from event {after + 1} on": {**of_dialogs[k], **state.count_answers(answers)}
        for k, after, answers in zip(starts, first, by_time, strict=True)
        if answers
    }


_OF_DIALOGS = ("coverage_share", "coverage_rule", "coverage_overlap", "overlap_warning")


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else float("nan")


def _time(
    events: Sequence[ReviewEvent], config: ReviewConfig
) -> tuple[str, dict[str, float], frozenset[tuple[str, str]]]:
    """Return which times count, active seconds by phase, and the masks drawn in gestures with such times."""
    own = [event for event in events if event.purpose == "review"]
    measured = [event for event in own if event.seconds_source == "measured" and event.elapsed_ms > 0]
    simulated = [event for event in own if event.seconds_source == "simulated"]
    source, counted = ("measured", measured) if measured or not simulated else ("simulated", simulated)
    active = timing.active_s(counted, config.idle_s, config.drawing_s)
    made = [event for event in counted if event.drawn is not None]
    return source, active, frozenset((event.image_id, state.made_mask(event)) for event in made)
