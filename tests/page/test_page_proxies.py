"""The page behind nginx with a prefix and TLS, as docs/proxies.md sets it up, and behind proxies set up wrongly."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Playwright, expect

from tests.page import chromium
from tests.page.parts import Parts
from tests.page.visits import LOOPBACK_SERVER, Open
from tests.proxies.proxy import need, proxy
from tests.running import command, free_port

CODE = "7KQ2-M9XR-4TBD"
OFFER = "**/webrtc/offer"


@pytest.fixture(scope="module")
def server(parts: Parts, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a server that asks for the code and knows nothing of a proxy."""
    need("nginx")
    port = free_port()
    environment = {"MODEL_PATH": str(parts.model), "ACCESS_CODE": CODE}
    with command(port, environment, tmp_path_factory.mktemp("proxied"), module=LOOPBACK_SERVER):
        yield port


@pytest.fixture(scope="module")
def trusting_camera(playwright: Playwright, parts: Parts) -> Iterator[Browser]:
    """A browser whose camera sees good parts, and that takes the certificate of the tests."""
    with contextlib.closing(chromium.with_camera(playwright, parts.good, "--ignore-certificate-errors")) as started:
        yield started


def test_a_stream_is_sent_and_watched_through_a_proxy(
    visit: Open, trusting_camera: Browser, server: int, tmp_path: Path
) -> None:
    with proxy("nginx prefix", server, tmp_path) as through:
        page = visit(trusting_camera, through.url).page
        expect(page).to_have_url(f"{through.url}enter?next=/")
        page.get_by_label("Access code").fill(CODE)
        page.get_by_role("button", name="Enter").click()
        expect(page).to_have_url(through.url)
        start_camera(page)
        expect(page.get_by_test_id("transport")).to_have_text("WebSocket")
        expect(page.get_by_test_id("verdict")).to_have_attribute("data-verdict", "NORMAL")
        name = page.evaluate("localStorage.getItem('defectvision.stream-name')")

        other = page.context.new_page()
        other.goto(f"{through.url}kiosk/{name}")
        expect(other.get_by_test_id("kiosk")).to_have_attribute("data-verdict", "NORMAL")
        expect(other.get_by_test_id("picture")).to_have_attribute("data-shown", "true")
        other.goto(through.url)
        other.get_by_role("link", name="Use a phone").click()
        other.get_by_role("link", name="What a phone has to trust").click()
        expect(other).to_have_url(f"{through.url}phone")
        other.get_by_role("link", name="Live page").click()
        expect(other).to_have_url(through.url)


def start_camera(page: Page) -> None:
    """Once the page is ready, and over a WebSocket: video goes past any proxy."""
    page.route(OFFER, lambda route: route.fulfill(status=503, json={"error": "no UDP here"}))
    expect(page.get_by_test_id("verdict")).to_have_attribute("data-verdict", "NO_CAMERA")
    page.get_by_test_id("start-camera").click()


@pytest.mark.parametrize(
    ("line", "instead", "said"),
    [
        (
            "proxy_set_header Upgrade $http_upgrade;",
            "",
            "does not pass WebSockets on: the handshake arrived without its Upgrade header",
        ),
        ("proxy_set_header Host $http_host;", "", "changes the Host header"),
    ],
    ids=["no Upgrade", "another Host"],
)
def test_the_page_says_what_a_proxy_does_wrong(
    visit: Open, trusting_camera: Browser, server: int, tmp_path: Path, line: str, instead: str, said: str
) -> None:
    def forgotten(site: str) -> str:
        assert line in site
        return site.replace(line, instead)

    with proxy("nginx prefix", server, tmp_path, change=forgotten) as through:
        page = visit(trusting_camera, f"{through.url}?code={CODE}").page
        expect(page).to_have_url(through.url)
        start_camera(page)
        picture = page.get_by_test_id("picture")
        expect(picture.get_by_role("heading", name="No live connection")).to_be_visible()
        expect(picture).to_contain_text(said)
