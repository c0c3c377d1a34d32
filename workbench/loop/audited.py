"""False positives from audits: masks drawn at random stand for those that were not, each by its probability.

Among the auto-accepted masks of a point, those that a person looked at one by one before the audit was drawn are all
known (probability 1); of the others a sample was drawn and judged. Verdicts given in bulk count as neither.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.tables.intervals import FEW_EVENTS, Intervals, bootstrap_many, difference_many, exact_binomial

FEWEST = 20  # audited masks; below it a sweep gives no rate

Numbers = NDArray[np.float64]
Flags = NDArray[np.bool_]


class AuditedImage(NamedTuple):
    """What people know of the masks of an image of an audit, by mask id.

    seen : whether wrong, of all that were looked at one by one before the audit was drawn
    answered : whether wrong, of those that were drawn and judged, without the seen ones
    probability : of each answered mask, with which it was drawn and answered
    drawable : all that could be drawn, without the seen ones
    """

    seen: Mapping[str, bool]
    answered: Mapping[str, bool]
    probability: Mapping[str, float]
    drawable: frozenset[str]


class Sums(NamedTuple):
    """Sums over auto-accepted masks, of each image or of all: counts, and of answered masks also of their weights.

    The weight of a mask is 1 ÷ the probability with which it was drawn and answered.
    """

    seen_wrong: Numbers
    seen: Numbers
    weight_wrong: Numbers
    weight: Numbers
    weight_squared: Numbers
    wrong: Numbers
    answered: Numbers
    drawable: Numbers
    auto: Numbers

    @property
    def rate(self) -> tuple[Numbers, Numbers]:
        """Numerator and denominator of the rate: wrong masks, and all masks, that these stand for."""
        return self.seen_wrong + self.weight_wrong, self.seen + self.weight


SUMS = len(Sums._fields)


@dataclasses.dataclass(frozen=True, eq=False)
class Audited:
    """Audits beside N rows of M images.

    image_of_row : (N,); known : (M,) images that an audit was drawn from
    seen, drawable, wrong : (N,) bool; weight : (N,) of answered rows, 0 of others
    """

    image_of_row: NDArray[np.int64]
    known: Flags
    seen: Flags
    drawable: Flags
    wrong: Flags
    weight: Numbers

    @classmethod
    def of(cls, images: Sequence[tuple[AuditedImage | None, Sequence[str]]]) -> Audited:
        """Put images together: of each what is known of it (None: no audit), and the mask ids of its rows."""
        nothing = AuditedImage({}, {}, {}, frozenset())
        rows = [(image or nothing, mask) for image, own in images for mask in own]
        return cls(
            np.repeat(np.arange(len(images)), [len(own) for _, own in images]).astype(np.int64),
            np.array([image is not None for image, _ in images], bool),
            np.array([mask in image.seen for image, mask in rows], bool),
            np.array([mask in image.drawable for image, mask in rows], bool),
            np.array([image.seen.get(mask, image.answered.get(mask, False)) for image, mask in rows], bool),
            np.array(
                [1 / image.probability[mask] if mask in image.answered else 0 for image, mask in rows], np.float64
            ),
        )

    def sums(self, auto: Flags) -> Numbers:
        """Return the fields of `Sums` of each image for a choice of rows, (SUMS, M); NaN where there is no audit."""
        answered, weight = self.weight > 0, self.weight
        columns: list[ArrayLike] = [
            self.seen & self.wrong,
            self.seen,
            weight * self.wrong,
            weight,
            weight**2,
            answered & self.wrong,
            answered,
            self.drawable,
            np.ones(len(weight)),
        ]
        images = len(self.known)
        found = [
            np.bincount(self.image_of_row, weights=np.asarray(c, np.float64) * auto, minlength=images) for c in columns
        ]
        return np.where(self.known, np.array(found), np.nan)


def fp_rate(sums: NDArray[Any], rng: np.random.Generator) -> Intervals:
    """Return the wrong share among auto-accepted masks at P points, estimated from audits; n counts audited masks.

    The estimate is Σ wrong ÷ probability over Σ 1 ÷ probability (Hájek), seen masks with probability 1. Its interval comes
    from drawing the images anew; with fewer than 5 wrong (or right) audited masks it is the exact binomial one of the
    audited masks, at their effective number where probabilities differ, with the seen masks added as they are. Masks
    that had no chance to be judged widen it: at the low end all of them are right, at the high end all wrong. Unknown
    where masks could have been drawn and none was judged.

    Parameters
    ----------
    sums : (SUMS, P, M) as `Audited.sums` gives for each point

    Source: Särndal, Swensson and Wretman 1992, Model Assisted Survey Sampling, equation 5.7.5; Korn and Graubard 1998,
    Confidence intervals for proportions with small expected number of positive counts estimated from survey data.
    """
    images = Sums(*_known(sums))
    of_all = Sums(*(part.sum(axis=1) for part in images))
    found = bootstrap_many(*images.rate, rng, of_events=False)
    value, low, high = found.value.copy(), found.low.copy(), found.high.copy()
    exact = _few(of_all.wrong, of_all.answered)
    ends = _exact_ends(of_all)
    all_seen = (of_all.drawable == 0) & _few(of_all.seen_wrong, of_all.seen)
    of_seen = exact_binomial(of_all.seen_wrong, of_all.seen)
    for end, of_sample, of_census in zip((low, high), ends, of_seen, strict=True):
        end[exact], end[all_seen] = of_sample[exact], of_census[all_seen]
    covered = _covered(of_all)
    low, high = low * covered, high * covered + (1 - covered)
    unknown = (of_all.answered == 0) & (of_all.drawable > 0)
    for column in (value, low, high):
        column[unknown] = np.nan
    return Intervals(value, low, high, np.rint(of_all.answered).astype(np.int64), exact | all_seen)


def coverage(sums: NDArray[Any], rng: np.random.Generator) -> Intervals:
    """Return the share of auto-accepted masks that were seen or could be drawn, of the images of audits."""
    images = Sums(*_known(sums))
    return bootstrap_many(images.seen + images.drawable, images.auto, rng)


def difference(a: NDArray[Any], b: NDArray[Any], rng: np.random.Generator) -> Intervals:
    """Return the paired difference a − b of `fp_rate` at P pairs of points over the same images; n counts images.

    Where either side has few events or masks without a chance, the interval is made of the two intervals: from the
    square root of the squared distances of their ends (Newcombe 1998), which takes them as independent.
    """
    both = ~np.isnan(a[0]).any(axis=0) & ~np.isnan(b[0]).any(axis=0)
    sides = [np.where(both, part, np.nan) for part in (a, b)]
    of_images = [Sums(*_known(part)) for part in sides]
    found = difference_many(of_images[0].rate, of_images[1].rate, rng, of_events=False)
    one, other = (fp_rate(part, rng) for part in sides)
    whole = [_covered(Sums(*(part.sum(axis=1) for part in s))) == 1 for s in of_images]
    apart = one.exact | other.exact | ~whole[0] | ~whole[1]
    value = one.value - other.value
    down = np.hypot(one.value - one.low, other.high - other.value)
    up = np.hypot(one.high - one.value, other.value - other.low)
    low, high = np.where(apart, value - down, found.low), np.where(apart, value + up, found.high)
    unknown = np.isnan(value)
    low[unknown], high[unknown] = np.nan, np.nan
    return Intervals(value, np.maximum(low, -1), np.minimum(high, 1), found.n, apart)


def _known(sums: NDArray[Any]) -> Numbers:
    """Leave out the images that no audit was drawn from."""
    columns = np.asarray(sums, np.float64)
    return columns[:, :, ~np.isnan(columns[0]).any(axis=0)]


def _few(events: Numbers, n: Numbers) -> Flags:
    return np.asarray((np.minimum(events, n - events) < FEW_EVENTS) & (n > 0))


def _exact_ends(s: Sums) -> tuple[Numbers, Numbers]:
    """The ends of the exact interval of what the audited masks stand for, with the seen masks as they are."""
    with np.errstate(divide="ignore", invalid="ignore"):
        effective = s.weight**2 / s.weight_squared
        events = effective * s.weight_wrong / s.weight
        ends = exact_binomial(events, effective)
        low, high = ((s.seen_wrong + s.weight * end) / s.rate[1] for end in ends)
    return low, high


def _covered(s: Sums) -> Numbers:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray((s.seen + s.drawable) / s.auto)
