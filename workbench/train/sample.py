"""What a fine-tuning asks: views of annotated images, and prompts on objects, anywhere, and bad ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from segment_anything.modeling import Sam
from torch import Tensor
from torch.nn import functional as F

from workbench.masks import rle
from workbench.sam.correcting import FINE, boxes_round
from workbench.sam.questions import Questions
from workbench.train.settings import TrainConfig

LEAST_CELLS = 4  # a smaller rest of a mask, cut by the border of a view, is not asked for


@dataclass(frozen=True)
class TrainImage:
    """An annotated image to learn from.

    read : returns the picture, (H, W, 3) uint8 RGB; size_hw : its height and width
    rles : run lengths of all its true masks, none included; what they leave out counts as background
    """

    image_id: str
    read: Callable[[], NDArray[np.uint8]]
    size_hw: tuple[int, int]
    rles: list[bytes]


@dataclass(frozen=True)
class View:
    """Part of an image as the model sees it.

    pixels : (h, w, 3) uint8, at the scale of the frame it was drawn for; side_px : of the square it is padded to
    masks : (N, side_px / 2, side_px / 2) bool, the true masks that it shows
    """

    pixels: NDArray[np.uint8]
    side_px: int
    masks: NDArray[np.bool_]


def draw_view(
    image: TrainImage, frame_px: int, side_px: int, rng: np.random.Generator | None, zoom: float = 0.0
) -> View:
    """Return a view of an image: the whole frame when `side_px` is the frame's, else a window of it.

    Parameters
    ----------
    frame_px : to which the longer side of an image is scaled: the side of the model's input, or more to show it closer
    rng : draws window, scale, turn and contrast; None for the middle of the image as it is
    zoom : standard deviation of the log of the scale
    """
    h, w = image.size_hw
    scale = frame_px / max(h, w)
    if rng is not None and zoom:
        scale *= float(np.exp(np.clip(rng.normal(0, zoom), -2 * zoom, 2 * zoom)))
    whole_h, whole_w = (max(1, int(extent * scale + 0.5)) for extent in (h, w))  # as ResizeLongestSide rounds
    out_h, out_w = min(side_px, whole_h), min(side_px, whole_w)
    span_y, span_x = h * out_h / whole_h, w * out_w / whole_w
    at = rng.random(2) if rng is not None else np.array([0.5, 0.5])
    y0, x0 = (h - span_y) * at[0], (w - span_x) * at[1]
    picture = Image.fromarray(image.read())
    pixels = np.asarray(
        picture.resize((out_w, out_h), Image.Resampling.BILINEAR, box=(x0, y0, x0 + span_x, y0 + span_y))
    )
    rows = np.minimum(y0 + (np.arange(0, out_h, FINE) + FINE / 2) * span_y / out_h, h - 1).astype(np.int64)
    columns = np.minimum(x0 + (np.arange(0, out_w, FINE) + FINE / 2) * span_x / out_w, w - 1).astype(np.int64)
    masks = rle.decode(image.rles, image.size_hw)[:, rows[:, None], columns]
    if rng is not None:
        pixels, masks = _turned(pixels, masks, rng)
    side = side_px // FINE
    padded = np.zeros((len(masks), side, side), bool)
    padded[:, : masks.shape[1], : masks.shape[2]] = masks
    return View(pixels, side_px, padded[padded.sum(axis=(1, 2)) >= LEAST_CELLS])


def _turned(
    pixels: NDArray[np.uint8], masks: NDArray[np.bool_], rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Turn and mirror a view and change its contrast; true masks follow."""
    turns = int(rng.integers(4))
    pixels, masks = np.rot90(pixels, turns), np.rot90(masks, turns, axes=(1, 2))
    if rng.random() < 0.5:
        pixels, masks = pixels[:, ::-1], masks[:, :, ::-1]
    if rng.random() < 0.4:
        curve = np.linspace(0, 1, 256) ** float(np.exp(rng.normal(0, 0.2))) * 255 * float(np.exp(rng.normal(0, 0.1)))
        pixels = np.clip(curve, 0, 255).astype(np.uint8)[pixels]
    return np.ascontiguousarray(pixels), masks


def to_input(sam: Sam, views: list[View]) -> Tensor:
    """Return (B, 3, side, side) float, normalised and padded as `Sam.preprocess` does."""
    padded = []
    for view in views:
        pixels = view.pixels[..., ::-1].copy() if sam.image_format == "BGR" else view.pixels.copy()
        x = torch.from_numpy(pixels).permute(2, 0, 1).to(sam.pixel_mean.device).float()
        x = (x - sam.pixel_mean) / sam.pixel_std
        padded.append(F.pad(x, (0, view.side_px - x.shape[2], 0, view.side_px - x.shape[1])))
    return torch.stack(padded)


