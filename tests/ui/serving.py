"""A dashboard server in a process of its own, and a page in Chromium that notes what it must not do."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

ROOT = Path(__file__).parent.parent.parent
PATIENCE_MS = 120_000  # machines of tests are busy; nothing is timed here


class Server:
    """A running server."""

    def __init__(self, process: subprocess.Popen, url: str, log: Path) -> None:
        self.process, self.url, self._log = process, url, log

    def page(self, name: str, query: str = "") -> str:
        return f"{self.url}/{name}{query}"

    def log(self) -> str:
        return self._log.read_text("utf-8", errors="replace")


@contextmanager
def dashboard(project: Path, log: Path, *options: str, config: Path | None = None) -> Iterator[Server]:
    """Run `workbench dashboard` until the block ends."""
    command = ["-m", "workbench.cli", "dashboard", str(project), *options]
    with _running(command, log, config) as server:
        yield server


@contextmanager
def panel_serve(project: Path, log: Path) -> Iterator[Server]:
    """Run `panel serve` on the files of `dashboards/`, as their README says, until the block ends."""
    files = [str(path) for path in sorted((ROOT / "dashboards").glob("*.py"))]
    command = ["-m", "panel", "serve", *files, "--index", "cycles", "--port", "0", "--args", str(project)]
    with _running(command, log, None) as server:
        yield server


@contextmanager
def _running(command: list[str], log: Path, config: Path | None) -> Iterator[Server]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "XDG_CONFIG_HOME": str(config or log.parent)}
    with log.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, *command], cwd=log.parent, env=environment, stdout=out, stderr=subprocess.STDOUT
        )
    try:
        url = _address(process, log)
        yield Server(process, url, log)
    finally:
        process.terminate()
        process.wait(30)


def _address(process: subprocess.Popen, log: Path) -> str:
    deadline = time.monotonic() + PATIENCE_MS / 1000
    while time.monotonic() < deadline:
        found = re.search(r"(http://\S+)/cycles", log.read_text("utf-8", errors="replace"))
        if found and _answers(found[1]):
            return found[1]
        if process.poll() is not None:
            break
        time.sleep(0.2)
    raise AssertionError(f"the server did not start: {log.read_text()}")


def _answers(url: str) -> bool:
    try:
        urllib.request.urlopen(f"{url}/static/js/bokeh.min.js", timeout=5).close()
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True


# Panel and Bokeh wait by messages that a page sends to itself: ten thousand a second where what they wait for never comes
_RESTS = """async () => {
  const post = MessagePort.prototype.postMessage
  let sent = 0
  MessagePort.prototype.postMessage = function (...given) { sent += 1; return post.apply(this, given) }
  await new Promise((done) => setTimeout(done, 300))
  MessagePort.prototype.postMessage = post
  return sent < 100
}"""


class Watched:
    """A page with what it asked of other hosts and what it complained of; such a request never leaves the browser."""

    def __init__(self, page, server: Server) -> None:
        self.page, self.server = page, server
        self.foreign, self.errors = [], []
        own = urlsplit(server.url).netloc
        page.set_default_timeout(PATIENCE_MS)

        def asked(request) -> None:
            parts = urlsplit(request.url)
            if parts.scheme not in ("data", "blob", "about") and parts.netloc != own:
                self.foreign.append(request.url)

        page.on("request", asked)
        page.route(lambda url: urlsplit(url).scheme in ("http", "https") and urlsplit(url).netloc != own, _abort)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", lambda said: self.errors.append(said.text) if said.type == "error" else None)
        page.on("dialog", lambda dialog: (self.errors.append(f"dialog: {dialog.message}"), dialog.dismiss()))

    def open(self, name: str, query: str = "", *, until: str) -> None:
        """Open a page and wait until a text is on it."""
        self.page.goto(self.server.page(name, query), timeout=PATIENCE_MS)
        self.page.get_by_text(until).first.wait_for()
        self.page.wait_for_function("!document.getElementById('first')")
        self.page.wait_for_function("!document.body.classList.contains('pn-loading')")

    def is_clean(self) -> None:
        """Fail where it asked another host, complained, or does not come to rest."""
        self.page.wait_for_function(_RESTS)
        assert self.foreign == []
        assert self.errors == []
        log = self.server.log()  # tornado says there that a socket closed while it was written to
        assert "workbench/" not in log.partition("Traceback")[2], log


def _abort(route) -> None:
    route.abort()
