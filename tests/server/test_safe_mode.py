"""Whatever lies in the data directory, and whatever a setting says: a page that says what is wrong, no end."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.sync.client import connect

from server import cannot_serve, serve
from server.app import create_app
from server.settings import Settings, read_place
from server.streams import InferencePool
from server.words import Figure
from tests.running import ROOT, command, free_port, running
from tests.server.fakes import FakeModel, http, serving, until

PATIENCE_S = 60.0

SMALL = ("calibration.json", "cameras.json", "sinks.json", "recipes.json")
FOLDERS = ("backlog", "archive", "sinks", "models", "teaching", "simulated_line", "certificates")

DAMAGE: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_bytes(b""),
    "random": lambda path: path.write_bytes(random.Random(0).randbytes(5000)),
    "wrong type": lambda path: path.write_bytes(b'[{"version": 1}]'),
    "newer": lambda path: path.write_bytes(b'{"version": 99}'),
    "unreadable": lambda path: path.symlink_to(path.name),  # refused at open(), to root as well
    "folder": lambda path: (path.mkdir(), (path / "x").touch()),
}


async def _told(data: Path, model: FakeModel, *names: str) -> dict[str, Any]:
    """What health says of a server once it has said something of all these files."""
    settings = Settings(data_dir=data)
    async with running(create_app(settings, make_model=lambda: model), settings) as server, http(server) as client:  # type: ignore[arg-type, return-value]
        async with asyncio.timeout(PATIENCE_S):
            while True:
                body: dict[str, Any] = (await client.get("/health")).json()
                told = "\n".join([*body["warnings"], body["reason"] or ""])
                if body["status"] != "teaching" and all(name in told for name in names):
                    break
                await asyncio.sleep(0.02)
        for page in ("/", "/settings", "/history", "/recipes"):
            assert (await client.get(page)).status_code == 200
        return body


@pytest.mark.parametrize("damage", DAMAGE)
async def test_files_that_cannot_be_used_are_named_and_the_page_is_there(
    damage: str, tmp_path: Path, model: FakeModel
) -> None:
    for name in (*SMALL, "history.db"):
        DAMAGE[damage](tmp_path / name)
    history = "history.db" if damage != "empty" else ""  # which is an empty database
    body = await _told(tmp_path, model, *SMALL, history)
    # A recipe that nobody can read any more is replaced by no other: parts would be judged as another product.
    assert body["status"] == "error" and "recipe" in body["reason"]
    for name in SMALL:
        lies = [path for path in sorted(os.listdir(tmp_path)) if path.startswith(name)]  # noqa: PTH208
        assert lies == [name] if damage in ("unreadable", "folder") else [f"{name}.damaged-1"], "nothing is thrown away"


async def test_files_where_folders_should_be_end_nothing(tmp_path: Path, model: FakeModel) -> None:
    for number, name in enumerate(FOLDERS):
        (tmp_path / name).touch() if number % 2 else (tmp_path / name).symlink_to(name)
    body = await _told(tmp_path, model)
    assert body["status"] == "ok"


async def test_a_data_directory_that_is_a_file_ends_nothing(tmp_path: Path, model: FakeModel) -> None:
    (tmp_path / "data").touch()
    body = await _told(tmp_path / "data", model, "history")
    assert body["warnings"]


async def test_a_model_that_cannot_be_used_is_said(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "manifest.json").write_bytes(b"{")
    settings = Settings(data_dir=tmp_path / "data", model_path=tmp_path / "model")
    async with running(create_app(settings), settings) as server, http(server) as client:
        body: dict[str, Any] = {"status": "teaching"}
        async with asyncio.timeout(PATIENCE_S):
            while body["status"] == "teaching":
                body = (await client.get("/health")).json()
        assert body["status"] == "error" and "manifest" in body["reason"]
        assert (await client.get("/")).status_code == 200


async def test_a_camera_that_cannot_be_run_touches_no_other(
    tmp_path: Path, model: FakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    from server.cameras import Camera
    from server.settings import PulledCamera
    from tests.server.fakes import listed_when, write_parts

    start = Camera.start

    def without_thread(camera: Camera) -> None:
        if camera.name == "bad":
            raise RuntimeError("can't start new thread")
        start(camera)

    monkeypatch.setattr(Camera, "start", without_thread)
    folder = str(write_parts(tmp_path / "parts", [10, 20, 30]))
    cameras = (PulledCamera("bad", folder), PulledCamera("good", folder))
    async with serving(model, tmp_path / "data", cameras=cameras) as server:
        found = await listed_when(server, "good", lambda one: one is not None and one["inspected"] > 0)
        assert found is not None
        async with http(server) as client:
            warnings = (await client.get("/health")).json()["warnings"]
            listed = (await client.get("/api/streams")).json()["streams"]
        assert [stream["name"] for stream in listed] == ["good"]  # none is open without its camera
        assert any("the camera bad cannot be run (RuntimeError)" in warning for warning in warnings)


async def test_an_ear_that_fails_is_said_and_inspection_goes_on(tmp_path: Path, model: FakeModel) -> None:
    from websockets.asyncio.client import connect as connect_async

    from tests.server.fakes import GOOD, receive_result

    def deaf(told: object) -> None:
        raise ZeroDivisionError

    settings = Settings(data_dir=tmp_path)
    app = create_app(settings, make_model=lambda: model)  # type: ignore[arg-type, return-value]
    app.state.hub.listen(deaf)
    async with running(app, settings) as server, http(server) as client:
        async with connect_async(f"{server.ws}/ws/stream?name=a") as sender:
            await sender.send(GOOD)
            assert (await receive_result(sender)).verdict == "NORMAL"
        warnings = (await client.get("/health")).json()["warnings"]
        assert any("ZeroDivisionError" in warning and "goes on" in warning for warning in warnings)


async def test_a_writer_that_crashes_is_begun_anew(
    tmp_path: Path, model: FakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    from server.archive.folder import Folder

    counted: list[int] = []

    def count(self: Folder, go_on: object) -> None:
        counted.append(1)
        if len(counted) < 3:
            raise MemoryError("of the disk's driver")

    monkeypatch.setattr(Folder, "count", count)
    monkeypatch.setattr("server.archive.archive.LOOK_EVERY_S", 0.01)
    async with serving(model, tmp_path) as server, http(server) as client:
        await until(lambda: len(counted) == 3)
        warnings = (await client.get("/health")).json()["warnings"]
        assert any("the archive's writer failed 2 times in a row (MemoryError" in one for one in warnings)


# --- settings


def test_what_cannot_serve_says_so_until_it_can(tmp_path: Path, model_folder: Path) -> None:
    port = free_port()
    (tmp_path / ".env").write_text(f"PORT={port}\nTHRESHOLD=abc\nACCESS_CODE=very secret\n")
    address = f"http://127.0.0.1:{port}"
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    with manager, command(port, {"MODEL_PATH": str(model_folder), "NOTIFY_SOCKET": _bound(manager, tmp_path)}, tmp_path,
                 "--explain", healthy=False) as process:  # fmt: skip
        answer = httpx.get(f"{address}/health", trust_env=False)
        assert answer.status_code == 503 and "THRESHOLD='abc' cannot be used" in answer.json()["reason"]
        page = httpx.get(f"{address}/recipes", headers={"accept": "text/html"}, trust_env=False)
        assert page.status_code == 503 and "THRESHOLD=" in page.text and page.headers["Refresh"] == "5"
        for stranger in ({"X-Forwarded-For": "10.0.0.9"}, {"Host": "evil.example"}):
            told = httpx.post(f"{address}/api/anything", headers=stranger, trust_env=False)
            assert told.status_code == 503 and told.json() == {"error": cannot_serve.TO_STRANGERS}
        with connect(f"ws://127.0.0.1:{port}/ws/live/a") as socket_, pytest.raises(Exception, match="1012"):
            socket_.recv(10)
        assert _heard(manager, "STATUS=cannot serve: THRESHOLD")
        (tmp_path / ".env").write_text(f"PORT={port}\n")  # the operator mends it, and does nothing else
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            try:
                if httpx.get(f"{address}/health", trust_env=False).status_code == 200:
                    break
            except httpx.TransportError:
                pass
            time.sleep(0.1)
        assert httpx.get(f"{address}/health", trust_env=False).json()["status"] == "ok"
        assert _heard(manager, "STATUS=inspects")
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0
        assert _heard(manager, "STOPPING=1")


def test_a_second_signal_ends_at_once(tmp_path: Path, model_folder: Path) -> None:
    """While the clean end waits for something that hangs: here, a disk."""
    hang = (
        "import sys, time; from server.records import Records\n"
        "async def close(self): print('closing', flush=True); time.sleep(60)\n"
        "Records.close = close\n"
        "from server import cli; sys.exit(cli.main(['serve']))"
    )
    port = free_port()
    environment = os.environ | {"PORT": str(port), "MODEL_PATH": str(model_folder), "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, "-c", hang], env=environment, cwd=tmp_path, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        while "DefectVision is at" not in process.stdout.readline():
            assert process.poll() is None
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            try:
                if httpx.get(f"http://127.0.0.1:{port}/health", trust_env=False):
                    break
            except httpx.TransportError:
                time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        while "closing" not in process.stdout.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 128 + signal.SIGTERM
    finally:
        process.kill()
        process.wait()


SIGNALLED = """
import signal
from server import serve

