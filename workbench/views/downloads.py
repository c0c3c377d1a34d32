"""Figures saved as PNG or SVG from their toolbar, tables as CSV or Parquet, all within the page."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

# few things are drawn: to bring them from a graphics card, or from what stands in for one, takes longer than to draw them
PLAIN = {"plot.output_backend": "canvas", "plot.toolbar.logo": None}

# the figure is drawn anew, as SVG; PNG is that drawing on a canvas, at twice the size of the screen
_SAVE = """
export default async ({plot, kind, name}, obj, data, {index}) => {
  const view = index.find_one(plot)
  if (view == null) return
  const svg = await view.export("svg", false).to_blob()
  const save = (blob) => {
    const link = document.createElement("a")
    link.href = URL.createObjectURL(blob)
    link.download = `${name}.${kind}`
    link.click()
    setTimeout(() => URL.revokeObjectURL(link.href), 1000)
  }
  if (kind == "svg") return save(svg)
  const picture = new Image()
  picture.src = URL.createObjectURL(svg)
  await picture.decode()
  const canvas = document.createElement("canvas")
  canvas.width = 2 * view.bbox.width
  canvas.height = 2 * view.bbox.height
  const context = canvas.getContext("2d")
  context.fillStyle = getComputedStyle(document.body).backgroundColor || "white"
  context.fillRect(0, 0, canvas.width, canvas.height)
  context.drawImage(picture, 0, 0, canvas.width, canvas.height)
  URL.revokeObjectURL(picture.src)
  canvas.toBlob(save, "image/png")
}
"""


def with_downloads(name: str) -> Callable[[Any, Any], None]:
    """Return a HoloViews hook that gives a figure the tools "save as PNG" and "save as SVG"."""

    def hook(plot: Any, _element: Any) -> None:
        from bokeh.models import BoxSelectTool, BoxZoomTool, CustomAction, CustomJS, PanTool, SaveTool, WheelZoomTool

        figure = plot.handles["plot"]
        if any(isinstance(tool, CustomAction) for tool in figure.toolbar.tools):
            return
        # nothing on these figures is worth panning to, and a page must scroll under the pointer
        unused = (PanTool, WheelZoomTool, BoxZoomTool, SaveTool)
        figure.toolbar.tools = [tool for tool in figure.toolbar.tools if not isinstance(tool, unused)]
        boxes = [tool for tool in figure.toolbar.tools if isinstance(tool, BoxSelectTool)]
        figure.toolbar.active_drag = boxes[0] if boxes else None
        for kind in ("png", "svg"):
            save = CustomJS(args={"plot": figure, "kind": kind, "name": name.replace(" ", "-")}, code=_SAVE)
            figure.add_tools(CustomAction(icon=_word(kind), description=f"save as {kind.upper()}", callback=save))

    return hook


def saveable(plot: Any, name: str, height: int) -> list[Any]:
    """Return the figures of a result, a layout's one by one, as wide as their place and with the tools that save them."""
    import holoviews as hv

    found = []
    for part in plot if isinstance(plot, hv.Layout) else [plot]:
        kind = getattr(hv.opts, "Overlay" if isinstance(part, hv.Overlay) else type(part).__name__)
        look = {"responsive": True, "height": height, "toolbar": "above", "default_tools": ["reset"]}
        found.append(_without_width(part).opts(kind(hooks=[with_downloads(name)], backend_opts=PLAIN, **look)))
    return found


def _without_width(part: Any) -> Any:
    """Return a figure whose width is not said: one that is said, even as None, keeps it from filling its place."""
    import holoviews as hv

    given: dict[str, Any] = {}
    for group in ("plot", "style"):
        given |= hv.Store.lookup_options("bokeh", part, group).kwargs
    fixed = ("width", "height", "frame_width", "frame_height")
    kind = getattr(hv.opts, "Overlay" if isinstance(part, hv.Overlay) else type(part).__name__)
    kept = {name: value for name, value in given.items() if name not in fixed}
    if isinstance(part, hv.Overlay):
        return hv.Overlay(list(part)).opts(kind(**kept))
    return part.opts.clear().opts(kind(**kept))


def _word(kind: str) -> str:
    """Return an icon that is the word itself, as a data address."""
    import base64

    drawing = (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 24"><text x="16" y="17" font-size="13" '
        f'font-family="sans-serif" font-weight="bold" text-anchor="middle" fill="#808080">{kind.upper()}</text></svg>'
    )
    return "data:image/svg+xml;base64," + base64.b64encode(drawing.encode()).decode()


def csv(frame: pd.DataFrame) -> io.StringIO:
    """Return a table as CSV text."""
    return io.StringIO(frame.to_csv(index=False))


def parquet(frame: pd.DataFrame) -> io.BytesIO:
    """Return a table as Parquet; cells that are lists or mappings become text."""
    flat = frame.copy()
    for name in flat.columns:
        if flat[name].map(lambda cell: isinstance(cell, (dict, list, tuple))).any():
            flat[name] = flat[name].map(str)
    file = io.BytesIO()
    flat.to_parquet(file, index=False)
    file.seek(0)
    return file
