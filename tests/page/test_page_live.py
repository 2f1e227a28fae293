"""Live: what is shown of a stream, and what can be done about an alarm, an escape and the threshold."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.page.scene import AT, COST, THRESHOLD, Scene, kept, recipe, stream
from tests.page.visits import DRAWN, Show, requests_held

A_MINUTE_MS = 60_000
LAYOUT = (Path(__file__).parent / "layout.js").read_text()


def boxes(page: Page) -> Any:
    """Where everything stands, as in test_page_layout.py."""
    return page.evaluate(f"{LAYOUT}\nscrollTo(0, 0); boxes()")


def open_alarm(page: Page) -> Locator:
    """Open the newest alarm's sheet."""
    page.get_by_test_id("alarms-list").get_by_role("button").first.click()
    sheet = page.get_by_test_id("correction")
    expect(sheet).to_be_visible()
    return sheet


def test_the_last_twelve_alarms_are_shown_and_one_is_forgiven_and_taken_back(show: Show) -> None:
    scene = Scene()
    page = show(scene).page
    alarms = page.get_by_test_id("alarms-list").get_by_role("button")
    expect(alarms).to_have_count(12)
    expect(alarms.first).to_have_accessible_name(re.compile(r"^Alarm at \d\d:\d\d:05, score 0\.71, not judged yet"))
    sheet = open_alarm(page)
    expect(sheet.get_by_test_id("correction-apply")).to_be_disabled()
    sheet.get_by_test_id("was-good").check()
    expect(sheet.get_by_test_id("correction-cost")).to_contain_text("None of 3 remembered defects would pass")
    path = "/api/frames/alarm-14/good"
    assert scene.said("POST", path) == [{"place": None, "dry_run": True}]
    sheet.get_by_test_id("correction-apply").click()
    expect(sheet.get_by_test_id("correction-cost")).to_contain_text("Forgiven")
    assert scene.said("POST", path)[-1] == {"place": None, "version": 3}
    expect(alarms.first).to_have_attribute("aria-label", re.compile("was good"))  # it lies under the sheet
    expect(sheet.get_by_test_id("correction-undo")).to_be_focused()
    page.keyboard.press("Enter")
    expect(sheet.get_by_test_id("correction-cost")).to_contain_text("Taken back")
    assert scene.said("POST", "/api/frames/alarm-14/nothing") == [{"seen": "c1"}]
    page.keyboard.press("Escape")
    expect(alarms.first).to_have_accessible_name(re.compile("not judged yet"))


def test_what_is_said_late_of_one_alarm_is_not_shown_of_another(show: Show) -> None:
    page = show(Scene()).page
    alarms = page.get_by_test_id("alarms-list").get_by_role("button")
    title, cost = page.locator("#correction-title"), page.get_by_test_id("correction-cost")
    address = re.compile("/alarm-14/(good|nothing)$")
    held = requests_held(page, address, lambda request: '"dry_run"' not in (request.post_data or ""))

    sheet = open_alarm(page)
    sheet.get_by_test_id("was-good").check()
    sheet.get_by_test_id("correction-apply").click()
    for press, said in (("correction-apply", "was good"), ("correction-undo", "not judged yet")):
        if press == "correction-undo":
            open_alarm(page).get_by_test_id(press).click()
        expect(sheet).to_have_attribute("aria-busy", "true")
        page.keyboard.press("Escape")
        alarms.nth(1).click()
        sheet.get_by_test_id("was-bad").check()
        expect(cost).to_contain_text("None of 3 remembered defects would pass")
        other = title.inner_text()
        held.pop().fallback()
        expect(alarms.first).to_have_attribute("aria-label", re.compile(said))  # it lies under the sheet
        expect(title).to_have_text(other)
        expect(cost).to_contain_text("None of 3 remembered defects would pass")
        expect(sheet.get_by_test_id("correction-apply")).to_be_enabled()
        page.keyboard.press("Escape")


