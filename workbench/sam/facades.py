"""Fronts of buildings for scenes: walls with windows, panes, bars, doors and balconies, seen in perspective."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workbench.sam import shapes
from workbench.sam.canvas import Canvas, background, base_colour, colour_away_from, dress
from workbench.sam.shapes import Outline


@dataclass(frozen=True)
class WindowStyle:
    """What the windows of one building have in common; lengths are shares of a window's width or height.

    frame : width of the frame; 0 for none
    columns, rows : panes across and down
    arch : height of the rounded top; 0 for a rectangle
    sill, shutters, glow : whether there is a sill, shutters beside, panes of unlike brightness
    """

    frame: float
    columns: int
    rows: int
    arch: float
    sill: bool
    shutters: bool
    glow: bool
    frame_colour: NDArray[np.float64]
    glass_colour: NDArray[np.float64]
    extra_colour: NDArray[np.float64]


def window_style(rng: np.random.Generator, wall: NDArray[np.float64]) -> WindowStyle:
    """Return a random style that stands out from the wall."""
    glass = colour_away_from(rng, wall, 20) * rng.uniform(0.3, 1.0)
    return WindowStyle(
        frame=float(rng.choice([0.0, rng.uniform(0.04, 0.12)], p=[0.25, 0.75])),
        columns=int(rng.choice([1, 2, 3], p=[0.3, 0.5, 0.2])),
        rows=int(rng.choice([1, 2, 3, 4], p=[0.4, 0.3, 0.2, 0.1])),
        arch=float(rng.choice([0.0, rng.uniform(0.1, 0.35)], p=[0.8, 0.2])),
        sill=bool(rng.random() < 0.4),
        shutters=bool(rng.random() < 0.2),
        glow=bool(rng.random() < 0.5),
        frame_colour=colour_away_from(rng, wall, 15),
        glass_colour=np.clip(glass, 3, 250),
        extra_colour=colour_away_from(rng, wall, 12),
    )


def perspective(rng: np.random.Generator, size_px: int) -> NDArray[np.float64]:
    """Return a 3×3 homography of the frame: a slight turn and, often, lines that run together."""
    tilt, lean = rng.normal(0, 0.03), rng.normal(0, 0.05)
    away = rng.choice([0.0, 1.0]) * rng.normal(0, 0.35, 2) / size_px
    half = size_px / 2
    to_centre = np.array([[1, 0, -half], [0, 1, -half], [0, 0, 1.0]])
    turn = np.array([[math.cos(tilt), lean - math.sin(tilt), 0], [math.sin(tilt), math.cos(tilt), 0], [*away, 1.0]])
    back = np.array([[1, 0, half], [0, 1, half], [0, 0, 1.0]])
    return np.asarray(back @ turn @ to_centre)


def projected(outline: Outline, homography: NDArray[np.float64]) -> Outline:
    """Return the outline seen through a homography."""
    points = np.concatenate([outline, np.ones((len(outline), 1))], axis=1) @ homography.T
    return np.asarray(points[:, :2] / np.maximum(points[:, 2:], 0.2))


def upright(left: float, top: float, right: float, bottom: float, arch: float = 0.0) -> Outline:
    """Return a rectangle, its top rounded to a height of `arch` pixels."""
    if arch <= 0:
        return np.array([[left, top], [right, top], [right, bottom], [left, bottom]])
    angles = np.linspace(math.pi, 2 * math.pi, 9)
    middle, half = (left + right) / 2, (right - left) / 2
    curve = np.stack([middle + half * np.cos(angles), top + arch + arch * np.sin(angles)], axis=1)
    return np.concatenate([curve, [[right, bottom], [left, bottom]]])


def add_window(
    canvas: Canvas, wall: int, style: WindowStyle, view: NDArray[np.float64], at: tuple[float, float, float, float]
) -> None:
    """Paint one window into a wall: frame, panes, and what hangs around it."""
    rng = canvas.rng
    left, top, right, bottom = at
    width, height = right - left, bottom - top
    outer = style.frame_colour if style.frame else style.glass_colour
    window = canvas.put(projected(upright(*at, arch=style.arch * height), view), outer, wall, wall)
    if not window:
        return
    border = style.frame * width
    if border * 1.2 >= 1.0:
        add_panes(canvas, window, style, view, at)
    else:
        canvas.texture(window, float(rng.uniform(0, 0.3)), "coarse noise", 0.4)
    if style.sill:
        sill = upright(left - 0.1 * width, bottom, right + 0.1 * width, bottom + max(2.0, 0.07 * height))
        canvas.put(projected(sill, view), style.extra_colour, wall, wall)
    if style.shutters:
        for x in (left - 0.42 * width, right + 0.04 * width):
            leaf = canvas.put(
                projected(upright(x, top, x + 0.38 * width, bottom), view), style.extra_colour, wall, wall
            )
            if leaf:
                canvas.texture(leaf, 0.15, "stripes", 3.0)


def add_panes(
    canvas: Canvas, window: int, style: WindowStyle, view: NDArray[np.float64], at: tuple[float, float, float, float]
) -> None:
    """Paint the panes of a window, divided by bars of the frame's colour."""
    rng = canvas.rng
    left, top, right, bottom = at
    border = style.frame * (right - left)
    across = np.linspace(left + border / 2, right - border / 2, style.columns + 1)
    down = np.linspace(top + border / 2, bottom - border / 2, style.rows + 1)
    inset = border / 2
    for i in range(style.columns):
        for j in range(style.rows):
            arch = style.arch * (bottom - top) * 0.8 if style.rows == 1 and style.columns == 1 else 0.0
            pane = upright(across[i] + inset, down[j] + inset, across[i + 1] - inset, down[j + 1] - inset, arch)
            colour = style.glass_colour * (rng.uniform(0.5, 1.8) if style.glow else 1.0)
            number = canvas.put(projected(pane, view), np.clip(colour, 2, 252), window, window)
            if number:
                canvas.texture(number, float(rng.uniform(0, 0.3)), "coarse noise", 0.5)


