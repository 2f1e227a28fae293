"""Who gets in, who does not, and what a stranger can find out."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import socket
import stat
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.parse import urljoin

import httpx
import pytest
import uvicorn
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient, WebSocketDenialResponse, WebSocketTestSession
from starlette.websockets import WebSocket
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from server.access import Access, AccessCodeError, AccessMiddleware, enter_page, guard, load_code
from server.access.code import same_code
from server.access.middleware import COOKIE, _take_code_from_query
from server.access.origin import is_local_host, is_same_origin
from server.access.wrong_codes import WrongCodes
from server.ground import is_loopback
from server.words import Role, needs

CODE = "7KQ2-M9XR-4TBD"
HOST = "192.168.1.20:8443"
HERE = f"http://{HOST}"
HTML = {"Accept": "text/html,application/xhtml+xml"}
BEARER = {"Authorization": f"Bearer {CODE}"}


@needs(Role.NOBODY)
async def told_anybody(request: Request) -> Response:
    return await echo(request)


@needs(Role.VIEWER)
async def echo(request: Request) -> Response:
    return JSONResponse(
        {
            "access": request.state.access,
            "query": request.url.query,
            "lifespan": hasattr(request.state, "kept"),
        }
    )


@needs(Role.NOBODY)
async def script(request: Request) -> Response:
    return PlainTextResponse("js")


@needs(Role.VIEWER)
async def live(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text(websocket.url.query)
    await websocket.close()


INNER = Starlette(
    routes=[
        *(Route(path, told_anybody, methods=["GET", "POST", "DELETE"]) for path in ("/health", "/ca")),
        *(Route(path, echo, methods=["GET", "POST", "DELETE"]) for path in ("/", "/api/streams")),
        Route("/static/app.js", script),
        WebSocketRoute("/ws/live", live),
    ]
)
guard(INNER.routes)
DATA = tempfile.TemporaryDirectory()


def checked(app: Any, code: str | None = CODE, data_dir: Path | None = None, **options: Any) -> AccessMiddleware:
    """The access check before an application, with a data directory of its own."""
    folder = data_dir or Path(tempfile.mkdtemp(dir=DATA.name))
    return AccessMiddleware(app, Access(folder, closed=code is not None, code=code), INNER.routes, **options)


def cookie_of(check: AccessMiddleware) -> str:
    """What the cookie of somebody who is in says."""
    return asyncio.run(check._access.open_session("code", "access code", address="10.0.0.1", browser="a test"))


def stranger(
    code: str | None = CODE, base_url: str = HERE, address: str = "192.168.1.77", **options: object
) -> TestClient:
    """A client without cookies on another machine; it does not follow redirects."""
    return TestClient(
        checked(INNER, code, **options), base_url=base_url, client=(address, 50000), follow_redirects=False
    )


def dial(client: TestClient, url: str, headers: dict[str, str]) -> WebSocketTestSession:
    """A handshake with this client's own host; the test client would say testserver, and change `headers`."""
    host = client.base_url.netloc.decode()
    return client.websocket_connect(f"ws://{host}{url}", headers=dict(headers))


def browser(base_url: str = HERE) -> TestClient:
    """A browser that has shown the code."""
    client = stranger(base_url=base_url)
    assert client.get("/", params={"code": CODE}, headers=HTML).status_code == 303
    return client


# --- what a stranger gets


def test_a_page_leads_to_the_form_and_back() -> None:
    client = stranger()
    answer = client.get("/?stream=line%201&x=2", headers=HTML)
    assert answer.status_code == 303
    assert answer.headers["location"] == "./enter?next=/%3Fstream%3Dline%25201%26x%3D2"
    form = client.get(urljoin(f"{HERE}/", answer.headers["location"]))
    assert form.status_code == 200
    assert 'value="/?stream=line%201&amp;x=2"' in form.text
    entered = client.post("/enter", data={"code": CODE, "next": "/?stream=line%201&x=2"}, headers={"Origin": HERE})
    assert (entered.status_code, entered.headers["location"]) == (303, "./?stream=line%201&x=2")
    assert client.get("/?stream=line%201&x=2").json() == {
        "access": True,
        "query": "stream=line%201&x=2",
        "lifespan": False,
    }


@pytest.mark.parametrize(
    "headers", [{}, {"Accept": "*/*"}, {"Authorization": "Basic YTpi"}, {"Cookie": f"{COOKIE}={CODE}"}]
)
def test_the_api_says_what_to_do(headers: dict[str, str]) -> None:
    answer = stranger().get("/api/streams", headers=headers)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert "access code" in answer.json()["error"] and "/enter" in answer.json()["error"]


