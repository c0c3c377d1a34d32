"""What the stages ask of a model: the `Segmenter` protocol, and the embedding it keeps of an image."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import torch


@dataclasses.dataclass(frozen=True, eq=False)
class Embedding:
    """What a model keeps of one image, so that any number of prompts can be answered from it.

    features : the model's own tensors, on its device
    size_hw : height and width of the image, px
    input_hw : height and width of the image inside the model's square input, px
    """

    features: Any
    size_hw: tuple[int, int]
    input_hw: tuple[int, int]


class Answers(NamedTuple):
    """What a model says to N prompts, of which K have a hypothesis above a floor of predicted IoU.

    predicted_iou : (N, 3) float32; prompts : (K,) int64, which they are; logits : (K, 3, h, w) float32 of these
    """

    predicted_iou: torch.Tensor
    prompts: torch.Tensor
    logits: torch.Tensor


class Segmenter(Protocol):
    """A promptable model with its weights: SAM through `Predictor`, others through an adapter."""

    @property
    def model_id(self) -> str:
        """Name and hash of architecture and weights; equal exactly when both are."""

    @property
    def mask_threshold(self) -> float:
        """Logit above which a pixel belongs to the mask."""

    def embed(self, image: np.ndarray) -> Embedding:
        """Return the embedding of an (H, W, 3) uint8 RGB image."""

    def decode(
        self,
        embedding: Embedding,
        points_xy: np.ndarray | None = None,
        labels: np.ndarray | None = None,
        boxes_xyxy: np.ndarray | None = None,
        mask_logits: torch.Tensor | None = None,
        multimask: bool = True,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return low-resolution logits (N, M, h, w) and predicted IoU (N, M), float32, of N prompts.

        Parameters
        ----------
        points_xy : (N, P, 2) px of the image; labels : (N, P) 1 inside, 0 outside, -1 padding
        boxes_xyxy : (N, 4) px of the image
        mask_logits : (N, 1, h, w) low-resolution logits of an earlier answer
        multimask : M = 3 hypotheses instead of M = 1
        """

    def upscale(self, logits: torch.Tensor, embedding: Embedding) -> torch.Tensor:
        """Return (N, M, h, w) low-resolution logits at the size of the image: (N, M, H, W) float32."""


def expect_segmenter(sam: object, what: str, has: Sequence[str] = ("embed", "decode")) -> None:
    """Raise TypeError for something that is no model as `load_sam` returns it; `what` names who asks."""
    if isinstance(getattr(sam, "model_id", None), str) and all(hasattr(sam, name) for name in has):
        return
    hint = "; load_sam(model) makes one of it" if hasattr(sam, "state_dict") else ""
    raise TypeError(f"{what}: expected a model as load_sam() returns it, got {type(sam).__name__}{hint}")


@runtime_checkable
class SharingSegmenter(Protocol):
    """A segmenter that also answers many prompts of one image by sharing work between them."""

    def decode_shared(
        self,
        embedding: Embedding,
        points_xy: np.ndarray,
        labels: np.ndarray,
        floor: float,
        boxes_xyxy: np.ndarray | None = None,
    ) -> Answers:
        """Return what `decode` with multimask returns but for rounding, and logits only above the floor (strictly)."""


@runtime_checkable
class BatchingSegmenter(Protocol):
    """A segmenter that embeds several images in one pass."""

    def embed_many(self, images: Sequence[np.ndarray]) -> list[Embedding]:
        """Return the embedding of each (H, W, 3) uint8 RGB image, equal to `embed` but for rounding."""


@runtime_checkable
class ParallelSegmenter(Protocol):
    """A segmenter that threads may ask at the same time, each about another image."""

    @property
    def images_at_once(self) -> int:
        """How many images may be worked on at a time, each with its share of torch's threads."""
