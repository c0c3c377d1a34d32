"""Session: the annotator's side that keeps its word. Messages in, gestures into the journal, replies and images out.

Free of any user interface: what a page is to see goes through `publish`, as values of the traits that the protocol
names; what a page says comes in through `receive`. The widget of notebooks and the component of Panel are thin shells
around it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from workbench.store.errors import StoreError
from workbench.tables.events import Claim, EventError, ReviewEvent, check_label, check_name
from workbench.widgets import asking, packing
from workbench.widgets.board import REASON_WORDS, Board
from workbench.widgets.labels import checked_labels, with_keys
from workbench.widgets.messages import MAX_OUTBOX, UNRECORDED, Message, MessageError, address, parse
from workbench.widgets.opening import Opened, claim_of, desk_of
from workbench.widgets.prompting import Answer, Asked, Prompt, Prompter
from workbench.widgets.replies import Replies

if TYPE_CHECKING:
    from workbench.project import Project

log = logging.getLogger(__name__)

Publish = Callable[[Mapping[str, Any]], None]
Later = Callable[[Callable[[], None]], None]


class Session:
    """One annotator at work on a project.

    Parameters
    ----------
    project : images, masks and journal
    annotator : who works here; decided by the caller, never by the page
    publish : is given traits by name (view, picture, masks, live, acked, replies, fault) whenever they change
    queue : strategy of the order of images (see `project.queue`), or a queue
    sam : a model as `load_sam` returns it, a function that loads one, or None for a session without prompts
    labels : names that can be given to masks by key
    images : ids or paths to work on; None for all; a table with image_id (and mask_id) to look at again, see `desk_of`
    later : runs a function on the thread that `publish` belongs to; by default at once, on whichever thread
    """

    def __init__(
        self,
        project: Project,
        annotator: str,
        publish: Publish,
        *,
        queue: Any = "flagged_first",
        sam: Asked | Callable[[], Asked | None] | None = None,
        labels: Sequence[str] = (),
        images: Any = None,
        later: Later | None = None,
    ) -> None:
        self.project, self.annotator = project, check_name(annotator)
        self._publish, self._later = publish, later or (lambda call: call())
        self.labels = checked_labels(labels)
        project.add_annotator(self.annotator)
        self.desk = desk_of(project, self.annotator, queue, images)
        self._prompter = Prompter(_loader(sam), self._answered, asking.NO_MODEL)
        self._lock = threading.RLock()  # JupyterLab hands messages over on a thread of their own
        self._replies = Replies()
        self._fault = ""
        self._progress: dict[str, int] = {}

    # ---- the page's side ------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Open the image that the annotator was at, or the next one, and show it."""
        with self._lock:
            self._show(*self.desk.next(resume=True))

    def close(self) -> None:
        """Give the open image back and end the thread of the prompts; what was recorded stays."""
        self._prompter.close()
        with self._lock:
            self.desk.leave()

    def receive(self, outbox: object) -> None:
        """Handle what a page has sent: new messages in their order, once each. Never raises for what they hold."""
        with self._lock:
            try:
                self._tell_fault(self._receive(outbox))
            except StoreError as error:
                log.warning("gestures could not be stored: %s", error)
                self._tell_fault(f"{error}. Gestures are kept in this page and sent again.")

    def heard(self, numbers: object) -> None:
        """Take note of the replies that pages have read, so that they need not be kept."""
        if not isinstance(numbers, Mapping):
            return
        with self._lock:
            self._replies.heard(numbers)

    # ---- messages -------------------------------------------------------------------------------------------------

    def _receive(self, outbox: object) -> str:
        """Return what could not even be answered, in words. Raises StoreError when messages have to be sent again."""
        if not isinstance(outbox, list | tuple) or len(outbox) > MAX_OUTBOX:
            return f"a message of the page could not be read: expected a list of at most {MAX_OUTBOX:,} messages"
        known, unread = dict(self._replies.acked), ""
        try:
            for raw in outbox:
                try:
                    client, seq = address(raw)
                except MessageError as error:
                    unread = f"a message of the page was refused: {error}"
                    continue
                if seq > self._replies.acked.get(client, 0):
                    self._replies.answer(client, seq, self._reply(raw))
        finally:
            if self._replies.acked != known:
                told = [dict(reply) for reply in self._replies.waiting]
                self._publish({"acked": dict(self._replies.acked), "replies": told})
        return unread

    def _reply(self, raw: object) -> dict[str, Any] | None:
        """Return the answer to one message. Raises StoreError when it has to be sent again."""
        try:
            message = parse(raw)
            return self._handle(message)
        except (MessageError, EventError) as error:
            return {"ok": False, "error": str(error)}
        except StoreError as error:
            client, seq = address(raw)
            assert isinstance(raw, Mapping)
            if raw.get("kind") in UNRECORDED:  # nothing is lost: people ask again
                return {"ok": False, "error": str(error)}
            if self._replies.acked.get(client, 0) >= seq:  # it is in the journal; only its effect could not be read
                return {"ok": True, "gesture": raw.get("gesture_id"), "message": f"recorded, but not shown: {error}"}
            raise
        except Exception as error:
            log.exception("a message of the page could not be handled")
            return {"ok": False, "error": f"this could not be done ({type(error).__name__}: {error})"}

    def _handle(self, message: Message) -> dict[str, Any] | None:
        opened = self.desk.opened
        current = opened if opened is not None and opened.token == message.token else None
        moved = self.desk.take_back() if current and message.kind != "open" else ""
        reply = self._answer(message, current)
        return {"ok": True, "message": asking.MOVED[moved], **(reply or {})} if moved else reply

    def _answer(self, message: Message, current: Opened | None) -> dict[str, Any] | None:
        if message.kind in UNRECORDED:
            told: dict[str, Any] | None = getattr(self, f"_{message.kind}")(message, current)
            return told
        claim = current.claim if current else self._earlier(message)
        if current and message.kind == "complete" and self._shown_anew(current, self.desk.board(claim)):
            return {"ok": False, "gesture": message.gesture_id, "error": asking.ANEW}
        if current and message.kind == "complete" and not message.fields["confirmed"]:
            dialog = self._coverage(current, message)
            if dialog:
                return {"ok": True, "gesture": message.gesture_id, "dialog": dialog}
        recorded = self.project.record([self._event(message, claim, current)], claim)[0]
        self._safe(message)
        if recorded.stale:
            return {"ok": False, "gesture": message.gesture_id, "error": asking.STALE}
        return self._recorded(message, claim, current, recorded.mask_id)

    def _safe(self, message: Message) -> None:
        """Tell the page that a gesture is in the journal; what that changes follows with the reply."""
        self._replies.acked[message.client] = message.seq
        self._publish({"acked": dict(self._replies.acked)})

    def _earlier(self, message: Message) -> Claim:
        """Return the claim that a message of another opening came under: before a restart, or in another window."""
        claim = claim_of(message.token, self.annotator)
        if claim is None:
            raise MessageError("token: expected the one of an opened image; open the image again")
        opened = self.desk.opened
        if opened is not None and opened.image_id == claim.image_id and opened.claim.token == claim.token:
            return opened.claim
        return claim

    def _event(self, message: Message, claim: Claim, current: Opened | None) -> ReviewEvent:
        payload, mask = self._payload(message, claim)
        shown = current.board.review if current else None  # what the person saw, whatever was triaged since
        kind = {"accept_all": "verdict", "redo": "undo"}.get(message.kind, message.kind)
        return ReviewEvent(
            gesture_id=message.gesture_id,
            image_id=claim.image_id,
            kind=kind,
            mask_id=mask,
            payload=payload,
            annotator=self.annotator,
            phase=message.phase,
            elapsed_ms=message.elapsed_ms,
            run_id=shown.run_id if shown else None,
            triage_id=shown.triage_id if shown else None,
            purpose=claim.purpose,
        )

    def _payload(self, message: Message, claim: Claim) -> tuple[dict[str, Any], str]:
        fields, kind = message.fields, message.kind
        if kind == "verdict":
            return {"verdict": fields["verdict"]}, fields["mask"]
        if kind == "accept_all":
            return {"verdict": "accept", "masks": list(fields["masks"])}, ""
        if kind in ("draw", "edit"):
            size = self._size_of(claim)
            drawn = {"rle": asking.checked_rle(fields["rle"], size), "size_hw": list(size)}
            model = {"model_id": self._prompter.model_id} if _of_model(fields["prompts"]) else {}
            more = {"replaces": fields["replaces"]} if kind == "draw" and fields["replaces"] else {}
            kept = {"tool": fields["tool"], "prompts": fields["prompts"], "label": check_label(fields["label"])}
            return {**drawn, **kept, **model, **more}, fields["mask"] if kind == "edit" else ""
        if kind == "label":
            return {"label": fields["label"]}, fields["mask"]
        if kind == "redo":
            return {"gesture": asking.undo_of(self.project, claim.image_id, fields["gesture"])}, ""
        return {name: value for name, value in fields.items() if value is not None and name != "confirmed"}, ""

    def _size_of(self, claim: Claim) -> tuple[int, int]:
        opened = self.desk.opened
        if opened is not None and opened.image_id == claim.image_id:
            return opened.size_hw
        image = self.project.image(claim.image_id)
        return image.shape[0], image.shape[1]

    def _recorded(self, message: Message, claim: Claim, current: Opened | None, made: str) -> dict[str, Any]:
        reply: dict[str, Any] = {"ok": True, "gesture": message.gesture_id}
        opened = self.desk.opened
        if message.kind == "answer" or opened is None or opened.image_id != claim.image_id:
            return reply
        before, after = opened.board, self.desk.board(opened.claim)
        if message.kind not in ("complete", "skip") and self._shown_anew(opened, after):
            return {**reply, "progress": self._progress}
        opened.board = after
        reply |= after.changes_since(before)
        self._name_drawn(reply, message, made, before.at.keys())
        reply["history"] = after.history(opened.purpose, self.annotator)
        if message.kind in ("draw", "edit") and made in after.at:
            dialog = asking.overlap_dialog(after, made, self.project.review_config)
            if dialog:
                self._note_asked("overlap", message, opened)
                reply["dialog"] = {**dialog, "gesture": message.gesture_id}
        if message.kind in ("complete", "skip") and current is not None:
            self._show(*self.desk.next())
        reply["progress"] = self._progress
        return reply

    @staticmethod
    def _name_drawn(reply: dict[str, Any], message: Message, made: str, before: Iterable[str]) -> None:
        """Tell the page which mask its drawing has become, also when the same pixels were there already."""
        temp = f"g:{message.gesture_id}"
        if message.kind not in ("draw", "edit"):
            return
        if made in before:
            reply["removed"] = [*reply["removed"], temp]
        for row in reply["added"]:
            if row["id"] == made:
                row["temp"] = temp

    # ---- kinds that are not journaled -----------------------------------------------------------------------------

    def _open(self, message: Message, current: Opened | None) -> dict[str, Any]:
        which = message.fields["which"]
        if which == "image":
            if not message.fields["image"]:
                raise MessageError("image: expected the name of the image to open, got nothing")
            found = self.desk.named(message.fields["image"])
        else:
            found = self.desk.previous() if which == "previous" else self.desk.next(beside=True)
        if found[0] is None:
            return {"ok": False, "error": found[1]}
        self._show(*found)
        return {"ok": True, "progress": self._progress}

    def _prompt(self, message: Message, current: Opened | None) -> dict[str, Any] | None:
        fields = message.fields
        if current is None:
            return {"ok": False, "error": "the image of this prompt is not open any more"}
        asking.check_inside(fields["points"], fields["box"], current.size_hw)
        points = asking.with_origin(current.board, fields["mask"], fields["points"])
        self._prompter.ask(Prompt(message.token, fields["prompt_id"], points, fields["box"]))
        return None

    def _renew(self, message: Message, current: Opened | None) -> dict[str, Any] | None:
        try:
            self.desk.renew()
        except StoreError:
            return {"ok": False, "error": asking.GONE}
        return None

    def _refresh(self, message: Message, current: Opened | None) -> None:
        """Show what is open as it is now: a page that came later has the view from then; or why nothing is."""
        opened = self.desk.opened
        if opened is not None:
            opened.board = self.desk.board(opened.claim)
        self._show(opened, "" if opened is not None else self.desk.why_none())

    # ---- what the page is shown -----------------------------------------------------------------------------------

    def _show(self, opened: Opened | None, words: str) -> None:
        progress = self.desk.queue.progress()
        self._progress = {n: getattr(progress, n) for n in ("images_done", "images", "masks_done", "masks")}
        if opened is None:
            self.desk.leave()
            self._publish({"view": self._view(None, words), "picture": b"", "masks": b""})
            return
        picture, scale = packing.pack_picture(opened.image)
        masks = packing.pack_masks(opened.board.rles, opened.size_hw)
        self._publish({"view": self._view(opened, words, scale), "picture": picture, "masks": masks, "live": b""})
        self._prompter.open(opened.token, opened.image)

    def _shown_anew(self, opened: Opened, fresh: Board) -> bool:
        """Show the image anew when its masks were proposed or triaged anew since it was opened; return whether."""
        if opened.board.proposed == fresh.proposed:
            return False
        opened.board = fresh
        self._show(opened, asking.ANEW)
        return True

    def _view(self, opened: Opened | None, words: str, scale: float = 1.0) -> dict[str, Any]:
        config, left = self.project.review_config, {} if opened else dataclasses.asdict(self.desk.left())
        view: dict[str, Any] = {
            "token": opened.token if opened else "",
            "store_key": self.store_key,
            "mode": "empty" if opened is None else "audit" if opened.purpose == "audit" else "review",
            "image": None,
            "masks": {},
            "labels": with_keys(self.labels),
            "reasons": REASON_WORDS,
            "settings": {"idle_s": config.idle_s},
            "progress": self._progress,
            "history": opened.board.history(opened.purpose, self.annotator) if opened else [],
            "queue": {"kind": opened.claim.kind if opened else "", "expires_in_s": config.claim_s, **left},
            "message": words,
        }
        if opened:
            height, width = opened.size_hw
            view["image"] = {"name": opened.path, "width": width, "height": height, "scale": scale}
            view["masks"] = opened.board.columns()
            view["choose"] = self.desk.to_look_at(opened.image_id)
        return view

    @property
    def store_key(self) -> str:
        """Opaque name under which a page keeps unsent gestures: one for this project and this annotator."""
        return hashlib.sha256(f"{self.project.path}\0{self.annotator}".encode()).hexdigest()[:24]

    def _coverage(self, opened: Opened, message: Message) -> dict[str, Any] | None:
        if opened.purpose != "review":
            return None
        dialog = asking.coverage_dialog(
            opened.board, self.project.review_config, lambda: self.project.completeness(opened.image_id)
        )
        if dialog is not None:
            self._note_asked("coverage", message, opened)
        return dialog

    def _note_asked(self, dialog: str, message: Message, opened: Opened) -> None:
        """Record that a dialog was shown, once for each gesture that led to it."""
        event = ReviewEvent(
            gesture_id=f"{message.gesture_id}.asked",
            image_id=opened.image_id,
            kind="answer",
            payload={"dialog": dialog, "choice": "asked"},
            annotator=self.annotator,
            phase="check" if dialog == "coverage" else "draw",
        )
        self.project.record([event], opened.claim)

    def _answered(self, answer: Answer) -> None:
        """Hand an answer of the model over to the page, if its image is still the one that is open."""

        def show() -> None:
            with self._lock:
                if self.desk.opened is not None and self.desk.opened.token == answer.prompt.token:
                    self._publish({"live": asking.live(answer)})

        self._later(show)

    def _tell_fault(self, words: str) -> None:
        if words != self._fault:
            self._fault = words
            self._publish({"fault": words})


def _of_model(prompts: Mapping[str, Any]) -> bool:
    """Whether the model had a part in a mask, whatever tool came last."""
    return bool(prompts.get("points") or prompts.get("box"))


def _loader(sam: Any) -> Callable[[], Asked | None]:
    """Return a function that gives the model: the one handed in, or what loads it."""
    return sam if callable(sam) and not hasattr(sam, "embed") else lambda: sam