def test_open_paths_know_that_a_stranger_asks() -> None:
    client = stranger()
    assert client.get("/health").json()["access"] is False
    assert client.get("/ca").json()["access"] is False
    assert client.get("/static/app.js").text == "js"
    assert client.get("/health", headers=BEARER).json()["access"] is True
    assert client.get("/health/").status_code == 401
    assert client.get("/healthy").status_code == 401
    assert client.get("/staticky").status_code == 401


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Via", "Forwarded", "X-Real-IP", "CDN-Loop", "none of these"])
def test_health_tells_nobody_more_without_the_code_whatever_stands_between(header: str) -> None:
    """It holds the TURN server's password, and a proxy on this machine cannot be told from its user."""
    local = stranger(base_url="http://localhost:8000", address="127.0.0.1")
    assert local.get("/health", headers={header: "10.0.0.9"}).json()["access"] is False
    assert local.get("/health", headers={header: "10.0.0.9"} | BEARER).json()["access"] is True
    assert local.get("/api/streams").status_code == 401


# --- a browser


def test_a_link_with_the_code_sets_a_cookie_and_leaves_no_code_behind() -> None:
    client = stranger()
    answer = client.get(f"/?a=1&code={CODE.lower()}&b=%2F", headers=HTML)
    assert (answer.status_code, answer.headers["location"]) == (303, "./?a=1&b=%2F")
    cookie = answer.headers["set-cookie"]
    assert CODE not in cookie
    assert all(part in cookie for part in ("HttpOnly", "SameSite=lax", "Max-Age="))
    assert "Path" not in cookie, "that of the folder, as the browser sees it, of what was asked for"
    assert "Secure" not in cookie
    assert client.get("/?a=1&b=%2F").json()["access"] is True


def test_over_https_the_cookie_is_secure() -> None:
    client = browser(f"https://{HOST}")
    assert client.get("/api/streams").status_code == 200
    answer = stranger(base_url=f"https://{HOST}").get(f"/?code={CODE}")
    assert "Secure" in answer.headers["set-cookie"]


def test_a_wrong_link_shows_the_form_without_setting_a_cookie() -> None:
    answer = stranger().get("/?code=AAAA-AAAA-AAAA", headers=HTML)
    assert answer.status_code == 401
    assert "That is not the access code" in answer.text
    assert "set-cookie" not in answer.headers


def test_an_old_link_in_a_browser_that_is_in_just_goes_on() -> None:
    answer = browser().get("/?code=OLD&x=1", headers=HTML)
    assert (answer.status_code, answer.headers["location"]) == (303, "./?x=1")


def test_another_code_invalidates_every_cookie(tmp_path: Path) -> None:
    cookie = cookie_of(checked(INNER, CODE, tmp_path))
    same = stranger(CODE, data_dir=tmp_path)
    same.cookies.set(COOKIE, cookie)
    assert same.get("/api/streams").status_code == 200, "a restart logs nobody out"
    changed = stranger("7KQ2-M9XR-4TBE", data_dir=tmp_path)
    changed.cookies.set(COOKIE, cookie)
    for _ in range(200):  # an old cookie is no guess: it never costs anyone their allowance
        assert changed.get("/api/streams").status_code == 401
    assert changed.get("/?code=7KQ2-M9XR-4TBE").status_code == 303


def test_the_form_stays_out_of_caches_frames_and_referrers() -> None:
    answer = stranger().get("/enter")
    assert answer.headers["cache-control"] == "no-store"
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["referrer-policy"] == "same-origin"
    assert "<script" not in answer.text


def test_the_form_is_skipped_by_who_is_in_and_survives_nonsense() -> None:
    assert browser().get("/enter?next=/api/streams").headers["location"] == "./api/streams"
    client = stranger()
    assert client.post("/enter", content=b"").status_code == 200
    assert client.post("/enter", content=b"&" * 4000).status_code == 200
    assert client.post("/enter", content=b"code=" + b"x" * 5000).status_code == 413
    assert client.put("/enter").status_code == 405
    assert client.post("/enter", content=b"code=%FF%00\xff", headers={"Origin": HERE}).status_code == 401


def test_another_site_cannot_make_its_visitors_browsers_guess() -> None:
    answer = stranger().post("/enter", data={"code": CODE}, headers={"Origin": "https://evil.example"})
    assert answer.status_code == 403 and "set PUBLIC_URL" in answer.text and "set-cookie" not in answer.headers


def test_links_that_another_site_has_its_visitors_browsers_follow_hold_up_nothing_but_links() -> None:
    client = stranger()
    check: Any = client.app
    check._wrong_links = WrongCodes(Clock())
    for path in ("/?code={}", "/enter?code={}", "/api/streams?code={}"):
        for number in range(12):  # over plain http no browser says who has it do so
            client.get(path.format(wrong(number)))
    assert check._wrong_links.is_in_turns("192.168.1.77") and not check._wrong_codes.is_in_turns("192.168.1.77")
    while check._wrong_links.take_turn("192.168.1.77") is not None:
        pass
    assert client.get(f"/?code={CODE}").status_code == 429
    assert check._wrong_codes.take_turn("192.168.1.77") == 0
    assert client.get("/api/streams", headers={"Authorization": f"Bearer {wrong(99)}"}).status_code == 401
    assert client.get("/api/streams", headers=BEARER).status_code == 200
    _, secret = asyncio.run(check._access.add_token("screen", "viewer", None, None, "a test"))
    assert "set-cookie" in client.get(f"/?code={secret}").headers, "a token waits for nobody"
    client.cookies.clear()
    assert client.post("/enter", data={"code": CODE}).status_code == 303


