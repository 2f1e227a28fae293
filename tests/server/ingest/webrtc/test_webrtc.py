"""WebRTC ingest, with aiortc as the sender, over loopback."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import socket
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import aioice.ice
import av
import httpx
import numpy as np
import pytest
from aioice import stun
from aiortc import (
    RTCCertificate,
    RTCConfiguration,
    RTCDataChannel,
    RTCPeerConnection,
    RTCRtpSender,
    RTCSessionDescription,
    VideoStreamTrack,
)
from aiortc.rtcdtlstransport import generate_certificate
from aiortc.rtcsctptransport import DataChunk
from aiortc.rtp import RtpPacket
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from numpy.typing import NDArray
from OpenSSL import SSL
from starlette.applications import Starlette

from server.ground import Refusals, own_peer, source_of
from server.ingest.webrtc import aiortc_receiver, consent, data_channel_limits, source_limit
from server.ingest.webrtc import ingest as webrtc
from server.ingest.webrtc import peer as webrtc_peer
from server.ingest.webrtc.ice_servers import ice_server
from server.ingest.webrtc.ingest import OfferRefused, WebRTCIngest
from server.ingest.webrtc.offer_limits import ADDRESS_BURST
from server.streams import Waiting
from tests.server.fakes import asked_by_anybody

WAIT = 10.0
RESULT, PART = '{"type":"result"}', '{"type":"part"}'


@pytest.fixture(autouse=True)
def only_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """aioice leaves 127.0.0.1 out; test machines may have nothing else, and tests use nothing else."""
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda use_ipv4, use_ipv6: ["127.0.0.1"])


@dataclass
class FakeStream:
    name: str
    max_fps: float | None
    taken_over: asyncio.Event = field(default_factory=asyncio.Event)
    closed: bool = False
    frames: asyncio.Queue[Callable[[], NDArray[np.uint8]]] = field(default_factory=asyncio.Queue)
    answers: asyncio.Queue[str | None] = field(default_factory=asyncio.Queue)
    failures: list[str] = field(default_factory=list)

    def offer(self, load: Callable[[], NDArray[np.uint8]]) -> None:
        self.frames.put_nowait(load)

    def results(self) -> FakeStream:
        return self

    async def waiting(self) -> AsyncIterator[Waiting]:
        while (answer := await self.answers.get()) is not None:
            yield Waiting(answer, passes=answer != PART)

    def fail(self, words: str) -> None:
        self.failures.append(words)

    def close(self) -> None:
        self.closed = True
        self.answers.put_nowait(None)


@dataclass
class FakeStreams:
    opened: list[FakeStream] = field(default_factory=list)

    def open(self, name: str | None, transport: str, max_fps: float | None = None) -> FakeStream:
        assert transport == "webrtc"
        if name == "bad name":
            raise ValueError("a stream name has no spaces")
        self.opened.append(FakeStream(name or "made-up", max_fps))
        return self.opened[-1]


class Camera(VideoStreamTrack):
    """Shows the number of each frame as the brightness of the picture, and a blue left half."""

    async def recv(self) -> av.VideoFrame:
        pts, time_base = await self.next_timestamp()
        picture = np.zeros((120, 160, 3), np.uint8)
        picture[:, :80, 0] = 200
        frame = av.VideoFrame.from_ndarray(picture, format="bgr24")
        frame.pts, frame.time_base = pts, time_base
        return frame


class Sender:
    """A client of the ingest."""

    def __init__(
        self, http: httpx.AsyncClient, codec: str | None = None, certificate: RTCCertificate | None = None
    ) -> None:
        self.http = http
        self.connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        if certificate is not None:
            self.connection._RTCPeerConnection__certificates = [certificate]
        self.channel: RTCDataChannel = self.connection.createDataChannel("results", ordered=False, maxRetransmits=0)
        self.messages: asyncio.Queue[str] = asyncio.Queue()
        self.channel.on("message", self.messages.put_nowait)
        self.ended = asyncio.Event()
        self.connection.on("connectionstatechange", self._follow)
        self.connection.addTrack(Camera())
        if codec is not None:
            codecs = [c for c in RTCRtpSender.getCapabilities("video").codecs if c.name == codec]
            self.connection.getTransceivers()[0].setCodecPreferences(codecs)

    def _follow(self) -> None:
        if self.connection.connectionState in ("failed", "closed"):
            self.ended.set()

    async def offer(self) -> dict[str, Any]:
        await self.connection.setLocalDescription(await self.connection.createOffer())
        return {"sdp": self.connection.localDescription.sdp, "type": "offer"}

    async def connect(self, **fields: Any) -> dict[str, Any]:
        response = await self.http.post("/webrtc/offer", json=await self.offer() | fields)
        assert response.status_code == 200, response.text
        answer: dict[str, Any] = response.json()
        await self.connection.setRemoteDescription(RTCSessionDescription(answer["sdp"], answer["type"]))
        return answer


@dataclass
class Site:
    ingest: WebRTCIngest
    streams: FakeStreams
    http: httpx.AsyncClient
    senders: list[Sender] = field(default_factory=list)

    def sender(self, codec: str | None = None, certificate: RTCCertificate | None = None) -> Sender:
        self.senders.append(Sender(self.http, codec, certificate))
        return self.senders[-1]


@asynccontextmanager
async def site(**settings: Any) -> AsyncIterator[Site]:
    streams = FakeStreams()
    ingest = WebRTCIngest(streams, **settings)
    app = asked_by_anybody(Starlette(routes=ingest.routes))
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
        here = Site(ingest, streams, http)
        try:
            yield here
        finally:
            await ingest.close()
            await asyncio.gather(*(sender.connection.close() for sender in here.senders))


async def until(condition: Callable[[], bool], within: float = WAIT) -> None:
    async with asyncio.timeout(within):
        while not condition():  # noqa: ASYNC110 - conditions of aiortc have no events
            await asyncio.sleep(0.005)


async def newest_frame(stream: FakeStream) -> NDArray[np.uint8]:
    async with asyncio.timeout(WAIT):
        return (await stream.frames.get())()


@pytest.mark.parametrize("codec", ["VP8", "H264"])
async def test_frames_come_in_and_results_go_out(codec: str) -> None:
    async with site() as here:
        sender = here.sender(codec)
        answer = await sender.connect(name="line-1", max_fps=5)
        assert (answer["type"], answer["name"]) == ("answer", "line-1")
        assert codec in answer["sdp"]
        stream = here.streams.opened[0]
        assert (stream.name, stream.max_fps) == ("line-1", 5)
        frame = await newest_frame(stream)
        assert (frame.shape, frame.dtype) == ((120, 160, 3), np.uint8)
        assert np.abs(frame[60, 40].astype(int) - (200, 0, 0)).max() < 30, "BGR: the left half is blue"
        await until(lambda: sender.channel.readyState == "open")
        stream.answers.put_nowait('{"type":"result"}')
        async with asyncio.timeout(WAIT):
            assert await sender.messages.get() == '{"type":"result"}'


async def test_a_name_is_made_up() -> None:
    async with site() as here:
        assert (await here.sender().connect())["name"] == "made-up"


async def test_the_answer_asks_for_enough_bitrate_and_no_rotation_and_no_stun_server() -> None:
    async with site() as here:
        sdp = (await here.sender().connect())["sdp"]
        assert "x-google-start-bitrate=2500;x-google-min-bitrate=1500;x-google-max-bitrate=4000" in sdp
        assert "video-orientation" not in sdp, "so the browser turns the picture itself"
        assert "srflx" not in sdp


async def test_it_works_with_stock_aiortc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aiortc_receiver, "MISFIT", "another aiortc")
    async with site() as here:
        await here.sender().connect()
        assert (await newest_frame(here.streams.opened[0])).shape == (120, 160, 3)


async def test_a_frame_that_nobody_inspects_is_not_converted(monkeypatch: pytest.MonkeyPatch) -> None:
    async with site() as here:
        await here.sender().connect()
        stream = here.streams.opened[0]
        await until(lambda: stream.frames.qsize() >= 3)
        loads = [stream.frames.get_nowait() for _ in range(3)]
        first, third = loads[0](), loads[2]()
        assert first.shape == third.shape and not np.shares_memory(first, third)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b"[]",
        b'{"sdp": "v=0"}',
        b'{"sdp": 7, "type": "offer"}',
        b'{"sdp": "", "type": "answer"}',
        b'{"sdp": "", "type": "offer"}',
        b'{"sdp": "v=0\\r\\nm=video x", "type": "offer"}',
        b'{"sdp": "", "type": "offer", "max_fps": "fast"}',
        b'\xff\xfe{"sdp": ""}',
    ],
)
async def test_what_is_no_offer_is_refused(body: bytes) -> None:
    async with site() as here:
        response = await here.http.post("/webrtc/offer", content=body)
        assert response.status_code == 422
        assert "offer" in response.json()["error"]
        assert (here.ingest.peers, here.streams.opened) == (0, [])


async def test_an_offer_with_nothing_in_common_leaks_nothing() -> None:
    async with site() as here:
        offer = await here.sender().offer()
        offer["sdp"] = offer["sdp"].replace(" VP8/", " VP9/").replace(" H264/", " AV1/")
        response = await here.http.post("/webrtc/offer", json=offer)
        assert response.status_code == 422
        assert "VP8 or H264" in response.json()["error"]
        assert here.ingest.peers == 0
        assert here.streams.opened == [], "nobody's name was taken over"


async def test_the_stream_says_what_is_wrong_with_a_name() -> None:
    async with site() as here:
        response = await here.http.post("/webrtc/offer", json=await here.sender().offer() | {"name": "bad name"})
        assert (response.status_code, response.json()) == (422, {"error": "a stream name has no spaces"})
        assert here.ingest.peers == 0


async def test_a_body_over_the_limit_is_refused() -> None:
    async with site() as here:
        response = await here.http.post("/webrtc/offer", content=b" " * (webrtc.MAX_BODY + 1))
        assert response.status_code == 413
        assert "256 kB" in response.json()["error"]


async def test_a_machine_without_address_says_so_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async with site() as here:
        offer = await here.sender().offer()
        monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda use_ipv4, use_ipv6: [])
        response = await here.http.post("/webrtc/offer", json=offer)
        assert response.status_code == 503
        assert "WebSocket" in response.json()["error"]
        assert (here.ingest.peers, here.streams.opened) == (0, [])


async def test_one_sender_too_many_is_refused_until_another_leaves() -> None:
    async with site(max_peers=1) as here:
        first, second = here.sender(), here.sender()
        await first.connect()
        await until(lambda: first.channel.readyState == "open")
        response = await here.http.post("/webrtc/offer", json=await second.offer())
        assert response.status_code == 503
        assert len(here.streams.opened) == 1, "nobody's name was taken over"
        await first.connection.close()
        await until(lambda: here.ingest.peers == 0)
        assert here.streams.opened[0].closed
        await here.sender().connect()


async def test_a_sender_that_never_connects_is_forgotten() -> None:
    async with site(connect_within=0.05) as here:
        response = await here.http.post("/webrtc/offer", json=await here.sender().offer())
        assert response.status_code == 200
        await until(lambda: here.ingest.peers == 0)
        assert here.streams.opened[0].closed


async def test_a_connected_sender_outlives_the_time_to_connect() -> None:
    async with site(connect_within=1.0) as here:
        sender = here.sender()
        started = time.monotonic()
        await sender.connect()
        stream = here.streams.opened[0]
        while time.monotonic() < started + 1.2:
            await newest_frame(stream)
        assert here.ingest.peers == 1 and not stream.closed


async def test_a_sender_that_is_taken_over_is_told_and_closed() -> None:
    async with site() as here:
        sender = here.sender()
        await sender.connect(name="line-1")
        await until(lambda: sender.channel.readyState == "open")
        here.streams.opened[0].taken_over.set()
        here.streams.opened[0].answers.put_nowait(None)
        async with asyncio.timeout(WAIT):
            message = json.loads(await sender.messages.get())
            await sender.ended.wait()
        assert (message["type"], message["stream"], message["code"]) == ("goodbye", "line-1", 4001)
        await until(lambda: here.ingest.peers == 0)


async def test_shutdown_closes_everybody_at_once_and_refuses_newcomers() -> None:
    async with site() as here:
        senders = [here.sender() for _ in range(4)]
        for sender in senders:
            await sender.connect()
        await until(lambda: all(sender.channel.readyState == "open" for sender in senders))
        async with asyncio.timeout(3):  # which the server has for all of its end
            await here.ingest.close()
        assert here.ingest.peers == 0 and all(stream.closed for stream in here.streams.opened)
        async with asyncio.timeout(WAIT):
            for sender in senders:
                assert json.loads(await sender.messages.get())["code"] == 1012
                await sender.ended.wait()
        response = await here.http.post("/webrtc/offer", json=await here.sender().offer())
        assert response.status_code == 503


async def test_results_are_dropped_while_too_many_bytes_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    async with site() as here:
        sender = here.sender()
        await sender.connect()
        await until(lambda: sender.channel.readyState == "open")
        stream = here.streams.opened[0]
        result = json.dumps({"type": "result", "data": "x" * 30_000})
        for _ in range(100):
            stream.answers.put_nowait(result)
        await until(stream.answers.empty)
        stream.answers.put_nowait('{"last": true}')
        async with asyncio.timeout(WAIT):
            received = 0
            while await sender.messages.get() == result:
                received += 1
        assert received < 50


async def test_a_part_is_sent_again_where_its_packet_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    async with site() as here:
        sender = here.sender()
        heard: asyncio.Queue[str] = asyncio.Queue()
        parts = sender.connection.createDataChannel("parts")
        parts.on("message", heard.put_nowait)
        await sender.connect()
        await until(lambda: parts.readyState == sender.channel.readyState == "open")
        (peer,) = here.ingest._peers
        dtls: Any = peer._connection.sctp.transport  # type: ignore[union-attr]
        send, lost = dtls._send_data, list[bytes]()

        async def lossy(data: bytes) -> None:
            if PART.encode() in data and not lost:
                lost.append(data)
            else:
                await send(data)

        monkeypatch.setattr(dtls, "_send_data", lossy)
        for answer in (PART, RESULT):
            here.streams.opened[0].answers.put_nowait(answer)
        async with asyncio.timeout(WAIT):
            assert await heard.get() == PART and lost
            assert await sender.messages.get() == RESULT, "and no part there too"


async def test_who_opens_no_channel_for_parts_hears_them_among_the_results() -> None:
    async with site() as here:
        sender = here.sender()
        await sender.connect()
        await until(lambda: sender.channel.readyState == "open")
        here.streams.opened[0].answers.put_nowait(PART)
        async with asyncio.timeout(WAIT):
            assert await sender.messages.get() == PART


async def test_a_dead_sender_is_cleaned_up_quietly(caplog: pytest.LogCaptureFixture) -> None:
    async with site() as here:
        await here.sender().connect()
        stream = here.streams.opened[0]
        await newest_frame(stream)
        (peer,) = here.ingest._peers
        ice = peer._connection.getTransceivers()[0].receiver.transport.transport
        with caplog.at_level(logging.WARNING):
            await ice._connection.close()  # what aioice does when consent expires
            for _ in range(50):
                stream.answers.put_nowait('{"type":"result"}')
            await until(lambda: here.ingest.peers == 0)
        assert stream.closed
        assert [record for record in caplog.records if record.name != "aioice.ice"] == []


async def test_a_sender_that_falls_silent_is_cleaned_up(monkeypatch: pytest.MonkeyPatch) -> None:
    async with site() as here:
        sender = here.sender()
        monkeypatch.setattr(webrtc_peer, "SILENT_FOR", 0.2)
        await sender.connect()
        stream = here.streams.opened[0]
        for _ in range(15):
            await newest_frame(stream)
        assert here.ingest.peers == 1, "half a second of frames is no silence"

        monkeypatch.setattr(consent, "RETRANSMISSIONS", 0)
        await fall_silent(sender, monkeypatch)
        for protocol in transport_of(sender)._connection._protocols:
            monkeypatch.setattr(protocol, "send_stun", lambda message, address: None)
        await until(lambda: here.ingest.peers == 0)
        assert stream.closed


async def test_a_sender_that_pauses_is_not_closed_while_it_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """GStreamer sends neither pictures nor reports while its source is paused: it was closed after 5 s."""
    asked = asyncio.Event()
    ask = consent.is_there

    async def note(transport: Any) -> bool:
        there = await ask(transport)
        asked.set()
        return there

    monkeypatch.setattr(consent, "is_there", note)
    async with site() as here:
        sender = here.sender()
        monkeypatch.setattr(webrtc_peer, "SILENT_FOR", 0.2)
        await sender.connect()
        stream = here.streams.opened[0]
        await newest_frame(stream)
        send = await fall_silent(sender, monkeypatch)
        for _ in range(3):
            asked.clear()
            async with asyncio.timeout(WAIT):
                await asked.wait()
        assert here.ingest.peers == 1 and not stream.closed
        monkeypatch.setattr(transport_of(sender), "_send", send)
        while not stream.frames.empty():
            stream.frames.get_nowait()
        await newest_frame(stream)


async def fall_silent(sender: Sender, monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], Awaitable[None]]:
    """Only ICE's own checks are answered from here on; returns what sent before."""

    async def nothing(data: bytes) -> None:
        pass

    send: Callable[[bytes], Awaitable[None]] = transport_of(sender)._send
    monkeypatch.setattr(transport_of(sender), "_send", nothing)
    return send


