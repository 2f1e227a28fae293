"""Recipes through the page: regions by finger, mouse and keyboard; rules; conflicts; going back. The REST is faked."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import Dialog, Page, expect

from tests.page.scene import recipe
from tests.page.visits import DRAWN, Show, requests_held
from tests.page.workshop import Body, Workshop, change, correction

SIDEWAYS = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


@pytest.fixture
def shop() -> Workshop:
    """With one recipe that has no regions and is used on one stream."""
    decision = {"kind": "n_of_m", "n": 2, "m": 3, "release": 0.9}
    bottle = recipe("bottle", "bottle", regions={"include": [], "ignore": []}, streams=["press"], decision=decision)
    return Workshop(recipes=[bottle], history=[change("regions", 3, "none", "1 ignored"), change("taught", 1)])


@pytest.fixture
def page(show: Show, shop: Workshop) -> Page:
    """The recipe, opened on a phone."""
    page: Page = show(shop, "/recipes#bottle", width=390, height=844, touch=True).page
    expect(page.get_by_test_id("recipe-name")).to_have_text("bottle")
    return page


def patched(shop: Workshop) -> Body:
    """What was changed last."""
    method, path, body = shop.changed[-1]
    assert (method, path) == ("PATCH", "recipes/bottle")
    found: Body = body
    return found


def box(page: Page) -> tuple[float, float, float, float]:
    page.get_by_test_id("surface").evaluate("surface => surface.scrollIntoView({ block: 'center' })")
    found = page.get_by_test_id("surface").bounding_box()
    assert found
    return found["x"], found["y"], found["width"], found["height"]


def tap(page: Page, *places: tuple[float, float]) -> None:
    left, top, width, height = box(page)
    for x, y in places:
        page.touchscreen.tap(left + x * width, top + y * height)


def drag(page: Page, start: tuple[float, float], end: tuple[float, float]) -> None:
    left, top, width, height = box(page)
    page.mouse.move(left + start[0] * width, top + start[1] * height)
    page.mouse.down()
    for step in (0.3, 0.7, 1):
        x, y = (a + (b - a) * step for a, b in zip(start, end, strict=True))
        page.mouse.move(left + x * width, top + y * height)
    page.mouse.up()


def test_a_region_is_drawn_by_touch_and_saved(page: Page, shop: Workshop) -> None:
    page.get_by_test_id("regions-edit").click()
    page.get_by_test_id("add-ignore").click()
    tap(page, (0.2, 0.2), (0.6, 0.2), (0.6, 0.7))
    scrolled = page.evaluate("scrollY")
    tap(page, (0.2, 0.2))  # the first corner again closes it
    expect(page.get_by_test_id("regions-list").locator("li")).to_have_count(1)
    assert page.evaluate("scrollY") == scrolled
    page.get_by_test_id("regions-save").click()
    expect(page.get_by_test_id("recipes-told")).to_have_text("Saved as version 4.")
    body = patched(shop)
    assert body["version"] == 3 and body["regions"]["include"] == []
    [corners] = body["regions"]["ignore"]
    expected = [(0.2, 0.2), (0.6, 0.2), (0.6, 0.7)]
    assert [tuple(round(value, 1) for value in corner) for corner in corners] == expected
    expect(page.get_by_test_id("regions-edit")).to_be_focused()
    assert page.evaluate("dispatchEvent(new Event('beforeunload', {cancelable: true}))"), "nothing is unsaved"


def test_a_threshold_put_by_hand_says_where_it_goes_back_to(page: Page, shop: Workshop) -> None:
    back = {"version": 2, "rule": {"k": 3.0}, "threshold": 9.43, "threshold_source": "calibration"}
    by_hand = {"rule": {"one_in": None, "k": None, "raw": 8.2}, "threshold_source": "recipe"}
    shop.recipes[0] |= by_hand | {"threshold": 8.2, "by_hand": back}
    button = page.get_by_test_id("recipe-by-hand-back")
    expect(button).to_have_text("Back to version 2: 9.430, from a calibration")
    shop.recipes[0] |= {"by_hand": back | {"version": None, "threshold": None}}  # something else was changed since
    expect(button).to_have_text("Back to the calibration of each stream")
    shop.told = lambda *_: shop.recipes[0].update(by_hand=None)
    button.click()
    expect(button).to_be_hidden()
    assert patched(shop)["rule"] == {"k": 3.0}


def test_regions_are_drawn_on_a_teaching_picture_where_no_stream_is_inspected_with_the_recipe(show: Show) -> None:
    lid, cap = recipe("lid", "Lid", streams=[]), recipe("cap", "Cap", streams=[])
    cap["model"] |= {"can_be_taught_more": False}
    shop = Workshop(recipes=[lid, cap])
    page = show(shop, "/recipes#lid").page
    source, whose = page.get_by_test_id("regions-source"), page.get_by_test_id("regions-other")
    expect(whose).to_have_text("This is one of the pictures it was taught on.")
    expect(page.locator("#regions-picture canvas")).to_be_visible()
    assert ("GET", "/api/recipes/lid/picture", None) in shop.asked
    another = "This picture shows another part: press is inspected with another recipe."
    source.select_option("press")
    expect(whose).to_have_text(another)
    source.select_option(label="no picture")
    expect(whose).to_have_text("")
    page.evaluate("location.hash = '#cap'")
    expect(page.get_by_test_id("recipe-name")).to_have_text("Cap")
    expect(whose).to_have_text(another)
    page.route("**/api/recipes/lid/picture", lambda route: route.fulfill(status=404, json={"error": "none lies here"}))
    page.evaluate("location.hash = '#lid'")
    expect(page.get_by_test_id("recipe-name")).to_have_text("Lid")
    expect(whose).to_have_text(another)


def test_a_threshold_that_was_calibrated_in_other_regions_says_so(page: Page, shop: Workshop) -> None:
    warning = page.get_by_test_id("recipe-threshold-warning")
    expect(warning).to_be_hidden()
    shop.recipes[0] |= {"threshold_warning": "calibrated in other regions than are inspected now: calibrate again"}
    expect(warning).to_have_text("Calibrated in other regions than are inspected now: calibrate again.")
    shop.recipes[0] |= {"threshold_warning": None}
    expect(warning).to_be_hidden()


def test_what_crosses_itself_is_put_back_with_the_reason(page: Page, shop: Workshop) -> None:
    page.get_by_test_id("regions-edit").click()
    page.get_by_test_id("add-include").click()
    told = page.get_by_test_id("regions-told")
    tap(page, (0.1, 0.1), (0.9, 0.1), (0.1, 0.9), (0.9, 0.9), (0.5, 0.02))
    expect(told).to_contain_text("would cross each other. That corner was not set.")
    page.get_by_test_id("put-down").click()
    page.get_by_test_id("add-include").click()
    drag(page, (0.2, 0.2), (0.8, 0.8))
    expect(page.get_by_test_id("regions-list")).to_contain_text("Inspect only here 1")
    corner = page.locator(".corner").first
    before = corner.get_attribute("aria-label")
    drag(page, (0.2, 0.2), (0.9, 0.5))  # over the opposite edge
    expect(told).to_contain_text("Put back: the region’s edges would cross each other.")
    expect(corner).to_have_attribute("aria-label", before or "")
    drag(page, (0.2, 0.2), (-0.5, -0.5))  # beside the picture: as far as it reaches
    expect(corner).to_have_attribute(
        "aria-label", "Corner 1 of 4, Inspect only here 1, 0 % from the left, 0 % from the top"
    )


def test_regions_are_edited_with_the_keyboard_and_undone(page: Page, shop: Workshop) -> None:
    page.get_by_test_id("regions-edit").focus()
    page.keyboard.press("Enter")
    page.get_by_test_id("add-ignore").focus()
    page.keyboard.press("Enter")
    page.get_by_test_id("place").focus()
    page.keyboard.press("Enter")
    corner = page.locator(".corner").first
    expect(corner).to_be_focused()
    expect(corner).to_have_attribute("aria-label", "Corner 1 of 4, Ignore 1, 35 % from the left, 35 % from the top")
    for key in ("ArrowLeft", "ArrowUp", "ArrowUp"):
        page.keyboard.press(key)
    expect(corner).to_have_attribute("aria-label", "Corner 1 of 4, Ignore 1, 34 % from the left, 33 % from the top")
    page.keyboard.press("+")
    expect(page.locator(".corner")).to_have_count(5)
    page.keyboard.press("Delete")
    expect(page.locator(".corner")).to_have_count(4)
    for _ in range(5):
        page.keyboard.press("Control+z")
    expect(corner).to_have_attribute("aria-label", "Corner 1 of 4, Ignore 1, 35 % from the left, 35 % from the top")
    page.keyboard.press("Control+z")
    expect(page.locator(".corner")).to_have_count(0)
    page.keyboard.press("Control+Shift+Z")
    expect(page.locator(".corner")).to_have_count(4)


def test_a_conflict_shows_theirs_and_keeps_ones_own(page: Page, shop: Workshop) -> None:
    refusal = {"error": "somebody else changed this recipe meanwhile"}
    shop.answers["PATCH /api/recipes/bottle"] = lambda _: (409, refusal)
    shop.recipes[0] |= {"version": 4, "decision": {"kind": "frame", "n": 1, "m": 1, "release": 0.9}, "who": "10.0.0.8"}
    page.get_by_test_id("decision-hysteresis").check()
    page.get_by_test_id("decision-calm").fill("4")
    expect(page.get_by_test_id("decision-form")).to_contain_text("it ends after 4 frames in a row below 90 %")
    page.get_by_test_id("decision-save").click()
    conflict = page.get_by_test_id("recipe-conflict")
    expect(conflict).to_contain_text("Version 4, by 10.0.0.8")
    expect(page.get_by_test_id("decision-frame")).to_be_checked()  # theirs
    del shop.answers["PATCH /api/recipes/bottle"]
    page.get_by_test_id("recipe-conflict-mine").click()
    expect(conflict).to_be_hidden()
    mine = {"kind": "hysteresis", "n": 1, "m": 4, "release": 0.9}
    assert patched(shop) == {"version": 4, "decision": mine, "why": ""}
    expect(page.get_by_test_id("decision-hysteresis")).to_be_checked()


def test_an_edit_that_was_kept_is_lost_by_no_failure_and_no_other_edit(page: Page, shop: Workshop) -> None:
    page.get_by_test_id("regions-edit").click()
    page.get_by_test_id("add-ignore").click()
    page.get_by_test_id("place").click()
    drawn = page.locator(".corner")
    expect(drawn).to_have_count(4)
    refusal = {"error": "somebody else changed this recipe meanwhile"}
    shop.answers["PATCH /api/recipes/bottle"] = lambda _: (409, refusal)
    shop.recipes[0] |= {"version": 4, "who": "10.0.0.8"}
    page.get_by_test_id("decision-hysteresis").check()
    page.get_by_test_id("decision-calm").fill("4")
    page.get_by_test_id("decision-save").click()
    conflict = page.get_by_test_id("recipe-conflict")
    expect(conflict).to_be_visible()
    expect(drawn).to_have_count(4)
    shop.answers["PATCH /api/recipes/bottle"] = lambda _: (507, {"error": "the disk is full"})
    page.get_by_test_id("recipe-conflict-mine").click()
    expect(page.get_by_test_id("recipes-told")).to_have_text("The disk is full.")
    expect(conflict).to_be_visible()
    del shop.answers["PATCH /api/recipes/bottle"]
    page.get_by_test_id("rule-one-in").fill("100")
    page.get_by_test_id("rule-save").click()
    expect(page.get_by_test_id("recipes-told")).to_have_text("Saved as version 5.")
    page.get_by_test_id("recipe-conflict-mine").click()
    expect(conflict).to_be_hidden()
    assert patched(shop)["decision"] == {"kind": "hysteresis", "n": 1, "m": 4, "release": 0.9}


def test_rules_are_checked_before_they_are_sent(page: Page, shop: Workshop) -> None:
    page.get_by_test_id("decision-n").fill("7")
    expect(page.get_by_test_id("decision-form")).to_contain_text("It cannot be more frames than are looked back on.")
    page.get_by_test_id("rule-one-in").fill("100")
    page.get_by_test_id("rule-save").click()
    expect(page.get_by_test_id("recipes-told")).to_have_text("Saved as version 4.")
    assert patched(shop)["rule"] == {"one_in": 100, "k": None, "raw": None}
    expect(page.get_by_test_id("decision-n")).to_have_value("7")  # an edit elsewhere stays


def test_what_is_written_outlives_a_turned_tablet_and_is_lost_only_if_one_says_so(page: Page, shop: Workshop) -> None:
    shop.recipes.append(recipe("lid", "lid", streams=[], is_default=False))
    page.goto(page.url.split("#")[0])
    page.set_viewport_size({"width": 1180, "height": 820})
    page.get_by_test_id("rule-one-in").fill("100")
    page.set_viewport_size({"width": 820, "height": 1180})
    expect(page.get_by_test_id("rule-one-in")).to_have_value("100")
    expect(page.get_by_test_id("rule-one-in")).to_be_visible()
    page.set_viewport_size({"width": 1180, "height": 820})
    expect(page.get_by_test_id("rule-one-in")).to_have_value("100")
    page.get_by_test_id("recipe-row").filter(has_text="lid").click()
    page.get_by_test_id("question-no").click()
    expect(page.get_by_test_id("rule-one-in")).to_have_value("100")
    page.get_by_test_id("recipe-row").filter(has_text="lid").click()
    page.get_by_test_id("question-yes").click()
    expect(page.get_by_test_id("recipe-name")).to_have_text("lid")
    expect(page.get_by_test_id("rule-one-in")).to_have_value("30")


@pytest.mark.parametrize("width", [390, 1180])
def test_back_in_the_browser_asks_before_an_edit_is_lost(show: Show, shop: Workshop, width: int) -> None:
    shop.recipes.append(recipe("lid", "lid", streams=[], is_default=False))
    page: Page = show(shop, "/recipes#lid", width=width, height=844).page
    expect(page.get_by_test_id("recipe-name")).to_have_text("lid")
    page.evaluate("location.hash = '#bottle'")
    expect(page.get_by_test_id("recipe-name")).to_have_text("bottle")
    page.get_by_test_id("rule-one-in").fill("100")
    page.evaluate("history.back()")
    page.get_by_test_id("question-no").click()
    expect(page.get_by_test_id("question")).to_have_count(0)
    assert page.url.endswith("#bottle")
    expect(page.get_by_test_id("rule-one-in")).to_have_value("100")
    page.evaluate("location.hash = '#lid'")
    page.get_by_test_id("question-yes").click()
    expect(page.get_by_test_id("recipe-name")).to_have_text("lid")
    expect(page.get_by_test_id("rule-one-in")).to_have_value("30")
    page.evaluate("history.back()")  # nothing is written: nobody is asked
    expect(page.get_by_test_id("recipe-name")).to_have_text("bottle")


def test_another_view_and_back_keeps_an_edit(page: Page, shop: Workshop) -> None:
    page.get_by_test_id("rule-one-in").fill("100")
    page.locator(".nav a[data-view=history]").click()
    expect(page.locator("#view-recipes")).to_be_hidden()
    page.go_back()
    expect(page.get_by_test_id("rule-one-in")).to_have_value("100")


def test_the_browser_asks_before_a_tab_with_an_edit_is_closed(page: Page, shop: Workshop) -> None:
    asked: list[str] = []

    def stay(dialog: Dialog) -> None:
        asked.append(dialog.type)
        dialog.dismiss()

    page.on("dialog", stay)
    page.get_by_test_id("rule-one-in").fill("100")
    with page.expect_event("dialog"):
        page.evaluate("setTimeout(() => location.reload())")
    expect(page.get_by_test_id("rule-one-in")).to_have_value("100")
    assert asked == ["beforeunload"]
    page.get_by_test_id("rule-form").get_by_role("button", name="Drop").click()
    page.reload()
    expect(page.get_by_test_id("rule-one-in")).to_have_value("30")
    assert asked == ["beforeunload"]


def test_what_could_not_be_saved_stays_written_and_the_reason_goes(page: Page, shop: Workshop) -> None:
    form = page.get_by_test_id("rule-form")
    page.route("**/api/recipes**", lambda route: route.abort())
    page.get_by_test_id("rule-one-in").fill("100")
    page.get_by_test_id("rule-save").click()
    expect(form).to_contain_text("The server does not answer.")
    page.unroute("**/api/recipes**")
    expect(form).not_to_contain_text("The server does not answer.")
    expect(page.get_by_test_id("rule-one-in")).to_have_value("100")
    shop.answers["PATCH /api/recipes/bottle"] = lambda _: (422, {"error": "the disk is full"})
    page.get_by_test_id("rule-save").click()
    expect(form).to_contain_text("The disk is full.")
    expect(page.get_by_test_id("rule-one-in")).to_have_value("100")
    page.get_by_test_id("rule-one-in").fill("200")
    expect(form).not_to_contain_text("The disk is full.")
    del shop.answers["PATCH /api/recipes/bottle"]
    page.get_by_test_id("rule-save").click()
    expect(page.get_by_test_id("recipes-told")).to_have_text("Saved as version 4.")
    assert patched(shop)["rule"] == {"one_in": 200, "k": None, "raw": None}


def test_a_correction_is_undone_and_a_version_gone_back_to_by_one_press(show: Show, shop: Workshop) -> None:
    shop.corrections = [correction("c1")]
    page = show(shop, "/recipes#bottle").page
    page.get_by_test_id("recipe-correction-undo").click()
    expect(page.get_by_test_id("recipe-correction")).to_have_count(0)
    page.get_by_test_id("go-back").click()
    expect(page.get_by_test_id("recipes-told")).to_contain_text("Back at what version 2 was")
    undone, restored = shop.changed
    assert undone[:2] == ("DELETE", "recipes/bottle/corrections/c1")
    assert restored == ("POST", "recipes/bottle/restore", {"version": 4, "to": 2})


@pytest.mark.parametrize("width", [320, 390, 800, 1024, 1440])
def test_an_opened_recipe_does_not_scroll_sideways(show: Show, width: int) -> None:
    names: dict[str, Any] = {"name": "a-name-that-has-no-blank-in-it-" * 2, "streams": ["press"]}
    shop = Workshop(recipes=[recipe("bottle", **names)], corrections=[correction("c1", place=[[0, 0], [1, 0], [1, 1]])])
    page = show(shop, "/recipes#bottle", width=width, height=700).page
    page.get_by_test_id("regions-edit").click()
    expect(page.locator(".corner")).to_have_count(4)
    assert page.evaluate(SIDEWAYS) == 0


@pytest.mark.parametrize("width", [360, 390, 1440])
def test_a_number_stands_beside_its_words(show: Show, shop: Workshop, width: int) -> None:
    page = show(shop, "/recipes#bottle", width=width, height=844).page
    expect(page.get_by_test_id("rule-one-in")).to_be_visible()
    for number in ("rule-one-in", "decision-release"):
        beside = page.get_by_test_id(number).evaluate(
            """(number) => {
                const [a, b] = [number, number.previousElementSibling].map((one) => one.getBoundingClientRect());
                return Math.max(a.top, b.top) < Math.min(a.bottom, b.bottom);
            }"""
        )
        assert beside, number
    lines = (
        "label => label.getClientRects().length && label.offsetHeight / parseFloat(getComputedStyle(label).fontSize)"
    )
    assert page.locator("label[for=regions-source]").evaluate(lines) < 2
    assert page.evaluate(SIDEWAYS) == 0


def test_parts_by_a_trigger_and_by_a_gate_drawn_on_its_empty_place(page: Page, shop: Workshop) -> None:
    form = page.get_by_test_id("parts-form")
    expect(page.get_by_test_id("parts-line")).to_be_checked()
    page.get_by_test_id("parts-trigger").check()
    page.get_by_test_id("parts-after").fill("3")
    page.get_by_test_id("parts-n").fill("4")
    expect(form).to_contain_text("It cannot be more frames than are looked at.")
    page.get_by_test_id("parts-n").fill("2")
    page.get_by_test_id("parts-within").fill("250")
    expect(form).to_contain_text("ANOMALY from 2 such frames on. Without a frame within 250 ms it is FAILED.")
    page.get_by_test_id("parts-save").click()
    expect(page.get_by_test_id("recipes-told")).to_have_text("Saved as version 4.")
    rule = {
        "by": "trigger",
        "n": 2,
        "frames": 3,
        "delay_ms": 0,
        "within_ms": 250,
        "gate": [],
        "empty": [],
        "rests": True,
    }
    assert patched(shop)["parts"] == rule

    def looked(body: Any) -> tuple[int, Any]:
        return 200, {"gate": body["gate"], "empty": [100] * 256, "at": "", "picture": ""}

    shop.answers["POST /api/streams/press/gate"] = looked
    page.get_by_test_id("parts-gate").check()
    expect(form).to_contain_text("Take a picture of the empty gate first.")
    page.get_by_test_id("parts-save").click()
    expect(form.get_by_text("Take a picture of the empty gate first.")).to_have_count(1)
    page.get_by_test_id("gate-take").click()
    expect(form).not_to_contain_text("Take a picture of the empty gate first.")
    expect(page.get_by_test_id("gate-words")).to_contain_text("anywhere in the picture")
    page.get_by_test_id("gate-rectangle").click()
    page.keyboard.press("ArrowLeft")
    expect(page.get_by_test_id("gate-words")).to_contain_text("in the marked region")
    page.get_by_test_id("parts-n").fill("1")
    page.get_by_test_id("parts-save").click()
    expect(page.get_by_test_id("recipes-told")).to_have_text("Saved as version 5.")
    saved = patched(shop)["parts"]
    assert (saved["by"], saved["frames"], len(saved["gate"]), len(saved["empty"])) == ("gate", 0, 4, 256)
    assert saved["gate"][0] == pytest.approx([0.33, 0.35])
    assert page.evaluate(SIDEWAYS) == 0


@pytest.fixture
def two(show: Show, shop: Workshop) -> Page:
    """Two recipes beside the list, with changes and a correction; the first one is opened."""
    lid = recipe("lid", "lid", streams=[], is_default=False, rule={"one_in": 50, "k": None, "raw": None})
    shop.recipes.append(lid)
    shop.corrections = [correction("c1")]
    page: Page = show(shop, "/recipes#bottle").page
    expect(page.get_by_test_id("go-back")).to_have_count(1)
    expect(page.get_by_test_id("recipe-correction")).to_have_count(1)
    return page


def test_what_is_listed_of_one_recipe_is_gone_when_another_is_opened(two: Page) -> None:
    held = requests_held(two, re.compile("/recipes/lid/(history|corrections)$"))
    two.get_by_test_id("recipe-row").filter(has_text="lid").click()
    expect(two.get_by_test_id("recipe-name")).to_have_text("lid")
    expect(two.get_by_test_id("go-back")).to_have_count(0)  # a press would go back with the lid
    expect(two.get_by_test_id("recipe-correction")).to_have_count(0)
    for route in held:
        route.fallback()
    expect(two.get_by_test_id("go-back")).to_have_count(1)
    expect(two.get_by_test_id("recipe-correction")).to_have_count(1)


@pytest.mark.parametrize("is_taken", [True, False])
def test_what_is_said_late_of_one_recipe_names_it(two: Page, is_taken: bool) -> None:
    held = requests_held(two, "**/api/recipes/bottle")
    two.get_by_test_id("rule-one-in").fill("100")
    two.get_by_test_id("rule-save").click()
    two.get_by_test_id("recipe-row").filter(has_text="lid").click()
    two.get_by_test_id("question-yes").click()
    expect(two.get_by_test_id("recipe-name")).to_have_text("lid")
    expect(two.get_by_test_id("rule-one-in")).to_have_value("50")
    if is_taken:
        held[0].fallback()
        expect(two.get_by_test_id("recipes-told")).to_have_text("bottle: Saved as version 4.")
    else:
        held[0].fulfill(status=507, json={"error": "the disk is full"})
        expect(two.get_by_test_id("recipes-told")).to_have_text("bottle: The disk is full.")
    expect(two.get_by_test_id("rule-one-in")).to_have_value("50")
    expect(two.get_by_test_id("rule-save")).to_be_disabled()


def with_a_gate(show: Show, shop: Workshop, lid_on: list[str]) -> Page:
    """The recipe *bottle* with its empty gate taken on *press*, and *lid* beside it."""
    shop.recipes.append(recipe("lid", "lid", streams=lid_on, is_default=False))
    empty = {"empty": [100] * 256, "at": "", "picture": ""}
    shop.answers["POST /api/streams/press/gate"] = lambda body: (200, empty | {"gate": body["gate"]})
    page = show(shop, "/recipes#bottle").page
    page.get_by_test_id("parts-gate").check()
    page.get_by_test_id("gate-take").click()
    expect(page.get_by_test_id("gate-place")).to_be_visible()
    return page


def test_a_gate_is_not_drawn_on_the_picture_of_another_recipe(show: Show, shop: Workshop) -> None:
    page = with_a_gate(show, shop, ["gate"])
    page.get_by_test_id("recipe-row").filter(has_text="lid").click()
    page.get_by_test_id("question-yes").click()
    expect(page.get_by_test_id("recipe-name")).to_have_text("lid")  # whose form is another: not yet checked
    page.get_by_test_id("parts-gate").check()
    expect(page.get_by_test_id("gate-take")).to_be_visible()
    expect(page.get_by_test_id("gate-place")).to_be_hidden()
    expect(page.get_by_test_id("gate-words")).to_have_text("")


def test_a_number_that_cannot_be_read_is_not_saved_as_none(page: Page, shop: Workshop) -> None:
    form, field = page.get_by_test_id("options-form"), page.get_by_test_id("options-fps")
    field.press_sequentially("2e")
    assert field.evaluate("field => field.value === '' && field.validity.badInput")
    expect(form).to_have_attribute("data-changed", "true")
    with page.expect_response("**/api/recipes"):  # which shows what is in force, where nothing is being edited
        pass
    page.get_by_test_id("options-save").click()
    expect(form.locator(".form-problem")).to_contain_text("From 0.01 to 1000 inspections a second")
    field.press_sequentially("0")
    page.get_by_test_id("options-save").click()
    expect(form).to_have_attribute("data-changed", "false")
    assert [what["options"] for method, _, what in shop.changed if method == "PATCH"] == [{"max_fps": 2}]


def test_a_recipe_that_was_brought_in_late_leaves_the_address_of_another_view_alone(page: Page, shop: Workshop) -> None:
    brought = recipe("lid", "Lid", streams=[], is_default=False)
    shop.answers["POST /api/recipes"] = lambda _: (201, brought)
    held = requests_held(page, "**/api/recipes", lambda request: request.method == "POST")
    with page.expect_request(lambda request: request.method == "POST"):
        page.get_by_test_id("recipes-import").set_input_files(
            {"name": "l.zip", "mimeType": "application/zip", "buffer": b"PK"}
        )
    page.get_by_test_id("navigation").get_by_role("link", name="Settings", exact=True).click()
    expect(page.get_by_test_id("device-name")).to_be_visible()
    shop.recipes.append(brought)
    with page.expect_response(lambda response: response.request.method == "GET" and "/api/recipes" in response.url):
        held[0].fallback()
    page.evaluate(DRAWN)
    expect(page).to_have_url(re.compile("/settings$"))


def test_a_gate_is_not_drawn_on_the_picture_of_the_recipe_that_had_its_stream_before(
    show: Show, shop: Workshop
) -> None:
    page = with_a_gate(show, shop, [])
    shop.recipes[0] |= {"streams": []}
    shop.recipes[1] |= {"streams": ["press"]}
    row = page.get_by_test_id("recipe-row").filter(has_text="lid")
    expect(row).to_contain_text("on press")
    row.click()
    page.get_by_test_id("question-yes").click()
    expect(page.get_by_test_id("recipe-name")).to_have_text("lid")
    page.get_by_test_id("parts-gate").check()
    expect(page.get_by_test_id("gate-take")).to_be_visible()
    expect(page.get_by_test_id("gate-place")).to_be_hidden()
