"""Settings of fine-tuning: how long, how fast, which parts of the model, and which prompts it is asked."""

from __future__ import annotations

from typing import Literal

from workbench.settings import Settings, setting, settings


@settings
class TrainConfig(Settings):
    """How a SAM is fine-tuned on the masks that people accepted, edited and drew.

    Two things are not as SAM was trained (focal 20 : dice 1, squared error of IoU 1, the best hypothesis alone): the
    squared error weighs 4, since triage, thresholds and certificates stand on the predicted IoU, and a cycle has hundreds
    of steps to teach it where SAM had 90,000; and the hypotheses that are not the best are taught by 0.03 of their loss,
    since on few images one that is never the best would be forgotten. Both are how the bundled SAM was trained as well.
    So are prompts that ask for nothing, whose answers are taught a predicted IoU of 0, and points close beside an object
    that ask for it. A loss of masks that grows ever slower (`robust`) is new to both.
    """

    parts: Literal["decoder", "decoder+encoder"] = setting(
        default="decoder+encoder",
        doc="what is trained; decoder: the image encoder is frozen, its embeddings are kept",
    )
    steps: int = setting(default=800, low=1, high=10_000_000, doc="optimiser steps at most")
    views: int = setting(default=2, low=1, high=1024, doc="views of images in a step; spread over GPUs when several")
    prompts: int = setting(default=24, low=4, high=4096, doc="prompts a view")
    window_px: int | None = setting(
        default=256, low=64, doc="side of a view in the input frame; encoders that take whole frames only ignore it"
    )
    whole_share: float = setting(default=0.15, low=0, high=1, doc="share of steps on one whole frame instead")
    learning_rate: float | None = setting(
        default=None,
        low=0,
        high=1,
        doc="peak rate of AdamW for prompts and masks; None (off in TOML): 3e-4 for the bundled SAM, 1e-4 for others",
    )
    encoder_rate: float = setting(default=0.5, low=0, high=10, doc="the image encoder's rate, as a share of it")
    decay: float = setting(default=0.01, low=0, high=1, doc="weight decay")
    average: float = setting(default=0.98, low=0, high=0.99999, doc="decay of the moving average that is kept")
    focal_weight: float = setting(default=20.0, low=0, doc="weight of the focal loss, a mean over the mask's cells")
    dice_weight: float = setting(default=1.0, low=0, doc="weight of the dice loss")
    robust: bool = setting(
        default=True,
        doc="the loss of a mask, focal and dice together, counts as log(1 + loss), so that an answer far off, a wall with "
        "all its windows, does not outweigh all others",
        before=False,
    )
    iou_weight: float = setting(default=4.0, low=0, doc="weight of the squared error of predicted IoU")
    iou_with: Literal["asked", "nearest"] = setting(
        default="asked",
        doc="true mask whose IoU an answer is taught to predict; asked: one that the prompt asks for, or a whole that holds "
        "it, 0 where it asks for nothing; nearest: whichever it overlaps most",
        before="nearest",
    )
    exhaustive: bool | None = setting(
        default=None,
        doc="final masks leave nothing out; if false, only answers that come closest to what was asked for are taught their "
        "IoU, since others may well show what nobody was asked to annotate. None (off in TOML): as the cycles are told, "
        "true in a training by itself",
        before=True,
    )
    reach_px: float = setting(
        default=6.0,
        low=0,
        high=256,
        doc="a point so far beside an object still asks for it, since grids miss small ones; px of what the model is shown, "
        "in steps of 2",
        before=0.0,
    )
    anywhere: float = setting(
        default=0.35, low=0.05, high=0.9, doc="share of prompts that fall anywhere, background included"
    )
    bad: float = setting(default=0.1, low=0.02, high=0.9, doc="share of prompts that are bad boxes")
    boxes: float = setting(default=0.1, low=0, high=0.9, doc="share of prompts that are boxes round an object")
    looks_again: float = setting(
        default=0.4,
        low=0,
        high=1,
        doc="share of steps that ask every point again with the box round one of its answers, as proposing with `refine` does",
        before=0.0,
    )
    corrected: float = setting(default=0.2, low=0, high=1, doc="share of steps whose answers are corrected by points")
    corrections: int = setting(default=2, low=1, high=16, doc="points that correct an answer, one after another")
    zoom: float = setting(default=0.15, low=0, high=1, doc="standard deviation of the log of a view's scale")
    closer: float = setting(
        default=0.5,
        low=0,
        high=1,
        doc="share of windows shown 1.5 times as large, about as SAM's first crops show images",
        before=0.0,
    )
    held_out: float = setting(default=0.1, low=0, high=0.5, doc="share of the train images that decide when to stop")
    check_every: int | None = setting(
        default=None, low=1, doc="steps between checks on them; None (off in TOML): an eighth of the steps"
    )
    # what is learned shows when the rate has come down (benchmarks/RESULTS.md): 5 of 8 checks are most of the way
    patience: int = setting(
        default=5, low=1, doc="checks in a row clearly worse than the best, after which training stops"
    )
    least_proposed: Literal["half", "half_or_true"] = setting(
        default="half",
        doc="distinct masks that the new model must propose, else it fails: half of its parent's; or, where that is more "
        "than there are true masks, as many as these",
    )
    amp: Literal["auto", "off"] = setting(default="auto", doc="auto: bfloat16 on CUDA where the device has it")
    seed: int = setting(default=0, low=0, high=2**63 - 1, doc="of views and prompts; equal seeds, equal weights (CPU)")
