"""What a sink stands between: a line that can be asked, and an outbox that is emptied by one run after the other."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from msgspec import UNSET, UnsetType

from server.sinks import Accepted, Around, Choice, RecipeOnStream, Sink, SinkError, StandingOnLine, TriggerRefused
from server.sinks.choice import Chooser
from server.sinks.outbox import BoundedOutbox, TurnListener
from server.streams import Told
from server.words import Status, StreamState
from server.words.messages import PartsBy

RECIPE = RecipeOnStream("r-1", "bottle", 3)
OTHER = RecipeOnStream("r-2", "can", 1)


def around(line: FakeLine | None, address: str | None = None, streams: tuple[str, ...] = ()) -> Around:
    """A server that has this line."""
    return Around("sink-1", "the plant's", Path(), line=line, address=address, streams=streams)


@dataclass
class FakeLine:
    running: list[str] = field(default_factory=lambda: ["a"])
    refusal: str | None = None
    triggers: list[tuple[str, str | None, str | None, str]] = field(default_factory=list)
    missed_on: list[str] = field(default_factory=list)
    chosen: list[tuple[str, str]] = field(default_factory=list)
    gate: asyncio.Event | None = None
    recipe: RecipeOnStream = RECIPE
    camera: StreamState = "live"

    @property
    def streams(self) -> Sequence[str]:
        return tuple(self.running)

    def trigger(self, stream: str, *, part: str | None, trigger_id: str | None, by: str) -> Accepted:
        if stream not in self.running:
            raise TriggerRefused(f"there is no stream {stream}")
        if self.refusal is not None:
            raise TriggerRefused(self.refusal)
        self.triggers.append((stream, part, trigger_id, by))
        return Accepted(stream, len(self.triggers))

    def missed(self, stream: str) -> None:
        self.missed_on.append(stream)

    @property
    def recipes(self) -> Sequence[RecipeOnStream]:
        return (RECIPE,)

    def recipe_on(self, stream: str) -> RecipeOnStream | None:
        return self.recipe if stream in self.running else None

    def standing(self, stream: str) -> StandingOnLine:
        camera: StreamState = self.camera if stream in self.running else "waiting"
        return StandingOnLine(camera, "line", False, False, self.recipe)

    def status(self, stream: str) -> Told:
        """What the hub tells of a stream that stands so."""
        by: PartsBy | UnsetType = "line" if stream in self.running else UNSET
        recipe = self.recipe
        status = Status(
            stream,
            self.standing(stream).camera,
            recipe=recipe.id,
            recipe_name=recipe.name,
            recipe_version=recipe.version,
            parts_by=by,
        )
        return Told(status)

    def can_trigger(self, stream: str) -> bool:
        return stream in self.running and self.refusal is None

    async def choose_recipe(self, stream: str, recipe: str, *, who: str) -> str:
        if self.gate is not None:
            await self.gate.wait()
        if recipe == "nothing":
            raise SinkError("there is no recipe nothing")
        self.chosen.append((stream, recipe))
        return f"id-of-{recipe}"


@dataclass
class Running(TurnListener):
    """A sink that runs again and again, as the server has it."""

    box: BoundedOutbox
    up: list[str] = field(default_factory=list)
    trouble: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def went_up(self, words: str) -> None:
        self.up.append(words)
        self.changed.set()

    def went_into_trouble(self, words: str) -> None:
        self.trouble.append(words)
        self.changed.set()

    def confirmed(self) -> None:
        self.changed.set()

    def tell(self, *told: Told) -> None:
        for one in told:
            self.box.offer(one)

    async def until(self, true: Callable[[], bool], seconds: float = 20) -> None:
        async with asyncio.timeout(seconds):
            while not true():
                self.changed.clear()
                await self.changed.wait()

    async def until_told(self) -> None:
        await self.until(lambda: self.box.waiting == 0)


@contextlib.asynccontextmanager
async def running(make: Callable[[], Sink], *, begin: Running | None = None) -> AsyncIterator[Running]:
    """Up at first. A sink made anew for every run, after a short while; cancelled at the end, and to end then."""
    life = begin or Running(BoundedOutbox(Chooser(Choice(results_per_s=0))))

    async def live() -> None:
        while True:
            turn = life.box.turn(life)
            try:
                await make().run(turn)
            except SinkError as error:
                life.errors.append(str(error))
                life.changed.set()
            finally:
                turn.end()
            await asyncio.sleep(0.02)

    task = asyncio.create_task(live())
    try:
        await life.until(lambda: bool(life.up) or task.done())
        yield life
    finally:
        task.cancel()
        done, _ = await asyncio.wait({task}, timeout=1.0)
        assert done, "it has not ended within a second"
        with contextlib.suppress(asyncio.CancelledError):
            task.result()
