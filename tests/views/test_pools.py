"""Pools of a project: built from blocks of images, they say what `triage` says of each image alone."""

from __future__ import annotations

import numpy as np
import pytest
from made_projects import SIZE, made_rows, write_pictures

import workbench as wb
from workbench.store import blocks, runs
from workbench.tables.outcomes import Outcome
from workbench.views import pools
from workbench.views.pools import Pooled, pool_of


@pytest.fixture
def odd_project(tmp_path, monkeypatch):
    """Shards of three images; one image failed, one has no masks, some scores are missing; two were not tried."""
    monkeypatch.setattr(blocks, "IMAGES", 2)
    pictures = write_pictures(tmp_path / "pictures", 14)
    with wb.Project.create(tmp_path / "project", images=str(pictures)) as project:
        propose(project, 12)
        ids = project.images()["image_id"].tolist()
        true = [project.proposals(image_id) for image_id in (ids[0], ids[2], ids[5])]
        # of an image without masks, and of one that was not tried
        masks = wb.Proposals.concat([rows.select(slice(0, None, 2)) for rows in true])
        project.import_truth(masks, images=[ids[0], ids[2], ids[5], ids[4], ids[13]])
        yield project


def propose(project: wb.Project, images: int, first: int = 0) -> None:
    """Write proposals of some images, two in a shard by turns."""
    rng, config = np.random.default_rng(first), wb.ProposeConfig()
    run = runs.begin(project.catalog, "made-000000000000", config.digest, config.to_dict(), wb.__version__)
    files = runs.image_files(project.catalog, run.id)[first : first + images]
    with runs.writing(project.catalog, project.path, run, runs.Limits(images=3)) as writer:
        for number, file in enumerate([*files[::2], *files[1::2]]):
            if number == 4:
                writer.failed(file.key, "damaged", "no image", 0.1)
                continue
            rows = made_rows(rng, str(file.image_id), 0 if number == 2 else 40)
            scores = {}
            for name in ("predicted_iou", "stability_score", "jitter_stability", "solidity"):
                missing = rng.random(len(rows)) < 0.1
                scores[name] = np.where(missing, np.nan, getattr(rows, name)).astype(np.float32)
            writer.done(file.key, SIZE, rows.replace(**scores), len(rows), 0.2)


def assert_as_triage(project: wb.Project, pooled: Pooled, config: wb.TriageConfig) -> None:
    """Image by image: ids, rows, outcomes and columns."""
    alone = [(image_id, rows) for image_id, rows in project.each(config=config) if len(rows)]
    assert pooled.image_ids.tolist() == [image_id for image_id, _ in alone]
    assert np.diff(pooled.starts).tolist() == [len(rows) for _, rows in alone]
    outcome = np.concatenate([wb.triage(rows, config).outcome for _, rows in alone])
    whole = wb.Proposals.concat([rows for _, rows in alone])
    if pooled.kind == "exact":
        kept = np.isin(outcome, (Outcome.auto_accepted, Outcome.flagged))
        np.testing.assert_array_equal(pooled.pool.keep(config), kept)
        for name, values in pooled.columns.items():
            np.testing.assert_array_equal(values, getattr(whole, name), err_msg=name)
        return
    np.testing.assert_array_equal(pooled.pool.outcome(config), outcome)
    for name in (*pools.SCORES, "area_px"):
        np.testing.assert_array_equal(pooled.pool.column(name), getattr(whole, name)[pooled.pool.rows], err_msg=name)


@pytest.mark.parametrize("kind", ["distinct", "exact"])
@pytest.mark.parametrize(
    "changes",
    [{}, {"overlap": 0.1, "unusual_size_z": 0.8, "nms_iou": 0.5}, {"overlap": None}, {"overlap_measure": "smaller"}],
)
def test_pool__what_triage_says_of_each_image(odd_project, kind, changes):
    config = wb.TriageConfig(min_area_px=30, pool=kind, **changes)
    pooled = pool_of(odd_project, kind, config).future.result(60)
    for iou, jitter in ((0.88, 0.92), (0.6, None), (0.95, 0.7)):
        asked = config.replace(predicted_iou=iou, jitter_stability=jitter, predicted_iou_margin=0.05)
        assert_as_triage(odd_project, pooled, asked)