@pytest.mark.parametrize(
    "target",
    [
        "//evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "https://evil.example",
        "/a\r\nSet-Cookie: x",
        "é",
        "///",
        "javascript:alert(1)",
        "/" + "x" * 3000,
        "/../other-app/",
        "/a/%2E./%2e%2e/other-app/",
        "",
    ],
)
def test_nobody_is_sent_to_another_site(target: str) -> None:
    client = stranger()
    answer = client.post("/enter", data={"code": CODE, "next": target})
    assert (answer.status_code, answer.headers["location"]) == (303, "./")


def test_a_path_with_two_slashes_leads_nowhere_else() -> None:
    answer = stranger().get(f"{HERE}//evil.example/?code={CODE}")
    assert urljoin(f"{HERE}//evil.example/", answer.headers["location"]) == f"{HERE}/"


# --- machines


def test_a_machine_sends_the_code_as_bearer() -> None:
    client = stranger()
    assert client.get("/api/streams", headers=BEARER).json()["access"] is True
    assert client.delete("/api/streams", headers={"Authorization": f"bearer {CODE.lower()}"}).status_code == 200
    with dial(client, "/ws/live?name=a", BEARER) as websocket:
        assert websocket.receive_text() == "name=a"


def test_a_wrong_bearer_is_refused_even_where_none_is_needed() -> None:
    wrong = {"Authorization": "Bearer nope"}
    client = stranger()
    assert client.get("/api/streams", headers=wrong).status_code == 401
    assert client.get("/health", headers=wrong).status_code == 401


# --- other web sites


def refused(client: TestClient, url: str, headers: dict[str, str]) -> int:
    with pytest.raises(WebSocketDenialResponse) as refusal, dial(client, url, headers):
        pass
    status: int = refusal.value.status_code
    assert "error" in refusal.value.json()
    return status


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "null",
        "",
        f"http://{HOST}.evil.example",
        "http://192.168.1.20",
        "file://",
        "http://192.168.1.20:9999",
        f"http://evil@{HOST}",
        f"ftp://{HOST}",
        f"{HERE}/",
    ],
)
def test_another_site_cannot_use_a_browsers_cookie(origin: str) -> None:
    client = browser()
    assert client.post("/api/streams", headers={"Origin": origin}).status_code == 403
    assert client.delete("/api/streams", headers={"Origin": origin}).status_code == 403
    assert refused(client, "/ws/live", {"Origin": origin}) == 403


def test_the_servers_own_pages_can() -> None:
    client = browser()
    assert client.post("/api/streams", headers={"Origin": HERE}).status_code == 200
    with dial(client, "/ws/live?name=a&code=x", {"Origin": HERE}) as websocket:
        assert websocket.receive_text() == "name=a"


def test_a_cookie_alone_changes_nothing_without_an_origin() -> None:
    client = browser()
    assert client.get("/api/streams").status_code == 200
    assert client.post("/api/streams").status_code == 403
    assert refused(client, "/ws/live", {}) == 403


def test_a_stranger_gets_no_websocket() -> None:
    assert refused(stranger(), "/ws/live", {"Origin": HERE}) == 401
    assert refused(stranger(), "/ws/live?code=AAAA-AAAA-AAAA", {"Origin": HERE}) == 401


def test_a_page_without_cookies_shows_the_code_in_its_sockets_address() -> None:
    """A script cannot give a WebSocket a header, and a framed page of another site has no cookie."""
    with dial(stranger(), f"/ws/live?name=a&code={CODE}", {"Origin": HERE}) as websocket:
        assert websocket.receive_text() == "name=a"
    assert refused(stranger(), f"/ws/live?code={CODE}", {"Origin": "https://evil.example"}) == 403


async def test_a_server_that_cannot_explain_a_refusal_just_closes() -> None:
    sent: list[object] = []

    async def send(message: object) -> None:
        sent.append(message)

    scope = {"type": "websocket", "path": "/ws/live", "query_string": b"", "headers": [], "scheme": "ws"}
    await checked(INNER)(scope, None, send)  # type: ignore[arg-type]
    assert sent == [{"type": "websocket.close", "code": 1008}]


@pytest.mark.parametrize(
    ("origin", "host", "secure", "expected"),
    [
        ("https://line.example", "line.example", True, True),
        ("https://line.example", "line.example:443", True, True),
        ("https://LINE.example:443", "line.example", True, True),
        ("http://line.example", "line.example", True, False),
        ("https://line.example", "line.example", False, True),  # a proxy took the TLS off
        ("https://[fd00::2]:8443", "[fd00::2]:8443", True, True),
        ("https://[fd00::3]:8443", "[fd00::2]:8443", True, False),
        ("http://line.example:80", "line.example", False, True),
        ("http://line.example:8000", "line.example", False, False),
        ("http://line.example", "", False, False),
        ("http://a b", "a b", False, False),
    ],
)
def test_same_origin(origin: str, host: str, secure: bool, expected: bool) -> None:
    assert is_same_origin(origin, host, secure) is expected


