"""Frames in over WebRTC: ``POST /webrtc/offer`` takes a video track, results go back over a data channel.

The client offers one video track (VP8 or H264) and opens a data channel labelled ``results``, unordered and
without retransmissions; the same JSON goes there as over the WebSocket.

Phones: the CVO extension (``urn:3gpp:video-orientation``) is not negotiated, because aiortc would not apply
it. Browsers then turn the picture upright before they encode it, and frames arrive upright.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import Any, Literal
from urllib.parse import unquote

import av
import msgspec
import numpy as np
from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCDataChannel,
    RTCIceServer,
    RTCPeerConnection,
    RTCSessionDescription,
)
from aiortc.mediastreams import MediaStreamError
from aiortc.rtcicetransport import parse_stun_turn_uri
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from detector.errors import ImageError
from detector.images import BGRImage
from server.ingest.webrtc import aiortc_receiver
from server.ingest.webrtc.session_description import checked_offer, with_bitrates
from server.streams import OpenStream, Streams
from server.words import Content, Goodbye, Load, Operation, Reply, documented, encode

logger = logging.getLogger("defectvision.webrtc")

RESULTS_LABEL = "results"
MAX_BODY = 256 * 1024
MAX_BUFFERED = 64 * 1024
"""Bytes waiting in a data channel above which a result is dropped: a newer one is on its way."""

GOODBYES, GOODBYE_PAUSE_S = 3, 0.02

CLOSE_WITHIN = 0.8
"""Seconds a connection is given to say goodbye."""

SILENT_FOR = 5.0
"""Seconds without any packet after which a sender is gone. Browsers report to their receiver every second, even with
nothing to show; aiortc by itself notices a closed tab or a lost phone after 30 s."""

TAKEN_OVER = 4001
SHUTTING_DOWN = 1012


class Offer(msgspec.Struct, frozen=True):
    """The body of ``POST /webrtc/offer``."""

    sdp: str
    type: Literal["offer"]
    name: str | None = None
    max_fps: float | None = None


class Answer(msgspec.Struct, frozen=True):
    """Its answer; ``name`` is the stream's, made up when the offer had none."""

    sdp: str
    name: str
    type: Literal["answer"] = "answer"


class WebRTCIngest:
    """All WebRTC senders of a server.

    Args:
        streams: opens a stream for each sender.
        ice_servers: STUN and TURN servers, as ``stun:host:port`` or ``turn:user:password@host:port``; none
            are asked unless given here.
        max_peers: senders at the same time; more are refused with 503.
        connect_within: seconds after which a sender that has not connected is forgotten.

    Raises:
        ValueError: an ICE server that cannot be read.
    """

    def __init__(
        self,
        streams: Streams,
        *,
        ice_servers: Iterable[str] = (),
        max_peers: int = 32,
        connect_within: float = 15.0,
    ) -> None:
        self._streams = streams
        self._ice_servers = [ice_server(url) for url in ice_servers]
        self._max_peers = max_peers
        self._connect_within = connect_within
        self._peers: dict[_Peer, asyncio.Task[None]] = {}
        self._answering = 0
        self._closing = False

    @property
    def ice_servers(self) -> list[dict[str, str]]:
        """The ICE servers as a browser's ``RTCPeerConnection`` takes them."""
        return [_for_page(server) for server in self._ice_servers]

    @property
    def peers(self) -> int:
        """Senders connected or connecting."""
        return len(self._peers) + self._answering

    @documented(
        Operation(
            "Send video over WebRTC",
            {
                200: Reply("the answer", Content(Answer)),
                413: f"the offer is larger than {MAX_BODY // 1024} kB",
                422: "not a usable offer: offer one video track as VP8 or H264",
                503: "too many senders, or no way to reach this machine: use WebSocket",
            },
            body=Content(Offer),
        )
    )
    async def offer(self, request: Request) -> Response:
        """``POST /webrtc/offer``: 200 with the answer, 413, 422 or 503 with ``{"error": ...}``."""
        body = await _read(request)
        if body is None:
            return _refusal(413, f"the offer is larger than {MAX_BODY // 1024} kB")
        try:
            offer = msgspec.json.decode(body, type=Offer)
            sdp = checked_offer(offer.sdp)
        except (msgspec.DecodeError, ValueError) as error:
            return _refusal(422, f"not a usable WebRTC offer: {error}")
        if self._closing:
            return _refusal(503, "the server is shutting down; come back in a moment")
        if self.peers >= self._max_peers:
            return _refusal(503, f"{self._max_peers} WebRTC senders are connected already; close one or use WebSocket")
        self._answering += 1
        try:
            return await self._answer(offer, sdp)
        finally:
            self._answering -= 1

    async def _answer(self, offer: Offer, sdp: str) -> Response:
        connection = RTCPeerConnection(RTCConfiguration(iceServers=self._ice_servers))
        try:
            answer = await _answer_to(connection, sdp)
            if self._closing:
                raise _NoWay("the server is shutting down; come back in a moment")
            # Not before: an offer that comes to nothing must not end the sender that has the name now.
            stream = self._streams.open(offer.name, "webrtc", offer.max_fps)
        except BaseException as error:
            await connection.close()
            if isinstance(error, _NoWay):
                return _refusal(503, str(error))
            if isinstance(error, ValueError):
                return _refusal(422, str(error))
            raise
        peer = _Peer(connection, stream, self._connect_within)
        task = asyncio.create_task(peer.run(), name=f"webrtc {stream.name}")
        self._peers[peer] = task
        task.add_done_callback(lambda _: self._peers.pop(peer, None))
        body = msgspec.json.encode(Answer(sdp=with_bitrates(answer), name=stream.name))
        return Response(body, media_type="application/json")

    async def close(self) -> None:
        """Say goodbye to every sender, all at once, and refuse new ones; takes about a second at most."""
        self._closing = True
        for peer in self._peers:
            peer.end(SHUTTING_DOWN, "the server is shutting down")
        tasks = list(self._peers.values())
        if not tasks:
            return
        _, late = await asyncio.wait(tasks, timeout=2 * CLOSE_WITHIN)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)


