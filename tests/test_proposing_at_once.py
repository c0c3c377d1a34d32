"""Several images of a project worked on at a time: order, failures, threads given back, and the same bits as one by one."""

from __future__ import annotations

import errno
import threading

import numpy as np
import pandas as pd
import pytest
import stub_sam
import torch
from flat_segmenter import FlatSegmenter

import workbench as wb
from workbench import proposing
from workbench.sam.predict import MOST_AT_ONCE
from workbench.store.errors import StoreError

CONFIG = wb.ProposeConfig(points_per_side=4, predicted_iou_floor=0, jitter_prompts=2)
AT_ONCE = 3


@pytest.fixture
def six_cores():
    before = torch.get_num_threads()
    torch.set_num_threads(6)
    yield 6
    torch.set_num_threads(before)


class Meeting(FlatSegmenter):
    """Is done with no image of the first three before all three are begun; may fail on one.

    threads : names of the threads that asked, and torch's threads there and on a thread that was born meanwhile
    """

    images_at_once = AT_ONCE

    def __init__(self, fails_at=-1, error=None):
        super().__init__()
        self.meeting, self.lock = threading.Barrier(AT_ONCE, timeout=30), threading.Lock()
        self.begun, self.fails_at, self.error, self.threads = 0, fails_at, error, set()

    def embed(self, image):
        with self.lock:
            number, self.begun = self.begun, self.begun + 1
        if number < AT_ONCE:
            self.meeting.wait()  # from here on all of them have taken their share
        with self.lock:
            own = threading.current_thread().name
            self.threads.add((own, (torch.get_num_threads(), threads_of_a_new_thread())))
        if image[0, 0, 0] == self.fails_at:
            raise self.error
        return super().embed(image)


def threads_of_a_new_thread():
    found = []
    thread = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    return found[0]


class Alone(FlatSegmenter):
    """Notes how many images are asked about at the same time, and torch's threads."""

    images_at_once = AT_ONCE

    def __init__(self):
        super().__init__()
        self.lock, self.now, self.most, self.threads = threading.Lock(), 0, 0, set()

    def embed(self, image):
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)
            self.threads.add(torch.get_num_threads())
        threading.Event().wait(0.02)
        with self.lock:
            self.now -= 1
        return super().embed(image)


def write_images(folder, count):
    """Write grey images of 10, 20, ... with a white corner each; return the folder."""
    from PIL import Image

    folder.mkdir()
    for k in range(count):
        image = np.full((32, 40, 3), 10 * (k + 1), np.uint8)
        image[20:, 20 + k :] = 255
        Image.fromarray(image).save(folder / f"{k}.png")
    return folder


