"""Calibration through the page: captured, judged, and in force only when somebody says so."""

from __future__ import annotations

import re
from typing import Any

from playwright.sync_api import Browser, Locator, Page, Route, expect

from tests.page.belt import belt
from tests.page.parts import Parts
from tests.page.scene import AT, Scene
from tests.page.visits import DRAWN, Open, Serve, Show, requests_held

CAPTURE = re.compile("/api/streams/press/calibrate")
MODEL, CALIBRATION = "model default", "from calibration"
SHOWN_SCORE = """async ([score, is_anomaly]) =>
  (await import("/static/shared/verdict.js")).shownScore({ score, is_anomaly })"""
JUDGEMENT = {
    "rule": {"one_in": 30, "k": None, "raw": None},
    "parts": 20,
    "independent": 18.0,
    "refused": None,
    "warnings": [],
    "suspects": [],
    "highest": [],
    "threshold": 8.25,
    "threshold_without_suspects": None,
    "in_force": 9.43,
    "margin": None,
    "known_defects": 0,
    "recent": {"of": 0, "now_rejected": 0, "then_rejected": 0, "then_without_suspects": None},
    "promise": {"sentence": "about 1 in 30 good parts is rejected", "stronger": "capture more for a surer one"},
    "no_promise": None,
    "promise_without_suspects": None,
    "histogram": {"edges": [5.0, 6.0, 7.0, 8.0], "captured": [4, 12, 4], "taught": [3, 30, 2]},
}


def threshold(page: Page) -> str:
    return page.get_by_test_id("threshold").inner_text()


def capture(page: Page, frames: int, k: float) -> Locator:
    """Capture what is shown and wait for the judgement."""
    expect(page.get_by_test_id("calibrate-button")).to_be_enabled()
    page.get_by_test_id("calibrate-rule").select_option("k")
    page.get_by_test_id("calibrate-k").fill(str(k))
    page.get_by_test_id("calibrate-n").fill(str(frames))
    page.get_by_role("button", name=f"Capture {frames} frames").click()
    judgement = page.get_by_test_id("judgement")
    expect(judgement).to_be_visible(timeout=60_000)
    return judgement


def test_a_calibration_is_applied_kept_over_a_restart_undone_and_forgotten(
    visit: Open, browser: Browser, serve: Serve, parts: Parts
) -> None:
    with serve() as url, belt(url, parts.good_jpegs):
        page = visit(browser, url).page
        source = page.get_by_test_id("threshold-source")
        expect(source).to_have_text(MODEL)
        by_model = threshold(page)
        judgement = capture(page, 6, 4.5)
        expect(judgement).to_contain_text("Rule: mean + 4.5 · std")
        expect(judgement).to_contain_text("Nothing is changed yet")
        expect(page.get_by_test_id("histogram")).to_have_attribute("aria-label", re.compile("Captured: 6 .*In force"))
        expect(source).to_have_text(MODEL)
        page.get_by_test_id("judgement-apply").click()
        expect(judgement).to_be_hidden()
        expect(page.get_by_test_id("calibrate-result")).to_contain_text("Applied")
        expect(source).to_have_text(CALIBRATION)
        expect(page.get_by_test_id("threshold")).not_to_have_text(by_model)  # a result may still be of before
        calibrated = threshold(page)
        expect(page.get_by_test_id("chart")).to_have_attribute("aria-label", re.compile("the threshold changed once"))

    expect(page.get_by_test_id("connection")).to_have_attribute("data-state", "reconnecting")
    with serve():
        expect(page.get_by_test_id("connection")).to_have_attribute("data-state", "open")
        page.reload()
        expect(source).to_have_text(CALIBRATION)
        assert threshold(page) == calibrated
        made = re.compile(r"Made \d.* parts of .* over .*: mean \+ 4\.5")
        expect(page.get_by_test_id("calibration-made")).to_contain_text(made)

        history = page.get_by_test_id("history")
        page.get_by_test_id("history-button").click()
        expect(page.get_by_test_id("history-list").locator("li")).to_have_count(1)
        expect(page.get_by_test_id("history-list")).to_contain_text(f"{by_model} → {calibrated}")
        page.get_by_test_id("history-undo").click()
        expect(history).to_be_hidden()
        expect(page.get_by_test_id("calibrate-result")).to_contain_text("Undone")
        expect(source).to_have_text(MODEL)
        expect(page.get_by_test_id("threshold")).to_have_text(by_model)
        page.get_by_test_id("history-button").click()
        expect(page.get_by_test_id("history-undo")).to_be_disabled()
        expect(page.get_by_test_id("history-reset")).to_be_disabled()


