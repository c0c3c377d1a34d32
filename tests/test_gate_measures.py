"""Stage 3 accepts nothing that the gate has not measured, and says what it rests on: wrong masks, domains, certificates, looks."""

from __future__ import annotations

import json

import judged
import numpy as np
import pytest
import stub_sam
from desk import event
from PIL import Image
from typer.testing import CliRunner

from workbench.calibrate.certify import certify_images, certify_pool
from workbench.cli import app
from workbench.formats import coco
from workbench.loop import gate, stage3
from workbench.loop.adoption import Adopted
from workbench.masks import rle
from workbench.store import calibrations
from workbench.store.errors import StoreError
from workbench.tables.outcomes import Outcome
from workbench.tables.proposals import Proposals

pytestmark = pytest.mark.slow  # each fits, and compares by cross-validation
EVERYTHING = judged.PLAIN.replace(predicted_iou=0.5, predicted_iou_margin=0.0)
NOT_MEASURED = {name: "a test" for name in gate.CHECKS if name not in gate.MEASURED}
LOOSE = gate.GateConfig(auto_accept_rate=0.0, fp_rate=1.0, calibration_error=1.0, recall=0.0, least_images=1)


def run(*words):
    return CliRunner().invoke(app, list(map(str, words)))


def a_third_is_nothing(image, always=None):
    """A third of the blocks have no true mask, whatever they score."""
    rng = np.random.default_rng(int(image.astype(np.int64).sum()))
    n = int(rng.integers(10, 16))
    cells = rng.permutation(len(judged.CELLS))[:n]
    return cells, rng.uniform(0.5, 1, n), rng.random(n) < 0.65


def truth_of_right_ones(image, image_id, always=None):
    cells, _, right = judged.drawn(image)
    return judged.table(judged.blocks(cells[right], [6] * int(right.sum())), image_id)


@pytest.fixture
def certified(tmp_path, monkeypatch):
    with judged.make(tmp_path, monkeypatch, n=80, calibrated=True) as project:
        project.certify(alpha=0.2, labels=200)
        yield project


def test_gate__accepting_everything_is_shut_by_what_is_wrong(tmp_path, monkeypatch):
    monkeypatch.setattr(judged, "drawn", a_third_is_nothing)
    monkeypatch.setattr(judged, "truth_of", truth_of_right_ones)
    with judged.make(tmp_path, monkeypatch, n=120, roles=(0.0, 0.5, 0.5)) as project:
        project.triage(EVERYTHING)
        project.calibrate(share=1.0, draws=20)
        report = project.gate(declared=NOT_MEASURED)
        verdicts = {check.name: check.verdict for check in report.checks if check.name in gate.MEASURED}
        assert {name: verdicts[name] for name in ("auto_accept_rate", "recall")} == {
            "auto_accept_rate": "pass",
            "recall": "pass",
        }
        assert verdicts["fp_rate"] == "fail"
        assert 0.25 < report["fp_rate"].value < 0.45
        assert "at IoU 0.5 0.3" in report["fp_rate"].note
        with pytest.raises(stage3.GateShutError, match="fail fp_rate"):
            project.annotate_automatically()
        project.calibrate(
            share=1.0, draws=20, exhaustive=False
        )  # truth that leaves things out says of no mask that it is wrong
        left_out = project.gate()["fp_rate"]
        assert left_out.verdict == "insufficient"
        assert "imported truth leaves things out" in left_out.note


def test_annotate__a_domain_without_test_images_is_not_accepted_on(tmp_path, monkeypatch):
    with judged.make(tmp_path, monkeypatch, n=40, calibrated=True) as project:
        rng, folder = np.random.default_rng(1), tmp_path / "images" / "green"
        folder.mkdir()
        for k in range(3):
            Image.fromarray(rng.integers(0, 256, (*judged.SIZE, 3), dtype=np.uint8)).save(folder / f"{k}.png")
        project.add_images(str(tmp_path / "images"))
        old = project.images().query("status == 'done'")["image_id"].tolist()
        project.propose(stub_sam.StubSam("stub-1"), stub_sam.PLAIN, progress=False)
        but_domains = {name: why for name, why in NOT_MEASURED.items() if name != "domains"}
        loose = LOOSE.replace(domains=1.0)
        report = project.gate(loose, declared=but_domains)
        assert report.open, str(report)
        assert report.measured["domains"] == ["blue", "red"]
        with pytest.raises(stage3.GateShutError, match=r"no test image of the domains green \(3 images\): leave these"):
            project.annotate_automatically(gate=loose)
        assert len(project.annotate_automatically(old, gate=loose).images) == len(old)
        forced = project.annotate_automatically(gate=loose, override="they look alike")
        assert not forced.gate_open
        assert (forced.override, forced.shut_by) == (
            "they look alike",
            ("the gate has measured no test image of the domains green (3 images)",),
        )
        project.gate(loose, declared={"domains": "folders are plates of one microscope"})
        assert project.annotate_automatically(gate=loose).gate_open


