"""Teaching through the page. Faked REST for what is hard to provoke; and all of it with a server that does it."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect

from detector.images import BGRImage
from detector.showing import Quality, fault_of, quality_of
from server.simulated_line import good_frames
from tests.page.scene import recipe, stream
from tests.page.visits import DRAWN, Open, Show, requests_held
from tests.page.workshop import Body, Workshop, shown, teaching

COUNT_HEIGHT = "count => count.getBoundingClientRect().height / innerHeight"


def opened(show: Show, body: Body) -> tuple[Page, Workshop]:
    """A teaching, on a phone."""
    shop = Workshop(teachings=[body])
    page = show(shop, "/teach#t1", width=390, height=844, touch=True).page
    expect(page.get_by_test_id("teach-showing")).to_be_visible()
    return page, shop


def test_a_teaching_begins_with_a_name_and_a_stream(show: Show) -> None:
    shop = Workshop(streams=[stream("press"), stream("line", is_taught=True)])
    page = show(shop, "/teach", width=390, height=844).page
    page.get_by_text("press", exact=True).click()
    expect(page.get_by_role("radio", name="line is being taught already")).to_be_disabled()
    page.get_by_test_id("teach-start").click()
    expect(page.get_by_test_id("teach-form-problem")).to_contain_text("Give the part a name first")
    expect(page.get_by_test_id("teach-name")).to_be_focused()
    page.get_by_test_id("teach-name").fill("bracket 12")
    shop.told = lambda *_: shop.teachings.append(teaching())
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("teach-last")).to_contain_text("Show a good part")
    wanted = {"name": "bracket 12", "stream": "press", "more_of": None, "auto": True, "preset": "balanced"}
    assert shop.changed == [("POST", "teaching", wanted)]


def test_where_parts_are_seen_is_asked_again_when_the_chosen_stream_went_away(show: Show) -> None:
    shop = Workshop(streams=[stream("press"), stream("gate")])
    page = show(shop, "/teach").page
    page.get_by_text("press", exact=True).click()
    page.get_by_test_id("teach-name").fill("bracket 12")
    shop.streams = [stream("gate")]
    expect(page.get_by_test_id("teach-source").get_by_text("press", exact=True)).to_have_count(0)
    page.get_by_test_id("teach-start").click()
    expect(page.get_by_test_id("teach-form-problem")).to_contain_text("Choose where the parts are seen")
    assert shop.changed == []


def test_more_is_taught_from_the_recipe(show: Show) -> None:
    shop = Workshop(recipes=[recipe("bottle", "Bottle", streams=["press"])])
    page = show(shop, "/recipes#bottle").page
    page.get_by_test_id("recipe-teach-more").click()
    expect(page.get_by_test_id("teach-more")).to_be_checked()
    expect(page.get_by_role("radio", name="press 30 pictures a second")).to_be_checked()
    shop.told = lambda *_: shop.teachings.append(teaching(more_of="bottle"))
    page.get_by_test_id("teach-start").click()
    expect(page.locator("#teach-kicker")).to_have_text("Teaching more of")
    wanted = {"name": None, "stream": "press", "more_of": "bottle", "auto": True, "preset": "balanced"}
    assert shop.changed == [("POST", "teaching", wanted)]


def test_parts_are_counted_and_what_became_of_the_last_frame_is_said(show: Show) -> None:
    page, shop = opened(
        show, shown(4, last={"taken": False, "why": "this is the same part, lying still: show another"})
    )
    last = page.get_by_test_id("teach-last")
    expect(page.get_by_test_id("teach-parts")).to_have_text("4")
    assert page.get_by_test_id("teach-parts").evaluate(COUNT_HEIGHT) > 0.07  # to be read from an arm's length
    expect(last).to_contain_text("Show another")
    expect(page.get_by_test_id("teach-done")).to_be_disabled()
    expect(page.locator("#teach-marks i[data-new=true]")).to_have_count(2)
    expect(page.get_by_test_id("teach-coverage")).to_have_text(
        "2 of 4 parts brought something new: show more, 30 or so are good to begin with."
    )
    shop.teachings = [shown(5, last={"taken": False, "why": "the picture is blurred: focus the camera, hold it still"})]
    expect(last).to_have_attribute("data-tone", "taken")  # for a moment, whatever the next frame is
    expect(last).to_contain_text("Hold still")
    expect(page.get_by_test_id("teach-done")).to_be_enabled()
    page.get_by_test_id("teach-shutter").click()
    page.get_by_test_id("teach-auto").click()
    assert [path for _, path, _ in shop.changed] == ["teaching/t1/take", "teaching/t1"]
    assert shop.changed[-1][2] == {"auto": False}


def test_an_outlier_is_struck_out_until_somebody_decides_and_any_picture_is_left_out(show: Show) -> None:
    body = shown(8)
    body["pictures"][3] |= {"outlier": True, "used": False, "why": "it differs from the others three times as much"}
    page, shop = opened(show, body)
    page.get_by_test_id("teach-look-at-asked").click()
    outlier = page.get_by_test_id("outlier")
    expect(outlier).to_contain_text("It differs from the others three times as much.")
    expect(page.get_by_test_id("shown-picture")).to_have_count(7)
    page.get_by_test_id("outlier-out").click()
    expect(outlier).to_have_count(0)
    expect(page.get_by_test_id("shown-picture")).to_have_count(8)
    page.get_by_role("button", name="Use picture 3 again").click()
    page.get_by_role("button", name="Leave out picture 7").click()
    said = [(path.rpartition("/")[2], body["keep"]) for _, path, body in shop.changed]
    assert said == [("3", False), ("3", True), ("7", False)]


def test_all_that_are_struck_out_are_good_by_one_press_and_any_is_looked_at_large(show: Show) -> None:
    body = shown(12)
    for number in (3, 7, 9):
        body["pictures"][number] |= {"outlier": True, "used": False, "why": "it differs from the others"}
    page, shop = opened(show, body)
    enlarged = page.get_by_test_id("enlarged")
    last = page.get_by_test_id("outlier").first.get_by_test_id("picture-open")
    last.focus()
    page.keyboard.press("Enter")
    expect(enlarged).to_contain_text("It differs from the others. Marked: where it is least like the others.")
    expect(enlarged.get_by_test_id("enlarged-close")).to_be_focused()
    picture, mark = (enlarged.locator(one).bounding_box() for one in ("img", "[data-testid=mark]"))
    assert picture and mark and mark["x"] == pytest.approx(picture["x"] + 0.58 * picture["width"], abs=3)
    page.keyboard.press("Enter")
    expect(enlarged).to_be_hidden()
    expect(last).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Escape")
    expect(last).to_be_focused()

    def decided(_: str, path: str, body_: Body) -> None:
        body["pictures"][int(path.rpartition("/")[2])]["used"] = body_["keep"]

    shop.told = decided
    page.keyboard.press("Enter")
    enlarged.get_by_test_id("enlarged-good").click()
    expect(page.get_by_test_id("outlier")).to_have_count(2)
    expect(page.get_by_test_id("outlier").first.get_by_test_id("picture-open")).to_be_focused()
    page.get_by_role("button", name="All of these are good (2)").click()
    expect(page.get_by_test_id("outlier")).to_have_count(0)
    assert [(path.rpartition("/")[2], body["keep"]) for _, path, body in shop.changed] == [
        ("9", True),
        ("3", True),
        ("7", True),
    ]
    page.get_by_role("button", name="Look at picture 7").click()  # any of them, with the way back
    with page.expect_response(lambda answer: answer.request.method != "GET"):
        enlarged.get_by_test_id("enlarged-out").click()
    assert shop.changed[-1][2] == {"keep": False}


def test_the_address_of_another_teaching_leads_to_it(show: Show) -> None:
    """As a link that is pressed, or the browser's Back, while one is shown."""
    other = shown(7, id="t2", name="lid", stream="gate")
    shop = Workshop(teachings=[shown(4), other])
    shop.answers["GET /api/teaching/t2"] = lambda _: (200, other)
    page = show(shop, "/teach#t1").page
    name = page.locator("#teach-shown-name")
    expect(name).to_have_text("bracket 12")
    page.evaluate("location.hash = '#t2'")
    expect(name).to_have_text("lid")
    expect(page.get_by_test_id("teach-parts")).to_have_text("7")
    page.go_back()
    expect(name).to_have_text("bracket 12")


