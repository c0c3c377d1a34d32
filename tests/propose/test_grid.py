"""Crops and point grids, against the official ones where there are any."""

from __future__ import annotations

import numpy as np
import pytest
from segment_anything.utils import amg

import workbench as wb
from workbench.propose.grid import Crop, crops, points


@pytest.mark.parametrize("size_hw", [(480, 640), (101, 67), (1, 90), (2, 2), (1500, 2250)])
@pytest.mark.parametrize("layers", [0, 1, 3])
def test_crops__are_the_official_ones(size_hw, layers):
    expected, layer = amg.generate_crop_boxes(size_hw, layers, 512 / 1500)
    found = crops(size_hw, wb.ProposeConfig(crop_n_layers=layers))
    with_pixels = [(tuple(b), i) for b, i in zip(expected, layer, strict=True) if b[2] > b[0] and b[3] > b[1]]
    assert [tuple(crop) for crop in found] == with_pixels


@pytest.mark.parametrize(("per_side", "downscale", "layer"), [(32, 1, 0), (32, 2, 2), (5, 2, 1)])
def test_points__are_the_official_ones_to_the_last_bit(per_side, downscale, layer):
    crop = Crop((10, 20, 333, 175), layer)
    expected = amg.build_all_layer_point_grids(per_side, 2, downscale)[layer] * np.array([155, 323])[None, ::-1]
    found = points(crop, wb.ProposeConfig(points_per_side=per_side, crop_points_downscale=downscale))
    assert found.tobytes() == expected.tobytes()


def test_points__default_is_1024():
    assert points(Crop((0, 0, 640, 480), 0), wb.ProposeConfig()).shape == (1024, 2)


def test_points__spacing_in_pixels():
    found = points(Crop((0, 0, 640, 320), 0), wb.ProposeConfig(spacing_px=32))
    assert found.shape == (20 * 10, 2)
    assert found[0].tolist() == [16, 16]
    assert np.allclose(np.diff(np.unique(found[:, 0])), 32)


def test_points__never_fewer_than_one():
    assert points(Crop((0, 0, 3, 3), 0), wb.ProposeConfig(spacing_px=50)).tolist() == [[1.5, 1.5]]
    config = wb.ProposeConfig(points_per_side=2, crop_points_downscale=8, crop_n_layers=1)
    assert len(points(Crop((0, 0, 3, 3), 1), config)) == 1
