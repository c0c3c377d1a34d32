"""Work off the server's thread: the newest request wins, requests that are stale are dropped."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Generic, TypeVar

Asked = TypeVar("Asked")
Answer = TypeVar("Answer")

LOG = logging.getLogger("workbench.dashboards")
_SHARED = ThreadPoolExecutor(max_workers=4, thread_name_prefix="workbench")


_LONG = ThreadPoolExecutor(max_workers=2, thread_name_prefix="workbench-long")


def shared() -> Executor:
    """Return the threads that all sessions of this process share, for what takes a second at most."""
    return _SHARED


def long_work() -> Executor:
    """Return the threads for what takes longer: pools, calibration, versions, pictures. Sliders never wait for them."""
    return _LONG


class Latest(Generic[Asked, Answer]):
    """Answers requests one at a time; while one is worked on, only the newest of those that came is kept.

    A slider asks at every move and nobody waits for positions it has left.

    Attributes
    ----------
    dropped : how many requests were overtaken before anyone worked on them
    """

    def __init__(
        self,
        work: Callable[[Asked], Answer],
        deliver: Callable[[Asked, Answer | None, Exception | None], None],
        threads: Executor | None = None,
    ) -> None:
        self.dropped = 0
        self._work, self._deliver = work, deliver
        self._threads = threads if threads is not None else shared()
        self._lock = threading.Lock()
        self._waiting: list[Asked] = []  # none or one
        self._running = self._closed = False

    def ask(self, request: Asked) -> None:
        """Ask for an answer; returns at once, `deliver` is called from a thread."""
        with self._lock:
            if self._closed:
                return
            self.dropped += len(self._waiting)
            self._waiting = [request]
            if self._running:
                return
            self._running = True
        self._threads.submit(self._go_on)

    @property
    def closed(self) -> bool:
        """Whether nobody waits any more: long work looks at it, and ends."""
        return self._closed

    def close(self) -> None:
        """Deliver nothing any more; what is being worked on and does not look at `closed` comes to its end unheard."""
        with self._lock:
            self._closed, self._waiting = True, []

    def _go_on(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._running = False
                    return
                request = self._waiting.pop()
            answer, error = None, None
            try:
                answer = self._work(request)
            except Exception as caught:  # told to whoever asked; this thread goes on
                error = caught
            if self._closed:
                continue
            try:
                self._deliver(request, answer, error)
            except Exception:  # a session that died meanwhile must not stop the others
                LOG.info("an answer could not be delivered; the page is gone", exc_info=True)
