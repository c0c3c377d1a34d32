"""Which images a cycle takes next: at random, the most doubtful, the most diverse, or from easy to hard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from workbench.loop.curriculum import difficulty, easy_first
from workbench.loop.diversity import occlusion
from workbench.loop.plan import Strategy
from workbench.tables.proposals import Proposals

STRATEGIES: tuple[Strategy, ...] = get_args(Strategy)


def choose(
    strategy: str,
    images: Sequence[str],
    count: int,
    rng: np.random.Generator,
    proposed: Mapping[str, Proposals],
    threshold: float,
    before: Mapping[str, Proposals] | None = None,
) -> list[str]:
    """Return `count` of the images, all of them when there are fewer.

    Parameters
    ----------
    strategy : of `STRATEGIES`
    images : ids that can be taken; shuffled first, so that equals are drawn
    proposed : the distinct proposals of each, which "random" does not look at
    threshold : of predicted IoU, at which "uncertain" doubts most: the one in use
    before : the distinct proposals of images taken in cycles before, which "diverse" keeps away from

    Raises
    ------
    ValueError : for another strategy
    """
    if strategy not in STRATEGIES:
        raise ValueError(f"strategy: expected one of {', '.join(STRATEGIES)}, got {strategy!r}")
    shuffled = [images[int(i)] for i in rng.permutation(len(images))]
    if strategy == "uncertain":
        doubts = {image: _doubt(proposed[image], threshold) for image in shuffled}
        shuffled.sort(key=lambda image: -doubts[image])
    elif strategy == "diverse":
        shuffled = _spread(shuffled, count, proposed, before or {})
    elif strategy == "curriculum":
        rows = Proposals.concat([proposed[image] for image in shuffled])
        share = rows.area_px / np.maximum(rows.sizes_hw.astype(np.float64).prod(axis=1), 1)
        hard = difficulty(area_share=share, contrast=rows.contrast, occlusion=occlusion(rows), score=rows.predicted_iou)
        shuffled = easy_first(hard, rows.image_id, shuffled)
    return shuffled[:count]


def _doubt(rows: Proposals, threshold: float) -> float:
    """Return how many masks of an image are doubtful, weighed by how near their score is to the threshold."""
    score = rows.predicted_iou[np.isfinite(rows.predicted_iou)]
    return float(np.clip(1 - np.abs(score - threshold) / 0.3, 0, 1).sum())


def _spread(
    images: Sequence[str], count: int, proposed: Mapping[str, Proposals], before: Mapping[str, Proposals]
) -> list[str]:
    """Return the images so that each next one is the farthest from those taken before (k-centre, greedy).

    Source: Sener and Savarese 2018, Active learning for convolutional neural networks: a core-set approach.
    """
    if not images:
        return []
    x = np.stack([_described(rows) for rows in (*(proposed[image] for image in images), *before.values())])
    x = (x - x.mean(axis=0)) / np.maximum(x.std(axis=0), 1e-9)
    x, centres = x[: len(images)], x[len(images) :]
    order: list[int] = []
    near = np.full(len(images), np.inf)  # the first one, where nothing was taken
    for centre in centres:
        near = np.minimum(near, ((x - centre) ** 2).sum(axis=1))
    while len(order) < min(count, len(images)):
        order.append(int(near.argmax()))
        near = np.minimum(near, ((x - x[order[-1]]) ** 2).sum(axis=1))
        near[order] = -1
    return [images[i] for i in order]


def _described(rows: Proposals) -> NDArray[np.float64]:
    """Return what tells images apart: how many masks, how large, how sure, how they stand out."""
    columns = (np.log1p(rows.area_px), rows.predicted_iou, rows.contrast, rows.solidity)
    found = [np.log1p(len(rows))]
    for column in columns:
        known = np.asarray(column, np.float64)[np.isfinite(column)]
        found += [float(known.mean()), float(known.std())] if len(known) else [0.0, 0.0]
    return np.array(found)
