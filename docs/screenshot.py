"""Makes ``docs/live-page.png`` from the running page: ``.venv/bin/python docs/screenshot.py``."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.equipment import CHROMIUM_ARGUMENTS, chromium
from tests.running import command, free_port

TARGET = Path(__file__).parent / "live-page.png"
PARTS_FIRST = 12_000
"""Milliseconds the line runs before the picture, so that the chart shows something."""


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        port = free_port()
        with command(port, {"DATA_DIR": str(Path(folder) / "data")}, Path(folder)):
            browser = playwright.chromium.launch(executable_path=chromium(playwright), args=CHROMIUM_ARGUMENTS)
            page = browser.new_page(viewport={"width": 1280, "height": 860}, color_scheme="dark")
            page.goto(f"http://127.0.0.1:{port}/")
            page.wait_for_selector("[data-verdict=NORMAL]")
            page.wait_for_timeout(PARTS_FIRST)
            page.wait_for_selector("[data-verdict=ANOMALY]")
            page.wait_for_timeout(500)  # the part comes to rest
            page.screenshot(path=TARGET)
            browser.close()
    print(f"written: {TARGET}")


if __name__ == "__main__":
    main()
