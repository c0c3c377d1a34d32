"""COCO files: pycocotools as the oracle, bad entries refused one by one, masks back as they were written."""

from __future__ import annotations

import contextlib
import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from workbench.formats import coco
from workbench.formats.coco import FormatError, ImageEntry
from workbench.masks import rle
from workbench.tables.outcomes import Triage
from workbench.tables.proposals import Proposals

DATA = Path(__file__).parents[2] / ".." / "shared" / "data"
SQUARE = [1, 1, 4, 1, 4, 3, 1, 3]
IMAGE = {"id": 7, "file_name": "a.png", "height": 5, "width": 6}


def document(
    *annotations: Any, images: Any = (IMAGE,), categories: Any = ({"id": 1, "name": "cell"},)
) -> dict[str, Any]:
    given = [{"image_id": 7, "category_id": 1, **a} if isinstance(a, dict) else a for a in annotations]
    return {"images": list(images), "annotations": given, "categories": list(categories)}


def saved(tmp_path: Path, content: Any) -> Path:
    path = tmp_path / "instances.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def read(tmp_path: Path, content: Any) -> coco.CocoFile:
    return coco.read(saved(tmp_path, content))


def pycocotools_coco(path: Path) -> Any:
    with contextlib.redirect_stdout(io.StringIO()):
        return pytest.importorskip("pycocotools.coco").COCO(str(path))


# Reading


def test_read__polygon_and_run_lengths(tmp_path):
    compressed = rle.encode(np.eye(5, 6, dtype=bool)[None])[0]
    file = read(
        tmp_path,
        document(
            {"id": 3, "segmentation": [SQUARE]},
            {"id": 90, "segmentation": {"size": [5, 6], "counts": [0, 30]}, "iscrowd": 1, "category_id": None},
            {"id": 1, "segmentation": {"size": [5, 6], "counts": compressed.decode()}},
        ),
    )
    assert file.problems == []
    assert file.images == (ImageEntry("a.png", (5, 6)),)
    assert file.masks.area_px.tolist() == [6, 30, 5]
    assert file.masks.boxes_xyxy.tolist() == [[1, 1, 4, 3], [0, 0, 6, 5], [0, 0, 5, 5]]
    assert file.masks.row.tolist() == [0, 1, 2]
    assert set(file.masks.source) == {"manual"}
    assert set(file.masks.image_id) == {"a.png"}
    assert file.labels.tolist() == ["cell", "", "cell"]
    assert file.crowd.tolist() == [False, True, False]


@pytest.mark.parametrize(
    ("given", "crowd"),
    [(0, False), (1, True), (False, False), (True, True), ("0", False), ("1", True), (None, False), (1.0, True)],
)
def test_read__iscrowd_as_a_number_a_truth_value_or_text(tmp_path, given, crowd):
    file = read(tmp_path, document({"segmentation": [SQUARE], "iscrowd": given}))
    assert file.problems == []
    assert file.crowd.tolist() == [crowd]


def test_read__an_image_with_a_mask_that_covers_no_pixel_is_incomplete(tmp_path):
    sliver = {"segmentation": [[2.1, 1.0, 2.2, 1.0, 2.2, 4.0]]}
    lost = {"segmentation": [SQUARE], "image_id": 99}
    file = read(tmp_path, document({"segmentation": [SQUARE]}, sliver, lost))
    assert file.masks.area_px.tolist() == [6]
    assert file.incomplete == {"a.png"}
    assert file.refused == 2


def test_read__masks_of_one_image_under_its_content_id(tmp_path):
    images = [IMAGE, {"id": 8, "file_name": "b.png", "height": 9, "width": 9}, {**IMAGE, "id": 9, "file_name": "c.png"}]
    annotations = [{"segmentation": [SQUARE], "image_id": k} for k in (8, 7, 8)]
    file = read(tmp_path, document(*annotations, images=images))
    assert [file.rows_of(image).tolist() for image in file.images] == [[1], [0, 2], []]
    assert file.masks.row.tolist() == [0, 0, 1]
    masks = file.of_image(file.images[1], "content")
    assert masks.image_id.tolist() == ["content", "content"]
    direct = Proposals.make(rles=masks.rles, image_id="content", sizes_hw=(9, 9))
    assert masks.mask_id.tolist() == direct.mask_id.tolist()
    assert len(file.of_image(file.images[2], "empty")) == 0


