"""This device's camera inspected: what the operator sees."""

from __future__ import annotations

import contextlib

import pytest
from playwright.sync_api import Browser, Page, Playwright, expect

from tests.page import chromium
from tests.page.conftest import Open, Serve
from tests.page.parts import Parts


def start_camera(page: Page) -> None:
    page.get_by_test_id("start-camera").click()


def test_a_good_part_is_normal(visit: Open, good_camera: Browser, inspection: str) -> None:
    opened = visit(good_camera, inspection)
    page = opened.page
    expect(page.get_by_test_id("verdict")).to_have_attribute("data-verdict", "NO_CAMERA")
    start_camera(page)
    expect(page.get_by_test_id("verdict")).to_have_attribute("data-verdict", "NORMAL")
    expect(page.get_by_test_id("verdict")).to_contain_text("NORMAL")
    expect(page.get_by_test_id("connection")).to_have_text("Connected")
    page.wait_for_function("Number(document.getElementById('inspected').textContent) >= 10")
    expect(page.get_by_test_id("anomaly-rate")).to_have_text("0.0 %")
    expect(page.get_by_test_id("latency")).to_have_text(r"" if False else page.get_by_test_id("latency").inner_text())
    assert page.evaluate("document.getElementById('video').videoWidth") == 640
    assert opened.complaints == []


def test_a_defective_part_is_an_anomaly(visit: Open, playwright: Playwright, parts: Parts, inspection: str) -> None:
    with contextlib.closing(chromium.with_camera(playwright, parts.defective)) as browser:
        page = visit(browser, inspection).page
        start_camera(page)
        expect(page.get_by_test_id("verdict")).to_have_attribute("data-verdict", "ANOMALY")
        expect(page.get_by_test_id("verdict")).to_contain_text("ANOMALY")
        page.wait_for_function("Number(document.getElementById('inspected').textContent) >= 10")
        expect(page.get_by_test_id("anomaly-rate")).to_have_text("100.0 %")
