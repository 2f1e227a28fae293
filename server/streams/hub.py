"""Who hears: topics by stream name, and subscriptions that lose old messages rather than slow anyone down."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import msgspec

from server.inspection import Inspected
from server.words import Error, Heartbeat, Message, PartResult, Result, encode

log = logging.getLogger("defectvision.streams")

MAX_WAITING = 64
"""Messages that may wait for one subscriber. About 200 kB without pictures."""

MAX_WAITING_WITH_PICTURES = 3
"""Of them, those with a picture."""

MAX_WAITING_CHARACTERS = 1_000_000
"""Of all that waits for one subscriber; the newest message may be longer."""

FAULT_TOLD_S = 60.0
"""How long it is told that an ear failed, after the last time."""


@dataclass(frozen=True)
class Told:
    """What listeners inside of the server are told.

    Attributes:
        message: as viewers get it.
        seen: of a result what was found in its frame, of a part what was found in its worst one; ``seen.kept`` holds
            its pictures where they were wanted. None where nothing was inspected.
    """

    message: Message
    seen: Inspected | None = None


Ear = Callable[[Told], None]
"""Hears everything that is told of all streams, on the event loop, and returns at once: what it does with it goes into
a queue of its own that has a bound."""


@dataclass(frozen=True)
class Waiting:
    """A JSON text that waits for one listener.

    Attributes:
        passes: it is of one frame, or says how things stand: the next of its kind says more. A part's verdict is said
            once.
        pictured: it carries a picture.
    """

    text: str
    passes: bool = False
    pictured: bool = False


class Subscription:
    """One listener's queue of JSON texts: bounded. Where there is no room the oldest that passes is lost, else the
    oldest; never the newest. Iterate it; it ends when it is closed.

    Args:
        picture: whether results come with the frame's picture; ``heatmap``: with its heat map.
    """

    def __init__(self, *, picture: bool = False, heatmap: bool = True) -> None:
        self.picture, self.heatmap = picture, heatmap
        self._messages: deque[Waiting] = deque()
        self._characters = self._pictured = 0
        self._changed = asyncio.Event()
        self._closed = False

    def push(self, text: str, *, passes: bool = False, pictured: bool = False) -> None:
        """Queue a message, which may pass or carry a picture as :class:`Waiting` says; never waits."""
        self._messages.append(Waiting(text, passes, pictured))
        self._characters += len(text)
        self._pictured += pictured
        if self._pictured > MAX_WAITING_WITH_PICTURES:
            self._take(next(place for place, one in enumerate(self._messages) if one.pictured))
        while len(self._messages) > MAX_WAITING or self._is_too_long:
            self._take(self._least)
        self._changed.set()

    @property
    def _is_too_long(self) -> bool:
        return self._characters > MAX_WAITING_CHARACTERS and len(self._messages) > 1

    @property
    def _least(self) -> int:
        """Place of the message that is lost first, of two or more."""
        older = len(self._messages) - 1
        return next((place for place, one in enumerate(self._messages) if one.passes and place < older), 0)

    def _take(self, place: int) -> Waiting:
        taken = self._messages[place]
        del self._messages[place]
        self._characters -= len(taken.text)
        self._pictured -= taken.pictured
        return taken

    def close(self) -> None:
        """End the iteration once what waits has been taken."""
        self._closed = True
        self._changed.set()

    async def __aiter__(self) -> AsyncIterator[str]:
        async for one in self.waiting():
            yield one.text

    async def waiting(self) -> AsyncIterator[Waiting]:
        """As iterating it, with what is known of each message."""
        while True:
            while self._messages:
                yield self._take(0)
            if self._closed:
                return
            self._changed.clear()
            await self._changed.wait()


class Wording:
    """A message in the words of each listener, made once for all who want the same.

    Args:
        with_picture: the same with a picture, for those who asked for it.
    """

    def __init__(self, message: Message, with_picture: Result | None = None) -> None:
        self._message, self._with_picture = message, with_picture
        self._texts: dict[tuple[bool, bool], str] = {}

    def tell(self, listener: Subscription) -> None:
        """Queue it for one listener."""
        pictured = listener.picture and self._with_picture is not None
        passes = isinstance(self._message, Result | Error | Heartbeat)
        listener.push(self._text_for(listener, pictured), passes=passes, pictured=pictured)

    def _text_for(self, listener: Subscription, picture: bool) -> str:
        bare = isinstance(self._message, Result | PartResult) and not listener.heatmap
        text = self._texts.get((picture, bare))
        if text is None:
            message = self._with_picture if picture and self._with_picture is not None else self._message
            if bare and isinstance(message, Result | PartResult):
                message = msgspec.structs.replace(message, heatmap=msgspec.UNSET)
            text = self._texts[picture, bare] = encode(message)
        return text


@dataclass
class _Faults:
    count: int = 0
    last: float = 0.0
    kind: str = ""


def _name_of(ear: Ear) -> str:
    """``the part drift``, from ``server.drift.drifts``."""
    room = (getattr(ear, "__module__", None) or type(ear).__module__).split(".")
    return f"the part {room[1] if room[0] == 'server' and len(room) > 1 else room[0]}"


class Hub:
    """Fans messages out to the subscriptions of a stream's name. A topic exists as long as somebody listens."""

    def __init__(self) -> None:
        self._topics: dict[str, set[Subscription]] = {}
        self._ears: list[Ear] = []
        self._faults: dict[Ear, _Faults] = {}

    def listen(self, ear: Ear) -> Callable[[], None]:
        """Have somebody inside of the server hear everything, of all streams; returns what ends that."""
        self._ears.append(ear)

        def stop() -> None:
            if ear in self._ears:
                self._ears.remove(ear)
            self._faults.pop(ear, None)

        return stop

    def subscribe(self, name: str, *, picture: bool = False, heatmap: bool = True) -> Subscription:
        subscription = Subscription(picture=picture, heatmap=heatmap)
        self._topics.setdefault(name, set()).add(subscription)
        return subscription

    def unsubscribe(self, name: str, subscription: Subscription) -> None:
        topic = self._topics.get(name, set())
        topic.discard(subscription)
        if not topic:
            self._topics.pop(name, None)

    def listeners(self, name: str) -> int:
        return len(self._topics.get(name, ()))

    def wants_picture(self, name: str) -> bool:
        return any(subscription.picture for subscription in self._topics.get(name, ()))

    def publish(
        self,
        message: Message,
        with_picture: Result | None = None,
        sender: Subscription | None = None,
        seen: Inspected | None = None,
    ) -> None:
        """Send a message to everyone who listens to its stream; those who asked for pictures get ``with_picture``.

        Args:
            sender: of the stream, who hears it too.
            seen: what was found in the frame, for those who listen inside of the server.
        """
        wording = Wording(message, with_picture)
        for subscription in self._topics.get(message.stream, ()):
            wording.tell(subscription)
        if sender is not None:
            wording.tell(sender)
        told = Told(message, seen)
        for ear in [*self._ears]:
            try:
                ear(told)
            except Exception as error:  # whoever only listens never stops an inspection
                faults = self._faults.setdefault(ear, _Faults())
                if not faults.count:
                    log.exception("a listener failed, and is asked on; said once")
                faults.count, faults.last, faults.kind = faults.count + 1, time.monotonic(), type(error).__name__

    @property
    def warning(self) -> str | None:
        """That a listener of this server failed a moment ago, for the operator; or nothing."""
        for ear, faults in self._faults.items():
            if time.monotonic() - faults.last < FAULT_TOLD_S:
                times = "once" if faults.count == 1 else f"{faults.count} times since the start"
                return (
                    f"{_name_of(ear)} failed {times} ({faults.kind}) at what it was told, and goes on: the log says "
                    "more"
                )
        return None

    def close(self) -> None:
        """End every subscription."""
        for topic in self._topics.values():
            for subscription in topic:
                subscription.close()
