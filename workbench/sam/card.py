"""The card of weights that were trained here: what a run started from, what it did, and how good its best checkpoint is."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import torch

from workbench.sam.bundled import blocks_of, build_bundled, read_card, write_bundled
from workbench.sam.recipe import SEEDS_EACH, Recipe

BEST = "best.pt"
ARCHITECTURE = (
    "segment_anything Sam, 512 px input; convolutional encoder at strides 4, 8, 16, 32 (48, 96, 192, 256 channels; "
    "2, {stage8}, {stage16}, {stage32} blocks), embedding of 96 channels at stride 16; two-way transformer of depth 2, 2 heads, MLP 192; logits 128 x 128"
)
BAD_AT = (
    "photographs of everyday scenes (it knows drawn shapes and textures only); objects without a border of colour or "
    "texture; wholes of many unlike parts; things under 6 px of the 512 px frame; exact borders of thin parts; "
    "its predicted IoU is not calibrated on any real images"
)
NEXT = (
    "Train longer, best on a GPU: python -m workbench.sam.pretrain --out DIR --minutes 60 --init-from FILE --dense-share 0 "
    "--learning-rate 2e-3 --first-scene {unseen} --device cuda --processes 1 --windows 96 --prompts 32 --workers 14 (from the "
    "first scene that this run cannot have seen), then --export FILE; keep the result when recall and the share of wrong masks "
    "are better on the scenes of python -m benchmarks.fit_preset, which neither train nor measure. What masks say as prompts "
    "is trained last, with all else as it is: python -m workbench.sam.mask_prompts --weights FILE --out FILE."
)


def start_of(path: Path | None) -> dict[str, object] | None:
    """Return what is known of the weights that a run starts from, for its log and its card; None where there are none."""
    if path is None:
        return None
    try:
        card = read_card(path)
    except (OSError, ValueError):
        card = {}
    told: dict[str, object] = {
        name: card[name] for name in ("data", "steps", "hours", "hours_before", "starts", "lineage") if name in card
    }
    return {"file": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest(), **told}


def export(out: Path, target: Path) -> None:
    """Write the best checkpoint of a run as weights with a card that says what they are.

    Parameters
    ----------
    out : folder of the run, with best.pt, state.pt and curve.jsonl
    target : the safetensors file to write; its card goes beside it

    Raises
    ------
    FileNotFoundError : the folder holds no checkpoint
    """
    if not (out / BEST).is_file():
        raise FileNotFoundError(
            f"{out}: expected a run with a checkpoint, found no {BEST}; train first, to a check on held-out scenes"
        )
    kept = torch.load(out / BEST, weights_only=True, map_location="cpu")
    tensors, best = kept["weights"], kept["found"]
    rows = [json.loads(line) for line in (out / "curve.jsonl").read_text(encoding="utf-8").splitlines()]
    began = max(k for k, row in enumerate(rows) if "recipe" in row and row["step"] == 0)
    recipes = [row for row in rows[began:] if "recipe" in row]  # before that it was another run's folder
    recipe, start = Recipe(**recipes[-1]["recipe"]), recipes[0]["init_from"]
    data = "scenes drawn by workbench.sam.scenes; no photograph, no micrograph"
    if start is not None and start.get("data") != data:
        known = start.get("data", "there is no card that says it")
        data = f"scenes drawn by workbench.sam.scenes; what {start['file']} was trained on before: {known}"
    card = {
        "architecture": ARCHITECTURE.format(**blocks_of(tensors)),
        "parameters": sum(p.numel() for p in build_bundled(blocks_of(tensors)).parameters()),
        "recipe": recipes[-1]["recipe"],
        "starts": [{"step": row["step"], "init_from": row["init_from"]} for row in recipes],
        "seed": recipes[0]["recipe"]["seed"],
        "steps": best["step"],
        "hours": round(best["spent_s"] / 3600, 2),
        "figures": {
            "held_out_scenes": {
                **{k: v for k, v in best.items() if k not in ("step", "spent_s")},
                "scenes": recipe.checks,
            }
        },
        "data": data,
        "bad_at": BAD_AT,
        "next": NEXT.format(unseen=recipe.first_scene + SEEDS_EACH * recipe.processes),
    }
    write_bundled(tensors, card, target)