@pytest.mark.parametrize(
    "content",
    [
        {"images": [], "annotations": []},
        {"images": [], "annotations": [], "categories": []},
        {"images": [IMAGE], "annotations": []},
    ],
)
def test_read__no_masks(tmp_path, content):
    file = read(tmp_path, content)
    assert (len(file.masks), len(file.labels), len(file.crowd), file.problems) == (0, 0, 0, [])
    assert len(file.images) == len(content["images"])


HUGE = 2**20
NUMBER = "9" * 300


@pytest.mark.parametrize(
    ("annotation", "reason"),
    [
        ({"segmentation": {"size": [HUGE, HUGE], "counts": "x"}}, "expected at most"),
        ({"segmentation": {"size": [HUGE, HUGE], "counts": [HUGE * HUGE]}}, "expected at most"),
        ({"segmentation": {"size": [6, 5], "counts": [0, 30]}}, r"expected the image's size (5, 6) (h, w), got (6, 5)"),
        ({"segmentation": {"size": [5, 6], "counts": [0, 31]}}, "sum to 31 px"),
        ({"segmentation": {"size": [5, 6], "counts": [-1, 31]}}, "got -1"),
        ({"segmentation": {"size": [5, 6], "counts": [0.5, 29.5]}}, "whole numbers"),
        ({"segmentation": {"size": [5, 6], "counts": [int(NUMBER)]}}, "whole numbers"),
        ({"segmentation": {"size": [5, 6], "counts": "~~~~"}}, "mask 0"),
        ({"segmentation": {"size": [5, 6], "counts": "\u20ac"}}, "ASCII"),
        ({"segmentation": {"size": [5, 6], "counts": ""}}, "cut off"),
        ({"segmentation": {"size": [5, 6], "counts": None}}, "expected a string or a list"),
        ({"segmentation": {"size": [5], "counts": [30]}}, "expected [h, w]"),
        ({"segmentation": {"counts": [30]}}, "'size' and 'counts'"),
        ({"segmentation": "a mask"}, "expected a dict"),
        ({"segmentation": [[1, 1, 4, 4]]}, "at least 3 points"),
        ({"segmentation": [[1, 1, 4, 4, 2]]}, "odd number"),
        ({"segmentation": [[1, 1, 4, 4, 2, float("nan")]]}, "finite"),
        ({"segmentation": [[1, 1, 4, 4, 2, float("inf")]]}, "finite"),
        ({"segmentation": [[1, 1, 4, 4, 2, 1e300]]}, "outline"),
        ({"segmentation": [["x", "y", "z", "x", "y", "z"]]}, "could not convert"),
        ({"segmentation": [], "bbox": [0, 0, 2, 2]}, "a box alone is no mask"),
        ({"bbox": [0, 0, 2, 2]}, "a box alone is no mask"),
        ({"segmentation": [SQUARE], "image_id": 8}, "no usable image has the id 8"),
        ({"segmentation": [SQUARE], "image_id": [7]}, "image_id: expected a whole number, got [7]"),
        ({"segmentation": [SQUARE], "image_id": float("nan")}, "image_id: expected a whole number"),
        ({"segmentation": [SQUARE], "id": 1}, "used before"),
        ({"segmentation": [SQUARE], "id": {}}, "id: expected a whole number"),
        ({"segmentation": [[90, 90, 99, 90, 99, 99]]}, "1 px or more in the image of 5×6 px (h×w), it covers none"),
        ({"segmentation": [[-9, -9, -2, -9, -2, -2]]}, "it covers none"),
        ({"segmentation": [[2.1, 1.0, 2.2, 1.0, 2.2, 4.0]]}, "it covers none"),
        ({"segmentation": {"size": [5, 6], "counts": [30]}}, "it covers none"),
        (
            {"segmentation": {"size": [5, 6], "counts": rle.encode(np.zeros((1, 5, 6), bool))[0].decode()}},
            "covers none",
        ),
        ({"segmentation": [SQUARE], "iscrowd": "yes"}, "iscrowd: expected 0 or 1, got 'yes'"),
        ({"segmentation": [SQUARE], "iscrowd": "true"}, "iscrowd: expected 0 or 1"),
        ({"segmentation": [SQUARE], "iscrowd": 2}, "iscrowd: expected 0 or 1, got 2"),
        ({"segmentation": [SQUARE], "iscrowd": [1]}, "iscrowd: expected 0 or 1"),
        ({"segmentation": [SQUARE], "iscrowd": float("nan")}, "iscrowd: expected 0 or 1"),
        ("a mask", "at place 1: expected an object, got 'a mask'"),
    ],
)
def test_read__a_bad_annotation_is_refused_and_the_rest_goes_on(tmp_path, annotation, reason):
    good = {"segmentation": [SQUARE]}
    file = read(tmp_path, document({"id": 1, **good}, annotation, {"id": 20, **good}))
    assert file.masks.area_px.tolist() == [6, 6]
    assert len(file.problems) == 1
    assert file.problems[0].startswith("annotation ")
    assert reason in file.problems[0]
    assert len(file.problems[0]) < 300


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"file_name": "../../etc/passwd"}, "inside the folder of images"),
        ({"file_name": "a/../b.png"}, "inside the folder of images"),
        ({"file_name": "/etc/passwd"}, "absolute"),
        ({"file_name": "C:/a.png"}, "absolute"),
        ({"file_name": "C:a.png"}, "absolute"),
        ({"file_name": "//server/share/a.png"}, "absolute"),
        ({"file_name": "folder\\a.png"}, "backslashes"),
        ({"file_name": "..\\a.png"}, "backslashes"),
        ({"file_name": "a\0.png"}, "control characters"),
        ({"file_name": "\ud800.png"}, "surrogates"),
        ({"file_name": " "}, "relative path"),
        ({"file_name": None}, "relative path"),
        ({"file_name": "a.png"}, "used before"),
        ({"id": 7}, "used before"),
        ({"id": None}, "id: expected a whole number, got None"),
        ({"id": True}, "id: expected a whole number, got True"),
        ({"height": None}, "height: expected a whole number"),
        ({"height": 0}, "at least 1×1 px"),
        ({"height": -5}, "at least 1×1 px"),
        ({"width": 5.5}, "width: expected a whole number"),
        ({"width": float("inf")}, "width: expected a whole number"),
        ({"height": HUGE, "width": HUGE}, "at most 268435456 px in all"),
        ({"height": int(NUMBER)}, "in all"),
    ],
)
def test_read__a_bad_image_is_refused_with_its_masks_and_the_rest_goes_on(tmp_path, change, reason):
    bad = {"id": 8, "file_name": "b.png", "height": 5, "width": 6, **change}
    last = {"id": 9, "file_name": "sub folder/\u00e9\u202f.png", "height": 5.0, "width": 6}
    annotations = [{"segmentation": [SQUARE], "image_id": k} for k in (7, 8, 9)]
    file = read(tmp_path, document(*annotations, images=[IMAGE, bad, last]))
    assert [image.file_name for image in file.images] == ["a.png", last["file_name"]]
    assert file.masks.image_id.tolist() == ["a.png", last["file_name"]]
    assert reason in file.problems[0]
    assert file.problems[0].startswith("image ")
    assert len(file.problems) == 2
    assert "no usable image" in file.problems[1]