def test_a_place_is_drawn_and_what_it_would_let_pass_is_a_warning(show: Show) -> None:
    cost = COST | {"would_pass": ["d1"], "sentence": "1 of 3 remembered defects would pass"}
    scene = Scene(cost=cost)
    page = show(scene).page
    sheet = open_alarm(page)
    sheet.get_by_test_id("was-good").check()
    sheet.get_by_test_id("place-mark").check()
    expect(sheet.get_by_test_id("correction-cost")).to_contain_text("Mark the place first")
    expect(sheet.get_by_test_id("correction-apply")).to_be_disabled()
    box = sheet.get_by_test_id("correction-place").bounding_box()
    assert box is not None
    corners = [(0.6, 0.2), (0.8, 0.2), (0.8, 0.4), (0.6, 0.4), (0.6, 0.21)]
    for number, (x, y) in enumerate(corners):
        page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"], steps=1 if number == 0 else 8)
        if number == 0:
            page.mouse.down()
    page.mouse.up()
    expect(sheet.get_by_test_id("correction-cost")).to_have_attribute("data-kind", "warning")
    expect(sheet.get_by_test_id("correction-cost")).to_contain_text("1 of 3 remembered defects would pass")
    place: Any = scene.said("POST", "/api/frames/alarm-14/good")[-1]["place"]
    assert 4 <= len(place) <= 64
    assert min(x for x, _ in place) == pytest.approx(0.6, abs=0.02)
    assert max(y for _, y in place) == pytest.approx(0.4, abs=0.02)


def test_a_place_is_marked_with_keys_alone(show: Show) -> None:
    scene = Scene()
    page = show(scene).page
    page.get_by_test_id("alarms-list").get_by_role("button").first.focus()
    page.keyboard.press("Enter")
    sheet = page.get_by_test_id("correction")
    page.keyboard.press("Space")  # the first answer has the focus: was good
    sheet.get_by_test_id("place-all").focus()
    page.keyboard.press("ArrowRight")
    sheet.get_by_test_id("place-rectangle").focus()
    page.keyboard.press("Enter")
    mark = sheet.get_by_test_id("correction-place")
    expect(mark).to_be_focused()
    for key in ("ArrowRight", "ArrowUp", "Shift+ArrowDown"):
        page.keyboard.press(key)
    expect(mark).to_have_accessible_name(re.compile(r"37 to 67 % from the left, 33 to 65 % from the top"))
    expect(sheet.get_by_test_id("correction-apply")).to_be_enabled()
    place = scene.said("POST", "/api/frames/alarm-14/good")[-1]["place"]
    assert [[round(x, 2), round(y, 2)] for x, y in place] == [[0.37, 0.33], [0.67, 0.33], [0.67, 0.65], [0.37, 0.65]]


def test_an_escape_is_found_among_the_latest_frames_and_remembered(show: Show) -> None:
    scene = Scene()
    page = show(scene).page
    page.get_by_test_id("escape").click()
    page.get_by_test_id("recent-list").get_by_role("button").nth(1).click()
    sheet = page.get_by_test_id("correction")
    expect(sheet.get_by_test_id("was-bad")).to_be_checked()
    expect(sheet.get_by_test_id("correction-learn")).to_be_checked()
    sheet.get_by_role("button", name="Remember it").click()
    expect(sheet.get_by_test_id("correction-cost")).to_contain_text("Remembered")
    assert scene.said("POST", "/api/frames/recent-7/bad")[-1] == {"place": None, "learn": True, "version": 3}


def test_an_alarm_that_was_right_is_only_noted(show: Show) -> None:
    scene = Scene()
    page = show(scene).page
    sheet = open_alarm(page)
    sheet.get_by_test_id("was-bad").check()
    sheet.get_by_role("button", name="Note it").click()
    expect(sheet.get_by_test_id("correction-cost")).to_contain_text("Noted")
    assert scene.said("POST", "/api/frames/alarm-14/bad")[-1] == {"place": None, "learn": False, "version": 3}


