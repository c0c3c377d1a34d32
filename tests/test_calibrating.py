"""Calibration, certificates, gate and Stage 3 of a project whose masks are right with a known probability."""

from __future__ import annotations

import dataclasses
import functools
import json

import judged
import numpy as np
import pytest
import sqlalchemy as sa
import stub_sam
from typer.testing import CliRunner

import workbench as wb
from workbench.calibrate.reliability import Measured
from workbench.cli import app
from workbench.loop.gate import GateConfig
from workbench.loop.labelling import label
from workbench.loop.stage3 import GateShutError
from workbench.store.errors import StoreError
from workbench.store.schema.calibration import calibration_records
from workbench.tables.proposals import Proposals

pytestmark = pytest.mark.slow  # each fits, and compares by cross-validation


@pytest.fixture
def project(tmp_path, monkeypatch):
    with judged.make(tmp_path, monkeypatch) as made:
        yield made


@pytest.fixture
def calibrated(tmp_path, monkeypatch):
    """The project, calibrated."""
    with judged.make(tmp_path, monkeypatch, calibrated=True) as made:
        yield made


@pytest.fixture
def few_draws(monkeypatch):
    """Have the command line draw as few bootstrap samples as the other tests."""
    monkeypatch.setattr(wb.Project, "calibrate", functools.partialmethod(wb.Project.calibrate, draws=20))


def of_role(project, role):
    frame = project.images()
    return frame["image_id"][frame["role"] == role].tolist()


# ---- calibrate --------------------------------------------------------------------------------------------------------


def test_calibrate__before_and_after_are_kept_and_read_back(project):
    found = project.calibrate(draws=50)
    assert found.before["smooth_ece"].value > 0.08
    assert found.after["smooth_ece"].value < found.before["smooth_ece"].value
    assert found.recalibration.method != "none"
    assert "auto-accepted masks" in str(found)
    assert 0 <= found.before["iou_calibration_error"].value < 1  # another thing than its ECE, of predicted IoU only
    assert "iou_calibration_error" in found.before_auto.figures
    assert "iou_calibration_error" not in found.after.figures
    again = project.calibration()
    assert again.to_dict() == found.to_dict()
    assert (again.id, again.images) == (found.id, found.images)
    rows = label(project, list(found.images))
    assert np.array_equal(again.recalibration.predict(rows.features), found.recalibration.predict(rows.features))
    assert not set(found.images) & set(of_role(project, "test"))


def test_calibrate__verifier_is_reported_and_not_used_where_it_says_no_more(calibrated):
    found = calibrated.calibration()
    assert not found.good.useful
    assert found.good.baseline_auroc == pytest.approx(found.good.auroc, abs=0.1)
    assert found.complete.question == "is this image complete?"


@pytest.mark.parametrize(("always", "word"), [(True, "are right"), (False, "are wrong")])
def test_calibrate__one_class_is_undefined_and_said_so(tmp_path, monkeypatch, always, word):
    with judged.make(tmp_path, monkeypatch, n=10, always=always) as project:
        found = project.calibrate(draws=20)
        assert found.recalibration is None
        assert word in found.note
        assert word in str(found)
        assert found.before.n > 0  # labels there are, of one class
        assert all(word in table.note for table in (found.before, found.after))
        for ask in (project.certify, project.adopt_certificate):
            with pytest.raises(StoreError, match=word) as caught:
                ask()
            assert "first" not in str(caught.value)  # no advice that cannot work
        assert project.gate()["calibration_error"].verdict == "insufficient"
        assert word in project.gate()["calibration_error"].note


def test_calibrate__infinite_scores_count_as_missing(tmp_path, monkeypatch):
    real = judged.propose

    def propose(image, segmenter, config=None, *, image_id=None):
        rows = real(image, segmenter, config, image_id=image_id)
        scores = rows.predicted_iou.copy()
        scores[0] = np.inf
        return rows.replace(predicted_iou=scores)

    monkeypatch.setattr(judged, "propose", propose)
    with judged.make(tmp_path, monkeypatch) as project:
        found = project.calibrate(draws=20)
        assert f"{len(found.images)} masks without a score left out" in found.note
        rows = label(project, list(found.images))
        p = found.recalibration.predict(rows.features)
        assert np.array_equal(np.isnan(p), np.isinf(rows.features.score))
        assert project.certify(alpha=0.2, labels=100).pool.pool > 0


def test_calibrate__without_truth_or_proposals_says_what_to_do(tmp_path, monkeypatch):
    with judged.make(tmp_path, monkeypatch, n=4, truth=False) as project:
        assert "no labelled masks" in project.calibrate(draws=20).note
    import workbench as wb

    with wb.Project.create(tmp_path / "empty.wb", images=str(tmp_path / "images")) as project:
        assert project.calibration() is None
        with pytest.raises(StoreError, match="workbench propose"):
            project.calibrate()
        assert not project.gate().open


