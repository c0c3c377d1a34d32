"""The annotator in Chromium with 1,000 masks on 2,000×1,500 px: `python -m benchmarks.annotator --json F`.

The page is a bare one that holds the built module and a stand-in for the notebook's model; the other side is the real
`Session` on a real project in SQLite, in this process. What JupyterLab adds on the way is not in these figures. Times of
gestures in the page are from the event until its frame is drawn into the canvas, without waiting for the screen.
"""

from __future__ import annotations

import argparse
import functools
import http.server
import json
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from playwright.sync_api import Page, sync_playwright

import workbench as wb
from benchmarks.figures import Row, write_rows
from benchmarks.measuring import commit, median, processor
from workbench.masks import rle
from workbench.store import runs
from workbench.widgets.annotator import STATIC
from workbench.widgets.session import Session

SIZE_HW = (1500, 2000)
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--enable-precise-memory-info"]
HOST = """<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,"><div id="place" style="width:1400px"></div>
<script type="module">
import annotator from "./annotator.js";
const values = {outbox: [], heard: {}, replies: [], acked: {}, fault: "", view: {}}, calls = {}, dirty = new Set();
const bytes = async (from) => new DataView(await (await fetch(from)).arrayBuffer()); // as notebooks do: never as text
const taken = async (told) => {
  for (const [name, value] of Object.entries(told)) values[name] = value?.bytes ? await bytes(value.bytes) : value;
  for (const name of Object.keys(told)) for (const call of calls[name] ?? []) call();
};
let last = Promise.resolve();
const take = (told) => (last = last.then(() => taken(told)));
const model = {
  get: (name) => values[name],
  set: (name, value) => { values[name] = value; dirty.add(name); },
  save_changes: async () => {
    const told = Object.fromEntries([...dirty].map((name) => [name, values[name]]));
    dirty.clear();
    await take(JSON.parse(await window.kernel(JSON.stringify(told))));
  },
  on: (name, call) => (calls[name.slice(7)] ??= []).push(call),
  off: () => {},
};
window.host = {
  values, take, model, render: () => annotator.render({ model, el: document.querySelector("#place") }),
  poll: async () => take(JSON.parse(await window.kernel("{}"))),
};
window.ready = true;
</script>"""
# one gesture, until its frame is in the canvas: the frame's work is run at once, and reading a pixel back ends drawing
IN_PAGE = """([kind, points]) => {
  const root = document.querySelector(".wb"), stage = root.querySelector(".wb-stage"), took = [];
  const [scale, left, top] = root.dataset.camera.split(" ").map(Number), corner = stage.getBoundingClientRect();
  const plain = window.requestAnimationFrame, waiting = [];
  window.requestAnimationFrame = (call) => waiting.push(call);
  const flush = () => { while (waiting.length) waiting.shift()(performance.now());
    for (const canvas of root.querySelectorAll("canvas")) if (canvas.width) canvas.getContext("2d").getImageData(0, 0, 1, 1); };
  const fire = (name, x, y, buttons) => stage.dispatchEvent(new PointerEvent(name, { bubbles: true, pointerId: 1, isPrimary: true,
    clientX: corner.x + left + x * scale, clientY: corner.y + top + y * scale, button: name === "pointermove" ? -1 : 0, buttons }));
  stage.setPointerCapture = () => {};
  for (const [x, y] of points) {
    const since = performance.now();
    if (kind === "hover") fire("pointermove", x, y, 0);
    else if (kind === "select") { fire("pointerdown", x, y, 1); fire("pointerup", x, y, 0); }
    else root.dispatchEvent(new KeyboardEvent("keydown", { key: kind.at(-1), bubbles: true }));
    flush();
    took.push(performance.now() - since);
  }
  window.requestAnimationFrame = plain;
  return took;
}"""


def masks_of(count: int, rng: np.random.Generator) -> tuple[np.ndarray, list[bytes]]:
    """Return an image of coloured ellipses, (H, W, 3) uint8, and the run lengths of them all."""
    h, w = SIZE_HW
    image = rng.normal(120, 12, (h, w, 3))
    rles = []
    for _ in range(count):
        x, y, a, b = rng.uniform(0, w), rng.uniform(0, h), rng.uniform(8, 55), rng.uniform(8, 55)
        x0, y0, x1, y1 = max(0, int(x - a)), max(0, int(y - b)), min(w, int(x + a) + 1), min(h, int(y + b) + 1)
        ys, xs = np.mgrid[y0:y1, x0:x1]
        inside = ((xs - x) / a) ** 2 + ((ys - y) / b) ** 2 <= 1
        if not inside.any():
            continue
        image[y0:y1, x0:x1][inside] = rng.uniform(20, 235, 3) + rng.normal(0, 8, (int(inside.sum()), 3))
        rles += rle.uncrop(rle.encode(inside[None]), (x0, y0, x1, y1), SIZE_HW)
    return np.clip(image, 0, 255).astype(np.uint8), rles


