"""A kind of sinks whose life the tests decide, and what the hub tells."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from server.sinks import Around, Kind, Outbox, SinkError
from server.streams import Told
from server.words import PartResult, Result
from tests.server.fakes import RESULT

PART = PartResult(
    stream="a",
    id="part-1",
    number=1,
    part="A-1",
    source="trigger",
    trigger=1,
    trigger_id=None,
    triggered_by="rest",
    verdict="NORMAL",
    why=None,
    score=0.2,
    raw_score=1.0,
    threshold=2.0,
    threshold_source="model",
    frames=1,
    anomalous=0,
    began_at="2026-11-26T10:00:00.000+00:00",
    at="2026-11-26T10:00:00.100+00:00",
    cycle_ms=100.0,
    inspection_ms=10.0,
    overruns=0,
    recipe="r-1",
    recipe_version=1,
    model="a" * 64,
    simulated=False,
    picture=None,
)
_numbers = itertools.count(1)


def part(**other: Any) -> Told:
    """A part that nobody told before."""
    number = next(_numbers)
    return Told(msgspec.structs.replace(PART, **({"id": f"part-{number}", "number": number} | other)))


def result(**other: Any) -> Told:
    message: Result = msgspec.structs.replace(RESULT, **other)
    return Told(message)


class FakeSettings(Struct, frozen=True, forbid_unknown_fields=True):
    address: Annotated[str, Meta(title="Address", description="where it is", max_length=100)]
    password: Annotated[str, Meta(title="Password", max_length=100, extra={"secret": True})] = ""
    slots: Annotated[Annotated[int, Meta(ge=1, le=9)] | None, Meta(title="Slots", extra={"more": True})] = None
    pulse: Annotated[float, Meta(title="Pulse", ge=0.5)] = 1.5
    quick: Annotated[bool, Meta(title="Quick")] = True
    mode: Annotated[Literal["one", "two"], Meta(title="Mode")] = "one"
    pem: Annotated[str, Meta(title="Certificate", extra={"lines": True, "placeholder": "-----BEGIN"})] = ""


async def takes_all(fake: Fake, outbox: Outbox) -> None:
    outbox.is_up("fake peer")
    async for event in outbox:
        fake.taken.append(event)
        outbox.confirm()


@dataclass
class Fake:
    """``run``: what the next runs do, the last of them for ever; ``begun``: runs; ``taken``: events."""

    run: list[Callable[[Fake, Outbox], Awaitable[None]]] = field(default_factory=lambda: [takes_all])
    test: Callable[[], Awaitable[str]] | None = None
    begun: int = 0
    ended: int = 0
    taken: list[Any] = field(default_factory=list)
    settings: list[FakeSettings] = field(default_factory=list)

    def kind(self, **other: Any) -> Kind[FakeSettings]:
        def check(settings: FakeSettings, around: Around) -> None:
            if settings.address == "nowhere":
                raise ValueError("the address is nowhere: give another")

        def make(settings: FakeSettings, around: Around) -> Made:
            if settings.address == "broken":
                raise RuntimeError("made wrongly")
            self.settings.append(settings)
            return Made(self)

        about: dict[str, Any] = {"name": "fake", "title": "Fake", "about": "For tests.", "peer": ("address",)}
        return Kind(settings=FakeSettings, make=make, check=check, **(about | other))


@dataclass
class Made:
    fake: Fake

    async def run(self, outbox: Outbox) -> None:
        fake = self.fake
        do = fake.run[min(fake.begun, len(fake.run) - 1)]
        fake.begun += 1
        try:
            await do(fake, outbox)
        finally:
            fake.ended += 1

    async def test(self) -> str:
        if self.fake.test is not None:
            return await self.fake.test()
        return "it was asked, and answered"


async def away(fake: Fake, outbox: Outbox) -> None:
    raise SinkError("nobody answers at that address")


async def hangs(fake: Fake, outbox: Outbox) -> None:
    await asyncio.Event().wait()


async def never_ends(fake: Fake, outbox: Outbox) -> None:
    """Not even when it is cancelled, for a while."""
    for _ in range(100):
        try:
            await asyncio.sleep(0.01)
        except asyncio.CancelledError:
            continue
