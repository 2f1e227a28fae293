"""A camera's newest frames over WebSocket to a server, and its verdicts back.

Threads rather than asyncio: looking up a host name can block for many seconds, an event loop cannot end
before such a look-up does, and the camera process has to end within a second whatever it is waiting for.
"""

from __future__ import annotations

import logging
import ssl
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import msgspec
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.http11 import Response
from websockets.sync.client import ClientConnection, connect

from server import messages
from server.backoff import Backoff
from server.camera import CapturedFrame
from server.framing import Image

logger = logging.getLogger("defectvision.camera")

MAX_UNANSWERED = 2
"""One frame in work and one waiting keep the server busy; more would only add delay."""

ANSWER_S = 2.0
"""A server does not answer the frames it drops. After this long without an answer one more may be sent."""

CONNECT_S = 5.0


class GiveUpError(Exception):
    """The server will not have this camera, now or later. The message says what the operator must change."""


@dataclass(frozen=True)
class Destination:
    """Where frames go: the address of ``/ws/stream``, the stream's name there, and what opens the door.

    ``code``: the access code. ``ca``: a PEM file to trust instead of the system's authorities.
    """

    url: str
    name: str
    code: str | None = None
    ca: Path | None = None

    def connect(self) -> ClientConnection:
        """Open a connection. Raises OSError (also for TLS and time-outs) or InvalidHandshake."""
        return connect(
            f"{self.url}?name={self.name}",
            ssl=ssl.create_default_context(cafile=self.ca) if self.url.startswith("wss:") else None,
            additional_headers={"Authorization": f"Bearer {self.code}"} if self.code else None,
            compression=None,  # JPEG does not become smaller
            proxy=None,
            open_timeout=CONNECT_S,
            close_timeout=0.3,
            ping_interval=5,
            ping_timeout=5,
        )


@dataclass
class Totals:
    """Frames counted over all connections since the start."""

    sent: int = 0
    inspected: int = 0
    dropped: int = 0
    failed: int = 0
    anomalies: int = 0


@dataclass
class Window:
    """How many frames of one connection are unanswered, and when the next may be sent."""

    sent: int = 0
    settled: int = 0
    dropped: int = 0
    _send_anyway_at: float = 0.0

    def wait(self, now: float) -> float:
        """Seconds until a frame may be sent when no answer comes before; 0 when one may be sent now."""
        if self.sent - self.settled < MAX_UNANSWERED:
            return 0.0
        return max(0.0, self._send_anyway_at - now)

    def note_sent(self, now: float) -> None:
        self.sent += 1
        self._send_anyway_at = now + ANSWER_S

    def note_answer(self, answer: messages.Result | messages.Error) -> int:
        """Take its counters over. Returns how many frames were dropped since the answer before."""
        newly_dropped = max(0, answer.dropped - self.dropped)
        self.dropped += newly_dropped
        self.settled = max(self.settled, answer.inspected + answer.dropped + answer.failed)
        return newly_dropped


@dataclass
class _Link:
    """One connection: the sending thread and the reading one share it."""

    connection: ClientConnection
    window: Window = field(default_factory=Window)
    closed: ConnectionClosed | None = None


