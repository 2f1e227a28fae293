"""What stands as a verdict on the pages: only what is known to be so now."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.page.scene import Scene, stream
from tests.page.visits import Show

SCREENS = [("/", "verdict"), ("/kiosk/press", "kiosk"), ("/panel/press", "panel")]
"""Where a verdict is shown, and on what."""

SAY = """message => scene.sockets.filter(one => one.name === message.stream && one.readyState === 1)
  .forEach(one => one.say(message))"""


PATIENCE_S = 60.0
MOST_LISTENED = 24
"""As in tiles.js."""


def triggered(**about: Any) -> dict[str, Any]:
    return stream("press", parts_by="trigger", recipe_name="Bottle, brown", **about)


def say_part(page: Page, number: int, verdict: str, name: str = "press") -> None:
    """Have the played server say the verdict of a part."""
    raw = 12.5 if verdict == "ANOMALY" else 6.2
    found = {"score": 0.12, "raw_score": raw, "threshold": 9.43, "threshold_source": "model", "cycle_ms": 40.0}
    about = {"type": "part", "stream": name, "number": number, "part": None, "source": "trigger", "why": None}
    page.evaluate(SAY, about | found | {"verdict": verdict})


def show_part(page: Page, number: int, raw: float, name: str = "press") -> None:
    """From now on the frames are of this part (0: of none), and score so much."""
    about = {"partNumber": number, "raws": [raw]}
    page.evaluate("([name, about]) => Object.assign(scene.plays[name], about)", [name, about])


def shows(panel: Locator, verdict: str, words: str, *, stale: bool) -> None:
    expect(panel).to_have_attribute("data-verdict", verdict)
    expect(panel).to_contain_text(words)
    expect(panel).to_have_attribute("data-stale", str(stale).lower())


@pytest.mark.parametrize(("path", "panel"), SCREENS, ids=["live", "kiosk", "panel"])
def test_a_part_whose_verdict_was_not_heard_is_said_and_the_one_before_does_not_stand(
    show: Show, path: str, panel: str
) -> None:
    page = show(Scene(streams=[triggered()]), path).page
    verdict = page.get_by_test_id(panel)
    expect(verdict).to_contain_text("Waiting for")
    say_part(page, 12, "NORMAL")
    shows(verdict, "NORMAL", "Part 12", stale=False)
    show_part(page, 13, 12.5)
    shows(verdict, "NORMAL", "The next part. Part 12", stale=True)
    show_part(page, 0, 6.2)
    shows(verdict, "NORMAL", "The verdict of part 13 was not heard. Part 12", stale=True)
    say_part(page, 13, "ANOMALY")
    shows(verdict, "ANOMALY", "Part 13", stale=False)


def test_an_answer_that_is_none_stops_no_page(show: Show) -> None:
    """What a proxy or a hotspot says in the server's place, or what was cut short."""
    scene = Scene(garbled={"/api/me"})
    page = show(scene).page
    verdict = page.get_by_test_id("verdict")
    shows(verdict, "NORMAL", "below the threshold", stale=False)
    scene.garbled = {"/api/streams", "/api/recipes", "/health"}
    for path in ("api/streams", "health"):
        for _ in range(2):
            with page.expect_response(f"**/{path}"):
                pass
    page.evaluate("scene.plays.press.runs = false")
    shows(verdict, "WAITING", "The server does not answer", stale=False)
    scene.streams[0]["parts"] = 1300
    scene.garbled = set()
    page.evaluate("scene.plays.press.runs = true")
    shows(verdict, "NORMAL", "below the threshold", stale=False)
    expect(page.get_by_test_id("parts-count")).to_have_text("1,300")


def test_what_was_asked_for_is_not_called_done_without_an_answer(show: Show) -> None:
    page = show(Scene(garbled={"/api/streams/press/recipe"})).page
    page.get_by_test_id("recipe-select").select_option("cap")
    expect(page.get_by_test_id("recipe-said")).to_contain_text("did not come through")
    expect(page.get_by_test_id("recipe-select")).to_have_value("bottle")


