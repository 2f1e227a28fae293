"""What waits to go out by one sink: bounded in number and bytes, the oldest is lost, and counted."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace

import msgspec

from server.inspection import Inspected
from server.sinks.choice import Chooser
from server.sinks.sink import Outgoing, SinkError
from server.streams import Told
from server.words import Message, PartResult, Result, now

MOST_WAITING = 10_000
"""Events."""
MOST_BYTES = 32_000_000
"""Of the events that wait, about."""
WITHOUT_PICTURE = 1_500
"""Bytes that an event takes in memory without a picture, about."""


class BoundedOutbox:
    """Filled from the hub, emptied by one :class:`Turn` after the other. On the event loop.

    Args:
        pictures: whether what was seen is kept with an event (:attr:`Told.seen`), where the hub has it.

    Attributes:
        chooser: which of what is told is queued.
        delivered: events that were confirmed; ``dropped``: lost to the bounds; ``refused``: given up by the sink.
        since: when it was made, by :func:`time.monotonic`.
    """

    def __init__(
        self, chooser: Chooser, *, pictures: bool = False, most: int = MOST_WAITING, most_bytes: int = MOST_BYTES
    ) -> None:
        self.chooser, self._pictures, self._most, self._most_bytes = chooser, pictures, most, most_bytes
        self._waiting: deque[Outgoing] = deque()
        self._bytes = 0
        self._handed: Outgoing | None = None
        self._changed = asyncio.Event()
        self._prefix, self._number = secrets.token_hex(8), 0
        self.since = time.monotonic()
        self.delivered = self.dropped = self.refused = 0

    @property
    def waiting(self) -> int:
        return len(self._waiting) + (self._handed is not None)

    def choose(self, chooser: Chooser) -> None:
        """Be told something else from now on; what waits goes out all the same."""
        self.chooser = chooser

    @property
    def rest(self) -> list[Outgoing]:
        """All that waits, oldest first."""
        return [*([] if self._handed is None else [self._handed]), *self._waiting]

    def put_before(self, events: Sequence[Outgoing], lost: int = 0) -> None:
        """Queue what waited before the server was started, before all that was told since; ``lost``: events of it that
        are not there any more."""
        self.dropped += lost
        self._waiting.extendleft(reversed(events))
        self._bytes += sum(map(_size, events))
        self._keep_bounds()
        self._changed.set()

    def offer(self, told: Told) -> None:
        """Queue what was told, if it is wanted; never waits."""
        what = self.chooser.what(told.message, told.seen)
        if what is None:
            return
        self._number += 1
        message = told.message
        id = message.id if isinstance(message, PartResult) else f"{self._prefix}-{self._number}"
        at = now()
        seen = _light(told.seen) if self._pictures else None
        self._waiting.append(
            event := Outgoing(_without_pictures(message), seen, id, what, at, self._number, time.monotonic())
        )
        self._bytes += _size(event)
        self._keep_bounds()
        self._changed.set()

    def _keep_bounds(self) -> None:
        while self._waiting and (self.waiting > self._most or self._bytes > self._most_bytes):
            self._bytes -= _size(self._waiting.popleft())
            self.dropped += 1

    def turn(self, listener: TurnListener | None = None) -> Turn:
        """What the next ``run`` is given; the one before is over."""
        if self._handed is not None:
            self._waiting.appendleft(self._handed)
            self._handed = None
        return Turn(self, listener or TurnListener())

    async def take(self, turn: Turn) -> Outgoing:
        await asyncio.sleep(0)  # who takes many in a row holds up nobody
        turn.check()
        while self._handed is not None or not self._waiting:
            self._changed.clear()
            await self._changed.wait()
            turn.check()
        self._handed = self._waiting.popleft()
        return self._handed

    def settle(self, *, delivered: bool) -> bool:
        """Whether an event had been handed out."""
        if self._handed is None:
            return False
        self._bytes -= _size(self._handed)
        self._handed = None
        if delivered:
            self.delivered += 1
        else:
            self.refused += 1
        self._changed.set()
        return True

    def wake(self) -> None:
        self._changed.set()


class TurnListener:
    """Who is told how a run goes on; by default nobody."""

    def went_up(self, words: str) -> None: ...

    def went_into_trouble(self, words: str) -> None: ...

    def confirmed(self) -> None: ...

    def refused(self, why: str, event: Outgoing | None) -> None: ...


class Turn:
    """The outbox as one ``run`` has it. Once it is over, whoever still holds it gets nothing from it."""

    def __init__(self, box: BoundedOutbox, listener: TurnListener, clock: Callable[[], float] | None = None) -> None:
        self._box, self._listener = box, listener
        self._clock = clock or asyncio.get_running_loop().time
        self._is_over = False
        self._handed_at: float | None = None
        self._handed: Outgoing | None = None
        self._began, self._was_up = self._clock(), False

    @property
    def waiting(self) -> int:
        return self._box.waiting

    @property
    def since(self) -> float:
        return self._box.since

    @property
    def waited_for_s(self) -> float:
        """Seconds since the sink last had to do something, and has not: be up, or confirm."""
        if self._handed_at is not None:
            return self._clock() - self._handed_at
        return 0.0 if self._was_up else self._clock() - self._began

    def __aiter__(self) -> AsyncIterator[Outgoing]:
        return self

    async def __anext__(self) -> Outgoing:
        self.check()
        event = self._handed = await self._box.take(self)
        self._handed_at = self._clock()
        return event

    def confirm(self) -> None:
        if not self._is_over and self._settle(delivered=True):
            self._listener.confirmed()

    def refuse(self, why: str) -> None:
        if not self._is_over and self._settle(delivered=False):
            self._listener.refused(why, self._handed)

    def is_up(self, words: str) -> None:
        if not self._is_over:
            self._was_up = True
            self._listener.went_up(words)

    def is_in_trouble(self, words: str) -> None:
        if not self._is_over:
            self._listener.went_into_trouble(words)

    def end(self) -> None:
        self._is_over = True
        self._box.wake()

    def check(self) -> None:
        if self._is_over:
            raise SinkError("this run is over")

    def _settle(self, *, delivered: bool) -> bool:
        self._handed_at = None
        return self._box.settle(delivered=delivered)


def _without_pictures(message: Message) -> Message:
    if isinstance(message, Result):
        return msgspec.structs.replace(message, heatmap=msgspec.UNSET, picture=msgspec.UNSET)
    if isinstance(message, PartResult):
        return msgspec.structs.replace(message, heatmap=msgspec.UNSET)
    return message


def _light(seen: Inspected | None) -> Inspected | None:
    """Of what was seen, what somebody may look at."""
    return None if seen is None else replace(seen, sample=None)


def _size(event: Outgoing) -> int:
    if event.seen is None:
        return WITHOUT_PICTURE
    kept, picture = event.seen.kept, event.seen.picture
    pictures = (0 if kept is None else kept.size) + (0 if picture is None else len(picture[0]))
    return WITHOUT_PICTURE + event.seen.heatmap.nbytes + pictures
