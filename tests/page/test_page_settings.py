"""Settings and History through the page: cameras are tried before they are added, and nothing is a dead end."""

from __future__ import annotations

import base64
import re

import cv2
import numpy as np
from playwright.sync_api import expect

from tests.page.scene import kept, whoever
from tests.page.visits import Show, requests_held
from tests.page.workshop import Workshop, camera

PIXEL = base64.b64encode(cv2.imencode(".jpg", np.zeros((48, 64, 3), np.uint8))[1].tobytes()).decode()


def test_a_camera_is_tried_added_and_removed(show: Show) -> None:
    shop = Workshop(cameras=[camera("press", origin="CAMERAS")])
    page = show(shop, "/settings").page
    tried = page.get_by_test_id("camera-tried")
    page.get_by_test_id("camera-test").click()
    expect(tried).to_contain_text("Give the address of the camera")
    page.get_by_test_id("camera-source").fill("rtsp://10.0.0.7/lid")
    shop.tried = {"ok": False, "problem": "it refused the connection", "picture": None}
    page.get_by_test_id("camera-test").click()
    expect(tried).to_have_text("It refused the connection.")
    shop.tried = {"ok": True, "problem": None, "picture": PIXEL, "width": 1280, "height": 720, "fps": 24.8}
    page.get_by_test_id("camera-test").click()
    expect(tried).to_contain_text("1280 × 720, 24.8 pictures a second")
    expect(page.get_by_test_id("camera-preview")).to_be_visible()
    page.get_by_text("Size, rate and crop").click()
    page.get_by_label("Frames a second").press_sequentially("2e")
    page.get_by_test_id("camera-test").click()
    expect(tried).to_have_text("Frames a second is a number.")
    page.get_by_label("Frames a second").fill("")
    page.get_by_test_id("camera-add").click()
    expect(tried).to_contain_text("The name has 1 to 64 letters")
    page.get_by_test_id("camera-name").fill("lid")
    shop.told = lambda *_: shop.cameras.append(camera("lid", "connecting"))
    page.get_by_test_id("camera-add").click()
    expect(page.get_by_test_id("camera")).to_have_count(2)
    assert shop.changed[-1] == ("POST", "cameras", {"name": "lid", "source": "rtsp://10.0.0.7/lid"})
    expect(tried).to_have_text("✓ lid is added, and connecting…")
    shop.cameras[1] |= camera("lid", "retrying", problem="it refused the connection")
    expect(tried).to_contain_text("lid is added, but away. It refused the connection.")
    shop.cameras[1] |= camera("lid") | {"source": "rtsp://10.0.0.8/lid"}  # added anew, elsewhere
    expect(page.get_by_test_id("camera").last).to_contain_text("rtsp://10.0.0.8/lid")
    expect(tried).to_have_text("✓ lid is added and live.")
    shop.cameras[1] |= {"dropped": 1204}
    expect(page.get_by_test_id("camera").last).to_contain_text("1,204 frames dropped since the start")
    page.get_by_test_id("camera-name").fill("n")
    expect(tried).to_be_hidden()
    shop.told = lambda *_: shop.cameras.pop()
    page.get_by_test_id("camera-remove").click()  # those of CAMERAS have no such button
    page.get_by_test_id("question-yes").click()
    expect(page.get_by_test_id("camera")).to_have_count(1)


def test_what_was_tried_is_not_said_of_what_is_written_later(show: Show) -> None:
    shop = Workshop()
    shop.tried = {"ok": True, "problem": None, "picture": PIXEL, "width": 1280, "height": 720, "fps": 24.8}
    page = show(shop, "/settings").page
    tried, source = page.get_by_test_id("camera-tried"), page.get_by_test_id("camera-source")
    expect(page.get_by_test_id("camera-add")).to_be_enabled()
    source.fill("rtsp://10.0.0.7/lid")
    page.get_by_test_id("camera-test").click()
    expect(tried).to_contain_text("It works")
    page.get_by_test_id("camera-name").fill("lid")
    expect(tried).to_contain_text("It works")
    source.fill("rtsp://10.0.0.8/lid")
    expect(tried).to_be_hidden()
    held = requests_held(page, "**/api/cameras/test")
    page.get_by_test_id("camera-test").click()
    expect(tried).to_contain_text("Connecting")
    source.fill("rtsp://10.0.0.9/lid")
    with page.expect_response("**/api/cameras/test"):
        held[0].fallback()
    expect(page.get_by_test_id("camera-test")).to_be_enabled()
    expect(tried).to_be_hidden()


