"""How good a model is on held-out scenes: the figures that choose checkpoints."""

from __future__ import annotations

import functools

import numpy as np
import torch
from segment_anything.modeling import Sam

from workbench.calibrate.reliability import auroc
from workbench.sam.bundled import GRID, STRIDE_PX
from workbench.sam.lessons import collate
from workbench.sam.questions import Questions, object_at
from workbench.sam.scenes import VALIDATION_SEEDS, Scene, draw_scene
from workbench.sam.teaching import answer_batch, asked_for, normalised, true_iou


@functools.lru_cache(maxsize=256)
def held_out(number: int, size_px: int) -> Scene:
    """Return a scene that is never trained on."""
    return draw_scene(VALIDATION_SEEDS + number, size_px)


@torch.no_grad()
def check_on_scenes(sam: Sam, count: int, size_px: int) -> dict[str, float]:
    """Return recall and ranking of a grid of single points, one each 16 px, on held-out scenes.

    recall_50, recall_75 : share of true masks that a hypothesis of predicted IoU over 0.5 meets
    best_of_three : mean, over points that ask for an object, of the best hypothesis' IoU with it or a whole that holds it
    auroc : of predicted IoU for that IoU >= 0.75, over all hypotheses; 0.5 where all or none reach it
    high : share of right ones predicted over 0.88
    score : what checkpoints are chosen by
    """
    met50 = met75 = truths = 0
    best, scores, rights = [], [], []
    at = np.arange(STRIDE_PX // 2, size_px, STRIDE_PX)
    xy = np.stack(np.meshgrid(at, at), axis=-1).reshape(-1, 1, 2).astype(np.float32)
    shift = np.full((1, 2), (GRID - size_px // STRIDE_PX) // 2)
    for i in range(count):
        scene = held_out(i, size_px)
        if not len(scene):
            continue
        objects = object_at(scene, xy[:, 0].astype(int))
        targets = np.stack([objects, scene.parents[objects]], axis=1)
        asked = Questions(xy, np.ones(xy.shape[:2], np.float32), None, targets, objects >= 0)
        batch = collate([scene], [asked], shift).to(sam.pixel_mean.device)
        logits, predicted = answer_batch(sam, sam.image_encoder(normalised(sam, batch.images)), batch)
        overlap, predicted = true_iou(logits, batch.owners, batch.family)[0, :, 1:].cpu(), predicted[0, :, 1:].cpu()
        offered = torch.where((predicted > 0.5)[..., None], overlap, torch.zeros(())).amax(dim=(0, 1))
        met50 += int((offered >= 0.5).sum())
        met75 += int((offered >= 0.75).sum())
        truths += len(scene)
        reached = (overlap * asked_for(batch)[0, :, None].cpu()).amax(dim=2)
        best.append(reached.amax(dim=1)[torch.from_numpy(objects > 0)])
        scores.append(predicted.flatten())
        rights.append(reached.flatten() >= 0.75)
    score, right = torch.cat(scores), torch.cat(rights)
    ranking = auroc(score.numpy(), right.numpy()) if right.any() and not right.all() else 0.5  # nothing to tell apart
    figures = {
        "recall_50": met50 / truths, "recall_75": met75 / truths, "best_of_three": float(torch.cat(best).mean()),
        "auroc": ranking, "high": float((score[right] > 0.88).float().mean()) if right.any() else 0.0,
    }  # fmt: skip
    figures["score"] = (figures["recall_50"] + figures["recall_75"]) / 2 + 0.25 * figures["auroc"]
    return figures
