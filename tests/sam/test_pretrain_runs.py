"""Runs of the training recipe: they learn, stop, go on, end together, and say on the card what they were."""

from __future__ import annotations

import json
import shutil
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from workbench.sam import pretrain
from workbench.sam.bundled import WEIGHTS, build_bundled, load_bundled, read_card
from workbench.sam.card import BEST, export
from workbench.sam.lessons import make_batch
from workbench.sam.pretrain import Run, main, train
from workbench.sam.recipe import TOY
from workbench.sam.scenes import draw_scene
from workbench.sam.team import form


def curve(folder) -> list[dict]:
    return [json.loads(line) for line in (folder / "curve.jsonl").read_text(encoding="utf-8").splitlines()]


def test_train__toy_run_learns_and_is_exported(tmp_path):
    recipe = replace(TOY, steps=100, dense_share=0.6, check_every=200)
    run = train(recipe, tmp_path)
    assert run.step == 100
    rows = curve(tmp_path)
    assert rows[0]["recipe"]["steps"] == 100
    assert {"recall_50", "recall_75", "auroc", "score"} <= set(rows[-1])
    dense = [row["dense"] for row in rows if "dense" in row]
    assert np.mean(dense[1:3]) < 0.9 * dense[0]
    main(["--out", str(tmp_path), "--export", str(tmp_path / "made.safetensors")])
    sam = load_bundled(tmp_path / "made.safetensors")
    assert all(torch.isfinite(p).all() for p in sam.parameters())


def test_resume__goes_on_where_it_stopped(tmp_path):
    recipe = replace(TOY, steps=4, dense_share=0.5, check_every=100)
    whole = train(recipe, tmp_path / "whole")
    half = Run(recipe, tmp_path / "half")
    batch = make_batch([draw_scene(1, 64)], 4, np.random.default_rng(0))
    half.train_step(batch, True, np.random.default_rng(0))
    half.step = 1
    half.save()
    again = Run(recipe, tmp_path / "half")
    again.resume()
    assert again.step == 1
    for run in (half, again):
        run.train_step(batch, True, np.random.default_rng(1))
    ours, theirs = half.sam.state_dict(), again.sam.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert train(recipe, tmp_path / "half", resume=True).step == whole.step


def test_resume__nothing_to_resume_is_said(tmp_path):
    with pytest.raises(FileNotFoundError, match="start without --resume"):
        train(TOY, tmp_path, resume=True)


def test_train__a_folder_that_holds_a_run_is_gone_on_with_or_left(tmp_path):
    recipe = replace(TOY, steps=2, check_every=100)
    train(recipe, tmp_path)
    with pytest.raises(FileExistsError, match="go on with --resume, or take another"):
        train(replace(recipe, seed=7), tmp_path)
    with pytest.raises(ValueError, match=r"was begun with learning_rate=0.001, asked to go on with learning_rate=0.1"):
        train(replace(recipe, steps=3, learning_rate=0.1), tmp_path, resume=True)
    assert train(replace(recipe, steps=3), tmp_path, resume=True).step == 3


def test_export__says_only_what_is_of_its_run(tmp_path):
    recipe = replace(TOY, steps=2, check_every=100)
    train(recipe, tmp_path)
    mine = (tmp_path / "curve.jsonl").read_text(encoding="utf-8")
    other = [
        {"recipe": {"seed": 9, "checks": 1}, "step": 0, "init_from": None},
        {"step": 8, "spent_s": 1, "score": 2.0},
    ]
    (tmp_path / "curve.jsonl").write_text("".join(json.dumps(row) + "\n" for row in other) + mine, encoding="utf-8")
    export(tmp_path, tmp_path / "made.safetensors")
    card = json.loads((tmp_path / "made.json").read_text(encoding="utf-8"))
    assert (card["seed"], card["steps"], len(card["starts"])) == (recipe.seed, 2, 1)
    assert card["figures"]["held_out_scenes"]["score"] == curve(tmp_path)[-1]["score"] < 2


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--minutes", "0"], "minutes above 0"),
        (["--windows", "0"], "windows: expected 1 or more, got 0"),
        (["--device", "cuda:99"], "device"),
        (["--init-from", "no.safetensors"], "no.safetensors: expected weights to start from, found no such file"),
        (["--first-scene", "1000000000"], "kept for measuring"),
        (["--first-scene", "220000000", "--processes", "9"], "kept for measuring"),
        (["--export", "made.safetensors"], "found no best.pt"),
        (["--resume"], "start without --resume"),
        (["--resume", "--init-from", "a.safetensors"], "leave one of the two out"),
        (["--init-from", "."], "expected weights to start from, found a folder"),
        (["--seed", "-1"], "seed: expected 0 or more, got -1"),
        (["--toy", "--steps", "7"], "--toy: its recipe is fixed; leave out --steps, --processes, --workers"),
    ],
)
def test_main__says_in_a_line_what_is_wrong(tmp_path, capsys, words, told):
    with pytest.raises(SystemExit) as ended:
        main(["--out", str(tmp_path / "run"), "--processes", "1", "--workers", "0", *words])
    assert ended.value.code == 2
    assert told in capsys.readouterr().err


def test_team__alone_returns_its_own_clock():
    (alone,) = form(1, [])
    assert alone.average(list(build_bundled().mask_decoder.iou_prediction_head.parameters()), 2.5) == 2.5


