"""The session: gestures into the journal once, replies that say what holds, and bad input refused in words."""

from __future__ import annotations

import threading
import time

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from ui import drawn_project as scenes
from widgets.conftest import Window

from workbench.masks import polygons, rle
from workbench.store.errors import StoreError
from workbench.tables.outcomes import Reason
from workbench.widgets.board import REASON_WORDS
from workbench.widgets.packing import pack_masks
from workbench.widgets.session import Session

SIZE = (scenes.SIDE_PX, scenes.SIDE_PX)


def drawn(x0, y0, x1, y1):
    mask = np.zeros((1, *SIZE), bool)
    mask[0, y0:y1, x0:x1] = True
    return {"rle": rle.encode(mask)[0].decode(), "tool": "brush", "prompts": {"strokes": [[x0, y0]]}, "label": ""}


def ids(window, outcome):
    masks = window.view["masks"]
    return [name for name, o in zip(masks["id"], masks["outcome"], strict=True) if o == outcome]


def test_reasons__each_that_people_may_see_has_words():
    assert set(REASON_WORDS) == {reason.name for reason in Reason} - {"duplicate"}


# ---- opening ------------------------------------------------------------------------------------------------------


def test_start__shows_image_masks_and_progress(window, project):
    view = window.view
    assert view["image"] == {"name": "1-cells.png", "width": 256, "height": 256, "scale": 1.0}
    assert view["progress"] == {"images_done": 0, "images": 3, "masks_done": 0, "masks": 11}
    assert set(view["masks"]["outcome"]) == {"flagged", "auto_accepted", "discarded"}
    assert window.traits["masks"] == pack_masks(list(window.review.masks.rles), SIZE)
    assert window.traits["picture"][:4] == b"\x89PNG"
    assert all(word in view["reasons"] for words in view["masks"]["reasons"] for word in words)


def test_start__an_image_without_masks(project):
    window = Window(project, images=["3-fluorescence.png"])
    assert window.view["masks"]["id"] == []
    assert window.send("complete")["ok"]
    assert window.view["mode"] == "empty"
    assert window.view["message"] == "all images are done"


def test_open__goes_on_where_one_was(project):
    first = Window(project)
    first.send("open", which="next")
    name = first.view["image"]["name"]
    assert Window(project, client="after a restart").view["image"]["name"] == name


def test_refresh__shows_the_open_image_as_it_is_now(window):
    token, mask = window.view["token"], ids(window, "flagged")[0]
    gesture = window.send("verdict", mask=mask, verdict="accept")["gesture"]
    before = window.view
    assert before["history"] == [], "the view is from when the image was opened"
    assert window.send("refresh") is None
    assert window.view["token"] == token
    assert window.view["history"] == [{"gesture": gesture, "kind": "verdict", "undone": False}]
    assert window.view["masks"]["verdict"][window.view["masks"]["id"].index(mask)] == "accept"
    window.send("draw", **drawn(4, 4, 12, 12))
    window.send("refresh")
    assert len(window.view["masks"]["id"]) == len(before["masks"]["id"]) + 1
    assert window.traits["masks"] == pack_masks(list(window.review.masks.rles), SIZE)


def test_refresh__with_no_image_open(project):
    window = Window(project, images=["3-fluorescence.png"])
    window.send("complete")
    assert window.view["mode"] == "empty"
    assert window.send("refresh") is None
    assert window.view["mode"] == "empty"


def test_open__next_previous_and_by_name(window):
    names = [window.view["image"]["name"]]
    for which in ("next", "next", "previous", "next"):
        assert window.send("open", which=which)["ok"]
        names.append(window.view["image"]["name"])
    assert len(set(names)) == 3
    assert names[1] == names[3]
    assert names[2] == names[4]
    assert window.send("open", which="next") == {"n": 5, "client": "window", "to": 5, "ok": False, "error": "no image follows this one; , (comma) goes back to those before"}  # fmt: skip
    assert window.send("open", which="image", image="1-cells.png")["ok"]
    assert window.view["image"]["name"] == "1-cells.png"
    assert "expected" in window.send("open", which="image", image="nothing.png")["error"]