def test_a_genicam_camera_is_found_and_its_settings_go_behind_its_name(show: Show) -> None:
    found = {"source": "genicam://Acme-M7-123", "vendor": "Acme", "model": "M7", "serial": "123", "address": "10.0.0.9"}
    shop = Workshop(answers={"GET /api/cameras/found": lambda _: (200, {"cameras": [found]})})
    page = show(shop, "/settings").page
    settings = page.get_by_test_id("camera-genicam")
    expect(page.get_by_test_id("camera-add")).to_be_enabled()
    expect(settings).to_be_hidden()
    page.get_by_test_id("camera-look").click()
    page.get_by_test_id("camera-found-one").click()
    expect(page.get_by_test_id("camera-source")).to_have_value("genicam://Acme-M7-123")
    expect(settings).to_be_visible()
    page.get_by_test_id("camera-name").fill("lid")
    page.get_by_test_id("camera-trigger").fill("Line1")
    page.get_by_test_id("camera-exposure").fill("500")
    shop.told = lambda *_: shop.cameras.append(camera("lid", "waiting"))
    page.get_by_test_id("camera-add").click()
    expect(page.get_by_test_id("camera-tried")).to_have_text("✓ lid is added, and waits for its trigger.")
    expect(page.get_by_test_id("camera")).to_contain_text("waits for its trigger")
    source = "genicam://Acme-M7-123?trigger=Line1&exposure=500"
    assert shop.changed[-1] == ("POST", "cameras", {"name": "lid", "source": source})
    expect(settings).to_be_hidden()


def test_this_device_gets_another_name_and_keeps_it(show: Show) -> None:
    page = show(Workshop(), "/settings").page
    expect(page.get_by_test_id("device-save")).to_be_enabled()
    page.get_by_test_id("device-name").fill("gate 7")
    page.get_by_test_id("device-save").click()
    assert page.get_by_test_id("device-name").evaluate("field => field.validity.patternMismatch")
    page.get_by_test_id("device-name").fill("gate-7")
    page.get_by_test_id("device-save").click()
    expect(page.get_by_test_id("device-told")).to_contain_text("sent as gate-7")
    page.reload()
    expect(page.get_by_test_id("device-name")).to_have_value("gate-7")


def test_settings_say_where_they_come_from_and_no_secret(show: Show) -> None:
    page = show(Workshop(me=whoever("admin", "session")), "/settings").page
    table = page.get_by_test_id("settings-table")
    expect(table.get_by_role("row", name="ACCESS_CODE")).to_contain_text("•••.env file")
    expect(table.get_by_role("row", name="MODEL_PATH")).to_contain_text("not setdefault")
    expect(page.get_by_test_id("about")).to_contain_text("everybody logs in")


def test_a_backup_is_for_admins_and_says_what_it_holds(show: Show) -> None:
    page = show(Workshop(me=whoever("admin", "session")), "/settings").page
    backup = page.get_by_test_id("backup")
    expect(backup).to_be_visible()
    expect(backup).to_have_attribute("href", "api/backup")
    expect(backup).to_have_accessible_description(re.compile("holds keys and passwords"))
    with page.expect_download() as download:
        page.context.route(
            "**/api/backup",
            lambda route: route.fulfill(body="PK", headers={"Content-Disposition": 'attachment; filename="b.zip"'}),
        )
        backup.click()
    assert download.value.suggested_filename == "b.zip"
    expect(page.get_by_test_id("about")).to_be_visible()  # the page stays
    expect(show(Workshop(me=whoever("engineer", "session")), "/settings").page.get_by_test_id("backup")).to_be_hidden()


def test_history_shows_alarms_and_changes_and_what_is_kept(show: Show) -> None:
    shop = Workshop(alarms=[kept(2, disposition="good"), kept(1)])
    page = show(shop, "/history").page
    expect(page.get_by_test_id("history-kept")).to_contain_text("until the server is started again")
    expect(page.get_by_test_id("alarm-kept")).to_have_count(4)  # of two streams
    expect(page.get_by_test_id("alarm-kept").first).to_contain_text("was good")
    page.get_by_test_id("history-changes-tab").click()
    expect(page.get_by_test_id("change").first).to_contain_text("Bottle, brown · Regionsversion 2 → 3")