def test_of_a_stream_that_only_the_list_tells_nothing_stands_once_the_list_is_old(show: Show) -> None:
    streams = [stream(f"line-{number:02}") for number in range(MOST_LISTENED + 1)]
    scene = Scene(streams=streams)
    page = show(scene).page
    page.get_by_test_id("show-all").click()
    tile = page.get_by_test_id("tiles").locator(f"[data-stream={streams[-1]['name']}]")
    expect(tile).to_have_accessible_name(re.compile("NORMAL, now"))
    assert not page.evaluate("name => scene.sockets.some(one => one.name === name)", streams[-1]["name"])
    page.route(re.compile(r"/(api/|health)"), lambda route: route.abort())
    shows(tile, "WAITING", "The server does not answer", stale=False)


class Hurried(Scene):
    """With a clock that a test may put on: ``page.clock.fast_forward``."""

    def play(self, page: Page) -> None:
        page.clock.install()
        super().play(page)


OPENED = "name => scene.sockets.filter(one => one.name === name).length"


def wait_until(page: Page, condition: str) -> None:
    """Until it is so on the page, whose policy lets nothing be evaluated in it again and again."""
    deadline = time.monotonic() + PATIENCE_S
    while not page.evaluate(condition):
        assert time.monotonic() < deadline, condition
        page.wait_for_timeout(50)


def test_a_connection_on_which_no_heartbeat_comes_is_left(show: Show) -> None:
    """The server's machine lost its power, or the cable was cut: no close comes."""
    for path, panel in SCREENS:
        page = show(Hurried(), path).page
        verdict = page.get_by_test_id(panel)
        shows(verdict, "NORMAL", "below the threshold", stale=False)
        page.evaluate("scene.plays.press.runs = false")
        page.clock.fast_forward(9_000)
        expect(verdict).to_contain_text("No result for")
        assert page.evaluate(OPENED, "press") == 1, "a heartbeat came"
        page.evaluate("scene.isCut = true")
        page.clock.fast_forward(13_000)
        wait_until(page, f"({OPENED})('press') > 1")
        page.evaluate("Object.assign(scene, { isCut: false }).plays.press.runs = true")
        shows(verdict, "NORMAL", "below the threshold", stale=False)


def test_tiles_leave_dead_connections_too(show: Show) -> None:
    page = show(Hurried()).page
    page.get_by_test_id("show-all").click()
    tile = page.get_by_test_id("tiles").locator("[data-stream=gate]")
    expect(tile).to_have_accessible_name("gate: NORMAL, now. Open")
    assert not page.evaluate("scene.sockets.some(({ url }) => url.includes('heartbeat=0'))")
    page.evaluate("scene.isCut = true")
    page.clock.fast_forward(13_000)
    wait_until(page, f"({OPENED})('gate') > 1")
    page.evaluate("scene.isCut = false")
    expect(tile).to_have_accessible_name("gate: NORMAL, now. Open")


def test_tiles_show_the_verdicts_on_parts_where_there_are_such(show: Show) -> None:
    """What lies on an empty belt is NORMAL, whatever the part before was."""
    names = [f"line-{number:02}" for number in range(MOST_LISTENED + 1)]
    page = show(Scene(streams=[stream(name, parts_by="gate", parts=7) for name in names])).page
    page.get_by_test_id("show-all").click()
    tiles = page.get_by_test_id("tiles")
    first, last = tiles.locator(f"[data-stream={names[0]}]"), tiles.locator(f"[data-stream={names[-1]}]")
    shows(first, "WAITING", "Waiting for the next part", stale=False)
    shows(last, "WAITING", "Open it for the verdicts on its parts", stale=False)
    show_part(page, 0, 6.2, names[0])
    say_part(page, 8, "ANOMALY", names[0])
    shows(first, "ANOMALY", "Part 8", stale=False)
    expect(first).to_have_accessible_name(re.compile("ANOMALY, Part 8, score 0.50"))
    say_part(page, 9, "FAILED", names[0])
    shows(first, "FAILED", "NOT INSPECTED", stale=False)
    say_part(page, 10, "NORMAL", names[0])
    show_part(page, 11, 12.5, names[0])
    shows(first, "NORMAL", "The next part. Part 10", stale=True)
    show_part(page, 0, 6.2, names[0])
    shows(first, "NORMAL", "The verdict of part 11 was not heard", stale=True)


