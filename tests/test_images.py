"""Images on disk: ids, safe reading, finding, domain tags, roles and names."""

from __future__ import annotations

import os
import pickle
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import workbench
from workbench.images import (
    ROLES,
    ImageError,
    array_id,
    assign_role,
    content_id,
    domain_of,
    find_images,
    read_bytes,
    read_image,
    safe_name,
)

pytestmark = pytest.mark.filterwarnings("error")

PICTURE = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)


def save(path: Path, form: str = "PNG") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(PICTURE).save(path, form)
    return path


def reason_of(path: Path | str, **options: object) -> str:
    with pytest.raises(ImageError) as caught:
        read_image(path, **options)
    assert Path(path).name in str(caught.value)
    return caught.value.reason


# ---- ids --------------------------------------------------------------------------------------------------------


def test_content_id__known_answer() -> None:
    assert content_id(b"") == "e3b0c44298fc1c149afbf4c8996fb924"  # SHA-256 of nothing
    assert content_id(b"abc") == "ba7816bf8f01cfea414140de5dae2223"


def test_array_id__shape_and_pixels_count() -> None:
    assert re.fullmatch("[0-9a-f]{32}", array_id(PICTURE))
    ids = {array_id(a) for a in (PICTURE, PICTURE.reshape(9, 6, 3), PICTURE + np.uint8(1))}
    assert len(ids) == 3
    assert content_id(PICTURE.tobytes()) not in ids
    assert array_id(PICTURE[:, ::-1]) == array_id(PICTURE[:, ::-1].copy())


@pytest.mark.parametrize("wrong", [PICTURE[..., 0], PICTURE.astype(np.float32), PICTURE[..., :2], PICTURE[:0], [[0]]])
def test_array_id__other_arrays_are_refused(wrong: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"image: expected (\(H, W, 3\) uint8 RGB|at least one pixel), got"):
        array_id(wrong)


# ---- reading ----------------------------------------------------------------------------------------------------


def test_read_image__picture_and_id(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png")
    image, image_id = read_image(path)
    np.testing.assert_array_equal(image, PICTURE)
    assert image_id == content_id(path.read_bytes())
    assert read_image(str(path), root=tmp_path)[1] == image_id


def test_read_image__duplicate_content_is_one_id(tmp_path: Path) -> None:
    first = save(tmp_path / "a.png")
    second = Path(shutil.copy(first, tmp_path / "b.png"))
    assert read_image(first)[1] == read_image(second)[1]
    assert read_image(save(tmp_path / "c.bmp", "BMP"))[1] != read_image(first)[1]


def test_read_image__suffix_does_not_matter_content_does(tmp_path: Path) -> None:
    np.testing.assert_array_equal(read_image(save(tmp_path / "tiff.png", "TIFF"))[0], PICTURE)
    np.testing.assert_array_equal(read_image(save(tmp_path / "png.xyz"))[0], PICTURE)
    (tmp_path / "text.png").write_text("not a picture")
    assert reason_of(tmp_path / "text.png") == "not_an_image"


def test_read_image__zero_bytes_truncated_too_large(tmp_path: Path) -> None:
    (tmp_path / "empty.png").touch()
    assert reason_of(tmp_path / "empty.png") == "empty_file"
    path = save(tmp_path / "a.png")
    (tmp_path / "cut.png").write_bytes(path.read_bytes()[:100])
    assert reason_of(tmp_path / "cut.png") == "truncated"
    assert reason_of(path, max_pixels=53) == "too_large"
    assert read_image(path, max_pixels=54)[0].shape == (6, 9, 3)


def test_read_bytes__size_limit(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"12345")
    assert read_bytes(tmp_path / "a", max_bytes=5) == b"12345"
    with pytest.raises(ImageError, match=r"at most 4 bytes, got 5") as caught:
        read_bytes(tmp_path / "a", max_bytes=4)
    assert caught.value.reason == "too_large"


def test_read_bytes__huge_sparse_file_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "huge.png").open("wb") as file:
        file.truncate(1 << 40)
    assert reason_of(tmp_path / "huge.png") == "too_large"