def test_read__an_image_refused_for_its_id_does_not_take_the_name(tmp_path):
    file = read(
        tmp_path, document(images=[IMAGE, {**IMAGE, "file_name": "b.png"}, {**IMAGE, "id": 8, "file_name": "b.png"}])
    )
    assert [image.file_name for image in file.images] == ["a.png", "b.png"]


def test_read__ids_may_be_text(tmp_path):
    images = [{**IMAGE, "id": "one"}]
    file = read(tmp_path, document({"id": "x", "image_id": "one", "segmentation": [SQUARE]}, images=images))
    assert len(file.masks) == 1
    assert file.problems == []


@pytest.mark.parametrize("number", [2, "1", [1]])
def test_read__an_unknown_category_costs_the_label_not_the_mask(tmp_path, number):
    file = read(tmp_path, document({"id": 4, "segmentation": [SQUARE], "category_id": number}))
    assert file.labels.tolist() == [""]
    assert file.problems == [
        f"annotation 4: category_id {number!r} names no category that could be used; kept without a label"
    ]


def test_read__bad_categories(tmp_path):
    categories = [{"id": 1, "name": "cell"}, {"id": 1, "name": "x"}, {"id": 2}, {"id": "3", "name": "y"}, None]
    categories += [{"id": 5 + k, "name": name} for k, name in enumerate(("\ud800", "a\x1b[2J", "a" * 201))]
    file = read(tmp_path, document(categories=categories))
    assert file.categories == {1: "cell"}
    assert len(file.problems) == 7
    assert sum("none a control character or surrogate" in problem for problem in file.problems) == 3
    assert any("at place 4: expected an object, got None" in problem for problem in file.problems)
    assert any(problem.startswith("category '3': id: expected a whole number") for problem in file.problems)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "does not parse"),
        ("{", "does not parse"),
        ("\x89PNG", "does not parse"),
        ("[]", "got a list"),
        ("3", "got a int"),
        ("{}", "list of images"),
        ('{"annotations": []}', "it has ['annotations']"),
        ('{"images": {}}', "expected a list of images"),
        ('{"images": [], "annotations": null}', "expected a list of annotations, got None"),
        ('{"images": [], "categories": []}', "expected a list of annotations, got a file of images alone"),
        ("[" * 200_000, "without end"),
        ('{"images": ' + "9" * 10_000 + "}", "does not parse"),
    ],
)
def test_read__no_coco_file(tmp_path, content, reason):
    with pytest.raises(FormatError) as caught:
        read(tmp_path, content)
    assert reason in str(caught.value)
    assert "instances.json" in str(caught.value)