class WebSocketSender:
    """Sends the newest frame it was offered, and comes back by itself after the server was away.

    Args:
        destination: where to.
        quality: of the JPEG, 1..100.
        backoff: the waits between tries.
    """

    def __init__(self, destination: Destination, quality: int = 85, backoff: Backoff | None = None) -> None:
        self.totals = Totals()
        self.ended = threading.Event()
        self.error: str | None = None
        """Why it gave up; None when it did not."""
        self._destination = destination
        self._quality = quality
        self._backoff = backoff or Backoff()
        self._changed = threading.Condition()
        self._stopping = False
        self._newest: CapturedFrame | None = None
        self._answered = False
        self._away_since: float | None = None
        self._verdict: str | None = None
        self._decoder = msgspec.json.Decoder(messages.Message)
        self._thread = threading.Thread(target=self._run, name="sender", daemon=True)

    def start(self) -> None:
        """Begin to connect and send. Returns at once."""
        logger.info("server %s: connecting as stream %s", self._destination.url, self._destination.name)
        self._thread.start()

    def offer(self, frame: CapturedFrame) -> None:
        """The newest frame: it replaces one that was not sent yet. From any thread; returns at once."""
        with self._changed:
            self._newest = frame
            self._changed.notify_all()

    def stop(self) -> None:
        """End, within half a second whatever it is waiting for."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join(0.3)

    def _run(self) -> None:
        try:
            while not self._stopping:
                reason = self._connect_and_send()
                with self._changed:
                    if not self._stopping:
                        self._note_away(reason)
                        self._changed.wait_for(lambda: self._stopping, self._backoff.next())
        except GiveUpError as error:
            self.error = str(error)
        except Exception as error:  # else the process would wait for ever for a thread that is gone
            logger.exception("the sender failed: please report this")
            self.error = f"{type(error).__name__}: {error}"
        finally:
            self.ended.set()

    def _connect_and_send(self) -> str:
        """One connection from its beginning. Returns why it ended; raises GiveUpError when it is for good."""
        try:
            with self._destination.connect() as connection:
                self._send(_Link(connection))
            return "stopped"
        except ConnectionClosed as closed:
            return _why_closed(closed, self._destination.name)
        except InvalidStatus as refusal:
            return _why_refused(refusal.response)
        except ssl.SSLCertVerificationError as error:
            return (
                f"its certificate is not trusted ({error.verify_message}): give the server's certificate, "
                "or that of its authority, with --ca FILE"
            )
        except TimeoutError:
            return f"no answer for {CONNECT_S:g} s: check the address, and that the server is running"
        except ConnectionRefusedError:
            return "nothing listens there: check address and port, and that the server is running"
        except (OSError, InvalidHandshake) as error:
            return f"{error}: check the address, and that the server is running"

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
                try:
                    message = self._decoder.decode(link.connection.recv())
                except msgspec.MsgspecError:
                    continue  # a newer server may say more than this sender knows
                if not isinstance(message, messages.Status):
                    with self._changed:
                        self._take(link, message)
                        self._changed.notify_all()
        except ConnectionClosed as closed:
            with self._changed:
                link.closed = closed
                self._changed.notify_all()

    def _take(self, link: _Link, answer: messages.Result | messages.Error) -> None:
        self._note_answer()
        self.totals.dropped += link.window.note_answer(answer)
        if isinstance(answer, messages.Error):
            self.totals.failed += 1
            return
        self.totals.inspected += 1
        self.totals.anomalies += answer.is_anomaly
        if answer.verdict != self._verdict:
            self._verdict = answer.verdict
            score, threshold = answer.raw_score, answer.threshold
            logger.info("verdict %s: raw score %.4g, threshold %.4g", answer.verdict, score, threshold)

    def _note_answer(self) -> None:
        # Here and not where the connection opens: a server that takes every connection and drops it again
        # would else start the waits anew, and fill the log, with each try.
        self._backoff.reset()
        url, name = self._destination.url, self._destination.name
        if self._away_since is not None:
            logger.info("server %s: back after %.0f s", url, time.monotonic() - self._away_since)
        elif not self._answered:
            logger.info("server %s: inspecting stream %s", url, name)
        self._answered = True
        self._away_since = None

    def _note_away(self, reason: str) -> None:
        if self._away_since is None:
            self._away_since = time.monotonic()
            url, longest = self._destination.url, self._backoff.longest
            logger.warning("server %s: away: %s. Trying again within %g s", url, reason, longest)


def _jpeg(image: Image, quality: int) -> bytes:
    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return data.tobytes()


def _why_closed(closed: ConnectionClosed, name: str) -> str:
    code, reason = (closed.rcvd.code, closed.rcvd.reason) if closed.rcvd else (None, "")
    match code:
        case 4001:
            raise GiveUpError(f"another sender took over stream {name}: give each camera its own --name")
        case 1008:
            raise GiveUpError(f"the server refuses this camera: {reason or 'it gave no reason'}")
        case 1009:
            return "a frame is larger than it takes: lower --quality, --width or --height"
        case 1001 | 1012:
            return "it is shutting down or restarting"
        case None:
            return "the connection was lost: check the network, and that the server is running"
    return f"it closed the connection ({code} {reason})"


def _why_refused(response: Response) -> str:
    try:
        sentence = msgspec.json.decode(response.body, type=dict[str, str])["error"]
    except (msgspec.MsgspecError, KeyError):
        sentence = f"HTTP status {response.status_code}"
    match response.status_code:
        case 401:
            raise GiveUpError(f"{sentence}; give it in ACCESS_CODE or with --code")
        case 403:
            raise GiveUpError(f"the server refuses this camera: {sentence}")
        case 404:
            return "there is no DefectVision server at this address: check --server"
    return sentence
