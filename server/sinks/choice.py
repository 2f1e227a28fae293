"""Which of what the hub tells a sink is told on: a state machine, without I/O."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct

from server.inspection import Inspected
from server.sinks.sink import What
from server.words import Change, Drift, Message, PartResult, Result, Status

MOST_STREAMS = 256
"""Streams of which is remembered what was told last; the one that was silent for longest is forgotten beyond."""

NAMED_S = 60.0
"""Once the line has named parts for so long without a break, what a stream's verdict was before is long ago."""

StreamName = Annotated[str, Meta(min_length=1, max_length=64)]


class Choice(Struct, frozen=True, forbid_unknown_fields=True):
    """What a sink is told."""

    streams: Annotated[tuple[StreamName, ...], Meta(max_length=64, description="names of streams; none: of all")] = ()
    parts: Annotated[
        Literal["all", "rejects", "none"],
        Meta(description="one verdict a part: of all, of those that are not NORMAL, or none"),
    ] = "all"
    verdicts: Annotated[
        bool, Meta(description="whether free-running results are told where the stream's verdict changes")
    ] = True
    results_per_s: Annotated[
        float, Meta(ge=0, le=10, description="free-running results of each stream, at most so many a second; 0: none")
    ] = 0.0
    state: Annotated[
        bool,
        Meta(description="whether cameras coming, falling silent and going, changes of recipe, and drift are told"),
    ] = True


@dataclass
class _Stream:
    verdict: str | None = None
    named_since: float | None = None
    state: tuple[object, ...] | None = None
    next_result: float = float("-inf")


class Chooser:
    """Args:
    clock: seconds, monotonic.
    before: the one that chose until now, where what was told by that is no news.
    """

    def __init__(
        self, choice: Choice, clock: Callable[[], float] = time.monotonic, before: Chooser | None = None
    ) -> None:
        self._choice, self._clock = choice, clock
        self._streams: OrderedDict[str, _Stream] = OrderedDict()
        if before is not None:
            self._go_on(before)

    def _go_on(self, before: Chooser) -> None:
        for name, stream in before._streams.items():
            if self._choice.streams and name not in self._choice.streams:
                continue  # when it is chosen again, this will be of long ago
            self._streams[name] = stream
            if not before._choice.verdicts:
                stream.verdict = None
            if not before._choice.state:
                stream.state = None

    def what(self, message: Message, seen: Inspected | None = None) -> What | None:
        """As what a message is told on; None where it is not. ``seen``: of a result what was found in its frame: where
        its recipe says what a part is, the parts are told, and none of their frames."""
        if self._choice.streams and message.stream not in self._choice.streams:
            return None
        match message:
            case PartResult():
                wanted = self._choice.parts
                return "part" if wanted == "all" or (wanted == "rejects" and message.verdict != "NORMAL") else None
            case Result():
                if message.repeated is True:
                    return None
                if seen is not None and seen.recipe.parts.by != "line":
                    self._of(message.stream).verdict = None  # when it runs freely again, its first verdict is news
                    return None
                if message.part is not UNSET:
                    self._named(message)  # its part is told
                    return None
                return self._result(message)
            case Status():
                return self._status(message)
            case Change():
                if message.what != "threshold":
                    self._of(message.stream).verdict = None
                return "change" if self._choice.state else None
            case Drift():
                return "drift" if self._choice.state else None
            case _:
                return None

    def _result(self, result: Result) -> What | None:
        stream = self._of(result.stream)
        stream.named_since = None
        changed, stream.verdict = stream.verdict != result.verdict, result.verdict
        if changed and self._choice.verdicts:
            return "verdict"
        if not self._choice.results_per_s or (now := self._clock()) < stream.next_result:
            return None
        stream.next_result = now + 1 / self._choice.results_per_s
        return "result"

    def _named(self, result: Result) -> None:
        """What is seen between two parts that the line names is no news for that alone."""
        stream, now = self._of(result.stream), self._clock()
        if stream.named_since is None:
            stream.named_since = now
        elif now - stream.named_since >= NAMED_S:
            stream.verdict = None

    def _status(self, status: Status) -> What | None:
        """It is told after every change of a calibration too, which is none of the stream's state."""
        stream, state = self._of(status.stream), (status.state, status.recipe, status.recipe_version)
        changed, stream.state = stream.state != state, state
        if status.state == "waiting":
            stream.verdict = None  # the next sender's first verdict is news
        return "state" if changed and self._choice.state else None

    def _of(self, name: str) -> _Stream:
        stream = self._streams.setdefault(name, _Stream())
        self._streams.move_to_end(name)
        if len(self._streams) > MOST_STREAMS:
            self._streams.popitem(last=False)
        return stream
