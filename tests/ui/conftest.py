"""For tests in the browser: a project of drawn scenes, one JupyterLab for all of them."""

from __future__ import annotations

import contextlib
import uuid

import pytest
from playwright.sync_api import TimeoutError as PlaywrightTimeout
from ui import drawn_project as scenes
from ui import hosts as serving
from ui.pages import AnnotatorPage, Watch

import workbench as wb

PROMPT = "document.querySelector('.jp-CodeCell .jp-InputPrompt')"  # "[ ]:" until the cell is run


@pytest.fixture(scope="session")
def browser_context_args(browser_context_args):
    """A screen that people have."""
    return {**browser_context_args, "viewport": {"width": 1500, "height": 1000}}


@pytest.fixture(scope="session")
def made_project(tmp_path_factory):
    return scenes.make(tmp_path_factory.mktemp("scenes"))


@pytest.fixture
def project_path(made_project, tmp_path):
    """A project of its own for each test."""
    return scenes.copy(made_project, tmp_path / "work")


@pytest.fixture
def project(project_path):
    with wb.Project.open(project_path) as opened:
        yield opened


@pytest.fixture(scope="session")
def lab(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lab")
    with serving.jupyter("lab", folder) as url:
        yield url, folder


@pytest.fixture
def open_lab(lab, new_context, project_path):
    """Return a function that opens a notebook with the annotator in a browser of its own, and runs it."""
    url, folder = lab
    watches = []
    opened = []

    def open_one(name=None, context=None, **given):
        name = name or f"{uuid.uuid4().hex[:8]}.ipynb"
        serving.write_notebook(folder / name, serving.opening(project_path, **given))
        page = (context or new_context()).new_page()
        watch = Watch(page)
        watches.append(watch)
        page.goto(f"{url}/lab/workspaces/{name.removesuffix('.ipynb')}/tree/{name}")
        run_all(page)
        opened.append(page)
        shown = AnnotatorPage(page).wait()
        shown.watch = watch
        return shown

    yield open_one
    for page in opened:
        shut_down(page)
    for watch in watches:
        watch.check()


def run_all(page) -> None:
    """Wait for the kernel, and run all cells of the notebook that is open."""
    page.wait_for_function("() => window.jupyterapp && document.querySelector('.jp-Notebook .jp-Cell')", timeout=90_000)
    page.wait_for_function(
        "() => window.jupyterapp.shell.currentWidget?.context?.sessionContext?.session?.kernel?.status === 'idle'",
        timeout=90_000,
    )
    for _ in range(30):  # while the page does not know its notebook yet, the command does nothing and says nothing
        page.evaluate("() => { window.jupyterapp.commands.execute('notebook:run-all-cells'); }")
        with contextlib.suppress(PlaywrightTimeout):
            page.wait_for_function(f"() => ({PROMPT})?.textContent.trim() !== '[ ]:'", timeout=3_000)
            return
    raise AssertionError("the notebook's cells do not run")


def shut_down(page) -> None:
    """End the kernel of the notebook that is open."""
    if not page.is_closed():
        page.evaluate("() => window.jupyterapp.shell.currentWidget.context.sessionContext.shutdown()")
        page.close()
