"""Sweeps: figures at every point of a grid on every image, with intervals, and points compared on the same images."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from workbench.config import ProposeConfig
from workbench.loop.audited import SUMS, Audited, AuditedImage, Sums, coverage, difference, fp_rate
from workbench.loop.comparison import ComparedImage, Comparison, TrueImage, compare_image
from workbench.loop.metrics import METRICS, Point, known_metrics
from workbench.tables.experiments import ENDINGS, Counted
from workbench.tables.intervals import Intervals, bootstrap_many, difference_many
from workbench.tables.outcomes import Outcome
from workbench.tables.proposals import Proposals
from workbench.triage.sweep import Grid, outcomes

if TYPE_CHECKING:
    import pandas as pd

AUDITED = "fp_rate"  # the figure that audits can give
BY_WRONG_IOU = ("automatic_share", "fp_rate", "duplicate_rate")  # figures that `wrong_iou` changes
COVERAGE = "audit_coverage"
ALWAYS = ("auto_accept_rate", "masks_per_image")
MOST_NUMBERS = 2**25  # points times images times figures: 256 MB of numerators and denominators
_COMPARED = ["a", "row_a", "b", "row_b", "metric", "value_a", "value_b", "difference", "low", "high", "images"]
_AT_ONCE = 256  # points whose intervals are drawn together


class Known(NamedTuple):
    """What people know of the images of a sweep.

    labels : truth, or review: the final masks of images that were reviewed to the end; or audits: these for recall, and
        audits for false positives
    labelled, reviewed : how many of the images have these labels, and verdicts of people
    exhaustive : whether labels hold every object, whatever was accepted by itself
    audited : how many masks were drawn for an audit and judged
    """

    images: int
    labels: str
    labelled: int
    reviewed: int
    exhaustive: bool
    audited: int = 0


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
    if needs == "verdicts":
        return (
            f"needs verdicts, and nobody has given one, except in bulk, on any of the {known.images} images;"
            f" review some, or ask for {', '.join(able)}"
        )
    if known.labels == "audits" and needs == "exhaustive truth":
        return (
            "needs truth that is exhaustive; audits say of a mask only whether it is right. Ask for"
            f" {AUDITED}, or import truth and say labels='truth'"
        )
    if not known.labelled:
        return (
            f"needs truth, and none of the {known.images} images has any: import it (project.import_coco),"
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
    _expect_bounded(len(grid), images, len(names) + (SUMS // 2 if by_audits else 0))
    compared: dict[str, ComparedImage] = {}
    audited: list[tuple[AuditedImage | None, Sequence[str]]] = []

    def parts() -> Iterator[Proposals]:
        for image_id, rows in proposals():
            if image_id not in compared:
                said = verdicts_of(image_id)
                compared[image_id] = compare_image(image_id, rows, truth_of(image_id), floors, said)
                if audits_of is not None and by_audits:
                    audited.append((audits_of(image_id), rows.mask_id.tolist()))
            yield rows

    values = np.full((len(names), len(grid), images), np.nan, np.float32)
    per, counts = values.copy(), np.zeros((len(grid), 4), np.int64)
    sums = np.full((SUMS, len(grid), images), np.nan, np.float32)
    comparison: Comparison | None = None
    for k, config, outcome in outcomes(parts, grid, floors):
        if comparison is None:
            comparison, judged = Comparison.of(compared.values()), Audited.of(audited)
        point = Point(comparison, outcome, config, wrong_iou)
        if by_audits:
            sums[:, k] = judged.sums(point.auto)
        for m, name in enumerate(names):
            of_audits = by_audits and name == AUDITED
            values[m, k], per[m, k] = Sums(*sums[:, k]).rate if of_audits else METRICS[name].counts(point)
        of = np.bincount(outcome, minlength=4)
        counts[k] = of[:3].sum(), of[Outcome.auto_accepted], of[Outcome.flagged], of[Outcome.discarded]
        told()
    kept = sums if by_audits else None
    return Counted(grid.base.to_dict(), tuple(grid.changes()), tuple(compared), counts, tuple(names), values, per, kept)


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


class Side(NamedTuple):
    """Points of one experiment that are compared with points of another; settings: by which it was counted."""

    name: str
    counted: Counted
    rows: Sequence[int]
    settings: Mapping[str, Any]


def compare(a: Side, b: Side, names: Sequence[str] | None, seed: int) -> pd.DataFrame:
    """Return paired differences a − b of figures, point by point, over the images that both have.

    Parameters
    ----------
    a, b : as many points each, or one on one side, which is compared with all of the other
    names : figures; None for those that both have

    Returns
    -------
    a row for each figure and pair of points: both values, their difference with its interval, and how many images

    Raises
    ------
    ValueError : for other numbers of points, no image in common, or a figure that one side lacks or counts otherwise
    """
    import pandas as pd

    pairs = _paired(a, b)
    points = list(zip(*pairs, strict=True))
    shared = [m for m in a.counted.metrics if m in b.counted.metrics]
    for name in known_metrics(names) if names is not None else []:
        if name not in shared:
            raise ValueError(f"compare: both experiments have {', '.join(shared)}, asked for {name}")
    in_b = set(b.counted.image_ids)
    images = [i for i in a.counted.image_ids if i in in_b]
    if not images:
        raise ValueError(f"compare: {a.name!r} and {b.name!r} have no image in common; sweep over the same images")
    asked = shared if names is None else known_metrics(names)
    by_audits = [side.counted.audits is not None for side in (a, b)]
    if AUDITED in asked and by_audits[0] != by_audits[1]:
        raise ValueError(
            f"compare: {AUDITED} is counted by audits in {(a if by_audits[0] else b).name!r} and by truth in"
            f" {(b if by_audits[0] else a).name!r}; sweep both by the same labels, or name other figures (metrics=)"
        )
    _expect_alike(a, b, asked)
    rows = []
    for name in asked:
        of_a, of_b = (_of(side, name, some, images) for side, some in zip((a, b), points, strict=True))
        rng, of_events = np.random.default_rng(seed), METRICS[name].of_events
        if name == AUDITED and all(by_audits):
            found = difference(_sums(a, points[0], images), _sums(b, points[1], images), rng)
        else:
            found = difference_many(of_a, of_b, rng, of_events=of_events)
        known = ~np.isnan([*of_a, *of_b]).any(axis=(0, 1))
        rates = [_rates(values[:, known], per[:, known]) for values, per in (of_a, of_b)]
        for k, (row_a, row_b) in enumerate(pairs):
            values = rates[0][k], rates[1][k], found.value[k], found.low[k], found.high[k], found.n[k]
            rows.append((a.name, row_a, b.name, row_b, name, *values))
    return pd.DataFrame(rows, columns=_COMPARED)


def _expect_alike(a: Side, b: Side, names: Sequence[str]) -> None:
    """Raise ValueError for figures that the two experiments count by other labels, or by another IoU of a right mask."""
    for what, concerned in (
        ("labels", [name for name in names if "truth" in METRICS[name].needs]),
        ("wrong_iou", [name for name in names if name in BY_WRONG_IOU]),
    ):
        of_a, of_b = (side.settings.get(what) for side in (a, b))
        if concerned and of_a != of_b:
            raise ValueError(
                f"compare: {', '.join(concerned)}: counted with {what}={of_a!r} in {a.name!r} and {what}={of_b!r} in"
                f" {b.name!r}; sweep both alike, or name other figures (metrics=)"
            )


def _paired(a: Side, b: Side) -> list[tuple[int, int]]:
    n = max(len(a.rows), len(b.rows))
    if min(len(a.rows), len(b.rows)) not in (1, n):
        raise ValueError(
            f"compare: expected as many points of {a.name!r} as of {b.name!r}, or one of either, got {len(a.rows)} and"
            f" {len(b.rows)}; name points as ({a.name!r}, row)"
        )
    rows = [list(side.rows) * (n if len(side.rows) == 1 else 1) for side in (a, b)]
    for side, some in zip((a, b), rows, strict=True):
        for row in some:
            side.counted.config(row)  # says when there is no such row
    return list(zip(*rows, strict=True))


def _of(
    side: Side, name: str, rows: Sequence[int], images: Sequence[str]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    counted = side.counted
    m, columns = counted.metrics.index(name), _places(side, images)
    values, per = (part[m][np.ix_(list(rows), columns)].astype(np.float64) for part in (counted.values, counted.per))
    return values, per


def _sums(side: Side, rows: Sequence[int], images: Sequence[str]) -> NDArray[np.float64]:
    assert side.counted.audits is not None
    return side.counted.audits[:, list(rows)][:, :, _places(side, images)].astype(np.float64)


def _places(side: Side, images: Sequence[str]) -> list[int]:
    place: Mapping[str, int] = {image: k for k, image in enumerate(side.counted.image_ids)}
    return [place[image] for image in images]


def _rates(values: NDArray[np.float64], per: NDArray[np.float64]) -> NDArray[np.float64]:
    with np.errstate(invalid="ignore", divide="ignore"):
        rates: NDArray[np.float64] = values.sum(axis=1) / per.sum(axis=1)
    return rates