def draw_prompts(view: View, count: int, config: TrainConfig, rng: np.random.Generator) -> Questions:
    """Return prompts of a view: points on objects and anywhere, boxes round objects, and boxes round nothing.

    A point within `config.reach_px` of an object asks for it; boxes anywhere ask for nothing, whatever they surround.
    Every batch has points anywhere and bad boxes, since a predicted IoU that only ever saw good prompts keeps nothing,
    or everything (segment-anything issue 628). A view without a mask is asked for these alone.
    """
    n = len(view.masks)
    bad = max(1, round(count * config.bad))
    good = round(count * config.boxes) if n else 0
    anywhere = max(1, round(count * config.anywhere)) if n else count - bad
    on = max(count - bad - good - anywhere, 1) if n else 0
    h, w = view.pixels.shape[:2]
    points = np.concatenate(
        [
            _points_in(view.masks, rng.integers(0, n, on) if n else np.zeros(0, np.int64), rng),
            (rng.random((anywhere, 2)) * (w, h)).astype(np.float32),
        ]
    )
    asked = rng.integers(0, n, good) if n else np.zeros(0, np.int64)
    boxes = np.concatenate([_boxes_round(view, asked, rng), _bad_boxes(bad, h, w, rng)])
    nothing = np.zeros((bad, 2), np.int64)
    on_points = _objects_at(view.masks, points, config.reach_px)
    return Questions(
        points[:, None],
        np.ones((len(points), 1), np.float32),
        boxes,
        np.concatenate([on_points, np.stack([asked + 1, 0 * asked], axis=1), nothing]),
        np.arange(len(points) + len(boxes)) < len(points),
    )


def _points_in(masks: NDArray[np.bool_], objects: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.float32]:
    """Return (K, 2) a random place of each object, x and y in input px."""
    xy = np.zeros((len(objects), 2), np.float32)
    for i, k in enumerate(objects):
        cells = np.flatnonzero(masks[k])
        y, x = np.divmod(cells[int(rng.integers(len(cells)))], masks.shape[2])
        xy[i] = (np.array([x, y]) + rng.random(2)) * FINE
    return xy


def _objects_at(masks: NDArray[np.bool_], points_xy: NDArray[np.float32], reach_px: float) -> NDArray[np.int64]:
    """Return (K, 2) the two smallest objects that each point asks for, numbered from 1, the smallest first; 0 for none.

    They are those it lies on; or, where a smaller one is within reach, those at the nearest place of that: a part, if the
    point lies on its whole, any object, if it lies on none.
    """
    found = np.zeros((len(points_xy), 2), np.int64)
    if not len(masks):
        return found
    x, y = (points_xy // FINE).astype(np.int64).T
    area = masks.sum(axis=(1, 2)).astype(np.float64)
    if reach_px >= FINE:
        y, x = _reached(masks, area, y, x, int(reach_px // FINE))
    here = np.where(masks[:, y, x], area[:, None], np.inf)
    order = np.argsort(here, axis=0, kind="stable")[:2]
    lies = np.isfinite(np.take_along_axis(here, order, axis=0))
    found[:, : len(order)] = np.where(lies, order + 1, 0).T
    return found


def _reached(
    masks: NDArray[np.bool_], area: NDArray[np.float64], y: NDArray[np.int64], x: NDArray[np.int64], reach: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return y and x (K,) of the nearest cells, so many away at most, that show a smaller object; else the same ones."""
    height, width = masks.shape[1:]
    smallest = np.full((height, width), np.inf)
    for k in np.argsort(-area):
        smallest[masks[k]] = area[k]
    own = np.where(masks[:, y, x], area[:, None], np.inf).argmin(axis=0)
    steps = np.argwhere(np.ones((2 * reach + 1, 2 * reach + 1))) - reach
    away = np.hypot(*steps.T)
    steps = steps[np.argsort(away, kind="stable")][: (away <= reach).sum()]  # none first, so it stands for itself
    ys = np.clip(y[:, None] + steps[:, 0], 0, height - 1)
    xs = np.clip(x[:, None] + steps[:, 1], 0, width - 1)
    may = masks[own[:, None], ys, xs] | np.isinf(smallest[y, x])[:, None]
    first = (may & (smallest[ys, xs] < smallest[y, x][:, None])).argmax(axis=1)
    at = np.arange(len(first)), first
    return ys[at], xs[at]


def _boxes_round(view: View, objects: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.float32]:
    """Return (K, 4) boxes round objects, each side off by a little."""
    boxes = boxes_round(view.masks[objects])
    side = np.tile(boxes[:, 2:] - boxes[:, :2], 2)
    moved = boxes + np.clip(rng.normal(0, 0.1, boxes.shape) * side, -20, 20)  # as SAM: a tenth of the side, at most 20
    return np.clip(moved, 0, view.side_px).astype(np.float32)


def _bad_boxes(count: int, h: int, w: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return (K, 4) boxes anywhere, of any shape."""
    side = np.exp(rng.uniform(np.log(8), np.log(max(9, min(h, w) / 2)), (count, 2)))
    corner = rng.random((count, 2)) * np.maximum((w, h) - side, 1)
    return np.concatenate([corner, corner + side], axis=1).astype(np.float32)
