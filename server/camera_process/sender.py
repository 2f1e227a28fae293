"""What every way of sending a camera's frames to a server has in common: coming back, giving up, counting.

Threads rather than asyncio: looking up a host name can block for many seconds, an event loop cannot end
before such a look-up does, and the camera process has to end within a second whatever it is waiting for.
"""

from __future__ import annotations

import logging
import ssl
import threading
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

import msgspec

from server.cameras import Backoff, CapturedFrame
from server.words import messages

logger = logging.getLogger("defectvision.camera")

CONNECT_S = 5.0


class GiveUpError(Exception):
    """The server will not have this camera, now or later. The message says what the operator must change."""


class AwayError(Exception):
    """The server cannot be reached or sent this camera away, for now. The message says why and what to do."""


@dataclass(frozen=True)
class Destination:
    """Where frames go: the server's http(s) address, the stream's name there, and what opens the door.

    ``code``: a token, or the access code. ``ca``: a PEM file to trust instead of the system's authorities.
    """

    server: str
    name: str
    code: str | None = None
    ca: Path | None = None

    @property
    def headers(self) -> dict[str, str]:
        """What a request needs to be let in."""
        return {"Authorization": f"Bearer {self.code}"} if self.code else {}

    @property
    def tls(self) -> ssl.SSLContext | None:
        """Whom to trust; None when the server does not speak https. Raises OSError."""
        return ssl.create_default_context(cafile=self.ca) if self.server.startswith("https:") else None


@dataclass
class Totals:
    """Frames counted over all connections since the start."""

    sent: int = 0
    inspected: int = 0
    dropped: int = 0
    failed: int = 0
    anomalies: int = 0


@dataclass
class Counters:
    """The server's counters of one connection, as its answers tell them: answers may be lost or overtaken."""

    inspected: int = 0
    dropped: int = 0
    failed: int = 0
    anomalies: int = 0

    @property
    def settled(self) -> int:
        """Frames that need no further answer."""
        return self.inspected + self.dropped + self.failed

    def note(self, answer: messages.Result | messages.Error, totals: Totals) -> None:
        """Take over what an answer tells, and add to the totals what is new in it."""
        for name in ("inspected", "dropped", "failed", "anomalies"):
            told, known = getattr(answer, name, 0), getattr(self, name)
            if told > known:
                setattr(self, name, told)
                setattr(totals, name, getattr(totals, name) + told - known)