def transport_of(sender: Sender) -> Any:
    return sender.connection.getTransceivers()[0].sender.transport.transport


async def test_lost_packets_are_sent_again_and_frames_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    async with site() as here:
        sender = here.sender()
        await sender.connect()
        stream = here.streams.opened[0]
        await newest_frame(stream)
        transport = sender.connection.getTransceivers()[0].sender.transport.transport
        send, sent = transport._send, 0

        async def lossy(data: bytes) -> None:
            nonlocal sent
            sent += 1
            if sent % 10:
                await send(data)

        monkeypatch.setattr(transport, "_send", lossy)
        await until(lambda: stream.frames.qsize() >= 30)
        while stream.frames.qsize():
            blue = (await newest_frame(stream))[60, 40].astype(int)
            assert np.abs(blue - (200, 0, 0)).max() < 30


async def test_frames_lost_on_the_way_are_counted_and_never_inspected(monkeypatch: pytest.MonkeyPatch) -> None:
    async with site() as here:
        sender = here.sender()
        await sender.connect()
        stream = here.streams.opened[0]
        await newest_frame(stream)
        send, left = transport_of(sender)._send, 6

        async def lose_some(data: bytes) -> None:
            nonlocal left
            if 127 < data[0] < 192 and not 192 <= data[1] <= 223 and left:  # RTP, not RTCP
                left -= 1
            else:
                await send(data)

        async def never(sequence_number: int) -> None:
            pass

        monkeypatch.setattr(sender.connection.getTransceivers()[0].sender, "_retransmit", never)
        monkeypatch.setattr(transport_of(sender), "_send", lose_some)
        await until(lambda: bool(stream.failures))
        assert "lost on the way" in stream.failures[0]
        while not stream.frames.empty():
            stream.frames.get_nowait()
        assert np.abs((await newest_frame(stream))[60, 40].astype(int) - (200, 0, 0)).max() < 30