def test_team__means_gradients_and_leaves_alone_what_has_none():
    """Weight decay would shrink what an optimiser gets a gradient of zeros for."""
    parameters = [[torch.nn.Parameter(torch.ones(2)) for _ in range(3)] for _ in range(2)]
    teams, told = form(2, parameters[0]), [0.0, 0.0]
    parameters[0][0].grad, parameters[1][0].grad = torch.tensor([1.0, 2.0]), torch.tensor([3.0, 6.0])
    parameters[1][1].grad = torch.tensor([4.0, 4.0])  # a batch of the first has no such prompts

    def share(rank: int) -> None:
        told[rank] = teams[rank].average(parameters[rank], 10.0 + rank)

    others = threading.Thread(target=share, args=(1,))
    others.start()
    share(0)
    others.join()
    assert told == [10.0, 10.0]
    for own in parameters:
        assert own[0].grad.tolist() == [2.0, 4.0]
        assert own[1].grad.tolist() == [2.0, 2.0]
        assert own[2].grad is None


def test_team__one_that_leaves_is_known_at_once():
    first, second = form(2, [torch.nn.Parameter(torch.ones(1))])
    second.leave()
    with pytest.raises(threading.BrokenBarrierError):
        first.average([torch.nn.Parameter(torch.ones(1))], 0.0)


@pytest.mark.slow
def test_train__two_processes_end_together_by_the_clock_of_the_first(tmp_path, monkeypatch):
    """Checks that take long are time of the first alone, and the schedule hangs on time."""
    check = pretrain.check_on_scenes

    def slow(*given):
        time.sleep(1.5)
        return check(*given)

    monkeypatch.setattr(pretrain, "check_on_scenes", slow)
    began = time.monotonic()
    run = train(replace(TOY, steps=0, minutes=0.12, processes=2, check_every=2, checks=1, dense_share=0.0), tmp_path)
    assert run.progress == 1
    assert "score" in curve(tmp_path)[-1]
    assert time.monotonic() - began < 300  # nobody waited for somebody who had left
    assert (tmp_path / "state.pt").is_file()


def test_train__interrupted_at_once_it_can_be_gone_on_with(tmp_path, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Run, "train_step", stop)
        words = ["--out", str(tmp_path), "--processes", "1", "--workers", "0", "--windows", "1", "--prompts", "2"]
        with pytest.raises(SystemExit, match=r"interrupted; --out .* --resume goes on"):
            main(words)
    monkeypatch.setattr(pretrain, "loop", lambda run, windows, frames: None)
    main([*words, "--resume"])


def test_resume__the_best_of_steps_that_were_lost_stays_the_best_and_is_what_the_card_tells(tmp_path, monkeypatch):
    scores = iter([0.9, 0.6])
    monkeypatch.setattr(pretrain, "check_on_scenes", lambda *_: {"recall_50": 0.5, "score": next(scores)})
    recipe = replace(TOY, steps=4, check_every=100)
    run = Run(recipe, tmp_path)
    run.log({"recipe": pretrain.asdict(recipe), "step": 0, "init_from": None})
    run.save()
    run.step = 3
    run.check()  # and then it was killed
    again = Run(recipe, tmp_path)
    again.resume()
    assert (again.step, again.best) == (0, 0.9)
    again.step = 4
    again.log(again.check())
    again.save()
    export(tmp_path, tmp_path / "made.safetensors")
    card = read_card(tmp_path / "made.safetensors")
    assert (card["steps"], card["figures"]["held_out_scenes"]["score"]) == (3, 0.9)
    kept = torch.load(tmp_path / BEST, weights_only=True)["weights"]
    name = "mask_decoder.iou_token.weight"
    assert torch.equal(load_bundled(tmp_path / "made.safetensors").state_dict()[name], kept[name].half().float())


def test_train__a_loss_that_is_no_number_ends_it_and_nothing_is_exported(tmp_path):
    with pytest.raises(
        ValueError, match=r"the loss is no number within the last 20 of \d+ steps; take a lower learning rate"
    ):
        train(replace(TOY, learning_rate=1e30, check_every=100), tmp_path)
    with pytest.raises(FileNotFoundError):
        export(tmp_path, tmp_path / "made.safetensors")


def test_export__tells_what_the_run_started_from(tmp_path):
    for source in (WEIGHTS, WEIGHTS.with_suffix(".json")):
        shutil.copy(source, tmp_path / source.name)
    start, card = tmp_path / WEIGHTS.name, read_card(WEIGHTS)
    recipe = replace(TOY, steps=2, check_every=100, dense_share=0.0, first_scene=5_000_000)
    train(recipe, tmp_path / "run", init_from=start)
    export(tmp_path / "run", tmp_path / "made.safetensors")
    (began,) = read_card(tmp_path / "made.safetensors")["starts"]
    assert began["init_from"]["sha256"] == card["sha256"]
    assert began["init_from"]["hours_before"] == card["hours_before"]
    made = read_card(tmp_path / "made.safetensors")
    assert made["data"] == card["data"] == "scenes drawn by workbench.sam.scenes; no photograph, no micrograph"
    assert "--first-scene 105000000 " in made["next"]
    before = load_bundled(start).prompt_encoder.mask_downscaling.state_dict()
    after = load_bundled(tmp_path / "made.safetensors").prompt_encoder.mask_downscaling.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)  # what masks say is trained by itself
    start.with_suffix(".json").unlink()
    train(recipe, tmp_path / "other", init_from=start)
    export(tmp_path / "other", tmp_path / "made.safetensors")
    said = read_card(tmp_path / "made.safetensors")["data"]
    assert said.endswith("what bundled.safetensors was trained on before: there is no card that says it")
