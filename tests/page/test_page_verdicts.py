"""What stands as a verdict on the pages: only what is known to be so now."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.page.scene import Scene, stream
from tests.page.visits import Show

SCREENS = [("/", "verdict"), ("/kiosk/press", "kiosk"), ("/panel/press", "panel")]
"""Where a verdict is shown, and on what."""

SAY = """message => scene.sockets.filter(one => one.name === message.stream && one.readyState === 1)
  .forEach(one => one.say(message))"""


def triggered(**about: Any) -> dict[str, Any]:
    return stream("press", parts_by="trigger", recipe_name="Bottle, brown", **about)


def say_part(page: Page, number: int, verdict: str, stream: str = "press") -> None:
    """Have the played server say the verdict of a part."""
    raw = 12.5 if verdict == "ANOMALY" else 6.2
    found = {"score": 0.12, "raw_score": raw, "threshold": 9.43, "threshold_source": "model", "cycle_ms": 40.0}
    about = {"type": "part", "stream": stream, "number": number, "part": None, "source": "trigger", "why": None}
    page.evaluate(SAY, about | found | {"verdict": verdict})


def show_part(page: Page, number: int, raw: float, stream: str = "press") -> None:
    """From now on the frames are of this part (0: of none), and score so much."""
    page.evaluate("([name, part, raw]) => Object.assign(scene.plays[name], { partNumber: part, raws: [raw] })", [
        stream,
        number,
        raw,
    ])  # fmt: skip


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