def test_who_comes_second_is_told_and_a_frame_that_cannot_teach_says_so(show: Show) -> None:
    scene = Scene(alarms=[kept(2), kept(1, can_correct=False)])
    said = "the recipe was changed by phone-12ab meanwhile: look again"
    played = scene._dispose

    def second(body: Any) -> tuple[int, Any]:
        return (200, played("alarm-2", "good", body)) if body.get("dry_run") else (409, {"error": said})

    scene.answers["POST /api/frames/alarm-2/good"] = second
    page = show(scene).page
    sheet = open_alarm(page)
    sheet.get_by_test_id("was-good").check()
    sheet.get_by_test_id("correction-apply").click()
    expect(sheet.get_by_test_id("correction-error")).to_contain_text(said)
    page.keyboard.press("Escape")
    page.get_by_test_id("alarms-list").get_by_role("button").nth(1).click()
    sheet.get_by_test_id("was-good").check()
    expect(sheet.get_by_test_id("correction-cost")).to_contain_text("cannot be forgiven any more")
    expect(sheet.get_by_test_id("correction-apply")).to_be_disabled()


def test_what_is_not_inspected_is_dimmed(show: Show) -> None:
    whole = recipe("bottle", "Bottle", regions={"include": [], "ignore": []})
    whole["model"] |= {"region": [0.0, 0.0, 1.0, 1.0]}
    page = show(Scene()).page
    expect(page.get_by_test_id("picture")).to_have_attribute("data-shown", "true")
    dimmed = page.get_by_test_id("dimmed")
    expect(dimmed).to_have_attribute("data-dims", "true")
    expect(dimmed.locator("polygon.dimmed-edge")).to_have_count(1)
    other = show(Scene(recipes=[whole])).page
    expect(other.get_by_test_id("recipe-select")).to_be_visible()
    expect(other.get_by_test_id("dimmed")).to_have_attribute("data-dims", "false")
    panel = show(Scene(), "/panel/press").page
    for shown in (page, panel):  # one look of it, on every page
        expect(shown.locator(".dimmed-shade")).to_have_css("fill-opacity", "0.66")


@pytest.mark.parametrize("screen", [(1440, 900), (390, 844)], ids=["desk", "phone"])
def test_the_threshold_is_put_by_keys_and_goes_back(show: Show, screen: tuple[int, int]) -> None:
    scene = Scene(raws=[6.0, 9.0])

    def patched(body: Any) -> tuple[int, Any]:
        back = {"version": 3, "rule": {"one_in": 30}, "threshold": THRESHOLD, "threshold_source": "calibration"}
        scene.recipes[0] |= {"rule": body["rule"], "version": body["version"] + 1, "by_hand": back}
        return 200, scene.recipes[0]

    def restored(body: Any) -> tuple[int, Any]:
        scene.recipes[0] |= {"rule": {"one_in": 30}, "version": body["version"] + 1, "by_hand": None}
        return 200, scene.recipes[0]

    scene.answers["PATCH /api/recipes/bottle"] = patched
    scene.answers["POST /api/recipes/bottle/restore"] = restored
    page = show(scene, width=screen[0], height=screen[1]).page
    grip = page.get_by_role("slider", name="Threshold")
    expect(grip).to_have_attribute("aria-valuetext", "9.430, in force")
    expect(page.get_by_test_id("alarms-list").locator("li")).to_have_count(12)
    before = boxes(page)
    grip.focus()
    for _ in range(2):
        page.keyboard.press("PageDown")
    expect(grip).to_have_attribute(
        "aria-valuetext", re.compile(r"Of the last \d+ results \d+ would be ANOMALY instead")
    )
    expect(page.get_by_test_id("would")).to_contain_text(
        re.compile(r"Put the threshold of Bottle, brown, on 2 streams at")
    )
    assert boxes(page) == before
    assert scene.said("PATCH", "/api/recipes/bottle") == [], "nothing is changed before Apply"
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("would-apply")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("would")).to_be_hidden()
    (put,) = scene.said("PATCH", "/api/recipes/bottle")
    assert put["version"] == 3 and 6 < put["rule"]["raw"] < THRESHOLD
    expect(page.get_by_test_id("threshold-back")).to_have_text("Back to version 3: 9.430, from a calibration")
    assert boxes(page) == before, "nothing moves: neither for the question nor for the way back"
    page.get_by_test_id("threshold-back").click()
    expect(page.get_by_test_id("threshold-back")).to_be_hidden()
    assert scene.said("POST", "/api/recipes/bottle/restore") == [{"version": 4, "to": 3}]
    expect(grip).to_be_focused()


