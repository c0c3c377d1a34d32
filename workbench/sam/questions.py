"""The questions of the prompt stage: which prompts a scene is asked, and what each of them means.

Points are drawn half on objects and half anywhere (as a point grid falls). A point on a part inside a whole asks for
both, and so does one a little beside the part; a point a little beside an object asks for that. Where there is nothing
within reach, only the predicted IoU is taught.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from torch import Tensor

from workbench.sam.scenes import Scene, family_table

REACH_PX = 6
"""How far beside an object a single point may lie that asks for it; pixels of the model's 512 px frame."""


@dataclass(frozen=True)
class Questions:
    """P prompts of one scene, all with the same number of tokens, and what they ask for.

    points_xy : (P, K, 2) float32, pixels of the scene, P may be 0; labels : (P, K) float32, 1 inside, 0 outside, -1 none
    boxes_xyxy : (Q, 4) float32 or None; answers of boxes come after those of points
    targets : (P + Q, 2) int, object asked for and, of a single point, a second that it may mean, the whole of the first; 0
        for none
    pointed : (P + Q,) bool, one single point: ambiguous
    box_points_xy, box_labels : (Q, L, 2), (Q, L), points that go with a box, those that correct its answer last; or None
    earlier : (P + Q, 1, H, W) logits of the answer that is corrected; or None
    """

    points_xy: np.ndarray
    labels: np.ndarray
    boxes_xyxy: np.ndarray | None
    targets: np.ndarray
    pointed: np.ndarray
    box_points_xy: np.ndarray | None = None
    box_labels: np.ndarray | None = None
    earlier: Tensor | None = None


def draw_questions(scene: Scene, count: int, rng: np.random.Generator, points: int = 1) -> Questions:
    """Return `count` prompts for a scene: single points and, one in five, boxes; or so many `points` each.

    The shapes depend on `count` and `points` alone, so that scenes can be asked together; where a scene has no object,
    all its prompts ask for nothing.
    """
    size = scene.owner.shape[0]
    if points > 1:
        return several_points(scene, count, points, rng)
    boxes = count // 5
    single = count - boxes
    xy = rng.integers(0, size, (single, 2))
    on_objects = any_objects(scene, single // 2, rng)
    xy[: single // 2] = pixels_of(scene.owner.ravel(), size, on_objects, rng)
    asked = object_at(scene, xy)
    boxed = any_objects(scene, boxes, rng)
    return Questions(
        xy[:, None].astype(np.float32),
        np.ones((single, 1), np.float32),
        boxes_of(scene, boxed, rng),
        np.concatenate([np.stack([asked, scene.parents[asked]], axis=1), np.stack([boxed, 0 * boxed], axis=1)]),
        np.arange(count) < single,
    )


def any_objects(scene: Scene, count: int, rng: np.random.Generator) -> np.ndarray:
    """Return the numbers of `count` objects of the scene, drawn with replacement; 0, the background, where it has none."""
    return rng.integers(1, len(scene) + 1, count) if len(scene) else np.zeros(count, np.int64)


def object_at(scene: Scene, points_xy: np.ndarray, reach_px: int = REACH_PX) -> np.ndarray:
    """Return (K,) int64 the object that each point asks for; 0 for none.

    It is the innermost one the point lies on; or, where one of its parts is within reach, that part; or, where it lies on
    nothing, any object within reach. Of several the nearest.

    Parameters
    ----------
    points_xy : (K, 2) int, pixels of the scene
    """
    size = scene.owner.shape[0]
    steps = np.argwhere(np.ones((2 * reach_px + 1, 2 * reach_px + 1))) - reach_px
    away = np.hypot(*steps.T)
    steps = steps[np.argsort(away, kind="stable")][: (away <= reach_px).sum()]  # none first: the point itself
    rows, columns = (np.clip(points_xy[:, i, None] + steps[:, k], 0, size - 1) for i, k in ((1, 0), (0, 1)))
    there = scene.owner[rows, columns].astype(np.int64)
    own = there[:, :1]
    family = family_table(scene.parents)
    family[0] = True
    nearest = (family[own, there] & (there != own) & (there > 0)).argmax(axis=1)
    found: np.ndarray = there[np.arange(len(there)), nearest]
    return found


def pixels_of(flat: np.ndarray, width: int, objects: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return (N, 2) a random pixel x, y of each object, as numbered in the flat owner map; any pixel if it has none."""
    order = np.argsort(flat, kind="stable")
    ends = np.cumsum(np.bincount(flat, minlength=int(objects.max(initial=0)) + 1))
    starts = np.concatenate([[0], ends[:-1]])
    low, high = starts[objects], ends[objects]
    at = order[np.minimum((low + rng.random(len(objects)) * np.maximum(high - low, 1)).astype(np.int64), len(flat) - 1)]
    return np.stack([at % width, at // width], axis=1)


def boxes_of(scene: Scene, objects: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return (N, 4) float32 boxes round the visible pixels of objects and their parts, each side off by a little."""
    size = scene.owner.shape[0]
    extents = np.tile(np.array([size, size, 0, 0], np.float32), (len(scene) + 1, 1))
    for number, found in enumerate(ndimage.find_objects(scene.owner, len(scene)), start=1):
        if found is not None:
            rows, columns = found
            extents[number] = columns.start, rows.start, columns.stop, rows.stop
    for k in range(len(scene), 0, -1):  # parts come before their wholes
        above = scene.parents[k]
        if above:
            extents[above, :2] = np.minimum(extents[above, :2], extents[k, :2])
            extents[above, 2:] = np.maximum(extents[above, 2:], extents[k, 2:])
    extents[0] = 0, 0, size, size
    boxes = extents[objects]
    side = np.tile(boxes[:, 2:] - boxes[:, :2], 2)
    off = np.clip(rng.normal(0, 0.06, boxes.shape) * side, -16, 16)
    shifted: np.ndarray = np.clip(boxes + off, 0, size).astype(np.float32)
    return shifted


def several_points(scene: Scene, count: int, number: int, rng: np.random.Generator) -> Questions:
    """Return prompts of so many points each: the first on the object, the others on it or near it outside."""
    size, n = scene.owner.shape[0], len(scene)
    family = family_table(scene.parents)
    flat = scene.owner.ravel()
    objects = any_objects(scene, count, rng)
    points = np.stack([pixels_of(flat, size, objects, rng) for _ in range(number)], axis=1)
    reach = np.sqrt(np.bincount(flat, minlength=n + 1)[objects])[:, None] * 0.8 + 4
    near = points[:, 1:] + rng.normal(0, 1, (count, number - 1, 2)) * reach[..., None]
    strays = rng.random((count, number - 1)) < 0.6
    points[:, 1:][strays] = np.clip(near, 0, size - 1).astype(np.int64)[strays]
    labels = family[objects[:, None], scene.owner[points[..., 1], points[..., 0]]]
    labels[:, 0] = True
    targets = np.stack([objects, 0 * objects], axis=1)
    return Questions(points.astype(np.float32), labels.astype(np.float32), None, targets, np.zeros(count, bool))
