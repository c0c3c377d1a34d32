"""What is shown in cells of notebooks names no style sheet at another host; served pages name theirs at this one."""

from __future__ import annotations

from types import SimpleNamespace

import holoviews as hv
import pandas as pd
import panel as pn
import pytest
from bokeh.document import Document
from bokeh.models import ImportedStyleSheet, InlineStyleSheet
from made_projects import made_project
from panel.io.state import set_curdoc
from panel.models.tabulator import DataTabulator

import workbench as wb
from workbench.views import layout, offline, pool_plots
from workbench.views.apps import PAGES

THEME = "--handle-width: 16px"  # in a style sheet of Panel's, and nowhere else


def addresses(root) -> list[str]:
    """Where a browser that is shown this asks for style sheets."""
    return [str(sheet.url) for sheet in root.select({"type": ImportedStyleSheet})]


def texts(root) -> str:
    return "".join(sheet.css for sheet in root.select({"type": InlineStyleSheet}))


@pytest.fixture
def comm():
    """As between a kernel and a page."""
    return pn.state._comm_manager.get_server_comm()


@pytest.fixture(params=[True, False], ids=["inline", "as a notebook's own hv.extension leaves it"])
def inline(request):
    before = pn.config.inline
    pn.config.inline = request.param
    yield request.param
    pn.config.inline = before


@pytest.mark.parametrize("panels", [1, 2])
def test_figure__in_a_cell_brings_its_styles(tmp_path, inline, panels):
    with made_project(tmp_path, images=1, rows=8) as project:
        one, other = project.cycles().plot(), project.efficiency("seed").plot()
    html = hv.renderer("bokeh").components(one if panels == 1 else one + other)[0]["text/html"]
    assert THEME in html
    assert "ImportedStyleSheet" not in html


@pytest.mark.parametrize("name", list(PAGES))
def test_page__in_a_cell_brings_its_styles(tmp_path, comm, inline, name):
    made_project(tmp_path, images=2, rows=20).close()
    root = wb.Dashboard(tmp_path / "project").page(name)._create_view().get_root(comm=comm)
    assert THEME in texts(root)
    assert addresses(root) == []


def test_page__what_changes_in_a_cell_brings_its_styles(comm, inline):
    sent: list[str] = []
    comm._comm = True  # the page has answered
    comm.send = lambda message=None, buffers=None: sent.append(str(message))
    shown = pn.Column(layout.words("before"))
    root = shown._render_model(Document(), comm)
    root.document.hold()
    shown[0].object = "after"
    shown.append(layout.words("more"))
    shown.append(layout.figure(hv.Curve([1, 2]), 200))
    assert [words in "".join(sent) for words in ("after", "more", "Figure")] == [True] * 3
    assert "ImportedStyleSheet" not in "".join(sent)
    assert addresses(root) == []


def test_words__are_not_what_panel_makes_of_text():
    assert type(layout.words("<b>ours</b>")) is offline.Words
    assert not isinstance(pn.panel("<b>theirs</b>"), offline.Words)


def test_served__names_addresses_at_this_host_and_sends_no_text():
    doc = Document()
    session = SimpleNamespace(server_context=None, session=None, request=SimpleNamespace(arguments={}))
    doc._session_context = lambda: session
    shown = pn.Column(layout.words("served"))
    with set_curdoc(doc):
        root = shown.get_root(doc)
    assert addresses(root)
    assert THEME not in texts(root)


def test_served__tables_have_the_text_of_their_sheets_alone():
    doc = Document()
    session = SimpleNamespace(server_context=None, session=None, request=SimpleNamespace(arguments={}))
    doc._session_context = lambda: session
    with set_curdoc(doc):
        root = pn.Column(layout.table(pd.DataFrame({"n": [1]}), "numbers")).get_root(doc)
    (table,) = root.select({"type": DataTabulator})
    assert all(isinstance(sheet, str) for sheet in table.stylesheets)
    assert ".tabulator" in "".join(table.stylesheets)
    assert "font-awesome" not in "".join(table.stylesheets).lower()


def test_send_styles__is_done_once():
    hooks = pn.viewable.Viewable._preprocessing_hooks
    assert pool_plots.offline is offline
    offline.send_styles()
    assert hooks.count(offline._as_text) == 1
