"""Training of the bundled SAM's mask prompts alone: `python -m workbench.sam.mask_prompts --out FILE`.

What an earlier answer is turned into (`prompt_encoder.mask_downscaling`, some 2,000 weights) learns to be corrected from;
everything else stays, so prompts without a mask are answered as before, to the bit. Before the first step a mask says as
much as none. Scenes are drawn from seeds that no other training had.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from pathlib import Path

import numpy as np
import torch
from segment_anything.modeling import Sam
from segment_anything.modeling.common import LayerNorm2d
from torch import Tensor, nn

from workbench.sam.asking import answer, nan_mean
from workbench.sam.bundled import (
    GRID,
    STRIDE_PX,
    WEIGHTS,
    expect_weights_name,
    load_bundled,
    read_card,
    write_bundled,
)
from workbench.sam.correcting import FINE, correct
from workbench.sam.lessons import SEVERAL_SHARE, Batch, collate
from workbench.sam.questions import Questions, draw_questions
from workbench.sam.recipe import learning_rate
from workbench.sam.scenes import VALIDATION_SEEDS, Scene, draw_scene
from workbench.sam.teaching import normalised, prompt_losses, true_iou

FIRST_SCENE = 230_000_000
DRAWN = 0.25
"""Share of batches whose earlier masks come as people have them, without logits: DRAWN_LOGIT inside, minus that outside."""
DRAWN_LOGIT = 8.0
ROUNDS = 2  # points that correct an answer, one after another


@dataclasses.dataclass(frozen=True)
class MaskRecipe:
    """What a training of mask prompts is made of; written into the card.

    seed, steps : the seed is of weights, windows and prompts; the scenes are the same whatever it is
    windows, window_px, prompts : scenes a step, their side, prompts of each
    learning_rate : peak rate of AdamW

    Raises
    ------
    ValueError : for no step, or a seed below 0
    """

    seed: int = 0
    steps: int = 600
    windows: int = 2
    window_px: int = 256
    prompts: int = 24
    learning_rate: float = 2e-3

    def __post_init__(self) -> None:
        if self.steps < 1 or self.seed < 0:
            raise ValueError(f"expected steps of 1 or more, and a seed of 0 or more, got {self.steps} and {self.seed}")


@torch.no_grad()
def start_anew(sam: Sam) -> None:
    """Draw the weights of mask prompts, the last so that every mask stands for what stands for none."""
    layers = sam.prompt_encoder.mask_downscaling
    for layer in layers:
        if isinstance(layer, LayerNorm2d):  # it has no `reset_parameters`
            layer.weight.fill_(1)
            layer.bias.zero_()
        elif isinstance(layer, nn.Conv2d):
            layer.reset_parameters()
    last = layers[-1]
    last.weight.zero_()
    last.bias.copy_(sam.prompt_encoder.no_mask_embed.weight[0])


class Pupil:
    """A model whose mask prompts learn, and how far they are."""

    def __init__(self, sam: Sam, recipe: MaskRecipe) -> None:
        torch.manual_seed(recipe.seed)
        self.sam, self.recipe = sam.requires_grad_(False), recipe
        start_anew(sam)
        self.parameters = list(sam.prompt_encoder.mask_downscaling.requires_grad_().parameters())
        self.optimiser = torch.optim.AdamW(self.parameters, betas=(0.9, 0.98), weight_decay=0.0)

    def learning_rate(self, step: int) -> float:
        """Return a step's rate: a short rise, then half a cosine."""
        steps = self.recipe.steps
        return learning_rate(self.recipe.learning_rate, step, min(50, steps // 10), step / steps)

    def train_step(self, step: int) -> np.ndarray:
        """Take one step; return (4,) mask loss, IoU loss, mean IoU of the corrected answers and of the earlier ones."""
        self.optimiser.zero_grad(set_to_none=True)
        rows = []
        for window in range(self.recipe.windows):
            rng = np.random.default_rng([self.recipe.seed, step, window])
            seed = FIRST_SCENE + step * self.recipe.windows + window
            assert seed < VALIDATION_SEEDS
            rows += self.corrections(draw_scene(seed, self.recipe.window_px), rng)
        if not rows:
            return np.full(4, np.nan)
        loss = torch.stack([mask + 2.0 * iou for mask, iou, *_ in rows]).mean()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        for group in self.optimiser.param_groups:
            group["lr"] = self.learning_rate(step)
        self.optimiser.step()
        return nan_mean(np.array([[v.item() for v in row] for row in rows]))

    def corrections(self, scene: Scene, rng: np.random.Generator) -> list[tuple[Tensor, Tensor, Tensor, Tensor]]:
        """Ask for the objects of a scene, then again with the earlier masks; return what each round deserves."""
        masks = scene.masks[:, 1::FINE, 1::FINE]
        if not len(masks):
            return []
        room = GRID - self.recipe.window_px // STRIDE_PX
        window = (int(rng.integers(room + 1)), int(rng.integers(room + 1)))
        points = int(rng.integers(2, 5)) if rng.random() < SEVERAL_SHARE else 1
        questions = draw_questions(scene, self.recipe.prompts, rng, points)
        with torch.no_grad():
            embedding = self.sam.image_encoder(normalised(self.sam, torch.from_numpy(scene.image)[None]))
            said = answer(self.sam, embedding, questions, window)
        rows = []
        for _ in range(ROUNDS):
            asked_again = correct(questions, *said, masks, rng)
            if asked_again is None:
                break
            questions = self._as_people_have_them(asked_again, rng)
            batch = collate([scene], [questions], np.array([window]))
            said = answer(self.sam, embedding, questions, window)
            mask, iou, _ = prompt_losses(said[0][None], said[1][None], batch)
            now, before = (self._mean_iou(logits, batch) for logits in (said[0][:, :1], questions.earlier))
            rows.append((mask, iou, now, before))
            said = said[0].detach(), said[1].detach()
        return rows

    @staticmethod
    def _as_people_have_them(questions: Questions, rng: np.random.Generator) -> Questions:
        """Return the questions, in some batches with earlier masks of two values."""
        assert questions.earlier is not None  # they correct
        if rng.random() >= DRAWN:
            return questions
        drawn = torch.where(questions.earlier > 0, DRAWN_LOGIT, -DRAWN_LOGIT)
        return dataclasses.replace(questions, earlier=drawn)

    @staticmethod
    def _mean_iou(logits: Tensor | None, batch: Batch) -> Tensor:
        """Return the mean IoU of logits (P, 1, h, w) with what their prompts ask for; NaN where that is nothing."""
        assert logits is not None  # earlier answers are there
        overlap = true_iou(logits[None], batch.owners, batch.family)[0, :, 0]
        asked = torch.nonzero(batch.targets[0, :, 0] > 0).flatten()
        return overlap[asked, batch.targets[0, asked, 0] - 1].mean()


def train(sam: Sam, recipe: MaskRecipe, every: int = 20) -> tuple[Sam, list[dict[str, float]]]:
    """Teach the mask prompts of a model in place; return it with the curve, a row each so many steps."""
    pupil, curve, rows = Pupil(sam, recipe), list[dict[str, float]](), list[np.ndarray]()
    for step in range(recipe.steps):
        rows.append(pupil.train_step(step))
        if (step + 1) % every == 0:
            mask, iou, now, before = nan_mean(np.stack(rows))
            found = {"mask": mask, "iou": iou, "corrected_iou": now, "earlier_iou": before}
            curve.append({"step": step + 1} | {name: round(float(value), 4) for name, value in found.items()})
            print(curve[-1], flush=True)
            rows = []
    return sam.requires_grad_(False), curve


def main(arguments: list[str] | None = None) -> None:
    """Read the command line, train, and write the weights with their card."""
    parser = argparse.ArgumentParser(prog="python -m workbench.sam.mask_prompts", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="the safetensors file to write, its card beside it")
    parser.add_argument("--weights", type=Path, default=WEIGHTS, help="whose mask prompts are trained")
    parser.add_argument("--steps", type=int, default=MaskRecipe.steps)
    parser.add_argument("--seed", type=int, default=MaskRecipe.seed)
    a = parser.parse_args(arguments)
    since = time.monotonic()
    try:
        recipe = MaskRecipe(seed=a.seed, steps=a.steps)
        expect_weights_name(a.out)
        sam, curve = train(load_bundled(a.weights), recipe)
        told = {
            "recipe": dataclasses.asdict(recipe),
            "minutes": round((time.monotonic() - since) / 60, 1),
            "curve": curve,
        }
        write_bundled(sam.state_dict(), {**read_card(a.weights), "mask_prompts": told}, a.out)
    except (ValueError, OSError) as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