def test_open__a_file_that_is_gone_is_passed_over_in_words(project, tmp_path):
    (tmp_path / "work" / "images" / "1-cells.png").unlink()
    window = Window(project)
    assert window.view["image"]["name"] == "2-plain.png"
    assert "1-cells.png" in window.view["message"]


# ---- gestures -----------------------------------------------------------------------------------------------------


def test_verdict__is_recorded_once_however_often_it_is_sent(window, project):
    mask = ids(window, "flagged")[0]
    message = window.message("verdict", mask=mask, verdict="accept")
    reply = window.post(message)
    assert reply["ok"]
    assert reply["changes"][mask]["verdict"] == "accept"
    window.session.receive([message])
    again = window.post({**message, "client": "reloaded", "seq": 1})
    assert again["ok"]
    assert len(project.journal()) == 1
    assert window.traits["acked"] == {"window": 1, "reloaded": 1}


def test_accept_all__leaves_no_label_for_calibration(window):
    masks = [*ids(window, "flagged"), *ids(window, "auto_accepted")]
    reply = window.send("accept_all", masks=masks)
    assert set(reply["changes"]) == set(masks)
    assert all(change["bulk"] for change in reply["changes"].values())


def test_accept_all__of_no_mask_is_refused_and_of_one_twice_kept_once(window, project):
    assert "1 to" in window.send("accept_all", masks=[])["error"]
    mask = ids(window, "flagged")[0]
    assert window.send("accept_all", masks=[mask, mask])["ok"]
    (payload,) = project.journal()["payload"]
    assert payload["masks"] == [mask]


def test_draw__comes_back_with_its_id_and_can_be_named_by_its_gesture(window):
    message = window.message("draw", **drawn(0, 0, 9, 9))
    reply = window.post(message)
    (row,) = reply["added"]
    assert (row["temp"], row["outcome"], row["source"], row["area_px"]) == (
        f"g:{message['gesture_id']}",
        "drawn",
        "manual",
        81,
    )
    assert rle.area([row["rle"].encode()], SIZE)[0] == 81
    reply = window.send("label", mask=row["temp"], label="<script>alert(1)</script>")
    assert reply["changes"][row["id"]]["label"] == "<script>alert(1)</script>"
    undo = window.send("undo", gesture=message["gesture_id"])
    assert undo["removed"] == [row["id"]]
    redo = window.send("redo", gesture=message["gesture_id"])
    assert [added["id"] for added in redo["added"]] == [row["id"]]
    assert [entry["undone"] for entry in redo["history"]] == [False, False]


def test_draw__the_pixels_of_a_mask_that_is_there_accept_it(window):
    review = window.review
    row = int(np.flatnonzero(review.outcome == 1)[0])
    reply = window.send("draw", **{**drawn(0, 0, 1, 1), "rle": review.masks.rles[row].decode()})
    assert reply["removed"] == ["g:window-1"]
    assert reply["changes"][review.masks.mask_id[row]]["verdict"] == "accept"


def test_edit__supersedes_its_parent(window):
    parent = ids(window, "flagged")[0]
    reply = window.send("edit", mask=parent, **drawn(0, 0, 9, 9))
    assert reply["removed"] == [parent]
    assert reply["added"][0]["source"] == "edited"
    assert window.review.masks.parent_id[-1] == parent


def test_verdict__on_a_mask_that_an_edit_replaced_is_refused_until_the_edit_is_undone(window):
    mask = ids(window, "flagged")[0]
    edit = window.send("edit", mask=mask, **drawn(4, 4, 14, 14))
    reply = window.send("verdict", mask=mask, verdict="reject")
    assert not reply["ok"]
    assert "edited meanwhile" in reply["error"]
    window.send("undo", gesture=edit["gesture"])
    assert window.send("verdict", mask=mask, verdict="reject")["ok"]


def test_draw__with_clicks_keeps_the_model_whatever_tool_came_last(window):
    made = window.send(
        "draw", **{**drawn(4, 4, 14, 14), "prompts": {"points": [[5, 5, 1]], "tools": ["click", "brush"]}}
    )
    by_hand = window.send("draw", **drawn(40, 4, 50, 14))
    review = window.review
    models = [review.masks.model_id[review.at(r["added"][0]["id"])] for r in (made, by_hand)]
    assert models == [window.session._prompter.model_id, ""]


