"""What the page says when there is a camera and no verdict, or a verdict that should not be trusted."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from playwright.sync_api import Browser, Page, expect
from websockets.sync.client import connect

from tests.page.parts import HEIGHT, WIDTH, Parts
from tests.page.visits import LOOPBACK_SERVER, Open
from tests.running import command, free_port

FRAMES_PER_SECOND = 5
HANGING_SERVER = "tests.page.hanging_server"
SIZES = [(1440, 900), (820, 1180), (390, 844), (844, 390)]


class Press:
    """A program that sends frames under the name ``press``; it can freeze, and its camera can be set otherwise."""

    def __init__(self, url: str) -> None:
        self.sends = threading.Event()
        self.sends.set()
        self.size = (WIDTH, HEIGHT)
        self._url = url.replace("http:", "ws:") + "/ws/stream?name=press"
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._over.set()
        self._thread.join(10)

    def _run(self) -> None:
        with connect(self._url, compression=None) as socket:
            threading.Thread(target=lambda: [None for _ in socket], daemon=True).start()
            while not self._over.is_set():
                if self.sends.is_set():
                    picture = np.full((self.size[1], self.size[0], 3), 90, np.uint8)
                    socket.send(cv2.imencode(".jpg", picture)[1].tobytes())
                time.sleep(1 / FRAMES_PER_SECOND)


@contextlib.contextmanager
def pressing(url: str) -> Iterator[Press]:
    press = Press(url)
    try:
        yield press
    finally:
        press.stop()


@contextlib.contextmanager
def served(parts: Parts, folder: Path, module: str = LOOPBACK_SERVER, **settings: str) -> Iterator[str]:
    port = free_port()
    with command(port, {"MODEL_PATH": str(parts.model), **settings}, folder, module=module):
        yield f"http://127.0.0.1:{port}"


def watch(visit: Open, browser: Browser, url: str, path: str = "", *, width: int = 1440, height: int = 900) -> Page:
    page: Page = visit(browser, url, width=width, height=height).page
    if path:
        page.goto(url + path)
    return page


def test_a_frozen_sender_is_silent_and_its_last_verdict_is_not_shown(
    visit: Open, browser: Browser, parts: Parts, tmp_path: Path
) -> None:
    with served(parts, tmp_path, SILENT_AFTER_S="1") as url, pressing(url) as press:
        pages = [watch(visit, browser, url), watch(visit, browser, url, "/kiosk/press")]
        panels = [pages[0].get_by_test_id("verdict"), pages[1].get_by_test_id("kiosk")]
        for panel in panels:
            expect(panel).to_have_attribute("data-verdict", "ANOMALY")
        press.sends.clear()
        for panel in panels:
            expect(panel).to_have_attribute("data-verdict", "SILENT")
            expect(panel).to_contain_text("press sends no picture")
            expect(panel).to_contain_text("NOT INSPECTING")
            expect(panel).not_to_contain_text("ANOMALY")
        option = pages[0].get_by_test_id("source-select").locator("option[value='stream:press']")
        expect(option).to_have_text("press (silent)")
        press.sends.set()
        for panel in panels:
            expect(panel).to_have_attribute("data-verdict", "ANOMALY")


def test_a_page_that_comes_later_sees_the_silence_too(
    visit: Open, browser: Browser, parts: Parts, tmp_path: Path
) -> None:
    with served(parts, tmp_path, SILENT_AFTER_S="0.5") as url, connect(f"{url.replace('http', 'ws')}/ws/stream?name=a"):
        page = watch(visit, browser, url)
        expect(page.get_by_test_id("verdict")).to_have_attribute("data-verdict", "SILENT")
        expect(page.get_by_role("heading", name="The camera sends no picture")).to_be_visible()


def test_a_picture_of_another_shape_is_a_warning_over_the_picture(
    visit: Open, browser: Browser, parts: Parts, tmp_path: Path
) -> None:
    with served(parts, tmp_path) as url, pressing(url) as press:
        page = watch(visit, browser, url)
        expect(page.get_by_test_id("verdict")).to_have_attribute("data-verdict", "ANOMALY")
        expect(page.get_by_test_id("alert")).to_be_empty()
        before = page.get_by_test_id("verdict").bounding_box()
        press.size = (480, 480)
        alert = page.get_by_test_id("alert")
        expect(alert).to_contain_text("changed its shape in mid-stream (640×480, now 480×480)")
        expect(alert).to_contain_text("taught were 1.33")
        assert page.get_by_test_id("verdict").bounding_box() == before, "nothing jumps"
        press.size = (WIDTH, HEIGHT)
        expect(alert).to_be_empty()


def test_a_hung_worker_is_shown_and_so_is_its_end(visit: Open, browser: Browser, parts: Parts, tmp_path: Path) -> None:
    with served(parts, tmp_path, HANGING_SERVER, WATCHDOG_S="1") as url, pressing(url):
        pages = [watch(visit, browser, url), watch(visit, browser, url, "/kiosk/press")]
        panels = [pages[0].get_by_test_id("verdict"), pages[1].get_by_test_id("kiosk")]
        for panel in panels:
            expect(panel).to_have_attribute("data-verdict", "ANOMALY")
        (tmp_path / "hang").touch()
        for panel in panels:
            expect(panel).to_have_attribute("data-verdict", "HUNG")
        expect(pages[0].get_by_test_id("alert")).to_contain_text("The inspection of press hung for 1 s")
        (tmp_path / "hang").unlink()
        for panel in panels:
            expect(panel).to_have_attribute("data-verdict", "ANOMALY")
        expect(pages[0].get_by_test_id("alert")).to_be_empty()


def test_the_words_fit_and_nothing_jumps(visit: Open, browser: Browser, parts: Parts, tmp_path: Path) -> None:
    with served(parts, tmp_path, SILENT_AFTER_S="1") as url, pressing(url) as press:
        page = watch(visit, browser, url)
        panel, word, boxes = page.get_by_test_id("verdict"), page.locator("#verdict-word"), []
        expect(panel).to_have_attribute("data-verdict", "ANOMALY")
        for width, height in SIZES:
            page.set_viewport_size({"width": width, "height": height})
            boxes.append(panel.bounding_box())
        press.sends.clear()
        expect(panel).to_have_attribute("data-verdict", "SILENT")
        for (width, height), before in zip(SIZES, boxes, strict=True):
            page.set_viewport_size({"width": width, "height": height})
            assert panel.bounding_box() == before
            assert page.evaluate("element => element.scrollWidth <= element.clientWidth + 1", word.element_handle())
