"""A camera's newest frames over WebRTC to a server, as VP8 video, and its verdicts back over a data channel.

Each connection has an event loop of its own, in the sender's thread; what blocks runs between the loop's steps.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from fractions import Fraction

import msgspec
import numpy as np
from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCIceServer,
    RTCPeerConnection,
    RTCRtpSender,
    RTCSessionDescription,
)
from aiortc.codecs import vpx
from av import VideoFrame

from server.camera_process.offer import IceServer, answer, ice_servers
from server.camera_process.sender import AwayError, Counters, Destination, GiveUpError, Sender, closed
from server.cameras import Backoff, CapturedFrame
from server.ground import Refusals, close_connection, own_peer
from server.words import messages

logger = logging.getLogger("defectvision.camera")

CONNECT_S = 10.0
"""How long ICE and DTLS may take to find a way through the network."""

SILENT_S = 5.0
"""Seconds without any packet after which a server is gone: aiortc reports to a sender every second, also while no
verdicts come because the model is still being taught. One that was killed says nothing, and ICE notices after 30 s."""

CLOSE_S = 0.2
"""Seconds for goodbye, and once more for what hangs: the process ends within a second."""

CLOCK_RATE = 90_000

BITRATES = {"DEFAULT_BITRATE": 8_000_000, "MAX_BITRATE": 8_000_000, "MIN_BITRATE": 4_000_000}
"""Bits per second of aiortc's VP8 encoder, instead of its 0.5, 1.5 and 0.25 million. Mean change of the image score of
good 640×640 pictures, a different one five times a second: +50 % at 0.5 million, +33 % at 1.5, +19 % at 2.5, +8 % at 4,
+2.5 % at 8 and above; as JPEG of quality 85 +6 %. These are bounds: a picture that stands still needs far less."""


def raise_bitrates() -> None:
    """Let aiortc's VP8 encoders use :data:`BITRATES`. It has no public door for that, so a later one may differ."""
    missing = [name for name in BITRATES if not hasattr(vpx, name)]
    if missing:
        logger.warning(
            "small defects may get lost in the video: this aiortc has no %s; install aiortc 1.16, "
            "or use --transport websocket",
            ", ".join(missing),
        )
    for name in BITRATES.keys() - set(missing):
        setattr(vpx, name, BITRATES[name])


class WebRTCSender(Sender):
    """Sends VP8 video over WebRTC: a frame whenever the encoder is free, and always the newest."""

    def __init__(self, destination: Destination, backoff: Backoff | None = None) -> None:
        super().__init__(destination, backoff)
        self._link: _Link | None = None
        self._refusals = Refusals()
        raise_bitrates()

    def _connect_and_send(self) -> None:
        servers = ice_servers(self._destination)
        with asyncio.Runner() as runner:
            link = runner.run(self._open(servers))
            try:
                offer = runner.run(link.offer())
                sdp = answer(self._destination, offer)  # the loop has nothing to do before it is there
                self._follow(link)
                runner.run(link.converse(sdp))
            finally:
                self._follow(None)
                runner.run(link.close())

    async def _open(self, servers: tuple[IceServer, ...]) -> _Link:
        return _Link(self._destination.name, servers, self._count_sent, self._hear, self._refusals)

    def _follow(self, link: _Link | None) -> None:
        with self._changed:
            self._link = link
            self._wake()  # it may have been stopped meanwhile

    def _wake(self) -> None:
        super()._wake()
        if self._link is not None:
            self._link.look(self._newest, self._stopping)

    def _count_sent(self) -> None:
        self.totals.sent += 1

    def _hear(self, text: str | bytes, counters: Counters) -> messages.Message | None:
        message = self._decode(text)
        if isinstance(message, messages.Result | messages.Error):
            self._take(message, counters)
        return message


