"""Where things stand on the page, on the screens it is made for."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.page.conftest import Open

SCREENS = {"phone": (390, 844), "phone on its side": (844, 390), "tablet": (820, 1180), "desk": (1440, 900)}
OUT_OF_THE_WAY = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
BOXES = """() => Object.fromEntries(
  [...document.querySelectorAll("header, main section, .verdict-line, .verdict-detail, .frame, .caption, #chart, dl, dd")]
    .map((part, number) => [`${number} ${part.tagName} ${part.id || part.className}`, part.getBoundingClientRect().toJSON()]))"""


@pytest.mark.parametrize("screen", SCREENS)
def test_the_page_fits_and_nothing_moves_when_the_verdict_changes(
    visit: Open, browser: Browser, line: str, screen: str
) -> None:
    width, height = SCREENS[screen]
    page = visit(browser, line, width=width, height=height).page
    seen = {verdict: _boxes_at(page, verdict) for verdict in ("NORMAL", "ANOMALY")}
    assert page.evaluate(OUT_OF_THE_WAY) == 0, "the page scrolls sideways"
    for part in ("picture", "verdict"):
        assert _visible(page, part) > 0.99, f"the {part} is seen without scrolling"
    if screen != "phone on its side":
        assert _visible(page, "chart") > 0.2, "the chart begins on the first screen"
    assert seen["ANOMALY"] == seen["NORMAL"]


def _boxes_at(page: Page, verdict: str) -> Any:
    expect(page.get_by_test_id("verdict")).to_have_attribute("data-verdict", verdict)
    return page.evaluate(BOXES)


def _visible(page: Page, test_id: str) -> float:
    """Share of an element's height that is on the screen and under no other."""
    share: float = page.get_by_test_id(test_id).evaluate(
        """part => {
          const box = part.getBoundingClientRect();
          const rows = Array.from({ length: 101 }, (_, i) => box.top + 1 + ((box.height - 2) * i) / 100);
          const x = box.left + box.width / 2;
          return rows.filter((y) => part.contains(document.elementFromPoint(x, y))).length / 101;
        }"""
    )
    return share
