"""What became of all frames and parts since the server was started, by stream: counters that a reconnect does not set
back. No I/O."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from server.streams import Counters, Hub, Told
from server.words import Figure, PartResult, Result, Status

MOST = 256
"""Names of streams that are counted, of those that were heard of last: strangers may choose names."""
SECONDS = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5)
"""Upper ends of the latency's buckets: a frame costs 5 to 100 ms, and is dropped when it is 2 s old."""


class Connection(Protocol):
    """One connection's frames, from the first to the last."""

    anomalies: int

    @property
    def counters(self) -> Counters: ...


class Connections(Protocol):
    """Who sends a stream now."""

    def stream_of(self, name: str) -> Connection | None:
        """The connection of this name, if there is one."""
        ...


@dataclass
class Histogram:
    """``counts``: by bucket, the last is for all beyond; ``total``: of all values, seconds."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(SECONDS) + 1))
    total: float = 0.0

    def see(self, seconds: float) -> None:
        self.counts[bisect_left(SECONDS, seconds)] += 1
        self.total += seconds


@dataclass
class _OfName:
    done: Counter[str] = field(default_factory=Counter)
    """Of connections that ended."""
    current: Connection | None = None
    parts: Counter[str] = field(default_factory=Counter)
    latency: Histogram = field(default_factory=Histogram)


class Totals:
    """Hangs on the hub as an ear; the event loop owns it. A frame costs it a microsecond."""

    def __init__(self, hub: Hub, connections: Connections) -> None:
        self._connections = connections
        self._all: dict[str, _OfName] = {}
        hub.listen(self.hear)

    def hear(self, told: Told) -> None:
        message = told.message
        if isinstance(message, Result):
            if not message.repeated:
                self._of(message.stream).latency.see(message.latency_ms / 1000)
        elif isinstance(message, PartResult):
            self._of(message.stream).parts[message.verdict] += 1
        elif isinstance(message, Status):  # also when a connection begins, ends, or is taken over
            self._look(message.stream)

    @property
    def latencies(self) -> dict[str, Histogram]:
        """From a frame's arrival to its verdict, by stream."""
        return {name: one.latency for name, one in self._all.items()}

    def figures(self) -> Iterator[Figure]:
        for name, one in self._all.items():
            counted = Counter(one.done)
            if one.current is not None:
                counted.update(_counted(one.current))
            for what, words in _FRAMES.items():
                yield Figure(f"frames_{what}", words, counted[what], {"stream": name}, "counter")
            for verdict in ("NORMAL", "ANOMALY", "FAILED"):
                labels = {"stream": name, "verdict": verdict}
                yield Figure("parts", "parts that got their one verdict", one.parts[verdict], labels, "counter")

    def _of(self, name: str) -> _OfName:
        one = self._all.pop(name, None) or _OfName()
        self._all[name] = one  # the newest last
        while len(self._all) > MOST:
            del self._all[next(iter(self._all))]
        return one

    def _look(self, name: str) -> None:
        now = self._connections.stream_of(name)
        if name not in self._all and now is None:
            return
        one = self._of(name)
        if now is not one.current:
            if one.current is not None:
                one.done.update(_counted(one.current))  # it ended, and all its frames are counted
            one.current = now


_FRAMES = {
    "received": "frames that arrived",
    "inspected": "frames that got a verdict",
    "dropped": "frames replaced by a newer one, too old, over max_fps, or shown to a teaching",
    "failed": "frames that could not be decoded or inspected",
    "anomalous": "frames with which the stream's verdict was ANOMALY",
}


def _counted(connection: Connection) -> dict[str, int]:
    counted = connection.counters
    return {
        "received": counted.received,
        "inspected": counted.inspected,
        "dropped": counted.dropped,
        "failed": counted.failed,
        "anomalous": connection.anomalies,
    }
