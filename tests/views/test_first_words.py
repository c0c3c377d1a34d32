"""What stands in a page as it is sent, before any script has run."""

from __future__ import annotations

import pytest
from jinja2 import Environment
from made_projects import made_project, write_pictures

import workbench as wb
from workbench.views import apps, first_words, layout
from workbench.views.campaign import Campaign


@pytest.mark.parametrize(
    ("name", "expected"),
    [("cycles", "distinct proposals"), ("thresholds", "auto-accepted"), ("quality", "Nothing reviewed yet")],
)
def test_first__is_the_first_card_with_its_figures(tmp_path, name, expected):
    with made_project(tmp_path, images=2, rows=30) as project:
        view = apps.view(name, Campaign(project.path))
        found = first_words._first(view)
        assert expected in found
        if name != "quality":
            assert f"<b>{project.report().auto_accepted:,}</b>" in found


def test_first__of_an_empty_project_says_what_to_do(tmp_path):
    wb.Project.create(tmp_path / "project", images=str(write_pictures(tmp_path / "pictures", 1))).close()
    view = apps.view("cycles", Campaign(tmp_path / "project"))
    assert "workbench propose" in first_words._first(view)


def test_first__without_a_document_is_left_out(tmp_path):
    with made_project(tmp_path, images=1, rows=4) as project:
        first_words.put_first("cycles", "name", apps.view("cycles", Campaign(project.path)), beside=False)


def test_frame__a_name_with_markup_stays_inside_its_attribute(tmp_path):
    made = layout.frame("cycles", '"><script>alert(1)</script>', layout.words("a"), template=first_words.TEMPLATE)
    assert Environment().from_string("{{ meta.title }}").render(meta=made.meta).count("<") == 0
