"""Stage 3 and the thresholds a confidence was made with: what was certified is what is accepted, whatever moved since."""

from __future__ import annotations

import dataclasses
import json
from types import SimpleNamespace

import judged
import numpy as np
import pandas as pd
import pytest
import stub_sam
from desk import event
from PIL import Image
from strips import strips
from typer.testing import CliRunner

from workbench.calibrate.bounds import percent_up
from workbench.cli import app
from workbench.formats import coco
from workbench.loop import certification, gate, readiness, stage3
from workbench.loop.comparison import Comparison, TrueImage, compare_image
from workbench.loop.labelling import label
from workbench.sam import load
from workbench.store import calibrations
from workbench.store.errors import StoreError
from workbench.tables.intervals import exact_binomial
from workbench.tables.outcomes import Outcome
from workbench.tables.proposals import Proposals

pytestmark = pytest.mark.slow  # each fits, and compares by cross-validation
BORDER = judged.PLAIN.replace(border_px=1, predicted_iou=0.6)


def run(*words):
    return CliRunner().invoke(app, list(map(str, words)))


def wrong_at_the_border(image, always=None):
    """Blocks that touch the border of the image are hardly ever right, others nearly always, whatever they score."""
    rng = np.random.default_rng(int(image.astype(np.int64).sum()))
    n = int(rng.integers(10, 16))
    cells = rng.permutation(len(judged.CELLS))[:n]
    scores = rng.uniform(0.5, 1, n)
    border = np.array([0 in judged.CELLS[cell] for cell in cells])
    return cells, scores, rng.random(n) < np.where(border, 0.05, 0.995)


@pytest.fixture
def bordered(tmp_path, monkeypatch):
    """A calibrated project in which only a reason tells right masks from wrong ones."""
    monkeypatch.setattr(judged, "drawn", wrong_at_the_border)
    with judged.make(tmp_path, monkeypatch, n=100) as project:
        project.triage(BORDER)
        project.calibrate(draws=20)
        yield project


def wrong_share(project, masks):
    """Share wrong of masks, matched alone with the truth of all images."""
    rows = label(project, project.images().dropna(subset=["truth"])["image_id"].tolist())
    keys = set(zip(masks.image_id, masks.mask_id, strict=True))
    accepted = np.array([key in keys for key in zip(rows.image, rows.mask_id, strict=True)])
    assert accepted.sum() == len(masks) > 0
    return rows.comparison.verdicts(accepted).wrong.sum() / len(masks)


def test_certificate__holds_for_the_same_masks_when_triage_has_moved(bordered):
    before = bordered.certify(alpha=0.1, labels=200)
    accepted = bordered.annotate_automatically(override="a trial")
    assert before.pool.granted
    assert wrong_share(bordered, accepted.masks) < 0.1
    bordered.triage(BORDER.replace(border_px=None))  # the reason that the confidence looks at
    again = bordered.annotate_automatically(override="a trial")
    assert again.rule == accepted.rule
    assert again.masks.mask_id.tolist() == accepted.masks.mask_id.tolist()
    after = bordered.certify(alpha=0.1)
    assert after.to_dict() == before.to_dict()  # the same sample, of the same masks
    bordered.adopt_certificate()
    assert bordered.triage_config().border_px == 1
    adopted = bordered.proposals(outcome="auto_accepted")
    assert set(adopted.mask_id) == set(accepted.masks.mask_id)
    assert bordered.certify(alpha=0.1).to_dict() == before.to_dict()  # a confidence does not look at itself


def test_calibrate__after_adoption_looks_at_what_it_looked_at_before(bordered):
    before = bordered.calibration()
    bordered.certify(alpha=0.1, labels=200)
    bordered.adopt_certificate()
    after = bordered.calibrate(draws=20)
    assert (after.recalibration.to_dict(), after.base) == (before.recalibration.to_dict(), before.base)
    assert after.before_auto.n != before.before_auto.n  # what is accepted is another thing


def test_gate__calibration_error_is_of_the_confidence_in_use_and_of_the_same_masks(bordered):
    before = bordered.gate()["calibration_error"]
    bordered.triage(BORDER.replace(border_px=None))
    assert str(bordered.gate()["calibration_error"]) == str(before)


