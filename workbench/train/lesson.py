"""What one view teaches: the loss of its prompts as a module, which runs on one device or on copies on several GPUs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from segment_anything.modeling import Sam
from torch import Tensor, nn

from workbench.sam.asking import answer
from workbench.sam.correcting import correct, look_again
from workbench.sam.predict import has_bfloat16
from workbench.train.losses import Losses, view_losses
from workbench.train.sample import View, draw_prompts, to_input
from workbench.train.settings import TrainConfig

Job = tuple[View, list[int], bool, int, Tensor | None]
"""What `Lesson` is given: view, key, again, corrections, embedding."""


class Lesson(nn.Module):
    """Loss of the prompts of one view; a module, so that it can be copied to several GPUs."""

    def __init__(self, sam: Sam, config: TrainConfig) -> None:
        super().__init__()
        self.sam, self.config = sam, config

    def embed(self, view: View) -> Tensor:
        """Return what the encoder makes of a view, float32; it runs in bfloat16 where the settings and the device allow."""
        device = self.sam.pixel_mean.device
        with torch.autocast(device.type, torch.bfloat16, enabled=uses_amp(self.config, device)):
            features: Tensor = self.sam.image_encoder(to_input(self.sam, [view]))
        return features.float()

    def forward(
        self, view: View, key: list[int], again: bool, corrections: int, embedding: Tensor | None = None
    ) -> Tensor:
        """Return (4,) total, mask, iou and best_iou; prompts are drawn by `key`.

        again : each is asked again with the box round one of its answers; corrections : so many points correct them, one after another
        """
        rng = np.random.default_rng(key)
        device = self.sam.pixel_mean.device
        features = self.embed(view) if embedding is None else embedding.to(device)
        room = self.sam.prompt_encoder.image_embedding_size[0] - features.shape[-1]
        window = (int(rng.integers(room + 1)), int(rng.integers(room + 1)))
        masks = torch.from_numpy(view.masks).to(device)
        questions = draw_prompts(view, self.config.prompts, self.config, rng)
        said = answer(self.sam, features, questions, window)
        rounds = [view_losses(*said, masks, questions, self.config)]
        for better in (*[look_again] * again, *[correct] * corrections):
            asked_again = better(questions, *said, view.masks, rng)
            if asked_again is None:
                break
            questions, said = asked_again, answer(self.sam, features, asked_again, window)
            rounds.append(view_losses(*said, masks, questions, self.config))
        return _mean(rounds)


def on_all(lesson: Lesson, jobs: list[Job]) -> list[Tensor]:
    """Return the losses of jobs on as many GPUs, the first ones, whose gradients flow back to the first one's parameters."""
    from torch.nn.parallel import parallel_apply, replicate

    devices = [torch.device("cuda", i) for i in range(len(jobs))]
    copies = replicate(lesson, devices)
    losses: list[Tensor] = parallel_apply(copies, jobs, devices=devices)
    return losses


def uses_amp(config: TrainConfig, device: torch.device) -> bool:
    """Return whether the encoder runs in bfloat16: where the settings let it and the device can."""
    return config.amp == "auto" and has_bfloat16(device)


def _mean(rounds: Sequence[Losses]) -> Tensor:
    total, mask, iou = (torch.stack([getattr(r, name) for r in rounds]).mean() for name in ("total", "mask", "iou"))
    return torch.stack([total, mask.detach(), iou.detach(), rounds[0].best_iou.detach()])