def test_pool__masks_are_read_where_nms_asks_for_them(odd_project):
    config = wb.TriageConfig(min_area_px=30, nms="mask", nms_iou=0.4, overlap=None)
    assert_as_triage(odd_project, pool_of(odd_project, "distinct", config).future.result(60), config)


def test_pool__truth_beside_it_is_that_of_each_image(odd_project):
    config = odd_project.triage_config()
    pooled = pool_of(odd_project, "distinct", config).future.result(60)
    ids = odd_project.images()["image_id"].tolist()
    comparison = pooled.comparison
    assert comparison is not None
    assert list(comparison.image_ids) == [ids[k] for k in (0, 2, 4, 5) if k_done(odd_project, ids[k])]
    image = np.searchsorted(pooled.starts, pooled.pool.rows[pooled.compared], side="right") - 1
    assert {pooled.image_ids[m] for m in image} == {
        i for i in (ids[0], ids[2], ids[5]) if len(odd_project.proposals(i))
    }


def test_pool__of_images_that_trained_the_model_no_truth_is_read(odd_project, monkeypatch):
    ids = odd_project.images()["image_id"].tolist()
    monkeypatch.setattr("workbench.store.versions.learned_by", lambda catalog, model_id: {ids[0], ids[1], ids[13]})
    pooled = pool_of(odd_project, "distinct", odd_project.triage_config()).future.result(60)
    done = [image for image in ids if k_done(odd_project, image)]
    assert pooled.learned == {ids[0], ids[1]}.intersection(done)  # ids[13] was not tried
    assert list(pooled.comparison.image_ids) == [ids[k] for k in (2, 4, 5) if ids[k] in done]
    image = np.searchsorted(pooled.starts, pooled.pool.rows[pooled.compared], side="right") - 1
    assert ids[0] not in {pooled.image_ids[m] for m in image}


def test_pool__exact_answers_for_the_nms_of_its_settings(odd_project):
    config = wb.TriageConfig(min_area_px=30, pool="exact", nms_iou=0.3)
    pooled = pool_of(odd_project, "exact", config).future.result(60)
    for nms_iou in (0.3, 0.45):
        assert_as_triage(odd_project, pooled, config.replace(nms_iou=nms_iou))


def k_done(project: wb.Project, image_id: str) -> bool:
    """Whether the run has done the image."""
    frame = project.images()
    return bool((frame.loc[frame["image_id"] == image_id, "status"] == "done").all())


def test_pool__follows_a_run_that_grows(odd_project):
    config = odd_project.triage_config()
    before = pool_of(odd_project, "distinct", config)
    assert_as_triage(odd_project, before.future.result(60), config)
    propose(odd_project, 2, first=12)
    after = pool_of(odd_project, "distinct", config)
    assert after is not before
    assert_as_triage(odd_project, after.future.result(60), config)
    assert after.done == after.total == odd_project.images()["status"].eq("done").sum()


@pytest.mark.parametrize("rule", ["doubts", "decides"])
def test_pool__confidence_looks_at_each_image_alone(odd_project, monkeypatch, rule):
    def rank(self, proposals, config):
        """A confidence that depends on the other masks of the image, and on a column that no pool has."""
        assert proposals.model_id.tolist() == ["made-000000000000"] * len(proposals)
        place = np.argsort(np.argsort(proposals.jitter_iou, kind="stable"))
        return proposals.replace(confidence=(place + 1) / (len(proposals) + 1))

    monkeypatch.setattr(type(odd_project), "with_confidence", rank)
    config = wb.TriageConfig(min_area_px=30, confidence=0.6, confidence_rule=rule, confidence_model=1)
    assert_as_triage(odd_project, pool_of(odd_project, "distinct", config).future.result(60), config)


def test_building__says_how_far_it_is():
    building = pools.Building()
    building.total, building.done = 4000, 1500
    assert (building.words, building.share) == ("1,500 of 4,000 images read …", 0.375)
    building.done, building.compared = 4000, 40
    assert building.words == "all 4,000 images read, 40 are compared with their truth …"
