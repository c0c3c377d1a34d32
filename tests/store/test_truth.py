from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import stub_sam
from PIL import Image

import workbench as wb
from workbench.formats.coco import FormatError
from workbench.masks import rle
from workbench.tables.proposals import Proposals

H, W = 24, 32
DATA = Path(__file__).parents[3] / "shared" / "data"


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "workbench.propose.run", stub_sam.stage())
    stub_sam.write_images(tmp_path / "images" / "a", 3)
    stub_sam.write_images(tmp_path / "images" / "b", 2, seed=1)
    with wb.Project.create(tmp_path / "p.wb", tmp_path / "images") as made:
        yield made


def squares(*corners: int, size_hw=(H, W)) -> list[bytes]:
    masks = np.zeros((len(corners), *size_hw), bool)
    for mask, corner in zip(masks, corners, strict=True):
        mask[corner : corner + 4, corner : corner + 4] = True
    return rle.encode(masks)


def truth_of(names: list[str], corners: list[int], size_hw=(H, W)) -> Proposals:
    return Proposals.make(rles=squares(*corners, size_hw=size_hw), image_id=names, sizes_hw=size_hw)


def test_import_truth__is_given_back_by_image_and_in_order(project):
    ids = project.images()["image_id"]
    summary = project.import_truth(
        truth_of(["b/image1.png", "a/image0.png", "a/image0.png"], [1, 2, 3]),
        labels=["cell", "cell", "crowd of cells"],
        crowd=[False, False, True],
        images=["a/image2.png"],
    )
    assert (summary.images, summary.masks, summary.unmatched, summary.problems) == (3, 3, (), ())
    rows = project.truth()
    assert rows.image_id.tolist() == [ids[0], ids[0], ids[4]]
    assert rows.rles.tolist() == squares(2, 3, 1)
    assert set(rows.source) == {"manual"}
    assert len(set(rows.mask_id)) == 3
    labels = project.truth_labels()
    assert labels["mask_id"].tolist() == rows.mask_id.tolist()
    assert labels["label"].tolist() == ["cell", "crowd of cells", "cell"]
    assert labels["crowd"].tolist() == [False, True, False]
    assert project.truth("b/image1.png").rles.tolist() == squares(1)
    assert len(project.truth("a/image2.png")) == len(project.truth("a/image1.png")) == 0
    counts = project.images()["truth"]
    assert counts.isna().tolist() == [False, True, False, True, False]
    assert counts.dropna().tolist() == [2, 0, 1]


def test_import_truth__again_replaces_and_sweeps(project):
    had = [project.import_truth(truth_of(["a/image0.png"], [corner])).replaced for corner in (1, 2, 3)]
    assert had == [0, 1, 1]
    project.import_truth(truth_of(["a/image1.png"], [5]))
    assert project.truth().rles.tolist() == squares(3, 5)
    assert len(list(project.path.glob("shards/truth/*.parquet"))) <= 3
    assert project.check() == []


def test_import_truth__by_id(project):
    image_id = project.images()["image_id"][1]
    assert project.import_truth(truth_of([image_id], [4])).images == 1
    assert project.truth(image_id).rles.tolist() == squares(4)


def test_import_truth__n_0(project):
    assert project.import_truth(Proposals.empty()).to_dict() == {
        "images": 0,
        "masks": 0,
        "replaced": 0,
        "unmatched": [],
        "problems": [],
    }
    assert len(project.truth()) == len(project.truth_labels()) == 0


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("a/image0.png", "a/image0.png"),
        ("images/a/image0.png", "a/image0.png"),
        ("image2.png", "a/image2.png"),
        ("image0.png", None),  # there are two
        ("c/image2.png", None),
        ("../images/a/image0.png", "a/image0.png"),  # text that ends alike; nothing is opened by that name
        ("other.png", None),
    ],
)
def test_import_truth__names_are_matched_without_opening_paths(project, name, path):
    summary = project.import_truth(truth_of([name], [4]))
    assert summary.unmatched == (() if path else (name,))
    assert project.images().query("truth == 1")["path"].tolist() == ([path] if path else [])


def test_import_truth__of_another_size_is_a_problem(project):
    summary = project.import_truth(truth_of(["a/image0.png"], [1], size_hw=(W, H)))
    assert (summary.images, summary.masks) == (0, 0)
    assert "its masks have 32×24 px (h×w), the image has 24×32 px" in summary.problems[0]


def test_import_truth__of_an_image_that_cannot_be_read_is_a_problem(project):
    (project.path.parent / "images" / "a" / "image0.png").unlink()
    assert "there is none" in project.import_truth(truth_of(["a/image0.png"], [1])).problems[0]


