"""Somebody who does the whole job through the page: shows parts to a camera, teaches, calibrates, forgives, remembers.

The browser and the server are real. Only the camera is played: it sees the picture that it is shown (played_camera.js).
What is pressed is what a person presses; scores are heard as a listener hears them, and asked for over REST.
"""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Literal
from urllib.parse import quote

from playwright.sync_api import Browser, FloatRect, Locator, Page, expect
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.page.visits import DRAWN

CAMERA = (Path(__file__).parent / "played_camera.js").read_text()
WITHOUT_WEBRTC = "delete window.RTCPeerConnection"
FRAMES_PER_SECOND = 12
SETTLED = 15
"""Results over WebRTC after which video shows another picture as well as it ever will."""
TAKEN_WITHIN_S = 20.0
PATIENCE_S = 120.0

Result = dict[str, Any]
Point = tuple[float, float]
"""x and y, 0..1 of the picture."""


def ask(url: str) -> Any:
    """The JSON that an address answers."""
    with urllib.request.urlopen(url) as answer:
        return json.load(answer)


class Listener:
    """Hears the results of a stream, as an HMI does. Use as a context manager."""

    def __init__(self, url: str, stream: str) -> None:
        self._address = f"{url.replace('http', 'ws', 1)}/ws/live/{stream}"
        self._heard: list[Result] = []
        self._news = threading.Condition()
        self._thread = threading.Thread(target=self._hear, daemon=True)

    def __enter__(self) -> Listener:
        self._connected = connect(self._address, compression=None)
        self._socket = self._connected.__enter__()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connected.__exit__(kind, error, trace)
        self._thread.join(10)

    @property
    def count(self) -> int:
        """Results heard so far."""
        return len(self._heard)

    def result(self, after: int, seq: int = 0) -> Result:
        """The first result of all but the first ``after`` that is of this frame or a later one; waits for it.

        Raises:
            AssertionError: none came within two minutes.
        """
        found: list[Result] = []

        def is_there() -> bool:
            found[:] = [result for result in self._heard[after:] if result["seq"] >= seq][:1]
            return bool(found)

        with self._news:
            assert self._news.wait_for(is_there, PATIENCE_S), f"no result of frame {seq} came; {self.count} were heard"
        return found[0]

    def _hear(self) -> None:
        try:
            for text in self._socket:
                message = json.loads(text)
                if message["type"] == "result" and not message.get("repeated"):
                    with self._news:
                        self._heard.append(message)
                        self._news.notify_all()
        except ConnectionClosed:
            return


