"""For all tests: nothing asks another host, hubs are told that there is no network, and one Chromium serves all pages."""

from __future__ import annotations

import ipaddress
import os
import shutil
import socket
from collections import Counter

import pytest

os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1", NO_ALBUMENTATIONS_UPDATE="1")
if "PYTEST_XDIST_WORKER" in os.environ:  # side by side, a thread each: more would wait for each other
    os.environ.setdefault("OMP_NUM_THREADS", "1")

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]


def pytest_collection_modifyitems(items):
    """Run slow tests first and those of pages last, large files before small, and try those of pages again.

    Servers and pages share the machine with whatever else runs there; and Playwright leaves an event loop running in
    its thread, in which other tests could not start theirs. A large file that begins last would run alone at the end.
    """
    size = Counter(item.path for item in items)
    for item in items:
        if item.get_closest_marker("browser"):
            item.add_marker(pytest.mark.flaky(reruns=2))

    def turn(item):
        last, slow = item.get_closest_marker("browser"), item.get_closest_marker("slow")
        return 2 if last else not slow, -size[item.path]

    items.sort(key=turn)


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args):
    """Drive the Chromium that is installed; none is downloaded."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("no Chromium on the PATH; install the package chromium to run the tests in the browser")
    return {**browser_type_launch_args, "executable_path": found, "args": FLAGS}


def _is_own(address: object) -> bool:
    if not isinstance(address, tuple):  # a Unix socket
        return True
    try:
        return ipaddress.ip_address(address[0]).is_loopback
    except ValueError:
        return address[0] == "localhost"


@pytest.fixture(autouse=True)
def no_other_host(monkeypatch):
    """Fail a test that connects to, or looks up, any host but this machine."""
    connect, look_up = socket.socket.connect, socket.getaddrinfo

    def guarded_connect(self, address):
        if not _is_own(address):
            raise AssertionError(f"a connection to another host was asked for: {address!r}")
        return connect(self, address)

    def guarded_look_up(host, *args, **settings):
        if host is not None and not _is_own((host if isinstance(host, str) else host.decode(),)):
            raise AssertionError(f"the address of another host was asked for: {host!r}")
        return look_up(host, *args, **settings)

    monkeypatch.setattr(socket.socket, "connect", guarded_connect)
    monkeypatch.setattr(socket, "getaddrinfo", guarded_look_up)
