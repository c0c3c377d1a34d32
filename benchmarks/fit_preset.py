"""How the preset `bundled` was chosen, on scenes alone: `python -m benchmarks.fit_preset [--scenes 60] [--json F]`.

Scenes of seeds that were neither trained, nor chosen, nor measured on are proposed with the lowest floors; settings are
then read off by the rules in `choose`, which are written down here before any scene is seen. Prints what
`workbench.config` should say, which tells what was set by hand: the area limits among them, by what true masks of scenes are.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.bundled_sam import WRONG_IOU, Sample, covered, distinct, within_reach
from benchmarks.measuring import commit, processor
from workbench.config import preset
from workbench.loop.plan import fitting_floors
from workbench.masks import rle
from workbench.propose.run import propose
from workbench.sam.load import load_sam
from workbench.sam.questions import REACH_PX
from workbench.sam.scenes import draw_scene

FIRST_SCENE = 1_200_000_000
NMS = (0.5, 0.6, 0.7)
FLOORS = np.round(np.arange(0.2, 0.61, 0.05), 2)
GRIDS: dict[str, dict[str, int]] = {  # points a side of the image and of each of the four crops, where there are any
    "32": {"points_per_side": 32, "crop_n_layers": 0},
    "40": {"points_per_side": 40, "crop_n_layers": 0},
    "48": {"points_per_side": 48, "crop_n_layers": 0},
    "16, crops of 16": {"points_per_side": 16, "crop_n_layers": 1},
    "20, crops of 20": {"points_per_side": 20, "crop_n_layers": 1},
    "32, crops of 16": {"points_per_side": 32, "crop_n_layers": 1, "crop_points_downscale": 2},
}
PLAIN_GRID, MOST_TIME = "32", 2.0  # times that of the plain grid
THRESHOLDS = np.round(np.arange(0.5, 0.96, 0.01), 2)
LEAST_LABELS = 59  # the fewest with which an error of 5 % can be excluded at 95 %
ALLOWED_WRONG, WORTH_A_LOOK = 0.05, 0.25
# what a first cycle accepts is trained on, in a domain that scenes may not be like: half of what later cycles may let be wrong
ALLOWED_WRONG_AT_FIRST = ALLOWED_WRONG / 2
SEED_THRESHOLD = 0.88


@dataclass(frozen=True)
class Pool:
    """Distinct proposals of all scenes at one NMS threshold, and which true masks each floor still reaches."""

    score: np.ndarray
    jitter: np.ndarray
    right: np.ndarray
    reached: np.ndarray  # (floors, truth) bool: matched at 0.5

    @classmethod
    def of(cls, parts: list[tuple[np.ndarray, ...]]) -> Pool:
        """Put the columns of scenes together."""
        return cls(*(np.concatenate([part[k] for part in parts], axis=-1) for k in range(4)))


def gather(scenes: int) -> dict[float, Pool]:
    """Propose on scenes, and match with their truth at each NMS threshold and floor."""
    sam, chosen = load_sam("bundled", device="cpu"), preset("bundled")
    lowest = chosen.propose.replace(
        predicted_iou_floor=float(FLOORS[0]), features=False, pool="exact", nms_iou=max(NMS), crop_nms_iou=max(NMS)
    )
    found: dict[float, list[tuple[np.ndarray, ...]]] = {nms: [] for nms in NMS}
    for i in range(scenes):
        scene = draw_scene(FIRST_SCENE + i)
        truth, size = rle.encode(scene.masks), scene.image.shape[:2]
        rows = propose(scene.image, sam, lowest)
        for nms in NMS:
            at = lowest.replace(nms_iou=nms)
            best = distinct(rows, at, chosen.triage)
            right = covered(best.rles.tolist(), truth, size, WRONG_IOU)
            reached = [
                covered(
                    truth,
                    distinct(rows, at.replace(predicted_iou_floor=float(f)), chosen.triage).rles.tolist(),
                    size,
                    0.5,
                )
                for f in FLOORS
            ]
            found[nms].append((best.predicted_iou, best.jitter_stability, right, np.stack(reached)))
        print(f"{i + 1} of {scenes}: {scene.kind}, {len(rows)} rows, {len(truth)} true masks", flush=True)
    return {nms: Pool.of(parts) for nms, parts in found.items()}


def gather_refined(scenes: int) -> Pool:
    """Propose on scenes as cycles do, each distinct mask asked a second time, and match with their truth."""
    sam, triage = load_sam("bundled", device="cpu"), preset("bundled").triage
    floors, parts = fitting_floors(sam.model_id).replace(features=False), []
    for i in range(scenes):
        scene = draw_scene(FIRST_SCENE + i)
        truth, size = rle.encode(scene.masks), scene.image.shape[:2]
        rows = propose(scene.image, sam, floors)
        most = triage.max_area_share * size[0] * size[1]
        rows = rows.select((rows.area_px >= triage.min_area_px) & (rows.area_px <= most))
        masks = rows.rles.tolist()
        right, reached = covered(masks, truth, size, WRONG_IOU), covered(truth, masks, size, 0.5)
        parts.append((rows.predicted_iou, rows.jitter_stability, right, reached[None]))
        print(f"asked twice: {i + 1} of {scenes}, {len(rows)} rows", flush=True)
    return Pool.of(parts)


def grids(scenes: int) -> dict[str, dict[str, float]]:
    """Compare point grids: recall, what grid and area limits allow at most, and processor seconds a scene."""
    sam, chosen = load_sam("bundled", device="cpu"), preset("bundled")
    found: dict[str, list[np.ndarray]] = {name: [] for name in GRIDS}
    took_s = dict.fromkeys(GRIDS, 0.0)
    propose(draw_scene(FIRST_SCENE).image, sam, chosen.propose)  # compiles what there is to compile
    for i in range(scenes):
        scene = draw_scene(FIRST_SCENE + i)
        sample = Sample(scene.kind, scene.image, rle.encode(scene.masks))
        for name, values in GRIDS.items():
            at = chosen.propose.replace(crop_points_downscale=1, jitter_prompts=0, features=False, pool="exact")
            at = at.replace(**values)
            since = time.process_time()
            rows = propose(scene.image, sam, at)
            took_s[name] += time.process_time() - since
            best = distinct(rows, at, chosen.triage).rles.tolist()
            hits = [covered(sample.truth, best, sample.size_hw, iou) for iou in (0.5, WRONG_IOU)]
            found[name].append(np.stack([*hits, within_reach(sample, at, chosen.triage, REACH_PX)]))
        print(f"grids: {i + 1} of {scenes}", flush=True)
    means = {name: np.concatenate(parts, axis=1).mean(axis=1).round(4).tolist() for name, parts in found.items()}
    return {
        name: dict(zip(("recall_50", "recall_75", "ceiling"), means[name], strict=True)) | {"seconds": took_s[name] / scenes}
        for name in GRIDS
    }  # fmt: skip


def choose_grid(compared: dict[str, dict[str, float]]) -> str:
    """Return the grid of the highest recall at IoU 0.75 in at most `MOST_TIME` times the time of the plain one."""
    most = MOST_TIME * compared[PLAIN_GRID]["seconds"]
    return max((name for name in compared if compared[name]["seconds"] <= most), key=lambda n: compared[n]["recall_75"])


def choose(pools: dict[float, Pool]) -> dict[str, object]:
    """Read the settings off.

    nms_iou : of the highest recall at the lowest floor
    predicted_iou_floor : the highest that keeps 98 % of that recall
    predicted_iou : the lowest above which at most 5 % of at least 59 are wrong; the seed's 0.88 when there is none
        refined: of those asked a second time at the floors of cycles, at most 2.5 %; their jitter margin is not taken over
    predicted_iou_margin : down to where a quarter of what lies above is right, the floor at most
    jitter_stability, its margin : the 5 % and 1 % quantile of the right ones above the flagged threshold, 0 at least: below
        it a moved prompt finds something else altogether
    """
    nms = max(pools, key=lambda n: float(pools[n].reached[0].mean()))
    pool = pools[nms]
    recall = pool.reached.mean(axis=1)
    floor = float(FLOORS[recall >= 0.98 * recall[0]].max())
    return {
        "nms_iou": nms,
        "predicted_iou_floor": floor,
        **thresholds(pool, floor, ALLOWED_WRONG),
        "recall_50_by_floor": dict(zip(map(str, FLOORS), recall.round(4).tolist(), strict=True)),
    }


def thresholds(pool: Pool, floor: float, allowed: float) -> dict[str, object]:
    """Return the thresholds of distinct proposals above a floor, of which a share may be wrong; see `choose`."""
    above = [pool.right[pool.score > np.float32(t)] for t in THRESHOLDS]
    safe = [t for t, r in zip(THRESHOLDS, above, strict=True) if len(r) >= LEAST_LABELS and (~r).mean() <= allowed]
    accepted = float(min(safe)) if safe else SEED_THRESHOLD
    lows = np.round(np.arange(floor, accepted, 0.01), 2)
    useful = [t for t in lows if (r := pool.right[pool.score > np.float32(t)]).size and r.mean() >= WORTH_A_LOOK]
    flagged = float(min(useful)) if useful else accepted
    steady = pool.jitter[pool.right & (pool.score > flagged) & np.isfinite(pool.jitter)]
    low, lowest = np.maximum(np.quantile(steady, [0.05, 0.01]), 0) if len(steady) else (0.92, 0.85)
    return {
        "predicted_iou": accepted,
        "predicted_iou_is_safe_on_scenes": bool(safe),
        "predicted_iou_margin": round(accepted - flagged, 2),
        "jitter_stability": round(float(low), 2),
        "jitter_stability_margin": round(float(low - lowest), 2),
        "wrong_above": {f"{t:.2f}": [round(float((~r).mean()), 4), len(r)] for t, r in zip(THRESHOLDS, above, strict=True) if len(r)},
    }  # fmt: skip


def refined(scenes: int) -> dict[str, object]:
    """Return the thresholds of the first cycle."""
    floor = fitting_floors(load_sam("bundled", device="cpu").model_id).predicted_iou_floor
    return thresholds(gather_refined(scenes), floor, ALLOWED_WRONG_AT_FIRST)


def main() -> None:
    """Read the command line, propose, choose, print and write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fit_preset", description=__doc__)
    parser.add_argument("--scenes", type=int, default=60)
    parser.add_argument("--grid-scenes", type=int, default=20, help="scenes that grids are compared on")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    if given.scenes < 1 or given.grid_scenes < 1:
        parser.error(f"expected at least 1 scene of each, got {given.scenes} and {given.grid_scenes}")
    told = {
        "scenes": given.scenes, "commit": commit(), "device": processor(), "grids": (compared := grids(given.grid_scenes)),
        "grid": choose_grid(compared), **choose(gather(given.scenes)), "refined": refined(given.scenes),
    }  # fmt: skip
    print(json.dumps(told, indent=1))
    if given.json is not None:
        given.json.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
