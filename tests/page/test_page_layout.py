"""Where things stand on the page, on the screens it is made for, in every view."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.page.enter_form import show_form
from tests.page.scene import Scene, stream
from tests.page.staff import ACCESS
from tests.page.visits import DRAWN, Show
from tests.page.workshop import beside_live

SCREENS = {
    "400 % zoom": (320, 256),
    "smallest phone": (320, 568),
    "phone": (390, 844),
    "phone on its side": (844, 390),
    "small panel": (800, 480),
    "tablet": (820, 1180),
    "panel": (1024, 768),
    "between": (1200, 700),
    "desk": (1440, 900),
    "wall": (3840, 2160),
}
VIEWS = ("/", "/teach", "/recipes", "/history", "/settings")
LAYOUT = (Path(__file__).parent / "layout.js").read_text()
SIDEWAYS = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


@pytest.mark.parametrize("screen", SCREENS)
def test_nothing_overlaps_or_scrolls_sideways_in_any_view(show: Show, screen: str) -> None:
    width, height = SCREENS[screen]
    page = show(Scene(raws=[12.5]), width=width, height=height).page
    expect(page.get_by_test_id("verdict")).to_have_attribute("data-verdict", "ANOMALY")
    expect(page.get_by_test_id("alarms-list").locator("li")).to_have_count(12)
    expect(page.get_by_test_id("recipe-select")).to_be_visible()
    fits(page, f"{screen}, live")
    box = page.get_by_test_id("verdict").bounding_box()
    assert box is not None and box["height"] >= height / 10, f"{screen}: the verdict is a tenth of the screen's height"
    if height >= 480:
        for part in ("verdict", "picture"):
            assert _visible(page, part) > 0.99, f"{screen}: the {part} is not seen without scrolling"
    page.get_by_test_id("show-all").click()
    expect(page.get_by_test_id("tiles").locator("[data-verdict=ANOMALY]")).to_have_count(2)
    fits(page, f"{screen}, all streams")
    for path in VIEWS[1:]:
        page.locator(f'.nav a[data-view="{path[1:]}"]').click()
        expect(page.get_by_test_id(f"view-{path[1:]}")).to_be_visible()
        fits(page, f"{screen}, {path}")


@pytest.mark.parametrize("state", beside_live())
def test_nothing_overlaps_or_scrolls_sideways_beside_live(show: Show, state: str) -> None:
    path, shop, there = beside_live()[state]
    page = show(shop, path).page
    expect(page.get_by_test_id(there).first).to_be_visible()
    for screen, (width, height) in SCREENS.items():
        page.set_viewport_size({"width": width, "height": height})
        page.evaluate(DRAWN)
        fits(page, f"{state}, {screen}")


@pytest.mark.parametrize("state", ACCESS)
def test_nothing_overlaps_or_scrolls_sideways_where_one_logs_in(show: Show, state: str) -> None:
    path, staff, reach = ACCESS[state]
    page = show(staff, path).page
    reach(page)
    for screen, (width, height) in SCREENS.items():
        page.set_viewport_size({"width": width, "height": height})
        page.evaluate(DRAWN)
        fits(page, f"{state}, {screen}")


def test_the_form_that_asks_who_it_is_fits_any_screen_and_is_filled_by_a_password_store(show: Show) -> None:
    page = show(Scene()).page
    show_form(page)
    for screen, (width, height) in SCREENS.items():
        page.set_viewport_size({"width": width, "height": height})
        fits(page, f"log in, {screen}")
    expect(page.get_by_label("Name")).to_be_focused()
    expect(page.get_by_label("Name")).to_have_attribute("autocomplete", "username")
    expect(page.get_by_label("Password")).to_have_attribute("autocomplete", "current-password")


def test_everything_on_a_panel_is_above_the_fold_or_scrolls_beside_the_verdict(show: Show) -> None:
    page = show(Scene(), width=1024, height=768).page
    expect(page.get_by_test_id("alarms-list").locator("li")).to_have_count(12)
    for part in ("verdict", "picture", "chart", "parts", "alarms"):
        assert _visible(page, part) > 0.99, f"the {part} is not seen without scrolling"
    page.get_by_test_id("calibrate-button").scroll_into_view_if_needed()
    assert _visible(page, "calibrate-button") > 0.99
    assert _visible(page, "verdict") > 0.99, "the verdict stays in sight"
    assert page.evaluate("document.documentElement.scrollHeight") == 768, "the page itself does not scroll"


@pytest.mark.parametrize("screen", ["phone", "small panel", "panel", "wall"])
def test_nothing_moves_when_the_verdict_changes(show: Show, screen: str) -> None:
    width, height = SCREENS[screen]
    page = show(Scene(), width=width, height=height).page
    verdict = page.get_by_test_id("verdict")
    expect(verdict).to_have_attribute("data-verdict", "NORMAL")
    expect(page.get_by_test_id("alarms-list").locator("li")).to_have_count(12)
    expect(page.get_by_test_id("threshold-grip")).to_be_visible()
    before = _find(page, "boxes")
    page.evaluate("window.scene.plays.press.raws = [12.5]")
    expect(verdict).to_have_attribute("data-verdict", "ANOMALY")
    assert _find(page, "boxes") == before
    page.evaluate("window.scene.plays.press.runs = false")
    expect(verdict).to_have_attribute("data-verdict", "WAITING")
    expect(page.locator("#verdict-word")).to_have_text("NOT INSPECTING")
    assert _find(page, "boxes") == before
    assert _find(page, "cutOff") == []


@pytest.mark.parametrize("state", ["live", "silent", "teaching"])
def test_the_panel_page_fits_whole_on_any_screen(show: Show, state: str) -> None:
    scene = Scene(raws=[12.5], state=state, streams=[stream("press", is_taught=state == "teaching")])
    page = show(scene, "/panel/press", width=480, height=320).page
    panel = page.get_by_test_id("panel")
    expect(panel).to_have_attribute(
        "data-verdict", {"live": "ANOMALY", "silent": "SILENT", "teaching": "TAUGHT"}[state]
    )
    expect(page.get_by_test_id("parts")).to_contain_text("99.1 %")
    expect(page.get_by_test_id("recipe")).to_have_text("Bottle, brown, version 3")
    for width, height in ((480, 320), (800, 480), (1024, 768), (390, 844), (3840, 2160)):
        page.set_viewport_size({"width": width, "height": height})
        page.evaluate(DRAWN)
        assert page.evaluate("[document.body.scrollWidth, document.body.scrollHeight]") == [width, height]
        assert _find(page, "outside") == [], (width, height)
        assert page.locator(".band").evaluate("e => e.clientHeight / innerHeight") >= 0.1, (width, height)


def fits(page: Page, where: str) -> None:
    """Nothing scrolls sideways, lies on another, or is cut off."""
    assert page.evaluate(SIDEWAYS) == 0, f"{where}: the page scrolls sideways"
    assert _find(page, "overlapping") == [], f"{where}: something overlaps"
    assert _find(page, "cutOff") == [], f"{where}: something is cut off"


def _find(page: Page, what: str) -> object:
    return page.evaluate(f"{LAYOUT}\n{what}()")


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
