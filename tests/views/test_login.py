"""What a login by a provider needs is asked for before anything is served."""

from __future__ import annotations

import pytest
from made_projects import made_project
from typer.testing import CliRunner

from workbench.cli import app
from workbench.config import SettingError
from workbench.views.login import check_provider
from workbench.views.serving import Served, arguments

KEY = {"PANEL_OAUTH_KEY": "key"}
SECRET = {"PANEL_OAUTH_SECRET": "secret"}
ADDRESSES = {"PANEL_OAUTH_AUTHORIZE_URL": "https://a.example", "PANEL_OAUTH_TOKEN_URL": "https://t.example"}


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch, tmp_path):
    for name in (*KEY, *SECRET, *ADDRESSES, "PANEL_OAUTH_PROVIDER", "PANEL_OAUTH_EXTRA_PARAMS", "PANEL_COOKIE_SECRET"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))


@pytest.mark.parametrize(
    ("name", "given", "words"),
    [
        ("gitbuh", {}, "expected one of auth0, .*github.*, got 'gitbuh'"),
        ("github", {}, "got no PANEL_OAUTH_KEY and no PANEL_OAUTH_SECRET; set what the provider gave you"),
        ("github", KEY, "got no PANEL_OAUTH_SECRET;"),
        ("auth_code", KEY, "got no PANEL_OAUTH_AUTHORIZE_URL and no PANEL_OAUTH_TOKEN_URL;"),
        ("github", {**KEY, **SECRET, "PANEL_OAUTH_PROVIDER": "okta"}, "got 'okta'; unset it"),
    ],
)
def test_provider__what_is_missing_is_said(monkeypatch, name, given, words):
    for variable, value in given.items():
        monkeypatch.setenv(variable, value)
    with pytest.raises(SettingError, match=words):
        check_provider(name)


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("github", {**KEY, **SECRET}),
        ("generic", {**KEY, **SECRET, **ADDRESSES}),
        ("generic", {**KEY, **SECRET, "PANEL_OAUTH_EXTRA_PARAMS": "{}"}),
        ("pam", {}),
    ],
)
def test_provider__with_all_it_needs_is_taken(monkeypatch, name, given):
    for variable, value in given.items():
        monkeypatch.setenv(variable, value)
    check_provider(name)


def test_provider__beside_a_password_is_refused():
    with pytest.raises(SettingError, match="leave one of them away"):
        check_provider("github", "secret")


def test_arguments__a_provider_brings_our_page_and_a_kept_secret(monkeypatch, tmp_path):
    for variable, value in (*KEY.items(), *SECRET.items()):
        monkeypatch.setenv(variable, value)
    given = arguments(Served(tmp_path, port=1, oauth="github"), [])
    assert given[given.index("--oauth-provider") + 1] == "github"
    assert given[given.index("--oauth-error-template") + 1].endswith("refused.html")
    assert "secret" not in given  # of the provider: others can list what runs here
    assert "--cookie-secret" in given
    monkeypatch.setenv("PANEL_COOKIE_SECRET", "known")
    assert "--cookie-secret" not in arguments(Served(tmp_path, port=1, oauth="github"), [])


@pytest.mark.parametrize(("name", "words"), [("gitbuh", "expected one of"), ("github", "no PANEL_OAUTH_KEY")])
def test_command__a_login_that_cannot_be_is_words_and_serves_nothing(tmp_path, name, words):
    made_project(tmp_path, images=1, rows=5).close()
    result = CliRunner().invoke(app, ["dashboard", str(tmp_path / "project"), "--oauth-provider", name])
    assert result.exit_code == 2
    assert words in result.output
    assert "http://" not in result.output
