"""What the keeper makes of replicas from one look at them to the next: it looks when a test says so, by a clock that the
test moves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from server.inspection import Encoded, Looked, NotLooked
from server.inspection import Wanted as WantedOfAFrame
from server.replicas import Replicas, ReplicasWanted
from server.replicas import replicas as module
from server.replicas.replicas import BEAT_S, SILENT_S, TICK_S, _One
from tests.server.fakes import GOOD, FakeModel, until
from tests.server.replicas.stand_in import StandIn, StandInPeer, Version, pack


class Plant:
    """Replicas on a stand-in cluster. ``models``: in force; ``waiting``: sources that wait; ``now``: seconds."""

    def __init__(self, model: FakeModel, least: int, most: int) -> None:
        self.cluster, self.models, self.waiting, self.now = StandIn(), [model], 0, 1000.0
        self.replicas = Replicas(
            self.cluster,
            ReplicasWanted(least, most),
            lambda: self.models,  # type: ignore[arg-type]
            call_s=60.0,
            pack=pack,
            share_of=lambda model: model,
        )
        self.replicas._waiting = lambda: self.waiting

    def monotonic(self) -> float:
        return self.now

    @property
    def all(self) -> list[_One]:
        return self.replicas._all

    @property
    def ready(self) -> int:
        return sum(one.is_ready for one in self.all)

    async def look(self, seconds: float = TICK_S, times: int = 1) -> None:
        """The keeper's next look, so many seconds after the last; who is not deaf answers before the next."""
        for _ in range(times):
            self.now += seconds
            self.replicas._look_after_all(self.now, seconds)
            await until(lambda: all(one.beat is None or one.beat.done() or is_deaf(one) for one in self.all))

    async def become_ready(self, count: int) -> None:
        while self.ready < count:
            await self.look()
            await asyncio.sleep(0.005)

    def frame(self, sender: str) -> asyncio.Task[Looked]:
        """A frame of this stream, which some replica looks at."""
        load = Encoded(GOOD, 10_000_000, sender)
        ask: Any = lambda: (self.models[0], WantedOfAFrame())  # noqa: E731
        return asyncio.create_task(asyncio.to_thread(self.replicas.look, load, ask, lambda: None))


def is_deaf(one: _One) -> bool:
    assert isinstance(one.peer, StandInPeer)
    return one.peer.is_deaf


@pytest.fixture
async def plants(model: FakeModel, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Any]:
    """Makes one."""
    made = list[Plant]()

    def make(least: int, most: int | None = None) -> Plant:
        made.append(plant := Plant(model, least, most or least))
        monkeypatch.setattr(module, "time", plant)
        return plant

    yield make
    model.gate.set()
    for plant in made:
        plant.replicas._let_go("the test ends")
        await plant.replicas.stop()
        plant.cluster.close()


async def test_a_keeper_that_was_held_up_calls_no_replica_silent(plants: Any, model: FakeModel) -> None:
    plant = plants(1)
    await plant.become_ready(1)
    model.gate.clear()
    frame = plant.frame("a")
    await until(lambda: model.detected == 1)
    for held_up_s in (SILENT_S + TICK_S, 5.0, 60.0):
        await plant.look(held_up_s)
        assert plant.ready == 1 and not frame.done()
    plant.cluster.peers[0].is_deaf = True
    await plant.look(BEAT_S)  # it is asked, and does not answer
    await plant.look(5.0)
    assert plant.ready == 1, "its answer may be there, and not seen yet"
    await plant.look(times=round(SILENT_S / TICK_S))
    assert plant.ready == 0
    with pytest.raises(NotLooked, match="no sign of life"):
        await frame