@pytest.mark.parametrize(
    ("roles", "share", "words"),
    [((1.0, 0.0, 0.0), 0.5, "no calibration images"), ((0.0, 1.0, 0.0), 1e-9, "all 4 calibration images are kept")],
    ids=["none", "all kept for certificates"],
)
def test_calibrate__without_an_image_to_fit_on_says_why(tmp_path, monkeypatch, roles, share, words):
    with judged.make(tmp_path, monkeypatch, n=4, roles=roles) as project:
        found = project.calibrate(share=share, draws=20)
        assert words in found.note
        for said in (
            found.before.note,
            found.good.note,
            project.calibration().note,
            project.gate()["calibration_error"].note,
        ):
            assert said == found.note
        with pytest.raises(StoreError, match="calibration images"):
            project.certify()
        folder = project.path
    result = CliRunner().invoke(app, ["calibrate", str(folder), "--share", str(share)])
    assert result.exit_code == 0
    assert " ".join(result.stdout.split()).count(words) == 1  # and "undefined" beside each figure


def test_records__are_never_changed(calibrated):
    for change in (sa.update(calibration_records).values(model_id="x"), sa.delete(calibration_records)):
        with pytest.raises(sa.exc.IntegrityError, match="append-only"), calibrated.catalog.write() as connection:
            connection.execute(change)
    assert calibrated.calibration_records()["kind"].tolist() == ["calibration"]


# ---- certify ----------------------------------------------------------------------------------------------------------


def test_certify__pool_is_certified_by_masks_drawn_from_it(tmp_path, monkeypatch):
    with judged.make(tmp_path, monkeypatch, n=80, calibrated=True) as project:
        both = project.certify(alpha=0.2, labels=200)
        assert both.unlabelled == 0
        assert both.drawn == 200
        assert both.pool.granted
        assert both.images.labels > 20  # calibration images that had no part in the recalibration
        strict = project.certify(alpha=0.01)
        assert not strict.images.granted
        assert strict.images.note
        frame = project.masks_to_verify()
        assert len(frame) == 200
        assert set(frame["label"]) == {"right", "wrong"}
        drawn_again = project.certify(alpha=0.2, labels=100)
        assert drawn_again.to_dict() == both.to_dict()  # the sample is drawn once
        assert project.certify(alpha=0.2, labels=250).drawn == 250
        more = project.masks_to_verify()
        pairs = set(zip(more["image_id"], more["mask_id"], strict=True))
        assert len(pairs) == len(more) == 250
        assert pairs > set(zip(frame["image_id"], frame["mask_id"], strict=True))
        assert project.certify(alpha=0.2).drawn == 250
        assert "are all that have a confidence above" not in str(both)
        everything = project.certify(alpha=0.2, labels=100_000)
        assert everything.pool.steps[-1].population == everything.drawn < 100_000
        assert f"The {everything.drawn:,} masks drawn are all that have a confidence above 0.5" in str(everything)


def test_certify__masks_without_a_label_are_asked_for(tmp_path, monkeypatch):
    with judged.make(tmp_path, monkeypatch, n=30, calibrated=True) as project:
        some = project.images()["image_id"].tolist()
        with project.catalog.write() as connection:  # as if only calibration images had truth
            keep = set(of_role(project, "calibration"))
            from workbench.store.schema import images, truth_images

            keys = sa.select(images.c.key).where(images.c.image_id.in_([i for i in some if i not in keep]))
            connection.execute(sa.delete(truth_images).where(truth_images.c.image_key.in_(keys)))
        both = project.certify(alpha=0.2, labels=100)
        assert not both.pool.granted
        assert 0 < both.unlabelled < 100
        assert "have no label yet" in both.pool.sentence
        assert (project.masks_to_verify()["label"] == "").sum() == both.unlabelled


def test_certify__needs_a_calibration(project):
    with pytest.raises(StoreError, match="calibrate"):
        project.certify()
    project.calibrate(draws=20)
    with pytest.raises(ValueError, match="alpha"):
        project.certify(alpha=0)


# ---- gate -------------------------------------------------------------------------------------------------------------


def test_gate__figures_are_of_test_images(calibrated):
    report = calibrated.gate()
    rows = label(calibrated, of_role(calibrated, "test"))
    assert report["auto_accept_rate"].value == pytest.approx(rows.auto.mean())
    assert report["auto_accept_rate"].verdict == "fail"
    assert report["domains"].n == 2
    assert report["category_diversity"].n == 2
    assert "one model so far" in report["improvement"].note
    assert "two annotators" in report["consistency"].note
    assert not report.open