@dataclass
class Operator:
    """One device at the line: a page, opened at the server's address, whose camera is sent as ``stream``.

    Attributes:
        page: in a browser context with touch; :func:`operator` makes it.
        url: of the server.
        digests: of the JPEG that the page sent of a picture, by the picture; over WebSocket only.
    """

    page: Page
    url: str
    stream: str
    listener: Listener
    digests: dict[bytes, str] = field(default_factory=dict)
    _seen: bytes = b""
    _since: int = 0

    # ---- the camera -------------------------------------------------------------------------------------------------

    def begin(self, picture: bytes) -> None:
        """Give this device its name, and start its camera, which sees a picture."""
        self.go("settings")
        self.page.get_by_test_id("device-name").fill(self.stream)
        self.page.get_by_test_id("device-save").click()
        expect(self.page.get_by_test_id("device-told")).to_contain_text(f"is sent as {self.stream}")
        self.go("live")
        self.see(picture)
        self.page.get_by_test_id("start-camera").click()
        expect(self.page.get_by_test_id("connection")).to_have_attribute("data-state", "open")

    def see(self, picture: bytes) -> int:
        """Show the camera a picture, an encoded file; number of the first frame sent of it, 0 over WebRTC."""
        if picture != self._seen:
            sent = self.page.evaluate("picture => played.see(picture)", base64.b64encode(picture).decode())
            self._seen, self._since = picture, 0
            if sent is not None:
                self._since, self.digests[picture] = int(sent["seq"]), sent["digest"]
        return self._since

    def score(self, picture: bytes) -> Result:
        """What is found in a picture; over WebRTC once it is settled."""
        before = self.listener.count
        seq = self.see(picture)
        over_webrtc = self.page.get_by_test_id("transport").inner_text() == "WebRTC"
        return self.listener.result(before + (SETTLED if over_webrtc else 0), seq)

    def scores(self, pictures: Sequence[bytes]) -> list[Result]:
        """What is found in each of them."""
        return [self.score(picture) for picture in pictures]

    # ---- teaching and calibrating -----------------------------------------------------------------------------------

    def teach(self, name: str, pictures: Sequence[bytes], preset: str = "balanced") -> Taught:
        """Teach a new part from this device's camera, by showing good ones; all of them are known to be good."""
        page = self.page
        self.see(pictures[0])
        self.go("teach")
        page.get_by_test_id("teach-name").fill(name)
        page.get_by_test_id("teach-source").filter(has_text="This device’s camera").click()
        page.get_by_text("Speed and detail").click()
        page.get_by_test_id("teach-preset").select_option(preset)
        page.get_by_test_id("teach-start").click()
        expect(page.get_by_test_id("teach-showing")).to_be_visible()
        parts = 0
        for picture in pictures:
            self.see(picture)
            parts += self._is_taken(parts + 1)
        while (asked := page.get_by_test_id("outlier-good")).count():
            left = asked.count()
            asked.first.click()
            expect(asked).to_have_count(left - 1)
        coverage = page.get_by_test_id("teach-coverage").inner_text()
        began, heard = time.perf_counter(), self.listener.count
        page.get_by_test_id("teach-done").click()
        expect(page.get_by_test_id("teach-result")).to_contain_text(f"{name} is taught", timeout=1000 * PATIENCE_S)
        live = self.listener.result(heard)
        seconds = time.perf_counter() - began
        page.get_by_test_id("teach-watch").click()
        return Taught(live["recipe"], parts, " ".join(coverage.split()), seconds)

    def _is_taken(self, parts: int) -> bool:
        """Wait until it counts so many parts; where that takes long, press."""
        count = self.page.get_by_test_id("teach-parts")
        for press in (True, False):
            try:
                expect(count).to_have_text(str(parts), timeout=1000 * TAKEN_WITHIN_S)
                return True
            except AssertionError:
                if press:
                    self.page.get_by_test_id("teach-shutter").click()
        return False

    def calibrate(self, pictures: Sequence[bytes], *, spacing: float, k: float | None = None) -> float:
        """Let good parts pass and put in force what comes of them; the threshold, raw.

        Args:
            pictures: shown one after the other, again and again; as many frames are captured.
            spacing: seconds between these.
            k: of mean + k · std; without, the rule is the one that the page offers.
        """
        page = self.page
        self.go("live")
        if k is not None:
            page.get_by_test_id("calibrate-rule").select_option("k")
            page.get_by_test_id("calibrate-k").fill(str(k))
        page.get_by_test_id("calibrate-n").fill(str(len(pictures)))
        page.get_by_test_id("calibrate-spacing").fill(str(spacing))
        result = page.get_by_test_id("calibrate-result")
        page.get_by_test_id("calibrate-button").click()
        judgement = page.get_by_test_id("judgement")
        for picture in itertools.cycle(pictures):
            self.score(picture)
            if judgement.is_visible():
                break
        page.get_by_test_id("judgement-apply").click()
        expect(result).to_contain_text("Applied")
        return float(self.score(pictures[-1])["threshold"])

    def put_threshold(self, recipe: str, raw: float) -> None:
        """By hand, in the recipe's form."""
        self.open_recipe(recipe)
        self.page.get_by_label("By hand, raw distance").check()
        self.page.get_by_test_id("rule-raw").fill(repr(raw))
        self.page.get_by_test_id("rule-save").click()
        expect(self.page.get_by_test_id("recipes-told")).to_contain_text("Saved as version")

    # ---- corrections ------------------------------------------------------------------------------------------------

    def forgive(self, picture: bytes) -> Corrected:
        """Say of the alarm that a part raises that it was good."""
        self.go("live")
        frame = self._kept(picture, "alarm")
        self._press_frame(self.page.get_by_test_id("alarms-list"), frame)
        self.page.get_by_test_id("was-good").check()
        return self._correct("Forgiven")

    def remember(self, picture: bytes) -> Corrected:
        """Say of a part that passes that it is bad."""
        self.go("live")
        frame = self._kept(picture, "recent")
        self.page.get_by_test_id("escape").click()
        self._press_frame(self.page.get_by_test_id("recent-list"), frame)
        expect(self.page.get_by_test_id("was-bad")).to_be_checked()
        return self._correct("Remembered")

    def _kept(self, picture: bytes, kind: Literal["alarm", "recent"]) -> str:
        """Show a part until a frame of it is kept; the frame's id."""
        raw = self.score(picture)["raw_score"]
        address = f"{self.url}/api/streams/{quote(self.stream)}/frames?kind={kind}"
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            for frame in ask(address)["frames"][:1]:
                if frame["raw_score"] == raw:
                    return str(frame["id"])
            time.sleep(0.1)
        raise AssertionError(f"no frame with the score {raw} was kept as {kind}")

    def _press_frame(self, where: Locator, frame: str) -> None:
        where.get_by_role("button").filter(has=self.page.locator(f'img[src*="{frame}"]')).click()
        expect(self.page.get_by_test_id("correction")).to_be_visible()

    def _correct(self, word: str) -> Corrected:
        page = self.page
        cost = page.get_by_test_id("correction-cost")
        expect(page.get_by_test_id("correction-apply")).to_be_enabled()
        said = cost.inner_text()
        began = time.perf_counter()
        page.get_by_test_id("correction-apply").click()
        expect(cost).to_contain_text(word)
        seconds = time.perf_counter() - began
        page.get_by_test_id("correction").get_by_role("button", name="Close", exact=True).last.click()
        return Corrected(said, 1000 * seconds)

    def undo_corrections(self, recipe: str) -> int:
        """Undo all of a recipe, one by one; how many there were."""
        self.open_recipe(recipe)
        undo = self.page.get_by_test_id("recipe-correction-undo")
        expect(undo.first).to_be_visible()
        found = undo.count()
        for left in reversed(range(found)):
            undo.first.click()
            expect(undo).to_have_count(left)
        return found

    # ---- recipes ----------------------------------------------------------------------------------------------------

    def open_recipe(self, recipe: str) -> None:
        """Open one, by its id, as it is now."""
        body = ask(f"{self.url}/api/recipes/{recipe}")
        self.go("recipes")
        row = self.page.get_by_test_id("recipe-row").filter(has_text=body["name"])
        back = self.page.get_by_test_id("recipe-back")
        expect(row.or_(back).first).to_be_visible()
        if back.is_visible():
            back.click()
        row.click()
        expect(self.page.get_by_test_id("recipe-name")).to_have_text(body["name"])
        expect(self.page.get_by_test_id("recipe-chips")).to_contain_text(f"version {body['version']}")

    def use(self, recipe: str) -> None:
        """Inspect this device's stream with a recipe, chosen on Live."""
        self.go("live")
        self.page.get_by_test_id("recipe-select").select_option(recipe)
        expect(self.page.get_by_test_id("recipe-said")).to_contain_text(f"{self.stream} is inspected with")

    def ignore(self, recipe: str, start: Point, end: Point) -> None:
        """Draw a box over a place that is to be ignored, with a finger, and save it."""
        page = self.page
        self.open_recipe(recipe)
        page.get_by_test_id("regions-source").select_option(self.stream)
        page.get_by_test_id("regions-edit").click()
        page.get_by_test_id("add-ignore").click()
        self._swipe(page.get_by_test_id("surface"), start, end)
        expect(page.get_by_test_id("regions-list").locator("li")).to_have_count(1)
        page.get_by_test_id("regions-save").click()  # on a busy machine a tap becomes a long press
        expect(page.get_by_test_id("recipes-told")).to_contain_text("Saved as version")

    def _swipe(self, where: Locator, start: Point, end: Point) -> None:
        """One finger, from here to there."""
        box = self._at_rest(where)
        left, top, width, height = box["x"], box["y"], box["width"], box["height"]
        session = self.page.context.new_cdp_session(self.page)
        for step in range(9):
            x, y = (a + (b - a) * step / 8 for a, b in zip(start, end, strict=True))
            at = [{"x": left + x * width, "y": top + y * height}]
            session.send("Input.dispatchTouchEvent", {"type": "touchMove" if step else "touchStart", "touchPoints": at})
        session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
        session.detach()

    def _at_rest(self, where: Locator) -> FloatRect:
        """Where it is once it stays there: a picture that is loaded, or a page that scrolls, moves it."""
        box, same, until = where.bounding_box(), 0, time.monotonic() + PATIENCE_S
        while box is None or same < 5:
            assert time.monotonic() < until, "it never stays where it is"
            self.page.evaluate(DRAWN)
            before, box = box, where.bounding_box()
            same = same + 1 if box == before else 0
        return box

    def go_back(self, recipe: str) -> None:
        """To what the recipe was before its latest change."""
        self.open_recipe(recipe)
        self.page.get_by_test_id("go-back").first.click()
        expect(self.page.get_by_test_id("recipes-told")).to_contain_text("Back at what version")

    def export(self, recipe: str, folder: Path) -> Path:
        """Download the recipe's file."""
        self.open_recipe(recipe)
        with self.page.expect_download() as download:
            self.page.get_by_test_id("recipe-export").click()
        path = folder / download.value.suggested_filename
        download.value.save_as(path)
        return path

    def bring_in(self, file: Path) -> str:
        """Take a recipe out of a file and put it on this device's stream; its id."""
        self.go("recipes")
        self.page.get_by_test_id("recipes-import").set_input_files(file)
        expect(self.page.get_by_test_id("recipes-told")).to_contain_text("is here", timeout=1000 * PATIENCE_S)
        row = self.page.get_by_test_id("assign-stream").filter(has_text=self.stream)
        row.get_by_role("button", name="Use this recipe").click()
        expect(row).to_contain_text("✓ inspected with this recipe")
        return self.page.url.rpartition("#")[2]

    def go(self, view: Literal["live", "teach", "recipes", "settings"]) -> None:
        """To a view, by the navigation."""
        self.page.locator(f".nav a[data-view={view}]").first.click()
        expect(self.page.locator(f"#view-{view}:not([inert])")).to_be_visible()  # inert: it does not hear a press yet