def test_gate__calibration_error_of_other_distinct_masks_is_insufficient(tmp_path, monkeypatch):
    with judged.make(tmp_path, monkeypatch) as project:
        project.propose(stub_sam.StubSam("stub-1"), stub_sam.PLAIN.replace(pool="exact"), progress=False)
        project.triage(judged.PLAIN)
        project.calibrate(draws=20)
        assert np.isfinite(project.gate()["calibration_error"].value)
        project.triage(judged.PLAIN.replace(nms_iou=0.5))
        now = project.gate()["calibration_error"]
        assert np.isnan(now.value)
        assert now.verdict == "insufficient"
        assert "NMS at 0.7 leaves, triage goes by box NMS at 0.5: calibrate again" in now.note


def test_gate__few_calibration_images_are_insufficient(tmp_path, monkeypatch):
    with judged.make(tmp_path, monkeypatch, n=12, roles=(0, 0.5, 0.5)) as project:
        project.calibrate(share=1.0, draws=20)
        found = project.gate()["calibration_error"]
        assert found.verdict == "insufficient"
        assert "at least 10 are needed" in found.note


def test_gate__two_masks_of_a_domain_say_little_of_it():
    """Thirty images of one domain, 19 of 20 found, and two of another with one mask each, both found."""
    images = [one_domain(f"a{k}", 20, missed=1) for k in range(30)] + [one_domain(f"b{k}", 1, missed=0) for k in (0, 1)]
    images += [
        one_domain(f"c{k}", 20 * (k < 2), missed=k < 2) for k in range(10)
    ]  # some draws have no true mask at all
    compared = Comparison.of(images)
    rows = SimpleNamespace(comparison=compared, outcome=np.full(len(compared), Outcome.auto_accepted, np.uint8))
    frame = pd.DataFrame({"image_id": compared.image_ids, "domain": ["a"] * 30 + ["b"] * 2 + ["c"] * 10})
    project, evidence = SimpleNamespace(images=lambda: frame), readiness._Evidence()
    readiness._domains(project, rows, np.random.default_rng(0), evidence)
    found = evidence.figures["domains"]
    assert found.value == pytest.approx(0.05)
    assert found.high >= 0.95 - exact_binomial(2, 2)[0] > 0.79
    assert gate.evaluate(evidence.figures)["domains"].verdict == "insufficient"
    frame["domain"] = ["a"] * 40 + ["b"] * 2  # both without a true mask
    readiness._domains(project, rows, np.random.default_rng(0), evidence)
    assert "fewer than two test images with true masks" in evidence.notes["domains"]


def one_domain(name, true, missed):
    ends = [(5 * k, 5 * k + 4) for k in range(true)]
    found = strips(*ends[missed:], image_id=name, predicted_iou=np.full(true - missed, 0.9))
    return compare_image(name, found, TrueImage.of(strips(*ends, image_id=name)))


def test_draw__another_recalibration_draws_other_masks(bordered):
    found = bordered.calibration()
    pool = certification.pool_of(bordered, found.recalibration, found.base)
    one, other = (certification.draw(pool, 100, (0, digest)) for digest in (found.digest, found.digest + 1))
    assert len(one) == len(other) == 100
    assert set(one) != set(other)
    assert set(certification.draw(pool, 150, (0, found.digest), one)) > set(one)
    bordered.certify(labels=100)
    drawn = bordered.masks_to_verify()
    assert set(drawn["mask_id"]) == set(pool.mask_id[one])
    bordered.calibrate(draws=20)  # nothing has changed, and no further masks are asked for
    bordered.certify(labels=100)
    assert bordered.masks_to_verify()["mask_id"].tolist() == drawn["mask_id"].tolist()


def test_annotate__another_model_than_the_gate_judged_is_refused(bordered):
    runs = bordered.runs()
    with pytest.raises(StoreError, match=r"the gate judged run 1 of stub-1, and says nothing of other-2"):
        bordered.annotate_automatically(override="a trial", sam=stub_sam.StubSam("other-2"))
    assert bordered.runs().equals(runs)


