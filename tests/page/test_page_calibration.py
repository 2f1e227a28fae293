"""Calibration through the page."""

from __future__ import annotations

import re

from playwright.sync_api import Browser, Page, expect

from tests.page.visits import Open, Serve

MODEL, CALIBRATION = "model default", "from calibration"


def threshold(page: Page) -> str:
    return page.get_by_test_id("threshold").inner_text()


def test_calibration_is_kept_over_a_restart_and_can_be_reset(visit: Open, good_camera: Browser, serve: Serve) -> None:
    with serve() as url:
        page = visit(good_camera, url).page
        source = page.get_by_test_id("threshold-source")
        expect(source).to_have_text(MODEL)
        expect(page.get_by_test_id("reset-button")).to_be_disabled()
        by_model = threshold(page)
        page.get_by_test_id("start-camera").click()
        expect(page.get_by_test_id("verdict")).to_have_attribute("data-verdict", "NORMAL")

        page.get_by_test_id("calibrate-n").fill("6")
        page.get_by_test_id("calibrate-k").fill("4.5")
        page.get_by_role("button", name="Capture 6 normal frames and calibrate").click()
        outcome = page.get_by_test_id("calibrate-result")
        expect(outcome).to_have_attribute("data-outcome", "done")
        expect(outcome).to_contain_text("from 6 frames")
        expect(source).to_have_text(CALIBRATION)
        calibrated = threshold(page)
        assert calibrated != by_model
        expect(page.get_by_test_id("verdict")).to_have_attribute("data-verdict", "NORMAL")

    expect(page.get_by_test_id("connection")).to_have_attribute("data-state", "reconnecting")
    with serve():
        expect(page.get_by_test_id("connection")).to_have_attribute("data-state", "open")
        expect(page.get_by_test_id("verdict")).to_have_attribute("data-verdict", "NORMAL")
        expect(source).to_have_text(CALIBRATION)
        assert threshold(page) == calibrated

        page.get_by_test_id("reset-button").click()
        page.get_by_role("dialog").get_by_role("button", name="Keep").click()
        assert threshold(page) == calibrated
        page.get_by_test_id("reset-button").click()
        page.get_by_test_id("reset-confirm").click()
        expect(source).to_have_text(MODEL)
        expect(page.get_by_test_id("threshold")).to_have_text(by_model)
        expect(page.get_by_test_id("reset-button")).to_be_disabled()


def test_numbers_that_cannot_be_are_refused_in_words(visit: Open, good_camera: Browser, inspection: str) -> None:
    page = visit(good_camera, inspection).page
    page.get_by_test_id("start-camera").click()
    expect(page.get_by_test_id("calibrate-button")).to_be_enabled()
    for field, value, words in (("calibrate-n", "1", "from 2 to 200"), ("calibrate-k", "-1", "0 or more")):
        kept = page.get_by_test_id(field).input_value()
        page.get_by_test_id(field).fill(value)
        page.get_by_test_id("calibrate-button").click()
        expect(page.get_by_test_id("calibrate-result")).to_contain_text(re.compile(words))
        page.get_by_test_id(field).fill(kept)
    expect(page.get_by_test_id("threshold-source")).to_have_text(MODEL)


def test_capturing_can_be_stopped(visit: Open, good_camera: Browser, inspection: str) -> None:
    page = visit(good_camera, inspection).page
    page.get_by_test_id("start-camera").click()
    page.get_by_test_id("calibrate-n").fill("200")
    page.get_by_test_id("calibrate-button").click()
    expect(page.get_by_test_id("calibrate-result")).to_contain_text(re.compile("Captured ([2-9]|[1-9][0-9]+) of 200"))
    page.get_by_role("button", name="Stop", exact=True).click()
    expect(page.get_by_test_id("calibrate-result")).to_have_text("Stopped. The threshold is unchanged.")
    expect(page.get_by_test_id("threshold-source")).to_have_text(MODEL)


def test_pictures_of_two_sources_are_never_mixed(visit: Open, good_camera: Browser, line: str) -> None:
    page = visit(good_camera, line).page
    expect(page.get_by_test_id("calibrate-button")).to_be_enabled()
    page.get_by_test_id("calibrate-n").fill("200")
    page.get_by_test_id("calibrate-button").click()
    expect(page.get_by_test_id("calibrate-result")).to_contain_text(re.compile("Captured ([2-9]|[1-9][0-9]+) of 200"))
    page.get_by_test_id("start-camera").click()
    expect(page.get_by_test_id("calibrate-result")).to_contain_text("the picture changed")
    expect(page.get_by_test_id("threshold-source")).to_have_text(MODEL)
