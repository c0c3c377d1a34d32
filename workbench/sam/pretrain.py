"""Training of the bundled SAM on drawn scenes: `python -m workbench.sam.pretrain --out DIR --minutes 120 [--resume]`.

First a dense stage (what every pixel is), then prompts on windows of 256 px, towards the end ever more whole frames of
512 px. Everything is drawn from the seed; the schedule runs over `--steps`, or over `--minutes` of time spent. The
shipped weights are a moving average of the trained ones, and the checkpoint is chosen on held-out scenes alone. What mask
prompts say is trained afterwards (`workbench.sam.mask_prompts`) and stays as it is here. On a GPU
`--device cuda --processes 1 --windows 64 --prompts 48 --workers 14`, with a core for each worker; on CPUs with glibc,
MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=1000000000000 in the environment spares the page faults of large buffers.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import multiprocessing as mp
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from segment_anything.modeling import Sam
from torch import Tensor

from workbench.outputs import whole
from workbench.sam.bundled import build_bundled, fill
from workbench.sam.card import BEST, export, start_of
from workbench.sam.checking import check_on_scenes
from workbench.sam.dense import DenseHead, dense_loss
from workbench.sam.lessons import Batch, drawn_ahead
from workbench.sam.load import resolve_device
from workbench.sam.recipe import MAY_CHANGE, SEEDS_EACH, TOY, Recipe, learning_rate
from workbench.sam.teaching import answer_batch, normalised, prompt_losses
from workbench.sam.team import Team, end_with_parent, form

RISE_STEPS = 250
HELPERS_END_S = 60
LOSSES = ("dense", "mask", "iou", "best_iou")


class Run:
    """A training run: model, its average, optimiser, log; can be saved and taken up again."""

    def __init__(self, recipe: Recipe, out: Path, init_from: Path | None = None, team: Team | None = None) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe, self.out, self.team, self.init_from = recipe, out, team or Team(), init_from
        self.device = torch.device(recipe.device)
        self.sam = build_bundled()
        if init_from is not None:
            fill(self.sam, grown(_weights(init_from), self.sam), str(init_from))
        self.head = DenseHead(self.sam.mask_decoder.transformer.embedding_dim // 8)
        self.sam.to(self.device)
        self.head.to(self.device)
        self.sam.prompt_encoder.mask_downscaling.requires_grad_(False)
        self.parameters = [p for part in (self.sam, self.head) for p in part.parameters() if p.requires_grad]
        self.mean = {name: value.detach().clone() for name, value in self.sam.state_dict().items()}
        decayed = [p for p in self.parameters if p.ndim > 1]
        others = [p for p in self.parameters if p.ndim <= 1]
        self.optimiser = torch.optim.AdamW(
            [{"params": decayed, "weight_decay": recipe.decay}, {"params": others, "weight_decay": 0.0}],
            lr=recipe.learning_rate, betas=(0.9, 0.98), fused=self.device.type == "cuda",
        )  # fmt: skip
        self.step, self.spent_s, self.best = 0, 0.0, -1.0
        self.counted_to = time.monotonic()
        out.mkdir(parents=True, exist_ok=True)

    @property
    def progress(self) -> float:
        """Share of the schedule that is done."""
        if self.recipe.steps:
            return min(1.0, self.step / self.recipe.steps)
        return min(1.0, self.spent_s / 60 / self.recipe.minutes)

    def learning_rate(self) -> float:
        """Return this step's rate."""
        steps = self.recipe.steps
        rise = min(RISE_STEPS, steps // 10) if steps else RISE_STEPS
        return learning_rate(self.recipe.learning_rate, self.step, rise, self.progress)

    def clock(self) -> float:
        """Return the seconds spent until now, checks included; what counts is what the first process says at each step."""
        now = time.monotonic()
        since, self.counted_to = now - self.counted_to, now
        return self.spent_s + since

    def log(self, row: Mapping[str, object]) -> None:
        """Append one JSON line to the curve (the first process does)."""
        if self.team.rank:
            return
        with (self.out / "curve.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    def save(self) -> None:
        """Write everything needed to go on, whole or not at all (the first process does)."""
        if self.team.rank:
            return
        state = {
            "step": self.step, "spent_s": self.spent_s, "sam": self.sam.state_dict(), "recipe": asdict(self.recipe),
            "head": self.head.state_dict(), "mean": self.mean, "optimiser": self.optimiser.state_dict(),
        }  # fmt: skip
        with whole(self.out / "state.pt") as draft:
            torch.save(state, draft)

    def resume(self) -> None:
        """Take up the run saved in the folder.

        Raises
        ------
        FileNotFoundError : there is none
        ValueError : it is of another depth, or recipe; its weights, exported, are a start (--init-from)
        """
        path = self.out / "state.pt"
        if not path.is_file():
            raise FileNotFoundError(f"{path}: expected a saved run to resume, found none; start without --resume")
        state = torch.load(path, weights_only=True, map_location=self.device)
        now = asdict(self.recipe)
        for name, value in state.get("recipe", {}).items():
            if name not in MAY_CHANGE and now.get(name) != value:
                raise ValueError(
                    f"{path}: the run was begun with {name}={value}, asked to go on with {name}={now.get(name)}: give the same, or export "
                    "it (--export) and start another from its weights (--init-from)"
                )
        self.step, self.spent_s = state["step"], state["spent_s"]
        if (self.out / BEST).is_file():  # it may be of steps that were lost
            self.best = torch.load(self.out / BEST, weights_only=True, map_location="cpu")["found"]["score"]
        fill(self.sam, state["sam"], str(path))
        self.head.load_state_dict(state["head"])
        self.mean = state["mean"]
        self.optimiser.load_state_dict(state["optimiser"])

    def train_step(self, batch: Batch, prompted: bool, rng: np.random.Generator) -> Tensor:
        """Take one optimiser step on a batch; without its prompts in the dense stage.

        Returns
        -------
        (4,) losses dense, mask and iou, and the mean IoU of the best of three, NaN where no prompt has a target
        """
        batch = batch.to(self.device)
        with torch.autocast("cuda", torch.bfloat16, enabled=self.device.type == "cuda"):
            embedding = self.sam.image_encoder(normalised(self.sam, batch.images))
            upscaled = self.sam.mask_decoder.output_upscaling(embedding)
            # The head is new where the weights are not: its first gradients would undo what they know.
            settling = self.init_from is not None and self.step < RISE_STEPS
            pixels = self.head(upscaled.detach() if settling else upscaled)
        dense = dense_loss(pixels.float(), batch.owners, rng)
        mask, iou, best = dense.new_zeros(()), dense.new_zeros(()), dense.new_full((), torch.nan)
        if prompted:
            mask, iou, best = prompt_losses(*answer_batch(self.sam, embedding.float(), batch), batch)
        iou_weight = 2.0 if self.progress < 0.75 else 6.0
        loss = (0.3 if prompted else 1.0) * dense + mask + iou_weight * iou
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.spent_s = self.team.average(self.parameters, self.clock())
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        for group in self.optimiser.param_groups:
            group["lr"] = self.learning_rate()
        self.optimiser.step()
        self.follow()
        return torch.stack([dense, mask, iou, best]).detach()

    @torch.no_grad()
    def follow(self) -> None:
        """Move the averaged weights towards the trained ones."""
        keep = min(self.recipe.average, (1 + self.step) / (10 + self.step))
        state = self.sam.state_dict()
        torch._foreach_lerp_([self.mean[name] for name in state], list(state.values()), 1 - keep)

    def check(self) -> dict[str, float]:
        """Return figures of the averaged weights on held-out scenes; keep both when they are the best so far."""
        averaged = copy.deepcopy(self.sam)
        averaged.load_state_dict(self.mean)
        figures = check_on_scenes(averaged.eval(), self.recipe.checks, self.recipe.window_px)
        found = {"step": self.step, "spent_s": round(self.spent_s, 1), **{k: round(v, 4) for k, v in figures.items()}}
        if figures["score"] > self.best:
            self.best = figures["score"]
            with whole(self.out / BEST) as draft:
                torch.save({"weights": self.mean, "found": found}, draft)
        return found


def _weights(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: expected weights to start from, found {'a folder' if path.is_dir() else 'no such file'}"
        )
    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path}: expected weights as safetensors, got {error}") from None


def grown(tensors: dict[str, Tensor], sam: Sam) -> dict[str, Tensor]:
    """Return weights in float32 with the encoder's blocks that they lack, which pass on what they get until trained.

    Parameters
    ----------
    tensors : weights of the architecture, or of one whose encoder has fewer blocks a stage
    sam : of the architecture; gives what is not in `tensors`
    """
    added = {name: value for name, value in sam.state_dict().items() if name.startswith("image_encoder.stage")}
    for name in added:
        if ".narrow." in name:
            added[name] = torch.zeros_like(added[name])
    return {**added, **{name: value.float() for name, value in tensors.items()}}


def train(recipe: Recipe, out: Path, resume: bool = False, init_from: Path | None = None) -> Run:
    """Run a recipe to its end, and return the run; `out` holds curve.jsonl, state.pt and best.pt.

    Raises
    ------
    FileExistsError : `out` holds a run, and it is not to be resumed
    ValueError : weights to start from for a run that is resumed, which has its own; or a loss became none
    OSError : another process of the run is gone
    """
    if resume and init_from is not None:
        raise ValueError("--init-from: a run that is resumed goes on from its own weights; leave one of the two out")
    if not resume and (out / "curve.jsonl").exists():
        raise FileExistsError(
            f"{out}: expected a folder without a run, found {out / 'curve.jsonl'}; go on with --resume, or take another"
        )
    first, *others = (
        form(recipe.processes, Run(recipe, out, init_from).parameters) if recipe.processes > 1 else [Team()]
    )
    context = mp.get_context("spawn")
    helpers = [context.Process(target=train_share, args=(recipe, out, resume, init_from, team)) for team in others]
    for helper in helpers:
        helper.start()
    try:
        return train_share(recipe, out, resume, init_from, first)
    except threading.BrokenBarrierError:
        raise OSError(f"{out}: another process of the run is gone; go on with --resume") from None
    finally:
        for helper in helpers:
            helper.join(HELPERS_END_S)
            helper.terminate()


def train_share(recipe: Recipe, out: Path, resume: bool, init_from: Path | None, team: Team) -> Run:
    """Do one process's share of a run."""
    if team.size > 1:
        torch.set_num_threads(1)
    if not team.rank:
        return _share(recipe, out, resume, init_from, team)
    end_with_parent()
    try:
        return _share(recipe, out, resume, init_from, team)
    except (KeyboardInterrupt, threading.BrokenBarrierError):
        raise SystemExit(1) from None  # the first process says what there is to say


def _share(recipe: Recipe, out: Path, resume: bool, init_from: Path | None, team: Team) -> Run:
    if recipe.device.startswith("cuda"):
        torch.set_float32_matmul_precision("high")
        torch.backends.cudnn.benchmark = True
    run = Run(recipe, out, init_from, team)
    if resume:
        run.resume()
    run.log({"recipe": asdict(recipe), "step": run.step, "init_from": start_of(init_from)})
    if not resume:
        run.save()  # from the first step on there is something to go on with
    first = recipe.first_scene + SEEDS_EACH * team.rank + run.step * recipe.new
    windows = drawn_ahead(recipe.on_windows(first), recipe.workers)
    frames = drawn_ahead(recipe.on_frames(SEEDS_EACH // 2 + first), recipe.workers)
    try:
        loop(run, windows, frames)
    except BaseException:
        team.leave()
        raise
    return run


def loop(run: Run, windows: Iterator[Batch], frames: Iterator[Batch]) -> None:
    """Train until the schedule is done, log every 20 steps, check and save now and then."""
    recipe = run.recipe
    rows: list[Tensor] = []
    saved, waited_s = time.monotonic(), 0.0
    run.counted_to = time.monotonic()
    while run.progress < 1.0:
        began = time.monotonic()
        rng = np.random.default_rng([recipe.seed, run.step])
        whole = rng.random() < frame_share(run.progress)
        rng = np.random.default_rng([recipe.seed, run.step, run.team.rank])
        dense_only = run.progress < recipe.dense_share
        batch = next(frames if whole else windows)
        waited_s += time.monotonic() - began
        rows.append(run.train_step(batch, not dense_only, rng))
        run.step += 1
        if run.step % 20 == 0 or run.progress >= 1.0:
            if not torch.stack(rows)[:, :3].isfinite().all():  # the last column has none where nothing is asked for
                raise ValueError(
                    f"the loss is no number within the last 20 of {run.step} steps; take a lower learning rate"
                )
            means = torch.stack(rows).nanmean(dim=0).tolist()
            losses = {name: None if math.isnan(v) else round(v, 4) for name, v in zip(LOSSES, means, strict=True)}
            times = {"spent_s": round(run.spent_s, 1), "waited_s": round(waited_s, 2)}
            run.log({"step": run.step, "progress": round(run.progress, 4), **times, **losses})
            rows, waited_s = [], 0.0
        due = (run.step % recipe.check_every == 0 and not dense_only) or run.progress >= 1.0
        if due and run.team.rank == 0:
            run.log(run.check())
        if time.monotonic() - saved > 180 or run.progress >= 1.0:
            run.save()
            saved = time.monotonic()


def frame_share(progress: float) -> float:
    """Return the chance that a step takes whole frames instead of windows."""
    return 0.0 if progress < 0.35 else 0.12 if progress < 0.75 else 0.35


def main(arguments: list[str] | None = None) -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(prog="python -m workbench.sam.pretrain", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for curve.jsonl, state.pt, best.pt")
    parser.add_argument("--minutes", type=float, default=120.0, help="time to spend, over all resumed runs")
    parser.add_argument("--steps", type=int, default=0, help="steps to take instead of minutes")
    parser.add_argument("--seed", type=int, default=0, help="of weights, prompts, turns and light")
    parser.add_argument("--first-scene", type=int, default=0, help="first seed of the scenes trained on")
    parser.add_argument("--learning-rate", type=float, default=Recipe.learning_rate)
    parser.add_argument("--dense-share", type=float, default=Recipe.dense_share)
    parser.add_argument("--device", default=Recipe.device, help="cpu, cuda, cuda:1")
    parser.add_argument("--windows", type=int, default=Recipe.windows, help="scenes a step; 64 and more on a GPU")
    parser.add_argument("--prompts", type=int, default=Recipe.prompts, help="of each scene")
    parser.add_argument("--checks", type=int, default=Recipe.checks, help="held-out scenes that choose the checkpoint")
    parser.add_argument("--check-every", type=int, default=Recipe.check_every, help="steps between these checks")
    parser.add_argument("--processes", type=int, default=Recipe.processes, help="that train together, a thread each")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--resume", action="store_true", help="go on with the run in --out")
    parser.add_argument("--init-from", type=Path, help="start from the weights of a safetensors file")
    parser.add_argument("--export", type=Path, help="write the best weights of --out here, with their card, and stop")
    parser.add_argument("--toy", action="store_true", help="a run of seconds that shows the recipe works")
    a = parser.parse_args(arguments)
    may_go_with_toy = ("out", "resume", "init_from", "export", "toy")
    other = [
        name for name, value in vars(a).items() if name not in may_go_with_toy and value != parser.get_default(name)
    ]
    if a.toy and other:
        parser.error(f"--toy: its recipe is fixed; leave out --{', --'.join(other)}".replace("_", "-"))
    try:
        if a.export is not None:
            export(a.out, a.export)
            return
        chosen = Recipe(
            seed=a.seed, steps=a.steps, minutes=a.minutes, learning_rate=a.learning_rate, dense_share=a.dense_share,
            processes=a.processes, workers=a.workers, first_scene=a.first_scene, device=str(resolve_device(a.device)),
            windows=a.windows, prompts=a.prompts, checks=a.checks, check_every=a.check_every,
        )  # fmt: skip
        train(TOY if a.toy else chosen, a.out, a.resume, a.init_from)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    except KeyboardInterrupt:
        raise SystemExit(
            f"interrupted; --out {a.out} --resume goes on from what was saved, at most minutes ago"
        ) from None


if __name__ == "__main__":
    main()
