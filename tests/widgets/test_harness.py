"""The annotator in Chromium on a stand-in kernel: every gesture at the level of the messages that it sends."""

from __future__ import annotations

import functools
import http.server
import threading
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.browser


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        """Nothing: requests are counted by the page."""


@pytest.fixture(scope="module")
def address():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(ROOT)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


class Annotator:
    """A page with the annotator: keys, clicks at image pixels, and what its kernel has received."""

    def __init__(self, page, address):
        self.page, self.address, self.console, self.hosts = page, address, [], set()
        page.on("console", lambda m: self.console.append(m.text) if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda e: self.console.append(str(e)))
        page.on(
            "request", lambda r: self.hosts.add(r.url) if not r.url.startswith((address, "data:", "blob:")) else None
        )

    def open(self, **options):
        query = "&".join(f"{name}={value}" for name, value in options.items())
        self.page.goto(f"{self.address}/js/harness/index.html?{query}")
        self.ready("made-1.png")
        self.page.evaluate("document.querySelector('.wb').focus()")
        return self

    def ready(self, image):
        self.page.wait_for_function("name => document.querySelector('.wb')?.dataset.image === name", arg=image)

    def state(self, name):
        self.page.evaluate("new Promise(requestAnimationFrame)")
        return self.page.locator(".wb").get_attribute(f"data-{name}")

    def press(self, *keys):
        for key in keys:
            self.page.keyboard.press(key)

    def place(self, x, y):
        scale, left, top = map(float, self.state("camera").split())
        corner = self.page.locator(".wb-stage").bounding_box()
        return corner["x"] + left + scale * x, corner["y"] + top + scale * y

    def click(self, x, y, button="left"):
        self.page.mouse.click(*self.place(x, y), button=button)

    def drag(self, *points, button="left"):
        self.page.mouse.move(*self.place(*points[0]))
        self.page.mouse.down(button=button)
        for point in points[1:]:
            self.page.mouse.move(*self.place(*point), steps=4)
        self.page.mouse.up(button=button)

    def journal(self, count):
        self.page.wait_for_function("n => window.harness.kernel.journal.length >= n", arg=count)
        return self.page.evaluate("window.harness.kernel.journal")

    def last(self, count):
        found = self.journal(count)
        assert len(found) == count, [m["kind"] for m in found]
        return found[-1]

    def received(self, kind):
        self.page.wait_for_function("k => window.harness.kernel.received.some(m => m.kind === k)", arg=kind)
        return [m for m in self.page.evaluate("window.harness.kernel.received") if m["kind"] == kind]

    def dialog(self, kind):
        self.page.wait_for_function("k => document.querySelector('.wb').dataset.dialog === k", arg=kind)

    def text(self):
        return self.page.locator(".wb").inner_text()


@pytest.fixture
def annotator(browser, address):
    context = browser.new_context(viewport={"width": 1300, "height": 850})
    made = Annotator(context.new_page(), address)
    yield made
    assert made.console == []
    assert made.hosts == set()
    context.close()


def test_verdicts__keys_advance_to_the_next_flagged(annotator):
    annotator.open()
    since = time.monotonic()
    annotator.press("n")
    first = annotator.state("selected")
    annotator.press("a")
    second = annotator.state("selected")
    annotator.press("r")
    accepted, rejected = annotator.journal(2)
    assert (accepted["kind"], accepted["mask"], accepted["verdict"]) == ("verdict", first, "accept")
    assert (rejected["mask"], rejected["verdict"], rejected["phase"]) == (second, "reject", "verdict")
    assert first != second
    assert 0 < accepted["elapsed_ms"] <= 1000 * (time.monotonic() - since) + 60_000  # the image was open before
    assert annotator.state("selected") not in (first, second)
    annotator.press("p", "u")
    assert annotator.page.evaluate("window.harness.leaked") == []


def test_select__click_then_the_mask_underneath(annotator):
    annotator.open()
    inner, outer = annotator.page.evaluate(
        """() => {
          const { blobs, view } = window.harness.kernel.scene;
          const i = blobs.findIndex((b, k) => b.nested && [k, k - 1].every((m) => view.masks.outcome[m] !== "discarded"));
          return [{ ...blobs[i], id: view.masks.id[i] }, { id: view.masks.id[i - 1] }];
        }"""
    )
    annotator.click(inner["x"], inner["y"])
    assert annotator.state("selected") == inner["id"]
    annotator.click(inner["x"], inner["y"])
    assert annotator.state("selected") == outer["id"]
    annotator.page.locator("[data-action=reject]").click()
    assert annotator.last(1)["mask"] == outer["id"]


