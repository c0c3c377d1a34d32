"""What stands in a page as it is sent: its links and its first card, to be read while the browser loads the scripts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import panel as pn

from workbench.views import layout

TEMPLATE = Path(__file__).parent / "page.html"


def put_first(current: str, project_name: str, main: Any, beside: bool) -> None:
    """Put a page's first words into the document that is being made; without one nothing happens.

    Parameters
    ----------
    current : name of the page; main : its main part; beside : whether a sidebar stands beside it
    """
    doc = pn.state.curdoc
    if doc is None or doc.session_context is None:
        return
    head = f"<header><b>{layout.escape(project_name)}</b>{layout.links(current)}</header>"
    variables = {
        "first_words": f"{head}<main>{_first(main)}</main>",
        "first_style": "".join(_inside(rules) for rules in (layout.NAV, layout.WORDS)),
        "first_beside": beside,
    }
    doc.template_variables.update(variables)


def _inside(rules: str) -> str:
    """Return rules for what lies in the first words: those of a pane speak of its host."""
    return f"#first {{ {rules.replace(':host', 'main')} }}"


def _first(part: Any) -> str:
    """Return the markup of the first card, or of what stands in its place; "" where there is none yet."""
    part = part.__panel__() if isinstance(part, pn.viewable.Viewer) else part
    if isinstance(part, pn.pane.HTML):
        return str(part.object) if part.visible else ""
    if not isinstance(part, pn.layout.ListLike):
        return ""
    if layout.is_card(part):
        words = "".join(str(pane.object) for pane in part if isinstance(pane, pn.pane.HTML) and pane.visible)
        return f"<section>{words}</section>"
    return next((found for found in map(_first, part) if found), "")
