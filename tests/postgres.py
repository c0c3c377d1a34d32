"""A PostgreSQL of its own for a test: made in a new folder, reached by a socket in it, ended with the test."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ORDINARY = "nobody"  # PostgreSQL does not run as root


def _needed() -> None:
    missing = [name for name in ("initdb", "postgres") if shutil.which(name) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} not on the PATH: install PostgreSQL to test it as the catalogue")
    if importlib.util.find_spec("psycopg") is None:
        pytest.skip("psycopg is missing: pip install 'sam-workbench[postgresql]'")


@contextlib.contextmanager
def server() -> Iterator[str]:
    """Yield the URL of a database; skips in words where PostgreSQL is not there."""
    _needed()
    folder = Path(tempfile.mkdtemp(prefix="wb-pg-"))
    user = {"user": ORDINARY} if os.geteuid() == 0 else {}
    if user:
        shutil.chown(folder, ORDINARY)
    quiet = {"stdout": subprocess.DEVNULL, "cwd": folder, "env": {"PATH": os.environ["PATH"], "LC_ALL": "C"}, **user}
    data = folder / "data"
    with (folder / "log").open("wb") as log:
        made = subprocess.run(
            ["initdb", "-D", data, "-U", "wb", "-A", "trust", "--no-sync", "-E", "UTF8"],
            stderr=log,
            check=False,
            **quiet,
        )
        if made.returncode:
            pytest.skip(f"initdb does not run here: {(folder / 'log').read_text()[-300:]}")
        options = ["-k", folder, "-c", "listen_addresses=", "-c", "shared_buffers=16MB", "-c", "max_connections=60"]
        running = subprocess.Popen(["postgres", "-D", data, *options], stderr=log, **quiet)
    try:
        url = f"postgresql+psycopg://wb@/postgres?host={folder}"
        _wait(url, running, folder / "log")
        yield url
    finally:
        running.terminate()
        running.wait(timeout=30)
        shutil.rmtree(folder, ignore_errors=True)


def _wait(url: str, running: subprocess.Popen[bytes], log: Path) -> None:
    import sqlalchemy as sa

    engine = sa.create_engine(url)
    until = time.monotonic() + 60
    while True:
        try:
            with engine.connect():
                break
        except sa.exc.OperationalError:
            assert running.poll() is None, log.read_text()
            assert time.monotonic() < until, log.read_text()
            time.sleep(0.1)
    engine.dispose()