def test_annotate__a_certificate_of_another_confidence_with_the_same_threshold_was_not_measured(certified):
    before, loose = certified.calibration(), LOOSE
    certified.adopt_certificate()
    certified.gate(loose, declared=NOT_MEASURED)
    assert certified.annotate_automatically(gate=loose).gate_open
    certified.calibrate(share=0.9, draws=20)
    again = certified.certify(alpha=0.25, labels=200)
    assert again.pool.threshold == certified.triage_config().confidence
    assert certified.calibration().recalibration.to_dict() != before.recalibration.to_dict()
    with pytest.raises(stage3.GateShutError, match="adopt that certificate"):
        certified.annotate_automatically(gate=loose)
    certified.adopt_certificate()
    assert certified.annotate_automatically(gate=loose).gate_open
    certified.triage(certified.triage_config().replace(min_area_px=30))
    with pytest.raises(stage3.GateShutError, match="adopt that certificate"):
        certified.annotate_automatically(gate=loose)


def test_annotate__an_override_of_an_open_gate_is_shown_and_so_are_bounds_of_ones_own(certified):
    certified.gate(LOOSE, declared=NOT_MEASURED)
    found = certified.annotate_automatically(gate=LOOSE, override="a trial")
    assert not found.gate_open
    assert found.to_dict()["override"] == "a trial"
    assert "the masks with a confidence above" in found.shut_by[0]
    assert "gate shut, overridden: a trial, held to auto_accept_rate = 0.0, fp_rate = 1.0" in str(found)
    assert found.to_dict()["bounds"]["recall"] == 0.0
    assert certified.annotation().to_dict() == found.to_dict()


def test_gate__a_certificate_adopted_on_one_run_is_no_change_of_the_model(certified):
    certified.propose(stub_sam.StubSam("stub-3"), stub_sam.PLAIN, progress=False)
    certified.triage(judged.PLAIN)
    certified.calibrate(draws=20)
    before = certified.gate()["improvement"]
    assert before.value == 0
    certified.certify(alpha=0.2, labels=200)
    rate = certified.gate()["auto_accept_rate"].value
    certified.adopt_certificate()
    after = certified.gate()
    assert after["auto_accept_rate"].value > rate
    assert (after["improvement"].value, after["improvement"].verdict) == (0, before.verdict)


def test_gate__the_confidence_of_a_cycle_counts_as_other_thresholds_do(certified):
    """A cycle's thresholds are how far the campaign has come, where an adopted certificate is somebody's decision."""
    certified.propose(stub_sam.StubSam("stub-3"), stub_sam.PLAIN, progress=False)
    certified.triage(judged.PLAIN)
    recalibration = certified.calibrate(draws=20).recalibration
    rate = certified.gate()["auto_accept_rate"].value
    model = Adopted(recalibration, judged.PLAIN, None, certified.model_id)
    number = certified.keep_confidence(model, {"rule": "decides", "confidence": 0.3, "cycle": 2}, [])
    certified.triage(judged.PLAIN.replace(confidence=0.3, confidence_rule="decides", confidence_model=number))
    after = certified.gate()
    assert after["auto_accept_rate"].value > rate
    assert after["improvement"].value == pytest.approx(after["auto_accept_rate"].value / rate - 1)