def test_draw__over_a_kept_mask_warns_and_keeps(window, project):
    review = window.review
    row = int(np.flatnonzero(review.outcome == 2)[0])
    x0, y0, x1, y1 = review.masks.boxes_xyxy[row].tolist()
    reply = window.send("draw", **drawn(x0, y0, x1, y1))
    assert reply["dialog"]["kind"] == "overlap"
    assert reply["dialog"]["other"] == review.masks.mask_id[row]
    assert reply["dialog"]["smaller"] == 1
    assert len(window.review) == len(review) + 1
    assert window.send("answer", dialog="overlap", choice="keep")["ok"]
    assert project.journal()["kind"].tolist() == ["draw", "answer", "answer"]


def test_complete__asks_first_and_opens_the_next(window, project):
    name = window.view["image"]["name"]
    reply = window.send("complete")
    assert reply["dialog"]["kind"] == "coverage"
    assert project.image_review(name).status == "open"
    assert window.send("answer", dialog="coverage", choice="complete")["ok"]
    assert window.send("complete", confirmed=True)["progress"]["images_done"] == 1
    assert project.image_review(name).status == "complete"
    assert window.view["image"]["name"] != name


def test_complete__asks_where_the_verifier_doubts_it_until_somebody_adds_a_mask(window, project, monkeypatch):
    proposed = [*ids(window, "flagged"), *ids(window, "discarded")]
    for mask in proposed:  # no proposal is left that the region could hold
        window.send("verdict", mask=mask, verdict="reject")
    monkeypatch.setattr(type(project), "completeness", lambda *_: 0.9)
    sure = window.send("complete")
    if "dialog" in sure:
        assert "verifier" not in sure["dialog"]["text"]
    else:
        window.send("open", which="previous")
    monkeypatch.setattr(type(project), "completeness", lambda *_: 0.2)
    doubted = window.send("complete")
    assert "the verifier gives 20% that the accepted masks are all there are" in doubted["dialog"]["text"]
    window.send("draw", **drawn(0, 0, 9, 9))
    again = window.send("complete")
    assert "verifier" not in again.get("dialog", {}).get("text", "")


def retriage(project):
    """Another cell moves a threshold: masks that were accepted by themselves are flagged."""
    project.triage(project.triage_config().replace(predicted_iou=0.999))


def test_complete__after_triage_moved_shows_the_image_anew_first(window, project):
    shown = window.view["masks"]["outcome"]
    retriage(project)
    reply = window.send("complete", confirmed=True)
    assert not reply["ok"]
    assert "look again" in reply["error"]
    assert window.review.status == "open"
    assert window.view["masks"]["outcome"] != shown
    assert "look again" in window.view["message"]
    image, final = window.view["image"]["name"], window.review.final.tolist()
    assert window.send("complete", confirmed=True)["ok"]
    assert project.image_review(image).final.tolist() == final


def test_verdict__after_triage_moved_counts_and_shows_the_image_anew(window, project):
    before = project.image_review("1-cells.png")
    mask = ids(window, "flagged")[0]
    retriage(project)
    assert window.send("verdict", mask=mask, verdict="accept")["ok"]
    assert project.journal()["triage_id"].tolist() == [before.triage_id], "what the person saw"
    assert "look again" in window.view["message"]
    at = window.view["masks"]["id"].index(mask)
    assert window.view["masks"]["verdict"][at] == "accept"
    assert window.send("complete", confirmed=True)["ok"]


def test_token__of_another_annotators_claim_is_worth_nothing(project):
    victim, other = Window(project, annotator="ann"), Window(project, annotator="bob", client="bob")
    image, number = victim.view["token"].split(":")[:2]
    mask = ids(victim, "flagged")[0]
    for kind, fields in (("verdict", {"mask": mask, "verdict": "reject"}), ("complete", {"confirmed": True})):
        assert not other.send(kind, token=f"{image}:{number}:flagged:0", **fields)["ok"]
    assert project.journal()["stale"].tolist() == [True, True]
    assert not victim.review.verdict.any()
    assert victim.review.status == "open"