class _Link:
    """One connection, from its offer to its end. Made and used in its event loop, but for :meth:`look`.

    Args:
        name: of the stream.
        servers: STUN and TURN servers; none are asked but these.
        count_sent: called with each frame that goes to the encoder.
        hear: called with each message from the server; returns it decoded.
        refusals: where datagrams that are not the server's are counted.
    """

    def __init__(
        self,
        name: str,
        servers: tuple[IceServer, ...],
        count_sent: Callable[[], None],
        hear: Callable[[str | bytes, Counters], messages.Message | None],
        refusals: Refusals,
    ) -> None:
        self._name = name
        self._refusals = refusals
        self._count_sent = count_sent
        self._hear = hear
        self._loop = asyncio.get_running_loop()
        self._counters = Counters()
        self._track = _NewestFrame(self._note_sent)
        self._sending = False
        self._connected = False
        self._over = asyncio.Event()
        self._why: AwayError | GiveUpError | None = None
        ice = [RTCIceServer(**msgspec.structs.asdict(server)) for server in servers]
        self._connection = RTCPeerConnection(RTCConfiguration(iceServers=ice))
        self._connection.on("connectionstatechange", self._follow_state)
        self._track.on("ended", self._note_no_video)

    async def offer(self) -> str:
        """What to offer the server, as SDP. Raises AwayError when this machine has no address to offer."""
        connection = self._connection
        connection.createDataChannel("results", ordered=False, maxRetransmits=0).on("message", self._note_message)
        transceiver = connection.addTransceiver(self._track, direction="sendonly")
        codecs = RTCRtpSender.getCapabilities("video").codecs
        transceiver.setCodecPreferences([codec for codec in codecs if codec.name in ("VP8", "rtx")])
        await connection.setLocalDescription(await connection.createOffer())
        own_peer.guard(connection, self._refusals)
        sdp: str = connection.localDescription.sdp
        if "a=candidate:" not in sdp:
            raise AwayError(
                "this machine has no network address that WebRTC could use (127.0.0.1 is none): connect it to the "
                "network, or use --transport websocket"
            )
        return sdp

    async def converse(self, sdp: str) -> None:
        """Send frames and hear answers. Returns when stopped.

        Raises:
            AwayError, GiveUpError: it ended otherwise.
        """
        try:
            await self._connection.setRemoteDescription(RTCSessionDescription(sdp, "answer"))
        except Exception as error:  # what aiortc raises for an SDP that only parses is of many kinds
            raise AwayError(f"its answer cannot be used ({error}): use --transport websocket") from error
        self._loop.call_later(CONNECT_S, self._check_connected)
        listening = asyncio.create_task(self._listen())
        await self._over.wait()
        listening.cancel()
        if self._why is not None:
            raise self._why

    async def close(self) -> None:
        """Let everything go, in a moment even when nobody hears it."""
        self._end(None)
        await close_connection(self._connection, f"stream={self._name}", within_s=CLOSE_S, level=logging.DEBUG)

    def look(self, newest: CapturedFrame | None, stopping: bool) -> None:
        """There is a newer frame, or it is time to stop. From any thread."""
        if stopping:
            self._loop.call_soon_threadsafe(self._end, None)
        else:
            self._loop.call_soon_threadsafe(self._track.show, newest)

    def _end(self, why: AwayError | GiveUpError | None) -> None:
        if not self._over.is_set():
            self._why = why
            self._over.set()

    def _note_sent(self) -> None:
        self._sending = True
        self._count_sent()

    def _note_message(self, text: str | bytes) -> None:
        message = self._hear(text, self._counters)
        if isinstance(message, messages.Goodbye):
            self._end(closed(message.code, message.reason, self._name))

    async def _listen(self) -> None:
        heard = -1
        while True:
            await asyncio.sleep(SILENT_S)
            report = await self._connection.getStats()
            packets = sum(stats.packetsReceived for stats in report.values() if stats.type == "transport")
            if packets == heard:
                self._end(AwayError(f"silent for {SILENT_S:g} s: check the network, and that the server is running"))
            # There are no reports before there are frames.
            heard = packets if self._sending else -1

    def _note_no_video(self) -> None:
        self._end(AwayError("the video encoder failed: give another --width or --crop, or use --transport websocket"))

    def _follow_state(self) -> None:
        state = self._connection.connectionState
        if state == "connected":
            self._connected = True
        elif state in ("failed", "closed"):
            self._check_connected()
            self._end(closed(None, "", self._name))

    def _check_connected(self) -> None:
        if not self._connected:
            self._end(
                AwayError(
                    "found no way through the network for WebRTC: let UDP pass between here and the server, "
                    "set ICE_SERVERS there, or use --transport websocket"
                )
            )


class _NewestFrame(MediaStreamTrack):  # type: ignore[misc]  # aiortc tells mypy nothing
    """Hands the encoder the newest frame whenever it is free, and none twice.

    Args:
        note_sent: called with each frame handed over.
    """

    kind = "video"

    def __init__(self, note_sent: Callable[[], None]) -> None:
        super().__init__()
        self._note_sent = note_sent
        self._newest: CapturedFrame | None = None
        self._news = asyncio.Event()
        self._number: int | None = None
        self._started_at: float | None = None
        self._pts = -1

    def show(self, newest: CapturedFrame | None) -> None:
        """The newest frame from now on."""
        self._newest = newest
        self._news.set()

    async def recv(self) -> VideoFrame:
        """What to encode next, as soon as there is something."""
        if self._number is None:
            # Only what is captured from now on: what is waiting may be from before a long outage.
            self._number = self._newest.number if self._newest else 0
        while (newest := self._newest) is None or newest.number <= self._number:
            self._news.clear()
            await self._news.wait()
        self._number = newest.number
        frame = VideoFrame.from_ndarray(np.ascontiguousarray(newest.image), format="bgr24")
        frame.pts, frame.time_base = self._time(newest.captured_at), Fraction(1, CLOCK_RATE)
        self._note_sent()
        return frame

    def _time(self, captured_at: float) -> int:
        if self._started_at is None:
            self._started_at = captured_at
        # The encoder takes no time that does not grow.
        self._pts = max(self._pts + 1, round((captured_at - self._started_at) * CLOCK_RATE))
        return self._pts
