"""This device's camera inspected: what the operator sees."""

from __future__ import annotations

import re
from urllib.parse import urljoin

from playwright.sync_api import Browser, expect

from tests.page.parts import HEIGHT, WIDTH
from tests.page.scene import Scene
from tests.page.visits import Open, Show

FEW = re.compile(r"^[0-9]\.\d %$")
TEN_OR_MORE = re.compile(r"^[\d,]{2,}$")


def test_a_good_part_is_normal(visit: Open, good_camera: Browser, inspection: str) -> None:
    opened = visit(good_camera, inspection)
    page = opened.page
    verdict = page.get_by_test_id("verdict")
    expect(verdict).to_have_attribute("data-verdict", "NO_CAMERA")
    page.get_by_test_id("start-camera").click()
    expect(verdict).to_have_attribute("data-verdict", "NORMAL")
    expect(verdict).to_contain_text("below the threshold")
    expect(page.get_by_test_id("connection")).to_have_text("Connected")
    expect(page.get_by_test_id("inspected")).to_have_text(TEN_OR_MORE)
    expect(page.get_by_test_id("anomaly-rate")).to_have_text(FEW)  # video needs a moment to get sharp
    expect(page.get_by_test_id("latency")).to_have_text(re.compile(r"^\d+(\.\d)?$"))
    expect(page.get_by_test_id("picture")).to_have_attribute("data-width", str(WIDTH))
    expect(page.get_by_test_id("picture")).to_have_attribute("data-height", str(HEIGHT))
    assert opened.complaints == []


def test_a_defective_part_is_an_anomaly(visit: Open, defect_camera: Browser, inspection: str) -> None:
    page = visit(defect_camera, inspection).page
    page.get_by_test_id("start-camera").click()
    expect(page.get_by_test_id("verdict")).to_have_attribute("data-verdict", "ANOMALY")
    expect(page.get_by_test_id("verdict")).to_contain_text("above the threshold")
    expect(page.get_by_test_id("inspected")).to_have_text(TEN_OR_MORE)
    expect(page.get_by_test_id("anomaly-rate")).to_have_text("100.0 %")


def test_without_a_camera_the_page_says_what_to_do(visit: Open, browser: Browser, inspection: str) -> None:
    page = visit(browser, inspection).page
    page.get_by_test_id("start-camera").click()
    help_text = page.get_by_test_id("camera-help")
    expect(help_text).to_be_visible()
    expect(help_text.get_by_role("heading")).not_to_be_empty()
    expect(help_text.get_by_role("listitem").first).not_to_be_empty()
    expect(page.get_by_test_id("verdict")).to_have_attribute("data-verdict", "NO_CAMERA")


def test_a_forbidden_camera_says_how_to_allow_it(visit: Open, forbidden_camera: Browser, inspection: str) -> None:
    page = visit(forbidden_camera, inspection).page
    page.get_by_test_id("start-camera").click()
    help_text = page.get_by_test_id("camera-help")
    expect(help_text).to_contain_text("The camera is not allowed here")
    expect(help_text).to_contain_text("Set Camera to Allow")
    expect(page.get_by_test_id("verdict")).to_contain_text("NOT INSPECTING")


def test_a_second_page_of_the_same_name_takes_over(visit: Open, good_camera: Browser, inspection: str) -> None:
    first = visit(good_camera, inspection).page
    first.get_by_test_id("start-camera").click()
    expect(first.get_by_test_id("verdict")).to_have_attribute("data-verdict", "NORMAL")
    second = first.context.new_page()  # the same context keeps the same stream name
    second.goto(inspection)
    second.get_by_test_id("start-camera").click()
    expect(second.get_by_test_id("verdict")).to_have_attribute("data-verdict", "NORMAL")
    first.bring_to_front()
    expect(first.get_by_test_id("connection")).to_contain_text("took over")
    first.get_by_role("button", name="Use this device instead").click()
    expect(first.get_by_test_id("verdict")).to_have_attribute("data-verdict", "NORMAL")
    expect(second.get_by_test_id("connection")).to_contain_text("took over")


def test_under_another_name_it_is_another_stream(visit: Open, defect_camera: Browser, inspection: str) -> None:
    page = visit(defect_camera, inspection).page
    links, reset = page.get_by_test_id("navigation"), page.get_by_test_id("parts-reset")

    def sent_as(name: str) -> None:
        links.get_by_role("link", name="Settings", exact=True).click()
        page.get_by_test_id("device-name").fill(name)
        page.get_by_test_id("device-save").click()
        expect(page.get_by_test_id("device-told")).to_contain_text(f"sent as {name}")
        links.get_by_role("link", name="Live", exact=True).click()

    def with_a_part(name: str) -> None:
        expect(page.get_by_test_id("verdict")).to_have_attribute("data-verdict", "ANOMALY")
        expect(page.get_by_role("region", name="Live picture")).to_contain_text(f"sent as {name}")
        said = page.request.post(urljoin(page.url, f"/api/streams/{name}/part"), data={"part": "P-1"})
        assert said.ok, said.text()

    page.get_by_test_id("start-camera").click()
    sent_as("gate-6")
    with_a_part("gate-6")
    reset.click()
    expect(reset).to_have_text("Begin anew")
    sent_as("gate-7")
    with_a_part("gate-7")
    expect(reset).to_have_text("Reset")


