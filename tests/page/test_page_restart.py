"""What a stop and a start of the server look like on pages that stay open: they are told, and go on by themselves."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.page.parts import Parts
from tests.page.visits import LOOPBACK_SERVER
from tests.running import command, free_port

CLOSES = """
window.closes = [];
const Plain = window.WebSocket;
window.WebSocket = class extends Plain {
  constructor(...about) {
    super(...about);
    this.addEventListener("close", (event) => window.closes.push(event.code));
  }
};
"""
"""Has the close code of each WebSocket of the page in ``window.closes``."""


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    made = browser.new_context()
    made.add_init_script(CLOSES)
    yield made
    made.close()


def opened(context: BrowserContext, url: str) -> Page:
    page = context.new_page()
    page.goto(url)
    return page


def test_pages_that_watch_are_told_of_a_restart_and_come_back(
    context: BrowserContext, parts: Parts, tmp_path: Path
) -> None:
    (tmp_path / "line").mkdir()
    for number, picture in enumerate(parts.good_jpegs):
        (tmp_path / "line" / f"{number}.jpg").write_bytes(picture)
    camera = {"name": "press", "source": str(tmp_path / "line"), "fps": 4}
    environment = {"MODEL_PATH": str(parts.model), "CAMERAS": json.dumps([camera])}
    port = free_port()
    with command(port, environment, tmp_path, module=LOOPBACK_SERVER):
        live = opened(context, f"http://127.0.0.1:{port}/")
        kiosk = opened(context, f"http://127.0.0.1:{port}/kiosk/press")
        verdicts = [
            (live, live.get_by_test_id("verdict")),
            (kiosk, kiosk.get_by_test_id("kiosk")),
        ]
        for _, verdict in verdicts:
            expect(verdict).to_have_attribute("data-verdict", "NORMAL")
    expect(live.get_by_test_id("connection")).to_have_attribute("data-state", "reconnecting")
    for page, verdict in verdicts:
        assert 1012 in page.evaluate("window.closes"), "it is told to come back"
        expect(verdict).not_to_have_attribute("data-verdict", re.compile("NORMAL|ANOMALY"))
    # One after the other: what is in the background is slowed by the browser.
    with command(port, environment, tmp_path, module=LOOPBACK_SERVER):
        for page, verdict in verdicts:
            page.bring_to_front()
            expect(verdict).to_have_attribute("data-verdict", "NORMAL")
            expect(page.get_by_test_id("picture")).to_have_attribute("data-shown", "true")