def test_read_image__folder_pipe_socket_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.png").mkdir()
    assert reason_of(tmp_path / "x.png") == "not_a_file"
    os.mkfifo(tmp_path / "pipe.png")
    assert reason_of(tmp_path / "pipe.png") == "not_a_file"  # and does not wait for a writer
    assert reason_of("/dev/zero") == "not_a_file"
    monkeypatch.chdir(tmp_path)  # names of sockets are short
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("s.png")
        assert reason_of("s.png") == "not_a_file"


def test_read_image__missing(tmp_path: Path) -> None:
    assert reason_of(tmp_path / "none.png") == "missing"
    assert reason_of(save(tmp_path / "a.png") / "b.png") == "missing"
    (tmp_path / "dangling.png").symlink_to(tmp_path / "none.png")
    assert reason_of(tmp_path / "dangling.png") == "missing"


def test_read_image__link_in_a_circle_and_odd_names(tmp_path: Path) -> None:
    (tmp_path / "a.png").symlink_to(tmp_path / "b.png")
    (tmp_path / "b.png").symlink_to(tmp_path / "a.png")
    assert reason_of(tmp_path / "a.png") == "unreadable"
    assert reason_of(tmp_path / "nul\0.png") == "unreadable"
    assert reason_of(tmp_path / ("n" * 400)) == "unreadable"


def test_read_image__links_and_dots_against_the_folder(tmp_path: Path) -> None:
    outside, root = save(tmp_path / "secret.png"), tmp_path / "cells"
    inside = save(root / "deep" / "a.png")
    (root / "out.png").symlink_to(outside)
    (root / "in.png").symlink_to(inside)
    (root / "folder").symlink_to(tmp_path)
    assert reason_of(root / "out.png", root=root) == "outside_folder"
    assert reason_of(root / "folder" / "secret.png", root=root) == "outside_folder"
    assert reason_of(root / ".." / "secret.png", root=root) == "outside_folder"
    assert reason_of(outside, root=root) == "outside_folder"
    assert read_image(root / "in.png", root=root)[0].shape == (6, 9, 3)
    assert read_image(root / "deep" / ".." / "deep" / "a.png", root=root)[0].shape == (6, 9, 3)
    assert read_image(root / "out.png")[0].shape == (6, 9, 3)  # no folder given, none to leave


def test_read_image__neighbour_with_the_same_beginning_is_outside(tmp_path: Path) -> None:
    (tmp_path / "cells").mkdir()
    assert reason_of(save(tmp_path / "cells2" / "a.png"), root=tmp_path / "cells") == "outside_folder"


def test_read_image__folder_that_is_itself_a_link(tmp_path: Path) -> None:
    save(tmp_path / "real" / "a.png")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert read_image(tmp_path / "link" / "a.png", root=tmp_path / "link")[0].shape == (6, 9, 3)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """Give a folder that every user may enter; pytest's own are closed to others."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    for path in [folder, *folder.iterdir()]:
        path.chmod(0o755)
    shutil.rmtree(folder)


AS_NOBODY = """
import os, sys
from pathlib import Path
from workbench.images import ImageError, find_images, read_image
if os.getuid() == 0:  # root may read everything
    try: os.setuid(65534)
    except OSError: sys.exit(77)
root, paths = find_images(sys.argv[1])
for path in paths:
    try: print(path.name, read_image(path, root=root)[0].shape[0])
    except ImageError as error: print(path.name, error.reason)
