"""Points of experiments compared on the same images: paired differences of figures that both count alike."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from workbench.config import ProposeConfig
from workbench.loop.audited import difference, fp_rate
from workbench.loop.experiments import AUDITED
from workbench.loop.metrics import METRICS, known_metrics
from workbench.tables.experiments import Counted
from workbench.tables.intervals import difference_many
from workbench.triage.limits import population

if TYPE_CHECKING:
    import pandas as pd

LOG = logging.getLogger(__name__)
BY_WRONG_IOU = ("automatic_share", "fp_rate", "duplicate_rate")  # figures that `wrong_iou` changes
BY_QUARTILE = ("recall_proposals_small", "recall_auto_small")  # figures of what is small among what was swept over
OF_DISTINCT = ("auto_accept_rate",)  # figures whose denominator is the distinct proposals
_COMPARED = ["a", "row_a", "b", "row_b", "metric", "value_a", "value_b", "difference", "low", "high", "images"]


class Side(NamedTuple):
    """Points of one experiment that are compared with points of another.

    settings : by which it was counted; floors : how the proposals were made
    """

    name: str
    counted: Counted
    rows: Sequence[int]
    settings: Mapping[str, Any]
    floors: ProposeConfig


def compare(a: Side, b: Side, names: Sequence[str] | None, seed: int) -> pd.DataFrame:
    """Return paired differences a − b of figures, point by point, over the images that both have.

    Parameters
    ----------
    a, b : as many points each, or one on one side, which is compared with all of the other
    names : figures; None for those that both have and count alike; of the others the log says why

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
    asked = _alike(a, b, shared, images) if names is None else known_metrics(names)
    _expect_alike(a, b, asked, images)
    by_audits = a.counted.audits is not None and b.counted.audits is not None
    rows = []
    for name in asked:
        of_a, of_b = (_of(side, name, some, images) for side, some in zip((a, b), points, strict=True))
        rng, of_events = np.random.default_rng(seed), METRICS[name].of_events
        known = ~np.isnan([*of_a, *of_b]).any(axis=(0, 1))
        if name == AUDITED and by_audits:
            sums = _sums(a, points[0], images), _sums(b, points[1], images)
            found = difference(*sums, rng)
            rates = [fp_rate(part[:, :, known], np.random.default_rng(seed)).value for part in sums]
        else:
            found = difference_many(of_a, of_b, rng, of_events=of_events)
            rates = [_rates(values[:, known], per[:, known]) for values, per in (of_a, of_b)]
        for k, (row_a, row_b) in enumerate(pairs):
            values = rates[0][k], rates[1][k], found.value[k], found.low[k], found.high[k], found.n[k]
            rows.append((a.name, row_a, b.name, row_b, name, *values))
    return pd.DataFrame(rows, columns=_COMPARED)


def _alike(a: Side, b: Side, names: Sequence[str], images: Sequence[str]) -> list[str]:
    """Return the figures that two experiments count alike, and log why each other one is left out."""
    why = {name: _unlike(a, b, name, images) for name in names}
    for reason in dict.fromkeys(filter(None, why.values())):
        LOG.warning("compare: left out %s: %s", ", ".join(name for name in names if why[name] == reason), reason)
    return [name for name in names if not why[name]]


def _expect_alike(a: Side, b: Side, names: Sequence[str], images: Sequence[str]) -> None:
    """Raise ValueError for figures that two experiments count otherwise, one of the other."""
    for name in names:
        if reason := _unlike(a, b, name, images):
            raise ValueError(f"compare: {name}: {reason}; sweep both alike, or name other figures (metrics=)")


def _unlike(a: Side, b: Side, name: str, images: Sequence[str]) -> str:
    """Return how two experiments count a figure otherwise, "" where they count it alike."""
    sides = (a, b)
    audited = name == AUDITED and any(side.counted.audits is not None for side in sides)
    of_truth = "truth" in METRICS[name].needs
    labels = [side.settings.get("labels") for side in sides]
    if not audited:  # but for what audits say of accepted masks, both count final masks
        labels = ["review" if some == "audits" else some for some in labels]
    if of_truth and labels[0] != labels[1]:
        return _told("counted with labels={!r}", labels, sides)
    ious = [side.settings.get("wrong_iou") for side in sides]
    if name in BY_WRONG_IOU and ious[0] != ious[1]:
        return _told("counted with wrong_iou={!r}", ious, sides)
    small = [side.counted.small_px for side in sides]
    if name in BY_QUARTILE and None not in small and small[0] != small[1]:
        return _told("small is up to {:g} px, the lowest quartile of what was swept over,", small, sides)
    if name in OF_DISTINCT and (other := _populations(sides)):
        return other
    if not audited and METRICS[name].needs == "proposals":
        return ""
    return _changed(a, b, "audits" if audited else "truth" if of_truth else "verdicts", images)


def _populations(sides: Sequence[Side]) -> str:
    """Return in what the distinct proposals of points that are compared differ, "" for nothing."""
    found = [(side, population(side.floors, side.counted.config(row))) for side in sides for row in side.rows]
    (first, one) = found[0]
    for side, other in found:
        for name, value in one.items():
            if other[name] != value:
                values = (value, other[name])
                return _told(f"counted among distinct proposals of {name}={{!r}}", values, (first, side))
    return ""


def _changed(a: Side, b: Side, what: str, images: Sequence[str]) -> str:
    """Return how many images have other truth, verdicts or audits in one experiment than in the other, "" for none."""
    if not (a.counted.known and b.counted.known):  # of before they were kept
        return ""
    one, other = ([side.counted.known[what][k] for k in _places(side, images)] for side in (a, b))
    changed = sum(x != y for x, y in zip(one, other, strict=True) if x and y)
    if not changed:
        return ""
    return (
        f"{changed} of the {len(images)} images had other {'true masks' if what == 'truth' else what} when {a.name!r} was swept"
        f" than when {b.name!r} was: truth was imported, or people went on, in between"
    )


def _told(what: str, values: Sequence[Any], sides: Sequence[Side]) -> str:
    return " and ".join(f"{what.format(value)} in {side.name!r}" for value, side in zip(values, sides, strict=True))


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
