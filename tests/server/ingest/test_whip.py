"""WHIP (RFC 9725) against the whole server, with aiortc as the encoder; GStreamer's turn is in test_gstreamer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urljoin

import aioice.ice
import httpx
import pytest
from aiortc import AudioStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription, VideoStreamTrack
from aiortc.sdp import SessionDescription
from starlette.applications import Starlette
from starlette.routing import Mount
from websockets.asyncio.client import connect

from server.app import create_app
from server.ingest.whip import SDP
from server.settings import Settings
from server.words.messages import Result
from tests.running import running
from tests.server.fakes import FakeModel, http, listed_when, receive, serving

HEADERS = {"Content-Type": SDP}
CODE = "orange-anvil-42"


@pytest.fixture(autouse=True)
def only_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda use_ipv4, use_ipv6: ["127.0.0.1"])


@asynccontextmanager
async def encoder(*, audio: bool = False) -> AsyncIterator[RTCPeerConnection]:
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    if audio:
        connection.addTrack(AudioStreamTrack())
    connection.addTrack(VideoStreamTrack())
    await connection.setLocalDescription(await connection.createOffer())
    try:
        yield connection
    finally:
        await connection.close()


def offer(connection: RTCPeerConnection) -> str:
    sdp: str = connection.localDescription.sdp
    return sdp


@pytest.mark.parametrize("audio", [False, True])
async def test_an_encoder_sends_and_ends_its_session(model: FakeModel, tmp_path: Path, audio: bool) -> None:
    async with (
        serving(model, tmp_path) as server,
        http(server) as client,
        encoder(audio=audio) as sender,
        connect(f"{server.ws}/ws/live/press") as listener,
    ):
        answer = await client.post("/whip/press", content=offer(sender), headers=HEADERS)
        assert answer.status_code == 201, answer.text
        assert answer.headers["Content-Type"].startswith(SDP)
        assert [media.kind for media in SessionDescription.parse(answer.text).media] == ["audio"] * audio + ["video"]
        await sender.setRemoteDescription(RTCSessionDescription(answer.text, "answer"))
        while not isinstance(message := await receive(listener), Result):
            pass
        assert message.stream == "press"
        session = urljoin(f"{server.http}/whip/press", answer.headers["Location"])
        assert len(session.rpartition("/")[2]) >= 32
        assert (await client.patch(session, content="a=ice-ufrag:x")).status_code == 405
        assert (await client.delete(session + "x")).status_code == 404
        assert (await client.delete(session)).status_code == 200
        await listed_when(server, "press", lambda stream: stream is None)
        gone = await client.delete(session)
        assert gone.status_code == 404 and "session" in gone.json()["error"]


async def test_a_session_that_ends_by_itself_is_forgotten(model: FakeModel, tmp_path: Path) -> None:
    async with serving(model, tmp_path) as server, http(server) as client:
        async with encoder() as sender:
            answer = await client.post("/whip/press", content=offer(sender), headers=HEADERS)
            await sender.setRemoteDescription(RTCSessionDescription(answer.text, "answer"))
            await listed_when(server, "press", lambda stream: stream is not None and stream["received"] > 0)
        await listed_when(server, "press", lambda stream: stream is None)
        session = urljoin(f"{server.http}/whip/press", answer.headers["Location"])
        assert (await client.delete(session)).status_code == 404


async def test_what_cannot_be_taken_is_refused_in_words(model: FakeModel, tmp_path: Path) -> None:
    async with serving(model, tmp_path) as server, http(server) as client, encoder() as sender:
        for path, content, headers, status, words in (
            ("/whip/press", offer(sender).encode(), {"Content-Type": "application/json"}, 415, "application/sdp"),
            ("/whip/press", offer(sender).encode(), {}, 415, "application/sdp"),
            ("/whip/press", b"", HEADERS, 422, "video track"),
            ("/whip/press", b"\xff\xfe", HEADERS, 422, "text"),
            ("/whip/press", b"x" * 300_000, HEADERS, 413, "256 kB"),
            ("/whip/pre%20ss", offer(sender).encode(), HEADERS, 422, "name"),
            ("/whip/press?max_fps=fast", offer(sender).encode(), HEADERS, 422, "max_fps"),
        ):
            answer = await client.post(path, content=content, headers=headers)
            assert (answer.status_code, words in answer.json()["error"]) == (status, True), answer.text


async def test_other_methods_are_answered_as_the_rfc_says(model: FakeModel, tmp_path: Path) -> None:
    settings = {"ice_servers": ("stun:127.0.0.1:9", "turn:me:pa%22ss@127.0.0.1:9")}
    async with serving(model, tmp_path, **settings) as server, http(server) as client:
        options = await client.options("/whip/press")
        assert options.status_code == 204 and options.headers["Accept-Post"] == SDP
        assert options.headers.get_list("link") == [
            '<stun:127.0.0.1:9>; rel="ice-server"',
            '<turn:127.0.0.1:9>; rel="ice-server"; username="me"; credential="pa\\"ss"; credential-type="password"',
        ]
        for method in ("GET", "HEAD", "PUT", "PATCH", "DELETE"):
            assert (await client.request(method, "/whip/press")).status_code == 405
        for method in ("GET", "HEAD", "PUT", "PATCH", "POST"):
            assert (await client.request(method, "/whip/press/x")).status_code == 405


async def test_the_code_is_asked_for_at_the_endpoint_and_at_the_session(model: FakeModel, tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, access_code=CODE)
    app = create_app(settings, code=CODE, make_model=lambda: model)  # type: ignore[arg-type, return-value]
    async with running(app, settings) as server, http(server) as client, encoder() as sender:
        assert (await client.post("/whip/press", content=offer(sender), headers=HEADERS)).status_code == 401
        bearer = {"Authorization": f"Bearer {CODE}"}
        answer = await client.post("/whip/press", content=offer(sender), headers=HEADERS | bearer)
        assert answer.status_code == 201
        session = urljoin(f"{server.http}/whip/press", answer.headers["Location"])
        assert (await client.delete(session)).status_code == 401
        assert (await client.delete(session, headers=bearer)).status_code == 200


async def test_the_session_is_found_behind_a_proxy_that_adds_a_prefix(model: FakeModel, tmp_path: Path) -> None:
    app = create_app(Settings(data_dir=tmp_path), make_model=lambda: model)  # type: ignore[arg-type, return-value]
    behind = httpx.ASGITransport(Starlette(routes=[Mount("/line4", app)]))
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=behind, base_url="http://localhost") as client,
        encoder() as sender,
    ):
        answer = await client.post("/line4/whip/press", content=offer(sender), headers=HEADERS)
        assert answer.status_code == 201
        session = urljoin("http://localhost/line4/whip/press", answer.headers["Location"])
        assert session.startswith("http://localhost/line4/whip/press/")
        assert (await client.delete(session)).status_code == 200
