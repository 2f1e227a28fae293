"""The machines around, through the page: tried before they are added, changed, switched and removed."""

from __future__ import annotations

import re

from playwright.sync_api import Browser, expect

from detector.extras import to_install
from tests.page.visits import Open, Show, requests_held
from tests.page.workshop import Workshop, sink


def test_a_machine_is_tried_added_and_its_secret_leaves_the_page(show: Show) -> None:
    shop = Workshop()
    page = show(shop, "/settings").page
    page.get_by_test_id("sink-kind").select_option("webhook")
    expect(page.get_by_test_id("sink-kind-about")).to_contain_text("signed")
    page.get_by_test_id("sink-begin").click()
    tried = page.get_by_test_id("sink-form-tried")
    expect(page.get_by_test_id("sink-name")).to_be_focused()
    page.get_by_test_id("sink-form-test").click()
    expect(tried).to_have_text("Address is missing.")
    expect(page.get_by_test_id("sink-setting-url")).to_be_focused()
    page.get_by_test_id("sink-setting-url").fill("https://mes.plant/webhooks")
    page.get_by_test_id("sink-make").click()
    expect(tried).to_contain_text("it is not shown again")
    made = page.get_by_test_id("sink-setting-secret").input_value()
    assert re.fullmatch(r"whsec_[A-Za-z0-9+/]{43}=", made)
    shop.tried = {"ok": False, "words": "nothing listens at mes.plant on that port: is the receiver started?"}
    page.get_by_test_id("sink-form-test").click()
    expect(tried).to_have_text("Nothing listens at mes.plant on that port: is the receiver started?")
    shop.tried = {"ok": True, "words": "a signed event of type test was answered by mes.plant with 204 after 12 ms"}
    page.get_by_test_id("sink-form-test").click()
    expect(tried).to_contain_text("✓ A signed event of type test was answered")
    page.get_by_test_id("sink-save").click()
    expect(tried).to_contain_text("The name has 1 to 64 letters")
    page.get_by_test_id("sink-name").fill("mes")
    page.get_by_text("What it is told").click()
    page.get_by_test_id("sink-told-parts").select_option("rejects")
    page.get_by_label("Free-running results of a stream").press_sequentially("e")
    page.get_by_test_id("sink-save").click()
    expect(tried).to_have_text("Free-running results of a stream is a number.")
    page.get_by_label("Free-running results of a stream").fill("0")
    shop.told = lambda *_: shop.sinks.append(sink("mes", "connecting"))
    page.get_by_test_id("sink-save").click()
    expect(page.get_by_test_id("sink-tried")).to_have_text("✓ mes is kept.")
    assert shop.changed[-1] == (
        "POST",
        "sinks",
        {
            "kind": "webhook",
            "name": "mes",
            "settings": {"url": "https://mes.plant/webhooks", "secret": made, "ca": ""},
            "told": {"streams": [], "parts": "rejects", "verdicts": True, "results_per_s": 0, "state": True},
            "enabled": True,
        },
    )
    expect(page.get_by_test_id("sink-form")).to_be_hidden()
    assert made not in page.content()


def test_how_it_is_doing_is_said_in_words(show: Show) -> None:
    why = "nothing listens at mes.plant on that port: is the receiver started?"
    shop = Workshop(sinks=[sink("mes", "retrying", last_error=why, waiting=312, dropped=1200)])
    page = show(shop, "/settings").page
    row = page.get_by_test_id("sink")
    expect(row).to_contain_text("⚠ not reached")
    expect(row).to_contain_text("Nothing listens at mes.plant on that port: is the receiver started? Next try in 8 s.")
    expect(row).to_contain_text("1,204 events delivered · 312 waiting · 1,200 lost: too many waited")
    shop.sinks[0] = sink("mes", words="delivering to mes.plant")
    expect(row).to_contain_text("● up")
    expect(row).to_contain_text("Delivering to mes.plant.")
    shop.tried = {"ok": False, "words": "it answers 500 Internal Server Error: the receiver's log should say why"}
    page.get_by_test_id("sink-test").click()
    expect(page.get_by_test_id("sink-tried")).to_contain_text("It answers 500")


def test_one_is_changed_without_its_secret_switched_off_and_removed(show: Show) -> None:
    shop = Workshop(sinks=[sink("mes", secrets=["authorization", "secret"])])
    page = show(shop, "/settings").page
    page.get_by_role("button", name="Change mes").click()
    expect(page.get_by_test_id("sink-setting-secret")).to_have_value("")
    expect(page.get_by_test_id("sink-form")).to_contain_text("One is kept: leave it empty to keep it.")
    page.get_by_text("More", exact=True).click()
    page.get_by_label("Authorization header: forget the one that is kept").check()
    page.get_by_test_id("sink-name").fill("mes-2")
    shop.told = lambda *_: shop.sinks[0].update(name="mes-2")
    page.get_by_test_id("sink-save").click()
    expect(page.get_by_test_id("sink")).to_contain_text("mes-2 is kept")
    method, path, body = shop.changed[-1]
    assert (method, path, body["name"]) == ("PATCH", "sinks/id-mes", "mes-2") and "secret" not in body["settings"]
    assert body["settings"]["authorization"] == ""
    shop.told = lambda *_: shop.sinks.__setitem__(0, sink("mes-2", "off"))
    page.get_by_role("button", name="Switch off mes-2").click()
    expect(page.get_by_test_id("sink")).to_contain_text("○ off")
    assert shop.changed[-1][2] == {"enabled": False}
    shop.told = lambda *_: shop.sinks.clear()
    page.get_by_role("button", name="Remove mes-2").click()
    page.get_by_test_id("question-yes").click()
    expect(page.get_by_test_id("sink")).to_have_count(0)