OPENED = """
  const opened = (deviceId) => {
    const canvas = document.createElement("canvas");
    canvas.getContext("2d");
    const stream = canvas.captureStream();
    stream.getVideoTracks()[0].getSettings = () => ({ deviceId });
    return stream;
  };
"""
"""The picture of a camera, played."""

LENSES_OF = """
  const cameras = (ids, inUse = []) => {
    const busy = new Set(inUse);
    navigator.mediaDevices.enumerateDevices = async () => ids.map((deviceId) => ({ kind: "videoinput", deviceId }));
    navigator.mediaDevices.getUserMedia = async ({ video }) => {
      const deviceId = video.deviceId?.exact ?? "front";
      if (busy.has(deviceId)) throw new DOMException("in use", "NotReadableError");
      return opened(deviceId);
    };
    return busy;
  };
"""
"""The cameras of a device, by name, those in use to be changed; the browser chooses *front*."""

LENSES = (
    f"async () => {{{OPENED}{LENSES_OF}"
    + """
  const busy = cameras(["front", "tele", "wide"], ["tele"]);
  const { Camera } = await import("/static/shell/camera.js");
  const camera = new Camera(() => {});
  const seen = [];
  const press = async (what) => {
    await camera[what]();
    seen.push(camera.stream?.getVideoTracks()[0].getSettings().deviceId ?? camera.problem.title);
  };
  for (const what of ["start", "switch", "switch"]) await press(what);
  busy.add("wide");
  await press("switch");
  busy.add("front");
  await press("switch");
  busy.delete("front");
  await press("start");
  return seen;
}"""
)


def test_a_lens_that_does_not_open_is_passed_over_and_not_insisted_on(show: Show) -> None:
    seen = show(Scene()).page.evaluate(LENSES)
    assert seen == ["front", "wide", "front", "front", "The camera is busy", "front"]


SWITCHED_TO = (
    f"async () => {{{OPENED}{LENSES_OF}"
    + """
  const busy = cameras(["front", "wide"]);
  const { Camera } = await import("/static/shell/camera.js");
  const visit = async (...presses) => {
    const camera = new Camera(() => {});
    for (const what of presses) await camera[what]();
    return camera.stream.getVideoTracks()[0].getSettings().deviceId;
  };
  const seen = [await visit("start", "switch"), await visit("start")];
  busy.add("wide");
  return [...seen, await visit("start")];
}"""
)


def test_the_camera_that_was_switched_to_is_opened_at_the_next_visit_unless_it_is_busy(show: Show) -> None:
    assert show(Scene()).page.evaluate(SWITCHED_TO) == ["wide", "wide", "front"]


IN_ORDER = """async () => {
  const { inOrder } = await import("/static/shared/in_order.js");
  const waiting = [];
  const ask = inOrder(() => new Promise((answer) => waiting.push(answer)));
  const answers = [ask(), ask(), ask()];
  waiting[1]("second");
  await answers[1];
  waiting[0]("first");
  waiting[2]("third");
  return (await Promise.all(answers)).map((answer) => answer ?? null);
}"""


def test_an_answer_that_a_newer_one_has_overtaken_is_thrown_away(show: Show) -> None:
    assert show(Scene()).page.evaluate(IN_ORDER) == [None, "second", "third"]


UNPLUGGED = (
    f"async () => {{{OPENED}"
    + """
  const there = new Map(["press", "built-in"].map((deviceId) => [deviceId, null])); // and why it does not open
  const asked = [];
  const device = (deviceId) => ({ kind: "videoinput", deviceId });
  navigator.mediaDevices.enumerateDevices = async () => [...there.keys()].map(device);
  navigator.mediaDevices.getUserMedia = async ({ video }) => {
    const deviceId = video.deviceId?.exact ?? [...there.keys()][0];
    asked.push(deviceId);
    if (!there.has(deviceId)) throw new DOMException("gone", "OverconstrainedError");
    if (there.get(deviceId)) throw new DOMException("not yet", there.get(deviceId));
    return opened(deviceId);
  };
  const { Camera } = await import("/static/shell/camera.js");
  const seen = [];
  const camera = new Camera(({ state }) => seen.push(state));
  const soon = () => new Promise((resolve) => setTimeout(resolve));
  const askedAgain = async () => {
    const before = asked.length;
    navigator.mediaDevices.dispatchEvent(new Event("devicechange"));
    for (let turns = 200; asked.length === before && turns > 0; turns -= 1) await soon();
    await soon(); // what came of it is heard
  };
  await camera.start();
  there.delete("press");
  camera.stream.getVideoTracks()[0].dispatchEvent(new Event("ended"));
  await askedAgain();
  there.set("press", "NotReadableError"); // still enumerating
  await askedAgain();
  there.set("press", null);
  await askedAgain();
  const back = camera.stream.getVideoTracks()[0].getSettings().deviceId;
  there.delete("press");
  camera.stream.getVideoTracks()[0].dispatchEvent(new Event("ended"));
  await camera.start();
  return { seen, asked, back, instead: camera.stream.getVideoTracks()[0].getSettings().deviceId };
}"""
)


def test_a_camera_that_was_unplugged_is_waited_for_and_no_other_one_taken(show: Show) -> None:
    found = show(Scene()).page.evaluate(UNPLUGGED)
    assert found["seen"] == ["starting", "live", "lost", "live", "lost", "starting", "live"]
    assert found["asked"] == ["press"] * 4 + ["press", "built-in"]
    assert (found["back"], found["instead"]) == ("press", "built-in")