def test_annotate__new_images_are_proposed_on_as_those_that_the_gate_judged(bordered, tmp_path):
    assert bordered.certify(alpha=0.1, labels=200).images.granted
    rng = np.random.default_rng(1)
    Image.fromarray(rng.integers(0, 256, (*judged.SIZE, 3), dtype=np.uint8)).save(tmp_path / "images" / "new.png")
    bordered.add_images(str(tmp_path / "images"))
    found = bordered.annotate_automatically(["new.png"], override="a trial", sam=stub_sam.StubSam("stub-1"))
    assert "certified for images to come" in found.rule
    assert len(bordered.runs()) == 1
    assert len(found.masks)


def test_annotate__the_gate_is_held_to_the_bounds_given_and_they_are_kept(bordered):
    declared = {name: "a test" for name in gate.CHECKS if name not in gate.MEASURED}
    assert not bordered.gate(declared=declared).open
    loose = gate.GateConfig(auto_accept_rate=0.0, calibration_error=1.0, recall=0.0, least_images=1)
    with pytest.raises(stage3.GateShutError):
        bordered.annotate_automatically()
    found = bordered.annotate_automatically(gate=loose)
    assert (found.gate_open, found.override) == (True, "")
    kept = calibrations.find(bordered.catalog, found.gate_id, "gate")
    assert gate.GateConfig.from_dict(kept.settings["config"]) == loose


def test_cli__annotate_takes_bounds_of_the_gate(bordered):
    words = [f"--declare={name}=a test" for name in gate.CHECKS if name not in gate.MEASURED]
    loose = [f"--set={text}" for text in ("auto_accept_rate=0", "calibration_error=1", "recall=0", "least_images=1")]
    assert "The gate is open" in run("gate", bordered.path, *words, *loose).output
    shut = run("annotate", bordered.path).stderr
    assert "is shut" in shut
    assert "--set NAME=VALUE" in shut
    answer = run("annotate", bordered.path, *loose, "--json")
    assert (answer.exit_code, json.loads(answer.stdout)["override"]) == (0, "")
    wrong = run("annotate", bordered.path, "--verify", *loose)
    assert (wrong.exit_code, "--verify: expected no bounds" in wrong.stderr) == (2, True)
    for command, lacks in (("annotate", "--propose"), ("calibrate", "--embedding")):
        wrong = run(command, bordered.path, "--checkpoint", "weights.pth")
        assert (wrong.exit_code, f"--checkpoint: expected {lacks} with it" in wrong.stderr) == (2, True)


