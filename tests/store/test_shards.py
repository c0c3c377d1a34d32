from __future__ import annotations

import errno

import numpy as np
import pyarrow.parquet as pq
import pytest

from workbench.masks import rle
from workbench.store import shards
from workbench.store.errors import StoreError
from workbench.tables.proposals import COLUMNS, Proposals


def some(n: int, image_id: str = "a" * 32, seed: int = 0) -> Proposals:
    rng = np.random.default_rng(seed)
    return Proposals.make(
        rles=rle.encode(rng.random((n, 9, 7)) < 0.5),
        image_id=image_id,
        sizes_hw=(9, 7),
        boxes_xyxy=rng.integers(0, 9, (n, 4)),
        points_xy=rng.random((n, 2)),
        predicted_iou=rng.random(n),
        area_px=rng.integers(0, 2**40, n),
        mask_index=rng.integers(-1, 3, n),
        model_id="m",
        prompt="point",
    )


def assert_equal(a: Proposals, b: Proposals) -> None:
    for name in COLUMNS:
        left, right = getattr(a, name), getattr(b, name)
        assert left.dtype == right.dtype, name
        np.testing.assert_array_equal(left, right, err_msg=name)


@pytest.mark.parametrize("n", [0, 1, 50])
def test_table__gives_back_every_column(n):
    assert_equal(shards.from_table(shards.to_table(some(n))), some(n))


def test_from_table__column_that_an_older_version_did_not_write_gets_its_default():
    table = shards.to_table(some(3)).drop_columns(["jitter_iou", "crop_x0", "crop_y0", "crop_x1", "crop_y1"])
    read = shards.from_table(table)
    assert np.isnan(read.jitter_iou).all()
    assert (read.crop_boxes_xyxy == 0).all()
    assert_equal(read.replace(jitter_iou=np.nan), some(3).replace(jitter_iou=np.nan))


def test_shard__images_are_read_one_by_one(tmp_path):
    writer = shards.ShardWriter(tmp_path, "shards/0001")
    parts = [some(n, image_id=str(n) * 32, seed=n) for n in (3, 1, 200)]
    assert [writer.add(part) for part in parts] == [0, 1, 2]
    shard = writer.finish()
    assert (shard.rows, shard.images) == (204, 3)
    assert shard.size_bytes == (tmp_path / shard.path).stat().st_size
    reader = shards.ShardReader(tmp_path)
    for group in (2, 0, 1):
        assert_equal(reader.proposals(shard.path, group), parts[group])
    reader.close()


def test_shard__is_zstd_with_a_dictionary_for_repeated_text(tmp_path):
    writer = shards.ShardWriter(tmp_path, "s")
    writer.add(some(50))
    meta = pq.ParquetFile(tmp_path / writer.finish().path).metadata.row_group(0)
    columns = {meta.column(k).path_in_schema: meta.column(k) for k in range(meta.num_columns)}
    assert {column.compression for column in columns.values()} == {"ZSTD"}
    assert columns["image_id"].has_dictionary_page
    assert not columns["rles"].has_dictionary_page


def test_shard__is_no_shard_before_it_is_finished(tmp_path):
    writer = shards.ShardWriter(tmp_path, "s")
    writer.add(some(2))
    assert list((tmp_path / "s").glob("*.parquet")) == []
    writer.abandon()
    assert list((tmp_path / "s").iterdir()) == []


def test_finish__without_an_image(tmp_path):
    with pytest.raises(ValueError, match="at least one image"):
        shards.ShardWriter(tmp_path, "s").finish()


@pytest.mark.parametrize("method", ["write_table", "close"])
def test_shard__full_disk_removes_the_draft_and_says_so(tmp_path, monkeypatch, method):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    writer = shards.ShardWriter(tmp_path, "s")
    writer.add(some(2))
    monkeypatch.setattr(pq.ParquetWriter, method, full)
    with pytest.raises(StoreError, match=r"the disk is full.*everything written before is kept"):
        writer.finish() if method == "close" else writer.add(some(2))
    assert list((tmp_path / "s").iterdir()) == []


def test_sweep__removes_drafts_and_shards_without_a_name_in_the_catalogue(tmp_path):
    for name in ("a.tmp", "b.parquet", "c.parquet", "writer.lock"):
        (tmp_path / name).touch()
    assert shards.sweep(tmp_path, named={"c.parquet"}) == ["a.tmp", "b.parquet"]
    assert sorted(f.name for f in tmp_path.iterdir()) == ["c.parquet", "writer.lock"]


def test_reader__keeps_few_files_open(tmp_path):
    paths = []
    for k in range(5):
        writer = shards.ShardWriter(tmp_path, "s")
        writer.add(some(1, seed=k))
        paths.append(writer.finish().path)
    reader = shards.ShardReader(tmp_path, keep=2)
    for _ in range(2):
        for k, path in enumerate(paths):
            assert_equal(reader.proposals(path, 0), some(1, seed=k))
    assert len(reader._open) == 2
    reader.close()


def test_reader__missing_and_damaged_shards_are_named(tmp_path):
    reader = shards.ShardReader(tmp_path)
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 and nothing of the kind")
    with pytest.raises(StoreError, match=r"none\.parquet is missing"):
        reader.read("none.parquet", 0)
    with pytest.raises(StoreError, match=r"bad\.parquet is damaged"):
        reader.read("bad.parquet", 0)
