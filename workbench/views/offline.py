"""What a cell of a notebook shows asks no other host: its style sheets are sent along as text.

Panel sends its scripts along (`inline`), and the style sheets of a page. But it names them by addresses at cdn.holoviz.org
in figures, which HoloViews hands to it, and when words on a page change. A browser without a network waits for them, and
elsewhere they tell a stranger what is opened.
"""

from __future__ import annotations

from typing import Any, ClassVar

import panel as pn
from bokeh.models.css import ImportedStyleSheet
from bokeh.models.ui import UIElement
from panel.io.notebook import patch_inline_stylesheets
from panel.io.resources import DIST_DIR
from panel.models.tabulator import DataTabulator


class Words(pn.pane.HTML):
    """Markup whose change says nothing of style sheets: they stay as they were sent."""

    priority: ClassVar[float] = 0  # Panel makes none of these by itself

    def __init__(self, markup: str = "", **settings: Any) -> None:
        super().__init__(markup, **settings)  # type: ignore[no-untyped-call]

    def _update(self, ref: str, model: Any) -> None:
        changed = self._get_properties(model.document)
        model.update(**{name: value for name, value in changed.items() if name != "stylesheets"})


def send_styles() -> None:
    """Have Panel send style sheets as text wherever there is no server of ours to ask for them, and those of tables."""
    hooks: list[Any] = pn.viewable.Viewable._preprocessing_hooks
    if _as_text not in hooks:
        hooks.append(_as_text)


def _as_text(_shown: Any, root: Any, changed: Any, _before: Any) -> None:
    """Put the text of style sheets into what is about to be shown, or into what has changed of it; called by Panel."""
    doc = root.document or pn.state.curdoc
    part = changed._models.get(root.ref["id"], (root,))[0]
    if doc is not None and doc.session_context is not None:  # served: the addresses are at this host
        for table in part.select({"type": DataTabulator}):
            table.stylesheets = [text for sheet in table.stylesheets if (text := _text_of(sheet)) is not None]
        return
    for model in part.select({"type": UIElement}):
        patch_inline_stylesheets(model)


def _text_of(sheet: Any) -> Any:
    """Return the text of a style sheet of a served table; None for the icons', of which tables of ours have none.

    Panel's table asks, as fast as the browser can, whether its sheets by address have come, and those that the Material
    page replaces never do: it would keep a processor busy for as long as the page is open.
    """
    if not isinstance(sheet, ImportedStyleSheet):
        return sheet
    if "font-awesome" in sheet.url:
        return None
    place = sheet.url.partition("extensions/panel/")[2] or sheet.url.partition("/dist/")[2]  # here; at Panel's own host
    path = DIST_DIR / place.partition("?")[0]
    return path.read_text("utf-8") if path.is_file() else sheet
