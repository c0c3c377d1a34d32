"""Serving the dashboards: a free port, loopback unless told otherwise, login as Panel has it, a cookie secret that is kept."""

from __future__ import annotations

import argparse
import dataclasses
import ipaddress
import json
import os
import re
import secrets
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from workbench.store.errors import StoreError
from workbench.views.clicks import ClickModel
from workbench.views.login import check_provider

LOOPBACK = "127.0.0.1"
INDEX = "cycles"
_SECRET = "cookie-secret"
_LOGIN_PAGE = Path(__file__).parent / "login.html"
_REFUSED_PAGE = Path(__file__).parent / "refused.html"  # Panel's own asks another host for its letters


@dataclasses.dataclass(frozen=True)
class Served:
    """What a server is started with.

    address, port : where it listens; login : a password, or a JSON file of names and passwords; "" for none
    oauth : name of a provider that Panel knows; key and secret of it are read from PANEL_OAUTH_KEY and PANEL_OAUTH_SECRET
    origins : further hosts that pages may be opened from; prefix : folder of the address, behind a proxy
    clicks : the model of the review page
    """

    project: Path
    address: str = LOOPBACK
    port: int = 0
    login: str = ""
    oauth: str = ""
    origins: tuple[str, ...] = ()
    prefix: str = ""
    database: str | None = None
    clicks: ClickModel = dataclasses.field(default_factory=ClickModel)

    @property
    def url(self) -> str:
        """The address to open."""
        host = "127.0.0.1" if self.address in ("0.0.0.0", "::", "") else self.address
        folder = self.prefix.strip("/")
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}{f'/{folder}' if folder else ''}/{INDEX}"

    @property
    def warning(self) -> str:
        """What to say where others may reach a server that asks for no login; "" where they cannot."""
        if is_loopback(self.address) or self.login or self.oauth:
            return ""
        return (
            f"anybody who reaches {self.address}:{self.port} can see and change this project: "
            "add --basic-auth or --oauth-provider, or leave --address away"
        )


def is_loopback(address: str) -> bool:
    """Return whether only this machine reaches an address."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"


def free_port(address: str, port: int = 0) -> int:
    """Return a port that nobody listens on: `port`, or for 0 any.

    Raises
    ------
    StoreError : when the port is taken, or the address is none of this machine
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            raise StoreError(
                f"{address}:{port}: cannot be listened on ({error.strerror}); choose another port"
            ) from None
        return int(probe.getsockname()[1])


def cookie_secret(folder: Path | None = None) -> str:
    """Return the secret that signs login cookies, made once a user and kept, readable by that user alone."""
    home = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    file = (folder or Path(home) / "workbench") / _SECRET
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        file.chmod(0o600)
        kept = file.read_text("ascii").strip()
        if len(kept) >= 32:
            return kept
        file.unlink()  # cut short while it was written
        return cookie_secret(folder)
    made = secrets.token_hex(32)
    with os.fdopen(handle, "w", encoding="ascii") as out:
        out.write(made)
    return made


def _check_login(path: Path) -> None:
    """Raise StoreError for a file with which nobody could log in: Panel would tell nobody but who tries."""
    if not path.is_file():
        raise StoreError(f"{path}: expected a JSON file of names and passwords, there is no such file")
    try:
        found = json.loads(path.read_bytes())
    except ValueError as error:
        raise StoreError(
            f"{path}: expected a JSON file of names and passwords, got text that does not parse: {error}"
        ) from None
    if not isinstance(found, dict) or not found or not all(isinstance(word, str) for word in found.values()):
        raise StoreError(f'{path}: expected names and passwords as {{"ann": "secret"}}, got other JSON')


def arguments(served: Served, apps: Sequence[Path]) -> list[str]:
    """Return the arguments of `panel serve`; `served.port` is one that is free."""
    hosts = {f"{host}:{served.port}" for host in _hosts(served.address)} | set(served.origins)
    given = ["serve", *map(str, apps), "--index", INDEX, "--port", str(served.port), "--address", served.address]
    given += [part for host in sorted(hosts) for part in ("--allow-websocket-origin", host)]
    if served.prefix:
        given += ["--prefix", served.prefix]
    if served.login.endswith(".json"):
        _check_login(Path(served.login))
    for origin in served.origins:
        if not re.fullmatch(r"([^/:\s]+|\[[0-9a-fA-F:]+\])(:(\d+|\*))?", origin):
            raise ValueError(f"--allow-origin: expected HOST or HOST:PORT, without http://, got {origin!r}")
    if served.login:
        given += ["--basic-auth", served.login, "--basic-login-template", str(_LOGIN_PAGE)]
    if served.oauth:
        check_provider(served.oauth, served.login)
        given += ["--oauth-provider", served.oauth, "--oauth-error-template", str(_REFUSED_PAGE)]
    if (served.login or served.oauth) and not os.environ.get("PANEL_COOKIE_SECRET"):  # Panel takes one of them only
        given += ["--cookie-secret", cookie_secret()]
    asked = [str(served.project), *([served.database] if served.database else [])]
    for option in dataclasses.fields(served.clicks):
        value = getattr(served.clicks, option.name)
        asked += [f"{_option(option.name)}={value}"] if value != option.default else []
    return [*given, "--args", *asked]


def asked_of(given: Sequence[str]) -> tuple[str | None, str | None, ClickModel]:
    """Return what follows `--args` of `panel serve`: the project's folder, its catalogue's URL, the model of the review page.

    Raises ValueError for arguments that are none.
    """
    reader = _Reader(add_help=False, allow_abbrev=False)
    reader.add_argument("place", nargs="?")
    reader.add_argument("database", nargs="?")
    for option in dataclasses.fields(ClickModel):
        reader.add_argument(_option(option.name), dest=option.name, default=option.default)
    found = vars(reader.parse_args(given))
    return found.pop("place"), found.pop("database"), ClickModel(**found)


def _option(name: str) -> str:
    return "--model" if name == "name" else f"--{name.replace('_', '-')}"


class _Reader(argparse.ArgumentParser):
    """Says in words what it cannot read, and ends no server."""

    def error(self, message: str) -> NoReturn:
        raise ValueError(message)


def _hosts(address: str) -> list[str]:
    """Return the names by which a browser may open the pages; Bokeh knows no numbers of IPv6 there."""
    if is_loopback(address):
        return ["127.0.0.1", "localhost"]
    if address in ("0.0.0.0", "::"):
        return ["127.0.0.1", "localhost", socket.gethostname()]
    return [socket.gethostname() if ":" in address else address]


# what answers a page waits for its turn whenever it has sent something, ten times a move; Python's 5 ms make that felt
SWITCH_S = 0.0005


def serve(served: Served, apps: Sequence[Path]) -> None:
    """Serve the dashboards until interrupted; their address goes to standard error first.

    Raises
    ------
    StoreError : when the port is taken
    SettingError : when nobody could log in by the provider
    """
    from panel.command import main

    served = dataclasses.replace(served, port=free_port(served.address, served.port))
    given = arguments(served, apps)  # what is wrong with them is said before an address is
    if served.warning:
        print(f"workbench: warning: {served.warning}", file=sys.stderr)
    print(f"{served.url}  (Ctrl-C ends it)", file=sys.stderr, flush=True)
    sys.setswitchinterval(SWITCH_S)
    sys.argv = ["panel", *given]  # its main reads them there only
    main()
