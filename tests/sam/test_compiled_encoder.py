"""The image encoder through `torch.compile`: the same embeddings but for rounding, and words where it cannot be had."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch

import workbench as wb


@pytest.mark.slow
@pytest.mark.skipif(not (shutil.which("g++") or shutil.which("clang++")), reason="needs a C++ compiler")
def test_compiled__embeds_as_the_plain_encoder_does():
    image = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    plain = wb.load_sam(device="cpu").embed(image)
    fast = wb.load_sam(device="cpu", compiled=True).embed(image)
    assert fast.features.shape == plain.features.shape
    assert torch.allclose(fast.features, plain.features, atol=1e-3, rtol=1e-3)


def test_compiled__a_compiler_that_fails_is_told_in_words(monkeypatch):
    from torch._dynamo.exc import TorchDynamoException

    def failing(encoder):
        def call(pixels):
            raise TorchDynamoException("no compiler")

        return call

    monkeypatch.setattr(torch, "compile", failing)
    with pytest.raises(RuntimeError, match=r"torch\.compile failed.*without compiled=True"):
        wb.load_sam(device="cpu", compiled=True)


def test_compiled__not_for_models_of_transformers():
    with pytest.raises(ValueError, match="compiled=True is for models of segment_anything"):
        wb.load_sam("transformers", checkpoint="nowhere", compiled=True)