def test_what_looks_like_a_defect_is_left_out_by_one_press(
    visit: Open, browser: Browser, inspection: str, parts: Parts
) -> None:
    with belt(inspection, (*parts.good_jpegs[:6], parts.defective_jpeg)):
        page = visit(browser, inspection).page
        judgement = capture(page, 14, 3)
        expect(judgement).to_have_attribute("data-state", "suspects")
        with_them = float(page.get_by_test_id("fact-threshold").inner_text())
        suspects = page.get_by_test_id("suspects").locator("li button")
        found = suspects.count()
        assert 1 <= found <= 8
        expect(suspects.first.locator("img")).to_have_js_property("complete", True)
        assert suspects.first.locator("img").evaluate("picture => picture.naturalWidth") > 0
        expect(page.get_by_test_id("judgement-apply")).to_have_text(re.compile("Apply with [0-9]+ suspect"))
        expect(page.get_by_test_id("judgement-apply")).not_to_have_class("primary")
        expect(page.get_by_test_id("suspects-all")).to_be_focused()

        named = [
            str(suspect.get_attribute("aria-label")).partition(" ")[2].partition(".")[0] for suspect in suspects.all()
        ]
        page.keyboard.press("Enter")
        for number in named:  # without them another frame may stand out, which nobody left out
            button = page.get_by_test_id("suspects").get_by_role("button", name=f"Frame {number}.")
            expect(button).to_have_attribute("aria-pressed", "true")
        expect(page.get_by_test_id("fact-threshold")).not_to_have_text(f"{with_them:.4g}")
        assert float(page.get_by_test_id("fact-threshold").inner_text()) < with_them
        suspects.first.click()
        expect(judgement).to_have_attribute("data-state", "suspects")
        expect(page.get_by_test_id("threshold-source")).to_have_text(MODEL)

        tree = page.context.new_cdp_session(page).send("Accessibility.getFullAXTree")
        buttons = [node for node in tree["nodes"] if not node["ignored"] and node["role"]["value"] == "button"]
        assert len(buttons) >= found + 4
        assert all(node["name"]["value"].strip() for node in buttons)

        page.keyboard.press("Escape")
        expect(judgement).to_be_hidden()
        expect(page.get_by_test_id("calibrate-result")).to_have_text("Captured and judged, not applied.")
        page.get_by_test_id("review-button").click()
        expect(suspects.first).to_be_visible()
        page.get_by_test_id("judgement-discard").click()
        expect(page.get_by_test_id("calibrate-result")).to_have_text("Discarded. The threshold is unchanged.")
        expect(page.get_by_test_id("threshold-source")).to_have_text(MODEL)


def test_one_part_lying_still_makes_no_threshold(visit: Open, browser: Browser, inspection: str, parts: Parts) -> None:
    with belt(inspection, parts.good_jpegs[:1]):
        page = visit(browser, inspection).page
        judgement = capture(page, 6, 3)
        expect(judgement).to_have_attribute("data-state", "refused")
        expect(page.get_by_test_id("judgement-refused")).to_contain_text("lying still")
        expect(page.get_by_test_id("judgement-apply")).to_be_hidden()
        page.get_by_test_id("judgement-discard").click()
        expect(judgement).to_be_hidden()
        expect(page.get_by_test_id("threshold-source")).to_have_text(MODEL)


