"""SAM prompts of the annotator, answered on a thread of their own from the embedding of the image that is open.

The embedding is computed as soon as an image opens, so that the first click finds it ready. Of prompts that wait, only
the latest is answered: the mask under a moving pointer is the one people look at.
"""

from __future__ import annotations

import dataclasses
import logging
import threading
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from workbench.masks import rle

log = logging.getLogger(__name__)


class Asked(Protocol):
    """What the annotator asks of a model: a `Predictor`, or any other segmenter of the workbench."""

    @property
    def model_id(self) -> str:
        """Name and hash of architecture and weights."""

    @property
    def mask_threshold(self) -> float:
        """Logit above which a pixel belongs to the mask."""

    def embed(self, image: np.ndarray) -> Any:
        """Return the embedding of an (H, W, 3) uint8 image."""

    def decode(self, embedding: Any, *prompts: Any, multimask: bool = True) -> Any:
        """Return low-resolution logits (1, M, h, w) and predicted IoU (1, M) of one prompt."""

    def upscale(self, logits: Any, embedding: Any) -> Any:
        """Return logits at the size of the image."""


class Prompt(NamedTuple):
    """One question. points : clicks (x, y, 1 inside or 0 outside), px; box : xyxy px or None."""

    token: str
    prompt_id: str | int
    points: Sequence[tuple[float, float, int]]
    box: Sequence[float] | None


class Answer(NamedTuple):
    """What came of it: a mask of the image, or the reason in words why there is none."""

    prompt: Prompt
    counts: bytes | None
    predicted_iou: float | None
    area_px: int
    error: str = ""


@dataclasses.dataclass
class _Opened:
    token: str
    image: np.ndarray
    embedding: Any = None
    error: str = ""


class Prompter:
    """Answers prompts one after the other; `open` an image first.

    Parameters
    ----------
    load : returns the model, or None where there is none; called once, on the thread
    answered : is told each answer, on the thread
    why_none : words for people when there is no model
    """

    def __init__(
        self, load: Callable[[], Asked | None], answered: Callable[[Answer], None], why_none: str = "no model"
    ) -> None:
        self._load, self._answered, self._why_none = load, answered, why_none
        self._wake = threading.Condition()
        self._opened: _Opened | None = None
        self._prompt: Prompt | None = None
        self._closed = False
        self._sam: Asked | None = None
        self._loaded = False
        self._thread: threading.Thread | None = None

    @property
    def model_id(self) -> str:
        """The model that answers; "" before it is loaded, or where there is none."""
        return self._sam.model_id if self._sam is not None else ""

    def open(self, token: str, image: np.ndarray) -> None:
        """Take the image that prompts are about from now on; its embedding is computed meanwhile, once for a token."""
        with self._wake:
            if self._opened is not None and self._opened.token == token:
                return
            self._opened, self._prompt = _Opened(token, image), None
            if self._thread is None and not self._closed:
                self._thread = threading.Thread(target=self._work, name="workbench prompts", daemon=True)
                self._thread.start()
            self._wake.notify()

    def ask(self, prompt: Prompt) -> None:
        """Put a question in the place of one that still waits."""
        with self._wake:
            self._prompt = prompt
            self._wake.notify()

    def close(self) -> None:
        """End the thread after what it is doing."""
        with self._wake:
            self._closed = True
            self._wake.notify()

    def _work(self) -> None:
        while True:
            with self._wake:
                while not self._closed and not self._has_work():
                    self._wake.wait()
                if self._closed:
                    return
                opened, prompt = self._opened, self._prompt
                assert opened is not None
                if opened.embedding is not None or opened.error:
                    self._prompt = None
            if opened.embedding is None and not opened.error:
                self._embed(opened)
            elif prompt is not None and prompt.token == opened.token:
                try:
                    self._answered(self._answer(opened, prompt))
                except Exception:  # whoever listens has gone; the next prompt finds the thread alive
                    log.exception("an answer of the model could not be handed over")

    def _has_work(self) -> bool:
        opened = self._opened
        return opened is not None and (self._prompt is not None or (opened.embedding is None and not opened.error))

    def _embed(self, opened: _Opened) -> None:
        try:
            if not self._loaded:
                self._sam, self._loaded = self._load(), True
            if self._sam is None:
                opened.error = self._why_none
            else:
                opened.embedding = self._sam.embed(opened.image)
        except Exception as error:  # whatever a model does, people can still draw by hand
            log.exception("the embedding of an image could not be computed")
            opened.error = f"the model could not look at this image ({type(error).__name__}: {error})"

    def _answer(self, opened: _Opened, prompt: Prompt) -> Answer:
        if opened.error:
            return Answer(prompt, None, None, 0, opened.error)
        assert self._sam is not None
        try:
            return answer(self._sam, opened.embedding, prompt)
        except Exception as error:
            log.exception("a prompt could not be answered")
            words = f"the model could not answer ({type(error).__name__}: {error}); draw by polygon or brush"
            return Answer(prompt, None, None, 0, words)


def answer(sam: Asked, embedding: Any, prompt: Prompt) -> Answer:
    """Answer one prompt by the hypothesis with the highest predicted IoU; only that one is brought to full size."""
    points = labels = box = None
    if prompt.points:
        rows = np.asarray(prompt.points, np.float64)
        points, labels = rows[None, :, :2], rows[None, :, 2].astype(np.int64)
    if prompt.box is not None:
        box = np.asarray(prompt.box, np.float64)[None]
    if points is None and box is None:
        return Answer(prompt, None, None, 0, "click into the image, or draw a box")
    logits, predicted = sam.decode(embedding, points, labels, box)
    best = int(predicted[0].argmax())
    mask = (sam.upscale(logits[:, best : best + 1], embedding)[0, 0] > sam.mask_threshold).cpu().numpy()
    counts = rle.encode(mask[None])[0]
    area = int(mask.sum())
    score = float(predicted[0, best])
    if area == 0:
        return Answer(prompt, None, score, 0, "the model sees nothing here; click elsewhere, or draw")
    return Answer(prompt, counts, score if np.isfinite(score) else None, area)
