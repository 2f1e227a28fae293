"""What is kept of streams that run freely: changes of their verdict, and their minutes in numbers."""

from __future__ import annotations

import math
import secrets
import time
from array import array
from collections import OrderedDict
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np
from numpy.typing import NDArray

from server.records.entry import Event, Minute, milliseconds, of_change
from server.records.schema import BINS, bin_of
from server.words import Error, PartResult, Result, Verdict

MINUTE_MS = 60_000
OVERDUE_S = 75.0
"""After which a minute is closed although nothing came after it."""
FORGOTTEN_S = 3600.0
"""A stream that was silent for so long makes room for another. Until then its connection may live, and counts on."""
FREE_AFTER_S = 600.0
"""Without a part, a stream runs freely again: its line says no ids any more."""
MOST_SCORES = 20_000
"""Of a minute that its percentiles are made of: 330 frames a second."""
CHANGES_A_MINUTE = 60
"""Changes of one stream that are kept: a verdict that flickers with every frame is told by the minutes."""
MOST_STREAMS = 4096


@dataclass
class _Counting:
    """``bins``: counted frame by frame. A histogram of the whole minute at once takes arrays of a byte for each frame,
    and NumPy keeps a few of every length under 1 KB: a minute with another number of frames leaves them behind, up to
    3.6 MB (``benchmarks soak``)."""

    start: int
    began: float
    recipe: str
    recipe_version: int
    simulated: bool
    threshold: float | None = None
    frames: int = 0
    anomalies: int = 0
    dropped: int = 0
    failed: int = 0
    bins: list[int] = field(default_factory=lambda: [0] * BINS)
    scores: array[float] = field(default_factory=lambda: array("d"))
    raw_scores: array[float] = field(default_factory=lambda: array("d"))
    latencies: array[float] = field(default_factory=lambda: array("d"))


@dataclass
class _Stream:
    """``counters``: what its connection said last. ``dropped``, ``failed``: frames that no minute has yet.
    ``counted_as``: recipe, its version, whether simulated, of the frames that count; None where none does."""

    heard: float
    verdict: Verdict | None = None
    counters: tuple[int, int, int] = (0, 0, 0)
    dropped: int = 0
    failed: int = 0
    counted_as: tuple[str, int, bool] | None = None
    counting: _Counting | None = None
    by_parts: tuple[str | None, int | None] | None = None
    last_part: float = 0.0
    changes: int = 0
    changes_since: float = 0.0


class Running:
    """On the event loop; each call costs microseconds, once a minute and stream a millisecond.

    Args:
        clock: seconds, which nobody sets; ``wall``: seconds since 1970, of frames that do not say when they were.

    Attributes:
        flickered: changes of a verdict that were not kept, since there were too many.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, wall: Callable[[], float] = time.time) -> None:
        self._clock, self._wall = clock, wall
        self._streams: OrderedDict[str, _Stream] = OrderedDict()
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
        _take(stream, (result.received, result.dropped, result.failed))
        has_parts = self._clock() - stream.last_part < FREE_AFTER_S
        if of_part or (has_parts and stream.by_parts == (result.recipe, result.recipe_version)):
            stream.verdict = stream.counted_as = None
            stream.dropped = stream.failed = 0
            return
        if stream.verdict != result.verdict:
            if self._may_change(stream):
                yield of_change(result, stream.verdict)
            stream.verdict = result.verdict
        stream.counted_as = result.recipe, result.recipe_version, result.simulated is not msgspec.UNSET
        counting = yield from self._minute(result.stream, stream, stream.counted_as, milliseconds(result.at))
        counting.frames += 1
        counting.anomalies += result.verdict == "ANOMALY"
        counting.threshold = result.threshold
        if math.isfinite(result.score):
            counting.bins[bin_of(result.score)] += 1
        if len(counting.scores) < MOST_SCORES:
            counting.scores.append(result.score)
            counting.raw_scores.append(result.raw_score)
            counting.latencies.append(result.latency_ms)

    def error(self, error: Error) -> Iterator[Minute]:
        """A frame failed: of the recipe that the stream's frames are counted with, also where all of them fail."""
        stream = self._stream(error.stream)
        if stream is None:
            return
        _take(stream, (error.received, error.dropped, error.failed))
        if stream.counted_as is not None:
            yield from self._minute(error.stream, stream, stream.counted_as, round(self._wall() * 1000))

    def overdue(self, *, everything: bool = False) -> Iterator[Minute]:
        """Minutes that are over although nothing came after them; or all."""
        now = self._clock()
        for name, stream in [*self._streams.items()]:
            counting = stream.counting
            if counting is not None and (everything or now - counting.began >= OVERDUE_S):
                stream.counting = None
                yield _closed(name, counting)

    def _minute(
        self, name: str, stream: _Stream, counted_as: tuple[str, int, bool], at: int
    ) -> Generator[Minute, None, _Counting]:
        """What counts a moment (milliseconds since 1970), with all that was dropped and failed until then; yields the
        minute before, where that is over."""
        recipe, version, simulated = counted_as
        start, counting = at - at % MINUTE_MS, stream.counting
        if counting is None or (counting.start, counting.recipe, counting.recipe_version) != (start, recipe, version):
            if counting is not None:
                yield _closed(name, counting)
            counting = stream.counting = _Counting(start, self._clock(), recipe, version, simulated)
        counting.dropped += stream.dropped
        counting.failed += stream.failed
        stream.dropped = stream.failed = 0
        return counting

    def _stream(self, name: str) -> _Stream | None:
        stream = self._streams.get(name)
        if stream is None:
            if len(self._streams) >= MOST_STREAMS and not self._has_made_room():
                return None
            stream = self._streams[name] = _Stream(self._clock())
        stream.heard = self._clock()
        self._streams.move_to_end(name)
        return stream

    def _has_made_room(self) -> bool:
        """Forget the stream that was silent for longest, if that is long enough."""
        name, stream = next(iter(self._streams.items()))
        if stream.counting is not None or self._clock() - stream.heard < FORGOTTEN_S:
            return False
        del self._streams[name]
        return True

    def _may_change(self, stream: _Stream) -> bool:
        now = self._clock()
        if now - stream.changes_since >= 60:
            stream.changes, stream.changes_since = 0, now
        stream.changes += 1
        if stream.changes <= CHANGES_A_MINUTE:
            return True
        self.flickered += 1
        return False


def _take(stream: _Stream, counters: tuple[int, int, int]) -> None:
    """Note what was dropped and failed since the last message; counters begin anew with each connection."""
    (received, dropped, failed), stream.counters = stream.counters, counters
    if counters[0] < received:
        dropped = failed = 0
    stream.dropped += max(counters[1] - dropped, 0)
    stream.failed += max(counters[2] - failed, 0)


def _closed(name: str, counting: _Counting) -> Minute:
    scores, raw_scores = np.frombuffer(counting.scores), np.frombuffer(counting.raw_scores)
    p05, median, p95, most = _percentiles(scores, 5, 50, 95, 100)
    raw_median, raw_most = _percentiles(raw_scores, 50, 100)
    latencies = _percentiles(np.frombuffer(counting.latencies), 50, 95, 100)
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
        scores=counting.bins,
    )


def _percentiles(values: NDArray[np.float64], *percents: float) -> Sequence[float | None]:
    """None each, without a value: all frames of a minute may have failed."""
    return np.percentile(values, percents).tolist() if len(values) else [None] * len(percents)