async def test_a_picture_over_the_limit_counts_as_failed() -> None:
    async with site(max_pixels=160 * 120 - 1) as here:
        await here.sender("VP8").connect()
        stream = here.streams.opened[0]
        await until(lambda: bool(stream.failures))
        assert "160x120" in stream.failures[0]
        assert stream.frames.empty()


DTLS_1_2 = 0xFEFD
"""What GStreamer of Debian 12 speaks; in 1.3 the certificate's kind no longer decides about ciphers."""


class RSACertificate(RTCCertificate):  # type: ignore[misc]
    """As GStreamer's: aiortc, which is the DTLS client here, offered nothing that goes with it."""

    ciphers = b"ECDHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-CHACHA20-POLY1305"

    def _create_ssl_context(self, srtp_profiles: list[Any]) -> SSL.Context:
        context: SSL.Context = super()._create_ssl_context(srtp_profiles)
        context.set_cipher_list(self.ciphers)
        context.set_max_proto_version(DTLS_1_2)
        return context


class ForeignCertificate(RSACertificate):
    ciphers = b"ECDHE-RSA-AES256-GCM-SHA384"


def rsa(kind: type[RSACertificate]) -> RSACertificate:
    key = generate_private_key(65537, 2048)
    return kind(key, generate_certificate(key))


