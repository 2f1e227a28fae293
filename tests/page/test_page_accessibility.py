"""The page without a mouse and without eyes."""

from __future__ import annotations

from playwright.sync_api import Browser, expect

from tests.page.visits import Open

CONTROLS = {"button", "link", "combobox", "slider", "spinbutton", "textbox", "checkbox", "progressbar", "image"}
ALL_FOCUSABLE = """() => [...document.querySelectorAll("a[href], button, select, input")]
  .filter((e) => e.checkVisibility() && !e.disabled).map((e) => e.id || e.className || e.textContent.trim())"""
FOCUSED = """() => {
  const { id, className, textContent } = document.activeElement;
  const { outlineStyle, outlineWidth } = getComputedStyle(document.activeElement);
  const outlined = outlineStyle !== "none" && parseFloat(outlineWidth) >= 2;
  return { name: id || className || textContent.trim(), outlined };
}"""


def test_every_control_is_reached_by_tab_and_shows_it(visit: Open, good_camera: Browser, inspection: str) -> None:
    page = visit(good_camera, inspection).page
    page.get_by_test_id("start-camera").click()
    expect(page.get_by_test_id("verdict")).to_have_attribute("data-verdict", "NORMAL")
    expect(page.get_by_test_id("calibrate-button")).to_be_enabled()
    missing = set(page.evaluate(ALL_FOCUSABLE))
    assert {
        "source",
        "start-camera",
        "opacity",
        "calibrate-rule",
        "calibrate-n",
        "calibrate-button",
        "history-button",
    } <= missing
    for _ in range(2 * len(missing) + 4):
        page.keyboard.press("Tab")
        focused = page.evaluate(FOCUSED)
        if focused["name"] in missing:
            assert focused["outlined"], f"{focused['name']} does not show that it has the focus"
            missing.discard(focused["name"])
    assert missing == set()


def test_every_control_has_a_name(visit: Open, good_camera: Browser, inspection: str) -> None:
    page = visit(good_camera, inspection).page
    page.get_by_test_id("start-camera").click()
    expect(page.get_by_test_id("verdict")).to_have_attribute("data-verdict", "NORMAL")
    tree = page.context.new_cdp_session(page).send("Accessibility.getFullAXTree")
    found = [
        (node["role"]["value"].lower(), node.get("name", {}).get("value", ""))
        for node in tree["nodes"]
        if not node["ignored"] and node.get("role")
    ]
    controls = [(role, name) for role, name in found if role in CONTROLS]
    assert len(controls) >= 8
    assert [role for role, name in controls if not name.strip()] == []


def test_a_verdict_that_holds_is_spoken(visit: Open, browser: Browser, line: str) -> None:
    page = visit(browser, line).page
    expect(page.locator("#spoken")).to_have_text("ANOMALY")  # a part in seven
