"""The WebRTC sender against the real server on loopback: its verdicts, its end, its silence."""

from __future__ import annotations

import asyncio
import logging
import re
import socket
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import aioice.ice
import pytest
from aiortc.codecs import vpx

from server.camera_process import webrtc_sender as camera_webrtc
from server.camera_process.sender import Destination
from server.camera_process.webrtc_sender import BITRATES, WebRTCSender, raise_bitrates
from server.cameras.backoff import Backoff
from server.cameras.camera import CapturedFrame
from server.ground.closing import transports_of
from server.serve import listen
from tests import running
from tests.running import free_port
from tests.server.camera_fakes import Feed, picture
from tests.server.fakes import FakeModel, listed, serving, until

Make = Callable[[int], WebRTCSender]


@pytest.fixture(autouse=True)
def only_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """aioice leaves 127.0.0.1 out; test machines may have nothing else, and tests use nothing else."""
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda use_ipv4, use_ipv6: ["127.0.0.1"])


@pytest.fixture
def make(caplog: pytest.LogCaptureFixture) -> Iterator[Make]:
    """Makes senders, and sees that each ends in time."""
    caplog.set_level(logging.INFO, "defectvision.camera")
    senders: list[WebRTCSender] = []

    def make_one(port: int) -> WebRTCSender:
        senders.append(WebRTCSender(Destination(f"http://127.0.0.1:{port}", "press"), Backoff(0.02, 0.1)))
        senders[-1].start()
        return senders[-1]

    yield make_one
    for sender in senders:
        sender.stop()
        assert sender.ended.wait(1)


async def _lose(connection: aioice.ice.Connection, data: bytes, component: int) -> None:
    """In place of sending: ICE goes on, and nothing else arrives."""