@pytest.mark.parametrize(("perfect_high", "verdict"), [(0.09, "insufficient"), (0.07, "fail")])
def test_gate__no_calibration_error_that_a_perfect_model_would_show_too_is_a_failure(project, perfect_high, verdict):
    from workbench.loop import readiness

    smooth = Measured("smooth_ece", 0.08, 0.06, 0.12, perfect_high - 0.01, perfect_high, 71)
    found = project.calibrate(draws=20)
    after = dataclasses.replace(found.after, figures={**found.after.figures, "smooth_ece": smooth})
    config = GateConfig()
    report = readiness.gate(project, dataclasses.replace(found, after=after), of_role(project, "test"), config, {})
    assert report["calibration_error"].verdict == verdict
    assert ("a perfectly calibrated model would show up to 0.090" in str(report)) == (verdict == "insufficient")


def test_gate__improvement_is_between_the_last_two_models(project):
    project.propose(stub_sam.StubSam("stub-2"), stub_sam.PLAIN, progress=False)
    project.triage(judged.PLAIN)
    check = project.gate()["improvement"]
    assert check.value > 0.05
    assert check.verdict == "fail"
    assert check.interval[0] <= check.value <= check.interval[1]


@pytest.mark.parametrize(
    ("floors", "triage"),
    [
        ({"points_per_side": 8}, {}),
        ({"predicted_iou_floor": 0.6}, {}),
        ({"nms_iou": 0.5}, {"nms_iou": 0.5}),
        ({"nms": "mask"}, {"nms": "mask"}),
    ],
)
def test_gate__improvement_is_never_between_unlike_runs(project, floors, triage):
    project.propose(stub_sam.StubSam("stub-2"), stub_sam.PLAIN.replace(**floors), progress=False)
    project.triage(judged.PLAIN.replace(**triage))
    check = project.gate()["improvement"]
    assert check.verdict == "insufficient"
    assert np.isnan(check.value)
    assert "floors, grid and NMS" in check.note


def test_gate__improvement_passes_over_unlike_runs_to_one_that_is_alike(project):
    project.propose(stub_sam.StubSam("stub-0"), stub_sam.PLAIN.replace(points_per_side=8), progress=False)
    project.propose(stub_sam.StubSam("stub-2"), stub_sam.PLAIN.replace(points_per_batch=7), progress=False)
    project.triage(judged.PLAIN)
    assert project.gate()["improvement"].value > 0.05


def test_gate__floors_grid_and_nms_are_printed_with_the_figures(project):
    report = project.gate()
    assert report.measured["run"] == project.runs()["id"].iloc[-1]
    assert report.to_dict()["measured"]["floors"]["points_per_side"] == stub_sam.PLAIN.points_per_side
    assert report.to_dict()["measured"]["distinct"]["nms_iou"] == 0.7
    assert "Measured on run 1 (stub-1): predicted IoU above" in str(report)
    assert "box NMS at 0.7" in str(report)


def test_gate__declarations_are_kept(project):
    project.gate(declared={"domains": "one microscope"})
    project.gate(declared={"consistency": "one annotator"})
    assert project.gate()["domains"].verdict == "not applicable"  # beside what is declared later
    assert project.gate()["consistency"].verdict == "not applicable"
    assert project.gate(declared={})["consistency"].verdict == "not applicable"
    taken_back = project.gate(declared={"consistency": None})
    assert [taken_back[name].verdict for name in ("consistency", "domains")] == ["insufficient", "not applicable"]


def test_gate__too_few_test_images_is_insufficient(project):
    report = project.gate(GateConfig(least_images=1000))
    assert report["recall"].verdict == "insufficient"
    assert "at least 1000 are needed" in report["recall"].note


# ---- Stage 3 ----------------------------------------------------------------------------------------------------------


def test_annotate__is_refused_while_the_gate_is_shut(project):
    with pytest.raises(GateShutError, match="auto_accept_rate"):
        project.annotate_automatically()
    with pytest.raises(ValueError, match="reason"):
        project.annotate_automatically(override=" ")
    assert "annotation" not in project.calibration_records()["kind"].tolist()


@pytest.mark.parametrize(
    ("given", "words"),
    [({"sample": 0}, "sample: expected 1 or more"), ({"sample": -1}, "got -1"), ({"delta": 2}, r"delta: .*\(0, 1\)")],
)
def test_annotate__a_verification_that_says_nothing_is_refused(project, given, words):
    with pytest.raises(ValueError, match=words):
        project.annotate_automatically(override="a trial", **given)
    assert "annotation" not in project.calibration_records()["kind"].tolist()


