"""Each view × each role: whatever is offered may be done. Every control that is seen is used, and every link looked at;
what that asks of the server is held to what the server's own routes say it takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect
from starlette.routing import Match

from server.access import need_of
from server.app import create_app
from server.settings import Settings
from server.words import Role
from tests.page.histories import Histories
from tests.page.scene import kept, recipe, stream, whoever
from tests.page.staff import Staff
from tests.page.visits import Show
from tests.page.workshop import camera, change, correction, shown, sink
from tests.server.fakes import FakeModel

PRESS_ALL = (Path(__file__).parent / "press_all.js").read_text()
WHO = ("viewer", "operator", "engineer", "phone")
VIEWS = {
    "live": "/",
    "teach": "/teach",
    "recipes": "/recipes#bottle",
    "history": "/history",
    "numbers": "/history?show=numbers",
    "changes": "/history?show=changes",
    "settings": "/settings",
    "people": "/settings?show=people",
    "panel": "/panel/press",
}

NeedOf = Callable[[str, str], Role]


@dataclass
class Everything(Staff, Histories):
    """Something of each kind; ``beyond`` is what was asked for that who is at the page may not."""

    need: NeedOf = lambda method, path: Role.NOBODY
    beyond: list[str] = field(default_factory=list)

    def _said(self, method: str, path: str, query: dict[str, list[str]], body: Any) -> tuple[int, Any]:
        if self.need(method, path) > Role[self.me["role"].upper()]:
            self.beyond.append(f"{method} {path}")
            return 403, {"error": "that is for others"}
        return super()._said(method, path, query, body)


@pytest.fixture(scope="module")
def need(tmp_path_factory: pytest.TempPathFactory) -> NeedOf:
    """What a method of a path takes, as the server's routes say it."""
    settings = Settings(data_dir=tmp_path_factory.mktemp("data"), host="0.0.0.0")
    app = create_app(settings, make_model=FakeModel)  # type: ignore[arg-type]

    def told(method: str, path: str) -> Role:
        scope = {"type": "http", "method": method, "path": path, "headers": []}
        found = [need_of(one).role for one in app.routes if one.matches(scope)[0] is Match.FULL]
        return found[0] if found else Role.NOBODY

    return told


def everything(who: str, need: NeedOf) -> Everything:
    me = whoever("operator", "device", streams=["press"]) if who == "phone" else whoever(who, "session")
    by_hand = {"version": 3, "rule": {"one_in": 30}, "threshold": 9.43, "threshold_source": "calibration"}
    bottle = recipe("bottle", "Bottle, brown", decision={"kind": "n_of_m", "n": 2, "m": 3, "release": 0.9})
    return Everything(
        me=me,
        need=need,
        streams=[stream("press", parts_by="trigger"), stream("gate")],
        recipes=[bottle | {"by_hand": by_hand}, recipe("lid", "Lid", streams=[], is_default=False)],
        alarms=[kept(2, disposition="good", correction="c1"), kept(1)],
        history=[change("regions", 3, "none", "1 ignored"), change("taught", 1)],
        corrections=[correction("c1")],
        cameras=[camera("line-2"), camera("press", origin="CAMERAS")],
        teachings=[shown(6)],
        sinks=[sink("mes", words="delivering to mes.plant")],
    )


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("who", WHO)
def test_what_is_offered_may_be_done(show: Show, need: NeedOf, who: str, view: str) -> None:
    scene = everything(who, need)
    page = show(scene, VIEWS[view]).page
    if view != "panel":
        expect(page.get_by_test_id("connection")).not_to_have_text("Connecting")
        expect(page.locator("html")).to_have_attribute("data-may", " ".join(scene.me["may"]))
    else:
        expect(page.get_by_test_id("parts")).to_be_visible()
    page.wait_for_load_state("networkidle")
    found = page.evaluate(PRESS_ALL)
    page.wait_for_load_state("networkidle")
    paths = [urlsplit(link).path for link in found["links"] if link.startswith(page.url.split("/", 3)[0])]
    beyond = [f"link {path}" for path in paths if need("GET", path) > Role[scene.me["role"].upper()]]
    assert [*scene.beyond, *beyond] == [], found["used"]
    assert len(found["used"]) > 2 or view == "panel", "there was something to press"


@pytest.mark.parametrize(("who", "words"), [("engineer", "None yet."), ("admin", "None yet. Add a network camera, or")])
def test_nobody_is_told_to_add_what_only_an_admin_may(show: Show, need: NeedOf, who: str, words: str) -> None:
    scene = everything(who, need)
    scene.cameras = []
    page = show(scene, "/settings").page
    empty = page.locator("#cameras-none")
    expect(empty).to_be_visible()
    assert empty.inner_text().startswith(words) and (who == "admin" or empty.inner_text() == words)


def test_it_would_be_seen(show: Show, need: NeedOf) -> None:
    """The check itself: an admin's page, at which a viewer sits, asks for what a viewer may not."""
    scene = everything("admin", need)
    page = show(scene, "/settings?show=people").page
    expect(page.get_by_test_id("user")).to_have_count(2)
    scene.me = whoever("viewer", "session")
    page.evaluate(PRESS_ALL)
    assert any(one.startswith(("DELETE /api/users/", "POST /api/tokens")) for one in scene.beyond)
