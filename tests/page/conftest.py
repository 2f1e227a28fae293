"""Real servers as a user starts them, and real browsers that look at them, all on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from queue import Queue
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Playwright, expect, sync_playwright

from server.app import create_app
from server.settings import Settings
from tests.once import made_once, shared_folder
from tests.page import chromium
from tests.page.parts import KIND, Parts, prepare, prepared
from tests.page.scene import Scene
from tests.page.visits import LOOPBACK_SERVER, Line, Open, Serve, Show, Visit
from tests.running import command, free_port, running, wait_healthy
from tests.server.fakes import FakeModel

PATIENCE_MS = 60_000
expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    # Not for the whole session: while it runs, its event loop counts as running and asynchronous tests could not.
    with sync_playwright() as started:
        yield started


@pytest.fixture(scope="module")
def browser(playwright: Playwright) -> Iterator[Browser]:
    """A browser without a camera."""
    with contextlib.closing(chromium.launch(playwright)) as started:
        yield started


@pytest.fixture(scope="module")
def good_camera(playwright: Playwright, parts: Parts) -> Iterator[Browser]:
    """A browser whose camera sees good parts."""
    with contextlib.closing(chromium.with_camera(playwright, parts.good)) as started:
        yield started


@pytest.fixture(scope="module")
def defect_camera(playwright: Playwright, parts: Parts) -> Iterator[Browser]:
    """A browser whose camera sees a defective part."""
    with contextlib.closing(chromium.with_camera(playwright, parts.defective)) as started:
        yield started


@pytest.fixture(scope="module")
def forbidden_camera(playwright: Playwright) -> Iterator[Browser]:
    """A browser that has a camera; whoever is asked for it says no."""
    arguments = ("--use-fake-device-for-media-stream", "--deny-permission-prompts")
    with contextlib.closing(chromium.launch(playwright, *arguments, whole=True)) as started:
        yield started


@pytest.fixture
def visit(request: pytest.FixtureRequest) -> Iterator[Open]:
    """Open a page in a browser context of its own: ``visit(browser, url, width=…, height=…)``.

    Afterwards nothing may have been asked of any other server, and no page that is left may still be sending.
    """
    with contextlib.ExitStack() as open_contexts:
        visits: list[tuple[Visit, str]] = []

        def open_page(browser: Browser, url: str, *, width: int = 1440, height: int = 900) -> Visit:
            context = browser.new_context(viewport={"width": width, "height": height})
            open_contexts.callback(context.close)
            context.set_default_timeout(PATIENCE_MS)
            visited = Visit(context.new_page())
            visits.append((visited, url))
            visited.page.goto(url)
            return visited

        yield open_page
        for visited, url in visits:
            for page in visited.page.context.pages:
                page.goto("about:blank")  # as leaving does: closing a context is more like pulling the plug
            assert _elsewhere(visited.requests, url) == []
        for url in {url for _, url in visits}:
            _wait_until_nobody_sends(url)


def _wait_until_nobody_sends(url: str) -> None:
    deadline = time.monotonic() + PATIENCE_MS / 1000
    while senders := [stream for stream in _streams(url) if stream["transport"] in ("webrtc", "websocket")]:
        assert time.monotonic() < deadline, f"pages were left and still send: {senders}"
        time.sleep(0.05)


def _streams(url: str) -> list[dict[str, Any]]:
    try:
        with urllib.request.urlopen(f"{url}/api/streams") as answer:
            streams: list[dict[str, Any]] = json.load(answer)["streams"]
            return streams
    except urllib.error.URLError:
        return []  # the test has stopped its server


def _elsewhere(requests: list[str], url: str) -> list[str]:
    here = ("", urlsplit(url).netloc)  # blob: and data: have no server
    return [asked for asked in requests if urlsplit(asked).netloc not in here]


@pytest.fixture(scope="session")
def simulating(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Line, subprocess.Popen[str]]]:
    """A server without a model, and its process. Where the tests of another process have had one teach its simulated
    line, this one has that model."""
    folder, port = tmp_path_factory.mktemp("line"), free_port()
    own, shared = folder / "data" / "simulated_line", shared_folder(tmp_path_factory) / "simulated_line"
    with contextlib.suppress(FileNotFoundError):
        shutil.copytree(shared, own)
    with command(port, {}, folder, module=LOOPBACK_SERVER, healthy=False) as process:
        url = f"http://127.0.0.1:{port}"

        def wait() -> None:
            wait_healthy(url, process)
            if not shared.exists():
                copy = Path(shutil.copytree(own, tmp_path_factory.mktemp("taught") / "simulated_line"))
                with contextlib.suppress(OSError):  # another one was quicker
                    copy.rename(shared)

        yield Line(url, wait), process
        process.send_signal(signal.SIGCONT)


@pytest.fixture(scope="module")
def starting_line(simulating: tuple[Line, subprocess.Popen[str]]) -> Iterator[Line]:
    """A server at its first start, as soon as it answers. It inspects all the time: after a module it stands still,
    until another one needs it."""
    line, process = simulating
    process.send_signal(signal.SIGCONT)
    yield line
    process.send_signal(signal.SIGSTOP)


@pytest.fixture(scope="module")
def line(starting_line: Line) -> str:
    """The address of a server that inspects its simulated line."""
    starting_line.wait()
    return starting_line.url


@pytest.fixture(scope="session", params=[KIND])
def parts(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Parts:
    """A taught model and films; the name of the test says whether they show real bottles or rendered flanges."""
    return prepared(made_once(tmp_path_factory, "parts", prepare))


@pytest.fixture
def serve(parts: Parts, tmp_path: Path) -> Serve:
    """Start a server with the model: ``with serve() as url``. Started again, it is the same one, restarted."""
    port = free_port()

    @contextlib.contextmanager
    def started() -> Iterator[str]:
        with command(port, {"MODEL_PATH": str(parts.model)}, tmp_path, module=LOOPBACK_SERVER):
            yield f"http://127.0.0.1:{port}"

    return started


@pytest.fixture(scope="session")
def inspection(parts: Parts, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server with the model, for tests that leave it as it is."""
    port = free_port()
    environment = {"MODEL_PATH": str(parts.model)}
    with command(port, environment, tmp_path_factory.mktemp("inspection"), module=LOOPBACK_SERVER):
        yield f"http://127.0.0.1:{port}"


