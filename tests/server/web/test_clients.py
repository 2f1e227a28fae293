"""The client of docs/clients in Python, as somebody would start it: verdicts, a server that goes and comes, and one
that says what the client does not know and then nothing more. The browser's is tested in tests/page."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from websockets.asyncio.server import ServerConnection, serve

from server.app import create_app
from server.settings import PulledCamera, Settings
from tests.running import running
from tests.server.camera_fakes import free_port, write_pictures
from tests.server.fakes import FakeModel, serving

CLIENTS = Path(__file__).parents[3] / "docs" / "clients"


@contextlib.asynccontextmanager
async def client(*arguments: str, program: Path = CLIENTS / "live.py") -> AsyncIterator[asyncio.StreamReader]:
    """What it prints."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(sys.executable, str(program), *arguments, stdout=pipe)
    assert process.stdout is not None
    try:
        yield process.stdout
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def told(lines: asyncio.StreamReader, words: str) -> str:
    async with asyncio.timeout(30):
        while words not in (line := (await lines.readline()).decode()):
            assert line, f"it ended without {words}"
        return line


def test_they_are_short() -> None:
    assert all(len(path.read_text().splitlines()) < 60 for path in CLIENTS.iterdir() if path.is_file())


async def test_it_shows_verdicts_and_says_when_the_server_is_lost_and_comes_back(
    model: FakeModel, tmp_path: Path
) -> None:
    camera = PulledCamera("press", str(write_pictures(tmp_path / "pictures", [40, 60])), fps=20)
    settings = Settings(data_dir=tmp_path / "data", cameras=(camera,), max_frame_age_ms=1e6)
    port = free_port()
    async with client(f"ws://127.0.0.1:{port}", "press") as lines:
        assert "again in 1 s" in await told(lines, "NO VERDICT")
        for _ in range(2):
            async with running(create_app(settings, make_model=lambda: model), settings, port=port):  # type: ignore[arg-type, return-value]
                assert "score" in await told(lines, "NORMAL")
            await told(lines, "the server is lost")


async def test_it_ends_where_only_a_person_can_help(model: FakeModel, tmp_path: Path) -> None:
    async with serving(model, tmp_path) as server, client(server.ws, "no!name") as lines:
        await told(lines, "1008")
        assert not await lines.read()


async def test_it_skips_what_it_does_not_know_and_notices_silence(tmp_path: Path) -> None:
    quick = tmp_path / "live.py"
    text = (CLIENTS / "live.py").read_text()
    assert "HEARTBEAT_S, FRESH_S = 2, 2" in text
    quick.write_text(text.replace("HEARTBEAT_S, FRESH_S = 2, 2", "HEARTBEAT_S, FRESH_S = 0.4, 0.4"))
    result = {"type": "result", "verdict": "NORMAL", "score": 0.1, "recipe": "r", "new_field": [1]}
    said = [result | {"repeated": True}, {"type": "novelty"}, result]

    async def say(socket: ServerConnection) -> None:
        for message in said:
            await socket.send(json.dumps(message))
        await socket.wait_closed()

    async with serve(say, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with client(f"ws://127.0.0.1:{port}", "press", program=quick) as lines:
            assert "NOTE" in (await lines.readline()).decode(), "the repeated result is none"
            await told(lines, "NORMAL")
            await told(lines, "NO VERDICT none for 0.4 s")
            await told(lines, "no heartbeat")
            await told(lines, "novelty")


async def test_where_there_are_parts_a_frame_s_verdict_is_none() -> None:
    part = {"type": "part", "part": "A-17", "number": 1, "recipe": "r"}
    frame = {"type": "result", "verdict": "NORMAL", "score": 0.1, "recipe": "r"}
    said = [
        {"type": "status", "state": "live", "parts_by": "trigger"},
        frame,
        part | {"verdict": "ANOMALY"},
        frame,
        {"type": "status", "state": "live", "parts_by": "line"},
        part | {"verdict": "ANOMALY"},
        frame,
    ]

    async def say(socket: ServerConnection) -> None:
        for message in said:
            await socket.send(json.dumps(message))
        await socket.wait_closed()

    async with serve(say, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with client(f"ws://127.0.0.1:{port}", "press") as lines:
            first, second = [(await lines.readline()).decode() for _ in range(2)]
    assert "ANOMALY" in first and "part A-17" in first and "NORMAL" in second and "score 0.10" in second


GOOD = {"type": "result", "verdict": "NORMAL", "score": 0.1, "recipe": "r"}
UNREADABLE = [
    "nonsense",
    "",
    "[]",
    "null",
    "5",
    "[" * 200_000,
    b"\xff\xff",
    '{"type": "result"}',
    '{"type": "error"}',
    json.dumps(GOOD | {"verdict": None}),
    json.dumps(GOOD | {"score": "high"}),
    json.dumps(GOOD)[:-1],
]


async def test_a_message_that_cannot_be_read_is_no_verdict_and_nothing_of_it_reaches_the_terminal() -> None:
    async def say(socket: ServerConnection) -> None:
        for bad in UNREADABLE:
            await socket.send(json.dumps(GOOD))
            await socket.send(bad)
        await socket.send(json.dumps(GOOD | {"verdict": "NORMAL\x1b]0;x\x07", "recipe": "\x1b[2J\u202e\r\nNORMAL"}))
        await socket.wait_closed()

    async with serve(say, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with client(f"ws://127.0.0.1:{port}", "press") as lines:
            for bad in UNREADABLE:
                assert "NORMAL" in await told(lines, "NORMAL")
                assert "NO VERDICT" in (line := (await lines.readline()).decode()), (str(bad)[:80], line)
            assert (await told(lines, "x"))[:-1].isprintable()


async def test_an_address_that_is_none_is_said_once() -> None:
    async with client("http://127.0.0.1:1", "press") as lines:
        assert "ws" in await told(lines, "NO VERDICT")
        assert not await lines.read()


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the machine the tests run on."""
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