class Sender(ABC):
    """Sends the newest frame it was offered, and comes back by itself after the server was away.

    Args:
        destination: where to.
        backoff: the waits between tries.
    """

    def __init__(self, destination: Destination, backoff: Backoff | None = None) -> None:
        self.totals = Totals()
        self.ended = threading.Event()
        self.error: str | None = None
        """Why it gave up; None when it did not."""
        self._destination = destination
        self._backoff = backoff or Backoff()
        self._changed = threading.Condition()
        self._stopping = False
        self._newest: CapturedFrame | None = None
        self._answered = False
        self._away_since: float | None = None
        self._verdict: str | None = None
        self._decoder: msgspec.json.Decoder[messages.Message] = msgspec.json.Decoder(messages.Message)
        self._thread = threading.Thread(target=self._run, name="sender", daemon=True)

    def start(self) -> None:
        """Begin to connect and send. Returns at once."""
        logger.info("server %s: connecting as stream %s", self._destination.server, self._destination.name)
        self._thread.start()

    def offer(self, frame: CapturedFrame) -> None:
        """The newest frame: it replaces one that was not sent yet. From any thread; returns at once."""
        with self._changed:
            self._newest = frame
            self._wake()

    def stop(self) -> None:
        """End, within half a second whatever it is waiting for."""
        with self._changed:
            self._stopping = True
            self._wake()
        if self._thread.is_alive():
            self._thread.join(0.4)

    @abstractmethod
    def _connect_and_send(self) -> None:
        """One connection from its beginning. Returns when stopped.

        Raises:
            AwayError, OSError: it ended, or there was none.
            GiveUpError: for good.
        """

    def _wake(self) -> None:
        """There is a new frame, or it is time to stop. Called with ``_changed`` held."""
        self._changed.notify_all()

    def _run(self) -> None:
        try:
            while not self._stopping:
                try:
                    self._connect_and_send()
                except AwayError as away:
                    self._wait_to_retry(str(away))
                except OSError as error:
                    self._wait_to_retry(_why_unreachable(error))
        except GiveUpError as error:
            self.error = str(error)
        except Exception as error:  # else the process would wait for ever for a thread that is gone
            logger.exception("the sender failed: please report this")
            self.error = f"{type(error).__name__}: {error}"
        finally:
            self.ended.set()

    def _wait_to_retry(self, reason: str) -> None:
        with self._changed:
            if not self._stopping:
                self._note_away(reason)
                self._changed.wait_for(lambda: self._stopping, self._backoff.next())

    def _decode(self, text: str | bytes) -> messages.Message | None:
        try:
            return self._decoder.decode(text)
        except msgspec.MsgspecError:
            return None  # a newer server may say more than this sender knows

    def _take(self, answer: messages.Result | messages.Error, counters: Counters) -> None:
        """Count an answer, and tell when the verdict changes."""
        self._note_answer()
        counters.note(answer, self.totals)
        if isinstance(answer, messages.Result) and answer.verdict != self._verdict:
            self._verdict = answer.verdict
            score, threshold = answer.raw_score, answer.threshold
            logger.info("verdict %s: raw score %.4g, threshold %.4g", answer.verdict, score, threshold)

    def _note_answer(self) -> None:
        # Here and not where the connection opens: a server that takes every connection and drops it again
        # would else start the waits anew, and fill the log, with each try.
        self._backoff.reset()
        server, name = self._destination.server, self._destination.name
        if self._away_since is not None:
            logger.info("server %s: back after %.0f s", server, time.monotonic() - self._away_since)
        elif not self._answered:
            logger.info("server %s: inspecting stream %s", server, name)
        self._answered = True
        self._away_since = None

    def _note_away(self, reason: str) -> None:
        if self._away_since is None:
            self._away_since = time.monotonic()
            server, longest = self._destination.server, self._backoff.longest
            logger.warning("server %s: away: %s. Trying again within %g s", server, reason, longest)


def closed(code: int | None, reason: str, name: str) -> AwayError | GiveUpError:
    """What it means that the server ended stream ``name`` with this close code; None: it said nothing."""
    match code:
        case 4001:
            return GiveUpError(f"another sender took over stream {name}: give each camera its own --name")
        case 1008:
            return GiveUpError(f"the server refuses this camera: {reason or 'it gave no reason'}")
        case 1009:
            return AwayError("a frame is larger than it takes: lower --quality, --width or --height")
        case 1001 | 1012:
            return AwayError("it is shutting down or restarting")
        case None:
            return AwayError("the connection was lost: check the network, and that the server is running")
    return AwayError(f"it closed the connection ({code} {reason})")


def refused(status: int, body: bytes | bytearray) -> AwayError | GiveUpError:
    """What it means that the server answered a request with this HTTP status, and perhaps ``{"error": ...}``."""
    try:
        sentence = msgspec.json.decode(body, type=dict[str, str])["error"]
    except (msgspec.MsgspecError, KeyError):
        sentence = f"HTTP status {status}"
    match status:
        case 401:
            return GiveUpError(f"{sentence}; give it in ACCESS_CODE or with --code")
        case 403 | 422:
            return GiveUpError(f"the server refuses this camera: {sentence}")
        case 404:
            return AwayError("there is no DefectVision server at this address: check --server")
    return AwayError(sentence)


def _why_unreachable(error: OSError) -> str:
    match error:
        case ssl.SSLCertVerificationError():
            return (
                f"its certificate is not trusted ({error.verify_message}): give the server's certificate, "
                "or that of its authority, with --ca FILE"
            )
        case TimeoutError():
            return f"no answer for {CONNECT_S:g} s: check the address, and that the server is running"
        case ConnectionRefusedError():
            return "nothing listens there: check address and port, and that the server is running"
    return f"{error}: check the address, and that the server is running"