def test_accept_all__leaves_rejected_and_discarded_ones(annotator):
    annotator.open().press("n", "r", "Shift+A")
    rejected, bulk = annotator.journal(2)
    columns = annotator.page.evaluate("window.harness.kernel.scene.view.masks")
    kept = [i for i, o in zip(columns["id"], columns["outcome"], strict=True) if o != "discarded"]
    assert bulk["kind"] == "accept_all"
    assert bulk["masks"] == [i for i in kept if i != rejected["mask"]]


def test_undo__gesture_by_gesture_and_again(annotator):
    annotator.open().press("n", "a", "r", "Control+z", "Control+z", "Control+Shift+Z")
    a, r, *turns = annotator.journal(5)
    assert [(t["kind"], t["gesture"]) for t in turns] == [
        ("undo", r["gesture_id"]),
        ("undo", a["gesture_id"]),
        ("redo", a["gesture_id"]),
    ]


def test_label__by_key_and_off_again(annotator):
    annotator.open().press("n")
    chosen = annotator.state("selected")
    annotator.press("2", "2")
    given, taken = annotator.journal(2)
    assert (given["kind"], given["mask"], given["label"]) == ("label", chosen, "nucleus")
    assert taken["label"] == ""


def test_polygon__closed_and_saved_by_enter(annotator):
    annotator.open().press("g")
    for x, y in [(100, 100), (200, 100), (200, 180), (100, 180)]:
        annotator.click(x, y)
    annotator.press("Control+z", "Control+Shift+Z", "Enter")
    drawn = annotator.last(1)
    assert (drawn["kind"], drawn["tool"], drawn["phase"]) == ("draw", "polygon", "draw")
    assert len(drawn["prompts"]["polygons"][0]["points"]) == 4
    from workbench.masks import rle

    assert rle.area([drawn["rle"].encode()], (900, 1200))[0] == pytest.approx(8000, rel=0.03)


def test_polygon__without_pixels_is_refused_and_one_that_crosses_itself_is_told(annotator):
    annotator.open().press("g")
    for corners in ([(100, 100), (200, 100)], [(100, 100), (150, 100), (200, 100)]):
        for x, y in corners:
            annotator.click(x, y)
        annotator.press("Enter")
        assert "holds no pixel" in annotator.text()
        annotator.press("Escape")
    assert annotator.page.evaluate("window.harness.kernel.journal") == []
    for x, y in [(100, 100), (200, 200), (200, 100), (100, 200)]:
        annotator.click(x, y)
    annotator.press("Enter")
    assert annotator.last(1)["kind"] == "draw"
    assert "crosses itself" in annotator.text()


def test_brush__a_stroke_without_length_is_a_disc_and_one_outside_is_nothing(annotator):
    from workbench.masks import rle

    annotator.open().press("b", "-", "-")
    annotator.click(-30, 300)
    annotator.press("Enter")
    assert "The mask is empty." in annotator.text()
    annotator.click(300, 300)
    annotator.press("Enter")
    drawn = annotator.last(1)
    assert rle.area([drawn["rle"].encode()], (900, 1200))[0] == pytest.approx(12**2 * 3.14, rel=0.05)


def test_brush__a_first_stroke_that_was_undone_can_be_done_again(annotator):
    annotator.open().press("n", "a", "b")
    annotator.drag((300, 300), (420, 300))
    annotator.press("Control+z")
    assert annotator.state("draft") == ""
    annotator.press("Control+z", "Control+Shift+Z", "Control+Shift+Z")  # the verdict, then the stroke
    assert annotator.state("draft") == "new"
    annotator.press("Enter")
    assert [m["kind"] for m in annotator.journal(4)] == ["verdict", "undo", "redo", "draw"]


