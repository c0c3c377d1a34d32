"""What scenes are drawn with: outlines of shapes, exact filling of polygons, surfaces and the camera's faults.

Filling and shading are numba loops over pixels. Outlines are (K, 2) float arrays of x, y in pixels; a pixel belongs to
an outline when its centre does (even-odd rule).
"""

from __future__ import annotations

import io
import math
from functools import cache

import numpy as np
from numba import njit
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

Outline = NDArray[np.float64]
Owner = NDArray[np.int16]

ANYWHERE = -1
"""Fill over whatever is there."""

TEXTURE_SIDE = 256
TEXTURES = ("fine noise", "noise", "coarse noise", "streaks", "stripes", "checks", "bricks", "dots")

# Columns of the table of surfaces, one row an object (row 0: the background).
RED, GREEN, BLUE, SLOPE_X, SLOPE_Y, DOME, CENTRE_X, CENTRE_Y, AXIS_XX, AXIS_XY, AXIS_YY = range(11)
TEXTURE, TEXTURE_GAIN, TEXTURE_COS, TEXTURE_SIN, TEXTURE_SHIFT, RIM_PX, RIM_GAIN = range(11, 18)
SURFACE_COLUMNS = 18


@njit(cache=True)
def fill(owner: Owner, outline: Outline, value: int, where: int, paint: bool) -> tuple[int, int]:
    """Give an outline's pixels to `value`, where they belong to `where`; return (pixels given, pixels inside).

    Parameters
    ----------
    owner : (H, W) int16, changed in place when `paint`
    outline : (K, 2) float, x and y
    where : only pixels owned by this number are given; ANYWHERE for all
    paint : False only counts
    """
    height, width = owner.shape
    count = len(outline)
    given = 0
    inside = 0
    low = max(0, int(math.floor(outline[:, 1].min())))
    high = min(height - 1, int(math.ceil(outline[:, 1].max())))
    crossings = np.empty(count, np.float64)
    for y in range(low, high + 1):
        yc = y + 0.5
        n = 0
        for i in range(count):
            j = i + 1 if i + 1 < count else 0
            ya, yb = outline[i, 1], outline[j, 1]
            if (ya <= yc) != (yb <= yc):
                crossings[n] = outline[i, 0] + (yc - ya) / (yb - ya) * (outline[j, 0] - outline[i, 0])
                n += 1
        row = np.sort(crossings[:n])
        for k in range(0, n - 1, 2):
            first = max(0, int(math.ceil(row[k] - 0.5)))
            last = min(width, int(math.ceil(row[k + 1] - 0.5)))
            for x in range(first, last):
                inside += 1
                if where == ANYWHERE or owner[y, x] == where:
                    given += 1
                    if paint:
                        owner[y, x] = value
    return given, inside


@njit(cache=True)
def shade(owner: Owner, surfaces: NDArray[np.float32], textures: NDArray[np.float32], out: NDArray[np.float32]) -> None:
    """Write the colour of every pixel's owner: base, slope, dome, texture and a rim along its borders.

    Parameters
    ----------
    owner : (H, W) int16, rows of `surfaces`
    surfaces : (N + 1, SURFACE_COLUMNS) float32
    textures : (T, side, side) float32 of mean 0 and deviation 1, side a power of two
    out : (H, W, 3) float32, written
    """
    height, width = owner.shape
    mask = textures.shape[1] - 1
    for y in range(height):
        for x in range(width):
            k = owner[y, x]
            s = surfaces[k]
            dx = x - s[CENTRE_X]
            dy = y - s[CENTRE_Y]
            rho = s[AXIS_XX] * dx * dx + 2 * s[AXIS_XY] * dx * dy + s[AXIS_YY] * dy * dy
            light = 1.0 - s[DOME] * min(rho, 1.5) + s[SLOPE_X] * dx + s[SLOPE_Y] * dy
            if s[TEXTURE_GAIN] != 0.0:
                u = int(math.floor(s[TEXTURE_COS] * x - s[TEXTURE_SIN] * y + s[TEXTURE_SHIFT])) & mask
                v = int(math.floor(s[TEXTURE_SIN] * x + s[TEXTURE_COS] * y + s[TEXTURE_SHIFT] * 0.37)) & mask
                light += s[TEXTURE_GAIN] * textures[int(s[TEXTURE]), v, u]
            reach = int(s[RIM_PX])
            if reach > 0:
                top, bottom = max(0, y - reach), min(height - 1, y + reach)
                left, right = max(0, x - reach), min(width - 1, x + reach)
                if owner[top, x] != k or owner[bottom, x] != k or owner[y, left] != k or owner[y, right] != k:
                    light += s[RIM_GAIN]
            for c in range(3):
                out[y, x, c] = s[c] * light


