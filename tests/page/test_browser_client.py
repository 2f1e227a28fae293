"""The browser's client of docs/clients, served as an HMI would: verdicts, and a server that goes and comes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from playwright.sync_api import Browser, WebSocketRoute, expect

from server.app import create_app
from server.settings import PulledCamera, Settings
from tests.running import running
from tests.server.camera_fakes import free_port, write_pictures
from tests.server.fakes import FakeModel

PAGE = Path(__file__).parents[2] / "docs" / "clients" / "live.html"


@contextlib.contextmanager
def inspecting(settings: Settings, port: int) -> Iterator[None]:
    """A server, in a thread: while Playwright runs, this one has an event loop that nothing else may use."""
    loop, over, ready = asyncio.new_event_loop(), asyncio.Event(), threading.Event()

    async def serve() -> None:
        async with running(create_app(settings, make_model=FakeModel), settings, port=port):  # type: ignore[arg-type]
            ready.set()
            await over.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    assert ready.wait(30)
    try:
        yield
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join(30)


@contextlib.contextmanager
def hmi() -> Iterator[str]:
    """Some HMI's own web server, which has the page."""
    handler = partial(SimpleHTTPRequestHandler, directory=str(PAGE.parent))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_it_shows_verdicts_and_says_when_the_server_is_lost(browser: Browser, tmp_path: Path) -> None:
    camera = PulledCamera("press", str(write_pictures(tmp_path / "pictures", [40, 60])), fps=10)
    port = free_port()
    with hmi() as origin, contextlib.closing(browser.new_page()) as page:
        settings = Settings(data_dir=tmp_path, cameras=(camera,), max_frame_age_ms=1e6, allowed_origins=(origin,))
        verdict, why = page.get_by_role("status"), page.locator("#why")
        for _ in range(2):
            with inspecting(settings, port):
                if page.url == "about:blank":
                    page.goto(f"{origin}/{PAGE.name}?server=ws://127.0.0.1:{port}&stream=press")
                expect(verdict).to_have_text("NORMAL")
                expect(why).to_contain_text("score 0.")
            expect(why).to_contain_text("the server is lost")
            expect(verdict).to_have_text("NO VERDICT")


def test_a_message_that_cannot_be_read_is_no_verdict(browser: Browser) -> None:
    good = {"type": "result", "verdict": "NORMAL", "score": 0.1, "recipe": "r"}
    bad: list[str | bytes] = ["nonsense", "null", "[" * 200_000, b"x", json.dumps(good | {"verdict": None})]
    bad += [json.dumps(good | {"score": "high"}), json.dumps({"type": "result"})]
    with hmi() as origin, contextlib.closing(browser.new_page()) as page:
        sockets: list[WebSocketRoute] = []
        page.route_web_socket(re.compile("/ws/live/"), lambda socket: sockets.append(socket))
        page.goto(f"{origin}/{PAGE.name}?stream=press")
        page.wait_for_function("() => document.querySelector('#why')")
        while not sockets:
            page.wait_for_timeout(50)
        for one in bad:
            sockets[-1].send(json.dumps(good))
            expect(page.get_by_role("status")).to_have_text("NORMAL")
            sockets[-1].send(one)
            expect(page.locator("#why")).to_contain_text("a message cannot be read")
            expect(page.get_by_role("status")).to_have_text("NO VERDICT")