def test_brush__strokes_eraser_sizes_and_undo_within(annotator):
    annotator.open().press("b", "]", "[")
    annotator.drag((300, 300), (420, 300))
    annotator.drag((300, 340), (420, 340))
    annotator.press("Control+z", "e")
    annotator.drag((360, 280), (360, 320))
    annotator.press("Enter")
    drawn = annotator.last(1)
    from workbench.masks import rle

    area = rle.area([drawn["rle"].encode()], (900, 1200))[0]
    assert drawn["tool"] == "brush"
    assert 24 * 120 - 40 * 24 < area < 24 * 150
    x0, y0, x1, y1 = rle.to_boxes([drawn["rle"].encode()], (900, 1200))[0]
    assert (y0, y1) == pytest.approx((288, 312), abs=3)
    assert (x0, x1) == pytest.approx((288, 432), abs=3)
    annotator.press("Control+z")
    assert annotator.last(2)["gesture"] == drawn["gesture_id"]


def test_clicks__positive_and_negative_with_a_live_mask(annotator):
    annotator.open().press("c")
    annotator.click(500, 400)
    annotator.received("prompt")
    annotator.click(540, 430, button="right")
    annotator.page.wait_for_function("window.harness.kernel.received.filter(m => m.kind === 'prompt').length >= 2")
    points = annotator.received("prompt")[-1]["points"]
    assert [p[2] for p in points] == [1, 0]
    assert points[0][:2] == pytest.approx([500, 400], abs=2)
    annotator.page.wait_for_function("document.querySelector('.wb').innerText.includes('own estimate')")
    annotator.press("Enter")
    drawn = annotator.last(1)
    assert (drawn["tool"], drawn["prompts"]["points"]) == ("click", points)


def test_box__asks_the_model(annotator):
    annotator.open().press("o")
    annotator.drag((400, 300), (520, 420))
    box = annotator.received("prompt")[0]["box"]
    assert box == pytest.approx([400, 300, 520, 420], abs=2)
    annotator.press("Enter")
    drawn = annotator.last(1)
    assert (drawn["kind"], drawn["tool"], drawn["prompts"]["box"]) == ("draw", "box", box)


def test_edit__supersedes_and_undo_brings_it_back(annotator):
    annotator.open().press("n")
    mask = annotator.state("selected")
    annotator.press("e")
    assert annotator.state("draft") == "edit"
    annotator.drag((600, 600), (640, 600))
    annotator.press("Enter")
    edit = annotator.last(1)
    assert (edit["kind"], edit["mask"]) == ("edit", mask)
    annotator.page.wait_for_function("document.querySelector('.wb').dataset.selected.startsWith('d')")
    annotator.press("Control+z")
    assert annotator.last(2)["kind"] == "undo"
    annotator.page.wait_for_function("m => document.querySelector('.wb').dataset.selected === m", arg=mask)


def test_redraw__rejects_and_replaces_in_place(annotator):
    annotator.open().press("n")
    mask = annotator.state("selected")
    annotator.press("Shift+R")
    annotator.click(500, 400)
    annotator.received("prompt")
    annotator.press("Enter")
    rejected, drawn = annotator.journal(2)
    assert (rejected["mask"], rejected["verdict"]) == (mask, "reject")
    assert (drawn["kind"], drawn["replaces"]) == ("draw", mask)


def test_complete__asks_about_masks_left_then_about_coverage(annotator):
    annotator.open(coverage=1).press("Enter")
    annotator.dialog("undecided")
    annotator.press("a")
    annotator.dialog("coverage")
    assert "Continue annotating?" in annotator.text()
    annotator.press("y")
    annotator.ready("made-2.png")
    told = [(m["kind"], m.get("choice"), m.get("confirmed")) for m in annotator.journal(4)]
    assert told[1:] == [("complete", None, None), ("answer", "complete", None), ("complete", None, True)]


def test_complete__pressed_twice_goes_to_a_mask_and_loses_none(annotator):
    annotator.open().press("Enter")
    annotator.dialog("undecided")
    annotator.press("Enter")
    assert annotator.state("selected") != ""
    assert annotator.state("image") == "made-1.png"
    annotator.press("Enter")
    annotator.dialog("undecided")
    annotator.press("w")
    annotator.ready("made-2.png")
    assert annotator.last(1)["kind"] == "complete"


def test_coverage__continue_stays(annotator):
    annotator.open(coverage=1).press("Shift+A", "Enter")
    annotator.dialog("coverage")
    annotator.press("c")
    assert annotator.last(3)["choice"] == "continue"
    assert annotator.state("image") == "made-1.png"


