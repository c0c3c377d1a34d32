"""Scenes with exact truth, drawn from a seed: what the bundled SAM is trained, chosen and partly measured on.

A scene is painted into one map that says which object owns each pixel; parts name the whole they belong to. Masks are
read off that map, so truth is exact: a mask is the visible part of an object, its own parts included.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from workbench.sam import shapes
from workbench.sam.canvas import Canvas
from workbench.sam.painters import PAINTERS
from workbench.sam.shapes import Owner

MIN_AREA_PX = 24
"""No true mask is smaller than this many visible pixels."""

SAME_SHARE = 0.9
"""A whole that one of its parts fills to more than this share is no object of its own."""

VALIDATION_SEEDS = 1_000_000_000
"""Seeds from here on are never trained on."""

KINDS = {
    "plain": 0.10,
    "cluttered": 0.17,
    "crowd": 0.13,
    "fluorescence": 0.23,
    "brightfield": 0.09,
    "cells": 0.05,
    "facade": 0.17,
    "thin": 0.06,
}
"""Kinds of scenes, and how often each is drawn when none is asked for."""


@dataclass(frozen=True)
class Scene:
    """One drawn image and its truth.

    image : (H, W, 3) uint8
    owner : (H, W) int16, the innermost object of each pixel, 1 to N; 0 is background
    parents : (N + 1,) int16, the whole that an object is part of; 0 for none; entry 0 unused
    kind : one of KINDS
    """

    image: NDArray[np.uint8]
    owner: Owner
    parents: NDArray[np.int16]
    kind: str

    def __len__(self) -> int:
        return len(self.parents) - 1

    @property
    def masks(self) -> NDArray[np.bool_]:
        """(N, H, W) bool: visible pixels of every object, those of its parts included."""
        return family_table(self.parents)[1:][:, self.owner]


def family_table(parents: NDArray[np.int16]) -> NDArray[np.bool_]:
    """Return (N + 1, N + 1) bool: row k is True at k and at every part, part of a part ... of k; column 0 is False."""
    n = len(parents)
    table = np.zeros((n, n), bool)
    for k in range(1, n):
        above = k
        while above:
            table[above, k] = True
            above = int(parents[above])
    return table


def draw_scene(seed: int, size_px: int = 512, kind: str | None = None) -> Scene:
    """Return the scene of a seed: the same whenever it is drawn with the same numpy, scipy, numba and Pillow (which writes JPEGs).

    Sizes of things are pixels of the model's 512 px frame: a scene of 256 px shows a window of such a frame.

    Parameters
    ----------
    seed : 0 or more
    size_px : height and width, 64 or more
    kind : one of KINDS; drawn by the shares there when None

    Raises
    ------
    ValueError : unknown kind, or size under 64
    """
    if kind is not None and kind not in KINDS:
        raise ValueError(f"kind: expected one of {', '.join(KINDS)}, got {kind!r}")
    if size_px < 64:
        raise ValueError(f"size_px: expected 64 or more, got {size_px}")
    rng = np.random.default_rng(seed)
    drawn = str(rng.choice(list(KINDS), p=list(KINDS.values())))
    kind = drawn if kind is None else kind
    canvas = Canvas(rng, size_px)
    PAINTERS[kind](canvas)
    image = photograph(canvas, kind)
    owner, parents = prune(canvas.owner, np.asarray(canvas.parents, np.int16))
    return Scene(image, owner, parents, kind)


def prune(owner: Owner, parents: NDArray[np.int16]) -> tuple[Owner, NDArray[np.int16]]:
    """Give the pixels of objects too small, or filled by one of their parts, to their wholes; number the rest anew.

    Parameters
    ----------
    owner : (H, W) int16 over the rows of `parents`; a part's number is above its whole's
    """
    n = len(parents)
    area = np.bincount(owner.ravel(), minlength=n).astype(np.int64)
    largest_part = np.zeros(n, np.int64)
    goes_to = np.arange(n, dtype=np.int16)
    parents = parents.copy()
    for k in range(n - 1, 0, -1):  # parts come before their wholes
        above = parents[k]
        if area[k] < MIN_AREA_PX or largest_part[k] > SAME_SHARE * area[k]:
            goes_to[k] = above
        largest_part[above] = max(largest_part[above], area[k])
        area[above] += area[k] if above else 0
    for k in range(1, n):  # wholes come before their parts: follow each chain to the first that stays
        if goes_to[k] != k:
            goes_to[k] = goes_to[goes_to[k]]
        parents[k] = goes_to[parents[k]]
    kept = np.flatnonzero(goes_to == np.arange(n))
    number = np.zeros(n, np.int16)
    number[kept] = np.arange(len(kept))
    return number[goes_to][owner], number[parents][kept]


def photograph(canvas: Canvas, kind: str) -> NDArray[np.uint8]:
    """Return what a camera or microscope makes of a canvas: light, blur, noise, polarity, colour, compression."""
    rng, size = canvas.rng, canvas.size
    image = np.empty((size, size, 3), np.float32)
    shapes.shade(canvas.owner, np.stack(canvas.surfaces), shapes.texture_bank(), image)
    micro = kind in ("fluorescence", "brightfield")
    if kind == "fluorescence" and rng.random() < 0.5:  # light from out of focus
        haze = ndimage.gaussian_filter(image[::4, ::4], (*rng.uniform(2, 10, 1).repeat(2), 0))
        image += rng.uniform(0.05, 0.4) * haze.repeat(4, axis=0).repeat(4, axis=1)
    if rng.random() < 0.6:
        image *= light_field(rng, size, micro)
    if rng.random() < (0.75 if kind == "fluorescence" else 0.35):
        image[:] = image.mean(axis=2, keepdims=True)
    if kind != "fluorescence" and rng.random() < 0.12:
        image = 255 - image
    soft = rng.uniform(1.2, 3.6) if kind == "fluorescence" else 0.5  # small micrographs are enlarged to the frame
    image = shapes.blurred(
        image, float(rng.choice([soft, rng.uniform(0.4, 1.2), rng.uniform(0.8, 3.2 if micro else 2.2)]))
    )
    image = with_noise(rng, image)
    pixels = np.clip(image, 0, 255).astype(np.uint8)
    if rng.random() < 0.15:
        pixels = shapes.jpeg(pixels, int(rng.integers(30, 92)))
    return pixels


def light_field(rng: np.random.Generator, size_px: int, micro: bool) -> NDArray[np.float32]:
    """Return (H, W, 1) factors around 1: a slope, a vignette, and now and then the edge of a shadow."""
    axis = np.linspace(-1, 1, size_px, dtype=np.float32)
    x, y = axis[None, :], axis[:, None]
    slope = rng.normal(0, 0.15, 2)
    field = 1 + slope[0] * x + slope[1] * y - rng.uniform(0, 0.25) * (x * x + y * y)
    if not micro and rng.random() < 0.2:
        angle, shift = rng.uniform(0, 2 * math.pi), rng.uniform(-0.5, 0.5)
        edge = np.tanh((x * math.cos(angle) + y * math.sin(angle) - shift) * rng.uniform(4, 30)) / 2 + 0.5
        field = field * (1 - rng.uniform(0.15, 0.5) * edge)
    return np.asarray(np.clip(field, 0.1, 2.0), np.float32)[..., None]


def with_noise(rng: np.random.Generator, image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the image with shot and read noise; some of it grainy, as after enlarging a small picture."""
    if rng.random() < 0.25:
        return image
    read = float(np.exp(rng.uniform(math.log(0.5), math.log(14))))
    shot = float(rng.choice([0.0, rng.uniform(0.1, 1.2)]))
    channels = 1 if rng.random() < 0.5 else 3
    noise = rng.standard_normal((*image.shape[:2], channels), dtype=np.float32)
    if rng.random() < 0.5:
        sigma = float(rng.uniform(0.4, 1.2))
        noise = ndimage.gaussian_filter(noise, (sigma, sigma, 0)) * (1 + 2 * sigma)
    return image + noise * np.sqrt(read**2 + shot**2 * np.maximum(image, 0))