def test_cancel_asks_once_and_leaves_nothing(show: Show) -> None:
    page, shop = opened(show, shown(4))
    page.get_by_test_id("teach-cancel").click()
    page.get_by_test_id("question-no").click()
    assert shop.changed == []
    page.get_by_test_id("teach-cancel").click()
    page.get_by_test_id("question-yes").click()
    expect(page.get_by_test_id("teach-form")).to_be_visible()
    assert shop.changed == [("DELETE", "teaching/t1", None)]
    expect(page).to_have_url(re.compile(r"/teach$"))


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (
            shown(6, state="failed", error="the data directory cannot be written (disk full): make room"),
            "make room. Show",
        ),
        (shown(6) | {"stream": "elsewhere"}, "The stream elsewhere went away. What was shown is kept"),
    ],
)
def test_what_goes_wrong_is_said_and_nothing_is_lost(show: Show, body: Body, words: str) -> None:
    page, _ = opened(show, body)
    expect(page.get_by_test_id("teach-banner")).to_contain_text(words)
    expect(page.get_by_test_id("teach-parts")).to_have_text("6")


def test_a_press_that_is_refused_and_a_server_that_is_away_are_said(show: Show) -> None:
    page, shop = opened(show, shown(6))
    shop.answers["POST /api/teaching/t1/done"] = lambda _: (
        422,
        {"error": "show at least 8 different good parts first"},
    )
    page.get_by_test_id("teach-done").click()
    banner = page.get_by_test_id("teach-banner")
    expect(banner).to_have_text("Show at least 8 different good parts first.")
    away = "**/api/teaching/**"
    page.route(away, lambda route: route.abort())
    expect(banner).to_contain_text("The server does not answer. What was shown is kept there")
    expect(page.get_by_test_id("teach-done")).to_be_disabled()
    page.unroute(away)
    expect(banner).to_be_hidden()