async def test_a_sender_with_an_rsa_certificate_connects() -> None:
    async with site() as here:
        sender = here.sender(certificate=rsa(RSACertificate))
        await sender.connect()
        assert (await newest_frame(here.streams.opened[0])).shape == (120, 160, 3)


async def test_a_handshake_that_fails_is_told(caplog: pytest.LogCaptureFixture) -> None:
    async with site() as here:
        sender = here.sender(certificate=rsa(ForeignCertificate))
        offer = await sender.offer()
        # The one who finds that nothing is in common says so, and of two aiortcs the other one does not hear it.
        offer["sdp"] = offer["sdp"].replace("a=setup:actpass", "a=setup:active")
        answer = (await here.http.post("/webrtc/offer", json=offer | {"name": "line-1"})).json()
        await sender.connection.setRemoteDescription(RTCSessionDescription(answer["sdp"], "answer"))
        await until(lambda: here.ingest.peers == 0)
        (told,) = here.streams.opened[0].failures
    (logged,) = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    for words in (told, logged):
        assert "DTLS" in words and "no cipher or curve in common" in words
    assert "line-1" in logged


async def test_a_sender_with_another_certificate_than_it_offered_is_told(caplog: pytest.LogCaptureFixture) -> None:
    async with site() as here:
        sender = here.sender()
        offer = await sender.offer()
        offer["sdp"] = re.sub("a=fingerprint:sha-(...) ..:..", r"a=fingerprint:sha-\1 00:00", offer["sdp"])
        answer = (await here.http.post("/webrtc/offer", json=offer)).json()
        await sender.connection.setRemoteDescription(RTCSessionDescription(answer["sdp"], "answer"))
        await until(lambda: here.ingest.peers == 0)
        assert "certificate" in here.streams.opened[0].failures[0]


