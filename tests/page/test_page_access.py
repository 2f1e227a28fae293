"""Who is at the page, what it offers that one, and how logins, tokens and phones are kept."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.page.scene import stream, whoever
from tests.page.staff import PAIRING, Staff, own_login, pairing, people, session
from tests.page.visits import Show, requests_held


def test_a_viewer_watches_and_is_offered_nothing_else(show: Show) -> None:
    staff = Staff(me=whoever("viewer", "session"), streams=[stream("press", parts_by="trigger")])
    page = show(staff).page
    expect(page.get_by_test_id("verdict")).to_have_attribute("data-verdict", re.compile("NORMAL|WAITING"))
    expect(page.get_by_test_id("alarms-list").locator("li")).to_have_count(12)
    for test_id in ("start-camera", "parts-trigger-now", "parts-reset", "escape", "calibrate-button", "use-a-phone"):
        expect(page.get_by_test_id(test_id)).to_be_hidden()
    expect(page.get_by_test_id("threshold-grip")).to_be_hidden()
    expect(page.get_by_test_id("source-select")).not_to_contain_text("This device")
    expect(page.get_by_test_id("recipe-select")).to_be_disabled()
    expect(page.get_by_test_id("calibration-lacks")).to_have_text("Calibrating is for an engineer.")
    expect(page.get_by_test_id("navigation").get_by_role("link")).to_have_text(["Live", "Recipes", "History"])
    page.get_by_test_id("alarms-list").get_by_role("button").first.click()
    expect(page.get_by_test_id("correction-lacks")).to_be_visible()
    expect(page.get_by_test_id("was-good")).to_be_hidden()
    page.keyboard.press("Escape")
    page.get_by_test_id("navigation").get_by_role("link", name="Recipes").click()
    expect(page.get_by_test_id("recipe-name")).to_have_text("Bottle, brown")
    expect(page.get_by_test_id("recipe-delete")).to_be_hidden()
    expect(page.get_by_test_id("regions-edit")).to_be_hidden()
    expect(page.get_by_test_id("decision-n")).to_be_disabled()
    assert staff.changed == []


def test_what_is_for_another_role_says_so_and_opens_when_the_role_is_given(show: Show) -> None:
    staff = Staff(me=whoever("operator", "session"))
    page = show(staff, "/teach").page
    expect(page.get_by_test_id("barred")).to_contain_text("This is for an engineer. You are here as an operator")
    page.get_by_test_id("navigation").get_by_role("link", name="Settings").click()
    expect(page.get_by_test_id("settings-pair")).to_be_visible()
    for test_id in ("camera-form", "sinks", "settings-table", "settings-people"):
        expect(page.get_by_test_id(test_id)).to_be_hidden()
    asked = [where for _, where, _ in staff.asked]
    assert "/api/settings" not in asked and "/api/sinks" not in asked
    staff.me = whoever("engineer", "session")
    staff.answers["GET /api/cameras"] = lambda _: (403, {"error": "that is for others"})  # which makes it ask who it is
    expect(page.get_by_test_id("navigation").get_by_role("link", name="Teach")).to_be_visible()


def test_a_paired_phone_sends_under_its_streams_name_and_sees_live_alone(show: Show) -> None:
    staff = Staff(me=whoever("operator", "device", name="phone-1", streams=["phone-1"]), streams=[])
    page = show(staff, width=390, height=844).page
    expect(page.get_by_test_id("verdict")).to_contain_text("press Start camera")
    page.get_by_test_id("start-camera").click()  # there is none: the name is said all the same
    expect(page.locator("#caption-source")).to_have_text("This device’s camera, sent as phone-1")
    expect(page.get_by_test_id("navigation")).to_be_hidden()
    assert "/api/recipes" not in [where for _, where, _ in staff.asked]
    page.goto(page.url + "history")
    expect(page.get_by_test_id("barred")).to_contain_text("paired for one stream")


def test_who_is_logged_out_is_led_to_the_form_and_who_may_not_is_told_why(show: Show) -> None:
    page = show(Staff(), "/history").page
    page.get_by_test_id("navigation").get_by_role("link", name="Live").click()
    expect(page.get_by_test_id("connection")).to_have_text("Connected")
    end = """code => {
      const socket = scene.sockets.at(-1);
      socket.close();
      socket.onclose({ code, reason: "the role viewer does not suffice" });
    }"""
    sockets = page.evaluate("scene.sockets.length")
    page.evaluate(end, 4403)
    expect(page.get_by_text("The role viewer does not suffice.").first).to_be_visible()
    assert page.evaluate("scene.sockets.length") == sockets, "it does not come back by itself"
    with page.expect_request("**/enter?next=%2F"):
        page.evaluate(end, 4401)


def test_ones_own_login_is_seen_and_its_password_changed(show: Show) -> None:
    staff = Staff(me=whoever("operator", "session"))
    staff.sessions.append(staff.sessions[0] | {"id": "s3", "own": False, "address": "10.0.0.99"})
    page = show(staff).page
    expect(page.get_by_test_id("you-open")).to_have_text("ana-operator operator")
    page.get_by_test_id("you-open").click()
    expect(page.get_by_test_id("you-session")).to_have_count(2)
    expect(page.get_by_test_id("you-session").first).to_contain_text("Firefox on Windows")
    page.keyboard.press("Escape")
    staff.sessions[-1]["address"] = "10.0.0.98"  # it went on from there
    page.get_by_test_id("you-open").click()
    expect(page.get_by_test_id("you-session").last).to_contain_text("10.0.0.98, seen")
    page.get_by_role("button", name="End Firefox on Windows, 10.0.0.98").click()
    expect(page.get_by_test_id("you-session")).to_have_count(1)
    page.get_by_test_id("you-password-open").click()
    wrong = (409, {"error": "the current password is another one; nothing was changed"})
    staff.answers["POST /api/me/password"] = lambda _: wrong
    page.get_by_test_id("you-current").fill("not this one")
    page.get_by_test_id("you-new").fill("a sentence to keep")
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("you-password-told")).to_contain_text("The current password is another one")
    del staff.answers["POST /api/me/password"]
    page.get_by_test_id("you-password-save").click()
    expect(page.get_by_test_id("you-told")).to_contain_text("The password is changed")
    assert staff.said("POST", "/api/me/password")[-1] == {"current": "not this one", "new": "a sentence to keep"}
    expect(page.get_by_test_id("you-current")).to_have_value("")
    with page.expect_request("**/enter?next=%2F"):
        page.get_by_test_id("you-log-out").click()
    assert staff.said("POST", "/api/logout") == [None]


def test_people_and_machines_are_kept(show: Show) -> None:
    staff = Staff(warning="the disk is full")
    page = show(staff, "/settings?show=people").page
    people(page)
    page.get_by_test_id("user-name").fill("cleo")
    page.get_by_test_id("user-role").select_option("engineer")
    page.get_by_test_id("user-add").click()
    expect(page.get_by_test_id("user-secret-code")).to_have_text("wolf-tin-apple-94")
    expect(page.get_by_test_id("user-secret-copy")).to_be_focused()
    page.get_by_role("button", name="I have it").click()
    expect(page.get_by_test_id("user")).to_have_count(3)
    assert "wolf-tin-apple-94" not in page.content()
    last = "ana-admin is the last admin: make another one first"
    staff.answers["PATCH /api/users/ana-admin"] = lambda _: (409, {"error": last})
    page.get_by_label("Role of ana-admin").select_option("viewer")
    expect(page.get_by_test_id("users-told")).to_have_text("Ana-admin is the last admin: make another one first.")
    expect(page.get_by_label("Role of ana-admin")).to_have_value("admin")
    page.get_by_role("button", name="Enable: ben").click()
    page.get_by_test_id("token-name").fill("plc")
    page.get_by_test_id("token-streams").fill("press, gate")
    page.get_by_test_id("token-days").fill("90")
    page.get_by_test_id("token-add").click()
    expect(page.get_by_test_id("token-secret-code")).to_have_text("dvt_secret")
    changed = {(method, path): body for method, path, body in staff.changed}
    assert changed["PATCH", "users/ben"] == {"disabled": False}
    assert changed["POST", "tokens"] == {"name": "plc", "role": "operator", "streams": ["press", "gate"], "days": 90}
    expect(page.get_by_test_id("token").first).to_contain_text("from the setting ACCESS_CODE")
    expect(page.get_by_role("button", name="Revoke: access code")).to_have_count(0)
    staff.sessions[1]["address"] = "10.0.0.77"  # the phone went on from there
    expect(page.get_by_test_id("session").last).to_contain_text("10.0.0.77, seen")
    page.get_by_role("button", name="End: phone-1, 10.0.0.77").click()
    expect(page.get_by_test_id("session")).to_have_count(1)
    expect(page.get_by_test_id("audit-warning")).to_have_text("The disk is full.")
    page.get_by_test_id("audit-more").click()
    expect(page.get_by_test_id("audit-entry")).to_have_count(9)
    page.get_by_test_id("audit-filter").fill("BEN sink")
    expect(page.get_by_test_id("audit-entry")).to_have_count(2)
    expect(page.get_by_test_id("audit-file")).to_have_attribute("href", "api/audit.jsonl")
    staff.answers["GET /api/audit"] = lambda _: (503, {"error": "the audit log cannot be read"})
    expect(page.get_by_test_id("audit-told")).to_have_text("The audit log cannot be read.")
    staff.sessions.append(session("s3", "thief", "admin"))  # who can be thrown out all the same
    expect(page.get_by_test_id("session")).to_have_count(2)
    del staff.answers["GET /api/audit"]
    expect(page.get_by_test_id("audit-told")).to_have_text("")


def path_of(url: str) -> str:
    """With its query."""
    return "/" + url.split("/", 3)[3]


@pytest.mark.parametrize("width", [390, 1440])
def test_phones_go_with_the_login_that_paired_them_unless_the_box_is_unticked(show: Show, width: int) -> None:
    staff = Staff()
    more = [session("s3", "phone-2", kind="device", by="Ana-admin"), session("s4", "gate", kind="device", by="robot-4")]
    staff.sessions += more
    page = show(staff, "/settings?show=people", width=width, height=900).page
    expect(page.get_by_test_id("session")).to_have_count(4)
    asked: list[str] = []
    page.on(
        "request", lambda one: one.method in ("PATCH", "DELETE") and asked.append(f"{one.method} {path_of(one.url)}")
    )
    page.get_by_role("button", name="Disable: ana-admin").click()
    expect(page.get_by_test_id("question")).to_contain_text("Revoke 2 phones that it paired, too")
    page.get_by_test_id("question-yes").click()
    page.get_by_role("button", name="Revoke: robot-4").click()
    page.get_by_label("Revoke 1 phone that it paired, too").uncheck()
    page.get_by_test_id("question-yes").click()
    expect(page.get_by_test_id("question")).to_have_count(0)
    page.get_by_role("button", name="Remove: ben").click()
    expect(page.get_by_test_id("question-also")).to_have_count(0)  # it paired none
    page.get_by_test_id("question-no").click()
    assert asked == ["PATCH /api/users/ana-admin?phones=1", "DELETE /api/tokens/id-robot-4"]


def test_a_phone_is_paired_and_its_code_leaves_the_page(show: Show) -> None:
    staff = Staff(me=whoever("operator", "session"))
    page = show(staff).page
    pairing(page)
    expect(page.get_by_test_id("pairing-url")).to_have_text(PAIRING)
    expect(page.get_by_test_id("pairing-left")).to_contain_text("Good once, for 10 minutes more.")
    staff.waits = False
    expect(page.get_by_test_id("pairing-told")).to_contain_text("✓ Paired: press may send and watch press.")
    assert page.get_by_test_id("pairing-qr").locator("svg").count() == 0 and PAIRING not in page.content()
    staff.url = None
    page.get_by_test_id("pairing-again").click()
    page.get_by_test_id("pairing-stream").fill("no name!")
    page.get_by_test_id("pairing-show").click()
    expect(page.get_by_test_id("pairing-told")).to_contain_text("1 to 64 letters")
    page.get_by_test_id("pairing-stream").fill("phone-7")
    page.get_by_test_id("pairing-show").click()
    expect(page.get_by_test_id("pairing-told")).to_contain_text("No phone reaches this server")
    staff.url, staff.waits = PAIRING.replace("https:", "http:"), True
    page.get_by_test_id("pairing-show").click()
    expect(page.get_by_test_id("pairing-told")).to_contain_text("The phone may watch, but not send")


def test_ten_minutes_are_over(show: Show) -> None:
    staff = Staff()
    page = show(staff).page
    page.clock.install()
    pairing(page)
    page.clock.fast_forward("10:01")
    expect(page.get_by_test_id("pairing-told")).to_have_text("The ten minutes are over. Show another one.")
    expect(page.get_by_test_id("pairing-qr").locator("svg")).to_have_count(0)


def test_a_code_that_comes_late_is_not_shown_in_another_form(show: Show) -> None:
    page = show(Staff()).page
    held = requests_held(page, "**/api/pairings")
    expect(page.get_by_test_id("connection")).not_to_have_text("Connecting")
    for _ in range(2):
        page.get_by_test_id("you-open").click()
        page.get_by_role("button", name="Pair a phone").click()
        expect(page.get_by_test_id("pairing-show")).to_be_visible()
        if not held:
            page.get_by_test_id("pairing-show").click()
            expect(page.get_by_test_id("pairing-show")).to_be_disabled()
            page.keyboard.press("Escape")
    held[0].fallback()
    expect(page.get_by_test_id("pairing-show")).to_be_enabled()
    expect(page.get_by_test_id("pairing-show")).to_be_visible()
    expect(page.get_by_test_id("pairing-qr").locator("svg")).to_have_count(0)


def test_the_form_is_filled_by_a_password_store(show: Show) -> None:
    page = show(Staff()).page
    own_login(page)
    expect(page.get_by_test_id("you-current")).to_have_attribute("autocomplete", "current-password")
    expect(page.get_by_test_id("you-new")).to_have_attribute("autocomplete", "new-password")
    expect(page.get_by_test_id("you-current")).to_be_focused()
