"""Training of the bundled SAM on drawn scenes: `python -m workbench.sam.pretrain --out DIR --minutes 120 [--resume]`.

First a dense stage (what every pixel is), then prompts on windows of 256 px, towards the end ever more whole frames of
512 px. Everything is drawn from the seed; the schedule runs over `--steps`, or over `--minutes` of time spent. The
shipped weights are a moving average of the trained ones, and the checkpoint is chosen on held-out scenes alone. On a GPU
`--device cuda --processes 1 --windows 64 --prompts 48 --workers 14`, with a core for each worker; on CPUs with glibc,
MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=1000000000000 in the environment spares the page faults of large buffers.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing as mp
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from segment_anything.modeling import Sam
from torch import Tensor

from workbench.outputs import whole
from workbench.sam.bundled import WIDTH, blocks_of, build_bundled, fill, write_bundled
from workbench.sam.checking import check_on_scenes
from workbench.sam.dense import DenseHead, dense_loss
from workbench.sam.lessons import Batch, drawn_ahead
from workbench.sam.load import resolve_device
from workbench.sam.recipe import MAY_CHANGE, SEEDS_EACH, TOY, Recipe
from workbench.sam.teaching import answer_batch, normalised, prompt_losses
from workbench.sam.team import Team, end_with_parent, form

ARCHITECTURE = (
    "segment_anything Sam, 512 px input; convolutional encoder at strides 4, 8, 16, 32 (48, 96, 192, 256 channels; "
    "2, {stage8}, {stage16}, {stage32} blocks), embedding of 96 channels at stride 16; two-way transformer of depth 2, 2 heads, MLP 192; logits 128 x 128"
)
BAD_AT = (
    "photographs of everyday scenes (it knows drawn shapes and textures only); objects without a border of colour or "
    "texture; wholes of many unlike parts; things under 6 px of the 512 px frame; exact borders of thin parts; "
    "its predicted IoU is not calibrated on any real images"
)
NEXT = (
    "Train longer, best on a GPU: python -m workbench.sam.pretrain --out DIR --minutes 60 --init-from workbench/sam/"
    "weights/bundled.safetensors --dense-share 0 --learning-rate 2e-3 --first-scene 220000000 --device cuda --processes 1 "
    "--windows 96 --prompts 32 --workers 14 (scenes not seen before), then --export FILE; keep the result when recall and "
    "the share of wrong masks by the preset are better on scenes (python -m benchmarks.bundled_sam --sets scenes). "
    "What masks say as prompts is trained last, with all else as it is: python -m workbench.sam.mask_prompts --weights FILE --out FILE."
)
RISE_STEPS = 250
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
        self.parameters = [*self.sam.parameters(), *self.head.parameters()]
        self.mean = {name: value.detach().clone() for name, value in self.sam.state_dict().items()}
        decayed = [p for p in self.parameters if p.ndim > 1]
        others = [p for p in self.parameters if p.ndim <= 1]
        self.optimiser = torch.optim.AdamW(
            [{"params": decayed, "weight_decay": recipe.decay}, {"params": others, "weight_decay": 0.0}],
            lr=recipe.learning_rate, betas=(0.9, 0.98), fused=self.device.type == "cuda",
        )  # fmt: skip
        self.step, self.spent_s, self.best = 0, 0.0, -1.0
        out.mkdir(parents=True, exist_ok=True)

    @property
    def progress(self) -> float:
        """Share of the schedule that is done."""
        if self.recipe.steps:
            return min(1.0, self.step / self.recipe.steps)
        return min(1.0, self.spent_s / 60 / self.recipe.minutes)

    def learning_rate(self) -> float:
        """Return this step's rate: a short rise, then half a cosine down to a fiftieth."""
        steps = self.recipe.steps
        rise = min(1.0, (self.step + 1) / (max(1, min(RISE_STEPS, steps // 10)) if steps else RISE_STEPS))
        return self.recipe.learning_rate * rise * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * self.progress)))

    def log(self, row: dict[str, object]) -> None:
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
            "step": self.step, "spent_s": self.spent_s, "best": self.best, "sam": self.sam.state_dict(), "recipe": asdict(self.recipe),
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
        self.step, self.spent_s, self.best = state["step"], state["spent_s"], state["best"]
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
        self.spent_s = self.team.average(self.parameters, self.spent_s)
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
        """Return figures of the averaged weights on held-out scenes; keep them when they are the best so far."""
        averaged = build_bundled().to(self.device)
        averaged.load_state_dict(self.mean)
        figures = check_on_scenes(averaged, self.recipe.checks, self.recipe.window_px)
        if figures["score"] > self.best:
            self.best = figures["score"]
            with whole(self.out / "best.pt") as draft:
                torch.save(self.mean, draft)
        return figures


def _weights(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: expected weights to start from, found no such file") from None
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
    """
    if not resume and (out / "curve.jsonl").exists():
        raise FileExistsError(
            f"{out}: expected a folder without a run, found {out / 'curve.jsonl'}; go on with --resume, or take another"
        )
    numbers = sum(p.numel() for p in [*build_bundled().parameters(), *DenseHead(WIDTH // 8).parameters()])
    first, *others = form(recipe.processes, numbers)
    context = mp.get_context("spawn")
    helpers = [context.Process(target=train_share, args=(recipe, out, resume, init_from, team)) for team in others]
    for helper in helpers:
        helper.start()
    try:
        run = train_share(recipe, out, resume, init_from, first)
    except BaseException:
        for helper in helpers:
            helper.terminate()
        raise
    for helper in helpers:
        helper.join()
    return run


def train_share(recipe: Recipe, out: Path, resume: bool, init_from: Path | None, team: Team) -> Run:
    """Do one process's share of a run."""
    if team.size > 1:
        torch.set_num_threads(1)
    if team.rank:
        end_with_parent()
    if recipe.device.startswith("cuda"):
        torch.set_float32_matmul_precision("high")
        torch.backends.cudnn.benchmark = True
    run = Run(recipe, out, init_from, team)
    if resume:
        run.resume()
    run.log({"recipe": asdict(recipe), "step": run.step, "init_from": init_from.name if init_from else None})
    first = recipe.first_scene + SEEDS_EACH * team.rank + run.step * recipe.new
    windows = drawn_ahead(recipe.on_windows(first), recipe.workers)
    frames = drawn_ahead(recipe.on_frames(SEEDS_EACH // 2 + first), recipe.workers)
    loop(run, windows, frames)
    return run


def loop(run: Run, windows: Iterator[Batch], frames: Iterator[Batch]) -> None:
    """Train until the schedule is done, log every 20 steps, check and save now and then."""
    recipe = run.recipe
    rows: list[Tensor] = []
    saved, waited_s = time.monotonic(), 0.0
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
        run.spent_s += time.monotonic() - began
        if run.step % 20 == 0 or run.progress >= 1.0:
            means = torch.stack(rows).nanmean(dim=0).tolist()
            losses = {name: None if math.isnan(v) else round(v, 4) for name, v in zip(LOSSES, means, strict=True)}
            times = {"spent_s": round(run.spent_s, 1), "waited_s": round(waited_s, 2)}
            run.log({"step": run.step, "progress": round(run.progress, 4), **times, **losses})
            rows, waited_s = [], 0.0
        if (run.step % recipe.check_every == 0 and not dense_only) or run.progress >= 1.0:
            began = time.monotonic()
            if run.team.rank == 0:
                spent_s = round(run.spent_s, 1)
                run.log({"step": run.step, "spent_s": spent_s, **{k: round(v, 4) for k, v in run.check().items()}})
            run.spent_s += time.monotonic() - began
        if time.monotonic() - saved > 180 or run.progress >= 1.0:
            run.save()
            saved = time.monotonic()


def frame_share(progress: float) -> float:
    """Return the chance that a step takes whole frames instead of windows."""
    return 0.0 if progress < 0.35 else 0.12 if progress < 0.75 else 0.35


def export(out: Path, target: Path) -> None:
    """Write the best checkpoint of a run as weights with a card that says what they are.

    Parameters
    ----------
    out : folder of the run, with best.pt, state.pt and curve.jsonl
    target : the safetensors file to write; its card goes beside it

    Raises
    ------
    FileNotFoundError : the folder holds no checkpoint
    """
    if not (out / "best.pt").is_file():
        raise FileNotFoundError(
            f"{out}: expected a run with a checkpoint, found no best.pt; train first, to a check on held-out scenes"
        )
    tensors = torch.load(out / "best.pt", weights_only=True, map_location="cpu")
    rows = [json.loads(line) for line in (out / "curve.jsonl").read_text(encoding="utf-8").splitlines()]
    began = max(k for k, row in enumerate(rows) if "recipe" in row and row["step"] == 0)
    rows = rows[began:]  # before that it was another run's folder
    best = max((row for row in rows if "score" in row), key=lambda row: row["score"])
    recipes = [row for row in rows if "recipe" in row]
    card = {
        "architecture": ARCHITECTURE.format(**blocks_of(tensors)),
        "parameters": sum(p.numel() for p in build_bundled(blocks_of(tensors)).parameters()),
        "recipe": recipes[-1]["recipe"],
        "starts": [{"step": row["step"], "init_from": row["init_from"]} for row in recipes],
        "seed": recipes[0]["recipe"]["seed"],
        "steps": best["step"],
        "hours": round(best["spent_s"] / 3600, 2),
        "figures": {
            "held_out_scenes": {
                **{k: v for k, v in best.items() if k not in ("step", "spent_s")},
                "scenes": recipes[-1]["recipe"]["checks"],
            }
        },
        "data": "scenes drawn by workbench.sam.scenes; no photograph, no micrograph",
        "bad_at": BAD_AT,
        "next": NEXT,
    }
    write_bundled(tensors, card, target)


def main(arguments: list[str] | None = None) -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(prog="python -m workbench.sam.pretrain", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for curve.jsonl, state.pt, best.pt")
    parser.add_argument("--minutes", type=float, default=120.0, help="time to spend, over all resumed runs")
    parser.add_argument("--steps", type=int, default=0, help="steps to take instead of minutes")
    parser.add_argument("--seed", type=int, default=0)
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


if __name__ == "__main__":
    main()
