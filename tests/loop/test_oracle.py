"""The oracle: verdicts by one-to-one matching, drawings of what was missed, and errors where they were asked for."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from disc_project import SIZE_HW, disc_masks, disc_project, truth_of
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from workbench.loop.oracle import Oracle, OracleConfig, People, shaken
from workbench.masks import rle
from workbench.review.state import fold
from workbench.store.errors import StoreError
from workbench.tables.events import ReviewEvent
from workbench.tables.outcomes import Outcome, Triage
from workbench.tables.proposals import Proposals


def review_of(masks: np.ndarray, outcomes: list[int]):
    rles = rle.encode(masks) if len(masks) else []
    columns = {"boxes_xyxy": rle.to_boxes(rles, SIZE_HW), "area_px": rle.area(rles, SIZE_HW)} if rles else {}
    rows = Proposals.make(image_id="i", rles=rles, sizes_hw=SIZE_HW, **columns)
    return fold("i", SIZE_HW, rows, Triage(np.array(outcomes, int), np.zeros(len(rles), int)), [])


def told(events) -> list[tuple[str, str]]:
    return [(event.kind, event.payload.get("verdict", "")) for event in events]


def test_gestures__accepts_what_matches_rejects_the_rest_and_draws_what_was_missed():
    discs = disc_masks(0)
    wrong = np.zeros((1, *SIZE_HW), bool)
    wrong[0, :5, :5] = True
    masks = np.concatenate([discs[:1], wrong, discs[2:]])
    review = review_of(masks, [Outcome.auto_accepted, Outcome.flagged, Outcome.discarded])
    events = Oracle().gestures(review, truth_of("i", 0), np.zeros(3, bool), cycle=2)
    assert told(events) == [("verdict", "accept"), ("verdict", "reject"), ("draw", ""), ("draw", ""), ("complete", "")]
    assert [e.payload["rle"] for e in events if e.kind == "draw"] == [r.decode() for r in rle.encode(discs[1:])]
    assert {e.seconds_source for e in events} == {"simulated"}
    assert {e.cycle for e in events} == {2}
    assert [e.elapsed_ms for e in events] == [1500, 1500, 14000, 14000, 5000]
    assert not any(e.bulk for e in events)


def test_gestures__second_mask_on_one_object_is_rejected():
    discs = disc_masks(0)
    near = discs[:1].copy()
    near[0, np.argmax(near[0].any(axis=1))] = False  # without its first row
    events = Oracle().gestures(
        review_of(np.concatenate([near, discs[:1]]), [Outcome.flagged] * 2), truth_of("i", 0), np.zeros(3, bool)
    )
    assert told(events)[:2] == [("verdict", "reject"), ("verdict", "accept")]


@pytest.mark.parametrize("truth", [0, 3])
def test_gestures__without_proposals_or_truth(truth):
    events = Oracle().gestures(
        review_of(np.zeros((0, *SIZE_HW), bool), []), truth_of("i", 0, truth), np.zeros(truth, bool)
    )
    assert told(events) == [("draw", "")] * truth + [("complete", "")]


def test_gestures__crowds_are_not_drawn_and_what_lies_in_them_is_left():
    discs = disc_masks(0)
    events = Oracle().gestures(review_of(discs[:1], [Outcome.auto_accepted]), truth_of("i", 0), np.array([True] * 3))
    assert told(events) == [("complete", "")]


def test_gestures__errors_are_the_same_every_time_and_as_many_as_asked():
    masks = np.concatenate([disc_masks(k) for k in range(40)])
    review = review_of(masks, [Outcome.flagged] * len(masks))
    human = Oracle(OracleConfig(error_rate=0.3, seed=1))
    nothing = Proposals.empty()
    first, again = (human.gestures(review, nothing, np.zeros(0, bool)) for _ in range(2))
    assert [e.gesture_id for e in first] == [e.gesture_id for e in again]
    assert told(first) == told(again)
    share = np.mean([verdict == "accept" for kind, verdict in told(first) if kind == "verdict"])
    assert 0.15 < share < 0.45  # all 120 are wrong, so every acceptance is an error


def test_gestures__what_was_rejected_by_error_is_not_drawn_anew():
    review = review_of(disc_masks(0), [Outcome.flagged] * 3)
    events = Oracle(OracleConfig(error_rate=1.0)).gestures(review, truth_of("i", 0), np.zeros(3, bool))
    assert told(events) == [("verdict", "reject")] * 3 + [("complete", "")]


def test_gestures__overlooks_small_objects():
    review = review_of(np.zeros((0, *SIZE_HW), bool), [])
    blind = Oracle(OracleConfig(missed_small=1.0, small_px=200))
    truth = truth_of("i", 0)
    drawn = [e for e in blind.gestures(review, truth, np.zeros(3, bool)) if e.kind == "draw"]
    assert len(drawn) == (truth.area_px > 200).sum() < 3


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), sigma=st.floats(0.5, 3))
def test_shaken__near_the_object_and_never_empty(seed, sigma):
    mask = disc_masks(seed, 1)[0]
    moved = shaken(mask, sigma, np.random.default_rng(seed))
    assert moved.any()
    assert not (moved & (ndimage.distance_transform_edt(~mask) > 4 * sigma + 2)).any()
    dot = np.zeros((9, 9), bool)
    dot[4, 4] = True
    assert shaken(dot, sigma, np.random.default_rng(seed)).any()


def test_shaken__the_more_noise_the_worse():
    ious = []
    for sigma in (0.5, 1.5, 3.0):
        pairs = [(mask, shaken(mask, sigma, np.random.default_rng(k))) for k in range(20) for mask in disc_masks(k, 1)]
        ious.append(np.mean([(a & b).sum() / (a | b).sum() for a, b in pairs]))
    assert 0.95 > ious[0] > 0.8 > ious[1] > 0.6 > ious[2] > 0.3


def test_annotate__completes_images_once(tmp_path):
    with disc_project(tmp_path, images=3, empty=1) as project:
        ids = project.images()["image_id"].tolist()
        assert People().annotate(project, ids, 1) == ids
        assert Oracle().annotate(project, ids[:2], 1) == []
        assert Oracle().annotate(project, ids[:2], 1) == []
        assert People().annotate(project, ids, 1) == ids[2:]
        assert len(project.final_masks(ids[:2])) == 3  # the first image is empty
        assert len(project.journal()) == 5
        assert project.reviewed()["seconds"].tolist() == [5.0, 47.0]


def test_annotate__what_somebody_began_stands_and_is_not_drawn_again(tmp_path):
    with disc_project(tmp_path, images=1) as project:
        image = project.images()["image_id"][0]
        project.add_annotator("a")
        near = np.roll(disc_masks(0)[1], 1, axis=1)
        payload = {"rle": rle.encode(near[None])[0].decode(), "size_hw": list(SIZE_HW)}
        project.record([ReviewEvent("g", image, "draw", annotator="a", payload=payload)])
        assert Oracle().annotate(project, [image], 1) == []
        final = project.final_masks(image)
        assert len(final) == 3
        assert np.isin(rle.encode(near[None]), final.rles).all()


def test_gestures__an_object_that_somebody_drew_takes_no_automatic_mask_as_well():
    discs = disc_masks(0)
    review = review_of(discs[:2], [Outcome.auto_accepted, Outcome.flagged])
    drawn = dataclasses.replace(
        review,
        verdict=np.array([0, 1], np.uint8),  # accepted by somebody
        masks=review.masks.replace(source=np.array(["manual", "automatic"], object)),
    )
    events = Oracle().gestures(drawn, truth_of("i", 0), np.zeros(3, bool))
    assert told(events) == [("draw", ""), ("complete", "")]


def test_annotate__an_image_that_was_opened_again_is_completed_again(tmp_path):
    with disc_project(tmp_path, images=1) as project:
        image = project.images()["image_id"][0]
        Oracle().annotate(project, [image], 1)
        done = project.journal()["gesture_id"].iloc[-1]
        project.record([ReviewEvent("u", image, "undo", annotator="oracle", payload={"gesture": done})])
        assert project.image_review(image).status == "open"
        assert Oracle().annotate(project, [image], 1) == []
        assert project.image_review(image).status == "complete"
        assert len(project.final_masks(image)) == 3


def test_annotate__says_which_images_are_still_open(tmp_path, monkeypatch):
    with disc_project(tmp_path, images=2) as project:
        ids = project.images()["image_id"].tolist()
        monkeypatch.setattr(Oracle, "gestures", lambda self, review, *_: [])
        assert Oracle().annotate(project, ids, 1) == ids


@pytest.mark.parametrize("seconds", [{"verdict_s": 61}, {"draw_s": 301}, {"complete_s": 301}])
def test_config__seconds_that_would_not_be_counted_are_refused(seconds):
    with pytest.raises(ValueError, match="expected"):
        OracleConfig(**seconds)


def test_annotate__image_without_truth(tmp_path):
    with disc_project(tmp_path, images=1) as project:
        with project.catalog.write() as connection:
            connection.exec_driver_sql("DELETE FROM truth_images")
        with pytest.raises(StoreError, match="no ground truth to answer from"):
            Oracle().annotate(project, project.images()["image_id"].tolist(), 1)