def test_what_a_press_was_answered_does_not_hide_what_is_so_now(show: Show) -> None:
    page, shop = opened(show, shown(6))
    shop.answers["POST /api/teaching/t1/done"] = lambda _: (422, {"error": "show more parts first"})
    page.get_by_test_id("teach-done").click()
    banner = page.get_by_test_id("teach-banner")
    expect(banner).to_have_text("Show more parts first.")
    shop.streams = [stream("gate")]
    expect(banner).to_contain_text("The stream press went away. What was shown is kept")
    expect(banner).to_contain_text("Show more parts first.")


def test_files_that_were_not_brought_are_counted_with_those_that_failed(show: Show, tmp_path: Path) -> None:
    page, _ = opened(show, teaching(stream=None))
    files = [tmp_path / f"{number}.png" for number in range(10)]
    for file in files:
        cv2.imwrite(str(file), np.zeros((8, 8, 3), np.uint8))
    said = page.get_by_test_id("teach-upload")
    page.route("**/t1/pictures", lambda route: route.abort())
    page.get_by_test_id("teach-files").set_input_files(files)
    expect(said).to_have_text("Stopped: 10 files not brought.")
    page.get_by_test_id("teach-files").set_input_files(files[:3])  # one batch, which is the last one
    expect(said).to_have_text("Stopped: 3 files not brought.")


def test_pictures_of_a_zip_are_counted_and_the_browser_asks_before_it_leaves(show: Show, tmp_path: Path) -> None:
    page, shop = opened(show, teaching(stream=None))
    expect(page.get_by_test_id("teach-signal")).to_be_hidden()
    file = tmp_path / "good.zip"
    file.write_bytes(b"PK")
    held = requests_held(page, "**/t1/pictures")
    page.get_by_test_id("teach-files").set_input_files(file)
    said, last = page.get_by_test_id("teach-upload"), page.get_by_test_id("teach-last")
    expect(said).to_have_text("Sending good.zip…")
    expect(last).to_contain_text("Keep this page open until all were looked at.")
    shop.teachings = [shown(12, stream=None, upload={"state": "going", "of": 60, "looked_at": 15, "taken": 12})]
    expect(said).to_have_text("15 of 60 pictures of good.zip looked at…")
    expect(page.locator("#teach-upload")).to_have_js_property("value", 0.25)
    expect(last).to_contain_text("Taking pictures")
    asked = "dispatchEvent(new Event('beforeunload', { cancelable: true }))"
    assert page.evaluate(asked) is False, "the browser asks"
    shop.teachings = [shown(57, stream=None, upload={"state": "over", "of": 60, "looked_at": 60, "taken": 57})]
    held[0].fulfill(json=shop.teachings[0])
    expect(said).to_have_text("57 of 60 pictures taken, from 1 file.")
    expect(last).to_contain_text("Add more")
    assert page.evaluate(asked) is True