def kinds(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was told of the server: connecting, inspecting, away, back."""
    links = [record.getMessage() for record in caplog.records if record.getMessage().startswith("server http")]
    return [line.split(": ")[1].split()[0] for line in links]


async def test_it_sends_video_and_tells_when_the_verdict_changes(
    make: Make, model: FakeModel, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(model, tmp_path) as server:
        sender = make(server.port)
        with Feed(sender) as feed:
            await until(lambda: sender.totals.inspected >= 5)
            feed.value = 200
            await until(lambda: sender.totals.anomalies >= 3)
            stream = await listed(server, "press")
        assert stream is not None and stream["transport"] == "webrtc"
        assert 0 < sender.totals.sent <= feed.number
    told = [record.getMessage().split(":")[0] for record in caplog.records if "verdict" in record.getMessage()]
    assert told == ["verdict NORMAL", "verdict ANOMALY"]


async def test_it_comes_back_after_the_server_was_restarted(
    make: Make, model: FakeModel, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    monkeypatch.setattr(running, "listen", lambda host, _: listen(host, port))
    sender = make(port)
    with Feed(sender):
        async with serving(model, tmp_path):
            await until(lambda: sender.totals.inspected >= 3)
        await until(lambda: kinds(caplog)[-1] == "away")
        before = sender.totals.inspected
        async with serving(model, tmp_path):
            await until(lambda: sender.totals.inspected >= before + 3)
    assert "it is shutting down or restarting" in caplog.text
    assert "back" in kinds(caplog)
    assert all(first != second for first, second in pairwise(kinds(caplog))), kinds(caplog)


async def test_it_notices_a_silent_server_and_connects_anew(
    make: Make,
    model: FakeModel,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(camera_webrtc, "SILENT_S", 0.3)
    async with serving(model, tmp_path) as server:
        sender = make(server.port)
        with Feed(sender):
            await until(lambda: sender.totals.inspected >= 3)
            with monkeypatch.context() as patched:
                patched.setattr(aioice.ice.Connection, "sendto", _lose)
                await until(lambda: "silent for 0.3 s" in caplog.text)
            before = sender.totals.inspected
            await until(lambda: sender.totals.inspected >= before + 3)
    assert kinds(caplog)[:4] == ["connecting", "inspecting", "away", "back"]


async def test_who_is_not_the_server_is_not_heard(
    make: Make, model: FakeModel, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty datagram from anywhere ended aiortc for good."""
    offers: list[str] = []
    answer = camera_webrtc.answer

    def noted(destination: Destination, offer: str) -> str:
        offers.append(offer)
        return answer(destination, offer)

    monkeypatch.setattr(camera_webrtc, "answer", noted)
    async with serving(model, tmp_path) as server:
        sender = make(server.port)
        with Feed(sender), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            await until(lambda: sender.totals.inspected >= 3)
            ports = {int(port) for port in re.findall(r"a=candidate:\S+ 1 udp \d+ 127.0.0.1 (\d+) ", offers[0])}
            for data in (b"", bytes([128]) * 200, bytes([22, 254, 253]) + bytes(60)):
                for port in ports:
                    stranger.sendto(data, ("127.0.0.1", port))
            await until(lambda: "not its peer's" in caplog.text)
            before = sender.totals.inspected
            await until(lambda: sender.totals.inspected >= before + 10)
            assert ports and len(offers) == 1 and "away" not in kinds(caplog)


async def test_it_gives_up_when_another_sender_takes_over(make: Make, model: FakeModel, tmp_path: Path) -> None:
    async with serving(model, tmp_path) as server:
        first = make(server.port)
        with Feed(first):
            await until(lambda: first.totals.inspected >= 1)
            second = make(server.port)
            await until(first.ended.is_set)
        with Feed(second):
            await until(lambda: second.totals.inspected >= 1)
    assert first.error == "another sender took over stream press: give each camera its own --name"


async def test_a_connection_that_does_not_close_is_cut_off(make: Make, model: FakeModel, tmp_path: Path) -> None:
    """As after a report that failed: its ports stayed open, and the server heard of no end."""
    async with serving(model, tmp_path) as server:
        sender = make(server.port)
        with Feed(sender):
            await until(lambda: sender.totals.inspected >= 1)
            assert sender._link is not None
            connection = sender._link._connection
            never = SimpleNamespace(wait=asyncio.Event().wait, set=lambda: None)
            connection.getTransceivers()[0].sender._RTCRtpSender__rtcp_exited = never
            carriers = transports_of(connection)
            ports = [port.transport for one in carriers for port in one.transport._connection._protocols]
            sender.stop()
            await until(sender.ended.is_set)
    assert {(one.state, one.transport.state) for one in carriers} == {("closed", "closed")}
    assert ports and all(port.is_closing() for port in ports)


async def test_it_says_when_there_is_no_way_through(
    make: Make, model: FakeModel, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(camera_webrtc, "CONNECT_S", 0.1)
    monkeypatch.setattr(aioice.ice.Connection, "sendto", _lose)
    async with serving(model, tmp_path) as server:
        make(server.port)
        await until(lambda: "no way through the network" in caplog.text)
    assert "--transport websocket" in caplog.text


async def test_a_machine_with_no_address_but_its_own_is_told_to_use_websocket(
    make: Make, model: FakeModel, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda use_ipv4, use_ipv6: [])
    async with serving(model, tmp_path) as server:
        make(server.port)
        await until(lambda: "--transport websocket" in caplog.text)
    assert kinds(caplog) == ["connecting", "away"]


async def test_what_waited_through_an_outage_is_not_sent(make: Make, model: FakeModel, tmp_path: Path) -> None:
    async with serving(model, tmp_path) as server:
        sender = make(server.port)
        sender.offer(CapturedFrame(1, picture(200), 0.0))
        with Feed(sender) as feed:
            feed.number = 1
            await until(lambda: sender.totals.inspected >= 2)
        assert sender.totals.anomalies == 0


async def test_pictures_of_odd_and_changing_sizes_arrive(make: Make, model: FakeModel, tmp_path: Path) -> None:
    async with serving(model, tmp_path) as server:
        sender = make(server.port)
        for number, (width, height) in enumerate([(64, 48), (63, 47), (65, 33)] * 3, start=2):
            before = sender.totals.inspected
            while sender.totals.inspected == before:
                number += 100
                sender.offer(CapturedFrame(number, picture(50, width, height)[:, ::-1], number / 10))
                await asyncio.sleep(0.01)
        assert sender.totals.failed == 0


def test_the_encoder_may_use_enough_bits_for_small_defects() -> None:
    raise_bitrates()
    encoder = vpx.Vp8Encoder()
    assert encoder.target_bitrate == BITRATES["DEFAULT_BITRATE"]
    encoder.target_bitrate = 100_000  # what aiortc's own receiver estimates of a slow source
    assert encoder.target_bitrate == BITRATES["MIN_BITRATE"]


def test_an_aiortc_without_that_door_is_told(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.delattr(vpx, "MIN_BITRATE")
    raise_bitrates()
    assert "has no MIN_BITRATE" in caplog.text
    assert not hasattr(vpx, "MIN_BITRATE")
