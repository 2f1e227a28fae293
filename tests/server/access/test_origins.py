"""A server behind a proxy that others reach at PUBLIC_URL, and pages of ALLOWED_ORIGINS."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from starlette.testclient import TestClient
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Origin

from server.access import Origins
from server.app import create_app
from server.ground import PublicURL
from server.settings import Settings
from server.words.messages import Status
from tests.running import running
from tests.server.fakes import FakeModel, receive

CODE = "7KQ2-M9XR-4TBD"
BEARER = {"Authorization": f"Bearer {CODE}"}
PUBLIC = PublicURL.parse("https://plant.example/line4/")
HMI = "https://hmi.example:8443"


def client(
    data_dir: Path,
    *,
    public_url: PublicURL | None = PUBLIC,
    code: str | None = CODE,
    host: str = "http://plant.example",
) -> TestClient:
    """What a proxy asks of the server; the host is what the proxy says it was asked for."""
    settings = Settings(data_dir=data_dir, public_url=public_url, allowed_origins=(HMI,))
    app = create_app(settings, code=code, make_model=FakeModel)  # type: ignore[arg-type]
    return TestClient(app, base_url=host, client=("127.0.0.1", 50000), follow_redirects=False)


# --- the cookie


@pytest.mark.parametrize("path", ["/", "/phone", "/a/deep/one"])
def test_behind_a_proxy_with_tls_and_a_prefix_the_cookie_is_for_that(tmp_path: Path, path: str) -> None:
    cookie = client(tmp_path).get(f"{path}?code={CODE}").headers["set-cookie"]
    assert "; Path=/line4/;" in cookie and "Secure" in cookie


def test_without_public_url_the_browser_keeps_the_cookie_for_the_folder_it_sees(tmp_path: Path) -> None:
    shallow = client(tmp_path, public_url=None).get(f"/?code={CODE}").headers["set-cookie"]
    deep = client(tmp_path, public_url=None).get(f"/a/deep/one?code={CODE}").headers["set-cookie"]
    assert "Path" not in shallow and "; Path=/;" in deep
    assert "Secure" not in shallow + deep


def test_who_asks_the_server_directly_gets_a_cookie_that_plain_http_keeps(tmp_path: Path) -> None:
    cookie = client(tmp_path, host="http://192.168.1.20:8000").get(f"/?code={CODE}").headers["set-cookie"]
    assert "Path" not in cookie and "Secure" not in cookie


def test_a_proxy_that_rewrites_host_still_gets_a_secure_cookie(tmp_path: Path) -> None:
    assert "Secure" in client(tmp_path, host="http://127.0.0.1:8000").get(f"/?code={CODE}").headers["set-cookie"]


# --- Origin and Host


@pytest.mark.parametrize(
    ("origin", "host", "good"),
    [
        ("https://plant.example", "plant.example", True),
        ("https://plant.example", "127.0.0.1:8000", True),  # the proxy rewrites Host
        ("https://plant.example", "plant.example:8000", True),  # or leaves the port out, or in
        ("http://plant.example", "plant.example", False),  # public is https
        ("http://192.168.1.20:8000", "192.168.1.20:8000", True),  # asked directly
        ("https://other.example", "plant.example", False),
        ("https://other.example", "127.0.0.1:8000", False),
        (HMI, "plant.example", True),
        (HMI, "127.0.0.1:8000", True),
        ("https://hmi.example", "plant.example", False),
        ("null", "plant.example", False),
    ],
)
def test_origins(origin: str, host: str, good: bool) -> None:
    assert Origins(PUBLIC, frozenset({HMI})).is_good(origin, host, secure=False) is good


def test_a_server_with_a_public_url_asks_for_a_code() -> None:
    assert not Settings().closed and Settings(public_url=PUBLIC).closed


def test_health_is_not_told_in_full_to_who_comes_by_a_proxy_that_says_nothing_of_it(tmp_path: Path) -> None:
    assert set(client(tmp_path, host="http://127.0.0.1:8000").get("/health").json()) == {"status"}


def test_a_refused_origin_is_told_to_the_operator_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "defectvision.access")
    server = client(tmp_path)
    for _ in range(3):
        answer = server.post("/predict", headers={"Origin": "https://evil.example"} | BEARER)
        assert answer.status_code == 403 and "ALLOWED_ORIGINS" in answer.json()["error"]
    for number in range(50):
        server.post("/predict", headers={"Origin": f"https://{number}.example"} | BEARER)
    lines = [record.getMessage() for record in caplog.records if "refused a page" in record.getMessage()]
    assert len(lines) == 20 and "'https://evil.example'" in lines[0] and "ALLOWED_ORIGINS" in lines[0]


# --- pages of other origins


def test_a_page_of_an_allowed_origin_may_ask_before_and_read_the_answer(tmp_path: Path) -> None:
    server = client(tmp_path)
    asks = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type"}
    before = server.options("/webrtc/offer", headers={"Origin": HMI} | asks)
    assert before.status_code == 200
    assert before.headers["access-control-allow-origin"] == HMI
    assert before.headers["access-control-allow-credentials"] == "true"
    assert "Authorization" in before.headers["access-control-allow-headers"]
    answer = server.get("/api/streams", headers={"Origin": HMI} | BEARER)
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, HMI)
    assert server.delete("/calibration", headers={"Origin": HMI} | BEARER).status_code != 403
    refused = server.get("/api/streams", headers={"Origin": HMI})
    assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, HMI)


def test_a_page_of_another_origin_may_not(tmp_path: Path) -> None:
    server = client(tmp_path)
    asks = {"Access-Control-Request-Method": "POST", "Origin": "https://evil.example"}
    assert "access-control-allow-origin" not in server.options("/webrtc/offer", headers=asks).headers
    answer = server.get("/api/streams", headers={"Origin": "https://evil.example"} | BEARER)
    assert "access-control-allow-origin" not in answer.headers


async def test_a_page_of_an_allowed_origin_gets_a_websocket(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, allowed_origins=(HMI,))
    app = create_app(settings, code=CODE, make_model=FakeModel)  # type: ignore[arg-type]
    async with running(app, settings) as server:
        url = f"{server.ws}/ws/live/press?code={CODE}"
        async with connect(url, origin=Origin(HMI), proxy=None) as socket:
            assert isinstance(await receive(socket), Status)
        with pytest.raises(InvalidStatus) as refusal:
            await connect(url, origin=Origin("https://evil.example"), proxy=None)
    assert refusal.value.response.status_code == 403
    assert b"ALLOWED_ORIGINS" in refusal.value.response.body


# --- framing


def test_only_kiosk_and_panel_may_be_framed_and_by_allowed_origins_only(tmp_path: Path) -> None:
    server = client(tmp_path)
    for path in ("/kiosk/press", "/panel/press"):
        assert server.get(path).headers["content-security-policy"].endswith(f"frame-ancestors 'self' {HMI}")
    for path in ("/enter", "/phone", "/", "/teach", "/settings", "/health", "/static/kiosk/kiosk.js", "/nothing"):
        headers = server.get(path, headers=BEARER).headers
        assert "frame-ancestors 'none'" in headers["content-security-policy"], path


def test_without_allowed_origins_nothing_may_be_framed(tmp_path: Path) -> None:
    app = create_app(Settings(data_dir=tmp_path), make_model=FakeModel)  # type: ignore[arg-type]
    answer = TestClient(app, base_url="http://localhost").get("/kiosk/press")
    assert answer.status_code == 200
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]


@pytest.mark.parametrize("page", ["kiosk", "panel"])
def test_a_screen_of_no_name_is_refused_in_words(tmp_path: Path, page: str) -> None:
    answer = client(tmp_path).get(f"/{page}/two words")
    assert answer.status_code == 422 and "64 characters" in answer.json()["error"]


# --- addresses that are handed out


def test_the_phone_page_follows_public_url(tmp_path: Path) -> None:
    page = client(tmp_path).get("/phone", headers=BEARER).text
    assert "https://plant.example/line4/" in page and "plain http" not in page
    assert 'href="/' not in page and 'src="/' not in page


def test_where_no_phone_gets_in_the_way_by_a_proxy_is_named(tmp_path: Path) -> None:
    page = client(tmp_path, public_url=None, code=None, host="http://localhost").get("/phone").text
    assert "no phone can reach it" in page and "PUBLIC_URL=" in page


@pytest.mark.parametrize("path", ["/phone/", "/health/", "/api/streams/", "/kiosk/press/"])
def test_nobody_is_sent_to_an_absolute_address(tmp_path: Path, path: str) -> None:
    """Starlette's own redirect to the path without its last slash is to http://, without the prefix."""
    assert client(tmp_path).get(path, headers=BEARER).status_code == 404
