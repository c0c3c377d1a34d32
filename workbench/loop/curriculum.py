"""Curriculum (C4): how difficult the masks are that each cycle added, and images ordered from easy to hard."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.calibrate.intervals import draw_images, percentiles
from workbench.images import ImageError
from workbench.loop.diversity import occlusion
from workbench.masks import shape
from workbench.plain import plain
from workbench.plotted import Plotted
from workbench.proposing import ChangedError
from workbench.tables.proposals import Proposals

if TYPE_CHECKING:
    from workbench.reviewing import Reviewing

Floats = NDArray[np.float64]
# what makes a mask difficult: True where a high value does
PARTS: Mapping[str, bool] = {"area_share": False, "contrast": False, "occlusion": True, "score": False}


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Curriculum(Plotted):
    """Difficulty of the masks that each cycle added.

    cycles : (C,); counts : (C,) masks; difficulty, low, high : (C,) mean in [0, 1] and its 95 % interval over images
    parts : mean of each part by cycle, in its own unit
    what : which masks; notes : what to know when reading the figures
    """

    cycles: NDArray[np.int64]
    counts: NDArray[np.int64]
    difficulty: Floats
    low: Floats
    high: Floats
    parts: Mapping[str, Floats]
    what: str = "final masks"
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values for JSON; what is not known is None."""
        columns = {name: getattr(self, name) for name in ("cycles", "counts", "difficulty", "low", "high")}
        return plain({**columns, **self.parts, "what": self.what, "notes": self.notes})

    def lines(self) -> list[str]:
        """Return a line of words for each cycle, and the notes."""
        found = []
        for k, cycle in enumerate(self.cycles):
            ends = f" [{self.low[k]:.2f}, {self.high[k]:.2f}]" if self.low[k] == self.low[k] else ""
            parts = ", ".join(f"{n.replace('_', ' ')} {v[k]:.3g}" for n, v in self.parts.items() if v[k] == v[k])
            found.append(f"cycle {cycle}: {self.counts[k]:,} masks, difficulty {self.difficulty[k]:.2f}{ends}; {parts}")
        return [*found, *self.notes]

    def __repr__(self) -> str:
        return "\n".join([f"Difficulty of the {self.what} that each cycle added", *self.lines()])


def difficulty(**parts: ArrayLike) -> Floats:
    """Return how difficult each mask is, (N,) in [0, 1]: the mean of its ranks among all masks.

    Parameters
    ----------
    **parts : some of area_share, contrast, occlusion and score, (N,) each; small, pale, touched and doubtful masks are
        difficult. A value that is missing is left out; NaN where all are

    Raises
    ------
    ValueError : for another part, or columns of different lengths
    """
    from scipy.stats import rankdata

    unknown = set(parts) - set(PARTS)
    if unknown or not parts:
        raise ValueError(f"difficulty: expected some of {', '.join(PARTS)}, got {sorted(unknown) or 'none'}")
    columns = [np.asarray(values, np.float64) for values in parts.values()]
    if len({column.shape for column in columns}) > 1:
        raise ValueError(f"difficulty: expected columns of one length, got {[c.shape for c in columns]}")
    ranks = np.full((len(columns), len(columns[0])), np.nan)
    for k, (name, column) in enumerate(zip(parts, columns, strict=True)):
        known = ~np.isnan(column)
        place = (rankdata(column[known]) - 0.5) / max(int(known.sum()), 1)
        ranks[k, known] = place if PARTS[name] else 1 - place
    known = ~np.isnan(ranks)
    return np.where(known.any(axis=0), np.where(known, ranks, 0).sum(axis=0) / np.maximum(known.sum(axis=0), 1), np.nan)