def test_the_score_shown_is_on_the_side_of_the_verdict(visit: Open, browser: Browser, inspection: str) -> None:
    page = visit(browser, inspection).page
    for score, is_anomaly, shown in (
        (0.4999, False, "0.49"),
        (0.5, False, "0.49"),
        (0.4999, True, "0.50"),
        (0.5004, True, "0.50"),
        (0.1, False, "0.10"),
    ):
        assert page.evaluate(SHOWN_SCORE, [score, is_anomaly]) == shown, (score, is_anomaly)


def test_numbers_that_cannot_be_are_refused_in_words(visit: Open, good_camera: Browser, inspection: str) -> None:
    page = visit(good_camera, inspection).page
    page.get_by_test_id("start-camera").click()
    expect(page.get_by_test_id("calibrate-button")).to_be_enabled()
    page.get_by_test_id("calibrate-rule").select_option("k")
    for field, value, words in (("calibrate-n", "1", "from 2 to 200"), ("calibrate-k", "1000", "from 1 to 10")):
        kept = page.get_by_test_id(field).input_value()
        page.get_by_test_id(field).fill(value)
        page.get_by_test_id("calibrate-button").click()
        expect(page.get_by_test_id("calibrate-result")).to_contain_text(re.compile(words))
        page.get_by_test_id(field).fill(kept)
    expect(page.get_by_test_id("threshold-source")).to_have_text(MODEL)


def test_capturing_can_be_stopped(visit: Open, browser: Browser, inspection: str, parts: Parts) -> None:
    with belt(inspection, parts.good_jpegs):
        page = visit(browser, inspection).page
        page.get_by_test_id("calibrate-n").fill("200")
        page.get_by_test_id("calibrate-button").click()
        expect(page.get_by_test_id("calibrate-result")).to_contain_text(
            re.compile("Captured ([2-9]|[1-9][0-9]+) of 200")
        )
        page.get_by_role("button", name="Stop", exact=True).click()
        expect(page.get_by_test_id("calibrate-result")).to_have_text("Stopped. The threshold is unchanged.")
        expect(page.get_by_test_id("threshold-source")).to_have_text(MODEL)


def test_pictures_of_two_sources_are_never_mixed(visit: Open, good_camera: Browser, line: str) -> None:
    page = visit(good_camera, line).page
    expect(page.get_by_test_id("calibrate-button")).to_be_enabled()
    page.get_by_test_id("calibrate-n").fill("200")
    result = page.get_by_test_id("calibrate-result")
    captures = re.compile("Captured ([2-9]|[1-9][0-9]+) of 200")
    for _ in range(3):  # on a starved machine the first camera itself may be lost for a moment
        page.get_by_test_id("calibrate-button").click()
        expect(result).to_contain_text(re.compile(f"{captures.pattern}|Stopped"))
        if captures.search(result.inner_text()):
            break
    page.get_by_test_id("start-camera").click()
    expect(result).to_contain_text("the picture changed")
    expect(page.get_by_test_id("threshold-source")).to_have_text(MODEL)


def capturing(show: Show, **judged: Any) -> tuple[Page, list[Route]]:
    """Twenty frames of press are being captured; the judgement waits until the test lets it go on."""
    judgement = JUDGEMENT | judged
    applied = {"threshold": 8.25, "threshold_source": "calibration", "warning": None, "when": AT}
    scene = Scene()
    scene.answers["POST /api/streams/press/calibrate"] = lambda _: (200, {"judgement": judgement, "draft": "d1"})
    scene.answers["POST /api/calibration/drafts/d1/apply"] = lambda _: (200, applied)
    page = show(scene).page
    held = requests_held(page, CAPTURE)
    expect(page.get_by_test_id("recipe-select")).to_have_value("bottle")
    with page.expect_request(CAPTURE):
        page.get_by_test_id("calibrate-button").click()
    return page, held


