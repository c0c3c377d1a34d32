"""Sweeps of a project whose audits were answered: false positives by masks drawn at random, and what is refused."""

from __future__ import annotations

import desk
import numpy as np
import pytest
import sqlalchemy as sa
from desk import event
from typer.testing import CliRunner

import workbench as wb
from workbench.cli import app
from workbench.loop import paired
from workbench.loop.audited import SUMS, Sums
from workbench.loop.experiments import figures
from workbench.store.schema.review import audits
from workbench.tables.experiments import Counted

GRID = {"predicted_iou": [0.94, 0.88, 0.8, 0.59]}  # one mask, two, three and all four of each image are accepted
IMAGES = 16


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Images that a completed: the flagged mask of each accepted or rejected in turn, the first of all rejected."""
    desk.install(monkeypatch)
    with desk.make(tmp_path, IMAGES) as project:
        project.review_config = project.review_config.replace(audit_least=30)
        for k, image in enumerate(ids(project)):
            masks = masks_of(project, image)
            verdicts = {masks[2]: "reject" if k % 2 else "accept"} | ({masks[0]: "reject"} if k == 0 else {})
            project.record([event("verdict", image, mask, verdict=verdict) for mask, verdict in verdicts.items()])
            project.record(event("complete", image))
        yield project


def ids(project):
    return project.images()["image_id"].tolist()


def masks_of(project, image):
    return project.proposals(image).mask_id.tolist()


def answer(project, some=None):
    """The senior finds the second mask of every second image wrong, everything else right."""
    order = ids(project)
    for row in list(project.audit_results().itertuples())[:some]:
        k = order.index(row.image_id)
        wrong = k % 2 and row.mask_id == masks_of(project, row.image_id)[1]
        verdict = "reject" if wrong else "accept"
        project.record(event("verdict", row.image_id, row.mask_id, verdict=verdict, by="s", purpose="audit"))


def looked_at(project):
    """The masks that somebody gave a verdict on one by one, in the review."""
    journal = project.journal()
    return journal.loc[(journal["kind"] == "verdict") & (journal["purpose"] == "review"), "mask_id"]


def sweep(project, **settings):
    return project.sweep(GRID, **{"labels": "audits", "progress": False, **settings})


def test_sweep__false_positives_by_audits(project):
    drawn = project.draw_audit(seed=1)
    assert drawn.strata["automatic by stub-0123"] == {"masks": 39, "drawn": 30, "probability": 30 / 39}
    answer(project)
    table = sweep(project, metrics=["fp_rate"], name="audited")
    results = project.audit_results()
    unseen = results[~results["mask_id"].isin(looked_at(project))]
    first = {masks_of(project, image)[0] for image in ids(project)}
    strict, wrong = unseen["mask_id"].isin(first).sum(), (unseen["result"] == "wrong").sum()
    weight = 39 / 30
    assert table["fp_rate_n"].tolist() == [strict, *3 * [len(unseen)]]
    assert table["fp_rate"].tolist() == pytest.approx(
        [
            1 / (1 + weight * strict),  # nobody found another of the first masks wrong
            (1 + weight * wrong) / (1 + weight * len(unseen)),
            (9 + weight * wrong) / (17 + weight * len(unseen)),
            (9 + weight * wrong) / (17 + weight * len(unseen)),
        ]
    )
    assert table["audit_coverage"].tolist() == [1, 1, 1, 0.75]  # nobody looked at what was discarded
    assert table.loc[3, "fp_rate_high"] > table.loc[2, "fp_rate_high"]
    assert (table["fp_rate_low"] <= table["fp_rate"]).all()
    kept = project.experiment("audited")
    assert kept.table.equals(table)
    assert (kept.settings["labels"], kept.settings["audited"]) == ("audits", len(unseen))
    found = project.compare(("audited", 1), "audited", metrics=["fp_rate"])
    assert found["difference"].tolist() == pytest.approx((table.loc[1, "fp_rate"] - table["fp_rate"]).tolist())
    assert found.loc[1, ["low", "high", "images"]].tolist() == [0, 0, IMAGES]


def test_sweep__what_came_after_the_draw_and_in_bulk_is_no_label(project):
    image = ids(project)[3]
    masks = masks_of(project, image)[:2]
    project.record(event("verdict", image, verdict="accept", masks=masks, bulk=True))
    project.draw_audit(seed=1, share=1.0)
    answer(project)
    before = sweep(project, metrics=["fp_rate"])
    assert before.loc[1, "fp_rate_n"] == 31  # those accepted in bulk are among them
    assert before.loc[1, "fp_rate"] == pytest.approx((1 + 8) / 32)
    project.record([event("verdict", image, mask, verdict="reject") for mask in masks])
    of_audits = [name for name in before if name.startswith(("fp_rate", "audit"))]
    assert sweep(project, metrics=["fp_rate"])[of_audits].equals(before[of_audits])  # recall follows the final masks


def test_sweep__answered_masks_stand_for_those_not_answered_yet(project):
    project.draw_audit(seed=1, share=1.0)
    answer(project, some=30)
    table = sweep(project, metrics=["fp_rate"])
    results = project.audit_results()
    told = results[~results["mask_id"].isin(looked_at(project)) & (results["result"] != "")]
    wrong = (told["result"] == "wrong").sum()
    assert table.loc[1, "fp_rate_n"] == len(told) < 31
    assert table.loc[1, "fp_rate"] == pytest.approx((1 + wrong * 31 / len(told)) / 32)
    assert table.loc[1, "audit_coverage"] == 1


def test_sweep__a_corrected_mask_is_wrong_below_the_iou(project):
    near, far = ids(project)[4:6]
    for image, box in ((near, (0, 0, 6, 7)), (far, (0, 0, 6, 12))):
        project.record(desk.draw(image, box, kind="edit", mask_id=masks_of(project, image)[0]))
    project.draw_audit(seed=1, share=1.0)
    answer(project)
    table = sweep(project, metrics=["fp_rate"])
    assert (table.loc[0, "fp_rate"], table.loc[0, "fp_rate_n"]) == (pytest.approx(2 / 16), 13)
    assert sweep(project, metrics=["fp_rate"], wrong_iou=0.9).loc[0, "fp_rate"] == pytest.approx(3 / 16)


def test_sweep__audits_that_are_missing_or_too_small_are_refused(project):
    with pytest.raises(ValueError, match=r"none was drawn from any of the 16 images.*workbench audit --draw"):
        sweep(project)
    project.draw_audit(seed=1)
    with pytest.raises(ValueError, match=r"at least 20 masks with an answer.*got 0 on 16 images"):
        sweep(project)
    answer(project)
    with pytest.raises(ValueError, match=r"fp_rate_50 needs truth that is exhaustive; audits say.*Ask for fp_rate"):
        sweep(project, metrics=["fp_rate_50"])
    with pytest.raises(ValueError, match=r"verdicts alone say nothing.*ask for rejection_rate_auto"):
        sweep(project, labels="verdicts")
    project.propose(desk.stub_sam.StubSam("other-0000"), desk.stub_sam.PLAIN, progress=False)
    with pytest.raises(ValueError, match="as run 2 proposed them"):
        sweep(project)


def test_sweep__an_audit_that_does_not_say_what_it_was_drawn_from_is_not_used(project):
    project.draw_audit(seed=1)
    with project.catalog.write() as connection:
        connection.execute(sa.update(audits).values(settings={"share": 0.05}))
    with pytest.raises(ValueError, match="none was drawn from any"):
        sweep(project)


def test_sweep__truth_stays_the_default(project):
    project.draw_audit(seed=1)
    answer(project)
    assert "fp_rate" not in sweep(project, labels=None)
    by_audits = sweep(project, name="audits")
    assert "recall_auto" in by_audits  # of final masks
    project.import_truth(project.proposals(outcome="auto_accepted"), images=ids(project))
    by_truth = sweep(project, labels=None, exhaustive=True, name="truth")
    assert by_truth.loc[1, "fp_rate"] == 0
    assert "audit_coverage" not in by_truth
    with pytest.raises(ValueError, match=r"fp_rate: counted with labels='audits' in 'audits' and .*'truth' in 'truth'"):
        project.compare("audits", "truth", ["fp_rate"])
    assert "fp_rate" not in set(project.compare("audits", "truth")["metric"])
    sweep(project, labels="review", name="review")
    assert "recall_auto" in set(project.compare("audits", "review")["metric"])  # both of final masks
    assert not project.compare("audits", "truth", metrics=["auto_accept_rate"]).empty


def test_sweep__an_audit_of_images_that_nobody_reviewed(tmp_path, monkeypatch):
    desk.install(monkeypatch)
    with desk.make(tmp_path, IMAGES) as project:
        project.draw_audit(reviewed_only=False)
        answer(project)
        project.triage(desk.OPEN.replace(predicted_iou=0.94))  # the draw was from those of the triage then
        table = sweep(project, metrics=["fp_rate"])
    assert table["fp_rate"].tolist()[:2] == [0, pytest.approx(8 / 32)]
    assert table["audit_coverage"].tolist() == pytest.approx([1, 1, 2 / 3, 2 / 4])


def test_sweep__at_the_command_line(project):
    project.draw_audit(seed=1)
    answer(project)
    words = ["sweep", str(project.path), "--grid", "predicted_iou=0.88", "--metrics", "fp_rate", "--labels", "audits"]
    found = CliRunner().invoke(app, words)
    assert found.exit_code == 0, found.output
    assert "audit coverage" in found.output
    assert CliRunner().invoke(app, [*words[:-1], "verdicts"]).exit_code == 2


def test_audits__do_not_show_the_images_they_were_drawn_from(project):
    project.draw_audit(seed=1)
    assert set(project.audits().loc[0, "settings"]) == {"share", "least", "reviewed_only", "again"}
    assert wb.Project.open(project.path).audits()["masks"].tolist() == [30]
    assert np.isfinite(project.audit_results()["probability"]).all()


def test_thresholds_page__shows_what_a_sweep_counts_by_audits(project):
    from workbench.views import thresholds
    from workbench.views.pool_audits import audits_of
    from workbench.views.pools import pool_of

    config = project.triage_config()
    pooled = pool_of(project, "distinct", config).future.result(60)
    assert audits_of(project, pooled) is None
    project.draw_audit(seed=1)
    assert audits_of(project, pooled) is None  # nobody has answered yet
    answer(project)
    table, found = sweep(project, metrics=["fp_rate"]), audits_of(project, pooled)
    for row in table.itertuples():
        shown = thresholds.answer(pooled, config.replace(predicted_iou=row.predicted_iou), audits=found).audited
        assert (shown.value, shown.n) == (pytest.approx(row.fp_rate), row.fp_rate_n)
        assert shown.low <= shown.value <= shown.high
    edges = np.linspace(0, 1, 11)  # the model of these images has no stability: predicted IoU on both axes
    heat = pooled.pool.heat_map("predicted_iou", "predicted_iou", (edges, edges), config)
    share, n = thresholds.error_map(pooled, heat, "predicted_iou", found)
    assert n.sum() == (found.weight > 0).sum() > 20
    whole = table.loc[3]  # its threshold lets all masks through
    assert np.average(share[n > 0], weights=_weights(pooled, found, edges)[n > 0]) == pytest.approx(whole["fp_rate"])
    assert np.isnan(share[n == 0]).all()


def _weights(pooled, found, edges):
    scores = pooled.pool.column("predicted_iou")[found.rows]
    return np.histogram2d(scores, scores, bins=(edges, edges), weights=found.weight)[0]


def test_thresholds_page__follows_the_answers_of_an_audit(project):
    from workbench.views import apps
    from workbench.views.campaign import Campaign

    view = apps.view("thresholds", Campaign(project.path))
    assert "audited masks" not in view.counts.object
    assert "error" not in view.heat_map.shown.options
    project.draw_audit(seed=1)
    answer(project)
    view.campaign.poll()
    assert f"by {view.answer.audited.n} audited masks" in view.counts.object
    assert "error" in view.heat_map.shown.options
    view.heat_map.shown.value = "error"
    assert view.banner.object == ""


def test_compare__says_of_a_point_what_its_sweep_says():
    """A point whose drawable masks nobody judged is unknown on both, whatever people saw of its other masks."""
    sums = np.zeros((SUMS, 2, 6), np.float32)
    seen_wrong, seen, weight_wrong, weight, squared, wrong, answered, drawable, auto = sums
    seen_wrong[:], seen[:], drawable[:], auto[:] = 1, 5, 10, 15
    weight_wrong[1], weight[1], squared[1], wrong[1], answered[1] = 2.5, 10, 25, 1, 4
    images, rate = tuple(f"i{k}" for k in range(6)), Sums(*sums).rate
    counted = Counted(
        {}, ({"predicted_iou": 0.9}, {"predicted_iou": 0.8}), images, np.zeros((2, 4), int), ("fp_rate",),
        rate[0][None], rate[1][None], sums,
    )  # fmt: skip
    table = figures(counted, 0)
    one, other = (paired.Side("x", counted, [row], {"labels": "audits"}, wb.ProposeConfig()) for row in (0, 1))
    (found,) = paired.compare(one, other, None, 0).itertuples()
    assert np.isnan(found.value_a)
    assert np.isnan(table["fp_rate"][0])
    assert np.isnan(found.difference)
    assert found.value_b == table["fp_rate"][1]
