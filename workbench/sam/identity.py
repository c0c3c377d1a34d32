"""Which model is it: the hash of architecture and weights, and the id that is stored with every run."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import torch
from torch import nn


def model_id(name: str, model: nn.Module) -> str:
    """Return `name` and the first 12 hex digits of `weights_hash`."""
    return f"{name}-{weights_hash(model)[:12]}"


def weights_hash(model: nn.Module) -> str:
    """Return the SHA-256 of architecture and weights, as 64 hex digits.

    It covers names, shapes, types and bytes of all parameters and buffers in the order of their names, and what no
    tensor shows: the classes of the modules and their plain settings (heads, windows, strides, eps).
    """
    digest = hashlib.sha256(json.dumps(_architecture(model), sort_keys=True).encode())
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype} ".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _architecture(model: nn.Module) -> dict[str, Any]:
    """Return what tells two models of equal tensors apart: the config of transformers, else settings by module."""
    config = getattr(model, "config", None)
    if config is not None and hasattr(config, "to_dict"):
        return {"class": type(model).__qualname__, "config": _without_provenance(config.to_dict())}
    return {
        name: [type(module).__qualname__, {k: v for k, v in vars(module).items() if _is_setting(k, v)}]
        for name, module in model.named_modules()
    }


def _is_setting(name: str, value: object) -> bool:
    if name.startswith("_") or name == "training":
        return False
    parts = value if isinstance(value, tuple) else (value,)
    return all(isinstance(part, (bool, int, float, str)) for part in parts)


def _without_provenance(config: Any) -> Any:
    """Leave out where a config came from: it changes from machine to machine while the model does not."""
    if not isinstance(config, dict):
        return config if isinstance(config, (bool, int, float, list, tuple)) else str(config)
    gone = ("_name_or_path", "transformers_version", "dtype", "torch_dtype", "architectures")
    return {str(key): _without_provenance(value) for key, value in config.items() if key not in gone}
