"""Fine-tuning of a SAM on annotated images: deterministic from a seed on the CPU, stopped early, resumed after a kill."""

from __future__ import annotations

import copy
import json
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from segment_anything.modeling import Sam
from torch import Tensor, nn

from workbench.outputs import whole
from workbench.sam.asking import nan_mean
from workbench.sam.bundled import BundledEncoder
from workbench.train.lesson import Job, Lesson, on_all
from workbench.train.sample import TrainImage, View, draw_view
from workbench.train.settings import TrainConfig

STATE = "state.safetensors"
CHECKS = 24  # views that decide when to stop
CACHED = 512  # embeddings of a frozen encoder kept in memory; one of SAM's is 4 MiB
CLOSER = 1.5  # SAM's four first crops overlap by a third: of a square image each shows two thirds of a side
BUNDLED_RATE, OTHER_RATE = 3e-4, 1e-4  # the first measured (benchmarks/RESULTS.md), the second as before
NEAR, FEWEST = 0.1, 4  # a check is as good as another: share of the loss at most, views at least
CHECKED = 8  # times a training, when the settings leave it open
_CHECKED, _TRAINED = 1, 2  # keep the generators of checks and of steps apart


@dataclass(frozen=True)
class Fitted:
    """A fine-tuned model and how it came about.

    sam : a new model in eval mode, the weights of the latest check that is not clearly worse than the best
    curve : a row a check: step, losses on held-out views, and means of the training losses since the last
    steps : taken; best_step : of the weights; stopped : "steps" or "patience"
    held_out : ids of the train images that decided when to stop; none when there were too few to spare one
    """

    sam: Sam
    curve: tuple[dict[str, float], ...]
    steps: int
    best_step: int
    stopped: str
    held_out: tuple[str, ...]
    seconds: float