def curriculum(
    cycle: ArrayLike,
    image: ArrayLike,
    rng: np.random.Generator,
    draws: int = 1000,
    only: ArrayLike | None = None,
    **parts: ArrayLike,
) -> Curriculum:
    """Return the difficulty of what each cycle added.

    Parameters
    ----------
    cycle, image : (N,) of each mask; **parts : as `difficulty` takes them, ranked among the masks of all cycles
    only : (N,) bool, the masks that are told of; all are ranked
    """
    of, groups, hard = np.asarray(cycle, np.int64), np.asarray(image), difficulty(**parts)
    told = np.ones(len(of), bool) if only is None else np.asarray(only, bool)
    of, groups, hard = of[told], groups[told], hard[told]
    parts = {name: np.asarray(values, np.float64)[told] for name, values in parts.items()}
    cycles, counts = np.unique(of, return_counts=True)
    ends = [_interval(hard[of == c], groups[of == c], rng, draws) for c in cycles]
    means = {k: np.array([_mean(np.asarray(v, np.float64)[of == c]) for c in cycles]) for k, v in parts.items()}
    middle = np.array([_mean(hard[of == c]) for c in cycles])
    low, high = (np.array([end[k] for end in ends], np.float64) for k in (0, 1))
    return Curriculum(cycles, counts, middle, low, high, means)


def _mean(values: Floats) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")


def _interval(values: Floats, image: NDArray[Any], rng: np.random.Generator, draws: int) -> tuple[float, float]:
    known = ~np.isnan(values)
    codes = np.unique(image[known], return_inverse=True)[1].reshape(-1)
    images = int(codes.max(initial=-1)) + 1
    if images < 2:
        return float("nan"), float("nan")
    sums, counts = np.bincount(codes, values[known]), np.bincount(codes)
    picks = draw_images(images, draws, rng)
    return percentiles((picks @ sums) / (picks @ counts))


def easy_first(hard: ArrayLike, image: ArrayLike, images: Sequence[str]) -> list[str]:
    """Return images from easy to hard by the mean difficulty of their masks; those without masks come last.

    Parameters
    ----------
    hard : (N,) difficulty; image : (N,) id of each mask's image; images : all ids, equals stay in this order
    """
    values, groups = np.asarray(hard, np.float64), np.asarray(image).astype(str)
    names, codes, counts = np.unique(groups, return_inverse=True, return_counts=True)
    parts = np.split(values[np.argsort(codes.reshape(-1), kind="stable")], np.cumsum(counts))  # the last one is empty
    mean = dict.fromkeys(images, float("nan"))
    mean |= {name: _mean(part) for name, part in zip(names.tolist(), parts, strict=False)}
    return sorted(images, key=lambda name: (np.isnan(mean[name]), np.nan_to_num(mean[name])))


# ---- of a project -------------------------------------------------------------------------------------------------


def of_project(project: Reviewing, batches: Mapping[int, Sequence[str]], drawn: bool = False) -> Curriculum:
    """Return the difficulty of the final masks that each cycle's images gave; see `Looping.curriculum`.

    Parameters
    ----------
    batches : ids of images by cycle; drawn : only what people drew or edited
    """
    complete = set(project.reviewed_images("complete"))
    number = {image: cycle for cycle, images in batches.items() for image in images if image in complete}
    masks = project.final_masks(list(number)) if number else Proposals.empty()
    contrast, unread = _contrast(project, masks)
    notes = []
    if not batches:
        notes.append("No cycles were run: project.run_cycles(5, ...), or workbench cycle.")
    elif not len(masks):
        notes.append("No image of a cycle is complete yet: review those that wait.")
    if unread:
        told = f"{unread:,} image{'s' * (unread != 1)} cannot be read now"
        notes.append(f"{told}: contrast of what was drawn there is left out.")
    found = curriculum(
        [number[image] for image in masks.image_id.tolist()],
        masks.image_id,
        np.random.default_rng([abs(project.seed), 4]),
        only=masks.source != "automatic" if drawn else None,
        area_share=masks.area_px / np.maximum(masks.sizes_hw.astype(np.float64).prod(axis=1), 1),
        contrast=contrast,
        occlusion=occlusion(masks),
        score=masks.predicted_iou,
    )
    return dataclasses.replace(found, what="masks drawn or edited" if drawn else "final masks", notes=tuple(notes))


def _contrast(project: Reviewing, masks: Proposals) -> tuple[Floats, int]:
    """Return the contrast of each mask, measured on its image where it is not stored, and how many cannot be read."""
    found, unread = masks.contrast.astype(np.float64), 0
    for image, rows in masks.by_image():
        missing = rows[np.isnan(found[rows])]
        if not len(missing):
            continue
        try:
            pixels = project.image(image)
        except (ImageError, ChangedError):
            unread += 1
            continue
        height, width = pixels.shape[:2]
        found[missing] = shape.describe(masks.rles[missing].tolist(), (height, width), pixels)["contrast"]
    return found, unread
