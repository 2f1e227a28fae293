"""Makes the pictures of the pages in ``docs/`` from the running page: ``.venv/bin/python docs/screenshot.py``."""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import expect, sync_playwright

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.equipment import CHROMIUM_ARGUMENTS, chromium
from tests.running import command, free_port

LIVE, TEACH = (Path(__file__).parent / f"{name}-page.png" for name in ("live", "teach"))
PARTS_SHOWN = 14
PATIENCE = 180_000
PARTS_FIRST = 12_000
"""Milliseconds the line runs before the picture, so that the chart shows something."""


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        port = free_port()
        with command(port, {"DATA_DIR": str(Path(folder) / "data")}, Path(folder)):
            browser = playwright.chromium.launch(executable_path=chromium(playwright), args=CHROMIUM_ARGUMENTS)
            page = browser.new_page(viewport={"width": 1280, "height": 860}, color_scheme="dark")
            page.set_default_timeout(PATIENCE)
            page.goto(f"http://127.0.0.1:{port}/")
            page.wait_for_selector("[data-verdict=NORMAL]")
            page.wait_for_timeout(PARTS_FIRST)
            page.wait_for_selector("[data-verdict=ANOMALY]")
            page.wait_for_timeout(500)  # the part comes to rest
            page.screenshot(path=LIVE)
            page.goto(f"http://127.0.0.1:{port}/teach")
            page.get_by_test_id("teach-name").fill("flange DV 40-6")
            page.get_by_text("Simulated line", exact=True).click()
            page.get_by_test_id("teach-start").click()
            shown = page.get_by_test_id("teach-parts")
            expect(shown).to_have_text(re.compile(rf"^({PARTS_SHOWN}|[2-9]\d)$"), timeout=PATIENCE)
            page.screenshot(path=TEACH)
            browser.close()
    print(f"written: {LIVE}, {TEACH}")


if __name__ == "__main__":
    main()
