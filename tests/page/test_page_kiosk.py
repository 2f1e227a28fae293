"""The kiosk page, on a screen of its own and in a frame of another page, and what else that page may do."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from queue import Queue

import pytest
from playwright.sync_api import Browser, ConsoleMessage, FrameLocator, Page, expect
from websockets.asyncio.client import connect

from server.app import create_app
from server.settings import Settings
from tests.running import running
from tests.server.fakes import GOOD, WAIT_S, FakeModel, healthy, receive

CODE = "7KQ2-M9XR-4TBD"
SCREENS = [(390, 844), (1440, 900), (3840, 2160)]


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def hmi(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of the plant's own web server, for pages of ``hmi.localhost`` and of ``evil.localhost``."""
    folder = tmp_path_factory.mktemp("hmi")
    (folder / "page.html").write_text("<!doctype html><title>HMI</title><body></body>")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever).start()
        yield server.server_port
        server.shutdown()


@pytest.fixture(scope="module")
def inspecting(hmi: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server that inspects the stream ``press``, asks for the code, and knows the HMI."""
    settings = Settings(
        data_dir=tmp_path_factory.mktemp("kiosk"),
        allowed_origins=(f"http://hmi.localhost:{hmi}",),
        max_frame_age_ms=1e6,
    )
    app = create_app(settings, code=CODE, make_model=FakeModel)  # type: ignore[arg-type]
    found: Queue[str] = Queue()
    over = threading.Event()

    async def send_parts() -> None:
        async with running(app, settings) as server:
            await healthy(server)
            found.put(server.http)
            options = {"additional_headers": {"Authorization": f"Bearer {CODE}"}, "proxy": None}
            async with connect(f"{server.ws}/ws/stream?name=press", **options) as sender:  # type: ignore[arg-type]
                while not over.is_set():
                    await sender.send(GOOD)
                    await receive(sender)
                    await asyncio.sleep(0.1)

    # In a thread: while Playwright runs, this one has an event loop that nothing else may use.
    thread = threading.Thread(target=lambda: asyncio.run(send_parts()))
    thread.start()
    try:
        yield found.get(timeout=WAIT_S)
    finally:
        over.set()
        thread.join(WAIT_S)


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context()
    yield context.new_page()
    context.close()


def shows_verdicts(kiosk: Page | FrameLocator) -> None:
    expect(kiosk.get_by_test_id("kiosk")).to_have_attribute("data-verdict", "NORMAL")
    expect(kiosk.locator("#verdict-word")).to_have_text("NORMAL")
    expect(kiosk.get_by_test_id("picture")).to_have_attribute("data-shown", "true")


def test_on_a_screen_of_its_own_it_is_read_from_three_metres(page: Page, inspecting: str) -> None:
    page.goto(f"{inspecting}/kiosk/press?code={CODE}")
    expect(page).to_have_url(f"{inspecting}/kiosk/press")  # the code is gone from the address
    shows_verdicts(page)
    assert page.locator("a, button, input, select, [tabindex]").count() == 0, "nothing is to be pressed"
    for width, height in SCREENS:
        page.set_viewport_size({"width": width, "height": height})
        for word in ("NORMAL", "ANOMALY", "WAITING", "TEACHING 100 %", "NOT READY", "NO ACCESS"):
            boxes = page.evaluate(
                """(word) => {
                  const copy = document.getElementById("kiosk").cloneNode(true);
                  const verdict = { "NOT READY": "ERROR", "NO ACCESS": "ERROR" }[word] ?? word.split(" ")[0];
                  Object.assign(copy.dataset, { verdict, stale: "false" });
                  copy.querySelector("#verdict-word").textContent = word;
                  document.body.prepend(copy);
                  const box = (name) => copy.querySelector(name).getBoundingClientRect().toJSON();
                  const boxes = [".word", ".icon", ".band"].map(box);
                  copy.remove();
                  return boxes;
                }""",
                word,
            )
            of_word, icon, band = boxes
            assert min(of_word["left"], icon["left"]) >= 0, (word, width)
            assert max(of_word["right"], icon["right"]) <= width, (word, width)
            assert band["top"] <= min(of_word["top"], icon["top"]), (word, width)
            assert max(of_word["bottom"], icon["bottom"]) <= band["bottom"], (word, width)
            if width > 1000 and word in ("NORMAL", "ANOMALY"):
                assert of_word["height"] > height / 5, "three metres want a fifth of a screen"
        assert page.evaluate("document.documentElement.scrollHeight <= innerHeight")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_without_the_code_a_screen_is_led_to_the_form_and_back(page: Page, inspecting: str) -> None:
    page.goto(f"{inspecting}/kiosk/press")
    expect(page).to_have_url(f"{inspecting}/enter?next=%2Fkiosk%2Fpress")
    page.get_by_label("Access code").fill(CODE)
    page.get_by_role("button", name="Enter").click()
    expect(page).to_have_url(f"{inspecting}/kiosk/press")
    shows_verdicts(page)


def framed(page: Page, site: str, hmi: int, address: str) -> FrameLocator:
    page.goto(f"http://{site}.localhost:{hmi}/page.html")
    page.evaluate("(src) => document.body.append(Object.assign(document.createElement('iframe'), { src }))", address)
    return page.frame_locator("iframe")


def test_another_page_frames_it_without_cookies(page: Page, inspecting: str, hmi: int) -> None:
    shows_verdicts(framed(page, "hmi", hmi, f"{inspecting}/kiosk/press?code={CODE}"))
    assert page.context.cookies() == []


def test_in_a_frame_the_missing_code_is_told_in_words(page: Page, inspecting: str, hmi: int) -> None:
    frame = framed(page, "hmi", hmi, f"{inspecting}/kiosk/press")
    expect(frame.locator("#verdict-word")).to_have_text("NO ACCESS")
    expect(frame.locator("#verdict-detail")).to_contain_text("add ?code=CODE to its address")


@pytest.mark.parametrize(("site", "path"), [("evil", "/kiosk/press"), ("hmi", "/"), ("hmi", "/enter")])
def test_nobody_else_frames_it_and_nobody_frames_another_page(
    page: Page, inspecting: str, hmi: int, site: str, path: str
) -> None:
    def is_refusal(message: ConsoleMessage) -> bool:
        return "frame-ancestors" in message.text

    with page.expect_console_message(is_refusal):
        framed(page, site, hmi, f"{inspecting}{path}?code={CODE}")


ASK = """async ([url, code]) => {
  const answer = await fetch(`${url}/api/streams`, { headers: { Authorization: `Bearer ${code}` } });
  return answer.status;
}"""
LISTEN = """([url, code]) => new Promise((resolve) => {
  const socket = new WebSocket(`${url.replace("http", "ws")}/ws/live/press?code=${code}`);
  socket.onmessage = ({ data }) => resolve(JSON.parse(data).type);
  socket.onclose = ({ code }) => resolve(code);
})"""


def test_scripts_of_an_allowed_page_ask_and_listen_and_others_do_not(page: Page, inspecting: str, hmi: int) -> None:
    page.goto(f"http://hmi.localhost:{hmi}/page.html")
    assert page.evaluate(ASK, [inspecting, CODE]) == 200
    assert page.evaluate(ASK, [inspecting, "AAAA-AAAA-AAAA"]) == 401, "and can read why"
    assert page.evaluate(LISTEN, [inspecting, CODE]) == "status"
    page.goto(f"http://evil.localhost:{hmi}/page.html")
    with pytest.raises(Exception, match="Failed to fetch"):
        page.evaluate(ASK, [inspecting, CODE])
    assert page.evaluate(LISTEN, [inspecting, CODE]) == 1006
