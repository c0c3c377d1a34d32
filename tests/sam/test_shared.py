"""The decoder that shares work between prompts is the published one but for rounding."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from random_sams import random_sam
from segment_anything.modeling import MaskDecoder

import workbench as wb
from workbench.sam.bundled import load_bundled
from workbench.sam.scenes import draw_scene
from workbench.sam.segmenter import SharingSegmenter
from workbench.sam.shared import SharedDecoder, lowered
from workbench.sam.sharing import SharingMaskDecoder, is_shareable


@pytest.fixture(scope="module", params=["random", "bundled"])
def predictor(request):
    return wb.load_sam(random_sam(0, input_px=64)) if request.param == "random" else wb.load_sam("bundled")


def prompts(n, size_hw=(90, 120), points=1, seed=0):
    rng = np.random.default_rng(seed)
    return rng.uniform(0, 1, (n, points, 2)) * [size_hw[1], size_hw[0]], np.ones((n, points), np.int64)


def image(size_hw=(90, 120)):
    return np.random.default_rng(1).integers(0, 256, (*size_hw, 3)).astype(np.uint8)


@pytest.mark.parametrize("boxed", [False, True])
@pytest.mark.parametrize("points", [1, 3])
def test_decode_shared__equals_decode_but_for_rounding(predictor, points, boxed):
    embedding = predictor.embed(image())
    xy, labels = prompts(20, points=points)
    labels[::2, -1] = 0
    boxes = np.concatenate([xy[:, 0] - 10, xy[:, 0] + 25], axis=1) if boxed else None
    logits, iou = predictor.decode(embedding, xy, labels, boxes)
    answers = predictor.decode_shared(embedding, xy, labels, -np.inf, boxes)
    assert answers.prompts.tolist() == list(range(20))
    assert torch.allclose(answers.predicted_iou, iou, atol=2e-6)
    assert torch.allclose(answers.logits, logits, rtol=1e-4, atol=1e-5 * float(logits.abs().max()))


def test_decode_shared__upscales_only_above_the_floor(predictor):
    embedding = predictor.embed(image())
    xy, labels = prompts(30)
    every = predictor.decode_shared(embedding, xy, labels, -np.inf)
    floor = float(every.predicted_iou.max(1).values.median())
    some = predictor.decode_shared(embedding, xy, labels, floor)
    assert some.prompts.tolist() == torch.nonzero((every.predicted_iou > floor).any(1)).flatten().tolist()
    assert 0 < len(some.prompts) < 30
    assert torch.allclose(some.logits, every.logits[some.prompts], atol=1e-4)
    none = predictor.decode_shared(embedding, xy, labels, np.inf)
    assert none.prompts.shape == (0,)
    assert none.logits.shape == (0, *every.logits.shape[1:])


def test_lowered__answers_nearly_the_same_and_scores_do_not_tie():
    sam = load_bundled()
    given = {name: value.clone() for name, value in sam.state_dict().items()}
    low = lowered(sam.mask_decoder, torch.bfloat16)
    for name, value in low.iou_prediction_head.state_dict().items():
        assert torch.equal(value, given[f"mask_decoder.iou_prediction_head.{name}"])
    assert {p.dtype for p in low.transformer.parameters()} == {torch.bfloat16}
    assert {p.dtype for p in sam.parameters()} == {torch.float32}
    predictor = wb.load_sam(sam)
    embedding = predictor.embed(draw_scene(3, 256).image)
    place, like_none = sam.prompt_encoder.get_dense_pe(), sam.prompt_encoder.no_mask_embed.weight[..., None, None]
    xy = torch.from_numpy(prompts(200, (256, 256))[0] * 2).float()
    with torch.no_grad():
        sparse, _ = sam.prompt_encoder(points=(xy, torch.ones(200, 1)), boxes=None, masks=None)
        exact, near = (
            SharedDecoder(decoder, embedding.features + like_none, place).answer(sparse, -np.inf)
            for decoder in (sam.mask_decoder, low)
        )
    assert near.logits.dtype == near.predicted_iou.dtype == torch.float32
    assert (near.predicted_iou - exact.predicted_iou).square().mean().sqrt() < 0.01
    assert len(near.predicted_iou.unique()) > 0.95 * near.predicted_iou.numel()
    both, either = ((f(near.logits > 0, exact.logits > 0)).sum() for f in (torch.logical_and, torch.logical_or))
    assert both / either > 0.97
    assert all(torch.equal(value, given[name]) for name, value in sam.state_dict().items())


def test_decode_shared__somebody_elses_autocast_changes_nothing(predictor):
    embedding = predictor.embed(image())
    xy, labels = prompts(5)
    expected = predictor.decode_shared(embedding, xy, labels, -np.inf)
    with torch.autocast("cpu", torch.bfloat16):
        found = predictor.decode_shared(embedding, xy, labels, -np.inf)
    assert torch.equal(found.predicted_iou, expected.predicted_iou)
    assert torch.equal(found.logits, expected.logits)


def test_decode_shared__no_prompts(predictor):
    answers = predictor.decode_shared(predictor.embed(image()), np.zeros((0, 1, 2)), np.zeros((0, 1), int), 0.5)
    assert answers.predicted_iou.shape == (0, 3)
    assert len(answers.logits) == 0


def test_decode_shared__each_image_has_its_own_shares(predictor):
    one, two = predictor.embed(image((90, 120))), predictor.embed(image((64, 64)))
    xy, labels = prompts(4, (64, 64))
    first = predictor.decode_shared(one, xy, labels, -np.inf)
    predictor.decode_shared(two, xy, labels, -np.inf)
    again = predictor.decode_shared(one, xy, labels, -np.inf)
    assert torch.equal(first.logits, again.logits)
    assert not torch.equal(first.logits, predictor.decode_shared(two, xy, labels, -np.inf).logits)


def test_decode_shared__another_decoder_is_asked_as_it_is():
    sam = random_sam(0, input_px=64)

    class Other(type(sam.mask_decoder)):
        pass

    sam.mask_decoder.__class__ = Other
    assert not is_shareable(sam)
    predictor = wb.load_sam(sam)
    embedding = predictor.embed(image())
    xy, labels = prompts(5)
    logits, iou = predictor.decode(embedding, xy, labels)
    answers = predictor.decode_shared(embedding, xy, labels, -np.inf)
    assert torch.equal(answers.logits, logits)
    assert torch.equal(answers.predicted_iou, iou)


@pytest.mark.parametrize("gradients", [False, True])
@pytest.mark.parametrize("earlier", [False, True])
def test_sharing_mask_decoder__is_the_published_one_but_for_rounding(gradients, earlier):
    """The official generator asks it for all masks of points, a predictor for masks corrected from earlier ones."""
    sam = load_bundled()
    assert is_shareable(sam)
    torch.manual_seed(0)
    masks = torch.randn(6, 1, 128, 128) if earlier else None
    points = torch.rand(6, 2, 2) * 512, torch.tensor([[1, 0]] * 6)
    answers = []
    for kind in (SharingMaskDecoder, MaskDecoder):
        sam.mask_decoder.__class__ = kind
        with torch.set_grad_enabled(gradients):
            sparse, dense = sam.prompt_encoder(points=points, boxes=None, masks=masks)
            image = torch.linspace(-1, 1, 96 * 32 * 32).sin().view(1, 96, 32, 32)
            logits, iou = sam.mask_decoder(image, sam.prompt_encoder.get_dense_pe(), sparse, dense, True)
        answers.append((logits, iou))
    (logits, iou), (published, published_iou) = answers
    assert logits.shape == (6, 3, 128, 128)
    assert logits.requires_grad == gradients
    assert torch.allclose(iou, published_iou, atol=2e-6)
    assert torch.allclose(logits, published, rtol=1e-4, atol=1e-5 * float(published.detach().abs().max()))


def test_sharing_mask_decoder__says_the_same_under_autocast_where_it_works_in_place():
    sam = load_bundled()
    with torch.no_grad():
        sparse, dense = sam.prompt_encoder(points=(torch.rand(6, 1, 2) * 512, torch.ones(6, 1)), boxes=None, masks=None)
        asked = torch.randn(1, 96, 32, 32), sam.prompt_encoder.get_dense_pe(), sparse, dense, True
        logits, iou = sam.mask_decoder(*asked)
        with torch.autocast("cpu", torch.bfloat16):
            again, again_iou = sam.mask_decoder(*asked)
    assert torch.equal(logits, again)
    assert torch.equal(iou, again_iou)


def test_protocol__says_who_shares(predictor):
    assert isinstance(predictor, SharingSegmenter)


def test_propose__both_decoders_give_the_same_masks_but_for_borderline_ones():
    picture = image((60, 80))
    sam = wb.load_sam(random_sam(2, input_px=64, score_shift=0.9))
    config = wb.ProposeConfig(points_per_side=6, jitter_prompts=2, features=False)
    shared, original = wb.propose(picture, sam, config), wb.propose(picture, sam, config.replace(decoder="original"))
    assert len(shared) == len(original) > 0
    assert np.abs(shared.predicted_iou - original.predicted_iou).max() < 1e-5
    assert np.abs(shared.area_px - original.area_px).max() <= 2