def test_skip__needs_a_reason(window, project):
    name = window.view["image"]["name"]
    assert "reason" in window.send("skip", reason=" ")["error"]
    assert window.send("skip", reason="blurred")["ok"]
    assert project.image_review(name).status == "skipped"


# ---- several people, several windows ------------------------------------------------------------------------------


def test_two_annotators__never_get_the_same_image(project):
    pages = [Window(project, annotator=name) for name in ("ann", "bob", "cy", "dee")]
    names = [window.view["image"]["name"] for window in pages if window.view["image"]]
    assert len(names) == len(set(names)) == 3
    assert pages[3].view["mode"] == "empty"


def test_two_windows__of_one_annotator_both_work(project):
    one, two = Window(project, client="one"), Window(project, client="two")
    mask, other = ids(one, "flagged")[:2]
    assert one.send("verdict", mask=mask, verdict="accept")["ok"]
    assert two.send("verdict", mask=other, verdict="reject")["ok"]
    review = one.review
    assert review.verdict[review.at(mask)] == 1
    assert review.verdict[review.at(other)] == 2
    assert not project.journal()["stale"].any()


def test_two_windows__the_first_is_told_when_it_next_acts_and_has_its_image_again(project):
    one, two = Window(project, client="one"), Window(project, client="two")
    assert one.view["image"] == two.view["image"], "a window may be the one that comes after a restart"
    first, second, third = ids(one, "flagged")[:3]
    reply = one.send("verdict", mask=first, verdict="accept")
    assert reply["ok"]
    assert reply["changes"][first]["verdict"] == "accept"
    assert "another window" in reply["message"]
    assert "message" not in one.send("verdict", mask=second, verdict="accept"), "told once"
    assert "another window" in two.send("prompt", prompt_id="p1", points=[[5, 5, 1]], box=None, mask=None)["message"]
    assert "another window" in one.send("renew")["message"]
    assert one.send("renew") is None
    assert two.send("verdict", mask=third, verdict="reject")["ok"]
    assert not project.journal()["stale"].any()


def test_two_windows__get_an_image_each_when_they_go_on(project):
    one, two = Window(project, client="one"), Window(project, client="two")
    names = [one.view["image"]["name"]]
    assert one.send("open", which="next")["ok"]
    two.send("verdict", mask=ids(two, "flagged")[0], verdict="accept")  # theirs is the first image now
    assert two.send("open", which="next")["ok"]
    names += [one.view["image"]["name"], two.view["image"]["name"]]
    assert len(set(names)) == 3
    for window in (one, two):
        assert "message" not in window.send("complete", confirmed=True)
        assert window.view["image"] is None or window.view["image"]["name"] == names[0]


def test_two_windows__what_the_first_leaves_stays_with_the_second(project):
    one, two = Window(project, client="one"), Window(project, client="two")
    assert one.send("open", which="next")["ok"]
    assert Window(project, annotator="bob", images=["1-cells.png"]).view["image"] is None
    assert "message" not in two.send("verdict", mask=ids(two, "flagged")[0], verdict="accept")


def test_two_windows__an_image_asked_for_by_name_is_taken_over(project):
    one, two = Window(project, client="one"), Window(project, client="two", images=["3-fluorescence.png"])
    assert two.send("open", which="image", image="1-cells.png")["ok"]
    assert "another window" in one.send("renew")["message"]


@pytest.mark.parametrize("leaving", ["open", "complete"])
def test_two_windows__work_in_the_first_takes_back_what_the_second_left(project, leaving):
    one, two = Window(project, client="one"), Window(project, client="two")
    two.send(leaving, **({"which": "next"} if leaving == "open" else {"confirmed": True}))
    assert "you have left this image in another window" in one.send("renew")["message"]
    assert Window(project, annotator="bob").view["image"]["name"] == "3-fluorescence.png"
    assert one.send("verdict", mask=ids(one, "flagged")[0], verdict="accept")["ok"]
    assert not project.journal()["stale"].any()


