"""The newest request wins, whatever happens to the others."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from workbench.views.latest import Latest


@pytest.fixture
def threads():
    with ThreadPoolExecutor(2) as pool:
        yield pool


def test_latest__stale_requests_are_dropped(threads):
    begun, go_on, done = threading.Event(), threading.Event(), threading.Event()
    worked, heard = [], []

    def work(n):
        worked.append(n)
        begun.set()
        go_on.wait(5)
        return n * 10

    def deliver(asked, answer, error):
        heard.append((asked, answer, error))
        if asked == 9:
            done.set()

    latest = Latest(work, deliver, threads)
    latest.ask(0)
    assert begun.wait(5)
    for n in range(1, 10):
        latest.ask(n)
    go_on.set()
    assert done.wait(5)
    assert worked == [0, 9]
    assert heard == [(0, 0, None), (9, 90, None)]
    assert latest.dropped == 8


def test_latest__an_error_is_delivered_and_the_next_request_answered(threads):
    heard, done = [], threading.Semaphore(0)

    def deliver(asked, answer, error):
        heard.append((asked, answer, type(error)))
        done.release()

    latest = Latest(lambda n: 6 // n, deliver, threads)
    for n in (0, 3):
        latest.ask(n)
        assert done.acquire(timeout=5)
    assert heard == [(0, None, ZeroDivisionError), (3, 2, type(None))]


def test_latest__a_session_that_died_stops_nobody(threads):
    heard, done = [], threading.Event()

    def deliver(asked, answer, error):
        if asked == 1:
            raise RuntimeError("the page is gone")
        heard.append(answer)
        done.set()

    latest = Latest(lambda n: n, deliver, threads)
    latest.ask(1)
    while latest._running:
        pass
    latest.ask(2)
    assert done.wait(5)
    assert heard == [2]


def test_latest__closed_delivers_nothing(threads):
    begun, go_on, heard = threading.Event(), threading.Event(), []

    def work(n):
        begun.set()
        go_on.wait(5)
        return n

    latest = Latest(work, lambda *got: heard.append(got), threads)
    latest.ask(1)
    assert begun.wait(5)
    latest.close()
    latest.ask(2)
    go_on.set()
    threads.shutdown(wait=True)
    assert heard == []