def test_annotate__override_is_kept_and_a_sample_verifies(calibrated):
    found = calibrated.annotate_automatically(override="a trial", sample=50)
    assert not found.gate_open
    assert len(found.sample) == found.verified.drawn == 50
    assert found.verified.labelled == 50
    wrong = found.verified.wrong / 50
    assert wrong < found.verified.bound < wrong + 0.2
    assert "a trial" in str(found)
    kept = calibrated.calibration_records().iloc[-1]
    assert kept["kind"] == "annotation"
    assert kept["settings"]["override"] == "a trial"
    gates = calibrated.calibration_records().query("kind == 'gate'")
    assert kept["settings"]["gate"] == kept["result"]["gate"] == gates["id"].iloc[-1]
    assert kept["result"]["shut_by"] == gates["result"].iloc[-1]["shut_by"]
    assert any(words.startswith("fail auto_accept_rate") for words in kept["result"]["shut_by"])
    assert str(calibrated.verify_annotation()) == str(found.verified)
    drawn = calibrated.annotation_to_verify()
    assert list(zip(drawn.image_id, drawn.mask_id, strict=True)) == [tuple(row) for row in kept["result"]["sample"]]
    assert (drawn.label == "wrong").sum() == found.verified.wrong
    assert len(found.masks) == len(calibrated.proposals(outcome="auto_accepted"))


def test_annotate__certified_threshold_is_used_when_there_is_one(tmp_path, monkeypatch):
    with judged.make(tmp_path, monkeypatch, n=80, calibrated=True) as project:
        calibration = project.calibration()
        both = project.certify(alpha=0.2, labels=200)
        found = project.annotate_automatically(override="a trial")
        assert "certified for images to come" in found.rule
        assert both.images.threshold == both.pool.threshold
        assert len(found.masks) == both.pool.accepted
        project.calibrate(draws=20)  # its confidence is another one: the certificate holds no more
        assert (
            "there is no certificate of the latest calibration"
            in project.annotate_automatically(override="a trial").rule
        )
        project.certify(alpha=0.001, labels=20)
        assert "no certificate was granted when last asked" in project.annotate_automatically(override="a trial").rule
        assert calibration.id < project.calibration().id


def test_annotate__certificate_of_a_pool_is_for_all_of_it_and_nothing_else(tmp_path, monkeypatch):
    from workbench.loop import certification

    refused = certification.of_images
    monkeypatch.setattr(
        certification, "of_images", lambda *given: dataclasses.replace(refused(*given), granted=False, note="none")
    )
    with judged.make(tmp_path, monkeypatch, n=80, calibrated=True) as project:
        assert project.certify(alpha=0.2, labels=200).pool.granted
        ids = project.images()["image_id"].tolist()
        assert "certified for this pool" in project.annotate_automatically(override="a trial", sample=5).rule
        assert "certified for this pool" in project.annotate_automatically(ids, override="a trial", sample=5).rule
        some = project.annotate_automatically(ids[:3], override="a trial", sample=5)
        assert some.rule == "auto-accepted by triage; the certificate is of another pool"
        assert len(some.masks) == len(project.proposals(ids[:3], outcome="auto_accepted"))


def test_annotate__images_without_proposals_are_named(project, tmp_path):
    from PIL import Image

    Image.fromarray(np.zeros((*judged.SIZE, 3), np.uint8)).save(tmp_path / "images" / "new.png")
    project.add_images(str(tmp_path / "images"))
    with pytest.raises(StoreError, match="no proposals"):
        project.annotate_automatically(["new.png"], override="a trial")
    left_out = project.annotate_automatically(override="a trial")
    assert left_out.without_proposals == left_out.to_dict()["without_proposals"] == 1
    assert "1 images have no proposals by this run" in str(left_out)
    sam = stub_sam.StubSam("stub-1")
    assert len(project.annotate_automatically(["new.png"], override="a trial", sam=sam).images) == 1
    assert project.annotate_automatically(override="a trial").without_proposals == 0


def open_gate(monkeypatch):
    from workbench.loop import readiness
    from workbench.loop.gate import CHECKS, MEASURED, evaluate
    from workbench.tables.figures import Interval

    ends = {
        "auto_accept_rate": (0.85, 0.95),
        "fp_rate": (0.0, 0.04),
        "calibration_error": (0.0, 0.02),
        "recall": (0.93, 0.97),
    }
    figures = {name: Interval(sum(pair) / 2, *pair, 400) for name, pair in ends.items()}
    declared = {name: "a test" for name in CHECKS if name not in MEASURED}
    monkeypatch.setattr(readiness, "gate", lambda *_: evaluate(figures, declared=declared))


def test_annotate__open_gate_needs_no_override(project, monkeypatch):
    open_gate(monkeypatch)
    found = project.annotate_automatically()
    assert found.gate_open
    assert found.override == ""


def test_annotate__a_certificate_decides_only_where_the_gate_has_measured_it(tmp_path, monkeypatch):
    open_gate(monkeypatch)
    with judged.make(tmp_path, monkeypatch, n=80, calibrated=True) as project:
        assert project.annotate_automatically().rule.startswith("auto-accepted by triage")
        project.certify(alpha=0.2, labels=200)
        with pytest.raises(GateShutError, match=r"measured what triage accepts, .* adopt that certificate"):
            project.annotate_automatically()
        rule = project.annotate_automatically(override="a trial").rule
        assert "certified for images to come: of an image's masks at most 20% wrong, on average over images" in rule
        project.adopt_certificate(author="a")
        found = project.annotate_automatically()
        assert found.rule == rule
        assert found.masks.mask_id.tolist() == project.proposals(outcome="auto_accepted").mask_id.tolist()


