"""The prompt stage: which prompts a scene is asked, what answer each deserves, and how far the decoder's answers are off.

Points are drawn half on objects and half anywhere (as a point grid falls); where a point lies on nothing, only its
predicted IoU is taught, with the IoU its masks happen to have. A point on a part inside a whole is taught both: for
each, the best of the three hypotheses is pulled towards it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from segment_anything.modeling import Sam
from torch import Tensor
from torch.nn import functional as F

from workbench.sam.bundled import STRIDE_PX
from workbench.sam.scenes import Scene, family_table

CELL_PX = 4
FOCAL_WEIGHT, DICE_WEIGHT = 1.0, 1.0


@dataclass(frozen=True)
class Questions:
    """P prompts of one scene, all with the same number of tokens, and what they ask for.

    points_xy : (P, K, 2) float32, pixels of the scene; labels : (P, K) float32, 1 inside, 0 outside; or None
    boxes_xyxy : (Q, 4) float32 or None; answers of boxes come after those of points
    targets : (P + Q, 2) int, object asked for and another that the point also lies on; 0 for none
    pointed : (P + Q,) bool, one single point: ambiguous
    box_points_xy, box_labels : (Q, K - 1, 2), (Q, K - 1), points that correct the answer to a box; or None
    earlier : (P + Q, 1, H, W) logits of the answer that is corrected; or None
    """

    points_xy: np.ndarray
    labels: np.ndarray
    boxes_xyxy: np.ndarray | None
    targets: np.ndarray
    pointed: np.ndarray
    box_points_xy: np.ndarray | None = None
    box_labels: np.ndarray | None = None
    earlier: Tensor | None = None


def draw_questions(scene: Scene, count: int, rng: np.random.Generator) -> Questions:
    """Return `count` prompts for a scene: single points and some boxes, or, for one scene in five, several points."""
    n = len(scene)
    if n and rng.random() < 0.2:
        return several_points(scene, count, rng)
    boxes = count // 5 if n else 0
    single = count - boxes
    size = scene.owner.shape[0]
    xy = rng.integers(0, size, (single, 2))
    flat = scene.owner.ravel()
    if n:
        objects = rng.integers(1, n + 1, single // 2)
        xy[: single // 2] = pixels_of(flat, size, objects, rng)
    leaf = scene.owner[xy[:, 1], xy[:, 0]].astype(np.int64)
    targets = np.stack([leaf, scene.parents[leaf]], axis=1)
    box_objects = rng.integers(1, n + 1, boxes) if n else np.zeros(0, np.int64)
    box_array = boxes_of(scene, box_objects, rng) if boxes else None
    targets = np.concatenate([targets, np.stack([box_objects, 0 * box_objects], axis=1)])
    return Questions(
        xy[:, None].astype(np.float32),
        np.ones((single, 1), np.float32),
        box_array,
        targets,
        np.arange(len(targets)) < single,
    )


def pixels_of(flat: np.ndarray, width: int, objects: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return (N, 2) a random pixel x, y of each object, as numbered in the flat owner map; any pixel if it has none."""
    order = np.argsort(flat, kind="stable")
    ends = np.cumsum(np.bincount(flat, minlength=int(objects.max(initial=0)) + 1))
    starts = np.concatenate([[0], ends[:-1]])
    low, high = starts[objects], ends[objects]
    at = order[np.minimum((low + rng.random(len(objects)) * np.maximum(high - low, 1)).astype(np.int64), len(flat) - 1)]
    return np.stack([at % width, at // width], axis=1)


def boxes_of(scene: Scene, objects: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return (N, 4) float32 boxes round the visible pixels of objects and their parts, each side off by a little."""
    family = family_table(scene.parents)
    boxes = np.zeros((len(objects), 4), np.float32)
    for i, k in enumerate(objects):
        mask = family[k][scene.owner]
        ys, xs = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        boxes[i] = xs[0], ys[0], xs[-1] + 1, ys[-1] + 1
    side = np.tile(boxes[:, 2:] - boxes[:, :2], 2)
    off = np.clip(rng.normal(0, 0.06, boxes.shape) * side, -16, 16)
    return np.clip(boxes + off, 0, scene.owner.shape[0]).astype(np.float32)


def several_points(scene: Scene, count: int, rng: np.random.Generator) -> Questions:
    """Return prompts of two to four points: the first on the object, the others on it or near it outside."""
    size, n = scene.owner.shape[0], len(scene)
    family = family_table(scene.parents)
    flat = scene.owner.ravel()
    objects = rng.integers(1, n + 1, count)
    number = int(rng.integers(2, 5))
    points = np.stack([pixels_of(flat, size, objects, rng) for _ in range(number)], axis=1)
    reach = np.sqrt(np.bincount(flat, minlength=n + 1)[objects])[:, None] * 0.8 + 4
    near = points[:, 1:] + rng.normal(0, 1, (count, number - 1, 2)) * reach[..., None]
    strays = rng.random((count, number - 1)) < 0.6
    points[:, 1:][strays] = np.clip(near, 0, size - 1).astype(np.int64)[strays]
    labels = family[objects[:, None], scene.owner[points[..., 1], points[..., 0]]]
    labels[:, 0] = True
    targets = np.stack([objects, 0 * objects], axis=1)
    return Questions(points.astype(np.float32), labels.astype(np.float32), None, targets, np.zeros(count, bool))


def answer(sam: Sam, embedding: Tensor, questions: Questions, window: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Return the decoder's logits (P, 4, H, W) at a quarter of the input's resolution and predicted IoUs (P, 4).

    Parameters
    ----------
    embedding : (1, C, h, w), of a scene that stands for a window of the model's input frame
    window : the window's first column and row, in embedding cells
    """
    encoder, device = sam.prompt_encoder, embedding.device
    h, w = embedding.shape[2:]
    shift = torch.tensor(window, dtype=torch.float32) * STRIDE_PX

    def placed(points_xy: np.ndarray, labels: np.ndarray) -> tuple[Tensor, Tensor]:
        return (torch.from_numpy(points_xy) + shift).to(device), torch.from_numpy(labels).to(device)

    sparse, _ = encoder(points=placed(questions.points_xy, questions.labels), boxes=None, masks=None)
    if questions.boxes_xyxy is not None:
        boxes = (torch.from_numpy(questions.boxes_xyxy) + torch.cat([shift, shift])).to(device)
        points = None
        if questions.box_points_xy is not None and questions.box_labels is not None:
            points = placed(questions.box_points_xy, questions.box_labels)
        sparse = torch.cat([sparse, encoder(points=points, boxes=boxes, masks=None)[0]])
    if questions.earlier is None:
        dense = encoder.no_mask_embed.weight.reshape(1, -1, 1, 1).expand(len(sparse), -1, h, w)
    else:
        dense = encoder.mask_downscaling(questions.earlier)
    place = encoder.get_dense_pe()[..., window[1] : window[1] + h, window[0] : window[0] + w]
    logits, predicted = sam.mask_decoder.predict_masks(embedding, place, sparse, dense)
    return logits, predicted


def truth_cells(scene: Scene, targets: np.ndarray) -> Tensor:
    """Return (P, 2, H/4, W/4) float: the share of each cell that each target covers."""
    family = family_table(scene.parents)
    # Every other pixel will do: four of a cell's sixteen, spread evenly.
    masks = torch.from_numpy(family[targets][:, :, np.ascontiguousarray(scene.owner[1::2, 1::2])])
    return F.avg_pool2d(masks.float(), CELL_PX // 2)


def mask_losses(logits: Tensor, truth: Tensor) -> Tensor:
    """Return (P, M, T): focal loss and dice loss of every logit mask against every target of its prompt.

    The focal sum is divided by the target's size instead of the frame's, or small objects would not count.

    Parameters
    ----------
    logits : (P, M, h, w)
    truth : (P, T, h, w) in [0, 1]
    """
    focal, dice = focal_and_dice(logits, truth)
    area = truth.flatten(2).sum(dim=2)[:, None]
    return FOCAL_WEIGHT * focal / (area + 100) + DICE_WEIGHT * dice


def focal_and_dice(logits: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """Return the sum over cells of the focal loss, and the dice loss, (P, M, T) each: of every mask, of every target.

    Targets are shares of cells, so the focal weight is how far a probability is off, to the square.

    Parameters
    ----------
    logits : (P, M, h, w)
    truth : (P, T, h, w) in [0, 1]

    Source: Lin et al. 2017, Focal loss; Milletari et al. 2016, V-Net.
    """
    z, t = logits.flatten(2), truth.flatten(2).transpose(1, 2)
    p, entropy = z.sigmoid(), F.softplus(z)  # the cross-entropy is softplus(z) − z t
    square = p.square()
    # Multiplied out, (p − t)² (softplus(z) − z t) is a polynomial in t, so that targets meet masks in matrix products.
    focal = (square * entropy).sum(dim=-1, keepdim=True) - torch.bmm(2 * p * entropy + square * z, t)
    focal = focal + torch.bmm(entropy + 2 * p * z, t.square()) - torch.bmm(z, t**3)
    dice = 1 - (2 * torch.bmm(p, t) + 1) / (square.sum(dim=-1, keepdim=True) + t.square().sum(dim=1)[:, None] + 1)
    return focal, dice


@torch.no_grad()
def true_iou(logits: Tensor, scene: Scene) -> Tensor:
    """Return (P, M, N) IoU of every mask, cut at 0 at half the input's resolution, with every true mask."""
    size = scene.owner.shape[0] // 2
    fine = F.interpolate(logits, (size, size), mode="bilinear", align_corners=False)
    predicted = (fine > 0).flatten(2).float()
    owner = torch.from_numpy(scene.owner[1::2, 1::2].astype(np.int64)).flatten()
    family = torch.from_numpy(family_table(scene.parents)[1:]).float()
    flat = predicted.reshape(-1, predicted.shape[-1])
    # Counted by innermost owner first: one sum over pixels for all objects, then wholes add up their parts.
    by_owner = flat.new_zeros(len(flat), family.shape[1]).index_add_(1, owner, flat)
    inter = by_owner @ family.T
    area = torch.bincount(owner, minlength=family.shape[1]).float() @ family.T
    union = flat.sum(dim=1, keepdim=True) + area - inter
    return (inter / union.clamp(min=1)).reshape(*predicted.shape[:2], -1)


def prompt_losses(
    logits: Tensor, predicted: Tensor, scene: Scene, questions: Questions
) -> tuple[Tensor, Tensor, float]:
    """Return (mask loss, IoU loss) of one scene's prompts, and the mean IoU of the best of three where there is a target."""
    targets = torch.from_numpy(questions.targets)
    asked = targets > 0
    overlap = true_iou(logits, scene)
    some = asked[:, 0]
    loss = logits.new_zeros(())
    best_iou = float("nan")
    if bool(some.any()):
        losses = mask_losses(logits[some], truth_cells(scene, questions.targets[some.numpy()]))
        best = losses[:, 1:].amin(dim=1) + 0.03 * losses[:, 1:].mean(dim=1)
        each = asked[some].float() * torch.tensor([1.0, 0.7])
        pointed = torch.from_numpy(questions.pointed)[some].float()
        loss = (best * each).sum() / some.sum() + (losses[:, 0, 0] * (1 - 0.7 * pointed)).mean()
        rows = torch.arange(len(targets))[some]
        best_iou = float(overlap[rows, 1:][torch.arange(len(rows)), :, targets[some, 0] - 1].amax(dim=1).mean())
    deserved = overlap.amax(dim=2) if overlap.shape[2] else torch.zeros_like(predicted)
    disambiguated = ~torch.from_numpy(questions.pointed) & some
    if bool(disambiguated.any()):
        rows = torch.arange(len(targets))[disambiguated]
        deserved[rows, 0] = overlap[rows, 0, targets[disambiguated, 0] - 1]
    return loss, F.mse_loss(predicted, deserved), best_iou
