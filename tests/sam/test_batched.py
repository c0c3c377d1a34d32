"""The decoder that is trained with is the published one, its gradients too, for every image of a batch."""

from __future__ import annotations

import pytest
import torch
from random_sams import random_sam

from workbench.sam.batched import decode
from workbench.sam.bundled import load_bundled


@pytest.fixture(params=["random", "bundled"])
def decoder(request):
    made = (random_sam(0, input_px=64) if request.param == "random" else load_bundled()).mask_decoder
    torch.manual_seed(1)
    for parameter in made.parameters():
        parameter.requires_grad_(True)
        if parameter.ndim == 1:  # biases that are zero would hide what is done with them
            parameter.data.add_(0.1 * torch.randn_like(parameter))
    return made


def test_decode__equals_the_published_decoder_for_each_image(decoder):
    width = decoder.transformer_dim
    torch.manual_seed(0)
    images, places = torch.randn(2, width, 6, 8, requires_grad=True), torch.randn(2, width, 6, 8)
    sparse = torch.randn(2, 5, 3, width, requires_grad=True)
    nothing = torch.zeros(1, width, 6, 8)

    def published():
        each = [decoder.predict_masks(images[i : i + 1], places[i : i + 1], sparse[i], nothing) for i in range(2)]
        return [torch.stack(part) for part in zip(*each, strict=True)]

    found = {}
    for name, answers in (("ours", decode(decoder, images, places, sparse)), ("published", published())):
        logits, predicted = answers
        given = [images, sparse, *decoder.parameters()]
        torch.manual_seed(2)
        total = (logits * torch.randn_like(logits)).sum() + (predicted * torch.randn_like(predicted)).sum()
        gradients = torch.autograd.grad(total, given, allow_unused=True)
        found[name] = logits, predicted, [torch.zeros(()) if g is None else g for g in gradients]
    for a, b in zip(found["ours"][:2], found["published"][:2], strict=True):
        assert torch.allclose(a, b, rtol=1e-4, atol=1e-5 * float(b.detach().abs().max()))
    # biases that softmax ignores have a gradient of rounding errors in one, and none in the other
    largest = max(float(g.abs().max()) for g in found["published"][2])
    for a, b in zip(found["ours"][2], found["published"][2], strict=True):
        assert torch.allclose(a, b, rtol=1e-3, atol=1e-5 * largest)


def test_decode__under_autocast_keeps_predicted_ious_in_float32(decoder):
    width = decoder.transformer_dim
    torch.manual_seed(0)
    given = torch.randn(1, width, 6, 8), torch.randn(1, width, 6, 8), torch.randn(1, 4, 2, width)
    logits, predicted = decode(decoder, *given)
    with torch.autocast("cpu", torch.bfloat16):
        rough, rough_predicted = decode(decoder, *given)
    assert rough.dtype == rough_predicted.dtype == torch.float32
    assert not torch.equal(rough, logits)
    assert float((rough - logits).detach().abs().mean()) < 0.05 * float(logits.detach().abs().mean())
    assert float((rough_predicted - predicted).detach().abs().max()) < 0.05
