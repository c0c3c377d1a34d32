"""`wb.Annotator`: the annotator in a notebook cell, an anywidget around a `Session`."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anywidget
import traitlets

from workbench.sam.segmenter import expect_segmenter
from workbench.settings import did_you_mean
from workbench.widgets.session import Session

if TYPE_CHECKING:
    import pandas as pd

    from workbench.project import Project
    from workbench.review.config import ReviewConfig
    from workbench.review.queue import Queue

STATIC = Path(__file__).parent / "static"


class _Inbox(traitlets.Any):
    """What a page sends: every assignment is told, an equal one too, since a message sent again wants an answer again."""

    def set(self, obj: Any, value: Any) -> None:
        """Keep and tell the value."""
        before = obj._trait_values.get(self.name)
        obj._trait_values[self.name] = value
        obj._notify_trait(self.name, before, value)


class Annotator(anywidget.AnyWidget):
    """Review the masks of a project image by image: accept, reject, correct, draw what is missing.

    Keys for everything are shown on `?`. Every gesture is in the project's journal before it is acknowledged; closing the
    notebook, reloading the page or restarting the kernel loses none, and running the cell again goes on where it was.

    Parameters
    ----------
    project : as `Project.open` returns it
    annotator : name of the person who works here; recorded with each gesture
    queue : order of the images: flagged_first, order, uncertain, most_flagged; or a queue, as `project.queue` returns it
    sam : model that answers clicks; None for the bundled one where the project's masks come from it (or from none), False
        for no clicks
    labels : names that masks can be given, by the keys 1, 2, ...
    images : ids or paths of the images to work on; None for all; or a table with image_id and mask_id, such as
        `project.disagreements()`: these images are opened one after another, complete ones too, with the mask chosen
    review : settings of claims and dialogs, kept in the project as `project.review_config`; None leaves them as they are

    Raises
    ------
    TypeError : for an unknown keyword, with the nearest known one, or a project that is none
    ValueError : for a name or a label that is none, or an unknown order

    Traits
    ------
    view, picture, masks, live, acked, replies, fault go to the page; outbox and heard come from it.
    """

    _esm = STATIC / "annotator.js"

    view = traitlets.Dict(help="all but pixels of the open image").tag(sync=True)
    picture = traitlets.Bytes(help="PNG or JPEG of the open image").tag(sync=True)
    masks = traitlets.Bytes(help="run lengths of its masks, see packing.pack_masks").tag(sync=True)
    live = traitlets.Bytes(help="answer to the latest prompt, see packing.pack_live").tag(sync=True)
    acked = traitlets.Dict(help="page -> number of its last message that is safe").tag(sync=True)
    replies: Any = traitlets.List(help="answers to messages, kept until heard").tag(sync=True)
    fault = traitlets.Unicode(help="what is wrong on this side, in words; empty when all is well").tag(sync=True)
    outbox = _Inbox([], help="messages of pages, sent until acked").tag(sync=True, echo_update=False)
    heard = _Inbox({}, help="page -> number of the last reply it has read").tag(sync=True, echo_update=False)

    def __init__(
        self,
        project: Project,
        annotator: str = "a1",
        *,
        queue: str | Queue = "flagged_first",
        sam: Any = None,
        labels: Sequence[str] = (),
        images: Iterable[str] | pd.DataFrame | None = None,
        review: ReviewConfig | None = None,
        **unknown: Any,
    ) -> None:
        if unknown:
            raise TypeError(_unknown(unknown))
        if not hasattr(project, "record"):
            raise TypeError(f"Annotator: expected a project as Project.open returns it, got {type(project).__name__}")
        if review is not None:
            project.review_config = review
        super().__init__()
        self._session = Session(
            project,
            annotator,
            self._publish,
            queue=queue,
            sam=model_of(project, sam),
            labels=labels,
            images=images,
            later=_on_this_loop(),
        )
        self.observe(lambda change: self._session.receive(change["new"]), "outbox")
        self.observe(lambda change: self._session.heard(change["new"]), "heard")
        self._session.start()

    def __repr__(self) -> str:
        return f"<Annotator {self._session.annotator!r} of {self._session.project.name!r}>"

    def close(self) -> None:
        """Give the open image back and take the widget off the page; what was recorded stays."""
        if hasattr(self, "_session"):
            self._session.close()
        super().close()

    def _publish(self, traits: Mapping[str, Any]) -> None:
        with self.hold_sync():
            for name, value in traits.items():
                self.set_trait(name, value)


def model_of(project: Project, sam: Any, **settings: Any) -> Any:
    """Return the model that answers clicks, or a function that loads it on first use; None where there is none.

    Parameters
    ----------
    sam : a model; None for the one that made the project's masks where it was trained here or is the bundled one, and
        for the bundled one where there are no masks yet; False for none
    **settings : device and cache, as for `load_sam`, of a model that is loaded
    """
    if sam is False:
        return None
    if sam is not None:
        expect_segmenter(sam, "sam")
        return sam
    made_by = project.model_id
    if made_by is not None and made_by in project.models()["model_id"].tolist():
        return functools.partial(project.load_model, made_by, **settings)

    def load() -> Any:
        from workbench.sam.load import load_sam

        bundled = load_sam("bundled", **settings)
        return bundled if made_by in (None, bundled.model_id) else None

    return load if made_by is None or made_by.startswith("bundled-") else None


def _on_this_loop() -> Callable[[Callable[[], None]], None] | None:
    """Return a way from other threads to the event loop that widgets live on; None where there is no loop."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return None
    return lambda call: None if loop.is_closed() else _ignored(loop.call_soon_threadsafe(call))


def _ignored(_: object) -> None:
    return None


def _unknown(given: Mapping[str, Any]) -> str:
    known = [name for name, p in inspect.signature(Annotator.__init__).parameters.items() if p.kind != p.VAR_KEYWORD]
    name = next(iter(given))
    hint = did_you_mean(name, known[1:], f"it has {', '.join(known[1:])}")
    return f"Annotator has no argument {name!r}{hint}"
