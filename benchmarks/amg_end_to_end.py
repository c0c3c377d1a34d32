"""Tier B of the benchmark `amg`: an image in, masks out, by the official generator and by `propose`.

The same model, image, grid, floors and NMS. Floors of predicted IoU are quantiles of the model's own scores on the image,
so that few (2 %), many (20 %) or all masks pass; the stability floor is off. ViT-B has random weights, and its score head
is shifted until about 60 masks survive. Both answers are compared as DESIGN.md says: every mask that differs has a
margin (how near a logit, score, stability, box IoU or gap of scores is to where the decision turns), and the official
generator is compared with itself at another batch size.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import skimage.data
import torch
from PIL import Image
from segment_anything import SamAutomaticMaskGenerator, sam_model_registry
from segment_anything.modeling import MaskDecoder, Sam

import workbench as wb
from benchmarks.figures import Row
from benchmarks.measuring import paired
from workbench.config import ProposeConfig
from workbench.masks import rle
from workbench.masks.boxes import to_inclusive
from workbench.sam.bundled import load_bundled
from workbench.sam.predict import Predictor
from workbench.tables.proposals import Proposals

SIZES_HW = [(1024, 1024), (1500, 2250), (360, 360)]
SHARES = {0.02: None, 0.2: 4.0, 1.0: 2.5}  # of masks above the floor, with the aim for the ratio
OTHER_BATCH = 61
MOST_MARGIN = 1e-4
NMS_IOU = 0.7
SURVIVORS = 60
VIT_FLOOR = 0.88


@dataclass(frozen=True)
class Case:
    """One comparison: a model on an image, floors, and the side of the point grid."""

    name: str
    model: Sam
    image: np.ndarray
    floor: float
    points_per_side: int
    aim: float | None
    nms_iou: float = NMS_IOU

    @property
    def config(self) -> ProposeConfig:
        """The settings of `propose` that ask for what the official generator is asked for."""
        return ProposeConfig(
            points_per_side=self.points_per_side, predicted_iou_floor=self.floor, pool="distinct", nms_iou=self.nms_iou,
            jitter_prompts=0, features=False,
        )  # fmt: skip


def photograph(size_hw: tuple[int, int]) -> np.ndarray:
    """Return a photograph enlarged or made smaller to this size."""
    return np.array(Image.fromarray(skimage.data.astronaut()).resize(size_hw[::-1]))  # type: ignore[no-untyped-call]


def official(case: Case, batch: int = 64) -> list[dict[str, Any]]:
    """Return what the official generator makes of the image, without the empty masks that it keeps."""
    generator = SamAutomaticMaskGenerator(
        case.model, case.points_per_side, points_per_batch=batch, pred_iou_thresh=case.floor,
        stability_score_thresh=0.0, box_nms_thresh=case.nms_iou, output_mode="coco_rle",
    )  # fmt: skip
    return [found for found in generator.generate(case.image) if found["area"] > 0]


def ours(case: Case, dtype: torch.dtype = torch.float32, config: ProposeConfig | None = None) -> Proposals:
    """Return what `propose` makes of it; a new predictor each time, which has embedded nothing yet."""
    predictor = Predictor(case.model, "amg", case.model.device, dtype)
    return wb.propose(case.image, predictor, config or case.config)


@functools.cache
def bundled() -> Sam:
    """The bundled model with the published decoder, which is what ours is compared with."""
    model = load_bundled()
    model.mask_decoder.__class__ = MaskDecoder
    return model


def floor_for(model: Sam, image: np.ndarray, points_per_side: int, share: float) -> float:
    """Return the predicted IoU that this share of the model's masks exceeds; below all of them for a share of 1."""
    if share == 1:
        return -10.0
    case = Case("", model, image, -10.0, points_per_side, None)
    scores = np.sort(ours(case, config=case.config.replace(pool="exact")).predicted_iou)[::-1]
    k = min(round(3 * points_per_side**2 * share), len(scores) - 1)
    return float((scores[k - 1] + scores[k]) / 2)


