"""The bundled SAM's mask decoder, which shares between prompts what is the same for all, and which decoders may be so computed."""

from __future__ import annotations

import torch
from segment_anything.modeling import MaskDecoder, Sam, TwoWayTransformer
from torch import Tensor

from workbench.sam.batched import decode
from workbench.sam.shared import SharedDecoder


class SharingMaskDecoder(MaskDecoder):  # type: ignore[misc]
    """The published decoder in another order: the official predictor and generator, and fine-tuning, are faster with it."""

    def predict_masks(
        self,
        image_embeddings: Tensor,
        image_pe: Tensor,
        sparse_prompt_embeddings: Tensor,
        dense_prompt_embeddings: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Return logits (N, M, 4h, 4w) and predicted IoUs (N, M) of N prompts, as `MaskDecoder` does but for rounding.

        It is left to do so where nothing can be shared: where prompts have earlier masks of their own.
        """
        one_for_all = len(dense_prompt_embeddings) == 1 or dense_prompt_embeddings.stride(0) == 0
        if len(image_embeddings) != 1 or not one_for_all:
            published: tuple[Tensor, Tensor] = super().predict_masks(
                image_embeddings, image_pe, sparse_prompt_embeddings, dense_prompt_embeddings
            )
            return published
        image = image_embeddings + dense_prompt_embeddings[:1]
        if torch.is_grad_enabled():
            logits, predicted = decode(self, image, image_pe, sparse_prompt_embeddings[None])
            return logits[0], predicted[0]
        # It works in place, which autocast does not convert for: on a GPU its layer norms would be of another type.
        with torch.autocast(image.device.type, enabled=False):
            shared = SharedDecoder(self, image, image_pe)
            queries, images = shared.transform(sparse_prompt_embeddings)
            return shared.upscale(images, queries, range(self.num_mask_tokens)), shared.predicted_iou(queries)


def is_shareable(sam: Sam) -> bool:
    """Return whether a model's decoder is built as the published one, so that it can be computed in this order."""
    decoder = sam.mask_decoder
    return type(decoder) in (MaskDecoder, SharingMaskDecoder) and type(decoder.transformer) is TwoWayTransformer
