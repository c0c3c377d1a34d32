"""For all tests: nothing asks another host, and hubs are told that there is no network."""

from __future__ import annotations

import ipaddress
import os
import socket

import pytest

os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1", NO_ALBUMENTATIONS_UPDATE="1")


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
