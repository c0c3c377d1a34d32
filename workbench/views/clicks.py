"""The model that answers clicks and boxes on the review page: that of the project's masks, or one the server is given."""

from __future__ import annotations

import dataclasses
import functools
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.recent import Recent

if TYPE_CHECKING:
    from workbench.project import Project
    from workbench.widgets.prompting import Asked

# when a cycle trains a model, people still work with the one before; by the project's place, or a closed one would stay in memory
_LOADED = Recent[tuple["ClickModel", Path | None, str | None], "Asked | None"](2)
_ONE_AT_A_TIME = threading.Lock()


@dataclasses.dataclass(frozen=True)
class ClickModel:
    """What the server is told of the model.

    name : as `load_sam` knows it; "" for the model of the project's masks, where it is the bundled one or was trained here
    checkpoint : file of its weights; "" where it needs none; device : as `load_sam` knows it
    embedding_cache : folder in which embeddings are kept, that of `workbench propose --embedding-cache` for one; "" for none
    """

    name: str = ""
    checkpoint: str = ""
    device: str = "auto"
    embedding_cache: str = ""

    def load(self, project: Project) -> Asked | None:
        """Return the model, loaded once a process: all sessions share it, and the embeddings it has made lately.

        Raises
        ------
        CheckpointError : when its weights cannot be had
        ValueError : for a name or a device that is none
        """
        with _ONE_AT_A_TIME:
            key = (self, None, None) if self.name else (self, project.path, project.model_id)
            kept = _LOADED.get(key)
            return kept if kept is not None else _LOADED.put(key, self._loaded(project))

    def _loaded(self, project: Project) -> Asked | None:
        """Load the model that is named, or that of the project's latest run."""
        from workbench.sam.cache import EmbeddingCache
        from workbench.sam.load import load_sam
        from workbench.widgets.annotator import model_of

        cache = EmbeddingCache(self.embedding_cache) if self.embedding_cache else None
        if self.name:
            named: Any = load_sam(self.name, checkpoint=self.checkpoint or None, device=self.device, cache=cache)
            found: Asked = named  # a `Predictor` names its prompts, which a protocol of positions cannot say
            return found
        load = model_of(project, None, device=self.device, cache=cache)
        return load() if load is not None else None

    def loader(self, project: Project) -> Callable[[], Asked | None] | None:
        """Return a function that gives the model and takes seconds; None where none is known."""
        from workbench.widgets.annotator import model_of

        if not self.name and model_of(project, None) is None:
            return None
        return functools.partial(self.load, project)