def test_cli__annotate_proposes_first_where_asked_to(bordered, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(load, "load_sam", lambda name, **given: asked.append(name) or stub_sam.StubSam("stub-1"))
    rng = np.random.default_rng(1)
    Image.fromarray(rng.integers(0, 256, (*judged.SIZE, 3), dtype=np.uint8)).save(tmp_path / "images" / "new.png")
    bordered.add_images(str(tmp_path / "images"))
    without = json.loads(run("annotate", bordered.path, "--override", "a trial", "--json").stdout)
    assert (without["without_proposals"], asked) == (1, [])
    found = json.loads(run("annotate", bordered.path, "--override", "a trial", "--propose", "--json").stdout)
    assert (found["without_proposals"], asked) == (0, ["stub"])
    assert found["images"] == without["images"] + 1


def test_annotate__what_people_decided_stands(bordered):
    ids = bordered.images()["image_id"].tolist()
    shown = bordered.annotate_automatically(ids[:3], override="a trial").masks
    of_image = dict(shown.by_image())
    bordered.add_annotator("a")
    no = str(shown.mask_id[of_image[ids[1]][0]])
    bordered.record(
        [
            *(event("verdict", ids[0], str(mask), verdict="reject") for mask in shown.mask_id[of_image[ids[0]]]),
            event("complete", ids[0]),
            event("verdict", ids[1], no, verdict="reject"),
            event("skip", ids[2], reason="blurred"),
        ]
    )
    found = bordered.annotate_automatically(ids[:4], override="a trial")
    assert found.images == (ids[1], ids[3])
    assert found.passed_over == 2
    assert "2 images that people had left were passed over" in str(found)
    assert set(found.masks.mask_id[found.masks.image_id == ids[1]]) == set(shown.mask_id[of_image[ids[1]]]) - {no}
    with pytest.raises(StoreError, match="people left all 2 images"):
        bordered.annotate_automatically([ids[0], ids[2]], override="a trial")


def test_annotate__a_certificate_ends_when_the_truth_it_was_made_from_is_replaced(bordered, monkeypatch):
    found = bordered.certify(alpha=0.1, labels=200)
    assert found.pool.granted or found.images.granted
    assert "certified for" in bordered.annotate_automatically(override="a trial").rule
    used = calibrations.latest(bordered.catalog, "certificate", bordered._run_id()).settings["labelled"]
    others = [image for image in bordered.images()["image_id"] if image not in used]
    for images, ended in ((others[:1], False), (used[:1], True)):
        bordered.import_truth(Proposals.empty(), images=images)  # nothing is on it, it says now
        rule = bordered.annotate_automatically(override="a trial").rule
        assert ("ground truth that the certificate was made from was replaced" in rule) == (ended and bool(images))


def test_annotate__the_certificate_of_a_pool_says_less_of_the_rest_of_it(bordered, monkeypatch):
    refused = certification.of_images
    monkeypatch.setattr(
        certification, "of_images", lambda *given: dataclasses.replace(refused(*given), granted=False, note="none")
    )
    assert bordered.certify(alpha=0.1, labels=200).pool.granted
    every = bordered.annotate_automatically(override="a trial")
    assert every.rule == "confidence above 0.5, certified for this pool: at most 10% wrong, with confidence 95%"
    bordered.add_annotator("a")
    ids = bordered.images()["image_id"].tolist()
    bordered.record([event("complete", image) for image in ids[:50]])
    rest = bordered.annotate_automatically(override="a trial")
    most = percent_up(0.1 * len(every.masks) / len(rest.masks))
    assert rest.rule.startswith("confidence above 0.5, certified for this pool of ")
    assert (
        f"{len(every.masks):,} masks, of which these are the rest: at most {most} of them wrong by that, with confidence 95%"
        in rest.rule
    )


def test_verify__is_of_what_was_accepted_when_triage_has_moved(bordered):
    found = bordered.annotate_automatically(override="a trial", sample=100)
    assert found.rule.startswith("auto-accepted by triage")
    bordered.triage(BORDER.replace(border_px=None, predicted_iou=0.99))
    assert str(bordered.verify_annotation()) == str(found.verified)


def test_export_annotation__tells_apart_images_of_one_path_in_two_folders(bordered, tmp_path):
    found = bordered.annotate_automatically(override="a trial")
    twin = tmp_path / "elsewhere" / bordered.images()["path"][0]
    twin.parent.mkdir(parents=True)
    Image.fromarray(np.random.default_rng(5).integers(0, 256, (*judged.SIZE, 3), dtype=np.uint8)).save(twin)
    bordered.add_images(twin.parent)
    bordered.propose(stub_sam.StubSam(), progress=False)
    again = bordered.annotate_automatically(override="a trial")
    assert len(again.images) == len(found.images) + 1
    bordered.export_annotation(again, tmp_path / "masks.json")
    written = coco.read(tmp_path / "masks.json")
    assert len({entry.file_name for entry in written.images}) == len(again.images)
    assert len(written.masks) == len(again.masks)
    about = json.loads((tmp_path / "masks.json").read_text())["info"]["workbench"]
    assert (about["override"], about["rule"]) == ("a trial", again.rule)
    assert [run["run_id"] for run in about["runs"]] == [again.run_id]


def test_annotate__of_other_masks_another_sample_is_drawn(tmp_path, monkeypatch):
    """By the seed alone it would be the last sample without what was found wrong there: known to be right, announced as new."""
    with judged.make(tmp_path, monkeypatch, n=60, truth=False) as project:
        project.add_annotator("a")
        first = project.annotate_automatically(override="a trial", sample=40)
        assert sampled(first) == sampled(project.annotate_automatically(override="a trial", sample=40))
        drawn, among = sampled(first), first.masks.select(first.sample[10::20])
        for image, mask in zip(among.image_id.tolist(), among.mask_id.tolist(), strict=True):
            project.record(event("verdict", image, mask, verdict="reject"))
        second = project.annotate_automatically(override="a trial", sample=40)
        assert len(second.masks) == len(first.masks) - 2
        assert len(sampled(second) & drawn) <= 20  # 8 by chance


def sampled(found):
    masks = found.masks.select(found.sample)
    return set(zip(masks.image_id.tolist(), masks.mask_id.tolist(), strict=True))
