"""Login by a provider: nobody is let in without its word, and a refusal is words."""

from __future__ import annotations

import http.cookiejar
import re
import urllib.error
import urllib.request
from urllib.parse import urlsplit

import pytest
from made_projects import made_project
from ui.provider import CODE, provider
from ui.serving import Watched, dashboard

UNTIL = "Where the campaign stands"


@pytest.fixture(scope="module")
def somebody():
    with provider() as found:
        yield found


@pytest.fixture(scope="module")
def server(tmp_path_factory, somebody):
    folder = tmp_path_factory.mktemp("login")
    made_project(folder, images=1, rows=5).close()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in somebody.environment().items():
            patch.setenv(name, value)
        with dashboard(folder / "project", folder / "log.txt", "--oauth-provider", "generic") as running:
            yield running


@pytest.fixture
def agreeing(somebody):
    """The provider as it is when nothing is wrong."""
    somebody.agrees = somebody.keeps_its_word = True
    somebody.hangs_up = False
    somebody.asked.clear()
    return somebody


class Stop(urllib.request.HTTPRedirectHandler):
    """Follows no redirect."""

    def redirect_request(self, *_):
        return None


def client(*handlers):
    return urllib.request.build_opener(urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()), *handlers)


def refused(opener, address):
    """Return status and text of an address that is refused; it must be words for people."""
    with pytest.raises(urllib.error.HTTPError) as answer:
        opener.open(address)
    text = answer.value.read().decode()
    assert "not logged in" in text
    assert "Traceback" not in text
    assert not re.findall(r"(?:src|href)=.?(?:https?:)?//", text)
    return answer.value.code, text


def test_oauth__nobody_is_let_in_before_the_provider_was_asked(server, agreeing):
    with pytest.raises(urllib.error.HTTPError) as answer:
        client(Stop).open(server.page("cycles"))
    assert answer.value.code == 302
    assert answer.value.headers["Location"].startswith("./login?")
    with pytest.raises(urllib.error.HTTPError) as answer:
        client(Stop).open(f"{server.url}/login")
    asked = answer.value.headers["Location"]
    assert asked.startswith(f"{agreeing.url}/authorize?")
    assert "the-secret" not in asked


def test_oauth__a_person_of_the_provider_is_let_in(server, agreeing, page):
    watched = Watched(page, server)
    page.unroute_all()
    page.goto(server.page("cycles"))
    page.get_by_text(UNTIL).first.wait_for()  # sent through the websocket, which asks for the login too
    assert [path for path, _ in agreeing.asked] == ["/authorize", "/token", "/user"]
    assert page.url.startswith(server.url)
    assert {urlsplit(url).path for url in watched.foreign} <= {"/authorize"}
    assert watched.errors == []


def test_oauth__a_state_that_was_not_given_is_refused(server, agreeing):
    code, text = refused(client(), f"{server.url}/login?code={CODE}&state=forged")
    assert code == 401
    assert "state mismatch" in text
    assert agreeing.asked == []  # the code was not even tried


def test_oauth__a_person_who_says_no_is_refused(server, agreeing):
    agreeing.agrees = False
    code, text = refused(client(), server.page("cycles"))
    assert code == 401
    assert "access_denied" in text
    assert "Ann has said" in text
    assert "<b>" not in text


def test_oauth__a_code_that_the_provider_does_not_know_is_refused(server, agreeing):
    agreeing.keeps_its_word = False
    code, text = refused(client(), server.page("cycles"))
    assert code == 401
    assert "invalid_grant" in text
    assert "panel/auth" not in server.log().partition("Traceback")[2]


def test_oauth__a_provider_that_hangs_up_is_words(server, agreeing):
    agreeing.hangs_up = True
    code, text = refused(client(), server.page("cycles"))
    assert code == 500
    assert "unexpected problem" in text
    agreeing.hangs_up = False
    with client().open(server.page("cycles")) as answer:  # the server goes on
        assert answer.status == 200


def test_oauth__a_forged_refusal_sets_no_header(server):
    code, text = refused(client(), f"{server.url}/login?error=no%0d%0aX-Evil:%201&error_description=<script>x</script>")
    assert code in (401, 500)
    assert "<script>" not in text