def captured(show: Show, **judged: Any) -> Page:
    """Twenty frames of press are captured and judged."""
    page, held = capturing(show, **judged)
    held[0].fallback()
    expect(page.get_by_test_id("judgement")).to_be_visible()
    return page


def test_scores_that_are_raw_say_so(show: Show) -> None:
    suspect = {"index": 3, "raw_score": 8.396, "why": None, "picture": None}
    page = captured(show, suspects=[suspect], margin={"highest_good": 7.9, "lowest_defect": 12.5})
    expect(page.get_by_test_id("suspects")).to_contain_text("Raw score 8.396")
    expect(page.get_by_test_id("judgement")).to_contain_text("Highest raw score of a good part 7.900")


def test_a_capture_that_ends_on_another_view_waits_on_live(show: Show) -> None:
    page, held = capturing(show)
    links = page.get_by_test_id("navigation")
    links.get_by_role("link", name="Settings", exact=True).click()
    expect(page.get_by_test_id("device-name")).to_be_visible()
    with page.expect_response(CAPTURE):
        held[0].fallback()
    page.evaluate(DRAWN)
    links.get_by_role("link", name="Live", exact=True).click()  # nothing unseen keeps it from being pressed
    expect(page.get_by_test_id("judgement")).to_be_hidden()
    expect(page.get_by_test_id("calibrate-result")).to_have_text("Captured and judged, not applied.")
    page.get_by_test_id("review-button").click()
    page.get_by_test_id("judgement-apply").click()
    expect(page.get_by_test_id("calibrate-result")).to_have_text("Applied: 9.430 → 8.250.")


def test_back_while_a_judgement_is_open_closes_it(show: Show) -> None:
    page, held = capturing(show)
    links = page.get_by_test_id("navigation")
    links.get_by_role("link", name="Settings", exact=True).click()
    links.get_by_role("link", name="Live", exact=True).click()
    held[0].fallback()
    expect(page.get_by_test_id("judgement")).to_be_visible()
    page.go_back()
    expect(page.get_by_test_id("device-name")).to_be_visible()
    expect(page.locator("dialog[open]")).to_have_count(0)
    links.get_by_role("link", name="Live", exact=True).click()
    expect(page.get_by_test_id("calibrate-result")).to_have_text("Captured and judged, not applied.")


def test_what_was_captured_of_one_stream_waits_for_it_and_says_whose_it_is(show: Show) -> None:
    page = captured(show)
    source, said = page.get_by_test_id("source-select"), page.get_by_test_id("calibrate-result")
    expect(page.get_by_test_id("judgement")).to_contain_text("20 frames of press with Bottle, brown. Rule")
    page.keyboard.press("Escape")
    expect(said).to_have_text("Captured and judged, not applied.")
    source.select_option("stream:gate")
    expect(said).to_have_text("")
    expect(page.get_by_test_id("review-button")).to_be_hidden()
    source.select_option("stream:press")
    expect(said).to_have_text("Captured and judged, not applied.")
    page.get_by_test_id("review-button").click()
    page.get_by_test_id("judgement-apply").click()
    expect(said).to_have_text("Applied: 9.430 → 8.250.")
    source.select_option("stream:gate")
    expect(said).to_have_text("")
    expect(page.locator("#undo-button")).to_be_hidden()


def test_an_answer_about_one_stream_is_not_said_of_another(show: Show) -> None:
    page = captured(show)
    held = requests_held(page, "**/drafts/d1/apply")
    page.get_by_test_id("judgement-apply").click()
    expect(page.get_by_test_id("judgement")).to_have_attribute("aria-busy", "true")
    page.keyboard.press("Escape")
    page.get_by_test_id("source-select").select_option("stream:gate")
    expect(page.get_by_test_id("source-select")).to_have_value("stream:gate")
    with page.expect_response("**/drafts/d1/apply"):
        held[0].fallback()
    page.evaluate(DRAWN)
    expect(page.get_by_test_id("calibrate-result")).to_have_text("")
    expect(page.locator("#undo-button")).to_be_hidden()
