"""Pages and figures in cells of a live JupyterLab: they are drawn with their styles, and no other host is asked."""

from __future__ import annotations

import pytest
from ui import hosts as serving
from ui.conftest import run_all, shut_down
from ui.pages import Watch

pytestmark = [pytest.mark.browser, pytest.mark.slow]
PATIENCE_MS = 240_000  # machines of tests are busy; nothing is timed here

# the pixels of a canvas that are not as most are
DRAWN = """canvas => {
  const {width, height} = canvas
  const pixels = new Uint32Array(canvas.getContext("2d").getImageData(0, 0, width, height).data.buffer)
  return pixels.filter(pixel => pixel !== pixels[0]).length
}"""
# what style sheets of Panel's set, and nothing else: of its themes, without pages and with them
FIGURE = "element => getComputedStyle(element).getPropertyValue('--panel-primary-color').trim()"
PAGE = "element => getComputedStyle(element).getPropertyValue('--handle-width').trim()"


@pytest.fixture
def run(lab, new_context):
    """Return a function that runs cells in JupyterLab, and returns their outputs, and what must not happen in the page."""
    url, folder = lab
    pages = []

    def run_cells(name, *cells):
        serving.write_notebook(folder / f"{name}.ipynb", *cells, "print('all of it', 'is run')")
        page = new_context().new_page()
        pages.append(page)
        watch = Watch(page)
        page.goto(f"{url}/lab/workspaces/{name}/tree/{name}.ipynb")
        run_all(page)
        page.get_by_text("all of it is run", exact=True).wait_for(state="attached", timeout=PATIENCE_MS)
        outputs = page.locator(".jp-CodeCell .jp-OutputArea")
        return [outputs.nth(k) for k in range(len(cells))], watch

    yield run_cells
    for page in pages:
        shut_down(page)


def seen(output, selector, text=None):
    """Return the first such element of an output, brought to the screen."""
    found = output.locator(selector, has_text=text).first
    found.wait_for(state="attached", timeout=PATIENCE_MS)
    found.scroll_into_view_if_needed()
    found.wait_for(state="visible", timeout=PATIENCE_MS)
    return found


def test_figures__in_cells_ask_no_other_host(run, project_path):
    opened = f"import workbench as wb\nproject = wb.Project.open({str(project_path)!r})"
    plots = "project.cycles().plot()", "project.efficiency('seed').plot()"
    (_, *outputs), watch = run("figures", opened, *plots)
    for output in outputs:
        assert seen(output, ".bk-Row").evaluate(FIGURE) == "#0072b5"
        assert seen(output, "canvas.bk-layer").evaluate(DRAWN) > 100
    outputs[0].page.wait_for_timeout(1_000)  # what is asked late counts too
    watch.check()


def test_pages__in_cells_ask_no_other_host_when_shown_and_when_changed(run, project_path):
    opened = f"import workbench as wb\npages = wb.Dashboard({str(project_path)!r})"
    shown = "page = pages.thresholds\npage"
    (_, cycles, thresholds, _), watch = run(
        "pages", opened, "pages.cycles", shown, "page.state.predicted_iou = 0.9\npage.say('moved by a cell')"
    )
    seen(thresholds, ".box", "moved by a cell")
    seen(cycles, "h2", "Where the campaign stands")
    for output, words in ((cycles, "Why masks are flagged"), (thresholds, "What these thresholds give")):
        seen(output, "h2", words)
        assert seen(output, ".bk-panel-models-layout-Column").evaluate(PAGE) == "16px"
        assert seen(output, "canvas.bk-layer").evaluate(DRAWN) > 100
    cycles.page.wait_for_timeout(1_000)  # what is asked late counts too
    watch.check()
