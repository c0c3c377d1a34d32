"""The model that answers clicks and boxes on the review page: that of the project's masks, or one the server is given."""

from __future__ import annotations

import dataclasses
import functools
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from workbench.project import Project
    from workbench.widgets.prompting import Asked

_LOADED = 2  # models kept: when a cycle trains one, people still work with the one before
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
            return _loaded(self, None, None) if self.name else _loaded(self, project, project.model_id)

    def loader(self, project: Project) -> Callable[[], Asked | None] | None:
        """Return a function that gives the model and takes seconds; None where none is known."""
        from workbench.widgets.annotator import model_of

        if not self.name and model_of(project, None) is None:
            return None
        return functools.partial(self.load, project)


@functools.lru_cache(maxsize=_LOADED)
def _loaded(model: ClickModel, project: Project | None, model_id: str | None) -> Asked | None:
    """Load a model: the one that is named, or that of a project, whose latest run is by `model_id`."""
    from workbench.sam.cache import EmbeddingCache
    from workbench.sam.load import load_sam
    from workbench.widgets.annotator import model_of

    cache = EmbeddingCache(model.embedding_cache) if model.embedding_cache else None
    found: Any  # a `Predictor` names its prompts, which a protocol of positions cannot say
    if project is None:
        found = load_sam(model.name, checkpoint=model.checkpoint or None, device=model.device, cache=cache)
    else:
        load = model_of(project, None, device=model.device, cache=cache)
        found = load() if load is not None else None
    answering: Asked | None = found
    return answering