def test_annotation__what_was_verified_is_written_without_what_was_found_wrong(tmp_path, monkeypatch):
    with judged.make(tmp_path, monkeypatch, n=20, truth=False) as project:
        first = json.loads(run("annotate", project.path, "--override", "a trial", "--sample", "5", "--json").stdout)
        drawn = [tuple(pair) for pair in first["to_label"]]
        project.add_annotator("a")
        for image in dict.fromkeys(image for image, _ in drawn):
            review = project.image_review(image)
            shown = [(str(m), o) for m, o in zip(review.masks.mask_id, review.outcome, strict=True) if o in (1, 2)]
            right = {m for m, o in shown if o == Outcome.auto_accepted} - {drawn[0][1]}
            said = [event("verdict", image, m, verdict="accept" if m in right else "reject") for m, _ in shown]
            project.record([*said, event("complete", image)])
        file = tmp_path / "masks.json"
        told = run("annotate", project.path, "--verify", "-o", file, "--json")
        values = json.loads(told.stdout)
        assert (values["labelled"], values["wrong"], "written as they left them" in values["note"]) == (5, 1, True)
        written = coco.read(file)
        left = list(dict.fromkeys(image for image, _ in drawn))
        untouched = [i for i in project.images()["image_id"] if i not in left]
        expected = len(project.final_masks(left)) + len(project.proposals(untouched, outcome="auto_accepted"))
        assert len(written.masks) == expected == first["masks"] - 1
        assert len(written.images) == first["images"]
        for words in (["--override", "x"], ["--sample", "3"], ["--propose"]):
            assert "--verify: expected no bounds" in run("annotate", project.path, "--verify", *words).stderr
        (kept,) = calibrations.every(project.catalog, "annotation", 1)
        old = {name: value for name, value in kept.result.items() if name != "accepted"}
        calibrations.keep(project.catalog, calibrations.Record("annotation", 1, "stub-1", kept.settings, [], old), "0")
        with pytest.raises(StoreError, match="before its masks were kept with it"):
            project.annotation()


def test_certify__each_look_at_a_pool_by_other_labels_costs_confidence(certified):
    first = certified.certify(alpha=0.2, labels=200)
    assert (first.pool.spent, first.pool.confidence) == (0, 0.95)
    assert certified.certify(alpha=0.3, labels=200).pool.spent == 0  # the same labels: the same look
    second = certified.certify(alpha=0.2, labels=250)
    assert second.pool.spent == pytest.approx(0.05)
    assert "with confidence 90%" in second.pool.sentence
    assert "asked for before, by other labels (deltas of 0.05 in all)" in second.pool.sentence
    third = certified.certify(alpha=0.2, delta=0.01, labels=300).pool
    assert third.confidence == pytest.approx(1 - 0.01 - 0.1)
    assert type(third).from_dict(third.to_dict()).sentence == third.sentence
    assert second.images.spent == 0
    certified.calibrate(draws=20, share=0.6)
    assert certified.certify(alpha=0.2, labels=200).pool.spent == pytest.approx(0.11)


def test_certify__says_which_images_count_for_images_to_come(tmp_path, monkeypatch):
    with judged.make(tmp_path, monkeypatch, n=60, calibrated=True) as project:
        said = project.certify(alpha=0.02).images
        assert not said.granted
        fitted = len(project.calibration().images)
        kept = len(project.unseen_images("calibration")) - fitted
        assert (
            f"kept for certificates, {kept:,}, and {fitted:,} others were fitted on: at share 0.5 it takes 2 times"
            in said.note
        )
        project.calibrate(share=1.0, draws=20)
        assert "calibrate with a share below 1 (--share)" in project.certify(alpha=0.02).images.note


def test_cli__options_that_say_nothing_are_refused(certified):
    for words, said in (
        (["--certify-only", "--share", "0.9"], "--certify-only: expected no --share"),
        (["--certify-only", "--only-recall"], "--certify-only: expected no --share"),
        (["--certify-only", "--embedding"], "--certify-only: expected no --share"),
        (["--anyway"], "--anyway: expected --adopt verifier with it"),
        (["--author", "ann"], "--author: expected --adopt with it"),
    ):
        answer = run("calibrate", certified.path, *words)
        assert (answer.exit_code, said in answer.stderr) == (2, True), answer.stderr
    assert certified.calibration_records()["kind"].tolist().count("certificate") == 1
    run("gate", certified.path, "--declare", "domains=one microscope")
    report = json.loads(run("gate", certified.path, "--declare", "consistency=one annotator", "--json").stdout)
    verdicts = {check["name"]: check["verdict"] for check in report["checks"]}
    assert (verdicts["domains"], verdicts["consistency"]) == ("not applicable", "not applicable")
    report = json.loads(run("gate", certified.path, "--take-back", "domains", "--json").stdout)
    verdicts = {check["name"]: check["verdict"] for check in report["checks"]}
    assert (verdicts["domains"] != "not applicable", verdicts["consistency"]) == (True, "not applicable")
    wrong = run("gate", certified.path, "--take-back", "weather")
    assert (wrong.exit_code, "--take-back" in wrong.stderr) == (2, True)