@dataclass(frozen=True)
class Taught:
    """What came of a teaching. ``recipe``: its id; ``coverage``: in the page's words; ``seconds``: from Done to the
    first result."""

    recipe: str
    parts: int
    coverage: str
    seconds: float


@dataclass(frozen=True)
class Corrected:
    """``cost``: what the page said before; ``ms``: from the press to the word that it is done."""

    cost: str
    ms: float


@contextlib.contextmanager
def operator(browser: Browser, url: str, stream: str, picture: bytes, *, webrtc: bool = False) -> Iterator[Operator]:
    """Somebody with a tablet, whose camera sees a picture and is inspected already.

    Args:
        webrtc: whether video is sent, and not JPEGs over a WebSocket, of which two of one picture are the same.
    """
    with contextlib.ExitStack() as open_:
        context = browser.new_context(viewport={"width": 1024, "height": 768}, has_touch=True, accept_downloads=True)
        open_.callback(context.close)
        context.set_default_timeout(1000 * PATIENCE_S)
        page = context.new_page()
        page.add_init_script(CAMERA.replace("frames_per_second", str(FRAMES_PER_SECOND)))
        if not webrtc:
            page.add_init_script(WITHOUT_WEBRTC)
        page.goto(url)
        made = Operator(page, url, stream, open_.enter_context(Listener(url, stream)))
        made.begin(picture)
        yield made
        page.goto("about:blank")  # as leaving does: closing a context is more like pulling the plug