# --- an open server on this machine


@pytest.mark.parametrize(
    "host", ["localhost:8000", "localhost", "127.0.0.1:8000", "127.8.9.1", "[::1]:8000", "LOCALHOST."]
)
def test_on_this_machine_everything_is_open(host: str) -> None:
    client = stranger(None, f"http://{host}", "127.0.0.1")
    assert client.get("/api/streams").json()["access"] is True
    assert client.post("/api/streams").status_code == 200
    assert client.post("/api/streams", headers={"Origin": f"http://{host}".lower()}).status_code == 200
    assert client.get("/enter").headers["location"] == "./"
    with dial(client, "/ws/live?code=old", {}) as websocket:
        assert websocket.receive_text() == ""


def test_dns_rebinding_is_refused() -> None:
    client = stranger(None, "http://rebound.evil.example:8000", "127.0.0.1")
    for path in ("/", "/health", "/static/app.js", "/enter"):
        answer = client.get(path, headers=HTML)
        assert answer.status_code == 403
        assert "http://localhost" in answer.json()["error"]
    assert refused(client, "/ws/live", {"Origin": "http://rebound.evil.example:8000"}) == 403


def test_another_site_is_refused_on_this_machine_too() -> None:
    client = stranger(None, "http://localhost:8000", "127.0.0.1")
    other = {"Origin": "https://evil.example"}
    assert client.post("/api/streams", headers=other).status_code == 403
    assert refused(client, "/ws/live", other) == 403


@pytest.mark.parametrize("header", ["X-Forwarded-For", "X-Forwarded-Host", "Via", "Forwarded", "X-Real-IP"])
def test_an_open_server_is_open_to_nobody_who_comes_through_a_proxy(header: str) -> None:
    client = stranger(None, "http://localhost:8000", "127.0.0.1")
    answer = client.get("/", headers={header: "10.0.0.9"})
    assert answer.status_code == 403 and "set PUBLIC_URL" in answer.json()["error"]
    assert refused(client, "/ws/live", {header: "10.0.0.9"}) == 403


