"""What axe-core finds in each view and sheet, light and dark: nothing serious."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import axe_playwright_python
import pytest
from playwright.sync_api import Page, expect

from tests.page.enter_form import show_form
from tests.page.scene import Scene, kept, stream
from tests.page.staff import ACCESS
from tests.page.visits import Show
from tests.page.workshop import beside_live

AXE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text()
FINDINGS = """async (rules) => {
  const runOnly = rules ?? undefined;
  const { violations } = await axe.run(document, { resultTypes: ["violations"], runOnly });
  return violations.filter(({ impact }) => ["serious", "critical"].includes(impact))
    .map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html.slice(0, 160)).join(" | ")}`);
}"""

OF_COLOURS = ["color-contrast", "link-in-text-block"]
"""All that can be found in the dark and is not in the light: names, roles and their order have no colour."""


def findings(page: Page) -> list[str]:
    """In the light, and of colours in the dark."""
    if page.evaluate("typeof axe") == "undefined":
        page.evaluate(AXE)
    in_the_light: list[str] = page.evaluate(FINDINGS)
    page.emulate_media(color_scheme="dark")
    in_the_dark: list[str] = page.evaluate(FINDINGS, OF_COLOURS)
    page.emulate_media(color_scheme="light")
    return [*in_the_light, *(f"dark: {found}" for found in in_the_dark)]


def all_streams(page: Page) -> None:
    page.get_by_test_id("show-all").click()
    expect(page.get_by_test_id("tiles").locator("[data-verdict]")).to_have_count(4)


def correction(page: Page) -> None:
    page.get_by_test_id("alarms-list").get_by_role("button").first.click()
    page.get_by_test_id("was-good").check()
    page.get_by_test_id("place-mark").check()
    page.get_by_test_id("place-rectangle").click()
    expect(page.get_by_test_id("correction-apply")).to_be_enabled()


def recent(page: Page) -> None:
    page.get_by_test_id("escape").click()
    expect(page.get_by_test_id("recent-list").get_by_role("button")).to_have_count(8)


def nothing(page: Page) -> None:
    expect(page.get_by_test_id("connection")).not_to_have_text("Connecting")


def threshold(page: Page) -> None:
    grip = page.get_by_test_id("threshold-grip")
    expect(grip).to_be_visible()
    grip.press("PageDown")
    expect(page.get_by_test_id("would-apply")).to_be_visible()


STATES: dict[str, tuple[str, Scene, Callable[[Page], None]]] = {
    "live": ("/", Scene(), nothing),
    "alarm": ("/", Scene(raws=[12.5], alarms=[kept(2, disposition="good"), kept(1, disposition="bad")]), nothing),
    "silent": ("/", Scene(state="silent"), nothing),
    "all streams": (
        "/",
        Scene(streams=[stream("press"), stream("gate"), stream("oven", state="silent"), stream("cap", is_taught=True)]),
        all_streams,
    ),
    "correction": ("/", Scene(), correction),
    "recent": ("/", Scene(), recent),
    "threshold": ("/", Scene(streams=[stream("press", parts=0)]), threshold),
    "teach": ("/teach", Scene(), nothing),
    "recipes": ("/recipes", Scene(), nothing),
    "history": ("/history", Scene(), nothing),
    "settings": ("/settings", Scene(), nothing),
    "panel": ("/panel/press", Scene(raws=[12.5]), lambda page: expect(page.get_by_test_id("parts")).to_be_visible()),
    **ACCESS,
}


@pytest.mark.parametrize("state", STATES)
def test_axe_finds_nothing_serious(show: Show, state: str) -> None:
    path, scene, reach = STATES[state]
    page = show(scene, path).page
    reach(page)
    assert findings(page) == []


@pytest.mark.parametrize("state", beside_live())
def test_axe_finds_nothing_serious_while_one_teaches_and_sets_up(show: Show, state: str) -> None:
    path, shop, there = beside_live()[state]
    page = show(shop, path).page
    expect(page.get_by_test_id(there).first).to_be_visible()
    if state == "recipe":
        page.get_by_test_id("regions-edit").click()
    if state == "settings":
        page.get_by_test_id("sink-begin").click()
        for part in page.get_by_test_id("sink-form").locator("summary").all():
            part.click()
    assert findings(page) == []
    if state == "showing":
        page.get_by_test_id("picture-open").first.click()
        expect(page.get_by_test_id("enlarged")).to_be_visible()
        assert findings(page) == []


@pytest.mark.parametrize("path", ["/phone", "/enter"])
def test_axe_finds_nothing_serious_beside_the_views(show: Show, path: str) -> None:
    page = show(Scene(), "/" if path == "/enter" else path).page
    if path == "/enter":
        show_form(page, wrong=True)
    assert findings(page) == []