@contextmanager
def project_of(folder: Path, count: int, rng: np.random.Generator) -> Iterator[wb.Project]:
    """Yield a project of one image whose proposals are the ellipses, a third of them flagged."""
    (folder / "images").mkdir()
    image, rles = masks_of(count, rng)
    Image.fromarray(image).save(folder / "images" / "ellipses.png")
    with wb.Project.create(folder / "bench.wb", folder / "images") as project:
        (image_id,) = project.images()["image_id"]
        columns = {"boxes_xyxy": rle.to_boxes(rles, SIZE_HW), "area_px": rle.area(rles, SIZE_HW), "sizes_hw": SIZE_HW}
        scores = rng.choice([0.84, 0.95, 0.97], len(rles)).astype(np.float32)
        rows = wb.Proposals.make(image_id=image_id, rles=rles, predicted_iou=scores, model_id="made", **columns)
        run = runs.begin(
            project.catalog, "made", "0" * 12, wb.ProposeConfig(pool="distinct", nms_iou=1.0).to_dict(), wb.__version__
        )
        with runs.writing(project.catalog, project.path, run) as writer:
            writer.done(1, SIZE_HW, rows, len(rows), 0.0)
        plain = dict.fromkeys(("unusual_solidity", "unusual_size_z", "overlap", "ambiguous_spread", "border_px"))
        project.triage(
            wb.TriageConfig(jitter_stability=None, low_contrast=None, ragged_roughness=None, nms_iou=1.0, **plain)
        )
        yield project


class Kernel:
    """The Python side as the page calls it: traits in, changed traits out."""

    def __init__(self, project: wb.Project, sam: object) -> None:
        self.changed: dict[str, Any] = {}
        self.acked_ms: list[float] = []
        self.told_ms: list[float] = []
        self._acked_at = 0.0
        self.bytes: dict[str, bytes] = {}  # traits that are bytes, by the path that the page fetches them from
        self.session = Session(project, "bench", self._publish, sam=sam)  # type: ignore[arg-type]

    def _publish(self, told: Mapping[str, Any]) -> None:
        if "acked" in told and not self._acked_at:
            self._acked_at = time.perf_counter()
        self.changed.update(told)

    def call(self, text: str) -> str:
        """Handle what the page has set; answer with what has changed."""
        told = json.loads(text)
        if "outbox" in told:
            kinds = {message["kind"] for message in told["outbox"]}
            since, self._acked_at = time.perf_counter(), 0.0
            self.session.receive(told["outbox"])
            if kinds == {"verdict"} and len(told["outbox"]) == 1:
                self.acked_ms.append(1000 * (self._acked_at - since))
                self.told_ms.append(1000 * (time.perf_counter() - since))
        if "heard" in told:
            self.session.heard(told["heard"])
        return self.take()

    def take(self) -> str:
        """Return what has changed since the last call; bytes are fetched by themselves."""
        changed = dict(self.changed)
        self.changed.clear()
        for name, value in changed.items():
            if isinstance(value, bytes):
                self.bytes[f"/bytes/{name}"] = value
                changed[name] = {"bytes": f"/bytes/{name}"}
        return json.dumps(changed)


@contextmanager
def page_of(kernel: Kernel, folder: Path) -> Iterator[Page]:
    """Yield a page that holds the module and speaks to the kernel; nothing is shown yet."""
    shutil.copy(STATIC / "annotator.js", folder)
    (folder / "index.html").write_text(HOST, "utf-8")
    handler = functools.partial(_Files, directory=str(folder), made=kernel.bytes)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        page = browser.new_page(viewport={"width": 1500, "height": 1000})
        page.expose_function("kernel", kernel.call)
        page.goto(f"http://127.0.0.1:{server.server_port}/index.html")
        page.wait_for_function("window.ready")
        yield page
        browser.close()
    server.shutdown()


