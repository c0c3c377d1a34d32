"""How the server is started: port, hosts, login and the secret of its cookies."""

from __future__ import annotations

import socket
import stat
from pathlib import Path

import pytest

from workbench.store.errors import StoreError
from workbench.views.clicks import ClickModel
from workbench.views.serving import Served, arguments, asked_of, cookie_secret, free_port, is_loopback

APPS = [Path("dashboards/cycles.py")]


def test_secret__is_made_once_and_only_its_owner_reads_it(tmp_path):
    first = cookie_secret(tmp_path / "conf")
    file = tmp_path / "conf" / "cookie-secret"
    assert len(first) == 64
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    file.chmod(0o644)
    assert cookie_secret(tmp_path / "conf") == first
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_secret__cut_short_is_made_anew(tmp_path):
    (tmp_path / "cookie-secret").write_text("abc")
    assert len(cookie_secret(tmp_path)) == 64


def test_port__taken_is_said():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(StoreError, match="choose another port"):
            free_port("127.0.0.1", taken.getsockname()[1])
    assert free_port("127.0.0.1") > 0


@pytest.mark.parametrize(
    ("address", "own"),
    [("127.0.0.1", True), ("127.8.8.8", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("lab", False)],
)
def test_loopback(address, own):
    assert is_loopback(address) is own


def test_arguments__plain_has_no_login_and_own_hosts_only(tmp_path):
    given = arguments(Served(tmp_path, port=5100), APPS)
    assert given[-2:] == ["--args", str(tmp_path)]
    origins = [given[k + 1] for k, part in enumerate(given) if part == "--allow-websocket-origin"]
    assert origins == ["127.0.0.1:5100", "localhost:5100"]
    assert not {"--basic-auth", "--cookie-secret"} & set(given)


def test_arguments__login_brings_our_page_and_a_kept_secret(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    users = tmp_path / "users.json"
    with pytest.raises(StoreError, match="there is no such file"):
        arguments(Served(tmp_path, port=1, login=str(users)), APPS)
    for text, told in (("{bad", "does not parse"), ('["ann"]', "got other JSON"), ('{"ann": 3}', "got other JSON")):
        users.write_text(text, "utf-8")
        with pytest.raises(StoreError, match=told):
            arguments(Served(tmp_path, port=1, login=str(users)), APPS)
    with pytest.raises(ValueError, match="expected HOST or HOST:PORT, without http://, got 'http://x'"):
        arguments(Served(tmp_path, port=1, origins=("http://x",)), APPS)
    users.write_text('{"ann": "secret"}', "utf-8")
    given = arguments(Served(tmp_path, port=1, login=str(users), prefix="/wb"), APPS)
    assert Served(tmp_path, port=1, prefix="wb/").url == "http://127.0.0.1:1/wb/cycles"
    login = Path(given[given.index("--basic-login-template") + 1]).read_text("utf-8")
    assert "http" not in login
    assert given[given.index("--cookie-secret") + 1] == (tmp_path / "workbench" / "cookie-secret").read_text()
    assert given[given.index("--prefix") + 1] == "/wb"


def test_arguments__the_model_for_clicks_is_read_back(tmp_path):
    clicks = ClickModel("vit_b", "/weights/a b.pth", "cpu", "/kept=here")
    for database in (None, "postgresql://host/name"):
        given = arguments(Served(tmp_path, port=1, database=database, clicks=clicks), APPS)
        assert asked_of(given[given.index("--args") + 1 :]) == (str(tmp_path), database, clicks)
    assert asked_of([]) == (None, None, ClickModel())


@pytest.mark.parametrize("given", [["p", "--modell", "vit_b"], ["p", "--model"], ["p", "d", "more"]])
def test_arguments__unknown_ones_are_words(given):
    with pytest.raises(ValueError, match="argument"):
        asked_of(given)


def test_warning__where_others_can_reach_it_without_login(tmp_path):
    assert "anybody who reaches 0.0.0.0:80" in Served(tmp_path, "0.0.0.0", 80).warning
    assert Served(tmp_path, "0.0.0.0", 80, login="secret").warning == ""
    assert Served(tmp_path).warning == ""
    assert Served(tmp_path, "::1", 7, prefix="/a").url == "http://[::1]:7/a/cycles"
