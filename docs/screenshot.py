"""Makes the pictures in ``docs/tour/`` from the running page: ``.venv/bin/python docs/screenshot.py [NAME…]``.

The server inspects its simulated line, as at everybody's first start; nothing is drawn into the pictures.
"""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from playwright.sync_api import Browser, Page, expect, sync_playwright

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.equipment import CHROMIUM_ARGUMENTS, chromium
from tests.running import command, free_port

FOLDER = Path(__file__).parent / "tour"
DESKTOP = {"width": 1280, "height": 860}
PHONE = {"width": 390, "height": 844}
PARTS_SHOWN = 14
PATIENCE = 240_000
PARTS_FIRST = 12_000
"""Milliseconds the line runs before the first picture, so that the chart shows something."""
LARGEST = 150_000
"""Bytes of a picture."""


def live(page: Page, url: str) -> None:
    page.goto(url)
    page.wait_for_selector("[data-verdict=NORMAL]")
    page.wait_for_timeout(PARTS_FIRST)
    page.wait_for_selector("[data-verdict=ANOMALY]")
    page.wait_for_timeout(500)  # the part comes to rest


def phone(page: Page, url: str) -> None:
    page.goto(url)
    page.wait_for_selector("[data-verdict=ANOMALY]")
    page.wait_for_timeout(500)


def calibration(page: Page, url: str) -> None:
    page.goto(url)
    page.get_by_test_id("calibrate-n").fill("30")
    page.get_by_role("button", name="Capture 30 frames").click()
    judgement = page.get_by_test_id("judgement")
    expect(judgement).to_be_visible(timeout=PATIENCE)
    judgement.evaluate("judged => judged.scrollIntoView({ block: 'start' })")


def recipes(page: Page, url: str) -> None:
    page.goto(f"{url}recipes")
    expect(page.get_by_test_id("recipe-name")).not_to_be_empty()
    page.wait_for_timeout(3000)  # the live picture comes


def history(page: Page, url: str) -> None:
    page.goto(f"{url}history")
    expect(page.get_by_test_id("part-tile").nth(3).locator("img")).to_be_visible(timeout=PATIENCE)
    page.wait_for_timeout(500)


def numbers(page: Page, url: str) -> None:
    page.goto(f"{url}history")
    page.get_by_test_id("history-numbers").click()
    expect(page.get_by_test_id("numbers-figures")).to_contain_text("Parts")
    page.wait_for_timeout(500)


def settings(page: Page, url: str) -> None:
    page.goto(f"{url}settings")
    page.get_by_test_id("sink-kind").select_option("mqtt")
    page.get_by_test_id("sink-begin").click()
    page.get_by_test_id("sink-name").fill("plant broker")
    page.get_by_test_id("sink-kind").evaluate("kind => kind.scrollIntoView({ block: 'start' })")


def teach(page: Page, url: str) -> None:
    page.goto(f"{url}teach")
    page.get_by_test_id("teach-name").fill("flange DV 40-6")
    page.get_by_text("Simulated line", exact=True).click()
    page.get_by_test_id("teach-start").click()
    expect(page.get_by_test_id("teach-parts")).to_have_text(re.compile(rf"^({PARTS_SHOWN}|[2-9]\d)$"), timeout=PATIENCE)


PICTURES: dict[str, Callable[[Page, str], None]] = {
    "live": live,
    "phone": phone,
    "calibration": calibration,
    "recipes": recipes,
    "history": history,
    "numbers": numbers,
    "settings": settings,
    "teach": teach,  # last: the line is not inspected meanwhile
}


def take(browser: Browser, name: str, url: str) -> Path:
    """Go where the picture is, and take it."""
    size = PHONE if name == "phone" else DESKTOP
    context = browser.new_context(viewport=size, color_scheme="dark", is_mobile=name == "phone")  # type: ignore[arg-type]
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    PICTURES[name](page, url)
    png = cv2.imdecode(np.frombuffer(page.screenshot(), np.uint8), cv2.IMREAD_COLOR)
    context.close()
    for quality in (90, 80, 70, 60):
        _, webp = cv2.imencode(".webp", png, [cv2.IMWRITE_WEBP_QUALITY, quality])
        if webp.nbytes <= LARGEST:
            break
    path = FOLDER / f"{name}.webp"
    path.write_bytes(webp.tobytes())
    return path


def main(names: list[str]) -> None:
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        port = free_port()
        with command(port, {"DATA_DIR": str(Path(folder) / "data")}, Path(folder), healthy=False):
            browser = playwright.chromium.launch(executable_path=chromium(playwright), args=CHROMIUM_ARGUMENTS)
            for name in names or PICTURES:
                print(f"written: {take(browser, name, f'http://127.0.0.1:{port}/')}", flush=True)
            browser.close()


if __name__ == "__main__":
    main(sys.argv[1:])
