"""Proposing against the official generator: `python -m benchmarks.amg [--json F] [--tier A|B] [--rounds N]`.

Tier A replays the decoder's logits of one batch of 64 points: the official `_process_batch` (upscaling, filters,
stability, boxes, run lengths) against the filter of predicted IoU and `score_masks`, with the same floors: one of
predicted IoU that lets all masks through or one in ten, and one of stability (the official 0.95; for the bundled model
the median of its masks). The logits are drawn (outlines that waver, with noise; 256×256 for an input of 1024 px, SAM's
sizes) or the bundled model's of a photograph (128×128 for 512 px).

Tier B, end to end, is `benchmarks.amg_end_to_end`; tier C, a large model on a GPU over many images, `benchmarks.amg_device`:
`python -m benchmarks.amg --tier C --device cuda --json F`.
"""

from __future__ import annotations

import argparse
import functools
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import skimage.data
import torch
from PIL import Image
from scipy import ndimage
from segment_anything import SamAutomaticMaskGenerator
from segment_anything.utils.amg import MaskData, area_from_rle, coco_encode_rle
from segment_anything.utils.transforms import ResizeLongestSide

from benchmarks.amg_device import tier_c
from benchmarks.amg_end_to_end import SIZES_HW as SIZES_B_HW
from benchmarks.amg_end_to_end import tier_b
from benchmarks.figures import Row, write_json
from benchmarks.measuring import commit, paired, processor
from workbench.config import ProposeConfig
from workbench.propose.grid import Crop, points
from workbench.propose.score import Scored, measure_low, score_masks
from workbench.sam.bundled import build_bundled
from workbench.sam.load import load_sam
from workbench.sam.predict import Predictor
from workbench.sam.segmenter import Embedding

SIZES_HW = [(1024, 1024), (1500, 2250)]
AIMS = {1.0: 10.0, 0.1: 30.0}  # by the share of masks above the floor of predicted IoU
OFFICIAL_STABILITY_FLOOR = 0.95
POINTS_PER_SIDE = 8
SAM_PX, SAM_LOW_PX = 1024, 256


@dataclass(frozen=True)
class Replay:
    """What the decoder said to one batch: (64, 3, h, w) logits and (64, 3) predicted IoU, all different; a floor."""

    name: str
    predictor: Predictor
    embedding: Embedding
    logits: torch.Tensor
    predicted_iou: torch.Tensor
    stability_floor: float


def drawn_logits(n: int, low_px: int, rng: np.random.Generator) -> np.ndarray:
    """Return (n, low_px, low_px) float32 logits of wavering outlines, steep at the rim and flat at ±12, with noise."""
    y, x = np.mgrid[:low_px, :low_px] / low_px
    logits = np.empty((n, low_px, low_px), np.float32)
    for one in logits:
        cx, cy = rng.uniform(0, 1, 2)
        turn, distance = np.arctan2(y - cy, x - cx), np.hypot(x - cx, y - cy)
        radius = np.exp(rng.uniform(np.log(0.02), np.log(0.4)))
        waves = sum(rng.normal(0, 0.1 / k) * np.cos(k * turn + rng.uniform(0, 7)) for k in range(2, 9))
        noise = ndimage.gaussian_filter(rng.normal(0, 6, one.shape), 3)
        one[:] = np.clip((radius * (1 + waves) - distance) * low_px * 2, -12, 12) + noise
    return logits


def drawn(size_hw: tuple[int, int]) -> Replay:
    """Return drawn logits as a SAM of the official sizes would give them."""
    model = build_bundled()
    model.image_encoder.img_size = SAM_PX  # all that enlarging asks of the model; its encoder is not run
    rng = np.random.default_rng(0)
    logits = torch.as_tensor(drawn_logits(3 * POINTS_PER_SIDE**2, SAM_LOW_PX, rng)).reshape(
        -1, 3, SAM_LOW_PX, SAM_LOW_PX
    )
    input_hw = ResizeLongestSide.get_preprocess_shape(*size_hw, SAM_PX)
    iou = torch.as_tensor(rng.permutation(logits.shape[0] * 3).reshape(-1, 3) / 1000 + 0.8).float()
    return Replay(
        "drawn", Predictor(model, "drawn"), Embedding(None, size_hw, input_hw), logits, iou, OFFICIAL_STABILITY_FLOOR
    )


def bundled(size_hw: tuple[int, int]) -> Replay:
    """Return the bundled model's logits of a photograph enlarged to this size."""
    predictor = load_sam("bundled")
    photograph = Image.fromarray(skimage.data.astronaut())  # type: ignore[no-untyped-call]
    embedding = predictor.embed(np.array(photograph.resize(size_hw[::-1])))
    grid = points(Crop((0, 0, size_hw[1], size_hw[0]), 0), ProposeConfig(points_per_side=POINTS_PER_SIDE))
    logits, iou = predictor.decode(embedding, grid[:, None], np.ones((len(grid), 1), np.int64))
    # the order is the model's; shares are of masks, so equal scores are told apart
    rank = iou.flatten().argsort().argsort().reshape(iou.shape)
    measured = measure_low(predictor, embedding, logits.flatten(0, 1), ProposeConfig().stability_offset)
    if measured is None:
        raise RuntimeError("masks are enlarged by torch here, so that there is nothing to compare: see the log")
    counts = measured.counts[measured.counts[:, 1] > 0]
    return Replay(
        "bundled", predictor, embedding, logits, rank / 1000 + 0.8, float(np.median(counts[:, 0] / counts[:, 2]))
    )


