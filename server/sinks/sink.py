"""What a way out is: connected by itself, fed from an outbox, never waited for."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from server.parts import TriggerRefused
from server.streams import Told
from server.words import StreamState

__all__ = [
    "Accepted",
    "Line",
    "Outbox",
    "RecipeOnStream",
    "Sink",
    "SinkError",
    "StandingOnLine",
    "TriggerRefused",
    "What",
]

What = Literal["part", "verdict", "result", "state", "change", "drift"]


class SinkError(Exception):
    """Its peer is away, refuses, or answers what it should not; one sentence: what happened, and what to do.

    Args:
        retry_after_s: the peer asks not to be tried before.
    """

    def __init__(self, words: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(words)
        self.retry_after_s = retry_after_s


class SinkOver(SinkError):
    """Trying again is of no use, or not wanted by the peer: the sink is switched off, and says why on the page."""


@dataclass(frozen=True)
class Outgoing(Told):
    """One event on its way out.

    Attributes:
        id: of this event in this outbox: the same however often it is tried, never given to another, restarts of the
            server included. A peer tells repeats by it. Of a part it is the part's own.
        what: part (one verdict a part), verdict (a free-running result whose verdict is another than the one before),
            result (a free-running one), state (of the stream's camera), change (of recipe, model or threshold), drift
            (parts or pictures are not as when calibrated, or are again).
        at: when it was told, ISO 8601; ``told_at``: the same by a clock that nobody sets, :func:`time.monotonic`.
        number: counts the events of this outbox, from 1.
    """

    id: str = ""
    what: What = "part"
    at: str = ""
    number: int = 0
    told_at: float = 0.0


class Outbox(Protocol):
    """What waits to go out by one sink, oldest first: bounded, and what the bound drops is counted and shown.

    An event stays the oldest until it is confirmed or refused; where ``run`` fails before, it is handed out again by
    the next. Every call belongs to one ``run``: once that is over they do nothing.
    """

    @property
    def waiting(self) -> int:
        """Events that wait, the one that was handed out included."""
        ...

    @property
    def since(self) -> float:
        """When it began to hear what happens, by :func:`time.monotonic`: what was told by another outbox before, of the
        same sink, may have changed since, unheard."""
        ...

    def __aiter__(self) -> AsyncIterator[Outgoing]:
        """Each event, once the one before was confirmed or refused; waits for more, and never ends."""
        ...

    def confirm(self) -> None:
        """The event that was handed out last has arrived at the peer."""
        ...

    def refuse(self, why: str) -> None:
        """The event that was handed out last will never be taken by the peer: it is given up, counted, and shown."""
        ...

    def is_up(self, words: str) -> None:
        """The connection stands: ``words`` says with whom. To be called within 60 s of ``run``'s beginning, or it is
        taken for one that hangs. Failures are counted from the beginning once it has stood for some seconds."""
        ...

    def is_in_trouble(self, words: str) -> None:
        """Something is wrong that an operator should see, and ``run`` goes on: one sentence. ``is_up`` ends it."""
        ...


class Sink(Protocol):
    """One way out, made from its settings. Lives on the event loop; what blocks goes to threads."""

    async def run(self, outbox: Outbox) -> None:
        """Connect, or serve, and hand out what is told, until cancelled.

        It is run again after every failure, later each time, on a sink made anew, and cancelled within a second's
        patience at the end. One that keeps an event for 60 s is taken for one that hangs.

        Raises:
            SinkOver: it is not to be tried again.
            SinkError: the peer is away or refuses. Any other exception is a fault of the sink's and is logged as one.
        """
        ...

    async def test(self) -> str:
        """Try it once, beside what runs: connect and say so; returns one sentence that says what was done. It may be
        asked of a sink that runs, and of one that never did.

        Raises:
            SinkError: it does not work.
        """
        ...


@dataclass(frozen=True)
class Accepted:
    """A trigger that was taken: ``number`` is the ``trigger`` of the part's verdict to come."""

    stream: str
    number: int


@dataclass(frozen=True)
class RecipeOnStream:
    """A recipe, as plants know it."""

    id: str
    name: str
    version: int


@dataclass(frozen=True)
class StandingOnLine:
    """How a stream stands now, as plants know it.

    Attributes:
        by: what says that there is a part, as in a recipe.
        in_work: whether one is.
        recipe: that it is inspected with, or would be; None without a model.
    """

    camera: StreamState
    by: str
    in_work: bool
    simulated: bool
    recipe: RecipeOnStream | None


class Line(Protocol):
    """What plants may ask of this server through a sink. On the event loop; returns at once where it is not async."""

    @property
    def streams(self) -> Sequence[str]:
        """Names of those that run now."""
        ...

    @property
    def recipes(self) -> Sequence[RecipeOnStream]:
        """All there are."""
        ...

    def recipe_on(self, stream: str) -> RecipeOnStream | None:
        """That a running stream is inspected with; None where it does not run, or there is no model."""
        ...

    def standing(self, stream: str) -> StandingOnLine:
        """How a stream stands, whether it runs or not. Costs next to nothing."""
        ...

    def can_trigger(self, stream: str) -> bool:
        """Whether a trigger would be taken now: what a handshake shows as Ready. Costs next to nothing."""
        ...

    def trigger(self, stream: str, *, part: str | None, trigger_id: str | None, by: str) -> Accepted:
        """The part under the camera is to be inspected now.

        Args:
            part: its id, passed through; ``trigger_id``: what the asker calls this trigger, passed through.
            by: which way it came: mqtt, opcua, modbus, gpio.

        Raises:
            TriggerRefused: it is not taken, and counted.
            SinkError: one of the ids cannot be one (1 to 128 printable characters).
        """
        ...

    def missed(self, stream: str) -> None:
        """A trigger came that was not handed on, since it came too early, too often, or cannot be read: it counts as
        refused, and ends the part in work, since another may be under the camera."""
        ...

    async def choose_recipe(self, stream: str, recipe: str, *, who: str) -> str:
        """Inspect a stream with another recipe: its id, or its name where only one has it; returns the id.

        Raises:
            SinkError: there is none, or it cannot be used.
        """
        ...
