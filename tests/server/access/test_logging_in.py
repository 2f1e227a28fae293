"""Logging in and out, over the whole application: cookies, CSRF, redirects, fixation, tokens, headers, traversal."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import itertools
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock
from urllib.parse import quote

import httpx
import pytest
from starlette.requests import Request
from starlette.testclient import TestClient, WebSocketDenialResponse

from server.access import COOKIE, Access
from server.app import create_app
from server.settings import Settings
from server.web.calibration_query import who_asks
from server.web.content_policy import content_policy
from tests.running import ROOT
from tests.server.fakes import FakeModel

HOST = "192.168.1.20:8443"
HERE = f"https://{HOST}"
OWN = {"Origin": HERE}
HTML = {"Accept": "text/html"}
PASSWORD = "seven green boats"


@dataclass
class Site:
    client: TestClient
    access: Access
    data_dir: Path

    def log_in(self, name: str = "boss", password: str = PASSWORD, **form: str) -> httpx.Response:
        body = {"name": name, "password": password, **form}
        answer: Any = self.client.post("/enter", data=body, headers=OWN)
        return answer

    def post(self, path: str, body: dict[str, Any] | None = None, **headers: str) -> httpx.Response:
        answer: Any = self.client.post(path, json=body or {}, headers=OWN | headers)
        return answer

    def forget(self) -> str:
        """Be another browser; returns the cookie that this one had."""
        cookie = self.client.cookies.get(COOKIE) or ""
        self.client.cookies.clear()
        return cookie


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    app = create_app(Settings(data_dir=tmp_path, host="0.0.0.0"), make_model=FakeModel)  # type: ignore[arg-type]
    app.state.access.store_account("boss", "admin", PASSWORD)
    app.state.access.store_account("anna", "operator", PASSWORD + "s")
    with TestClient(app, base_url=HERE, client=("10.0.0.9", 5), follow_redirects=False) as client:
        yield Site(client, app.state.access, tmp_path)


# --- in and out


def test_who_logs_in_gets_a_cookie_that_scripts_and_other_sites_cannot_use(site: Site) -> None:
    assert site.client.get("/", headers=HTML).headers["location"] == "./enter?next=/"
    form = site.client.get("/enter?next=/history")
    assert 'name="password" type="password"' in form.text and "<script" not in form.text
    answer = site.log_in("Boss", next="/history")
    assert (answer.status_code, answer.headers["location"]) == (303, "./history")
    cookie = answer.headers["set-cookie"]
    assert all(part in cookie for part in ("HttpOnly", "SameSite=lax", "Secure", "Max-Age=2592000"))
    me = site.client.get("/api/me").json()
    assert (me["name"], me["role"], me["how"], me["login"]) == ("boss", "admin", "session", True)
    assert me["may"] == ["viewer", "operator", "engineer", "admin"]


def test_logging_out_ends_the_session_and_not_only_the_cookie(site: Site) -> None:
    site.log_in()
    cookie = site.client.cookies[COOKIE]
    answer = site.post("/api/logout")
    assert answer.json() == {"done": True} and f'{COOKIE}=""' in answer.headers["set-cookie"]
    site.forget()
    assert site.client.get("/api/streams", headers={"Cookie": f"{COOKIE}={cookie}"}).status_code == 401


def test_a_cookie_that_somebody_else_planted_becomes_nobodys_session(site: Site) -> None:
    planted = "A" * 43
    site.client.cookies.set(COOKIE, planted, domain="192.168.1.20")
    site.log_in()
    own = [cookie.value for cookie in site.client.cookies.jar if cookie.value != planted]
    assert len(own) == 1 and own[0] is not None and len(own[0]) == 43
    site.forget()
    assert site.client.get("/api/streams", headers={"Cookie": f"{COOKIE}={planted}"}).status_code == 401


def test_each_login_is_a_new_session_and_ends_the_one_of_before(site: Site) -> None:
    site.log_in()
    first = site.client.cookies[COOKIE]
    site.log_in("anna", PASSWORD + "s")
    assert site.client.cookies[COOKIE] != first
    assert site.client.get("/api/me").json()["name"] == "anna"
    site.forget()
    assert site.client.get("/api/me", headers={"Cookie": f"{COOKIE}={first}"}).json()["role"] is None


def test_sessions_survive_a_restart_and_nothing_that_is_kept_opens_anything(site: Site) -> None:
    site.log_in()
    cookie = site.client.cookies[COOKIE]
    token = site.post("/api/tokens", {"name": "plc", "role": "viewer"}).json()["secret"]
    assert site.client.get("/api/audit").status_code == 200, "it waits until what was noted is on disk"
    again = Access(site.data_dir, closed=True)
    standing = again.by_session(cookie, "10.0.0.9")
    assert standing is not None and standing.identity.name == "boss"
    assert again.by_secret(token, "10.0.0.9") is not None
    files = [path for path in site.data_dir.rglob("*") if path.parent.name in ("access", "audit")]
    assert {path.name for path in files} >= {"accounts.json", "tokens.json", "sessions.json", "audit-000001.jsonl"}
    for path in files:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        text = path.read_text()
        assert not any(secret in text for secret in (cookie, token, PASSWORD))
        for kept in re.findall(r"[0-9a-f]{64}", text):
            assert again.by_session(kept, "10.0.0.9") is None and again.by_secret(kept, "10.0.0.9") is None


def test_a_session_ends_after_a_time_and_without_a_sign_of_it(tmp_path: Path) -> None:
    now = [1e9]
    access = Access(tmp_path, closed=True, clock=lambda: now[0])
    access.store_account("boss", "admin", PASSWORD)

    async def opened() -> str:
        account = access.accounts[0]
        return await access.open_session("account", "boss", stamp=account.stamp, address="x", browser="y")

    secret = asyncio.run(opened())
    for _ in range(9):
        now[0] += 3 * 24 * 3600
        assert access.by_session(secret, "x") is not None, "it is used"
    now[0] += 4 * 24 * 3600
    assert access.by_session(secret, "x") is None, "30 days are over"
    secret = asyncio.run(opened())
    now[0] += 8 * 24 * 3600
    assert access.by_session(secret, "x") is None, "a week without a sign"


def test_wrong_logins_say_the_same_whether_the_name_or_the_password_is_wrong(site: Site) -> None:
    answers = [site.log_in("boss", "wrong password"), site.log_in("nobody", "wrong password")]
    site.post("/enter")
    assert [answer.status_code for answer in answers] == [401, 401]
    assert (
        answers[0].text == answers[1].text.replace("nobody", "boss") and "Name or password are wrong" in answers[0].text
    )
    assert COOKIE not in site.client.cookies
    assert site.log_in("boss\x00", PASSWORD).status_code == 401
    assert site.log_in("boss", "x" * 3000).status_code == 401


def test_a_disabled_login_is_out_and_cannot_get_in(site: Site) -> None:
    site.log_in("anna", PASSWORD + "s")
    anna = site.forget()
    site.log_in()
    assert site.client.patch("/api/users/anna", json={"disabled": True}, headers=OWN).json()["disabled"] is True
    site.forget()
    assert site.client.get("/api/streams", headers={"Cookie": f"{COOKIE}={anna}"}).status_code == 401
    assert site.log_in("anna", PASSWORD + "s").status_code == 401
    site.forget()
    site.log_in()
    assert site.client.patch("/api/users/anna", json={"disabled": False}, headers=OWN).json()["disabled"] is False
    site.forget()
    old = site.client.get("/api/streams", headers={"Cookie": f"{COOKIE}={anna}"})
    assert old.status_code == 401, "a browser that was thrown out stays out"
    assert site.log_in("anna", PASSWORD + "s").status_code == 303


def test_one_changes_ones_own_password_and_only_this_browser_stays_in(site: Site) -> None:
    site.log_in()
    other = site.forget()
    site.log_in()
    change = {"current": "wrong", "new": "another good one"}
    assert site.post("/api/me/password", change).status_code == 409
    for bad in ("short", "boss-boss-boss", "aaaaaaaaaaaa", "x" * 201, "tab\there and more"):
        assert site.post("/api/me/password", {"current": PASSWORD, "new": bad}).status_code == 422
    assert site.post("/api/me/password", {**change, "current": PASSWORD}).json() == {"done": True}
    assert site.client.get("/api/me").json()["name"] == "boss"
    assert len(site.client.get("/api/me/sessions").json()["sessions"]) == 1
    site.forget()
    assert site.client.get("/api/me", headers={"Cookie": f"{COOKIE}={other}"}).json()["role"] is None
    assert site.log_in().status_code == 401
    assert site.log_in(password="another good one").status_code == 303


def test_ones_own_password_cannot_be_guessed_from_an_open_browser(site: Site) -> None:
    site.log_in()
    change = {"new": "another good one"}
    refusals = [site.post("/api/me/password", {**change, "current": f"guess {n}"}) for n in range(7)]
    assert {answer.status_code for answer in refusals} == {409}
    assert "wait a minute" in refusals[-1].text and "wait a minute" not in refusals[3].text
    assert site.post("/api/me/password", {**change, "current": PASSWORD}).status_code == 409


# --- users and tokens


def test_users_are_made_changed_and_removed_but_never_the_last_admin(site: Site) -> None:
    site.log_in()
    made = site.post("/api/users", {"name": "bo", "role": "engineer"}).json()
    assert made["user"]["role"] == "engineer" and re.fullmatch(r"([2-9a-z]{4}-){3}[2-9a-z]{4}", made["password"])
    assert site.post("/api/users", {"name": "BO", "role": "viewer"}).status_code == 409
    for bad in ({"name": "b o", "role": "viewer"}, {"name": "c", "role": "boss"}, {"name": "", "role": "viewer"}):
        assert site.post("/api/users", bad).status_code == 422
    assert site.client.delete("/api/users/boss", headers=OWN).status_code == 409
    assert site.client.patch("/api/users/boss", json={"disabled": True}, headers=OWN).status_code == 409
    assert site.client.patch("/api/users/bo", json={"role": "admin"}, headers=OWN).status_code == 200
    assert site.post("/api/users/bo/password").json()["password"]
    assert site.client.delete("/api/users/boss", headers=OWN).json() == {"ended": "boss"}
    assert site.client.get("/api/users").status_code == 401, "who removes himself is out"


def test_a_phone_is_told_what_it_may_not_watch_and_of_no_simulated_line(tmp_path: Path) -> None:
    app = create_app(Settings(data_dir=tmp_path, host="0.0.0.0"))  # not started: nothing is taught
    app.state.access.store_account("boss", "admin", PASSWORD)
    site = Site(
        TestClient(app, base_url=HERE, client=("10.0.0.9", 5), follow_redirects=False), app.state.access, tmp_path
    )
    site.log_in()
    line = site.client.get("/health").json()["simulated_stream"]
    assert line and _refusal(site, watch=line) is None
    site.forget()
    _, secret = site.access.make_pairing("phone-1", "phone-1")
    assert site.client.post("/enter", data={"code": secret}, headers=OWN).status_code == 303
    assert site.client.get("/health").json()["simulated_stream"] is None
    for way, path in (("watch", f"/ws/live/{line}"), ("send", f"/ws/stream?name={line}")):
        assert "phone-1 may use phone-1 only" in str(_refusal(site, **{way: line}))
        assert refused(site, path, {}) == 403
        assert _refusal(site, **{way: "phone-1"}) is None
    site.forget()
    assert _refusal(site, watch=line) is None, "strangers are told that they are"


def _refusal(site: Site, **wanted: str) -> str | None:
    words: str | None = site.client.get("/api/connection", params={"page": HERE, **wanted}).json()["refusal"]
    return words


def test_a_token_does_what_it_says_and_no_more(site: Site) -> None:
    site.log_in()
    wanted = {"name": "press-plc", "role": "operator", "streams": ["press", "lathe"], "days": 30}
    made = site.post("/api/tokens", wanted).json()
    assert site.post("/api/tokens", wanted).status_code == 409
    assert site.post("/api/tokens", {**wanted, "name": "x", "streams": ["no such name!"]}).status_code == 422
    assert site.post("/api/tokens", {**wanted, "name": "x", "days": 0}).status_code == 422
    site.forget()
    bearer = {"Authorization": f"Bearer {made['secret']}"}
    get = site.client.get
    assert get("/api/streams", headers=bearer).status_code == 200
    assert get("/api/streams/press/frames", headers=bearer).status_code == 200
    assert get("/api/streams/other/frames", headers=bearer).status_code == 403
    site.client.app.state.watched.append(SimpleNamespace(warning="no room is left in /data"))  # type: ignore[attr-defined]
    assert get("/health", headers=bearer).json()["warnings"] == [], "they are of the whole server"
    site.log_in()
    assert "no room is left in /data" in get("/health").json()["warnings"]
    site.forget()
    for path in ("/api/recipes", "/api/history", "/api/settings", "/api/users", "/metrics"):
        assert get(path, headers=bearer).status_code == 403
    assert refused(site, "/ws/stream?name=other", bearer) == 403
    # The endpoint reads the last one, and a key may be written in more than one way: so does the guard.
    for query in ("name=press&name=other", "name=press&%6eame=other", "%6Eame=other", ""):
        assert refused(site, f"/ws/stream?{query}", bearer) == 403
    with contextlib.suppress(concurrent.futures.CancelledError), dial(site, "/ws/stream?name=other&name=press", bearer):
        pass  # the test's client cancels what it leaves
    assert site.client.post("/api/pairings", json={"stream": "other"}, headers=bearer).status_code == 403
    assert site.client.post("/api/pairings", json={"stream": "lathe"}, headers=bearer).status_code == 201


def refused(site: Site, path: str, headers: dict[str, str]) -> int:
    with pytest.raises(WebSocketDenialResponse) as refusal, dial(site, path, headers):
        pass
    status: int = refusal.value.status_code
    return status


def dial(site: Site, path: str, headers: dict[str, str]) -> Any:
    return site.client.websocket_connect(f"wss://{HOST}{path}", headers=dict(headers))


def test_a_token_that_was_shown_too_early_is_good_once_it_is_known_here(site: Site) -> None:
    """Another gateway made it, and the machine was quicker than the news of it."""
    site.log_in()
    token = site.post("/api/tokens", {"name": "plc", "role": "viewer"}).json()["secret"]
    bearer = {"Authorization": f"Bearer {token}"}
    site.forget()
    with mock.patch.object(Access, "by_secret", lambda self, secret, address: None):
        assert site.client.get("/api/streams", headers=bearer).status_code == 401
        assert site.client.get("/api/streams", headers=bearer).status_code == 401
    assert site.client.get("/api/streams", headers=bearer).status_code == 200


def test_when_a_token_was_used_is_told_and_its_secret_never_again(site: Site) -> None:
    site.log_in()
    made = site.post("/api/tokens", {"name": "plc", "role": "viewer"}).json()
    assert made["token"]["used"] is None
    assert site.client.get("/api/streams", headers={"Authorization": f"Bearer {made['secret']}"}).status_code == 200
    listed = site.client.get("/api/tokens")
    assert listed.json()["tokens"][0]["used"] is not None and made["secret"] not in listed.text


def test_the_access_code_is_a_token_like_others(tmp_path: Path) -> None:
    (tmp_path / "access_code").write_text("7KQ2-M9XR-4TBD")
    settings = Settings(data_dir=tmp_path, host="0.0.0.0")
    app = create_app(settings, code="7KQ2-M9XR-4TBD", make_model=FakeModel)  # type: ignore[arg-type]
    with TestClient(app, base_url=HERE, follow_redirects=False) as client:
        assert client.post("/enter", data={"code": "7kq2m9xr4tbd"}, headers=OWN).status_code == 303
        assert client.get("/api/me").json()["name"] == "access code"
        (token,) = client.get("/api/tokens").json()["tokens"]
        assert (token["id"], token["role"], token["origin"]) == ("access-code", "admin", "file")
        refused = client.delete("/api/tokens/access-code", headers=OWN)
        assert refused.status_code == 409 and "make an admin login first" in refused.text
        assert client.post("/api/users", json={"name": "boss", "role": "admin"}, headers=OWN).status_code == 201
        assert client.delete("/api/tokens/access-code", headers=OWN).status_code == 200
        assert client.get("/api/tokens").status_code == 401
        assert not (tmp_path / "access_code").exists()
    fixed = create_app(Settings(data_dir=tmp_path, access_code="a chosen one"), code="a chosen one")
    with TestClient(fixed, base_url=HERE) as client:
        refused = client.delete("/api/tokens/access-code", headers={"Authorization": "Bearer a chosen one"})
        assert refused.status_code == 409 and "ACCESS_CODE" in refused.text


# --- phones


def test_a_phone_is_paired_once_by_a_button_and_not_by_opening_the_address(site: Site) -> None:
    site.log_in("anna", PASSWORD + "s")
    made = site.post("/api/pairings", {"stream": "phone-1", "device": "tablet-3"}).json()
    assert made["url"].endswith(made["path"]) and "<svg" in made["qr"]
    kept = site.client.get(f"/{made['path']}", headers=HTML)
    assert "logged in as <strong>anna</strong>: pairing it ends that" in kept.text and "set-cookie" not in kept.headers
    assert site.client.get("/api/me").json()["name"] == "anna"
    site.forget()
    for _ in range(3):  # previews of camera apps and messengers
        asked = site.client.get(f"/{made['path']}", headers=HTML)
        assert asked.status_code == 200 and "Pair this phone" in asked.text and "phone-1" in asked.text
        assert "logged in" not in asked.text
        assert "set-cookie" not in asked.headers and asked.headers["cache-control"] == "no-store"
    secret = made["path"].removeprefix("?code=")
    elsewhere = site.client.post("/enter", data={"code": secret}, headers={"Origin": "https://evil.example"})
    assert elsewhere.status_code == 403
    paired = site.client.post("/enter", data={"code": secret, "next": "/"}, headers=OWN)
    assert (paired.status_code, paired.headers["location"]) == (303, "./")
    me = site.client.get("/api/me").json()
    assert (me["name"], me["how"], me["role"], me["streams"]) == ("tablet-3", "device", "operator", ["phone-1"])
    site.forget()
    again = site.client.post("/enter", data={"code": secret}, headers=OWN)
    assert again.status_code == 401 and "used already" in again.text


def test_a_phone_acts_under_no_name_but_a_phone_s(site: Site) -> None:
    site.log_in("anna", PASSWORD + "s")
    secret = site.post("/api/pairings", {"stream": "phone-1", "device": "boss"}).json()["path"].removeprefix("?code=")
    site.forget()
    assert site.client.post("/enter", data={"code": secret}, headers=OWN).status_code == 303
    standing = site.access.by_session(site.forget(), "10.0.0.9")
    assert standing is not None and standing.identity.name == "boss"
    asks = {"type": "http", "headers": [], "client": ("10.0.0.9", 5), "state": {"standing": standing}}
    assert who_asks(Request(asks)) == "phone boss, 10.0.0.9"
    site.log_in()
    noted = {one["what"]: one["who"] for one in site.client.get("/api/audit").json()["entries"]}
    assert noted["paired a phone"] == "phone boss"


def test_a_pairing_is_good_as_long_as_its_maker_is(site: Site) -> None:
    site.log_in("anna", PASSWORD + "s")
    secret = site.post("/api/pairings", {"stream": "phone-1"}).json()["path"].removeprefix("?code=")
    assert site.post("/api/logout").status_code == 200
    assert site.client.post("/enter", data={"code": secret}, headers=OWN).status_code == 401


def test_the_phone_page_shows_a_new_pairing_each_time(site: Site) -> None:
    site.log_in()
    first, second = (site.client.get("/phone?stream=press").text for _ in range(2))
    assert "<strong>press</strong>" in first and "<svg" in first and first != second
    assert site.client.get("/phone?stream=no%20name").status_code == 422


# --- other sites


FROM_ELSEWHERE: list[dict[str, str]] = [
    {},
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Origin": HERE.replace("https", "http")},
    {"Referer": f"{HERE}/"},
]


def test_a_change_with_a_cookie_comes_from_our_own_page_or_not_at_all(site: Site) -> None:
    site.log_in()
    changes = (
        ("POST", "/api/users"),
        ("DELETE", "/api/users/anna"),
        ("PATCH", "/api/users/anna"),
        ("POST", "/api/logout"),
        ("DELETE", "/calibration"),
    )
    for (method, path), headers in itertools.product(changes, FROM_ELSEWHERE):
        assert site.client.request(method, path, headers=headers).status_code == 403, (path, headers)
    assert site.client.get("/api/me").json()["name"] == "boss"


def test_no_other_site_logs_its_visitors_in(site: Site) -> None:
    for headers in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
        answer = site.client.post("/enter", data={"name": "boss", "password": PASSWORD}, headers=headers)
        assert answer.status_code == 403 and "set-cookie" not in answer.headers


@pytest.mark.parametrize("path", ["/enter?code={}", "/enter?anew=1&code={}", "/?code={}"])
def test_a_link_that_another_page_has_a_browser_follow_takes_nobodys_session(site: Site, path: str) -> None:
    site.log_in()
    token = site.post("/api/tokens", {"name": "panel", "role": "viewer"}).json()["secret"]
    for secret in (token, "AAAA-AAAA-AAAA"):
        answer = site.client.get(path.format(secret), headers={"Sec-Fetch-Site": "same-site"} | HTML)
        assert answer.status_code == 303 and "set-cookie" not in answer.headers
    assert site.client.get("/api/me").json()["name"] == "boss"
    site.forget()
    assert "set-cookie" in site.client.get(path.format(token), headers=HTML).headers


def test_on_an_open_server_a_browser_that_says_no_origin_still_says_where_it_comes_from(tmp_path: Path) -> None:
    app = create_app(Settings(data_dir=tmp_path), make_model=FakeModel)  # type: ignore[arg-type]
    client = TestClient(app, base_url="http://localhost:8000")
    assert client.post("/api/users", json={}, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
    assert client.post("/api/users", json={}).status_code == 422, "curl says nothing of it"
    assert client.get("/api/me").json()["how"] == "open"


def test_nobody_is_sent_elsewhere_by_logging_in(site: Site) -> None:
    for target in ["//evil.example/", "/\\evil.example", "https://evil.example", "/../../etc/passwd"]:
        assert site.log_in(next=target).headers["location"] == "./"


def test_every_answer_has_the_headers_that_keep_browsers_careful(site: Site) -> None:
    site.log_in()
    for path in (
        "/",
        "/enter?anew=1",
        "/phone",
        "/api/me",
        "/health",
        "/static/shell/app.js",
        "/nothing",
        "/kiosk/a",
    ):
        headers = site.client.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy and "base-uri 'none'" in policy
        assert "frame-ancestors 'none'" in policy and "form-action 'self'" in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "same-origin"
        assert headers["cross-origin-resource-policy"] == headers["cross-origin-opener-policy"] == "same-origin"
        assert "server" not in headers
    for path in ("/api/me", "/api/users", "/api/tokens", "/api/sessions", "/api/audit", "/phone"):
        assert site.client.get(path).headers["cache-control"] == "no-store"


def test_no_page_has_a_script_or_a_style_of_its_own() -> None:
    """So the policy need not allow any."""
    assert "unsafe" not in content_policy() and "data:" not in re.sub(r"img-src[^;]*", "", content_policy())
    for page in (ROOT / "templates").glob("*.html"):
        text = page.read_text()
        assert not re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:", text), page
        assert not re.search(r"<script(?![^>]*\ssrc=)", text) or 'type="application/json"' in text, page


TRAVERSALS = [
    "../data/access/accounts.json",
    "..%2f..%2fpyproject.toml",
    "%2e%2e/%2e%2e/pyproject.toml",
    "....//x",
    "\\..\\x",
]


def test_nothing_leads_out_of_the_folders_that_are_served(site: Site) -> None:
    site.log_in()
    roots = ("/static/", "/api/history/", "/api/frames/", "/api/teaching/", "/kiosk/")
    for root, path in itertools.product(roots, TRAVERSALS):
        for sent in (path, quote(path, safe="")):
            answer = site.client.get(f"{root}{sent}")
            assert answer.status_code in (404, 405, 422, 503) or "DefectVision" in answer.text, (root, sent)
            assert "password" not in answer.text and "dependencies" not in answer.text


# --- without a place to write


def test_who_logs_in_while_nothing_can_be_stored_is_in_all_the_same(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    site.log_in()
    stored = site.forget()
    monkeypatch.setattr("server.ground.kept_file.write_atomically", full)
    monkeypatch.setattr("server.access.audit_chain._append", full)
    assert site.log_in().status_code == 303
    assert site.client.get("/api/me").json()["name"] == "boss"
    assert site.post("/api/users", {"name": "bo", "role": "viewer"}).status_code == 507
    warnings = " ".join(site.client.get("/health").json()["warnings"])
    assert "cannot be stored (No space left on device)" in warnings
    body = site.client.get("/api/audit").json()
    assert "audit log cannot be written (No space left on device)" in body["warning"]
    site.forget()
    before = {"Cookie": f"{COOKIE}={stored}"}
    assert site.post("/api/logout", **before).status_code == 507
    assert site.client.get("/api/streams", headers=before).status_code == 401, "out is out, also where it is not stored"
    monkeypatch.undo()
    assert len([line for line in caplog.messages if "audit log cannot be written" in line]) == 1


def test_a_page_that_a_login_may_not_open_says_so_and_leads_on(site: Site) -> None:
    site.access.store_account("vera", "viewer", PASSWORD + "v")
    assert site.log_in("vera", PASSWORD + "v").status_code == 303
    page = site.client.get("/phone", headers=HTML)
    assert page.status_code == 403 and page.headers["content-type"].startswith("text/html")
    assert "This takes the role operator, and vera is viewer" in page.text
    assert 'href="./enter?anew=1&amp;next=/phone"' in page.text and "<script" not in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "takes the role operator" in site.client.get("/phone").json()["error"]