def test_the_threshold_is_dragged_and_left_where_it_was(show: Show) -> None:
    scene = Scene(raws=[6.0, 9.0])
    page = show(scene).page
    grip = page.get_by_test_id("threshold-grip")
    expect(grip).to_be_visible()
    box = grip.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 40, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + 40, box["y"] + box["height"] / 2 + 30, steps=5)
    expect(page.get_by_test_id("would")).to_contain_text(re.compile(r"^\s*At \d"))
    page.mouse.up()
    page.get_by_test_id("would-cancel").click()
    expect(page.get_by_test_id("would")).to_be_hidden()
    expect(grip).to_have_attribute("aria-valuetext", "9.430, in force")
    assert scene.said("PATCH", "/api/recipes/bottle") == []


def test_a_question_about_the_threshold_is_of_the_recipe_that_it_names(show: Show) -> None:
    scene = Scene(raws=[6.0, 9.0])
    page = show(scene).page
    grip, would = page.get_by_role("slider", name="Threshold"), page.get_by_test_id("would")
    expect(grip).to_have_attribute("aria-valuetext", "9.430, in force")
    grip.focus()
    page.keyboard.press("PageDown")
    page.keyboard.press("PageDown")
    expect(would).to_contain_text("Put the threshold of Bottle, brown")
    scene.streams[0] |= {"recipe": "cap", "recipe_name": "Cap", "recipe_version": 1}
    page.evaluate("Object.assign(window.scene.plays.press, { recipe: 'cap', raws: [6.0] })")
    expect(would).to_be_hidden()
    expect(grip).to_have_attribute("aria-valuetext", "9.430, in force")
    expect(page.get_by_test_id("recipe-version")).to_have_text("v1")
    page.keyboard.press("PageDown")
    page.keyboard.press("PageDown")
    expect(would).to_contain_text("Put the threshold of Cap")
    expect(would).to_contain_text("None of the last")  # the other recipe's 9.0 is no score of this one

    scene.recipes[1] |= {"version": 2}  # by somebody else
    scene.answers["PATCH /api/recipes/cap"] = lambda _: (
        409,
        {"error": "the recipe was changed by phone-12ab meanwhile"},
    )
    change = {"type": "change", "stream": "press", "what": "recipe", "recipe_name": "Cap", "recipe_version": 2}
    page.evaluate("change => window.scene.sockets.find(({ name }) => name === 'press').say(change)", change)
    expect(page.get_by_test_id("recipe-version")).to_have_text("v2")
    page.get_by_test_id("would-apply").click()
    expect(would).to_contain_text("Cap: the recipe was changed by phone-12ab meanwhile")
    assert [body["version"] for body in scene.said("PATCH", "/api/recipes/cap")] == [1]
    assert scene.said("PATCH", "/api/recipes/bottle") == []


def test_scores_of_other_regions_say_nothing_of_a_threshold(show: Show) -> None:
    scene = Scene(raws=[12.5])
    page = show(scene).page
    grip, would = page.get_by_role("slider", name="Threshold"), page.get_by_test_id("would")
    expect(grip).to_have_attribute("aria-valuetext", "9.430, in force")
    grip.focus()
    page.keyboard.press("End")
    expect(would).to_contain_text("would be NORMAL instead")
    page.keyboard.press("Escape")
    scene.recipes[0] |= {"version": 4, "regions": {"include": [], "ignore": []}}
    change = {"type": "change", "stream": "press", "what": "recipe", "recipe": "bottle", "recipe_version": 4}
    page.evaluate(
        """change => {
          window.scene.plays.press.raws = [6.0];
          window.scene.sockets.find(({ name }) => name === "press").say(change);
        }""",
        change | {"recipe_name": "Bottle, brown"},
    )
    expect(page.get_by_test_id("recipe-version")).to_have_text("v4")
    page.keyboard.press("End")
    expect(would).to_contain_text("None of the last")


