"""The annotator as tests drive it: keys, clicks at image pixels, and what the page says it shows."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from urllib.parse import urlsplit

from playwright.sync_api import ConsoleMessage, Locator, Page, Request

# JupyterLab's own messages, none of them about the annotator
NOISE = [
    # the server has no collaboration, language servers or saved workspace; the page asks and falls back
    re.compile(r"Failed to load resource: .* 404"),
    # Chromium tells that JupyterLab's editor listens to a deprecated event
    re.compile(r"Listener added for a .*'DOM"),
]


class Watch:
    """Collects what must not happen in a page: errors, and requests to another host."""

    def __init__(self, page: Page) -> None:
        self.errors: list[str] = []
        self.foreign: list[str] = []
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.errors.append(f"{error}"))
        page.on("request", self._request)

    def _console(self, message: ConsoleMessage) -> None:
        where = f"{message.text} ({message.location.get('url', '')})"
        if message.type == "error" and not any(noise.search(where) for noise in NOISE):
            self.errors.append(where)

    def forgive(self, pattern: str) -> None:
        """Pass over console errors of one kind, in this page only: those of what a test brings about on purpose."""
        self.errors[:] = [error for error in self.errors if not re.match(pattern, error)]

    def _request(self, request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme not in ("data", "blob") and parts.hostname not in ("127.0.0.1", "localhost"):
            self.foreign.append(request.url)

    def check(self) -> None:
        """Fail when anything of that happened."""
        assert not self.errors, "\n".join(self.errors)
        assert not self.foreign, "\n".join(self.foreign)


class AnnotatorPage:
    """One annotator in a page."""

    def __init__(self, page: Page, scope: Locator | None = None) -> None:
        self.page = page
        self.watch: Watch | None = None
        self.root = (scope or page.locator("body")).locator(".wb").first
        self.stage = self.root.locator(".wb-stage")

    def wait(self, timeout_s: float = 120.0) -> AnnotatorPage:
        """Wait until an image is open and drawn."""
        self.root.wait_for(state="visible", timeout=timeout_s * 1000)
        self.until(lambda: self.data("image") != "" and self.data("camera") != "", timeout_s)
        self.root.scroll_into_view_if_needed()
        self.settle()
        self.stand_still()
        return self

    def data(self, name: str) -> str:
        """Return what the page says in one of its data attributes; "" where it says nothing."""
        return self.root.get_attribute(f"data-{name}") or ""

    def until(self, holds: Callable[[], object], timeout_s: float = 15.0, what: str = "") -> None:
        """Wait until something holds."""
        until = time.monotonic() + timeout_s
        while not holds():
            assert time.monotonic() < until, f"did not come to hold in {timeout_s} s: {what or holds}"
            self.page.wait_for_timeout(50)

    def settle(self) -> None:
        """Wait until all gestures are acknowledged."""
        self.page.wait_for_timeout(100)
        self.until(lambda: self.data("waiting") in ("", "0"), 20, "acknowledged")

    def stand_still(self) -> None:
        """Wait until what loads around the annotator moves it no more: a click would fall beside its mask."""
        places: list[object] = []

        def still() -> bool:
            places.append((self.stage.bounding_box(), self.data("camera")))
            self.page.wait_for_timeout(100)
            return len(places) > 2 and places[-3] == places[-2] == places[-1]

        self.until(still, 20, "a page that stands still")

    def focus(self) -> None:
        """Give the annotator the keyboard."""
        self.root.evaluate("element => element.focus({preventScroll: true})")

    def press(self, *keys: str) -> None:
        """Type keys into the annotator, and wait until what they did is safe."""
        for key in keys:
            self.page.keyboard.press(key)
            self.page.wait_for_timeout(60)
        self.settle()

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Return where an image pixel lies on the page."""
        scale, left, top = (float(part) for part in self.data("camera").split())
        box = self.stage.bounding_box()
        assert box is not None
        return box["x"] + left + x * scale, box["y"] + top + y * scale

    def click(self, x: float, y: float, button: str = "left") -> None:
        """Click at image pixels."""
        self.page.mouse.click(*self.place(x, y), button=button)  # type: ignore[arg-type]
        self.page.wait_for_timeout(80)

    def drag(self, *points: tuple[float, float]) -> None:
        """Press at the first point, go through the others, let go at the last."""
        self.page.mouse.move(*self.place(*points[0]))
        self.page.mouse.down()
        for point in points[1:]:
            self.page.mouse.move(*self.place(*point), steps=6)
        self.page.mouse.up()
        self.page.wait_for_timeout(80)

    def button(self, action: str) -> Locator:
        """Return a button of the foot by its action."""
        return self.root.locator(f'[data-action="{action}"]')

    @property
    def dialog(self) -> Locator:
        """The question that is open."""
        return self.root.locator(".wb-dialog")

    @property
    def message(self) -> str:
        """What the foot says."""
        return self.root.locator(".wb-message").inner_text()
