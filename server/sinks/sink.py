"""What a way out is: connected by itself, fed from an outbox, never waited for."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from server.parts import TriggerRefused
from server.streams import Told

__all__ = ["Accepted", "Line", "Outbox", "Sink", "SinkError", "TriggerRefused"]


class SinkError(Exception):
    """Its peer is away, refuses, or answers what it should not; one sentence: what happened, and what to do."""


class Outbox(Protocol):
    """What waits to go out by one sink, oldest first: bounded, and what the bound drops is counted and shown.

    An event stays the oldest until it is confirmed; where ``run`` fails before, it is handed out again by the next.
    """

    def __aiter__(self) -> AsyncIterator[Told]:
        """Each event, once the one before was confirmed; waits for more, and never ends."""
        ...

    def confirm(self) -> None:
        """The event that was handed out last has arrived at the peer."""
        ...

    def is_up(self, words: str) -> None:
        """The connection stands: ``words`` says with whom. Failures are counted from the beginning."""
        ...

    def is_in_trouble(self, words: str) -> None:
        """Something is wrong that an operator should see, and ``run`` goes on: one sentence."""
        ...


class Sink(Protocol):
    """One way out, made from its settings. Lives on the event loop; what blocks goes to threads."""

    async def run(self, outbox: Outbox) -> None:
        """Connect, or serve, and hand out what is told, until cancelled.

        It is run again after every failure, later each time, and cancelled within a second's patience at the end.

        Raises:
            SinkError: the peer is away or refuses. Any other exception is a fault of the sink's and is logged as one.
        """
        ...

    async def test(self) -> str:
        """Try it once, beside what runs: connect and say so; returns one sentence that says what was done.

        Raises:
            SinkError: it does not work.
        """
        ...


@dataclass(frozen=True)
class Accepted:
    """A trigger that was taken: ``number`` is the ``trigger`` of the part's verdict to come."""

    stream: str
    number: int


class Line(Protocol):
    """What plants may ask of this server through a sink. On the event loop; returns at once where it is not async."""

    @property
    def streams(self) -> Sequence[str]:
        """Names of those that run now."""
        ...

    def trigger(self, stream: str, *, part: str | None, trigger_id: str | None, by: str) -> Accepted:
        """The part under the camera is to be inspected now.

        Args:
            part: its id, passed through; ``trigger_id``: what the asker calls this trigger, passed through.
            by: which way it came: mqtt, opcua, modbus.

        Raises:
            TriggerRefused: it is not taken, and counted.
        """
        ...

    async def choose_recipe(self, stream: str, recipe: str, *, who: str) -> str:
        """Inspect a stream with another recipe: its id, or its name where only one has it; returns the id.

        Raises:
            SinkError: there is none, or it cannot be used.
        """
        ...