def resolved(config: TrainConfig, sam: Sam, exhaustive: bool = True) -> TrainConfig:
    """Return the settings with what they leave open: the learning rate that fits a model, and when to check.

    exhaustive : whether final masks leave nothing out, where the settings do not say
    """
    rate = BUNDLED_RATE if isinstance(sam.image_encoder, BundledEncoder) else OTHER_RATE
    return config.replace(
        learning_rate=rate if config.learning_rate is None else config.learning_rate,
        check_every=max(1, config.steps // CHECKED) if config.check_every is None else config.check_every,
        exhaustive=exhaustive if config.exhaustive is None else config.exhaustive,
    )


class Fit:
    """A fine-tuning under way: model, its moving average, optimiser, curve; can be saved and taken up again."""

    def __init__(self, sam: Sam, images: Sequence[TrainImage], config: TrainConfig) -> None:
        if not images:
            raise ValueError("fit: expected at least one annotated image, got none; complete the review of one first")
        torch.manual_seed(config.seed % 2**63)
        self.config = config = resolved(config, sam)
        self.sam = copy.deepcopy(sam).requires_grad_(False).eval()
        self.held_out, self.images = split(images, config)
        self.takes_windows = isinstance(self.sam.image_encoder, BundledEncoder)
        self.lesson = Lesson(self.sam, config)
        self.parameters = self._trained()
        self.mean = {name: p.detach().clone() for name, p in self.parameters.items()}
        self.best = dict(self.mean)
        self.optimiser = self._optimiser()
        self.step, self.best_step, self.spent_s = 0, 0, 0.0
        self.lowest: list[float] = []  # losses of the held-out views at the check where their mean was lowest
        self.curve: list[dict[str, float]] = []
        self.sums: list[list[float]] = []
        self._embeddings: dict[str, Tensor] = {}

    @property
    def peak_rate(self) -> float:
        """The learning rate at its highest."""
        assert self.config.learning_rate is not None  # resolved
        return self.config.learning_rate

    @property
    def check_every(self) -> int:
        """Steps between checks."""
        assert self.config.check_every is not None  # resolved
        return self.config.check_every

    @property
    def frame_px(self) -> int:
        """Side of the model's input."""
        return int(self.sam.image_encoder.img_size)

    @property
    def stopped(self) -> str:
        """Why the fit is over: "steps" or "patience"; "" while it is not."""
        if self.step >= self.config.steps:
            return "steps"
        checks = len(self.curve) - 1 - next((i for i, r in enumerate(self.curve) if r["step"] == self.best_step), 0)
        return "patience" if self.curve and checks >= self.config.patience else ""

    def _trained(self) -> dict[str, nn.Parameter]:
        parts = ("mask_decoder.", "prompt_encoder.", *(("image_encoder.",) if self._trains_encoder else ()))
        return {name: p.requires_grad_() for name, p in self.sam.named_parameters() if name.startswith(parts)}

    @property
    def _trains_encoder(self) -> bool:
        return self.config.parts == "decoder+encoder"

    def _optimiser(self) -> torch.optim.AdamW:
        groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
        for name, p in self.parameters.items():
            groups.setdefault((name.startswith("image_encoder."), p.ndim > 1), []).append(p)
        rates = {False: 1.0, True: self.config.encoder_rate}
        return torch.optim.AdamW(
            [
                {"params": some, "share": rates[encoder], "weight_decay": self.config.decay if wide else 0.0}
                for (encoder, wide), some in groups.items()
            ],
            lr=self.peak_rate,
            betas=(0.9, 0.98),
        )

    def learning_rate(self) -> float:
        """Return this step's rate: a rise over a tenth of the steps (at most 100), then half a cosine."""
        rise = min(1.0, (self.step + 1) / max(1, min(100, self.config.steps // 10)))
        progress = self.step / self.config.steps
        return self.peak_rate * rise * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * progress)))

    def train_step(self) -> None:
        """Take one optimiser step on views drawn for it."""
        rng = np.random.default_rng([self.config.seed, _TRAINED, self.step])
        whole = not self._windowed or rng.random() < self.config.whole_share
        corrections = self.config.corrections if rng.random() < self.config.corrected else 0
        again = bool(self.config.looks_again) and rng.random() < self.config.looks_again
        count = self.config.views if not (whole and self._windowed) else max(1, self.config.views // 2)
        chosen = [self.images[int(i)] for i in rng.integers(0, len(self.images), count)]
        jobs = [self._job(image, [self.step, i], whole, rng, again, corrections) for i, image in enumerate(chosen)]
        self.optimiser.zero_grad(set_to_none=True)
        losses = self._backward(jobs)
        if np.isfinite(losses[:, 0]).all():
            nn.utils.clip_grad_norm_(self.parameters.values(), 1.0)
            for group in self.optimiser.param_groups:
                group["lr"] = self.learning_rate() * group["share"]
            self.optimiser.step()
            self._follow()
        self.sums.append([float(v) for v in losses.mean(axis=0)])
        self.step += 1

    @property
    def _windowed(self) -> bool:
        window = self.config.window_px
        return self._trains_encoder and self.takes_windows and window is not None and window < self.frame_px

    def _job(
        self,
        image: TrainImage,
        key: list[int],
        whole: bool,
        rng: np.random.Generator | None,
        again: bool = False,
        corrections: int = 0,
    ) -> Job:
        """Return the arguments of `Lesson` for a view of an image; a frozen encoder sees whole images as they are."""
        key = [self.config.seed, _CHECKED if rng is None else _TRAINED, *key]
        window = self.config.window_px
        side = self.frame_px if whole or window is None else window - window % 32
        if self._trains_encoder:
            frame = self.frame_px
            if rng is not None and side < frame and self.config.closer and rng.random() < self.config.closer:
                frame = round(CLOSER * frame)
            return draw_view(image, frame, side, rng, self.config.zoom), key, again, corrections, None
        view = draw_view(image, self.frame_px, self.frame_px, None)
        return view, key, again, corrections, self._kept_embedding(image, view)

    def _kept_embedding(self, image: TrainImage, view: View) -> Tensor:
        found = self._embeddings.get(image.image_id)
        if found is None:
            with torch.no_grad():
                found = self.lesson.embed(view).cpu()
            if len(self._embeddings) < CACHED:
                self._embeddings[image.image_id] = found
        return found

    def _backward(self, jobs: list[Job]) -> np.ndarray:
        """Add up the gradients of the jobs, on all GPUs where the model is on one of several; return losses (J, 4)."""
        device = self.sam.pixel_mean.device
        gpus = _gpus(device)
        rows = []
        for start in range(0, len(jobs), gpus):
            part = jobs[start : start + gpus]
            losses = [self.lesson(*part[0])] if len(part) == 1 else on_all(self.lesson, part)
            total = torch.stack([loss[0].to(device) for loss in losses]).sum() / len(jobs)
            if bool(torch.isfinite(total)):
                torch.autograd.backward(total)
            rows += [loss.detach().cpu().numpy() for loss in losses]
        return np.stack(rows)

    @torch.no_grad()
    def _follow(self) -> None:
        keep = min(self.config.average, (1 + self.step) / (10 + self.step))
        torch._foreach_lerp_(list(self.mean.values()), [p.detach() for p in self.parameters.values()], 1 - keep)

    @torch.no_grad()
    def check(self) -> dict[str, float]:
        """Measure the averaged weights on held-out views (on trained ones when none are held out); keep them if good.

        Kept are those of the latest check whose loss is within a standard error, over views, and a tenth of the lowest: the
        views are few, and only at the end of the schedule, where the rate is low, is what was learned settled. Nothing is asked
        again and nothing corrected.

        Source: the one-standard-error rule of Breiman et al. 1984, Classification and Regression Trees.
        """
        trained = {name: p.detach().clone() for name, p in self.parameters.items()}
        self._put(self.mean)
        images = self.held_out or self.images
        rows = []
        for i in range(CHECKS if self._windowed else min(CHECKS, len(images))):
            job = self._job(images[i % len(images)], [i], not self._windowed, self._check_rng(i))
            rows.append(self.lesson(*job).cpu().numpy())
        self._put(trained)
        total, mask, iou, best_iou = nan_mean(np.stack(rows))
        since = nan_mean(np.array(self.sums)) if self.sums else np.full(4, np.nan)
        row = {
            "step": self.step, "loss": total, "mask": mask, "iou": iou, "best_iou": best_iou,
            "train_loss": float(since[0]), "train_best_iou": float(since[3]), "learning_rate": self.learning_rate(),
        }  # fmt: skip
        self.sums = []
        self.curve.append({name: round(float(v), 6) for name, v in row.items() if math.isfinite(v)})
        losses: list[float] = np.stack(rows)[:, 0].tolist()
        if self.step and np.isfinite(losses).all():
            if not self.lowest or sum(losses) < sum(self.lowest):
                self.lowest = losses
            if not _clearly_above(losses, self.lowest):
                self.best_step = self.step
                self.best = {name: value.clone() for name, value in self.mean.items()}
        return row

    def _check_rng(self, i: int) -> np.random.Generator | None:
        return np.random.default_rng([self.config.seed, _CHECKED, i]) if self._windowed else None

    @torch.no_grad()
    def _put(self, values: dict[str, Tensor]) -> None:
        for name, p in self.parameters.items():
            p.copy_(values[name])

    def result(self) -> Sam:
        """Return a new model with the weights that a check kept, or the averaged ones before the first."""
        sam = copy.deepcopy(self.sam).requires_grad_(False).eval()
        chosen = self.best if self.best_step else self.mean
        sam.load_state_dict({**sam.state_dict(), **chosen})
        return sam

    # ---- going on after a kill ------------------------------------------------------------------------------------

    def save(self, path: Path) -> None:
        """Write everything needed to go on into one safetensors file, whole or not at all. Raises OSError."""
        tensors = {f"trained {name}": p.detach() for name, p in self.parameters.items()}
        tensors |= {f"mean {name}": value for name, value in self.mean.items()}
        tensors |= {f"best {name}": value for name, value in self.best.items()}
        for i, values in self.optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser {i} {name}": value for name, value in values.items()}
        told = {
            "settings": self.config.to_dict(), "step": self.step, "best_step": self.best_step, "spent_s": self.spent_s,
            "lowest": self.lowest, "curve": self.curve,
            "sums": self.sums, "images": self._image_ids(),
        }  # fmt: skip
        apart = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}
        try:
            with whole(path) as draft:
                save_file(apart, draft, {"fit": json.dumps(told)})
        except (OSError, SafetensorError) as error:
            words = "free some space, and train again: it goes on from the last check that was kept"
            raise OSError(f"{path}: the training cannot be kept ({error}); {words}") from error

    def resume(self, path: Path) -> bool:
        """Take up what `save` wrote; return False, and change nothing, when there is none for these data and settings."""
        try:
            with safe_open(path, "pt") as file:
                told: dict[str, Any] = json.loads((file.metadata() or {}).get("fit", "{}"))
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
        except (OSError, SafetensorError, json.JSONDecodeError):
            return False
        saved = told.get("settings")
        known = isinstance(saved, dict) and TrainConfig.stored(saved) == self.config.to_dict()
        if not known or "lowest" not in told or told.get("images") != self._image_ids():
            return False
        device = self.sam.pixel_mean.device
        parts: dict[str, dict[str, Tensor]] = {"trained": {}, "mean": {}, "best": {}, "optimiser": {}}
        for name, tensor in tensors.items():
            kind, _, rest = name.partition(" ")
            # the optimiser puts its own where it wants it: counts of steps on a GPU would be fetched for every parameter
            parts[kind][rest] = tensor if kind == "optimiser" else tensor.to(device)
        if any(parts["trained"].get(name, p[..., :0]).shape != p.shape for name, p in self.parameters.items()):
            return False
        self._put(parts["trained"])
        self.mean, self.best = ({name: parts[kind][name] for name in self.parameters} for kind in ("mean", "best"))
        state = self.optimiser.state_dict()
        for name, tensor in parts["optimiser"].items():
            i, _, what = name.partition(" ")
            state["state"].setdefault(int(i), {})[what] = tensor
        self.optimiser.load_state_dict(state)
        self.step, self.best_step, self.spent_s = told["step"], told["best_step"], told["spent_s"]
        self.lowest, self.curve, self.sums = told["lowest"], told["curve"], told["sums"]
        return True

    def _image_ids(self) -> list[list[str]]:
        return [[image.image_id for image in some] for some in (self.images, self.held_out)]


def _gpus(device: torch.device) -> int:
    """Return on how many GPUs a model on a device may be trained: on all where it is on the first, else on its own alone.

    Copies are made from the first one; and whoever names another one leaves the rest to others.
    """
    first = device.type == "cuda" and device.index in (None, 0)
    return torch.cuda.device_count() if first else 1


def _clearly_above(losses: list[float], lowest: list[float]) -> bool:
    """Return whether losses of views lie above the lowest of the same views by more than chance would have it.

    By more than the standard error of the mean difference, or by more than a tenth: one view that gets far worse makes the
    error as large as the mean. Of fewer than four views no error is known.
    """
    more = np.array(losses) - np.array(lowest)
    error = more.std(ddof=1) / math.sqrt(len(more)) if len(more) >= FEWEST else 0.0
    return bool(more.mean() > min(error, NEAR * np.mean(lowest)))


def split(images: Sequence[TrainImage], config: TrainConfig) -> tuple[list[TrainImage], list[TrainImage]]:
    """Return the images that decide when to stop and those that are learned from; with fewer than 4 none is spared."""
    if len(images) < 4 or not config.held_out:
        return [], list(images)
    count = max(1, round(len(images) * config.held_out))
    out = set(np.random.default_rng(config.seed).permutation(len(images))[:count].tolist())
    return [im for i, im in enumerate(images) if i in out], [im for i, im in enumerate(images) if i not in out]


def fit(
    sam: Sam,
    images: Sequence[TrainImage],
    config: TrainConfig | None = None,
    *,
    folder: Path | None = None,
    progress: bool = False,
) -> Fitted:
    """Fine-tune a copy of a model on annotated images.

    Equal model, images, settings and threads give equal weights on the CPU, interrupted or not.

    Parameters
    ----------
    sam : stays as it is; the training runs on its device, and on all GPUs when that is one of several
    folder : keeps the state, so that the same call goes on after a kill; emptied of it by whoever keeps the result

    Raises
    ------
    ValueError : without an image

    Source: Kirillov et al. 2023, Segment Anything, appendix A: focal 20 : dice 1, squared error of IoU, corrections.
    """
    from tqdm.auto import tqdm

    config = config or TrainConfig()
    run = Fit(sam, images, config)
    state = None if folder is None else folder / STATE
    if state is not None:
        state.parent.mkdir(parents=True, exist_ok=True)
        run.resume(state)
    with tqdm(total=config.steps, initial=run.step, desc="training", unit="step", disable=not progress) as bar:
        while not run.stopped:
            since = time.monotonic()
            if not run.curve:
                run.check()
            run.train_step()
            bar.update()
            checked = run.step % run.check_every == 0 or run.step >= config.steps
            if checked:
                bar.set_postfix(loss=f"{run.check()['loss']:.3f}", refresh=False)
            run.spent_s += time.monotonic() - since
            if checked and state is not None:
                run.save(state)
    held_out = tuple(image.image_id for image in run.held_out)
    return Fitted(run.result(), tuple(run.curve), run.step, run.best_step, run.stopped, held_out, run.spent_s)
