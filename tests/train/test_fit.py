"""Fine-tuning at toy size: learns, gives the same weights from the same seed, goes on after a kill, stops by itself."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from random_sams import random_sam
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from small_disk import small_disk

from workbench.masks import rle
from workbench.sam.bundled import build_bundled
from workbench.train import fit as fitting
from workbench.train import lesson
from workbench.train.fit import STATE, Fit, fit, resolved, split
from workbench.train.sample import TrainImage, draw_view
from workbench.train.settings import TrainConfig

TOY = TrainConfig(steps=4, views=1, prompts=8, check_every=2, held_out=0.25, window_px=64)


def disc_image(seed: int, size_hw=(96, 128), n: int = 3) -> TrainImage:
    """Bright discs on dark ground."""
    rng = np.random.default_rng(seed)
    yy, xx = np.mgrid[: size_hw[0], : size_hw[1]]
    pixels = np.full((*size_hw, 3), 40, np.uint8)
    masks = np.zeros((n, *size_hw), bool)
    for mask in masks:
        y, x, r = rng.integers(12, size_hw[0] - 12), rng.integers(12, size_hw[1] - 12), rng.integers(6, 12)
        mask |= (yy - y) ** 2 + (xx - x) ** 2 < r**2
        pixels[mask] = 200
    return TrainImage(f"disc{seed}", lambda: pixels, size_hw, rle.encode(masks))


def images(count: int) -> list[TrainImage]:
    return [disc_image(seed) for seed in range(count)]


def same(a, b) -> bool:
    ours, theirs = a.state_dict(), b.state_dict()
    return all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize("parts", ["decoder", "decoder+encoder"])
def test_fit__trains_what_was_asked_and_leaves_the_parent_alone(parts):
    sam = random_sam()
    before = {name: value.clone() for name, value in sam.state_dict().items()}
    fitted = fit(sam, images(4), TOY.replace(parts=parts))
    after = fitted.sam.state_dict()
    assert all(torch.equal(value, before[name]) for name, value in sam.state_dict().items())
    changed = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert ("image_encoder" in changed) == (parts == "decoder+encoder")
    assert "mask_decoder" in changed
    assert not fitted.sam.training
    assert [row["step"] for row in fitted.curve] == [0, 2, 4]
    assert len(fitted.held_out) == 1


def test_fit__same_seed_same_weights():
    sam, another = random_sam(), TOY.replace(seed=1)
    first, second, third = fit(sam, images(4), TOY), fit(sam, images(4), TOY), fit(sam, images(4), another)
    assert same(first.sam, second.sam)
    assert first.curve == second.curve
    assert not same(first.sam, third.sam)


def test_fit__killed_and_resumed_gives_the_weights_of_an_unbroken_run(tmp_path, monkeypatch):
    sam, config = random_sam(), TOY.replace(corrected=1.0)
    whole = fit(sam, images(4), config)
    step = Fit.train_step

    def dying(self):
        if self.step == 3:  # one step after the state was saved
            raise KeyboardInterrupt
        step(self)

    monkeypatch.setattr(Fit, "train_step", dying)
    with pytest.raises(KeyboardInterrupt):
        fit(sam, images(4), config, folder=tmp_path)
    steps = []
    monkeypatch.setattr(Fit, "train_step", lambda self: (steps.append(self.step), step(self)))
    again = fit(sam, images(4), config, folder=tmp_path)
    assert steps == [2, 3]
    assert same(whole.sam, again.sam)
    assert whole.curve == again.curve


def test_fit__a_full_disk_is_told_and_leaves_the_last_check(tmp_path):
    run = Fit(random_sam(), images(4), TOY)
    run.check()
    run.save(tmp_path / STATE)
    before = (tmp_path / STATE).read_bytes()
    with small_disk(4096), pytest.raises(OSError, match=r"the training cannot be kept .* goes on from the last check"):
        run.save(tmp_path / STATE)
    assert (tmp_path / STATE).read_bytes() == before
    assert list(tmp_path.iterdir()) == [tmp_path / STATE]


@pytest.mark.parametrize("spoil", ["damaged", "other settings", "other images", "of an earlier release"])
def test_fit__a_state_that_does_not_fit_is_not_taken_up(tmp_path, spoil):
    sam = random_sam()
    fit(sam, images(4), TOY, folder=tmp_path)
    config, shown = TOY, images(4)
    if spoil == "damaged":
        (tmp_path / fitting.STATE).write_bytes(b"not tensors")
    elif spoil == "other settings":
        config = TOY.replace(learning_rate=1e-3)
    elif spoil == "other images":
        shown = images(5)
    else:  # it noted the best loss as one number
        state = load_file(tmp_path / fitting.STATE)
        with safe_open(tmp_path / fitting.STATE, "pt") as file:
            told = json.loads(file.metadata()["fit"])
        del told["lowest"]
        save_file(state, tmp_path / fitting.STATE, {"fit": json.dumps(told | {"best_loss": 0.5})})
    run = Fit(sam, shown, config)
    assert not run.resume(tmp_path / fitting.STATE)
    assert run.step == 0


def with_losses(monkeypatch, losses: dict[int, list[float]]) -> None:
    """Let the held-out views of each check have these losses, by step."""

    def check(run: Fit) -> dict[str, float]:
        shown = iter(losses[run.step])
        run.lesson = lambda *_: torch.tensor([next(shown), 0.1, 0.1, 0.5])
        return measured(run)

    measured = Fit.check
    monkeypatch.setattr(Fit, "check", check)
    monkeypatch.setattr(fitting, "CHECKS", 4)
    monkeypatch.setattr(Fit, "train_step", lambda run: setattr(run, "step", run.step + 1))
    monkeypatch.setattr(Fit, "held_out", property(lambda _: images(4), lambda *_: None), raising=False)


def test_fit__keeps_the_latest_weights_that_are_not_clearly_worse(monkeypatch):
    by_step = {
        0: [0.5, 0.5, 0.5, 0.5],  # before any training: not to be chosen
        2: [1.0, 1.0, 1.0, 1.0],
        4: [1.3, 0.9, 1.1, 0.9],  # more by 0.05, of which the standard error is 0.096
        6: [1.2, 1.2, 1.2, 1.2],  # more by 0.2 each time
    }
    with_losses(monkeypatch, by_step)
    fitted = fit(random_sam(), images(4), TOY.replace(steps=6, check_every=2, patience=3))
    assert (fitted.stopped, fitted.steps, fitted.best_step) == ("steps", 6, 4)


def test_fit__a_slow_rise_is_not_followed(monkeypatch):
    """Each check is compared with the lowest, not with the one before."""
    rise = {2 * k: [0.93 + 0.07 * k + (-1) ** k * d for d in (0.3, -0.3, 0.3, -0.3)] for k in range(2, 6)}
    with_losses(monkeypatch, {0: [2.0] * 4, 2: [1.0] * 4, **rise})
    fitted = fit(random_sam(), images(4), TOY.replace(steps=10, check_every=2, patience=9))
    assert fitted.best_step == 4  # above by 0.07, then by 0.14 and more; from check to check the error is 0.35


def test_fit__one_view_that_gets_far_worse_is_clearly_worse(monkeypatch):
    with_losses(monkeypatch, {0: [2.0] * 4, 2: [1.0] * 4, 4: [1.0, 1.0, 1.0, 1.3], 6: [0.99, 0.99, 0.99, 9.0]})
    fitted = fit(random_sam(), images(4), TOY.replace(steps=6, check_every=2, patience=9))
    assert fitted.best_step == 4  # above by 0.075, the error of which is as large


def test_fit__a_check_that_is_no_number_is_not_kept(monkeypatch):
    with_losses(monkeypatch, {0: [2.0] * 4, 2: [1.0] * 4, 4: [0.1, math.nan, math.nan, math.nan], 6: [1.01] * 4})
    fitted = fit(random_sam(), images(4), TOY.replace(steps=6, check_every=2, patience=9))
    assert fitted.best_step == 2


def test_fit__of_three_views_the_lowest_is_kept(monkeypatch):
    with_losses(monkeypatch, {0: [2.0] * 3, 2: [1.0] * 3, 4: [0.8, 1.2, 1.03]})
    monkeypatch.setattr(fitting, "CHECKS", 3)
    assert fit(random_sam(), images(4), TOY.replace(steps=4, check_every=2, patience=9)).best_step == 2


def test_fit__stops_when_clearly_worse_so_many_times(monkeypatch):
    with_losses(monkeypatch, {0: [2.0] * 4, 2: [1.0] * 4, 4: [1.1] * 4, 6: [1.2] * 4})
    fitted = fit(random_sam(), images(4), TOY.replace(steps=40, check_every=2, patience=2))
    assert (fitted.stopped, fitted.steps, fitted.best_step) == ("patience", 6, 2)


def test_fit__can_stop_early_by_default():
    config = resolved(TrainConfig(), random_sam())
    assert config.check_every * (1 + config.patience) < config.steps  # the first check can be the best one


@pytest.mark.parametrize("parts", ["decoder", "decoder+encoder"])
def test_fit__encoder_runs_in_bfloat16_where_it_can(parts, monkeypatch):
    monkeypatch.setattr(lesson, "uses_amp", lambda *_: True)
    fit_run, seen = Fit(random_sam(), images(4), TOY.replace(parts=parts)), []
    fit_run.sam.image_encoder.register_forward_hook(lambda *_: seen.append(torch.is_autocast_enabled("cpu")))
    fit_run.train_step()
    assert seen
    assert all(seen)


def test_fit__learns_discs():
    config = TOY.replace(steps=60, views=2, prompts=16, learning_rate=3e-3, check_every=30, average=0.9)
    fitted = fit(random_sam(), images(4), config)
    assert fitted.curve[-1]["loss"] < 0.8 * fitted.curve[0]["loss"]


def test_fit__windows_of_the_bundled_encoder():
    torch.manual_seed(0)
    fitted = fit(build_bundled(), images(2), TOY.replace(steps=2, whole_share=0.0))
    assert fitted.steps == 2
    assert all(torch.isfinite(p).all() for p in fitted.sam.parameters())


def test_fit__nothing_to_learn_from():
    with pytest.raises(ValueError, match="at least one annotated image"):
        fit(random_sam(), [])


@pytest.mark.parametrize("image", [disc_image(0, n=0), disc_image(0)], ids=["empty", "one"])
def test_fit__one_image_only(image):
    fitted = fit(random_sam(), [image], TOY.replace(corrected=1.0))
    assert fitted.held_out == ()
    assert all(torch.isfinite(p).all() for p in fitted.sam.parameters())


def test_split__held_out_and_learned_from_are_apart():
    out, kept = split(images(10), TOY)
    assert len(out) == 2  # a quarter of ten, rounded to even
    assert {i.image_id for i in out} | {i.image_id for i in kept} == {i.image_id for i in images(10)}
    assert split(images(3), TOY)[0] == []


def test_resolved__what_the_settings_leave_open():
    few = TrainConfig(steps=4)
    assert resolved(few, random_sam()) == few.replace(learning_rate=fitting.OTHER_RATE, check_every=1, exhaustive=True)
    assert resolved(few, random_sam(), exhaustive=False).exhaustive is False
    assert resolved(few.replace(exhaustive=True), random_sam(), exhaustive=False).exhaustive is True  # as it was said
    assert resolved(TrainConfig(), build_bundled()).learning_rate == fitting.BUNDLED_RATE
    assert resolved(TrainConfig(steps=2000), random_sam()).check_every == 250  # patience reaches as far of any length
    given = TrainConfig(learning_rate=1e-5, check_every=7, exhaustive=False)
    assert resolved(given, build_bundled()) == given
    assert Fit(random_sam(), images(2), few).config == resolved(few, random_sam())


@pytest.mark.parametrize("closer", [0.0, 1.0])
def test_fit__windows_are_shown_as_crops_are(closer, monkeypatch):
    frames = []
    monkeypatch.setattr(
        fitting, "draw_view", lambda image, frame, *rest: frames.append(frame) or draw_view(image, frame, *rest)
    )
    run = Fit(build_bundled(), images(4), TOY.replace(closer=closer, whole_share=0.0))
    run.train_step()
    run.check()
    assert frames == [768 if closer else 512] * (1 + fitting.CHECKS)


def test_fit__closer_windows_go_on_after_a_kill_with_the_same_weights(tmp_path):
    config = TOY.replace(steps=3, check_every=1, whole_share=0.0)
    torch.manual_seed(0)
    sam = build_bundled()
    whole = fit(sam, images(4), config)
    half = Fit(sam, images(4), config)
    half.check()
    half.train_step()
    half.check()
    half.save(tmp_path / fitting.STATE)
    assert same(fit(sam, images(4), config, folder=tmp_path).sam, whole.sam)


def test_fit__state_of_before_some_settings_goes_on(tmp_path):
    before = {"closer": 0.0, "iou_with": "nearest", "reach_px": 0.0, "robust": False, "looks_again": 0.0}
    config, path = TOY.replace(**before), tmp_path / fitting.STATE
    run = Fit(random_sam(), images(2), config)
    run.train_step()
    run.save(path)
    with safe_open(path, "pt") as file:
        told = json.loads(file.metadata()["fit"])
    told["settings"] = {name: value for name, value in told["settings"].items() if name not in before}
    save_file(load_file(path), path, {"fit": json.dumps(told)})
    assert Fit(random_sam(), images(2), config).resume(path)
    for name in before:
        other = config.replace(**{name: getattr(TrainConfig(), name)})
        assert not Fit(random_sam(), images(2), other).resume(path)
    save_file(load_file(path), path, {"fit": json.dumps({**told, "settings": [1]})})  # damaged
    assert not Fit(random_sam(), images(2), config).resume(path)


@pytest.mark.parametrize(("device", "gpus"), [("cpu", 1), ("cuda", 3), ("cuda:0", 3), ("cuda:1", 1)])
def test_gpus__all_where_the_model_is_on_the_first_else_its_own(monkeypatch, device, gpus):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    assert fitting._gpus(torch.device(device)) == gpus
