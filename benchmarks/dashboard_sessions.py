"""Sessions of the thresholds page without browsers: the messages of Bokeh's protocol that a browser would send and read.

Ten browsers beside the server would be measured with it; those of ten people run on ten other machines.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from tornado.httpclient import AsyncHTTPClient, HTTPRequest
from tornado.websocket import WebSocketClientConnection, websocket_connect

PATIENCE_S = 120.0
# what a browser says once it has drawn the page: Panel waits for it
_READY = {
    "kind": "MessageSent",
    "msg_type": "bokeh_event",
    "msg_data": {"type": "event", "name": "document_ready", "values": {"type": "map"}},
}


class Session:
    """One session that is open: its connection, its slider of predicted IoU and the table of its heat map."""

    def __init__(self, connection: WebSocketClientConnection) -> None:
        self._connection = connection
        self._sent = 0
        self.slider = self.heat = ""

    @classmethod
    async def open(cls, url: str) -> Session:
        """Open the page as a browser does and wait until its heat map is there."""
        page = await AsyncHTTPClient().fetch(f"{url}/thresholds", request_timeout=PATIENCE_S)
        token = re.search(r'"token":"([^"]+)"', page.body.decode())
        if token is None:
            raise SystemExit(f"{url}/thresholds: expected a page of Bokeh's with the token of a session, found none")
        address = HTTPRequest(f"{url.replace('http', 'ws', 1)}/thresholds/ws")
        made = cls(await websocket_connect(address, subprotocols=["bokeh", token[1]], max_message_size=1 << 28))
        await made._next("ACK")
        await made._send("PATCH-DOC", {"events": [_READY]})
        until = time.monotonic() + PATIENCE_S
        while not made.heat and time.monotonic() < until:
            await made._send("PULL-DOC-REQ", {})
            for model in _models(await made._next("PULL-DOC-REPLY")):
                attributes = model["attributes"]
                if str(attributes.get("label", "")).startswith("predicted IoU, accepted"):
                    made.slider = model["id"]
                if model.get("name") == "GlyphRenderer" and attributes["glyph"].get("name") == "Image":
                    made.heat = attributes["data_source"]["id"]
            await asyncio.sleep(0.5)
        return made

    async def move(self, value: float) -> float:
        """Move the slider; return the milliseconds until the heat map's new numbers have come."""
        since = time.perf_counter()
        event = {"kind": "ModelChanged", "model": {"id": self.slider}, "attr": "value", "new": value}
        await self._send("PATCH-DOC", {"events": [event]})
        while True:
            events = (await self._next("PATCH-DOC"))["events"]
            if any(e["kind"] == "ColumnDataChanged" and e["model"]["id"] == self.heat for e in events):
                return 1000 * (time.perf_counter() - since)

    async def _send(self, kind: str, content: dict[str, Any]) -> None:
        self._sent += 1
        for part in ({"msgid": f"m{self._sent}", "msgtype": kind}, {}, content):
            await self._connection.write_message(json.dumps(part))

    async def _next(self, kind: str) -> Any:
        """Return the content of the next message of that kind; others are passed over."""
        while True:
            header = json.loads(await self._part())
            await self._part()  # metadata
            content = await self._part()
            for _ in range(2 * header.get("num_buffers", 0)):
                await self._part()
            if header["msgtype"] == kind:
                return json.loads(content)

    async def _part(self) -> str | bytes:
        found = await asyncio.wait_for(self._connection.read_message(), PATIENCE_S)
        if found is None:
            raise SystemExit("the server closed the connection of a session; its log says why")
        return found


def at_once(url: str, traces: Sequence[Sequence[float]]) -> np.ndarray:
    """Return milliseconds of moves that as many sessions as there are traces make at the same time."""

    async def all_of_them() -> list[float]:
        sessions = [await Session.open(url) for _ in traces]
        found: list[float] = []
        for values in zip(*traces, strict=True):
            found += await asyncio.gather(*(s.move(value) for s, value in zip(sessions, values, strict=True)))
        return found

    with ThreadPoolExecutor(1) as thread:  # in this one Playwright's loop may run
        return np.array(thread.submit(asyncio.run, all_of_them()).result())


def _models(part: Any) -> Iterator[dict[str, Any]]:
    """Yield all models of a document as it was sent."""
    if isinstance(part, dict):
        if "attributes" in part and "id" in part:
            yield part
        part = list(part.values())
    if isinstance(part, list):
        for inner in part:
            yield from _models(inner)
