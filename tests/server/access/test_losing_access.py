"""Whoever loses what he had loses what he has open, too: every kind of connection, for every reason."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aioice.ice
import httpx
import pytest
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription, VideoStreamTrack
from starlette.applications import Starlette
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from server.access import COOKIE, Access
from server.app import create_app
from server.settings import Settings
from tests.running import Running, running
from tests.server.fakes import GOOD, WAIT_S, FakeModel, http, until

OUT, NOT_ALLOWED = 4401, 4403
STRANGER = "10.0.0.1"


@dataclass
class Site:
    """A server that asks, and somebody who is in."""

    server: Running
    access: Access
    data_dir: Path

    @property
    def host(self) -> str:
        return self.server.http.removeprefix("http://")

    async def browser(self, role: Any = "engineer") -> tuple[dict[str, str], str]:
        """Headers of a login's browser, and the id of its session."""
        account, _ = await self.access.add_account("anna", role, None)
        secret = await self.access.open_session(
            "account", account.name, stamp=account.stamp, address=STRANGER, browser="a test"
        )
        (session,) = self.access.sessions
        return {"Cookie": f"{COOKIE}={secret}"}, session.id

    async def open(self, path: str, headers: dict[str, str]) -> ClientConnection:
        origin: Any = self.server.http if "Cookie" in headers else None
        return await connect(f"{self.server.ws}{path}", additional_headers=headers, origin=origin, proxy=None)


@pytest.fixture
async def site(model: FakeModel, tmp_path: Path) -> AsyncIterator[Site]:
    app: Starlette = create_app(
        Settings(data_dir=tmp_path, host="0.0.0.0", max_frame_age_ms=1e6),
        make_model=lambda: model,  # type: ignore[arg-type, return-value]
    )
    async with running(app, Settings(data_dir=tmp_path)) as server:
        await app.state.access.add_account("boss", "admin", None)
        yield Site(server, app.state.access, tmp_path)


async def closed(connection: ClientConnection) -> tuple[int, str]:
    """Code and words with which a connection is closed, whatever comes before."""
    async with asyncio.timeout(WAIT_S):
        try:
            while True:
                await connection.recv()
        except ConnectionClosed:
            return connection.close_code or 0, connection.close_reason or ""


async def _revoke_session(site: Site, session: str) -> None:
    await site.access.end_session(session)


async def _disable(site: Site, session: str) -> None:
    await site.access.change_account("anna", disabled=True)


async def _remove(site: Site, session: str) -> None:
    await site.access.remove_account("anna")


async def _reset(site: Site, session: str) -> None:
    await site.access.set_password("anna", None)


async def _reset_elsewhere(site: Site, session: str) -> None:
    """As ``defectvision user password`` does, in another process."""
    await asyncio.to_thread(Access(site.data_dir, closed=True).store_password, "anna", None)


async def _lower(site: Site, session: str) -> None:
    await site.access.change_account("anna", role="viewer")


WAYS_OUT: dict[str, tuple[Callable[[Site, str], Awaitable[None]], int]] = {
    "session revoked": (_revoke_session, OUT),
    "disabled": (_disable, OUT),
    "removed": (_remove, OUT),
    "password reset": (_reset, OUT),
    "password reset by the command": (_reset_elsewhere, OUT),
    "role lowered": (_lower, NOT_ALLOWED),
}


@pytest.mark.parametrize("why", WAYS_OUT)
async def test_what_a_browser_has_open_ends(site: Site, why: str) -> None:
    lose, code = WAYS_OUT[why]
    headers, session = await site.browser()
    sender = await site.open("/ws/stream?name=press", headers)
    viewer = await site.open("/ws/live/press", headers)
    panel = await site.open("/ws/api", headers)
    await sender.send(GOOD)
    await lose(site, session)
    assert (await closed(sender))[0] == code
    if code == OUT:
        for connection in (viewer, panel):
            found, words = await closed(connection)
            assert found == OUT and "log in again" in words
    else:
        assert "takes the role operator, and anna is viewer" in sender.close_reason
        await panel.send(json.dumps({"id": 1, "method": "POST", "path": "/api/streams/press/trigger", "body": {}}))
        answer = json.loads(await panel.recv())
        assert answer["status"] == 403, "what he may no more ends inside of what goes on, too"
        await panel.send(json.dumps({"id": 2, "method": "GET", "path": "/api/me"}))
        assert json.loads(await panel.recv())["body"]["role"] == "viewer"
        assert (await viewer.recv()) and viewer.close_code is None
    with pytest.raises(Exception, match=r"HTTP 40[13]"):
        await site.open("/ws/stream?name=press", headers)
    for connection in (sender, viewer, panel):
        await connection.close()
    assert not site.access._watches


