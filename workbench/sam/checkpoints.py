"""Published SAM checkpoints: architectures by name, and reading their weights with errors that say what to do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file
from segment_anything import build_sam_vit_b, build_sam_vit_h, build_sam_vit_l
from segment_anything.modeling import Sam
from torch import Tensor

from workbench.sam.bundled import blocks_of, build_bundled, expect_described, read_card
from workbench.sam.tinyvit import build_mobile_sam

_OFFICIAL = "the README of facebookresearch/segment-anything on GitHub, section Model Checkpoints"
_MOBILE = "ChaoningZhang/MobileSAM on GitHub, folder weights"


class CheckpointError(ValueError):
    """A checkpoint that is missing, damaged or of another architecture; the message names file, expected and found."""


class Architecture(NamedTuple):
    """How a model is built for named tensors (only "bundled" looks at them), and what its published checkpoint is called."""

    build: Callable[[Mapping[str, Tensor]], Sam]
    file: str
    where: str


def _always(build: Callable[[], Sam]) -> Callable[[Mapping[str, Tensor]], Sam]:
    return lambda _: build()


ARCHITECTURES: dict[str, Architecture] = {
    "vit_b": Architecture(_always(build_sam_vit_b), "sam_vit_b_01ec64.pth (375 MB)", _OFFICIAL),
    "vit_l": Architecture(_always(build_sam_vit_l), "sam_vit_l_0b3195.pth (1.25 GB)", _OFFICIAL),
    "vit_h": Architecture(_always(build_sam_vit_h), "sam_vit_h_4b8939.pth (2.56 GB)", _OFFICIAL),
    "mobile_sam": Architecture(_always(build_mobile_sam), "mobile_sam.pt (41 MB)", _MOBILE),
    "bundled": Architecture(
        lambda tensors: build_bundled(blocks_of(tensors)), "a file written by workbench.sam.pretrain", "this package"
    ),
}


def load_checkpoint(name: str, path: str | Path) -> Sam:
    """Return the model `name` of `ARCHITECTURES` with the weights of a .pth, .pt or .safetensors file, in float32.

    Pickled code in a file is never run.

    Raises
    ------
    CheckpointError : no such file, not a checkpoint, truncated, or of another architecture
    """
    path = Path(path)
    tensors = read_tensors(path, name)
    if name == "bundled" and path.with_suffix(".json").is_file():
        _expect_as_on_card(path)
    with torch.device("meta"):  # nothing is drawn or allocated for weights that are replaced at once
        sam = ARCHITECTURES[name].build(tensors)
    _check_layout(name, path, sam.state_dict(), tensors)
    sam.load_state_dict(tensors, assign=True)
    return sam.float().eval()


def _expect_as_on_card(path: Path) -> None:
    try:
        expect_described(path.read_bytes(), path, read_card(path))
    except ValueError as error:
        raise CheckpointError(str(error)) from None


def read_tensors(path: Path, name: str) -> dict[str, Tensor]:
    """Return the named tensors of a checkpoint file.

    A dict around them ("model", "state_dict", "model_state_dict") and DataParallel's prefix "module." are taken off.

    Raises
    ------
    CheckpointError : no such file, or not a checkpoint; `name` says what was expected
    """
    if not path.is_file():
        kind = "a folder" if path.is_dir() else "no such file"
        raise CheckpointError(f"{path}: expected a checkpoint of {name}, found {kind}. {_advice(name)}")
    read = partial(load_file, path) if path.suffix == ".safetensors" else partial(_torch_load, path)
    try:
        loaded = read()
    except Exception as error:  # a stranger's file can make the readers raise anything
        raise CheckpointError(
            f"{path}: expected a checkpoint of {name}, found {_unreadable(path, error)}. {_advice(name)}"
        ) from None
    return _named_tensors(loaded, path, name)


def _torch_load(path: Path) -> Any:
    return torch.load(path, map_location="cpu", weights_only=True)


def _unreadable(path: Path, error: Exception) -> str:
    if type(error).__name__ != "UnpicklingError":  # named, not imported: nothing here unpickles
        return f"a truncated or damaged file of {path.stat().st_size:,} bytes ({_first_line(error)})"
    with path.open("rb") as file:
        head = file.read(24)
    if head[:2] in (b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"):
        return "a pickle that asks for code to be run, which is refused"
    return f"something else than a PyTorch file, beginning with {head!r}"


def _named_tensors(loaded: object, path: Path, name: str) -> dict[str, Tensor]:
    for key in ("model", "state_dict", "model_state_dict"):
        if isinstance(loaded, Mapping) and isinstance(loaded.get(key), Mapping):
            loaded = loaded[key]
    if not isinstance(loaded, Mapping) or not loaded or not all(isinstance(v, Tensor) for v in loaded.values()):
        came = f"a {type(loaded).__name__}"
        if isinstance(loaded, Mapping):
            came += f" with the keys {', '.join(map(repr, list(loaded)[:5]))}"
        raise CheckpointError(f"{path}: expected named tensors of {name}, found {came}. {_advice(name)}")
    return {str(key).removeprefix("module."): value for key, value in loaded.items()}


def _check_layout(name: str, path: Path, expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> None:
    """Raise CheckpointError unless names and shapes are the same."""
    wrong = [key for key in expected if key in found and found[key].shape != expected[key].shape]
    missing = [key for key in expected if key not in found]
    extra = [key for key in found if key not in expected]
    if not (wrong or missing or extra):
        return
    if wrong:
        key = wrong[0]
        first = f"{key} is {tuple(found[key].shape)} instead of {tuple(expected[key].shape)}"
    elif missing:
        first = f"{missing[0]} is missing"
    else:
        first = f"{extra[0]} is not part of {name}"
    looks = None if encoder_name(found) == name else looks_like(found)
    guess = f" This looks like {looks}." if looks else ""
    raise CheckpointError(
        f"{path}: expected the {len(expected)} tensors of {name}, found {len(found)}: {len(wrong)} of another shape, "
        f"{len(missing)} missing, {len(extra)} unknown; first, {first}.{guess} {_advice(name)}"
    )


def looks_like(tensors: Mapping[str, Tensor]) -> str | None:
    """Return what a checkpoint seems to be, judged by tell-tale tensors, with how to load it; None when unknown."""
    if "mask_decoder.hf_token.weight" in tensors:
        return 'SAM-HQ: save it with transformers and use load_sam("transformers", checkpoint=FOLDER)'
    if any(key.startswith("image_encoder.trunk.") for key in tensors):
        return 'SAM 2: save it with transformers and use load_sam("transformers", checkpoint=FOLDER)'
    if any(key.startswith(("vision_encoder.", "shared_image_embedding.")) for key in tensors):
        return 'a model of transformers: use load_sam("transformers", checkpoint=ITS_FOLDER)'
    name = encoder_name(tensors)
    return name and f'{name}: use load_sam("{name}", checkpoint=...)'


def encoder_name(tensors: Mapping[str, Tensor]) -> str | None:
    """Return the name in `ARCHITECTURES` that the image encoder's tell-tale tensor speaks for, or None."""
    if "image_encoder.patch_embed.seq.0.c.weight" in tensors:
        return "mobile_sam"
    if "image_encoder.stage4.0.first.weight" in tensors:
        return "bundled"
    position = tensors.get("image_encoder.pos_embed")
    width = 0 if position is None else position.shape[-1]
    return {768: "vit_b", 1024: "vit_l", 1280: "vit_h"}.get(width)


def _advice(name: str) -> str:
    architecture = ARCHITECTURES[name]
    return f"The published checkpoint of {name} is {architecture.file}: see {architecture.where}."


def _first_line(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return text[0][:200] if text else type(error).__name__