"""


def test_read_image__no_permission(open_folder: Path) -> None:
    save(open_folder / "a.png").chmod(0o644)
    save(open_folder / "b.png").chmod(0)
    save(open_folder / "closed" / "c.png").chmod(0o644)
    (open_folder / "closed").chmod(0)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", AS_NOBODY, open_folder],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(workbench.__file__).parents[1])},
    )
    if done.returncode == 77:
        pytest.skip("root cannot become another user here")
    assert not done.stderr
    assert done.stdout.splitlines() == ["a.png 6", "b.png no_permission", "closed no_permission"]


def test_image_error__survives_a_process_pool() -> None:
    error = pickle.loads(pickle.dumps(ImageError("truncated", "a.png: ends too early")))
    assert (error.reason, str(error)) == ("truncated", "a.png: ends too early")


# ---- finding ----------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("img10.png", "img2.PNG", "img1.png", ".hidden.png", "notes.txt", "sub/b.tif", "sub/deep/c.jpeg",
                 ".cache/d.png"):  # fmt: skip
        (tmp_path / "cells" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "cells" / name).touch()
    (tmp_path / "cells" / "x.png").mkdir()
    return tmp_path / "cells"


def found(pattern: Path | str) -> list[str]:
    root, paths = find_images(pattern)
    assert root.is_absolute()
    return [path.relative_to(root).as_posix() for path in paths]


def test_find_images__folder_recursively(folder: Path) -> None:
    expected = ["img1.png", "img2.PNG", "img10.png", "sub/b.tif", "sub/deep/c.jpeg"]
    assert found(folder) == found(str(folder) + "/") == found(folder / "**") == expected
    assert find_images(folder)[0] == folder


def test_find_images__glob_lists_what_matches_folders_too(folder: Path) -> None:
    assert found(folder / "*.png") == ["img1.png", "img10.png", "x.png"]
    assert reason_of(folder / "x.png", root=folder) == "not_a_file"
    assert found(folder / "img?.*") == ["img1.png", "img2.PNG"]
    assert found(folder / "img[12].*") == ["img1.png", "img2.PNG"]
    assert found(folder / "**" / "*.tif") == ["sub/b.tif"]
    assert found(folder / "**" / "**" / "*.[jt]*") == ["notes.txt", "sub/b.tif", "sub/deep/c.jpeg"]
    assert found(folder / "s*" / "deep" / "*") == ["sub/deep/c.jpeg"]
    assert found(folder / "*" / "b.tif") == ["sub/b.tif"]
    assert found(folder / ".h*") == [".hidden.png"]
    assert found(folder.parent / "*" / "img1.png") == ["cells/img1.png"]


def test_find_images__one_file(folder: Path) -> None:
    assert find_images(folder / "img1.png") == (folder, [folder / "img1.png"])
    assert found(folder / ".hidden.png") == [".hidden.png"]


def test_find_images__relative_and_home(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent)
    monkeypatch.setenv("HOME", str(folder.parent))
    everything = find_images(folder / "*.png")
    assert find_images("cells/*.png") == find_images("./cells/*.png") == find_images("~/cells/*.png") == everything
    assert find_images("*/img1.png")[0] == folder.parent
    assert find_images("cells/**/*.tif")[1] == [folder / "sub" / "b.tif"]


def test_find_images__brackets_in_a_folder_that_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "data[1]" / "a.png")
    assert found(tmp_path / "data[1]" / "*.png") == ["a.png"]
    monkeypatch.chdir(tmp_path / "data[1]")
    assert found("*.png") == found(".") == ["a.png"]


def test_find_images__linked_folders_are_not_walked(tmp_path: Path) -> None:
    save(tmp_path / "cells" / "a.png")
    (tmp_path / "cells" / "loop").symlink_to(tmp_path / "cells")
    assert found(tmp_path / "cells") == found(tmp_path / "cells" / "**" / "*.png") == ["a.png"]


def test_find_images__order_does_not_hang_on_the_disk(tmp_path: Path) -> None:
    names = [f"{a}{n}.png" for n in (100, 9, 10, 1, 2) for a in "ba"] + ["a01.png", "7.png", "a.png"]
    for name in names:
        (tmp_path / name).touch()
    assert found(tmp_path) == found(tmp_path / "*") == [
        "7.png", "a01.png", "a1.png", "a2.png", "a9.png", "a10.png", "a100.png", "a.png",
        "b1.png", "b2.png", "b9.png", "b10.png", "b100.png",
    ]  # fmt: skip


@pytest.mark.parametrize("pattern", ["none/*.png", "none.png", "*.webp", "sub/none/deep/**/*.png", "notes.txt/*.png"])
def test_find_images__nothing_names_the_nearest_folder(folder: Path, pattern: str) -> None:
    with pytest.raises(ImageError, match="nothing matches") as caught:
        find_images(folder / pattern)
    assert caught.value.reason == "missing"
    assert f"{folder / 'sub' if pattern.startswith('sub') else folder};" in str(caught.value)


@pytest.mark.parametrize("pattern", ["", "  ", "a\0b", "~nobody_of_that_name/x.png"])
def test_find_images__no_pattern(pattern: str) -> None:
    with pytest.raises(ImageError) as caught:
        find_images(pattern)
    assert caught.value.reason == "missing"


def test_find_images__empty_folder(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=re.escape(str(tmp_path))):
        find_images(tmp_path)


def test_find_images__dangling_link_is_listed(tmp_path: Path) -> None:
    (tmp_path / "a.png").symlink_to(tmp_path / "none.png")
    assert found(tmp_path) == found(tmp_path / "a.png") == found(tmp_path / "*.png") == ["a.png"]


# ---- domains, roles, names ----------------------------------------------------------------------------------------


def test_domain_of__first_folder_below_the_root(tmp_path: Path) -> None:
    assert domain_of(tmp_path / "a.png", tmp_path) == ""
    assert domain_of(tmp_path / "nuclei" / "a.png", tmp_path) == "nuclei"
    assert domain_of(tmp_path / "nuclei" / "raw" / "a.png", str(tmp_path)) == "nuclei"
    assert domain_of(tmp_path.parent / "a.png", tmp_path) == ""
    assert domain_of(tmp_path / ".." / "a.png", tmp_path) == ""


def test_assign_role__shares_and_stability() -> None:
    ids = [content_id(str(i).encode()) for i in range(6000)]
    roles = [assign_role(i, 7) for i in ids]
    counts = Counter(roles)
    assert set(counts) == set(ROLES)
    for role, share in zip(ROLES, (0.6, 0.2, 0.2), strict=True):
        assert abs(counts[role] / 6000 - share) < 0.025  # 4 standard deviations
    assert [assign_role(i, 8) for i in ids] != roles
    assert roles[:5] == ["train", "train", "test", "test", "calibration"]  # the same on every machine, for ever


def test_assign_role__growing_a_share_moves_only_into_it() -> None:
    for image_id in map(str, range(500)):
        if assign_role(image_id, 0, (0.5, 0.3, 0.2)) == "train":
            assert assign_role(image_id, 0, (0.6, 0.2, 0.2)) == "train"


def test_assign_role__a_share_of_none_gets_none() -> None:
    ids = [str(i) for i in range(300)]
    assert {assign_role(i, 0, (0, 0, 1)) for i in ids} == {"test"}
    assert {assign_role(i, 0, (0.5, 0.5, 0)) for i in ids} == {"train", "calibration"}
    assert {assign_role(i, 0, (0.1 + 0.2, 0.7, 0)) for i in ids} == {"train", "calibration"}


@pytest.mark.parametrize("shares", [(0.6, 0.4), (0.6, 0.2, 0.3), (1.2, -0.1, -0.1), (float("nan"), 0.5, 0.5)])
def test_assign_role__wrong_shares(shares: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="shares: expected three numbers"):
        assign_role("a", 0, shares)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("cells/img 1.png", "cells_img_1.png"),
        ("../../etc/passwd", "etc_passwd"),
        ("..\\win.ini", "win.ini"),
        (".hidden", "hidden"),
        ("a\0b\x1b[31m\n\u202ec", "ab[31mc"),
        ("", "unnamed"),
        ("...", "unnamed"),
        ("CON.png", "_CON.png"),
        ("trailing. ", "trailing"),
        ("Zelle ä\N{MICROSCOPE}", "Zelle_ä\N{MICROSCOPE}"),
    ],
)
def test_safe_name__cases(text: str, name: str) -> None:
    assert safe_name(text) == name


@settings(deadline=None, max_examples=200)
@given(st.text())
def test_safe_name__is_one_component_and_stays(text: str) -> None:
    name = safe_name(text)
    assert Path(name).name == name
    assert name not in ("", ".", "..")
    assert not name.startswith(".")
    assert len(name.encode()) <= 201
    assert safe_name(name) == name
    assert name.isprintable()


def test_safe_name__long(tmp_path: Path) -> None:
    name = safe_name("ö" * 5000)
    (tmp_path / f"{name}.overlay.png").touch()
    assert len(name) == 100


def test_import__stays_light() -> None:
    script = "import sys, workbench.images; print([m for m in ('torch', 'pandas', 'numba') if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(workbench.__file__).parents[1])},
    )
    assert done.stdout.strip() == "[]"
