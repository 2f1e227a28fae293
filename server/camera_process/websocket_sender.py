"""A camera's newest frames over WebSocket to a server, as JPEG, and its verdicts back."""

from __future__ import annotations

import math
import socket
import threading
import time
from dataclasses import dataclass, field

import cv2
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from server.camera_process.sender import CONNECT_S, AwayError, Counters, Destination, Sender, closed, refused
from server.cameras import Backoff, CapturedFrame, Image
from server.words import messages

MAX_UNANSWERED = 2
"""One frame in work and one waiting keep the server busy; more would only add delay."""

ANSWER_S = 2.0
"""A server does not answer the frames it drops. After this long without an answer one more may be sent."""


SHOWN_S = 0.1
"""The same while the stream is taught: nothing is answered then, and what moves has to be seen."""

GONE_S = 10
"""After this long without a word about what was sent the server is gone: its machine lost its power, or the cable is
out. (The socket would be tried for a quarter of an hour, and no ping could be sent meanwhile.)"""


@dataclass
class Window:
    """How many frames of one connection are unanswered, and when the next may be sent.

    Attributes:
        is_taught: whether the stream is being taught.
    """

    sent: int = 0
    counters: Counters = field(default_factory=Counters)
    is_taught: bool = False
    _sent_at: float = -math.inf

    def wait(self, now: float) -> float:
        """Seconds until a frame may be sent when no answer comes before; 0 when one may be sent now."""
        if self.sent - self.counters.settled < MAX_UNANSWERED:
            return 0.0
        return max(0.0, self._sent_at + (SHOWN_S if self.is_taught else ANSWER_S) - now)

    def note_sent(self, now: float) -> None:
        self.sent += 1
        self._sent_at = now


@dataclass
class _Link:
    """One connection: the sending thread and the reading one share it."""

    connection: ClientConnection
    window: Window = field(default_factory=Window)
    closed: ConnectionClosed | None = None


class WebSocketSender(Sender):
    """Sends JPEG over a WebSocket, at most two frames ahead of the answers.

    Args:
        destination: where to.
        quality: of the JPEG, 1..100.
        backoff: the waits between tries.
    """

    def __init__(self, destination: Destination, quality: int = 85, backoff: Backoff | None = None) -> None:
        super().__init__(destination, backoff)
        self._quality = quality

    def _connect_and_send(self) -> None:
        try:
            with self._connect() as connection:
                self._send(_Link(connection))
        except ConnectionClosed as end:
            code, reason = (end.rcvd.code, end.rcvd.reason) if end.rcvd else (None, "")
            raise closed(code, reason, self._destination.name) from None
        except InvalidStatus as refusal:
            raise refused(refusal.response.status_code, refusal.response.body) from None
        except InvalidHandshake as error:
            raise AwayError(f"{error}: check the address, and that the server is running") from None

    def _connect(self) -> ClientConnection:
        """Open a connection. Raises OSError (also for TLS and time-outs) or InvalidHandshake."""
        destination = self._destination
        connection = connect(
            # http becomes ws, and https wss
            f"{destination.server.replace('http', 'ws', 1)}/ws/stream?name={destination.name}",
            ssl=destination.tls,
            additional_headers=destination.headers,
            compression=None,  # JPEG does not become smaller
            proxy=None,
            open_timeout=CONNECT_S,
            close_timeout=0.3,
            ping_interval=5,
            ping_timeout=5,
        )
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux has it
            connection.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, GONE_S * 1000)
        return connection

    def _send(self, link: _Link) -> None:
        """Returns when stopped; raises ConnectionClosed when the connection ends before."""
        threading.Thread(target=self._read, args=(link,), name="verdicts", daemon=True).start()
        # Only what is captured from now on: what is waiting may be from before a long outage.
        number = self._newest.number if self._newest else 0
        while (frame := self._next_frame(link, number)) is not None:
            number = frame.number
            link.connection.send(_jpeg(frame.image, self._quality))
        if link.closed is not None:
            raise link.closed

    def _next_frame(self, link: _Link, after: int) -> CapturedFrame | None:
        """Wait for a frame and for leave to send it. None when it is over."""
        with self._changed:
            while not self._stopping and link.closed is None:
                now = time.monotonic()
                newest = self._newest
                if newest is None or newest.number <= after:
                    self._changed.wait()
                elif wait := link.window.wait(now):
                    self._changed.wait(wait)
                else:
                    link.window.note_sent(now)
                    self.totals.sent += 1
                    return newest
            return None

    def _read(self, link: _Link) -> None:
        try:
            while True:
                message = self._decode(link.connection.recv())
                if isinstance(message, messages.Result | messages.Error | messages.Status | messages.Heartbeat):
                    with self._changed:
                        if isinstance(message, messages.Status | messages.Heartbeat):
                            link.window.is_taught = message.state == "teaching"
                        else:
                            link.window.is_taught &= not isinstance(message, messages.Result)
                            self._take(message, link.window.counters)
                        self._changed.notify_all()
        except ConnectionClosed as end:
            with self._changed:
                link.closed = end
                self._changed.notify_all()


def _jpeg(image: Image, quality: int) -> bytes:
    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return data.tobytes()