class _Files(http.server.SimpleHTTPRequestHandler):
    """Serves the files of a folder, and bytes that were made."""

    def __init__(self, *args: Any, made: Mapping[str, bytes], **given: Any) -> None:
        self.made = made
        super().__init__(*args, **given)

    def do_GET(self) -> None:
        """Answer with a file, or with bytes."""
        found = self.made.get(self.path)
        if found is None:
            return super().do_GET()
        self.send_response(200)
        self.send_header("Content-Length", str(len(found)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(found)

    def log_message(self, *args: object) -> None:
        """Say nothing."""


def first_paint(page: Page, kernel: Kernel) -> list[float]:
    """Open the image; return ms from data in the page until all masks are painted."""
    kernel.session.start()
    page.evaluate("told => { host.render(); return host.take(JSON.parse(told)); }", kernel.take())
    page.wait_for_function("performance.getEntriesByName('workbench:painted').length", timeout=60_000)
    at = "name => performance.getEntriesByName(name)[0].startTime"
    return [page.evaluate(at, "workbench:painted") - page.evaluate(at, "workbench:data")]


def gestures(page: Page, count: int) -> list[float]:
    """Accept `count` masks by key, one after the other; return ms from the key until the page is told that it is safe."""
    took = []
    page.evaluate("document.querySelector('.wb').focus()")
    page.keyboard.press("n")
    for _ in range(count):
        since = time.perf_counter()
        page.keyboard.press("a")
        page.wait_for_function("document.querySelector('.wb').dataset.waiting === '0'")
        took.append(1000 * (time.perf_counter() - since))
    return took


def clicks(page: Page, count: int, rng: np.random.Generator) -> list[float]:
    """Click with the model's tool; return ms from the click until its mask is in the page, the embedding being there."""
    took = []
    scale, left, top = map(float, str(page.get_attribute(".wb", "data-camera")).split())
    box = page.locator(".wb-stage").bounding_box()
    assert box is not None
    for k in range(count + 1):
        page.keyboard.press("c")
        x, y = rng.uniform(300, 1700), rng.uniform(300, 1200)
        page.evaluate("performance.clearMarks('workbench:live')")
        since = time.perf_counter()
        page.mouse.click(box["x"] + left + x * scale, box["y"] + top + y * scale)
        while not page.evaluate("host.poll().then(() => performance.getEntriesByName('workbench:live').length)"):
            if time.perf_counter() - since > 60:
                raise SystemExit("the model did not answer within a minute")
        took.append(1000 * (time.perf_counter() - since)) if k else None  # the first waits for the embedding
        page.keyboard.press("Escape")
        page.keyboard.press("Escape")  # drops the drawing, and the tool with it
    return took


def memory_rows(page: Page) -> list[Row]:
    """Return the memory of the page's process: its own (anonymous and shared), and with the mapped files of Chromium."""
    browser = page.context.browser
    assert browser is not None
    known = browser.new_browser_cdp_session().send("SystemInfo.getProcessInfo")["processInfo"]
    found = []
    for process in known:
        if process["type"] == "renderer":
            lines = Path(f"/proc/{process['id']}/status").read_text("utf-8").splitlines()
            found.append({x.split(":")[0]: int(x.split()[1]) / 2**10 for x in lines if x.startswith(("VmRSS", "Rss"))})
    largest = max(found, key=lambda sizes: sizes["VmRSS"])
    heap = page.evaluate("performance.memory.usedJSHeapSize") / 2**20
    own = largest["RssAnon"] + largest["RssShmem"]
    return [
        Row("memory: JavaScript heap", heap, "MiB", None, 1, None, "<="),
        Row("memory: process of the page, its own", own, "MiB", None, 1, 300, "<="),
        Row("memory: the same with Chromium's files", largest["VmRSS"], "MiB", None, 1, None, "<="),
    ]


def rows_of(name: str, took_ms: Sequence[float], aims: dict[str, float | None]) -> list[Row]:
    """Return the median, with its interval, and the 99th percentile where an aim names it."""
    values = np.asarray(took_ms)
    rows = []
    if "median" in aims:
        value, unit, interval = median(values, "ms")
        rows.append(Row(f"{name}: median", value, unit, interval, len(values), aims["median"], "<="))
    if "p99" in aims:
        rows.append(Row(f"{name}: p99", float(np.quantile(values, 0.99)), "ms", None, len(values), aims["p99"], "<="))
    return rows


def measure(project: wb.Project, folder: Path, n: int, rng: np.random.Generator) -> list[Row]:
    """Measure all that the page does."""
    kernel = Kernel(project, wb.load_sam())
    with page_of(kernel, folder) as page:
        rows = rows_of("first paint after data is in the browser", first_paint(page, kernel), {"median": 1000})
        points = rng.uniform((20, 20), (SIZE_HW[1] - 20, SIZE_HW[0] - 20), (n, 2)).tolist()
        for kind in ("hover", "select", "toggle all: h", "toggle fills: t", "toggle discarded: d"):
            took = page.evaluate(IN_PAGE, [kind, points[: n // 2 * 2]])  # an even number: what is toggled is as before
            rows += rows_of(kind, took[5:], {"median": 16, "p99": 50})
        rows += rows_of("key to acknowledged, in the page", gestures(page, n), {"median": 40, "p99": 40})
        rows += rows_of("gesture to acknowledged, fsync included", kernel.acked_ms, {"median": 40, "p99": 40})
        rows += rows_of("gesture to the reply that says what it changed", kernel.told_ms, {"median": None})
        rows += rows_of("click to SAM mask, embedding cached", clicks(page, 20, rng), {"median": 300})
        rows += memory_rows(page)
    kernel.session.close()
    return rows


def main(given: Sequence[str] | None = None) -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="where to write the figures")
    parser.add_argument("--masks", type=int, default=1000)
    parser.add_argument("--gestures", type=int, default=200, help="of each kind")
    a = parser.parse_args(given)
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        with project_of(folder, a.masks, rng) as project:
            rows = measure(project, folder, a.gestures, rng)
    device = f"{processor()}; Chromium without GPU, a bare page, {a.masks} masks on {SIZE_HW[1]}×{SIZE_HW[0]} px"
    write_rows("annotator", commit(), device, rows, a.json)


if __name__ == "__main__":
    main()