def test_import_truth__two_names_for_one_image(project):
    names = ["a/image0.png", "images/a/image0.png"]
    summary = project.import_truth(truth_of(names, [1, 2]))
    assert (summary.images, summary.masks) == (1, 1)
    assert summary.problems == ("images/a/image0.png: it means an image that a/image0.png means too",)


def test_import_truth__of_another_folder_never_comes_before_that_of_the_image_itself(project):
    names = ["other/a/image0.png", "images/a/image0.png"]
    summary = project.import_truth(truth_of(names, [1, 2]))
    assert summary.problems == ("other/a/image0.png: it means an image that images/a/image0.png means too",)
    assert np.array_equal(project.truth("a/image0.png").rles, truth_of(names, [1, 2]).rles[1:])
    summary = project.import_truth(truth_of(["other/a/image0.png", "more/a/image0.png"], [1, 2]))
    assert summary.images == 0
    assert all("none of which lies in its folder: none is taken" in told for told in summary.problems)
    summary = project.import_truth(truth_of(["other/a/image0.png"], [3]))
    assert summary.images == 1
    assert "other/a/image0.png for a/image0.png was taken by the last part" in summary.problems[0]


def test_import_truth__columns_of_another_length(project):
    with pytest.raises(ValueError, match="labels: expected one for each of the 1 masks, got 2"):
        project.import_truth(truth_of(["a/image0.png"], [1]), labels=["a", "b"])
    with pytest.raises(ValueError, match="crowd"):
        project.import_truth(truth_of(["a/image0.png"], [1]), crowd=[True, False])


def test_coco__out_and_in_gives_the_same_masks(project, tmp_path):
    project.propose(stub_sam.StubSam(), progress=False)
    n = project.export_coco(tmp_path / "all.json", outcome="all")
    rows = project.proposals()
    assert n == len(rows) > 0
    summary = project.import_coco(tmp_path / "all.json")
    assert (summary.images, summary.masks, summary.problems) == (5, n, ())
    assert project.truth().mask_id.tolist() == rows.mask_id.tolist()


def test_coco__out_and_in_where_paths_repeat_in_roots_of_one_name(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "workbench.propose.run", stub_sam.stage())
    for seed, day in enumerate(("monday", "tuesday")):
        stub_sam.write_images(tmp_path / day / "raw", 2, seed=seed)
    with wb.Project.create(tmp_path / "p.wb", tmp_path / "monday" / "raw") as project:
        project.add_images(tmp_path / "tuesday" / "raw")
        project.propose(stub_sam.StubSam(), progress=False)
        n = project.export_coco(tmp_path / "all.json", outcome="all")
        names = [image["file_name"] for image in json.loads((tmp_path / "all.json").read_text())["images"]]
        assert names == [f"{day}/raw/image{i}.png" for day in ("monday", "tuesday") for i in range(2)]
        summary = project.import_coco(tmp_path / "all.json")
        assert (summary.images, summary.masks, summary.unmatched) == (4, n, ())
        assert project.truth().mask_id.tolist() == project.proposals().mask_id.tolist()


def test_export_coco__writes_one_outcome_with_provenance(project, tmp_path):
    project.propose(stub_sam.StubSam(), progress=False)
    project.triage(wb.TriageConfig(min_area_px=0, predicted_iou=0.8, border_px=None))
    n = project.export_coco(tmp_path / "some.json")
    document = json.loads((tmp_path / "some.json").read_text())
    assert n == len(document["annotations"]) == len(project.proposals(outcome="auto_accepted")) > 0
    assert {a["workbench"]["outcome"] for a in document["annotations"]} == {"auto_accepted"}
    assert [image["file_name"] for image in document["images"]] == project.images()["path"].tolist()


def test_import_coco__bad_entries_are_told_and_the_rest_is_kept(project, tmp_path):
    size = {"height": H, "width": W}
    mask = {"size": [H, W], "counts": squares(3)[0].decode()}
    huge = {"size": [10**9, 10**9], "counts": "0" * 10}
    document = {
        "images": [
            {"id": 1, "file_name": "a/image0.png", **size},
            {"id": 2, "file_name": "../../etc/passwd", **size},
            {"id": 3, "file_name": "gone.png", **size},
        ],
        "categories": [{"id": 1, "name": "cell"}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 1, "segmentation": mask},
            {"id": 2, "image_id": 2, "category_id": 1, "segmentation": mask},
            {"id": 3, "image_id": 1, "category_id": 1, "segmentation": huge},
        ],
    }
    (tmp_path / "truth.json").write_text(json.dumps(document))
    summary = project.import_coco(tmp_path / "truth.json")
    assert (summary.images, summary.masks, summary.unmatched) == (1, 1, ("gone.png",))
    assert len(summary.problems) == 4
    assert summary.problems[0].startswith("a/image0.png has truth with gaps, since some masks were refused")
    assert any("inside the folder of images" in line for line in summary.problems)
    assert project.truth_labels()["label"].tolist() == ["cell"]