stop = serve.Stop(serve.ServiceManager())
signal.raise_signal(signal.SIGTERM)
assert stop.asked
print("asked", flush=True)
signal.raise_signal(signal.SIGTERM)
"""


def test_a_signal_before_it_serves_is_a_clean_end_too_and_a_second_one_ends_it_at_once() -> None:
    """In a process of its own: whoever runs the tests must not be what ends."""
    done = subprocess.run([sys.executable, "-c", SIGNALLED], capture_output=True, text=True, check=False, timeout=120)
    assert (done.stdout.strip(), done.returncode) == ("asked", 128 + signal.SIGTERM), done.stderr


@pytest.mark.parametrize(
    ("environment", "place"),
    [
        ({}, ("127.0.0.1", 8000)),
        ({"PORT": "http", "HOST": "0.0.0.0"}, ("0.0.0.0", 8000)),
        ({"PORT": "9000", "HOST": "\udcff" * 70}, ("127.0.0.1", 9000)),
    ],
)
def test_where_it_says_so(environment: dict[str, str], place: tuple[str, int], tmp_path: Path) -> None:
    assert read_place(environment, tmp_path / ".env") == place


def test_where_it_says_so_with_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"PORT=9000\n\xff\xfe")
    assert read_place({"PORT": "9001"}, tmp_path / ".env") == ("127.0.0.1", 9001)


# --- the service manager


class _Health:
    """As much of health as the pulse asks."""

    def __init__(self) -> None:
        self.status, self.reason, self.warnings = "ok", None, list[str]()

    def now(self) -> _Health:
        return self


class _Pool:
    def __init__(self) -> None:
        self.is_hung, self.finished, self.is_stuck = False, 0, False


class _Away:
    """Replicas of which there are none."""

    trouble, warning = "no frame is inspected: no Ray cluster at auto: start one", None

    def figures(self) -> Iterator[Figure]:
        yield from ()


@asynccontextmanager
async def _beating(pool: Any, health: _Health, folder: Path) -> AsyncIterator[socket.socket]:
    """A pulse, and where the service manager hears it."""
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    app: Any = type("App", (), {"state": type("State", (), {"pool": pool, "health": health})})
    stop: Any = type("Stop", (), {"manager": serve.ServiceManager(_bound(listening, folder), 30.0), "asked": False})
    listening.setblocking(False)
    pulse = asyncio.create_task(serve._pulse(app, stop))
    with listening:
        yield listening
        stop.asked = True
        await asyncio.wait_for(pulse, 10)


async def test_the_watchdog_is_fed_only_while_the_inspection_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serve, "PULSE_S", 0.02)
    pool, health = _Pool(), _Health()
    async with _beating(pool, health, tmp_path) as listening:
        await _fed(listening)
        pool.is_hung = True
        await _unfed(listening)
        pool.finished += 1  # other cameras are inspected
        await _fed(listening)
        await _unfed(listening)
        pool.finished, pool.is_stuck = pool.finished + 1, True
        await _unfed(listening)
        pool.is_hung, pool.is_stuck = False, False
        health.warnings = ["the disk is full"]
        await _fed(listening)


async def test_the_watchdog_is_fed_while_there_is_no_replica(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is finished, and starting anew would bring no cluster back."""
    monkeypatch.setattr(serve, "PULSE_S", 0.02)
    pool = InferencePool(0, supply=_Away())
    pool.start()
    assert pool.trouble == _Away.trouble
    async with _beating(pool, _Health(), tmp_path) as listening:
        for _ in range(3):  # the first beat says nothing: it is the first that asks what was finished
            await _fed(listening)
    pool.close()


async def _fed(listening: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(PATIENCE_S):
        while b"WATCHDOG=1" not in await loop.sock_recv(listening, 4096):
            pass


async def _unfed(listening: socket.socket) -> None:
    """After what was on its way, nothing for ten beats."""
    silent_since = time.monotonic()
    async with asyncio.timeout(PATIENCE_S):
        while time.monotonic() - silent_since < 0.3:
            try:
                if b"WATCHDOG=1" in listening.recv(4096):
                    silent_since = time.monotonic()
            except BlockingIOError:
                await asyncio.sleep(0.01)


def _bound(manager: socket.socket, folder: Path) -> str:
    manager.bind(str(folder / "n"))
    manager.settimeout(PATIENCE_S)
    return str(folder / "n")


def _heard(manager: socket.socket, words: str) -> bool:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if words in manager.recv(4096).decode():
            return True
    return False