def test_overlap__saved_first_then_undone_on_request(annotator):
    annotator.open(overlap=1).press("g")
    for x, y in [(100, 100), (200, 100), (200, 180)]:
        annotator.click(x, y)
    annotator.press("Enter")
    annotator.dialog("overlap")
    annotator.press("z")
    drawn, answer, undo = annotator.journal(3)
    assert (answer["dialog"], answer["choice"]) == ("overlap", "undo")
    assert (undo["kind"], undo["gesture"]) == ("undo", drawn["gesture_id"])


def test_skip__with_a_reason_written(annotator):
    annotator.open().press("k")
    annotator.dialog("skip")
    annotator.page.get_by_label("Another reason").fill("wrong <i>stain</i>")
    annotator.press("Enter")
    annotator.ready("made-2.png")
    assert annotator.last(1)["reason"] == "wrong <i>stain</i>"


def test_view__zoom_is_kept_when_anything_toggles(annotator):
    annotator.open()
    annotator.page.mouse.move(*annotator.place(400, 400))
    annotator.page.mouse.wheel(0, -300)
    before = annotator.state("camera")
    annotator.press("d", "t", "h", "h", "a")
    annotator.page.locator("[data-group=accepted] input").click()
    assert annotator.state("camera") == before
    annotator.drag((400, 400), (420, 410))
    assert annotator.state("camera") != before
    annotator.press("f")
    assert annotator.state("camera") != before


# pixels of each canvas that a group of masks is drawn on, fills and lines of every group; read from a copy
PIXELS = """[...document.querySelectorAll(".wb-sheets canvas")].map((canvas) => {
  if (!canvas.width) return 0;
  const copy = Object.assign(document.createElement("canvas"), { width: canvas.width, height: canvas.height });
  const context = copy.getContext("2d", { willReadFrequently: true });
  context.drawImage(canvas, 0, 0);
  return new Uint32Array(context.getImageData(0, 0, copy.width, copy.height).data.buffer).filter(Boolean).length;
})"""


def test_canvases__only_groups_that_show_a_mask_hold_pixels(annotator):
    annotator.open()
    annotator.page.wait_for_function(f"() => {PIXELS}.filter(Boolean).length >= 4")  # to review and accepted
    assert sum(pixels > 0 for pixels in annotator.page.evaluate(PIXELS)) == 4
    annotator.press("n", "r")
    annotator.page.wait_for_function(f"() => {PIXELS}.filter(Boolean).length === 5")  # rejected masks are lines only
    annotator.press("Control+z")
    annotator.page.mouse.move(*annotator.place(400, 400))
    annotator.page.mouse.wheel(0, -300)  # drawn afresh
    annotator.page.wait_for_function(f"() => {PIXELS}.filter(Boolean).length === 4")
    sizes = "[...document.querySelectorAll('.wb-sheets canvas')].filter((canvas) => canvas.width).length"
    annotator.page.wait_for_function(f"() => {sizes} === 4")  # what shows nothing holds none


def test_reload__goes_on_where_the_kernel_did_not_answer(annotator):
    annotator.open()
    annotator.page.evaluate("window.harness.kernel.dead = true")
    annotator.press("n", "a", "r")
    annotator.page.wait_for_function("document.querySelector('.wb').dataset.waiting === '2'", timeout=9000)
    annotator.page.wait_for_function(
        "document.querySelector('.wb-banner').innerText.includes('does not answer')", timeout=9000
    )
    assert "2 gestures are kept" in annotator.text()
    sent = annotator.page.evaluate("window.harness.model.get('outbox').map(m => m.gesture_id)")
    annotator.page.reload()
    annotator.ready("made-1.png")
    assert [m["gesture_id"] for m in annotator.journal(2)] == sent
    annotator.page.wait_for_function("localStorage.length === 0")


def test_reload__brings_an_unfinished_drawing_back(annotator):
    annotator.open().press("b")
    annotator.drag((300, 300), (420, 300))
    annotator.page.reload()
    annotator.ready("made-1.png")
    annotator.page.wait_for_function("document.querySelector('.wb').dataset.draft === 'new'")
    annotator.page.evaluate("document.querySelector('.wb').focus()")
    annotator.press("Enter")
    drawn = annotator.last(1)
    from workbench.masks import rle

    assert drawn["kind"] == "draw"
    assert rle.area([drawn["rle"].encode()], (900, 1200))[0] > 24 * 120
    assert annotator.page.evaluate("localStorage.length") == 0


