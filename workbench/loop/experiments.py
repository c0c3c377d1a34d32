"""Sweeps: figures at every point of a grid on every image, with intervals."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from workbench.config import ProposeConfig, TriageConfig
from workbench.loop.audited import SUMS, Audited, AuditedImage, Sums, coverage, fp_rate
from workbench.loop.comparison import LEAST_IOU, ComparedImage, Comparison, TrueImage, compare_image
from workbench.loop.metrics import METRICS, Point, known_metrics
from workbench.tables.experiments import ENDINGS, Counted
from workbench.tables.intervals import Intervals, bootstrap_many
from workbench.tables.outcomes import Outcome
from workbench.tables.proposals import Proposals
from workbench.triage.limits import idle, unmeasured
from workbench.triage.sweep import Grid, outcomes

LOG = logging.getLogger(__name__)
AUDITED = "fp_rate"  # the figure that audits can give
COVERAGE = "audit_coverage"
KNOWN = ("truth", "verdicts", "audits")  # what figures are counted against
ALWAYS = ("auto_accept_rate", "masks_per_image")
MOST_NUMBERS = 2**25  # points times images times figures: 256 MB of numerators and denominators
_AT_ONCE = 256  # points whose intervals are drawn together


class Known(NamedTuple):
    """What people know of the images of a sweep.

    labels : truth, or review: the final masks of images that were reviewed to the end; or audits: these for recall, and
        audits for false positives
    labelled, reviewed : how many of the images have these labels, and verdicts of people
    exhaustive : whether labels hold every object, whatever was accepted by itself
    audited : how many masks were drawn for an audit and judged
    learned : how many of the images trained the model, whose labels and verdicts do not count
    """

    images: int
    labels: str
    labelled: int
    reviewed: int
    exhaustive: bool
    audited: int = 0
    learned: int = 0


def expect_numbers(seed: int, wrong_iou: float) -> tuple[int, float]:
    """Return both as plain numbers, before anything is counted. Raises ValueError."""
    try:
        number = operator.index(seed)
    except TypeError:
        number = -1
    if number < 0:
        raise ValueError(f"seed: expected a whole number from 0 on, got {seed!r}")
    iou = float(wrong_iou) if isinstance(wrong_iou, (int, float, np.number)) else np.nan
    if not LEAST_IOU <= iou <= 1:
        raise ValueError(f"wrong_iou: expected a value in [{LEAST_IOU}, 1], got {wrong_iou!r}")
    return number, round(iou, 7)  # what a float32 adds is no other setting


def expect_answerable(grid: Grid, floors: ProposeConfig) -> TriageConfig:
    """Return settings that ask for all that proposals need at any point: a confidence, where one asks for it.

    Logs where points keep masks that were not measured as a fresh run would, and where a confidence decides alone what the
    grid's scores would.

    Raises
    ------
    ValueError : for a grid that moves the model of confidence, or asks for a confidence without one
    """
    if "confidence_model" in grid.values:
        raise ValueError("grid: confidence_model cannot move in a sweep; give base= with another one")
    wanted = [value for value in grid.values.get("confidence", ()) if value is not None]
    if wanted and grid.base.confidence_model is None:
        raise ValueError(
            "grid: confidence needs the model that cycles or an adoption have put into the thresholds; adopt a certificate or a verifier "
            "first (project.adopt_certificate, project.adopt_verifier), or give base= with its thresholds"
        )
    if not {"confidence", "confidence_rule"} & set(grid.values) and (told := idle(grid.base, grid.values)):
        LOG.warning("sweep: %s", told)
    for told in dict.fromkeys(unmeasured(config, floors) for config in grid.configs()):
        if told:
            LOG.warning("sweep: %s", told)
    return grid.base.replace(confidence=wanted[0]) if wanted else grid.base


def choose_metrics(names: Sequence[str] | None, known: Known) -> list[str]:
    """Return the figures of a sweep: those asked for and those that always stand beside them; None for all there are.

    Raises
    ------
    ValueError : for an unknown name, or one that needs what is not there
    """
    exhaustive = known.labelled and known.exhaustive and known.labels == "truth"
    there = {
        "proposals": True,
        "verdicts": known.reviewed > 0,
        "truth": known.labelled > 0,
        "exhaustive truth": exhaustive,
    }
    able = [name for name, metric in METRICS.items() if there[metric.needs] or (known.audited and name == AUDITED)]
    if names is None:
        return able
    asked = known_metrics(names)
    for name in asked:
        if name not in able:
            raise ValueError(f"{name} {_lacks(METRICS[name].needs, known, able)}")
    together = [*ALWAYS, "recall_auto"] if known.labelled else ALWAYS  # an acceptance rate alone says nothing
    return list(dict.fromkeys([*together, *asked]))


def _lacks(needs: str, known: Known, able: Sequence[str]) -> str:
    """Say why a figure cannot be counted, and what to do."""
    which = (
        f"{known.images} images"
        if not known.learned
        else f"{known.images - known.learned} that did not train the model"
    )
    if needs == "verdicts":
        return (
            f"needs verdicts, and nobody has given one, except in bulk, on any of the {which};"
            f" review some, or ask for {', '.join(able)}"
        )
    if known.labels == "audits" and needs == "exhaustive truth":
        return (
            "needs truth that is exhaustive; audits say of a mask only whether it is right. Ask for"
            f" {AUDITED}, or import truth and say labels='truth'"
        )
    if not known.labelled:
        return (
            f"needs truth, and none of the {which} has any: import it (project.import_coco),"
            f" review images to the end, or ask for {', '.join(able)}"
        )
    if known.labels == "review":
        return (
            "needs truth from elsewhere: among final masks are those that were accepted by themselves, which would all"
            " be right. Import truth and say labels='truth', or ask for rejection_rate_auto, or audit what was accepted"
            " (project.draw_audit) and say labels='audits'"
        )
    return (
        "needs truth that is exhaustive: every object of every labelled image, so that a mask without a partner is"
        " wrong. Say exhaustive=True where it is; recall needs no more than truth"
    )


def count(
    proposals: Callable[[], Iterable[tuple[str, Proposals]]],
    grid: Grid,
    names: Sequence[str],
    truth_of: Callable[[str], TrueImage | None],
    verdicts_of: Callable[[str], Mapping[str, int] | None],
    floors: ProposeConfig,
    *,
    wrong_iou: float,
    images: int,
    audits_of: Callable[[str], AuditedImage | None] | None = None,
    told: Callable[[], object] = lambda: None,
) -> Counted:
    """Count figures at each point of a grid on each image; no model is run.

    Parameters
    ----------
    proposals : returns image ids with their proposals anew whenever it is called, always in one order
    truth_of, verdicts_of : truth and verdicts of an image as `compare_image` takes them, None where there are none
    images : how many there are; told : called after each point
    audits_of : what audits say of an image, None where none was drawn from it; None to count `AUDITED` by truth

    Raises
    ------
    PoolError : where the points cannot be answered from what is stored
    ValueError : for more numbers than can be held
    """
    by_audits = audits_of is not None and AUDITED in names
    # a figure takes two numbers, so the sums of audits count as half as many figures
    _expect_bounded(len(grid), images, len(names) + (math.ceil(SUMS / 2) if by_audits else 0))
    compared: dict[str, ComparedImage] = {}
    digests: dict[str, list[str]] = {what: [] for what in KNOWN}
    audited: list[tuple[AuditedImage | None, Sequence[str]]] = []

    def parts() -> Iterator[Proposals]:
        for image_id, rows in proposals():
            if image_id not in compared:
                true, said = truth_of(image_id), verdicts_of(image_id)
                audits = audits_of(image_id) if audits_of is not None and by_audits else None
                for what, found in zip(KNOWN, (None if true is None else true.known, said, audits), strict=True):
                    digests[what].append(_digest(found))
                compared[image_id] = compare_image(image_id, rows, true, floors, said)
                if by_audits:
                    audited.append((audits, rows.mask_id.tolist()))
            yield rows

    values = np.full((len(names), len(grid), images), np.nan, np.float32)
    per, counts = values.copy(), np.zeros((len(grid), 4), np.int64)
    sums = np.full((SUMS, len(grid), images), np.nan, np.float32) if by_audits else None
    comparison: Comparison | None = None
    for k, config, outcome, distinct in outcomes(parts, grid, floors):
        if comparison is None:
            comparison, judged = Comparison.of(compared.values()), Audited.of(audited)
        point = Point(comparison, outcome, config, wrong_iou, distinct)
        if sums is not None:
            sums[:, k] = judged.sums(point.auto)
        for m, name in enumerate(names):
            if sums is not None and name == AUDITED:
                values[m, k], per[m, k] = Sums(*sums[:, k]).rate
            else:
                values[m, k], per[m, k] = METRICS[name].counts(point)
        of = np.bincount(outcome, minlength=4)
        counts[k] = distinct.sum(), of[Outcome.auto_accepted], of[Outcome.flagged], of[Outcome.discarded]
        told()
    by, points, some = grid.base.to_dict(), tuple(grid.changes()), (tuple(compared), counts, tuple(names), values, per)
    small_px = comparison.small_px if comparison is not None else None
    return Counted(by, points, *some, sums, {what: tuple(of) for what, of in digests.items()}, small_px)


def _digest(found: Any) -> str:
    """Return 16 hex digits of what is known of an image, "" for nothing: what JSON makes of it."""
    if found is None:
        return ""
    return hashlib.sha256(json.dumps(found, sort_keys=True, default=sorted).encode()).hexdigest()[:16]


def _expect_bounded(points: int, images: int, metrics: int) -> None:
    if points * images * metrics > MOST_NUMBERS:
        most = MOST_NUMBERS // (images * metrics)
        raise ValueError(
            f"grid: {points:,} points on {images:,} images with {metrics} figures are {points * images * metrics:,}"
            f" numbers, more than {MOST_NUMBERS:,}; take at most {most:,} points, fewer images (images=), or fewer figures"
        )


def figures(counted: Counted, seed: int) -> dict[str, NDArray[Any]]:
    """Return the columns of a sweep's table: for each figure its value, low, high and n, (P,) each."""
    columns: dict[str, NDArray[Any]] = {}
    for m, name in enumerate(counted.metrics):
        if name == AUDITED and counted.audits is not None:
            columns |= _of_audits(counted.audits, seed)
            continue
        found = [
            bootstrap_many(
                counted.values[m, start : start + _AT_ONCE].astype(np.float64),
                counted.per[m, start : start + _AT_ONCE].astype(np.float64),
                np.random.default_rng(seed),  # the same images drawn at every point
                of_events=METRICS[name].of_events,
            )
            for start in range(0, len(counted), _AT_ONCE)
        ]
        columns |= _columns(name, found)
    return columns


def _of_audits(sums: NDArray[np.float32], seed: int) -> dict[str, NDArray[Any]]:
    """Return the columns of false positives by audits, and of the masks that had a chance to be judged beside them."""
    starts = range(0, sums.shape[1], _AT_ONCE)
    return {
        name: column
        for what, figure in ((AUDITED, fp_rate), (COVERAGE, coverage))
        for name, column in _columns(
            what, [figure(sums[:, start : start + _AT_ONCE], np.random.default_rng(seed)) for start in starts]
        ).items()
    }


def _columns(name: str, found: Sequence[Intervals]) -> dict[str, NDArray[Any]]:
    parts = Intervals(*(np.concatenate(columns) for columns in zip(*found, strict=True)))
    return {f"{name}{end}": part for end, part in zip(ENDINGS, parts[:4], strict=True)}
