"""What all pages are made of: the frame with its links, cards, tiles, tables with downloads, and words for people."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import panel as pn
import panel_material_ui as pmui
from panel.util.parameters import edit_readonly

from workbench import colours
from workbench.views import downloads, offline, theme

if TYPE_CHECKING:
    import pandas as pd

PAGES = {
    "cycles": "Cycles",
    "calibration": "Calibration",
    "thresholds": "Thresholds",
    "review": "Review",
    "quality": "Quality",
}
_OPENED_ROWS = 200  # offered in a list
_PAGE_ROWS, _ROW_PX, _LINE_PX, _BUTTONS_PX = 15, 36, 23, 56
_FILTERED_FROM = 8  # rows; of fewer all are seen
_ACCENT = {
    "light": {"palette": {"primary": {"main": "#0b5c8f"}}},
    "dark": {"palette": {"primary": {"main": "#6db7e8"}}},
}
# the same in the dark, where the accent is too light for white words
_HEADER = {"& .MuiAppBar-root": {"backgroundColor": "#0b5c8f", "backgroundImage": "none", "color": "#fff"}}
NAV = """
nav { display: flex; flex-wrap: wrap; gap: .25rem; }
a { color: #fff; text-decoration: none; padding: .35rem .8rem; border-radius: 6px; font: 500 .95rem/1.4 Roboto, sans-serif; }
a:hover { background: #fff3; } a:focus-visible { outline: 3px solid #fff; outline-offset: 1px; }
a[aria-current] { background: #fff2; box-shadow: inset 0 -3px 0 #fff; }
"""
WORDS = """
:host { color: inherit; font: .95rem/1.5 Roboto, system-ui, sans-serif; }
.title { font-size: 1.06rem; font-weight: 500; margin: .1rem 0; }
.tiles { display: flex; flex-wrap: wrap; gap: .75rem 2.2rem; }
.tile b { display: block; font-size: 1.65rem; font-weight: 500; font-variant-numeric: tabular-nums; line-height: 1.25; }
.tile span { opacity: .78; } .tile i { font-style: normal; opacity: .78; font-variant-numeric: tabular-nums; font-size: .85rem; display: block; }
.tile b::before { content: ""; display: inline-block; width: .7rem; height: .7rem; border-radius: 2px; margin-right: .45rem;
  background: var(--c, none); vertical-align: .1em; } .tile.plain b::before { display: none; }
.note { opacity: .8; margin: .1rem 0; max-width: 90ch; } .tiles + .note { margin-top: .7rem; }
.box { border: 1px solid; border-radius: 8px; padding: .7rem 1rem; max-width: 100ch; overflow-wrap: anywhere; }
.next h2 { font-size: 1.3rem; font-weight: 500; margin: .2rem 0 .4rem; }
code { font: .9rem/1.5 ui-monospace, monospace; background: #8883; border-radius: 4px; padding: .1rem .35rem; }
pre { margin: .5rem 0 0; }
pre code { display: inline-block; padding: .5rem .8rem; white-space: pre-wrap; overflow-wrap: anywhere; }
.strip { display: grid; grid-template-columns: repeat(auto-fill, minmax(190px, 1fr)); gap: .8rem; }
figure { margin: 0; border: 1px solid #8885; border-radius: 8px; overflow: hidden; }
figure img { display: block; width: 100%; aspect-ratio: 4 / 3; object-fit: contain; background: #8882; }
figcaption { padding: .4rem .7rem .5rem; overflow-wrap: anywhere; font-size: .88rem; } figcaption b { display: block; font-weight: 500; }
table { border-collapse: collapse; } th, td { text-align: left; padding: .2rem 1.1rem .2rem 0; border-bottom: 1px solid #8884; font-weight: 400; vertical-align: top; }
td { font-variant-numeric: tabular-nums; } th { opacity: .8; }
""" + "".join(
    f".box.{kind} {{ border-color: {colour}; box-shadow: inset 5px 0 0 {colour}; }}\n"
    for kind, colour in colours.BOXES.items()
)
_CARD = {
    "border": "1px solid #8886",
    "border-radius": "10px",
    "padding": "8px 8px 12px",
    "min-width": "0",
    "align-self": "start",
}
# rows as tall as what they hold: else a least height of a card is taken for all that it needs
_GRID = {
    "display": "grid",
    "grid-template-columns": "repeat(auto-fit, minmax(min(430px, 100%), 1fr))",
    "grid-auto-rows": "max-content",
    "grid-auto-flow": "row dense",
    "align-content": "start",
    "gap": "16px",
}


def escape(value: object) -> str:
    """Return a value as text that no browser takes for markup."""
    return html.escape(str(value), quote=True)


def words(markup: str, **settings: Any) -> pn.pane.HTML:
    """Return a pane of our own markup; whatever comes from people or files goes through `escape` first."""
    settings.setdefault("sizing_mode", "stretch_width")
    return offline.Words(markup, stylesheets=[WORDS], margin=(4, 8), **settings)


def note(text: str) -> pn.pane.HTML:
    """Return a line of small print."""
    return words(small(text))


def small(text: str) -> str:
    """Return a line of small print, as markup."""
    return f'<p class="note">{escape(text)}</p>'


def hinted(text: str, hint: str) -> str:
    """Return a line of small print, as markup, with what can be done there, which a saved report leaves out."""
    more = f' <span class="hint">{escape(hint)}</span>' if hint else ""
    return f'<p class="note">{escape(text)}{more}</p>'


def box(text: str, kind: str = "problem") -> str:
    """Return words in a box, as markup: problem or info."""
    role = "alert" if kind == "problem" else "status"
    return f'<div class="box {kind}" role="{role}">{escape(text)}</div>' if text else ""


def next_step(title: str, text: str, command: str = "") -> pn.pane.HTML:
    """Return what stands where there is nothing to show yet: a sentence that says what to do next."""
    code = f"<pre><code>{escape(command)}</code></pre>" if command else ""
    return words(f'<div class="box info next"><h2>{escape(title)}</h2>{escape(text)}{code}</div>')


def tiles(values: Sequence[tuple[str, str, str, str]]) -> str:
    """Return large figures side by side, as markup: (value, name, small print, colour or "")."""
    cells = "".join(
        f'<div class="tile{"" if colour else " plain"}" style="--c:{colour or "none"}"><b>{escape(value)}</b>'
        f"<span>{escape(name)}</span><i>{escape(small)}</i></div>"
        for value, name, small, colour in values
    )
    return f'<div class="tiles">{cells}</div>'


def facts(values: Mapping[str, object]) -> str:
    """Return names and values as a two-column table, as markup."""
    rows = "".join(f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in values.items())
    return f"<table>{rows}</table>"


def strip(pictures: Sequence[tuple[str, str, str]]) -> str:
    """Return pictures in a row, as markup: (name, address of the picture, caption)."""
    figures = "".join(
        f'<figure><img alt="masks of {escape(name)} that change" src="{escape(source)}">'
        f"<figcaption><b>{escape(name)}</b>{escape(caption)}</figcaption></figure>"
        for name, source, caption in pictures
    )
    return f'<div class="strip">{figures}</div>'


def card(title: str, *objects: Any, text: str = "", hint: str = "", wide: bool = False) -> pn.Column:
    """Return objects in a card under a title; `hint` says what can be done there, which a saved report leaves out."""
    below = hinted(text, hint) if text or hint else ""
    head = words(f'<h2 class="title">{escape(title)}</h2>{below}')
    styles = {**_CARD, "grid-column": "1 / -1"} if wide else _CARD
    # children that say their height are not asked again by the grid: the card says it for them
    known = sum((part.height or part.min_height or 0) + 12 for part in objects)
    least = known + (78 if below else 50)
    return pn.Column(head, *objects, sizing_mode="stretch_width", margin=0, styles=styles, min_height=least)


def is_card(part: Any) -> bool:
    """Return whether something is a card."""
    return isinstance(part, pn.Column) and "border" in (part.styles or {})


def figure(plot: Any, height: int) -> Any:
    """Return a HoloViews figure as wide as its card; the height is said, so that the card knows."""
    return pn.pane.HoloViews(plot, sizing_mode="stretch_width", height=height, linked_axes=False)


def figures(plot: Any, name: str, height: int) -> list[Any]:
    """Return the figures of a result, each as wide as its card, with the tools that save it."""
    return [figure(part, height) for part in downloads.saveable(plot, name, height)]


def grid(*cards: Any) -> pn.Column:
    """Return cards side by side, as many as there is room for."""
    return pn.Column(*cards, styles=_GRID, sizing_mode="stretch_width", margin=(8, 12))


def table_px(rows: int, lines: int = 1) -> int:
    """Return how tall a table of so many rows is, each of so many lines, with its buttons."""
    filtered, paged = rows > _FILTERED_FROM, rows > _PAGE_ROWS
    row_px = _ROW_PX + _LINE_PX * (lines - 1)
    return row_px * min(rows, _PAGE_ROWS) + 58 + 36 * filtered + 52 * paged + _BUTTONS_PX


def table(
    frame: pd.DataFrame,
    name: str,
    on_click: Callable[[Any], None] | None = None,
    *,
    prose: Mapping[str, int] | None = None,
    lines: int = 2,
    **settings: Any,
) -> pn.Column:
    """Return a table that sorts, filters and can be downloaded.

    Parameters
    ----------
    prose : columns of sentences and their widths, px: they are broken; lines : that the longest then takes
    """
    frame = _flat(frame)
    filtered, paged = len(frame) > _FILTERED_FROM, len(frame) > _PAGE_ROWS
    height = table_px(len(frame), lines if prose else 1) - _BUTTONS_PX
    if prose:
        settings = {"formatters": {name: {"type": "textarea"} for name in prose}, "widths": dict(prose), **settings}
    shown = pn.widgets.Tabulator(
        frame,
        show_index=False,
        disabled=True,
        header_filters=filtered,
        pagination="local" if paged else None,
        page_size=_PAGE_ROWS,
        height=height,
        layout="fit_data_fill",
        sizing_mode="stretch_width",
        theme="simple",
        **settings,
    )
    buttons = saves(lambda: shown.value, name)
    if on_click is not None:
        shown.on_click(on_click)
        buttons.extend(_openers(frame, on_click))
    return pn.Column(shown, buttons, sizing_mode="stretch_width", min_height=height + _BUTTONS_PX)


def _openers(frame: pd.DataFrame, on_click: Callable[[Any], None]) -> list[Any]:
    """Return what opens a row of a table without a mouse: a choice of rows and a button."""
    rows = enumerate(frame.head(_OPENED_ROWS).itertuples(index=False))
    options = {f"{k + 1}: {' · '.join(map(str, row[:3]))}"[:60]: k for k, row in rows}
    row = pmui.Select(label="row", options=options, size="small", width=260, margin=(4, 4))
    button = pmui.Button(label="Open the row", size="small", variant="outlined", margin=(4, 4), disabled=not options)
    button.on_click(lambda _: on_click(SimpleNamespace(row=row.value)))
    return [row, button]


def _flat(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a table with mappings and lists as text, and long ids last."""
    import pandas as pd

    flat = frame.reset_index(drop=True)
    for name in flat.columns:
        if flat[name].map(lambda cell: isinstance(cell, (Mapping, list, tuple))).any():
            flat[name] = flat[name].map(_text)
    last = [name for name in flat.columns if name in ("image_id", "mask_id", "other_id")]
    return pd.DataFrame(flat[[name for name in flat.columns if name not in last] + last])


def _text(cell: object) -> str:
    if isinstance(cell, Mapping):
        return ", ".join(f"{name}: {_text(value)}" for name, value in cell.items())
    if isinstance(cell, (list, tuple)):
        return ", ".join(map(_text, cell))
    return "" if cell is None else str(cell)


def saves(frame: Callable[[], pd.DataFrame], name: str) -> pn.Row:
    """Return the buttons that save a table."""
    kinds = {"csv": downloads.csv, "parquet": downloads.parquet}
    buttons = [
        pmui.FileDownload(
            callback=lambda kind=kind: kinds[kind](frame()),
            filename=f"{name}.{kind}",
            label={"csv": "CSV", "parquet": "Parquet"}[kind],
            size="small",
            margin=(4, 4),
        )
        for kind in kinds
    ]
    return pn.Row(*buttons)


def links(current: str) -> str:
    """Return the links between the pages, as markup; they keep to the folder they are served from."""
    found = "".join(
        f'<a href="./{name}"{" aria-current=page" if name == current else ""}>{title}</a>'
        for name, title in PAGES.items()
    )
    return f'<nav aria-label="pages">{found}</nav>'


def navigation(current: str) -> pn.pane.HTML:
    """Return the links between the pages."""
    return offline.Words(links(current), stylesheets=[NAV], margin=(0, 8))


def _never_busy(page: Any) -> None:
    """Have a page not follow with its `busy` every callback of the server, for which Panel would go over all of it.

    Without the second step all pages that ever were would be looked through at each callback, and none ever forgotten.
    """
    with edit_readonly(page):
        page.busy = False
    for watcher in list(pn.state.param.watchers.get("busy", {}).get("value", [])):
        if getattr(getattr(watcher.fn, "__self__", None), "self", None) is page:
            pn.state.param.unwatch(watcher)


def frame(current: str, project_name: str, main: Any, sidebar: Sequence[Any] = (), template: Any = None) -> Any:
    """Return a whole page: header with links and light or dark, sidebar where there is one, and the main part."""
    page: Any = pmui.Page  # type: ignore[attr-defined]
    made = page(
        title=project_name[:60],
        meta_title=escape(f"{PAGES[current]} · {project_name}"),  # it is put into an attribute as it is
        template=template,
        header=[navigation(current)],
        main=[main],
        sidebar=list(sidebar),
        sidebar_open=bool(sidebar),
        sidebar_variant="auto" if sidebar else "temporary",  # else room is kept for none
        sidebar_width=330,
        theme_config=_ACCENT,
        sx=_HEADER,
        busy_indicator=None,
    )
    _never_busy(made)
    theme.keep(made)
    return made