async def test_an_open_server_takes_http_1_0_for_a_proxy() -> None:
    """nginx without further settings says ``Host: 127.0.0.1``, and nothing of whom it stands for."""
    assert await _status({"http_version": "1.0", "headers": [(b"host", b"localhost")]}, code=None) == 403
    assert await _status({"http_version": "1.1", "headers": [(b"host", b"localhost")]}, code=None) == 200


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", True),
        ("localhost:80", True),
        ("localhost.evil.example", False),
        ("evil.example", False),
        ("", False),
        ("127.0.0.1.evil.example", False),
        ("[::1]", True),
        ("[::2]", False),
        ("0.0.0.0", False),
        ("localhost:x", False),
        ("localhost@evil", False),
        ("127.0.0.1\n", True),
        ("localhost, evil", False),
        ("2130706433", False),
    ],
)
def test_local_host(host: str, expected: bool) -> None:
    assert is_local_host(host) is expected


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", True),
        ("LocalHost", True),
        ("127.0.0.1", True),
        ("127.1.2.3", True),
        ("::1", True),
        ("[::1]", True),
        ("::ffff:127.0.0.1", True),
        ("0.0.0.0", False),
        ("", False),
        ("::", False),
        ("192.168.1.2", False),
        ("localhost.example", False),
        ("fe80::1%eth0", False),
        ("127.1", False),
    ],
)
def test_is_loopback(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


# --- wrong codes


def wrong(number: int) -> str:
    return f"AAAA-AAAA-{number:04d}"


def test_guessing_is_slowed_down_and_logged_in_one_line(caplog: pytest.LogCaptureFixture) -> None:
    client = stranger()
    answers = [client.get("/api/streams", headers={"Authorization": f"Bearer {wrong(n)}"}) for n in range(12)]
    assert [a.status_code for a in answers] == [401] * 10 + [429] * 2
    assert 0 < int(answers[-1].headers["retry-after"]) <= 30
    form = client.post("/enter", data={"code": wrong(20)})
    assert form.status_code == 429
    assert re.search(r"Wait \d+ seconds", form.text)
    assert len(caplog.records) == 1
    assert "192.168.1.77" in caplog.text and "AAAA" not in caplog.text


def test_the_right_code_enters_from_wherever_wrong_ones_came() -> None:
    client = stranger()
    for number in range(20):
        client.get("/api/streams", headers={"Authorization": f"Bearer {wrong(number)}"})
    assert [client.get("/api/streams", headers=BEARER).status_code for _ in range(45)] == [200] * 45
    assert client.get(f"/?code={CODE}").status_code == 303
    assert client.post("/enter", data={"code": CODE}).status_code == 303


def test_a_monitor_behind_a_guesser_s_address_waits_for_nothing() -> None:
    """What is open to everyone needs no code looked at: while codes have to wait there, the status alone is told."""
    client = stranger()
    assert client.get("/health", headers=BEARER).json()["access"] is True
    for number in range(20):
        client.get("/api/streams", headers={"Authorization": f"Bearer {wrong(number)}"})
    taken: list[float | None] = []
    with mock.patch.object(WrongCodes, "take_turn", lambda self, address: taken.append(0.0) or 0.0):
        assert client.get("/health", headers=BEARER).json()["access"] is False
    assert not taken


def test_a_right_token_waits_for_nobody_s_guesses_at_its_address() -> None:
    """A stranger behind the same proxy may fill the queue of turns: 256 random bits need none."""
    client = stranger()
    check: Any = client.app
    check._wrong_codes = WrongCodes(Clock())
    _, secret = asyncio.run(check._access.add_token("machine", "viewer", None, None, "a test"))
    for number in range(20):
        client.get("/api/streams", headers={"Authorization": f"Bearer dvt_{wrong(number)}"})
    assert client.get("/api/streams", headers={"Authorization": "Bearer dvt_wrong"}).status_code == 429
    while check._wrong_codes.take_turn("192.168.1.77") is not None:
        pass
    bearer = {"Authorization": f"Bearer {secret}"}
    assert client.get("/api/streams", headers=BEARER).status_code == 429, "the access code has no turn soon"
    assert [client.get("/api/streams", headers=bearer).status_code for _ in range(5)] == [200] * 5
    assert client.get("/health", headers=bearer).json()["access"] is True
    assert client.post("/enter", data={"code": secret}).status_code == 303
    assert check._wrong_codes.take_turn("192.168.1.77") is None, "what took no turn gives none back"


def test_a_machine_with_an_old_code_is_no_guesser() -> None:
    """It comes back with the same one, for months; at its address others come and go."""
    client = stranger()
    for _ in range(45):
        assert client.get("/api/streams", headers={"Authorization": "Bearer OLD-CODE-OF-LAST-YEAR"}).status_code == 401
        assert client.get("/api/streams", headers=BEARER).status_code == 200
    assert client.get("/api/streams", headers={"Authorization": "Bearer mistyped"}).status_code == 401


def test_a_browser_that_is_in_is_not_held_up_by_a_guesser_behind_the_same_address() -> None:
    client = browser()
    for number in range(12):
        client.post("/enter", data={"code": wrong(number)}, headers={"Origin": HERE})
    assert client.get("/api/streams").status_code == 200


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_the_allowance_comes_back() -> None:
    clock = Clock()
    codes = WrongCodes(clock)
    for number in range(10):
        assert codes.wait_s("10.0.0.1") == 0
        codes.count_wrong("10.0.0.1", wrong(number))
    assert codes.wait_s("10.0.0.1") == 30
    assert codes.wait_s("10.0.0.2") == 0
    codes.count_wrong("10.0.0.1", wrong(11))
    assert codes.wait_s("10.0.0.1") == 30, "what was told to wait does not wait longer for it"
    clock.now += 30
    assert codes.wait_s("10.0.0.1") == 0
    codes.count_wrong("10.0.0.1", wrong(12))
    assert codes.wait_s("10.0.0.1") == 30
    clock.now += 3600
    codes.count_wrong("10.0.0.1", wrong(13))
    assert codes.wait_s("10.0.0.1") == 0


def test_a_guesser_is_looked_at_twenty_times_a_second_and_no_more() -> None:
    clock = Clock()
    codes = WrongCodes(clock)
    for number in range(10):
        assert codes.take_turn("10.0.0.1") == 0
        codes.count_wrong("10.0.0.1", wrong(number))
    waits = [codes.take_turn("10.0.0.1") for _ in range(100)]
    looked_at = [wait for wait in waits if wait is not None]
    assert looked_at == pytest.approx([n * 0.05 for n in range(len(looked_at))])
    assert 55 < len(looked_at) < 65 and waits[len(looked_at) :] == [None] * (100 - len(looked_at))
    assert codes.take_turn("10.0.0.2") == 0, "who guesses elsewhere is in nobody's way here"
    clock.now += 4
    assert codes.take_turn("10.0.0.1") == 0


def test_right_codes_use_up_no_turns() -> None:
    codes = WrongCodes(Clock())
    for number in range(10):
        codes.count_wrong("10.0.0.1", wrong(number))
    for _ in range(1000):
        turn_s = codes.take_turn("10.0.0.1")
        assert turn_s == pytest.approx(0, abs=1e-9)
        codes.count_right("10.0.0.1")


def test_the_same_wrong_code_from_the_same_address_is_known() -> None:
    codes = WrongCodes(Clock())
    codes.count_wrong("10.0.0.1", "7kq2m9xr4tbc")
    assert codes.is_known("10.0.0.1", "7KQ2-M9XR-4TBC"), "however it is typed"
    assert not codes.is_known("10.0.0.1", "7KQ2-M9XR-4TBD")
    assert not codes.is_known("10.0.0.2", "7KQ2-M9XR-4TBC")


def test_many_addresses_share_one_allowance_but_cannot_shut_out_who_knows_the_code() -> None:
    clock = Clock()
    codes = WrongCodes(clock)
    codes.count_right("10.0.0.1")
    for number in range(100):
        codes.count_wrong(f"172.16.0.{number}", wrong(number))
    assert codes.wait_s("10.9.9.9") == 1
    assert codes.wait_s("10.0.0.1") == 0
    while codes.take_turn("10.9.9.9") is not None:
        pass
    assert codes.take_turn("10.0.0.1") == 0
    clock.now += 1
    assert codes.wait_s("10.9.9.9") == 0


def test_one_ipv6_network_and_both_spellings_of_ipv4_are_one_address() -> None:
    codes = WrongCodes(Clock())
    for number in range(10):
        codes.count_wrong(f"2001:db8::{number + 1:x}", wrong(number))
    assert codes.wait_s("2001:db8::ffff") == 30
    assert codes.wait_s("2001:db8:0:1::1") == 0
    for number in range(10):
        codes.count_wrong("::ffff:10.0.0.5", wrong(number))
    assert codes.wait_s("10.0.0.5") == 30


def test_the_memory_of_wrong_codes_and_the_log_are_bounded(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    codes = WrongCodes(clock)
    for number in range(5000):
        codes.count_wrong(f"10.1.{number // 250}.{number % 250}", "mistyped")
        codes.count_right(f"10.2.{number // 250}.{number % 250}")
    assert len(codes._sources) == len(codes._trusted) == 1024
    for number in range(100):
        codes.count_wrong("10.1.19.249", wrong(number))
    assert len(codes._sources["10.1.19.249"].wrong) == 16
    clock.now += 61
    codes.count_wrong("10.0.0.1", "mistyped")
    assert [record.getMessage() for record in caplog.records] == [
        "1 wrong access code, the last one from 10.1.0.0",
        "5,100 wrong access codes, the last one from 10.0.0.1",
    ]


# --- the code itself


def test_a_code_of_before_is_taken_and_none_is_made(tmp_path: Path) -> None:
    data = tmp_path / "data"
    assert load_code(data, None) is None and not data.exists()
    data.mkdir()
    (data / "access_code").write_text(f"{CODE}\n")
    assert load_code(data, "  ") == CODE


def test_the_environment_wins_and_is_checked(tmp_path: Path) -> None:
    assert load_code(tmp_path, " correct horse ") == "correct horse"
    for bad in ("seven77", "x" * 201, "umlaut-öäü-code", "tab\tinside-code"):
        with pytest.raises(AccessCodeError, match="set another") as error:
            load_code(tmp_path, bad)
        assert bad not in str(error.value)


@pytest.mark.parametrize("damage", [b"", b"\x00\xff\xfe", b"abc\n", b"A" * 5000])
def test_a_damaged_file_is_set_aside(tmp_path: Path, damage: bytes, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "access_code").write_bytes(damage)
    (tmp_path / "access_code").chmod(0o600)
    assert load_code(tmp_path, None) is None
    assert load_code(tmp_path, None) is None
    assert len(caplog.records) == 1 and "no access code is taken any more" in caplog.text
    assert [path.read_bytes() for path in tmp_path.glob("access_code.damaged-*")] == [damage]


def test_a_code_others_could_read_is_closed_and_kept(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "access_code").write_text(CODE)
    (tmp_path / "access_code").chmod(0o644)
    assert load_code(tmp_path, None) == CODE
    assert stat.S_IMODE((tmp_path / "access_code").stat().st_mode) == 0o600
    assert "was open to other users" in caplog.text


def test_a_file_that_cannot_be_read_is_an_error_with_a_way_out(tmp_path: Path) -> None:
    (tmp_path / "access_code").mkdir()
    with pytest.raises(AccessCodeError, match="set ACCESS_CODE"):
        load_code(tmp_path, None)


@pytest.mark.parametrize("typed", ["7kq2m9xr4tbd", " 7KQ2 M9XR 4TBD ", "7kq2-m9xr-4tbd", CODE])
def test_a_made_code_may_be_typed_the_way_people_type(typed: str) -> None:
    assert same_code(typed, CODE)


def test_look_alikes_are_read_as_meant() -> None:
    assert same_code("oil0-AAAA-AAAA", "0110-AAAA-AAAA")
    assert not same_code("Correct Horse Battery", "correct horse battery"), "a chosen code has to be typed as it is"


@given(st.text(max_size=40))
def test_no_other_text_is_the_code(text: str) -> None:
    meant = text.upper().translate(str.maketrans("ILO", "110", "- \t"))
    assert same_code(text, CODE) == (meant == CODE.replace("-", ""))


# --- anything may arrive

header_value = st.binary(max_size=60).map(lambda b: b.replace(b"\r", b"").replace(b"\n", b"").replace(b"\0", b""))
header = st.tuples(
    st.sampled_from([b"host", b"origin", b"cookie", b"authorization", b"accept", b"x-forwarded-for"]),
    header_value
    | st.sampled_from([b"Bearer " + CODE.encode(), b"Bearer \xff", b"http://[::1", b"localhost", b"text/html"]),
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(
    headers=st.lists(header, max_size=6),
    query=st.binary(max_size=40) | st.just(b"code=%FF&code=" + CODE.encode()),
    path=st.sampled_from(["/", "/enter", "/health", "/api/streams", "//x", "/static/app.js", "/\u00e9 \x00?#"]),
    method=st.sampled_from(["GET", "POST", "DELETE", "OPTIONS", "HEAD"]),
    code=st.sampled_from([CODE, None]),
    kind=st.sampled_from(["http", "websocket"]),
    body=st.binary(max_size=60),
)
def test_whatever_arrives_gets_an_answer_that_is_no_server_error(
    headers: list[tuple[bytes, bytes]],
    query: bytes,
    path: str,
    method: str,
    code: str | None,
    kind: str,
    body: bytes,
) -> None:
    statuses: list[int] = []

    async def inner(scope: object, receive: object, send: object) -> None:
        statuses.append(200)

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: dict[str, object]) -> None:
        if str(message["type"]).endswith("response.start"):
            assert isinstance(message["status"], int)
            statuses.append(message["status"])
            for name, value in message["headers"]:  # type: ignore[attr-defined]
                assert b"\r" not in value and b"\n" not in value, name

    scope: dict[str, Any] = {
        "type": kind,
        "method": method,
        "path": path,
        "query_string": query,
        "headers": headers,
        "scheme": "http",
        "client": ("192.168.1.77", 1),
        "server": ("192.168.1.20", 80),
        "extensions": {"websocket.http.response": {}},
    }
    asyncio.run(checked(inner, code)(scope, receive, send))  # type: ignore[arg-type]
    assert len(statuses) == 1 and statuses[0] < 500
    assert CODE.encode() not in scope["query_string"]


@given(st.text(max_size=60))
def test_a_target_is_always_a_path_of_this_server(text: str) -> None:
    for target in (text, "/" + text, "//" + text):
        safe = enter_page.safe_target(target)
        assert safe.startswith("/") and safe[1:2] not in ("/", "\\")
        for root, folder in (("./", "/line4/"), ("../", "/line4/kiosk/")):
            location = enter_page.redirect(target, root).headers["location"]
            assert urljoin(f"http://host{folder}x", location).startswith("http://host/line4/")


async def _status(
    scope: dict[str, Any], code: str | None = CODE, kind: str = "http", data_dir: Path | None = None
) -> int:
    """The status a request gets; 200 where it is let through."""
    statuses: list[int] = []

    async def inner(scope: object, receive: object, send: object) -> None:
        statuses.append(200)

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        if message["type"].endswith("response.start"):
            statuses.append(message["status"])

    whole = {
        "type": kind,
        "method": "GET",
        "path": "/health",
        "query_string": b"",
        "headers": [],
        "scheme": "http",
        "client": ("192.168.1.77", 1),
        "extensions": {"websocket.http.response": {}},
    }
    await checked(inner, code, data_dir)(whole | scope, receive, send)  # type: ignore[arg-type]
    (status,) = statuses
    return status


LONG = 60_000
ABSURD: dict[str, tuple[int, dict[str, Any]]] = {
    "path": (414, {"path": "/static/" + "a/" * (LONG // 2)}),
    "many slashes": (414, {"path": "/" * LONG}),
    "parameters": (414, {"query_string": b"&" * LONG}),
    "percent signs": (414, {"query_string": b"%" * LONG}),
    "headers": (431, {"headers": [(b"x", b"")] * (LONG // 4)}),
    "cookie": (431, {"headers": [(b"cookie", b'a="' + b"\\" * LONG + b'"')]}),
    "name of a header": (431, {"headers": [(b"x" * LONG, b"")]}),
    **{
        name: (431, {"headers": [(name.encode(), sign * LONG)]})
        for name, sign in {
            "accept": b",",
            "authorization": b"x",
            "content-type": b";",
            "forwarded": b";",
            "host": b":",
            "if-none-match": b",",
            "origin": b"/",
            "range": b"0-1,",
            "sec-websocket-extensions": b"a;",
            "sec-websocket-protocol": b"a,",
        }.items()
    },
}


@pytest.mark.parametrize("name", ABSURD)
@pytest.mark.parametrize("kind", ["http", "websocket"])
async def test_what_is_absurdly_long_is_refused_unread(name: str, kind: str) -> None:
    """Whatever parses it afterwards, here or in a library: it is not asked to."""
    status, scope = ABSURD[name]
    assert await _status(scope, kind=kind) == status


@pytest.mark.parametrize("path", ["/enter", "/health", "/", "/static/app.js"])
async def test_a_cookie_of_backslashes_costs_no_more_than_any_other(
    path: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The standard library unquotes values in quadratic time; nothing of it is called here."""

    def unquote(text: str) -> str:
        raise AssertionError("a stranger's cookie was unquoted")

    monkeypatch.setattr("http.cookies._unquote", unquote)
    token = (await asyncio.to_thread(cookie_of, checked(INNER, CODE, tmp_path))).encode()
    cookie = b'a="' + b"\\" * 15_000 + b'"; b=' + b"\\342" * 30 + b"; " + COOKIE.encode() + b"=" + token
    assert await _status({"path": path, "headers": [(b"cookie", cookie)]}, data_dir=tmp_path) in (200, 303)
    ours = [(b"cookie", b'x="a; ' + COOKIE.encode() + b"=" + token), (b"host", b"localhost")]
    assert await _status({"path": "/api/streams", "headers": ours}, data_dir=tmp_path) == 200


async def test_our_cookie_is_found_among_those_of_other_programs_on_the_same_host(tmp_path: Path) -> None:
    token = await asyncio.to_thread(cookie_of, checked(INNER, CODE, tmp_path))
    for cookie in (
        f"a=1; {COOKIE}={token}",
        f"{COOKIE}={token};b=2",
        f"{COOKIE}=old; {COOKIE}={token}",
        f" {COOKIE} = {token} ",
    ):
        sent = {"path": "/api/streams", "headers": [(b"cookie", cookie.encode())]}
        assert await _status(sent, data_dir=tmp_path) == 200
    for cookie in (f"{COOKIE}", f"{COOKIE}=", f'{COOKIE}="{token}"', f"{COOKIE}={token}x", f"x{COOKIE}={token}", token):
        sent = {"path": "/api/streams", "headers": [(b"cookie", cookie.encode())]}
        assert await _status(sent, data_dir=tmp_path) == 401


@pytest.mark.parametrize(
    ("query", "code", "left"),
    [
        (b"", None, b""),
        (b"code=a", "a", b""),
        (b"x=1&code=a&y=2", "a", b"x=1&y=2"),
        (b"code=a&x=1", "a", b"x=1"),
        (b"code=a&code=b", "b", b""),
        (b"%63o%64e=a%2Bb+c", "a+b c", b""),
        (b"code", "", b""),
        (b"barcode=a&codes=b&Code=c&code%20=d", None, b"barcode=a&codes=b&Code=c&code%20=d"),
        (b"x=code=a", None, b"x=code=a"),
    ],
)
def test_the_code_is_taken_out_of_a_query(query: bytes, code: str | None, left: bytes) -> None:
    scope = {"query_string": query}
    assert _take_code_from_query(scope) == code
    assert scope["query_string"] == left


# --- over a real socket


@pytest.fixture
def address() -> Iterator[str]:
    """A uvicorn server with a code, as the product runs it, access log switched on."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        checked(INNER, data_dir=Path(DATA.name)),
        ws="websockets-sansio",
        proxy_headers=False,
        lifespan="off",
        log_config=None,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve([listener])))
    thread.start()
    yield f"127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    thread.join(timeout=10)
    listener.close()


async def test_over_a_real_socket(address: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    url = f"ws://{address}/ws/live?name=press"
    async with connect(f"{url}&code={CODE}", additional_headers=BEARER, proxy=None) as websocket:
        assert await websocket.recv() == "name=press"
    enter, form = f"http://{address}/enter", {"code": CODE}
    entered = await asyncio.to_thread(httpx.post, enter, data=form, trust_env=False)
    cookie = {"Cookie": f"{COOKIE}={entered.cookies[COOKIE]}"}
    async with connect(url, additional_headers=cookie, origin=f"http://{address}", proxy=None) as websocket:  # type: ignore[arg-type]
        assert await websocket.recv() == "name=press"
    for headers, origin, status in (
        ({}, f"http://{address}", 401),
        (cookie, None, 403),
        (cookie, "http://evil.example", 403),
        ({"Authorization": "Bearer \xe9\xff"}, None, 401),
    ):
        with pytest.raises(InvalidStatus) as refusal:
            await connect(url, additional_headers=headers, origin=origin, proxy=None)  # type: ignore[arg-type]
        assert refusal.value.response.status_code == status
        assert "error" in json.loads(refusal.value.response.body)
    reader, writer = await asyncio.open_connection(*address.split(":"))
    writer.write(f"GET /?code={CODE} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n".encode())
    answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    assert answer.startswith(b"HTTP/1.1 303") and CODE.encode() not in answer
    assert "GET / HTTP/1.1" in caplog.text and "/ws/live?name=press" in caplog.text, "the access log was on"
    assert CODE not in caplog.text
