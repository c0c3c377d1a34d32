"""Dashboards on a made project of Stage 2's size: `python -m benchmarks.dashboards --json F [--images N] [--keep DIR]`.

A server of its own (`workbench dashboard`) and the Chromium of this machine, on the same processors. First useful paint:
from the request until the main figures can be read (they stand in the page as it is sent), after each page was opened once (warm: its pool is built, which takes
minutes at this size and is a figure of its own). A move: a slider's value changes in the page, until the page has the new
counts and the new heat map and has drawn a frame; with ten sessions, ten pages move at once, and the next move is made when
all have their answer: in ten browsers on the server's own processors, and as ten connections whose browsers are elsewhere.
The images of the made project are not on the disk, so the strip of pictures says so.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import made_campaign
from benchmarks.dashboard_sessions import at_once
from benchmarks.figures import Row, write_rows
from benchmarks.measuring import commit, median, processor

IMAGES = 180_000
PATIENCE_S = 3600.0
SETTLED_MS = 6_000
CYCLES = "Where the campaign stands"
_COUNTED = "auto-accepted"
# in the page: the slider's model, the pane of counts and the source of the heat map, found once
_FIND = """() => {
  const doc = window.Bokeh?.documents?.[0]  // the words are there before it
  if (!doc) return false
  const all = [...doc._all_models.values()]
  const slider = all.find(m => m.data && String(m.data.label || "").startsWith("predicted IoU, accepted"))
  const counts = all.find(m => typeof m.text === "string" && m.text.includes("auto-accepted"))
  const image = all.find(m => m.type === "GlyphRenderer" && m.glyph && /^Image/.test(m.glyph.type))
  if (!slider || !counts || !image) return false
  window.__parts = {slider, counts, image}
  return true
}"""
_MOVE = """async (value) => {
  const {slider, counts, image} = window.__parts
  const changed = (property) => new Promise(resolve => {
    const heard = () => { property.change.disconnect(heard); resolve() }
    property.change.connect(heard)
  })
  const late = new Promise((_, refuse) => setTimeout(() => refuse(new Error(`no answer to ${value} in a minute`)), 60000))
  const both = Promise.race([
    Promise.all([changed(counts.properties.text), changed(image.data_source.properties.data)]), late,
  ])
  const since = performance.now()
  slider.data.value = value
  await both
  await new Promise(requestAnimationFrame)
  return performance.now() - since
}"""


def main(given: Sequence[str] | None = None) -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="where to write the figures")
    parser.add_argument("--images", type=int, default=IMAGES, help="of the made project")
    parser.add_argument("--keep", type=Path, help="folder of the made project, to use it again")
    parser.add_argument("--demo", type=Path, help="folder of `workbench demo`; made anew by default, in five minutes")
    parser.add_argument("--moves", type=int, default=200)
    parser.add_argument("--paints", type=int, default=7, help="of each page")
    parser.add_argument("--sessions", type=int, default=10)
    a = parser.parse_args(given)
    with tempfile.TemporaryDirectory() as scratch:
        project = made_campaign.make(a.keep or Path(scratch) / "made", a.images)
        rows = of_made(project, a.moves, a.sessions, a.paints, Path(scratch))
        rows += of_demo(a.demo or _demo(Path(scratch) / "demo.wb"), a.paints, Path(scratch))
    device = f"{processor()}; {a.images:,} images, Chromium on the same processors"
    write_rows("dashboards", commit(), device, rows, a.json)


def of_made(project: Path, moves: int, sessions: int, times: int, scratch: Path) -> list[Row]:
    """Paints, moves, sessions and memory on the made project."""
    with served(project, scratch / "made.log") as (url, process), browser() as chromium:
        page = chromium.new_page()
        cold = paint(page, f"{url}/thresholds", _COUNTED)
        page.close()
        print(f"pool built: {cold:.0f} s", flush=True)
        rows = [Row("thresholds: first paint, pool not built yet", cold, "s", None, 1, None, "<=")]
        rows += _paints("cycles", chromium, f"{url}/cycles", CYCLES, 2.0, times)
        rows += _paints("thresholds", chromium, f"{url}/thresholds", _COUNTED, 4.0, times)
        page = ready(chromium, url)
        rows += _quantiles("a move", np.array([move(page, value) for value in _trace(moves)]), 150.0, 400.0)
        page.close()
        traces = [_trace(moves // 4, seed) for seed in range(1, sessions + 1)]
        rows += _quantiles(f"a move in {sessions} sessions", _at_once(chromium, url, traces), None, 1500.0)
        rows += _quantiles(
            f"a move in {sessions} sessions, their browsers elsewhere", at_once(url, traces), None, 1500.0
        )
        rows.append(Row("memory of the server", peak_gb(process), "GB", None, 1, 4.0, "<="))
    return rows


def of_demo(folder: Path, times: int, scratch: Path) -> list[Row]:
    """The first paint of the demo project's pages."""
    with served(folder / "project", scratch / "demo.log") as (url, _), browser() as chromium:
        pages = (("cycles", CYCLES), ("thresholds", _COUNTED))
        found = [_paints(f"demo, {name}", chromium, f"{url}/{name}", text, 1.5, times) for name, text in pages]
        return [row for rows in found for row in rows]


def _demo(folder: Path) -> Path:
    subprocess.run([sys.executable, "-m", "workbench.cli", "demo", str(folder), "--no-serve"], check=True)
    return folder