def test_an_answer_about_one_machine_leaves_the_form_of_another(show: Show) -> None:
    page = show(Workshop(sinks=[sink("mes"), sink("rejects", kind="folder")]), "/settings").page
    form, rows = page.get_by_test_id("sink-form"), page.get_by_test_id("sink")
    held = requests_held(page, "**/api/sinks/id-mes")
    for answer, said in ((200, "✓ mes is kept."), (507, "The disk is full.")):
        page.get_by_role("button", name="Change mes").click()
        page.get_by_test_id("sink-save").click()
        page.get_by_role("button", name="Change rejects").click()
        expect(form).to_contain_text("Change rejects")
        held.pop().fulfill(status=answer, json={} if answer == 200 else {"error": "the disk is full"})
        expect(rows.first).to_contain_text(said)
        expect(form).to_contain_text("Change rejects")
        expect(form).not_to_contain_text(said)


def test_a_new_machine_that_could_not_be_added_is_named_once_its_form_is_gone(show: Show) -> None:
    page = show(Workshop(sinks=[]), "/settings").page
    held = requests_held(page, "**/api/sinks", lambda request: request.method == "POST")
    page.get_by_test_id("sink-kind").select_option("webhook")
    page.get_by_test_id("sink-begin").click()
    page.get_by_test_id("sink-name").fill("mes")
    page.get_by_test_id("sink-setting-url").fill("https://mes.plant/webhooks")
    page.get_by_test_id("sink-make").click()
    with page.expect_request(lambda request: request.method == "POST"):
        page.get_by_test_id("sink-save").click()
    page.get_by_test_id("sink-cancel").click()
    held[0].fulfill(status=507, json={"error": "the disk is full"})
    told = page.get_by_test_id("sinks-told")
    expect(told).to_have_text("mes: The disk is full.")
    page.get_by_test_id("sink-begin").click()
    expect(told).to_have_text("")


def test_what_was_tried_of_a_machine_is_not_said_of_what_is_written_later(show: Show) -> None:
    shop = Workshop(sinks=[sink("mes")])
    shop.tried = {"ok": True, "words": "a signed event of type test was answered"}
    page = show(shop, "/settings").page
    page.get_by_role("button", name="Change mes").click()
    tried = page.get_by_test_id("sink-form-tried")
    page.get_by_test_id("sink-form-test").click()
    expect(tried).to_contain_text("✓ A signed event")
    page.get_by_test_id("sink-name").fill("mes-2")
    expect(tried).to_contain_text("✓ A signed event")
    page.get_by_test_id("sink-setting-url").fill("https://other.plant/webhooks")
    expect(tried).to_have_text("")


def test_what_is_not_installed_says_how(show: Show) -> None:
    shop = Workshop()
    missing = f"it needs a package that is not installed: {to_install('webhook')}, then start again"
    shop.kinds = [one | {"missing": missing} if one["name"] == "webhook" else one for one in shop.kinds]
    page = show(shop, "/settings").page
    page.get_by_test_id("sink-kind").select_option("webhook")
    expect(page.get_by_test_id("sink-kind-about")).to_contain_text(to_install("webhook"))
    expect(page.get_by_test_id("sink-begin")).to_be_disabled()
    page.get_by_test_id("sink-kind").select_option("folder")
    expect(page.get_by_test_id("sink-begin")).to_be_enabled()


def test_a_folder_is_added_tried_changed_and_removed_on_a_real_server(
    browser: Browser, visit: Open, documents: str
) -> None:
    page = visit(browser, f"{documents}/settings", width=390, height=844).page
    page.get_by_test_id("sink-kind").select_option("folder")
    page.get_by_test_id("sink-begin").click()
    page.get_by_test_id("sink-name").fill("rejects")
    page.get_by_test_id("sink-setting-folder").fill("/etc")
    page.get_by_test_id("sink-form-test").click()
    expect(page.get_by_test_id("sink-form-tried")).to_contain_text("below one that the setting SINK_FOLDERS names")
    page.get_by_test_id("sink-setting-folder").fill("")
    page.get_by_test_id("sink-form-test").click()
    expect(page.get_by_test_id("sink-form-tried")).to_contain_text("can be written")
    page.get_by_test_id("sink-save").click()
    row = page.get_by_test_id("sink")
    expect(row).to_contain_text("● up")
    expect(row).to_contain_text("holds 0 events")
    page.get_by_role("button", name="Test rejects").click()
    expect(page.get_by_test_id("sink-tried")).to_contain_text("can be written")
    page.get_by_role("button", name="Change rejects").click()
    page.get_by_test_id("sink-setting-most_events").fill("5")
    page.get_by_test_id("sink-save").click()
    expect(page.get_by_test_id("sink-form-tried")).to_have_text("Events at the most is from 10 to 100000.")
    page.get_by_test_id("sink-setting-most_events").fill("500")
    page.get_by_test_id("sink-enabled").uncheck()
    page.get_by_test_id("sink-save").click()
    expect(row).to_contain_text("rejects is kept, and off")
    expect(row).to_contain_text("○ off")
    page.get_by_role("button", name="Remove rejects").click()
    page.get_by_test_id("question-yes").click()
    expect(row).to_have_count(0)
