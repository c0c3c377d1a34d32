"""Dashboards from a notebook, and the report that opens offline."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import panel as pn
import panel_material_ui as pmui
import pytest
from made_projects import made_project, review
from typer.testing import CliRunner

import workbench as wb
from workbench.cli import app
from workbench.store.errors import StoreError
from workbench.views.apps import PAGES


class Asked(HTMLParser):
    """What a file makes a browser ask for; the text of scripts is no markup."""

    def __init__(self):
        super().__init__()
        self.addresses, self.styles, self._in_style = [], [], False

    def handle_starttag(self, tag, attrs):
        self._in_style = tag == "style"
        self.addresses += [value for name, value in attrs if name in ("src", "href", "srcset", "data", "action")]

    def handle_data(self, data):
        if self._in_style:
            self.styles.append(data)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    with made_project(tmp_path_factory.mktemp("made"), images=4, rows=30, name="<b>cells</b>") as made:
        review(made, 3)
        yield made


def test_dashboard__has_the_pages(project):
    dashboard = wb.Dashboard(project)
    assert set(PAGES) <= set(dir(dashboard))
    assert dashboard.thresholds.answer.counts == project.triage(project.triage_config()).counts()
    with pytest.raises(AttributeError, match="its pages are cycles"):
        dashboard.nothing  # noqa: B018


def test_dashboard__missing_project_is_refused(tmp_path):
    with pytest.raises(StoreError, match="no such folder"):
        wb.Dashboard(tmp_path / "gone")


def test_save__says_nothing_of_callbacks_that_a_file_cannot_have(project, tmp_path, caplog):
    wb.Dashboard(project).save(tmp_path / "report.html", ["thresholds"])
    assert [record.getMessage() for record in caplog.records if record.name.startswith("bokeh")] == []


def test_save__holds_everything_it_shows(project, tmp_path):
    text = wb.Dashboard(project).save(tmp_path / "report.html").read_text("utf-8")
    asked = Asked()
    asked.feed(text)
    assert asked.addresses
    assert not [address for address in asked.addresses if not address.startswith(("#", "data:"))]
    assert not re.findall(r"@import|url\(\s*['\"]?(?:https?:)?//", "".join(asked.styles))
    assert "<b>cells</b>" not in text.split("</style>", 1)[1].split("<script", 1)[0]
    assert "&lt;b&gt;cells&lt;/b&gt;" in text
    assert f"{project.triage(project.triage_config()).counts()['auto_accepted']:,}" in text
    assert text.count("data-root-id") >= 4


def test_save__has_no_card_that_holds_only_controls(project, tmp_path):
    text = wb.Dashboard(project).save(tmp_path / "report.html").read_text("utf-8")
    assert '<h2 class="title">Calibrate</h2>' not in text
    head = r'<h2 class="title">[^<]*</h2>(?:<p class="note">[^<]*</p>)?'
    assert re.findall(rf'<div class="card(?: wide)?"><div class="words">{head}</div></div>', text) == []
    assert '<div class="words"></div>' not in text
    assert ".hint { display: none; }" in text
    assert "puts both thresholds there" not in re.sub('<span class="hint">[^<]*</span>', "", text)
    assert '"name":"CustomAction"' in text
    assert not re.findall('"name":"(TapTool|BoxSelectTool|LassoSelectTool)"', text)


def test_command__saves(project, tmp_path):
    result = CliRunner().invoke(app, ["dashboard", str(project.path), "--save", str(tmp_path / "r.html"), "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout) == {"report": str(tmp_path / "r.html")}
    assert (tmp_path / "r.html").exists()


def test_command__missing_project_is_words(tmp_path):
    result = CliRunner().invoke(app, ["dashboard", str(tmp_path / "gone")])
    assert result.exit_code == 1
    assert "there is no such folder" in result.output


def test_command__a_model_that_cannot_be_had_is_words(project):
    asked = ["dashboard", str(project.path)]
    for given, words in (
        (["--model", "vit_q"], "expected one of"),
        (["--model", "vit_h"], "nothing is downloaded"),
        (["--checkpoint", "x.pth"], "expected --model"),
    ):
        result = CliRunner().invoke(app, [*asked, *given])
        assert result.exit_code == (2 if given[0] == "--checkpoint" else 1)
        assert words in result.output


def test_quality__rows_open_without_a_mouse_and_audits_list_their_masks(project):
    view = wb.Dashboard(project).quality
    (audits,) = [column for column in view.body.select(pn.Column) if view.audited in column.objects][:1]
    (rows,) = audits.select(pmui.Select)
    assert list(rows.options.values()) == list(range(len(project.audits())))
    (button,) = [b for b in audits.select(pmui.Button) if b.label == "Open the row"]
    button.clicks += 1
    (table,) = view.audited.select(pn.widgets.Tabulator)
    assert table.value["mask_id"].tolist() == project.audit_results(1)["mask_id"].tolist()
    (button,) = [b for b in view.audited.select(pmui.Button) if b.label == "Open the row"]
    button.clicks += 1
    assert table.value["mask_id"].iloc[0][:8] in view.opened.object


def test_quality__a_disagreement_is_opened(project):
    view = wb.Dashboard(project).quality
    row = project.disagreements().iloc[0]
    view._open(row["image_id"], row["mask_id"])
    assert "data:image/webp" in view.opened.object
    assert row["mask_id"][:8] in view.opened.object