@cache
def texture_bank() -> NDArray[np.float32]:
    """Return the (T, side, side) textures named in TEXTURES, each tileable, of mean 0 and deviation 1."""
    side = TEXTURE_SIDE
    rng = np.random.default_rng(7)
    yy, xx = np.mgrid[:side, :side]
    noises = [
        ndimage.gaussian_filter(rng.standard_normal((side, side)), sigma, mode="wrap")
        for sigma in (1.0, 4.0, 14.0, (1.0, 12.0))
    ]
    stripes = np.sin(xx * (2 * np.pi / 16))
    checks = np.where((xx // 16 + yy // 16) % 2 == 0, 1.0, -1.0)
    shifted = (xx + 16 * ((yy // 16) % 2)) % 32
    bricks = np.where((yy % 16 < 2) | (shifted < 2), -1.0, 0.3 * noises[0] / noises[0].std())
    dots = np.where((xx % 16 - 8) ** 2 + (yy % 16 - 8) ** 2 < 20, 1.0, 0.0)
    stack = np.stack([*noises, stripes, checks, bricks, dots])
    stack -= stack.mean(axis=(1, 2), keepdims=True)
    stack /= stack.std(axis=(1, 2), keepdims=True)
    return np.asarray(stack, np.float32)


def turned(outline: Outline, angle: float, centre: tuple[float, float]) -> Outline:
    """Return the outline turned by `angle` radians about the origin and moved to `centre` (x, y)."""
    c, s = math.cos(angle), math.sin(angle)
    return np.asarray(outline @ np.array([[c, s], [-s, c]]) + np.asarray(centre), np.float64)


def blob(rng: np.random.Generator, roughness: float, stretch: float) -> Outline:
    """Return a closed smooth outline of about unit radius: a circle with harmonics, stretched along x."""
    angles = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    radius = np.ones(40)
    for k in range(2, 6):
        radius += rng.normal(0, roughness / k) * np.cos(k * angles + rng.uniform(0, 2 * np.pi))
    radius = np.maximum(radius, 0.3)
    root = math.sqrt(stretch)
    return np.stack([radius * np.cos(angles) * root, radius * np.sin(angles) / root], axis=1)


def box(width: float, height: float) -> Outline:
    """Return a rectangle about the origin."""
    w, h = width / 2, height / 2
    return np.array([[-w, -h], [w, -h], [w, h], [-w, h]])


def superellipse(rng: np.random.Generator, stretch: float) -> Outline:
    """Return a shape between an ellipse and a rectangle, of about unit radius."""
    angles = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    power = 2 / rng.uniform(2.0, 8.0)
    c, s = np.cos(angles), np.sin(angles)
    root = math.sqrt(stretch)
    return np.stack([np.sign(c) * np.abs(c) ** power * root, np.sign(s) * np.abs(s) ** power / root], axis=1)


def polygon(rng: np.random.Generator, stretch: float) -> Outline:
    """Return a random polygon of 3 to 9 corners, or a star, of about unit radius."""
    corners = int(rng.integers(3, 10))
    angles = np.sort(2 * np.pi * (np.arange(corners) + rng.uniform(-0.35, 0.35, corners)) / corners)
    radius = rng.uniform(0.7, 1.2, corners)
    if rng.random() < 0.25:
        angles = np.linspace(0, 2 * np.pi, 2 * corners, endpoint=False)
        radius = np.where(np.arange(2 * corners) % 2 == 0, 1.1, rng.uniform(0.35, 0.7))
    root = math.sqrt(stretch)
    return np.stack([radius * np.cos(angles) * root, radius * np.sin(angles) / root], axis=1)


def ring(rng: np.random.Generator) -> Outline:
    """Return a ring or an open band as one outline (out along the rim, back along the hole), of unit radius."""
    opening = rng.choice([0.0, rng.uniform(0.3, 3.5)])
    inner = rng.uniform(0.45, 0.8)
    angles = np.linspace(0, 2 * np.pi - opening, 36)
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return np.concatenate([circle, inner * circle[::-1]])


def stroke(rng: np.random.Generator, length: float, width: float) -> Outline:
    """Return a bent band of even width about a random smooth line, in pixels, about the origin."""
    n = 14
    heading = np.cumsum(rng.normal(0, rng.choice([0.0, 0.1, 0.35]), n))
    steps = np.stack([np.cos(heading), np.sin(heading)], axis=1) * (length / n)
    line = np.cumsum(steps, axis=0)
    line -= line.mean(axis=0)
    normal = np.stack([-np.sin(heading), np.cos(heading)], axis=1) * (width / 2)
    return np.concatenate([line + normal, (line - normal)[::-1]])


def any_outline(rng: np.random.Generator, radius_px: float) -> Outline:
    """Return a shape of any family, of about this radius in pixels, about the origin."""
    stretch = float(np.exp(rng.normal(0, 0.4)))
    draw = rng.random()
    if draw < 0.3:
        shape = blob(rng, rng.uniform(0.0, 0.5), stretch)
    elif draw < 0.5:
        shape = superellipse(rng, stretch)
    elif draw < 0.65:
        shape = polygon(rng, stretch)
    elif draw < 0.85:
        shape = box(1.8 * math.sqrt(stretch), 1.8 / math.sqrt(stretch))
    elif draw < 0.92:
        shape = ring(rng)
    else:
        return stroke(rng, 4 * radius_px, max(3.0, radius_px * rng.uniform(0.15, 0.6)))
    return shape * radius_px


def blurred(image: NDArray[np.float32], sigma_px: float) -> NDArray[np.float32]:
    """Return the (H, W, 3) image blurred by a Gaussian."""
    if sigma_px < 0.2:
        return image
    y: NDArray[np.float32] = ndimage.gaussian_filter(image, (sigma_px, sigma_px, 0), truncate=3.0)
    return y


def jpeg(image: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    """Return the (H, W, 3) image after a trip through JPEG, with its blocks and ringing."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality)
    return np.array(Image.open(buffer).convert("RGB"))
