from __future__ import annotations

import shutil

import pytest
import sqlalchemy as sa
import stub_sam

import workbench as wb
from workbench.store import intake
from workbench.store.errors import StoreError
from workbench.store.intake import Added
from workbench.store.schema import image_files, image_roots


@pytest.fixture
def images(tmp_path):
    return stub_sam.write_images(tmp_path / "images", 3)


@pytest.fixture
def project(tmp_path, images):
    with wb.Project.create(tmp_path / "p.wb", images) as made:
        yield made


def read(project, query):
    with project.catalog.read() as connection:
        return connection.execute(query).scalars().all()


def test_add_images__adds_only_what_is_new(project, images):
    stub_sam.write_images(images / "more", 2, seed=1)
    shutil.copy(images / "image0.png", images / "more" / "again.png")
    before = project.images()
    assert project.add_images(images) == Added(new=2, duplicates=1, unreadable=0, known=3)
    assert project.add_images(images) == Added(new=0, duplicates=0, unreadable=0, known=6)
    after = project.images()
    assert after[:3].equals(before)
    assert after["path"].tolist()[3:] == ["more/image0.png", "more/image1.png"]
    assert read(project, sa.select(image_files.c.path)) == ["more/again.png"]


def test_add_images__the_same_files_by_another_root_are_known(project, images):
    assert project.add_images(images.parent / "images" / "*.png").known == 3
    assert project.add_images(images.parent / "*" / "*.png") == Added(0, 0, 0, 3)
    assert project.add_images([images / "image2.png"]).known == 1


def test_add_images__of_another_folder(project, tmp_path):
    other = stub_sam.write_images(tmp_path / "other", 2, seed=5)
    assert project.add_images(other).new == 2
    with pytest.raises(StoreError, match="the path of 2 images in several folders"):
        project.image("image1.png")
    assert project.image(project.images()["image_id"][4]).ndim == 3
    assert read(project, sa.select(image_roots.c.path)) == ["../images", "../other"]


def test_add_images__without_a_match_is_refused(project, tmp_path):
    with pytest.raises(StoreError, match="nothing matches"):
        project.add_images(tmp_path / "none" / "*.png")


def test_add_images__tries_again_what_could_not_be_read(project, images):
    (images / "late.png").write_bytes(b"")
    (images / "twin.png").write_bytes(b"")
    assert project.add_images(images) == Added(new=0, duplicates=0, unreadable=2, known=3)
    assert project.failures()["reason"].tolist() == ["empty_file"] * 2
    stub_sam.write_images(images / "x", 1, seed=9)
    (images / "x" / "image0.png").rename(images / "late.png")
    shutil.copy(images / "image0.png", images / "twin.png")
    project.add_images(images)
    assert project.failures().empty
    assert project.images()["path"].tolist() == ["image0.png", "image1.png", "image2.png", "late.png"]
    assert read(project, sa.select(image_files.c.path)) == ["twin.png"]


def test_root_text__relative_only_beside_the_project(tmp_path):
    (tmp_path / "a").mkdir()
    assert intake.root_text(tmp_path / "a", tmp_path / "p.wb") == "../a"
    assert intake.root_text(tmp_path / "p.wb" / "images", tmp_path / "p.wb") == "images"
    assert intake.root_text(tmp_path / "a", tmp_path / "b" / "p.wb") == str(tmp_path / "a")


def test_record__many_files_in_several_transactions(project, monkeypatch):
    monkeypatch.setattr(intake, "_PER_TRANSACTION", 4)
    found = [intake.Found(f"{k}.png", "", f"{k % 9:032d}", 5, "", "") for k in range(12)]
    assert intake.record(project.catalog, "../many", found, 0, (1, 0, 0)) == Added(9, 3, 0, 0)
    assert len(project.images()) == 12


def test_gather__links_are_kept_and_files_are_taken_once(images):
    (images / "link.png").symlink_to(images / "image0.png")
    root, paths = intake.gather([images / "link.png", images / "image0.png", images / "link.png"])
    assert (root, [p.name for p in paths]) == (images, ["link.png", "image0.png"])
