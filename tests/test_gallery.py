"""Overlays and the page of them."""

from __future__ import annotations

import re

import numpy as np
from flat_segmenter import FlatSegmenter, squares
from PIL import Image

import workbench as wb
from workbench.gallery import COLOURS, overlay, picture, write_gallery
from workbench.masks import rle


def a_picture(name="plain"):
    image, _ = squares()
    rows = wb.propose(image, FlatSegmenter(), wb.ProposeConfig(points_per_side=8, jitter_prompts=0))
    triage = wb.triage(rows, wb.TriageConfig(jitter_stability=None, border_px=None, overlap=None))
    return picture(name, image, rows, triage)


def test_overlay__outline_has_the_colour_and_outside_stays():
    image = np.full((600, 600, 3), 100, np.uint8)
    mask = np.zeros((1, 600, 600), bool)
    mask[0, 100:200, 100:200] = True
    drawn = overlay(image, {"flagged": rle.encode(mask)})
    assert drawn.shape == (600, 600, 3)
    assert tuple(drawn[100, 150]) == COLOURS["flagged"]
    assert (drawn[:100] == 100).all()
    assert 100 < drawn[150, 150, 0] < COLOURS["flagged"][0]


def test_overlay__a_large_image_keeps_its_outlines_whole():
    mask = np.zeros((1, 40, 8003), bool)
    mask[0, 7:, 1003:7004] = True
    drawn = overlay(np.full((40, 8003, 3), 100, np.uint8), {"flagged": rle.encode(mask)})
    shown = mask[0, ::6, ::6]
    assert drawn.shape[:2] == shown.shape
    assert ((drawn != 100).any(axis=2) == shown).all()
    top = drawn[2, 168:1168]  # the first row that is kept below row 7
    assert (top == COLOURS["flagged"]).all()


def test_overlay__without_masks_and_scaled():
    assert (overlay(np.full((600, 700, 3), 7, np.uint8), {"auto_accepted": []}) == 7).all()
    assert overlay(np.zeros((100, 50, 3), np.uint8), {}).shape == (500, 250, 3)
    assert overlay(np.zeros((3300, 20, 3), np.uint8), {}).shape == (1100, 7, 3)
    assert overlay(np.zeros((1, 1, 3), np.uint8), {}).shape == (16, 16, 3)


def test_gallery__pictures_and_page(tmp_path):
    shown = a_picture()
    assert shown.counts["auto_accepted"] > 0
    page = write_gallery(tmp_path / "out", "Proposals", [shown, a_picture("scenes/two.png")], {"images": 2})
    files = sorted(p.name for p in (tmp_path / "out").iterdir())
    assert files == ["001-plain.png", "002-two.png", "gallery.html"]
    with Image.open(tmp_path / "out" / "001-plain.png") as picture_of_masks:
        assert picture_of_masks.size[0] >= 480
    text = page.read_text("utf-8")
    assert text.count("<figure>") == 2
    # all that it shows lies inside it
    assert not re.findall(r'(?:src|href)="(?!data:)', text)
    assert "http" not in text


def test_gallery__names_are_shown_as_text(tmp_path):
    page = write_gallery(
        tmp_path, "<script>alert(1)</script>", [a_picture("../<img src=x onerror=alert(1)>.png")], {"<b>": "</td>"}
    )
    text = page.read_text("utf-8")
    assert "<script>" not in text
    assert "<img src=x" not in text
    assert "<b>:" not in text
    assert all(p.parent == tmp_path for p in tmp_path.rglob("*"))


def test_gallery__of_nothing(tmp_path):
    assert "<main></main>" in write_gallery(tmp_path, "empty", [], {}).read_text("utf-8")