def coco(tmp_path, annotations: list[dict], name: str = "a/image0.png"):
    """Write a COCO file of one image."""
    document = {
        "images": [{"id": 1, "file_name": name, "height": H, "width": W}],
        "annotations": [{"id": k, "category_id": 1, **a} for k, a in enumerate(annotations, 1)],
        "categories": [{"id": 1, "name": "cell"}],
    }
    (tmp_path / "truth.json").write_text(json.dumps(document))
    return tmp_path / "truth.json"


def test_import_coco__masks_of_no_image_and_masks_that_are_there_twice_are_told_first(project, tmp_path):
    mask = {"size": [H, W], "counts": squares(3)[0].decode()}
    one, nowhere = {"image_id": 1, "segmentation": mask}, {"image_id": -7, "segmentation": mask}
    summary = project.import_coco(coco(tmp_path, [one, nowhere, one, nowhere]))
    assert summary.masks == 2
    assert summary.problems[0].startswith("2 annotations name no image of the file: which images they are missing from")
    assert summary.problems[1].startswith(
        "1 masks are there already, to the pixel, on the same image (first on a/image0.png)"
    )


def test_import_coco__a_file_of_images_alone_leaves_the_truth(project, tmp_path):
    mask = {"size": [H, W], "counts": squares(3)[0].decode()}
    file = coco(tmp_path, [{"image_id": 1, "segmentation": mask}])
    project.import_coco(file)
    document = json.loads(file.read_text())
    del document["annotations"]
    file.write_text(json.dumps(document))
    with pytest.raises(FormatError, match="got a file of images alone"):
        project.import_coco(file)
    assert len(project.truth()) == 1


@pytest.mark.parametrize(
    "counts", [b"zz", b"", rle.encode(np.zeros((1, H, W), bool))[0]], ids=["none", "no text", "empty"]
)
def test_import_truth__run_lengths_that_are_none_are_refused_and_nothing_is_replaced(project, tmp_path, counts):
    mask = {"size": [H, W], "counts": squares(3)[0].decode()}
    project.import_coco(coco(tmp_path, [{"image_id": 1, "segmentation": mask}]))
    with pytest.raises(ValueError, match=r"masks: expected .* in row 0"):
        project.import_truth(Proposals.make(rles=[counts], image_id="a/image0.png", sizes_hw=(H, W)))
    with pytest.raises(TypeError, match="got the text"):
        project.import_truth(Proposals.empty(), images="a/image0.png")
    assert len(project.truth()) == 1


def test_names__forms_that_look_the_same_and_a_leading_dot_are_the_same(tmp_path):
    name = "Pl\u00e4tte 1.png"  # a letter with its dots; Macs write letter and dots
    (tmp_path / "images").mkdir()
    Image.fromarray(np.full((H, W, 3), 9, np.uint8)).save(tmp_path / "images" / name)
    with wb.Project.create(tmp_path / "p.wb", str(tmp_path / "images")) as project:
        mask = {"size": [H, W], "counts": squares(3)[0].decode()}
        for written in ("Pla\u0308tte 1.png", f"./{name}", name):
            summary = project.import_coco(coco(tmp_path, [{"image_id": 1, "segmentation": mask}], written))
            assert (summary.images, summary.unmatched, summary.problems) == (1, (), ())


@pytest.mark.skipif(not (DATA / "facades").exists(), reason="needs the real images in ../shared/data")
def test_import_coco__facades(tmp_path):
    document = json.loads((DATA / "facades" / "instances.json").read_text())
    chosen = document["images"][:3]
    keys = {image["id"] for image in chosen}
    wanted = [a for a in document["annotations"] if a["image_id"] in keys]
    with wb.Project.create(
        tmp_path / "p.wb", [DATA / "facades" / "images" / i["file_name"] for i in chosen]
    ) as project:
        summary = project.import_coco(DATA / "facades" / "instances.json")
        assert summary.images == 3
        assert summary.masks + sum("annotation" in line for line in summary.problems) >= len(wanted)
        assert len(project.truth()) == summary.masks > 0
        assert len(summary.unmatched) == len(document["images"]) - 3
