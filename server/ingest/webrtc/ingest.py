"""Frames in over WebRTC: ``POST /webrtc/offer`` takes a video track, results go back over a data channel.

The client offers one video track (VP8 or H264) and opens a data channel labelled ``results``, unordered and
without retransmissions; the same JSON goes there as over the WebSocket.

Phones: the CVO extension (``urn:3gpp:video-orientation``) is not negotiated, because aiortc would not apply
it. Browsers then turn the picture upright before they encode it, and frames arrive upright.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import msgspec
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from server.access import standing_of
from server.ground import CLOSE_WITHIN, Refusals, close_connection, own_peer, source_of
from server.ingest.webrtc import aiortc_certificate, aiortc_receiver
from server.ingest.webrtc.ice_servers import as_link, for_page, ice_server
from server.ingest.webrtc.offer_limits import OfferLimits
from server.ingest.webrtc.peer import SHUTTING_DOWN, Lost, Peer, video
from server.ingest.webrtc.session_description import CheckedOffer, checked_offer, with_bitrates
from server.streams import OpenStream, Streams
from server.words import Content, Need, Operation, Reply, Role, documented

logger = logging.getLogger("defectvision.webrtc")

MAX_BODY = 256 * 1024
BODY_WITHIN_S = 10.0
"""Seconds in which an offer must have come whole."""

REFUSED_AFTER_S = 1.0

MAX_CONNECTING, MAX_CONNECTING_OF_AN_ADDRESS = 16, 8
"""Senders that were answered and have not connected yet. One more of an address takes the place of its oldest."""

MAX_PIXELS = 16_000_000

OFFERS = Need(Role.OPERATOR, "query")
"""What it takes to send on, once connected: by the name that the offer has."""


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


OFFER_REFUSALS = {
    413: f"the offer is larger than {MAX_BODY // 1024} kB",
    422: "not a usable offer: offer one video track as VP8 or H264",
    429: "too many offers: wait as long as Retry-After says",
    503: "too many senders, or no way to reach this machine: use WebSocket",
}


Gone = Callable[[], Awaitable[bool]]


class OfferRefused(Exception):
    """An offer that is not answered: status code, one sentence, and seconds after which another try makes sense."""

    def __init__(self, status: int, words: str, retry_after_s: float | None = None) -> None:
        super().__init__(words)
        self.status, self.words, self.retry_after_s = status, words, retry_after_s

    def response(self) -> Response:
        headers = {} if self.retry_after_s is None else {"Retry-After": str(math.ceil(self.retry_after_s))}
        return JSONResponse({"error": self.words}, self.status, headers)


@dataclass(frozen=True)
class Answered:
    """A sender that may connect now: the answer to its offer, its stream's name, what ends it, and its life."""

    sdp: str
    name: str
    end: Callable[[], None]
    task: asyncio.Task[None]


