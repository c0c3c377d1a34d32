"""Items made ready ahead and results put away behind: order, bounds, errors."""

from __future__ import annotations

import threading
import time

import pytest

from workbench.ahead import Ahead, Room, behind


def test_ahead__keeps_order_whatever_takes_longest():
    def read(k):
        time.sleep(0.002 * (5 - k))
        return k

    with Ahead(read, range(6), lambda _: 1, most=100, count=4, threads=3) as taken:
        assert list(taken) == list(range(6))


def test_ahead__nothing():
    with Ahead(str, [], len, most=1, count=1) as taken:
        assert list(taken) == []


@pytest.mark.parametrize(("weight", "most", "count", "expected"), [(10, 25, 100, 4), (1, 100, 3, 3), (1000, 1, 9, 2)])
def test_ahead__holds_no_more_than_it_may(weight, most, count, expected):
    # two threads: what waits weighs less than `most` when an item is begun, and one more may be on its way
    begun, idle = [], threading.Event()

    def read(k):
        begun.append(k)
        return k

    with Ahead(read, range(50), lambda _: weight, most=most, count=count, threads=2) as taken:
        for k in taken:
            idle.wait(0.01)  # all that may be read meanwhile is
            assert len(begun) - k - 1 <= expected
            if k == 10:
                break
    assert len(begun) < 50


def test_ahead__an_error_comes_where_its_item_is_taken():
    def read(k):
        return 6 // (3 - k)

    found = []

    def take():
        with Ahead(read, range(9), lambda _: 1, most=9, count=9) as taken:
            for one in taken:
                found.append(one)

    with pytest.raises(ZeroDivisionError):
        take()
    assert found == [2, 3, 6]


def test_ahead__left_early_reads_no_more():
    begun = []
    with Ahead(begun.append, range(1000), lambda _: 1, most=5, count=5) as taken:
        next(taken)
    after = len(begun)
    time.sleep(0.02)
    assert len(begun) == after < 20


def test_behind__calls_in_order_on_one_thread():
    seen = []
    with behind(2) as later:
        for k in range(20):
            later(lambda k=k: seen.append((k, threading.get_ident())))
    assert [k for k, _ in seen] == list(range(20))
    assert len({thread for _, thread in seen}) == 1
    assert seen[0][1] != threading.get_ident()


def test_behind__no_more_wait_than_it_may():
    go, made = threading.Event(), []
    with behind(2) as later:
        for k in range(2):
            later(lambda k=k: (go.wait(5), made.append(k)))
        giver = threading.Thread(target=later, args=(lambda: made.append(2),))
        giver.start()
        giver.join(0.05)
        assert giver.is_alive()  # the third has to wait
        go.set()
        giver.join(5)
    assert made == [0, 1, 2]


def test_behind__after_an_error_nothing_more_is_called():
    seen = []

    def give():
        with behind(1) as later:
            later(lambda: 1 / 0)
            later(lambda: seen.append(1))
            later(lambda: seen.append(2))

    with pytest.raises(ZeroDivisionError):
        give()
    assert seen == []


def test_behind__an_error_of_the_last_call_comes_at_the_end():
    with pytest.raises(ZeroDivisionError), behind() as later:
        later(lambda: 1 / 0)


def test_behind__what_was_given_is_called_though_the_caller_fails():
    seen = []

    def give():
        with behind() as later:
            later(lambda: (time.sleep(0.02), seen.append(1)))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        give()
    assert seen == [1]


def test_room__holds_what_fits_together_and_what_is_too_large_alone():
    room, held, seen, lock = Room(10), [], [], threading.Lock()

    def work(weight):
        with room.taken(weight):
            with lock:
                held.append(weight)
                seen.append(list(held))
            threading.Event().wait(0.005)
            with lock:
                held.remove(weight)

    threads = [threading.Thread(target=work, args=(w,)) for w in (4, 6, 5, 11, 0, 20, 5, 10, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(seen) == 9
    assert all(sum(some) <= 10 or len([w for w in some if w]) == 1 for some in seen)
    with pytest.raises(KeyError), room.taken(10):
        raise KeyError
    with room.taken(10):  # what raised has left
        pass
