"""Walking through the views: one document, one camera, one navigation."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Browser, expect

from tests.page.histories import Histories
from tests.page.scene import Scene
from tests.page.visits import Open, Show, requests_held

VIEWS = {"live": "Live", "teach": "Teach", "recipes": "Recipes", "history": "History", "settings": "Settings"}


def test_the_camera_goes_on_while_one_walks_through_the_views(
    visit: Open, good_camera: Browser, inspection: str
) -> None:
    opened = visit(good_camera, inspection)
    page, navigation = opened.page, opened.page.get_by_test_id("navigation")
    page.get_by_test_id("start-camera").click()
    expect(page.get_by_test_id("verdict")).to_have_attribute("data-verdict", "NORMAL")
    page.evaluate("window.sameDocument = true")
    for name, title in [*list(VIEWS.items())[1:], ("live", "Live")]:
        link = navigation.get_by_role("link", name=title, exact=True)
        link.focus()
        page.keyboard.press("Enter")
        expect(page).to_have_title(f"{title} – DefectVision")
        expect(page).to_have_url(f"{inspection}/{'' if name == 'live' else name}")
        expect(link).to_have_attribute("aria-current", "page")
        expect(navigation.locator("[aria-current]")).to_have_count(1)
        expect(page.locator(f"#title-{name}")).to_be_focused()
        expect(page.get_by_test_id("connection")).to_have_text("Connected")
    page.go_back()
    expect(page).to_have_title("Settings – DefectVision")
    expect(page.get_by_test_id("view-live")).to_be_hidden()
    page.go_forward()
    before = page.get_by_test_id("inspected").inner_text()
    expect(page.get_by_test_id("inspected")).not_to_have_text(before)
    assert page.evaluate("window.sameDocument")
    assert opened.complaints == []


@pytest.mark.parametrize("name", VIEWS)
def test_every_view_has_an_address_of_its_own(visit: Open, browser: Browser, inspection: str, name: str) -> None:
    opened = visit(browser, f"{inspection}/{'' if name == 'live' else name}")
    expect(opened.page).to_have_title(f"{VIEWS[name]} – DefectVision")
    expect(opened.page.get_by_test_id(f"view-{name}")).to_be_visible()
    expect(opened.page.locator("main .view:not([hidden])")).to_have_count(1)
    expect(opened.page.get_by_test_id("connection")).to_have_text("Server ready, camera off")
    assert opened.complaints == []


def test_a_view_takes_no_press_before_it_hears_it(show: Show) -> None:
    page = show(Scene()).page
    held = requests_held(page, "**/static/settings/view.js")
    page.get_by_test_id("navigation").get_by_role("link", name="Settings", exact=True).click()
    settings = page.get_by_test_id("view-settings")
    expect(settings).to_be_visible()
    expect(settings).to_have_js_property("inert", True)
    held[0].continue_()
    expect(settings).to_have_js_property("inert", False)
    expect(page.locator("#title-settings")).to_be_focused()


@pytest.mark.parametrize("missing", ["view.js", "gallery.js"])
def test_a_view_that_cannot_be_loaded_says_so_and_leaves_live_alone(show: Show, missing: str) -> None:
    page = show(Histories()).page
    navigation, barred = page.get_by_test_id("navigation"), page.get_by_test_id("view-barred")
    expect(page.get_by_test_id("picture")).to_have_attribute("data-shown", "true")
    pattern = re.compile(f"/static/history/{missing}")
    page.route(pattern, lambda route: route.abort())
    navigation.get_by_role("link", name="History", exact=True).click()
    expect(barred).to_contain_text("This could not be loaded")
    expect(page.locator("#title-barred")).to_be_focused()
    navigation.get_by_role("link", name="Live", exact=True).click()
    expect(barred).to_be_hidden()
    page.get_by_test_id("source-select").select_option("stream:gate")
    expect(page.get_by_test_id("picture")).to_have_attribute("data-shown", "true")  # of the other stream

    navigation.get_by_role("link", name="History", exact=True).click()
    expect(barred).to_contain_text("It is tried again by itself")
    page.unroute(pattern)
    expect(page.get_by_test_id("part-tile").first).to_be_visible()
    expect(barred).to_be_hidden()
    navigation.get_by_role("link", name="Live", exact=True).click()
    expect(page.get_by_test_id("view-live")).to_be_visible()