def test_verify__a_mask_needs_a_verdict_of_its_own_and_no_whole_review(tmp_path, monkeypatch):
    """Ten masks are ten looks, not ten images: accepted, rejected, redrawn nearly the same, redrawn otherwise, none yet."""
    with judged.make(tmp_path, monkeypatch, n=30, truth=False) as project:
        project.annotate_automatically(override="a trial", sample=8)
        project.add_annotator("a")
        drawn = project.annotation_to_verify().drop_duplicates("image_id").iloc[:4]
        pairs = list(zip(drawn.image_id, drawn.mask_id, strict=True))
        accept, reject, near, far = pairs
        project.record([event("verdict", accept[0], accept[1], verdict="accept")])
        project.record([event("verdict", reject[0], reject[1], verdict="reject")])
        for (image, mask), left in ((near, 5), (far, 2)):  # of the six columns of a block
            review = project.image_review(image)
            x0, y0, _, y1 = review.masks.boxes_xyxy[review.at(mask)].tolist()
            pixels = np.zeros((1, *judged.SIZE), bool)
            pixels[0, y0:y1, x0 : x0 + left] = True
            told = {"rle": rle.encode(pixels)[0].decode(), "size_hw": list(judged.SIZE), "tool": "brush"}
            project.record([event("edit", image, mask, **told)])
        table = project.annotation_to_verify()
        labels = dict(zip(zip(table.image_id, table.mask_id, strict=True), table.label, strict=True))
        assert [labels[pair] for pair in pairs] == ["right", "wrong", "right", "wrong"]
        found = project.verify_annotation()
        assert (found.drawn, found.labelled, found.wrong) == (8, 4, 2)
        assert "images=project.annotation_to_verify().query" in str(found)
        assert not project.reviewed_images()


def test_certify__verdicts_on_the_masks_drawn_are_labels(tmp_path, monkeypatch):
    with judged.make(tmp_path, monkeypatch, n=30, roles=(0.0, 1.0, 0.0), truth=False) as project:
        ids = project.images()["image_id"].tolist()
        known = Proposals.concat([judged.truth_of(project.image(i), i) for i in ids[:20]])
        project.import_truth(known, images=ids[:20])
        project.calibrate(draws=20)
        first = project.certify(alpha=0.2, labels=60)
        assert first.unlabelled
        project.add_annotator("a")
        left = project.masks_to_verify().query("label == ''")
        right = {
            i: dict(
                zip(
                    judged.propose(project.image(i), stub_sam.StubSam("stub-1"), image_id=i).rles,
                    judged.drawn(project.image(i))[2],
                    strict=True,
                )
            )
            for i in set(left.image_id)
        }
        for image, mask in zip(left.image_id, left.mask_id, strict=True):
            review = project.image_review(image)
            good = right[image][review.masks.rles[review.at(mask)]]
            project.record([event("verdict", image, mask, verdict="accept" if good else "reject")])
        again = project.certify(alpha=0.2)
        assert (again.drawn, again.unlabelled) == (first.drawn, 0)
        by_verdict = project.masks_to_verify().label.tolist()
        rest = Proposals.concat([judged.truth_of(project.image(i), i) for i in ids[20:]])
        project.import_truth(rest, images=ids[20:])
        assert project.masks_to_verify().label.tolist() == by_verdict
        assert project.certify(alpha=0.2).pool.to_dict() == again.pool.to_dict()


def test_annotation__what_people_turned_down_or_corrected_since_is_not_exported(tmp_path, monkeypatch):
    with judged.make(tmp_path, monkeypatch, n=12, truth=False) as project:
        found = project.annotate_automatically(override="a trial", sample=1)
        by_image = {image: found.masks.mask_id[rows].tolist() for image, rows in found.masks.by_image()}
        (one, no), (two, moved) = [(image, masks[0]) for image, masks in list(by_image.items())[:2]]
        project.add_annotator("a")
        project.record([event("verdict", one, no, verdict="reject")])
        review = project.image_review(two)
        x0, y0, _, y1 = review.masks.boxes_xyxy[review.at(moved)].tolist()
        pixels = np.zeros((1, *judged.SIZE), bool)
        pixels[0, y0:y1, x0 : x0 + 2] = True
        told = {"rle": rle.encode(pixels)[0].decode(), "size_hw": list(judged.SIZE), "tool": "brush"}
        project.record([event("edit", two, moved, **told)])
        assert set(found.masks.mask_id) - set(project.annotation().kept.mask_id) == {no, moved}
        again = project.annotate_automatically(override="a trial", sample=1)
        assert set(found.masks.mask_id) - set(again.masks.mask_id) == {no, moved}
        project.propose(stub_sam.StubSam("other-2"), stub_sam.PLAIN, progress=False)
        assert project.annotation().run_id == 1  # of a run before, as it was
        assert len(project.annotation().masks) == len(again.masks)