def test_renew__of_an_image_that_has_gone_to_another_is_told(project):
    one, two = Window(project, client="one"), Window(project, client="two")
    two.send("open", which="next")
    Window(project, annotator="bob", images=["1-cells.png"])
    reply = one.send("renew")
    assert not reply["ok"]
    assert "another annotator" in reply["error"]


def test_open__looks_again_for_images_that_came_later(project, tmp_path):
    window = Window(project)
    for _ in range(3):
        window.send("complete", confirmed=True)
    assert window.view["mode"] == "empty"
    assert window.send("open", which="next")["error"] == "all images are done"
    folder = tmp_path / "work" / "images"
    Image.fromarray(np.random.default_rng(3).integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(folder / "4-new.png")
    project.add_images(folder / "4-new.png")
    assert window.send("open", which="next")["ok"]
    assert window.view["image"]["name"] == "4-new.png"


def test_none_to_open__images_that_others_hold_are_told_until_they_are_free(project):
    others = [Window(project, annotator=name) for name in ("bob", "eve")]
    window = Window(project)
    assert window.send("open", which="next")["error"] == "no other image is free now: 2 with other annotators"
    window.send("complete", confirmed=True)
    assert window.view["message"] == "no image is free now: 2 with other annotators"
    assert (window.view["queue"]["free"], window.view["queue"]["others"]) == (0, 2)
    others[0].send("complete", confirmed=True)
    assert window.send("refresh") is None
    assert window.view["message"] == "no image is free now: 1 with another annotator"
    others[1].session.close()
    window.send("refresh")
    assert window.view["message"] == "1 image is free now"
    assert (window.view["queue"]["free"], window.view["queue"]["others"]) == (1, 0)
    assert window.send("open", which="next")["ok"]
    window.send("complete", confirmed=True)
    assert window.view["message"] == "all images are done"


def test_none_to_open__an_image_in_another_window_of_ones_own_is_told(project):
    first, second = Window(project, client="first"), Window(project, client="second")
    assert first.send("open", which="next")["ok"]  # the second has the first image
    first.send("complete", confirmed=True)
    first.send("complete", confirmed=True)
    assert first.view["message"] == "no image is free now: 1 open in another window of yours"
    second.send("complete", confirmed=True)
    assert second.view["message"] == "all images are done"


def test_none_to_open__files_that_are_gone_are_not_called_done(project, tmp_path):
    for name in ("2-plain.png", "3-fluorescence.png"):
        (tmp_path / "work" / "images" / name).unlink()
    window = Window(project)
    window.send("complete", confirmed=True)
    assert window.view["message"].startswith("2 images were passed over, since their files are gone or changed: ")
    window.send("refresh")
    assert window.view["message"] == "the images that are left cannot be shown: their files are gone or changed"


def test_lost_claim__keeps_the_gesture_as_a_late_one(project):
    window = Window(project, queue=project.queue(claim_s=0.05))
    mask = ids(window, "flagged")[0]
    time.sleep(0.2)
    Window(project, annotator="bob", images=["1-cells.png"])
    reply = window.send("verdict", mask=mask, verdict="accept")
    assert not reply["ok"]
    assert "another annotator" in reply["error"]
    assert project.journal()["stale"].tolist() == [True]
    assert not project.image_review("1-cells.png").verdict.any()


def test_old_token__is_recorded_for_its_own_image(project):
    window = Window(project)
    kept = [window.message("verdict", mask=ids(window, "flagged")[0], verdict="accept")]
    image = window.view["image"]["name"]
    window.send("open", which="next")
    later = Window(project, client="later")
    later.session.receive([{**message, "client": "later", "seq": k} for k, message in enumerate(kept, 1)])
    assert later.traits["replies"][-1]["ok"]
    assert int((project.image_review(image).verdict == 1).sum()) == 1


def test_audit__is_blind(project):
    window = Window(project)
    window.send("complete", confirmed=True)
    window.session.close()
    project.add_annotator("sen", "senior")
    project.draw_audit(seed=1, share=1.0)
    senior = Window(project, annotator="sen")
    while senior.view["mode"] == "review":
        senior.send("skip", reason="not now")
    assert senior.view["mode"] == "audit"
    masks = senior.view["masks"]
    assert set(masks["predicted_iou"]) == {None}
    assert set(masks["by"]) == {""}
    assert not any(masks["reasons"])
    reply = senior.send("verdict", mask=masks["id"][0], verdict="reject")
    assert reply["changes"] == {masks["id"][0]: {"verdict": "reject", "label": ""}}
    assert project.journal()["purpose"].tolist()[-1] == "audit"


def test_audit__can_be_skipped_and_gone_back_to_blind(project):
    window = Window(project)
    for _ in range(3):
        window.send("complete", confirmed=True)
    project.add_annotator("sen", "senior")
    project.draw_audit(seed=1, share=1.0)
    senior = Window(project, annotator="sen", client="sen")
    first = senior.view["image"]["name"]
    done = senior.send("complete", confirmed=True)
    assert done["ok"], done
    assert senior.view["image"]["name"] != first
    senior.send("open", which="previous")
    assert (senior.view["image"]["name"], senior.view["mode"]) == (first, "audit")
    assert set(senior.view["masks"]["predicted_iou"]) == {None}
    assert senior.send("undo", gesture=done["gesture"])["ok"]
    assert senior.send("skip", reason="too dark")["ok"]
    assert project.journal()["kind"].tolist()[-3:] == ["complete", "undo", "skip"]


def test_images__a_table_opens_complete_images_at_the_mask_that_is_meant(project):
    window = Window(project, annotator="ann")
    meant = window.view["masks"]["id"][2]
    for _ in range(3):
        window.send("complete", confirmed=True)
    ids_ = project.images()["image_id"].tolist()
    table = pd.DataFrame({"image_id": [ids_[1], ids_[0], ids_[0]], "mask_id": ["gone", meant, meant]})
    again = Window(project, annotator="ann", client="again", images=table)
    assert again.view["image"]["name"] == "2-plain.png"
    assert again.send("complete", confirmed=True)["ok"]
    assert again.view["image"]["name"] == "1-cells.png"
    assert again.view["choose"] == [meant, meant]
    assert again.send("verdict", mask=meant, verdict="reject")["ok"]
    again.send("complete", confirmed=True)
    assert again.view["mode"] == "empty"
    assert Window(project, images=table[:0]).view["mode"] == "empty"


def test_images__beside_a_queue_are_refused(project):
    with pytest.raises(ValueError, match="a queue has its own"):
        Window(project, queue=project.queue(), images=["1-cells.png"])


def test_second__counts_its_own_progress_and_can_be_gone_back_to(project):
    window = Window(project)
    for _ in range(3):
        window.send("complete", confirmed=True)
    second = Window(project, annotator="bob", client="bob", queue=project.queue(second=True))
    assert second.view["progress"]["images_done"] == 0
    first = second.view["image"]["name"]
    done = second.send("complete", confirmed=True)
    assert done["ok"], done
    assert done["progress"]["images_done"] == 1
    assert second.send("open", which="previous")["ok"]
    assert second.view["image"]["name"] == first
    assert second.send("undo", gesture=done["gesture"])["ok"]
    assert set(project.journal()["purpose"][3:]) == {"second"}


# ---- what must not get through ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "outbox",
    [None, "text", 5, {"a": 1}, [None], [[]], [{"client": "c"}], [{"client": "c", "seq": "1"}], [{}] * 6_000],
)
def test_receive__what_cannot_be_answered_is_told(window, project, outbox):
    window.session.receive(outbox)
    assert "expected" in window.traits["fault"]
    assert len(project.journal()) == 0
    assert window.send("verdict", mask=ids(window, "flagged")[0], verdict="accept")["ok"]
    assert window.traits["fault"] == ""


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "drop_tables"},
        {"verdict": "x" * 100_000_000},
        {"mask": "no-such-mask"},
        {"mask": None},
        {"elapsed_ms": float("nan")},
        {"token": "another"},
        {"token": "0" * 32 + ":1:flagged:abcd"},
        {"kind": "label", "label": "x" * 900},
        {"kind": "undo", "gesture": "unknown"},
        {"kind": "redo", "gesture": "unknown"},
        {"kind": "draw", **drawn(0, 0, 0, 0)},
        {"kind": "draw", "rle": "22", "tool": "brush"},
        {"kind": "draw", "rle": "~~~~", "tool": "brush"},
        {"kind": "edit", "mask": "gone", **drawn(0, 0, 5, 5)},
    ],
)
def test_tampered_messages__are_refused_in_words_and_change_nothing(window, project, change):
    message = {**window.message("verdict", mask=ids(window, "flagged")[0], verdict="accept"), **change}
    reply = window.post(message)
    assert reply["ok"] is False
    assert 10 < len(reply["error"]) < 500
    assert len(project.journal()) == 0
    assert window.send("verdict", mask=ids(window, "flagged")[0], verdict="accept")["ok"]