async def _answer_to(connection: RTCPeerConnection, sdp: str) -> str:
    """The answer to a checked offer, as aiortc writes it.

    Raises:
        ValueError: the offer has nothing we can take.
        _NoWay: this machine cannot be reached.
    """
    try:
        await connection.setRemoteDescription(RTCSessionDescription(sdp=sdp, type="offer"))
        _, receiver = _video(connection)
        aiortc_receiver.adapt(receiver)
        await connection.setLocalDescription(await connection.createAnswer())
    except Exception as error:  # what aiortc raises for an SDP that only parses is of many kinds
        logger.debug("WebRTC offer refused", exc_info=True)
        raise ValueError("not a usable WebRTC offer: offer one video track as VP8 or H264") from error
    answer: str = connection.localDescription.sdp
    if "a=candidate:" not in answer:
        raise _NoWay("this machine has no network address a WebRTC sender could reach; use WebSocket")
    return answer


class _NoWay(Exception):
    """The server, not the offer, is why there is no connection."""


class _Peer:
    """One sender, from its offer to the end of its connection."""

    def __init__(self, connection: RTCPeerConnection, stream: OpenStream, connect_within: float) -> None:
        self._connection = connection
        self._stream = stream
        self._connect_within = connect_within
        self._track, _ = _video(connection)
        self._channel: RTCDataChannel | None = None
        self._connected = False
        self._over = asyncio.Event()
        self._goodbye: Goodbye | None = None
        connection.on("connectionstatechange", self._follow_state)
        connection.on("datachannel", self._take_channel)

    async def run(self) -> None:
        """Receive frames and send results until either side ends it, then close everything."""
        deadline = asyncio.get_running_loop().call_later(self._connect_within, self._give_up)
        steps = (
            self._receive_frames(),
            self._send_results(),
            self._until_silent(),
            self._stream.taken_over.wait(),
            self._over.wait(),
        )
        work = [asyncio.ensure_future(step) for step in steps]
        try:
            await asyncio.wait(work, return_when=asyncio.FIRST_COMPLETED)
            if self._stream.taken_over.is_set():
                self.end(TAKEN_OVER, "another sender took over this stream name")
        finally:
            deadline.cancel()
            for task in work:
                task.cancel()
            for outcome in await asyncio.gather(*work, return_exceptions=True):
                if isinstance(outcome, Exception):
                    logger.warning("connection ended stream=%s: %r", self._stream.name, outcome)
            await self.close()

    def end(self, code: int, reason: str) -> None:
        """End the connection, telling the sender why."""
        self._goodbye = Goodbye(stream=self._stream.name, code=code, reason=reason)
        self._over.set()

    async def close(self) -> None:
        """Close stream and connection, saying goodbye if there is something to say."""
        self._stream.close()
        if self._goodbye is not None:
            # The channel does not repeat what is lost, and a sender that misses this one comes back unasked.
            for _ in range(GOODBYES):
                self._send(encode(self._goodbye))
                await asyncio.sleep(GOODBYE_PAUSE_S)
        try:
            async with asyncio.timeout(CLOSE_WITHIN):
                await self._connection.close()
        except TimeoutError:
            logger.warning("connection did not close in time stream=%s", self._stream.name)

    def _follow_state(self) -> None:
        state = self._connection.connectionState
        if state == "connected":
            self._connected = True
        elif state in ("failed", "closed"):
            self._over.set()

    def _give_up(self) -> None:
        if not self._connected:
            logger.info("sender did not connect in %g s stream=%s", self._connect_within, self._stream.name)
            self._over.set()

    def _take_channel(self, channel: RTCDataChannel) -> None:
        if channel.label == RESULTS_LABEL:
            self._channel = channel

    async def _receive_frames(self) -> None:
        # Every frame is taken at once, so aiortc's unbounded queue stays empty; the stream keeps the newest.
        try:
            while True:
                frame = await self._track.recv()
                self._stream.offer(_loader(frame))
        except MediaStreamError:
            return

    async def _until_silent(self) -> None:
        heard = 0
        while True:
            await asyncio.sleep(SILENT_FOR)
            report = await self._connection.getStats()
            packets = sum(stats.packetsReceived for stats in report.values() if stats.type == "transport")
            if self._connected and packets == heard:
                logger.info("nothing heard for %g s stream=%s", SILENT_FOR, self._stream.name)
                return
            heard = packets

    async def _send_results(self) -> None:
        async for result in self._stream.results():
            self._send(result)

    def _send(self, text: str) -> None:
        channel = self._channel
        if channel is None or channel.readyState != "open" or channel.bufferedAmount > MAX_BUFFERED:
            return
        # aiortc sends in a task of its own: on a dead connection each would fail, and say so in the log.
        if channel.transport.transport.state == "connected":
            channel.send(text)


