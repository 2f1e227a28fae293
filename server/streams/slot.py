"""One sender's stream: a slot for its newest frame, and honest counters. No I/O, no locks: the event loop owns it."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import median

from server.streams.shape import Shape
from server.words import Load, Simulated, Transport, Verdict, now

Clock = Callable[[], float]
RATE_WINDOW_S = 5.0


@dataclass(frozen=True)
class Frame:
    """A frame that waits or is in work. ``arrived`` is on the stream's clock, seconds; ``part``: it shows, if somebody
    said so."""

    seq: int
    arrived: float
    load: Load
    simulated: Simulated | None = None
    part: str | None = None


@dataclass(frozen=True)
class Counters:
    """What became of a stream's frames: ``received == inspected + dropped + failed`` when none waits or is in work, and
    once its sender is gone."""

    received: int
    inspected: int
    dropped: int
    failed: int


class Stream:
    """One connection's frames, from the first to the last.

    At most one frame waits and at most one is in work, so results keep the order of the frames.
    ``received == inspected + dropped + failed`` whenever neither is the case, and after :meth:`drop_rest`.

    Attributes:
        last_verdict: of the stream, by its decision rule, and so are ``anomalies``.
        last_verdict_at: when it was given, ISO 8601 with milliseconds.
        is_late: whether the verdict on the last frame came too late to be one.
        shape: of its pictures.
        heard: when something of it was heard last, whatever became of it, on the stream's clock; or when it began.
        arrived: when the last whole frame did: before it was heard, where it had waited on its way; never goes back.
    """

    def __init__(
        self,
        name: str,
        transport: Transport,
        *,
        max_fps: float | None = None,
        max_age_s: float | None = None,
        clock: Clock = time.perf_counter,
    ) -> None:
        self.name = name
        self.transport = transport
        self.since = datetime.now(UTC).isoformat(timespec="seconds")
        self.received = self.inspected = self.dropped = self.failed = self.anomalies = 0
        self.last_verdict: Verdict | None = None
        self.last_verdict_at: str | None = None
        self.is_late = False
        self.shape = Shape(transport)
        self._clock = clock
        self.heard = self.arrived = clock()
        self._own_interval = self._interval = 1 / max_fps if max_fps else 0.0
        self._due = 0.0
        self._max_age_s = max_age_s
        self._verdict_given: float | None = None
        self._waiting: Frame | None = None
        self._in_work = 0
        """Frames that were taken, and of which it is not known what came of them: 0 or 1."""
        self._latencies: deque[float] = deque(maxlen=30)
        self._arrivals, self._inspections = _Rate(clock), _Rate(clock)

    def limit(self, max_fps: float | None) -> None:
        """Inspect at most so many frames a second from now on, and no more than the sender asked for."""
        interval = max(self._own_interval, 1 / max_fps if max_fps else 0.0)
        if interval != self._interval:
            self._interval, self._due = interval, 0.0  # what a slower rate would have waited for is not waited for

    def arrival(self, late_s: float) -> float:
        """When a frame arrived, on the stream's clock, that is here now and had waited on its way for so many seconds.

        Frames keep their order: none arrived before the one that came before it, however long that had waited.
        """
        return max(self._clock() - late_s, self.arrived)

    def put(
        self,
        load: Load,
        simulated: Simulated | None = None,
        part: str | None = None,
        arrived: float | None = None,
    ) -> bool:
        """Take a frame that is here now. It replaces the one that waits; over ``max_fps`` it is dropped at once.

        Args:
            part: it shows, if somebody said so.
            arrived: by :meth:`arrival`; None: now.

        Returns:
            whether a frame waits that did not before or is newer.
        """
        now = self._clock()
        self.heard, self.arrived = now, now if arrived is None else arrived
        seq = self.received
        self.received += 1
        self._arrivals.count()
        if now < self._due:
            self.dropped += 1
            return False
        # Counting on from the last due time, not from this arrival, keeps the average at the cap under jitter.
        self._due = max(self._due + self._interval, now + self._interval / 2) if self._interval else 0.0
        self.dropped += self._waiting is not None
        self._waiting = Frame(seq, self.arrived, load, simulated, part)
        return True

    def put_damaged(self, frames: int = 1) -> int:
        """Count frames that arrived now and failed already: there is no picture in them to wait for a worker.

        Returns:
            the number of the last.
        """
        self.heard = self._clock()
        self.received += frames
        self.failed += frames
        self._arrivals.count()
        return self.received - 1

    def put_late(self, frames: int) -> None:
        """Count frames that arrived now, so late that they were dropped undecoded."""
        self.heard = self._clock()
        self.received += frames
        self.dropped += frames
        self._arrivals.count()

    def take(self) -> Frame | None:
        """Hand over the waiting frame, if there is one that is not too old to be worth inspecting."""
        frame, self._waiting = self._waiting, None
        if frame is not None and self._is_too_old(frame):
            self.dropped += 1
            return None
        self._in_work += frame is not None
        return frame

    def drop_late(self, frame: Frame) -> bool:
        """Drop a frame that was inspected if that took too long: it is not of the part that lies there now.

        Returns:
            whether it was dropped.
        """
        self.is_late = self._is_too_old(frame)
        if self.is_late:
            self.count_dropped()
        return self.is_late

    def count_inspected(self, frame: Frame, verdict: Verdict) -> float:
        """Count a frame for which a verdict was found; ``verdict``: of the stream with it.

        Returns:
            milliseconds since it arrived.
        """
        self.inspected += self._done()
        self.anomalies += verdict == "ANOMALY"
        self.last_verdict, self.last_verdict_at, self._verdict_given = verdict, now(), self._clock()
        self._inspections.count()
        latency_ms = (self._clock() - frame.arrived) * 1000
        self._latencies.append(latency_ms)
        return latency_ms

    def count_dropped(self) -> None:
        """Count a frame that was taken, and is not going to be inspected."""
        self.dropped += self._done()

    def count_failed(self) -> None:
        """Count a frame that could not be decoded or inspected."""
        self.failed += self._done()

    def drop_rest(self) -> None:
        """Drop the frame that waits and the one in work: their sender is gone, and nobody hears what comes of them. It
        is not counted again."""
        self.dropped += (self._waiting is not None) + self._done()
        self._waiting = None

    @property
    def silent_s(self) -> float:
        """Seconds since the last frame arrived, or since the beginning."""
        return self._clock() - self.heard

    @property
    def verdict_age_s(self) -> float | None:
        """Seconds since the last verdict; None before the first."""
        return None if self._verdict_given is None else self._clock() - self._verdict_given

    @property
    def has_waiting(self) -> bool:
        return self._waiting is not None

    @property
    def waiting_since(self) -> float | None:
        """When the frame that waits arrived, on the stream's clock."""
        return None if self._waiting is None else self._waiting.arrived

    @property
    def counters(self) -> Counters:
        return Counters(self.received, self.inspected, self.dropped, self.failed)

    @property
    def latency_ms(self) -> float | None:
        """Median of the last 30 results, milliseconds."""
        return median(self._latencies) if self._latencies else None

    @property
    def received_per_s(self) -> float:
        return self._arrivals.per_second()

    @property
    def inspected_per_s(self) -> float:
        return self._inspections.per_second()

    def _done(self) -> int:
        """How many frames are in work, which are not any more."""
        done, self._in_work = self._in_work, 0
        return done

    def _is_too_old(self, frame: Frame) -> bool:
        return self._max_age_s is not None and self._clock() - frame.arrived > self._max_age_s


class _Rate:
    """Events per second over the last seconds, from the times of at most 512 events."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._started = clock()
        self._times: deque[float] = deque(maxlen=512)

    def count(self) -> None:
        self._times.append(self._clock())

    def per_second(self) -> float:
        now = self._clock()
        while self._times and now - self._times[0] > RATE_WINDOW_S:
            self._times.popleft()
        if not self._times:
            return 0.0
        full = len(self._times) == self._times.maxlen
        span = now - self._times[0] if full else min(RATE_WINDOW_S, now - self._started)
        return len(self._times) / max(span, 0.5)
