"""Which messages of which pages are safe, and the replies that pages have not read yet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from workbench.widgets.messages import MAX_OUTBOX


class Replies:
    """Acknowledgements and replies by page, as the traits show them.

    acked : page -> number of its last message that is safe; waiting : replies until they are heard, as many as a page
    can send messages at once, so that none of a long outbox goes without its answer
    """

    def __init__(self) -> None:
        self.acked: dict[str, int] = {}
        self.waiting: list[dict[str, Any]] = []
        self._heard: dict[str, int] = {}
        self._last: dict[str, dict[str, Any]] = {}  # of each page the last reply with a history
        self._number = 0

    def answer(self, client: str, seq: int, reply: Mapping[str, Any] | None) -> None:
        """Note that a message is done with, and what is to be said about it, None for nothing."""
        self.acked[client] = seq
        if reply is None:
            return
        self._number += 1
        if "history" in reply:  # the last one holds; with thousands of them the replies would be megabytes
            self._last.get(client, {}).pop("history", None)
        told: dict[str, Any] = {"n": self._number, "client": client, "to": seq, **reply}
        if "history" in told:
            self._last[client] = told
        self.waiting.append(told)
        del self.waiting[:-MAX_OUTBOX]

    def heard(self, numbers: Mapping[Any, Any]) -> None:
        """Forget the replies that pages have read."""
        for client, n in list(numbers.items())[:1000]:
            if isinstance(client, str) and isinstance(n, int) and client in self.acked:
                self._heard[client] = max(n, self._heard.get(client, 0))
        self.waiting = [r for r in self.waiting if r["n"] > self._heard.get(r["client"], 0)]
