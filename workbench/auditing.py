"""Audits and agreement of a project: masks drawn for a senior, shown blind, and what people agree on (R7, R8, R9)."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from workbench import handing_out, recording
from workbench.masks import rle
from workbench.report import Figures
from workbench.review import agreement, audit, state
from workbench.review.config import ReviewConfig
from workbench.review.state import ImageReview
from workbench.shown import Shown, Version
from workbench.store import audits, journal
from workbench.store.audits import Answer, AuditMask
from workbench.store.errors import StoreError
from workbench.tables.events import ReviewEvent
from workbench.tables.figures import Interval
from workbench.tables.outcomes import Outcome, Triage
from workbench.tables.proposals import Proposals, digest_of_masks

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

    from workbench.loop.audited import AuditedImage

_CODES = {"accept": 0, "reject": 1}


@dataclasses.dataclass(frozen=True, repr=False)
class AuditDrawn(Figures):
    """What was drawn for an audit.

    masks : drawn, on how many images; answered : those of them that an auditor has judged before, which counts
    strata : for each kind of mask: masks there are, drawn, and the probability with which each was
    """

    audit_id: int
    seed: int
    images: int
    masks: int
    answered: int
    strata: Mapping[str, Mapping[str, float]]


@dataclasses.dataclass(frozen=True, repr=False)
class Agreement(Figures):
    """How far annotators agree, over what two of them judged or drew on their own; intervals over images, 95 %.

    masks_judged_twice : with a verdict, not in bulk, of two people or more
    krippendorffs_alpha : on these verdicts; cohens_kappa : for each pair of people
    by_annotator : share of a person's verdicts that others gave too; by_day : alpha by day (UTC) of the last verdict
    images_twice : complete, and annotated by a second person on their own
    matched_iou, matched_share : of the final masks of both, matched one to one: mean IoU of the pairs, and masks that
        are in a pair ÷ masks. drawn_iou : the same mean where both masks were drawn or edited by people, since an
        automatic mask that both leave alone says nothing
    """

    masks_judged_twice: int
    krippendorffs_alpha: Interval
    cohens_kappa: Mapping[str, Interval]
    by_annotator: Mapping[str, Interval]
    by_day: Mapping[str, Interval]
    images_twice: int
    matched_iou: Interval
    matched_share: Interval
    drawn_iou: Interval


# ---- audits ---------------------------------------------------------------------------------------------------------


def draw(
    shown: Shown,
    config: ReviewConfig,
    seed: int,
    share: float | None,
    image_ids: Sequence[str] | None,
    reviewed_only: bool,
    again: bool,
) -> AuditDrawn:
    """Draw an audit and keep it; see `Reviewing.draw_audit`."""
    if not isinstance(seed, int) or seed < 0:
        raise ValueError(f"seed: expected a whole number of 0 or more, got {seed!r}")
    share = config.audit_share if share is None else share
    now = shown.latest()
    found = recording.reviews(shown, image_ids) if reviewed_only else recording.everything(shown, image_ids)
    masks: list[AuditMask] = []
    frame: list[str] = []  # images without a mask that was drawn are part of what the audit speaks of
    for review in found:
        masks += _population(review)
        frame.append(review.image_id)
    if not masks:
        what = "complete images first" if reviewed_only else "run propose and triage first"
        raise StoreError(f"audit: expected final masks to draw from, there are none; {what}")
    sources, models = [m.source for m in masks], [m.model_id for m in masks]
    # of other masks another sample: by the seed alone it would be the last one without what was corrected since
    rng = np.random.default_rng([seed, int(digest_of_masks((m.image_id, m.mask_id) for m in masks), 16)])
    sample = audit.draw(sources, models, rng, share, config.audit_least)
    chosen = [
        dataclasses.replace(masks[row], stratum=str(name), probability=float(p))
        for row, name, p in zip(sample.rows, sample.stratum, sample.probability, strict=True)
    ]
    strata = {s.name: {"masks": s.masks, "drawn": s.drawn, "probability": s.probability} for s in sample.strata}
    settings = {"share": share, "least": config.audit_least, "reviewed_only": reviewed_only, "again": again}
    drawn_from = audits.Frame(tuple(frame), now.run_id, now.triage_id)
    with shown.project.catalog.write() as connection:
        number, before = audits.keep(connection, str(seed), settings, strata, chosen, drawn_from)
        for key in before:
            recording.settle_audits(connection, key)
        answered = sum(answer.event is not None for answer in audits.answers(connection, number))
    return AuditDrawn(number, seed, len({m.image_id for m in chosen}), len(chosen), answered, strata)


def _population(review: ImageReview) -> list[AuditMask]:
    masks = review.masks
    return [
        AuditMask(
            image_id=review.image_id,
            mask_id=str(masks.mask_id[k]),
            stratum="",
            source=str(masks.source[k]),
            model_id=str(masks.model_id[k]),
            probability=0.0,
            decided_by=str(review.by[k]) or review.by_status,
            run_id=review.run_id,
            triage_id=review.triage_id,
            rle=masks.rles[k],
            size_hw=(int(masks.sizes_hw[k, 0]), int(masks.sizes_hw[k, 1])),
        )
        for k in np.flatnonzero(review.final)
    ]


def blind_review(shown: Shown, image_id: str, annotator: str) -> ImageReview:
    """Return the masks of an image that a person has to audit, and nothing that tells what others thought of them."""
    with shown.project.catalog.read() as connection:
        by = journal.person(connection, annotator)
        if not by.is_senior:
            raise StoreError(f"audit: expected a senior or the owner, {by.name!r} is {by.role}; see add_annotator")
        place = journal.places(connection, [image_id])[image_id]
        wanted = audits.pending(connection, place.key, by)
        drawn = {a.mask.mask_id: a.mask for a in audits.answers(connection, image_id=image_id)}
        events = journal.events(connection, [place.key], purpose="audit").get(image_id, [])
    rles = [drawn[name].rle for name in wanted]
    size = drawn[next(iter(wanted))].size_hw if wanted else place.size_hw or (1, 1)
    masks = Proposals.make(
        rles=rles,
        image_id=image_id,
        mask_id=list(wanted),
        boxes_xyxy=rle.to_boxes(rles, size),
        area_px=rle.area(rles, size),
        sizes_hw=size,
    )
    blank = Triage(np.full(len(masks), Outcome.flagged), np.zeros(len(masks)))
    own = [event for event in events if event.annotator == by.name and _answers(event, wanted)]
    return state.fold(image_id, place.size_hw, masks, blank, own, purpose="audit", by=by.name)


def _answers(event: ReviewEvent, asked: Mapping[str, int]) -> bool:
    """Whether an auditor's event is about what they are asked now: not in bulk, nor from before a mask was asked again."""
    if event.kind not in ("verdict", "edit"):
        return True
    return not event.bulk and all((event.sequence or 0) > asked.get(name, 0) for name in event.targets)