def test_read__not_text(tmp_path):
    path = tmp_path / "x.json"
    path.write_bytes(bytes(range(256)))
    with pytest.raises(FormatError, match="does not parse"):
        coco.read(path)


def test_read__too_large_is_not_parsed(tmp_path):
    with pytest.raises(FormatError, match="expected at most 10 bytes, got"):
        coco.read(saved(tmp_path, document()), max_bytes=10)
    with pytest.raises(coco.FormatError, match="at most 10 bytes, got more"):
        coco.read("/dev/zero", max_bytes=10)  # says that it has none


def test_read__missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        coco.read(tmp_path / "nothing.json")


scraps = st.recursive(
    st.none() | st.booleans() | st.integers(-10, 10**12) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["size", "counts", "id"]), inner),
    max_leaves=8,
)


def entries(*names: str) -> st.SearchStrategy[Any]:
    return st.lists(st.fixed_dictionaries({}, optional=dict.fromkeys(names, scraps)) | scraps, max_size=3)


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    entries("id", "file_name", "height", "width"),
    entries("id", "image_id", "category_id", "segmentation", "iscrowd"),
    entries("id", "name"),
)
def test_read__whatever_the_entries_are_it_goes_on(tmp_path, images, annotations, categories):
    content = document(
        {"id": "kept", "segmentation": [SQUARE]},
        *annotations,
        images=[IMAGE, *images],
        categories=[{"id": 1, "name": "cell"}, *categories],
    )
    file = read(tmp_path, content)
    assert file.masks.area_px[0] == 6
    assert file.labels[0] == "cell"
    assert len(file.masks) == len(file.labels) == len(file.crowd)


# Writing


def table(masks: np.ndarray, **columns: Any) -> Proposals:
    rles = rle.encode(masks)
    size = masks.shape[1:]
    return Proposals.make(rles=rles, sizes_hw=size, **{"image_id": "content a", "predicted_iou": 0.9, **columns})


ENTRY = ImageEntry("a.png", (5, 6), image_id="content a")


@settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 4).flatmap(lambda n: arrays(bool, (n, 5, 6))))
def test_write_read__same_masks(tmp_path, masks):
    path = tmp_path / "out.json"
    proposals = table(masks)
    coco.write(path, proposals, [ENTRY])
    file = coco.read(path)
    some = masks.any(axis=(1, 2))  # empty ones are written, and refused when they are read
    assert (len(file.problems), file.refused) == ((~some).sum(), (~some).sum())
    assert file.images == (ImageEntry("a.png", (5, 6)),)
    assert file.masks.rles.tolist() == proposals.rles[some].tolist()
    assert file.of_image(file.images[0], "content a").mask_id.tolist() == proposals.mask_id[some].tolist()
    oracle = pycocotools_coco(path)
    for mask, annotation in zip(masks, oracle.loadAnns(oracle.getAnnIds()), strict=True):
        assert (oracle.annToMask(annotation) == mask).all()
        assert annotation["area"] == mask.sum()


def test_write__record(tmp_path):
    mask = np.zeros((1, 5, 6), bool)
    mask[0, 1:3, 2:6] = True
    proposals = table(mask, predicted_iou=np.float32(0.88), model_id="sam", parent_id="p", source="edited")
    coco.write(tmp_path / "out.json", proposals, [ENTRY], Triage(np.array([2]), np.array([0])))
    written = json.loads((tmp_path / "out.json").read_text())
    assert written["images"] == [{"id": 1, "file_name": "a.png", "height": 5, "width": 6}]
    assert written["categories"] == [{"id": 1, "name": "object"}]
    assert written["annotations"] == [
        {
            "id": 1,
            "image_id": 1,
            "category_id": 1,
            "segmentation": {"size": [5, 6], "counts": proposals.rles[0].decode()},
            "bbox": [2, 1, 4, 2],
            "area": 8,
            "iscrowd": 0,
            "score": float(np.float32(0.88)),
            "workbench": {
                "model_id": "sam",
                "mask_id": proposals.mask_id[0],
                "source": "edited",
                "parent_id": "p",
            },
        }
    ]


def test_write__says_how_the_masks_came_about_and_who_decided(tmp_path):
    masks = np.ones((2, 5, 6), bool)
    proposals = table(masks, jitter_stability=np.array([0.5, np.nan], np.float32), source="automatic")
    about = {"run_id": 3, "propose": {"points_per_side": 32}}
    coco.write(tmp_path / "out.json", proposals, [ENTRY], decided=[{"by": "ann"}, {}], about=about)
    written = json.loads((tmp_path / "out.json").read_text())
    assert written["info"]["workbench"] == about
    one, other = (annotation["workbench"] for annotation in written["annotations"])
    assert (one["by"], one["jitter_stability"]) == ("ann", 0.5)
    assert {"by", "jitter_stability"}.isdisjoint(other)
    with pytest.raises(ValueError, match="decided: expected one for each of the 2"):
        coco.write(tmp_path / "out.json", proposals, [ENTRY], decided=[{}])
    assert len(coco.read(tmp_path / "out.json").masks) == 2


def test_write__no_score_where_nothing_was_predicted(tmp_path):
    coco.write(tmp_path / "out.json", table(np.ones((1, 5, 6), bool), predicted_iou=np.nan), [ENTRY])
    annotation = json.loads((tmp_path / "out.json").read_text())["annotations"][0]
    assert "score" not in annotation
    assert "outcome" not in annotation["workbench"]


def test_write__nothing_at_all(tmp_path):
    coco.write(tmp_path / "out.json", Proposals.empty(), [])
    file = coco.read(tmp_path / "out.json")
    assert (file.images, len(file.masks), file.problems) == ((), 0, [])
    assert pycocotools_coco(tmp_path / "out.json").getAnnIds() == []


def test_write__deterministic(tmp_path):
    masks = np.random.default_rng(0).random((9, 5, 6)) < 0.5
    for name in ("one.json", "two.json"):
        coco.write(tmp_path / name, table(masks), [ENTRY], labels=["b", "", "a"] * 3)
    assert (tmp_path / "one.json").read_bytes() == (tmp_path / "two.json").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.json", "two.json"]


