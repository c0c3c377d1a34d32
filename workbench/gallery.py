"""Pictures of what was proposed: an overlay PNG for each image and one HTML page of them that opens offline."""

from __future__ import annotations

import base64
import dataclasses
import html
import io
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from workbench import colours, outputs
from workbench.images import safe_name
from workbench.masks import regions, rle
from workbench.tables.outcomes import Triage
from workbench.tables.proposals import Proposals

COLOURS = {  # red, green, blue in 0..255
    name: tuple(bytes.fromhex(colour.removeprefix("#")))
    for name, colour in {**colours.OUTCOMES, "truth": colours.TRUTH}.items()
}
FILL = 0.35
LEAST_SIDE_PX = 512  # smaller images are enlarged, so that outlines of one pixel stay visible
MOST_SIDE_PX = 1600


@dataclasses.dataclass(frozen=True)
class Picture:
    """One image of the gallery: its name, the overlay, the image alone, and its counts."""

    name: str
    overlay: np.ndarray
    image: np.ndarray
    counts: Mapping[str, int]


def overlay(image: np.ndarray, layers: Mapping[str, Sequence[bytes]]) -> np.ndarray:
    """Draw masks over an image, filled and outlined in the colour of their outcome.

    Parameters
    ----------
    image : (H, W, 3) uint8
    layers : run lengths by name of `COLOURS`; later ones are drawn over earlier ones, large masks below small ones

    Returns
    -------
    (H', W', 3) uint8, enlarged or reduced by a whole factor to lie near 512 to 1600 px
    """
    size_hw = (image.shape[0], image.shape[1])
    factor, step = _scale(size_hw)
    # a large image is reduced before it is drawn on, which spares memory and keeps outlines whole
    canvas = np.kron(image[::step, ::step], np.ones((factor, factor, 1), np.uint8)).astype(np.float32)
    for name, rles in layers.items():
        colour = np.array(COLOURS[name], np.float32)
        areas = rle.area(list(rles), size_hw)
        bounds = rle.to_boxes(list(rles), size_hw)
        for i in np.argsort(-areas, kind="stable"):
            _paint(canvas, rle.decode([rles[i]], size_hw)[0], bounds[i], (factor, step), colour)
    return canvas.round().astype(np.uint8)