def add_balcony(canvas: Canvas, view: NDArray[np.float64], at: tuple[float, float, float, float]) -> None:
    """Paint a railing, solid or of bars, before the lower part of a window."""
    rng = canvas.rng
    left, top, right, bottom = at
    width, height = right - left, bottom - top
    rail = upright(left - 0.2 * width, bottom - 0.35 * height, right + 0.2 * width, bottom + 0.06 * height)
    number = canvas.put(projected(rail, view), rng.uniform(10, 240, 3))
    if number:
        canvas.texture(number, float(rng.uniform(0.1, 0.5)), "stripes", float(rng.uniform(1.5, 4)))


def draw_facade(canvas: Canvas) -> None:
    """One or two house fronts with rows of windows under a sky, and a few things before them."""
    rng, size = canvas.rng, float(canvas.size)
    background(canvas, colour_away_from(rng, np.zeros(3), 60), float(rng.choice([0.0, rng.uniform(0.02, 0.2)])))
    view = perspective(rng, canvas.size)
    edge = float(rng.choice([-0.2 * size, rng.uniform(0, 0.3) * size]))
    while edge < size * 0.95:
        width = float(rng.uniform(0.4, 1.5)) * size
        add_house(canvas, view, edge, float(rng.choice([-0.2, rng.uniform(0, 0.35)])) * size, width)
        edge += width + float(rng.choice([0.0, rng.uniform(0, 0.1) * size]))
    for _ in range(int(rng.integers(0, 4))):  # trees, lamps, signs
        radius = float(rng.uniform(0.02, 0.14)) * size
        at = (float(rng.uniform(0, size)), float(rng.uniform(0.5, 1.0) * size))
        outline = shapes.turned(shapes.any_outline(rng, radius), rng.uniform(0, math.pi), at)
        number = canvas.put(outline, rng.uniform(10, 220, 3))
        if number:
            dress(canvas, number)


def add_house(canvas: Canvas, view: NDArray[np.float64], left: float, top: float, width: float) -> None:
    """Paint one wall and its grid of windows, a door, a roof."""
    rng, size = canvas.rng, float(canvas.size)
    sky = base_colour(canvas, 0)
    foot = size * float(rng.uniform(0.85, 1.3))
    wall = canvas.put(projected(upright(left, top, left + width, foot), view), colour_away_from(rng, sky, 20))
    if not wall:
        return
    canvas.texture(
        wall, float(rng.uniform(0, 0.25)), str(rng.choice(["bricks", "noise", "fine noise", "coarse noise", "stripes"]))
    )
    if rng.random() < 0.5:
        roof = upright(left - 4, top - size * float(rng.uniform(0.03, 0.15)), left + width + 4, top)
        canvas.put(projected(roof, view), rng.uniform(20, 200, 3), 0)
    style = window_style(rng, base_colour(canvas, wall))
    w = float(np.exp(rng.uniform(math.log(10), math.log(90))))
    h = w * float(rng.uniform(0.8, 2.3))
    step_x, step_y = w * float(rng.uniform(1.3, 2.6)), h * float(rng.uniform(1.25, 2.2))
    balcony = rng.random() < 0.25
    for y in np.arange(top + 0.3 * h, min(foot, size * 1.1), step_y):
        for x in np.arange(left + 0.4 * w, left + width - w, step_x):
            if x > size * 1.1 or x < -w or rng.random() < 0.06:
                continue
            at = (x, y, x + w, y + h)
            add_window(canvas, wall, style, view, at)
            if balcony:
                add_balcony(canvas, view, at)
    if rng.random() < 0.5:
        x = left + float(rng.uniform(0.1, 0.8)) * width
        door = upright(x, size * float(rng.uniform(0.6, 0.85)), x + w * 1.3, foot)
        number = canvas.put(projected(door, view), colour_away_from(rng, base_colour(canvas, wall), 25), wall, wall)
        if number:
            dress(canvas, number)
