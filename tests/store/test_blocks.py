"""Blocks of many images hold what is read image by image, however the shards were written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from made_projects import SIZE, made_rows, write_pictures

import workbench as wb
from workbench.store import blocks, runs
from workbench.store.errors import StoreError
from workbench.tables.proposals import Proposals

MODEL = "made-000000000000"


def odd_project(folder: Path, images: int = 23, order: str = "by turns") -> wb.Project:
    """Several shards; some images failed, some have no masks, one was not tried; shards are written out of order."""
    project = wb.Project.create(folder / "project", images=str(write_pictures(folder / "pictures", images)))
    config, rng = wb.ProposeConfig(), np.random.default_rng(2)
    run = runs.begin(project.catalog, MODEL, config.digest, config.to_dict(), wb.__version__)
    files = runs.image_files(project.catalog, run.id)
    if order == "by turns":
        files = [*files[::3], *files[1::3], *files[2::3]]
    with runs.writing(project.catalog, project.path, run, runs.Limits(images=4)) as writer:
        for number, file in enumerate(files[:-1]):
            if number % 7 == 3:
                writer.failed(file.key, "damaged", "no image", 0.1)
                continue
            rows = made_rows(rng, str(file.image_id), 0 if number % 5 == 4 else int(rng.integers(1, 30)))
            odd = np.where(rng.random(len(rows)) < 0.2, np.nan, rows.predicted_iou).astype(np.float32)
            writer.done(file.key, SIZE, rows.replace(predicted_iou=odd), len(rows), 0.2)
    return project


def assert_equal(a: Proposals, b: Proposals, columns: tuple[str, ...] = blocks.STORED) -> None:
    for name in columns:
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)


@pytest.mark.parametrize("order", ["in order", "by turns"])
@pytest.mark.parametrize("least", [1, 5, 512])
def test_blocks__what_each_image_has(tmp_path, monkeypatch, order, least):
    monkeypatch.setattr(blocks, "IMAGES", least)
    with odd_project(tmp_path, order=order) as project:
        alone = list(project.each())
        found = list(project.in_blocks(blocks.STORED))
        assert sum(block.done for block in found) == len(alone) == project.images()["status"].eq("done").sum()
        there = [(image_id, rows) for image_id, rows in alone if len(rows)]
        each = [pair for block in found for pair in block.each()]
        assert [image_id for image_id, _ in each] == [image_id for image_id, _ in there]
        for (_, rows), (_, expected) in zip(each, there, strict=True):
            assert_equal(rows, expected)
        some = project.images()["image_id"].tolist()[3:9]
        assert_equal(
            Proposals.concat([block.proposals for block in project.in_blocks(blocks.STORED, some)]),
            Proposals.concat([rows for _, rows in project.each(some)]),
        )


def test_blocks__only_the_columns_that_are_asked_for(tmp_path):
    with odd_project(tmp_path) as project:
        (block,) = project.in_blocks(["area_px", "boxes_xyxy"])
        assert_equal(block.proposals, project.proposals(), ("image_id", "area_px", "boxes_xyxy"))
        assert set(block.proposals.rles) == {b""}
        assert np.isnan(block.proposals.predicted_iou).all()
        (block,) = project.in_blocks(["confidence"])  # none of what is stored
        assert len(block.proposals) == len(project.proposals())


def test_blocks__nothing_proposed(tmp_path):
    pictures = write_pictures(tmp_path / "pictures", 2)
    with wb.Project.create(tmp_path / "project", images=str(pictures)) as project:
        assert list(project.in_blocks(blocks.STORED)) == []


@pytest.mark.parametrize("harm", ["missing", "damaged"])
def test_blocks__shard_that_cannot_be_read_is_named(tmp_path, harm):
    with odd_project(tmp_path) as project:
        shard = min((project.path / "shards" / "0001").glob("*.parquet"))
        if harm == "missing":
            shard.unlink()
        else:
            shard.write_bytes(shard.read_bytes()[:200])
        with pytest.raises(StoreError, match=f"{shard.name} is {harm}"):
            list(project.in_blocks(blocks.STORED))


def test_blocks__shards_that_an_older_version_wrote_among_others(tmp_path):
    with odd_project(tmp_path) as project:
        shard = min((project.path / "shards" / "0001").glob("*.parquet"))
        file = pq.ParquetFile(shard)
        groups = [file.read_row_group(k) for k in range(file.num_row_groups)]
        older = [table.drop_columns(["jitter_iou", "crop_x0", "crop_y0", "crop_x1", "crop_y1"]) for table in groups]
        with pq.ParquetWriter(shard, older[0].schema) as writer:
            for table in older:
                writer.write_table(table, row_group_size=len(table))
        (block,) = project.in_blocks(blocks.STORED)
        assert_equal(block.proposals, project.proposals())
        assert 0 < np.isnan(block.proposals.jitter_iou).sum() < len(block.proposals)
