"""Which image is open: taken from the queue, given back to it, found again by the token of a message."""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench.images import ImageError
from workbench.proposing import ChangedError
from workbench.store.runs import listed
from workbench.tables.events import Claim, Left
from workbench.widgets import asking
from workbench.widgets.board import Board

if TYPE_CHECKING:
    from workbench.project import Project
    from workbench.review.queue import Queue

MOST_LOST = 100  # images whose files are gone that are passed over before people are told


@dataclasses.dataclass
class Opened:
    """An image while it is open.

    token : names this opening in messages; claim : what it is held by; path : for people
    image : (H, W, 3) uint8; board : its masks as the journal has them
    """

    token: str
    claim: Claim
    path: str
    image: np.ndarray
    board: Board

    @property
    def image_id(self) -> str:
        """The image's id."""
        return self.claim.image_id

    @property
    def purpose(self) -> str:
        """What gestures on it are for: review, audit or second."""
        return self.claim.purpose

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width, px."""
        return self.image.shape[0], self.image.shape[1]


def make_token(claim: Claim) -> str:
    """Return a name for a new opening, from which the claim can be told when the session is a later one."""
    return f"{claim.image_id}:{claim.token}:{claim.kind or 'complete'}:{secrets.token_hex(4)}"


def claim_of(token: str, annotator: str) -> Claim | None:
    """Return the claim that a token of an earlier opening stands for; None when it is no token.

    Nothing is taken on trust: under a claim that is not the image's any more, events are stored as late ones.
    """
    parts = token.split(":")
    if len(parts) != 4 or not parts[1].isdecimal() or len(parts[1]) > 9:
        return None
    return Claim(parts[0], annotator, int(parts[1]), 0.0, parts[2])


def desk_of(project: Project, annotator: str, queue: Any, images: Any) -> Desk:
    """Return the desk of an annotator.

    Parameters
    ----------
    queue : strategy, or a queue
    images : ids or paths that a strategy is kept to; None for all; or a table with image_id and, where masks are meant,
        mask_id (as `project.disagreements()`): these images are opened one after another, complete ones too

    Raises
    ------
    ValueError : for images beside a queue, which has its own
    """
    if hasattr(images, "columns"):
        named = [str(name) for name in images["image_id"]]
        meant = [str(name) for name in images["mask_id"]] if "mask_id" in images.columns else [""] * len(named)
        walk: dict[str, list[str]] = {name: [] for name in named}
        for name, mask in zip(named, meant, strict=True):
            walk[name] += [mask] if mask else []
        return Desk(project, annotator, project.queue(queue) if isinstance(queue, str) else queue, walk)
    if not isinstance(queue, str):
        if images is not None:
            raise ValueError(
                "images: a queue has its own; give them as project.queue(..., images=...), or a strategy here"
            )
        return Desk(project, annotator, queue)
    return Desk(project, annotator, project.queue(queue, images=None if images is None else listed(images)))


class Desk:
    """Takes images for one annotator and remembers which came before, so that people can go back.

    Parameters
    ----------
    project, annotator, queue : whose work, by whom, and what hands it out
    walk : images to go through in place of those the queue would give, by id, with the masks that are meant there
    """

    def __init__(
        self, project: Project, annotator: str, queue: Queue, walk: Mapping[str, Sequence[str]] | None = None
    ) -> None:
        self.project, self.annotator, self.queue = project, annotator, queue
        self._walk = walk
        self.trail: list[str] = list(walk or ())  # ids of the images opened, in order
        self._kinds: dict[str, str] = {}  # what images of the trail were opened for
        self.place = -1  # in the trail
        self.opened: Opened | None = None
        self._lost = 0  # images that were passed over when one was asked for last
        self.window = secrets.token_hex(8)  # tells claims of this desk from those of the same annotator elsewhere

    def next(self, beside: bool = False, resume: bool = False) -> tuple[Opened | None, str]:
        """Open the next image of the queue, or of the trail after going back; return it and words for people.

        Parameters
        ----------
        beside : leave the image that is open as it is, and take another one
        resume : go on with the image that the annotator has open elsewhere, in a window that may be gone
        """
        if self._walk is not None:
            return self._further()
        if beside and self.place + 1 < len(self.trail):
            opened, words = self.named(self.trail[self.place + 1])
            if opened is not None:
                return opened, words
        lost: list[str] = []
        while len(lost) < MOST_LOST:
            passed = [*lost, *(self.trail if beside else [])]
            asked: dict[str, Any] = {"other_than": passed, "window": self.window, "resume": resume}
            claim = self.queue.claim(self.annotator, **asked)
            if claim is None:
                self.queue.refresh()  # images may have been proposed or triaged since
                claim = self.queue.claim(self.annotator, **asked)
            if claim is None:
                break
            opened, words = self._open(claim)
            if opened is not None:
                return opened, self._lost_words(lost)
            lost.append(claim.image_id)
        self._lost = len(lost)
        return None, self._lost_words(lost) or self.why_none(beside)

    def left(self) -> Left:
        """Return how many images the queue has for the annotator, by where they are; none for a walk."""
        return Left(0, 0, 0) if self._walk is not None else self.queue.left(self.annotator, window=self.window)

    def why_none(self, beside: bool = False) -> str:
        """Return in words why there is no image to open; `beside` the one that is open."""
        open_here = beside and self.opened is not None
        return asking.none_to_open(self.left(), self._lost, open_here, len(self.trail))

    def _further(self) -> tuple[Opened | None, str]:
        """Open the next image of the walk that can be had."""
        said = ""
        for place in range(self.place + 1, len(self.trail)):
            opened, said = self.named(self.trail[place])
            if opened is not None:
                return opened, ""
        return None, said or asking.LIST_DONE

    def to_look_at(self, image_id: str) -> list[str]:
        """Return the masks that are meant on an image of the walk."""
        return list((self._walk or {}).get(image_id, ()))

    def previous(self) -> tuple[Opened | None, str]:
        """Open the image that was open before this one."""
        if self.place < 1:
            return None, "there is no image before this one in this session"
        return self.named(self.trail[self.place - 1])

    def named(self, image: str) -> tuple[Opened | None, str]:
        """Open an image by id or path; None, with the reason in words, when it cannot be had."""
        claim = self.queue.claim(self.annotator, image, window=self.window)
        if claim is None:
            return None, "another annotator has this image now, or it is not to be annotated a second time"
        as_then = dataclasses.replace(claim, kind=self._kinds.get(claim.image_id, ""))
        if as_then.purpose != "review":  # gone back to after it was left: what was for an audit stays blind
            claim = as_then
        opened, words = self._open(claim)
        return opened, words

    def _open(self, claim: Claim) -> tuple[Opened | None, str]:
        path = self._path(claim.image_id)
        try:
            image = self.project.image(claim.image_id)
        except (ImageError, ChangedError) as error:
            self.queue.release(claim)
            return None, str(error)
        opened = Opened(make_token(claim), claim, path, image, self.board(claim))
        if self.opened is not None and self.opened.image_id != claim.image_id:
            self.queue.release(self.opened.claim)
        self.opened = opened
        self._kinds[claim.image_id] = claim.kind
        if claim.image_id in self.trail:
            self.place = self.trail.index(claim.image_id)
        else:
            self.trail.append(claim.image_id)
            self.place = len(self.trail) - 1
        return opened, ""

    def board(self, claim: Claim) -> Board:
        """Return the masks of an image as the journal has them now, as far as they are this annotator's to see."""
        purpose = claim.purpose
        if purpose == "audit":
            return Board(self.project.audit_review(claim.image_id, self.annotator), blind=True)
        if purpose == "second":
            return Board(self.project.image_review(claim.image_id, annotator=self.annotator))
        return Board(self.project.image_review(claim.image_id))

    def leave(self) -> None:
        """Give the open image back, so that others can have it."""
        if self.opened is not None:
            self.queue.release(self.opened.claim)
            self.opened = None

    def renew(self) -> None:
        """Let the claim on the open image hold for another while. Raises StoreError when it has gone to another."""
        if self.opened is not None:
            self.opened.claim = self.queue.renew(self.opened.claim)

    def take_back(self) -> str:
        """Take the open image back from another window of this annotator, which opened it or gave it back meanwhile.

        Returns where it was, window or back; "" when it is here, or has gone to another annotator.
        """
        held = self.opened
        if held is None:
            return ""
        found = self.queue.whereabouts(held.claim)
        if found not in ("window", "back"):
            return ""
        claim = self.queue.claim(self.annotator, held.image_id, window=self.window)
        if claim is None or claim.purpose != held.purpose:
            return ""  # somebody was faster: what is done under the old claim is told to be late
        held.claim = claim
        return found

    def _path(self, image_id: str) -> str:
        files = self.project._chosen([image_id], None)
        return files[0].path if files else image_id

    def _lost_words(self, lost: Sequence[str]) -> str:
        if not lost:
            return ""
        paths = ", ".join(self._path(image_id) for image_id in lost[:3])
        what = (
            "1 image was passed over, since its file is"
            if len(lost) == 1
            else f"{len(lost)} images were passed over, since their files are"
        )
        return f"{what} gone or changed: {paths}"
