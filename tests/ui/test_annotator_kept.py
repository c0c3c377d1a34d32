"""Nothing is lost: reload, a kernel that restarts or dies, two annotators; and what a saved notebook holds."""

from __future__ import annotations

import json

import pytest
from ui import drawn_project as scenes
from ui.pages import AnnotatorPage

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def choose(page, project, outcome=1, nth=0):
    """Click on a mask and return its row."""
    review = project.image_review(page.data("image"))
    row = [k for k in range(len(review)) if review.outcome[k] == outcome][nth]
    page.click(*scenes.inside(review.masks.rles[row]))
    return row


def run_all(page):
    page.evaluate("() => { window.jupyterapp.commands.execute('notebook:run-all-cells'); }")


def test_reload__goes_on_where_one_was(open_lab, project):
    page = open_lab()
    page.focus()
    page.press(".")
    page.until(lambda: page.data("image") == "2-plain.png", what="the next image")
    row = choose(page, project)
    page.press("a")
    page.page.evaluate("() => window.jupyterapp.commands.execute('docmanager:save')")
    page.page.reload()
    page.page.wait_for_function(
        "() => window.jupyterapp && document.querySelector('.jp-Notebook .jp-Cell')", timeout=90_000
    )
    page.page.wait_for_timeout(3000)
    again = AnnotatorPage(page.page)
    if not again.root.count():
        run_all(page.page)
    again.wait()
    assert again.data("image") == "2-plain.png"
    assert project.image_review("2-plain.png").verdict[row] == 1
    again.focus()
    again.press("Control+z")
    page.until(lambda: project.image_review("2-plain.png").verdict[row] == 0, what="the verdict taken back")


def test_restart__unsent_gestures_are_sent_again(open_lab, project):
    page = open_lab()
    kernel = "window.jupyterapp.shell.currentWidget.context.sessionContext"
    row = choose(page, project)
    image = page.data("image")
    # the kernel is gone, and the annotator says so; what is done meanwhile waits in the page
    page.page.evaluate(f"() => {kernel}.session.kernel.interrupt()")
    page.page.evaluate(f"() => {kernel}.shutdown()")
    page.page.wait_for_timeout(1500)
    page.page.keyboard.press("a")
    page.until(lambda: "does not answer" in page.root.inner_text(), 30, "the banner")
    assert page.data("waiting") == "1"
    assert len(project.journal()) == 0
    page.page.evaluate(f"() => {kernel}.startKernel()")
    page.page.wait_for_function(f"() => {kernel}.session?.kernel?.status === 'idle'", timeout=90_000)
    run_all(page.page)
    page.until(lambda: len(project.journal()) == 1, 90, "the gesture that waited")
    review = project.image_review(image)
    assert review.verdict[row] == 1
    # the widget manager reports in the console that the kernel, which was shut down above, could not be reached
    page.watch.forgive("Could not send widget sync message Error: Cannot send")
    again = AnnotatorPage(page.page).wait()
    again.focus()
    again.press("Control+z")
    page.until(lambda: project.image_review(image).verdict[row] == 0, what="the verdict taken back")


def test_two_annotators__in_two_browsers(open_lab, project):
    one = open_lab(annotator="ann")
    two = open_lab(annotator="<b>bob</b>")
    assert {one.data("image"), two.data("image")} == {"1-cells.png", "2-plain.png"}
    rows = [choose(one, project), choose(two, project)]
    one.press("a")
    two.press("r")
    journal = project.journal()
    assert sorted(journal["annotator"]) == ["<b>bob</b>", "ann"]
    assert not journal["stale"].any()
    assert project.image_review("1-cells.png").verdict[rows[0]] == 1
    assert project.image_review("2-plain.png").verdict[rows[1]] == 2
    choose(two, project)
    assert "by <b>bob</b>" in two.root.inner_text(), "a name is shown as text"


def test_saved_notebook__holds_no_image(open_lab, lab):
    page = open_lab(name="saved.ipynb")
    page.page.evaluate("() => window.jupyterapp.commands.execute('docmanager:save')")
    path = lab[1] / "saved.ipynb"
    page.until(lambda: json.loads(path.read_text())["cells"][0]["outputs"], 20, "the saved output")
    text = path.read_text()
    assert len(text) < 5_000
    assert "widgets" not in json.loads(text)["metadata"]
    assert "image/png" not in text


class Code(str):
    """Words of a cell as they are."""

    __repr__ = str.__str__


def test_verify__a_verdict_leads_to_the_next_mask_that_was_drawn(open_lab, project):
    project.annotate_automatically(override="a trial", sample=1000)
    drawn = project.annotation_to_verify()
    asked = [str(mask) for mask in drawn.mask_id[drawn.image_id == drawn.image_id[0]]]
    assert len(asked) > 1
    page = open_lab(images=Code("project.annotation_to_verify()"))
    page.focus()
    seen = []
    for _ in asked:
        seen.append(page.data("selected"))
        page.press("a")
        page.until(lambda: page.data("selected") != seen[-1], what="the next mask")
    assert sorted(seen) == sorted(asked)
    assert "has its verdicts" in page.root.inner_text() or "Nothing is left" in page.root.inner_text()
    page.until(lambda: project.verify_annotation().labelled == len(asked), what="the verdicts in the journal")
    assert not project.reviewed_images()