def test_the_recipe_shown_is_the_one_in_force_while_the_camera_waits(show: Show) -> None:
    """For its trigger: no result by the new recipe has come yet."""
    scene = Scene()

    def chosen(body: Any) -> tuple[int, Any]:
        scene.streams[0] |= {"recipe": body["recipe"]}
        return 200, {"stream": "press", "recipe": "cap", "version": 1, "name": "Cap"}

    scene.answers["POST /api/streams/press/recipe"] = chosen
    page = show(scene).page
    shows(page.get_by_test_id("verdict"), "NORMAL", "below the threshold", stale=False)
    page.evaluate("scene.plays.press.runs = false")
    select = page.get_by_test_id("recipe-select")
    select.focus()
    select.select_option("cap")
    expect(page.get_by_test_id("recipe-said")).to_have_text("press is inspected with Cap, version 1.")
    with page.expect_response("**/api/streams"):
        pass
    expect(page.get_by_test_id("recipe-version")).to_have_text("v1")
    expect(select).to_have_value("cap")


def test_a_recipe_that_the_line_chose_is_shown_though_the_list_has_the_focus(show: Show) -> None:
    scene = Scene()
    page = show(scene).page
    select, version = page.get_by_test_id("recipe-select"), page.get_by_test_id("recipe-version")

    def switch(name: str, number: int) -> None:
        """As a PLC does it."""
        scene.streams[0] |= {"recipe": name, "threshold": 7.5 + number}
        change = {"type": "change", "stream": "press", "what": "recipe", "recipe": name, "recipe_name": name}
        told = {"recipe_version": number, "threshold": 7.5 + number, "threshold_source": "calibration"}
        page.evaluate("recipe => { scene.plays.press.recipe = recipe; }", name)
        page.evaluate(SAY, change | told)

    expect(version).to_have_text("v3")
    page.evaluate("scene.plays.press.runs = false")
    select.focus()
    switch("cap", 1)
    expect(select).to_have_value("cap")
    expect(version).to_have_text("v1")
    expect(page.get_by_test_id("threshold")).to_have_text("8.500")
    select.dispatch_event("pointerdown")  # the list is open now, for all that is known
    switch("bottle", 3)
    expect(page.get_by_test_id("threshold")).to_have_text("10.50")
    with page.expect_response("**/api/streams"):
        pass
    expect(select).to_have_value("cap")
    expect(version).to_have_text("v1")
    select.blur()
    expect(select).to_have_value("bottle")
    expect(version).to_have_text("v3")


SEND = """async () => {
  const { WebSocketSender } = await import("/static/shared/websocket_sender.js");
  const canvas = Object.assign(document.createElement("canvas"), { width: 64, height: 48 });
  const context = canvas.getContext("2d");
  setInterval(() => context.fillRect(0, 0, Math.random() * 64, 48), 50); // or it gives no frames
  const video = Object.assign(document.createElement("video"), { muted: true, srcObject: canvas.captureStream() });
  await video.play();
  scene.plays.stream = { state: "live", runs: false, raws: [6.2], threshold: 9.43 };
  WebSocket.prototype.send = function () { this.bufferedAmount = 1e6; }; // nobody takes it
  const nobody = () => {};
  const told = { onresult: nobody, onerror: nobody, onstate: nobody };
  new WebSocketSender({ name: "own", stream: video.srcObject, video, ...told });
}"""


def test_a_camera_whose_frames_nobody_takes_comes_back_too(show: Show) -> None:
    page = show(Hurried()).page
    page.evaluate(SEND)
    wait_until(page, "scene.sockets.some(({ bufferedAmount }) => bufferedAmount > 0)")
    page.evaluate("scene.isCut = true")
    page.clock.fast_forward(9_000)
    wait_until(page, f"({OPENED})('stream') > 1")