def test_an_upload_that_broke_off_is_said_to_whoever_comes_back(show: Show) -> None:
    broken = {"state": "broken", "of": 60, "looked_at": 47, "taken": 47}
    page, _ = opened(
        show, shown(47, stream=None, upload=broken, notes=["the upload broke off after 47 of 60 pictures"])
    )
    expect(page.get_by_test_id("teach-last")).to_contain_text("Broke off")
    expect(page.get_by_test_id("teach-notes")).to_contain_text("The upload broke off after 47 of 60 pictures.")


def test_all_are_good_is_said_of_one_teaching_only(show: Show) -> None:
    body = shown(12)
    for number in (3, 7, 9):
        body["pictures"][number] |= {"outlier": True, "used": False, "why": "it differs from the others"}
    page, shop = opened(show, body)
    held = requests_held(page, "**/t1/pictures/*", lambda request: request.method == "POST")
    page.get_by_role("button", name="All of these are good (3)").click()
    expect(page.get_by_test_id("outlier")).to_have_count(2)  # the first one is on its way
    page.get_by_test_id("teach-cancel").click()
    page.get_by_test_id("question-yes").click()
    expect(page.get_by_test_id("teach-form")).to_be_visible()
    page.get_by_text("press", exact=True).click()
    page.get_by_test_id("teach-name").fill("bracket 13")
    shop.told = lambda method, path, _: path == "/api/teaching" and shop.teachings.append(body | {"id": "t2"})
    page.get_by_test_id("teach-start").click()
    expect(page.get_by_test_id("outlier")).to_have_count(3)
    with page.expect_response(lambda response: response.request.method == "POST"):
        held[0].fulfill(json=body)
    page.evaluate(DRAWN)
    assert [path for _, path, _ in shop.changed if "/pictures/" in path] == []
    expect(page.get_by_test_id("outlier")).to_have_count(3)


def test_what_is_found_late_does_not_touch_the_address_of_another_view(show: Show) -> None:
    shop = Workshop(teachings=[shown(4)], recipes=[recipe("bottle", "Bottle"), recipe("lid", "Lid")])
    page = show(shop, "/recipes#lid").page
    expect(page.get_by_test_id("recipe-name")).to_have_text("Lid")
    held = requests_held(page, "**/api/teaching")
    page.evaluate("history.pushState(null, '', 'teach#t1'); dispatchEvent(new PopStateEvent('popstate'))")
    expect(page.get_by_test_id("view-teach")).to_have_js_property("inert", False)  # it has asked
    page.go_back()
    expect(page.get_by_test_id("recipe-name")).to_be_visible()
    with page.expect_response("**/api/teaching"):
        for route in held:
            route.fallback()
    page.evaluate(DRAWN)
    expect(page).to_have_url(re.compile("/recipes#lid$"))


def test_a_teaching_that_begins_while_another_view_is_shown_leaves_its_address_alone(show: Show) -> None:
    shop = Workshop(streams=[stream("press")])
    page = show(shop, "/teach").page
    page.get_by_text("press", exact=True).click()
    page.get_by_test_id("teach-name").fill("bracket 12")
    shop.told = lambda *_: shop.teachings.append(teaching())
    held = requests_held(page, "**/api/teaching", lambda request: request.method == "POST")
    with page.expect_request(lambda request: request.method == "POST"):
        page.get_by_test_id("teach-start").click()
    page.get_by_test_id("navigation").get_by_role("link", name="Recipes", exact=True).click()
    expect(page.get_by_test_id("recipe-name")).to_have_text("Bottle, brown")
    with page.expect_response(lambda response: response.request.method == "POST"):
        held[0].fallback()
    page.evaluate(DRAWN)
    expect(page).to_have_url(re.compile("/recipes$"))
    page.get_by_test_id("navigation").get_by_role("link", name="Teach", exact=True).click()
    expect(page.get_by_test_id("teach-showing")).to_be_visible()
    expect(page).to_have_url(re.compile("/teach#t1$"))


