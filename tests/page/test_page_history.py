"""History through the page: the gallery, one key to dispose, teaching from it, numbers, and the report on paper."""

from __future__ import annotations

import asyncio
import json
import re
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from queue import Queue
from typing import Any

import cv2
import numpy as np
import pytest
from playwright.sync_api import Browser, Page, Route, expect
from websockets.sync.client import connect

from server.app import create_app
from server.settings import Settings
from tests.page.histories import Histories, part, row
from tests.page.scene import recipe
from tests.page.test_page_axe import AXE, FINDINGS
from tests.page.test_page_layout import SCREENS, fits
from tests.page.visits import DRAWN, Open, Show, requests_held
from tests.page.workshop import shown
from tests.running import running
from tests.server.fakes import FakeModel

WIDE = "async image => { await image.decode(); return image.naturalWidth; }"


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server whose stream press is triggered; pictures brighter than 100 are rejected."""
    settings = Settings(data_dir=tmp_path_factory.mktemp("plant"), max_frame_age_ms=1e6, archive_normals_s=0.01)
    app = create_app(settings, make_model=FakeModel)  # type: ignore[arg-type]
    found: Queue[str] = Queue()
    loop, over = asyncio.new_event_loop(), asyncio.Event()

    async def serve() -> None:
        async with running(app, settings) as server:
            found.put(server.http)
            await over.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    url = found.get(timeout=30)
    wait(lambda: ask(url, "health")["status"] == "ok")
    (known,) = ask(url, "api/recipes")["recipes"]
    ask(url, f"api/recipes/{known['id']}", {"version": known["version"], "parts": {"by": "trigger"}}, "PATCH")
    yield url
    loop.call_soon_threadsafe(over.set)
    thread.join(30)


def ask(url: str, path: str, body: Any = None, method: str | None = None) -> Any:
    """What the server answers."""
    data = None if body is None else json.dumps(body).encode()
    asked = urllib.request.Request(f"{url}/{path}", data, {"Content-Type": "application/json"}, method=method)
    try:
        with urllib.request.urlopen(asked) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        return json.load(error)


def wait(true: Any) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def flange(brightness: int) -> bytes:
    """A picture whose brightest place is so bright."""
    picture = np.full((240, 320, 3), 30, np.uint8)
    cv2.circle(picture, (160, 120), 84, (70, 70, 70), -1)
    cv2.rectangle(picture, (160, 60), (199, 89), (brightness,) * 3, -1)  # one cell of the anomaly map
    return cv2.imencode(".png", picture)[1].tobytes()


def inspect(url: str, *parts: tuple[str, int]) -> None:
    """Trigger, and show a part, one after the other."""
    with connect(f"{url.replace('http', 'ws')}/ws/stream?name=press") as camera:
        for name, brightness in parts:
            wait(lambda name=name: "trigger" in ask(url, "api/streams/press/trigger", {"part": name}))
            camera.send(flange(brightness))
            wait(lambda name=name: any(one["part"] == name for one in ask(url, "api/history?limit=20")["entries"]))


def test_from_a_trigger_to_the_gallery_its_disposition_and_the_report(
    plant: str, browser: Browser, visit: Open, tmp_path: Path
) -> None:
    inspect(plant, ("P-1", 200), ("P-2", 60), ("P-3", 220))
    visited = visit(browser, f"{plant}/history")
    page: Page = visited.page
    tiles = page.get_by_test_id("part-tile")
    expect(tiles).to_have_count(2)
    inspect(plant, ("P-4", 240))
    expect(tiles).to_have_count(3)  # by itself
    expect(tiles.first).to_contain_text("P-4")
    expect(tiles.first.locator("img")).to_be_visible()
    assert tiles.first.locator("img").evaluate(WIDE) == 320

    tiles.first.get_by_role("button").click()
    opened = page.get_by_test_id("opened")
    expect(opened).to_contain_text("Part P-4")
    expect(page.get_by_test_id("opened-facts")).to_contain_text("a trigger over rest")
    assert page.get_by_test_id("opened-heat").evaluate(WIDE) == 320
    page.keyboard.press("c")
    expect(page.get_by_test_id("opened-told")).to_have_text("Noted: confirmed.")
    page.keyboard.press("ArrowRight")
    expect(opened).to_contain_text("Part P-3")
    page.keyboard.press("e")
    expect(page.get_by_test_id("opened-told")).to_contain_text("It was rejected")
    page.keyboard.press("f")
    expect(page.get_by_test_id("opened-told")).to_have_text("Noted: false reject.")
    page.get_by_test_id("opened-forgive").click()
    expect(page.get_by_test_id("correction")).to_be_visible()
    expect(page.get_by_test_id("correction-cost")).to_contain_text("cannot be forgiven")  # a model that cannot learn
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    expect(opened).to_be_hidden()
    expect(tiles.nth(1).get_by_role("button")).to_be_focused()
    expect(tiles.nth(1)).to_contain_text("false reject")
    page.get_by_text("Passed", exact=True).click()
    expect(tiles).to_have_count(1)
    tiles.first.get_by_role("button").click()
    page.keyboard.press("e")
    expect(page.get_by_test_id("opened-told")).to_have_text("Noted: escape.")
    page.keyboard.press("Escape")
    assert "verdict=NORMAL" in page.url
    page.reload()
    expect(tiles).to_have_count(1)
    expect(tiles.first).to_contain_text("escape")

    page.get_by_test_id("history-numbers").click()
    figures = page.get_by_test_id("numbers-figures")
    expect(figures).to_contain_text("Parts4")
    expect(figures).to_contain_text("50.0 % of 2 judged")
    page.get_by_test_id("numbers-report").click()
    expect(page.get_by_test_id("report-figures")).to_contain_text("Rejected3")
    expect(page.get_by_test_id("report")).to_contain_text("Escapes: bad parts that passed")
    for size, width in (("A4", 794), ("Letter", 816)):
        pdf = page.pdf(path=tmp_path / f"{size}.pdf", format=size)
        assert pdf.startswith(b"%PDF") and len(re.findall(rb"/Type */Page\b", pdf)) in (1, 2)
        page.emulate_media(media="print")
        page.set_viewport_size({"width": width - 90, "height": 1000})
        assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0
        assert page.locator(".bar").is_hidden()
    assert visited.complaints == []


def test_older_ones_come_as_they_are_scrolled_to_and_newer_ones_by_themselves(show: Show) -> None:
    scene = Histories()
    page = show(scene, "/history", width=390, height=844).page
    expect(page.get_by_test_id("history-count")).to_have_text("30")
    page.mouse.wheel(0, 20_000)
    tiles = page.get_by_test_id("part-tile")
    for _ in range(3):
        page.evaluate("scrollTo(0, document.body.scrollHeight)")
    expect(tiles).to_have_count(30)
    expect(page.get_by_test_id("history-more")).to_be_hidden()
    scene.parts.insert(0, part(41))
    expect(tiles).to_have_count(31)
    expect(tiles.first).to_contain_text("P-41")


def test_a_filter_stands_in_the_address(show: Show) -> None:
    page = show(Histories(), "/history?disposition=confirmed&stream=press&since=2026-11-26T06:00").page
    expect(page.get_by_test_id("part-tile")).to_have_count(1)
    expect(page.locator("#history-filters-on")).to_have_text(" · 3 on")
    page.get_by_test_id("filters-clear").click()
    expect(page.get_by_test_id("part-tile").nth(11)).to_be_visible()
    assert "?" not in page.url
    page.get_by_text("Failed", exact=True).click()
    expect(page.get_by_test_id("history-empty")).to_have_text("No part failed.")


def test_the_keys_work_wherever_the_focus_is_and_say_what_cannot_be(show: Show) -> None:
    scene = Histories(parts=[part(3), part(2, "NORMAL"), part(1, "FAILED")])
    page = show(scene, "/history?verdict=all&pictured=0").page
    page.get_by_test_id("part-tile").first.get_by_role("button").click()
    told = page.get_by_test_id("opened-told")
    for key, words, said in (
        ("c", "Noted: confirmed.", "confirmed"),
        ("F", "Noted: false reject.", "false_reject"),
        ("f", "Taken back.", None),
    ):
        page.keyboard.press(key)
        expect(told).to_have_text(words)
        assert scene.parts[0]["disposition"] == said
    page.get_by_test_id("opened-older").click()
    page.keyboard.press("c")
    expect(told).to_contain_text("only an escape can be said")
    expect(page.get_by_test_id("say-confirmed")).to_be_hidden()
    page.get_by_test_id("say-escape").click()
    expect(told).to_have_text("Noted: escape.")
    assert scene.parts[1]["disposition"] == "escape"
    page.keyboard.press("ArrowRight")
    expect(page.get_by_test_id("opened")).to_contain_text("No frame came in time.")
    expect(page.get_by_test_id("opened-older")).to_be_disabled()
    page.keyboard.press("h")
    page.keyboard.press("ArrowLeft")
    expect(page.get_by_test_id("opened-heat")).to_be_hidden()


def test_what_somebody_else_said_meanwhile_is_shown_and_not_taken_back(show: Show) -> None:
    scene = Histories(parts=[part(3)])
    page = show(scene, "/history").page
    page.get_by_test_id("part-tile").first.get_by_role("button").click()
    page.keyboard.press("c")
    expect(page.get_by_test_id("opened-told")).to_have_text("Noted: confirmed.")
    taken_back = []

    def refused(body: Any) -> tuple[int, Any]:
        taken_back.append(body)
        scene.parts[0]["disposition"] = "false_reject"  # not before: the list would bring it
        return 409, {"error": "Ben called it something else meanwhile: nothing was changed"}

    scene.answers["POST /api/history/id-3/disposition"] = refused
    page.keyboard.press("c")
    expect(page.get_by_test_id("opened-told")).to_contain_text("Ben called it something else meanwhile")
    expect(page.get_by_test_id("say-false_reject")).to_have_attribute("aria-pressed", "true")
    assert taken_back == [{"disposition": None, "seen": "confirmed"}]


def test_selected_pictures_are_shown_to_a_teaching(show: Show) -> None:
    bottle = recipe("bottle", "Bottle, brown")
    scene = Histories(recipes=[bottle])
    scene.answers["POST /api/history/teach"] = lambda body: (201, shown(2, id="t9", stream=None, more_of="bottle"))
    page = show(scene, "/history").page
    page.get_by_test_id("history-select").click()
    for number in (0, 3, 4):
        page.get_by_test_id("part-tile").nth(number).get_by_role("button").click()
    page.get_by_test_id("part-tile").nth(3).get_by_role("button").click()  # not that one
    expect(page.locator("#history-selected")).to_have_text("2 pictures selected")
    page.get_by_test_id("history-teach").click()
    expect(page.get_by_test_id("teach-from-recipe")).to_have_value("bottle")
    expect(page.locator("#teach-from-about")).to_contain_text("2 of 2 were rejected: are they good parts?")
    page.get_by_test_id("teach-from-go").click()
    expect(page.locator("#teach-from-error")).to_contain_text("Choose first")
    assert scene.said("POST", "/api/history/teach") == []
    page.get_by_role("radio", name="More of").check()
    page.get_by_test_id("teach-from-go").click()
    expect(page.get_by_test_id("view-teach")).to_be_visible()
    assert scene.said("POST", "/api/history/teach") == [{"ids": ["id-40", "id-36"], "more_of": "bottle"}]


def test_only_what_is_seen_is_taught_and_a_reject_is_doubted_wherever_it_is(show: Show) -> None:
    parts = [part(9), part(8), part(7, "NORMAL"), part(6, "NORMAL")]
    scene = Histories(parts=parts)
    page = show(scene, "/history?verdict=all").page
    tiles, selected = page.get_by_test_id("part-tile"), page.locator("#history-selected")
    expect(tiles).to_have_count(4)
    page.get_by_test_id("history-select").click()
    for number in (1, 2):
        tiles.nth(number).get_by_role("button").click()
    expect(selected).to_have_text("2 pictures selected")
    page.get_by_text("Passed", exact=True).click()
    expect(tiles).to_have_count(2)
    expect(selected).to_have_text("1 picture selected")
    page.get_by_test_id("history-teach").click()
    expect(page.locator("#teach-from-about")).to_contain_text("1 picture. It must show a good part")
    expect(page.locator("#teach-from")).to_be_visible()  # its words are written before it is
    page.keyboard.press("Escape")

    page.get_by_test_id("history-select").click()
    page.goto(page.url.partition("?")[0] + "?disposition=none")
    tiles.first.get_by_role("button").click()
    page.keyboard.press("c")
    expect(tiles).to_have_count(1)  # it is none of those any more, and still opened
    page.get_by_test_id("opened-teach").click()
    expect(page.locator("#teach-from-about")).to_contain_text("1 of 1 was rejected: is it a good part?")


def test_forgiven_from_the_archive_is_said_beside_its_picture(show: Show) -> None:
    scene = Histories()
    path = "/api/history/id-40/good"
    scene.answers[f"POST {path}"] = lambda body: (
        200,
        {"applied": not body.get("dry_run"), "correction": "c1", "cost": scene.cost, "recipe": "bottle", "version": 3},
    )
    page = show(scene, "/history").page
    page.get_by_test_id("part-tile").first.get_by_role("button").click()
    page.get_by_test_id("opened-forgive").click()
    expect(page.get_by_test_id("correction-apply")).to_be_enabled()
    page.get_by_test_id("correction-apply").click()
    expect(page.get_by_test_id("correction-cost")).to_contain_text("Forgiven: it was good.")
    assert [body.get("dry_run", False) for body in scene.said("POST", path)] == [True, False]


def test_what_was_asked_of_one_part_opens_nothing_of_another(show: Show) -> None:
    page = show(Histories(), "/history").page
    held = requests_held(page, "**/id-40/frame")
    page.get_by_test_id("part-tile").first.get_by_role("button").click()
    page.get_by_test_id("opened-forgive").click()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_test_id("opened")).to_contain_text("Part P-39")
    with page.expect_response("**/id-40/frame"):
        held[0].fallback()
    page.evaluate(DRAWN)
    expect(page.get_by_test_id("correction")).to_be_hidden()
    page.get_by_test_id("opened-forgive").click()
    expect(page.get_by_test_id("correction")).to_be_visible()


def test_while_the_history_is_away_alarms_in_memory_are_shown(show: Show) -> None:
    page = show(Histories(away="the database does not answer", problem="the disk is full"), "/history").page
    expect(page.get_by_test_id("history-kept")).to_contain_text("The database does not answer.")
    expect(page.get_by_test_id("alarm-kept").first).to_be_visible()
    expect(page.get_by_test_id("history-notes")).to_have_text("The disk is full.")
    page.get_by_test_id("history-numbers").click()
    expect(page.get_by_test_id("numbers-empty")).to_have_text("The database does not answer.")


def test_links_lead_to_what_is_chosen_or_nowhere(show: Show) -> None:
    page = show(Histories(), "/history?show=numbers").page
    report = page.get_by_test_id("numbers-report")
    expect(page.get_by_test_id("numbers-table")).to_be_visible()
    page.route("**/api/numbers?*", lambda route: route.abort())
    page.locator("#numbers-stream").select_option("press")
    expect(report).to_have_js_property("href", "")
    page.unroute("**/api/numbers?*")
    expect(report).to_have_attribute("href", re.compile("stream=press"))
    expect(page.get_by_test_id("parts-csv")).to_have_attribute("href", re.compile("stream=press"))


STATES = {
    "gallery": "/history",
    "numbers": "/history?show=numbers",
    "opened": "/history",
    "filters": "/history?part=P-1",
}
SEEN = {"gallery": "part-tile", "numbers": "numbers-table", "opened": "part-tile", "filters": "filters-clear"}


@pytest.mark.parametrize("state", STATES)
def test_it_fits_on_every_screen_and_axe_finds_nothing_serious(show: Show, state: str) -> None:
    page = show(Histories(), STATES[state]).page
    expect(page.get_by_test_id(SEEN[state]).first).to_be_visible()
    if state == "opened":
        page.get_by_test_id("part-tile").first.get_by_role("button").click()
        expect(page.get_by_test_id("opened-facts")).to_be_visible()
    for screen in ("400 % zoom", "phone", "phone on its side", "small panel", "desk", "wall"):
        width, height = SCREENS[screen]
        page.set_viewport_size({"width": width, "height": height})
        page.evaluate(DRAWN)
        fits(page, f"{state}, {screen}")
    page.evaluate(AXE)
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        assert page.evaluate(FINDINGS) == []


def test_streams_that_are_away_can_be_chosen(show: Show) -> None:
    page = show(Histories(), "/history").page
    for choice, panel in (("#filter-stream", None), ("#numbers-stream", "history-numbers")):
        if panel is not None:
            page.get_by_test_id(panel).click()
            expect(page.get_by_test_id("parts-parquet")).to_be_visible()
        expect(page.locator(f"{choice} option[value=line-away]")).to_have_count(1)


def test_numbers_name_the_shift_and_the_streams_that_have_no_parts(show: Show) -> None:
    page = show(Histories(free={"phone-1": (413, 8)}), "/history?show=numbers").page
    expect(page.get_by_test_id("numbers-time")).to_have_text("26 Nov, 22:00 – 27 Nov, 06:00, still running")
    expect(page.get_by_test_id("numbers-figures")).to_contain_text("Parts4,240")
    expect(page.get_by_test_id("numbers-free").locator("tbody tr")).to_have_text(re.compile("phone-14138"))
    page = show(Histories(), "/history?show=numbers").page
    expect(page.get_by_test_id("numbers-figures")).to_contain_text("Parts4,240")
    expect(page.get_by_test_id("numbers-free")).to_be_hidden()


def test_where_all_streams_run_freely_the_numbers_are_theirs(show: Show) -> None:
    none = row(6, 1, 0) | {"total": 0, "failed": 0}
    scene = Histories(free={"phone-1": (413, 8)})
    page = show(scene, "/history?show=numbers").page
    expect(page.get_by_test_id("numbers-free")).to_be_visible()
    parts = {"since": none["since"], "until": none["until"], "of": "part", "by": "hour", "shifts": [], "rows": []}

    def answer(route: Route) -> None:
        if "of=frame" in route.request.url or "by=shift" in route.request.url:
            route.fallback()
        else:
            route.fulfill(json=parts | {"all": none})

    page.route("**/api/numbers?*", answer)
    page.locator("#numbers-by").select_option("recipe")
    expect(page.get_by_test_id("numbers-figures")).to_contain_text("Frames413")
    expect(page.get_by_test_id("numbers-free")).to_be_hidden()


@pytest.mark.parametrize("width", [320, 390, 1440])
def test_a_time_fits_into_its_filter(show: Show, width: int) -> None:
    page = show(Histories(), "/history?part=P-1", width=width, height=844).page
    expect(page.locator("#filter-since")).to_be_visible()
    for name in ("since", "until"):
        room, wanted = page.locator(f"#filter-{name}").evaluate(
            """(input) => {
                const room = input.getBoundingClientRect().width;
                input.style.width = "max-content";
                const wanted = input.getBoundingClientRect().width;
                input.style.width = "";
                return [room, wanted];
            }"""
        )
        assert room >= wanted > 100
    fits(page, f"filters at {width}")


def test_the_chart_is_drawn_anew_where_its_room_changes(show: Show) -> None:
    page = show(Histories(), "/history?show=numbers", width=1440, height=900).page
    chart = page.get_by_test_id("numbers-chart")
    expect(chart).to_be_visible()
    page.route("**/api/numbers?*", lambda route: route.abort())  # nothing comes that would draw it
    page.set_viewport_size({"width": 390, "height": 844})
    expect(chart).to_have_attribute("viewBox", re.compile(r"^0 0 3\d\d "))


def test_days_and_shifts_carry_the_servers_date(show: Show) -> None:
    tokyo = row(6, 300, 1, since="2026-11-26T00:00:00+09:00", until="2026-11-27T00:00:00+09:00", shift="night")
    answer = {"since": tokyo["since"], "until": tokyo["until"], "of": "part", "by": "day", "shifts": [], "all": tokyo}
    scene = Histories(answers={"GET /api/numbers": lambda _: (200, answer | {"rows": [tokyo]})})
    page = show(scene, "/history?show=numbers&by=day").page
    expect(page.get_by_test_id("numbers-table").locator("tbody th")).to_have_text("26 Nov")
    page.locator("#numbers-by").select_option("shift")
    expect(page.get_by_test_id("numbers-table").locator("tbody th")).to_have_text("26 Nov, night")
