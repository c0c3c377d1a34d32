"""Pages written as one HTML file that opens offline: its figures can be hovered and saved, nothing is asked of a host."""

from __future__ import annotations

import contextlib
import datetime
import logging
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import holoviews as hv
import panel as pn
from bokeh.embed import components
from bokeh.models import BoxSelectTool, LassoSelectTool, TapTool, Toolbar
from bokeh.resources import Resources

from workbench import outputs
from workbench.views import layout
from workbench.views.view import View

MOST_ROWS = 1_000  # of a table; the buttons of the page give all


def write(path: Path, name: str, views: Mapping[str, View], originals: Collection[str] = ()) -> Path:
    """Write pages into a file, not one of `originals` (real paths); return its path.

    Raises OutputError where no file must be written, OSError where none can be.
    """
    parts: list[str] = []
    figures: dict[str, Any] = {}
    for page, view in views.items():
        parts.append(f'<section id="{page}"><h1>{layout.escape(layout.PAGES[page])}</h1>')
        parts += _markup(view.__panel__(), figures)
        parts.append("</section>")
    with _without_warning():
        script, places = components(figures) if figures else ("", {})
    body = "".join(places.get(part, part) for part in parts)
    links = "".join(f'<a href="#{page}">{layout.escape(layout.PAGES[page])}</a>' for page in views)
    when = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    title = layout.escape(name)
    text = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"{_library()}<style>{_STYLE}{layout.WORDS}</style></head><body>"
        f"<header><b>{title}</b><nav>{links}</nav><span>{when}</span></header>{body}{script}</body></html>"
    )
    outputs.write_whole(path, [text.encode("utf-8")], originals)
    return path


@contextlib.contextmanager
def _without_warning() -> Iterator[None]:
    """Let Bokeh keep to itself that a file has no server: what needs one is left out, and figures can be hovered and saved."""
    log = logging.getLogger("bokeh.embed.util")
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(before)


def _library() -> str:
    """Return Bokeh's own scripts, and none of its extensions: these ask for files beside the page."""
    return "".join(f"<script>{text}</script>" for text in Resources(mode="inline", components=["bokeh"]).js_raw)


def _markup(shown: Any, figures: dict[str, Any]) -> Iterator[str]:
    """Yield the parts of a page in order; a figure is a key of `figures`, what only works with a server is left out.

    With it goes a card that holds nothing else: a title over nothing.
    """
    if isinstance(shown, pn.pane.HTML) and shown.object:
        yield f'<div class="words">{shown.object}</div>'
    elif isinstance(shown, pn.pane.HoloViews):
        key = f"figure-{len(figures)}"
        figures[key] = _without_choosing(hv.render(shown.object, backend="bokeh"))
        yield key
    elif isinstance(shown, pn.widgets.Tabulator):
        yield _table(shown.value)
    elif isinstance(shown, pn.layout.ListLike):
        parts = [list(_markup(part, figures)) for part in shown]
        if not any(parts[1:] if layout.is_card(shown) else parts):
            return
        styles = dict(getattr(shown, "styles", None) or {})
        kind = "card wide" if "grid-column" in styles else "card" if "border" in styles else "grid" if styles else ""
        yield f'<div class="{kind}">'
        for part in parts:
            yield from part
        yield "</div>"


def _without_choosing(figure: Any) -> Any:
    """Return a figure without the tools that choose something on it: nobody answers them in a file."""
    for bar in figure.select({"type": Toolbar}):
        bar.tools = [tool for tool in bar.tools if not isinstance(tool, (TapTool, BoxSelectTool, LassoSelectTool))]
        bar.active_drag = bar.active_tap = None
    return figure


def _table(frame: Any) -> str:
    head = "".join(f"<th>{layout.escape(column)}</th>" for column in frame.columns)
    rows = "".join(
        "<tr>" + "".join(f"<td><div>{layout.escape(_cell(cell))}</div></td>" for cell in row) + "</tr>"
        for row in frame.head(MOST_ROWS).itertuples(index=False)
    )
    more = f'<p class="note">and {len(frame) - MOST_ROWS:,} more rows</p>' if len(frame) > MOST_ROWS else ""
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>{more}</div>'


def _cell(value: object) -> str:
    if isinstance(value, float):
        return "" if value != value else f"{value:.4g}"
    return "" if value is None else str(value)


_STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 0; color: CanvasText; background: Canvas; }
[data-root-id] { background: #fff; border-radius: 6px; }
header { position: sticky; top: 0; z-index: 9; display: flex; gap: 1.5rem; align-items: baseline; padding: .7rem 1.5rem;
  background: #0b5c8f; color: #fff; } header nav { display: flex; gap: 1rem; flex: 1; } header a { color: #fff; }
section { padding: .5rem 1.5rem 2rem; max-width: 1500px; margin: 0 auto; } section > h1 { font-size: 1.5rem; }
.grid { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(430px, 100%), 1fr)); grid-auto-flow: row dense; gap: 16px; }
.card { border: 1px solid #8886; border-radius: 10px; padding: 8px 14px 12px; min-width: 0; align-self: start; }
.wide { grid-column: 1 / -1; } .scroll { overflow: auto; max-height: 480px; } .hint { display: none; }
.scroll td div { width: max-content; max-width: 44ch; overflow-wrap: anywhere; } .scroll th { white-space: nowrap; }
"""