def test_what_was_learned_is_said_in_words(show: Show) -> None:
    page, shop = opened(show, shown(30, state="learning", progress=0.4))
    expect(page.get_by_test_id("teach-learning")).to_contain_text("Learning from 30 parts")
    expect(page.get_by_test_id("teach-shutter")).to_be_hidden()
    before = page.get_by_test_id("teach-learning").bounding_box()
    far = page.get_by_test_id("teach-learning-far")
    expect(far).to_have_text("")
    shop.teachings = [shown(30, state="learning", progress=0.6, learning_s=12.7)]
    expect(far).to_have_text("60 %, 12 s since Done")
    assert page.get_by_test_id("teach-learning").bounding_box() == before, "nothing moves"
    done = {"state": "done", "recipe": "bottle", "seconds": 3.42, "threshold": "about 1 in 30 good parts is rejected"}
    shop.teachings = [shown(30) | done]
    result = page.get_by_test_id("teach-result")
    expect(result).to_contain_text("bracket 12 is taught")
    expect(result).to_contain_text("About 1 in 30 good parts is rejected.")
    expect(page.get_by_test_id("teach-result-seconds")).to_have_text("3.4 s")
    page.get_by_test_id("teach-watch").click()
    expect(page).to_have_title("Live – DefectVision")


@pytest.mark.parametrize(
    ("streams", "is_default", "words"),
    [
        ([], True, "It is the default: a stream that no recipe is chosen for is inspected with it by itself."),
        ([], False, "It is on no stream now, and not the default. Open its recipe to put it on a stream."),
        (["press"], False, "It inspects press now."),
    ],
)
def test_what_was_taught_from_pictures_says_what_is_inspected_with_it(
    show: Show, streams: list[str], is_default: bool, words: str
) -> None:
    made = recipe("bottle", "Bottle", streams=streams, is_default=is_default)
    done = {"stream": None, "state": "done", "recipe": "bottle", "seconds": 3.4}
    page = show(Workshop(recipes=[made], teachings=[shown(30, **done)]), "/teach#t1").page
    expect(page.locator("#teach-result-next")).to_contain_text(words)


def sharp_parts() -> Iterator[BGRImage]:
    """Rendered good parts, without those that the line moved while they were taken."""
    before = list[Quality]()
    for frame in good_frames(60, seed=3):
        quality = quality_of(frame)
        if fault_of(quality, before) is None:
            before.append(quality)
            yield frame


def test_from_pictures_to_a_recipe_that_streams_are_inspected_with(
    visit: Open, browser: Browser, documents: str, tmp_path: Path
) -> None:
    """With the real server: pictures are brought, learned from, and there is a recipe."""
    files = [tmp_path / f"{number}.png" for number in range(10)]
    for file, frame in zip(files, sharp_parts(), strict=False):
        cv2.imwrite(str(file), frame)
    name = f"flange {time.time_ns() % 1_000_000}"
    page = visit(browser, f"{documents}/teach", width=1024, height=768).page
    page.get_by_test_id("teach-name").fill(name)
    page.get_by_text("Pictures or a ZIP", exact=True).click()
    page.get_by_text("Speed and detail").click()
    page.get_by_test_id("teach-preset").select_option("fast")
    page.get_by_test_id("teach-start").click()
    page.get_by_test_id("teach-files").set_input_files(files)
    expect(page.get_by_test_id("teach-upload")).to_contain_text(" of 10 pictures taken, from 10 files", timeout=60_000)
    page.reload()  # it lives in the server
    expect(page.get_by_test_id("teach-shown-name")).to_have_text(name)
    expect(page.get_by_test_id("teach-done")).to_be_enabled(timeout=60_000)
    page.get_by_test_id("teach-done").click()
    expect(page.get_by_test_id("teach-result")).to_contain_text(f"{name} is taught", timeout=60_000)
    page.get_by_test_id("teach-recipe").click()
    expect(page.get_by_test_id("recipe-name")).to_have_text(name)
    expect(page.get_by_test_id("recipe-history")).to_contain_text("Taught")
    expect(page.get_by_test_id("regions-other")).to_have_text("This is one of the pictures it was taught on.")
    expect(page.locator("#regions-picture canvas")).to_be_visible()
