"""Scenes: the same for a seed, their truth exact."""

from __future__ import annotations

import math

import numpy as np
import pytest

from workbench.sam import shapes
from workbench.sam.canvas import Canvas
from workbench.sam.painters import PAINTERS
from workbench.sam.scenes import KINDS, MIN_AREA_PX, SAME_SHARE, Scene, draw_scene, family_table, prune
from workbench.sam.shapes import ANYWHERE


def seeds_of(kind: str) -> range:
    return range(40, 43) if kind != "cells" else range(40, 41)


def test_draw_scene__same_seed_same_scene():
    first, again, other = draw_scene(5, 128), draw_scene(5, 128), draw_scene(6, 128)
    assert np.array_equal(first.image, again.image)
    assert np.array_equal(first.owner, again.owner)
    assert np.array_equal(first.parents, again.parents)
    assert not np.array_equal(first.image, other.image)


@pytest.mark.parametrize(
    ("seed", "kind", "objects", "covered_px"),
    [(1, "fluorescence", 2, 942), (2, "cluttered", 9, 3155), (4, "thin", 23, 8745), (5, "facade", 30, 12952)],
)
def test_draw_scene__a_seed_says_what_it_said_when_the_weights_were_trained(seed, kind, objects, covered_px):
    scene = draw_scene(seed, 128)
    assert (scene.kind, len(scene)) == (kind, objects)
    assert int((scene.owner > 0).sum()) == pytest.approx(covered_px, abs=3)  # another processor may round another way


def test_draw_scene__kinds_follow_their_shares():
    drawn = {draw_scene(seed, 64).kind for seed in range(80)}
    assert drawn == set(KINDS)
    assert math.isclose(sum(KINDS.values()), 1.0)
    assert set(PAINTERS) == set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_draw_scene__shapes_types_and_visible_texture(kind):
    scene = draw_scene(3, 128, kind)
    assert scene.kind == kind
    assert scene.image.shape == (128, 128, 3)
    assert scene.image.dtype == np.uint8
    assert scene.masks.shape == (len(scene), 128, 128)
    assert scene.masks.dtype == np.bool_
    assert scene.image.std() > 0.3


@pytest.mark.parametrize("kind", KINDS)
def test_masks__none_under_the_stated_area(kind):
    for seed in seeds_of(kind):
        areas = draw_scene(seed, 192, kind).masks.sum(axis=(1, 2))
        assert (areas >= MIN_AREA_PX).all()


@pytest.mark.parametrize("kind", KINDS)
def test_masks__disjoint_unless_one_is_part_of_the_other(kind):
    for seed in seeds_of(kind):
        scene = draw_scene(seed, 160, kind)
        flat = scene.masks.reshape(len(scene), -1).astype(np.int64)
        shared = flat @ flat.T
        family = family_table(scene.parents)[1:, 1:]
        assert (shared[~(family | family.T)] == 0).all()
        whole, part = np.nonzero(family & ~np.eye(len(scene), dtype=bool))
        assert (shared[whole, part] == flat.sum(axis=1)[part]).all()  # a part lies inside its whole


def test_masks__a_whole_is_more_than_any_of_its_parts():
    scene = draw_scene(11, 256, "facade")
    area = scene.masks.sum(axis=(1, 2))
    parts = np.flatnonzero(scene.parents[1:])
    assert len(parts) > 0
    assert (area[parts] <= SAME_SHARE * area[scene.parents[1:][parts] - 1]).all()


def test_masks__n_0():
    empty = Scene(np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8), np.int16), np.zeros(1, np.int16), "plain")
    assert len(empty) == 0
    assert empty.masks.shape == (0, 8, 8)


def test_fill__area_of_a_rectangle_and_a_disc():
    owner = np.zeros((64, 64), np.int16)
    given, inside = shapes.fill(owner, shapes.box(10, 6) + (20.0, 30.0), 1, ANYWHERE, True)
    assert given == inside == 60
    assert owner[27:33, 15:25].all()
    assert owner.sum() == 60
    angles = np.linspace(0, 2 * np.pi, 400, endpoint=False)
    disc = np.stack([np.cos(angles), np.sin(angles)], axis=1) * 20 + 32.0
    yy, xx = np.mgrid[:64, :64] + 0.5
    owner[:] = 0
    shapes.fill(owner, disc, 1, ANYWHERE, True)
    assert (owner != ((xx - 32) ** 2 + (yy - 32) ** 2 <= 400)).sum() <= 8


def test_fill__later_objects_hide_earlier_ones_and_parts_stay_inside():
    canvas = Canvas(np.random.default_rng(0), 40)
    lower = canvas.put(shapes.box(20, 20) + 15.0, np.full(3, 50.0))
    part = canvas.put(shapes.box(10, 10) + 25.0, np.full(3, 90.0), where=lower, parent=lower)
    upper = canvas.put(shapes.box(10, 10) + 10.0, np.full(3, 150.0))
    owner, parents = prune(canvas.owner, np.asarray(canvas.parents, np.int16))
    scene = Scene(np.zeros((40, 40, 3), np.uint8), owner, parents, "plain")
    masks = scene.masks
    assert masks.sum(axis=(1, 2)).tolist() == [300, 25, 100]  # 400 less the 100 hidden; 5 × 5 of 10 × 10 inside
    assert not (masks[lower - 1] & masks[upper - 1]).any()
    assert (masks[part - 1] <= masks[lower - 1]).all()


def test_prune__small_ones_go_to_their_whole_or_to_the_background():
    owner = np.zeros((20, 20), np.int16)
    owner[2:12, 2:12] = 1
    owner[3:5, 3:5] = 2  # a part of 1, too small
    owner[15:17, 15:17] = 3  # alone, too small
    pruned, parents = prune(owner, np.array([0, 0, 1, 0], np.int16))
    assert parents.tolist() == [0, 0]
    assert (pruned == 1).sum() == 100
    assert (pruned == 0).sum() == 300


def test_prune__a_whole_filled_by_one_part_goes_and_its_other_parts_move_up():
    owner = np.zeros((20, 20), np.int16)
    owner[:, :10] = 1
    owner[0:10, 0:10] = 2
    owner[0:10, 0:10][:, :] = 3  # object 2 is all covered by its part 3
    pruned, parents = prune(owner, np.array([0, 0, 1, 2], np.int16))
    assert parents.tolist() == [0, 0, 1]
    assert np.bincount(pruned.ravel()).tolist() == [200, 100, 100]


def test_draw_scene__errors_name_what_was_expected():
    with pytest.raises(ValueError, match="expected one of plain"):
        draw_scene(0, kind="planes")
    with pytest.raises(ValueError, match="expected 64 or more, got 8"):
        draw_scene(0, size_px=8)