def test_verify__before_an_annotation_says_so(project):
    with pytest.raises(StoreError, match="nothing was annotated"):
        project.verify_annotation()


# ---- command line -----------------------------------------------------------------------------------------------------


def run(*words):
    return CliRunner().invoke(app, list(map(str, words)))


def test_cli__calibrate_gate_annotate(project, tmp_path, few_draws):
    folder = project.path
    answer = run("calibrate", folder, "--json")
    assert answer.exit_code == 0, answer.output
    values = json.loads(answer.output)
    assert values["calibration"]["recalibration"]["method"] == values["recalibration"]
    assert values["certificates"]["pool"]["sentence"] == values["pool"]
    answer = run("gate", folder, "--json", "--declare", "consistency=one annotator", "--set", "least_images=5")
    values = json.loads(answer.output)
    assert answer.exit_code == 0
    assert values["open"] is False
    assert {c["name"]: c["verdict"] for c in values["checks"]}["consistency"] == "not applicable"
    answer = run("annotate", folder)
    assert answer.exit_code == 1
    assert "the gate to fully automatic annotation is shut" in answer.stderr
    file = tmp_path / "masks.json"
    answer = run("annotate", folder, "--override", "a trial", "-o", file, "--json")
    assert answer.exit_code == 0, answer.output
    said = json.loads(answer.output)
    assert len(json.loads(file.read_text())["annotations"]) == said["masks"] - said.get("left_out", 0)


def test_cli__tables_for_people_and_wrong_use(project, few_draws):
    shown = run("calibrate", project.path).output
    table = project.calibration().after["smooth_ece"]
    words = f"smooth_ece {table.value:.3f} [{table.low:.3f}, {table.high:.3f}] (perfect {table.perfect:.3f})"
    assert words in shown
    assert words in str(project.calibration())
    assert "The gate is shut" in run("gate", project.path).output
    assert run("gate", project.path, "--declare", "consistency").exit_code == 2
    assert run("gate", project.path, "--set", "recall=2").exit_code == 2
    for words in (["--share", 2], ["--alpha", 0], ["--delta", 1]):
        wrong = run("calibrate", project.path, *words)
        assert (wrong.exit_code, f"{words[0]}: expected a number above 0" in wrong.stderr) == (2, True)
    wrong = run("annotate", project.path, "--override", " ", "--json")
    assert wrong.exit_code == 2
    assert "expected a reason" in json.loads(wrong.stdout)["error"]
    assert "a trial" in run("annotate", project.path, "--override", "a trial").output


def test_cli__certify_only_keeps_the_calibration_and_lists_what_to_label(tmp_path, monkeypatch, few_draws):
    with judged.make(tmp_path, monkeypatch, n=30, roles=(0.0, 1.0, 0.0), truth=False) as project:
        assert run("calibrate", project.path, "--certify-only").exit_code == 2
        ids = project.images()["image_id"].tolist()
        known = Proposals.concat([judged.truth_of(project.image(i), i) for i in ids[:20]])
        project.import_truth(known, images=ids[:20])
        first = json.loads(run("calibrate", project.path, "--labels", "40", "--json").output)
        assert len(first["to_label"]) == first["unlabelled"] > 0
        assert {image for image, _ in first["to_label"]} <= set(ids[20:])
        asked = project.masks_to_verify()
        rest = Proposals.concat([judged.truth_of(project.image(i), i) for i in ids[20:]])
        project.import_truth(rest, images=ids[20:])
        second = json.loads(run("calibrate", project.path, "--certify-only", "--json").output)
        assert (second["drawn"], second["unlabelled"]) == (40, 0)
        assert "to_label" not in second
        assert project.masks_to_verify()[["image_id", "mask_id"]].equals(asked[["image_id", "mask_id"]])
        assert project.calibration_records()["kind"].tolist().count("calibration") == 1


def test_cli__recall_stands_beside_the_auto_acceptance_rate(project, tmp_path, monkeypatch):
    known = project.recall_auto()
    assert 0 < known.low < known.value < known.high < 1
    for words in (["report"], ["triage", "--set", "predicted_iou=0.8"]):
        values = json.loads(run(words[0], project.path, *words[1:], "--json").output)
        assert set(values["recall_auto"]) == {"value", "low", "high", "n", "how"}
        assert f"(n = {known.n:,})" in run(words[0], project.path, *words[1:]).output
    with judged.make(tmp_path / "other", monkeypatch, n=4, truth=False) as other:
        assert json.loads(run("report", other.path, "--json").output)["recall_auto"] is None
        assert "not known: no image has truth" in run("report", other.path).output