def test_gate__accepted_masks_that_were_rejected_in_bulk_are_not_measured(tmp_path, monkeypatch):
    """Ignored masks are neither right nor wrong: where people reject what is wrong in bulk, nothing wrong is left to count."""
    with judged.make(tmp_path, monkeypatch, n=30, roles=(0.0, 0.0, 1.0), truth=False) as project:
        project.add_annotator("a")
        for image in project.images()["image_id"]:
            review = project.image_review(image)
            right = judged.drawn(project.image(image))[2]
            good = {
                m: bool(ok)
                for m, ok in zip(
                    judged.propose(project.image(image), stub_sam.StubSam("stub-1"), image_id=image).rles,
                    right,
                    strict=True,
                )
            }
            shown = [
                (str(review.masks.mask_id[k]), good[review.masks.rles[k]]) for k in np.flatnonzero(review.outcome > 0)
            ]
            said = [
                event("verdict", image, m, verdict="accept" if ok else "reject", **({} if ok else {"bulk": True}))
                for m, ok in shown
            ]
            project.record([*said, event("complete", image)])
        check = project.gate()["fp_rate"]
        assert check.verdict == "insufficient"
        assert "auto-accepted masks of test images" in check.note


def test_gate__reports_of_before_without_a_check_are_not_open():
    every = [gate.Check(name, 1.0, 0.5, 9, (1.0, 1.0), "pass") for name in gate.CHECKS]
    assert gate.GateReport(tuple(every), gate.GateConfig(), True).open
    assert not gate.GateReport(tuple(c for c in every if c.name != "fp_rate"), gate.GateConfig(), True).open


def test_annotate__a_declaration_of_domains_is_of_those_that_there_were(tmp_path, monkeypatch):
    with judged.make(tmp_path, monkeypatch, n=40, calibrated=True) as project:
        project.gate(LOOSE, declared=NOT_MEASURED)
        assert project.annotate_automatically(gate=LOOSE).gate_open
        folder = tmp_path / "images" / "xray"
        folder.mkdir()
        pixels = np.random.default_rng(1).integers(0, 256, (*judged.SIZE, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "0.png")
        project.add_images(str(tmp_path / "images"))
        project.propose(stub_sam.StubSam("stub-1"), stub_sam.PLAIN, progress=False)
        with pytest.raises(stage3.GateShutError, match="no test image of the domains xray"):
            project.annotate_automatically(gate=LOOSE)
        project.gate(LOOSE, declared={"domains": "xray is alike"})
        assert project.annotate_automatically(gate=LOOSE).gate_open


def test_certify__the_same_labels_are_one_look_however_often_it_is_asked(certified):
    for _ in range(2):
        certified.calibrate(draws=20)
        again = certified.certify(alpha=0.2, labels=200)
        assert (again.pool.spent, again.images.spent) == (0, 0)


def test_certificate__of_many_looks_none_is_granted_that_is_no_surer_than_a_coin():
    p, rng = np.full(2000, 0.9), np.random.default_rng(0)
    earlier = [certify_pool(p[:n], np.ones(n, bool), p, 0.05, 0.3) for n in (100, 200)]
    now = certify_pool(p[:300], np.ones(300, bool), p, 0.05, 0.05)
    assert now.granted
    looked = now.after(earlier)
    assert (looked.granted, looked.spent) == (False, pytest.approx(0.6))
    assert "holds with confidence 35% only" in looked.sentence
    assert now.after(earlier[:1]).confidence == pytest.approx(0.65)
    census = certify_pool(p, np.ones(2000, bool), p, 0.05, 0.05)
    assert census.after(earlier).spent == 0
    image = np.arange(400)
    of_images = [certify_images(np.full(n, 0.9), np.ones(n, bool), image[:n], rng, 0.1, 0.05) for n in (200, 400)]
    assert of_images[1].after(of_images[:1]).confidence == pytest.approx(0.9)