def test_refused__in_words_and_taken_back(annotator):
    annotator.open().press("n")
    mask = annotator.state("selected")
    annotator.page.evaluate("window.harness.kernel.refuse = 'This mask is gone.'")
    annotator.press("a")
    annotator.page.wait_for_function("document.querySelector('.wb-message').innerText === 'This mask is gone.'")
    annotator.press("p")
    row = annotator.page.locator(f".wb-row[data-id={mask}]")
    assert "accepted" not in row.inner_text()


def test_fault__stands_in_a_banner_as_text(annotator):
    annotator.open()
    annotator.page.evaluate("window.harness.model.tell({ fault: 'disk full <img src=x onerror=alert(1)>' })")
    assert annotator.page.locator(".wb-banner").inner_text() == "disk full <img src=x onerror=alert(1)>"
    assert annotator.page.locator(".wb-banner img").count() == 0


def test_audit__is_blind_and_judges(annotator):
    annotator.open(mode="audit").press("n")
    assert "Predicted IoU" not in annotator.page.locator(".wb-details").inner_text()
    annotator.press("a", "g")
    annotator.click(100, 100)
    assert annotator.state("draft") == ""
    assert annotator.last(1)["verdict"] == "accept"


def test_empty__says_so(annotator):
    annotator.page.goto(f"{annotator.address}/js/harness/index.html?mode=empty")
    annotator.page.wait_for_selector(".wb-empty:not([hidden])")
    assert "Nothing left to review." in annotator.text()


def test_empty__looks_again_by_itself_while_others_hold_images(annotator):
    annotator.page.clock.install()
    annotator.page.goto(f"{annotator.address}/js/harness/index.html?mode=empty&held=2")
    annotator.page.get_by_text("no image is free now: 2 with other annotators").wait_for()
    assert annotator.page.get_by_role("button", name="Look again").is_visible()
    annotator.page.evaluate("window.harness.kernel.options.held = 0")
    annotator.page.clock.fast_forward(16_000)
    annotator.page.get_by_role("button", name="Open the next image").wait_for()
    assert "1 image is free now" in annotator.text()
    annotator.page.clock.fast_forward(60_000)
    assert len(annotator.received("refresh")) == 1, "nobody holds an image: nothing to look for"


def test_list__of_a_thousand_keeps_few_rows_in_the_page(annotator):
    annotator.open(count=1000)
    assert annotator.page.locator(".wb-row").count() < 60
    annotator.page.get_by_label("Sort the list").select_option("predicted_iou+")
    values = annotator.page.locator(".wb-row .wb-value").all_inner_texts()
    assert values == sorted(values)
    annotator.page.get_by_label("Show in the list").select_option("reason:ambiguous")
    assert all("disagree" in text for text in annotator.page.locator(".wb-row:visible").all_inner_texts())


def test_next__stays_within_the_filter_of_the_list_while_it_has_masks_to_review(annotator):
    annotator.open(count=60)
    annotator.page.get_by_label("Show in the list").select_option("reason:ambiguous")
    rows = annotator.page.locator(".wb-row:visible")
    flagged = rows.evaluate_all(
        "rows => rows.filter(r => !/^(accepted|discarded)/.test(r.title)).map(r => r.dataset.id)"
    )
    assert flagged
    annotator.page.evaluate("document.querySelector('.wb').focus()")
    annotator.press("n")
    for mask in flagged:
        assert annotator.state("selected") == mask
        annotator.press("a")
    assert annotator.state("selected") not in ("", *flagged), "then the others"


def test_stop__leaves_no_listener_and_no_element(annotator):
    annotator.open()
    assert annotator.page.evaluate("window.harness.model.listening") == 7
    annotator.page.evaluate("window.harness.stop()")
    assert annotator.page.evaluate("window.harness.model.listening") == 0
    assert annotator.page.locator(".wb").count() == 0
    annotator.press("a")
    assert annotator.page.evaluate("window.harness.kernel.received") == []
