"""A small OAuth2 provider on this machine: it knows one person, and says yes or no."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlencode, urlsplit

CODE, KEY, SECRET, TOKEN = "a-code", "the-key", "the-secret", "a-token"
PERSON = "ann@example.org"
REFUSED = "Ann has said <b>no</b>."


class Provider:
    """What it answers, and what it was asked."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.agrees = True  # whether the person lets the page know them
        self.keeps_its_word = True  # whether a code that was given is taken back
        self.hangs_up = False  # instead of an answer to the server
        self.asked: list[tuple[str, dict[str, str]]] = []

    def environment(self) -> dict[str, str]:
        """What the server must be told of it."""
        return {
            "PANEL_OAUTH_KEY": KEY,
            "PANEL_OAUTH_SECRET": SECRET,
            "PANEL_OAUTH_AUTHORIZE_URL": f"{self.url}/authorize",
            "PANEL_OAUTH_TOKEN_URL": f"{self.url}/token",
            "PANEL_OAUTH_USER_URL": f"{self.url}/user",
        }

    def back(self, given: dict[str, str]) -> str:
        """Return where the browser is sent after the question to the person."""
        answer = {"code": CODE} if self.agrees else {"error": "access_denied", "error_description": REFUSED}
        return f"{given['redirect_uri']}?{urlencode({**answer, 'state': given['state']})}"


@contextmanager
def provider() -> Iterator[Provider]:
    """Run it until the block ends."""

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            given = {name: values[0] for name, values in parse_qs(parts.query).items()}
            found.asked.append((parts.path, given))
            if parts.path == "/authorize":
                self.send_response(302)
                self.send_header("Location", found.back(given))
                self.end_headers()
            elif parts.path == "/user" and self.headers.get("Authorization") == f"Bearer {TOKEN}":
                self._say(200, {"email": PERSON})
            else:
                self._say(404, {"error": "not_found"})

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            given = {name: values[0] for name, values in parse_qs(body).items()}
            found.asked.append((self.path, given))
            if found.hangs_up:
                self.close_connection = True
                return
            right = (given.get("code"), given.get("client_id"), given.get("client_secret")) == (CODE, KEY, SECRET)
            if right and found.keeps_its_word:
                self._say(200, {"access_token": TOKEN, "token_type": "bearer"})
            else:
                self._say(400, {"error": "invalid_grant", "error_description": "That code is worth nothing."})

        def _say(self, status: int, words: dict[str, str]) -> None:
            text = json.dumps(words).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        found = Provider(f"http://127.0.0.1:{server.server_address[1]}")
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield found
        server.shutdown()
