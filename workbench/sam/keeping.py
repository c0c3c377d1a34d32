"""What all segmenters of the workbench share: embeddings kept for reuse, prompts checked, one prompt answered."""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from workbench.images import array_id, expect_rgb
from workbench.recent import Recent
from workbench.sam.cache import EmbeddingCache
from workbench.sam.segmenter import Embedding

RECENT = 8  # embeddings kept in memory; one of SAM's is 4 MiB


class Prediction(NamedTuple):
    """The answer to one prompt: M = 3 hypotheses with `multimask`, else 1.

    masks : (M, H, W) bool, at the size of the image
    predicted_iou : (M,) float32
    low_res_logits : (M, h, w) float32; one of them can be handed back as `mask_logits`
    """

    masks: np.ndarray
    predicted_iou: np.ndarray
    low_res_logits: np.ndarray


class Prompts(NamedTuple):
    """Checked prompts in the model's input frame and on its device; N of each that is there.

    points : (N, P, 2) float; labels : (N, P) int32
    boxes : (N, 4) float
    masks : (N, 1, h, w) float32
    """

    n: int
    points: torch.Tensor | None
    labels: torch.Tensor | None
    boxes: torch.Tensor | None
    masks: torch.Tensor | None


class KeepingSegmenter(abc.ABC):
    """A model with its identity, that embeds an image once and answers any number of prompts.

    Safe to use from several threads. Subclasses say how an image is encoded and how prompts are answered.

    Parameters
    ----------
    model : moved to `device` and set to evaluation; its weights must not change while it is here
    model_id : name and hash of architecture and weights (`workbench.sam.load.model_id`)
    device : where the model runs
    dtype : precision of the image encoder; predicted IoUs are always float32, since rounding makes them tie and ties
        reorder the NMS, and so is all that follows the encoder unless a subclass says otherwise
    cache : a folder of embeddings that outlives the process, or None
    """

    def __init__(
        self, model: Any, model_id: str, device: torch.device | str, dtype: torch.dtype, cache: EmbeddingCache | None
    ) -> None:
        low = next((str(p.dtype) for p in model.parameters() if p.dtype != torch.float32), None)
        if low is not None:
            raise ValueError(
                f"{model_id}: expected float32 weights, got {low}; hand in model.float() and choose the precision of "
                "the image encoder by dtype="
            )
        self.device = torch.device(device)
        self.dtype = dtype
        self.model = model.to(self.device).eval()
        self.model_id = model_id
        self.cache = cache
        self._recent = Recent[str, Embedding](RECENT)
        self._holders = _holders(self.model)
        self._weights_version = _weights_version(self._holders)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.model_id} on {self.device}>"

    @property
    @abc.abstractmethod
    def mask_threshold(self) -> float:
        """Logit above which a pixel belongs to the mask."""

    @property
    @abc.abstractmethod
    def logits_hw(self) -> tuple[int, int]:
        """Height and width of low-resolution logits."""

    @abc.abstractmethod
    def _encode(self, images: Sequence[np.ndarray]) -> list[Embedding]:
        """Return the embeddings of N >= 1 images, made in one pass; called without gradients."""

    @abc.abstractmethod
    def _answer(self, embedding: Embedding, prompts: Prompts, multimask: bool) -> tuple[torch.Tensor, torch.Tensor]:
        """Return logits (N, M, h, w) and predicted IoU (N, M) of N >= 1 prompts; called without gradients."""

    @abc.abstractmethod
    def _enlarge(self, logits: torch.Tensor, embedding: Embedding) -> torch.Tensor:
        """Return N >= 1 low-resolution logits at the size of the image; called without gradients."""

    def embed(self, image: np.ndarray) -> Embedding:
        """Return the embedding of an (H, W, 3) uint8 RGB image, computed once while it is kept.

        Raises
        ------
        ValueError : for another shape or type
        RuntimeError : when the weights changed after the predictor was made
        """
        return self.embed_many([image])[0]

    def embed_many(self, images: Sequence[np.ndarray]) -> list[Embedding]:
        """Return the embedding of each image; those that are not kept are computed in one pass of the encoder.

        Matrix products round by the number of their rows, so an embedding made beside others differs from that of the
        image alone in its last bits; such ones are kept in memory, never in the folder `cache`.

        Raises
        ------
        ValueError, RuntimeError : as `embed`
        """
        for image in images:
            expect_rgb(image)
        self._check_weights()
        ids, model_id = [array_id(image) for image in images], f"{self.model_id} {self.dtype}"
        found = {i: e for i in ids if (e := self._kept(i, model_id)) is not None}
        new = {i: image for i, image in zip(ids, images, strict=True) if i not in found}
        if new:
            with torch.no_grad():
                found.update(zip(new, self._encode(list(new.values())), strict=True))
        if len(new) == 1 and self.cache is not None:
            image_id = next(iter(new))
            self.cache.put(image_id, model_id, found[image_id])
        for image_id in ids:
            self._recent.put(image_id, found[image_id])
        return [found[image_id] for image_id in ids]

    def _kept(self, image_id: str, model_id: str) -> Embedding | None:
        found = self._recent.get(image_id)
        if found is None and self.cache is not None:
            found = self.cache.get(image_id, model_id, self.device)
        return found

    def decode(
        self,
        embedding: Embedding,
        points_xy: np.ndarray | None = None,
        labels: np.ndarray | None = None,
        boxes_xyxy: np.ndarray | None = None,
        mask_logits: torch.Tensor | None = None,
        multimask: bool = True,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return low-resolution logits (N, M, h, w) and predicted IoU (N, M), float32, of N prompts in one pass.

        Parameters
        ----------
        points_xy : (N, P, 2) px of the image; labels : (N, P) 1 inside, 0 outside, -1 padding
        boxes_xyxy : (N, 4) px of the image
        mask_logits : (N, 1, h, w) low-resolution logits of an earlier answer
        multimask : M = 3 hypotheses instead of M = 1

        Raises
        ------
        ValueError : for shapes that do not fit, points without labels, or no prompt at all
        """
        # in float64 up to the positional encoding, as SamAutomaticMaskGenerator hands its points over
        exact = torch.float32 if self.device.type == "mps" else torch.float64
        return self._answer_checked(embedding, points_xy, labels, boxes_xyxy, mask_logits, multimask, exact)

    @torch.no_grad()
    def upscale(self, logits: torch.Tensor, embedding: Embedding) -> torch.Tensor:
        """Return (N, M, h, w) low-resolution logits at the size of the image: (N, M, H, W) float32."""
        if logits.shape[0] == 0:
            return logits.new_empty((*logits.shape[:2], *embedding.size_hw))
        return self._enlarge(logits, embedding)

    def predict(
        self,
        image: np.ndarray | Embedding,
        points_xy: np.ndarray | None = None,
        labels: np.ndarray | None = None,
        box_xyxy: np.ndarray | None = None,
        mask_logits: np.ndarray | torch.Tensor | None = None,
        multimask: bool = True,
    ) -> Prediction:
        """Answer one prompt, as a click in the annotator does.

        Parameters
        ----------
        image : (H, W, 3) uint8 RGB, or its embedding; an image seen lately is not embedded again
        points_xy : (P, 2) px; labels : (P,) 1 inside, 0 outside
        box_xyxy : (4,) px
        mask_logits : (h, w) or (1, h, w) logits of an earlier answer
        multimask : 3 hypotheses instead of 1

        Raises
        ------
        ValueError : for shapes that do not fit, points without labels, or no prompt at all
        """
        embedding = image if isinstance(image, Embedding) else self.embed(image)
        earlier = None
        if mask_logits is not None:
            earlier = torch.as_tensor(mask_logits, dtype=torch.float32)
            earlier = earlier.reshape(1, 1, *earlier.shape[-2:])
        logits, predicted_iou = self._answer_checked(
            embedding,
            None if points_xy is None else np.asarray(points_xy)[None],
            None if labels is None else np.asarray(labels)[None],
            None if box_xyxy is None else np.asarray(box_xyxy)[None],
            earlier,
            multimask,
            torch.float32,  # SamPredictor rounds the coordinates of a click before it shifts them by half a pixel
        )
        masks = self.upscale(logits, embedding)[0] > self.mask_threshold
        return Prediction(masks.cpu().numpy(), predicted_iou[0].cpu().numpy(), logits[0].cpu().numpy())

    @torch.no_grad()
    def _answer_checked(
        self,
        embedding: Embedding,
        points_xy: np.ndarray | None,
        labels: np.ndarray | None,
        boxes_xyxy: np.ndarray | None,
        mask_logits: torch.Tensor | None,
        multimask: bool,
        precision: torch.dtype,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        self._check_weights()
        n = check_prompts(points_xy, labels, boxes_xyxy, mask_logits, self.logits_hw)
        if n == 0:
            empty = torch.empty((0, 3 if multimask else 1, *self.logits_hw), device=self.device)
            return empty, empty[:, :, 0, 0]
        points = on_device = corners = None
        if points_xy is not None:
            points = torch.as_tensor(scaled_points(points_xy, embedding), dtype=precision, device=self.device)
            on_device = torch.as_tensor(labels, dtype=torch.int, device=self.device)
        if boxes_xyxy is not None:
            corners = torch.as_tensor(scaled_boxes(boxes_xyxy, embedding), dtype=precision, device=self.device)
        masks = None if mask_logits is None else mask_logits.to(self.device, torch.float32)
        with torch.autocast(self.device.type, enabled=False):
            return self._answer(embedding, Prompts(n, points, on_device, corners, masks), multimask)

    def _check_weights(self) -> None:
        if self.model.training or _weights_version(self._holders) != self._weights_version:
            raise RuntimeError(
                f"the weights of {self.model_id} changed (or are in training) after this predictor was made, so its "
                "name and kept embeddings no longer fit: make a new one with load_sam(predictor.model)"
            )


def check_prompts(
    points_xy: np.ndarray | None,
    labels: np.ndarray | None,
    boxes_xyxy: np.ndarray | None,
    mask_logits: torch.Tensor | None,
    mask_hw: tuple[int, int],
) -> int:
    """Return the number N of prompts, or raise ValueError naming the shape that does not fit.

    mask_hw : height and width that `mask_logits` must have
    """
    if (points_xy is None) != (labels is None):
        raise ValueError(
            "points_xy and labels come together: (N, P, 2) px and (N, P) of 1 inside, 0 outside, -1 padding"
        )
    shapes: list[tuple[str, tuple[int, ...], str, bool]] = []
    if points_xy is not None and labels is not None:
        shape = np.shape(points_xy)
        shapes.append(("points_xy", shape, "(N, P, 2)", len(shape) == 3 and shape[-1] == 2))
        shapes.append(("labels", np.shape(labels), f"{shape[:-1]}", np.shape(labels) == shape[:-1]))
        if not np.isin(labels, (-1, 0, 1)).all():
            raise ValueError(f"labels: expected 1 inside, 0 outside or -1 padding, got {np.unique(labels).tolist()}")
    if boxes_xyxy is not None:
        shape = np.shape(boxes_xyxy)
        shapes.append(("boxes_xyxy", shape, "(N, 4)", len(shape) == 2 and shape[-1] == 4))
    if mask_logits is not None:
        shape = tuple(mask_logits.shape)
        wanted = (1, *mask_hw)
        shapes.append(("mask_logits", shape, f"(N, {', '.join(map(str, wanted))})", shape[1:] == wanted))
    if not shapes:
        raise ValueError("no prompt: give points_xy with labels, boxes_xyxy or mask_logits")
    for name, shape, expected, fits in shapes:
        if not fits:
            raise ValueError(f"{name}: expected {expected}, got {shape}")
    numbers = {name: shape[0] for name, shape, _, _ in shapes}
    if len(set(numbers.values())) > 1:
        raise ValueError(f"prompts: expected the same N everywhere, got {numbers}")
    return shapes[0][1][0]


def scaled_points(points_xy: np.ndarray, embedding: Embedding) -> np.ndarray:
    """Return px of the image as px of the model's input, by the arithmetic of ResizeLongestSide.apply_coords."""
    (height, width), (input_height, input_width) = embedding.size_hw, embedding.input_hw
    scaled = np.array(points_xy, dtype=np.float64)
    scaled[..., 0] *= input_width / width
    scaled[..., 1] *= input_height / height
    return scaled


def scaled_boxes(boxes_xyxy: np.ndarray, embedding: Embedding) -> np.ndarray:
    """Return boxes (N, 4) px of the image as px of the model's input, corner by corner as `scaled_points`."""
    return scaled_points(np.asarray(boxes_xyxy).reshape(-1, 2, 2), embedding).reshape(-1, 4)


def _weights_version(holders: list[Mapping[str, torch.Tensor | None]]) -> int:
    """Return a number that every in-place change of a weight or buffer raises."""
    tensors = [tensor for holder in holders for tensor in holder.values() if tensor is not None]
    return sum(0 if tensor.is_inference() else tensor._version for tensor in tensors)


def _holders(model: torch.nn.Module) -> list[Mapping[str, torch.Tensor | None]]:
    """Return where modules keep their weights and buffers: asked at every batch, and walking the modules takes 15 ms."""
    return [kept for module in model.modules() for kept in (module._parameters, module._buffers) if kept]
