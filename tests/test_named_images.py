"""Images named as a shell completes them: the path of the file, absolute or from here."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

import workbench as wb
from workbench.store.errors import StoreError


@pytest.fixture
def project(tmp_path, monkeypatch):
    for name in ("a/one.png", "b/one.png", "b/two.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shade = 40 * len(name) + ord(name[0]) + ord(name[2])
        Image.fromarray(np.full((8, 9, 3), shade % 256, np.uint8)).save(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    with wb.Project.create("p.wb", images="a/*.png") as made:
        made.add_images("b/*.png")
        yield made


def test_image__by_the_path_from_here_and_by_the_absolute_one(project, tmp_path):
    for name in ("a/one.png", "b/one.png", "b/two.png"):
        wanted = np.asarray(Image.open(tmp_path / name))
        assert np.array_equal(project.image(name), wanted)
        assert np.array_equal(project.image(str(tmp_path / name)), wanted)


def test_image__a_file_that_is_none_of_the_project_is_refused_in_words(project, tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "b" / "stray.png")
    with pytest.raises(StoreError, match="none is called"):
        project.image("b/stray.png")
    (tmp_path / "c").mkdir()
    Image.new("RGB", (4, 4)).save(tmp_path / "c" / "two.png")  # another file of a name that is known
    with pytest.raises(StoreError, match="none is called"):
        project.image("c/two.png")
    with pytest.raises(StoreError, match="none is called"):
        project.image("a/\0.png")