def test_identity__comes_from_python_only(window, project):
    window.send("verdict", mask=ids(window, "flagged")[0], verdict="accept", annotator="boss", by="boss", role="owner")
    assert project.journal()["annotator"].tolist() == ["a1"]
    assert "boss" not in project.annotators()["name"].tolist()


def test_names__script_is_kept_as_text(project):
    name = "<img src=x onerror=alert(1)>"
    window = Window(project, annotator=name, labels=["<b>cell</b>"])
    assert window.view["labels"] == [{"key": "1", "name": "<b>cell</b>"}]
    reply = window.send("verdict", mask=ids(window, "flagged")[0], verdict="accept")
    assert next(iter(reply["changes"].values()))["by"] == name
    with pytest.raises(ValueError, match="annotator"):
        Session(project, "two\nlines", print)
    with pytest.raises(ValueError, match="put it in a list"):
        Session(project, "a1", print, labels="cell")


def test_polygons__outside_or_crossing_itself(window):
    crossing = polygons.fill([[[10, 10], [40, 40], [40, 10], [10, 40]]], SIZE)
    reply = window.send(
        "draw", **{**drawn(0, 0, 1, 1), "rle": rle.encode(crossing[None])[0].decode(), "tool": "polygon"}
    )
    assert reply["added"][0]["area_px"] == int(crossing.sum()) > 0
    outside = polygons.fill([[[300, 300], [340, 300], [340, 340]]], SIZE)
    reply = window.send(
        "draw", **{**drawn(0, 0, 1, 1), "rle": rle.encode(outside[None])[0].decode(), "tool": "polygon"}
    )
    assert "empty" in reply["error"]