def judged(answer: Answer, right_iou: float) -> tuple[str, float]:
    """Return right, wrong or "" for an audited mask, and the IoU with the auditor's own version of it, NaN for none."""
    event, mask = answer.event, answer.mask
    if event is None:
        return "", float("nan")
    if event.drawn is None:
        return ("right" if event.payload["verdict"] == "accept" else "wrong"), float("nan")
    iou = float(rle.iou_matrix([mask.rle], [event.drawn[0]], mask.size_hw)[0, 0])
    return ("right" if iou >= right_iou else "wrong"), iou


def results_frame(shown: Shown, config: ReviewConfig, audit_id: int | None) -> pd.DataFrame:
    """Return a row for each audited mask; see `Reviewing.audit_results`."""
    import pandas as pd

    names = ["audit_id", "image_id", "mask_id", "stratum", "source", "model_id", "probability"]
    columns = [*names, "decided_by", "auditor", "result", "iou", "run_id", "triage_id"]
    with shown.project.catalog.read() as connection:
        known = audits.numbers(connection)
        if audit_id is not None and audit_id not in known:
            raise StoreError(f"audit: expected one of {known}, got {audit_id!r}; project.audits() lists them")
        found = audits.answers(connection, audit_id)
    rows = []
    for answer in found:
        m, (result, iou) = answer.mask, judged(answer, config.right_iou)
        own = [getattr(m, name) for name in names[1:]]
        rows.append([answer.audit_id, *own, m.decided_by, answer.auditor, result, iou, m.run_id, m.triage_id])
    return pd.DataFrame(rows, columns=columns).astype({"run_id": "Int64", "triage_id": "Int64"})


class _Stood(NamedTuple):
    """An image as it stood when an audit was drawn: masks seen before (whether wrong), masks that could be drawn."""

    seen: dict[str, bool]
    drawable: frozenset[str]
    drawn: list[Answer]  # without the seen ones


