"""Where things stand on the page, on the screens it is made for."""

from __future__ import annotations

import re

from playwright.sync_api import Browser, Page, expect

from tests.page.visits import Open

SCREENS = {
    "phone": (390, 844),
    "phone on its side": (844, 390),
    "tablet": (820, 1180),
    "panel": (1024, 768),
    "desk": (1440, 900),
}
SIDEWAYS = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
CONTROLS_BESIDE = """(() => {
  const place = document.querySelector(".controls");
  return place.scrollWidth - place.clientWidth;
})()"""
NOTE_BOXES_AT_EACH_VERDICT = """() => {
  const verdict = document.getElementById("verdict");
  const parts = "header, main section, .verdict-line, .verdict-detail, .frame, .caption, #chart, dl, dd";
  const note = () => {
    const boxes = [...document.querySelectorAll(parts)].map((part, number) => {
      const { x, y, width, height } = part.getBoundingClientRect();
      return [`${number} ${part.tagName} ${part.id || part.className}`, [x, y, width, height]];
    });
    verdict.seen = { ...verdict.seen, [verdict.dataset.verdict]: Object.fromEntries(boxes) };
  };
  new MutationObserver(note).observe(verdict, { attributeFilter: ["data-verdict"] });
  note();
}"""
SEEN = """verdict => new Promise((resolve) => {
  const look = () => (verdict.seen.NORMAL && verdict.seen.ANOMALY ? resolve(verdict.seen) : setTimeout(look, 50));
  look();
})"""


def test_the_page_fits_and_nothing_moves_when_the_verdict_changes(visit: Open, browser: Browser, line: str) -> None:
    pages = {screen: visit(browser, line, width=size[0], height=size[1]).page for screen, size in SCREENS.items()}
    for page in pages.values():
        expect(page.get_by_test_id("verdict")).to_have_attribute("data-verdict", re.compile("NORMAL|ANOMALY"))
        page.evaluate(NOTE_BOXES_AT_EACH_VERDICT)
    for screen, page in pages.items():
        seen = page.get_by_test_id("verdict").evaluate(SEEN)
        assert seen["ANOMALY"] == seen["NORMAL"], f"{screen}: something moves when the verdict changes"
        assert page.evaluate(SIDEWAYS) == 0, f"{screen}: the page scrolls sideways"
        assert page.evaluate(CONTROLS_BESIDE) == 0, f"{screen}: the controls reach beyond their place"
        for part in ("picture", "verdict"):
            assert _visible(page, part) > 0.99, f"{screen}: the {part} is not seen without scrolling"
        if screen != "phone on its side":
            assert _visible(page, "chart") > 0.4, f"{screen}: the chart does not begin on the first screen"


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
