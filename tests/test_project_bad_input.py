"""What cannot be used is recorded with its reason, and the run goes on."""

from __future__ import annotations

import contextlib
import errno
import functools
import io
import os
import shutil
import sys
import zlib

import numpy as np
import pyarrow.parquet as pq
import pytest
import stub_sam
from PIL import Image

import workbench as wb
from workbench.store import runs
from workbench.store.errors import StoreError
from workbench.tables.proposals import Proposals

SAM = stub_sam.StubSam()


@pytest.fixture(autouse=True)
def stage(monkeypatch):
    module = stub_sam.stage()
    monkeypatch.setitem(sys.modules, "workbench.propose.run", module)
    return module


@pytest.fixture
def images(tmp_path):
    return stub_sam.write_images(tmp_path / "images", 3)


def bomb() -> bytes:
    """A PNG whose header says 30,000 × 30,000 px."""
    small = io.BytesIO()
    Image.new("RGB", (1, 1)).save(small, "PNG")
    data = bytearray(small.getvalue())
    data[16:24] = (30_000).to_bytes(4, "big") * 2
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    return bytes(data)


def write_bad(folder, tmp_path) -> dict[str, str]:
    """Write one file of each kind into the folder; return the reason expected for each."""
    good = (folder / "image0.png").read_bytes()
    (folder / "cut_off.png").write_bytes(good[: len(good) // 2])
    (folder / "empty.png").write_bytes(b"")
    (folder / "text.png").write_bytes(b"no picture at all")
    (folder / "bomb.png").write_bytes(bomb())
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    frames[0].save(folder / "moving.png", format="GIF", save_all=True, append_images=frames[1:])
    (folder / "folder.png").mkdir()
    outside = tmp_path / "outside.png"
    Image.new("RGB", (8, 8), "green").save(outside)
    (folder / "link.png").symlink_to(outside)
    (folder / "loose.png").symlink_to(folder / "none.png")
    os.mkfifo(folder / "pipe.png")
    return {
        "bomb.png": "too_large",
        "cut_off.png": "truncated",
        "empty.png": "empty_file",
        "folder.png": "not_a_file",
        "link.png": "outside_folder",
        "loose.png": "missing",
        "moving.png": "animated",
        "pipe.png": "not_a_file",
        "text.png": "not_an_image",
    }


def test_propose__passes_over_every_bad_file_and_tells_why(tmp_path, images):
    expected = write_bad(images, tmp_path)
    with wb.Project.create(tmp_path / "p.wb", str(images / "*.png")) as project:
        summary = project.propose(SAM, progress=False)
        assert (summary.images, summary.done, summary.failed) == (3 + len(expected), 3, len(expected))
        found = project.failures()
        assert dict(zip(found["path"], found["reason"], strict=True)) == expected
        assert found["message"].str.len().gt(10).all()
        report = project.report()
        assert report.images == 3 + len(expected)
        assert report.failures == dict(summary.failures)
        assert sum(report.failures.values()) == len(expected)
        assert len(set(project.proposals().image_id)) <= 3


def test_propose__every_usable_kind_of_picture_is_used(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    rng = np.random.default_rng(0)
    grey = rng.integers(0, 2**16, (9, 7), dtype=np.uint16)
    Image.fromarray(grey).save(folder / "deep.png")
    Image.fromarray(rng.integers(0, 256, (9, 7, 4), dtype=np.uint8)).save(folder / "alpha.png")
    Image.fromarray(rng.integers(0, 256, (9, 7, 3), dtype=np.uint8)).quantize(8).save(folder / "palette.png")
    Image.fromarray(rng.integers(0, 256, (9, 7, 4), dtype=np.uint8), "CMYK").save(folder / "cmyk.jpg")
    Image.fromarray(rng.integers(0, 256, (9, 7, 3), dtype=np.uint8)).save(folder / "jpeg.png", "JPEG")
    Image.new("RGB", (1, 1)).save(folder / "point.png")
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.new("RGB", (20, 10)).save(folder / "turned.jpg", exif=turned)
    with wb.Project.create(tmp_path / "p.wb", folder) as project:
        assert project.propose(SAM, progress=False).failed == 0
        frame = project.images().set_index("path")
        assert frame["status"].eq("done").all()
        assert (frame.height["turned.jpg"], frame.width["turned.jpg"]) == (20, 10)
        assert (frame.height["point.png"], frame.width["point.png"]) == (1, 1)


def test_create__same_content_under_two_names_is_one_image(tmp_path, images):
    shutil.copy(images / "image1.png", images / "image9.png")
    with wb.Project.create(tmp_path / "p.wb", images) as project:
        assert project.images()["path"].tolist() == ["image0.png", "image1.png", "image2.png"]
        assert project.propose(SAM, progress=False).done == 3
        assert project.report().duplicates == 1


@contextlib.contextmanager
def plain_user(tmp_path):
    """Be a user whom permissions stop, which they do not do to root; yields how to be oneself for a moment."""
    me = os.geteuid()
    if me == 0:
        for folder in tmp_path.parents[:3]:
            if len(folder.parts) > 2:  # not /tmp itself
                folder.chmod(0o755)
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(me)


def test_no_permission__is_a_reason_and_is_tried_again_on_request(tmp_path, images):
    (images / "image1.png").chmod(0o000)
    tmp_path.chmod(0o777)
    with plain_user(tmp_path):
        project = wb.Project.create(tmp_path / "p.wb", images)
        assert project.failures()["reason"].tolist() == ["no_permission"]
        assert project.propose(SAM, progress=False).failures == {"no_permission": 1}
        project.close()
    (images / "image1.png").chmod(0o644)
    with wb.Project.open(tmp_path / "p.wb") as project:
        assert project.propose(SAM, progress=False).done == 0
        summary = project.propose(SAM, progress=False, retry_failed=True)
        assert (summary.done, summary.failed, summary.skipped) == (1, 0, 2)
        assert project.images()["role"].notna().all()


def test_read_only_folder__is_said_in_words(tmp_path, images):
    wb.Project.create(tmp_path / "p.wb", images).close()
    (tmp_path / "p.wb").chmod(0o555)
    tmp_path.chmod(0o555)
    with plain_user(tmp_path):
        with pytest.raises(StoreError, match=r"expected a folder that can be written.*give write permission"):
            wb.Project.open(tmp_path / "p.wb")
        with pytest.raises(StoreError, match="expected a folder that can be written"):
            wb.Project.create(tmp_path / "q.wb", images)
    tmp_path.chmod(0o755)
    (tmp_path / "p.wb").chmod(0o755)


def test_name_that_is_not_utf_8__is_recorded(tmp_path, images):
    name = os.fsencode(images) + b"/caf\xe9.png"
    shutil.copy(images / "image0.png", name)
    with wb.Project.create(tmp_path / "p.wb", images) as project:
        found = project.failures()
        assert found["path"].tolist() == ["caf\\xe9.png"]
        assert "rename the file" in found["message"].item()
        assert project.propose(SAM, progress=False, retry_failed=True).done == 3


def test_file_changed_after_it_was_recorded__is_not_proposed_on(tmp_path, images):
    with wb.Project.create(tmp_path / "p.wb", images) as project:
        shutil.copy(images / "image0.png", images / "image1.png")
        (images / "image2.png").unlink()
        assert project.propose(SAM, progress=False).failures == {"changed": 1, "missing": 1}
        assert "restore it" in project.failures()["message"][0]


def test_model_that_fails_on_an_image__is_recorded_and_tried_again_on_request(tmp_path, images, stage, monkeypatch):
    class OutOfMemoryError(RuntimeError):
        pass

    errors = iter([RuntimeError("cuda says no"), OutOfMemoryError("3 GiB"), MemoryError()])

    def fails(*_, **__):
        raise next(errors)

    with wb.Project.create(tmp_path / "p.wb", images) as project:
        monkeypatch.setattr(stage, "propose", fails)
        assert project.propose(SAM, progress=False).failures == {"model_error": 1, "out_of_memory": 2}
        assert project.failures()["message"][0] == "RuntimeError: cuda says no"
        monkeypatch.setattr(stage, "propose", stub_sam.propose)
        assert project.propose(SAM, progress=False).done == 0
        summary = project.propose(SAM, progress=False, retry_failed=True)
        assert (summary.done, summary.failed) == (3, 0)
        assert project.failures().empty


def test_image_without_a_proposal__is_done(tmp_path, images, stage, monkeypatch):
    monkeypatch.setattr(stage, "propose", lambda *_, **__: Proposals.empty())
    with wb.Project.create(tmp_path / "p.wb", images) as project:
        summary = project.propose(SAM, progress=False)
        assert (summary.done, summary.proposals) == (3, 0)
        assert len(project.triage()) == len(project.proposals()) == 0
        assert project.report().to_dict()["auto_accept_rate"] is None
        assert project.propose(SAM, progress=False).skipped == 3


def test_full_disk__in_the_middle_of_a_shard_loses_nothing_written(tmp_path, monkeypatch):
    images = stub_sam.write_images(tmp_path / "images", 10)
    monkeypatch.setattr(runs, "Limits", functools.partial(runs.Limits, images=3))
    write, calls = pq.ParquetWriter.write_table, []

    def full(self, *args, **settings):
        calls.append(1)
        if len(calls) == 5:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(self, *args, **settings)

    with wb.Project.create(tmp_path / "p.wb", images) as project:
        monkeypatch.setattr(pq.ParquetWriter, "write_table", full)
        with pytest.raises(StoreError, match=r"the disk is full.*call the same again"):
            project.propose(SAM, progress=False)
        assert project.check() == []
        assert not list(project.path.glob("shards/**/*.tmp"))
        done = int(project.images()["status"].eq("done").sum())
        assert done >= 3
        summary = project.propose(SAM, progress=False)
        assert (summary.done, summary.skipped) == (10 - done, done)


def test_full_disk__said_by_the_model_ends_the_run(tmp_path, images, stage, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(stage, "propose", full)
    with wb.Project.create(tmp_path / "p.wb", images) as project:
        with pytest.raises(StoreError, match="the disk is full"):
            project.propose(SAM, progress=False)
        assert project.failures().empty


def test_check__names_what_is_wrong(tmp_path, images):
    with wb.Project.create(tmp_path / "p.wb", images) as project:
        project.propose(SAM, progress=False)
        shard = next(project.path.glob("shards/0001/*.parquet"))
        data = shard.read_bytes()
        shard.write_bytes(data[:-10])
        assert f"{shard}: expected {len(data)} bytes" in project.check()[0]
        with pytest.raises(StoreError, match="is damaged"):
            project.proposals()
        shard.unlink()
        images.rename(tmp_path / "gone")
        assert [line.split(": ")[-1].split("; ")[-1] for line in project.check()] == [
            "restore it from a backup",
            "put it back",
        ]
