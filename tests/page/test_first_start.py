"""The first minute with the software: nothing set, no camera. Runs before the other tests of the folder."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request

from playwright.sync_api import Browser, expect

from tests.page.visits import Line, Open


def test_the_page_teaches_and_then_shows_the_simulated_line(visit: Open, browser: Browser, starting_line: Line) -> None:
    page = visit(browser, starting_line.url).page
    verdict = page.get_by_test_id("verdict")
    if is_teaching(starting_line.url):  # else the browser took longer than the teaching
        expect(verdict).to_have_attribute("data-verdict", re.compile("TEACHING|NORMAL"))
    if verdict.get_attribute("data-verdict") == "TEACHING":
        expect(page.get_by_role("progressbar", name="Teaching progress")).to_be_attached()
        expect(page.get_by_role("heading", name="Learning the simulated part")).to_be_attached()
    starting_line.wait()
    expect(page.get_by_test_id("simulated-label")).to_be_visible()
    expect(verdict).to_have_attribute("data-verdict", "NORMAL")
    expect(page.get_by_test_id("picture")).to_have_attribute("data-shown", "true")
    expect(verdict).to_have_attribute("data-verdict", "ANOMALY")
    expect(verdict).to_have_attribute("data-verdict", "NORMAL")


def is_teaching(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health") as answer:
            return bool(json.load(answer)["status"] == "teaching")
    except urllib.error.HTTPError as error:  # 503 while it teaches
        return bool(json.load(error)["status"] == "teaching")


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