def _scale(size_hw: tuple[int, int]) -> tuple[int, int]:
    """Return by what whole factor to enlarge, and which share of pixels to keep."""
    longest = max(size_hw)
    return max(1, min(16, LEAST_SIDE_PX // longest)), max(1, -(-longest // MOST_SIDE_PX))


def _paint(canvas: np.ndarray, mask: np.ndarray, box: np.ndarray, scale: tuple[int, int], colour: np.ndarray) -> None:
    """Blend one mask into the canvas, its outline two pixels wide."""
    factor, step = scale
    x0, y0, x1, y1 = (-(-int(v) // step) for v in box)
    part = np.kron(mask[y0 * step : y1 * step : step, x0 * step : x1 * step : step], np.ones((factor, factor), bool))
    window = canvas[y0 * factor : y1 * factor, x0 * factor : x1 * factor]
    window[part] = window[part] * (1 - FILL) + colour * FILL
    window[part & ~regions.eroded(regions.eroded(part))] = colour


def draw(image: np.ndarray, proposals: Proposals, triage: Triage | None = None) -> Image.Image:
    """Return a picture of proposals over their image, which notebooks show as it is.

    Parameters
    ----------
    image : (H, W, 3) uint8
    proposals : of this image
    triage : outcomes, row by row beside them; accepted and flagged ones are drawn. Without it, all are drawn as accepted
    """
    return Image.fromarray(overlay(image, _layers(proposals, triage)))


def _layers(proposals: Proposals, triage: Triage | None) -> dict[str, list[bytes]]:
    if triage is None:
        return {"auto_accepted": proposals.rles.tolist()}
    return {outcome: proposals.rles[getattr(triage, outcome)].tolist() for outcome in ("flagged", "auto_accepted")}


def picture(name: str, image: np.ndarray, proposals: Proposals, triage: Triage) -> Picture:
    """Draw what triage accepted and flagged on one image."""
    size_hw = (image.shape[0], image.shape[1])
    factor, step = _scale(size_hw)
    plain = np.kron(image[::step, ::step], np.ones((factor, factor, 1), np.uint8))
    return Picture(name, overlay(image, _layers(proposals, triage)), plain, triage.counts())


def write_gallery(
    folder: Path,
    title: str,
    pictures: Iterable[Picture],
    summary: Mapping[str, object],
    originals: Collection[str] = (),
) -> Path:
    """Write one PNG for each picture and `gallery.html`, which holds everything it shows; return its path.

    Pictures are taken one at a time, and `summary` is read after the last.

    Nothing in the page asks another host, and names are shown as text whatever they hold. Raises OutputError for a folder
    that is a project or one of its own, and where a picture would be written over one of `originals` (real paths).
    """
    outputs.expect_folder(folder)
    folder.mkdir(parents=True, exist_ok=True)
    cards = []
    for number, shown in enumerate(pictures, start=1):
        file = folder / f"{number:03d}-{safe_name(Path(shown.name).stem)}.png"
        outputs.write_whole(file, [_png(shown.overlay)], originals)
        cards.append(_card(shown))
    rows = "".join(f"<tr><th>{html.escape(k)}</th><td>{html.escape(str(v))}</td></tr>" for k, v in summary.items())
    legend = "".join(
        f'<span><i style="background:rgb{COLOURS[name]}"></i>{html.escape(name.replace("_", " "))}</span>'
        for name in ("auto_accepted", "flagged")
    )
    page = folder / "gallery.html"
    text = _PAGE.format(title=html.escape(title), rows=rows, legend=legend, cards="".join(cards))
    outputs.write_whole(page, [text.encode("utf-8")], originals)
    return page


def _card(shown: Picture) -> str:
    counts = " · ".join(f"{n} {html.escape(name.replace('_', ' '))}" for name, n in shown.counts.items())
    return (
        f'<figure><div class="pair"><img alt="" src="{_data(shown.image)}">'
        f'<img class="masks" alt="proposals on {html.escape(shown.name)}" src="{_data(shown.overlay)}"></div>'
        f"<figcaption><b>{html.escape(shown.name)}</b>{counts}</figcaption></figure>"
    )


def _png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _data(pixels: np.ndarray) -> str:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "WEBP", quality=88)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><style>
:root {{ color-scheme: light dark; --line: #8884; --soft: #8881; }}
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 1400px; padding: 0 1.5rem; }}
h1 {{ font-size: 1.5rem; margin: 0 0 1rem; }}
.top {{ display: flex; flex-wrap: wrap; gap: 2.5rem; align-items: flex-start; margin-bottom: 1.5rem; }}
table {{ border-collapse: collapse; }}
th, td {{ text-align: left; padding: .15rem 1rem .15rem 0; border-bottom: 1px solid var(--line); font-weight: normal; }}
td {{ font-variant-numeric: tabular-nums; max-width: 62ch; }}
.legend span {{ margin-right: 1.2rem; }} .legend i {{ display: inline-block; width: .9em; height: .9em;
  border-radius: 2px; margin-right: .45em; vertical-align: -.08em; }}
main {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(330px, 1fr)); gap: 1.2rem; }}
figure {{ margin: 0; border: 1px solid var(--line); border-radius: 8px; overflow: hidden; background: var(--soft); }}
.pair {{ position: relative; aspect-ratio: 4 / 3; background: #8882; }}
.pair img {{ position: absolute; inset: 0; width: 100%; height: 100%; object-fit: contain; }}
.pair:hover .masks, #plain:checked ~ main .masks {{ opacity: 0; }}
figcaption {{ padding: .5rem .8rem .7rem; }} figcaption b {{ display: block; overflow-wrap: anywhere; }}
</style></head><body><h1>{title}</h1>
<div class="top"><table>{rows}</table><p class="legend">{legend}<br>Hover a picture to see it without masks.</p></div>
<input type="checkbox" id="plain"><label for="plain"> hide all masks</label>
<main>{cards}</main></body></html>
"""
