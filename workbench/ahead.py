"""Work beside the model: items made ready on threads ahead of it, and results put away on a thread behind it.

Both keep the order of what they are given and hold a bounded amount.
"""

from __future__ import annotations

import collections
import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")

Later = Callable[[Callable[[], object]], None]


class Ahead(Generic[T, R]):
    """What `read` makes of each item, in order, made on threads before it is asked for.

    No item is begun while what waits weighs `most` or more, or `count` items wait; so at most `most` and the weight of
    `threads` further items are held.

    Parameters
    ----------
    read : called on several threads at once; what it raises is raised where the item is taken
    weigh : how much of `most` a result takes
    begin : called on each thread before its first item
    """

    def __init__(
        self,
        read: Callable[[T], R],
        items: Iterable[T],
        weigh: Callable[[R], int],
        *,
        most: int,
        count: int,
        threads: int = 2,
        begin: Callable[[], object] | None = None,
    ) -> None:
        self._read, self._weigh, self._items = read, weigh, iter(items)
        self._most, self._count, self._threads = most, count, threads
        self._waiting: collections.deque[Future[R]] = collections.deque()
        self._weight = self._running = 0
        self._lock = threading.Lock()
        self._pool: ThreadPoolExecutor | None = ThreadPoolExecutor(
            threads, thread_name_prefix="ahead", initializer=begin
        )

    def __enter__(self) -> Iterator[R]:
        self._begin()
        return self._taken()

    def __exit__(self, *_: object) -> None:
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(cancel_futures=True)

    def _taken(self) -> Iterator[R]:
        while self._waiting:
            result = self._waiting[0].result()
            with self._lock:
                self._waiting.popleft()
                self._weight -= self._weigh(result)
            self._begin()
            yield result

    def _begin(self) -> None:
        """Begin as many items as may be held; called when one was taken and, on its thread, when one is ready."""
        with self._lock:
            while (
                self._pool is not None
                and self._running < self._threads
                and len(self._waiting) < self._count
                and (self._weight < self._most or not self._waiting)
            ):
                for item in self._items:
                    self._running += 1
                    self._waiting.append(self._pool.submit(self._ready, item))
                    break
                else:
                    return

    def _ready(self, item: T) -> R:
        weight = 0
        try:
            result = self._read(item)
            weight = self._weigh(result)
            return result
        finally:
            with self._lock:
                self._running -= 1
                self._weight += weight
            self._begin()


class Room:
    """Room for what is at work on several threads: of weights that come to more than `most` only one at a time."""

    def __init__(self, most: int) -> None:
        self._most, self._held = most, 0
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def taken(self, weight: int) -> Iterator[None]:
        """Wait until there is room for `weight`, or nothing else is held, and hold it."""
        with self._changed:
            self._changed.wait_for(lambda: not self._held or self._held + weight <= self._most)
            self._held += weight
        try:
            yield
        finally:
            with self._changed:
                self._held -= weight
                self._changed.notify_all()


@contextlib.contextmanager
def behind(most: int = 4) -> Iterator[Later]:
    """Yield a function that calls what it is given, in order, on one thread behind the caller.

    At most `most` calls wait; then giving another one waits as well. After a call has raised, no other is made, and its
    error is raised where the next one is given or, at the latest, at the end. At the end, however it comes, all that
    was given has been called.
    """
    waiting: collections.deque[Future[None]] = collections.deque()
    broken = False

    def run(call: Callable[[], object]) -> None:
        nonlocal broken
        if broken:
            return
        try:
            call()
        except BaseException:
            broken = True
            raise

    with ThreadPoolExecutor(1, thread_name_prefix="behind") as pool:

        def later(call: Callable[[], object]) -> None:
            while waiting and (len(waiting) >= most or waiting[0].done()):
                waiting.popleft().result()
            waiting.append(pool.submit(run, call))

        try:
            yield later
        finally:
            while waiting:
                waiting.popleft().result()
