"""What is painted for each kind of scene: shapes, clutter, crowds, micrographs, sheets of cells, thin things."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from workbench.sam import shapes
from workbench.sam.canvas import MAX_OBJECTS, Canvas, background, base_colour, colour_away_from, dress, surface
from workbench.sam.facades import draw_facade
from workbench.sam.shapes import ANYWHERE


def add_parts(canvas: Canvas, whole: int, radius_px: float, centre: tuple[float, float]) -> None:
    """Paint one to five parts inside an object, sometimes with a part of their own."""
    rng = canvas.rng
    for _ in range(int(rng.integers(1, 6))):
        small = radius_px * rng.uniform(0.12, 0.55)
        offset = rng.normal(0, 0.4 * radius_px, 2)
        at = (centre[0] + offset[0], centre[1] + offset[1])
        outline = shapes.turned(shapes.any_outline(rng, small), rng.uniform(0, 2 * math.pi), at)
        part = canvas.put(outline, colour_away_from(rng, base_colour(canvas, whole), 25), whole, whole)
        if part:
            dress(canvas, part)
            if rng.random() < 0.25:
                inner = shapes.turned(shapes.any_outline(rng, small * 0.45), rng.uniform(0, 2 * math.pi), at)
                canvas.put(inner, colour_away_from(rng, base_colour(canvas, part), 25), part, part)


def scatter(canvas: Canvas, count: int, low_px: float, high_px: float, nested: float) -> None:
    """Paint shapes of any family over each other, largest first, a share of them with parts."""
    rng = canvas.rng
    radii = np.sort(np.exp(rng.uniform(math.log(low_px), math.log(high_px), count)))[::-1]
    contrast = float(np.exp(rng.uniform(math.log(18), math.log(110))))
    for radius in radii:
        at = canvas.place()
        under = int(canvas.owner[min(int(at[1]), canvas.size - 1), min(int(at[0]), canvas.size - 1)])
        outline = shapes.turned(shapes.any_outline(rng, float(radius)), rng.uniform(0, 2 * math.pi), at)
        number = canvas.put(outline, colour_away_from(rng, base_colour(canvas, under), contrast))
        if number:
            dress(canvas, number)
            if radius > 14 and rng.random() < nested:
                add_parts(canvas, number, float(radius), at)


def draw_plain(canvas: Canvas) -> None:
    """One to eight shapes of any size."""
    rng = canvas.rng
    background(canvas, rng.uniform(5, 250, 3), float(rng.choice([0.0, rng.uniform(0.02, 0.3)])))
    scatter(canvas, int(rng.integers(1, 9)), 8, canvas.size * 0.4, 0.35)


def draw_cluttered(canvas: Canvas) -> None:
    """Tens of shapes of many sizes over each other."""
    rng = canvas.rng
    background(canvas, rng.uniform(5, 250, 3), float(rng.choice([0.0, rng.uniform(0.02, 0.35)])))
    count = int(rng.integers(12, 60) * (canvas.size / 384) ** 1.3)
    scatter(canvas, count, 4, canvas.size * rng.uniform(0.08, 0.3), 0.2)


def draw_thin(canvas: Canvas) -> None:
    """Bands, poles and wires before and behind other shapes."""
    rng = canvas.rng
    background(canvas, rng.uniform(5, 250, 3), float(rng.choice([0.0, rng.uniform(0.02, 0.25)])))
    scatter(canvas, int(rng.integers(2, 14)), 8, canvas.size * 0.2, 0.2)
    straight = rng.random() < 0.4
    for _ in range(int(rng.integers(4, 18))):
        width = float(np.exp(rng.uniform(math.log(3), math.log(14))))
        outline = shapes.stroke(rng, float(rng.uniform(30, canvas.size)), width)
        angle = rng.choice([0, math.pi / 2]) if straight else rng.uniform(0, math.pi)
        at = canvas.place()
        under = int(canvas.owner[min(int(at[1]), canvas.size - 1), min(int(at[0]), canvas.size - 1)])
        number = canvas.put(shapes.turned(outline, angle, at), colour_away_from(rng, base_colour(canvas, under), 30))
        if number and rng.random() < 0.5:
            dress(canvas, number)


def centres(canvas: Canvas, count: int, radius_px: float) -> NDArray[np.float64]:
    """Return (count, 2) points: spread evenly, in clumps, or both."""
    rng = canvas.rng
    points = rng.uniform(-radius_px * 0.5, canvas.size + radius_px * 0.5, (count, 2))
    clumped = rng.random(count) < rng.choice([0.0, 0.4, 0.9])
    anchors = rng.uniform(0, canvas.size, (max(1, count // int(rng.integers(4, 20))), 2))
    near = anchors[rng.integers(len(anchors), size=count)] + rng.normal(
        0, radius_px * rng.uniform(1.2, 3.5), (count, 2)
    )
    points[clumped] = near[clumped]
    return points


def lay_blobs(canvas: Canvas, radius_px: float, cover: float, spread: float) -> list[int]:
    """Paint touching, mostly unoccluded blobs of like size until they cover a share of the frame."""
    rng = canvas.rng
    count = int(np.clip(cover * canvas.size**2 / (math.pi * radius_px**2), 1, MAX_OBJECTS))
    roughness, stretch = rng.uniform(0.0, 0.35), rng.uniform(0.0, 0.35)
    over = rng.random() < 0.25
    numbers = []
    for x, y in centres(canvas, count, radius_px):
        radius = max(3.0, radius_px * float(np.exp(rng.normal(0, spread))))
        shape = shapes.blob(rng, roughness, float(np.exp(abs(rng.normal(0, stretch * 2))))) * radius
        outline = shapes.turned(shape, rng.uniform(0, 2 * math.pi), (x, y))
        if canvas.free_share(outline) < (0.6 if over else 0.72):
            continue
        number = canvas.put(outline, np.zeros(3), ANYWHERE if over else 0)
        if number:
            numbers.append(number)
    return numbers


def draw_fluorescence(canvas: Canvas) -> None:
    """Bright blobs of varying strength on a dark, uneven ground, as in fluorescence microscopy."""
    rng = canvas.rng
    ground = rng.choice([rng.uniform(0, 8), rng.uniform(5, 40)])
    background(canvas, np.full(3, ground), float(rng.choice([0.0, rng.uniform(0.05, 0.4)])), "coarse noise")
    radius = float(np.exp(rng.uniform(math.log(4.0), math.log(42.0))))
    numbers = lay_blobs(
        canvas, radius, float(np.exp(rng.uniform(math.log(0.03), math.log(0.55)))), rng.uniform(0.05, 0.35)
    )
    strength = float(np.exp(rng.uniform(math.log(8), math.log(220))))
    glaring = float(rng.choice([0.0, rng.uniform(0.05, 0.4)]))  # share of objects that outshine the others
    variation, dome, grain = rng.uniform(0.05, 0.6), rng.uniform(0.0, 0.55), rng.choice([0.0, rng.uniform(0.05, 0.35)])
    rim = float(rng.choice([0.0, rng.uniform(-0.5, 0.3)]))
    tint = np.ones(3) if rng.random() < 0.75 else rng.uniform(0.1, 1.0, 3)
    for number in numbers:
        row = canvas.surfaces[number]
        glare = rng.uniform(2, 6) if rng.random() < glaring else 1.0
        row[:3] = (ground + glare * strength * float(np.exp(rng.normal(0, variation)))) * tint
        row[shapes.DOME] = dome * rng.uniform(0.4, 1.2)
        if grain:
            canvas.texture(
                number, grain, str(rng.choice(["fine noise", "noise", "coarse noise", "dots"])), 8 / radius + 0.3
            )
        row[shapes.RIM_PX], row[shapes.RIM_GAIN] = 1, rim


def draw_brightfield(canvas: Canvas) -> None:
    """Stained blobs on a bright, textured ground, some with a body around them."""
    rng = canvas.rng
    ground = np.clip(rng.uniform(170, 245) + rng.normal(0, 18, 3), 120, 252)
    background(
        canvas,
        ground,
        float(rng.uniform(0.02, 0.2)),
        str(rng.choice(["fine noise", "noise", "coarse noise", "streaks"])),
    )
    radius = float(np.exp(rng.uniform(math.log(5.0), math.log(36.0))))
    stain = ground * rng.uniform(0.3, 0.85, 3)
    if rng.random() < 0.4:  # unlabelled tissue between the blobs
        canvas.surfaces[0][:3] = 0.6 * ground + 0.4 * stain
    variation, grain, rim = rng.uniform(0.02, 0.25), rng.uniform(0.0, 0.25), rng.choice([0.0, rng.uniform(-0.4, 0.2)])
    for number in lay_blobs(canvas, radius, float(rng.uniform(0.05, 0.5)), rng.uniform(0.05, 0.35)):
        row = canvas.surfaces[number]
        row[:3] = np.clip(stain * float(np.exp(rng.normal(0, variation))), 5, 250)
        row[shapes.DOME] = rng.uniform(-0.3, 0.2)
        row[shapes.RIM_PX], row[shapes.RIM_GAIN] = rng.integers(1, 3), rim
        canvas.texture(number, float(grain), str(rng.choice(["fine noise", "noise", "coarse noise"])))
        if rng.random() < 0.3:
            inner = shapes.turned(
                shapes.blob(rng, 0.2, 1.2) * radius * 0.45, 0.0, tuple(row[shapes.CENTRE_X : shapes.CENTRE_Y + 1])
            )
            canvas.put(inner, base_colour(canvas, number) * rng.uniform(0.4, 0.8), number, number)


def draw_crowd(canvas: Canvas) -> None:
    """Many objects of one shape, size and dress, touching or stacked: coins, seeds, tiles, bottles."""
    rng = canvas.rng
    ground = rng.uniform(5, 250, 3)
    background(canvas, ground, float(rng.choice([0.0, rng.uniform(0.02, 0.3)])))
    radius = float(np.exp(rng.uniform(math.log(6), math.log(60))))
    pattern = shapes.any_outline(rng, radius)
    colour = colour_away_from(rng, ground, float(np.exp(rng.uniform(math.log(15), math.log(120)))))
    count = int(min(rng.uniform(0.1, 1.0) * canvas.size**2 / (math.pi * radius**2), 250)) + 1
    aligned, stacked, vary = rng.random() < 0.4, rng.random() < 0.3, rng.uniform(0.0, 0.25)
    points = centres(canvas, count, radius)
    if rng.random() < 0.35:
        pitch = 2 * radius * rng.uniform(0.95, 1.6)
        lines = np.arange(pitch * rng.uniform(0, 1), canvas.size, pitch)
        points = np.stack(np.meshgrid(lines, lines), axis=-1).reshape(-1, 2) + rng.normal(0, radius * 0.05, 2)
    marks = rng.random() < 0.25
    for x, y in points:
        outline = pattern * float(np.exp(rng.normal(0, 0.12)))
        outline = shapes.turned(outline, 0.0 if aligned else rng.uniform(0, 2 * math.pi), (x, y))
        if not stacked and canvas.free_share(outline) < 0.75:
            continue
        number = canvas.put(
            outline, np.clip(colour * np.exp(rng.normal(0, vary, 3)), 3, 252), ANYWHERE if stacked else 0
        )
        if number:
            dress(canvas, number)
            if stacked or rng.random() < 0.3:  # neighbours of one colour need a border to be told apart
                canvas.surfaces[number][shapes.RIM_PX : shapes.RIM_GAIN + 1] = 1, -0.35
            if marks:
                add_parts(canvas, number, radius, (float(x), float(y)))


def draw_cells(canvas: Canvas) -> None:
    """A sheet of cells without gaps, told apart by walls or by their texture."""
    rng = canvas.rng
    background(canvas, rng.uniform(5, 250, 3), 0.05)
    pitch = float(np.exp(rng.uniform(math.log(14), math.log(110))))
    side = int(canvas.size / pitch) + 3
    grid = np.stack(np.meshgrid(np.arange(side), np.arange(side)), axis=-1).reshape(-1, 2) * pitch
    seeds = grid - pitch + rng.uniform(-0.45, 0.45, grid.shape) * pitch
    yy, xx = np.mgrid[: canvas.size, : canvas.size]
    warp = ndimage.gaussian_filter(rng.standard_normal((2, canvas.size, canvas.size)), (0, 8, 8)) * rng.uniform(0, 60)
    near = nearest(seeds, xx + warp[0], yy + warp[1])
    used, canvas.owner[:] = np.unique(near, return_inverse=True)[0], 0
    empty = rng.choice([0.0, rng.uniform(0.0, 0.4)])
    base, vary, walls = rng.uniform(20, 235, 3), rng.uniform(0.0, 0.5), rng.random() < 0.7
    rim = float(rng.choice([-1, 1]) * rng.uniform(0.25, 0.8))
    for seed in used[:MAX_OBJECTS]:
        if rng.random() < empty:
            continue
        x, y = seeds[seed]
        canvas.owner[near == seed] = len(canvas.parents)
        canvas.parents.append(0)
        canvas.surfaces.append(
            surface(np.clip(base * np.exp(rng.normal(0, vary, 3)), 4, 250), shapes.box(pitch, pitch) + (x, y))
        )
        row = canvas.surfaces[-1]
        if walls:
            row[shapes.RIM_PX], row[shapes.RIM_GAIN] = 1 + int(pitch > 40), rim
        else:
            row[:3] = rng.uniform(10, 245, 3)
        canvas.texture(len(canvas.parents) - 1, float(rng.uniform(0.0, 0.3)))


def nearest(seeds: NDArray[np.float64], x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return, for each pixel at (x, y), the index of the nearest seed."""
    index = cKDTree(seeds).query(np.stack([x.ravel(), y.ravel()], axis=1))[1]
    return np.asarray(index, np.int64).reshape(x.shape)


PAINTERS: dict[str, Callable[[Canvas], None]] = {
    "plain": draw_plain,
    "cluttered": draw_cluttered,
    "crowd": draw_crowd,
    "fluorescence": draw_fluorescence,
    "brightfield": draw_brightfield,
    "cells": draw_cells,
    "thin": draw_thin,
    "facade": draw_facade,
}