def audited_images(shown: Shown, run_id: int, image_ids: Sequence[str], wrong_iou: float) -> dict[str, AuditedImage]:
    """Return what people know of the automatic masks of a run, of the images that an audit was drawn from.

    Images are taken as they stood when the audit was drawn. Of several audits of an image the one with the most answers
    counts, then the newest. An answered mask stands, too, for those of its stratum that were drawn and not answered.

    Parameters
    ----------
    wrong_iou : from this IoU on, a mask is right that was corrected, by whoever looked at it
    """
    from workbench.loop.audited import AuditedImage

    stood = _as_they_stood(shown, run_id, image_ids, wrong_iou)
    drawn = [answer for image in stood.values() for answer in image.drawn]
    asked = collections.Counter(map(_stratum, drawn))
    told = collections.Counter(_stratum(answer) for answer in drawn if answer.event is not None)
    found = {}
    for image_id, image in stood.items():
        answered = [answer for answer in image.drawn if answer.event is not None]
        found[image_id] = AuditedImage(
            image.seen,
            {a.mask.mask_id: judged(a, wrong_iou)[0] == "wrong" for a in answered},
            {a.mask.mask_id: a.mask.probability * told[_stratum(a)] / asked[_stratum(a)] for a in answered},
            image.drawable,
        )
    return found


def _as_they_stood(shown: Shown, run_id: int, image_ids: Sequence[str], wrong_iou: float) -> dict[str, _Stood]:
    with shown.project.catalog.read() as connection:
        of_audits = {number: audits.answers(connection, number) for number in audits.numbers(connection)}
        frames = {number: audits.frame_of(connection, number) for number in of_audits}
        places = journal.places(connection, image_ids)
    worth = {number: sum(a.event is not None for a in found) for number, found in of_audits.items()}
    stood: dict[str, _Stood] = {}
    left = set(image_ids)
    for number in sorted(of_audits, key=lambda number: (worth[number], number), reverse=True):
        frame, after = frames[number]
        drawn: dict[str, list[Answer]] = {}
        for answer in of_audits[number]:
            drawn.setdefault(answer.mask.image_id, []).append(answer)
        for image_id in [name for name in frame.image_ids if name in left]:
            left.discard(image_id)
            with shown.project.catalog.read() as connection:
                events = journal.events(connection, [places[image_id].key]).get(image_id, [])
            before = [event for event in events if (event.sequence or 0) <= after]
            version = Version(frame.run_id, frame.triage_id)
            review = recording.of_events(shown, places[image_id], before, version, strictly=True)
            if review.run_id == run_id:
                stood[image_id] = _stood(review, drawn.get(image_id, []), wrong_iou)
    return stood


def _stood(review: ImageReview, drawn: Sequence[Answer], wrong_iou: float) -> _Stood:
    automatic = ~review.drawn
    seen = {
        str(review.masks.mask_id[k]): _is_wrong(review, int(k), wrong_iou) for k in np.flatnonzero(review.looked_at)
    }
    drawable = frozenset(review.masks.mask_id[automatic & review.final & ~review.looked_at].tolist())
    return _Stood(seen, drawable, [answer for answer in drawn if answer.mask.mask_id in drawable])


def _stratum(answer: Answer) -> tuple[int, str]:
    return answer.audit_id, answer.mask.stratum


def _is_wrong(review: ImageReview, row: int, wrong_iou: float) -> bool:
    """Whether a mask was rejected, or none of the final masks that it was edited into is near enough."""
    if not review.superseded[row]:
        return bool(review.verdict[row] == state.REJECT)
    made = {str(review.masks.mask_id[row])}
    for k in np.flatnonzero(review.drawn):  # in the order in which they were drawn
        if str(review.masks.parent_id[k]) in made:
            made.add(str(review.masks.mask_id[k]))
    final = [review.masks.rles[k] for k in np.flatnonzero(review.final) if str(review.masks.mask_id[k]) in made]
    size = (int(review.masks.sizes_hw[row, 0]), int(review.masks.sizes_hw[row, 1]))
    return not final or float(rle.iou_matrix([review.masks.rles[row]], final, size).max()) < wrong_iou


class Found(NamedTuple):
    """What an audit has found: masks, answered, wrong; their estimated share, and of how many masks that speaks."""

    masks: int
    answered: int
    wrong: int
    stands_for: int
    wrong_share: Interval


