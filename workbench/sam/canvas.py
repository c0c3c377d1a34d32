"""The canvas that scenes are painted on: who owns each pixel, what is part of what, and how each object looks."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from workbench.sam import shapes
from workbench.sam.shapes import ANYWHERE, Outline, Owner

MAX_OBJECTS = 400


class Canvas:
    """A scene while it is painted: owner map, parents, and one row of surface for each object."""

    def __init__(self, rng: np.random.Generator, size_px: int) -> None:
        self.rng = rng
        self.size = size_px
        self.owner: Owner = np.zeros((size_px, size_px), np.int16)
        self.parents = [0]
        self.surfaces = [np.zeros(shapes.SURFACE_COLUMNS, np.float32)]

    def put(self, outline: Outline, colour: NDArray[np.float64], where: int = ANYWHERE, parent: int = 0) -> int:
        """Paint a new object of one colour and return its number; 0 when it got no pixel or the scene is full."""
        number = len(self.parents)
        if number > MAX_OBJECTS:
            return 0
        given, _ = shapes.fill(self.owner, outline, number, where, True)
        if given == 0:
            return 0
        self.parents.append(parent)
        self.surfaces.append(surface(colour, outline))
        return number

    def free_share(self, outline: Outline) -> float:
        """Return which share of an outline's pixels inside the frame belongs to nobody yet; 0 when outside."""
        free, inside = shapes.fill(self.owner, outline, 0, 0, False)
        return free / inside if inside else 0.0

    def texture(self, number: int, gain: float, name: str | None = None, scale: float | None = None) -> None:
        """Give an object a texture; `scale` is texture pixels per image pixel."""
        s, rng = self.surfaces[number], self.rng
        s[shapes.TEXTURE] = rng.integers(len(shapes.TEXTURES)) if name is None else shapes.TEXTURES.index(name)
        scale = float(np.exp(rng.uniform(-1.2, 1.2))) if scale is None else scale
        angle = rng.choice([0.0, math.pi / 2, rng.uniform(0, 2 * math.pi)])
        s[shapes.TEXTURE_GAIN] = gain
        s[shapes.TEXTURE_COS], s[shapes.TEXTURE_SIN] = scale * math.cos(angle), scale * math.sin(angle)
        s[shapes.TEXTURE_SHIFT] = rng.uniform(0, 4096)

    def place(self) -> tuple[float, float]:
        """Return a random point of the frame."""
        x, y = self.rng.uniform(0, self.size, 2)
        return float(x), float(y)


def surface(colour: NDArray[np.float64], outline: Outline) -> NDArray[np.float32]:
    """Return a plain surface; its centre and axes are the outline's, for domes and slopes."""
    row = np.zeros(shapes.SURFACE_COLUMNS, np.float32)
    row[:3] = colour
    centre = outline.mean(axis=0)
    spread = outline - centre
    covariance = spread.T @ spread / len(outline) * 2 + 0.5 * np.eye(2)
    inverse = np.linalg.inv(covariance)
    row[shapes.CENTRE_X : shapes.CENTRE_Y + 1] = centre
    row[shapes.AXIS_XX], row[shapes.AXIS_XY], row[shapes.AXIS_YY] = inverse[0, 0], inverse[0, 1], inverse[1, 1]
    return row


def colour_away_from(rng: np.random.Generator, other: NDArray[np.float64], least: float) -> NDArray[np.float64]:
    """Return a random colour at least `least` grey levels from another in some channel."""
    for _ in range(8):
        colour = rng.uniform(10, 250, 3)
        if rng.random() < 0.3:
            colour = np.clip(rng.uniform(15, 245) + rng.normal(0, 12, 3), 5, 250)
        if np.abs(colour - other).max() >= least:
            break
    return colour


def background(canvas: Canvas, colour: NDArray[np.float64], gain: float, texture: str | None = None) -> None:
    """Set the colour of the background, sloping a little and textured (any texture when not named)."""
    rng = canvas.rng
    row = canvas.surfaces[0]
    row[:3] = colour
    row[shapes.CENTRE_X : shapes.CENTRE_Y + 1] = canvas.size / 2
    row[shapes.SLOPE_X : shapes.SLOPE_Y + 1] = rng.normal(0, 0.25 / canvas.size, 2)
    if gain > 0:
        canvas.texture(0, gain, texture, scale=float(np.exp(rng.uniform(-1.5, 0.7))))


def dress(canvas: Canvas, number: int) -> None:
    """Give an object a random surface: slope, dome, texture, rim, each now and then."""
    rng, row = canvas.rng, canvas.surfaces[number]
    reach = 1 / math.sqrt(max(float(row[shapes.AXIS_XX] + row[shapes.AXIS_YY]) / 2, 1e-6))
    if rng.random() < 0.5:
        row[shapes.SLOPE_X : shapes.SLOPE_Y + 1] = rng.normal(0, 0.2 / max(reach, 4), 2)
    if rng.random() < 0.35:
        row[shapes.DOME] = rng.uniform(-0.25, 0.45)
    if rng.random() < 0.45:
        canvas.texture(number, float(rng.uniform(0.03, 0.3)))
    if rng.random() < 0.2:
        row[shapes.RIM_PX], row[shapes.RIM_GAIN] = rng.integers(1, 4), rng.uniform(-0.5, 0.5)


def base_colour(canvas: Canvas, number: int) -> NDArray[np.float64]:
    """Return the plain colour of an object (0: the background)."""
    return np.asarray(canvas.surfaces[number][:3], np.float64)
