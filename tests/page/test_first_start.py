"""The first minute with the software: nothing set, no camera. Runs before the other tests of the folder."""

from __future__ import annotations

import json
import urllib.request

from playwright.sync_api import Browser, expect

from tests.page.visits import Line, Open


def test_the_page_teaches_and_then_shows_the_simulated_line(visit: Open, browser: Browser, starting_line: Line) -> None:
    page = visit(browser, starting_line.url).page
    verdict = page.get_by_test_id("verdict")
    expect(verdict).to_have_attribute("data-verdict", "TEACHING")
    expect(page.get_by_role("progressbar", name="Teaching progress")).to_be_visible()
    expect(page.get_by_role("heading", name="Learning the simulated part")).to_be_visible()
    starting_line.wait()
    expect(page.get_by_test_id("simulated-label")).to_be_visible()
    expect(verdict).to_have_attribute("data-verdict", "NORMAL")
    expect(page.get_by_test_id("picture")).to_have_attribute("data-shown", "true")
    expect(verdict).to_have_attribute("data-verdict", "ANOMALY")
    expect(verdict).to_have_attribute("data-verdict", "NORMAL")


def test_two_viewers_see_the_same_line(visit: Open, browser: Browser, line: str) -> None:
    visits = [visit(browser, line) for _ in range(2)]
    for opened in visits:
        expect(opened.page.get_by_test_id("verdict")).to_have_attribute("data-verdict", "NORMAL")
    with urllib.request.urlopen(f"{line}/api/streams") as answer:
        (stream,) = json.load(answer)["streams"]
    assert (stream["simulated"], stream["viewers"]) == (True, 2)
    for opened in visits:
        expect(opened.page.get_by_test_id("verdict")).to_have_attribute("data-verdict", "ANOMALY")
        assert opened.complaints == []
