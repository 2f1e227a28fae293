"""What is kept of streams that run freely: changes of their verdict, and their minutes in numbers."""

from __future__ import annotations

import secrets
import time
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import msgspec
import numpy as np

from server.records.entry import Event, Minute, milliseconds, of_change
from server.records.schema import BINS
from server.words import Error, PartResult, Result, Verdict

MINUTE_MS = 60_000
OVERDUE_S = 75.0
"""After which a minute is closed although nothing came after it."""
FORGOTTEN_S = 3600.0
FREE_AFTER_S = 600.0
"""Without a part, a stream runs freely again: its line says no ids any more."""
MOST_SCORES = 20_000
"""Of a minute that its percentiles are made of: 330 frames a second."""
CHANGES_A_MINUTE = 60
"""Changes of one stream that are kept: a verdict that flickers with every frame is told by the minutes."""
MOST_STREAMS = 4096


@dataclass
class _Counting:
    start: int
    began: float
    recipe: str
    recipe_version: int
    simulated: bool
    threshold: float = 0.0
    frames: int = 0
    anomalies: int = 0
    dropped: int = 0
    failed: int = 0
    scores: array[float] = field(default_factory=lambda: array("d"))
    raw_scores: array[float] = field(default_factory=lambda: array("d"))
    latencies: array[float] = field(default_factory=lambda: array("d"))


@dataclass
class _Stream:
    heard: float
    verdict: Verdict | None = None
    counters: tuple[int, int, int] = (0, 0, 0)
    counting: _Counting | None = None
    by_parts: tuple[str | None, int | None] | None = None
    last_part: float = 0.0
    changes: int = 0
    changes_since: float = 0.0


class Running:
    """On the event loop; each call costs microseconds, once a minute and stream a millisecond.

    Attributes:
        flickered: changes of a verdict that were not kept, since there were too many.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._streams: dict[str, _Stream] = {}
        self.flickered = 0

    def part(self, part: PartResult) -> None:
        """The stream has parts: with this recipe it does not run freely."""
        stream = self._stream(part.stream)
        if stream is not None and part.recipe is not None:
            stream.by_parts = part.recipe, part.recipe_version
            stream.last_part = self._clock()

    def result(self, result: Result, *, of_part: bool = False) -> Iterator[Event]:
        """What is to be kept with this frame.

        Args:
            of_part: there will be a verdict on the part that it shows, or it shows none of those that are judged.
        """
        stream = self._stream(result.stream)
        if stream is None or result.repeated is True:
            return
        dropped, failed = _since(stream, (result.received, result.dropped, result.failed))
        has_parts = self._clock() - stream.last_part < FREE_AFTER_S
        if of_part or (has_parts and stream.by_parts == (result.recipe, result.recipe_version)):
            stream.verdict = None
            return
        if stream.verdict != result.verdict:
            if self._may_change(stream):
                yield of_change(result, stream.verdict)
            stream.verdict = result.verdict
        at = milliseconds(result.at)
        counting = stream.counting
        what = (at - at % MINUTE_MS, result.recipe, result.recipe_version)
        if counting is None or (counting.start, counting.recipe, counting.recipe_version) != what:
            if counting is not None:
                yield _closed(result.stream, counting)
            counting = _Counting(
                what[0], self._clock(), result.recipe, result.recipe_version, result.simulated is not msgspec.UNSET
            )
            stream.counting = counting
        counting.frames += 1
        counting.anomalies += result.verdict == "ANOMALY"
        counting.dropped += dropped
        counting.failed += failed
        counting.threshold = result.threshold
        if len(counting.scores) < MOST_SCORES:
            counting.scores.append(result.score)
            counting.raw_scores.append(result.raw_score)
            counting.latencies.append(result.latency_ms)

    def error(self, error: Error) -> None:
        """A frame failed."""
        stream = self._stream(error.stream)
        if stream is None:
            return
        dropped, failed = _since(stream, (error.received, error.dropped, error.failed))
        if stream.counting is not None:
            stream.counting.dropped += dropped
            stream.counting.failed += failed

    def overdue(self, *, everything: bool = False) -> Iterator[Minute]:
        """Minutes that are over although nothing came after them; or all."""
        now = self._clock()
        for name, stream in [*self._streams.items()]:
            counting = stream.counting
            if counting is not None and (everything or now - counting.began >= OVERDUE_S):
                stream.counting = None
                yield _closed(name, counting)
            if now - stream.heard >= FORGOTTEN_S:
                del self._streams[name]

    def _stream(self, name: str) -> _Stream | None:
        stream = self._streams.get(name)
        if stream is None:
            if len(self._streams) >= MOST_STREAMS:
                return None
            stream = self._streams[name] = _Stream(self._clock())
        stream.heard = self._clock()
        return stream

    def _may_change(self, stream: _Stream) -> bool:
        now = self._clock()
        if now - stream.changes_since >= 60:
            stream.changes, stream.changes_since = 0, now
        stream.changes += 1
        if stream.changes <= CHANGES_A_MINUTE:
            return True
        self.flickered += 1
        return False


def _since(stream: _Stream, counters: tuple[int, int, int]) -> tuple[int, int]:
    """Frames dropped and failed since the last message; counters begin anew with each connection."""
    (received, dropped, failed), stream.counters = stream.counters, counters
    if counters[0] < received:
        dropped = failed = 0
    return max(counters[1] - dropped, 0), max(counters[2] - failed, 0)


def _closed(name: str, counting: _Counting) -> Minute:
    scores, raw_scores = np.frombuffer(counting.scores), np.frombuffer(counting.raw_scores)
    p05, median, p95, most = np.percentile(scores, (5, 50, 95, 100)).tolist()
    raw_median, raw_most = np.percentile(raw_scores, (50, 100)).tolist()
    latencies = np.percentile(np.frombuffer(counting.latencies), (50, 95, 100)).tolist()
    return Minute(
        id=secrets.token_hex(16),
        start=counting.start,
        stream=name,
        recipe=counting.recipe,
        recipe_version=counting.recipe_version,
        simulated=counting.simulated,
        frames=counting.frames,
        anomalies=counting.anomalies,
        dropped=counting.dropped,
        failed=counting.failed,
        score_p05=p05,
        score_median=median,
        score_p95=p95,
        score_max=most,
        raw_score_median=raw_median,
        raw_score_max=raw_most,
        threshold=counting.threshold,
        latency_p50=latencies[0],
        latency_p95=latencies[1],
        latency_max=latencies[2],
        scores=np.histogram(scores, BINS, (0, 1))[0].tolist(),
    )