# ---- server and browser -----------------------------------------------------------------------------------------------


@contextlib.contextmanager
def served(project: Path, log: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Serve a project until the block ends; yield the address and the process."""
    command = [sys.executable, "-m", "workbench.cli", "dashboard", str(project)]
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
    try:
        yield _address(process, log), process
    finally:
        process.terminate()
        process.wait(30)


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    until = time.monotonic() + 120
    while time.monotonic() < until and process.poll() is None:
        found = re.search(r"http://([^/\s]+):(\d+)/cycles", log.read_text("utf-8", errors="replace"))
        if found:
            with contextlib.suppress(OSError), socket.create_connection((found[1], int(found[2])), 1):
                return f"http://{found[1]}:{found[2]}"
        time.sleep(0.2)
    raise SystemExit(f"the server did not start:\n{log.read_text('utf-8', errors='replace')[-2000:]}")


@contextlib.contextmanager
def browser() -> Iterator[Any]:
    """A context of the Chromium that is installed, with the screen of a laptop."""
    from playwright.sync_api import sync_playwright

    place = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if place is None:
        raise SystemExit("no Chromium on the PATH; install the package chromium")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=place, args=["--no-sandbox", "--disable-gpu"])
        context = started.new_context(viewport={"width": 1280, "height": 900})
        context.set_default_timeout(1000 * PATIENCE_S)
        yield context
        started.close()


def paint(page: Any, url: str, text: str) -> float:
    """Seconds from the request until a text can be read on the page."""
    since = time.perf_counter()
    page.goto(url, wait_until="commit")
    page.locator(".tile, .title").filter(has_text=text).first.wait_for(state="visible")
    return time.perf_counter() - since


def _paints(name: str, chromium: Any, url: str, text: str, aim_s: float, times: int) -> list[Row]:
    """The median of several paints, the first of which is not counted, and of the times until the page answers."""
    seconds, answering = [], []
    for _ in range(times + 1):
        page = chromium.new_page()
        since = time.perf_counter()
        seconds.append(paint(page, url, text))
        page.wait_for_function("!document.getElementById('first')")
        answering.append(time.perf_counter() - since)
        page.wait_for_timeout(SETTLED_MS)  # what follows the first paint must not slow the next page
        page.close()
    value, _, interval = median(np.array(seconds[1:]), "s")
    later, _, beside = median(np.array(answering[1:]), "s")
    print(f"{name}: {value:.2f} s, answers after {later:.2f} s", flush=True)
    return [
        Row(f"{name}: first paint, warm", value, "s", interval, times, aim_s, "<="),
        Row(f"{name}: the page answers, warm", later, "s", beside, times, None, "<="),
    ]


# ---- moves ------------------------------------------------------------------------------------------------------------


def ready(chromium: Any, url: str) -> Any:
    """Return the thresholds page with its counts and heat map there."""
    page = chromium.new_page()
    paint(page, f"{url}/thresholds", _COUNTED)
    page.wait_for_function(_FIND)
    page.wait_for_timeout(1500)  # what follows when the sliders rest
    page.evaluate(_FIND)
    return page


def move(page: Any, value: float) -> float:
    """Milliseconds from a slider's new value until the page has counts and heat map for it."""
    page.wait_for_function(_FIND)  # anew: a figure that was drawn again meanwhile has other models
    return float(page.evaluate(_MOVE, value))


def _trace(moves: int, seed: int = 0) -> list[float]:
    """Positions of the slider, dragged ten steps a time: each gives other counts, or the page would have nothing to send."""
    rng, found = np.random.default_rng(seed), list[float]()
    while len(found) < moves:
        start, end = rng.uniform(0.8, 0.98, 2)
        for value in np.linspace(start, end, 10).round(3).tolist():
            if not found or value != found[-1]:
                found.append(value)
    return found[:moves]


def _at_once(chromium: Any, url: str, traces: Sequence[Sequence[float]]) -> np.ndarray:
    """Milliseconds of moves that as many browsers as there are traces make at the same time."""
    pages = [ready(chromium, url) for _ in traces]
    found = []
    for values in zip(*traces, strict=True):
        for page, value in zip(pages, values, strict=True):
            page.evaluate(_FIND)
            page.evaluate(f"(value) => {{ window.__moved = ({_MOVE})(value) }}", value)
        found += [float(page.evaluate("() => window.__moved")) for page in pages]
    for page in pages:
        page.close()
    return np.array(found)


def _quantiles(name: str, ms: np.ndarray, p50: float | None, p99: float | None) -> list[Row]:
    rows, rng = [], np.random.default_rng(0)
    draws = ms[rng.integers(0, len(ms), (500, len(ms)))]
    print(f"{name}: {np.percentile(ms, 50):.0f} ms", flush=True)
    for q, aim in ((50, p50), (99, p99)):
        low, high = np.quantile(np.percentile(draws, q, axis=1), [0.025, 0.975])
        rows.append(
            Row(f"{name}: p{q}", float(np.percentile(ms, q)), "ms", (float(low), float(high)), len(ms), aim, "<=")
        )
    return rows


def peak_gb(process: subprocess.Popen[bytes]) -> float:
    """The most memory a process has had, GB; NaN where the system does not say."""
    with contextlib.suppress(OSError):
        found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{process.pid}/status").read_text("ascii"))
        if found:
            return int(found[1]) * 1024 / 1e9
    return float("nan")


if __name__ == "__main__":
    main()
