"""How the page's camera travels: WebRTC where it works, a WebSocket where it does not."""

from __future__ import annotations

import json
import re
import time
import urllib.request
from typing import Any

from playwright.sync_api import Browser, Page, Route, expect

from tests.page.scene import Scene
from tests.page.test_page_camera import TEN_OR_MORE
from tests.page.visits import Open, Serve, Show, requests_held

OFFER = "**/webrtc/offer"
PATIENCE_S = 60.0
ENOUGH_TO_SEE_MOTION = 4.0
"""Frames a second. Where they are rarer each counts as still: server/teaching/showing.py."""


def inspects(page: Page, transport: str) -> None:
    """Wait until results arrive this way."""
    expect(page.get_by_test_id("transport")).to_have_text(transport)
    expect(page.get_by_test_id("connection")).to_have_attribute("data-state", "open")
    expect(page.get_by_test_id("verdict")).to_have_attribute("data-verdict", "NORMAL")
    expect(page.get_by_test_id("inspected")).to_have_text(TEN_OR_MORE)


def test_webrtc_is_used_where_it_works(visit: Open, good_camera: Browser, inspection: str) -> None:
    opened = visit(good_camera, inspection)
    opened.page.get_by_test_id("start-camera").click()
    inspects(opened.page, "WebRTC")
    assert [stream["transport"] for stream in _streams(inspection)] == ["webrtc"]
    assert not [asked for asked in opened.requests if "/ws/stream" in asked]
    assert opened.complaints == []


def test_the_camera_can_be_stopped_and_started(visit: Open, good_camera: Browser, inspection: str) -> None:
    page = visit(good_camera, inspection).page
    for _ in range(2):
        page.get_by_role("button", name="Start camera").click()
        inspects(page, "WebRTC")
        page.get_by_role("button", name="Stop camera").click()
        expect(page.get_by_test_id("verdict")).to_have_attribute("data-verdict", "NO_CAMERA")
        expect(page.get_by_test_id("transport")).to_have_text("")


def test_where_webrtc_is_refused_the_websocket_takes_over(visit: Open, good_camera: Browser, inspection: str) -> None:
    opened = visit(good_camera, inspection)
    opened.page.route(OFFER, lambda route: route.fulfill(status=503, json={"error": "no network address"}))
    opened.page.get_by_test_id("start-camera").click()
    inspects(opened.page, "WebSocket")


def test_where_no_packet_comes_through_the_websocket_takes_over_and_the_page_remembers(
    visit: Open, good_camera: Browser, inspection: str
) -> None:
    opened = visit(good_camera, inspection)
    page = opened.page
    page.route(OFFER, _answer_that_leads_nowhere)
    page.get_by_test_id("start-camera").click()
    expect(page.get_by_test_id("transport")).to_have_text("WebRTC")
    inspects(page, "WebSocket")
    page.get_by_role("button", name="Stop camera").click()
    page.get_by_role("button", name="Start camera").click()
    inspects(page, "WebSocket")
    assert len([asked for asked in opened.requests if "/webrtc/offer" in asked]) == 1


def test_a_teaching_sees_what_moves_over_a_websocket_too(visit: Open, good_camera: Browser, inspection: str) -> None:
    page = visit(good_camera, inspection).page
    page.route(OFFER, lambda route: route.fulfill(status=503, json={"error": "no network address"}))
    page.get_by_test_id("start-camera").click()
    inspects(page, "WebSocket")
    (stream,) = _streams(inspection)
    wanted = json.dumps({"name": "film", "stream": stream["name"], "auto": False}).encode()
    begin = urllib.request.Request(f"{inspection}/api/teaching", wanted, {"Content-Type": "application/json"})
    with urllib.request.urlopen(begin) as answer:
        taught = f"{inspection}/api/teaching/{json.load(answer)['id']}"
    deadline = time.monotonic() + PATIENCE_S
    while (stream := _streams(inspection)[0])["received_per_s"] < ENOUGH_TO_SEE_MOTION or not stream["is_taught"]:
        assert time.monotonic() < deadline, f"no frame is answered, and few are sent: {stream}"
        page.wait_for_timeout(100)
    urllib.request.urlopen(urllib.request.Request(taught, method="DELETE")).close()
    inspects(page, "WebSocket")


def test_webrtc_comes_back_after_the_server_was_restarted(visit: Open, good_camera: Browser, serve: Serve) -> None:
    with serve() as url:
        page = visit(good_camera, url).page
        page.get_by_test_id("start-camera").click()
        inspects(page, "WebRTC")
    expect(page.get_by_test_id("connection")).to_have_attribute("data-state", "reconnecting")
    with serve():
        inspects(page, "WebRTC")


def test_a_page_that_is_left_ends_its_stream(visit: Open, good_camera: Browser, inspection: str) -> None:
    page = visit(good_camera, inspection).page
    page.get_by_test_id("start-camera").click()
    inspects(page, "WebRTC")
    watching = visit(good_camera, inspection).page
    choices = watching.get_by_test_id("source-select").locator("option")
    expect(choices).to_have_count(2)
    page.goto("about:blank")
    expect(choices.filter(has_text="not running")).to_have_count(1)


SENDS = """async () => {
  const canvas = document.createElement("canvas");
  canvas.getContext("2d");
  const { openSender } = await import("/static/shared/transport.js");
  const nothing = () => {};
  const heard = { onresult: nothing, onerror: nothing, onstate: nothing };
  const sends = { name: "hand", stream: canvas.captureStream(), video: document.createElement("video") };
  window.sender = openSender({ ...sends, iceServers: [], ...heard });
}"""
FELL_BACK = 'scene.sockets.filter(({ url }) => url.includes("/ws/stream")).length'


def test_an_offer_that_is_not_answered_yet_keeps_the_websocket_from_being_opened(show: Show) -> None:
    page = show(Scene()).page
    expect(page.get_by_test_id("verdict")).to_have_attribute("data-verdict", "NORMAL")
    page.clock.install()
    held = requests_held(page, OFFER)
    with page.expect_request(OFFER):
        page.evaluate(SENDS)
    page.clock.run_for(6_000)  # the server would open the stream, and end what the page has opened meanwhile
    assert page.evaluate(FELL_BACK) == 0
    held[0].fulfill(status=503, json={"error": "no network address"})
    page.wait_for_function(f"{FELL_BACK} === 1")


def test_an_offer_that_is_left_behind_is_taken_back(show: Show) -> None:
    page = show(Scene()).page
    requests_held(page, OFFER)
    with page.expect_request(OFFER):
        page.evaluate(SENDS)
    with page.expect_event("requestfailed", lambda request: "/webrtc/offer" in request.url):
        page.evaluate("sender.close()")


def _streams(url: str) -> list[dict[str, Any]]:
    with urllib.request.urlopen(f"{url}/api/streams") as answer:
        streams: list[dict[str, Any]] = json.load(answer)["streams"]
        return streams


def _answer_that_leads_nowhere(route: Route) -> None:
    # With another ICE password every packet of either side is refused, as behind a firewall.
    response = route.fetch()
    answer = response.json()
    answer["sdp"] = re.sub(r"a=ice-pwd:\S+", "a=ice-pwd:" + "x" * 24, answer["sdp"])
    route.fulfill(response=response, json=answer)