def test_changes_are_marked_on_the_trend_and_the_axis_is_of_the_scores(show: Show) -> None:
    page = show(Scene()).page
    chart = page.get_by_test_id("chart")
    expect(page.get_by_test_id("threshold-grip")).to_be_visible()
    low, high = (
        float(page.get_by_test_id("threshold-grip").get_attribute(f"aria-value{end}") or 0) for end in ("min", "max")
    )
    assert 4 < low < 6.1 and THRESHOLD < high < 12, "not from 0"
    change = {"type": "change", "stream": "press", "what": "recipe", "recipe_name": "Cap", "recipe_version": 2}
    page.evaluate("change => window.scene.sockets.find(({ name }) => name === 'press').say(change)", change)
    page.evaluate("window.scene.plays.press.threshold = 8.8")
    expect(page.get_by_test_id("threshold")).to_have_text("8.800")
    expect(chart).to_have_attribute("aria-label", re.compile("changed to Cap, version 2"))


def test_parts_and_yield_are_the_server_s_and_begin_anew_after_a_second_press(show: Show) -> None:
    scene = Scene()

    def reset(_: Any) -> tuple[int, Any]:
        scene.streams[0] |= {"parts": 0, "parts_rejected": 0, "yield": None}
        return 200, scene.streams[0]

    scene.answers["POST /api/streams/press/reset"] = reset
    page = show(scene).page
    expect(page.get_by_test_id("parts-count")).to_have_text("1,204")
    expect(page.get_by_test_id("parts-yield")).to_have_text("99.1 %")
    page.get_by_test_id("parts-reset").click()
    assert scene.said("POST", "/api/streams/press/reset") == []
    page.get_by_test_id("parts-keep").click()
    page.get_by_test_id("parts-reset").click()
    page.get_by_role("button", name="Begin anew").click()
    expect(page.get_by_test_id("parts-count")).to_have_text("0")
    expect(page.get_by_test_id("parts-yield")).to_have_text("–")


def test_a_question_about_the_counts_of_one_stream_is_not_answered_for_another(show: Show) -> None:
    scene = Scene()
    page = show(scene).page
    reset = page.get_by_test_id("parts-reset")
    reset.click()
    expect(reset).to_have_text("Begin anew")
    page.get_by_test_id("source-select").select_option("stream:gate")
    expect(reset).to_have_text("Reset")
    expect(page.get_by_test_id("parts-keep")).to_be_hidden()
    reset.click()
    expect(reset).to_have_text("Begin anew")
    assert [path for method, path, _ in scene.asked if method == "POST" and path.endswith("/reset")] == []


def test_counts_that_could_not_be_reset_are_told_of_until_something_else_is_done(show: Show) -> None:
    scene = Scene()
    scene.answers["POST /api/streams/press/reset"] = lambda _: (503, {"error": "the disk is full"})
    page = show(scene).page
    told = page.get_by_test_id("parts-told")
    page.get_by_test_id("parts-reset").click()
    page.get_by_role("button", name="Begin anew").click()
    expect(told).to_have_text("press: The disk is full.")
    with page.expect_response("**/api/streams"):  # which writes since when is counted
        pass
    page.evaluate(DRAWN)
    expect(told).to_have_text("press: The disk is full.")
    page.get_by_test_id("source-select").select_option("stream:gate")
    expect(told).to_have_text("")