def test_store__that_refuses_keeps_messages_unacknowledged(window, project, monkeypatch):
    first = window.message("verdict", mask=ids(window, "flagged")[0], verdict="accept")
    second = window.message("verdict", mask=ids(window, "flagged")[1], verdict="accept")

    def full(*_):
        raise StoreError("the disk is full")

    with monkeypatch.context() as broken:
        broken.setattr(project, "record", full)
        window.session.receive([first, second])
    assert "disk is full" in window.traits["fault"]
    assert window.traits["acked"] == {}
    window.session.receive([first, second])
    assert window.traits["acked"] == {"window": 2}
    assert window.traits["fault"] == ""
    assert len(project.journal()) == 2


def test_acked__as_soon_as_the_journal_has_it(window, project, monkeypatch):
    message = window.message("verdict", mask=ids(window, "flagged")[0], verdict="accept")
    seen = []

    def broken(*_):
        seen.append((dict(window.traits["acked"]), len(project.journal())))
        raise StoreError("the shard cannot be read")

    with monkeypatch.context() as patched:
        patched.setattr(window.session.desk, "board", broken)
        reply = window.post(message)
    assert seen == [({"window": 1}, 1)]
    assert reply["ok"]
    assert "cannot be read" in reply["message"]
    window.session.receive([message])
    assert len(project.journal()) == 1
    assert window.traits["fault"] == ""


