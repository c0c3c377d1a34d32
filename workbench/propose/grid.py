"""Where prompts go: crops of the image and the point grid in each."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from workbench.config import ProposeConfig


class Crop(NamedTuple):
    """A part of the image that is embedded by itself: half-open box in px and its layer (0: the whole image)."""

    box_xyxy: tuple[int, int, int, int]
    layer: int

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width of the crop, px."""
        x0, y0, x1, y1 = self.box_xyxy
        return y1 - y0, x1 - x0


def crops(size_hw: tuple[int, int], config: ProposeConfig) -> list[Crop]:
    """Return the whole image and, for each layer i up to `crop_n_layers`, its (2^i)^2 overlapping crops.

    The overlap of layer i is `crop_overlap_ratio` of the short side, times 2 / 2^i. Crops without a pixel, which
    very small images give, are left out.

    Source: facebookresearch/segment-anything, generate_crop_boxes.
    """
    height, width = size_hw
    found = [Crop((0, 0, width, height), 0)]
    for layer in range(1, config.crop_n_layers + 1):
        per_side = 2**layer
        overlap = int(config.crop_overlap_ratio * min(height, width) * (2 / per_side))
        crop_w, crop_h = (math.ceil((overlap * (per_side - 1) + side) / per_side) for side in (width, height))
        for x0 in ((crop_w - overlap) * i for i in range(per_side)):
            for y0 in ((crop_h - overlap) * i for i in range(per_side)):
                box = (x0, y0, min(x0 + crop_w, width), min(y0 + crop_h, height))
                if box[2] > box[0] and box[3] > box[1]:
                    found.append(Crop(box, layer))
    return found


def points(crop: Crop, config: ProposeConfig) -> np.ndarray:
    """Return the point grid of a crop: (P, 2) float64 (x, y) in px of the crop, row by row.

    `points_per_side` places n × n points, in crops fewer by `crop_points_downscale` a layer; `spacing_px`, where it is
    set, places them that far apart (as nearly as a whole number of points allows) in the image and in every crop.

    Source: facebookresearch/segment-anything, build_point_grid; the seed, section 7, for the spacing.
    """
    height, width = crop.size_hw
    if config.spacing_px is None:
        per_side = max(1, int(config.points_per_side / config.crop_points_downscale**crop.layer))
        across = down = per_side
    else:
        across, down = (max(1, round(side / config.spacing_px)) for side in (width, height))
    grid_x, grid_y = np.meshgrid(_centres(across), _centres(down))
    # multiplied as one array, as the official generator does, so that every coordinate has the same last bit
    grid: np.ndarray = np.stack([grid_x, grid_y], axis=-1).reshape(-1, 2) * np.array([[width, height]])
    return grid


def _centres(n: int) -> np.ndarray:
    """Return n points in (0, 1), half a step from either end."""
    offset = 1 / (2 * n)
    return np.linspace(offset, 1 - offset, n)