def test_where_nothing_says_what_a_part_is_there_is_no_yield(show: Show) -> None:
    scene = Scene(streams=[stream("press", parts=0, parts_rejected=0) | {"yield": None}])
    page = show(scene).page
    parts = page.get_by_test_id("parts")
    expect(parts.get_by_test_id("parts-since")).to_contain_text("there is no yield")
    for shown in ("parts-count", "parts-yield", "parts-reset"):
        expect(parts.get_by_test_id(shown)).to_be_hidden()
    panel = show(scene, "/panel/press").page
    expect(panel.get_by_test_id("recipe")).to_contain_text("Bottle")
    expect(panel.get_by_test_id("parts")).to_be_hidden()
    scene.streams[0] |= {"parts": 1, "yield": 1.0}  # the line named one
    expect(parts.get_by_test_id("parts-yield")).to_have_text("100.0 %")
    expect(parts.get_by_test_id("parts-yield")).to_be_visible()
    expect(parts.get_by_test_id("parts-reset")).to_be_visible()


def test_a_stream_that_one_may_not_watch_says_so_and_is_not_tried_again(show: Show) -> None:
    scene = Scene(streams=[stream("press"), stream("gate")])
    words = "phone-1 may use press only: log in as somebody who may use this"
    scene.answers["GET /api/connection"] = lambda _: (
        200,
        {"host": "x", "access": True, "problem": None, "refusal": words},
    )
    page = show(scene).page
    page.evaluate("window.scene.refused = ['gate']")
    page.get_by_test_id("source-select").select_option("stream:gate")
    expect(page.locator("#verdict-detail")).to_contain_text("phone-1 may use press only")
    expect(page.locator("#notice-title")).to_have_text("Not for you")
    expect(page.locator("#notice-text")).to_contain_text("phone-1 may use press only")
    tries = "window.scene.sockets.filter(({ name }) => name === 'gate').length"
    before = page.evaluate(tries)
    page.evaluate("window.dispatchEvent(new Event('online'))")  # which cuts a wait for the next try short
    assert page.evaluate(tries) == before
    page.get_by_test_id("source-select").select_option("stream:press")
    expect(page.locator("#verdict-word")).to_have_text("NORMAL")


def test_another_recipe_is_chosen_for_the_stream(show: Show) -> None:
    scene = Scene()

    def chosen(body: Any) -> tuple[int, Any]:
        scene.streams[0] |= {"recipe": body["recipe"]}
        return 200, {
            "stream": "press",
            "recipe": "cap",
            "version": 1,
            "name": "Cap",
            "threshold": 9.0,
            "switched_ms": 3.0,
        }

    scene.answers["POST /api/streams/press/recipe"] = chosen
    page = show(scene).page
    select = page.get_by_test_id("recipe-select")
    expect(select).to_have_value("bottle")
    expect(page.get_by_test_id("recipe-version")).to_have_text("v3")
    select.select_option("cap")
    expect(page.get_by_test_id("recipe-said")).to_have_text("press is inspected with Cap, version 1.")
    assert scene.said("POST", "/api/streams/press/recipe") == [{"recipe": "cap"}]
    with page.expect_response("**/api/streams"):
        pass
    page.evaluate(DRAWN)
    expect(page.get_by_test_id("recipe-said")).to_have_text("press is inspected with Cap, version 1.")
    scene.streams[0] |= {"recipe": "bottle"}  # as a PLC chooses it
    expect(page.get_by_test_id("recipe-said")).to_have_text("")


def test_what_was_said_of_one_streams_recipe_goes_when_another_is_watched(show: Show) -> None:
    scene = Scene()
    scene.answers["POST /api/streams/press/recipe"] = lambda _: (409, {"error": "it cannot be used"})
    page = show(scene).page
    expect(page.get_by_test_id("recipe-select")).to_have_value("bottle")
    page.get_by_test_id("recipe-select").select_option("cap")
    expect(page.get_by_test_id("recipe-said")).to_have_text("it cannot be used")
    page.get_by_test_id("source-select").select_option("stream:gate")
    expect(page.get_by_test_id("recipe-said")).to_have_text("")


