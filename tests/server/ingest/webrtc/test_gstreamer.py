"""A WebRTC sender that is not ours: GStreamer's, to ``/webrtc/offer`` and by WHIP, seen by a listener."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aioice.ice
import pytest
from websockets.asyncio.client import connect

from server.ingest.webrtc import consent, peer
from server.words.messages import Result, Status
from tests import equipment
from tests.server.fakes import WAIT_S, FakeModel, listed, listed_when, receive, serving, until

pytestmark = pytest.mark.skipif(
    not equipment.has_webrtc_equipment(), reason=f"needs GStreamer: apt install {' '.join(equipment.WEBRTC_PACKAGES)}"
)
SCRIPT = Path(__file__).with_name("gstreamer_sender.py")


@pytest.fixture(autouse=True)
def only_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda use_ipv4, use_ipv6: ["127.0.0.1"])


class Sender:
    """The script, in its process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def hear(self, *keys: str) -> dict[str, Any]:
        """The next of its lines that tells one of these."""
        assert self._process.stdout is not None
        async with asyncio.timeout(WAIT_S):
            async for line in self._process.stdout:
                told: dict[str, Any] = json.loads(line)
                assert "problem" not in told, told
                if told.keys() & set(keys):
                    return told
        raise AssertionError("it ended")

    def obey(self, word: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{word}\n".encode())


@asynccontextmanager
async def gstreamer(url: str, *arguments: str) -> AsyncIterator[Sender]:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        equipment.RTSP_PYTHON, str(SCRIPT), url, *arguments, stdin=pipe, stdout=pipe, limit=1 << 20
    )
    try:
        yield Sender(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@pytest.mark.parametrize(
    ("path", "status", "how"),
    [
        ("/webrtc/offer", 200, ["VP8", "50"]),
        ("/webrtc/offer", 200, ["H264", "150", "active"]),
        ("/whip/press", 201, ["VP8", "150", "active"]),
        ("/whip/press", 201, ["H264", "50", "audio"]),
    ],
)
async def test_its_frames_are_inspected_and_a_listener_sees_the_results(
    path: str, status: int, how: list[str], model: FakeModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """GStreamer's certificate is RSA: aiortc alone offers no cipher for it, and nothing ever connected."""
    monkeypatch.setattr(peer, "SILENT_FOR", 0.5)  # it ends without a word
    monkeypatch.setattr(consent, "RETRANSMISSIONS", 1)
    async with (
        serving(model, tmp_path) as server,
        connect(f"{server.ws}/ws/live/press") as listener,
        gstreamer(server.http + path, *how) as sender,
    ):
        assert (await sender.hear("status"))["status"] == status
        message = await receive(listener)
        while not isinstance(message, Result):
            assert isinstance(message, Status) or "key frame" in message.error
            message = await receive(listener)
        assert message.stream == "press"
        assert message.raw_score == pytest.approx(float(how[1]), abs=4)
        assert message.verdict == ("NORMAL" if how[1] == "50" else "ANOMALY")
        if path == "/webrtc/offer":
            assert (await sender.hear("message"))["message"]["stream"] == "press"
        sender.obey("stop")
        await listed_when(server, "press", lambda stream: stream is None)


async def test_a_source_that_pauses_is_not_closed(
    model: FakeModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It sends no picture and no report then, and was closed after five seconds."""
    asked: list[bool] = []
    ask = consent.is_there

    async def note(transport: Any) -> bool:
        asked.append(await ask(transport))
        return asked[-1]

    monkeypatch.setattr(peer, "SILENT_FOR", 0.3)
    monkeypatch.setattr(consent, "is_there", note)
    async with serving(model, tmp_path) as server, gstreamer(f"{server.http}/whip/press", "VP8", "50") as sender:
        before = await listed_when(server, "press", lambda stream: stream is not None and stream["inspected"] > 0)
        assert before is not None
        sender.obey("pause")
        await until(lambda: len(asked) >= 4)
        assert all(asked)
        paused = await listed(server, "press")
        assert paused is not None and paused["since"] == before["since"]
        sender.obey("go on")
        await listed_when(
            server, "press", lambda stream: stream is not None and stream["received"] > paused["received"]
        )