@contextlib.contextmanager
def _served(folder: Path, code: str | None = None) -> Iterator[str]:
    settings = Settings(data_dir=folder)
    app = create_app(settings, code=code, make_model=FakeModel)  # type: ignore[arg-type]
    found: Queue[str] = Queue()
    loop = asyncio.new_event_loop()
    over = asyncio.Event()

    async def serve() -> None:
        async with running(app, settings) as server:
            found.put(server.http)
            await over.wait()

    # In a thread: while Playwright runs, this one has an event loop that nothing else may use.
    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    yield found.get(timeout=30)
    loop.call_soon_threadsafe(over.set)
    thread.join(30)


@pytest.fixture(scope="session")
def documents(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server that only hands out pages and scripts: what they ask it, a scene answers."""
    with _served(tmp_path_factory.mktemp("documents")) as url:
        yield url


@pytest.fixture
def closed_server(tmp_path: Path) -> Iterator[str]:
    """The address of a server that asks who somebody is; its access code is ``7KQ2-M9XR-4TBD``."""
    with _served(tmp_path, "7KQ2-M9XR-4TBD") as url:
        yield url


@pytest.fixture
def show(browser: Browser, documents: str) -> Iterator[Show]:
    """Open a page whose server is a scene: ``show(scene, path, width=…, height=…, touch=…)``."""
    with contextlib.ExitStack() as open_contexts:
        visits: list[Visit] = []

        def open_page(
            scene: Scene,
            path: str = "/",
            *,
            width: int = 1440,
            height: int = 900,
            touch: bool = False,
        ) -> Visit:
            context = browser.new_context(
                viewport={"width": width, "height": height}, color_scheme="light", has_touch=touch
            )
            open_contexts.callback(context.close)
            context.set_default_timeout(PATIENCE_MS)
            visited = Visit(context.new_page())
            visits.append(visited)
            scene.play(visited.page)
            visited.page.goto(documents + path)
            return visited

        yield open_page
        for visited in visits:
            visited.page.unroute_all(behavior="ignoreErrors")
            assert _elsewhere(visited.requests, documents) == []