def test_all_streams_are_tiles_and_one_press_opens_one(show: Show) -> None:
    streams = [stream("press"), stream("gate"), stream("oven", state="silent"), stream("cap", is_taught=True)]
    page = show(Scene(streams=streams)).page
    expect(page.get_by_test_id("source-select")).to_have_value("stream:press")
    page.get_by_test_id("show-all").click()
    tiles = page.get_by_test_id("tiles")
    expect(tiles.locator("[data-stream=gate]")).to_have_accessible_name("gate: NORMAL, now. Open")
    expect(tiles.locator("[data-stream=gate] img").first).to_be_visible()
    expect(tiles.locator("[data-stream=oven]")).to_contain_text("NOT INSPECTING")
    expect(tiles.locator("[data-stream=oven]")).to_contain_text("sends no picture")
    expect(tiles.locator("[data-stream=cap]")).to_contain_text("is being taught a new part")
    page.evaluate("window.scene.plays.gate.raws = [12.5]")
    expect(tiles.locator("[data-stream=gate]")).to_have_attribute("data-verdict", "ANOMALY")
    tiles.locator("[data-stream=gate]").click()
    expect(page.get_by_test_id("source-select")).to_have_value("stream:gate")
    expect(page.get_by_test_id("verdict")).to_have_attribute("data-verdict", "ANOMALY")
    expect(tiles).to_be_hidden()


@pytest.mark.parametrize(
    ("scene", "verdict", "reason"),
    [
        (Scene(state="teaching"), "TAUGHT", "press is being taught a new part"),
        (Scene(state="silent"), "SILENT", "press sends no picture"),
        (Scene(state="waiting"), "WAITING", "No camera is sending to press"),
        (Scene(health={"status": "error", "reason": "the model cannot be read"}), "ERROR", "The model cannot be read"),
        (
            Scene(health={"status": "teaching", "progress": 0.4, "simulated": True}),
            "TEACHING",
            "Learning the simulated part, 40 %",
        ),
        (Scene(streams=[]), "NO_CAMERA", "No camera: press Start camera"),
    ],
    ids=["taught", "silent", "waiting", "error", "first start", "no camera"],
)
def test_where_nothing_is_inspected_it_says_so_and_why(show: Show, scene: Scene, verdict: str, reason: str) -> None:
    page = show(scene).page
    panel = page.get_by_test_id("verdict")
    expect(panel).to_have_attribute("data-verdict", verdict)
    expect(page.locator("#verdict-word")).to_have_text("NOT INSPECTING")
    expect(page.locator("#verdict-detail")).to_contain_text(reason)


def test_a_result_sent_again_on_connecting_is_old(show: Show) -> None:
    for path, panel in (("/", "verdict"), ("/panel/press", "panel")):
        page = show(Scene(runs=False, repeated=AT), path).page
        expect(page.get_by_test_id("verdict-age")).to_contain_text(re.compile("last verdict .* ago"))
        expect(page.get_by_test_id(panel)).to_have_attribute("data-verdict", "WAITING")
        expect(page.get_by_test_id("picture")).to_have_attribute("data-stale", "true")


def test_a_stream_that_starts_later_is_shown_where_nobody_chose(show: Show) -> None:
    scene = Scene(streams=[])
    opened = show(scene)
    page = opened.page
    expect(page.get_by_test_id("connection")).to_have_text("Server ready, camera off")
    scene.streams.append(stream("press"))
    expect(page.get_by_test_id("source-select")).to_have_value("stream:press")


def test_a_server_that_keeps_no_frames_and_knows_no_recipes_is_watched_all_the_same(show: Show) -> None:
    old = {name: value for name, value in stream("press").items() if not name.startswith(("recipe", "parts", "yield"))}
    opened = show(Scene(streams=[old]))
    page = opened.page
    expect(page.get_by_test_id("verdict")).to_have_attribute("data-verdict", "NORMAL")
    for part in ("recipe-select", "alarms", "parts", "threshold-grip"):
        expect(page.get_by_test_id(part)).to_be_hidden()
    assert opened.complaints == []


