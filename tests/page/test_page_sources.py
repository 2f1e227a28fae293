"""What can be watched: the list of sources, and a camera that the server pulls."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.page.parts import Parts
from tests.page.visits import LOOPBACK_SERVER, Open
from tests.running import command, free_port


@pytest.fixture
def pulling(parts: Parts, tmp_path: Path) -> Iterator[str]:
    """A server that pulls a camera which is not there."""
    port, nobody = free_port(), free_port()
    camera = {"name": "gate", "source": f"rtsp://127.0.0.1:{nobody}/stream"}
    environment = {"MODEL_PATH": str(parts.model), "CAMERAS": json.dumps([camera])}
    with command(port, environment, tmp_path, module=LOOPBACK_SERVER):
        yield f"http://127.0.0.1:{port}"


def test_a_camera_that_is_away_is_said_in_words(visit: Open, browser: Browser, pulling: str) -> None:
    page = visit(browser, pulling).page
    source = page.get_by_test_id("source-select")
    expect(source).to_have_value("stream:gate")
    expect(source.locator("option[value='stream:gate']")).to_have_text("gate (not reachable)")
    notice = page.get_by_test_id("picture").get_by_role("heading", name="The camera cannot be reached")
    expect(notice).to_be_visible()
    expect(page.get_by_test_id("picture")).to_contain_text("Next try in")
    expect(page.get_by_test_id("verdict")).to_have_attribute("data-verdict", "SILENT")
    expect(page.get_by_test_id("verdict")).to_contain_text("The camera cannot be reached")