def found_by(shown: Shown, config: ReviewConfig, audit_id: int, rng: np.random.Generator) -> Found:
    """Return what an audit has found so far; see `review.audit.wrong_share`."""
    with shown.project.catalog.read() as connection:
        drawn = audits.answers(connection, audit_id)
        kept = audits.strata_of(connection, audit_id)
    found = [answer for answer in drawn if answer.event is not None]
    strata = [audit.Stratum(name, int(s["masks"]), int(s["drawn"])) for name, s in kept.items()]
    wrong = np.array([judged(a, config.right_iou)[0] == "wrong" for a in found], dtype=bool)
    names = [a.mask.stratum for a in found]
    share = audit.wrong_share(strata, names, [a.mask.image_id for a in found], wrong, rng)
    stands_for = sum(stratum.masks for stratum in strata if stratum.name in names)
    return Found(len(drawn), len(found), int(wrong.sum()), stands_for, share)


# ---- agreement ------------------------------------------------------------------------------------------------------


def agree(shown: Shown, config: ReviewConfig, rng: np.random.Generator) -> Agreement:
    """Return how far annotators agree; see `Reviewing.agreement`."""
    with shown.project.catalog.read() as connection:
        by_image = journal.events(connection)
        known = list(journal.people(connection))
    ratings, days = _ratings(by_image)
    of_all: list[np.ndarray] = []
    of_drawn: list[np.ndarray] = []
    for image_id, other in _twice(by_image):
        a, b = recording.image_review(shown, image_id), handing_out.own_review(shown, image_id, other)
        if a.size_hw is None:
            continue
        rles = [(r.masks.rles[r.final].tolist(), r.masks.rles[r.final & r.drawn].tolist()) for r in (a, b)]
        of_all.append(agreement.matched(rles[0][0], rles[1][0], a.size_hw, config.matched_iou))
        of_drawn.append(agreement.matched(rles[0][1], rles[1][1], a.size_hw, config.matched_iou))
    alpha = agreement.alpha_of(ratings, rng)
    judges = agreement.judges(ratings)
    kappas = {f"{a} – {b}": agreement.kappa_of(ratings, a, b, rng) for a, b in agreement.pairs_of(ratings)}
    matched_iou, matched_share = agreement.iou_of(of_all, rng)
    return Agreement(
        masks_judged_twice=alpha.n,
        krippendorffs_alpha=alpha,
        cohens_kappa=kappas,
        by_annotator={name: agreement.observed_of(ratings, name, rng) for name in known if name in judges},
        by_day={day: agreement.alpha_of(part, rng) for day, part in agreement.of_days(ratings, days)},
        images_twice=len(of_all),
        matched_iou=matched_iou,
        matched_share=matched_share,
        drawn_iou=agreement.iou_of(of_drawn, rng)[0],
    )


def _ratings(
    by_image: Mapping[str, Sequence[ReviewEvent]],
) -> tuple[dict[tuple[str, str], dict[str, int]], dict[tuple[str, str], str]]:
    """Return the own verdicts of people on each mask that two have judged, and the day of the last of them.

    A correction in the shared review is no second opinion: of a mask's verdicts there the one that stands counts.
    """
    found: dict[tuple[str, str], dict[str, int]] = {}
    days: dict[tuple[str, str], str] = {}
    for image_id, events in by_image.items():
        counted = [e for purpose in ("review", "second", "audit") for e in state.counting(events, purpose)]
        stands: dict[tuple[str, str], str] = {}  # in the review, which people share, a later verdict takes the place
        for event in counted:
            if event.kind != "verdict":
                continue
            for mask in event.targets:
                key, verdict = (image_id, mask), _CODES.get(event.payload["verdict"])
                before = stands.get(key, "") if event.purpose == "review" else event.annotator
                if event.bulk and verdict == found.get(key, {}).get(before):
                    continue
                found.get(key, {}).pop(before, None)
                if event.bulk or verdict is None:  # nobody's own verdict stands any more
                    continue
                found.setdefault(key, {})[event.annotator] = verdict
                if event.purpose == "review":
                    stands[key] = event.annotator
                days[key] = max(days.get(key, ""), event.recorded_at[:10])
    twice = {key: given for key, given in found.items() if len(given) >= 2}
    return twice, {key: days[key] for key in twice}


def _twice(by_image: Mapping[str, Sequence[ReviewEvent]]) -> list[tuple[str, str]]:
    """Return the images that were reviewed, and completed by a second annotator on their own, with the second."""
    found = []
    for image_id, events in by_image.items():
        first = state.standing(events)
        second: list[Any] = [e for e in state.counting(events, "second") if e.kind == "complete"]
        if first is not None and first.kind == "complete" and second and second[-1].annotator != first.annotator:
            found.append((image_id, second[-1].annotator))
    return found