def test_where_parts_are_triggered_the_parts_verdict_is_shown_and_one_can_trigger(show: Show) -> None:
    scene = Scene(
        streams=[stream("press", parts_by="trigger", parts=7, parts_failed=2, triggers=7, triggers_refused=3)]
    )
    before = {"number": 7, "part": "A-16", "verdict": "NORMAL", "id": "id-7", "at": AT, "score": 0.1}
    scene.answers["GET /api/history"] = lambda _: (200, {"entries": [before | {"disposition": None}], "next": None})
    scene.answers["POST /api/streams/press/trigger"] = lambda body: (
        409,
        {"error": "busy: the verdict of trigger 7 is not given yet"},
    )
    page = show(scene).page
    verdict = page.get_by_test_id("verdict")
    expect(verdict).to_contain_text("Waiting for a trigger; A-16 was NORMAL")
    expect(page.locator("#spoken")).to_have_text("NOT INSPECTING: Waiting for a trigger; A-16 was NORMAL")
    expect(page.get_by_test_id("alarms-list").locator("li")).to_have_count(1)
    expect(page.get_by_test_id("parts-trouble")).to_have_text("2 not inspected, 3 triggers refused")
    page.get_by_test_id("parts-trigger-now").click()
    expect(page.get_by_text("Busy: the verdict of trigger 7 is not given yet.")).to_be_visible()
    assert scene.said("POST", "/api/streams/press/trigger") == [{"wait": True}]
    part = {"type": "part", "stream": "press", "number": 8, "part": "A-17", "source": "trigger", "cycle_ms": 41.2}
    judged = {"verdict": "ANOMALY", "score": 0.8, "raw_score": 12.0, "threshold": 9.0, "threshold_source": "model"}
    say = "part => scene.sockets.filter(one => one.name === 'press').forEach(one => one.say(part))"
    page.evaluate(say, part | judged)
    expect(verdict).to_have_attribute("data-verdict", "ANOMALY")
    expect(verdict).to_contain_text("Part A-17, score 0.80")
    page.evaluate("scene.plays.press.raws = [12.5]")
    page.evaluate(say, part | judged | {"verdict": "NORMAL", "raw_score": 5.0})
    for number, words in ((8, "Part A-17, score 0.49"), (0, "Between triggers. Part A-17"), (9, "The next part. Part")):
        page.evaluate("number => { scene.plays.press.partNumber = number; }", number)
        expect(page.locator("#verdict-detail")).to_have_text(re.compile(f"^{words}"))
        expect(verdict).to_have_attribute("data-stale", str(number != 8).lower())
    page.evaluate("scene.plays.press.partNumber = 0")
    page.evaluate(say, part | judged | {"number": 9, "verdict": "NORMAL", "raw_score": 5.0, "source": "gate"})
    expect(verdict).to_contain_text("Between parts. Part A-17")
    page.evaluate(say, part | judged)
    expect(page.get_by_test_id("parts-last")).to_have_text("Last: A-17, rejected, in 41 ms")
    page.evaluate(say, part | {"number": 10, "verdict": "FAILED", "why": "no frame came in time", "part": None})
    expect(verdict).to_contain_text("NOT INSPECTED")
    expect(verdict).to_contain_text("Part 10: no frame came in time")


DEADLINES = """() => {
  window.deadlines = new Map(); // how to end what may last so many milliseconds
  AbortSignal.timeout = (within) => {
    const controller = new AbortController();
    deadlines.set(within, () => controller.abort(new DOMException("too long", "TimeoutError")));
    return controller.signal;
  };
}"""


def test_a_change_that_takes_long_is_waited_for_and_may_have_been_done(show: Show) -> None:
    page = show(Scene()).page
    select, said = page.get_by_test_id("recipe-select"), page.get_by_test_id("recipe-said")
    expect(select).to_have_value("bottle")
    page.evaluate(DEADLINES)
    requests_held(page, "**/api/streams/press/recipe")
    with page.expect_request("**/api/streams/press/recipe"):
        select.select_option("cap")
    assert page.evaluate("Math.max(...deadlines.keys())") >= A_MINUTE_MS
    page.evaluate("deadlines.get(Math.max(...deadlines.keys()))()")
    expect(said).to_have_text(
        "The server takes long to answer. Look whether what you asked for was done before you try again."
    )