def ice_server(url: str) -> RTCIceServer:
    """A STUN or TURN server from ``stun:host:port``, ``turn:user:password@host:port`` or ``turns:…``.

    Raises:
        ValueError: naming the URL that cannot be read.
    """
    scheme, _, rest = url.partition(":")
    login, at, host = rest.rpartition("@")
    user, _, password = login.partition(":")
    bare = f"{scheme}:{host}"
    try:
        parse_stun_turn_uri(bare)
    except ValueError as error:
        shown = f"{scheme}:…@{host}" if at else url
        raise ValueError(f"ICE server {shown!r}: write stun:HOST:PORT or turn:USER:PASSWORD@HOST:PORT") from error
    return RTCIceServer(urls=bare, username=unquote(user) or None, credential=unquote(password) or None)


def _for_page(server: RTCIceServer) -> dict[str, str]:
    """The server as a browser's ``RTCIceServer``."""
    fields = {"urls": server.urls, "username": server.username, "credential": server.credential}
    return {name: value for name, value in fields.items() if value is not None}


def _video(connection: RTCPeerConnection) -> tuple[MediaStreamTrack, Any]:
    receiver = next(t.receiver for t in connection.getTransceivers() if t.kind == "video")
    return receiver.track, receiver


def _loader(frame: av.VideoFrame) -> Load:
    def load() -> BGRImage:
        try:
            # A worker has its own core; left to itself, swscale starts as many threads as there are cores.
            return np.asarray(frame.to_ndarray(format="bgr24", threads=1), np.uint8)
        except (av.FFmpegError, ValueError) as error:
            raise ImageError(f"the video frame cannot be converted: {error}") from error

    return load


async def _read(request: Request) -> bytes | None:
    """The body, or ``None`` if it is larger than an offer may be; no more than that is read."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            return None
    return bytes(body)


def _refusal(status: int, error: str) -> Response:
    return JSONResponse({"error": error}, status_code=status)
