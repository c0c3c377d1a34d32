"""Names that masks can be given, and the keys of the page that give them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from workbench.tables.events import check_name

LABEL_KEYS = "1234567890ilmqswy"  # that no command of the page uses


def checked_labels(labels: Sequence[str]) -> tuple[str, ...]:
    """Return names for masks, each once. Raises ValueError for one that is no text, or a single text in place of many."""
    if isinstance(labels, str):
        raise ValueError(f"labels: expected a list of names, got the text {labels!r}; put it in a list")
    return tuple(dict.fromkeys(check_name(name, "labels") for name in labels))


def with_keys(labels: Sequence[str]) -> list[dict[str, str]]:
    """Return labels with the keys that give them, "" when there are no more keys."""
    return [
        {"key": key, "name": name}
        for key, name in zip(itertools.chain(LABEL_KEYS, itertools.repeat("")), labels, strict=False)
    ]
