"""The counts of the thresholds page: what is accepted, flagged and discarded, and how much of it is wrong, as tiles."""

from __future__ import annotations

import math

from workbench import colours
from workbench.views import layout
from workbench.views.pools import Pooled
from workbench.views.thresholds import RATES, Answer


def counted(found: Answer, before: dict[str, int], pooled: Pooled, reference: str) -> str:
    """Return the counts as tiles, each with its difference from the project's triage."""
    images = f"{len(pooled.image_ids):,} image{'s' * (len(pooled.image_ids) != 1)}"
    if found.kind == "exact":
        shown = [
            ("kept", "kept (accepted or flagged)", colours.OUTCOMES["auto_accepted"]),
            ("discarded", "discarded", colours.OUTCOMES["discarded"]),
            ("duplicates", "duplicates of a kept one", ""),
        ]
        cells = [(f"{found.counts[k]:,}", name, "", colour) for k, name, colour in shown]
        text = (
            f"Exact pool: {len(pooled):,} proposals of {images} before NMS. These are the rows that a fresh run keeps."
        )
        if found.unjittered:
            text += (
                f" But for {found.unjittered:,} that no jitter was measured of, as they were duplicates when they were"
                " stored: a fresh run would measure it, and may discard them by it."
            )
        return layout.tiles(cells) + layout.small(text)
    cells = []
    for name in ("auto_accepted", "flagged", "discarded"):
        n, share = found.counts[name], found.counts[name] / max(1, found.counts["distinct"])
        change = n - before[name] if before else 0
        small = f"{share:.1%} of the distinct" + (f", {change:+,}" if change else "")
        cells.append((f"{n:,}", name.replace("_", "-", 1).replace("_", " "), small, colours.OUTCOMES[name]))
    truth = ""
    if found.rates:
        wrong, recall, strict, ceiling = (found.rates[name] for name in RATES)
        small = f"{wrong.events:,} of {wrong.n:,} with truth"
        cells.append((_percent(wrong.value), "wrong among accepted", small, ""))
        small = f"of {recall.n:,}; at IoU 0.75 {_percent(strict.value)}"
        cells.append((_percent(recall.value), "recall of accepted", small, ""))
        truth = (
            " Wrong: without a true mask of its own at IoU 0.75, where truth holds every object. Recall: true masks"
            f" found at IoU 0.5; no model on this grid and within these areas finds more than {_percent(ceiling.value)}."
        )
    if found.audited is not None:
        by_audits = found.audited
        small = f"by {by_audits.n:,} audited masks; {_percent(by_audits.low)} to {_percent(by_audits.high)}"
        cells.append((_percent(by_audits.value), "wrong among accepted", small, ""))
    against = f"Differences are against {reference}." if before else f"The project's own: {reference}."
    text = (
        f"Distinct pool: {len(pooled):,} proposals of {images} after NMS at {found.config.nms_iou:g}. "
        f"The counts are exactly what triage gives. {against}{truth}"
    )
    return layout.tiles(cells) + layout.small(text)


def _percent(value: float) -> str:
    return "—" if math.isnan(value) else f"{value:.1%}"