async def test_json_of_brackets_alone_is_refused() -> None:
    async with site() as here:
        for body in (b"[" * 100_000, b'{"sdp":' * 30_000, b'{"sdp": "", "type": "offer", "x": ' + b"[" * 200_000):
            response = await here.http.post("/webrtc/offer", content=body)
            assert response.status_code == 422, response.text


async def test_offers_by_the_hundred_are_refused_and_others_are_not(caplog: pytest.LogCaptureFixture) -> None:
    async with site() as here:
        offer = await here.sender().offer()
        for _ in range(ADDRESS_BURST):
            here.ingest._limits.wait_s("127.0.0.1")
        response = await here.http.post("/webrtc/offer", json=offer)
        assert response.status_code == 429 and int(response.headers["Retry-After"]) >= 1
        assert "wait" in response.json()["error"]
        await asyncio.gather(*(here.http.post("/webrtc/offer", json=offer) for _ in range(4)))
        assert caplog.text.count("too many WebRTC offers") == 1, "a line a minute, not one each"
        transport = httpx.ASGITransport(
            app=asked_by_anybody(Starlette(routes=here.ingest.routes)), client=("10.0.0.9", 1)
        )
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as other:
            assert (await other.post("/webrtc/offer", json=offer)).status_code == 200


async def test_all_addresses_of_a_network_are_one_asker() -> None:
    async with site() as here:
        offer = await here.sender().offer()
        for _ in range(ADDRESS_BURST):
            here.ingest._limits.wait_s(source_of("2001:db8::1"))
        transport = httpx.ASGITransport(
            app=asked_by_anybody(Starlette(routes=here.ingest.routes)), client=("2001:db8::2", 1)
        )
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as neighbour:
            assert (await neighbour.post("/webrtc/offer", json=offer)).status_code == 429