async def test_a_revoked_token_and_one_whose_time_is_over_end_what_they_opened(site: Site) -> None:
    token, secret = await site.access.add_token("plc", "operator", ("press",), None, "boss")
    _, short = await site.access.add_token("visitor", "viewer", None, 1.0, "boss")
    machine = await site.open("/ws/stream?name=press", {"Authorization": f"Bearer {secret}"})
    visitor = await site.open("/ws/live/press", {"Authorization": f"Bearer {short}"})
    framed = await site.open(f"/ws/live/press?code={secret}", {})
    assert (await closed(visitor))[0] == OUT
    await site.access.revoke_token(token.id)
    assert [(await closed(one))[0] for one in (machine, framed)] == [OUT, OUT]


async def test_a_token_whose_time_is_over_is_out_though_the_plant_s_database_hangs(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    hangs, go_on, later = threading.Event(), threading.Event(), [0.0]
    _, secret = await site.access.add_token("visitor", "viewer", None, 3600.0, "boss")
    visitor = await site.open("/ws/live/press", {"Authorization": f"Bearer {secret}"})

    def refresh() -> bool:
        hangs.set()
        return not go_on.wait(3 * WAIT_S)

    monkeypatch.setattr(site.access._tokens, "refresh", refresh)
    monkeypatch.setattr(site.access, "_clock", lambda: time.time() + later[0])
    try:
        assert await asyncio.to_thread(hangs.wait, WAIT_S)
        later[0] = 3601.0
        assert (await closed(visitor))[0] == OUT
        assert not go_on.is_set()
    finally:
        go_on.set()


async def test_a_revoked_phone_is_out(site: Site) -> None:
    _, secret = site.access.make_pairing("phone-1", "phone-1")
    async with http(site.server) as phone:
        assert (await phone.get("/", params={"code": secret})).status_code == 200
        entered = await phone.post("/enter", data={"code": secret})
        assert entered.status_code == 303
        headers = {"Cookie": f"{COOKIE}={phone.cookies[COOKIE]}"}
        sender = await site.open("/ws/stream?name=phone-1", headers)
        with pytest.raises(Exception, match="HTTP 403"):
            await site.open("/ws/stream?name=press", headers)
        (session,) = site.access.sessions
        assert (session.kind, session.by) == ("device", "this machine")
        await site.access.end_session(session.id)
        assert (await closed(sender))[0] == OUT
        assert (await phone.get("/api/streams")).status_code == 401


async def test_a_phone_that_was_paired_pairs_no_other(site: Site) -> None:
    _, secret = site.access.make_pairing("phone-1", "phone-1")
    async with http(site.server) as phone:
        await phone.post("/enter", data={"code": secret})
        origin = {"Origin": site.server.http}
        assert (await phone.get("/api/me")).json()["role"] == "operator"
        for answer in (
            await phone.post("/api/pairings", json={"stream": "phone-1"}, headers=origin),
            await phone.get("/phone", params={"stream": "phone-1"}),
        ):
            assert answer.status_code == 403 and "pairs no other" in answer.json()["error"]


async def test_a_change_asked_for_over_a_websocket_is_made_whole_though_it_is_closed(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else who is put out in the middle of one could leave it half done, and out of the audit log."""
    token, secret = await site.access.add_token("panel", "admin", None, None, "boss")
    panel = await site.open("/ws/api", {"Authorization": f"Bearer {secret}"})
    asked, go_on, add = asyncio.Event(), asyncio.Event(), Access.add_account

    async def slow(*about: Any) -> Any:
        asked.set()
        await go_on.wait()
        return await add(*about)

    monkeypatch.setattr(Access, "add_account", slow)
    body = {"name": "carla", "role": "viewer"}
    await panel.send(json.dumps({"method": "POST", "path": "/api/users", "body": body}))
    async with asyncio.timeout(WAIT_S):
        await asked.wait()
    await site.access.revoke_token(token.id)
    assert (await closed(panel))[0] == OUT
    go_on.set()
    await until(lambda: any(one.name == "carla" for one in site.access.accounts))

    folder = site.data_dir / "audit"
    await until(lambda: any('"path":"/api/users"' in file.read_text() for file in folder.glob("*.jsonl")))


async def test_a_frame_that_comes_after_the_end_is_not_taken(site: Site, model: FakeModel) -> None:
    headers, session = await site.browser()
    sender = await site.open("/ws/stream?name=press", headers)
    await sender.send(GOOD)
    await until(lambda: model.detected == 1)
    await site.access.end_session(session)
    for _ in range(20):
        with pytest.raises(ConnectionClosed):
            while True:
                await sender.send(GOOD)
                await asyncio.sleep(0.01)
    assert model.detected <= 2, "one may have been in the way already"


@pytest.fixture
def only_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda use_ipv4, use_ipv6: ["127.0.0.1"])


@pytest.mark.usefixtures("only_loopback")
@pytest.mark.parametrize("way", ["/webrtc/offer", "/whip/press"])
async def test_a_video_ends_with_the_right_to_send_it(site: Site, way: str) -> None:
    token, secret = await site.access.add_token("encoder", "operator", ("press",), None, "boss")
    sender = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    goodbyes: list[str] = []
    sender.createDataChannel("results", ordered=False, maxRetransmits=0).on("message", goodbyes.append)
    sender.addTrack(VideoStreamTrack())
    await sender.setLocalDescription(await sender.createOffer())
    offer = sender.localDescription.sdp
    async with http(site.server) as client:

        async def offered(path: str, name: str, headers: dict[str, str]) -> httpx.Response:
            if path == "/webrtc/offer":
                body = {"sdp": offer, "type": "offer", "name": name}
                return await client.post(path, json=body, headers=headers)
            sdp = {"Content-Type": "application/sdp"}
            return await client.post(f"/whip/{name}", content=offer, headers=headers | sdp)

        assert (await offered(way, "press", {})).status_code == 401
        bearer = {"Authorization": f"Bearer {secret}"}
        refused = await offered(way, "other", bearer)
        assert refused.status_code == 403 and "error" in refused.json()
        elsewhere = await offered(way, "press", bearer | {"Origin": "https://evil.example"})
        assert elsewhere.status_code == 403
        answer = await offered(way, "press", bearer)
        assert answer.is_success, answer.text
        sdp = answer.json()["sdp"] if way == "/webrtc/offer" else answer.text
        await sender.setRemoteDescription(RTCSessionDescription(sdp, "answer"))
        _, looking = await site.access.add_token("looking", "viewer", None, None, "boss")

        async def streams() -> list[Any]:
            listed = await client.get("/api/streams", headers={"Authorization": f"Bearer {looking}"})
            found: list[Any] = listed.json()["streams"]
            return found

        async with asyncio.timeout(WAIT_S):
            while not any(stream["received"] for stream in await streams()):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        await site.access.revoke_token(token.id)
        async with asyncio.timeout(WAIT_S):
            while await streams():  # noqa: ASYNC110
                await asyncio.sleep(0.02)
    await sender.close()
    said = [json.loads(text) for text in goodbyes]
    assert any(
        one.get("code") == NOT_ALLOWED and "logged in" in one["reason"] for one in said if one["type"] == "goodbye"
    )


async def test_a_download_and_a_wait_are_broken_off(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """What only reads is cut where it stands; what waits to change something is told that its peer is gone."""
    headers, session = await site.browser()
    asked = {**headers, "Origin": site.server.http}
    async with http(site.server) as client:
        stream = await site.open("/ws/stream?name=press", {"Authorization": f"Bearer {await _machine(site)}"})
        await stream.send(GOOD)
        await stream.recv()
        waits = asyncio.create_task(client.post("/api/streams/press/calibrate?n=200&seconds=600", headers=asked))
        await until(lambda: len(site.access._watches) == 2)
        await site.access.end_session(session)
        assert site.access._watches, "a change is not broken off in the middle"
        await stream.send(GOOD)
        async with asyncio.timeout(WAIT_S):
            answer = await waits
        assert answer.status_code >= 400
        await stream.close()


async def _machine(site: Site) -> str:
    _, secret = await site.access.add_token("press-camera", "operator", None, None, "boss")
    return secret


async def test_it_takes_less_than_a_second_by_the_clock_of_who_looks(site: Site) -> None:
    """A revoked session is told in the same step; what others change is looked for twice a second."""
    headers, session = await site.browser()
    viewer = await site.open("/ws/live/press", headers)
    before = time.monotonic()
    await site.access.end_session(session)
    assert not site.access._watches or time.monotonic() - before < WAIT_S
    assert (await closed(viewer))[0] == OUT