def random_vit(image: np.ndarray, points_per_side: int, name: str = "vit_b", device: str = "cpu") -> Sam:
    """Return a ViT of random weights whose score head is shifted so that `SURVIVORS` masks lie above `VIT_FLOOR`."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model: Sam = sam_model_registry[name]()
        # a random decoder answers every point alike: sharper attention, louder logits and scores make masks that differ
        for name, weight in model.mask_decoder.transformer.named_parameters():
            if name.endswith(("q_proj.weight", "k_proj.weight")):
                weight.data *= 6.0
        for mlp in model.mask_decoder.output_hypernetworks_mlps:
            torch.nn.init.normal_(mlp.layers[-1].weight, std=10.0)
        last = model.mask_decoder.iou_prediction_head.layers[-1]
        torch.nn.init.normal_(last.weight, std=0.3)
    model.eval().to(device)
    with torch.no_grad():
        last.bias += VIT_FLOOR - floor_for(model, image, points_per_side, SURVIVORS / (3 * points_per_side**2))
    return model


def tier_b(rounds: int, sizes: list[tuple[int, int]], vit_b_points: int, points: int = 32) -> Iterator[Row]:
    """Yield the rows of tier B.

    Parameters
    ----------
    vit_b_points : side of the point grid for ViT-B; 0 leaves it out
    """
    for size_hw in sizes:
        image = photograph(size_hw)
        for share, aim in SHARES.items():
            floor = floor_for(bundled(), image, points, share)
            name = f"B bundled {size_hw[0]}×{size_hw[1]}, {points}² points, {share:.0%} above the floor"
            case = Case(name, bundled(), image, floor, points, aim if size_hw != SIZES_HW[-1] else None)
            yield from compared(case)
            yield from timed(case, rounds)
        yield from default_run(image, points, rounds)
    one_hw = (sizes or SIZES_HW)[0]
    if torch.ops.mkldnn._is_mkldnn_bf16_supported():  # elsewhere it is emulated, and minutes slow
        many = floor_for(bundled(), photograph(one_hw), points, 0.2)
        yield from bfloat16(Case("B bundled bf16 20%", bundled(), photograph(one_hw), many, points, 5.0), rounds)
    else:
        print("B bundled bf16: not measured, as this processor computes no bfloat16", flush=True)
    if vit_b_points:
        image = photograph(one_hw)
        name = f"B random ViT-B {one_hw[0]}×{one_hw[1]}, {vit_b_points}² points"
        # its masks are noise all over the image: with NMS one would be left
        case = Case(name, random_vit(image, vit_b_points), image, VIT_FLOOR, vit_b_points, 2.0, nms_iou=1.0)
        yield from compared(case)
        yield from timed(case, max(1, rounds // 2))


def timed(case: Case, rounds: int) -> list[Row]:
    """Time both in turn."""
    return paired(lambda: official(case), lambda: ours(case), rounds).rows(case.name, case.aim)


def default_run(image: np.ndarray, points: int, rounds: int) -> list[Row]:
    """Time the default run of the bundled model (floors, exact pool, jitter, features) beside the same grid officially."""
    config = wb.preset("bundled").propose.replace(points_per_side=points, crop_n_layers=0)
    name = f"B bundled {image.shape[0]}×{image.shape[1]} default run with jitter and features"
    case = Case(name, bundled(), image, config.predicted_iou_floor, points, None)
    rows = ours(case, config=config)
    jittered = float(np.isfinite(rows.jitter_stability).sum())
    return [
        Row(f"{name}: masks stored", float(len(rows)), "masks", None, 1, None, ">="),
        Row(f"{name}: masks jittered", jittered, "masks", None, 1, None, ">="),
        *paired(lambda: official(case), lambda: ours(case, config=config), rounds).rows(name),
    ]


def bfloat16(case: Case, rounds: int) -> list[Row]:
    """Compare and time a bfloat16 encoder beside the official generator in float32."""
    beside = paired(lambda: official(case), lambda: ours(case, torch.bfloat16), rounds)
    return [*alike(case, torch.bfloat16), *beside.rows(case.name, case.aim)]


def alike(case: Case, dtype: torch.dtype) -> list[Row]:
    """Compare what both make of the image where they round differently."""
    expected, found = official(case), ours(case, dtype)
    size_hw = case.image.shape[0], case.image.shape[1]
    counts = [e["segmentation"]["counts"].encode() for e in expected]
    overlap = rle.iou_matrix(counts, found.rles.tolist(), size_hw)
    best = overlap.max(axis=1) if overlap.size else np.zeros(0)
    matched = best[best > 0.5]
    off = 100 * abs(len(found) / max(len(expected), 1) - 1)
    return [
        Row(
            f"{case.name}: mean IoU of matched masks",
            float(matched.mean()) if len(matched) else float("nan"), "1", None, len(matched), 0.98, ">=",
        ),
        Row(f"{case.name}: difference in count", off, "%", None, len(expected), 2.0, "<="),
    ]  # fmt: skip


# ---- the same? --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Masks:
    """What one side kept: columns row by row."""

    rles: list[bytes]
    predicted_iou: np.ndarray
    stability: np.ndarray
    boxes: np.ndarray  # (N, 4) inclusive
    points: np.ndarray


def of_official(found: list[dict[str, Any]]) -> Masks:
    """Columns of the official generator's answer."""
    xywh = np.array([f["bbox"] for f in found], float).reshape(-1, 4)
    return Masks(
        [f["segmentation"]["counts"].encode() for f in found],
        np.array([f["predicted_iou"] for f in found]),
        np.array([f["stability_score"] for f in found]),
        np.hstack([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]]),
        np.array([f["point_coords"][0] for f in found]).reshape(-1, 2),
    )