def test_replies__are_kept_until_heard(window):
    mask = ids(window, "flagged")[0]
    for verdict in ("accept", "reject", "none"):
        window.send("verdict", mask=mask, verdict=verdict)
    window.session.heard({"window": 2, "stranger": 9, 5: 5})
    window.session.heard("nonsense")
    window.send("verdict", mask=mask, verdict="accept")
    assert [reply["n"] for reply in window.traits["replies"]] == [3, 4]


def test_replies__none_of_a_long_outbox_goes_without_its_answer(window, project):
    mask = ids(window, "flagged")[0]
    window.session.receive([window.message("verdict", mask="m" * 64, verdict="accept") for _ in range(700)])
    window.session.receive([window.message("verdict", mask=mask, verdict="accept") for _ in range(2)])
    replies = window.traits["replies"]
    assert [reply["to"] for reply in replies] == list(range(1, 703))
    assert [reply["ok"] for reply in replies[::699]] == [False, False]
    assert ["history" in reply for reply in replies[-2:]] == [False, True], "the last one holds"


# ---- prompts ------------------------------------------------------------------------------------------------------


class SlowSam:
    """A model that answers with a square around the last click, once it may."""

    model_id = "slow-1"
    mask_threshold = 0.0

    def __init__(self):
        self.go, self.asked = threading.Event(), []

    def embed(self, image):
        return image.shape[:2]

    def decode(self, embedding, points, labels, box, multimask=True):
        import torch

        self.asked.append(None if points is None else points[0].tolist())
        self.go.wait(10)
        return torch.zeros((1, 3, 4, 4)), torch.tensor([[0.1, 0.9, 0.2]])

    def upscale(self, logits, embedding):
        import torch

        full = torch.full((1, 1, *embedding), -1.0)
        full[..., 10:20, 10:20] = 1
        return full


def wait_for(holds):
    until = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_prompt__the_latest_is_answered_and_overtaken_ones_are_skipped(project):
    sam = SlowSam()
    window = Window(project, sam=sam)
    wait_for(lambda: window.session._prompter._opened.embedding is not None)
    window.send("prompt", prompt_id="p1", points=[[1, 1, 1]], box=None, mask=None)
    wait_for(lambda: sam.asked)
    for k in range(2, 6):
        window.send("prompt", prompt_id=f"p{k}", points=[[k, k, 1]], box=None, mask=None)
    sam.go.set()
    wait_for(lambda: b'"p5"' in window.traits["live"])
    assert sam.asked == [[[1.0, 1.0]], [[5.0, 5.0]]]
    assert b'"area_px": 100' in window.traits["live"]
    window.session.close()


def test_prompt__that_corrects_a_drawn_mask_is_led_by_a_point_deep_inside_it(project):
    sam = SlowSam()
    sam.go.set()
    window = Window(project, sam=sam)
    added = window.send("draw", **drawn(40, 60, 61, 81))["added"]
    window.send("prompt", prompt_id="p1", points=[[42, 62, 0]], box=None, mask=added[0]["id"])
    wait_for(lambda: sam.asked)
    assert sam.asked == [[[50.5, 70.5], [42.0, 62.0]]]
    window.session.close()


@pytest.mark.parametrize("given", [{"points": [[257, 1, 1]]}, {"points": [[1, -1, 0]]}, {"box": [300, 0, 310, 9]}])
def test_prompt__outside_the_image_is_refused(window, given):
    reply = window.send("prompt", **{"prompt_id": "p1", "points": [], "box": None, "mask": None, **given})
    assert not reply["ok"]
    assert "image of 256×256 px" in reply["error"]


def test_prompt__without_a_model_is_answered_in_words(window):
    window.send("prompt", prompt_id="p1", points=[[1, 1, 1]], box=None, mask=None)
    wait_for(lambda: b"load_sam" in window.traits["live"])


def test_prompt__a_model_that_fails_is_told(project):
    sam = SlowSam()
    sam.embed = lambda image: 1 / 0
    window = Window(project, sam=sam)
    window.send("prompt", prompt_id="p1", points=[[1, 1, 1]], box=None, mask=None)
    wait_for(lambda: b"ZeroDivisionError" in window.traits["live"])
    assert window.send("verdict", mask=ids(window, "flagged")[0], verdict="accept")["ok"]
