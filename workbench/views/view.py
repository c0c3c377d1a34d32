"""What the views of all pages share: read in a thread, show on the page, look for changes, say errors in words."""

from __future__ import annotations

import functools
import threading
import time
from abc import abstractmethod
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

import panel as pn
from bokeh.document import Document
from panel.io.state import set_curdoc

from workbench.recent import Recent
from workbench.views import layout, offline
from workbench.views.campaign import Campaign, words
from workbench.views.latest import LOG, Latest

POLL_MS = 2_000
AGAIN_MS = 1_000
FIRST_S = 1.0  # a page that is read within this time is sent with its words; else without, and filled when it is read

# by page and project: the stamp of the catalogue, what was read
_SEEN = Recent[tuple[Any, ...], tuple[object, Any]](16)

pn.extension("tabulator", inline=True, notifications=False)
offline.send_styles()


def login_name() -> str:
    """Return the name that somebody has logged in with; "" without a login."""
    return str(pn.state.user) if pn.state.user and pn.state.user != "guest" else ""


def query_of(search: str) -> dict[str, str]:
    """Return the parts of an address after its "?", each as text."""
    return dict(parse_qsl(search.removeprefix("?"), keep_blank_values=True))


class View(pn.viewable.Viewer):
    """A page's main part over a campaign. `read` works in a thread, `present` changes the page.

    What takes long to make (a figure takes a tenth of a second) is handed to `soon` or `later`: the page is sent without
    it. Without a session (in a notebook, in a test, for a file) everything is done at once, in turn.
    """

    name_of_page = ""
    shared = False  # whether all sessions see the same, and it follows from the catalogue alone
    waiting = "Reading the project …"

    def __init__(self, campaign: Campaign, **params: Any) -> None:
        super().__init__(**params)  # type: ignore[no-untyped-call]
        self.campaign = campaign
        doc = pn.state.curdoc
        self._doc: Document | None = doc if doc is not None and doc.session_context is not None else None
        self.banner = layout.words("")
        self.body = pn.Column(layout.words(f'<p role="status">{self.waiting}</p>'), sizing_mode="stretch_width")
        self.sidebar: list[Any] = []
        self.reading: Latest[int, Any] = Latest(lambda _: self._read_timed(), self._heard)
        self._not_before = 0.0
        self._lock = threading.Lock()
        self._waiting: list[Callable[[], None]] | None = [] if self._doc is not None else None
        self._slow: list[Callable[[], None]] = []
        self.presented = False
        self.setup()
        campaign.param.watch(lambda _: self.refresh(), "changed")
        self.refresh()
        if self._doc is not None:
            self._begin()
            pn.state.onload(self._loaded)
            pn.state.add_periodic_callback(self._poll, period=POLL_MS)
            pn.state.on_session_destroyed(lambda _: self.close())

    @property
    def live(self) -> bool:
        """Whether a browser is connected; else work is done at once, in turn."""
        return self._doc is not None

    def setup(self) -> None:
        """Make what stays through all refreshes; called once, before the first `read`."""

    @abstractmethod
    def read(self) -> Any:
        """Return all that `present` needs; called in a thread."""

    @abstractmethod
    def present(self, data: Any) -> None:
        """Put what was read on the page."""

    def useful(self) -> bool:
        """Whether the page shows what people open it for; until then it is not sent for a while."""
        return self.presented

    def soon(self, action: Callable[[], None]) -> None:
        """Do what takes long after what is quick; what the page shows until then has been sent."""
        if self._doc is None:
            action()
            return
        with self._lock:
            self._slow.append(action)
            begun = self._waiting is None and len(self._slow) == 1
        if begun:
            self.on_page(self._follow)

    def _follow(self) -> None:
        """Do all that takes long, in one turn: Bokeh goes over the whole page once for each change that it sees by itself.

        Only while a browser is connected: people leave a page before it is whole, and go to the next.
        """
        doc = self._doc
        if doc is None or not self._slow:
            return
        session = getattr(doc.session_context, "session", None)
        if session is not None and not session.connection_count:
            doc.add_timeout_callback(functools.partial(_within, doc, self._guarded(self._follow)), AGAIN_MS)
            return
        with self._lock:
            slow, self._slow = self._slow, []
        with doc.models.freeze():
            for action in slow:
                self._guarded(action)()

    def later(self, make: Callable[[], list[Any]], height: int) -> pn.Column:
        """Return a place for something that takes long to make.

        Parameters
        ----------
        make : returns what goes there; height : of it, px
        """
        place = pn.Column(layout.note("Drawing …"), sizing_mode="stretch_width", min_height=height)

        def fill() -> None:
            place.objects = make()

        self.soon(fill)
        return place

    def close(self) -> None:
        """Stop working for a page that nobody sees any more."""
        self.reading.close()

    def refresh(self) -> None:
        """Read the project again and show it."""
        if self.campaign.problem:
            self._tell(self.campaign.problem)
            return
        if self._doc is None:
            self._heard(0, *tried(self.look))
        else:
            self.reading.ask(self.campaign.changed)

    def on_page(self, action: Callable[[], None]) -> None:
        """Change the page from a thread; nothing happens when the page is gone."""
        doc = self._doc
        if doc is None:
            action()
            return
        if doc.session_context is None or getattr(doc.session_context, "destroyed", False):
            return
        with self._lock:
            if self._waiting is not None:  # Panel finds its own files only after the page has been sent
                self._waiting.append(action)
                return
        doc.add_next_tick_callback(functools.partial(_within, doc, self._guarded(action)))

    def _begin(self) -> None:
        """Put on the page what can be had at once, before it is sent."""
        until = time.monotonic() + FIRST_S
        while not self.campaign.problem and not self.useful() and time.monotonic() < until:
            with self._lock:
                waiting, self._waiting = self._waiting or [], []
            for action in waiting:
                self._guarded(action)()
            if not waiting:
                time.sleep(0.005)

    def _loaded(self) -> None:
        """Do what came before the page was there."""
        with self._lock:
            waiting, self._waiting = self._waiting or [], None
        for action in [*waiting, self._follow]:
            self.on_page(action)

    def guarded(self, action: Callable[..., None]) -> Callable[..., None]:
        """Return an action whose errors become words on the page."""
        return self._guarded(action)

    def _guarded(self, action: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(action)
        def safe(*args: Any, **settings: Any) -> None:
            try:
                action(*args, **settings)
            except Exception as error:  # whatever it is, the page goes on
                self.say(words(error))

        return safe

    def say(self, text: str, kind: str = "problem") -> None:
        """Show words above the page; "" takes them away."""
        self.banner.object = layout.box(text, kind)

    def _heard(self, _request: int, data: Any, error: Exception | None) -> None:
        def act() -> None:
            if error is not None:
                self._tell(words(error))
                return
            self.say("")
            self.present(data)
            self.presented = True

        self.on_page(self._guarded(act))

    def _tell(self, text: str) -> None:
        """Show why there is nothing to show; what was on the page stays."""
        self.say(text)
        if len(self.body) == 1 and isinstance(self.body[0], pn.pane.HTML) and self.waiting in str(self.body[0].object):
            self.body.objects = []

    def look(self) -> Any:
        """Return what `read` gives; sessions of a shared page look at the project once, until somebody writes to it."""
        if not self.shared:
            return self.read()
        key, stamp = (type(self), self.campaign.place, self.campaign.database), self.campaign.stamp
        kept = _SEEN.get(key)
        if kept is None or kept[0] != stamp:
            # the stamp was taken before: what is written meanwhile is read at the next look
            kept = _SEEN.put(key, (stamp, self.read()))
        return kept[1]

    def _read_timed(self) -> Any:
        """Read, and rest for ten times as long: others use the machine too."""
        since = time.monotonic()
        try:
            return self.look()
        finally:
            now = time.monotonic()
            self._not_before = now + 10 * (now - since)

    def _poll(self) -> None:
        if time.monotonic() < self._not_before:
            return
        try:
            self.campaign.poll()
        except Exception:
            LOG.exception("looking for changes failed")

    def __panel__(self) -> pn.viewable.Viewable:
        return pn.Column(self.banner, self.body, sizing_mode="stretch_width")


def _within(doc: Document, action: Callable[[], None]) -> None:
    # one message a turn: the browser lays the page out once
    with set_curdoc(doc), pn.io.hold(doc):
        action()


def tried(work: Callable[[], Any]) -> tuple[Any, Exception | None]:
    """Return what work gives, or None and its error."""
    try:
        return work(), None
    except Exception as error:  # told on the page
        return None, error
