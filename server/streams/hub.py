"""Who hears: topics by stream name, and subscriptions that lose old messages rather than slow anyone down."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator

import msgspec

from server.words import Message, Result, encode

MAX_WAITING = 64
"""Messages that may wait for one subscriber; the oldest is lost beyond that. About 200 kB without pictures."""

MAX_WAITING_WITH_PICTURES = 3


class Subscription:
    """One listener's queue of JSON texts: bounded, the oldest is lost. Iterate it; it ends when it is closed.

    Args:
        picture: whether results come with the frame's picture; ``heatmap``: with its heat map.
    """

    def __init__(self, *, picture: bool = False, heatmap: bool = True) -> None:
        self.picture, self.heatmap = picture, heatmap
        self._messages: deque[str] = deque(maxlen=MAX_WAITING_WITH_PICTURES if picture else MAX_WAITING)
        self._changed = asyncio.Event()
        self._closed = False

    def push(self, text: str) -> None:
        """Queue a message; never waits."""
        self._messages.append(text)
        self._changed.set()

    def close(self) -> None:
        """End the iteration once what waits has been taken."""
        self._closed = True
        self._changed.set()

    async def __aiter__(self) -> AsyncIterator[str]:
        while True:
            while self._messages:
                yield self._messages.popleft()
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

    def for_(self, listener: Subscription) -> str:
        """The JSON text for one listener."""
        picture = listener.picture and self._with_picture is not None
        bare = isinstance(self._message, Result) and not listener.heatmap
        text = self._texts.get((picture, bare))
        if text is None:
            message = self._with_picture if picture and self._with_picture is not None else self._message
            if bare and isinstance(message, Result):
                message = msgspec.structs.replace(message, heatmap=msgspec.UNSET)
            text = self._texts[picture, bare] = encode(message)
        return text


class Hub:
    """Fans messages out to the subscriptions of a stream's name. A topic exists as long as somebody listens."""

    def __init__(self) -> None:
        self._topics: dict[str, set[Subscription]] = {}

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

    def publish(self, message: Message, with_picture: Result | None = None, sender: Subscription | None = None) -> None:
        """Send a message to everyone who listens to its stream; those who asked for pictures get ``with_picture``.

        Args:
            sender: of the stream, who hears it too.
        """
        wording = Wording(message, with_picture)
        for subscription in self._topics.get(message.stream, ()):
            subscription.push(wording.for_(subscription))
        if sender is not None:
            sender.push(wording.for_(sender))

    def close(self) -> None:
        """End every subscription."""
        for topic in self._topics.values():
            for subscription in topic:
                subscription.close()
