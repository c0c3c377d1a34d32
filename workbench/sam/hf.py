"""SAM, SAM-HQ and SAM 2 of the library transformers as segmenters; needs the extra `transformers`."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError
from torch.nn import functional as F

from workbench.sam import identity
from workbench.sam.cache import EmbeddingCache
from workbench.sam.checkpoints import CheckpointError
from workbench.sam.keeping import KeepingSegmenter, Prompts
from workbench.sam.segmenter import Embedding


class Family(NamedTuple):
    """What differs among the models: their classes, and the tensors that an embedding is made of.

    encode : model and pixels to a list of tensors, each with the image as its first axis
    arguments : that list to the keywords of the model's forward
    square : the image is stretched to a square instead of being padded to one
    """

    model: str
    processor: str
    encode: Callable[[Any, torch.Tensor], list[torch.Tensor]]
    arguments: Callable[[list[torch.Tensor]], dict[str, Any]]
    square: bool


def _encode_hq(model: Any, pixels: torch.Tensor) -> list[torch.Tensor]:
    features, intermediate = model.get_image_embeddings(pixels)
    return [features, intermediate[0]]  # the decoder reads the first intermediate layer only


FAMILIES: dict[str, Family] = {
    "sam": Family(
        "SamModel",
        "SamImageProcessor",
        lambda model, pixels: [model.get_image_embeddings(pixels)],
        lambda parts: {"image_embeddings": parts[0]},
        square=False,
    ),
    "sam_hq": Family(
        "SamHQModel",
        "SamImageProcessor",
        _encode_hq,
        lambda parts: {"image_embeddings": parts[0], "intermediate_embeddings": parts[1:]},
        square=False,
    ),
    "sam2": Family(
        "Sam2Model",
        "Sam2ImageProcessor",
        lambda model, pixels: list(model.get_image_embeddings(pixels)),
        lambda parts: {"image_embeddings": parts},
        square=True,
    ),
}
_SAVED_AS = {"sam2_video": "sam2"}  # SAM 2 is published with its video parts; the image model leaves them out


def import_transformers() -> ModuleType:
    """Return the library transformers.

    Raises
    ------
    ImportError : it is not installed; the message says how to get it
    """
    try:
        import transformers
    except ImportError as error:
        raise ImportError(
            "SAM, SAM-HQ and SAM 2 of transformers need the extra `transformers`: "
            'pip install "sam-workbench[transformers]"'
        ) from error
    module: ModuleType = transformers
    return module


class HFSegmenter(KeepingSegmenter):
    """A SAM, SAM-HQ or SAM 2 image model of transformers that answers prompts as `Predictor` does.

    Parameters
    ----------
    model : SamModel, SamHQModel or Sam2Model, moved to `device` and set to evaluation
    device, dtype, cache : as for `KeepingSegmenter`
    model_id : made of the family's name and the hash of config and weights when None
    processor : the model's image processor; one with the library's means and deviations when None

    Raises
    ------
    ImportError : transformers is not installed
    ValueError : a model of another family
    """

    def __init__(
        self,
        model: Any,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        cache: EmbeddingCache | None = None,
        model_id: str | None = None,
        processor: Any = None,
    ) -> None:
        kind = getattr(getattr(model, "config", None), "model_type", type(model).__name__)
        if kind not in FAMILIES:
            known = ", ".join(f"{family.model} ({name})" for name, family in FAMILIES.items())
            raise ValueError(f"HFSegmenter: expected {known} of transformers, got {type(model).__name__} ({kind})")
        self._family = FAMILIES[kind]
        self._input_px = int(model.config.prompt_encoder_config.image_size)
        grid = self._input_px // int(model.config.prompt_encoder_config.patch_size)
        self._logits_px = 4 * grid
        self._processor = processor or _default_processor(self._family)
        super().__init__(model, model_id or identity.model_id(kind, model), device, dtype, cache)

    @classmethod
    def from_folder(
        cls,
        folder: str | Path,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        cache: EmbeddingCache | None = None,
    ) -> HFSegmenter:
        """Return the model that `save_pretrained` wrote into a folder; reads safetensors only, and no other host.

        Raises
        ------
        CheckpointError : no such folder, another kind of model, no safetensors, or weights that are missing
        ImportError : transformers is not installed
        """
        transformers = import_transformers()
        folder = Path(folder)
        family = FAMILIES[_family_in(folder)]
        try:
            model, report = getattr(transformers, family.model).from_pretrained(
                str(folder), local_files_only=True, use_safetensors=True, dtype=torch.float32, output_loading_info=True
            )
        except (OSError, RuntimeError, ValueError, SafetensorError) as error:
            raise CheckpointError(
                f"{folder}: expected a whole model.safetensors of {family.model}, found {error}; "
                "write the folder again with save_pretrained"
            ) from error
        missing = sorted([*report["missing_keys"], *(str(key) for key in report["mismatched_keys"])])
        if missing:  # transformers draws them at random and goes on
            raise CheckpointError(
                f"{folder}: expected all weights of {family.model}, found {len(missing)} missing or of another shape; "
                f"first, {missing[0]}"
            )
        processor = None
        if (folder / "preprocessor_config.json").is_file():
            processor = _processor_class(family).from_pretrained(str(folder), local_files_only=True)
        return cls(model, device, dtype, cache, processor=processor)

    @property
    def mask_threshold(self) -> float:
        """Logit above which a pixel belongs to the mask."""
        return 0.0

    @property
    def logits_hw(self) -> tuple[int, int]:
        """Height and width of low-resolution logits."""
        return self._logits_px, self._logits_px

    def _encode(self, images: Sequence[np.ndarray]) -> list[Embedding]:
        inputs = [self._input(image) for image in images]
        with torch.autocast(self.device.type, dtype=self.dtype, enabled=self.dtype != torch.float32):
            features = self._family.encode(self.model, torch.cat([pixels for pixels, _ in inputs]))
        # copies, or each would keep the features of all in memory
        parts = [[part[k : k + 1].float().clone() for part in features] for k in range(len(images))]
        return [
            Embedding(part, (image.shape[0], image.shape[1]), input_hw)
            for part, image, (_, input_hw) in zip(parts, images, inputs, strict=True)
        ]

    def _input(self, image: np.ndarray) -> tuple[torch.Tensor, tuple[int, int]]:
        """Return what the encoder is given of an image, (1, 3, S, S) on the device, and its size there."""
        height, width = image.shape[:2]
        side = self._input_px
        if self._family.square:
            size, input_hw = {"height": side, "width": side}, (side, side)
        else:
            longest = max(height, width)
            input_hw = (int(height * (side / longest) + 0.5), int(width * (side / longest) + 0.5))
            if min(input_hw) == 0:
                raise ValueError(f"image: {height}×{width} px is too thin for {side} px input; crop it first")
            size = {"longest_edge": side}
        padding = {} if self._family.square else {"pad_size": {"height": side, "width": side}}
        made = self._processor.preprocess(images=image, size=size, return_tensors="pt", **padding)
        return made["pixel_values"].to(self.device, torch.float32), input_hw

    def _answer(self, embedding: Embedding, prompts: Prompts, multimask: bool) -> tuple[torch.Tensor, torch.Tensor]:
        parts: list[torch.Tensor] = embedding.features
        points, labels, boxes = prompts.points, prompts.labels, prompts.boxes
        if prompts.masks is None:  # one image with N prompts: (1, N, ...)
            lead = 0
        else:  # transformers adds a mask to the image: N images with one prompt each, (N, 1, ...)
            lead = 1
            parts = [part.expand(prompts.n, *part.shape[1:]) for part in parts]
        answer = self.model(
            **self._family.arguments(parts),
            input_points=None if points is None else points.float().unsqueeze(lead),
            input_labels=None if labels is None else labels.long().unsqueeze(lead),
            input_boxes=None if boxes is None else boxes.float().unsqueeze(lead),
            input_masks=prompts.masks,
            multimask_output=multimask,
        )
        return answer.pred_masks.flatten(0, 1).float(), answer.iou_scores.flatten(0, 1).float()

    def _enlarge(self, logits: torch.Tensor, embedding: Embedding) -> torch.Tensor:
        if not self._family.square:
            square = (self._input_px, self._input_px)
            height, width = embedding.input_hw
            logits = F.interpolate(logits, square, mode="bilinear", align_corners=False)[..., :height, :width]
        return F.interpolate(logits, embedding.size_hw, mode="bilinear", align_corners=False)


def _family_in(folder: Path) -> str:
    config = folder / "config.json"
    if not config.is_file():
        raise CheckpointError(f"{folder}: expected a folder with config.json, as save_pretrained writes, found none")
    try:
        kind = str(json.loads(config.read_text(encoding="utf-8"))["model_type"])
    except (ValueError, KeyError, TypeError):
        raise CheckpointError(f"{config}: expected a JSON object with model_type, found something else") from None
    kind = _SAVED_AS.get(kind, kind)
    if kind not in FAMILIES:
        raise CheckpointError(f"{config}: expected model_type {', '.join([*FAMILIES, *_SAVED_AS])}, found {kind!r}")
    return kind


def _processor_class(family: Family) -> Any:
    return getattr(import_transformers(), family.processor)


def _default_processor(family: Family) -> Any:
    return _processor_class(family)()