def test_cli__verify_says_what_the_labels_say_by_now(project):
    assert run("annotate", project.path, "--verify").exit_code == 1
    project.annotate_automatically(override="a trial", sample=30)
    values = json.loads(run("annotate", project.path, "--verify", "--json").output)
    assert (values["drawn"], values["labelled"]) == (30, 30)
    assert values["verification"] == str(project.verify_annotation())


def test_cli__masks_of_an_annotation_that_wait_for_a_look_are_listed(tmp_path, monkeypatch):
    with judged.make(tmp_path, monkeypatch, n=12, truth=False) as project:
        values = json.loads(run("annotate", project.path, "--override", "a trial", "--sample", "5", "--json").output)
        assert values["to_label"] == values["sample"]
        assert len(values["to_label"]) == 5
        told = run("annotate", project.path, "--verify").output
        assert "5 of the 5 masks drawn for verification wait for a look" in " ".join(told.split())
        for _, mask in values["to_label"]:
            assert mask in told


# ---- adoption ---------------------------------------------------------------------------------------------------------


def above(project, certificate, calibration):
    """Return the mask ids of all distinct masks with a confidence above a certified threshold."""
    from workbench.loop.certification import each_candidate

    found = set()
    for own in each_candidate(project):
        p = calibration.recalibration.predict(own.features)
        found |= set(own.rows.mask_id[own.within & (p > certificate.threshold)].tolist())
    return found


def test_adopt_certificate__triage_accepts_what_was_certified_and_pool_and_sweep_replay_it(tmp_path, monkeypatch):
    from workbench.triage.pool import DistinctPool

    with judged.make(tmp_path, monkeypatch, n=80, calibrated=True) as project:
        before = project.triage_config()
        calibration = project.calibration()
        both = project.certify(alpha=0.2, labels=200)
        expected = above(project, both.images, calibration)
        triage = project.adopt_certificate(author="ann")
        assert set(project.proposals(outcome="auto_accepted").mask_id.tolist()) == expected
        assert triage.counts()["auto_accepted"] == len(expected) == both.pool.accepted
        version = project.triages().iloc[-1]
        assert (version["author"], version["note"][:11]) == ("ann", "certificate")
        config = project.triage_config()
        assert config.confidence == both.images.threshold
        assert config.replace(confidence=None, confidence_rule="doubts", confidence_model=None) == before
        rows = project.proposals()
        pool = DistinctPool.build(rows, None, config)
        for moved in (config, config.replace(predicted_iou=0.9, min_area_px=30), config.replace(max_area_share=0.02)):
            assert np.array_equal(pool.outcome(moved), wb.triage(rows, moved).outcome)
        swept = project.sweep({"predicted_iou": [0.8, 0.9]}, base=config.replace(nms_iou=0.7), progress=False)
        assert swept["auto_accepted"].tolist() == [len(expected)] * 2
        image = project.images()["image_id"].iloc[0]
        review = project.image_review(image)
        assert set(review.masks.mask_id[review.outcome == 2].tolist()) == expected & set(review.masks.mask_id.tolist())
        again = project.calibrate(draws=20)  # the confidence is of the same masks by the same reasons
        assert again.recalibration.to_dict() == calibration.recalibration.to_dict()
        project.triage(before)
        assert project.triage_config() == before


def test_adopt_certificate__that_abstains_is_refused_with_the_labels_that_are_missing(project):
    with pytest.raises(StoreError, match=r"run project.calibrate\(\)"):
        project.adopt_certificate()
    project.calibrate(draws=20)
    with pytest.raises(StoreError, match=r"run project.certify\(\) first"):
        project.adopt_certificate()
    project.certify(alpha=0.01, labels=30)
    versions = len(project.triages())
    with pytest.raises(StoreError, match=r"no certificate to adopt(.|\n)*No certificate of this pool for alpha 0.01"):
        project.adopt_certificate()
    assert len(project.triages()) == versions
    assert "adoption" not in project.calibration_records()["kind"].tolist()