def test_write_read__labels_and_categories(tmp_path):
    labels = ["dog", "", "cat", "dog"]
    masks = table(np.ones((4, 5, 6), bool))
    coco.write(tmp_path / "out.json", masks, [ENTRY], labels=labels)
    file = coco.read(tmp_path / "out.json")
    assert file.categories == {1: "cat", 2: "dog", 3: "object"}
    assert file.labels.tolist() == ["dog", "object", "cat", "dog"]
    coco.write(tmp_path / "out.json", masks, [ENTRY], labels=labels, categories={0: "unused", 5: "dog"})
    again = coco.read(tmp_path / "out.json")
    assert again.categories == {0: "unused", 5: "dog", 6: "cat", 7: "object"}
    assert again.labels.tolist() == file.labels.tolist()


def test_write__what_does_not_fit(tmp_path):
    masks = table(np.ones((2, 5, 6), bool))
    with pytest.raises(ValueError, match="2 proposals are of image 'content a', which has no entry"):
        coco.write(tmp_path / "out.json", masks, [ImageEntry("a.png", (5, 6))])
    with pytest.raises(ValueError, match=r"has the size \(6, 5\) \(h, w\), its proposals have \[\[5, 6\]\]"):
        coco.write(tmp_path / "out.json", masks, [ImageEntry("a.png", (6, 5), "content a")])
    with pytest.raises(ValueError, match=r"expected each once, got 'a\.png'"):
        coco.write(tmp_path / "out.json", masks, [ENTRY, ImageEntry("a.png", (5, 6), "other")])
    with pytest.raises(ValueError, match="labels: expected one for each of the 2 proposals, got 1"):
        coco.write(tmp_path / "out.json", masks, [ENTRY], labels=["a"])
    with pytest.raises(ValueError, match="triage: expected one for each of the 2 proposals, got 0"):
        coco.write(tmp_path / "out.json", masks, [ENTRY], Triage(np.zeros(0), np.zeros(0)))
    assert list(tmp_path.iterdir()) == []


def test_write__a_disk_that_is_full_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "out.json"
    path.write_text("old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        coco.write(path, table(np.ones((1, 5, 6), bool)), [ENTRY])
    assert path.read_text() == "old"
    assert [one.name for one in tmp_path.iterdir()] == ["out.json"]


# Real files


@pytest.mark.slow
@pytest.mark.parametrize(("name", "images", "masks"), [("nuclei", 360, 14719), ("facades", 160, 4786)])
def test_read__real_files_as_pycocotools(name, images, masks):
    path = DATA / name / "instances.json"
    if not path.exists():
        pytest.skip(f"real images are not here: {path.resolve()} is missing")
    file = coco.read(path)
    assert (len(file.images), len(file.masks), file.problems) == (images, masks, [])
    oracle = pycocotools_coco(path)
    from pycocotools import mask as mask_api

    annotations = oracle.dataset["annotations"]
    run_lengths = [oracle.annToRLE(annotation) for annotation in annotations]
    assert file.masks.area_px.tolist() == [int(mask_api.area(one)) for one in run_lengths]
    assert file.masks.rles.tolist() == [
        one["counts"] if isinstance(one["counts"], bytes) else one["counts"].encode() for one in run_lengths
    ]
    assert file.masks.image_id.tolist() == [oracle.imgs[a["image_id"]]["file_name"] for a in annotations]
    assert file.labels.tolist() == [oracle.cats[a["category_id"]]["name"] for a in annotations]


def test_write_read__real_file(tmp_path):
    path = DATA / "facades" / "instances.json"
    if not path.exists():
        pytest.skip(f"real images are not here: {path.resolve()} is missing")
    file = coco.read(path)
    some = file.masks.select(slice(0, 500))
    coco.write(tmp_path / "out.json", some, file.images, labels=file.labels[:500], categories=file.categories)
    again = coco.read(tmp_path / "out.json")
    assert again.masks.rles.tolist() == some.rles.tolist()
    assert again.masks.mask_id.tolist() == some.mask_id.tolist()
    assert again.labels.tolist() == file.labels[:500].tolist()
    assert again.images == file.images
