"""Logging in, being let in, and being put out, through the page of a real server."""

from __future__ import annotations

from playwright.sync_api import Browser, expect

from tests.page.conftest import PATIENCE_MS
from tests.page.staff import own_login

PAIR = """() => fetch("api/pairings", {
  method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ stream: "phone-9" }),
}).then((answer) => answer.json())"""


def test_a_login_is_made_used_and_ended_and_a_phone_is_paired(browser: Browser, closed_server: str) -> None:
    contexts = [browser.new_context() for _ in range(3)]
    for context in contexts:
        context.set_default_timeout(PATIENCE_MS)
    admin, viewer, phone = (context.new_page() for context in contexts)

    admin.goto(f"{closed_server}/settings?show=people")
    admin.get_by_label("Access code or token").fill("7KQ2-M9XR-4TBD")
    admin.get_by_role("button", name="Enter").click()
    expect(admin.get_by_test_id("token")).to_contain_text("access code")
    expect(admin.get_by_test_id("you-open")).to_contain_text("admin")
    admin.get_by_test_id("user-name").fill("vera")
    admin.get_by_test_id("user-role").select_option("viewer")
    admin.get_by_test_id("user-add").click()
    password = admin.get_by_test_id("user-secret-code").inner_text()

    viewer.goto(f"{closed_server}/recipes")
    viewer.get_by_label("Name").fill("vera")
    viewer.get_by_label("Password").fill(password)
    viewer.keyboard.press("Enter")
    expect(viewer.get_by_test_id("navigation").get_by_role("link")).to_have_text(["Live", "Recipes", "History"])
    expect(viewer).to_have_url(f"{closed_server}/recipes")
    own_login(viewer)
    viewer.get_by_test_id("you-current").fill(password)
    viewer.get_by_test_id("you-new").fill("a long sentence here")
    viewer.keyboard.press("Enter")
    expect(viewer.get_by_test_id("you-told")).to_contain_text("The password is changed")
    admin.get_by_role("button", name="Disable: vera").click()
    viewer.wait_for_url("**/enter?next=**")

    pairing = admin.evaluate(PAIR)
    phone.goto(f"{closed_server}/{pairing['path']}")
    phone.get_by_role("button", name="Pair this phone").click()
    expect(phone.get_by_test_id("you-open")).to_have_attribute("aria-label", "phone-9, a paired phone: your login")
    expect(phone.get_by_test_id("navigation")).to_be_hidden()
    expect(phone.get_by_test_id("start-camera")).to_be_visible()
    admin.get_by_role("button", name="End: phone-9").click()
    phone.wait_for_url("**/enter?next=**")
    expect(admin.get_by_test_id("audit-entry").filter(has_text="vera").first).to_be_visible()
    admin.get_by_test_id("you-open").click()
    admin.get_by_test_id("you-log-out").click()
    admin.wait_for_url("**/enter?next=**")
    for context in contexts:
        context.close()