def test_adopt_certificate__of_a_pool_that_has_grown_is_refused(tmp_path, monkeypatch):
    from PIL import Image

    with judged.make(tmp_path, monkeypatch, n=80, calibrated=True) as project:
        assert project.certify(alpha=0.2, labels=200).pool.granted
        project.adopt_certificate("pool")
        project.certify(alpha=0.2, labels=200)
        pixels = np.random.default_rng(9).integers(0, 256, (*judged.SIZE, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / "new.png")
        project.add_images(str(tmp_path / "images"))
        project.propose(stub_sam.StubSam("stub-1"), stub_sam.PLAIN, progress=False)
        with pytest.raises(StoreError, match="certify again"):
            project.adopt_certificate("pool")
        new = project.images()["image_id"].iloc[-1]
        assert np.isfinite(project.proposals(new).confidence).all()  # images to come are sorted by the same threshold
        with pytest.raises(ValueError, match="promise"):
            project.adopt_certificate("both")


def test_adopt_verifier__that_says_no_more_is_refused_unless_asked_for(project):
    from workbench.triage.sweep import Grid, outcomes

    with pytest.raises(StoreError, match="calibrate"):
        project.adopt_verifier()
    found = project.calibrate(draws=50)
    with pytest.raises(StoreError, match="does not beat predicted IoU") as caught:
        project.adopt_verifier()
    assert f"{found.good.auroc:.3f} beside {found.good.baseline_auroc:.3f}" in str(caught.value)
    before, accepted = project.triage_config(), set(project.proposals(outcome="auto_accepted").mask_id.tolist())
    triage = project.adopt_verifier(0.9, anyway=True, author="ann")
    rows = project.proposals()
    sure = set(rows.mask_id[rows.confidence > 0.9].tolist())
    assert set(rows.mask_id[triage.auto_accepted].tolist()) == accepted & sure
    assert 0 < triage.reason_counts()["low_confidence"] < len(rows)
    assert "although it does not beat it" in project.triages()["note"].iloc[-1]
    assert project.triage_config().replace(confidence=None, confidence_model=None) == before
    points = Grid.of({"pool": ["distinct", "exact"], "predicted_iou": [0.8, 0.85]}, project.triage_config())
    for point in outcomes(lambda: [rows], points):
        assert np.array_equal(point.outcome, wb.triage(rows, point.config).outcome)
    swept = project.sweep({"predicted_iou": [0.8]}, base=project.triage_config().replace(nms_iou=0.7), progress=False)
    assert swept["auto_accepted"].tolist() == [len(accepted & sure)]
    off = project.triage_config().replace(nms_iou=0.7, confidence=None)
    moved = project.sweep({"confidence": [None, 0.9]}, base=off, progress=False)
    assert moved["auto_accepted"].tolist() == [len(accepted), len(accepted & sure)]


def test_adopt_verifier__that_beats_predicted_iou_needs_no_word(calibrated, monkeypatch):
    from workbench.calibrate import verifier

    real = verifier.Verification.from_dict
    better = classmethod(lambda _, values: dataclasses.replace(real(values), useful=True, low=0.01))
    monkeypatch.setattr(verifier.Verification, "from_dict", better)
    calibrated.adopt_verifier()
    note = calibrated.triages()["note"].iloc[-1]
    assert "beside predicted IoU" in note
    assert "although" not in note


def test_triage__a_confidence_adopted_for_another_model_is_refused(calibrated):
    calibrated.adopt_verifier(anyway=True)
    config = calibrated.triage_config()
    calibrated.propose(stub_sam.StubSam("stub-2"), stub_sam.PLAIN, progress=False)
    assert calibrated.triage_config().confidence is None
    with pytest.raises(StoreError, match="masks of stub-1, these are of stub-2"):
        calibrated.triage(config)


def test_triage__a_confidence_of_no_record_is_refused(project):
    with pytest.raises(StoreError, match="confidence_model"):
        project.triage(judged.PLAIN.replace(confidence=0.5, confidence_model=999))
    with pytest.raises(ValueError, match="confidence_model"):
        project.sweep({"confidence_model": [1]}, progress=False)


def test_cli__adopt(project, few_draws):
    answer = run("calibrate", project.path, "--adopt", "verifier")
    assert answer.exit_code == 1
    assert "does not beat predicted IoU" in answer.stderr
    answer = run("calibrate", project.path, "--adopt", "certificate", "--alpha", "0.01")
    assert answer.exit_code == 1
    assert "would be needed" in answer.stderr or "not below alpha" in answer.stderr
    answer = run("calibrate", project.path, "--adopt", "verifier", "--anyway", "--author", "ann", "--json")
    assert answer.exit_code == 0, answer.output
    assert json.loads(answer.output)["adopted"]["distinct"] > 0
    assert project.triages()["author"].iloc[-1] == "ann"


# ---- the embedding ----------------------------------------------------------------------------------------------------


class Seeing(stub_sam.StubSam):
    """Its embedding shows which blocks are right, which predicted IoU does not."""

    def embed(self, image):
        import torch

        from workbench.sam.segmenter import Embedding

        cells, _, right = judged.drawn(image)
        features = torch.zeros(1, 3, 5, 5)
        for cell, ok in zip(cells, right, strict=True):
            y, x = judged.CELLS[cell]
            features[0, :, y // 8, x // 8] = torch.tensor([1.0, -1.0, 0.5]) if ok else torch.tensor([-1.0, 1.0, 0.5])
        return Embedding(features, image.shape[:2], image.shape[:2])


def test_embedding__verifier_that_beats_predicted_iou_becomes_a_reason_to_flag(project, tmp_path):
    from PIL import Image

    plain = project.calibrate(draws=50)
    assert plain.reduction is None
    assert f"over {len(plain.good.verifier.columns)} columns, AUROC" in repr(plain.good)
    sam = Seeing("stub-1")
    found = project.calibrate(draws=50, sam=sam)
    assert found.good.useful
    assert found.good.auroc > 0.95 > found.good.baseline_auroc
    assert "SAM's embedding" in repr(found.good)
    assert set(found.good.brier) == {"logistic", "logistic with embedding", "network", "network with embedding"}
    assert project.calibration().to_dict() == found.to_dict()
    with pytest.raises(StoreError, match="expected the model of the latest run, stub-1"):
        project.adopt_verifier()
    with wb.Project.create(tmp_path / "none.wb", images=str(tmp_path / "images")) as bare:
        bare.propose(sam, stub_sam.PLAIN, progress=False)
        assert bare.calibrate(draws=20, sam=sam).recalibration is None  # without a labelled mask: said so, no error
    with pytest.raises(StoreError, match="got stub-2"):
        project.calibrate(sam=Seeing("stub-2"))
    before = label(project, of_role(project, "test"))
    project.adopt_verifier(sam=sam, progress=False)
    after = label(project, of_role(project, "test"))
    assert after.right[after.auto].mean() > before.right[before.auto].mean()
    assert not (after.auto & ~before.auto).any()
    assert project.triages()["note"].iloc[-1].startswith("verifier of calibration")
    pixels = np.random.default_rng(9).integers(0, 256, (*judged.SIZE, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "images" / "new.png")
    project.add_images(str(tmp_path / "images"))
    project.propose(sam, stub_sam.PLAIN, progress=False)
    assert project.report().to_dict()["reasons"]["confidence_missing"] > 0
    assert project.measure_embedding(sam, progress=False) == 1
    assert project.report().to_dict()["reasons"].get("confidence_missing", 0) == 0
    project.triage(judged.PLAIN)
    with pytest.raises(StoreError, match="no embedding"):
        project.measure_embedding(sam)


def test_completeness__is_the_verifiers_where_it_beats_coverage(project, monkeypatch):
    from workbench.calibrate.verifier import COMPLETE, Verifier
    from workbench.loop.calibration import IMAGE_COLUMNS, Calibration

    image = project.images()["image_id"].iloc[0]
    assert project.completeness(image) is None  # not calibrated yet
    with pytest.raises(StoreError, match="image: expected the id or the path of an image"):
        project.completeness("nobody's")
    found = project.calibrate(draws=50)
    n = len(IMAGE_COLUMNS)
    arrays = {"mean": np.zeros(n), "scale": np.ones(n), "slope": np.eye(n)[:, :1], "offset": np.array([-2.0])}
    verifier = Verifier(COMPLETE, "logistic", IMAGE_COLUMNS, arrays)  # by the number of auto-accepted masks alone
    useful = dataclasses.replace(found.complete, verifier=verifier, useful=True)
    monkeypatch.setattr(type(project), "calibration", lambda _: dataclasses.replace(found, complete=useful))
    accepted = wb.triage(project.proposals(image), project.triage_config()).counts()["auto_accepted"]
    assert project.completeness(image) == pytest.approx(1 / (1 + np.exp(2 - accepted)))
    useless = dataclasses.replace(useful, useful=False)
    monkeypatch.setattr(type(project), "calibration", lambda _: dataclasses.replace(found, complete=useless))
    assert project.completeness(image) is None
    assert isinstance(found, Calibration)


def test_cli__embedding_loads_the_model_of_the_run(project, tmp_path, monkeypatch, few_draws):
    asked = []

    def load_sam(name, *, checkpoint, cache):
        asked.append((name, checkpoint, cache.folder))
        return Seeing("stub-1")

    monkeypatch.setattr("workbench.sam.load.load_sam", load_sam)
    cache = tmp_path / "cache"
    answer = run("calibrate", project.path, "--embedding", "--embedding-cache", cache, "--adopt", "verifier", "--json")
    assert answer.exit_code == 0, answer.output
    found = json.loads(answer.stdout)
    assert "SAM's embedding" in found["verifier_of_masks"]
    assert found["adopted"]["distinct"] > 0
    assert set(asked) == {("stub", None, cache)}
    assert project.calibration().reduction is not None


def test_embedding__a_file_that_does_not_fit_counts_as_missing(tmp_path):
    from workbench.store import pooled

    values = np.arange(6, dtype=np.float32).reshape(3, 2)
    pooled.keep(tmp_path, 4, "a", values)
    assert np.array_equal(pooled.load(tmp_path, 4, "a", 3, 2), values)
    assert pooled.load(tmp_path, 4, "a", 2, 2) is None
    assert pooled.load(tmp_path, 4, "b", 3, 2) is None
    pooled.path_of(tmp_path, 4, "a").write_bytes(b"\x93NUMPY")
    assert pooled.load(tmp_path, 4, "a", 3, 2) is None
