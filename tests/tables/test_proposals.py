"""The proposals table: its columns are checked, rows are taken, joined and grouped, frames and back."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from typing import Any

import numpy as np
import pandas as pd
import pytest

from workbench.masks import rle
from workbench.tables.proposals import COLUMNS, SOURCES, Proposals, mask_id

RNG = np.random.default_rng(0)
PIXELS = RNG.random((5, 4, 6)) < 0.5


def five(**columns: Any) -> Proposals:
    """Five masks of images b, a, b, c, a, every column filled with values of its own."""
    given: dict[str, Any] = {
        "image_id": list("babca"),
        "sizes_hw": (4, 6),
        "boxes_xyxy": rle.to_boxes(rle.encode(PIXELS), (4, 6)),
        "area_px": PIXELS.sum(axis=(1, 2)),
        "predicted_iou": np.array([0.9, np.nan, 1.02, 0.5, 0.88], np.float32),
        "points_xy": np.arange(10).reshape(5, 2) / 4,
        "mask_index": [0, 1, 2, -1, 0],
        "crop_boxes_xyxy": (0, 0, 6, 4),
        "source": ["automatic", "manual", "edited", "automatic", "automatic"],
        "prompt": "point",
        "parent_id": ["", "x", "", "", "é"],
    }
    return Proposals.make(rles=rle.encode(PIXELS), **{**given, **columns})


def same(a: Proposals, b: Proposals) -> bool:
    return all(
        getattr(a, name).dtype == getattr(b, name).dtype
        and np.array_equal(getattr(a, name), getattr(b, name), equal_nan=column.dtype.kind == "f")
        for name, column in COLUMNS.items()
    )


def test_make__columns_have_their_dtype_and_shape():
    for table in (five(), Proposals.empty()):
        for name, column in COLUMNS.items():
            values = getattr(table, name)
            assert values.dtype == column.dtype, name
            assert values.shape == ((len(table), column.width) if column.width else (len(table),)), name


def test_make__what_is_missing_gets_its_default():
    table = Proposals.make(rles=[b"4", b"22"], sizes_hw=(2, 2))
    assert table.row.tolist() == [0, 1]
    assert np.isnan(table.predicted_iou).all()
    assert np.isnan(table.jitter_stability).all()
    assert table.mask_index.tolist() == [-1, -1]
    assert table.source.tolist() == ["automatic", "automatic"]
    assert table.mask_id.tolist() == [mask_id("", b"4", (2, 2)), mask_id("", b"22", (2, 2))]


def test_make__predicted_iou_above_one_is_kept():
    assert five().predicted_iou[2] == np.float32(1.02)


def test_make__one_box_for_all_rows_even_of_four_rows():
    table = Proposals.make(rles=[b"4"] * 4, boxes_xyxy=(1, 2, 3, 4), sizes_hw=(2, 2))
    assert table.boxes_xyxy.tolist() == [[1, 2, 3, 4]] * 4


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"iou": 1}, r"unknown columns \['iou'\]; it has row, image_id"),
        ({"predicted_iou": [0.5]}, r"Proposals\.predicted_iou: expected shape \(2,\) .*, got \(1,\)"),
        ({"boxes_xyxy": np.zeros((2, 3))}, r"Proposals\.boxes_xyxy: expected shape \(2, 4\) .*, got \(2, 3\)"),
        ({"image_id": ["a"]}, r"Proposals\.image_id: expected shape \(2,\)"),
        ({"image_id": 5}, r"Proposals\.image_id: expected str in every row, got int"),
        ({"model_id": ["a", None]}, r"Proposals\.model_id: expected str in every row, got NoneType"),
        ({"rles": ["4", "4"]}, r"Proposals\.rles: expected bytes in every row, got str"),
        ({"rles": b"22"}, r"expected a list of run lengths, got one; give \[run_lengths\]"),
        ({"area_px": 1.5}, r"Proposals\.area_px: expected whole numbers that fit int64 .* got float64 like 1\.5"),
        ({"area_px": [1, np.nan]}, r"Proposals\.area_px: .* got float64 like 1\.0, nan"),
        ({"mask_index": 300}, r"Proposals\.mask_index: expected whole numbers that fit int8 .* like 300"),
        ({"boxes_xyxy": (0, 0, 1, 2**40)}, r"Proposals\.boxes_xyxy: expected whole numbers that fit int32"),
        ({"contrast": "high"}, r"Proposals\.contrast: expected values that fit float32 .* like 'high'"),
        ({"source": "robot"}, r"Proposals\.source: expected automatic, manual, edited, got robot"),
    ],
)
def test_make__what_does_not_fit(columns, message):
    with pytest.raises(ValueError, match=message):
        Proposals.make(**{"rles": [b"4", b"4"], "sizes_hw": (2, 2), **columns})


@pytest.mark.parametrize("source", SOURCES)
def test_make__sources(source):
    assert set(five(source=source).source) == {source}


def test_mask_id__names_image_size_and_pixels():
    ids = {mask_id(image, counts, size) for image in "ab" for counts in (b"22", b"4") for size in ((2, 2), (1, 4))}
    assert len(ids) == 8
    assert all(len(one) == 32 and set(one) <= set("0123456789abcdef") for one in ids)
    assert mask_id("a", b"22", (2, 2)) == mask_id("a", b"22", (2, 2))


def test_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        five().rles = np.array([])  # type: ignore[misc]


def test_repr__says_how_many():
    assert repr(five()) == "<Proposals: 5 masks of 3 images>"
    assert repr(five().select([0])) == "<Proposals: 1 masks of 1 image>"
    assert repr(Proposals.empty()) == "<Proposals: 0 masks of 0 images>"


@pytest.mark.parametrize(
    ("index", "rows"),
    [
        (np.array([True, False, False, True, False]), [0, 3]),
        ([4, 0, 0], [4, 0, 0]),
        ([-1], [4]),
        (slice(1, 3), [1, 2]),
        ([], []),
        (np.zeros(5, bool), []),
    ],
)
def test_select__rows_in_that_order(index, rows):
    selected = five().select(index)
    assert selected.row.tolist() == rows
    assert selected.parent_id.tolist() == [["", "x", "", "", "é"][k] for k in rows]
    assert selected.boxes_xyxy.tolist() == five().boxes_xyxy[rows].reshape(-1, 4).tolist()


def test_select__what_does_not_fit():
    with pytest.raises(ValueError, match=r"expected a mask of 5 rows, got shape \(4,\)"):
        five().select(np.ones(4, bool))
    with pytest.raises(IndexError):
        five().select([5])


def test_select__of_no_rows():
    assert len(Proposals.empty().select([])) == len(Proposals.empty().select(np.zeros(0, bool))) == 0


def test_concat__parts_in_order():
    table = five()
    assert same(Proposals.concat([table.select([0, 1]), Proposals.empty(), table.select([2, 3, 4])]), table)
    assert len(Proposals.concat([])) == 0
    assert same(Proposals.concat([Proposals.empty()]), Proposals.empty())


def test_replace__columns_and_scalars():
    table = five()
    changed = table.replace(predicted_iou=0.5, prompt=["box"] * 5)
    assert changed.predicted_iou.tolist() == [0.5] * 5
    assert changed.prompt.tolist() == ["box"] * 5
    assert changed.mask_id.tolist() == table.mask_id.tolist()
    assert table.prompt.tolist() == ["point"] * 5
    with pytest.raises(ValueError, match=r"Proposals\.row: expected shape \(5,\)"):
        table.replace(row=[1, 2])


def test_replace__new_masks_or_images_have_new_mask_ids():
    table = five()
    assert table.replace(image_id="z").mask_id.tolist() == five(image_id="z").mask_id.tolist()
    assert set(table.replace(rles=rle.encode(~PIXELS)).mask_id).isdisjoint(table.mask_id)
    assert table.replace(image_id="z", mask_id="given").mask_id.tolist() == ["given"] * 5


def test_masks__one_and_several():
    table = five()
    assert (table.masks(2) == PIXELS[2]).all()
    assert (table.masks(np.int64(2)) == PIXELS[2]).all()
    assert (table.masks([3, 1]) == PIXELS[[3, 1]]).all()
    assert (table.masks(slice(None)) == PIXELS).all()
    assert table.masks([]).shape == (0, 0, 0)
    assert Proposals.empty().masks(slice(None)).shape == (0, 0, 0)


def test_masks__of_several_sizes():
    table = Proposals.concat([five(), Proposals.make(rles=[b"4"], sizes_hw=(2, 2))])
    assert table.masks(5).shape == (2, 2)
    with pytest.raises(ValueError, match=r"rows of one image size, got \[\(2, 2\), \(4, 6\)\]; select an image"):
        table.masks([0, 5])


def test_by_image__in_order_of_first_appearance():
    groups = [(image, rows.tolist()) for image, rows in five().by_image()]
    assert groups == [("b", [0, 2]), ("a", [1, 4]), ("c", [3])]
    assert list(Proposals.empty().by_image()) == []


def test_by_image__every_row_once():
    ids = RNG.choice([f"image {k}" for k in range(40)], 300)
    table = Proposals.make(rles=[b"4"] * 300, sizes_hw=(2, 2), image_id=ids)
    groups = dict(table.by_image())
    assert sorted(np.concatenate(list(groups.values())).tolist()) == list(range(300))
    for image, rows in groups.items():
        assert set(ids[rows]) == {image}
        assert (np.diff(rows) > 0).all()


@pytest.mark.parametrize("rows", [slice(None), slice(0, 0)])
def test_frame__there_and_back(rows):
    table = five().select(rows)
    frame = table.to_frame()
    assert isinstance(frame, pd.DataFrame)
    assert {"box_x0", "box_y1", "crop_x1", "point_x", "height", "width", "rles"} <= set(frame.columns)
    assert frame.columns.is_unique
    assert same(Proposals.from_frame(frame), table)
    assert same(Proposals.from_frame({name: frame[name].to_numpy() for name in frame}), table)


def test_frame__from_other_order_and_index():
    frame = five().to_frame().sample(frac=1, random_state=1)
    back = Proposals.from_frame(frame[sorted(frame.columns)])
    assert same(back, five().select(frame.index.to_numpy()))


def test_frame__missing_columns_are_named():
    with pytest.raises(ValueError, match=r"columns \['box_x1', 'rles'\] are missing; expected row, image_id"):
        Proposals.from_frame(five().to_frame().drop(columns=["rles", "box_x1"]))


def test_proposals__imports_no_pandas():
    code = "import sys, workbench.tables.proposals; print(sorted({'pandas', 'torch', 'numba'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"
