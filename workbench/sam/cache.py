"""Embeddings kept for reuse in a folder of safetensors files."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import re
import zlib
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from workbench.outputs import whole
from workbench.sam.segmenter import Embedding

log = logging.getLogger(__name__)

_OURS = re.compile(r"[0-9a-f]{32}\.safetensors|\.[0-9a-f]{32}\.[0-9a-f]{8}\.tmp")  # files of a cache


class EmbeddingCache:
    """A folder of embeddings, one safetensors file each, for one image under one model.

    Parameters
    ----------
    folder : made when it is missing; may be shared by processes
    max_bytes : the files unused longest are deleted above it

    Files appear under their name only when whole. One that is damaged, or belongs to another key, counts as missing
    and is written again; a folder that cannot be written costs a warning, never the run.
    """

    def __init__(self, folder: str | Path, max_bytes: int = 10 * 2**30) -> None:
        if max_bytes <= 0:
            raise ValueError(f"EmbeddingCache.max_bytes: expected more than 0, got {max_bytes}")
        self.folder = Path(folder)
        self.max_bytes = max_bytes

    def path(self, image_id: str, model_id: str) -> Path:
        """Return where the embedding of an image under a model is, or would be, kept."""
        name = hashlib.sha256(json.dumps([image_id, model_id]).encode()).hexdigest()[:32]
        return self.folder / f"{name}.safetensors"

    def get(self, image_id: str, model_id: str, device: torch.device | str = "cpu") -> Embedding | None:
        """Return the kept embedding with its tensors on `device`, or None where there is none that is whole."""
        path = self.path(image_id, model_id)
        try:
            with safe_open(path, framework="pt") as file:
                about = json.loads(file.metadata()["embedding"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
            if about["key"] != [image_id, model_id] or about["crc32"] != _checksum(tensors):
                raise ValueError("its content does not match its checksum")
        except FileNotFoundError:
            return None
        except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
            log.warning("embedding file %s is ignored and will be written again: %s", path.name, error)
            return None
        with contextlib.suppress(OSError):  # the age of a file is the time since its last use
            os.utime(path)
        return _unpack(tensors, about, torch.device(device))

    def put(self, image_id: str, model_id: str, embedding: Embedding) -> None:
        """Keep `embedding`; its features are a tensor or a list of tensors."""
        tensors = _pack(embedding.features)
        about = {
            "key": [image_id, model_id],
            "single": isinstance(embedding.features, torch.Tensor),
            "size_hw": embedding.size_hw,
            "input_hw": embedding.input_hw,
            "crc32": _checksum(tensors),
        }
        data = save(tensors, metadata={"embedding": json.dumps(about)})
        if len(data) > self.max_bytes:
            return
        path = self.path(image_id, model_id)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with whole(path, durable=False) as draft:  # what is damaged is found by its checksum
                draft.write_bytes(data)
            self._evict(path)
        except OSError as error:
            log.warning("the embedding was not kept on disk in %s: %s", self.folder, error)

    def _evict(self, newest: Path) -> None:
        """Delete the files unused longest until the folder fits; leftovers of killed writers count as files."""
        files = []
        for path in self.folder.iterdir():
            if not _OURS.fullmatch(path.name):  # somebody's weights, a project's models
                continue
            with contextlib.suppress(FileNotFoundError):  # another process was faster
                stat = path.stat()
                files.append((path == newest, stat.st_mtime_ns, stat.st_size, path))
        excess = sum(size for _, _, size, _ in files) - self.max_bytes
        for _, _, size, path in sorted(files):
            if excess <= 0:
                return
            path.unlink(missing_ok=True)
            excess -= size


def _pack(features: Any) -> dict[str, torch.Tensor]:
    parts = [features] if isinstance(features, torch.Tensor) else features
    # zero-padded, so that the order of names is the order of parts
    return {f"{i:02d}": part.detach().cpu().contiguous() for i, part in enumerate(parts)}


def _unpack(tensors: dict[str, torch.Tensor], about: dict[str, Any], device: torch.device) -> Embedding:
    parts = [tensors[name].to(device) for name in sorted(tensors)]
    height, width = about["size_hw"]
    input_height, input_width = about["input_hw"]
    return Embedding(parts[0] if about["single"] else parts, (height, width), (input_height, input_width))


def _checksum(tensors: dict[str, torch.Tensor]) -> int:
    total = 0
    for name in sorted(tensors):
        total = zlib.crc32(tensors[name].reshape(-1).view(torch.uint8).numpy().data, total)
    return total
