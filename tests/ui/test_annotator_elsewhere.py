"""The same annotator in Notebook 7 and in marimo: opens, takes a verdict and a drawing; the journal has both."""

from __future__ import annotations

import pytest
from ui import drawn_project as scenes
from ui import hosts as serving
from ui.conftest import run_all
from ui.pages import AnnotatorPage, Watch

pytestmark = [pytest.mark.browser, pytest.mark.slow]

MARIMO = """
import marimo

app = marimo.App()


@app.cell
def _():
    import marimo as mo
    import workbench as wb

    project = wb.Project.open({path!r})
    return mo, project, wb


@app.cell
def _(mo, project, wb):
    mo.ui.anywidget(wb.Annotator(project, annotator="mo"))
    return


if __name__ == "__main__":
    app.run()
"""


def accept_and_draw(page, project, annotator):
    review = project.image_review(page.data("image"))
    row = next(k for k in range(len(review)) if review.outcome[k] == 1)
    page.click(*scenes.inside(review.masks.rles[row]))
    page.press("a")
    page.press("Escape", "b")
    page.drag((4, 4), (30, 4))
    page.press("Enter")
    after = project.image_review(page.data("image"))
    assert (after.verdict[row], after.by[row]) == (1, annotator)
    assert len(after) == len(review) + 1
    assert after.masks.prompt[-1] == "brush"


def test_notebook_7__takes_a_verdict_and_a_drawing(new_context, project, project_path, tmp_path):
    folder = tmp_path / "server"
    with serving.jupyter("notebook", folder) as url:
        serving.write_notebook(folder / "n.ipynb", serving.opening(project_path, annotator="nb"))
        page = new_context().new_page()
        watch = Watch(page)
        page.goto(f"{url}/notebooks/n.ipynb")
        run_all(page)
        accept_and_draw(AnnotatorPage(page).wait(), project, "nb")
        # Notebook's own, while it loads settings; nothing of the annotator is called that
        watch.forgive(r"Cannot read properties of undefined \(reading 'schema'\)$")
        watch.check()
        page.close()


def test_marimo__takes_a_verdict_and_a_drawing(new_context, project, project_path, tmp_path):
    file = tmp_path / "server" / "review.py"
    file.parent.mkdir()
    file.write_text(MARIMO.format(path=str(project_path)))
    with serving.marimo(file) as url:
        page = new_context().new_page()
        watch = Watch(page)
        page.goto(url)
        accept_and_draw(AnnotatorPage(page).wait(), project, "mo")
        watch.check()
        page.close()