async def test_the_oldest_that_never_connected_makes_room_for_another_of_its_address(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its place was held for 15 s: 32 offers in that time kept everybody out."""
    monkeypatch.setattr(webrtc, "MAX_CONNECTING_OF_AN_ADDRESS", 2)
    async with site() as here:
        offer = await here.sender().offer()
        for number in range(3):
            assert (await here.http.post("/webrtc/offer", json=offer | {"name": f"n{number}"})).status_code == 200
        first, *others = here.streams.opened
        await until(lambda: first.closed)
        assert here.ingest.peers == 2 and not any(stream.closed for stream in others)
        sender = here.sender()
        await sender.connect(name="real")
        await newest_frame(here.streams.opened[-1])


async def test_an_offer_that_drips_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webrtc, "BODY_WITHIN_S", 0.05)

    async def drip() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.Event().wait()

    async with site() as here:
        response = await here.http.post("/webrtc/offer", content=drip())
        assert response.status_code == 408 and "send it again" in response.json()["error"]


@pytest.mark.parametrize("attack", ["packets", "fragments", "channels"])
async def test_a_flood_on_the_data_channel_ends_the_sender(
    attack: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(data_channel_limits, "MAX_PACKETS_PER_S", 200)
    async with site() as here:
        sender = here.sender()
        await sender.connect()
        await until(lambda: sender.channel.readyState == "open")
        sctp = sender.connection.sctp
        with caplog.at_level(logging.WARNING, "defectvision.webrtc"):
            flood = asyncio.create_task(FLOODS[attack](sender, sctp))
            await until(lambda: here.ingest.peers == 0)
            flood.cancel()
        assert here.streams.opened[0].closed
    (line,) = [record.getMessage() for record in caplog.records if record.name == "defectvision.webrtc"]
    assert {"packets": "packets a second", "fragments": "unfinished", "channels": "data channels"}[attack] in line


async def flood_packets(sender: Sender, sctp: Any) -> None:
    while True:
        sender.channel.send("x")
        await asyncio.sleep(0)


async def flood_fragments(sender: Sender, sctp: Any) -> None:
    """One message without an end, the receiver's window ignored; not too fast to be taken for packets."""
    for _ in range(1000):
        chunk = DataChunk()
        chunk.flags, chunk.tsn, chunk.stream_id, chunk.protocol = 2, sctp._local_tsn, sender.channel.id, 51
        chunk.user_data = bytes(1100)
        sctp._local_tsn = (sctp._local_tsn + 1) % 2**32
        await sctp._send_chunk(chunk)
        await asyncio.sleep(0.006)


async def flood_channels(sender: Sender, sctp: Any) -> None:
    for number in range(40):
        sender.connection.createDataChannel(f"c{number}")
        await asyncio.sleep(0.01)


FLOODS = {"packets": flood_packets, "fragments": flood_fragments, "channels": flood_channels}


async def test_a_flood_of_packets_ends_the_sender(monkeypatch: pytest.MonkeyPatch) -> None:
    async with site() as here:
        sender = here.sender()
        await sender.connect()
        await newest_frame(here.streams.opened[0])
        monkeypatch.setattr(webrtc_peer, "MAX_PACKETS_PER_S", 5)
        await until(lambda: here.ingest.peers == 0)
        assert here.streams.opened[0].closed


async def test_an_offer_that_was_given_up_opens_no_stream() -> None:
    """A page that falls back on WebSocket was thrown out by its own offer, answered late."""

    async def gone() -> bool:
        return True

    async with site() as here:
        offer = await here.sender().offer()
        with pytest.raises(OfferRefused, match="is gone"):
            await here.ingest.answer(offer["sdp"], "line-1", None, "127.0.0.1", None, gone)
        assert not here.streams.opened and here.ingest.peers == 0


async def send_from_source(sender: Sender, ssrc: int) -> None:
    """A packet of video under another source (SSRC)."""
    transport = sender.connection.getTransceivers()[0].sender.transport
    payload_type = payload_types(sender)[0]
    packet = RtpPacket(payload_type=payload_type, sequence_number=1, timestamp=0, ssrc=ssrc, payload=b"\x10\0")
    await transport._send_rtp(packet.serialize())


def payload_types(sender: Sender) -> list[int]:
    """Payload types that were agreed on."""
    return [int(one) for one in re.findall(r"a=rtpmap:([0-9]+) VP8", sender.connection.remoteDescription.sdp)]


async def test_video_from_many_sources_ends_the_sender(caplog: pytest.LogCaptureFixture) -> None:
    """aiortc keeps something of each for good, and does not close any more from 256 on."""
    async with site() as here:
        sender = here.sender("VP8")
        await sender.connect()
        (stream,) = here.streams.opened
        await newest_frame(stream)
        (peer,) = here.ingest._peers
        for ssrc in range(1, source_limit.MOST_SOURCES):
            await send_from_source(sender, ssrc)
        for ssrc in range(1000, 1100):
            await send_from_source(sender, ssrc)
        await until(lambda: here.ingest.peers == 0)
        assert stream.closed and len(peer._transport._rtp_router.ssrc_table) <= source_limit.MOST_SOURCES
    (line,) = [record.getMessage() for record in caplog.records if record.name == "defectvision.webrtc"]
    assert "sources (SSRC)" in line


async def test_a_connection_whose_reports_failed_is_cut_off(caplog: pytest.LogCaptureFixture) -> None:
    """aiortc waits for them for ever when it closes: sockets stayed open, and what came was deciphered."""
    async with site() as here:
        await here.sender().connect()
        (stream,) = here.streams.opened
        await newest_frame(stream)
        (peer,) = here.ingest._peers
        _, receiver = webrtc_peer.video(peer._connection)
        never = SimpleNamespace(wait=asyncio.Event().wait, set=lambda: None)  # as after a task that died
        receiver._RTCRtpReceiver__rtcp_exited = never
        ice = peer._transport.transport
        sockets = [one.transport for one in ice._connection._protocols]
        peer.forget()
        await until(lambda: here.ingest.peers == 0)
        assert (peer._transport.state, ice.state) == ("closed", "closed")
        assert sockets and all(one.is_closing() for one in sockets)
    assert "was cut off" in caplog.text


async def test_who_is_not_the_sender_is_not_heard_at_its_port(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An empty datagram from anywhere ended aiortc for good, without a word to the sender."""
    monkeypatch.setattr(own_peer, "MAX_CHECKS_PER_S", 3)
    heard: list[bytes] = []
    hear = aioice.ice.StunProtocol.datagram_received

    def received(self: Any, data: bytes, address: Any) -> None:
        if address[1] == stranger.getsockname()[1]:
            heard.append(data)
        hear(self, data, address)

    monkeypatch.setattr(aioice.ice.StunProtocol, "datagram_received", received)
    check = bytes(stun.Message(message_method=stun.Method.BINDING, message_class=stun.Class.REQUEST))
    cut_short = bytes.fromhex("0001000c2112a442000000000000000000000000002400018c000000c0570004")
    with pytest.raises(struct.error):
        stun.parse_message(cut_short)
    rubbish = [b"", bytes([128]) * 200, bytes([22, 254, 253]) + bytes(60)]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.bind(("127.0.0.1", 0))
        async with site() as here:
            answer = await here.sender().connect()
            (stream,) = here.streams.opened
            await newest_frame(stream)
            found = re.search(r"a=candidate:[0-9a-f]+ 1 udp [0-9]+ 127.0.0.1 ([0-9]+) ", answer["sdp"])
            assert found is not None
            second = int(time.monotonic())
            for data in [cut_short, *rubbish, *[check] * 20, *rubbish]:
                stranger.sendto(data, ("127.0.0.1", int(found[1])))
            stream.frames = asyncio.Queue()
            await until(lambda: stream.frames.qsize() > 5)
            assert not stream.closed
            assert 0 < len(heard) <= 3 * (int(time.monotonic()) - second + 1) and set(heard) == {check, cut_short}
    assert not [record for record in caplog.records if record.name == "asyncio"]
    (said,) = [record.getMessage() for record in caplog.records if "not its peer's" in record.message]
    assert said.endswith("times=1 last=127.0.0.1")


async def test_what_came_before_a_port_was_guarded_is_a_strangers() -> None:
    """While STUN and TURN servers are asked, its ports are open, and nobody knows them but who tries all."""
    connection = RTCPeerConnection()
    connection.createDataChannel("results")
    await connection.setLocalDescription(await connection.createOffer())
    assert connection.sctp is not None
    came: asyncio.Queue[Any] = connection.sctp.transport.transport._connection._queue
    found = re.search(r"a=candidate:[0-9a-f]+ 1 udp [0-9]+ 127.0.0.1 ([0-9]+) ", connection.localDescription.sdp)
    assert found is not None
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.sendto(b"", ("127.0.0.1", int(found[1])))
    await until(lambda: came.qsize() == 1)
    assert own_peer.guard(connection, Refusals())
    assert came.empty()
    await connection.close()


@pytest.mark.parametrize(
    ("url", "urls", "username", "credential"),
    [
        ("stun:stun.example:3478", "stun:stun.example:3478", None, None),
        ("turn:user:pa%40ss@turn.example", "turn:turn.example", "user", "pa@ss"),
        ("turns:u:p@turn.example:443?transport=tcp", "turns:turn.example:443?transport=tcp", "u", "p"),
    ],
)
def test_ice_servers(url: str, urls: str, username: str | None, credential: str | None) -> None:
    server = ice_server(url)
    assert (server.urls, server.username, server.credential) == (urls, username, credential)


def test_an_ice_server_that_cannot_be_read_is_named_without_its_password() -> None:
    with pytest.raises(ValueError, match=r"turn:…@") as caught:
        WebRTCIngest(FakeStreams(), ice_servers=["turn:user:secret@"])
    assert "secret" not in str(caught.value)