class WebRTCIngest:
    """All WebRTC senders of a server.

    Args:
        streams: opens a stream for each sender.
        ice_servers: STUN and TURN servers, as ``stun:host:port`` or ``turn:user:password@host:port``; none
            are asked unless given here.
        max_peers: senders at the same time; more are refused with 503.
        connect_within: seconds after which a sender that has not connected is forgotten.
        max_pixels: of a picture; larger ones count as failed.
        limits: how many offers are answered.

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
        max_pixels: int = MAX_PIXELS,
        limits: OfferLimits | None = None,
    ) -> None:
        self._streams = streams
        self._ice_servers = [ice_server(url) for url in ice_servers]
        self._max_peers = max_peers
        self._connect_within = connect_within
        self._max_pixels = max_pixels
        self._limits = limits or OfferLimits()
        self._refusals = Refusals()
        self._peers: dict[Peer, asyncio.Task[None]] = {}
        self._answering = 0
        self._closing = False

    @property
    def routes(self) -> list[Route]:
        return [Route("/webrtc/offer", self.offer, methods=["POST"])]

    @property
    def ice_servers(self) -> list[dict[str, str]]:
        """The ICE servers as a browser's ``RTCPeerConnection`` takes them."""
        return [for_page(server) for server in self._ice_servers]

    @property
    def ice_server_links(self) -> list[str]:
        """The ICE servers as ``Link`` headers of WHIP."""
        return [as_link(server) for server in self._ice_servers]

    @property
    def peers(self) -> int:
        """Senders connected or connecting."""
        return len(self._peers) + self._answering

    @documented(
        Operation(
            "Send video over WebRTC",
            {200: Reply("the answer", Content(Answer)), **OFFER_REFUSALS},
            body=Content(Offer),
            role=Role.OPERATOR,
            streams="itself",
            audited=False,
        )
    )
    async def offer(self, request: Request) -> Response:
        """``POST /webrtc/offer``: 200 with the answer, 408, 413, 422, 429 or 503 with ``{"error": ...}``."""
        try:
            await self.admit(request)
            body = await read_offer(request)
            try:
                offer = msgspec.json.decode(body, type=Offer)
            except (msgspec.DecodeError, RecursionError) as error:  # the latter for JSON of ten thousand brackets
                raise OfferRefused(422, f"not a usable WebRTC offer: {error}") from error
            standing = standing_of(request.scope)
            if not standing.identity.may_use(offer.name):
                raise OfferRefused(403, f"{standing.identity.name} may not send as {offer.name or 'no name'}")
            lost = partial(standing.until_lost, OFFERS, offer.name)
            answered = await self.answer(
                offer.sdp, offer.name, offer.max_fps, address_of(request), lost, request.is_disconnected
            )
        except OfferRefused as refusal:
            return refusal.response()
        answer = Answer(sdp=answered.sdp, name=answered.name)
        return Response(msgspec.json.encode(answer), media_type="application/json")

    async def answer(
        self,
        sdp: str,
        name: str | None,
        max_fps: float | None,
        address: str,
        lost: Lost | None = None,
        gone: Gone | None = None,
    ) -> Answered:
        """Answer an offer and open the stream of its sender.

        Args:
            sdp: the offer, as it came.
            name: of the stream; made up when there is none.
            max_fps: inspect at most so many frames a second.
            address: the offer came from.
            lost: ends, with one sentence, when the sender may not send any more.
            gone: says whether whoever made the offer waits for its answer no more: then no stream is opened.

        Raises:
            OfferRefused: saying why.
        """
        try:
            offer = await asyncio.to_thread(checked_offer, sdp)
        except ValueError as error:
            raise OfferRefused(422, f"not a usable WebRTC offer: {error}") from error
        self._check_room(address)
        self._answering += 1
        try:
            return await self._answer(offer, name, max_fps, address, lost, gone)
        finally:
            self._answering -= 1

    async def admit(self, request: Request) -> None:
        """Before anything of an offer is read: whether it comes at a time when it may be answered.

        Raises:
            OfferRefused: too many came; said after a moment, so that whoever asks on and on does not keep us busy.
        """
        if self._closing:
            raise _shutting_down()
        address = address_of(request)
        if wait_s := self._limits.wait_s(address):
            await asyncio.sleep(min(wait_s, REFUSED_AFTER_S))
            self._refusals.note("too many WebRTC offers", address)
            raise OfferRefused(429, "too many WebRTC offers: wait a moment before the next", wait_s)

    def _check_room(self, address: str) -> None:
        """Make room for one more sender, or refuse it."""
        if self._closing:
            raise _shutting_down()
        connecting = [peer for peer in self._peers if not peer.connected]
        of_address = [peer for peer in connecting if peer.address == address]
        if len(of_address) >= MAX_CONNECTING_OF_AN_ADDRESS:
            of_address[0].forget()
            connecting.remove(of_address[0])
        if len(connecting) + self._answering >= MAX_CONNECTING:
            raise OfferRefused(503, f"{MAX_CONNECTING} WebRTC senders are connecting already: wait a moment", 2)
        if self.peers >= self._max_peers:
            words = f"{self._max_peers} WebRTC senders are connected already; close one or use WebSocket"
            raise OfferRefused(503, words, 10)

    async def _answer(
        self,
        offer: CheckedOffer,
        name: str | None,
        max_fps: float | None,
        address: str,
        lost: Lost | None,
        gone: Gone | None,
    ) -> Answered:
        connection = RTCPeerConnection(RTCConfiguration(iceServers=self._ice_servers))
        alerts = aiortc_certificate.adapt(connection)
        # Frames come after the answer, so the stream that is told of damaged ones is there by then.
        opened: list[OpenStream] = []
        try:
            answer = await self._answer_to(connection, offer, opened)
            if self._closing:
                raise _shutting_down()
            if gone is not None and await gone():  # it sends in another way by now, under the same name
                raise OfferRefused(503, "whoever made the offer is gone")
            # Not before: an offer that comes to nothing must not end the sender that has the name now.
            stream = self._streams.open(name, "webrtc", max_fps)
        except BaseException as error:
            await _close(connection)
            if isinstance(error, ValueError):
                raise OfferRefused(422, str(error)) from error
            raise
        opened.append(stream)
        peer = Peer(connection, stream, address, self._connect_within, alerts, lost)
        task = asyncio.create_task(peer.run(), name=f"webrtc {stream.name}")
        self._peers[peer] = task
        task.add_done_callback(lambda _: self._peers.pop(peer, None))
        return Answered(offer.answer(with_bitrates(answer)), stream.name, peer.forget, task)

    async def _answer_to(self, connection: RTCPeerConnection, offer: CheckedOffer, opened: list[OpenStream]) -> str:
        """The answer to a checked offer, as aiortc writes it.

        Raises:
            ValueError: the offer has nothing we can take.
            OfferRefused: this machine cannot be reached.
        """

        def failed(words: str) -> None:
            for stream in opened:
                stream.fail(words)

        try:
            await connection.setRemoteDescription(RTCSessionDescription(sdp=offer.sdp, type="offer"))
            _, receiver = video(connection)
            aiortc_receiver.adapt(receiver, failed, self._max_pixels)
            await connection.setLocalDescription(await connection.createAnswer())
            own_peer.guard(connection, self._refusals)
        except Exception as error:  # what aiortc raises for an SDP that only parses is of many kinds
            logger.debug("WebRTC offer refused", exc_info=True)
            raise ValueError(
                "not a usable WebRTC offer: offer one video track as VP8 or H264 "
                "(the latter of the constrained baseline profile, with packetization-mode=1)"
            ) from error
        answer: str = connection.localDescription.sdp
        if "a=candidate:" not in answer:
            raise OfferRefused(503, "this machine has no network address a WebRTC sender could reach; use WebSocket")
        return answer

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


async def _close(connection: RTCPeerConnection) -> None:
    """Close a connection that came to nothing, as far as aiortc can: what it fails of must not be the answer."""
    try:
        await close_connection(connection, "before it was answered")
    except Exception:
        logger.exception("a WebRTC connection could not be closed")


def _shutting_down() -> OfferRefused:
    return OfferRefused(503, "the server is shutting down; come back in a moment", 5)


def address_of(request: Request) -> str:
    return source_of(request.client.host) if request.client else "unknown"


async def read_offer(request: Request) -> bytes:
    """The body of an offer; no more of it is read than an offer may have.

    Raises:
        OfferRefused: it is larger, or takes too long.
    """
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_WITHIN_S):
            async for chunk in request.stream():
                body += chunk
                if len(body) > MAX_BODY:
                    raise OfferRefused(413, f"the offer is larger than {MAX_BODY // 1024} kB")
    except TimeoutError as error:
        raise OfferRefused(408, f"the offer did not come whole within {BODY_WITHIN_S:g} s: send it again") from error
    return bytes(body)
