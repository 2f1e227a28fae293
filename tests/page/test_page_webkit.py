"""What WebKitGTK does otherwise, done to Chromium: its browsers stand on plant screens, and have no camera here."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.page.test_page_transport import inspects
from tests.page.visits import Open

NO_WEBRTC = "delete window.RTCPeerConnection;"
NO_TRACK_PROCESSOR = "delete window.MediaStreamTrackProcessor;"
NO_FRAME_CALLBACK = "HTMLVideoElement.prototype.requestVideoFrameCallback = () => 1;"
NO_WORKER = "delete window.Worker;"
NO_DEVICE = """
  navigator.mediaDevices.getUserMedia = async () => {
    throw Object.assign(new DOMException("Invalid constraint", "OverconstrainedError"), { constraint: "" });
  };
"""


def done_to(page: Page, *scripts: str) -> None:
    page.add_init_script("\n".join(scripts))
    page.reload()


@pytest.mark.parametrize("worker", ["", NO_WORKER], ids=["worker", "no worker"])
def test_frames_are_sent_where_the_browser_never_calls_back(
    visit: Open, good_camera: Browser, inspection: str, worker: str
) -> None:
    page = visit(good_camera, inspection).page
    done_to(page, NO_WEBRTC, NO_TRACK_PROCESSOR, NO_FRAME_CALLBACK, worker)
    page.get_by_test_id("start-camera").click()
    inspects(page, "WebSocket")


def test_a_worker_that_says_nothing_is_done_without(visit: Open, good_camera: Browser, inspection: str) -> None:
    page = visit(good_camera, inspection).page
    done_to(page, NO_WEBRTC, NO_TRACK_PROCESSOR, "Worker.prototype.postMessage = () => {};")
    page.get_by_test_id("start-camera").click()
    inspects(page, "WebSocket")


def test_invalid_constraint_means_that_there_is_no_camera(visit: Open, browser: Browser, inspection: str) -> None:
    page = visit(browser, inspection).page
    done_to(page, NO_DEVICE)
    page.get_by_test_id("start-camera").click()
    help_text = page.get_by_test_id("camera-help")
    expect(help_text.get_by_role("heading")).to_have_text("No camera found")
    expect(help_text).not_to_contain_text("Invalid constraint")
    expect(page.get_by_test_id("verdict")).to_contain_text("No camera found")