def test_propose__several_images_at_a_time_in_their_order(tmp_path, six_cores):
    images = write_images(tmp_path / "images", 7)
    with wb.Project.create(tmp_path / "p.wb", images) as project:
        sam = Meeting()
        assert project.propose(sam, CONFIG, progress=False).done == 7
        found = project.proposals()
        expected = [
            wb.propose(project.image(i), FlatSegmenter(), CONFIG, image_id=i) for i in project.images().image_id
        ]
        pd.testing.assert_frame_equal(found.to_frame(), wb.Proposals.concat(expected).to_frame())
    assert {threads for _, threads in sam.threads} == {(six_cores // AT_ONCE, six_cores)}
    assert len(sam.threads) == AT_ONCE
    assert [torch.get_num_threads(), threads_of_a_new_thread()] == [six_cores, six_cores]


@pytest.mark.parametrize("at_once", [0, 1])
def test_propose__one_after_another_where_a_segmenter_is_told_so(tmp_path, six_cores, at_once):
    images, sam = write_images(tmp_path / "images", 3), Alone()
    sam.images_at_once = at_once
    with wb.Project.create(tmp_path / "p.wb", images) as project:
        assert project.propose(sam, CONFIG, progress=False).done == 3
    assert (sam.most, sam.threads) == (1, {six_cores})


@pytest.mark.parametrize(("count", "most", "threads"), [(1, 1, 6), (2, 2, 3), (5, 3, 2)])
def test_propose__fewer_images_share_the_cores_among_them(tmp_path, six_cores, count, most, threads):
    images, sam = write_images(tmp_path / "images", count), Alone()
    with wb.Project.create(tmp_path / "p.wb", images) as project:
        project.propose(sam, CONFIG, progress=False)
    assert sam.most <= most
    assert sam.threads == {threads}


def test_propose__images_that_are_large_together_go_one_by_one(tmp_path, six_cores, monkeypatch):
    monkeypatch.setattr(proposing, "PIXELS_AHEAD", 32 * 40 * 2 - 1)
    images, sam = write_images(tmp_path / "images", 5), Alone()
    with wb.Project.create(tmp_path / "p.wb", images) as project:
        assert project.propose(sam, CONFIG, progress=False).done == 5
    assert sam.most == 1


def test_propose__batches_at_a_time(tmp_path, six_cores):
    images, sam = stub_sam.write_images(tmp_path / "images", 5, size_hw=(48, 64)), wb.load_sam(device="cpu")
    (images / "image1.png").write_bytes(b"no picture")
    config = wb.preset("bundled").propose.replace(points_per_side=3, crop_n_layers=0, jitter_prompts=0)
    with wb.Project.create(tmp_path / "p.wb", images) as project:
        summary = project.propose(sam, config.replace(images_per_batch=2), progress=False)
        assert (summary.done, summary.failures) == (4, {"not_an_image": 1})
        frame = project.images()
        ids = frame.image_id[frame.status == "done"]
        expected = [wb.propose(project.image(i), sam, config, image_id=i) for i in ids]
        assert project.proposals().image_id.tolist() == [i for rows in expected for i in rows.image_id]


def test_propose__an_image_that_fails_beside_others(tmp_path, six_cores):
    images = write_images(tmp_path / "images", 7)
    with wb.Project.create(tmp_path / "p.wb", images) as project:
        summary = project.propose(Meeting(20, RuntimeError("of no use")), CONFIG, progress=False)
        assert (summary.done, summary.failures) == (6, {"model_error": 1})
        frame = project.images()
        assert frame.loc[frame.status == "failed", "path"].str.endswith("1.png").all()


def test_propose__a_full_disk_ends_it_and_another_call_goes_on(tmp_path, six_cores):
    images = write_images(tmp_path / "images", 7)
    with wb.Project.create(tmp_path / "p.wb", images) as project:
        full = OSError(errno.ENOSPC, "No space left on device")
        with pytest.raises(StoreError, match="the disk is full"):
            project.propose(Meeting(30, full), CONFIG, progress=False)
        assert torch.get_num_threads() == six_cores
        assert project.propose(FlatSegmenter(), CONFIG, progress=False).done == 7


def test_propose__the_bundled_sam_answers_as_one_by_one_to_the_bit(tmp_path, six_cores):
    images = stub_sam.write_images(tmp_path / "images", 4, size_hw=(48, 64))
    sam = wb.load_sam(device="cpu")
    assert sam.images_at_once == min(six_cores, MOST_AT_ONCE)
    config = wb.preset("bundled").propose.replace(points_per_side=4, jitter_prompts=2, predicted_iou_floor=0.1)
    with wb.Project.create(tmp_path / "p.wb", images) as project:
        project.propose(sam, config, progress=False)
        torch.set_num_threads(1)
        alone = wb.load_sam(device="cpu")
        assert alone.images_at_once == 1
        expected = [wb.propose(project.image(i), alone, config, image_id=i) for i in project.images().image_id]
        assert sum(map(len, expected)) > 0
        pd.testing.assert_frame_equal(project.proposals().to_frame(), wb.Proposals.concat(expected).to_frame())