def official(replay: Replay, floor: float) -> MaskData:
    """Run the official generator's code from upscaling to run lengths."""
    size_hw = replay.embedding.size_hw
    generator = SamAutomaticMaskGenerator(
        replay.predictor.model, POINTS_PER_SIDE, pred_iou_thresh=floor, stability_score_thresh=replay.stability_floor
    )

    def predict(*_: object, **__: object) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        masks = replay.predictor.model.postprocess_masks(replay.logits, replay.embedding.input_hw, size_hw)
        return masks, replay.predicted_iou, replay.logits

    generator.predictor.predict_torch = predict
    grid = np.zeros((len(replay.logits), 2))
    with torch.no_grad():
        return generator._process_batch(grid, size_hw, [0, 0, size_hw[1], size_hw[0]], size_hw)


def ours(replay: Replay, floor: float) -> tuple[Scored, torch.Tensor]:
    """Do the same, as `propose` does; return the masks and their predicted IoU."""
    size_hw = replay.embedding.size_hw
    iou = replay.predicted_iou.flatten()
    above = torch.nonzero(iou > np.float32(floor).item()).flatten()
    config = ProposeConfig(stability_floor=replay.stability_floor)
    crop = Crop((0, 0, size_hw[1], size_hw[0]), 0)
    logits = replay.logits.flatten(0, 1)[above]
    scored = score_masks(replay.predictor, replay.embedding, logits, crop, size_hw, config)
    return scored, iou[above[torch.as_tensor(scored.index)]]


def differences(expected: MaskData, found: tuple[Scored, torch.Tensor]) -> int:
    """Return how many masks differ in run lengths, box, area, stability score or predicted IoU, or are missing.

    Empty masks, which the official code keeps at a stability floor of 0 and we never do, are left out.
    """
    scored, iou = found
    theirs = [
        (
            coco_encode_rle(run)["counts"].encode(),
            [box[0], box[1], box[2] + 1, box[3] + 1],
            area_from_rle(run),
            stability,
            score,
        )
        for run, box, stability, score in zip(
            expected["rles"],
            expected["boxes"].tolist(),
            expected["stability_score"].tolist(),
            expected["iou_preds"].tolist(),
            strict=True,
        )
        if area_from_rle(run)
    ]
    columns = scored.boxes_xyxy.tolist(), scored.area_px.tolist(), scored.stability_score.tolist(), iou.tolist()
    mine = list(zip(scored.rles, *columns, strict=True))
    return abs(len(theirs) - len(mine)) + sum(a != b for a, b in zip(theirs, mine, strict=False))


def tier_a(rounds: int) -> Iterator[Row]:
    """Yield the rows of tier A."""
    for size_hw in SIZES_HW:
        for replay in (drawn(size_hw), bundled(size_hw)):
            for share, aim in AIMS.items():
                count = replay.predicted_iou.numel()
                ranked = replay.predicted_iou.flatten().sort(descending=True).values
                floor = 0.5 if share == 1 else float(ranked[round(count * share)])
                name = f"A {replay.name} {size_hw[0]}×{size_hw[1]} {share:.0%} above the floor"
                expected, found = official(replay, floor), ours(replay, floor)
                yield Row(f"{name}: masks that differ", differences(expected, found), "masks", None, count, 0, "<=")
                yield Row(f"{name}: masks kept", len(found[0].index), "masks", None, count, None, ">=")
                del expected, found
                ways = functools.partial(official, replay, floor), functools.partial(ours, replay, floor)
                yield from paired(*ways, rounds).rows(name, aim)


def main() -> None:
    """Measure, print, and write the rows where `--json` says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="where to write the rows")
    parser.add_argument("--tier", choices=("A", "B", "C"), nargs="+", default=["A", "B"])
    parser.add_argument("--rounds", type=int, default=5, help="rounds of A B B A for each row")
    parser.add_argument(
        "--sizes",
        nargs="*",
        metavar="HxW",
        default=[f"{h}x{w}" for h, w in SIZES_B_HW],
        help="of tier B for the bundled model; none for ViT-B alone",
    )
    parser.add_argument("--points", type=int, default=32, help="side of the point grid in tier B")
    parser.add_argument("--vit-b-points", type=int, default=16, help="the same for ViT-B; 0 leaves it out")
    parser.add_argument("--device", default="cuda", help="of tier C: cuda, cuda:1, cpu")
    parser.add_argument("--vit", choices=("vit_b", "vit_l", "vit_h"), default="vit_h", help="the model of tier C")
    parser.add_argument("--images", type=int, default=32, help="of tier C")
    options = parser.parse_args()
    if "C" in options.tier and len(options.tier) > 1:
        parser.error("--tier C: expected alone: its figures are of another device than those of A and B")
    sizes = [(int(h), int(w)) for h, _, w in (size.partition("x") for size in options.sizes)]
    tiers = {
        "A": lambda: tier_a(options.rounds),
        "B": lambda: tier_b(options.rounds, sizes, options.vit_b_points, options.points),
        "C": lambda: tier_c(options.device, options.vit, options.images, options.points, options.rounds),
    }
    device = options.device if options.tier == ["C"] else "cpu"
    rows: list[Row] = []
    for row in itertools.chain.from_iterable(tiers[tier]() for tier in options.tier):
        print(f"{row.name}: {row.value:.4g} {row.unit}", flush=True)
        rows.append(row)
        if options.json is not None:  # what is measured stays when the rest is cut off
            write_json("amg", commit(), processor(device), rows, options.json)


if __name__ == "__main__":
    main()
