"""Who hears: topics by stream name, and subscriptions that lose old messages rather than slow anyone down."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator

from server.words import Message, Result, encode

MAX_WAITING = 64
"""Messages that may wait for one subscriber; the oldest is lost beyond that. About 200 kB without pictures."""

MAX_WAITING_WITH_PICTURES = 3


class Subscription:
    """One listener's queue of JSON texts: bounded, the oldest is lost. Iterate it; it ends when it is closed."""

    def __init__(self, *, picture: bool = False) -> None:
        self.picture = picture
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


class Hub:
    """Fans messages out to the subscriptions of a stream's name. A topic exists as long as somebody listens."""

    def __init__(self) -> None:
        self._topics: dict[str, set[Subscription]] = {}

    def subscribe(self, name: str, *, picture: bool = False) -> Subscription:
        subscription = Subscription(picture=picture)
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

    def publish(self, message: Message, with_picture: Result | None = None) -> str:
        """Send a message to everyone who listens to its stream; those who asked for pictures get ``with_picture``.

        Returns:
            the JSON text of ``message``.
        """
        text = encode(message)
        picture_text = None
        for subscription in self._topics.get(message.stream, ()):
            if subscription.picture and with_picture is not None:
                picture_text = picture_text or encode(with_picture)
                subscription.push(picture_text)
            else:
                subscription.push(text)
        return text

    def close(self) -> None:
        """End every subscription."""
        for topic in self._topics.values():
            for subscription in topic:
                subscription.close()
