"""The counts of the thresholds page: what is accepted, flagged and discarded, and how much of it is wrong, as tiles."""

from __future__ import annotations

import math

from workbench import colours
from workbench.views import layout
from workbench.views.pools import Pooled
from workbench.views.thresholds import RECALL, Answer

Tile = tuple[str, str, str, str]  # as `layout.tiles` takes them


def counted(found: Answer, before: dict[str, int], pooled: Pooled, reference: str) -> str:
    """Return the counts as tiles, each with its difference from the project's triage, and what they are of, as markup."""
    images = f"{len(pooled.image_ids):,} image{'s' * (len(pooled.image_ids) != 1)}"
    if found.kind == "exact":
        return _exact(found, f"{len(pooled):,} proposals of {images}")
    cells: list[Tile] = []
    for name in ("auto_accepted", "flagged", "discarded"):
        n, share = found.counts[name], found.counts[name] / max(1, found.counts["distinct"])
        change = n - before[name] if before else 0
        small = f"{share:.1%} of the distinct" + (f", {change:+,}" if change else "")
        cells.append((f"{n:,}", name.replace("_", "-", 1).replace("_", " "), small, colours.OUTCOMES[name]))
    wrong, of_wrong = _wrong(found)
    recall, of_recall = _recall(found)
    against = f"Differences are against {reference}." if before else f"The project's own: {reference}."
    text = (
        f"Distinct pool: {len(pooled):,} proposals of {images} after NMS at {found.config.nms_iou:g}. "
        f"The counts are exactly what triage gives. {against}{of_wrong}{of_recall}{_left_out(pooled)}"
    )
    return layout.tiles([*cells, *wrong, *recall]) + layout.small(text)


def _exact(found: Answer, given: str) -> str:
    shown = [
        ("kept", "kept (accepted or flagged)", colours.OUTCOMES["auto_accepted"]),
        ("discarded", "discarded", colours.OUTCOMES["discarded"]),
        ("duplicates", "duplicates of a kept one", ""),
    ]
    cells = [(f"{found.counts[k]:,}", name, "", colour) for k, name, colour in shown]
    text = f"Exact pool: {given} before NMS. These are the rows that a fresh run keeps."
    if found.unjittered:
        text += (
            f" But for {found.unjittered:,} that no jitter was measured of, as they were duplicates when they were"
            " stored: a fresh run would measure it, and may discard them by it."
        )
    return layout.tiles(cells) + layout.small(text)


def _wrong(found: Answer) -> tuple[list[Tile], str]:
    """What is wrong among the accepted, by exhaustive truth or by audits, and what that means; of other truth, that it is not known."""
    name = "wrong among accepted"
    if "fp_rate" in found.rates:
        wrong = found.rates["fp_rate"]
        small = f"{wrong.events:,} of {wrong.n:,} with truth"
        meaning = " Wrong: without a true mask of its own at IoU 0.75, where truth holds every object."
        return [(_percent(wrong.value), name, small, "")], meaning
    if found.audited is not None:
        by_audits = found.audited
        small = f"by {by_audits.n:,} audited masks; {_percent(by_audits.low)} to {_percent(by_audits.high)}"
        return [(_percent(by_audits.value), name, small, "")], ""
    return ([("—", name, "known if truth holds every object", "")] if found.rates else []), ""


def _recall(found: Answer) -> tuple[list[Tile], str]:
    """The recall of what is accepted, and what it means; nothing without truth."""
    if not found.rates:
        return [], ""
    recall, strict, ceiling = (found.rates[name] for name in RECALL)
    small = f"of {recall.n:,}; at IoU 0.75 {_percent(strict.value)}"
    meaning = (
        f" Recall: true masks found at IoU 0.5; {_percent(ceiling.value)} lie within these areas and hold a point of the grid"
        " (the others only a model finds that answers points beside an object)."
    )
    return [(_percent(recall.value), "recall of accepted", small, "")], meaning


def _left_out(pooled: Pooled) -> str:
    n = len(pooled.learned)
    which = "1 image that trained this model is" if n == 1 else f"{n:,} images that trained this model are"
    return f" Truth and audits of {which} left out." if n else ""


def _percent(value: float) -> str:
    return "—" if math.isnan(value) else f"{value:.1%}"
