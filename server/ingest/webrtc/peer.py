"""One WebRTC sender, from its answered offer to the end of its connection."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

import av
import numpy as np
from aiortc import MediaStreamTrack, RTCDataChannel, RTCPeerConnection
from aiortc.mediastreams import MediaStreamError

from detector.errors import ImageError
from detector.images import BGRImage
from server.ground import close_connection
from server.ingest.webrtc import consent, data_channel_limits, source_limit
from server.streams import OpenStream
from server.words import Goodbye, Load, encode

logger = logging.getLogger("defectvision.webrtc")

RESULTS_LABEL, PARTS_LABEL = "results", "parts"
"""Data channels of a sender. ``parts`` may be left out: it is for what is said once, and sends again what was lost."""

MAX_BUFFERED = 64 * 1024
"""Bytes waiting in a data channel above which a message is dropped: newer results are on their way, and of parts many
are unheard."""

GOODBYES, GOODBYE_PAUSE_S = 3, 0.02

SILENT_FOR = 5.0
"""Seconds without any packet after which a sender is asked whether it is still there; aiortc by itself notices a closed
tab or a lost phone after 30 s."""

MAX_PACKETS_PER_S = 10_000
"""About 100 Mbit/s; a 4K picture at 30 frames a second needs a quarter of that."""

POLICY_VIOLATION, TAKEN_OVER, NO_LONGER_ALLOWED, SHUTTING_DOWN = 1008, 4001, 4403, 1012

Lost = Callable[[], Coroutine[Any, Any, str]]


class Peer:
    """One sender, from its answered offer to the end of its connection.

    Args:
        connection: answered; it connects by itself.
        stream: takes its frames.
        address: the offer came from.
        connect_within: seconds after which it is forgotten if it has not connected.
        alerts: filled with what its handshake fails of.
        lost: ends, with one sentence, when the sender may not send any more.

    Attributes:
        connected: whether it ever was.
    """

    def __init__(
        self,
        connection: RTCPeerConnection,
        stream: OpenStream,
        address: str,
        connect_within: float,
        alerts: list[str],
        lost: Lost | None = None,
    ) -> None:
        self.address = address
        self.connected = False
        self._connection = connection
        self._stream = stream
        self._connect_within = connect_within
        self._alerts = alerts
        self._lost = lost
        self._track, receiver = video(connection)
        self._transport: Any = receiver.transport
        self._channel: RTCDataChannel | None = None
        self._parts: RTCDataChannel | None = None
        self._over = asyncio.Event()
        self._goodbye: Goodbye | None = None
        connection.on("connectionstatechange", self._follow_state)
        connection.on("datachannel", self._take_channel)
        if connection.sctp is not None:
            data_channel_limits.guard(connection.sctp, self._refuse)
        source_limit.guard(self._transport, self._refuse)

    async def run(self) -> None:
        """Receive frames and send results until either side ends it, then close everything."""
        deadline = asyncio.get_running_loop().call_later(self._connect_within, self._give_up)
        steps = (
            self._receive_frames(),
            self._send_results(),
            self._until_silent(),
            self._until_flooded(),
            self._stream.taken_over.wait(),
            self._over.wait(),
            self._until_not_allowed(),
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

    def forget(self) -> None:
        """End the connection; there is nothing to tell."""
        self._over.set()

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
                self._send(encode(self._goodbye), self._channel)
                await asyncio.sleep(GOODBYE_PAUSE_S)
        await close_connection(self._connection, f"stream={self._stream.name}")

    def _follow_state(self) -> None:
        state = self._connection.connectionState
        if state == "connected":
            self.connected = True
        elif state in ("failed", "closed"):
            if state == "failed" and not self.connected:
                self._tell_why()
            self._over.set()

    def _tell_why(self) -> None:
        """Say why there never was a connection, to whoever listens too: the sender itself cannot be told any more."""
        if self._transport.state == "failed":
            reason = "the encrypted connection (DTLS) failed: " + (
                "; ".join(self._alerts) or "the certificate is not the one its offer told of"
            )
        elif self._transport.state == "connecting":
            reason = "the encrypted connection (DTLS) was begun and not answered: the sender's log may say why"
        else:
            reason = "no way through the network: let UDP pass between the sender and this server, or set ICE_SERVERS"
        logger.warning("sender could not connect stream=%s address=%s: %s", self._stream.name, self.address, reason)
        self._stream.fail(f"a WebRTC sender could not connect: {reason}")

    def _refuse(self, reason: str) -> None:
        if not self._over.is_set():
            logger.warning("sender closed stream=%s address=%s: %s", self._stream.name, self.address, reason)
            self.end(POLICY_VIOLATION, reason)

    def _give_up(self) -> None:
        if not self.connected:
            self._tell_why()
            self._over.set()

    def _take_channel(self, channel: RTCDataChannel) -> None:
        if channel.label == RESULTS_LABEL:
            self._channel = channel
        elif channel.label == PARTS_LABEL:
            self._parts = channel

    async def _receive_frames(self) -> None:
        # Every frame is taken at once, so aiortc's unbounded queue stays empty; the stream keeps the newest.
        try:
            while True:
                frame = await self._track.recv()
                self._stream.offer(_loader(frame))
        except MediaStreamError:
            return

    async def _until_silent(self) -> None:
        clock = asyncio.get_running_loop().time
        heard, since = 0, clock()
        while True:
            await asyncio.sleep(SILENT_FOR / 5)
            packets = await self._packets_received()
            if packets != heard or not self.connected:
                heard, since = packets, clock()
            elif clock() - since >= SILENT_FOR:
                if not await consent.is_there(self._transport.transport):
                    logger.info("nothing heard for %g s stream=%s", SILENT_FOR, self._stream.name)
                    return
                since = clock()

    async def _until_flooded(self) -> None:
        before, started = 0, asyncio.get_running_loop().time()
        while True:
            await asyncio.sleep(1)
            packets, now = await self._packets_received(), asyncio.get_running_loop().time()
            if packets - before > MAX_PACKETS_PER_S * (now - started):
                self._refuse(f"more than {MAX_PACKETS_PER_S} packets a second")
                return
            before, started = packets, now

    async def _until_not_allowed(self) -> None:
        if self._lost is None:
            await asyncio.Event().wait()
        else:
            self.end(NO_LONGER_ALLOWED, await self._lost())

    async def _packets_received(self) -> int:
        report = await self._connection.getStats()
        return sum(stats.packetsReceived for stats in report.values() if stats.type == "transport")

    async def _send_results(self) -> None:
        async for one in self._stream.results().waiting():
            self._send(one.text, self._channel if one.passes else self._parts or self._channel)

    def _send(self, text: str, channel: RTCDataChannel | None) -> None:
        if channel is None or channel.readyState != "open" or channel.bufferedAmount > MAX_BUFFERED:
            return
        # aiortc sends in a task of its own: on a dead connection each would fail, and say so in the log.
        if channel.transport.transport.state == "connected":
            channel.send(text)


def video(connection: RTCPeerConnection) -> tuple[MediaStreamTrack, Any]:
    """The track of a connection's video, and what receives it."""
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
