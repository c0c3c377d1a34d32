"""Prompts answered from a kept image embedding: `Predictor`, the `Segmenter` over a `segment_anything` `Sam`."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Sequence

import numpy as np
import torch
from segment_anything.modeling import Sam
from segment_anything.utils.transforms import ResizeLongestSide
from torch import nn
from torchvision.transforms.functional import resize, to_pil_image

from workbench.sam.bundled import BundledEncoder
from workbench.sam.cache import EmbeddingCache
from workbench.sam.keeping import KeepingSegmenter, Prediction, Prompts, check_prompts, scaled_boxes, scaled_points
from workbench.sam.segmenter import Answers, Embedding
from workbench.sam.shared import SharedDecoder, lowered
from workbench.sam.sharing import is_shareable
from workbench.sam.vit import LoweredViT, is_published

__all__ = ["EmbeddingCache", "Prediction", "Predictor"]

MOST_AT_ONCE = 4  # images; each takes memory


class Predictor(KeepingSegmenter):
    """A `segment_anything` `Sam`, answering bit for bit as `SamPredictor` does on the same number of threads.

    dtype : of the image encoder; with bfloat16 on CUDA `decode_shared` computes its masks in it, too
    compiled : the image encoder goes through `torch.compile`, which rounds otherwise and takes a minute at the first image

    images_at_once, an attribute: how many images of a project are worked on at a time, on threads that share the cores; several
    (at most 4) for the bundled SAM on a CPU, else 1. Set it to 1 where memory is short.

    `decode` equals its `predict_torch`, with points in float64 as `SamAutomaticMaskGenerator` gives them; `predict`
    equals its `predict`. See `KeepingSegmenter` for the parameters.

    Source: facebookresearch/segment-anything, predictor.py and automatic_mask_generator.py.
    """

    model: Sam

    def __init__(
        self,
        model: Sam,
        model_id: str,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        cache: EmbeddingCache | None = None,
        compiled: bool = False,
    ) -> None:
        super().__init__(model, model_id, device, dtype, cache)
        encoder = self.model.image_encoder
        fused = dtype != torch.float32 and _has_fused_attention(self.device) and is_published(encoder)
        if fused:
            encoder = LoweredViT(encoder, dtype)
        self._autocast = dtype != torch.float32 and not fused
        self._encoder = _compiled(encoder) if compiled else encoder
        self._grid_decoder = self.model.mask_decoder
        if dtype == torch.bfloat16 and has_bfloat16(self.device) and is_shareable(self.model):
            self._grid_decoder = lowered(self._grid_decoder, dtype)
        self._last = threading.local()  # a `SharedDecoder` a thread, and the embedding it is of
        # small: what is computed for one image is too little to share among cores
        small = self.device.type == "cpu" and isinstance(encoder, BundledEncoder) and not compiled
        self.images_at_once = min(torch.get_num_threads(), MOST_AT_ONCE) if small else 1

    @property
    def mask_threshold(self) -> float:
        """Logit above which a pixel belongs to the mask."""
        return float(self.model.mask_threshold)

    @property
    def logits_hw(self) -> tuple[int, int]:
        """Height and width of low-resolution logits."""
        height, width = self.model.prompt_encoder.mask_input_size
        return height, width

    @property
    def square_px(self) -> int:
        """Side of the square input, through which `upscale` goes bilinearly."""
        return int(self.model.image_encoder.img_size)

    def _encode(self, images: Sequence[np.ndarray]) -> list[Embedding]:
        inputs = [self._input(image) for image in images]
        with torch.autocast(self.device.type, dtype=self.dtype, enabled=self._autocast):
            features = self._encoder(torch.cat([pixels for pixels, _ in inputs])).float()
        # copies, or each would keep the features of all in memory
        parts = [features] if len(images) == 1 else [part.clone() for part in features.split(1)]
        return [
            Embedding(part, (image.shape[0], image.shape[1]), input_hw)
            for part, image, (_, input_hw) in zip(parts, images, inputs, strict=True)
        ]

    def _input(self, image: np.ndarray) -> tuple[torch.Tensor, tuple[int, int]]:
        """Return what the encoder is given of an image, (1, 3, S, S) on the device, and its size there."""
        height, width = ResizeLongestSide.get_preprocess_shape(*image.shape[:2], self.model.image_encoder.img_size)
        input_hw = (max(height, 1), max(width, 1))  # a thread of a picture would round to nothing
        if self.model.image_format == "BGR":
            image = image[..., ::-1]
        pixels = torch.as_tensor(np.array(resize(to_pil_image(image), input_hw)), device=self.device)
        return self.model.preprocess(pixels.permute(2, 0, 1).contiguous()[None]), input_hw

    def _answer(self, embedding: Embedding, prompts: Prompts, multimask: bool) -> tuple[torch.Tensor, torch.Tensor]:
        encoder = self.model.prompt_encoder
        points = None if prompts.points is None else (prompts.points, prompts.labels)
        sparse, dense = encoder(points=points, boxes=prompts.boxes, masks=prompts.masks)
        logits, predicted_iou = self.model.mask_decoder(
            image_embeddings=embedding.features,
            image_pe=encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=multimask,
        )
        return logits, predicted_iou

    @torch.no_grad()
    def decode_shared(
        self,
        embedding: Embedding,
        points_xy: np.ndarray,
        labels: np.ndarray,
        floor: float,
        boxes_xyxy: np.ndarray | None = None,
    ) -> Answers:
        """Answer N prompts of P points each, sharing what is the same for all prompts of an image.

        Parameters
        ----------
        points_xy : (N, P, 2) px of the image; labels : (N, P) 1 inside, 0 outside, -1 padding
        floor : only prompts with a hypothesis above it (strictly) are upscaled
        boxes_xyxy : (N, 4) px of the image, one beside the points of each prompt

        Returns
        -------
        Answers, equal to `decode` but for rounding, also that of bfloat16 where it is in use; by `decode` itself for a
        decoder that is not the published one
        """
        with torch.autocast(self.device.type, enabled=False):  # somebody else's would round what is not to be rounded
            return self._decode_shared(embedding, points_xy, labels, floor, boxes_xyxy)

    def _decode_shared(
        self,
        embedding: Embedding,
        points_xy: np.ndarray,
        labels: np.ndarray,
        floor: float,
        boxes_xyxy: np.ndarray | None,
    ) -> Answers:
        if not is_shareable(self.model) or len(points_xy) == 0:
            logits, iou = self.decode(embedding, points_xy, labels, boxes_xyxy)
            index = torch.nonzero(~(iou <= floor).all(1)).flatten()
            return Answers(iou, index, logits[index])
        self._check_weights()
        check_prompts(points_xy, labels, boxes_xyxy, None, self.logits_hw)
        encoder, last = self.model.prompt_encoder, self._last
        if getattr(last, "embedding", None) is not embedding:
            image = embedding.features + encoder.no_mask_embed.weight[..., None, None]
            last.decoder = SharedDecoder(self._grid_decoder, image, encoder.get_dense_pe())
            last.embedding = embedding
        points = torch.as_tensor(scaled_points(points_xy, embedding), dtype=torch.float32, device=self.device)
        given = points, torch.as_tensor(labels, dtype=torch.int, device=self.device)
        corners = None
        if boxes_xyxy is not None:
            corners = torch.as_tensor(scaled_boxes(boxes_xyxy, embedding), dtype=torch.float32, device=self.device)
        decoder: SharedDecoder = last.decoder
        return decoder.answer(encoder(points=given, boxes=corners, masks=None)[0], floor)

    def _enlarge(self, logits: torch.Tensor, embedding: Embedding) -> torch.Tensor:
        size: torch.Tensor = self.model.postprocess_masks(logits, embedding.input_hw, embedding.size_hw)
        return size


def has_bfloat16(device: torch.device) -> bool:
    """Return whether a device is a GPU that computes in bfloat16 itself; a CPU without units for it takes minutes."""
    if device.type != "cuda":
        return False
    with (
        torch.cuda.device(device) if device.index is not None else contextlib.nullcontext()
    ):  # torch asks the one in use
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))


def _has_fused_attention(device: torch.device) -> bool:
    """Return whether attention without scores in memory pays: on a CPU autocast took a quarter less time (ViT-B, bfloat16)."""
    return device.type == "cuda"


def _compiled(encoder: nn.Module) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return the encoder compiled at its first call; a compiler that fails is told apart from a model that does."""
    from torch._dynamo.exc import TorchDynamoException  # takes seconds to import

    fast: Callable[[torch.Tensor], torch.Tensor] = torch.compile(encoder)

    def encode(pixels: torch.Tensor) -> torch.Tensor:
        try:
            return fast(pixels)
        except TorchDynamoException as error:
            raise RuntimeError(
                f"torch.compile failed ({type(error).__name__}): it needs a C++ compiler, and Triton on a GPU; "
                "load the model without compiled=True"
            ) from error

    return encode