def of_ours(rows: Proposals) -> Masks:
    """Columns of ours."""
    boxes = to_inclusive(rows.boxes_xyxy).astype(float)
    return Masks(rows.rles.tolist(), rows.predicted_iou.astype(float), rows.stability_score, boxes, rows.points_xy)


def compared(case: Case) -> list[Row]:
    """Compare both answers, and the official generator's with its own at another batch size."""
    theirs, mine = of_official(official(case)), of_ours(ours(case))
    again = of_official(official(case, OTHER_BATCH))
    margins, own = margins_of(case, theirs, mine), margins_of(case, theirs, again)
    n = len(theirs.rles)
    return [
        Row(f"{case.name}: masks kept", float(len(mine.rles)), "masks", None, n, None, ">="),
        Row(f"{case.name}: masks that differ", float(len(margins)), "masks", None, n, float(len(own)), "<="),
        Row(f"{case.name}: largest margin of those", max(margins, default=0.0), "1", None, n, MOST_MARGIN, "<="),
        Row(f"{case.name}: official at batch 64 and 61, masks that differ", float(len(own)), "masks", None, n, None, "<="),
        Row(f"{case.name}: its largest margin", max(own, default=0.0), "1", None, n, None, "<="),
    ]  # fmt: skip


def margins_of(case: Case, a: Masks, b: Masks) -> list[float]:
    """Return a margin for each mask of either side that the other does not have to the bit; a pair counts once."""
    only_a = [i for i, run in enumerate(a.rles) if run not in set(b.rles)]
    only_b = [j for j, run in enumerate(b.rles) if run not in set(a.rles)]
    margins, taken = [], set[int]()
    for i in only_a:
        same = [
            j for j in only_b
            if j not in taken and np.array_equal(a.points[i], b.points[j])
            and abs(a.predicted_iou[i] - b.predicted_iou[j]) < MOST_MARGIN
        ]  # fmt: skip
        if same:
            taken.add(same[0])
            margins.append(_margin_of_logits(case, a, i, b, same[0]))
        else:
            margins.append(_margin_of_choice(case, a, i, b))
    return margins + [_margin_of_choice(case, b, j, a) for j in only_b if j not in taken]


def _margin_of_logits(case: Case, a: Masks, i: int, b: Masks, j: int) -> float:
    """Return the largest distance from the cut of the logits at the pixels in which two masks of one prompt differ."""
    size_hw = case.image.shape[0], case.image.shape[1]
    differ = np.logical_xor(*rle.decode([a.rles[i], b.rles[j]], size_hw))
    predictor = _kept_predictor(case.model)
    embedding = predictor.embed(case.image)
    logits, iou = predictor.decode(embedding, a.points[i][None, None], np.ones((1, 1), np.int64))
    nearest = int(np.argmin(np.abs(iou[0].numpy() - a.predicted_iou[i])))
    fine = predictor.upscale(logits, embedding)[0, nearest].numpy()
    return float(np.abs(fine - predictor.mask_threshold)[differ].max())


@functools.lru_cache(maxsize=1)
def _kept_predictor(model: Sam) -> Predictor:
    return Predictor(model, "margins")


def _margin_of_choice(case: Case, a: Masks, i: int, b: Masks) -> float:
    """Return how near mask i, which only one side kept, is to being dropped (or the other side's to being kept)."""
    margin = abs(float(a.predicted_iou[i]) - np.float32(case.floor).item())
    for other in (a, b) if case.nms_iou < 1 else ():
        iou = _box_iou(a.boxes[i], other.boxes)
        if other is a:
            iou[i] = 0
        margin = min(margin, float(np.abs(iou - case.nms_iou).min(initial=np.inf)))
        gaps = np.abs(other.predicted_iou - a.predicted_iou[i])[iou > case.nms_iou - MOST_MARGIN]
        margin = min(margin, float(gaps.min(initial=np.inf)))
    return margin


def _box_iou(box: np.ndarray, others: np.ndarray) -> np.ndarray:
    low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
    inter = np.clip(high - low, 0, None).prod(axis=1)
    union = (box[2:] - box[:2]).prod() + (others[:, 2:] - others[:, :2]).prod(axis=1) - inter
    return np.divide(inter, union, out=np.zeros(len(others)), where=union > 0)
