"""Models by name: `load_sam`, and where and how precisely they run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import torch
from segment_anything.modeling import Sam
from torch import nn

from workbench.sam.bundled import load_bundled
from workbench.sam.cache import EmbeddingCache
from workbench.sam.checkpoints import ARCHITECTURES, CheckpointError, encoder_name, load_checkpoint
from workbench.sam.identity import model_id, weights_hash
from workbench.sam.predict import Predictor, has_bfloat16
from workbench.settings import did_you_mean

if TYPE_CHECKING:
    from workbench.sam.hf import HFSegmenter

__all__ = ["CheckpointError", "load_sam", "model_id", "weights_hash"]

_ALIASES = {"vit_t": "mobile_sam"}
NAMES = (*ARCHITECTURES, *_ALIASES, "transformers")
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@overload
def load_sam(
    name: str = ...,
    checkpoint: str | Path | None = ...,
    device: str | torch.device = ...,
    dtype: str | torch.dtype = ...,
    cache: EmbeddingCache | None = ...,
    compiled: bool = ...,
) -> Predictor: ...


@overload
def load_sam(
    name: nn.Module,
    checkpoint: None = ...,
    device: str | torch.device = ...,
    dtype: str | torch.dtype = ...,
    cache: EmbeddingCache | None = ...,
    compiled: bool = ...,
) -> Any: ...


def load_sam(
    name: str | nn.Module = "bundled",
    checkpoint: str | Path | None = None,
    device: str | torch.device = "auto",
    dtype: str | torch.dtype = "auto",
    cache: EmbeddingCache | None = None,
    compiled: bool = False,
) -> Predictor | HFSegmenter:
    """Return a model that answers prompts; nothing is ever downloaded.

    Parameters
    ----------
    name : "bundled" (comes with the package), "vit_b", "vit_l", "vit_h", "mobile_sam" (or "vit_t"), "transformers",
        or a model: a `segment_anything` `Sam`, or SAM, SAM-HQ or SAM 2 of transformers, kept as it is in eval mode
    checkpoint : the published .pth or .pt file, or the same tensors as .safetensors; for "transformers" a folder
        written by `save_pretrained`; for "bundled" other weights than those of the package
    device : "auto" (cuda, else mps, else cpu; a model handed in stays where it is), or a device of torch
    dtype : precision of the image encoder: "float32", "bfloat16", "float16" or "auto" (bfloat16 on CUDA where the
        device has it, else float16 there; float32 elsewhere); on CUDA a published encoder is kept a second time in
        it, and with bfloat16 the masks of point grids and of moved prompts are computed in it, too; predicted IoUs, clicks and all the rest are float32
    cache : a folder in which embeddings are kept between runs
    compiled : send the image encoder of a `Sam` through `torch.compile`: the first image takes a minute longer, and
        embeddings differ by rounding; tried at once on an empty image, so that a missing compiler is known here

    Returns
    -------
    a Predictor whose `.model` is the `Sam`; an HFSegmenter for models of transformers

    Raises
    ------
    CheckpointError (a ValueError) : the file is missing, damaged or of another architecture, or none was given
    ValueError : unknown name, device or dtype
    ImportError : a model of transformers without the extra `transformers`
    RuntimeError : `compiled`, and torch.compile fails here
    """
    if isinstance(name, nn.Module):
        if checkpoint is not None:
            raise ValueError(
                f"load_sam: a model brings its own weights; got a model and checkpoint={str(checkpoint)!r}"
            )
        here = next(name.parameters()).device if device == "auto" else resolve_device(device)
        return _wrap(name, here, resolve_dtype(dtype, here), cache, compiled)
    chosen = known_name(name)
    where = resolve_device(device)
    precision = resolve_dtype(dtype, where)
    if chosen == "transformers":
        from workbench.sam.hf import HFSegmenter

        _refuse_compiled(compiled)
        if checkpoint is None:
            raise CheckpointError('load_sam("transformers"): give checkpoint=, a folder written by save_pretrained')
        return HFSegmenter.from_folder(checkpoint, where, precision, cache)
    if checkpoint is not None:
        sam = load_checkpoint(chosen, checkpoint)
    elif chosen == "bundled":
        sam = load_bundled()
    else:
        wanted = ARCHITECTURES[chosen]
        raise CheckpointError(
            f"load_sam({name!r}): expected checkpoint=, the path of {wanted.file}; nothing is downloaded. "
            f'It is published by {wanted.where}. load_sam("bundled") needs no file.'
        )
    return _predictor(sam, chosen, where, precision, cache, compiled)


def _predictor(
    sam: Sam, name: str, device: torch.device, dtype: torch.dtype, cache: EmbeddingCache | None, compiled: bool
) -> Predictor:
    predictor = Predictor(sam, model_id(name, sam), device, dtype, cache, compiled)
    if compiled:
        predictor.embed(np.zeros((1, 1, 3), np.uint8))
    return predictor


def _refuse_compiled(compiled: bool) -> None:
    if compiled:
        raise ValueError("load_sam: compiled=True is for models of segment_anything, got one of transformers")


def _wrap(
    model: nn.Module, device: torch.device, dtype: torch.dtype, cache: EmbeddingCache | None, compiled: bool
) -> Predictor | HFSegmenter:
    if isinstance(model, Sam):
        return _predictor(model, _name_of(model), device, dtype, cache, compiled)
    if type(model).__module__.startswith("transformers."):
        _refuse_compiled(compiled)
        from workbench.sam.hf import HFSegmenter

        return HFSegmenter(model, device, dtype, cache)
    raise ValueError(
        f"load_sam: expected a name ({', '.join(NAMES)}), a segment_anything Sam or a SAM of transformers, "
        f"got {type(model).__module__}.{type(model).__qualname__}"
    )


def known_name(name: str) -> str:
    """Return what a name of a model stands for. Raises ValueError for an unknown one, with the nearest."""
    if name in NAMES:
        return _ALIASES.get(name, name)
    hint = did_you_mean(str(name).lower().replace("-", "_"), NAMES)
    raise ValueError(f"load_sam: expected one of {', '.join(NAMES)}, got {name!r}{hint}")


def _name_of(sam: Sam) -> str:
    """Return the name of the published architecture with the same tensors, or "sam"."""
    tensors = sam.state_dict()
    name = encoder_name(tensors)
    if name is None:
        return "sam"
    with torch.device("meta"):
        known = ARCHITECTURES[name].build(tensors).state_dict()
    same = {key: t.shape for key, t in tensors.items()} == {key: t.shape for key, t in known.items()}
    return name if same else "sam"


def resolve_device(device: str | torch.device) -> torch.device:
    """Return the device meant, "auto" being cuda, else mps, else cpu.

    Raises
    ------
    ValueError : it is not one of torch's, or not there
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "mps" if _has_mps() else "cpu")
    try:
        found = torch.device(device)
    except RuntimeError:
        raise ValueError(f'device: expected "auto", "cpu", "cuda", "cuda:1" or "mps", got {device!r}') from None
    there = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(_has_mps())}
    if (found.index or 0) >= there.get(found.type, 0):
        present = [f"{kind}:{i}" if kind == "cuda" else kind for kind, n in there.items() for i in range(n)]
        raise ValueError(
            f"device: {str(found)!r} is not there; this machine has {', '.join(present)}: take one of these, or auto"
        )
    return found


def _has_mps() -> bool:
    return torch.backends.mps.is_available()


def resolve_dtype(dtype: str | torch.dtype, device: torch.device) -> torch.dtype:
    """Return the precision meant for the image encoder on `device`. Raises ValueError for another than the three."""
    if dtype == "auto":
        if device.type != "cuda":
            return torch.float32
        return torch.bfloat16 if has_bfloat16(device) else torch.float16
    found = _DTYPES.get(dtype) if isinstance(dtype, str) else dtype
    if found is None or found not in _DTYPES.values():
        raise ValueError(f'dtype: expected "auto", {", ".join(map(repr, _DTYPES))}, got {dtype!r}')
    return found
